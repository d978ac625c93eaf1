#!/usr/bin/env node
// Becomes the program of the package for this machine.
"use strict";
const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const name = `ostler-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/ostler`);
} catch {
  console.error(`ostler: the package ${name} is not installed: there is none for this machine, or optional dependencies were left out`);
  process.exit(125);
}
const args = process.argv.slice(2);
// From Node 22.15 on: no process stands between, so signals and the parent are as they should be.
if (process.execve) {
  process.removeAllListeners("warning");
  process.on("warning", () => {});
  process.execve(program, [program, ...args], process.env);
}
const child = spawn(program, args, { stdio: "inherit" });
// A terminal sends its own to both; what is sent to this process alone is handed on.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"]) {
  process.on(signal, () => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("error", (error) => {
  console.error(`ostler: ${error.message}`);
  process.exit(125);
});
child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
