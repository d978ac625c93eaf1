/**
 * What the shell tools of agent frameworks take. None of them is needed for it: the shapes are theirs.
 *
 * - `Shell`: the `shell` of the OpenAI Agents SDK's `shellTool`
 * - `langChainShell`, `langChainLocalShell`: the `execute` of `tools.shell` and `tools.localShell` of `@langchain/openai`
 * - `execute`: a function of a command line that answers with text, for whatever takes such a function
 *
 * A command that is still running when its time is up is stopped with all of its processes, and the answer says so.
 */

import type { CommandOptions, Ostler, State } from "./index.js";

/** Of a command whose call says nothing: these tools have no way to look at one that goes on, so each needs an end. */
const TIMEOUT_MS = 120_000;

/** For each command. `timeoutMs`: 120,000 if nothing is said; null: never. A call's own timeout wins. */
export interface AdapterOptions extends Omit<CommandOptions, "timeoutMs" | "signal"> {
  timeoutMs?: number | null | undefined;
}
type Asked = { timeoutMs?: number | null | undefined; signal?: AbortSignal | undefined; env?: Record<string, string> | undefined; cwd?: string | undefined };

/** Runs one to its end. When `signal` aborts, it is stopped: nobody else has its handle. */
async function runs(ostler: Ostler, command: string | string[], options: AdapterOptions, asked: Asked = {}): Promise<State> {
  const { signal, ...given } = asked;
  const timeoutMs = given.timeoutMs ?? (options.timeoutMs === undefined ? TIMEOUT_MS : options.timeoutMs) ?? undefined;
  signal?.throwIfAborted();
  const started = await ostler.start(command, { ...options, ...given, timeoutMs });
  try {
    return await started.wait({ signal });
  } catch (error) {
    // The answer comes at once; the stop goes on. If the session has ended, so has the command.
    await started.cancel({ waitMs: 0 }).catch(() => undefined);
    throw error;
  }
}

/** For a model: the output, and what ostler says of it. */
function said(state: State): string {
  return state.output === "" ? state.text : `${state.output}\n${state.text}`;
}

/** Several, one after the other, up to the first that runs out of time. */
async function each<T>(commands: string[], run: (command: string) => Promise<State>, output: (state: State) => T): Promise<T[]> {
  const outputs: T[] = [];
  for (const command of commands) {
    const state = await run(command);
    outputs.push(output(state));
    if (state.status === "timed_out") break;
  }
  return outputs;
}

/** A function of a command line: its output, and below it what ostler says of its end. A failure is told in words and throws nothing. */
export function execute(ostler: Ostler, options: AdapterOptions = {}): (command: string, call?: { signal?: AbortSignal | undefined }) => Promise<string> {
  return async (command, call) => said(await runs(ostler, command, options, { signal: call?.signal }));
}

/**
 * `shellTool({ shell: new Shell(ostler) })` of the OpenAI Agents SDK. Both streams of a command stand in `stdout`, in the order of their writes; `stderr`
 * has what ostler says of one that fails.
 */
export class Shell {
  constructor(private readonly ostler: Ostler, private readonly options: AdapterOptions = {}) {}

  async run(action: { commands: string[]; timeoutMs?: number | undefined; maxOutputLength?: number | undefined }) {
    const output = await each(
      action.commands,
      (command) => runs(this.ostler, command, this.options, { timeoutMs: action.timeoutMs }),
      (state) => ({ ...streams(state), outcome: state.status === "timed_out" ? { type: "timeout" as const } : { type: "exit" as const, exitCode: state.exitCode } }),
    );
    return { output, ...(action.maxOutputLength === undefined ? {} : { maxOutputLength: action.maxOutputLength }) };
  }
}

/** `tools.shell({ execute: langChainShell(ostler) })` of `@langchain/openai`. The streams as of `Shell`. */
export function langChainShell(ostler: Ostler, options: AdapterOptions = {}) {
  return async (action: { commands: string[]; timeout_ms?: number | null; max_output_length?: number | null }) => {
    const output = await each(
      action.commands,
      (command) => runs(ostler, command, options, { timeoutMs: action.timeout_ms }),
      (state) => ({ ...streams(state), outcome: state.status === "timed_out" ? { type: "timeout" as const } : { type: "exit" as const, exit_code: state.exitCode ?? -1 } }),
    );
    return { output, maxOutputLength: action.max_output_length ?? null };
  };
}

/** `tools.localShell({ execute: langChainLocalShell(ostler) })` of `@langchain/openai`: one program, with the call's directory and variables. */
export function langChainLocalShell(ostler: Ostler, options: AdapterOptions = {}) {
  return async (action: { command: string[]; env?: Record<string, string>; timeout_ms?: number | null; working_directory?: string | null }) =>
    said(await runs(ostler, action.command, options, { timeoutMs: action.timeout_ms, env: action.env ?? options.env, cwd: action.working_directory ?? options.cwd }));
}

function streams(state: State): { stdout: string; stderr: string } {
  return { stdout: state.output, stderr: state.success ? "" : state.text };
}
