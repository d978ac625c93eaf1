//! The directory of one command: its names, its making, its end.

use crate::{OutputFile, result::RESULT_TEMP_FILE};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{Mode, fstat, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use ostler_messages::CommandId;
use std::{
    cell::OnceCell,
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// Name of the record's file in a command directory.
pub(crate) const RESULT_FILE: &str = "result.json";

/// Name of the file that says what was asked for.
pub(crate) const LAUNCH_FILE: &str = "launch.json";

/// Where one command's artifacts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory, `{root}/{command_id}`.
    pub dir: PathBuf,
}

impl Paths {
    /// The names alone; nothing is looked at or made.
    pub fn of(root: &Path, command: CommandId) -> Paths {
        Paths { dir: root.join(command.to_string()) }
    }

    /// The same, or where it was once: of a command whose directory has the old form of its name.
    pub fn find(root: &Path, command: CommandId) -> Paths {
        let paths = Paths::of(root, command);
        let old = || Paths { dir: root.join(command.old_form()) };
        let is_old = !paths.dir.exists() && old().dir.exists();
        if is_old { old() } else { paths }
    }

    /// Both streams in order of arrival, `combined.txt`.
    pub fn combined(&self) -> PathBuf {
        self.file(OutputFile::Combined)
    }
    /// `stdout.txt`.
    pub fn stdout(&self) -> PathBuf {
        self.file(OutputFile::Stdout)
    }
    /// `stderr.txt`.
    pub fn stderr(&self) -> PathBuf {
        self.file(OutputFile::Stderr)
    }
    /// What kept leftovers said after the command's end, there once they have, `kept.txt`.
    pub fn kept(&self) -> PathBuf {
        self.file(OutputFile::Kept)
    }
    /// The record, there once the command has ended, `result.json`.
    pub fn result(&self) -> PathBuf {
        self.dir.join(RESULT_FILE)
    }
    /// What was asked for, there from the first moment, `launch.json`.
    pub fn launch(&self) -> PathBuf {
        self.dir.join(LAUNCH_FILE)
    }
    /// The file of one kind of output.
    pub fn file(&self, which: OutputFile) -> PathBuf {
        self.dir.join(which.file_name())
    }
}

/// A command's directory: whatever its path leads to later, the files are in this one. It is held open from its first use on; until
/// then it is known by its number, since thousands of commands say nothing and descriptors are scarce.
#[derive(Debug)]
pub struct Directory {
    paths: Paths,
    /// Device and inode.
    id: (u64, u64),
    fd: OnceCell<OwnedFd>,
}

/// Makes the directory (0700) and its three files, empty (0600); a umask can only narrow that. Nothing that is there
/// already is taken over, and no symlink is followed.
///
/// # Errors
/// What mkdir(2) or open(2) said. Whatever was made until then is removed.
pub fn create(paths: &Paths) -> io::Result<Directory> {
    DirBuilder::new().mode(0o700).create(&paths.dir)?;
    let made = Directory::open(paths).and_then(|dir| {
        OutputFile::SEALED.into_iter().try_for_each(|which| dir.create(which.file_name()).map(drop))?;
        Ok(Directory { fd: OnceCell::new(), ..dir })
    });
    if made.is_err() {
        // The first error is the one to report.
        let _ = discard(paths);
    }
    made
}

impl Directory {
    /// One that is there.
    ///
    /// # Errors
    /// What open(2) said; a symlink is not followed.
    pub fn open(paths: &Paths) -> io::Result<Directory> {
        let fd = open_dir(paths)?;
        Ok(Directory { paths: paths.clone(), id: id(&fd)?, fd: fd.into() })
    }

    fn fd(&self) -> io::Result<&OwnedFd> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd);
        }
        let fd = open_dir(&self.paths)?;
        if id(&fd)? != self.id {
            return Err(io::Error::other(MOVED));
        }
        Ok(self.fd.get_or_init(|| fd))
    }

    /// It is opened again when it is needed.
    pub(crate) fn let_go(&mut self) {
        self.fd = OnceCell::new();
    }

    /// Where it was made.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// A new file.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)
    }
    /// A file to append to: not a link that leads elsewhere, not a FIFO that would block.
    pub(crate) fn append(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK)
    }
    /// The same, made by it.
    pub(crate) fn append_new(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL)
    }
    fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(self.fd()?, name, flags, Mode::from_bits_truncate(0o600))?.into())
    }
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fd().is_ok_and(|fd| fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) != Err(Errno::ENOENT))
    }
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let fd = self.fd()?;
        Ok(renameat(fd, from, fd, to)?)
    }
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(self.fd()?, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// What has become of it, if its path does not lead to it any more.
    pub(crate) fn trouble(&self) -> Option<String> {
        let gone = || Some("the artifact directory was removed".to_owned());
        if self.fd.get().is_some_and(|fd| fstat(fd).is_ok_and(|own| own.st_nlink == 0)) {
            return gone();
        }
        match fs::symlink_metadata(&self.paths.dir) {
            Ok(there) if (there.dev(), there.ino()) == self.id => None,
            Err(error) if error.kind() == ErrorKind::NotFound && self.fd.get().is_none() => gone(),
            _ => Some(MOVED.to_owned()),
        }
    }
}

const MOVED: &str = "the artifact directory was moved away";

fn open_dir(paths: &Paths) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    Ok(nix::fcntl::open(&paths.dir, flags, Mode::empty())?)
}

fn id(fd: &OwnedFd) -> io::Result<(u64, u64)> {
    let about = fstat(fd)?;
    Ok((about.st_dev, about.st_ino))
}

/// Removes the files that ostler makes in a command directory, by name, and then the directory. What is gone already
/// is no error. Never recursive, and never through a symlink in place of the directory.
///
/// # Errors
/// What unlink(2) or rmdir(2) said; `DirectoryNotEmpty` if there is something that ostler did not make.
pub fn discard(paths: &Paths) -> io::Result<()> {
    let absent_is_fine = |done: io::Result<()>| match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    match fs::symlink_metadata(&paths.dir) {
        Ok(dir) if dir.is_dir() => {}
        Ok(_) => return Err(ErrorKind::NotADirectory.into()),
        Err(error) => return absent_is_fine(Err(error)),
    }
    for name in FILE_NAMES {
        absent_is_fine(fs::remove_file(paths.dir.join(name)))?;
    }
    absent_is_fine(fs::remove_dir(&paths.dir))
}

/// Every name that ostler makes in a command directory.
const FILE_NAMES: [&str; 7] =
    ["combined.txt", "stdout.txt", "stderr.txt", "kept.txt", LAUNCH_FILE, RESULT_FILE, RESULT_TEMP_FILE];

/// Whether a directory holds nothing that ostler did not make.
pub(crate) fn holds_only_ours(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !FILE_NAMES.iter().any(|name| entry.file_name() == *name) || entry.file_type()?.is_dir() {
            return Ok(false);
        }
    }
    Ok(true)
}
