//! The standard descriptors of a command, and our ends of them.
//!
//! * in: what a launch says of its stdin and its streams
//! * out: three files for the command; what is read and what is written by a drain thread
//! * keeps: all above the standard descriptors, closed on exec; only our ends don't block

use crate::linux::{
    drain::input_pipe::InputPipe,
    exec::slots::{FIRST_FREE, above_stdio},
    sight::input::InputTarget,
    spawn::failures,
    sys,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl, open},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::stat::Mode,
    unistd::{pipe2, write},
};
use ostler_messages::{LaunchError, LaunchRequest, Payload, Stage, Stdin, TerminalSize};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// See the [module](self).
pub(super) struct Stdio {
    ours: Ours,
    theirs: Theirs,
}

/// For a drain thread.
pub(super) struct Ours {
    /// Of stdout and stderr.
    pub(super) reads: [OwnedFd; 2],
    /// Of stdin, if there is still something to be written to it.
    pub(super) input: Option<InputPipe>,
    /// The first of the reads is a terminal.
    pub(super) terminal: bool,
}

/// Closed when the command has them: a pipe ends only when nobody holds its other side.
struct Theirs {
    /// None: `/dev/null`.
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    /// None: it is the same as stdout, so that their order is exact; the stream of stderr ends at once.
    stderr: Option<OwnedFd>,
}

impl Stdio {
    pub(super) fn new(n: u64, request: &LaunchRequest) -> Result<Stdio, LaunchError> {
        if let Some(size) = request.terminal {
            return Stdio::terminal(n, size).map_err(failed);
        }
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
        let stderr = (!request.capture.merge_stderr).then_some(stderr);
        let ours = Ours { reads: [out_read, err_read], input, terminal: false };
        Ok(Stdio { ours, theirs: Theirs { stdin, stdout, stderr } })
    }

    /// What is read is stdout, what is written goes to the same end.
    fn terminal(n: u64, size: TerminalSize) -> Result<Stdio, Errno> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let ours = posix_openpt(flags | OFlag::O_NONBLOCK)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = open(ptsname_r(&ours)?.as_str(), flags, Mode::empty())?;
        let (ours, theirs) = (above_stdio(ours.into())?, above_stdio(theirs)?);
        sys::set_terminal_size(ours.as_fd(), size.rows, size.columns)?;
        // A descriptor of its own: one that is watched for room as well would be watched twice.
        let input = sys::duplicate_from(FIRST_FREE, ours.as_fd())?;
        let (ended, _) = pipe()?;
        let ours = Ours { reads: [ours, ended], input: Some(InputPipe::new(n, input)), terminal: true };
        let stdin = Some(sys::duplicate_from(FIRST_FREE, theirs.as_fd())?);
        Ok(Stdio { ours, theirs: Theirs { stdin, stdout: theirs, stderr: None } })
    }

    /// What the command is given: stdin, stdout, stderr.
    pub(super) fn given<'a>(&'a self, null: &'a File) -> [BorrowedFd<'a>; 3] {
        let Theirs { stdin, stdout, stderr } = &self.theirs;
        let stdin = stdin.as_ref().map_or(null.as_fd(), AsFd::as_fd);
        [stdin, stdout.as_fd(), stderr.as_ref().unwrap_or(stdout).as_fd()]
    }

    pub(super) fn ours(&self) -> &Ours {
        &self.ours
    }
    /// Where the command reads its input from, if somebody can write to it.
    pub(super) fn read_from(&self) -> Option<InputTarget> {
        self.theirs.stdin.as_ref().and_then(|stdin| InputTarget::of(stdin).ok())
    }
    /// The command's are closed here.
    pub(super) fn into_ours(self) -> Ours {
        self.ours
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
pub(super) fn out_pipe() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let (read, write) = pipe().map_err(failed)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok((read, write))
}
fn in_pipe() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let (read, write) = pipe().map_err(failed)?;
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok((read, write))
}
