//! The leader, and the process group that it leads.
//!
//! * in: a signal, a look, a reap
//! * out: what the kernel says
//! * keeps: no signal after the reap

use crate::linux::sys::{self, Status};
use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use ostler_messages::{StopSignal, UnixSignal, Usage};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How the group of a leader is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupBy {
    /// By the leader's pidfd (kernel 6.9): valid after the leader was reaped, and never another group.
    Pidfd,
    /// By number, which is safe as long as the leader's zombie holds it.
    Number,
}
impl GroupBy {
    /// Asked, not guessed from a version. Our own pidfd need not lead a group for that: then the kernel knows the flag and
    /// finds no group.
    pub(crate) fn probe() -> GroupBy {
        match sys::open_process(std::process::id()).and_then(|fd| sys::signal_group(fd.as_fd(), None)) {
            Ok(()) | Err(Errno::ESRCH) => GroupBy::Pidfd,
            Err(_) => GroupBy::Number,
        }
    }
}

/// See the [module](self).
pub(crate) struct Group {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) by: GroupBy,
    /// What is sent first to stop it.
    pub(crate) stop: Signal,
    /// Nobody holds the leader's number any more.
    pub(crate) reaped: bool,
}

impl Group {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the leader is dead, and how it ended. Its zombie stays if `holds`, or where its number alone reaches the group.
    pub(crate) fn death(&mut self, holds: bool) -> Result<Option<Status>, Errno> {
        let reap = self.by == GroupBy::Pidfd && !holds;
        let death = sys::wait(self.as_fd(), reap);
        // An error: someone else in the host has taken it away.
        self.reaped = (reap && matches!(death, Ok(Some(_)))) || death.is_err();
        death
    }

    /// Takes the leader's zombie away. Only for a leader that is our own child, and dead.
    pub(crate) fn reap(&mut self) {
        if !std::mem::replace(&mut self.reaped, true) {
            // ECHILD means that someone else has done it.
            let _ = sys::wait(self.as_fd(), true);
        }
    }

    /// False: some of it, or all, could not be signalled. That nobody is there any more shows when the tree is looked at.
    pub(crate) fn signal(&self, signal: StopSignal) -> bool {
        let mut all = true;
        for signal in self.unix(signal) {
            all &= self.raise(signal);
        }
        all
    }

    /// The same with any signal.
    pub(crate) fn raise(&self, signal: Signal) -> bool {
        matches!(self.reach(Some(signal)), Ok(()) | Err(Errno::ESRCH))
    }

    /// What is sent: a stopped process acts on SIGTERM only once it goes on.
    pub(crate) fn unix(&self, signal: StopSignal) -> Vec<Signal> {
        match signal {
            StopSignal::Terminate => vec![self.stop, Signal::SIGCONT],
            StopSignal::Kill => vec![Signal::SIGKILL],
        }
    }

    /// Nobody can say whether the leader's number is still its own: from here on it is not used.
    pub(crate) fn lose_number(&mut self) {
        self.reaped = true;
    }

    /// Whether nobody is in it, not even a zombie. Never while the leader's zombie is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.reach(None) == Err(Errno::ESRCH)
    }

    fn reach(&self, signal: Option<Signal>) -> Result<(), Errno> {
        match (self.by, self.reaped) {
            (GroupBy::Pidfd, _) => sys::signal_group(self.as_fd(), signal),
            (GroupBy::Number, false) => killpg(Pid::from_raw(self.pid.cast_signed()), signal),
            // The number may belong to somebody else by now.
            (GroupBy::Number, true) => Err(Errno::ESRCH),
        }
    }
}

/// As the kernel has it.
pub(crate) fn signal_of(signal: UnixSignal) -> Signal {
    match signal {
        UnixSignal::SigInt => Signal::SIGINT,
        UnixSignal::SigHup => Signal::SIGHUP,
        UnixSignal::SigQuit => Signal::SIGQUIT,
        UnixSignal::SigUsr1 => Signal::SIGUSR1,
        UnixSignal::SigUsr2 => Signal::SIGUSR2,
        _ => Signal::SIGTERM,
    }
}

/// What a child of this process has used.
pub(crate) fn usage_of(Status { usage, .. }: &Status) -> Usage {
    let ms =
        |time: nix::libc::timeval| u64::try_from(time.tv_sec * 1_000 + time.tv_usec / 1_000).unwrap_or(0);
    // Its highest memory is at least that of this process, which it shared until it ran its program.
    Usage::new(ms(usage.ru_utime), ms(usage.ru_stime), None)
}
