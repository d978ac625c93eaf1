//! What a host can set of the flight recorder, and what it hears of it.

use ostler_messages::trace::Incident;
use std::{fmt, path::PathBuf, sync::Arc};

/// A size of the flight recorder for most hosts: some ten thousand messages, of the last few hundred commands. The program `ostler` has it.
pub const RECORDER_BYTES: usize = 4 << 20;

/// The flight recorder has written down what led to something, or has failed to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceDump {
    /// What has happened.
    pub incident: Incident,
    /// The file, below the artifact root; none if it could not be written.
    pub path: Option<PathBuf>,
    /// Why it could not be written.
    pub error: Option<String>,
}
impl fmt::Display for TraceDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, &self.error) {
            (Some(path), _) => {
                write!(f, "{}; what led to it: ostler explain {}", self.incident, path.display())
            }
            (None, Some(error)) => f.write_str(error),
            (None, None) => self.incident.fmt(f),
        }
    }
}

/// Who hears of files of the flight recorder: see [`Config::on_trace_dump`](crate::Config::on_trace_dump).
#[derive(Clone)]
pub struct DumpHook(pub(crate) Arc<dyn Fn(&TraceDump) + Send + Sync>);

impl fmt::Debug for DumpHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DumpHook")
    }
}
