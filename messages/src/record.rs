//! One record for three uses: the handle response, progress and the result.

use crate::{CommandId, HandleId, Labels, SessionId, Stamp};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::{fmt, path::PathBuf, sync::Arc};

/// How a command stands, or ended. The first cause wins and is never rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not over yet.
    Running,
    /// The leader ended by itself: any exit code, any signal that ostler did not send.
    Completed,
    /// Cancelled, its session ended, or its lease was lost.
    Killed,
    /// Its deadline or idle time passed.
    TimedOut,
    /// It could not be followed to its end.
    Lost,
}
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Killed => "killed",
            Status::TimedOut => "timed_out",
            Status::Lost => "lost",
        })
    }
}

/// Who or what ended a command that did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopCause {
    /// A `Cancel`. The status is `killed`.
    Cancelled,
    /// Its session ended. The status is `killed`.
    SessionEnded,
    /// `timeout_ms` passed. The status is `timed_out`.
    Deadline,
    /// `idle_timeout_ms` passed without a byte. The status is `timed_out`.
    Idle,
    /// It wrote more than it was allowed to. The status is `killed`.
    OutputLimit,
    /// The host let go of its last handle to ostler (`killed`), or ended itself (`lost`).
    HostGone,
    /// Something of ostler's that followed it crashed or was killed. The status is `lost`.
    Crashed,
    /// Whoever lent the right to run it has taken that back: its host revoked it. The status is `killed`.
    LeaseLost,
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopCause::Cancelled => "cancelled",
            StopCause::SessionEnded => "session_ended",
            StopCause::Deadline => "deadline",
            StopCause::Idle => "idle",
            StopCause::OutputLimit => "output_limit",
            StopCause::HostGone => "host_gone",
            StopCause::Crashed => "crashed",
            StopCause::LeaseLost => "lease_lost",
        })
    }
}

/// What really holds the tree together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Containment {
    /// A cgroup of its own.
    Cgroup,
    /// A helper that adopts every orphan of the tree.
    Subreaper,
    /// The leader's session and process group: a descendant that calls setsid leaves it.
    Group,
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Containment::Cgroup => "cgroup",
            Containment::Subreaper => "subreaper",
            Containment::Group => "group",
        })
    }
}

/// What became of a process that outlived its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Gone after SIGTERM.
    Terminated,
    /// Gone after SIGKILL.
    Killed,
    /// Left alive, as was asked.
    Kept,
    /// Still there after SIGKILL and the time given to it.
    Survived,
}

/// A process of the tree that was alive after its leader's exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Leftover {
    /// Its process id when it was seen.
    pub pid: u32,
    /// Its name (`/proc/pid/comm`), at most 15 bytes.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl Leftover {
    /// One that was seen.
    pub fn new(pid: u32, name: impl Into<String>, outcome: Outcome) -> Leftover {
        Leftover { pid, name: name.into(), outcome }
    }
}

/// Whether both texts of a record stand in its `result.json` too. No part of what the record says: it is not compared.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct TextOnDisk(pub bool);
impl TextOnDisk {
    fn is_not(&self) -> bool {
        !self.0
    }
}
impl PartialEq for TextOnDisk {
    fn eq(&self, _: &TextOnDisk) -> bool {
        true
    }
}
impl Eq for TextOnDisk {}

/// What the leader used, from its reaping (getrusage(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time in user mode.
    pub user_ms: u64,
    /// Processor time in the kernel.
    pub system_ms: u64,
    /// Highest resident memory; null where the kernel's number is not known to be the command's: a process that the host itself
    /// makes begins with the host's.
    pub max_rss_bytes: Option<u64>,
}

impl Usage {
    /// From its three numbers.
    pub fn new(user_ms: u64, system_ms: u64, max_rss_bytes: Option<u64>) -> Usage {
        Usage { user_ms, system_ms, max_rss_bytes }
    }
}

