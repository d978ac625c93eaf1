//! The vocabulary of ostler: every typed message, id, outcome and payload, and how they travel.
//!
//! ```text
//! host ──OpenSession Launch Cancel EndSession List──▶ Supervisor ─────Stop─────▶ ProcessActor
//!   ▲                                                  │   ▲                     │  ▲     │
//!   │                                          Deliver │   └─Launched Finished───┘  │     │ Exec Signal Sweep Seal
//!   │                                                  ▼                    Drained │     ▼
//!   └────────────Reply──────────── Inbox ◀──Progress── ProgressTicker     DrainActor×2 ─▶ Kernel ─events─▶ all
//! ```
//!
//! One file for each conversation, and in it a table of its messages. **Start here**:
//!
//! | file | from → to |
//! |---|---|
//! | `requests.rs` | host → supervisor, inbox; what is answered |
//! | `answers.rs` | supervisor, inbox → host: the way back |
//! | `supervision.rs` | supervisor ↔ process, process ↔ drain, process → ticker |
//! | `deliveries.rs` | supervisor, ticker ↔ inbox |
//! | `journal.rs` | supervisor, inbox → journal; journal → host, supervisor, inbox |
//! | `commands.rs` | process, drain, ticker, supervisor, inbox → kernel |
//! | `events.rs` | kernel → process, drain, ticker, supervisor, inbox |
//!
//! Requests and commands are verbs, events are past participles. Requests of the host and events of the kernel are the
//! graph's only inputs; in a trace they are the records without a cause, and all others follow from them.
//!
//! * [`Record`]: the handle response, progress and the result in one struct; [`LaunchRequest`]: what can be asked for.
//! * [`LaunchError`], [`CallError`]: every way to be refused; [`Stdin`], [`Payload`]: what goes into a command.
//! * [`Row`]: what survives the host.
//! * [`trace`]: the form of a trace.
//!
//! This crate does no I/O, reads no clock, and does not know actix.

mod answers;
mod call_errors;
mod commands;
mod control;
mod deliveries;
mod entry;
mod errors;
mod events;
mod ids;
mod input;
mod journal;
mod launch;
mod notice;
mod output_file;
mod pushed;
mod quote;
mod record;
mod requests;
mod row;
mod short;
mod stage;
mod stamp;
mod summary;
mod supervision;
mod table;
mod text;
pub mod trace;
mod waiting;

pub use answers::*;
pub use call_errors::*;
pub use commands::*;
pub use control::*;
pub use deliveries::*;
pub use entry::*;
pub use errors::*;
pub use events::*;
pub use ids::*;
pub use input::*;
pub use journal::*;
pub use launch::*;
pub use notice::{NOTICE_BYTES, on_one_line};
pub use output_file::{OutputFile, View};
pub use pushed::{PUSH_MAX_BYTES, Pushed};
pub use quote::quote;
pub use record::*;
pub use requests::*;
pub use row::*;
pub use stage::Stage;
pub use stamp::Stamp;
pub use summary::{counted, duration};
pub use supervision::*;
pub use text::Text;
pub use waiting::*;
