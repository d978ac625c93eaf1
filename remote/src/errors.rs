//! What can go wrong past one machine.

use crate::names::{BadName, LaunchId, Pool, WorkerName};
use ostler::{CallError, LaunchError, SessionId, StartError};
use std::time::Duration;

/// Why a call was not answered as asked. What is not known is said to be not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that can't be.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A setting that can't be.
    #[error("{option}: {why}")]
    Option {
        /// Which.
        option: &'static str,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// There is no connection to the server.
    #[error("{url}: can't connect: {why}")]
    Connect {
        /// Of the server; a password in it is left out.
        url: String,
        /// What the connection said.
        why: String,
    },
    /// The server has not done what it was asked for, or has not said so.
    #[error("the server: {what}: {why}")]
    Server {
        /// What was asked.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// No worker has taken the launch in time, and none has claimed it: it can be launched again.
    #[error("pool {pool}: no worker took it within {}: {why}", ostler::duration(.within.as_millis() as u64))]
    NoWorker {
        /// Whose workers.
        pool: Pool,
        /// How long they were asked.
        within: Duration,
        /// How many there are, and what they do.
        why: String,
    },
    /// It was not started, and nothing is left of it.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The worker refuses it, as one machine would.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nobody has claimed it: it may be sent again, under the same id.
    #[error("launch {launch}: nobody has claimed it; launch it again under this id, or not at all")]
    NotClaimed {
        /// Which.
        launch: LaunchId,
    },
    /// Whether it was claimed is not known: the answer was lost, and so was the one to the question for it.
    #[error(
        "launch {launch}: it is not known whether it runs ({why}); ask for it by this id before it is launched again"
    )]
    Unknown {
        /// Which.
        launch: LaunchId,
        /// What was lost.
        why: String,
    },
    /// The launch key was used for another request in this session.
    #[error("launch_key {key:?}: it was used for another request in this session; use another key")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The launch id was used for another request in this session.
    #[error(
        "launch {launch}: its id was used for another request in this session; launch it under another one"
    )]
    LaunchReused {
        /// Which.
        launch: LaunchId,
    },
    /// The session has ended.
    #[error("session {session}: it has ended; its results can be read")]
    SessionEnded {
        /// Which.
        session: SessionId,
    },
    /// It has ended: nothing can be asked of the command any more.
    #[error("launch {launch} has ended")]
    HandleEnded {
        /// Which.
        launch: LaunchId,
    },
    /// The worker that has the command does not answer. What it was asked may have been done.
    #[error("worker {worker}: no answer within {}; its commands end when its lease does", ostler::duration(.within.as_millis() as u64))]
    WorkerSilent {
        /// Which.
        worker: WorkerName,
        /// How long it was waited for.
        within: Duration,
    },
    /// The worker can't do it.
    #[error("worker {worker}: {why}")]
    Worker {
        /// Which.
        worker: WorkerName,
        /// What it said.
        why: String,
    },
    /// Output that is nowhere any more.
    #[error("launch {launch}: its output can't be read: {why}")]
    Output {
        /// Whose.
        launch: LaunchId,
        /// Where it was looked for.
        why: String,
    },
    /// Another worker of this name lives, on another machine.
    #[error(
        "worker {worker}: another one of this name runs on {machine}; end it there, or choose another --name"
    )]
    NameInUse {
        /// The name.
        worker: WorkerName,
        /// Where that one is.
        machine: String,
    },
    /// The graph of a worker did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The graph of a worker has refused something.
    #[error("the worker's graph: {0}")]
    Graph(#[from] ostler::Error),
    /// The files of a worker.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: std::path::PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// What was read is not what ostler writes there.
    #[error("{what}: {why}")]
    Damaged {
        /// Where it was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection was closed by its owner.
    #[error("the connection is closed")]
    Closed,
}

pub(crate) fn server<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Server { what, why: error.to_string() }
}
