//! What travels between hosts, workers and the store, as JSON: the vocabulary of `messages`, and what names it here.
//!
//! | from → to | says | where |
//! |---|---|---|
//! | host → a worker with a free slot | [`LaunchAsk`] → [`LaunchReply`] | `ostler.{pool}.launch`, request and reply |
//! | host → the worker of a launch | [`WorkerAsk`] → [`WorkerReply`] | `ostler.{pool}.worker.{worker}` |
//! | host → all workers | [`AllAsk`] → [`AllReply`], one from each | `ostler.{pool}.all` |
//! | worker → store | [`Claim`] | bucket of claims, created before the start, removed after the result |
//! | worker, sentinel → store, and from there the inbox | [`Stored`] | bucket of results, created once |
//! | worker → store | [`Heartbeat`] | bucket of workers |
//!
//! What a launch holds (values of its environment, input) stands in no bucket and in no stream.

use crate::names::{LaunchId, WorkerName};
use async_nats::HeaderMap;
use ostler::{
    CallError, CommandId, Condition, Containment, Gap, Labels, LaunchError, LaunchRequest, OutputFile, Page,
    ReadRequest, Record, RecordingStopped, Screen, SessionId, Stamp, Status, StopCause, Tally, Text,
    UnixSignal, WaitEnd,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Asks for a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LaunchAsk {
    pub(crate) launch: LaunchId,
    /// Of this call, the same however often it is sent: by it who asks knows its own command from one that was there.
    #[serde(default)]
    pub(crate) call: String,
    pub(crate) request: LaunchRequest,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LaunchReply {
    /// It runs.
    Launched { worker: WorkerName, record: Box<Record> },
    /// It was claimed before: who asks looks it up.
    Known,
    /// It was not started, and nothing is left of it.
    Refused { error: NotStarted },
    /// The worker takes nothing now, and has claimed nothing.
    Busy,
    /// The session has ended.
    SessionEnded,
}

/// Who runs a launch, from before its start to its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) session: SessionId,
    pub(crate) launch: LaunchId,
    pub(crate) worker: WorkerName,
    /// Of this attempt to claim it.
    pub(crate) mark: String,
    /// Of the call that has launched it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) call: String,
    pub(crate) at: Stamp,
    /// Of the whole request, so that the same launch key with another request is found out.
    pub(crate) digest: String,
    pub(crate) command: String,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(crate) labels: Labels,
    /// Once it runs; without its environment and input, as every record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<Box<Record>>,
}
impl Claim {
    /// The result of one whose worker is gone, or has never started it.
    pub(crate) fn lost(&self) -> Record {
        let mut record = self.record.as_deref().cloned().unwrap_or_else(|| {
            let command_id = CommandId { unix_ns: self.at.0.saturating_mul(1_000_000), host_pid: 0, n: 0 };
            let mut record = Record::new(self.session.clone(), command_id, self.launch.handle_id());
            record.command = self.command.clone();
            record.command_or_op_descriptor = self.command.clone();
            record.labels = self.labels.clone();
            record.leftovers = Some(Vec::new());
            record
        });
        if self.record.is_some() {
            // Nobody has counted, and nobody could look.
            (record.line_count, record.leftovers) = (None, None);
        }
        record.exit_code = Some(-1);
        record.end(Status::Lost, Some(StopCause::HostGone));
        record
    }
}

/// How a launch ended: the one entry under its key, which is never written by two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) session: SessionId,
    pub(crate) launch: LaunchId,
    /// Whose launch it was.
    pub(crate) worker: WorkerName,
    /// A sentinel has written it: the worker is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_sentinel: bool,
    pub(crate) at: Stamp,
    pub(crate) digest: String,
    /// Of the call that has launched it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) call: String,
    pub(crate) end: End,
    /// Somebody who asked by the handle waits for it, for so long: readers of the inbox leave it to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_ms: Option<u64>,
    /// Who has asked by the handle and has it: it is in no inbox any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken: Option<String>,
    /// The revision at which it was stored, once another one has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<u64>,
}

/// What a list tells of a result without reading it, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredHead {
    /// The revision at which it was stored first: later ones are greater, by the store's own count.
    pub(crate) first: u64,
    /// It did not start.
    pub(crate) refused: bool,
}
const FIRST: &str = "Ostler-First";
const REFUSED: &str = "Ostler-Refused";

