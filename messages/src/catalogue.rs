//! Every message of the graph, by who sends it to whom. Requests are verbs, news are past participles.
//!
//! Messages from [`Host`](ActorName::Host) and news from the [`Kernel`](ActorName::Kernel) are the graph's only inputs;
//! in a trace they are the records without a cause, and all others follow from them.

use crate::{
    ActorName, CallError, CallId, CommandId, Containment, Entry, Filter, HandleId, LaunchError,
    LaunchRequest, Leftover, Output, SessionId, Shared, Stamp, Stream, Text, Usage,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
        impl actix::Message for $name { type Result = (); }
    )*};
}
macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
        impl actix::Message for $name { type Result = (); }
    )*};
}

// ── host → supervisor ───────────────────────────────────────────────────────────────────────────────────────────────
messages! {
    /// Opens a session. → [`Answer::Opened`]
    OpenSession {
        /// Who asks.
        call: CallId,
        /// The host's own string; made if absent.
        session_id: Option<SessionId>,
    }
    /// Starts a command. → [`Answer::Launched`]
    Launch {
        /// Who asks.
        call: CallId,
        /// What to run.
        request: Arc<LaunchRequest>,
    }
    /// Stops a command; a second one means now. → [`Answer::Cancelled`]
    Cancel {
        /// Who asks.
        call: CallId,
        /// What to stop.
        handle_id: HandleId,
        /// How long to wait for the result; for as long as it takes if absent.
        wait_ms: Option<u64>,
        /// Send the result to the inbox too.
        notify_on_cancel: bool,
    }
    /// Refuses new launches, stops all handles at the same time. → [`Answer::Ended`]
    EndSession {
        /// Who asks.
        call: CallId,
        /// Which session.
        session_id: SessionId,
        /// Its unread entries are not kept.
        discard: bool,
    }
    /// Tells the live handles of a session. → [`Answer::Listed`]
    List {
        /// Who asks.
        call: CallId,
        /// Which.
        session_id: SessionId,
    }
    /// Answers after a time by the graph's clock. → [`Answer::Slept`]
    Sleep {
        /// Who asks.
        call: CallId,
        /// For how long.
        sleep_ms: u64,
    }
    /// Ends every session, then the graph. → [`Answer::Stopped`]
    Shutdown {
        /// Who asks.
        call: CallId,
    }
    /// The last host handle was dropped: everything is killed without grace and the graph ends.
    HostGone {}
}

// ── host → inbox ────────────────────────────────────────────────────────────────────────────────────────────────────
messages! {
    /// Adds an entry of the host's own. → [`Answer::Pushed`]
    Push {
        /// Who asks.
        call: CallId,
        /// Whose inbox.
        session_id: SessionId,
        /// The host's own word.
        kind: String,
        /// The host's own word.
        source: String,
        /// Anything.
        content: serde_json::Value,
    }
    /// Takes entries out, in order; the others stay, in order. → [`Answer::Drained`]
    Drain {
        /// Who asks.
        call: CallId,
        /// Whose inbox.
        session_id: SessionId,
        /// Which entries.
        filter: Filter,
        /// How many at most.
        most: Option<usize>,
        /// How long to wait for the first one if there is none; absent: not at all.
        wait_ms: Option<u64>,
    }
    /// Waits until an entry is there; takes nothing. → [`Answer::Waited`]
    Wait {
        /// Who asks.
        call: CallId,
        /// Whose inbox.
        session_id: SessionId,
        /// For which entries.
        filter: Filter,
        /// For how long.
        timeout_ms: u64,
    }
    /// Counts entries. → [`Answer::Pending`]
    Pending {
        /// Who asks.
        call: CallId,
        /// Whose inbox.
        session_id: SessionId,
        /// Which entries.
        filter: Filter,
    }
}

// ── host → whoever holds the call: supervisor or inbox ──────────────────────────────────────────────────────────────
messages! {
    /// The caller has its answer. What was leased to the call is the caller's and leaves the graph.
    Ack {
        /// Which call.
        call: CallId,
    }
    /// The caller is gone: before its answer came, or before it had it. Nobody waits for the call any more, and what was
    /// leased to it is free again.
    Nack {
        /// Which call.
        call: CallId,
    }
}

