//! Finding a program and a working directory before there is a process, so that what is wrong can be named.

use nix::{
    errno::Errno,
    fcntl::AtFlags,
    unistd::{AccessFlags, faccessat},
};
use ostler_messages::{LaunchError, Stage, Text};
use std::{
    ffi::OsStr,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Where a program is looked for if the command has no `PATH` (execvp(3)).
pub(super) const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// What will be run.
pub(crate) struct Program {
    /// As it was asked for.
    pub(crate) asked: String,
    /// As it is given to exec; relative paths are meant from the working directory.
    pub(crate) path: PathBuf,
    /// The same, from anywhere.
    pub(crate) absolute: PathBuf,
}

/// The command's working directory, absolute; `.` for the host's own that has no path any more.
pub(crate) fn working_dir(asked: Option<&Path>) -> Result<PathBuf, LaunchError> {
    let here = std::env::current_dir();
    let Some(asked) = asked else {
        // Removed, or not readable: the kernel runs a program there all the same.
        return Ok(here.unwrap_or_else(|_| PathBuf::from(".")));
    };
    let dir = here.map(|here| here.join(asked)).unwrap_or_else(|_| asked.to_owned());
    let cwd = dir.display().to_string();
    match std::fs::metadata(&dir) {
        Ok(meta) if meta.is_dir() => Ok(dir),
        Ok(_) => Err(LaunchError::CwdNotDirectory { cwd }),
        Err(error) => Err(match (error.kind(), error.raw_os_error()) {
            (ErrorKind::NotFound, _) => LaunchError::CwdMissing { cwd },
            (ErrorKind::NotADirectory, _) => LaunchError::CwdNotDirectory { cwd },
            (ErrorKind::PermissionDenied, Some(errno)) => {
                LaunchError::PermissionDenied { stage: Stage::Cwd, path: cwd, errno }
            }
            (_, errno) => LaunchError::Failed { stage: Stage::Cwd, errno: errno.unwrap_or(0) },
        }),
    }
}

/// The program, in the command's own `PATH`, whose relative entries are meant from its working directory.
pub(crate) fn find(program: &Text, cwd: &Path, path: Option<&[u8]>) -> Result<Program, LaunchError> {
    let name = program.as_bytes();
    let asked = program.to_string();
    if name.contains(&b'/') {
        let path = PathBuf::from(program.as_os_str());
        let absolute = cwd.join(&path);
        return match std::fs::metadata(&absolute) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(LaunchError::ProgramNotFound { program: asked })
            }
            Ok(meta) if meta.is_dir() => Err(LaunchError::ProgramIsDirectory { path: asked }),
            // Anything else is for exec to say.
            _ => Ok(Program { asked, path, absolute }),
        };
    }
    let mut denied = None;
    for entry in path.unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':') {
        // An empty entry means the working directory.
        let absolute = cwd.join(OsStr::from_bytes(entry)).join(OsStr::from_bytes(name));
        if !absolute.is_file() {
            continue;
        }
        match faccessat(nix::fcntl::AT_FDCWD, &absolute, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
            Err(errno @ Errno::EACCES) => denied = denied.or(Some((absolute, errno))),
            // Whoever can't be asked (a container filter that does not know the call) is no judge: exec is.
            _ => return Ok(Program { asked, path: absolute.clone(), absolute }),
        }
    }
    Err(match denied {
        Some((path, errno)) => LaunchError::PermissionDenied {
            stage: Stage::Lookup,
            path: path.display().to_string(),
            errno: errno as i32,
        },
        None => LaunchError::ProgramNotFound { program: asked },
    })
}
