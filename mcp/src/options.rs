//! What the owner of a server decides for all of its calls.

use ostler::{Command, EnvMode};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest that a call can be asked to wait. Clients have limits of their own, mostly lower.
pub const YIELD_MAX_MS: u64 = 3_600_000;

/// What holds for every command of a server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Commands start in this directory or below it. It bounds where they start, and is no sandbox. Its links are resolved once, when the
    /// server is made.
    pub root: Option<PathBuf>,
    /// What they inherit. Default: everything but credentials.
    pub env_mode: EnvMode,
    /// Time limit of a command that is given none. Default: none.
    pub timeout: Option<Duration>,
    /// Most memory of each tree.
    pub memory_limit: Option<u64>,
    /// Most processes of each tree.
    pub processes_limit: Option<u64>,
    /// Beyond so many bytes of output a command is stopped.
    pub output_limit: Option<u64>,
    /// Commands run on the workers of this pool, and models are told so: their files are not those of this machine.
    #[cfg(feature = "nats")]
    pub pool: Option<String>,
    /// Tools for tests, beside the others.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fixtures: &'static [crate::testing::Fixture],
}

impl Options {
    /// No limits but those of the graph.
    pub fn new() -> Options {
        Options::default()
    }

    /// The directory in which a command is to start: links resolved, within the root.
    pub(crate) fn directory(&self, asked: Option<&str>) -> Result<Option<PathBuf>, String> {
        let Some(root) = &self.root else { return Ok(asked.map(PathBuf::from)) };
        let failed = |path: &Path, error: io::Error| {
            format!("cwd: {}: {error}; name a directory that is there", path.display())
        };
        let asked = root.join(asked.unwrap_or_default());
        let cwd = asked.canonicalize().map_err(|error| failed(&asked, error))?;
        if !cwd.starts_with(root) {
            return Err(format!(
                "cwd: {} is outside of {}, where commands of this server have to start; leave cwd out, or name a directory below it",
                cwd.display(),
                root.display()
            ));
        }
        Ok(Some(cwd))
    }

    pub(crate) fn apply(&self, mut command: Command) -> Command {
        command = command.env_mode(self.env_mode);
        if let Some(bytes) = self.memory_limit {
            command = command.memory_limit(bytes);
        }
        if let Some(processes) = self.processes_limit {
            command = command.processes_limit(processes);
        }
        if let Some(bytes) = self.output_limit {
            command = command.output_limit(bytes).output_policy(ostler::OutputPolicy::StopCommand);
        }
        command
    }
}
