// The official client `@modelcontextprotocol/client` 2.x: with a handshake (legacy), and without (auto, 2026-07-28), with the tasks extension.

import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";
import { allOf, Fifo, LONG_MS, Place, Said } from "./checks.mjs";

const mode = process.argv[2];
const INFO = { name: "checks", version: "1" };

class OneClient {
  constructor(client, transport) {
    this.client = client;
    this.transport = transport;
    this.serverName = client.getServerVersion().name;
    this.version = client.getNegotiatedProtocolVersion();
  }
  async tools() {
    return (await this.client.listTools()).tools;
  }
  async call(name, args, options = {}) {
    return new Said(await this.client.callTool({ name, arguments: args }, { timeout: LONG_MS, ...options }));
  }
  async refused(name, args) {
    const error = await this.client.callTool({ name, arguments: args }).catch((error) => error);
    assert(error instanceof Error, `${name} was not refused`);
    return error;
  }
  close() {
    return this.client.close();
  }
}

async function connect(place, args) {
  const client = new Client(INFO, { versionNegotiation: { mode } });
  const transport = new StdioClientTransport(place.server(args));
  await client.connect(transport);
  // It compiles the schemas of what a tool answers by this, and checks each answer by them.
  await client.listTools();
  return new OneClient(client, transport);
}

/** The extension needs a way around the client's own codecs: requests with ids of their own, on the same pipe. */
function dispatchOn(transport) {
  const open = new Map();
  const before = transport.onmessage;
  transport.onmessage = (message, extra) => {
    const resolve = open.get(message.id);
    if (resolve === undefined) return before(message, extra);
    open.delete(message.id);
    resolve(message.error === undefined ? { kind: "result", result: message.result } : { kind: "error", error: message.error });
  };
  return (request) =>
    new Promise((resolve, reject) => {
      const id = `task-${(dispatchOn.ids = (dispatchOn.ids ?? 0) + 1)}`;
      open.set(id, resolve);
      transport.send({ jsonrpc: "2.0", id, ...request }).catch(reject);
    });
}

async function taskSession(place) {
  const client = await connect(place);
  const session = createTaskSessionFromClient(client.client, {
    endpointId: "ostler",
    rawDispatch: dispatchOn(client.transport),
    v2RequestFraming: { protocolVersion: client.version, clientInfo: INFO, clientCapabilities: {} },
  });
  return { client, session };
}

async function aTaskEndsWithItsResult() {
  const place = new Place();
  const fifo = new Fifo(place);
  const { client, session } = await taskSession(place);
  const execution = await session.callTool("run_command", { command: "read x < go; echo done" });
  assert.equal(execution.kind, "task");
  fifo.go();
  const { outcome } = await execution.settle();
  const { structuredContent } = resultFromTaskOutcome(outcome);
  assert.deepEqual([structuredContent.output, structuredContent.status], ["done\n", "completed"]);
  // A task takes nothing: the end is told by an answer all the same, once.
  const ended = async () => (await client.call("list_commands", {})).fields.ended;
  assert.equal((await ended()).length, 1);
  assert.deepEqual(await ended(), []);
  await session.close();
  await client.close();
}

async function aTaskIsCancelled() {
  const { client, session } = await taskSession(new Place());
  const execution = await session.callTool("run_command", { command: "sleep 1000" });
  assert.equal(execution.kind, "task");
  await execution.cancel();
  await assert.rejects(async () => resultFromTaskOutcome((await execution.settle()).outcome), { name: "TaskCancelledError" });
  const [row] = (await client.call("list_commands", {})).fields.commands;
  assert.equal(row.status, "killed");
  await session.close();
  await client.close();
}

/** The older protocol has no such tasks: a call is answered as without the extension. */
async function withoutTasksACallIsPlain() {
  const client = await connect(new Place());
  const session = createTaskSessionFromClient(client.client, { endpointId: "ostler" });
  const execution = await session.callTool("run_command", { command: "echo plain" });
  assert.equal(execution.kind, "immediate");
  const { outcome } = await execution.settle();
  assert.equal(resultFromTaskOutcome(outcome).structuredContent.output, "plain\n");
  await session.close();
  await client.close();
}

const modern = mode === "auto";
const more = modern ? [aTaskEndsWithItsResult, aTaskIsCancelled] : [withoutTasksACallIsPlain];
await allOf(connect, mode, modern ? "2026-07-28" : "2025-11-25", more);
