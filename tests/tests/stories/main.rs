//! Trace stories: what goes on in the graph when something happens, message by message, on the scripted kernel.
//!
//! Each story is told with `ostler::narrate` and held against its snapshot. A snapshot has no filter: there is nothing in it
//! that could differ from one run to the next.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

mod deliveries;
mod explained;
mod forms;
mod input;
mod journal;
mod launching;
mod output;
mod pausing;
mod stopping;
mod story;
mod trouble;
mod waiting;
