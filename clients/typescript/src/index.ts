/**
 * Long-running commands of AI agents, by the program `ostler`: started, waited for, read, written to, stopped; never lost, never left behind.
 *
 *     await using ostler = await Ostler.open({ onEnd: console.log });
 *     const build = await ostler.start("cargo build --release"); // there at once; it runs on
 *     const ended = await build.wait();
 *
 * A client starts `ostler mcp` and speaks with it. Its commands are one session:
 *
 * - A call whose `signal` is aborted, and a promise that nobody awaits, stop nothing. The command runs on, `list` shows it, only `cancel` ends it.
 * - When the client is closed (`close`, the end of `await using`), the session ends, and every process of its commands with it. So it does when Node
 *   dies, by SIGKILL too. With `args: ["--session", "NAME", "--keep-for", "10m"]` they live on for so long, for a later client.
 * - An end that no answer of yours was about is told once: by `onEnd`, and by `ended` of whichever answer comes next.
 *
 * All times are in milliseconds, all offsets and sizes in bytes.
 */

import { accessSync, constants, statSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { Client, ProtocolError } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

import { ConnectionLost, NotInstalled, Refused } from "./types.js";
import type {
  Answer, CallOptions, CancelOptions, CommandOptions, End, Listed, OpenOptions, Page, ReadOptions, State, WaitOptions, WriteOptions,
} from "./types.js";

export * from "./types.js";

const VERSION = "0.2.0";
/** Longest that one call can wait, as the server has it. A longer wait is made of several. */
const CALL_MAX_MS = 3_600_000;
/** What an answer may take beyond the time that its call may wait: far more than a busy machine needs. */
const ANSWER_TIME_MS = 60_000;
/**
 * Of the arguments of one call, as JSON. The server reads no line above 16 MiB, and cannot say whose it was; the rest of the message needs far less than
 * what is left here.
 */
const ARGUMENTS_MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024;
/** How the server marks an end that it has told in an answer that was not looked at. */
const AGAIN = "(again: it may have been told before)";

/** A client, and the session of its commands. */
export class Ostler implements AsyncDisposable {
  private constructor(private readonly client: Client, private readonly options: OpenOptions) {}

  /** Starts `ostler mcp`. Throws `NotInstalled` and `ConnectionLost`. */
  static async open(options: OpenOptions = {}): Promise<Ostler> {
    const { program, args = [], cwd, env } = options;
    const command = findProgram(program);
    const all = Object.entries(env ?? process.env).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const client = new Client({ name: "ostler-client", version: VERSION });
    try {
      const server = { command, args: ["mcp", ...args], env: Object.fromEntries(all), ...(cwd === undefined ? {} : { cwd }) };
      await client.connect(new StdioClientTransport(server));
    } catch (error) {
      await client.close();
      throw new ConnectionLost(`${command} mcp could not be started: ${words(error)}; it may have said more on stderr`, { cause: error });
    }
    return new Ostler(client, options);
  }

  /** Ends the session and every process of its commands. */
  close(): Promise<void> {
    return this.client.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Runs a line of `/bin/sh`, or a program with its arguments, to its end, however long that takes. A failure throws nothing: see `check`. */
  async run(command: string | string[], options: CommandOptions = {}): Promise<State> {
    const started = await this.start(command, { ...options, waitMs: CALL_MAX_MS });
    return started.state?.status === "running" ? started.wait({ signal: options.signal }) : (started.state as State);
  }
  /** Starts it, and is back after `waitMs` (0) at the latest, or when it has ended. `state` says how it stands. */
  async start(command: string | string[], options: CommandOptions & { waitMs?: number | undefined } = {}): Promise<Command> {
    const { signal, waitMs = 0, ...given } = options;
    checked("run_command", { waitMs });
    const what = typeof command === "string" ? { command } : { argv: command };
    const state = await this.call<State>("run_command", { ...given, ...what, yieldMs: waitMs }, { signal, waitMs });
    return new Command(this, state.handle, state);
  }
  /** The commands of the session, at most `limit` (30; at most 200). */
  list(options: CallOptions & { running?: boolean; labels?: Record<string, string>; limit?: number } = {}): Promise<Listed> {
    const { signal, ...given } = options;
    return this.call<Listed>("list_commands", given, { signal });
  }
  /** Waits until any command ends that no other answer tells of. Empty: the time was up. `onEnd` hears of them too. */
  async waitAny(options: CallOptions & { timeoutMs?: number } = {}): Promise<readonly End[]> {
    return (await this.wait<Answer & { waitTimedOut: boolean }>({}, options)).ended;
  }
  /** A command of this session by its handle, as `End` and `Row` have it. Nothing is asked before its first call. */
  command(handle: string): Command {
    return new Command(this, handle);
  }

  /** As `Command.wait`, with whatever the tool takes. */
  async wait<T extends { waitTimedOut: boolean }>(given: object, options: CallOptions & { timeoutMs?: number | undefined }): Promise<T> {
    // Before anything is reckoned with it: the server would not see that it is none.
    checked("wait_command", { timeoutMs: options.timeoutMs });
    const until = performance.now() + (options.timeoutMs ?? Infinity);
    for (;;) {
      const timeoutMs = Math.min(Math.max(Math.ceil(until - performance.now()), 0), CALL_MAX_MS);
      const answer = await this.call<T>("wait_command", { ...given, timeoutMs }, { signal: options.signal, waitMs: timeoutMs });
      if (!answer.waitTimedOut || performance.now() >= until) return answer;
    }
  }
  /** One tool, as docs/agents.md and its schema have it, which may wait for so long; names are camelCase here. Throws `Refused` and `ConnectionLost`. */
  async call<T>(tool: string, given: object, options: CallOptions & { waitMs?: number | undefined } = {}): Promise<T> {
    const { signal, waitMs = 0 } = options;
    checked(tool, { waitMs, ...given });
    const { onEnd, onProgress } = this.options;
    const onprogress = ({ progress, message = "" }: { progress: number; message?: string | undefined }) =>
      tell(onProgress, { handle: first(message), ms: Math.round(progress * 1000), text: message });
    const result = await this.client
      .callTool(
        { name: tool, arguments: snake(given) as Record<string, unknown> },
        { timeout: Math.min(waitMs, CALL_MAX_MS) + ANSWER_TIME_MS, ...(signal && { signal }), ...(onProgress && { onprogress }) },
      )
      .catch((error: unknown) => {
        signal?.throwIfAborted();
        if (error instanceof ProtocolError) throw new Refused(tool, error.message);
        throw new ConnectionLost(`${tool}: ${words(error)}; ostler mcp has ended or hangs, and may have said why on stderr`, { cause: error });
      });
    const texts = result.content.map((block) => (block.type === "text" ? block.text : ""));
    const answer = (result.structuredContent ?? {}) as Record<string, unknown>;
    const lines = (answer["ended"] ?? result._meta?.["ostler/ended"] ?? []) as string[];
    const ended = lines.map((text): End => ({ handle: first(text), text, again: text.endsWith(AGAIN) }));
    for (const end of ended) tell(onEnd, end);
    if (result.isError) throw new Refused(tool, texts.join("\n"), ended);
    return { ...(camel(answer) as object), ended, text: texts.at(-1) ?? "" } as T;
  }
}

/** A command of a session. It is only a name: nothing happens to what runs when nobody has it any more. */
export class Command {
  /** `state`: how it stood at the last answer that was about it; undefined before the first. */
  constructor(private readonly ostler: Ostler, readonly handle: string, public state?: State) {}

  /** Until it ends, or the first of the conditions holds (`condition` says which), or the time is up (`waitTimedOut`). It goes on in any case. */
  async wait({ signal, timeoutMs, ...given }: WaitOptions = {}): Promise<State> {
    return (this.state = await this.ostler.wait<State>({ handle: this.handle, ...given }, { signal, timeoutMs }));
  }
  /** At most 30,000 bytes of its output. Reading takes nothing away. */
  read({ signal, ...given }: ReadOptions = {}): Promise<Page> {
    return this.ostler.call<Page>("read_command_output", { handle: this.handle, ...given }, { signal });
  }
  /** To one that is `interactive` or has a `terminal`. Answers with what it has written since, once it is silent for a moment. */
  async write(text: string, { signal, waitMs = 2_000, ...given }: WriteOptions = {}): Promise<State> {
    checked("write_stdin", { waitMs });
    const asked = { handle: this.handle, text, ...given, yieldMs: waitMs };
    return (this.state = await this.ostler.call<State>("write_stdin", asked, { signal, waitMs }));
  }
  /** Stops it with all of its processes: SIGTERM, and SIGKILL after 2 s. One that has ended is no error: its state is answered. */
  async cancel({ waitMs = 10_000, ...given }: CancelOptions = {}): Promise<State> {
    checked("cancel_command", { waitMs });
    const asked = { handle: this.handle, ...given, yieldMs: waitMs };
    return (this.state = await this.ostler.call<State>("cancel_command", asked, { waitMs }));
  }
}

/** The program: as given, `$OSTLER`, of the package `ostler`, in `$PATH`, in this order. Throws `NotInstalled`. */
export function findProgram(program?: string): string {
  for (const [name, given] of [["program", program], ["$OSTLER", process.env["OSTLER"]]] as const) {
    if (!given) continue;
    const found = which(given);
    if (found !== undefined) return found;
    throw new NotInstalled(`${name}: ${given} is no program that can be run; name ostler's own, or leave it out`);
  }
  for (const place of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      const ostler = createRequire(place).resolve("ostler/package.json");
      return createRequire(ostler).resolve(`ostler-linux-${process.arch}/bin/ostler`);
    } catch {
      // Not there; the next place is asked.
    }
  }
  const found = which("ostler");
  if (found !== undefined) return found;
  throw new NotInstalled("there is no program ostler, neither by $OSTLER, nor as the package ostler, nor in $PATH: npm install ostler");
}

function which(program: string): string | undefined {
  const places = program.includes("/") ? [program] : (process.env["PATH"] ?? "").split(delimiter).map((dir) => join(dir || ".", program));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return statSync(place).isFile();
    } catch {
      return false;
    }
  });
}

