//! The vocabulary of ostler: every typed message, id, outcome and payload, and how they travel.
//!
//! ```text
//! host ──OpenSession Launch Cancel EndSession List──▶ Supervisor ──Begin Stop──▶ ProcessActor
//!   ▲                                                  │   ▲                     │  ▲     │
//!   │                                          Deliver │   └─Launched Finished───┘  │     │ Exec Signal Sweep Seal
//!   │                                                  ▼                    Drained │     ▼
//!   └────────────Reply──────────── Inbox ◀──Progress── ProgressTicker     DrainActor×2 ─▶ Kernel ──news──▶ all
//! ```
//!
//! * [`catalogue`]: the messages, by who sends them to whom. Read this first.
//! * [`Record`]: the handle response, progress and the result in one struct; [`LaunchRequest`]: what can be asked for.
//! * [`LaunchError`], [`CallError`]: every way to be refused.
//! * [`context`]: what every actor runs in; [`trace`]: what it records.
//!
//! This crate does no I/O and reads no clock.

pub mod catalogue;
pub mod context;
mod entry;
mod errors;
mod ids;
mod launch;
mod quote;
mod record;
mod stamp;
mod tell;
pub mod trace;

pub use catalogue::*;
pub use entry::*;
pub use errors::*;
pub use ids::*;
pub use launch::*;
pub use quote::quote;
pub use record::*;
pub use stamp::Stamp;
pub use tell::tell;
