//! supervisor, ticker ↔ inbox: results and progress on their way to a session's queue.

use crate::{Answer, CallId, HandleId, SessionId, Shared, table::notices};
use serde::{Deserialize, Serialize};

/// A call to which a result is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The call.
    pub call: CallId,
    /// What it asked, which decides the form of its answer.
    pub by: ClaimBy,
}
/// What a call asked that gets a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimBy {
    /// To stop the command.
    Cancel,
    /// For the result.
    Result,
}

// supervisor, ticker → inbox, in `inbox/src/inbox.rs`.
notices! {
    /// Make the queue of a session that was opened.
    OpenQueue {
        /// The session.
        session_id: SessionId,
        /// The number of its first entry; none: 1, or where its queue stands that was not empty at its end.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// The session has ended: its queue stays until its entries are taken. → [`QueueClosed`]
    CloseQueue {
        /// The session.
        session_id: SessionId,
        /// They are not to be taken: it goes at once.
        discard: bool,
    }
    /// A launch in a session whose launches are paused. → [`Reply`](crate::Reply) with the limit and how it is reached
    RefuseLaunch {
        /// The call of the host.
        call: CallId,
        /// The session.
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
        to_calls: Vec<Claim>,
    }
    /// A call asks for the result of a handle that has finished: it gets the unread entry, or if there is none that is free,
    /// a copy. → [`Reply`](crate::Reply)
    TakeResult {
        /// The call of the host.
        call: CallId,
        /// The result, as the supervisor has it.
        stored: Shared,
    }
    /// That a command is running; replaces an unread one of the same handle.
    Progress {
        /// With `status: running`.
        record: Shared,
    }
}

// inbox → supervisor, in `actors/src/graph/supervisor.rs`.
notices! {
    /// The queue takes nothing more.
    QueueClosed {
        /// The session.
        session_id: SessionId,
        /// Results that nobody had taken, leased ones included.
        unread: u64,
        /// Its entries stay until taken; [`QueueEmptied`] follows when they are gone.
        kept: bool,
        /// The number of its next entry, for a journal.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// All entries of a closed queue are gone.
    QueueEmptied {
        /// The session.
        session_id: SessionId,
    }
    /// These results are read, or discarded: nobody can come to have them any more.
    ResultsGone {
        /// Whose.
        handle_ids: Vec<HandleId>,
    }
    /// Whether so many results of a session are unread that nothing more may be launched in it.
    LaunchesPaused {
        /// The session.
        session_id: SessionId,
        /// True: stop launching. False: go on.
        paused: bool,
    }
    /// A call about a session that has no queue: it was never opened, or it has ended and everything is read. The
    /// supervisor knows, and answers.
    NoQueue {
        /// The call of the host.
        call: CallId,
        /// The session.
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
