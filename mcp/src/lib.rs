//! ostler for agents that exist: a server of the [Model Context Protocol](https://modelcontextprotocol.io) on top of the host API.
//!
//! ```text
//! client ──lines──▶ transport ──▶ connection ──▶ tools ──▶ Session (ostler)
//!        ◀─────────            ◀── answers with the ends that nobody was told of ── Ends (its inbox)
//! ```
//!
//! A [`Server`] is one session. It opens it at the first call of a tool, so a client that starts it only to see what there is
//! costs nothing. [`Server::serve`] speaks with one client over any pair of byte streams:
//!
//! ```
//! use ostler::{Config, Ostler};
//! use ostler_mcp::{Options, Server};
//! # let artifacts = tempfile::tempdir()?;
//! # let root = artifacts.path().to_owned();
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let server = Server::new(Options::new(), move || {
//!     let ostler = Ostler::start(Config::new().artifact_root(&root))?;
//!     Ok(ostler.open_session().wait()?)
//! });
//! # let (client, stdio) = tokio::io::duplex(1024);
//! # drop(client);
//! let (read, write) = tokio::io::split(stdio);
//! server.serve(read, write, std::future::pending()).await;
//! server.end().await;
//! # });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! * **An end is told once.** Every answer of any tool carries a line for each end that was not told yet. It counts as told when
//!   that answer was written whole; one that the client cancelled gives it back. Progress, tasks and resources are hints and
//!   take nothing.
//! * **Nothing is lost with a call.** A call that is cancelled, or whose client is gone, stops waiting and nothing else.
//! * **A line that is no message is answered**, and the server lives on; one longer than [`LINE_MAX_BYTES`] is never held.

mod answer;
mod connection;
#[cfg(feature = "http")]
mod http;
mod keys;
mod ledger;
mod options;
mod place;
mod resources;
mod schema;
mod server;
mod shown;
mod tasks;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod tools;
mod transport;

#[cfg(feature = "http")]
pub use http::{HttpServer, Listener, SESSION_HEADER};
pub use ledger::ENDS_IN_ANSWER;
pub use options::{Options, YIELD_MAX_MS};
pub use place::Session;
pub use rmcp::transport::stdio_pipes;
pub use server::{OpenError, Server};
pub use shown::SHOWN_MAX_BYTES;
pub use tools::descriptions;
pub use transport::LINE_MAX_BYTES;
