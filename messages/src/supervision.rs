//! supervisor ↔ process, process ↔ drain, process → ticker: the life of one command.

use crate::{
    ActorName, CallId, LaunchError, LaunchRequest, Leftover, Shared, Stream,
    table::{messages, notices},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A request on its way from actor to actor: a trace has it in full once, where it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked(pub Arc<LaunchRequest>);
impl std::ops::Deref for Asked {
    type Target = LaunchRequest;
    fn deref(&self) -> &LaunchRequest {
        &self.0
    }
}
impl Serialize for Asked {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.display())
    }
}
/// Why a command is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A host's `Cancel`. The second one means now.
    Cancelled,
    /// Its session ends: joins a grace that is already running.
    SessionEnded,
    /// A host's `Cancel` that says that the lease is lost: joins a grace that is already running. A `Cancel` after it means now.
    LeaseLost,
    /// The last host handle is gone: no grace.
    HostGone,
    /// `timeout_ms` passed.
    Deadline,
    /// `idle_timeout_ms` passed without a byte.
    Idle,
    /// It has said more than it may, and is not to go on.
    OutputLimit,
    /// The actor that followed it crashed: no grace.
    Lost,
}

// supervisor → process, in `actors/src/graph/process.rs`.
messages! {
    /// Stop it.
    Stop {
        /// Why; the first cause wins.
        cause: Cause,
    }
    /// Tell how it stands. → [`Reported`]
    Report {
        /// For which call of the host.
        call: CallId,
    }
}

// process → supervisor, in `actors/src/graph/supervisor.rs`.
notices! {
    /// It runs.
    Launched {
        /// The number of the process.
        n: u64,
        /// The handle response.
        record: Shared,
        /// When its leader was started, for a journal.
        #[serde(skip_serializing_if = "Option::is_none")]
        start_ticks: Option<u64>,
    }
    /// It does not run and never will; nothing is left.
    LaunchFailed {
        /// The number of the process.
        n: u64,
        /// Why; `SessionClosed` for one that was undone.
        error: LaunchError,
    }
    /// Its result: exactly one for each `Launched`.
    Finished {
        /// The number of the process.
        n: u64,
        /// The result.
        record: Shared,
        /// Leftovers live on; `Released` follows when they are gone.
        kept: bool,
    }
    /// How it stands.
    Reported {
        /// The number of the process.
        n: u64,
        /// For which call of the host.
        call: CallId,
        /// With `status: running`.
        record: Shared,
    }
    /// The leftovers that were kept are gone.
    Released {
        /// The number of the process.
        n: u64,
        /// What became of them.
        leftovers: Option<Vec<Leftover>>,
    }
    /// A process heard what can't happen where its life stands, and did nothing: a fault of a kernel's or of ours. It stands in
    /// the trace for whoever looks for it.
    Unexpected {
        /// The number of the process.
        n: u64,
        /// Where its life stands.
        phase: String,
        /// What it heard.
        event: String,
    }
    /// An actor panicked. Its parent hears of it.
    Down {
        /// The actor that panicked.
        actor: ActorName,
        /// What it said.
        reason: String,
    }
}

// supervisor → wait, in `actors/src/graph/wait.rs`; wait → supervisor.
notices! {
    /// The command has ended.
    CommandEnded {
        /// Its result.
        record: Shared,
    }
    /// The caller is gone.
    StopWaiting {}
    /// The wait is answered.
    WaitOver {
        /// The call of the host.
        call: CallId,
    }
}

// process → drain, in `actors/src/graph/drain.rs`; drain → process; process → ticker, in `actors/src/graph/progress.rs`.
messages! {
    /// End your stream now.
    CloseStream {}
    /// Nothing more of the stream is recorded.
    Drained {
        /// The stream.
        stream: Stream,
        /// What the kernel said, if the pipe could not be read to its end.
        errno: Option<i32>,
    }
    /// The command has ended: stop.
    Halt {}
}
