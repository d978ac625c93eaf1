//! supervisor, inbox → host: answers to calls. Handled in `actors/src/graph/router.rs`.

use crate::{ActorName, CallError, CallId, Entry, LaunchError, SessionId, Shared, table::notices};
use serde::{Deserialize, Serialize};

notices! {
    /// The one answer to a call.
    Reply {
        /// To whom.
        call: CallId,
        /// The answer, or why there is none.
        answer: Result<Answer, Refusal>,
        /// Who keeps what the answer holds until the call's [`Ack`](crate::Ack) or [`Nack`](crate::Nack); none: the answer leases nothing, and the
        /// call is closed.
        leased_by: Option<ActorName>,
    }
    /// Everything has ended: the graph ends when this is handled.
    Stopped {}
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
    /// The session has ended.
    Ended(Tally),
    /// The live handles.
    Listed(Vec<Shared>),
    /// The time is up.
    Slept,
    /// All sessions have ended.
    Stopped(Tally),
    /// The entry has this sequence number.
    Pushed(u64),
    /// The entries.
    Drained {
        /// The session.
        session_id: SessionId,
        /// The entries, first in first out.
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
#[non_exhaustive]
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
    /// The same with so many unread results.
    pub fn with_unread(mut self, unread: u64) -> Tally {
        self.unread = unread;
        self
    }
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
