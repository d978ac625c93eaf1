//! Sessions of ostler over several machines, on a NATS server with JetStream.
//!
//! ```text
//! host                          server                                   workers of a pool
//! Remote ─ Session ── launch ──▶ request ─────────────────────────────▶ claim ─▶ start   (Worker: a graph with a journal)
//!    │        │                  claims: one wins ◀──────────────────────┘          │
//!    │      Inbox ◀── consumer ─ results: created once ◀── journal ◀────────────── end
//!    │                           workers: heartbeats, leases ◀─ sentinel: whose lease has ended is `lost`
//!    └─ Handle ── read, write, wait_for, cancel ──▶ request ───────────▶ its worker; sealed output is in the store
//! ```
//!
//! A [`Worker`] runs what its pool is asked for. A host connects, opens a session and calls what it calls on one machine:
//!
//! ```no_run
//! use ostler::{Command, Filter};
//! use ostler_remote::{Connect, Pool, Remote};
//! use std::time::Duration;
//!
//! let pool: Pool = "builds".parse()?;
//! let remote = Remote::connect(&Connect::to("nats://127.0.0.1:4222"))?;
//! let session = remote.session("chat-17", &pool).wait()?;
//! let handle = session.launch(Command::new("cargo").arg("test")).wait()?;
//! println!("{} runs on {}", handle.id(), handle.worker());
//! for entry in session.inbox().receive(Filter::results(), 16, Duration::from_secs(600)).wait()? {
//!     println!("{:?}", entry.record().map(|record| record.summary()));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * Each launch that was claimed has exactly one result, whoever dies: it is created once under the launch's key, by its worker, by the next life of its worker, or
//!   by a sentinel, which any worker is of all others.
//! * A launch is started at most once: it is claimed before, and a claim is created once.
//! * What was not acknowledged comes again, to any host that opens the session.
//!
//! What each of these stands on, and what happens when each part dies, is in `docs/beyond-one-machine.md`. The decisions are pure, in `remote/src/core`, and
//! `remote/src/model.rs` walks through everything that can happen to them.
//!
//! # What is otherwise than on one machine
//!
//! * A handle's name is its [`LaunchId`], and its records have it as their handle id. Process ids, paths and command ids in a record are those of its worker's machine.
//! * A result that is asked for by its handle while a reader of the inbox has it comes to both.
//! * Numbers of entries grow, and not by one. What a host itself puts into an inbox, subscriptions, and a limit on commands of a session are local only: there are no such
//!   calls here.
//! * What leftovers say after a command's end, and files longer than the store keeps, are read from the worker, as long as it has them.

mod clock;
mod connect;
mod core;
mod errors;
mod host;
#[cfg(test)]
mod model;
mod names;
mod store;
mod words;
mod worker;

pub use connect::Connect;
pub use errors::Error;
pub use host::{
    Call, Cancelled, Ended, EndedSession, FindLines, Handle, Inbox, List, ListRequest, Listed, ListedState,
    ReadOutput, Remote, Session, Waited, Written,
};
pub use names::{BadName, LaunchId, NAME_MAX_BYTES, Pool, WorkerName};
pub use store::{KEEP, Keep};
pub use words::Heartbeat;
pub use worker::{LEASE, LEASE_MAX, LEASE_MIN, OUTPUT_MAX_BYTES, Worker, WorkerOptions};

/// What a client can't see of a server, and should know.
fn warning(store: &store::Store) -> Option<String> {
    (!store.is_safe).then(|| {
        "results are kept by one server: set `sync_interval: always` in its section `jetstream`, or what it has acknowledged in its last two minutes \
         can be lost with its machine. A client can't see the setting: say that it is so (`synced`), or keep results on three servers"
            .to_owned()
    })
}
