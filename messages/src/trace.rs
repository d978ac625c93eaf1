//! The trace: which message was delivered to whom, when, and because of which other.
//!
//! A trace is JSON Lines: a [`Header`], then a [`Delivery`] for each message. Lines without a `cause` are the graph's
//! inputs (requests of the host, events of the kernel); all others follow from them.

use crate::{ActorName, Stamp};
use serde::{Deserialize, Serialize};

/// Version of the format; a reader refuses what it doesn't know.
pub const TRACE_VERSION: u32 = 2;

/// First line of a trace: the facts that the graph did not make up itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// Version of the format.
    pub ostler_trace: u32,
    /// Process id of the host.
    pub host_pid: u32,
    /// Where the artifacts lie.
    pub artifact_root: String,
    /// Wall time at which `at_us` is 0.
    pub started_at: Stamp,
}

impl Header {
    /// Of a trace in this version of the format.
    pub fn new(host_pid: u32, artifact_root: String, started_at: Stamp) -> Header {
        Header { ostler_trace: TRACE_VERSION, host_pid, artifact_root, started_at }
    }
}

/// One message, at its delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// Counts from 1, in the order of delivery.
    pub sequence: u64,
    /// Microseconds since the graph's start, monotonic.
    pub at_us: u64,
    /// Sequence of the message whose handling sent this one; absent for an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
    /// Who sent it.
    pub from: ActorName,
    /// Who got it.
    pub to: ActorName,
    /// Its type.
    pub message: String,
    /// Its fields.
    pub body: serde_json::Value,
}

/// Where a test wants a panic: at the delivery of this message to this actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who shall panic.
    pub actor: ActorName,
    /// At which message.
    pub message: String,
}
