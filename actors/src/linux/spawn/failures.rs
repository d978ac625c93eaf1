//! What an errno means at the stage where it came.

use crate::linux::{exec::clone::Failed, names::signal_name, spawn::lookup::Program};
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
    unistd::geteuid,
};
use ostler_messages::{LaunchError, Stage};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

pub(crate) fn wants_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}

/// Its directory can't be made for want of descriptors.
pub(crate) fn artifacts(error: &io::Error) -> LaunchError {
    LaunchError::NoDescriptors { stage: Stage::Artifacts, errno: error.raw_os_error().unwrap_or(0) }
}

pub(crate) fn descriptors_or(stage: Stage, errno: Errno) -> LaunchError {
    match errno {
        Errno::EMFILE | Errno::ENFILE => LaunchError::NoDescriptors { stage, errno: errno as i32 },
        _ => LaunchError::Failed { stage, errno: errno as i32 },
    }
}

/// `bytes`: arguments and environment together; `longest`: of one of them.
pub(crate) fn spawn(
    failed: &Failed,
    program: &Program,
    cwd: &Path,
    (bytes, longest): (u64, u64),
) -> LaunchError {
    let Failed { stage, errno, killed_by } = *failed;
    if let Some(signal) = killed_by {
        return LaunchError::KilledBeforeExec { stage, signal: signal_name(signal) };
    }
    let path = || program.asked.clone();
    match (stage, errno) {
        (Stage::Fork, Errno::EAGAIN | Errno::ENOMEM) => {
            LaunchError::ProcessLimit { errno: errno as i32, limit: process_limit(errno) }
        }
        (Stage::Exec, Errno::EACCES | Errno::EPERM) => {
            LaunchError::PermissionDenied { stage, path: path(), errno: errno as i32 }
        }
        (Stage::Exec, Errno::ENOENT) => match interpreter(&program.absolute) {
            Some(interpreter) => LaunchError::InterpreterMissing { path: path(), interpreter },
            None => LaunchError::ProgramNotFound { program: path() },
        },
        (Stage::Exec, Errno::ENOEXEC) => LaunchError::NotExecutableFormat { path: path() },
        (Stage::Exec, Errno::E2BIG) => LaunchError::ArgumentsTooLong { bytes, longest },
        (Stage::Exec, Errno::ETXTBSY) => LaunchError::TextBusy { path: path() },
        (Stage::Cwd, Errno::ENOENT) => LaunchError::CwdMissing { cwd: cwd.display().to_string() },
        (Stage::Cwd, Errno::ENOTDIR) => LaunchError::CwdNotDirectory { cwd: cwd.display().to_string() },
        (Stage::Cwd, Errno::EACCES | Errno::EPERM) => {
            LaunchError::PermissionDenied { stage, path: cwd.display().to_string(), errno: errno as i32 }
        }
        _ => descriptors_or(stage, errno),
    }
}

/// What a file that exists but can't be executed for ENOENT names in its first line, or wants as its loader.
fn interpreter(path: &Path) -> Option<String> {
    /// The kernel itself looks no further (BINPRM_BUF_SIZE).
    const FIRST_LINE_BYTES: u64 = 256;
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?.take(FIRST_LINE_BYTES)).read_until(b'\n', &mut line).ok()?;
    match line.strip_prefix(b"#!") {
        Some(rest) => Some(String::from_utf8_lossy(rest).trim().to_owned()),
        None => Some("the binary's dynamic loader".to_owned()),
    }
}

fn process_limit(errno: Errno) -> String {
    if errno == Errno::ENOMEM {
        return "not enough memory, or the pid namespace is shutting down".into();
    }
    // RLIMIT_NPROC does not bind root.
    match getrlimit(Resource::RLIMIT_NPROC) {
        Ok((soft, _)) if soft != nix::libc::RLIM_INFINITY && !geteuid().is_root() => {
            format!("RLIMIT_NPROC ({soft}), pids.max of a cgroup, or the kernel's pid_max")
        }
        _ => "pids.max of a cgroup, or the kernel's pid_max".into(),
    }
}
