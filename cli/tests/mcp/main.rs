//! `ostler mcp`, driven over its stdin and stdout: line by line, and by the SDK's own client.
//!
//! Nothing here sleeps to wait for something: a command waits on a fifo until it may go on, or says that it is ready.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod bad_input;
mod client;
mod confined;
mod ends;
mod keeper;
mod log;
mod place;
mod readme;
mod sdk;
mod sessions;
mod settings;
mod tools;
