//! Hosts and workers over a real server: what a page of output, a result, an end are from another machine. Those that die are processes of their own, in
//! `cli/tests/remote`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod inbox;
mod kills;
mod one_machine;
mod server;
mod trouble;
#[path = "../../../cli/tests/remote/wire.rs"]
mod wire;

use ostler_remote::{Connect, Pool, Remote, Worker, WorkerOptions};
use server::Server;
use std::time::Duration;
use tempfile::TempDir;

/// A worker in this process, with a place of its own.
pub(crate) struct Works {
    pub(crate) worker: Option<Worker>,
    pub(crate) place: TempDir,
}

pub(crate) fn pool() -> Pool {
    "tests".parse().unwrap()
}
pub(crate) fn options(name: &str, place: &TempDir) -> WorkerOptions {
    let mut options = WorkerOptions::new(pool(), name.parse().unwrap());
    options.slots = 8;
    options.state = Some(place.path().join("state"));
    options.config = options.config.artifact_root(place.path().join("artifacts"));
    options
}
impl Works {
    pub(crate) fn on(server: &Server, name: &str) -> Works {
        Works::with(server, name, |options| options)
    }
    pub(crate) fn with(
        server: &Server,
        name: &str,
        change: impl FnOnce(WorkerOptions) -> WorkerOptions,
    ) -> Works {
        Works::at(&server.url(), name, change)
    }
    pub(crate) fn at(url: &str, name: &str, change: impl FnOnce(WorkerOptions) -> WorkerOptions) -> Works {
        let place = tempfile::tempdir().unwrap();
        let worker = Worker::start(&Connect::to(url), change(options(name, &place))).unwrap();
        Works { worker: Some(worker), place }
    }
}
pub(crate) fn host(server: &Server) -> Remote {
    Remote::connect(&Connect::to(server.url())).unwrap()
}
/// Longer than anything takes here.
pub(crate) const LONG: Duration = Duration::from_secs(60);
