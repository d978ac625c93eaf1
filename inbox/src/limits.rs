//! The bounds of the inbox, and what follows from each.

use serde::{Deserialize, Serialize};

/// Default of [`Limits::results_with_text`]. With the default inline limit of 50,000 bytes a stream a session holds at
/// most about 26 MB of text, and a host that reads at all never meets it.
pub const RESULTS_WITH_TEXT: usize = 256;
/// Default of [`Limits::pushed_entries`]: far more notes than an agent can want to read at its next turn; a host that
/// pushes more without draining is in a loop.
pub const PUSHED_ENTRIES: usize = 1_024;
/// Default of [`Limits::unread_results`]: no host that reads at all gets there, and if a record without text takes 2 KiB
/// (an argv can make it longer) it is 32 MiB beside the texts. Without it a session that is never read would grow for
/// ever; that it is one session's limit keeps the others out of it.
pub const UNREAD_RESULTS: usize = 16_384;
/// Default of [`Limits::subscriptions`]: a few screens and logs for each conversation. Each entry costs the graph one message for
/// each subscriber.
pub const SUBSCRIPTIONS: usize = 64;
/// How far a subscriber may be behind, in entries: at an entry each tenth of a second, far more than a conversation has, it is
/// longer than a minute and a half. Whoever must not miss anything reads and acknowledges.
pub const BACKLOG_ENTRIES: usize = 1_024;
/// How much may wait unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Unread results of one session that keep their inline text; those beyond it are stored without, and a reader's call
    /// reads it from the `result.json` beside the output.
    pub results_with_text: usize,
    /// Unread entries that the host itself has pushed into one session. The next push is refused.
    pub pushed_entries: usize,
    /// Unread results of one session, leased ones included. When so many wait, launches in it are paused until half of
    /// them are taken. 0 counts as 1.
    pub unread_results: usize,
    /// Subscriptions to one session. The next one is refused.
    pub subscriptions: usize,
}
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            results_with_text: RESULTS_WITH_TEXT,
            pushed_entries: PUSHED_ENTRIES,
            unread_results: UNREAD_RESULTS,
            subscriptions: SUBSCRIPTIONS,
        }
    }
}
