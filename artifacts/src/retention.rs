//! Removing the artifacts of commands that nobody asks for any more, by age, count and bytes.
//!
//! * in: a root, limits, what is still asked for
//! * out: what was removed, and what could not be
//! * keeps: nothing of another living host is removed, and nothing that ostler did not make

use crate::{LaunchFile, OutputFile, Paths, discard, dump::retain_dumps, lock, paths::holds_only_ours};
use ostler_messages::CommandId;
use std::{
    collections::BTreeSet,
    fmt, fs, io,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Default age in hours, a week: long enough to come back to after days off.
pub const RETENTION_AGE_HOURS: u64 = 168;
/// Default number of commands kept: some days of busy work, and few enough to list at once.
pub const RETENTION_COUNT: usize = 512;
/// Default number of bytes kept, 10 GiB: some large logs, on a disk that others use too.
pub const RETENTION_BYTES: u64 = 10 << 30;
/// Most errors reported by one retention: one cause usually shows at every directory.
const FAILURES_MAX: usize = 32;

/// What may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Not what is older.
    pub age: Duration,
    /// Not the oldest beyond so many commands.
    pub commands: usize,
    /// Not the oldest beyond so many bytes.
    pub bytes: u64,
}

/// What a retention did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retained {
    /// Commands whose directories were removed.
    pub removed: Vec<CommandId>,
    /// Directories of commands that are still there, for whatever reason.
    pub kept: usize,
    /// Those of them that are beyond the limits all the same: their host lives, or its next life may be asked for them.
    pub stayed: Vec<CommandId>,
    /// What could not be looked at or removed; at most 32 of them.
    pub errors: Vec<RetentionError>,
}

/// Something that could not be looked at or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", path.display(), io::Error::from_raw_os_error(*errno))]
pub struct RetentionError {
    /// What it was.
    pub path: PathBuf,
    /// Its errno(3).
    pub errno: i32,
}

impl Retained {
    pub(crate) fn failed(&mut self, path: &Path, error: &io::Error) {
        if self.errors.len() < FAILURES_MAX {
            let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
            self.errors.push(RetentionError { path: path.to_owned(), errno });
        }
    }
}

/// What of it somebody may still ask for. The default: this process has nothing that may go, and no earlier lives.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this process, those that may go.
    pub may_go: BTreeSet<CommandId>,
    /// Of earlier lives of this host, those that stay.
    pub past: BTreeSet<CommandId>,
    /// The journal by which it knows its earlier lives, if it is known of which commands other hosts of the name will be asked: `others`. Else
    /// none, and those of every journal stay until their age.
    pub journal: Option<String>,
    /// Of dead hosts of that name whom nobody has taken over yet.
    pub others: Others,
}
/// Which commands are meant, of those that are not this host's.
#[derive(Clone, Default)]
pub struct Others(pub Option<Arc<dyn Fn(CommandId) -> bool + Send + Sync>>);
impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "some" } else { "none" })
    }
}
impl Wanted {
    /// Whether the command of a dead host stays though it is beyond the number or the bytes: that host's next life may be asked for it.
    fn is_kept(&self, root: &Path, command: CommandId) -> bool {
        let launch = || LaunchFile::read(&Paths::find(root, command).dir);
        let of_others = || self.others.0.as_ref().is_some_and(|others| others(command));
        launch()
            .and_then(|launch| launch.journal)
            .is_some_and(|name| self.journal != Some(name) || of_others())
    }
}

/// Removes directories of commands that are beyond these limits, the oldest first.
///
/// It looks only at real directories of this user whose name is exactly a command's. What stays: every command of another living
/// host; of this process every one that may not go, and of its earlier lives what is asked for; of a dead host with another journal what is
/// not beyond the age, since its next life may be asked for it; every directory that holds anything ostler did not make. Those count all
/// the same. The age is that of `result.json`, or of the directory if there is none; the bytes are the lengths of ostler's
/// files in it. Lock files of dead hosts are removed.
///
/// Files of flight recorders that are older than the age go, and the oldest beyond [`DUMPS_KEPT`](crate::DUMPS_KEPT), whoever wrote them.
///
/// It never fails as a whole; a directory that goes away meanwhile is no error.
pub fn retain(root: &Path, limits: &RetentionLimits, wanted: &Wanted) -> Retained {
    let mut retained = Retained::default();
    retain_dumps(root, limits.age, &mut retained);
    // Directories first, locks second: see `lock`.
    let Some(found) = commands(root, &mut retained) else { return retained };
    let living = match lock::sweep(root, |path, error| retained.failed(path, error)) {
        Ok(living) => living,
        Err(error) => {
            retained.failed(root, &error);
            return retained;
        }
    };
    let stays = |command: CommandId, old: bool| match command.host_pid {
        _ if wanted.past.contains(&command) => true,
        // In a container an earlier life had this process's number too.
        pid if pid == std::process::id() && !is_of_dead_twin(root, command) => {
            !wanted.may_go.contains(&command)
        }
        pid if pid == std::process::id() => !old && wanted.is_kept(root, command),
        pid => living.contains(&pid) || runs(pid) || (!old && wanted.is_kept(root, command)),
    };
    choose(root, limits, found, stays, &mut retained, remove_command);
    retained
}

