//! Why a call was refused, and where that is said: every variant names what it is about.

use crate::{HandleId, Limit, errors::of_limit};
use serde::{Deserialize, Serialize};

/// Why a call on a session, handle or inbox was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallError {
    /// The session was never opened.
    #[error("session {session_id} is unknown; open it first")]
    SessionUnknown {
        /// The id.
        session_id: String,
    },
    /// The session has ended.
    #[error("session {session_id} is closed")]
    SessionClosed {
        /// The id.
        session_id: String,
    },
    /// The id is in use or was used, and cannot be opened again.
    #[error("session {session_id} was opened before; an id is never used twice")]
    SessionReused {
        /// The id.
        session_id: String,
    },
    /// Another living host that uses the same journal has it open.
    #[error("session {session_id} is open in another host{}; end it there, or open another one", of_pid(*.pid))]
    SessionElsewhere {
        /// The id.
        session_id: String,
        /// Its process id; none if that can't be told.
        pid: Option<u32>,
    },
    /// The id is empty or too long.
    #[error("session id: it must have 1 to {limit} bytes, this one has {bytes}")]
    SessionIdLength {
        /// Its length.
        bytes: usize,
        /// The most it can have.
        limit: usize,
    },
    /// No such handle was ever given out.
    #[error("handle {handle_id} was never given out by this host")]
    HandleUnknown {
        /// The id.
        handle_id: HandleId,
    },
    /// It has finished, its result was read, and so many have finished since that nothing is kept of it but its artifacts.
    #[error(
        "handle {handle_id} has finished, and its record is not kept any more; its output can be read by its command id"
    )]
    HandleForgotten {
        /// The id.
        handle_id: HandleId,
    },
    /// It belongs to another session than the one that asks.
    #[error("handle {handle_id} belongs to another session")]
    HandleOfOtherSession {
        /// The id.
        handle_id: HandleId,
    },
    /// Another host process has given it out.
    #[error("handle {handle_id} is of another host process; its output can be read by its command id")]
    HandleOfOtherHost {
        /// The id.
        handle_id: HandleId,
    },
    /// A condition of a wait that can't be.
    #[error("conditions[{index}]: {reason}")]
    BadCondition {
        /// Its place in the list.
        index: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Too many conditions in one wait.
    #[error("conditions: {count} are over the limit of {limit}; start more waits")]
    TooManyConditions {
        /// How many there are.
        count: usize,
        /// How many there can be.
        limit: usize,
    },
    /// What was asked for can't be seen here.
    #[error("{what}: it can't be seen here: {reason}")]
    CannotLook {
        /// `port`, `input`.
        what: String,
        /// What is missing.
        reason: String,
    },
    /// An actor of ostler's crashed while it worked on the call.
    #[error("ostler: an actor crashed during the call; make it again")]
    Crashed,
    /// A limit of the graph.
    #[error("limit reached: {limit} ({})", of_limit(*.max, *.leased))]
    LimitReached {
        /// The limit.
        limit: Limit,
        /// Its value.
        max: u64,
        /// How many of them are on their way to a reader that has not acknowledged them.
        leased: u64,
    },
    /// An acknowledgement names an entry that nobody in this session can have read.
    #[error("entry {sequence} was never read in this session; acknowledge what a read has given")]
    NeverRead {
        /// Its number.
        sequence: u64,
    },
    /// It has finished: nothing can be asked of the command any more.
    #[error("handle {handle_id} has ended")]
    HandleEnded {
        /// The id.
        handle_id: HandleId,
    },
    /// It has not ended: nothing of it is removed.
    #[error("handle {handle_id} has not ended; cancel it first")]
    HandleRuns {
        /// The id.
        handle_id: HandleId,
    },
    /// Somebody can still come to have its result: nothing of it is removed.
    #[error("the result of handle {handle_id} is not read yet; read it first")]
    HandleUnread {
        /// The id.
        handle_id: HandleId,
    },
    /// It is being stopped, and what is being stopped goes on.
    #[error("handle {handle_id} is being stopped; it can't be paused any more")]
    HandleStopping {
        /// The id.
        handle_id: HandleId,
    },
    /// Not all of its tree could be brought to a standstill; all of it goes on.
    #[error("handle {handle_id} could not be paused, and goes on: {reason}")]
    NotPaused {
        /// The id.
        handle_id: HandleId,
        /// What stood in the way.
        reason: String,
    },
    /// It was not launched with an open stdin.
    #[error("handle {handle_id} has no open stdin; launch it with stdin: open")]
    NoStdin {
        /// The id.
        handle_id: HandleId,
    },
    /// Its stdin was closed: by a call before this one, or by the command, which does not read it any more.
    #[error("handle {handle_id}: its stdin is closed; nothing was written")]
    StdinClosed {
        /// The id.
        handle_id: HandleId,
    },
    /// The command does not read as fast as it is written to.
    #[error(
        "input: {queued} bytes in {writes} writes are queued, and with this one it would be over the limit of {limit} bytes or {writes_limit} writes; nothing was written, wait until some are taken"
    )]
    InputFull {
        /// Bytes that are queued.
        queued: u64,
        /// In so many writes.
        writes: u64,
        /// The most that can be queued.
        limit: u64,
        /// In so many writes.
        writes_limit: u64,
    },
    /// One write has more than can ever be queued.
    #[error("input: {bytes} bytes are over the limit of {limit}; write it in parts")]
    InputTooLarge {
        /// How many it has.
        bytes: u64,
        /// The most it can have.
        limit: u64,
    },
    /// Another write had this id.
    #[error("write_id: {write_id:?} belongs to a write of other bytes; use another id")]
    WriteIdReused {
        /// The id.
        write_id: String,
    },
    /// The id is too long.
    #[error("write_id: it can have at most {limit} bytes, this one has {bytes}")]
    WriteIdLength {
        /// Its length.
        bytes: usize,
        /// The most it can have.
        limit: usize,
    },
    /// It was launched without a terminal.
    #[error("handle {handle_id} has no terminal; launch it with one")]
    NoTerminal {
        /// The id.
        handle_id: HandleId,
    },
    /// The stdin of a terminal can't be closed.
    #[error(
        "handle {handle_id}: a terminal has no end of file; write Ctrl-D (byte 4) at the beginning of a line"
    )]
    StdinIsTerminal {
        /// The id.
        handle_id: HandleId,
    },
    /// A terminal without rows or columns.
    #[error("terminal: {rows} rows and {columns} columns are no size; both are at least 1")]
    TerminalSize {
        /// Its rows.
        rows: u16,
        /// Its columns.
        columns: u16,
    },
    /// A pushed entry may not pass for one of ostler's own.
    #[error("kind {kind:?} and source {source_name:?} are ostler's own; choose other names")]
    ReservedKind {
        /// The kind that was asked for.
        kind: String,
        /// The source that was asked for.
        source_name: String,
    },
    /// A pushed entry is too large.
    #[error("content: {bytes} bytes are over the limit of {limit}")]
    ContentTooLarge {
        /// Its length as JSON.
        bytes: usize,
        /// The most it can have.
        limit: usize,
    },
}

impl CallError {
    /// The same of a handle that has another name where it is told.
    #[must_use]
    pub fn about(mut self, id: HandleId) -> CallError {
        match &mut self {
            CallError::HandleUnknown { handle_id, .. }
            | CallError::HandleForgotten { handle_id, .. }
            | CallError::HandleOfOtherSession { handle_id, .. }
            | CallError::HandleOfOtherHost { handle_id, .. }
            | CallError::HandleEnded { handle_id, .. }
            | CallError::HandleRuns { handle_id, .. }
            | CallError::HandleUnread { handle_id, .. }
            | CallError::HandleStopping { handle_id, .. }
            | CallError::NotPaused { handle_id, .. }
            | CallError::NoStdin { handle_id, .. }
            | CallError::StdinClosed { handle_id, .. }
            | CallError::NoTerminal { handle_id, .. }
            | CallError::StdinIsTerminal { handle_id, .. } => *handle_id = id,
            _ => {}
        }
        self
    }
}

fn of_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
