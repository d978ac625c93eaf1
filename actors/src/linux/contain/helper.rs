//! The graph's side of the helper: a small program that is carried inside this library and run from memory.
//!
//! * in: orders of one byte
//! * out: what the helper reports, read whole
//! * keeps: no text of the command crosses, except once, at the start

use crate::linux::{
    contain::helper_protocol as protocol,
    exec::clone::{self, Image, Plan, Scratch},
    sys,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair},
    },
};
use ostler_messages::{Exit, Stage, Usage};
use std::{
    ffi::CString,
    fs::File,
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{Duration, Instant},
};

/// Made by `build.rs`; empty if it could not be.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/helper"));
/// Why it could not be.
const REASON: &str = include_str!(concat!(env!("OUT_DIR"), "/helper-reason.txt"));

/// How long the guard, and the helper of a trial, are waited for: one that is silent for so long was stopped by somebody.
pub(crate) const TRIAL_LIMIT: Duration = Duration::from_secs(10);

/// An error is taken off a socket by the read that reports it; a second one may come with another command of ours.
const RESETS_MAX: u32 = 8;

/// The program as a sealed file in memory.
pub(crate) struct Program(OwnedFd);

impl Program {
    /// Says why not.
    pub(crate) fn load() -> Result<Program, String> {
        if PROGRAM.is_empty() {
            return Err(REASON.to_owned());
        }
        let said = |errno: Errno| format!("the helper can't be put into memory: {errno}");
        // MFD_EXEC (kernel 6.3) says that it is meant to be run; older kernels refuse the flag and need no word.
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let executable = flags | MFdFlags::from_bits_retain(nix::libc::MFD_EXEC);
        let fd = memfd_create(c"ostler-helper", executable)
            .or_else(|_| memfd_create(c"ostler-helper", flags))
            .and_then(crate::linux::exec::slots::above_stdio)
            .map_err(said)?;
        let mut file = File::from(fd);
        file.write_all(PROGRAM).map_err(|error| format!("the helper can't be put into memory: {error}"))?;
        let seals =
            SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(said)?;
        Ok(Program(file.into()))
    }

    pub(crate) fn image(&self) -> Image<'_> {
        Image::Open(self.0.as_fd())
    }

    /// Starts the guard of a graph's cgroups. It lives until it is killed, or the host dies.
    pub(crate) fn guard(&self, cgroup: &Path, null: &File, scratch: &mut Scratch) -> Result<Guard, String> {
        let arg = |bytes: &[u8]| CString::new(bytes).map_err(|error| error.to_string());
        let pid = std::process::id().to_string();
        let argv = [
            arg(b"ostler-guard")?,
            arg(protocol::GUARD.as_bytes())?,
            arg(pid.as_bytes())?,
            arg(cgroup.as_os_str().as_bytes())?,
        ];
        let null = null.as_fd();
        let (link, theirs) = link().map_err(|errno| format!("the guard can't be reached: {errno}"))?;
        let plan = Plan {
            image: self.image(),
            argv: &argv,
            env: &[],
            cwd: None,
            files: &[null, null, null, theirs.as_fd()],
            cgroup: None,
            dies_with_host: false,
        };
        let spawned = clone::spawn(&plan, scratch)
            .map_err(|failed| format!("the guard can't be started: {} ({})", failed.stage, failed.errno))?;
        drop(theirs);
        let guard = Guard(spawned.pidfd);
        match link.first(TRIAL_LIMIT) {
            Ok(Some(Told::Started { .. })) => Ok(guard),
            Ok(_) => Err("the guard can't watch this process".into()),
            Err(errno) => Err(format!("the guard does not answer: {errno}")),
        }
    }
}

