//! `ostler worker`, and `--pool` of others: a real server, and the binary, driven from outside.
//!
//! Nothing here sleeps to wait for something: a command says that it is ready, or waits on a fifo until it may go on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod again;
mod chaos;
#[allow(dead_code, reason = "the tests of `ostler mcp` on one machine need more of it")]
#[path = "../mcp/client.rs"]
mod client;
mod deaths;
#[allow(dead_code, unreachable_pub, reason = "the tests of one machine need more of it")]
#[path = "../../../tests/src/disk.rs"]
mod disk;
mod ends;
mod given;
mod listed;
mod mcp;
mod net;
mod page;
mod partition;
mod place;
mod pool;
mod runs;
#[path = "../../../remote/tests/server/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests of `ostler-remote` need more of it")]
mod wire;
