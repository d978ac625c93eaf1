import { Ostler } from "ostler-client";

const ostler = await Ostler.open();
try {
  const setup = await ostler.start("printf 'Delete it? '; read answer; echo you said $answer", { interactive: true });
  const asked = await setup.wait({ input: true, timeoutMs: 30_000 });
  console.log(asked.output);
  console.log((await setup.write("no\n")).output.trim());
  const shell = await ostler.start(["sh"], { terminal: true });
  await shell.write("sleep 1000", { keys: ["enter"] });
  await shell.write("", { keys: ["ctrl-c"] });
  await shell.write("exit 7", { keys: ["enter"] });
  const ended = await shell.wait({ timeoutMs: 30_000 });
  console.log(ended.status, ended.exitCode);
} finally {
  await ostler.close();
}