/// The record. Field names are the wire names; what is not known yet is null, a count 0, a text "".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The session that owns the handle.
    pub session_id: SessionId,
    /// Names the artifact directory.
    pub command_id: CommandId,
    /// Names the handle.
    pub handle_id: HandleId,
    /// `running`, or how it ended.
    pub status: Status,
    /// The leader's process id.
    pub pid: Option<u32>,
    /// The leader's process group.
    pub process_group_id: Option<u32>,
    /// What really holds the tree.
    pub containment: Option<Containment>,
    /// Working directory.
    #[serde(default, serialize_with = "escaped::maybe", deserialize_with = "escaped::read_maybe")]
    pub cwd: Option<PathBuf>,
    /// The argv, shell-quoted.
    pub command: String,
    /// The same as `command`.
    pub command_or_op_descriptor: String,
    /// What its host says of it; left out on the wire if it says nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// RFC 3339, UTC.
    pub started_at: Option<Stamp>,
    /// RFC 3339, UTC: the leader's exit.
    pub ended_at: Option<Stamp>,
    /// Monotonic, from just before the spawn to the leader's exit.
    pub duration_ms: Option<u64>,
    /// The real code; -1 for death by signal or unknown.
    pub exit_code: Option<i32>,
    /// Name of the signal that ended the leader (`SIGKILL`, `SIGRTMIN+3`).
    pub signal: Option<String>,
    /// Whether the deadline or the idle time ended it.
    pub timed_out: bool,
    /// Head and tail of stdout.
    pub stdout: String,
    /// Head and tail of stderr.
    pub stderr: String,
    /// Whether anything of stdout was omitted.
    pub stdout_truncated: bool,
    /// Whether anything of stderr was omitted.
    pub stderr_truncated: bool,
    /// Both streams in order of arrival.
    #[serde(serialize_with = "escaped::path", deserialize_with = "escaped::read")]
    pub output_path: PathBuf,
    /// All of stdout.
    #[serde(serialize_with = "escaped::path", deserialize_with = "escaped::read")]
    pub stdout_path: PathBuf,
    /// All of stderr.
    #[serde(serialize_with = "escaped::path", deserialize_with = "escaped::read")]
    pub stderr_path: PathBuf,
    /// Newlines read, plus one if the last line is unterminated. Null where nobody has counted them: of a lost command that has written more
    /// than 1 MiB.
    pub line_count: Option<u64>,
    /// Bytes read from the process, both streams.
    pub byte_count: u64,
    /// Length of the combined file.
    pub recorded_bytes: u64,
    /// Combined bytes so far: where a reader goes on.
    pub output_offset: u64,
    /// Time since the last byte of output.
    pub silence_ms: Option<u64>,
    /// Whether it is paused; only then it stands on the wire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// `sha256:` and the hex digest of the combined bytes.
    pub output_sha256: Option<String>,
    /// Why the files do not hold every byte, if they don't.
    pub artifact_error: Option<String>,
    /// Processes found alive after the leader's exit; null if nobody was able to look.
    pub leftovers: Option<Vec<Leftover>>,
    /// What the leader used.
    pub usage: Option<Usage>,
    /// Whether it did what was asked: true for `completed` with exit code 0; null while it runs.
    #[serde(default)]
    pub success: Option<bool>,
    /// Who or what ended it; null while it runs, and exactly then when it ended by itself (`completed`).
    #[serde(default)]
    pub stop_cause: Option<StopCause>,
    /// The time limit that ended it: `timeout_ms` after `deadline`, `idle_timeout_ms` after `idle`; only then it stands on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// Whether the kernel has ended a process of the tree for want of memory, up to the leader's exit; null where it does not say (it
    /// does in the cgroup of a command with a limit, or after one).
    pub oom_killed: Option<bool>,
    /// Names of the host's variables that were withheld from it, because they are credentials; null before the start.
    pub env_withheld: Option<Vec<String>>,
    /// Why it runs without the tools that its directory asks for; null if it has them, or they were not asked for.
    #[serde(default)]
    pub toolchain_error: Option<String>,
    /// Both texts were left out to save memory; they stand in `result.json` beside the output. Never true in a record
    /// that a host is given.
    #[doc(hidden)]
    #[serde(skip)]
    pub text_omitted: bool,
    /// Both texts stand in `result.json`: they may be left out here.
    #[doc(hidden)]
    #[serde(skip)]
    pub text_on_disk: TextOnDisk,
}

/// What flowed, and what of it is shown: the part of a record that comes from the files.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Output {
    /// See [`Record::stdout`].
    pub stdout: String,
    /// See [`Record::stderr`].
    pub stderr: String,
    /// See [`Record::stdout_truncated`].
    pub stdout_truncated: bool,
    /// See [`Record::stderr_truncated`].
    pub stderr_truncated: bool,
    /// See [`Record::line_count`].
    pub line_count: Option<u64>,
    /// See [`Record::byte_count`].
    pub byte_count: u64,
    /// See [`Record::recorded_bytes`].
    pub recorded_bytes: u64,
    /// See [`Record::output_sha256`]; only at the end.
    pub output_sha256: Option<String>,
    /// See [`Record::artifact_error`].
    pub artifact_error: Option<String>,
    /// See [`Record::text_on_disk`]. A replay has to know it: texts that are left out depend on it.
    #[doc(hidden)]
    #[serde(default, skip_serializing_if = "TextOnDisk::is_not")]
    pub text_on_disk: TextOnDisk,
}

