//! supervisor, inbox → journal: what is to survive the host; journal → host, supervisor, inbox: what became of it.
//!
//! What is written are [`Row`]s. [`Append`](crate::Append) brings them to the journal and [`Recorded`](crate::Recorded) says that they are
//! there; both stand in the tables of `commands.rs` and `events.rs`, since a kernel does the writing. An answer that says what is not
//! written yet waits at the border, by its [`Mark`].

use crate::{ActorName, Mark, RecoveredSession, Row, table::notices};
use serde::Serialize;

// journal → host, in `actors/src/graph/router.rs`; journal → supervisor, inbox; supervisor → inbox, in `inbox/src/inbox.rs`.
notices! {
    /// Answers that wait for these may go out.
    Cleared {
        /// How far each actor's appends have come.
        marks: Vec<Mark>,
    }
    /// The journal can be written again, and has nothing of what was meanwhile: append all that there is.
    WriteAgain {}
    /// All that an actor has to say, for a journal that begins anew.
    AppendAll {
        /// Who.
        by: ActorName,
        /// All of it.
        rows: Vec<Row>,
    }
    /// The journal can't be written: what happens now does not survive the host.
    JournalTrouble {
        /// What was said, and what to do.
        error: String,
    }
    /// What was unread in an earlier life of the host.
    RestoreQueues {
        /// Sessions that are open, and those that have ended with something unread.
        sessions: Vec<RecoveredSession>,
    }
}
