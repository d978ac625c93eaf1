// What every TypeScript client of the protocol has to see of `ostler mcp`.
//
// A client is given as `connect(place, args)`, which gives an object with `call`, `tools`, `refused`, `close`, `serverName` and `version`. Nothing here
// sleeps to wait for something: commands wait on a fifo until they may go on.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { setTimeout as passes } from "node:timers/promises";

const FLOOD_BYTES = 100_000_000;
const CALLS = 100;
/** Far more than anything here takes, on a machine with all cores busy. */
export const LONG_MS = 90_000;
const first = (lines) => lines.map((line) => line.split(" ")[0]);

/** Files of one check, and how a server is started on them. */
export class Place {
  constructor(dir) {
    this.dir = dir ?? fs.mkdtempSync(path.join(process.env.PLACE, "check-"));
  }
  path(name) {
    return path.join(this.dir, name);
  }
  /** As the clients' stdio transports take it. */
  server(args = []) {
    return {
      command: process.env.OSTLER,
      args: ["mcp", "--artifacts", this.path("artifacts"), ...args],
      env: { PATH: process.env.PATH, HOME: this.dir, XDG_STATE_HOME: this.path("state") },
      cwd: this.dir,
    };
  }
}

/** What a command waits on: it reads a line, and each line lets one go on. Open for both, so that nobody's opening waits. */
export class Fifo {
  constructor(place) {
    execFileSync("mkfifo", [place.path("go")]);
    this.file = fs.openSync(place.path("go"), "r+");
  }
  go(lines = 1) {
    fs.writeSync(this.file, "\n".repeat(lines));
  }
}

/** What a tool has answered. */
export class Said {
  constructor(result) {
    this.error = Boolean(result.isError);
    this.text = result.content.map((block) => block.text).join("\n---\n");
    this.structured = result.structuredContent;
  }
  get fields() {
    assert(!this.error, this.text);
    return this.structured;
  }
}

async function start(client, command, more = {}) {
  const { fields } = await client.call("run_command", { command, yield_ms: 0, ...more });
  assert.equal(fields.status, "running");
  return fields.handle;
}

const ended = async (client) => (await client.call("list_commands", {})).fields.ended;

async function namesItselfAndItsTools(connect, { version }) {
  const client = await connect(new Place());
  assert.deepEqual([client.serverName, client.version], ["ostler", version]);
  const tools = await client.tools();
  assert.deepEqual(tools.map((tool) => tool.name).sort(), [
    "cancel_command", "list_commands", "read_command_output", "run_command", "wait_command", "write_stdin",
  ]);
  for (const { name, description, annotations, inputSchema, outputSchema } of tools) {
    const reads = ["list_commands", "read_command_output", "wait_command"].includes(name);
    assert.deepEqual([annotations.readOnlyHint, annotations.destructiveHint], [reads, !reads], name);
    assert(annotations.title && description, name);
    for (const schema of [inputSchema, outputSchema]) {
      assert.equal(schema.type, "object", name);
      assert(Object.keys(schema.properties).length > 0, name);
      assert(!JSON.stringify(schema).includes('"format"'), name);
    }
  }
  await client.close();
}

async function eachToolOnce(connect) {
  const client = await connect(new Place());
  const failed = await client.call("run_command", { command: "echo out; echo err >&2; exit 3" });
  assert.deepEqual([failed.fields.exit_code, failed.fields.success], [3, false]);
  // Two pipes: which of them is seen first is not said.
  assert(["out\nerr\n", "err\nout\n"].includes(failed.fields.output) && failed.text.startsWith(failed.fields.output), failed.text);
  const handle = await start(client, "cat", { interactive: true });
  assert.equal((await client.call("write_stdin", { handle, text: "hello\n" })).fields.output, "hello\n");
  const waited = await client.call("wait_command", { handle, pattern: "hel(lo)" });
  assert.deepEqual(waited.fields.condition.groups, ["hello", "lo"]);
  const read = await client.call("read_command_output", { handle, offset: 1 });
  assert.deepEqual([read.fields.output, read.fields.next_offset], ["ello\n", 6]);
  const listed = await client.call("list_commands", {});
  assert.deepEqual(listed.fields.commands.map((row) => row.status), ["running", "completed"]);
  const { fields } = await client.call("cancel_command", { handle });
  assert.deepEqual([fields.status, fields.stop_cause, fields.ended], ["killed", "cancelled", []]);
  assert.deepEqual(await ended(client), []);
  await client.close();
}

