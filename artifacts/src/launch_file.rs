//! `launch.json`: who asked for a command, what and when; there before the command runs, so that a directory explains itself.

use crate::{Directory, HostIdentity, LAUNCH_FILE, result};
use ostler_messages::{CommandId, HandleId, Labels, LaunchRequest, SessionId, Stamp};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The form of the file that is written here. One with a higher number has fields that this version does not know.
pub const LAUNCH_FILE_VERSION: u32 = 1;

/// What stands in it. No value of the environment and no byte of stdin does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaunchFile {
    /// [`LAUNCH_FILE_VERSION`] of whoever wrote it.
    pub version: u32,
    /// Names the directory.
    pub command_id: CommandId,
    /// Who made it.
    pub host: HostIdentity,
    /// Names the handle, in its host.
    pub handle_id: HandleId,
    /// The session that owns the handle.
    pub session_id: SessionId,
    /// When it was asked for.
    pub requested_at: Stamp,
    /// The argv, shell-quoted.
    pub command: String,
    /// The journal by which the host's next life will know of it; none if it has no next life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// Working directory, if one was asked for.
    #[serde(
        default,
        serialize_with = "ostler_messages::escaped::maybe",
        deserialize_with = "ostler_messages::escaped::read_maybe"
    )]
    pub cwd: Option<PathBuf>,
    /// What its host says of it.
    #[serde(default)]
    pub labels: Labels,
    /// All that was asked for, as a trace has it: of the environment the names, of stdin the size.
    pub request: serde_json::Value,
}

impl LaunchFile {
    /// Of a command that is about to be started.
    pub fn new(
        command_id: CommandId,
        request: &LaunchRequest,
        host: HostIdentity,
        journal: Option<String>,
    ) -> LaunchFile {
        LaunchFile {
            host,
            journal,
            version: LAUNCH_FILE_VERSION,
            command_id,
            handle_id: HandleId { host_pid: command_id.host_pid, n: command_id.n },
            session_id: request.session_id.clone(),
            requested_at: Stamp(command_id.unix_ns / 1_000_000),
            command: request.display(),
            cwd: request.cwd.clone(),
            labels: request.labels.clone(),
            // Paths are the only part that JSON could refuse, and they are escaped.
            request: request.in_brief().unwrap_or_default(),
        }
    }

    /// Whether a graph of this process has made it.
    pub fn is_own(&self) -> bool {
        self.host.is_here()
    }

    /// Of a command's directory. None: there is none, or it is not whole.
    pub fn read(dir: &Path) -> Option<LaunchFile> {
        result::read(&dir.join(LAUNCH_FILE))
    }
}

impl Directory {
    /// Writes it. What can't be written whole is removed again.
    ///
    /// # Errors
    /// What open(2) or write(2) said.
    pub fn describe(&mut self, launch: &LaunchFile) -> io::Result<()> {
        let json = serde_json::to_vec(launch)?;
        let written = self.create(LAUNCH_FILE).and_then(|mut file| {
            file.write_all(&json).inspect_err(|_| {
                let _ = self.remove(LAUNCH_FILE);
            })
        });
        // Many commands say nothing, and descriptors are scarce.
        self.let_go();
        written
    }
}