impl Record {
    /// A running command of which nothing else is known yet.
    pub fn new(session_id: SessionId, command_id: CommandId, handle_id: HandleId) -> Record {
        Record {
            session_id,
            command_id,
            handle_id,
            status: Status::Running,
            pid: None,
            process_group_id: None,
            containment: None,
            cwd: None,
            command: String::new(),
            command_or_op_descriptor: String::new(),
            labels: Labels::new(),
            started_at: None,
            ended_at: None,
            duration_ms: None,
            exit_code: None,
            signal: None,
            timed_out: false,
            stdout: String::new(),
            stderr: String::new(),
            stdout_truncated: false,
            stderr_truncated: false,
            output_path: PathBuf::new(),
            stdout_path: PathBuf::new(),
            stderr_path: PathBuf::new(),
            line_count: Some(0),
            byte_count: 0,
            recorded_bytes: 0,
            output_offset: 0,
            silence_ms: None,
            paused: false,
            output_sha256: None,
            artifact_error: None,
            leftovers: None,
            usage: None,
            success: None,
            stop_cause: None,
            time_limit_ms: None,
            oom_killed: None,
            env_withheld: None,
            toolchain_error: None,
            text_omitted: false,
            text_on_disk: TextOnDisk(false),
        }
    }
    /// The same with this status.
    pub fn with_status(mut self, status: Status) -> Record {
        self.status = status;
        self
    }
    /// It is over: fills in `status`, `stop_cause` and what follows from them and from `exit_code`, which is known by now.
    pub fn end(&mut self, status: Status, stop_cause: Option<StopCause>) {
        self.status = status;
        self.stop_cause = stop_cause;
        self.timed_out = status == Status::TimedOut;
        self.success = Some(status == Status::Completed && self.exit_code == Some(0));
    }
    /// Takes over what flowed.
    pub fn set_output(&mut self, output: Output) {
        self.text_on_disk = output.text_on_disk;
        self.stdout = output.stdout;
        self.stderr = output.stderr;
        self.stdout_truncated = output.stdout_truncated;
        self.stderr_truncated = output.stderr_truncated;
        self.line_count = output.line_count;
        self.byte_count = output.byte_count;
        self.recorded_bytes = output.recorded_bytes;
        self.output_offset = output.recorded_bytes;
        self.output_sha256 = output.output_sha256;
        self.artifact_error = output.artifact_error;
    }
    /// Leaves both texts out, and says so.
    #[doc(hidden)]
    pub fn omit_text(&mut self) {
        // Not `clear`: it would keep the memory that this is about.
        (self.stdout, self.stderr) = (String::new(), String::new());
        self.text_omitted = true;
    }
    /// Bytes of inline text.
    pub fn text_bytes(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }
}

/// A record on its way between actors. A trace has it in brief: every message would repeat the texts otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared(pub Arc<Record>);
impl From<Record> for Shared {
    fn from(record: Record) -> Shared {
        Shared(Arc::new(record))
    }
}
impl From<Arc<Record>> for Shared {
    fn from(record: Arc<Record>) -> Shared {
        Shared(record)
    }
}
impl std::ops::Deref for Shared {
    type Target = Record;
    fn deref(&self) -> &Record {
        &self.0
    }
}
impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut s = to.serialize_struct("Record", 8)?;
        s.serialize_field("handle_id", &self.handle_id)?;
        s.serialize_field("status", &self.status)?;
        s.serialize_field("exit_code", &self.exit_code)?;
        s.serialize_field("signal", &self.signal)?;
        s.serialize_field("byte_count", &self.byte_count)?;
        s.serialize_field("text_bytes", &self.text_bytes())?;
        s.serialize_field("artifact_error", &self.artifact_error)?;
        s.serialize_field("leftovers", &self.leftovers)?;
        s.end()
    }
}

/// Paths need not be UTF-8, JSON must be: they are written and read as a [`Text`](crate::Text).
#[doc(hidden)]
pub mod escaped {
    use crate::Text;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::{Path, PathBuf};

    pub(crate) fn path<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        Text(path.into()).serialize(to)
    }
    pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Text::deserialize(from).map(|path| path.0.into())
    }
    /// Writes one that may be absent.
    pub fn maybe<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| Text(path.into())).serialize(to)
    }
    /// Reads what [`maybe`] has written.
    pub fn read_maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Text>::deserialize(from)?.map(|path| path.0.into()))
    }
}
