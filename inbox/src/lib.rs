//! Where deliveries wait for their session: the [`Inbox`] actor over pure [`Queues`].
//!
//! ```text
//! supervisor ──OpenQueue CloseQueue Deliver──▶ ┌───────┐ ──Reply──────────────────────────────▶ host
//! ticker ───────────Progress─────────────────▶ │ Inbox │ ──QueueClosed LaunchesPaused NoQueue─▶ supervisor
//! host ──Push Drain Read Acknowledge Wait ───▶ └───────┘ ◀─Arm Disarm / TimerFired────────────▶ kernel
//!        Pending Subscribe Ack Nack               └─────────Notify NotifiedAll───────────────▶ host
//!        ReaderGone Unsubscribe
//! ```
//!
//! An entry is free, leased or gone. A reader is given a copy, and the entry is leased to its call: `Ack` lets it go when
//! the reader has it, `Nack` makes it free again when the reader is gone. What was read to be acknowledged is leased to the reader
//! from its call's `Ack` on: it goes with the acknowledgement, and is free again when its time is up or the reader is gone.
//!
//! | rule | how it is kept |
//! |---|---|
//! | first in, first out, in each session | a queue's entries lie by sequence, from 1 |
//! | a result is never dropped | it has no limit of its own; past [`Limits::unread_results`] launches of its session are paused |
//! | a result reaches one reader, or all its cancellers | it leaves with the first `Ack` of those to whom it is leased |
//! | what may have been seen before says so | only the end of a reader's lease sets `redelivered`; a `Nack` does not |
//! | memory is bounded | past [`Limits::results_with_text`] a result waits without its text |
//! | one unread progress entry for each handle | the newer one replaces it, at the tail; the result removes it |
//! | no progress after the result | also not by a late `Nack` |
//! | a host can't pass for ostler | reserved kinds and sources are refused at `Push` |
//! | a subscriber takes nothing and holds up nobody | it is told of each new entry, and its [`Backlog`] is bounded |
//! | waiting costs nothing | a waiter stands in its queue until an entry fits or the kernel's timer fires |
//!
//! A session's queue lives until the session has ended *and* all its entries are gone.
//! Entries queue nowhere else. This crate does no I/O and reads no clock.

mod backlog;
mod inbox;
mod lease;
mod limits;
mod queue;
mod queues;

pub use backlog::Backlog;
pub use inbox::{Inbox, Links};
pub use limits::{BACKLOG_ENTRIES, Limits, PUSHED_ENTRIES, RESULTS_WITH_TEXT, SUBSCRIPTIONS, UNREAD_RESULTS};
pub use queues::{Effect, Queues};
