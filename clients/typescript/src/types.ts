/** What a client takes, answers and throws. */

/** Whatever goes wrong here. */
export class OstlerError extends Error {
  override name = this.constructor.name;
}
/** There is no program `ostler`; the message says where it was looked for and what to install. */
export class NotInstalled extends OstlerError {}
/** `ostler mcp` has ended, or does not answer. It says why on stderr. The commands of its session have ended with it. */
export class ConnectionLost extends OstlerError {}
/** A call did not work, in ostler's words: what is wrong, and what to do. `ended` has the ends that this answer told. So is a call that cannot be sent. */
export class Refused extends OstlerError {
  constructor(readonly tool: string, text: string, readonly ended: readonly End[] = []) {
    super(text);
  }
}
/** Thrown by `check`: the command did not succeed. `state` says how it ended, the message too. */
export class CommandFailed extends OstlerError {
  constructor(readonly state: State) {
    super(`${state.text}\n${state.output}`.trim());
  }
}

/** A command has ended, and nobody waited for it. `again`: it may have been told before. */
export interface End { readonly handle: string; readonly text: string; readonly again: boolean }
/** A call still waits: told every 5 s, whatever the command writes. */
export interface Progress { readonly handle: string; readonly ms: number; readonly text: string }
/** What every answer has: ends of other commands that no answer has told before (`onEnd` has had them), and what ostler says to a model. */
export interface Answer { readonly ended: readonly End[]; readonly text: string }

/** What a wait has seen: a line that matches (`groups`: the whole match first), a port, silence, a prompt. */
export interface Condition {
  readonly which: "pattern" | "port" | "silence" | "input";
  readonly line: string | null;
  readonly groups: readonly (string | null)[];
  readonly offset: number | null;
  readonly port: number | null;
}

/** How a command stands, with its output: at most 30,000 bytes, of a longer one the beginning and the end. */
export interface State extends Answer {
  readonly handle: string;
  readonly command: string;
  readonly status: "running" | "completed" | "killed" | "timed_out" | "lost";
  /** Whether it ended by itself with exit code 0. Null while it runs. */
  readonly success: boolean | null;
  /** -1 if it died of a signal or that is not known. Null while it runs. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** cancelled, session_ended, deadline, idle, output_limit, host_gone, crashed or lease_lost; null if nobody stopped it. */
  readonly stopCause: string | null;
  /** From its start to its end. Null while it runs. */
  readonly durationMs: number | null;
  /** Since its last output. Null when it has ended. */
  readonly silenceMs: number | null;
  readonly output: string;
  /** Left out in the middle of `output`; `read` has them. */
  readonly omittedBytes: number;
  /** Where `read` and `wait` go on. */
  readonly nextOffset: number;
  readonly totalBytes: number;
  readonly outputPath: string;
  readonly leftovers: readonly string[] | null;
  readonly envWithheld: readonly string[];
  readonly artifactError: string | null;
  readonly condition: Condition | null;
  readonly waitTimedOut: boolean;
}

/** A piece of a command's output, from `offset` to `nextOffset`. `eof`: nothing follows, now or later. */
export interface Page extends Answer {
  readonly handle: string;
  readonly status: string;
  readonly output: string;
  readonly offset: number;
  readonly nextOffset: number;
  readonly totalBytes: number;
  readonly omittedBytes: number;
  readonly eof: boolean;
  readonly firstLine: number | null;
  readonly matches: number | null;
  readonly missingBytes: number;
  readonly cursor: readonly [number, number] | null;
}

/** A command in a list. `ageMs`: since its start; of one that has ended, how long it ran. */
export interface Row {
  readonly handle: string;
  readonly command: string;
  readonly status: string;
  readonly success: boolean | null;
  readonly exitCode: number | null;
  readonly ageMs: number | null;
  readonly silenceMs: number | null;
  readonly kept: number;
  readonly labels: Readonly<Record<string, string>>;
}
/** Those that run first, and of each kind the newest first; `more` were left out. */
export interface Listed extends Answer { readonly commands: readonly Row[]; readonly more: number }

/** Of every call. `signal`: stop waiting for the answer; the command goes on. */
export interface CallOptions { signal?: AbortSignal | undefined }
/** Of a command that is started. */
export interface CommandOptions extends CallOptions {
  cwd?: string | undefined;
  /** Variables to set. */
  env?: Record<string, string> | undefined;
  /** Stop it after this time. Default: never. */
  timeoutMs?: number | undefined;
  /** Stop it when it has written nothing for this time. Default: never. */
  idleTimeoutMs?: number | undefined;
  /** Its input, which then ends. Default: none. */
  stdin?: string | undefined;
  /** Keep its input open for `write`. */
  interactive?: boolean | undefined;
  /** Run it in a terminal of `rows` (24) and `columns` (80). */
  terminal?: boolean | undefined;
  rows?: number | undefined;
  columns?: number | undefined;
  /** Record standard error apart, for `read` with `stream`. */
  separateStderr?: boolean | undefined;
  /** Names and values of your own, at most 16. */
  labels?: Record<string, string> | undefined;
  /** The same key again gives the command that was started with it, and starts nothing. */
  launchKey?: string | undefined;
}
/** Until the command ends, or the first of these holds; at most `timeoutMs`. `offset`: show its output from there on. */
export interface WaitOptions extends CallOptions {
  pattern?: string | undefined;
  patternFrom?: number | undefined;
  port?: number | undefined;
  silenceMs?: number | undefined;
  input?: boolean | undefined;
  timeoutMs?: number | undefined;
  offset?: number | undefined;
}
/** From `offset`, the last `tail` lines (200), `lines` from `fromLine` (the first is 1) on, those that match `find`, or a terminal's screen. */
export interface ReadOptions extends CallOptions {
  offset?: number | undefined;
  tail?: number | undefined;
  fromLine?: number | undefined;
  lines?: number | undefined;
  find?: string | undefined;
  around?: number | undefined;
  screen?: boolean | undefined;
  stream?: "combined" | "stdout" | "stderr" | "kept" | undefined;
  raw?: boolean | undefined;
  maxBytes?: number | undefined;
}
/** Keys by name after the text (`enter`, `ctrl-c`, `up`), then the end of input, or a new size. `waitMs`: 2,000 for what it writes. */
export interface WriteOptions extends CallOptions {
  keys?: string[] | undefined;
  eof?: boolean | undefined;
  rows?: number | undefined;
  columns?: number | undefined;
  waitMs?: number | undefined;
}
/** `force`: kill at once. `signal`: only send that. `waitMs`: 10,000 for the end. */
export interface CancelOptions {
  force?: boolean | undefined;
  signal?: "SIGINT" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2" | undefined;
  waitMs?: number | undefined;
}
/** Of a client. */
export interface OpenOptions {
  /** The program; see `findProgram`. */
  program?: string | undefined;
  /** Flags of `ostler mcp`. */
  args?: string[] | undefined;
  cwd?: string | undefined;
  /** Of the server, and so of its commands (default: this process's). What looks like a credential is not handed on to commands, unless `args` say `--env-mode patch`. */
  env?: Record<string, string> | undefined;
  /** Called with each end that no awaited answer was about. What it throws is thrown outside of the call, as an event's listener would. */
  onEnd?: ((end: End) => void) | undefined;
  /** Called while calls wait. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** The state itself, if it has succeeded or still runs. Throws `CommandFailed` otherwise. */
export function check(state: State): State {
  if (state.success === false) throw new CommandFailed(state);
  return state;
}
