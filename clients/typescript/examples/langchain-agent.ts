import { ChatOpenAI, tools } from "@langchain/openai";
import { Ostler } from "ostler-client";
import { langChainShell } from "ostler-client/adapters";

const ostler = await Ostler.open({ args: ["--root", "."] });
try {
  const shell = tools.shell({ execute: langChainShell(ostler, { timeoutMs: 300_000 }) });
  const model = new ChatOpenAI({ model: "gpt-5.1" }).bindTools([shell]);
  const answer = await model.invoke(process.argv[2] ?? "");
  for (const call of answer.tool_calls ?? []) console.log(await shell.invoke(call));
} finally {
  await ostler.close();
}