/// Whether it says that another host has made it, which is dead and had the pid of this one.
fn is_of_dead_twin(root: &Path, command: CommandId) -> bool {
    let launch = LaunchFile::read(&Paths::find(root, command).dir);
    launch.is_some_and(|launch| !launch.host.is_here() && !launch.host.lives(root, command.host_pid))
}

/// What [`retain`] would remove of hosts that are gone; nothing is changed.
pub fn would_go(root: &Path, limits: &RetentionLimits) -> Retained {
    let mut retained = Retained::default();
    let Some(found) = commands(root, &mut retained) else { return retained };
    let living = lock::living(root).unwrap_or_default();
    let wanted = Wanted::default();
    let stays = |command: CommandId, old: bool| {
        let pid = command.host_pid;
        living.contains(&pid) || runs(pid) || (!old && wanted.is_kept(root, command))
    };
    choose(root, limits, found, stays, &mut retained, |paths| holds_only_ours(&paths.dir));
    retained
}

/// Goes through them from the oldest on. `remove` says whether one is gone.
fn choose(
    root: &Path,
    limits: &RetentionLimits,
    found: Vec<Found>,
    stays: impl Fn(CommandId, bool) -> bool,
    retained: &mut Retained,
    remove: impl Fn(&Paths) -> io::Result<bool>,
) {
    let now = SystemTime::now();
    let mut bytes: u64 = found.iter().map(|found| found.bytes).sum();
    // The oldest first, so that what is beyond the age is also what goes first beyond the other two.
    for Found { changed_at, command, bytes: own_bytes } in found {
        // A time in the future is a clock that was set back, not an old command.
        let old = now.duration_since(changed_at).is_ok_and(|past| past > limits.age);
        let beyond = old || retained.kept > limits.commands || bytes > limits.bytes;
        if !beyond {
            continue;
        }
        if stays(command, old) {
            retained.stayed.push(command);
            continue;
        }
        let paths = Paths::find(root, command);
        match remove(&paths) {
            Ok(true) => {
                retained.kept -= 1;
                retained.removed.push(command);
                bytes -= own_bytes;
            }
            Ok(false) => {}
            Err(error) => retained.failed(&paths.dir, &error),
        }
    }
}

/// One command's directory. The oldest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    changed_at: SystemTime,
    command: CommandId,
    bytes: u64,
}

/// Whether a process has this number: a cleaner may have removed the lock of a host that lives. Another one that has got the number
/// meanwhile delays a removal, and no more.
pub(crate) fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).map(nix::unistd::Pid::from_raw);
    pid.is_some_and(|pid| nix::sys::signal::kill(pid, None) != Err(nix::errno::Errno::ESRCH))
}

/// Every command directory with the time of its last change, the oldest first. None: that can't be told.
fn commands(root: &Path, retained: &mut Retained) -> Option<Vec<Found>> {
    let mut found = look(root, retained).inspect_err(|error| retained.failed(root, error)).ok()?;
    found.sort();
    retained.kept = found.len();
    Some(found)
}
fn look(root: &Path, retained: &mut Retained) -> io::Result<Vec<Found>> {
    let uid = nix::unistd::geteuid().as_raw();
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Some(command) = entry.file_name().to_str().and_then(|name| name.parse::<CommandId>().ok()) else {
            continue;
        };
        let paths = Paths { dir: entry.path() };
        // Neither look follows a symlink.
        let changed_at = entry.metadata().and_then(|dir| match dir.is_dir() && dir.uid() == uid {
            true => fs::symlink_metadata(paths.result()).unwrap_or(dir).modified().map(Some),
            false => Ok(None),
        });
        match changed_at {
            Ok(Some(changed_at)) => found.push(Found { changed_at, command, bytes: bytes_of(&paths) }),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => retained.failed(&paths.dir, &error),
        }
    }
    Ok(found)
}

/// Of ostler's own files; one that can't be looked at counts nothing.
fn bytes_of(paths: &Paths) -> u64 {
    let files = OutputFile::ALL.map(|which| paths.file(which));
    let length = |path: &PathBuf| fs::symlink_metadata(path).map_or(0, |file| file.len());
    files.iter().chain([&paths.result(), &paths.launch()]).map(length).sum()
}

/// Removes the directory of a command, if it holds only what ostler made; false if it holds more. One that is gone is no error.
///
/// # Errors
/// What unlink(2) or rmdir(2) said.
pub fn remove_command(paths: &Paths) -> io::Result<bool> {
    match holds_only_ours(&paths.dir) {
        Ok(true) => discard(paths).map(|()| true),
        Ok(false) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
