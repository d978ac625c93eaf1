import { Agent, run, shellTool } from "@openai/agents";
import { Ostler } from "ostler-client";
import { Shell } from "ostler-client/adapters";

const ostler = await Ostler.open({ args: ["--root", "."] });
try {
  const shell = shellTool({ shell: new Shell(ostler, { timeoutMs: 300_000 }) });
  const agent = new Agent({ name: "builder", instructions: "Do what is asked, with the shell.", tools: [shell] });
  console.log((await run(agent, process.argv[2] ?? "")).finalOutput);
} finally {
  await ostler.close();
}