/// Kills the cgroups of this graph when the host dies. Not needed any more when dropped.
pub(crate) struct Guard(OwnedFd);
impl Drop for Guard {
    fn drop(&mut self) {
        let _ = sys::signal_process(self.0.as_fd(), nix::sys::signal::Signal::SIGKILL);
        sys::wait_for_death(self.0.as_fd());
        let _ = sys::wait(self.0.as_fd(), true);
    }
}

/// What a helper has reported.
pub(crate) enum Told {
    Started { pid: u32 },
    Failed(clone::Failed),
    Exited { exit_code: i32, signal: Option<i32>, usage: Usage, signalled: bool, tree_empty: bool },
    Empty,
}

/// The line to one helper. When it is dropped, the helper kills its tree and exits.
pub(crate) struct Link(OwnedFd);

/// Both ends; the second one is the helper's.
pub(crate) fn link() -> Result<(Link, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let (ours, theirs) =
        (crate::linux::exec::slots::above_stdio(ours)?, crate::linux::exec::slots::above_stdio(theirs)?);
    Ok((Link(ours), theirs))
}

impl Link {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits for the first word: the helper says it after exec, as a clone would return. ETIMEDOUT after `limit`.
    pub(crate) fn first(&self, limit: Duration) -> Result<Option<Told>, Errno> {
        let limit = Instant::now() + limit;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], left) {
                Ok(0) => return Err(Errno::ETIMEDOUT),
                Ok(_) => return self.next(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// `Ok(None)`: the helper is gone. EAGAIN: it has nothing to say.
    pub(crate) fn next(&self) -> Result<Option<Told>, Errno> {
        let mut bytes = [0; size_of::<protocol::Report>()];
        let mut resets = 0;
        let count = loop {
            match recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                // The helper has ended with a command of ours unread. That is said once, and before the words that it has
                // left (unix(7)).
                Err(Errno::ECONNRESET) if resets < RESETS_MAX => resets += 1,
                Err(Errno::ECONNRESET) => return Ok(None),
                result => break result?,
            }
        };
        if count < bytes.len() {
            return Ok(None);
        }
        let mut report: protocol::Report = [0; 8];
        for (value, bytes) in report.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = i64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(understand(&report))
    }

    /// A helper that is gone shows at the next reading.
    pub(crate) fn say(&self, command: u8) {
        let _ = send(self.0.as_raw_fd(), &[command], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    }
}

fn understand(report: &protocol::Report) -> Option<Told> {
    let number = |n: usize| i32::try_from(report[n]).unwrap_or(0);
    let count = |n: usize| u64::try_from(report[n]).unwrap_or(0);
    Some(match report[0] {
        protocol::STARTED => Told::Started { pid: u32::try_from(report[1]).unwrap_or(0) },
        protocol::FAILED => {
            let stage = match report[1] {
                protocol::STAGE_FORK => Stage::Fork,
                protocol::STAGE_SESSION => Stage::Session,
                protocol::STAGE_DEATH_SIGNAL => Stage::DeathSignal,
                protocol::STAGE_CWD => Stage::Cwd,
                protocol::STAGE_EXEC => Stage::Exec,
                _ => Stage::Helper,
            };
            let killed_by = (report[3] != 0).then(|| number(3));
            Told::Failed(clone::Failed { stage, errno: Errno::from_raw(number(2)), killed_by })
        }
        protocol::EXITED => {
            let by_signal = report[2] != 0;
            Told::Exited {
                exit_code: if by_signal { -1 } else { number(3) },
                signal: by_signal.then(|| number(3)),
                usage: Usage::new(count(4), count(5), Some(count(6))),
                signalled: report[1] != 0,
                tree_empty: report[7] != 0,
            }
        }
        protocol::EMPTY => Told::Empty,
        // Both ends are of the same build.
        _ => return None,
    })
}

/// Nobody can say any more how the leader ended.
pub(crate) fn unknown_exit(ended_at: ostler_messages::Stamp, duration_ms: u64) -> Exit {
    Exit { exit_code: -1, signal: None, usage: None, ended_at, duration_ms }
}
