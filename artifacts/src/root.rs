//! The directory in which the commands' directories are.

use crate::{Directory, HostIdentity, Paths, create, lock::HostLock};
use ostler_messages::CommandId;
use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Why a directory can't be the root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// A link can be pointed elsewhere between two looks.
    #[error("{} is a symlink: give the directory that it leads to", path.display())]
    Symlink {
        /// The path that was given.
        path: PathBuf,
    },
    /// There is something else.
    #[error("{} is not a directory: give another path, or remove it", path.display())]
    NotADirectory {
        /// The path that was given.
        path: PathBuf,
    },
    /// Whoever owns it could read and replace all output.
    #[error("{} belongs to user {uid}: give a directory of your own", path.display())]
    ForeignOwner {
        /// The path that was given.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Others could replace what is in it.
    #[error("{0} can be written to by others (mode {mode:04o}): chmod 700 {0}", path.display())]
    WritableByOthers {
        /// The path that was given.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refused.
    #[error("{doing} {}: {message}: give a directory that you can write to", path.display())]
    Io {
        /// `making`, `looking at` or `locking`.
        doing: &'static str,
        /// What was made, looked at or locked.
        path: PathBuf,
        /// The error's text.
        message: String,
    },
}

/// A root: private to the user, and locked, so that no other process's retention touches what this one made. It may be
/// missing, from the start or later: then it is made when a command needs it, if it can be.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    host_pid: u32,
    /// None: the file system has no locks, or the root is missing. Then the host's pid alone says that it lives.
    lock: Mutex<Option<HostLock>>,
}

impl Root {
    /// Makes the directory if need be (0700, its parents too), checks it, and takes this host's lock until drop.
    /// Two of them in one process are fine. `None` is [`default_root`], which may be missing: nobody has named it.
    ///
    /// # Errors
    /// [`RootError`] says what to do.
    pub fn open(path: Option<PathBuf>, host_pid: u32) -> Result<Root, RootError> {
        let is_named = path.is_some();
        let given = path.unwrap_or_else(default_root);
        let absolute = std::path::absolute(&given).map_err(|error| refused(&given, "looking at", &error))?;
        // Without a trailing `/` or `/.`, by which a look at a symlink would see what it leads to.
        let path: PathBuf = absolute.components().filter(|part| *part != Component::CurDir).collect();
        let root = Root { path, host_pid, lock: Mutex::new(None) };
        match root.make() {
            Err(error) if is_named => Err(error),
            _ => Ok(root),
        }
    }

    pub(crate) fn make(&self) -> Result<(), RootError> {
        let path = &self.path;
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        if let Some(parent) = path.parent() {
            builder.recursive(true).create(parent).map_err(|error| refused(path, "making", &error))?;
            check_parent(parent, path)?;
        }
        match builder.recursive(false).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(refused(path, "making", &error));
            }
            _ => check(path, path, nix::unistd::geteuid().as_raw())?,
        }
        let lock = match HostLock::take(path, self.host_pid) {
            Ok(lock) => Some(lock),
            // A file system without locks, or without room for the file.
            Err(error) if NO_LOCKS.contains(&error.raw_os_error().unwrap_or(0)) => None,
            Err(error) => return Err(refused(path, "locking", &error)),
        };
        // Nothing can panic while it is held.
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
        Ok(())
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who this host is, for those who look at its commands from outside.
    pub fn identity(&self) -> HostIdentity {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        HostIdentity::own(lock.as_ref().map(HostLock::identity))
    }

    /// Makes a command's directory; and the root too, if that is missing.
    ///
    /// # Errors
    /// What [`create`] said.
    pub fn create(&self, command: CommandId) -> io::Result<Directory> {
        let paths = Paths::of(&self.path, command);
        match create(&paths) {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.make() {
                Ok(()) => create(&paths),
                Err(refused) => Err(io::Error::new(error.kind(), refused)),
            },
            other => other,
        }
    }
}

/// What flock(2), and open(2) of the lock's file, say where there can be none.
const NO_LOCKS: [i32; 6] = [
    nix::libc::ENOLCK,
    nix::libc::EOPNOTSUPP,
    nix::libc::ENOSYS,
    nix::libc::EINVAL,
    nix::libc::ENOSPC,
    nix::libc::EDQUOT,
];

fn refused(path: &Path, doing: &'static str, error: &io::Error) -> RootError {
    RootError::Io { doing, path: path.to_owned(), message: error.to_string() }
}

/// Refuses a place where anybody can replace the root: a directory that all may write to, unless only owners may rename what is in
/// it (the sticky bit, as `/tmp` has it). A group that may write is no reason: many systems give each user one of its own.
fn check_parent(parent: &Path, path: &Path) -> Result<(), RootError> {
    let about = fs::metadata(parent).map_err(|error| refused(path, "looking at", &error))?;
    let mode = about.mode() & 0o7777;
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(RootError::WritableByOthers { path: parent.to_owned(), mode });
    }
    Ok(())
}

/// Refuses a directory that somebody else could change.
pub(crate) fn check(path: &Path, given: &Path, euid: u32) -> Result<(), RootError> {
    let given = given.to_owned();
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) => {
            return Err(RootError::Io { doing: "looking at", path: given, message: error.to_string() });
        }
    };
    let mode = about.mode() & 0o7777;
    match () {
        () if about.is_symlink() => Err(RootError::Symlink { path: given }),
        () if !about.is_dir() => Err(RootError::NotADirectory { path: given }),
        () if about.uid() != euid => Err(RootError::ForeignOwner { path: given, uid: about.uid() }),
        () if mode & 0o022 != 0 => Err(RootError::WritableByOthers { path: given, mode }),
        () => Ok(()),
    }
}

/// `$XDG_STATE_HOME/ostler/artifacts`, else `$HOME/.local/state/ostler/artifacts`, else `$TMPDIR/ostler-{uid}` with
/// `/tmp` for an absent `TMPDIR`. A variable that is empty or not an absolute path counts as absent
/// (XDG Base Directory Specification).
pub fn default_root() -> PathBuf {
    default_root_from(|name| env::var_os(name), nix::unistd::geteuid().as_raw())
}

fn default_root_from(var: impl Fn(&str) -> Option<OsString>, uid: u32) -> PathBuf {
    let dir = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = dir("XDG_STATE_HOME") {
        return state.join("ostler/artifacts");
    }
    if let Some(home) = dir("HOME") {
        return home.join(".local/state/ostler/artifacts");
    }
    dir("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")).join(format!("ostler-{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_is_the_first_that_has_a_place() {
        let with = |vars: &'static [(&str, &str)]| {
            let var = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
            default_root_from(var, 7).into_os_string().into_string().unwrap()
        };
        let all = &[("XDG_STATE_HOME", "/s"), ("HOME", "/h"), ("TMPDIR", "/t")];
        assert_eq!(with(all), "/s/ostler/artifacts");
        assert_eq!(with(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), "/h/.local/state/ostler/artifacts");
        assert_eq!(with(&[("HOME", ""), ("TMPDIR", "/t")]), "/t/ostler-7");
        assert_eq!(with(&[]), "/tmp/ostler-7");
    }

    #[test]
    fn a_root_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let uid = fs::metadata(dir.path()).unwrap().uid();
        assert_eq!(check(dir.path(), dir.path(), uid), Ok(()));
        let refused = RootError::ForeignOwner { path: dir.path().to_owned(), uid };
        assert_eq!(check(dir.path(), dir.path(), uid + 1), Err(refused));
    }
}
