//! What a host can set. Every field has a default with its reason.

use super::{CredentialRule, DumpHook, Journal, ToolchainHook, TraceDump, Variables, handles_by_descriptors};
use ostler_artifacts::RetentionLimits;
use ostler_messages::{Containment, Stamp, trace::Header};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Settings of one graph.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where artifacts lie; absent: `$XDG_STATE_HOME/ostler/artifacts`, else `~/.local/state/ostler/artifacts`, else
    /// `$TMPDIR/ostler-{uid}`.
    pub artifact_root: Option<PathBuf>,
    /// What may hold the trees of commands: the strongest of these that the machine has is taken. Default: all. Leave out
    /// what must not be used; name only one to force it.
    pub containment: BTreeSet<Containment>,
    /// How many of each thing there may be.
    pub limits: Limits,
    /// Times that no request sets.
    pub times: Times,
    /// Which inherited variables are credentials.
    pub credentials: CredentialRule,
    /// Who else knows the tools of a directory. Default: nobody.
    pub toolchain_hook: Option<ToolchainHook>,
    /// How many commands are started or write at a time, at most: there are no more threads than that for each of the two, and never more than
    /// the processors have use for. More commands wait for a thread, and nothing else changes. Default: absent, any number.
    pub at_once: Option<usize>,
    /// When artifacts are removed.
    pub retention: Retention,
    /// What survives the host. Default: nothing.
    pub journal: Option<Journal>,
    /// Where the trace goes.
    pub trace: TraceTo,
    /// Whether a trace shows what the host itself has pushed into an inbox. Default: no, it has only the sizes.
    pub trace_pushed: bool,
    /// The last part of the trace, in bytes, that is always in memory: see [`Config::recorder_bytes`]. Default 0: none.
    pub recorder_bytes: usize,
    /// Who hears when it is written down. Default: nobody.
    pub dump_hook: Option<DumpHook>,
    /// What the spans of commands say.
    #[cfg(feature = "tracing")]
    pub spans: super::Spans,
}

impl Config {
    /// Every setting at its default.
    pub fn new() -> Config {
        Config::default()
    }
    /// Where artifacts lie.
    pub fn artifact_root(mut self, root: impl Into<PathBuf>) -> Config {
        self.artifact_root = Some(root.into());
        self
    }
    /// What may hold the trees of commands.
    pub fn containment(mut self, allowed: impl IntoIterator<Item = Containment>) -> Config {
        self.containment = allowed.into_iter().collect();
        self
    }
    /// How many of each thing there may be.
    pub fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }
    /// Times that no request sets.
    pub fn times(mut self, times: Times) -> Config {
        self.times = times;
        self
    }
    /// Which inherited variables are credentials.
    pub fn credentials(mut self, rule: CredentialRule) -> Config {
        self.credentials = rule;
        self
    }
    /// Who else knows the tools of a directory: asked for each launch with [`Toolchain::Auto`](crate::Toolchain), before mise and
    /// asdf, with the command's directory and the environment that it has without tools. What it gives stands above what is inherited
    /// and below what the caller sets. `None`: not its business, the files decide. An error stands in the record (`toolchain_error`),
    /// and the command runs without; so does no answer within [`TOOLCHAIN_LIMIT`](crate::TOOLCHAIN_LIMIT), or a panic.
    ///
    /// It is called on a thread of its own, by several launches at once, 16 at most. One that never comes back keeps its thread.
    pub fn toolchain_hook(
        mut self,
        hook: impl Fn(&Path, &Variables) -> Result<Option<Variables>, String> + Send + Sync + 'static,
    ) -> Config {
        self.toolchain_hook = Some(ToolchainHook(Arc::new(hook)));
        self
    }
    /// How many commands are started or write at a time: a program that runs one command needs one thread for each.
    pub fn at_once(mut self, commands: usize) -> Config {
        self.at_once = Some(commands);
        self
    }
    /// Threads of one kind, of which the processors have use for so many.
    pub(crate) fn threads(&self, useful: usize) -> usize {
        self.at_once.map_or(useful, |commands| useful.min(commands.max(1)))
    }
    /// When artifacts are removed.
    pub fn retention(mut self, retention: Retention) -> Config {
        self.retention = retention;
        self
    }
    /// What survives the host. On real processes it needs the feature `journal`.
    pub fn journal(mut self, journal: Journal) -> Config {
        self.journal = Some(journal);
        self
    }
    /// Where the trace goes.
    pub fn trace(mut self, to: TraceTo) -> Config {
        self.trace = to;
        self
    }
    /// Whether a trace shows what the host itself has pushed into an inbox, and what the recorder holds does. A replay is the same either way.
    pub fn trace_pushed(mut self, shown: bool) -> Config {
        self.trace_pushed = shown;
        self
    }
    /// The flight recorder: how much of the trace is always in memory, [`RECORDER_BYTES`](crate::RECORDER_BYTES) for most hosts. The memory is taken as it is
    /// needed. 0, the default, keeps nothing: it costs up to 4 % of the time of a command that does nothing (`docs/traces.md`).
    ///
    /// It is written to a file when an actor or a thread of the graph crashes, or a result is [`Lost`](crate::Status::Lost) or has
    /// [survivors](crate::Outcome::Survived): below the artifact root, `trace_{unix nanoseconds}_{host pid}.jsonl`, mode 0600; at most 16 in the life of a graph, a
    /// second apart. Retention removes those of its age, and all but the newest 32. No result waits for it, but for the answer to a shutdown, up to two seconds.
    /// [`Ostler::dump_trace`](crate::Ostler::dump_trace) writes it at any time. What can't be written is told by [`Health`](crate::Health). In a scripted world
    /// only the host writes it.
    pub fn recorder_bytes(mut self, bytes: usize) -> Config {
        self.recorder_bytes = bytes;
        self
    }
    /// Who hears that the recorder was written down, or could not be: it is called on a thread of its own, which ends with it.
    pub fn on_trace_dump(mut self, hook: impl Fn(&TraceDump) + Send + Sync + 'static) -> Config {
        self.dump_hook = Some(DumpHook(Arc::new(hook)));
        self
    }
    /// What the spans of commands say, and what place of a distributed trace each command is told.
    #[cfg(feature = "tracing")]
    pub fn spans(mut self, spans: super::Spans) -> Config {
        self.spans = spans;
        self
    }
}
impl Default for Config {
    fn default() -> Config {
        Config {
            artifact_root: None,
            containment: [Containment::Cgroup, Containment::Subreaper, Containment::Group].into(),
            limits: Limits::default(),
            times: Times::default(),
            credentials: CredentialRule::default(),
            toolchain_hook: None,
            at_once: None,
            retention: Retention::default(),
            journal: None,
            trace: TraceTo::default(),
            trace_pushed: false,
            recorder_bytes: 0,
            dump_hook: None,
            #[cfg(feature = "tracing")]
            spans: super::Spans::default(),
        }
    }
}

