// What ostler's own client in TypeScript promises, on real commands. Run with `victim DIR` it is the Node that is killed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import readline from "node:readline";
import { setTimeout as passes } from "node:timers/promises";
import { Fifo, LONG_MS, Place } from "./checks.mjs";
import { check, CommandFailed, ConnectionLost, findProgram, NotInstalled, Ostler, Refused } from "ostler-client";

const FLOOD_BYTES = 100_000_000;
const COMMANDS = 100;

function open(place, more = {}) {
  const { command, args, env, cwd } = place.server();
  return Ostler.open({ program: command, args: args.slice(1), cwd, env: { ...process.env, ...env }, ...more });
}
const handles = (all) => all.map((one) => one.handle).sort();

async function theEndOfABuildIsToldByTheNextAnswerOnce() {
  const place = new Place();
  const fifo = new Fifo(place);
  const ends = [];
  const ostler = await open(place, { onEnd: (end) => ends.push(end) });
  const build = await ostler.start("read x < go; echo built; exit 3", { env: { myName: "kept" } });
  assert.deepEqual([build.state.status, ends], ["running", []]);
  fifo.go();
  const carried = [];
  while (ends.length === 0) {
    // Errors carry it too.
    const refused = await ostler.command("nobody").read().catch((error) => error);
    assert(refused instanceof Refused && refused.tool === "read_command_output" && refused.message.includes("unknown handle nobody"), refused);
    carried.push(...refused.ended);
  }
  assert.deepEqual([handles(ends), carried, ends[0].again], [[build.handle], ends, false]);
  assert.deepEqual((await ostler.list()).ended, []);
  const ended = await build.wait();
  assert.deepEqual([ended.exitCode, ended.output, ended.ended], [3, "built\n", []]);
  assert.throws(() => check(ended), (failed) => failed instanceof CommandFailed && failed.state === ended && failed.message.includes("with exit code 3"));
  // An end that somebody waits for is told by that answer alone.
  assert.equal((await ostler.run("true")).success, true);
  assert.deepEqual([await ostler.waitAny({ timeoutMs: 1 }), ends.length], [[], 1]);
  await ostler.close();
}

async function aFloodLeavesTheClientAsSmallAsItWas() {
  const ostler = await open(new Place());
  await ostler.run("true");
  const before = process.memoryUsage().rss;
  const state = await ostler.run(`yes 'a line of the flood' | head -c ${FLOOD_BYTES}; echo; echo last`);
  assert.deepEqual([state.success, state.totalBytes], [true, FLOOD_BYTES + 6]);
  assert(state.output.length < 31_000 && state.output.endsWith("\nlast\n") && state.omittedBytes > FLOOD_BYTES - 31_000);
  const page = await ostler.command(state.handle).read({ offset: FLOOD_BYTES / 2, maxBytes: 1000 });
  assert.deepEqual([page.output.length, page.offset, page.nextOffset], [1000, FLOOD_BYTES / 2, FLOOD_BYTES / 2 + 1000]);
  const grown = process.memoryUsage().rss - before;
  assert(grown < 20_000_000, `${grown}`);
  await ostler.close();
}

async function aHundredAtATime() {
  const place = new Place();
  const fifo = new Fifo(place);
  const ostler = await open(place);
  const runs = Array.from({ length: COMMANDS }, (_, n) => ostler.run(`read x < go; echo ${n}`, { labels: { myNumber: `${n}` } }));
  while ((await ostler.list({ running: true, limit: 200 })).commands.length < COMMANDS);
  const [row, ...more] = (await ostler.list({ labels: { myNumber: "7" } })).commands;
  assert.deepEqual([row.labels, more], [{ myNumber: "7" }, []]);
  fifo.go(COMMANDS);
  assert.deepEqual((await Promise.all(runs)).map((state) => state.output), Array.from({ length: COMMANDS }, (_, n) => `${n}\n`));
  await ostler.close();
}

