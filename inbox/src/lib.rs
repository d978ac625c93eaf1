//! Where deliveries wait for their session: the [`Inbox`] actor over a pure [`Mailroom`].
//!
//! ```text
//! supervisor ──OpenRoom CloseRoom Deliver Settled──▶ ┌───────┐ ──Reply──────────────▶ host
//! ticker ─────────────Progress─────────────────────▶ │ Inbox │ ──RoomClosed Crowded─▶ supervisor
//! host ──Push Drain Wait Pending PutBack Unclaimed─▶ └───────┘ ◀─Arm Disarm / TimerFired─▶ kernel
//! ```
//!
//! | rule | how it is kept |
//! |---|---|
//! | first in, first out, in each session | a room's entries lie by sequence, from 1 |
//! | a result is never dropped | it has no limit of its own; past [`Limits::unread_results`] launches stop instead |
//! | memory is bounded | past [`Limits::results_with_text`] a result waits without its text, see [`needs_text`] |
//! | one unread progress entry for each handle | the newer one replaces it, at the tail; the result removes it |
//! | no progress after the result | also not by a late `PutBack` |
//! | a host can't pass for ostler | reserved kinds and sources are refused at `Push` |
//! | a taker that is gone loses nothing | `PutBack` returns entries to where they stood |
//! | waiting costs nothing | a waiter stands in the room until an entry fits or the kernel's timer fires |
//!
//! A session's room lives until the session has ended *and* all that stood in it is taken.
//! Entries queue nowhere else. This crate does no I/O and reads no clock.

mod inbox;
mod limits;
mod mailroom;
mod room;

pub use inbox::{Inbox, Links};
pub use limits::{Limits, PUSH_MAX_BYTES, PUSHED_ENTRIES, RESULTS_WITH_TEXT, UNREAD_RESULTS, needs_text};
pub use mailroom::{Effect, Mailroom};