// ── supervisor and inbox → host ─────────────────────────────────────────────────────────────────────────────────────
answers! {
    /// The one answer to a call.
    Reply {
        /// To whom.
        call: CallId,
        /// The answer, or why there is none.
        answer: Result<Answer, Refusal>,
        /// Who keeps what the answer holds until the call's [`Ack`] or [`Nack`]; none: the answer leases nothing, and the
        /// call is closed.
        leased_by: Option<ActorName>,
    }
    /// All is over: the graph ends when this is handled.
    Over {}
}

/// What a call brought.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The session is open.
    Opened(SessionId),
    /// The process has started.
    Launched(Shared),
    /// How the handle stands after a cancel.
    Cancelled {
        /// Whether this call stopped it; false if it had finished before.
        cancelled: bool,
        /// Its result, or, if `wait_ms` ran out, how it stands.
        record: Shared,
    },
    /// The session is over.
    Ended(Tally),
    /// The live handles.
    Listed(Vec<Shared>),
    /// The time is over.
    Slept,
    /// All sessions are over.
    Stopped(Tally),
    /// The entry has this sequence number.
    Pushed(u64),
    /// The entries.
    Drained {
        /// Whose.
        session_id: SessionId,
        /// In order.
        #[serde(serialize_with = "in_brief")]
        entries: Vec<Entry>,
    },
    /// So many entries are there; 0 if the time ran out.
    Waited(usize),
    /// So many entries are there.
    Pending(usize),
}

/// Entries on their way out, as a trace tells them: what they hold stands where it was delivered.
fn in_brief<S: serde::Serializer>(entries: &[Entry], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(entries.iter().map(|entry| {
        let about =
            entry.record().map_or_else(|| entry.source.to_string(), |record| record.handle_id.to_string());
        format!("{} {} {about}", entry.sequence, entry.kind)
    }))
}

/// A request on its way from actor to actor: a trace tells it in full once, where it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked(pub Arc<LaunchRequest>);
impl std::ops::Deref for Asked {
    type Target = LaunchRequest;
    fn deref(&self) -> &LaunchRequest {
        &self.0
    }
}
impl Serialize for Asked {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.display())
    }
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(untagged)]
pub enum Refusal {
    /// A launch.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Any other call.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// How the handles of an ended session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Ended by themselves, in the whole life of the session.
    pub completed: u64,
    /// Cancelled, or stopped by the session's end.
    pub killed: u64,
    /// Ended by their deadline or idle time.
    pub timed_out: u64,
    /// Could not be followed to their end.
    pub lost: u64,
    /// Launches in flight that were undone.
    pub undone: u64,
    /// Processes that outlived SIGKILL.
    pub survivors: u64,
    /// Results in the inbox that nobody had taken. After the end of a session they can still be taken; after one that
    /// discards, and after a shutdown, they are gone.
    pub unread: u64,
}
impl Tally {
    /// Adds another session's.
    pub fn add(&mut self, other: Tally) {
        self.completed += other.completed;
        self.killed += other.killed;
        self.timed_out += other.timed_out;
        self.lost += other.lost;
        self.undone += other.undone;
        self.survivors += other.survivors;
        self.unread += other.unread;
    }
}

// ── supervisor ↔ process ────────────────────────────────────────────────────────────────────────────────────────────

/// Why a command is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A host's `Cancel`. The second one means now.
    Cancelled,
    /// Its session ends: joins a grace that is already running.
    SessionEnded,
    /// The last host handle is gone: no grace.
    HostGone,
    /// `timeout_ms` passed.
    Deadline,
    /// `idle_timeout_ms` passed without a byte.
    Idle,
    /// The actor that followed it crashed: no grace.
    Lost,
}

messages! {
    /// Stop it.
    Stop {
        /// Why; the first cause wins.
        cause: Cause,
    }
}
answers! {
    /// Start it.
    Begin {
        /// Names the artifact directory.
        command_id: CommandId,
        /// What to run.
        request: Asked,
    }
    /// It runs.
    Launched {
        /// Which process.
        n: u64,
        /// The handle response.
        record: Shared,
    }
    /// It does not run and never will; nothing is left.
    LaunchFailed {
        /// Which process.
        n: u64,
        /// Why; `SessionClosed` for one that was undone.
        error: LaunchError,
    }
    /// Its result: exactly one for each `Launched`.
    Finished {
        /// Which process.
        n: u64,
        /// The result.
        record: Shared,
        /// Leftovers live on; `Released` follows when they are gone.
        kept: bool,
    }
    /// The leftovers that were kept are gone.
    Released {
        /// Which process.
        n: u64,
    }
    /// An actor panicked. Its parent hears of it.
    Down {
        /// Who.
        actor: ActorName,
        /// What it said.
        reason: String,
    }
}

