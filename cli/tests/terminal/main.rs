//! The binary in a real terminal, a window of tmux: what a person at the keyboard sees of it, and what is left when they are gone.
//!
//! Nothing here sleeps to wait for something: a condition is looked for until it is there. Without tmux each test says that it was skipped, unless
//! `$OSTLER_CLIENTS_REQUIRE` names it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod demo;
mod keys;
mod running;
mod tables;
mod window;
