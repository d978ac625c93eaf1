//! What a host asks for: one command with its limits.

mod brief;
mod trace_context;
mod validate;

pub(crate) use brief::Brief;
pub use trace_context::*;

use crate::{SessionId, Stdin, TerminalSize, Text, UnixSignal, View, quote};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Default time between terminate and kill.
pub const GRACE_MS: u64 = 2_000;
/// Default time that a pipe may stay open after the leader's exit.
pub const DRAIN_GRACE_MS: u64 = 250;
/// Default time between terminate and kill for processes that outlive their leader.
pub const LEFTOVERS_GRACE_MS: u64 = 500;
/// Default longest time between two progress entries.
pub const PROGRESS_MAX_INTERVAL_MS: u64 = 30_000;
/// Default limit of the text in a progress entry, for each stream.
pub const PROGRESS_MAX_INLINE_BYTES: u64 = 4_096;
/// Default limit of the text in a result, for each stream.
pub const MAX_INLINE_BYTES: u64 = 50_000;
/// Highest `max_inline_bytes`: that much memory can be held for each stream of each handle.
pub const MAX_INLINE_BYTES_LIMIT: u64 = 16 << 20;
/// Longest time that can be asked for, a year: beyond it a number is a mistake of units.
pub const MAX_TIME_MS: u64 = 366 * 24 * 3600 * 1000;
/// Highest `cpu_share`: the kernel's own limit of a weight (cgroups(7), `cpu.weight`).
pub const MAX_CPU_SHARE: u64 = 10_000;
/// Shortest time between two progress entries: below it a ticker would be a busy loop.
pub const MIN_PROGRESS_INTERVAL_MS: u64 = 10;

/// Most labels of a command: enough for who, what and why, and few enough to show.
pub const LABELS_MAX: u64 = 16;
/// Longest name of a label, in bytes.
pub const LABEL_NAME_MAX_BYTES: usize = 64;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_MAX_BYTES: usize = 256;

/// What a host says of a command, by its own names.
pub type Labels = BTreeMap<String, String>;

/// Names and values for a command's environment. Serialized as a map of both; a trace and `Debug` show only the names.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EnvVars(pub BTreeMap<Text, Text>);
impl fmt::Debug for EnvVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
impl Serialize for EnvVars {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}
impl EnvVars {
    /// A request as a trace has it: of its environment only the names, of its input only the size.
    pub(crate) fn names_only<S: serde::Serializer>(
        request: &std::sync::Arc<LaunchRequest>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Brief::of(request).serialize(to)
    }
}
impl<'de> Deserialize<'de> for EnvVars {
    /// Takes a map of names to values (a request), or a list of names (a trace, in which values never stand).
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<EnvVars, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Values(BTreeMap<Text, Text>),
            Names(Vec<Text>),
        }
        Ok(EnvVars(match Form::deserialize(from)? {
            Form::Values(values) => values,
            Form::Names(names) => names.into_iter().map(|name| (name, Text::default())).collect(),
        }))
    }
}

/// Where a command's environment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EnvMode {
    /// The host's environment, as it was when the graph started, without credentials; then `env`.
    #[default]
    InheritClean,
    /// All of the host's environment, as it was when the graph started; then `env`.
    Patch,
    /// Only `env`.
    Replace,
}

/// A set of variables for a purpose. What the caller sets or removes wins over it, in every [`EnvMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// Nobody watches and nobody answers: no colour, no pager, no prompt, `TERM=dumb`, whatever the host has set for itself; `CI=1`
    /// where the host does not set it. If the inherited locale is not one with UTF-8 that the machine has, `LC_ALL` names one.
    Agent,
    /// A terminal of the command's own: `TERM=xterm-256color`; what describes the host's terminal (`COLORTERM`, `COLUMNS`, `TMUX` …) is
    /// not inherited. The locale as for `agent`.
    Terminal,
}

/// Whether a command has the tools that its directory asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Toolchain {
    /// What is in its `PATH`.
    #[default]
    Off,
    /// What a person's shell there would have: if its directory or one above has a `mise.toml`, `.mise.toml` or `.tool-versions`, mise
    /// is asked there (`mise env --json`), or the shims of asdf come first in `PATH`. It costs the launch up to two seconds when it is
    /// asked for the first time, and some microseconds after that. What goes wrong refuses no launch: see `toolchain_error`.
    Auto,
}

/// What becomes of processes that outlive a leader which ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftoversPolicy {
    /// Terminated, then killed after `leftovers_grace_ms`.
    #[default]
    Kill,
    /// They live on until the session ends; their output is read and thrown away.
    Keep,
}

/// What becomes of a command that says more than `output_limit_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputPolicy {
    /// It goes on: what comes is still read and counted, and not recorded.
    #[default]
    StopRecording,
    /// It is stopped as by a cancel: `killed`, with the cause `output_limit`.
    StopCommand,
}