// ── supervisor, ticker → inbox; inbox → supervisor ──────────────────────────────────────────────────────────────────
answers! {
    /// Make the queue of a session that was opened.
    OpenQueue {
        /// Whose.
        session_id: SessionId,
    }
    /// The session has ended: its queue stays until its entries are taken. → [`QueueClosed`]
    CloseQueue {
        /// Whose.
        session_id: SessionId,
        /// They are not to be taken: it goes at once.
        discard: bool,
    }
    /// A launch in a session whose launches are paused. → [`Reply`] with the limit and how it is reached
    RefuseLaunch {
        /// Who asks.
        call: CallId,
        /// Whose.
        session_id: SessionId,
    }
    /// The graph ends, and with it every queue. → [`Discarded`]
    DiscardAll {}
    /// A result: exactly one for each handle. Withdraws the handle's progress.
    Deliver {
        /// The result.
        record: Shared,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        /// Open calls to which it is leased, all together; each is answered. Empty: it is an entry for whoever reads.
        to_calls: Vec<CallId>,
    }
    /// How a command gets on; replaces an unread one of the same handle.
    Progress {
        /// With `status: running`.
        record: Shared,
    }
    /// The queue takes nothing more.
    QueueClosed {
        /// Whose.
        session_id: SessionId,
        /// Results that nobody had taken, leased ones included.
        unread: u64,
        /// Its entries stay until taken; [`QueueEmptied`] follows when they are gone.
        kept: bool,
    }
    /// All entries of a closed queue are gone.
    QueueEmptied {
        /// Whose.
        session_id: SessionId,
    }
    /// Whether so many results of a session are unread that nothing more may be launched in it.
    LaunchesPaused {
        /// Whose.
        session_id: SessionId,
        /// True: stop launching. False: go on.
        paused: bool,
    }
    /// A call about a session that has no queue: it was never opened, or it has ended and everything is read. The
    /// supervisor knows, and answers.
    NoQueue {
        /// Who asks.
        call: CallId,
        /// Whose.
        session_id: SessionId,
        /// What there is to read of a session that has ended; null for who wants to add something.
        nothing: Option<Answer>,
    }
    /// Nothing is kept any more.
    Discarded {
        /// Results that nobody had taken, in all sessions.
        unread: u64,
    }
}

// ── process, drain, ticker, supervisor, inbox → kernel ──────────────────────────────────────────────────────────────

/// What a timer is for; with its owner it names the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// A launch that neither starts nor fails.
    StartTimeout,
    /// `timeout_ms`.
    Deadline,
    /// `idle_timeout_ms`; the kernel starts it again while bytes flow.
    Idle,
    /// Between terminate and kill.
    Grace,
    /// For pipes that stay open after the leader's exit.
    DrainGrace,
    /// Between terminate and kill of leftovers.
    LeftoversGrace,
    /// Between kill and giving up; the kernel answers with `Survived`.
    Unkillable,
    /// For a disk that does not come back.
    SealTimeout,
    /// To the next progress entry.
    Progress,
    /// A call's own `wait_ms`.
    Call(CallId),
}

/// SIGTERM or SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopSignal {
    /// SIGTERM, then SIGCONT so that a stopped process can act on it.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What to do about the processes that a sweep finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepFor {
    /// Only wait for their end: they have had their signal.
    Watch,
    /// Terminate them, then wait.
    Terminate,
    /// Kill them, then wait.
    Kill,
    /// Leave them alone.
    Keep,
}