impl Stored {
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(first) = self.first {
            headers.insert(FIRST, first.to_string());
        }
        if matches!(self.end, End::Refused { .. }) {
            headers.insert(REFUSED, "1");
        }
        headers
    }
    /// As it takes the place of what was stored at this revision.
    pub(crate) fn taken_by(self, taker: &str, revision: u64) -> Stored {
        let first = Some(self.first.unwrap_or(revision));
        Stored { taken: Some(taker.to_owned()), held_ms: None, first, ..self }
    }
}
impl StoredHead {
    pub(crate) fn of(headers: &HeaderMap, revision: u64) -> StoredHead {
        let first = headers.get(FIRST).and_then(|first| first.as_str().parse().ok());
        StoredHead { first: first.unwrap_or(revision), refused: headers.get(REFUSED).is_some() }
    }
}

/// That a launch runs, and what it says: under a key of its own beside that of the result, where the newest is all there is, until the result withdraws it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) launch: LaunchId,
    pub(crate) at: Stamp,
    pub(crate) record: Box<Record>,
}
/// Where it stands.
pub(crate) fn progress_key(key: &str) -> String {
    format!("{key}.{PROGRESS}")
}
/// The last part of its key.
pub(crate) const PROGRESS: &str = "progress";

/// The end itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The result. `text`: the record with its texts is an object, since it is too long for a message.
    Result {
        record: Box<Record>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        text: bool,
        files: Files,
    },
    /// It did not start. No entry of the inbox.
    Refused { error: NotStarted },
}

/// How long the files of a sealed output are, and how each can be had without the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) combined: u64,
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
    /// Longer ones are not kept.
    pub(crate) max: u64,
    /// Everything is in the text of one stream, to the byte: no object is needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_text: bool,
    /// Some were not there any more when it was looked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) missing: bool,
}
impl Files {
    /// Of a command that has ended, from the sizes of its files.
    pub(crate) fn of(record: &Record, max: u64) -> Files {
        let size = |path: &std::path::Path| std::fs::metadata(path).map(|file| file.len());
        let sizes = (size(&record.output_path), size(&record.stdout_path), size(&record.stderr_path));
        let (Ok(combined), Ok(stdout), Ok(stderr)) = sizes else {
            // Of what has written nothing nobody needs a file.
            return Files {
                missing: record.recorded_bytes > 0,
                in_text: record.recorded_bytes == 0,
                max,
                ..Files::default()
            };
        };
        let text = if stderr == 0 { &record.stdout } else { &record.stderr };
        let one = stdout == 0 || stderr == 0;
        let sum = || Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // Text can differ from the bytes and be as long; their digest can't.
        let in_text = one
            && text.len() as u64 == combined
            && (combined == 0 || record.output_sha256.as_deref() == Some(&format!("sha256:{}", sum())));
        Files { combined, stdout, stderr, max, in_text, missing: false }
    }
    pub(crate) fn size(&self, which: OutputFile) -> u64 {
        match which {
            OutputFile::Combined => self.combined,
            OutputFile::Stdout => self.stdout,
            OutputFile::Stderr => self.stderr,
            OutputFile::Kept => 0,
        }
    }
    /// Whether it is an object. A stream that is all there is, is the combined one.
    pub(crate) fn is_object(&self, which: OutputFile) -> bool {
        let size = self.size(which);
        let is_combined = which != OutputFile::Combined && size == self.combined;
        !self.in_text && size > 0 && size <= self.max && !is_combined
    }
}

/// Why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotStarted {
    /// As on one machine.
    Launch(Box<LaunchError>),
    /// The worker could not.
    Worker { worker: WorkerName, why: String },
}

/// What of a launch names it to the end: the same key with anything else in it is another request. Where it belongs in a distributed trace is not part of it.
pub(crate) fn digest_of(request: &LaunchRequest) -> String {
    let mut request = request.clone();
    request.trace_context = None;
    crate::names::digest(&serde_json::to_vec(&request).unwrap_or_default())
}

/// Longest command line in a claim, and in a record that is too long for a message.
const COMMAND_MAX_BYTES: usize = 4 << 10;
/// A command line that fits; what is left out is said by an ellipsis.
pub(crate) fn cut(command: &str) -> String {
    if command.len() <= COMMAND_MAX_BYTES {
        return command.to_owned();
    }
    let end = (0..=COMMAND_MAX_BYTES).rev().find(|at| command.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &command[..end])
}
/// The record as whoever is not its worker sees it: its handle id is that of the launch, since those of two workers can be the same.
pub(crate) fn renamed(record: &Record) -> Record {
    let mut public = record.clone();
    let launch = public.labels.remove(LAUNCH_LABEL).and_then(|launch| launch.parse::<LaunchId>().ok());
    if let Some(launch) = launch {
        public.handle_id = launch.handle_id();
    }
    public
}
/// The same, and whether that is all of it: what is too long for a message is left out.
pub(crate) fn public(record: &Record) -> (Record, bool) {
    let mut public = renamed(record);
    if serde_json::to_vec(&public).map_or(0, |json| json.len()) <= RECORD_MAX_BYTES {
        return (public, true);
    }
    public.omit_text();
    public.command = cut(&public.command);
    public.command_or_op_descriptor = cut(&public.command_or_op_descriptor);
    (public, false)
}
/// Longest record that travels in a message, which may have 1 MiB.
const RECORD_MAX_BYTES: usize = 512 << 10;
/// The label under which a command has its launch id.
pub(crate) const LAUNCH_LABEL: &str = "ostler.launch";

