//! Removing the artifacts of commands whose host is gone, by age and by count.
//!
//! * in: a root, an age, a number
//! * out: what was removed, and what could not be
//! * keeps: nothing of a living host, and nothing that ostler did not make

use crate::{Paths, discard, lock, paths::holds_only_ours};
use ostler_messages::CommandId;
use std::{
    fs, io,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Default age in hours, a week: long enough to come back to after days off.
pub const RETENTION_AGE_HOURS: u64 = 168;
/// Default number of commands kept: some days of busy work, and few enough to list at once.
pub const RETENTION_COUNT: usize = 512;
/// Most errors reported by one retention: one cause usually shows at every directory.
const FAILURES_MAX: usize = 32;

/// What a retention did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Retained {
    /// Directories removed.
    pub removed: usize,
    /// Directories of commands that are still there, for whatever reason.
    pub kept: usize,
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
    fn failed(&mut self, path: &Path, error: &io::Error) {
        if self.errors.len() < FAILURES_MAX {
            let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
            self.errors.push(RetentionError { path: path.to_owned(), errno });
        }
    }
}

/// Removes directories of commands that are older than `age`, and the oldest of those beyond `count`.
///
/// It looks only at real directories of this user whose name is exactly a command's, and leaves every command whose host
/// lives (this process included) and every directory that holds anything ostler did not make; those count all the same.
/// The age is that of `result.json`, or of the directory if there is none. Lock files of dead hosts are removed.
///
/// It never fails as a whole; a directory that goes away meanwhile is no error.
pub fn retain(root: &Path, age: Duration, count: usize) -> Retained {
    let mut retained = Retained::default();
    // Directories first, locks second: see `lock`.
    let mut found = match commands(root, &mut retained) {
        Ok(found) => found,
        Err(error) => {
            retained.failed(root, &error);
            return retained;
        }
    };
    let living = match lock::sweep(root, |path, error| retained.failed(path, error)) {
        Ok(living) => living,
        Err(error) => {
            retained.failed(root, &error);
            retained.kept = found.len();
            return retained;
        }
    };
    found.sort();
    let now = SystemTime::now();
    retained.kept = found.len();
    // The oldest first, so that what is beyond the age is also what goes first beyond the count.
    for (changed_at, command) in found {
        // A time in the future is a clock that was set back, not an old command.
        let old = now.duration_since(changed_at).is_ok_and(|past| past > age);
        if (!old && retained.kept <= count) || living.contains(&command.host_pid) || runs(command.host_pid) {
            continue;
        }
        match remove(&Paths::of(root, command)) {
            Ok(true) => {
                retained.kept -= 1;
                retained.removed += 1;
            }
            Ok(false) => {}
            Err(error) => retained.failed(&Paths::of(root, command).dir, &error),
        }
    }
    retained
}

/// Whether a process has this number: a cleaner may have removed the lock of a host that lives. Another one that has got the number
/// meanwhile delays a removal, and no more.
fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).map(nix::unistd::Pid::from_raw);
    pid.is_some_and(|pid| nix::sys::signal::kill(pid, None) != Err(nix::errno::Errno::ESRCH))
}

/// Every command directory with the time of its last change.
fn commands(root: &Path, retained: &mut Retained) -> io::Result<Vec<(SystemTime, CommandId)>> {
    let uid = nix::unistd::geteuid().as_raw();
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Some(command) = entry.file_name().to_str().and_then(|name| name.parse::<CommandId>().ok()) else {
            continue;
        };
        let paths = Paths::of(root, command);
        // Neither look follows a symlink.
        let changed_at = entry.metadata().and_then(|dir| match dir.is_dir() && dir.uid() == uid {
            true => fs::symlink_metadata(paths.result()).unwrap_or(dir).modified().map(Some),
            false => Ok(None),
        });
        match changed_at {
            Ok(Some(changed_at)) => found.push((changed_at, command)),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => retained.failed(&paths.dir, &error),
        }
    }
    Ok(found)
}

/// Removes a directory that holds only what ostler made; false if it holds more.
fn remove(paths: &Paths) -> io::Result<bool> {
    match holds_only_ours(&paths.dir) {
        Ok(true) => discard(paths).map(|()| true),
        Ok(false) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
