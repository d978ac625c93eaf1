//! The trace: which message was delivered to whom, when, and because of which other.
//!
//! A trace is JSON Lines: a [`Header`], then a [`Delivery`] for each message. Lines without a `cause` are the graph's
//! inputs (requests of the host, events of the kernel); all others follow from them.

use crate::{ActorName, HandleId, Stamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of the format; a reader refuses what it doesn't know. 2: messages have new names. 3: the header has what decisions depend on.
pub const TRACE_VERSION: u32 = 3;
/// The versions that are read; any other is refused. One that only adds messages or fields is none of its own.
pub const TRACE_VERSIONS: [u32; 2] = [2, TRACE_VERSION];
/// Longest line that is read: as much as a whole trace in memory may have, and four times what a file is ever given at once.
pub const TRACE_LINE_MAX_BYTES: u64 = 64 << 20;

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
    /// Whether what the graph holds is to survive the host. Not in version 2.
    #[serde(default)]
    pub journaled: bool,
    /// The host's settings on which decisions depend, as the graph writes them. Null in version 2.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// So many messages of before the first are not in it: a flight recorder has kept the last part, and forgotten them. 0 of a trace that has its
    /// beginning.
    #[serde(default, skip_serializing_if = "is_none")]
    pub missing_before: u64,
}
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Header {
    /// Of a trace in this version of the format.
    pub fn new(host_pid: u32, artifact_root: String, started_at: Stamp) -> Header {
        let (journaled, settings) = (false, serde_json::Value::Null);
        let (ostler_trace, missing_before) = (TRACE_VERSION, 0);
        Header { ostler_trace, host_pid, artifact_root, started_at, journaled, settings, missing_before }
    }
    /// Of one whose beginning is missing.
    pub fn missing_before(mut self, count: u64) -> Header {
        self.missing_before = count;
        self
    }
    /// With what decisions depend on.
    pub fn with_settings(mut self, journaled: bool, settings: serde_json::Value) -> Header {
        (self.journaled, self.settings) = (journaled, settings);
        self
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

/// What somebody will want to look into: why a flight recorder has written down what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// An actor has panicked.
    Crashed(ActorName),
    /// The end of a command was not seen.
    Lost(HandleId),
    /// Some processes of a command's tree could not be ended.
    Survived(HandleId),
    /// A thread of the kernel's has panicked, and the graph ends.
    ThreadFailed(String),
}
impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incident::Crashed(actor) => write!(f, "the actor {actor} has crashed"),
            Incident::Lost(handle) => write!(f, "{handle} is lost"),
            Incident::Survived(handle) => write!(f, "{handle} has left processes that can't be ended"),
            Incident::ThreadFailed(thread) => write!(f, "the thread {thread} has crashed"),
        }
    }
}

/// Where a test wants a panic: at the delivery of this message to this actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who shall panic.
    pub actor: ActorName,
    /// At which message.
    pub message: String,
}
