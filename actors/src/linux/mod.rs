//! Real processes on Linux. What is Linux's own is in here, and file modes in `artifacts`.
//!
//! ```text
//! kernel ─▶ spawn ─▶ watch ─▶ follow ─▶ contain ─▶ exec, sight ─▶ sys
//!    └────────┴────▶ drain ─────────────────────▶ sys
//! ```

mod clock;
mod contain;
mod drain;
mod exec;
mod follow;
mod janitor;
#[cfg(feature = "journal")]
mod journal;
#[cfg(not(feature = "journal"))]
#[path = "no_journal.rs"]
mod journal;
mod kernel;
mod mailbox;
mod names;
// The helper uses more of it than the graph.
#[allow(dead_code)]
mod proc;
mod sight;
mod spawn;
mod sys;
mod watch;

#[cfg(feature = "testing")]
pub(crate) use contain::link::reports as helper_reports;
pub(crate) use kernel::start;
