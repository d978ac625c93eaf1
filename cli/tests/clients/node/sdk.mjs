// The client in `@modelcontextprotocol/sdk` 1.x, which most hosts in TypeScript still have.

import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { LATEST_PROTOCOL_VERSION } from "@modelcontextprotocol/sdk/types.js";
import { allOf, LONG_MS, Said } from "./checks.mjs";

class OneClient {
  constructor(client) {
    this.client = client;
    this.serverName = client.getServerVersion().name;
  }
  // It does not say what was agreed upon, but refuses what it does not know.
  version = LATEST_PROTOCOL_VERSION;
  async tools() {
    return (await this.client.listTools()).tools;
  }
  async call(name, args, options = {}) {
    return new Said(await this.client.callTool({ name, arguments: args }, undefined, { timeout: LONG_MS, ...options }));
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
  const client = new Client({ name: "checks", version: "1" });
  await client.connect(new StdioClientTransport(place.server(args)));
  // It compiles the schemas of what a tool answers by this, and checks each answer by them.
  await client.listTools();
  return new OneClient(client);
}

await allOf(connect, "legacy", "2025-11-25");
