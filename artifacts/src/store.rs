//! What lies in a root, seen by another process than the one that made it.
//!
//! * in: a root, and what somebody calls a command
//! * out: commands with what is known of them: running, ended, or lost with their host
//! * keeps: nothing is changed, and nobody's lock is held for longer than a look

use crate::{LaunchFile, OutputFile, Paths, RESULT_FILE, discard, lock, result};
use ostler_messages::{CommandId, Output, Record, Status};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// A command in a root.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored {
    /// Its name.
    pub command_id: CommandId,
    /// Its files.
    pub paths: Paths,
    /// What was asked for; none if that can't be read.
    pub launch: Option<LaunchFile>,
    /// How it ended, if it did and that was written.
    pub result: Option<Box<Record>>,
    /// Whether its host lives, in doubt: looked at only where there is no result.
    host_lives: bool,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredState {
    /// Its host lives, and has written no result.
    Running,
    /// It has a result.
    Ended,
    /// Its host is gone, and wrote no result.
    Lost,
}

/// Why a command was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Its host lives: it alone removes what is its own.
    #[error("its host lives (pid {pid})")]
    HostLives {
        /// The host.
        pid: u32,
    },
    /// The system refused; `DirectoryNotEmpty`: there is something in it that ostler did not make.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A root as it was at one moment.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    ids: Vec<CommandId>,
    /// The hosts that live, in doubt.
    living: BTreeSet<u32>,
}

impl Store {
    /// Looks at it. A root that is not there is empty.
    ///
    /// # Errors
    /// What opening it said.
    pub fn look(root: &Path) -> io::Result<Store> {
        let living = match lock::living(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            other => other?,
        };
        let mut ids = Vec::new();
        // The hosts first: a command of one that begins meanwhile is not taken for lost, since its host is not known at all.
        match fs::read_dir(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<CommandId>().ok()));
                }
            }
        }
        ids.sort_unstable_by(|one, other| other.cmp(one));
        ids.dedup();
        Ok(Store { root: root.to_owned(), ids, living })
    }

    /// Every command, the newest first.
    pub fn ids(&self) -> &[CommandId] {
        &self.ids
    }

    /// One of them. None: it is not there, or not any more.
    pub fn command(&self, command_id: CommandId) -> Option<Stored> {
        let lives = self.living.contains(&command_id.host_pid);
        Stored::with(&self.root, command_id, |root| lives || lock::is_held(root, command_id.host_pid))
    }
}

impl Stored {
    /// Looks at one. None: there is no such directory.
    pub fn look(root: &Path, command_id: CommandId) -> Option<Stored> {
        Stored::with(root, command_id, |root| lock::is_held(root, command_id.host_pid))
    }
    fn with(root: &Path, command_id: CommandId, lives: impl Fn(&Path) -> bool) -> Option<Stored> {
        let paths = Paths::find(root, command_id);
        if !fs::symlink_metadata(&paths.dir).ok()?.is_dir() {
            return None;
        }
        let read = || result::read::<Box<Record>>(&paths.dir.join(RESULT_FILE));
        let (mut result, mut host_lives) = (read(), true);
        if result.is_none() {
            host_lives = lives(root);
            // One that ended between the two looks has written its result before.
            result = if host_lives { None } else { read() };
        }
        Some(Stored { command_id, launch: LaunchFile::read(&paths.dir), result, paths, host_lives })
    }

    /// How it stands.
    pub fn state(&self) -> StoredState {
        match (&self.result, self.host_lives) {
            (Some(_), _) => StoredState::Ended,
            (None, true) => StoredState::Running,
            (None, false) => StoredState::Lost,
        }
    }

    /// Removes its directory. One that is gone already is no error.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove(&self) -> Result<(), RemoveError> {
        if lock::is_held(self.paths.dir.parent().unwrap_or(Path::new("/")), self.command_id.host_pid) {
            return Err(RemoveError::HostLives { pid: self.command_id.host_pid });
        }
        Ok(discard(&self.paths)?)
    }

    /// Bytes of its combined output on disk.
    pub fn bytes(&self) -> u64 {
        fs::symlink_metadata(self.paths.combined()).map_or(0, |file| file.len())
    }

    /// Its record: the result, or what its files say, with the status `running` or `lost`. Without a result there are counts of
    /// bytes and no texts: read the output.
    pub fn record(&self) -> Record {
        if let Some(result) = &self.result {
            return (**result).clone();
        }
        let (id, launch) = (self.command_id, self.launch.as_ref());
        let handle_id = ostler_messages::HandleId { host_pid: id.host_pid, n: id.n };
        let session_id =
            launch.map_or_else(|| ostler_messages::SessionId::new("?"), |launch| launch.session_id.clone());
        let mut record = Record::new(session_id, id, handle_id);
        if let Some(launch) = launch {
            record.command.clone_from(&launch.command);
            record.command_or_op_descriptor.clone_from(&launch.command);
            record.cwd.clone_from(&launch.cwd);
            record.labels.clone_from(&launch.labels);
            record.started_at = Some(launch.requested_at);
        }
        let file = |which| -> PathBuf { self.paths.file(which) };
        record.output_path = file(OutputFile::Combined);
        record.stdout_path = file(OutputFile::Stdout);
        record.stderr_path = file(OutputFile::Stderr);
        let bytes = self.bytes();
        record.set_output(Output { byte_count: bytes, recorded_bytes: bytes, ..Output::default() });
        if self.state() == StoredState::Lost {
            record.exit_code = Some(-1);
            record.end(Status::Lost, Some(ostler_messages::StopCause::HostGone));
        }
        record
    }
}
