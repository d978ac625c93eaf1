//! The lock by which a host says that it lives.
//!
//! `.host-{pid}-{n}.lock` in the root, held with flock(2) as long as the [`Root`](crate::Root) is open. The kernel lets
//! go of it when the process dies, however it dies, and a pid that was given to somebody else meanwhile deceives
//! nobody. A host takes its lock before it makes a directory; whoever removes directories looks at them before the
//! locks, and so never takes those of a host that came in between for dead.

use crate::host::own_tokens;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Most locks of one pid: in a container every host may have the same pid, and each that was killed leaves a file until
/// the next retention. Beyond this something else is wrong.
const LOCKS_PER_PID_MAX: u32 = 4096;

/// Longest token.
const TOKEN_MAX_BYTES: u64 = 20;

/// A held lock; let go of, and its file removed, on drop.
#[derive(Debug)]
pub(crate) struct HostLock {
    file: File,
    path: PathBuf,
    /// Stands in the file; no other lock has it.
    token: u64,
}

impl HostLock {
    /// Takes the first free number.
    pub(crate) fn take(root: &Path, host_pid: u32) -> io::Result<HostLock> {
        for n in 1..=LOCKS_PER_PID_MAX {
            let path = root.join(format!(".host-{host_pid}-{n}.lock"));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW);
            let file = match options.open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other?,
            };
            // Until the lock is held, a retention elsewhere may take the new file for a stale one and remove it.
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(HostLock::held(file, path)),
                Ok(()) | Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    let _ = fs::remove_file(&path);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other(format!("all {LOCKS_PER_PID_MAX} locks of pid {host_pid} are taken")))
    }
}

impl HostLock {
    fn held(mut file: File, path: PathBuf) -> HostLock {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut tokens = own_tokens();
        let mut token = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        while !tokens.insert(token) {
            token -= 1;
        }
        // On a full disk it is not written: then the process alone tells who it is.
        let _ = file.write_all(token.to_string().as_bytes());
        HostLock { file, path, token }
    }
    /// Its name in the root, and what stands in it.
    pub(crate) fn identity(&self) -> (String, u64) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, self.token)
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        own_tokens().remove(&self.token);
        // If the root was removed and made again, the name may belong to another lock by now.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
        // Said aloud, because a process that was forked and not yet exec'd shares the lock.
        let _ = self.file.unlock();
    }
}

/// Whether the open file is what the path names.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(path)) => (file.dev(), file.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

/// Whether a host with this pid lives. In doubt it does.
pub(crate) fn is_held(root: &Path, host_pid: u32) -> bool {
    let Ok(locks) = locks(root) else { return true };
    locks.into_iter().any(|(path, pid)| pid == host_pid && is_locked(&path))
}

/// Whether the lock of this name is held by who wrote this token into it. None: it is not there, or another one's.
pub(crate) fn is_held_by(root: &Path, name: &str, pid: u32, token: u64) -> Option<bool> {
    if host_pid(name) != Some(pid) {
        return None;
    }
    let mut file = open(&root.join(name)).ok()?;
    let mut text = String::new();
    (&mut file).take(TOKEN_MAX_BYTES).read_to_string(&mut text).ok()?;
    (text.parse() == Ok(token)).then(|| file.try_lock_shared().is_err())
}

/// In doubt it is.
fn is_locked(path: &Path) -> bool {
    match open(path) {
        // Shared, so that two who look at the same time are not taken for the host.
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// The pids of the hosts that live; in doubt one does. Nothing is changed.
pub(crate) fn living(root: &Path) -> io::Result<BTreeSet<u32>> {
    Ok(locks(root)?.into_iter().filter(|(path, _)| is_locked(path)).map(|(_, pid)| pid).collect())
}

/// The pids of the hosts that live; in doubt one does, and the doubt goes to `trouble`. Removes the lock files of
/// dead ones.
pub(crate) fn sweep(root: &Path, mut trouble: impl FnMut(&Path, &io::Error)) -> io::Result<BTreeSet<u32>> {
    let mut living = BTreeSet::new();
    for (path, pid) in locks(root)? {
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                living.insert(pid);
                trouble(&path, &error);
                continue;
            }
        };
        match file.try_lock() {
            // Removed while it is held here: a host that makes the same name anew sees that it has another file.
            Ok(()) if is_at(&file, &path) => {
                if let Err(error) = fs::remove_file(&path) {
                    trouble(&path, &error);
                }
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => drop(living.insert(pid)),
            Err(TryLockError::Error(error)) => {
                living.insert(pid);
                trouble(&path, &error);
            }
        }
    }
    crate::socket::remove_stale(root);
    Ok(living)
}

/// Every lock file in the root, with its pid.
fn locks(root: &Path) -> io::Result<Vec<(PathBuf, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if let Some(pid) = entry.file_name().to_str().and_then(host_pid) {
            found.push((entry.path(), pid));
        }
    }
    Ok(found)
}

/// The pid in a lock's name, if it is one in exactly our form.
fn host_pid(name: &str) -> Option<u32> {
    let (pid, n) = name.strip_prefix(".host-")?.strip_suffix(".lock")?.split_once('-')?;
    let (pid, n) = (pid.parse::<u32>().ok()?, n.parse::<u32>().ok()?);
    (format!(".host-{pid}-{n}.lock") == name).then_some(pid)
}

fn open(path: &Path) -> io::Result<File> {
    // For writing too: some network file systems lock exclusively only what is open for writing (flock(2)).
    OpenOptions::new().read(true).write(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)
}