async function anEndIsToldOnce(connect) {
  const place = new Place();
  const fifo = new Fifo(place);
  const client = await connect(place);
  const handle = await start(client, "read x < go");
  fifo.go();
  const told = await client.call("wait_command", {});
  assert.deepEqual(first(told.fields.ended), [handle]);
  assert(told.fields.ended[0].includes("ended: succeeded") && told.text.includes(told.fields.ended[0]), told.text);
  assert.deepEqual(await ended(client), []);
  assert.deepEqual((await client.call("wait_command", { timeout_ms: 1 })).fields.ended, []);
  await client.close();
}

async function whatIsWrongIsTold(connect) {
  const client = await connect(new Place());
  for (const [tool, args, says] of [
    ["run_command", {}, "command: it is missing"],
    ["run_command", { command: "true", yield_ms: "soon" }, "yield_ms"],
    ["run_command", { comand: "true" }, "comand"],
    ["wait_command", { handle: "hto-1-1" }, "unknown handle"],
    ["read_command_output", {}, "handle"],
    ["write_stdin", { handle: "nobody", text: "x" }, "unknown handle"],
    ["cancel_command", { handle: "nobody", signal: "SIGWHAT" }, "SIGINT"],
    ["list_commands", { labels: 5 }, "labels"],
  ]) {
    const said = await client.call(tool, args);
    assert(said.error && said.text.includes(says), `${tool} ${JSON.stringify(args)}: ${said.text}`);
  }
  assert.equal((await client.refused("format_disk", {})).code, -32602);
  assert.equal((await client.call("run_command", { argv: ["echo", "works"] })).fields.output, "works\n");
  await client.close();
}

async function aCancelledCallStopsWaitingAndItsCommandGoesOn(connect) {
  const place = new Place();
  const fifo = new Fifo(place);
  const client = await connect(place);
  const stop = new AbortController();
  const call = client.call("run_command", { command: "read x < go", yield_ms: 600_000 }, { signal: stop.signal });
  let rows = [];
  while (rows.length === 0) rows = (await client.call("list_commands", {})).fields.commands;
  stop.abort("the user said stop");
  await assert.rejects(call);
  const [row] = (await client.call("list_commands", {})).fields.commands;
  assert.deepEqual([row.handle, row.status], [rows[0].handle, "running"]);
  fifo.go();
  const told = await client.call("wait_command", {});
  assert.deepEqual(first(told.fields.ended), [row.handle]);
  assert.deepEqual(await ended(client), []);
  await client.close();
}

async function aFloodIsCountedAndCut(connect) {
  const place = new Place();
  const client = await connect(place);
  const command = `yes 'a line of the flood' | head -c ${FLOOD_BYTES}; echo; echo last`;
  const { fields } = await client.call("run_command", { command, yield_ms: LONG_MS });
  assert.deepEqual([fields.status, fields.total_bytes], ["completed", FLOOD_BYTES + 6]);
  assert(fields.output.length < 31_000 && fields.output.endsWith("\nlast\n"));
  assert(fields.omitted_bytes > FLOOD_BYTES - 31_000 && fields.omitted_bytes < FLOOD_BYTES);
  const middle = { handle: fields.handle, offset: FLOOD_BYTES / 2, max_bytes: 1000 };
  assert.equal((await client.call("read_command_output", middle)).fields.output.length, 1000);
  await client.close();
  fs.rmSync(place.dir, { recursive: true });
}