/// Which output is shown inline in progress and results. Everything is recorded and counted all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Capture {
    /// Show stdout.
    pub stdout: bool,
    /// Show stderr.
    pub stderr: bool,
    /// Show both, in order of arrival, in `stdout`; `stderr` is then empty.
    pub merge_stderr: bool,
    /// Limit of the raw bytes shown of each stream.
    pub max_inline_bytes: u64,
    /// As they came, or as a terminal would show them.
    pub view: View,
}
impl Default for Capture {
    fn default() -> Capture {
        Capture {
            stdout: true,
            stderr: true,
            merge_stderr: false,
            max_inline_bytes: MAX_INLINE_BYTES,
            view: View::Raw,
        }
    }
}

impl Capture {
    /// Shows stdout or not.
    pub fn stdout(mut self, shown: bool) -> Capture {
        self.stdout = shown;
        self
    }
    /// Shows stderr or not.
    pub fn stderr(mut self, shown: bool) -> Capture {
        self.stderr = shown;
        self
    }
    /// Shows both in `stdout`, in order of arrival.
    pub fn merge_stderr(mut self, merged: bool) -> Capture {
        self.merge_stderr = merged;
        self
    }
    /// As they came, or as a terminal would show them.
    pub fn view(mut self, view: View) -> Capture {
        self.view = view;
        self
    }
    /// Limit of the raw bytes shown of each stream.
    pub fn max_inline_bytes(mut self, bytes: u64) -> Capture {
        self.max_inline_bytes = bytes;
        self
    }
}

/// A reader that the recording of the output waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowLimit {
    /// How many bytes may be recorded that the follower has not asked to read beyond yet; 0 is the same as 1.
    pub max_ahead: u64,
}

/// A command with its limits. Times in milliseconds. An absent limit means none; a time limit of 0 is refused, since a
/// command that may take no time need not be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LaunchRequest {
    /// The session that owns the handle.
    pub session_id: SessionId,
    /// What to run: a path if it holds a slash, else looked up in the command's own `PATH`.
    pub program: Text,
    /// The arguments after the program's name.
    #[serde(default)]
    pub args: Vec<Text>,
    /// Working directory; the host's own if absent.
    #[serde(
        default,
        serialize_with = "crate::escaped::maybe",
        deserialize_with = "crate::escaped::read_maybe"
    )]
    pub cwd: Option<PathBuf>,
    /// Variables to set. Their values appear in no artifact and no trace.
    #[serde(default)]
    pub env: EnvVars,
    /// What `env` is added to.
    #[serde(default)]
    pub env_mode: EnvMode,
    /// Names to take out of what is inherited; `env` still wins.
    #[serde(default)]
    pub env_remove: Vec<Text>,
    /// Variables for a purpose, below `env`. Default: none.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// The tools of its directory: above what is inherited, below `preset` and `env`. Default: off.
    #[serde(default)]
    pub toolchain: Toolchain,
    /// Where its stdin comes from. Its bytes appear in no trace.
    #[serde(default)]
    pub stdin: Stdin,
    /// A pseudo-terminal of this size as its controlling terminal and its stdin, stdout and stderr. Its stdin is open then.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
    /// What is sent first to stop it; absent: SIGTERM.
    #[serde(default)]
    pub stop_signal: Option<UnixSignal>,
    /// The command's own time limit, from its start.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Longest silence on both streams.
    #[serde(default)]
    pub idle_timeout_ms: Option<u64>,
    /// Time between terminate and kill. Default 2000.
    #[serde(default = "default_grace_ms")]
    pub grace_ms: u64,
    /// How long a pipe may stay open after the leader's exit. Default 250.
    #[serde(default = "default_drain_grace_ms")]
    pub drain_grace_ms: u64,
    /// What becomes of processes that outlive the leader.
    #[serde(default)]
    pub leftovers: LeftoversPolicy,
    /// Time between terminate and kill for leftovers. Default 500.
    #[serde(default = "default_leftovers_grace_ms")]
    pub leftovers_grace_ms: u64,
    /// Time to the first progress entry; it doubles from there. Absent or 0: none.
    #[serde(default)]
    pub progress_interval_ms: Option<u64>,
    /// Where the doubling stops. Default 30000.
    #[serde(default = "default_progress_max_interval_ms")]
    pub progress_max_interval_ms: u64,
    /// Limit of the text in a progress entry, for each stream; at most `max_inline_bytes`. Default 4096.
    #[serde(default = "default_progress_max_inline_bytes")]
    pub progress_max_inline_bytes: u64,
    /// What is shown inline.
    #[serde(default)]
    pub capture: Capture,
    /// Beyond so many bytes of combined output nothing more is recorded; it is still read and counted.
    #[serde(default)]
    pub output_limit_bytes: Option<u64>,
    /// What becomes of a command that says more than its limit. Default: only the recording stops.
    #[serde(default)]
    pub output_policy: OutputPolicy,
    /// Its output is recorded no faster than its follower reads it, and the command waits for that, its idle time and silence with it; a
    /// stop, and its own end, wait for no follower. See `follows` of a read. Default: none.
    #[serde(default)]
    pub follow: Option<FollowLimit>,
    /// Most memory of the tree, swap included; beyond it the kernel ends processes of it. Refused where it can't be had.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// Most processes and threads of the tree at a time; beyond it fork(2) fails. Refused where it can't be had.
    #[serde(default)]
    pub processes_limit: Option<u64>,
    /// The tree's share of the processors when there is more work than processors, from 1 to 10,000: each command of the host without
    /// one counts 100. Nothing is taken away while nobody else wants it. Refused where it can't be had.
    #[serde(default)]
    pub cpu_share: Option<u64>,
    /// What the host says of it, for itself and for people: at most 16. They stand in its record and its `launch.json`, and choose in lists.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The same key in a session returns that handle, running or finished, for as long as its record is kept, instead of
    /// starting the work twice. To run again, use another key; the same key with another request is an error.
    #[serde(default)]
    pub launch_key: Option<String>,
    /// Where it belongs in a distributed trace. Default: nowhere but where the host's own environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_context: Option<TraceContext>,
}

