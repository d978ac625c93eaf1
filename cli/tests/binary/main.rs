//! The binary, driven from outside: what a shell, a pipeline and a person at the keyboard see of it.
//!
//! Nothing here sleeps to wait for something: a command says that it is ready, or waits on a fifo until it may go on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod events;
mod follow;
mod init;
mod leftovers;
mod manual;
mod options;
mod place;
mod pty;
mod readers;
mod signals;
mod stdin;
mod stored;
mod streams;
mod top;
mod trace;
