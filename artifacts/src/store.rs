//! What lies in a root, seen by another process than the one that made it.
//!
//! * in: a root, and what somebody calls a command
//! * out: commands with what is known of them: running, ended, or lost with their host
//! * keeps: nothing is changed, and nobody's lock is held for longer than a look

use crate::{
    LaunchFile, OutputFile, Paths, RESULT_FILE, discard, lock, paths::holds_only_ours, result,
    retention::runs, root::check,
};
use ostler_messages::{CommandId, Output, Record, Status};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
};

/// So many threads look at the commands of a root at once: more only wait for each other in the kernel.
const LOOKING_THREADS_MAX: usize = 8;
/// For fewer commands no thread is made.
const SHARE_MIN: usize = 256;

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
    state: StoredState,
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
    /// The pids of hosts that live, in doubt: for commands that don't say who made them.
    living: BTreeSet<u32>,
}

impl Store {
    /// Looks at it. A root that is not there is empty.
    ///
    /// # Errors
    /// What opening it said; a root that is another user's, or that others may write to, is refused.
    pub fn look(root: &Path) -> io::Result<Store> {
        let empty = || Store { root: root.to_owned(), ids: Vec::new(), living: BTreeSet::new() };
        match fs::symlink_metadata(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(empty()),
            other => other?,
        };
        check(root, root, nix::unistd::geteuid().as_raw()).map_err(io::Error::other)?;
        let living = lock::living(root)?;
        let mut ids = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            // A link leads elsewhere.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<CommandId>().ok()));
            }
        }
        ids.sort_unstable_by(|one, other| other.cmp(one));
        ids.dedup();
        Ok(Store { ids, living, ..empty() })
    }

    /// Every command, the newest first.
    pub fn ids(&self) -> &[CommandId] {
        &self.ids
    }

    /// Every command that is there still, the newest first.
    pub fn summaries(&self) -> Vec<Summary> {
        // Each is some calls of the kernel and a file to parse: 0.28 s for 10,000, where one thread does it.
        let threads = thread::available_parallelism().map_or(1, usize::from).min(LOOKING_THREADS_MAX);
        let share = self.ids.len().div_ceil(threads).max(SHARE_MIN);
        let look =
            |ids: &[CommandId]| -> Vec<Summary> { ids.iter().filter_map(|id| self.summary(*id)).collect() };
        thread::scope(|scope| {
            let mut shares = self.ids.chunks(share);
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> = shares
                .map(|ids| (ids, thread::Builder::new().spawn_scoped(scope, move || look(ids))))
                .collect();
            let mut all = look(own);
            for (ids, other) in others {
                // Where there is no thread, this one does it.
                let found = other.ok().and_then(|thread| thread.join().ok());
                all.extend(found.unwrap_or_else(|| look(ids)));
            }
            all
        })
    }
    fn summary(&self, command_id: CommandId) -> Option<Summary> {
        let result = result::read::<Record>(&Paths::of(&self.root, command_id).dir.join(RESULT_FILE));
        let (state, mut record) = match result {
            Some(record) => (StoredState::Ended, record),
            None => {
                let stored = self.command(command_id)?;
                (stored.state, stored.record())
            }
        };
        (record.stdout, record.stderr) = (String::new(), String::new());
        Some(Summary { command_id, state, record })
    }

    /// One of them. None: it is not there, or not any more.
    pub fn command(&self, command_id: CommandId) -> Option<Stored> {
        Stored::with(&self.root, command_id, |pid| self.living.contains(&pid) || runs(pid))
    }
}

/// How a command stands, without its texts: one of many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Its name.
    pub command_id: CommandId,
    /// How it stands.
    pub state: StoredState,
    /// As [`Stored::record`], with no text.
    pub record: Record,
}

impl Stored {
    /// Looks at one. None: there is no such directory.
    pub fn look(root: &Path, command_id: CommandId) -> Option<Stored> {
        Stored::with(root, command_id, |pid| lock::is_held(root, pid) || runs(pid))
    }
    /// `lives`: of a command that does not say who made it, whether a host with its pid lives.
    fn with(root: &Path, command_id: CommandId, lives: impl Fn(u32) -> bool) -> Option<Stored> {
        let paths = Paths::find(root, command_id);
        if !fs::symlink_metadata(&paths.dir).ok()?.is_dir() {
            return None;
        }
        let launch = LaunchFile::read(&paths.dir);
        let pid = command_id.host_pid;
        let is_ended = || fs::symlink_metadata(paths.result()).is_ok();
        let host_lives = || launch.as_ref().map_or_else(|| lives(pid), |launch| launch.host.lives(root, pid));
        let state = match () {
            () if is_ended() => StoredState::Ended,
            () if host_lives() => StoredState::Running,
            // One that ended between the two looks has written its result before.
            () if is_ended() => StoredState::Ended,
            () => StoredState::Lost,
        };
        let result = result::read::<Box<Record>>(&paths.dir.join(RESULT_FILE));
        Some(Stored { command_id, launch, result, paths, state })
    }

    /// How it stands.
    pub fn state(&self) -> StoredState {
        self.state
    }

    /// Removes its directory. One that is gone already is no error.
    ///
    /// # Errors
    /// [`RemoveError`]; then all of it is there still.
    pub fn remove(&self) -> Result<(), RemoveError> {
        let (root, pid) = (self.paths.dir.parent().unwrap_or(&self.paths.dir), self.command_id.host_pid);
        let lives = match &self.launch {
            Some(launch) => launch.host.lives(root, pid),
            None => lock::is_held(root, pid) || runs(pid),
        };
        match () {
            () if lives => Err(RemoveError::HostLives { pid }),
            () if !holds_only_ours(&self.paths.dir)? => {
                Err(io::Error::from(ErrorKind::DirectoryNotEmpty).into())
            }
            () => Ok(discard(&self.paths)?),
        }
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
        if self.state != StoredState::Running {
            record.exit_code = Some(-1);
            record.end(Status::Lost, Some(ostler_messages::StopCause::HostGone));
        }
        if self.state == StoredState::Ended {
            record.artifact_error = Some(format!("{} can't be read", self.paths.result().display()));
        }
        record
    }
}