fn default_grace_ms() -> u64 {
    GRACE_MS
}
fn default_drain_grace_ms() -> u64 {
    DRAIN_GRACE_MS
}
fn default_leftovers_grace_ms() -> u64 {
    LEFTOVERS_GRACE_MS
}
fn default_progress_max_interval_ms() -> u64 {
    PROGRESS_MAX_INTERVAL_MS
}
fn default_progress_max_inline_bytes() -> u64 {
    PROGRESS_MAX_INLINE_BYTES
}

impl LaunchRequest {
    /// A request with every field at its default.
    pub fn new(session_id: SessionId, program: impl Into<Text>) -> LaunchRequest {
        LaunchRequest {
            session_id,
            program: program.into(),
            args: Vec::new(),
            cwd: None,
            env: EnvVars::default(),
            env_mode: EnvMode::default(),
            env_remove: Vec::new(),
            preset: None,
            toolchain: Toolchain::Off,
            stdin: Stdin::default(),
            terminal: None,
            stop_signal: None,
            timeout_ms: None,
            idle_timeout_ms: None,
            grace_ms: GRACE_MS,
            drain_grace_ms: DRAIN_GRACE_MS,
            leftovers: LeftoversPolicy::default(),
            leftovers_grace_ms: LEFTOVERS_GRACE_MS,
            progress_interval_ms: None,
            progress_max_interval_ms: PROGRESS_MAX_INTERVAL_MS,
            progress_max_inline_bytes: PROGRESS_MAX_INLINE_BYTES,
            capture: Capture::default(),
            output_limit_bytes: None,
            output_policy: OutputPolicy::default(),
            follow: None,
            memory_limit_bytes: None,
            processes_limit: None,
            cpu_share: None,
            labels: Labels::new(),
            launch_key: None,
            trace_context: None,
        }
    }

    /// As a trace and `launch.json` have it: of its environment only the names, of its input only the size.
    ///
    /// # Errors
    /// It is no JSON; that can't be for a request, whose paths are escaped.
    pub fn in_brief(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(Brief::of(self))
    }

    /// The argv, quoted so that it can be pasted into a terminal.
    pub fn display(&self) -> String {
        let mut line = quote(self.program.as_bytes());
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quote(arg.as_bytes()));
        }
        line
    }

    /// Whether it can be written to while it runs.
    pub fn takes_input(&self) -> bool {
        self.stdin == Stdin::Open || self.terminal.is_some()
    }
    /// `timeout_ms`, if there is a limit.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.timeout_ms
    }
    /// `idle_timeout_ms`, if there is a limit.
    pub fn idle_ms(&self) -> Option<u64> {
        self.idle_timeout_ms
    }
    /// First and longest interval between progress entries, if there are any.
    pub fn progress_ms(&self) -> Option<(u64, u64)> {
        let first = self.progress_interval_ms.filter(|ms| *ms > 0)?.max(MIN_PROGRESS_INTERVAL_MS);
        Some((first, self.progress_max_interval_ms.max(first)))
    }
    /// Limit of a progress entry's text, which is never above that of the result.
    pub fn progress_inline_bytes(&self) -> u64 {
        self.progress_max_inline_bytes.min(self.capture.max_inline_bytes)
    }
}
