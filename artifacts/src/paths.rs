//! The directory of one command: its names, its making, its end.

use crate::{OutputFile, result::RESULT_TEMP_FILE};
use nix::libc::O_NOFOLLOW;
use ostler_messages::CommandId;
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Name of the record's file in a command directory.
pub(crate) const RESULT_FILE: &str = "result.json";

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
    /// The record, there once the command has ended, `result.json`.
    pub fn result(&self) -> PathBuf {
        self.dir.join(RESULT_FILE)
    }
    /// The file of one kind of output.
    pub fn file(&self, which: OutputFile) -> PathBuf {
        self.dir.join(which.file_name())
    }
}

/// Makes the directory (0700) and its three files, empty (0600); a umask can only narrow that. Nothing that is there
/// already is taken over, and no symlink is followed.
///
/// # Errors
/// What mkdir(2) or open(2) said. Whatever was made until then is removed.
pub fn create(paths: &Paths) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(&paths.dir)?;
    let made = OutputFile::ALL.into_iter().try_for_each(|which| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW);
        options.open(paths.file(which)).map(drop)
    });
    if made.is_err() {
        // The first error is the one to report.
        let _ = discard(paths);
    }
    made
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
const FILE_NAMES: [&str; 5] = ["combined.txt", "stdout.txt", "stderr.txt", RESULT_FILE, RESULT_TEMP_FILE];

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