const first = (text: string): string => text.split(" ", 1)[0] ?? "";
const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Refuses what the server could not read, and so would never answer, and numbers that JSON has no words for: they would be left out in silence. */
function checked(tool: string, given: object): void {
  for (const [name, value] of within("", given)) {
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new Refused(tool, `${name}: ${value} is no number that a message can have; leave it out for the default`);
    }
    if (typeof value === "bigint") throw new Refused(tool, `${name}: give a number, not a bigint`);
    if (typeof value === "string" && !value.isWellFormed()) {
      const what = "has a lone surrogate, half of a character, and a message is UTF-8";
      const does = `cut text between characters; have a shell name a file that is no UTF-8 by its bytes: cat "$(printf 'caf\\351')" or cat caf?`;
      throw new Refused(tool, `${name}: ${JSON.stringify(value.slice(0, 200))} ${what}; ${does}`);
    }
  }
  const size = bytes(given);
  if (size > ARGUMENTS_MAX_BYTES) {
    const [name] = Object.entries(given).reduce((most, one) => (bytes(one[1]) > bytes(most[1]) ? one : most));
    const says = `the arguments are ${size} bytes as JSON, most of them ${name}, and a call takes at most ${ARGUMENTS_MAX_BYTES}`;
    throw new Refused(tool, `${says}; write it to a file and let the command read that, or write to it in pieces`);
  }
}
const bytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? "");

/** What stands in an argument, each with where it stands. */
function* within(name: string, value: unknown): Generator<[name: string, value: unknown]> {
  yield [name, value];
  if (typeof value !== "object" || value === null) return;
  for (const [key, one] of Object.entries(value)) {
    yield [`a name in ${name}`, key];
    yield* within(Array.isArray(value) ? `${name}[${key}]` : name === "" ? key : `${name}.${key}`, one);
  }
}

/** What a listener throws is nobody's who waits. */
function tell<T>(whom: ((what: T) => void) | undefined, what: T): void {
  try {
    whom?.(what);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}

/** Names of fields, and of those of objects in them; what the user has named (`env`, `labels`) is left as it is. */
function rename(value: unknown, change: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((one) => rename(one, change));
  if (typeof value !== "object" || value === null) return value;
  const all = Object.entries(value).filter(([, one]) => one !== undefined);
  return Object.fromEntries(all.map(([name, one]) => [change(name), name === "env" || name === "labels" ? one : rename(one, change)]));
}
const snake = (value: unknown) => rename(value, (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
const camel = (value: unknown) => rename(value, (name) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
