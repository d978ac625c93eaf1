//! The way of a command to its program, for those who fail on it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where on its way to exec a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Making the artifact directory.
    Artifacts,
    /// Looking the program up.
    Lookup,
    /// Making the pipes.
    Pipe,
    /// Making its cgroup.
    Cgroup,
    /// Making the process.
    Fork,
    /// Setting up the helper that holds its tree.
    Helper,
    /// Becoming a session of its own.
    Session,
    /// Tying its life to the host's.
    DeathSignal,
    /// Giving it its descriptors.
    Stdio,
    /// Entering the working directory.
    Cwd,
    /// Running the program.
    Exec,
}
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Artifacts => "artifacts",
            Stage::Lookup => "lookup",
            Stage::Pipe => "pipe",
            Stage::Cgroup => "cgroup",
            Stage::Fork => "fork",
            Stage::Helper => "helper",
            Stage::Session => "session",
            Stage::DeathSignal => "death signal",
            Stage::Stdio => "stdio",
            Stage::Cwd => "cwd",
            Stage::Exec => "exec",
        })
    }
}
