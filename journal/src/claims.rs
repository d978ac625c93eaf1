//! Which sessions a host has open, among all living ones of its journal.
//!
//! * in: sessions that are opened and end
//! * out: whether another living host has it
//! * keeps: what a host had goes with it, however it ends: the kernel lets go of its locks

use crate::folder::{Folder, FolderError, io_error};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use ostler_messages::SessionId;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

/// The sessions that a host has open, locked against the other living hosts of its journal. Dropped, or with the process, all locks are let go.
#[derive(Debug)]
pub struct Claims {
    file: File,
    path: PathBuf,
}
impl Claims {
    /// Of a host that starts.
    ///
    /// # Errors
    /// What opening the file said.
    pub fn open(folder: &Folder) -> Result<Claims, FolderError> {
        let path = folder.path().join("sessions.lock");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(io_error(&path, "opening it"))?;
        Ok(Claims { file, path })
    }
    /// Whether its file is still the one that others open.
    pub fn is_there(&self) -> bool {
        match (self.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(file), Ok(path)) => (file.dev(), file.ino()) == (path.dev(), path.ino()),
            _ => false,
        }
    }
    /// Whether the session is this host's from now on: no other living one has it.
    ///
    /// # Errors
    /// What fcntl(2) said, on a file system without such locks.
    pub fn claim(&self, session_id: &SessionId) -> io::Result<bool> {
        match self.set(session_id, libc::F_WRLCK) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
    /// It is nobody's.
    pub fn release(&self, session_id: &SessionId) {
        // Of a lock that is held this can't fail but for want of memory; then it is held until the host ends.
        let _ = self.set(session_id, libc::F_UNLCK);
    }
    fn set(&self, session_id: &SessionId, kind: i32) -> Result<(), Errno> {
        let lock = libc::flock {
            // Numbers of the kernel's that fit.
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: place_of(session_id),
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
    }
}

/// A byte for each id (FNV-1a): the same for every build of ostler. Of a million sessions two fall together once in ten million times.
fn place_of(session_id: &SessionId) -> i64 {
    let hash = session_id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // A lock's place is signed, and one byte behind it has to be a place too.
    (hash >> 2).cast_signed()
}