/// Live handles of one session by default: a model that starts more at once has lost its way.
pub const SESSION_HANDLES: u64 = 1_024;
/// Sessions that are open or hold unread results (about 1 KiB each without them): far more conversations than one host
/// leads at once.
pub const SESSIONS: u64 = 65_536;
/// Results of one session that nobody has taken (about 1 KiB each); beyond it nothing is launched in it.
pub const UNREAD_RESULTS: u64 = 16_384;
/// Finished handles whose result a late cancel can still ask for.
pub const REPLAY_RESULTS: u64 = 256;
/// Calls that are open (about 300 bytes each): on their way to the graph, which takes about 1 µs for each, or waiting for
/// their answer.
pub const OPEN_CALLS: u64 = 16_384;

/// How many of each thing there may be, and how much.
///
/// ```
/// # use ostler::{*, testing::*}; use std::time::Duration;
/// # let world = World::new();
/// # world.program("server", Program::new());
/// let mut limits = Limits::default();
/// limits.session_handles = 1;
/// limits.session_output_bytes = Some(1 << 30);
/// # let ostler = Ostler::scripted(Config::new().limits(limits), &world)?;
/// # let session = ostler.open_session().wait()?;
/// let first = session.launch(Command::new("server")).wait()?;
/// let refused = session.launch(Command::new("server")).wait();
/// let Err(Error::Launch(LaunchError::LimitReached { limit, oldest, .. })) = refused else { panic!() };
/// assert_eq!((limit, oldest), (Limit::SessionHandles, vec![first.id()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Reaching a limit is a typed error, never a wait without end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// Live handles in all. Default: what `RLIMIT_NOFILE` has room for; that limit is never raised for the host.
    pub handles: u64,
    /// Live handles of one session. Default [`SESSION_HANDLES`].
    pub session_handles: u64,
    /// Sessions that are open, or have ended with entries that nobody has taken. Default [`SESSIONS`].
    pub sessions: u64,
    /// Results of one session that nobody has taken; beyond it launches in that session are refused until half of them are
    /// taken. Default [`UNREAD_RESULTS`].
    pub unread_results: u64,
    /// Unread results of one session that keep their text in memory; the others reload it when taken.
    /// Default [`ostler_inbox::RESULTS_WITH_TEXT`].
    pub results_with_text: u64,
    /// Unread entries pushed by the host, for each session. Default [`ostler_inbox::PUSHED_ENTRIES`].
    pub pushed_entries: u64,
    /// Subscriptions to the inbox of one session. Default [`ostler_inbox::SUBSCRIPTIONS`].
    pub subscriptions: u64,
    /// Finished handles whose result a late cancel can still ask for. Default [`REPLAY_RESULTS`].
    pub replay_results: u64,
    /// Bytes of recorded output on disk of all commands of one session together, as long as their files are there: it stands there twice, in the
    /// order of arrival and by stream. When they are spent nothing more is recorded, as at a command's own output limit and with
    /// its policy, and launches in that session are refused. Default: no limit.
    pub session_output_bytes: Option<u64>,
    /// Calls that were sent and are not finished. One more fails at once. Default [`OPEN_CALLS`].
    pub open_calls: u64,
}
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handles: handles_by_descriptors(),
            session_handles: SESSION_HANDLES,
            sessions: SESSIONS,
            unread_results: UNREAD_RESULTS,
            results_with_text: ostler_inbox::RESULTS_WITH_TEXT as u64,
            pushed_entries: ostler_inbox::PUSHED_ENTRIES as u64,
            subscriptions: ostler_inbox::SUBSCRIPTIONS as u64,
            replay_results: REPLAY_RESULTS,
            session_output_bytes: None,
            open_calls: OPEN_CALLS,
        }
    }
}

