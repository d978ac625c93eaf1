// The adapters, held against the frameworks themselves: by their types (tsc, strict) and by calls through them, without a model.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { tools } from "@langchain/openai";
import { shellTool, type Shell as OpenAIShell } from "@openai/agents-core";
import { Ostler } from "ostler-client";
import { execute, langChainLocalShell, langChainShell, Shell } from "ostler-client/adapters";

const place = fs.mkdtempSync(path.join(process.env["PLACE"] ?? "/", "check-"));
const program = process.env["OSTLER"];
await using ostler = await Ostler.open({ program, args: ["--artifacts", `${place}/artifacts`], cwd: place });

const shell: OpenAIShell = new Shell(ostler);
const tool = shellTool({ shell });
assert(tool.shell !== undefined);
const { output } = await tool.shell.run({ commands: ["echo out; echo err >&2; exit 3", "echo two"], maxOutputLength: 1000 });
assert.deepEqual(output.map(({ stdout, outcome }) => [stdout, outcome]), [
  ["out\nerr\n", { type: "exit", exitCode: 3 }],
  ["two\n", { type: "exit", exitCode: 0 }],
]);
assert(output[0]?.stderr.includes("with exit code 3") && output[1]?.stderr === "");
const late = await shell.run({ commands: ["echo begun; sleep 1000", "echo never"], timeoutMs: 200 });
assert.deepEqual(late.output.map(({ stdout, outcome }) => [stdout, outcome.type]), [["begun\n", "timeout"]]);

const answered: string = await tools.shell({ execute: langChainShell(ostler) }).invoke({ commands: ["echo in; exit 4"], timeout_ms: 60_000 });
const parsed: unknown = JSON.parse(answered);
assert(JSON.stringify(parsed).includes('"exit_code":4') && JSON.stringify(parsed).includes("in\\n"), answered);
const local = await tools.localShell({ execute: langChainLocalShell(ostler) })
  .invoke({ type: "exec", command: ["sh", "-c", "pwd; echo $GIVEN"], env: { GIVEN: "this" }, working_directory: "/" });
assert(local.startsWith("/\nthis\n"), local);

const run = execute(ostler, { timeoutMs: 200 });
assert((await run("echo out; exit 5")).includes("with exit code 5"));
assert((await run("sleep 1000")).includes("stopped after"));
// A call that is given up has its command stopped.
const never = execute(ostler, { timeoutMs: null });
await assert.rejects(never("sleep 1000", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
while ((await ostler.list({ running: true })).commands.length > 0) await ostler.waitAny({ timeoutMs: 100 });
console.log(`${process.argv[2] ?? ""} all`);
