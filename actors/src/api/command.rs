//! A command, built like `std::process::Command`.

use ostler_messages::{
    Capture, EnvMode, FollowLimit, LaunchRequest, LeftoversPolicy, OutputPolicy, Preset, SessionId, Stdin,
    TerminalSize, Text, Toolchain, TraceContext, UnixSignal,
};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// What to run and within which limits. Read [`LaunchRequest`] for the defaults.
///
/// **Secrets belong into [`env`](Command::env) or stdin.** Program, arguments, labels and output are stored as they are: in the artifacts, in a trace, in a
/// [`Journal`](crate::Journal), and `ostler ps` shows them. The values of the environment and what is written to stdin are stored nowhere.
///
/// ```
/// use ostler::Command;
/// use std::time::Duration;
///
/// let build = Command::new("cargo")
///     .args(["build", "--release"])
///     .current_dir("/src/project")
///     .env("CARGO_TERM_COLOR", "never")
///     .timeout(Duration::from_secs(600))
///     .progress(Duration::from_secs(5));
/// assert_eq!(build.to_string(), "cargo build --release");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(LaunchRequest);

impl Command {
    /// A path if it holds a slash, else a name that is looked up in the command's own `PATH`.
    pub fn new(program: impl Into<OsString>) -> Command {
        Command(LaunchRequest::new(SessionId::new(""), program.into()))
    }
    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Command {
        self.0.args.push(Text(arg.into()));
        self
    }
    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Command {
        self.0.args.extend(args.into_iter().map(|arg| Text(arg.into())));
        self
    }
    /// Working directory; the host's own by default.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Command {
        self.0.cwd = Some(dir.into());
        self
    }
    /// Sets a variable. It is never filtered, and its value appears in no artifact and no trace.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Command {
        self.0.env.0.insert(Text(name.into()), Text(value.into()));
        self
    }
    /// Sets variables.
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(
        self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Command {
        vars.into_iter().fold(self, |command, (name, value)| command.env(name, value))
    }
    /// Does not inherit this variable.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Command {
        let name = Text(name.into());
        self.0.env.0.remove(&name);
        self.0.env_remove.push(name);
        self
    }
    /// Inherits nothing: only what [`env`](Command::env) sets.
    pub fn env_clear(mut self) -> Command {
        self.0.env_mode = EnvMode::Replace;
        self.0.env.0.clear();
        self
    }
    /// What is inherited; by default everything but credentials.
    pub fn env_mode(mut self, mode: EnvMode) -> Command {
        self.0.env_mode = mode;
        self
    }
    /// Sets variables for a purpose: [`Preset::Agent`] for output that a program reads, [`Preset::Terminal`] for a terminal. What
    /// [`env`](Command::env) and [`env_remove`](Command::env_remove) say wins. Default: none.
    ///
    /// ```
    /// # use ostler::{Command, OutputPolicy, Preset};
    /// let build = Command::new("cargo").arg("build")
    ///     .preset(Preset::Agent)                      // no colour, no pager, no prompt
    ///     .output_limit(1 << 30)
    ///     .output_policy(OutputPolicy::StopCommand)   // killed, with the cause output_limit
    ///     .cpu_share(50);                             // half of what another command gets
    /// ```
    pub fn preset(mut self, preset: Preset) -> Command {
        self.0.preset = Some(preset);
        self
    }
    /// Runs it with the tools that its directory asks for ([`Toolchain::Auto`]); [`Config::toolchain_hook`](crate::Config::toolchain_hook)
    /// knows others. Default: off.
    pub fn toolchain(mut self, toolchain: Toolchain) -> Command {
        self.0.toolchain = toolchain;
        self
    }
    /// These bytes come to its stdin, then the end of file. At most [`INPUT_MAX_BYTES`](crate::INPUT_MAX_BYTES). They appear in no
    /// trace. By default stdin is `/dev/null`.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.0.stdin = Stdin::Bytes(Text::from_bytes(bytes.into()));
        self
    }
    /// Its stdin stays open for [`Handle::write`](crate::Handle::write), until [`Handle::close_stdin`](crate::Handle::close_stdin) or
    /// its end.
    pub fn stdin_open(mut self) -> Command {
        self.0.stdin = Stdin::Open;
        self
    }
    /// Gives it a pseudo-terminal of this size, at least 1 × 1, as its controlling terminal. What it writes comes as one stream
    /// (`stdout`), as a terminal is sent it: lines end in `\r\n`, and what is written to it is echoed. Its stdin is open, and `TERM` is
    /// `xterm-256color` unless [`env`](Command::env) says otherwise.
    pub fn terminal(mut self, rows: u16, columns: u16) -> Command {
        self.0.terminal = Some(TerminalSize { rows, columns });
        self
    }
    /// What is sent first to stop it, in place of SIGTERM. SIGKILL comes after the grace all the same.
    pub fn stop_signal(mut self, signal: UnixSignal) -> Command {
        self.0.stop_signal = Some(signal);
        self
    }
    /// The command's own time limit.
    pub fn timeout(mut self, limit: Duration) -> Command {
        self.0.timeout_ms = Some(millis(limit));
        self
    }
    /// Longest silence on both streams.
    pub fn idle_timeout(mut self, limit: Duration) -> Command {
        self.0.idle_timeout_ms = Some(millis(limit));
        self
    }
    /// Time between terminate and kill.
    pub fn grace(mut self, grace: Duration) -> Command {
        self.0.grace_ms = millis(grace);
        self
    }
    /// How long a pipe may stay open after the leader's exit.
    pub fn drain_grace(mut self, grace: Duration) -> Command {
        self.0.drain_grace_ms = millis(grace);
        self
    }
    /// What becomes of processes that outlive the leader.
    pub fn leftovers(mut self, policy: LeftoversPolicy) -> Command {
        self.0.leftovers = policy;
        self
    }
    /// Time between terminate and kill for leftovers.
    pub fn leftovers_grace(mut self, grace: Duration) -> Command {
        self.0.leftovers_grace_ms = millis(grace);
        self
    }
    /// Progress after this time, then at doubling intervals.
    pub fn progress(mut self, first: Duration) -> Command {
        self.0.progress_interval_ms = Some(millis(first));
        self
    }
    /// Where the doubling stops.
    pub fn progress_max(mut self, interval: Duration) -> Command {
        self.0.progress_max_interval_ms = millis(interval);
        self
    }
    /// Limit of the text in a progress entry, for each stream.
    pub fn progress_inline_bytes(mut self, bytes: u64) -> Command {
        self.0.progress_max_inline_bytes = bytes;
        self
    }
    /// What is shown inline.
    pub fn capture(mut self, capture: Capture) -> Command {
        self.0.capture = capture;
        self
    }
    /// Limit of the text in the result, for each stream.
    pub fn inline_bytes(mut self, bytes: u64) -> Command {
        self.0.capture.max_inline_bytes = bytes;
        self
    }
    /// Shows stderr in stdout, in order of arrival.
    pub fn merge_stderr(mut self) -> Command {
        self.0.capture.merge_stderr = true;
        self
    }
    /// What becomes of it beyond its [`output_limit`](Command::output_limit). Default: only the recording stops.
    pub fn output_policy(mut self, policy: OutputPolicy) -> Command {
        self.0.output_policy = policy;
        self
    }
    /// Beyond so many bytes nothing more is recorded, or, by its [`output_policy`](Command::output_policy), the command is stopped.
    pub fn output_limit(mut self, bytes: u64) -> Command {
        self.0.output_limit_bytes = Some(bytes);
        self
    }
    /// Says something of it: a name and a value of the host's own, at most 16 of them. See [`LaunchRequest::labels`].
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Command {
        self.0.labels.insert(name.into(), value.into());
        self
    }
    /// Its output is recorded no faster than its follower reads it, at most so many bytes ahead: then the command waits, as for the
    /// reader of a pipe. The follower is whoever reads with [`ReadOutput::follows`](crate::ReadOutput::follows). The time for which it is waited for is no silence.
    /// A command that nobody follows waits until its deadline, so give it one. Default: nobody is waited for.
    pub fn follow(mut self, max_ahead: u64) -> Command {
        self.0.follow = Some(FollowLimit { max_ahead });
        self
    }
    /// Most memory of the tree, swap included. Beyond it the kernel ends processes of it, and the record says so (`oom_killed`). Needs
    /// [`Containment::Cgroup`](crate::Containment) and a delegated `memory` controller, else the launch is refused.
    pub fn memory_limit(mut self, bytes: u64) -> Command {
        self.0.memory_limit_bytes = Some(bytes);
        self
    }
    /// Most processes and threads of the tree at a time. Beyond it they can't fork. Needs
    /// [`Containment::Cgroup`](crate::Containment) and a delegated `pids` controller, else the launch is refused.
    pub fn processes_limit(mut self, processes: u64) -> Command {
        self.0.processes_limit = Some(processes);
        self
    }
    /// The tree's share of the processors, from 1 to 10,000, when there is more work than processors: beside other commands of this
    /// graph, which count 100 each. Needs [`Containment::Cgroup`](crate::Containment) and a delegated `cpu` controller, else the launch
    /// is refused.
    pub fn cpu_share(mut self, share: u64) -> Command {
        self.0.cpu_share = Some(share);
        self
    }
    /// The same key in a session, while its handle lives, returns that handle instead of starting the work twice.
    pub fn launch_key(mut self, key: impl Into<String>) -> Command {
        self.0.launch_key = Some(key.into());
        self
    }
    /// Where it belongs in a distributed trace: it finds that in `TRACEPARENT` and `TRACESTATE`.
    pub fn trace_context(mut self, context: TraceContext) -> Command {
        self.0.trace_context = Some(context);
        self
    }
    /// As a request of this session.
    pub fn into_request(mut self, session_id: &SessionId) -> LaunchRequest {
        self.0.session_id = session_id.clone();
        self.0
    }
}
impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.display())
    }
}

/// Whole milliseconds, rounded up: a limit never comes early, and one below a millisecond does not mean "none".
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
