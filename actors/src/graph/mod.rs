//! The graph: its actors, and the one thread on which all of them live.

mod actors;
mod drain;
mod journal;
mod kernel;
mod process;
mod progress;
mod router;
mod supervisor;
mod thread;
pub(crate) mod trace;
mod wait;

pub(crate) use thread::{rerun, start};