async function anAbortedCallEndsNothing() {
  const place = new Place();
  const fifo = new Fifo(place);
  const ends = [];
  const ostler = await open(place, { onEnd: (end) => ends.push(end) });
  const command = await ostler.start("read x < go");
  await assert.rejects(command.wait({ signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  const stop = new AbortController();
  const run = ostler.run("read x < go; echo ran", { signal: stop.signal });
  let rows = [];
  while (rows.length < 2) rows = (await ostler.list({ running: true })).commands;
  stop.abort(new Error("the user said stop"));
  await assert.rejects(run, { message: "the user said stop" });
  assert.deepEqual(ends, []);
  fifo.go(2);
  while (ends.length < 2) await ostler.waitAny({ timeoutMs: LONG_MS });
  assert.deepEqual(handles(ends), handles(rows));
  await ostler.close();
}

/** Aborted while its answer is on its way, too: what it has told is told again, and says so. */
async function noEndIsLostWheneverCallsAreAborted() {
  const ends = [];
  const ostler = await open(new Place(), { onEnd: (end) => ends.push(end) });
  const untold = new Set();
  for (let round = 0; round < 300; round++) {
    const started = await ostler.start(["true"]);
    if (started.state.status === "running") untold.add(started.handle);
    const stop = new AbortController();
    const waits = (untold.size > ends.length ? ostler.waitAny({ signal: stop.signal, timeoutMs: LONG_MS }) : ostler.list({ signal: stop.signal })).catch(() => undefined);
    // An answer is there within a millisecond or so: some are aborted before it, some while it comes, some after.
    const until = performance.now() + (round % 30) / 10;
    while (performance.now() < until) await new Promise(setImmediate);
    stop.abort();
    await waits;
  }
  const missing = () => [...untold].filter((handle) => !ends.some((end) => end.handle === handle));
  while (missing().length > 0) assert((await ostler.waitAny({ timeoutMs: 10_000 })).length > 0, missing().join());
  const first = ends.filter((end) => !end.again);
  assert.equal(first.length, new Set(handles(first)).size);
  await ostler.close();
}

async function whatCannotBeSentIsRefusedAndNobodyElseHearsOfIt() {
  const refused = (call, ...says) =>
    assert.rejects(
      Promise.race([call, passes(LONG_MS, undefined, { ref: false }).then(() => { throw new Error(`hangs: ${says}`); })]),
      (error) => error instanceof Refused && says.every((one) => error.message.includes(one)),
      `${says}`,
    );
  const place = new Place();
  const fifo = new Fifo(place);
  const ostler = await open(place);
  const command = await ostler.start("read x < go; echo went", { interactive: true });
  const waits = command.wait();
  const odd = "a\ud800b";
  await refused(ostler.run(["ls", odd]), "argv[1]: ", "UTF-8");
  await refused(ostler.run(`echo ${odd}`), "command: ");
  await refused(ostler.run("true", { env: { NAME: odd } }), "env.NAME: ");
  await refused(ostler.run("true", { labels: { [odd]: "x" } }), "a name in labels: ");
  await refused(command.write(odd), "text: ");
  assert.equal((await ostler.run(["echo", "a\ud83d\ude00b"])).output, "a😀b\n");
  // The server's limit is 16 MiB for a line; this stays a little below it. Counted as it is written: a line end takes two bytes.
  const max = 16 * 1024 * 1024 - 64 * 1024;
  for (const stdin of ["y".repeat(max), "\n".repeat(max / 2), "é".repeat(max / 2)]) await refused(ostler.run("cat", { stdin }), "stdin", `${max}`);
  // A little less is read, and the server refuses it in its own words.
  await refused(ostler.run("cat", { stdin: "y".repeat(max - 100) }), "stdin.bytes", "over the limit");
  for (const bad of [NaN, Infinity, -Infinity]) {
    await refused(ostler.run("true", { timeoutMs: bad }), "timeoutMs: ");
    await refused(ostler.run("true", { idleTimeoutMs: bad }), "idleTimeoutMs: ");
    await refused(ostler.start("true", { waitMs: bad }), "waitMs: ");
    await refused(ostler.start("true", { terminal: true, rows: bad }), "rows: ");
    await refused(ostler.list({ limit: bad }), "limit: ");
    await refused(ostler.waitAny({ timeoutMs: bad }), "timeoutMs: ");
    await refused(command.wait({ silenceMs: bad }), "silenceMs: ");
    await refused(command.wait({ timeoutMs: bad }), "timeoutMs: ");
    await refused(command.write("x", { waitMs: bad }), "waitMs: ");
    await refused(command.cancel({ waitMs: bad }), "waitMs: ");
    await refused(command.read({ offset: bad }), "offset: ");
  }
  await refused(ostler.run("true", { timeoutMs: 5n }), "timeoutMs: ");
  assert.deepEqual(handles((await ostler.list({ running: true })).commands), [command.handle]);
  fifo.go();
  assert.equal((await waits).output, "went\n");
  await ostler.close();
}

async function aPromptIsAnswered() {
  const ostler = await open(new Place());
  const setup = await ostler.start("printf 'go on? '; read x; echo \"said $x\"; cat", { interactive: true });
  const asks = await setup.wait({ input: true, timeoutMs: LONG_MS });
  assert.deepEqual([asks.condition.which, asks.output], ["input", "go on? "]);
  assert.equal((await setup.write("yes\n", { waitMs: LONG_MS })).output, "said yes\n");
  // It answers at the first pause, which may come before the end.
  assert.equal((await setup.write("bye\n", { eof: true, waitMs: LONG_MS })).output, "bye\n");
  assert.equal((await setup.wait({ timeoutMs: LONG_MS })).status, "completed");
  await ostler.close();
}

async function timesAndConditions() {
  const heard = [];
  const ostler = await open(new Place(), { onProgress: (progress) => heard.push(progress) });
  const late = await ostler.run("echo begun; sleep 1000", { timeoutMs: 200 });
  assert.deepEqual([late.status, late.stopCause, late.success, late.output], ["timed_out", "deadline", false, "begun\n"]);
  assert.equal((await ostler.run(["sleep", "1000"], { idleTimeoutMs: 200 })).stopCause, "idle");
  const server = await ostler.start([process.execPath, "-e", "require('http').createServer().listen(0, '127.0.0.1', function () { console.log('port ' + this.address().port) })"]);
  const seen = await server.wait({ pattern: "port (\\d+)", timeoutMs: LONG_MS });
  const port = Number(seen.condition.groups[1]);
  assert.equal((await server.wait({ port, timeoutMs: LONG_MS })).condition.port, port);
  assert.equal((await server.wait({ silenceMs: 50, timeoutMs: LONG_MS })).condition.which, "silence");
  const notYet = await server.wait({ timeoutMs: 50 });
  assert.deepEqual([notYet.waitTimedOut, notYet.status, server.state], [true, "running", notYet]);
  const waits = server.wait();
  while (heard.length === 0) await passes(10);
  assert(heard[0].handle === server.handle && heard[0].ms >= 4000 && heard[0].text.includes("runs for"), JSON.stringify(heard));
  assert.equal((await server.cancel()).stopCause, "cancelled");
  assert.equal((await waits).status, "killed");
  assert.equal((await server.cancel()).status, "killed");
  await ostler.close();
}

async function whatIsWrongSaysWhatToDo() {
  const place = new Place();
  await assert.rejects(Ostler.open({ program: place.path("none") }), (error) => error instanceof NotInstalled && error.message.startsWith("program: "));
  const { OSTLER, PATH } = process.env;
  process.env.OSTLER = place.path("none");
  assert.throws(() => findProgram(), (error) => error instanceof NotInstalled && error.name === "NotInstalled" && error.message.startsWith("$OSTLER: "));
  delete process.env.OSTLER;
  process.env.PATH = place.dir;
  assert.throws(() => findProgram(), /npm install ostler/);
  fs.writeFileSync(place.path("ostler"), "#!/bin/sh\n", { mode: 0o700 });
  assert.equal(findProgram(), place.path("ostler"));
  Object.assign(process.env, { OSTLER, PATH });
  await assert.rejects(Ostler.open({ program: "/bin/true" }), (error) => error instanceof ConnectionLost && error.message.includes("/bin/true mcp could not be started"));
  const ostler = await open(place);
  await assert.rejects(ostler.run("true", { timeoutMs: 0 }), Refused);
  // What a listener throws disturbs nobody who waits, and is not silent.
  const thrown = new Promise((resolve) => process.once("uncaughtException", resolve));
  const fifo = new Fifo(place);
  const told = await open(place, { onEnd: () => { throw new Error("from a listener"); } });
  await told.start("read x < go");
  fifo.go();
  assert.equal((await told.waitAny({ timeoutMs: LONG_MS })).length, 1);
  assert.equal((await thrown).message, "from a listener");
  await told.close();
  // A server that dies is told to all who wait, and to whoever asks later.
  const command = await ostler.start("sleep 1000");
  const waits = assert.rejects(command.wait(), (error) => error instanceof ConnectionLost && error.message.includes("ostler mcp has ended"));
  await ostler.list();
  const mine = fs.readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && isMyServer(pid));
  assert(mine.length >= 1);
  const of = mine.find((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(place.dir));
  process.kill(Number(of), "SIGKILL");
  await waits;
  await assert.rejects(ostler.list(), ConnectionLost);
  await ostler.close();
}

function isMyServer(pid) {
  try {
    const parent = Number(fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ")[1]);
    return parent === process.pid && fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("\0mcp\0");
  } catch {
    return false;
  }
}

function lives(pid) {
  try {
    return !fs.readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z");
  } catch {
    return false;
  }
}

const STUBBORN = "trap '' TERM; setsid sleep 1000 & echo $$ $!; wait";

async function victim(place) {
  const ostler = await open(place);
  const command = await ostler.start(STUBBORN);
  console.log((await command.wait({ pattern: "\\d+ \\d+" })).condition.line);
  await command.wait();
}

async function gone(pids) {
  const until = Date.now() + LONG_MS;
  while (pids.some(lives)) {
    assert(Date.now() < until, `${pids} live`);
    await passes(5);
  }
}

async function nothingLivesWhenNodeIsKilledOrTheClientClosed() {
  const place = new Place();
  const killed = spawn(process.execPath, [process.argv[1], "victim", place.dir], { stdio: ["ignore", "pipe", "inherit"] });
  const { value } = await readline.createInterface({ input: killed.stdout })[Symbol.asyncIterator]().next();
  assert(value.split(" ").length === 2 && value.split(" ").every(lives), value);
  killed.kill("SIGKILL");
  await gone(value.split(" "));
  const ostler = await open(place);
  const command = await ostler.start(STUBBORN);
  const pids = (await command.wait({ pattern: "\\d+ \\d+" })).condition.line.split(" ");
  await ostler[Symbol.asyncDispose]();
  await gone(pids);
}

if (process.argv[2] === "victim") {
  await victim(new Place(process.argv[3]));
} else {
  const waits = timesAndConditions();
  for (const one of [
    aFloodLeavesTheClientAsSmallAsItWas,
    theEndOfABuildIsToldByTheNextAnswerOnce,
    aHundredAtATime,
    anAbortedCallEndsNothing,
    noEndIsLostWheneverCallsAreAborted,
    whatCannotBeSentIsRefusedAndNobodyElseHearsOfIt,
    aPromptIsAnswered,
    whatIsWrongSaysWhatToDo,
    nothingLivesWhenNodeIsKilledOrTheClientClosed,
  ]) {
    const begun = Date.now();
    await one();
    console.log(`${process.argv[2]} ${one.name}: ${Date.now() - begun} ms`);
  }
  await waits;
  console.log(`${process.argv[2]} all`);
}
