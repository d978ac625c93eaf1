//! The line between the graph and its guard, or one helper.
//!
//! * in: launches; orders of one byte
//! * out: what the guard and the helpers report, read whole
//! * keeps: an error of the socket is not its end; nobody who does not answer is waited for without a limit

use crate::linux::{contain::helper_protocol as protocol, exec::clone, exec::slots::above_stdio, sys};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recv,
        recvmsg, send, sendmsg, shutdown, socketpair,
    },
};
use ostler_messages::{Stage, Stamp, Usage};
use std::{
    ffi::{CStr, CString},
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

/// One that was stopped by somebody is told to go on after so long, and again.
const PATIENCE: Duration = Duration::from_millis(500);

/// An error is taken off a socket by the read that reports it; a second one may come with another command of ours.
const RESETS_MAX: u32 = 8;

/// What a guard has found out at its start.
#[derive(Clone, Copy)]
pub(crate) struct Abilities {
    pub(crate) proc: bool,
    pub(crate) pidfds: bool,
}

/// What a helper has reported.
pub(crate) enum Told {
    /// A guard.
    Watches(Abilities),
    /// A helper; its pid.
    Ready(u32),
    Started {
        pid: u32,
        pidfd: Option<OwnedFd>,
    },
    Failed(clone::Failed),
    Exited(Ended),
    Empty,
}

/// How a leader has ended, as its parent has seen it.
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) usage: Usage,
    /// A signal had gone out from the helper.
    pub(crate) signalled: bool,
    /// Nobody else lives: that is proven.
    pub(crate) alone: bool,
    /// Its zombie is taken away.
    pub(crate) reaped: bool,
    /// When, by the monotonic clock, from its beginning.
    pub(crate) monotonic: Duration,
    pub(crate) at: Stamp,
}

/// The line to the guard or to one helper. When it is dropped, the helper kills its tree and exits.
pub(crate) struct Link(OwnedFd);

/// Both ends; the second one is the helper's.
pub(crate) fn link() -> Result<(Link, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((Link(above_stdio(ours)?), above_stdio(theirs)?))
}

impl Drop for Link {
    /// The other end sees it, whoever else holds this one: a forked copy of the host, say.
    fn drop(&mut self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

/// What a helper is asked to start.
pub(crate) struct Launch<'a> {
    pub(crate) flags: i64,
    pub(crate) cwd: &'a CStr,
    pub(crate) path: &'a CStr,
    pub(crate) argv: &'a [CString],
    pub(crate) env: &'a [&'a CStr],
    /// In the order of the protocol.
    pub(crate) files: &'a [BorrowedFd<'a>],
}

impl Link {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Asks for a start. EPIPE: the helper was gone before it could hear of it.
    pub(crate) fn launch(&self, launch: &Launch<'_>, limit: Duration) -> Result<(), Errno> {
        let mut texts = Vec::new();
        let argv = launch.argv.iter().map(CString::as_c_str);
        for text in [launch.cwd, launch.path].into_iter().chain(argv).chain(launch.env.iter().copied()) {
            texts.extend_from_slice(text.to_bytes_with_nul());
        }
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let head: protocol::Launch = [
            protocol::LAUNCH,
            count(texts.len()),
            count(launch.argv.len()),
            count(launch.env.len()),
            launch.flags,
        ];
        let mut bytes = [0; size_of::<protocol::Launch>()];
        for (bytes, value) in bytes.chunks_exact_mut(8).zip(head) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
        let files: Vec<RawFd> = launch.files.iter().map(AsRawFd::as_raw_fd).collect();
        let mut parts = texts.chunks(protocol::TEXT_BYTES);
        let first = [IoSlice::new(&bytes), IoSlice::new(parts.next().unwrap_or_default())];
        let rights = [ControlMessage::ScmRights(&files)];
        let limit = Instant::now() + limit;
        self.send_in_time(&first, &rights, limit)?;
        parts.try_for_each(|part| self.send_in_time(&[IoSlice::new(part)], &[], limit))
    }

    /// Asks a guard for a helper, whose end of its link this is. EPIPE: the guard is gone.
    pub(crate) fn hand_over(&self, link: BorrowedFd<'_>, limit: Duration) -> Result<(), Errno> {
        let (word, files) = ([IoSlice::new(&[protocol::FORK])], [link.as_raw_fd()]);
        self.send_in_time(&word, &[ControlMessage::ScmRights(&files)], Instant::now() + limit)
    }