messages! {
    /// Signal the whole tree, unless the leader is found dead before the first signal: then only → [`Exited`].
    Signal {
        /// Which process.
        n: u64,
        /// Which signal.
        signal: StopSignal,
    }
    /// After the leader's exit: look what is left of the tree. → [`TreeAlive`] at once if something is, and
    /// [`TreeEmpty`] when nothing is.
    Sweep {
        /// Which process.
        n: u64,
        /// What to do with what is found.
        to: SweepFor,
    }
    /// Nothing more of this process is needed: kill what may be left, forget it.
    Release {
        /// Which process.
        n: u64,
        /// It may not have started yet: undo the launch when it does, and remove its directory.
        undo: bool,
    }
    /// Set a timer. → [`TimerFired`] to its owner
    Arm {
        /// Whose.
        owner: ActorName,
        /// What for.
        kind: TimerKind,
        /// From now.
        after_ms: u64,
    }
    /// Drop a timer. It may have fired already: then the news is late and means nothing.
    Disarm {
        /// Whose.
        owner: ActorName,
        /// What for.
        kind: TimerKind,
    }
    /// Read so many bytes more. → [`Flowed`], [`EndOfStream`], [`ReadFailed`]
    Pull {
        /// Which process.
        n: u64,
        /// Which stream.
        stream: Stream,
        /// Added to what was granted before.
        bytes: u64,
    }
    /// Read what the pipe holds now, then record no more; go on reading, so that nobody's pipe breaks.
    /// → [`EndOfStream`]
    Close {
        /// Which process.
        n: u64,
        /// Which stream.
        stream: Stream,
    }
    /// Tell how the output stands. → [`Peeked`]
    Peek {
        /// Which process.
        n: u64,
        /// Limit of the text for each stream.
        inline_bytes: u64,
    }
}
answers! {
    /// Make the artifact directory, start the process. → [`Started`] or [`StartFailed`]
    Exec {
        /// Which process.
        n: u64,
        /// Names the artifact directory.
        command_id: CommandId,
        /// What to run.
        request: Asked,
    }
    /// Close the files, digest, and write the result beside them. → [`Sealed`]
    Seal {
        /// Which process.
        n: u64,
        /// The result but for its output.
        record: Shared,
        /// The launch is undone: remove the directory instead.
        discard: bool,
    }
}

// ── kernel → process, drain, ticker, supervisor, inbox ──────────────────────────────────────────────────────────────
messages! {
    /// The program runs.
    Started {
        /// The leader.
        pid: u32,
        /// Its process group.
        process_group_id: u32,
        /// What holds the tree.
        containment: Containment,
        /// Where it runs.
        cwd: Text,
        /// When it was started.
        started_at: Stamp,
    }
    /// The program does not run, and nothing is left of the attempt.
    StartFailed {
        /// Why.
        error: LaunchError,
    }
    /// The leader is dead.
    Exited {
        /// How.
        exit: Exit,
        /// Whether a signal of ours had been sent before.
        signalled: bool,
        /// No other process of the tree lives: there is nothing to sweep. False also if that can't be seen yet.
        alone: bool,
    }
    /// The time is up.
    TimerFired {
        /// What for.
        kind: TimerKind,
    }
    /// Processes of the tree live.
    TreeAlive {
        /// How many were seen.
        seen: u64,
        /// Who, if they are to be kept.
        kept: Option<Vec<Leftover>>,
    }
    /// No process of the tree lives, and the leader is reaped.
    TreeEmpty {
        /// Those that were found alive after the leader's exit; null if nobody could look.
        leftovers: Option<Vec<Leftover>>,
    }
    /// SIGKILL and the time after it did not end them. They are followed no longer, but reaped when they die.
    Survived {
        /// Who.
        leftovers: Option<Vec<Leftover>>,
    }
    /// Bytes went from the pipe to the files.
    Flowed {
        /// Since the last such news.
        bytes: u64,
    }
    /// The stream's record is complete.
    EndOfStream {
        /// Since the last `Flowed`.
        bytes: u64,
    }
    /// The pipe could not be read any further.
    ReadFailed {
        /// What the kernel said.
        errno: i32,
    }
    /// How the output stands.
    Peeked {
        /// Counts and text so far.
        output: Output,
        /// Since the last byte.
        silence_ms: u64,
    }
    /// The files are complete.
    Sealed {
        /// Counts, digest and text.
        output: Output,
    }
    /// A thread of the kernel's crashed: everything is killed and the graph ends.
    KernelFailed {
        /// Which.
        thread: String,
    }
}

/// How the leader ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The real code; -1 for death by signal or unknown.
    pub exit_code: i32,
    /// Name of the signal.
    pub signal: Option<String>,
    /// What it used; null if someone else has reaped it.
    pub usage: Option<Usage>,
    /// When it was seen.
    pub ended_at: Stamp,
    /// From just before the spawn.
    pub duration_ms: u64,
}

// ── process → drain, ticker; drain → process ────────────────────────────────────────────────────────────────────────
messages! {
    /// End your stream now.
    CloseStream {}
    /// Nothing more of the stream is recorded.
    Drained {
        /// Which.
        stream: Stream,
        /// Bytes read of it.
        bytes: u64,
        /// What the kernel said, if the pipe could not be read to its end.
        errno: Option<i32>,
    }
    /// The command is over: stop.
    Halt {}
}
