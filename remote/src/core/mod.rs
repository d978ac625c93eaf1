//! What is decided of a launch that goes to another machine: pure, without a clock, a connection or a process.
//!
//! The engine gives three things that hold: a key is created by one of many (compare-and-set), a write that was answered is kept, and what is read
//! is at least as new as every write that was answered before the read began. All of `docs/beyond-one-machine.md` follows from these and from the
//! decisions here; `remote/src/model.rs` walks through every order in which hosts, workers, sentinels and the engine can act, die and lose each
//! other.

mod claim;
mod lease;
mod sentinel;

pub(crate) use claim::{Claiming, Next, Outcome};
pub(crate) use lease::{Lease, Term};
pub(crate) use sentinel::Sentinel;