    fn send_in_time(
        &self,
        parts: &[IoSlice<'_>],
        rights: &[ControlMessage<'_>],
        limit: Instant,
    ) -> Result<(), Errno> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), parts, rights, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Err(Errno::EPIPE),
                Err(Errno::EAGAIN) => {
                    let left = limit.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Errno::ETIMEDOUT);
                    }
                    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                    let _ = poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLOUT)], left);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits for the first word: it comes after exec, as a clone would return. ETIMEDOUT after `limit`. `remind` is called now and
    /// then: whoever does not answer may have been stopped.
    /// `spare` is given up for the descriptor that may come with it.
    pub(crate) fn first(
        &self,
        limit: Duration,
        remind: impl Fn(),
        spare: &mut Option<OwnedFd>,
    ) -> Result<Option<Told>, Errno> {
        let limit = Instant::now() + limit;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let wait = PollTimeout::try_from(left.min(PATIENCE)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], wait) {
                Ok(0) if left.is_zero() => return Err(Errno::ETIMEDOUT),
                Ok(0) => remind(),
                Ok(_) => {
                    *spare = None;
                    return self.read(|bytes| self.receive_with_file(bytes));
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// `Ok(None)`: the other end is gone. EAGAIN: it has nothing to say.
    pub(crate) fn next(&self) -> Result<Option<Told>, Errno> {
        self.read(|bytes| Ok((recv(self.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?, None)))
    }

    fn read(
        &self,
        receive: impl Fn(&mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno>,
    ) -> Result<Option<Told>, Errno> {
        let mut bytes = [0; size_of::<protocol::Report>()];
        let mut resets = 0;
        let (count, file) = loop {
            match receive(&mut bytes) {
                Err(Errno::EINTR) => {}
                // It has ended with a command of ours unread. That is said once, and before the words that it has left
                // (unix(7)).
                Err(Errno::ECONNRESET) if resets < RESETS_MAX => resets += 1,
                Err(Errno::ECONNRESET) => return Ok(None),
                result => break result?,
            }
        };
        if count < bytes.len() {
            return Ok(None);
        }
        let mut report: protocol::Report = [0; 11];
        for (value, bytes) in report.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = i64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(understand(&report, file))
    }

    fn receive_with_file(&self, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
        let mut parts = [IoSliceMut::new(bytes)];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        // ENOBUFS: there was no room for another descriptor here. The words have come all the same.
        let rights = message.cmsgs().into_iter().flatten();
        let mut files = rights.filter_map(|message| match message {
            ControlMessageOwned::ScmRights(files) => files.first().copied(),
            _ => None,
        });
        Ok((message.bytes, files.next().map(sys::own)))
    }

    /// One that is gone shows at the next reading.
    pub(crate) fn say(&self, command: u8) {
        let _ = send(self.0.as_raw_fd(), &[command], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    }
}

/// What a graph understands of these messages of a guard or a helper, one after the other, until one that is no report.
#[cfg(feature = "testing")]
pub(crate) fn reports(messages: &[&[u8]]) -> Result<Vec<String>, Errno> {
    let mut said = Vec::new();
    for message in messages {
        let (ours, theirs) = link()?;
        send(theirs.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL)?;
        drop(theirs);
        match ours.next()? {
            Some(told) => said.push(match told {
                Told::Watches(Abilities { proc, pidfds }) => format!("watches {proc} {pidfds}"),
                Told::Ready(pid) => format!("ready {pid}"),
                Told::Started { pid, .. } => format!("started {pid}"),
                Told::Failed(failed) => format!("failed {:?} {}", failed.stage, failed.errno),
                Told::Exited(ended) => {
                    format!(
                        "exited {} {:?} {:?} {}",
                        ended.exit_code, ended.signal, ended.monotonic, ended.at
                    )
                }
                Told::Empty => "empty".to_owned(),
            }),
            None => break,
        }
    }
    Ok(said)
}

fn understand(report: &protocol::Report, pidfd: Option<OwnedFd>) -> Option<Told> {
    let number = |n: usize| i32::try_from(report[n]).unwrap_or(0);
    let pid = |n: usize| u32::try_from(report[n]).unwrap_or(0);
    let count = |n: usize| u64::try_from(report[n]).unwrap_or(0);
    Some(match report[0] {
        protocol::WATCHES => Told::Watches(Abilities { proc: report[1] != 0, pidfds: report[2] != 0 }),
        protocol::READY => Told::Ready(pid(1)),
        protocol::STARTED => Told::Started { pid: pid(1), pidfd },
        protocol::FAILED => {
            let stage = match report[1] {
                protocol::STAGE_FORK => Stage::Fork,
                protocol::STAGE_SESSION => Stage::Session,
                protocol::STAGE_DEATH_SIGNAL => Stage::DeathSignal,
                protocol::STAGE_STDIO => Stage::Stdio,
                protocol::STAGE_CWD => Stage::Cwd,
                protocol::STAGE_EXEC => Stage::Exec,
                _ => Stage::Helper,
            };
            let killed_by = (report[3] != 0).then(|| number(3));
            Told::Failed(clone::Failed { stage, errno: Errno::from_raw(number(2)), killed_by })
        }
        protocol::EXITED => {
            let by_signal = report[2] != 0;
            Told::Exited(Ended {
                exit_code: if by_signal { -1 } else { number(3) },
                signal: by_signal.then(|| number(3)),
                usage: Usage::new(count(4), count(5), Some(count(6))),
                signalled: report[1] != 0,
                alone: report[7] != 0,
                reaped: report[8] != 0,
                monotonic: Duration::from_nanos(count(9)),
                at: Stamp(count(10)),
            })
        }
        protocol::EMPTY => Told::Empty,
        // Both ends are of the same build.
        _ => return None,
    })
}