/// What a worker says of itself, again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Its name.
    pub worker: WorkerName,
    /// This life of it.
    pub(crate) life: String,
    /// Where its lock and journal lie: whoever holds the lock there is the only one.
    pub(crate) place: String,
    /// The name of its machine.
    pub machine: String,
    /// When it was written, by the worker's clock.
    pub at: Stamp,
    /// How long it may run what it has claimed after its last heartbeat.
    pub lease_ms: u64,
    /// How many commands it takes at once.
    pub slots: u32,
    /// How many of these are free.
    pub free: u32,
    /// It ends, and takes nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ending: bool,
    /// What holds its commands.
    pub containment: Containment,
    /// Processors.
    pub cores: u32,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// What its operator says of it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The version of ostler.
    pub version: String,
}

/// Asked of the worker that has claimed a launch, by the key of that.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerAsk {
    /// A page of output. The answer is [`PageHead`] in a header, and the bytes.
    Read { command_id: CommandId, request: ReadRequest },
    /// Stop it; `now`: without its grace. The answer comes at once; the result comes as every result, `hold`: to who asked before it comes to the inbox.
    Cancel { key: String, hold: bool, now: bool },
    /// The record as it stands.
    Status { key: String },
    /// Wait for the first condition that holds.
    WaitFor { key: String, conditions: Vec<Condition>, timeout_ms: u64 },
    /// Write to its stdin or terminal, and say after so long what of it was taken. The same id is the same write, so that one whose answer was lost can be sent again.
    Write { key: String, id: String, bytes: Text, wait_ms: u64 },
    /// The screen of its terminal.
    Screen { key: String },
    /// Something that is done at once, and once for each id.
    Obey { key: String, id: String, order: Order },
}

/// What is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    CloseStdin,
    Resize { rows: u16, columns: u16 },
    Signal { signal: UnixSignal },
    Pause,
    Resume,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerReply {
    /// As it stands.
    Status { record: Box<Record> },
    /// What ended a wait.
    Waited { end: WaitEnd, record: Box<Record>, unseen: u64, recording_stopped: Option<RecordingStopped> },
    /// What became of a write.
    Written { taken: u64, queued: u64, dropped: u64 },
    /// What is on its screen.
    Screen { screen: Screen },
    /// It is done.
    Done,
    /// It is being stopped.
    Stopping,
    /// It does not run here, or not any more.
    NotHere,
    /// As on one machine.
    Refused { error: CallError },
    /// It can't be done.
    Failed { why: String },
}

/// The header in which [`PageHead`] travels.
pub(crate) const PAGE_HEAD: &str = "Ostler-Page";

/// What a page is, beside its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PageHead {
    pub(crate) offset: u64,
    pub(crate) bytes_read: u64,
    pub(crate) next_offset: u64,
    pub(crate) total_bytes: u64,
    pub(crate) eof: bool,
    pub(crate) first_line: Option<u64>,
    pub(crate) gap: Option<Gap>,
}

impl PageHead {
    pub(crate) fn of(page: &Page) -> PageHead {
        PageHead {
            offset: page.offset,
            bytes_read: page.bytes_read,
            next_offset: page.next_offset,
            total_bytes: page.total_bytes,
            eof: page.eof,
            first_line: page.first_line,
            gap: page.gap,
        }
    }
}

/// Asked of every worker of a pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AllAsk {
    /// End a session: stop what runs in it.
    EndSession { session: SessionId },
}

/// What each answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AllReply {
    /// Its part of the session has ended.
    Ended { worker: WorkerName, tally: Tally },
    /// It can't be done.
    Failed { worker: WorkerName, why: String },
}

/// Where a file of output is kept once its command has ended.
pub(crate) fn object(key: &str, which: OutputFile) -> String {
    format!("{key}.{which}")
}
/// Where the record stands whose texts are too long for a message.
pub(crate) fn text_object(key: &str) -> String {
    format!("{key}.record")
}