/// Default time for a start: an exec from a local disk takes milliseconds, one from a slow network file system seconds.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Default time between kill and giving up: the end of a process with 6 GiB of memory took 0.7 s.
pub const UNKILLABLE_TIME: Duration = Duration::from_secs(1);
/// Default time for closing the files: a disk that answers does it in milliseconds.
pub const SEAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Times that no request sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Times {
    /// For a launch that neither starts nor fails. Default [`START_TIMEOUT`].
    pub start_timeout: Duration,
    /// Between kill and reporting survivors. Default [`UNKILLABLE_TIME`].
    pub unkillable: Duration,
    /// For completing the artifacts. Default [`SEAL_TIMEOUT`].
    pub seal_timeout: Duration,
}
impl Default for Times {
    fn default() -> Times {
        Times { start_timeout: START_TIMEOUT, unkillable: UNKILLABLE_TIME, seal_timeout: SEAL_TIMEOUT }
    }
}

/// What of a host's settings decisions of the graph depend on. It stands in the first line of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Decisive {
    pub(crate) limits: Limits,
    pub(crate) times: Times,
}
impl Config {
    /// The first line of a trace of its graph.
    pub(crate) fn header(&self, host_pid: u32, artifact_root: String, started_at: Stamp) -> Header {
        let decisive = Decisive { limits: self.limits.clone(), times: self.times.clone() };
        // Numbers and times by name.
        let settings = serde_json::to_value(decisive).unwrap_or_default();
        Header::new(host_pid, artifact_root, started_at).with_settings(self.journal.is_some(), settings)
    }
}

/// Default time from one removal to the next while a graph runs.
pub const RETENTION_INTERVAL: Duration = Duration::from_secs(3_600);

/// When artifacts are removed: at the start of a graph, and while it runs. If within the interval another host with the same limits has looked, only
/// at one of 64 starts: a host that lives for a moment does not look through all of them. Never those of a command that lives, whose result is unread or
/// is still kept for who asks late, or of another living host; those count all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Those that are older than that. Default a week.
    pub age: Duration,
    /// The oldest beyond so many commands. Default 512.
    pub commands: usize,
    /// The oldest beyond so many bytes. Default 10 GiB.
    pub bytes: u64,
    /// From one removal to the next; at least a millisecond. Default [`RETENTION_INTERVAL`].
    pub interval: Duration,
}
impl Retention {
    pub(crate) fn limits(&self) -> RetentionLimits {
        RetentionLimits { age: self.age, commands: self.commands, bytes: self.bytes }
    }
}
impl Default for Retention {
    fn default() -> Retention {
        let age = Duration::from_secs(ostler_artifacts::RETENTION_AGE_HOURS * 3_600);
        let (commands, bytes) = (ostler_artifacts::RETENTION_COUNT, ostler_artifacts::RETENTION_BYTES);
        Retention { age, commands, bytes, interval: RETENTION_INTERVAL }
    }
}

/// Where the trace goes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TraceTo {
    /// Nowhere.
    #[default]
    Off,
    /// Into a file, which is made or emptied, mode 0600. It is written by a thread of its own; if the disk can't keep
    /// up with 16 MiB in between, a line `{"lost": n}` says how many deliveries are missing.
    File(PathBuf),
    /// Into memory.
    Memory(TraceLog),
}

/// Most bytes that a [`TraceLog`] holds; what comes after is left out.
pub const TRACE_LOG_BYTES: usize = 64 << 20;

/// A trace in memory: JSON Lines.
#[derive(Clone, Debug, Default)]
pub struct TraceLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    bytes: Vec<u8>,
    /// Lines for which there was no room.
    lost: u64,
}

impl TraceLog {
    /// What was recorded so far. If there was no room for some lines, the last one says how many: `{"lost":3}`.
    pub fn text(&self) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from_utf8_lossy(&log.bytes).into_owned();
        if log.lost > 0 {
            text.push_str(&lost_line(log.lost));
        }
        text
    }
    pub(crate) fn write(&self, line: &[u8]) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once there is a gap nothing more is recorded: the line that tells of it is the last.
        if log.lost > 0 || log.bytes.len() + line.len() > TRACE_LOG_BYTES {
            // An empty one is a flush.
            log.lost += u64::from(!line.is_empty());
        } else {
            log.bytes.extend_from_slice(line);
        }
    }
}

/// The line of a trace that stands where others are missing.
pub(crate) fn lost_line(lost: u64) -> String {
    format!("{{\"lost\":{lost}}}\n")
}
