//! supervisor, inbox → host: how answers to calls travel, and what subscribers are told. Handled in `actors/src/graph/router.rs`; what they say stands beside the
//! requests, in `requests.rs`.

use crate::{ActorName, Answer, CallError, CallId, Entry, LaunchError, Mark, SubscriptionId, table::notices};
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
        /// It says something that is to survive the host: it leaves when these rows are written.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Mark>,
    }
    /// For a subscriber: these entries are there.
    Notify {
        /// For whom.
        subscription: SubscriptionId,
        /// Copies, by their numbers.
        #[serde(serialize_with = "crate::requests::in_brief")]
        entries: Vec<Entry>,
        /// As for a [`Reply`].
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Mark>,
    }
    /// The session has ended, and the subscriber was told of every entry.
    NotifiedAll {
        /// For whom.
        subscription: SubscriptionId,
        /// As for a [`Reply`].
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Mark>,
    }
    /// Everything has ended: the graph ends when this is handled.
    Stopped {
        /// Also if something is not written yet.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        at_once: bool,
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
