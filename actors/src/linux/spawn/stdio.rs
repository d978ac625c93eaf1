//! The standard descriptors of a command, and our ends of them.
//!
//! * in: what a launch says of its stdin and its streams
//! * out: three files for the command; what is read and what is written by a drain thread
//! * keeps: all above the standard descriptors, closed on exec; only our ends don't block

use crate::linux::{drain::input_pipe::InputPipe, exec::slots::above_stdio, spawn::failures};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{pipe2, write},
};
use ostler_messages::{LaunchError, LaunchRequest, Payload, Stage, Stdin};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// See the [module](self).
pub(super) struct Stdio {
    /// Of stdout and stderr.
    pub(super) reads: [OwnedFd; 2],
    /// Of stdin, if there is still something to be written to it.
    pub(super) input: Option<InputPipe>,
    theirs: Theirs,
}

/// Closed when the command has them: a pipe ends only when nobody holds its other side.
pub(super) struct Theirs {
    /// None: `/dev/null`.
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    /// One pipe for both, so that their order is exact; the other one ends at once.
    merges: bool,
}

impl Stdio {
    pub(super) fn new(n: u64, request: &LaunchRequest) -> Result<Stdio, LaunchError> {
        let (stdin, input) = match &request.stdin {
            Stdin::Open => {
                let (read, write) = in_pipe()?;
                (Some(read), Some(InputPipe::new(n, write)))
            }
            Stdin::Bytes(bytes) => {
                let (read, pipe) = in_pipe()?;
                // Most fits into an empty pipe. What does not goes on when there is room.
                let taken = write(&pipe, bytes.as_bytes()).unwrap_or(0);
                let rest = (taken < bytes.as_bytes().len())
                    .then(|| InputPipe::of_launch(n, pipe, Payload::from(bytes.as_bytes()), taken));
                (Some(read), rest)
            }
            _ => (None, None),
        };
        let [(out_read, stdout), (err_read, stderr)] = [out_pipe()?, out_pipe()?];
        let theirs = Theirs { stdin, stdout, stderr, merges: request.capture.merge_stderr };
        Ok(Stdio { reads: [out_read, err_read], input, theirs })
    }

    /// What the command is given: stdin, stdout, stderr.
    pub(super) fn given<'a>(&'a self, null: &'a File) -> [BorrowedFd<'a>; 3] {
        let Theirs { stdin, stdout, stderr, merges } = &self.theirs;
        let stdin = stdin.as_ref().map_or(null.as_fd(), AsFd::as_fd);
        [stdin, stdout.as_fd(), if *merges { stdout.as_fd() } else { stderr.as_fd() }]
    }

    /// Our ends; the command's are closed here.
    pub(super) fn into_ours(self) -> ([OwnedFd; 2], Option<InputPipe>) {
        (self.reads, self.input)
    }
}

/// The end to read from, and the one to write to.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((above_stdio(read)?, above_stdio(write)?))
}
fn failed(errno: Errno) -> LaunchError {
    failures::descriptors_or(Stage::Pipe, errno)
}
fn out_pipe() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let (read, write) = pipe().map_err(failed)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok((read, write))
}
fn in_pipe() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let (read, write) = pipe().map_err(failed)?;
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok((read, write))
}
