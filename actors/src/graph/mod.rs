//! The graph: its actors, and the one thread on which all of them live.

mod directory;
mod drain;
mod gate;
mod kernel;
mod lifecycle;
mod process;
mod roster;
mod run;
mod supervisor;
mod ticker;
mod trace_sink;

pub(crate) use drain::{REPORT_BYTES, WINDOW_BYTES};
pub(crate) use gate::{News, NewsBody};
pub(crate) use run::{Facts, NextN, start};