async function callsRunAtTheSameTime(connect) {
  const place = new Place();
  const fifo = new Fifo(place);
  const client = await connect(place);
  const calls = Array.from({ length: CALLS }, (_, n) =>
    client.call("run_command", { command: `read x < go; echo ${n}`, yield_ms: LONG_MS }));
  let running = 0;
  // All of them stand before the fifo before one may go on.
  while (running < CALLS) {
    running = (await client.call("list_commands", { running: true, limit: 200 })).fields.commands.length;
  }
  fifo.go(CALLS);
  const said = await Promise.all(calls);
  assert.deepEqual(said.map(({ fields }) => fields.output), Array.from({ length: CALLS }, (_, n) => `${n}\n`));
  assert(said.every(({ fields }) => fields.ended.length === 0));
  await client.close();
}

async function aCallThatIsSlowSaysSo(connect) {
  const place = new Place();
  const fifo = new Fifo(place);
  const client = await connect(place);
  const heard = [];
  const onprogress = (progress) => {
    heard.push(progress);
    fifo.go();
  };
  const { fields } = await client.call("run_command", { command: "echo begun; read x < go", yield_ms: LONG_MS }, { onprogress });
  assert.equal(fields.status, "completed");
  assert(heard[0]?.progress >= 4 && heard[0].message.includes("6 bytes of output"), JSON.stringify(heard));
  await client.close();
}

function lives(pid) {
  try {
    return !fs.readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z");
  } catch {
    return false;
  }
}

/** The client that is killed: says which processes it has started, and waits for what never comes. */
async function victim(connect, place) {
  const client = await connect(place, ["--session", "mine"]);
  const handle = await start(client, "sleep 1000 & echo $$ $!; wait");
  const { fields } = await client.call("wait_command", { handle, pattern: "\\d+ \\d+" });
  console.log(`${handle} ${fields.condition.line}`);
  await client.call("wait_command", { handle, timeout_ms: LONG_MS });
}

async function aClientThatIsKilledLeavesNothingAndCanComeBack(connect, { mode }) {
  const place = new Place();
  const killed = spawn(process.execPath, [process.argv[1], mode, "victim", place.dir], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = new Promise((resolve) => killed.once("exit", resolve));
  const { value } = await readline.createInterface({ input: killed.stdout })[Symbol.asyncIterator]().next();
  const [handle, ...pids] = value.split(" ");
  assert(pids.length === 2 && pids.every(lives), value);
  killed.kill("SIGKILL");
  await gone;
  const until = Date.now() + LONG_MS;
  while (pids.some(lives)) {
    assert(Date.now() < until, `${pids} live`);
    await passes(5);
  }
  // The session may be open for a moment: its server ends it after its trees.
  let said;
  do {
    assert(Date.now() < until, said?.text);
    const client = await connect(place, ["--session", "mine"]);
    said = await client.call("list_commands", {});
    if (!said.error) {
      assert.deepEqual(first(said.fields.ended), [handle]);
      assert.deepEqual(await ended(client), []);
      await start(client, "sleep 1000");
    }
    await client.close();
  } while (said.error && said.text.includes("is open in another host"));
  // Its client only closed, and was not told of its end.
  const client = await connect(place, ["--session", "mine"]);
  const lines = await ended(client);
  assert(lines.length === 1 && lines[0].includes("its session ended"), lines);
  await client.close();
}

/** Every check; those that only wait run beside the others. */
export async function allOf(connect, mode, version, more = []) {
  if (process.argv[3] === "victim") return victim(connect, new Place(process.argv[4]));
  const waits = [aCallThatIsSlowSaysSo, ...more].map((check) => check(connect));
  for (const check of [
    namesItselfAndItsTools,
    eachToolOnce,
    anEndIsToldOnce,
    whatIsWrongIsTold,
    aCancelledCallStopsWaitingAndItsCommandGoesOn,
    aFloodIsCountedAndCut,
    callsRunAtTheSameTime,
    aClientThatIsKilledLeavesNothingAndCanComeBack,
  ]) {
    const begun = Date.now();
    await check(connect, { mode, version });
    console.log(`${mode} ${check.name}: ${Date.now() - begun} ms`);
  }
  await Promise.all(waits);
  console.log(`${mode} all`);
}
