import { check, CommandFailed, Ostler } from "ostler-client";

const ostler = await Ostler.open();
try {
  const listed = await ostler.run("ls /etc | head -3");
  process.stdout.write(listed.output);
  check(await ostler.run("echo no such test; exit 3", { timeoutMs: 600_000 }));
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  console.log(error.state.exitCode, error.state.output.trim());
} finally {
  await ostler.close(); // or `await using ostler = …`, where the language has it
}
