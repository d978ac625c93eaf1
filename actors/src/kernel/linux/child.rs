//! One process as the signal thread has it: its exit, its group, its leftovers.

use super::{
    clock::{Activity, millis, stamp},
    members::{self, NAMED},
    signals::signal_name,
    sys::{self, Code},
};
use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use ostler_messages::{Exit, Leftover, Outcome, StopSignal, SweepFor, Usage};
use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

/// First wait before a look whether a tree is empty; it doubles up to [`LOOK_MAX`], since most trees end at once.
pub(super) const LOOK_FIRST: Duration = Duration::from_millis(1);
/// Longest wait between two looks at a tree that shall end: it delays a result by at most that.
pub(super) const LOOK_MAX: Duration = Duration::from_millis(20);
/// Longest wait between two looks at leftovers that are kept: nobody waits for their end.
pub(super) const LOOK_KEPT_MAX: Duration = Duration::from_secs(5);

/// How the group of a leader is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupBy {
    /// By the leader's pidfd (kernel 6.9): valid after the leader was reaped, and never another group.
    Pidfd,
    /// By number, which is safe as long as the leader's zombie holds it.
    Number,
}

/// Who of a tree lives.
#[derive(Default)]
pub(super) struct Living {
    pub(super) pids: Vec<u32>,
    /// Somebody may, but nobody could look: what is not known to be gone has to be stopped.
    unseen: bool,
}
impl Living {
    pub(super) fn is_nobody(&self) -> bool {
        self.pids.is_empty() && !self.unseen
    }
}

pub(super) struct Child {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) began: Instant,
    pub(super) activity: Arc<Activity>,
    pub(super) exit: Option<Exit>,
    /// Whether a signal of ours went out before the exit.
    pub(super) signalled: bool,
    pub(super) reaped: bool,
    /// The graph wants nothing more of it.
    pub(super) released: bool,
    /// What the sweep is for, once there is one.
    pub(super) sweep: Option<SweepFor>,
    pub(super) look_after: Duration,
    group_by: GroupBy,
    leftovers: BTreeMap<u32, Leftover>,
    /// Nobody could look for a part of the tree.
    blind: bool,
}

impl Child {
    pub(super) fn new(watch: super::signals::Watch, group_by: GroupBy) -> Child {
        Child {
            pid: watch.pid,
            pidfd: watch.pidfd,
            began: watch.began,
            activity: watch.activity,
            exit: None,
            signalled: false,
            reaped: false,
            released: false,
            sweep: None,
            look_after: LOOK_FIRST,
            group_by,
            leftovers: BTreeMap::new(),
            blind: false,
        }
    }

    /// Looks whether the leader is dead, without reaping it. True when that is news.
    pub(super) fn look_for_exit(&mut self) -> bool {
        if self.exit.is_some() {
            return false;
        }
        let (exit_code, signal, usage) = match sys::wait(self.pidfd.as_fd(), false) {
            Ok(None) => return false,
            Ok(Some(status)) => {
                let usage = Some(usage(&status.usage));
                match status.code {
                    Code::Exited(code) => (code, None, usage),
                    Code::Signalled(signal) => (-1, Some(signal_name(signal)), usage),
                }
            }
            // Someone else in the host has reaped it, or SIGCHLD is ignored there: how it ended is lost.
            Err(_) => {
                self.reaped = true;
                (-1, None, None)
            }
        };
        let duration_ms = millis(self.began.elapsed());
        self.exit = Some(Exit { exit_code, signal, usage, ended_at: stamp(), duration_ms });
        true
    }

    /// Signals the whole group, as long as something of ours holds its number.
    pub(super) fn signal(&self, signal: StopSignal) {
        match signal {
            StopSignal::Terminate => {
                self.send(Signal::SIGTERM);
                // A stopped process acts on SIGTERM only once it goes on.
                self.send(Signal::SIGCONT);
            }
            StopSignal::Kill => self.send(Signal::SIGKILL),
        }
    }

    fn send(&self, signal: Signal) {
        // That nobody is there any more, or that a member may not be signalled, shows when the tree is looked at.
        let _ = self.reach(Some(signal));
    }

    /// None: only ask whether the group has members, zombies included.
    fn reach(&self, signal: Option<Signal>) -> Result<(), Errno> {
        match (self.group_by, self.reaped) {
            (GroupBy::Pidfd, _) => sys::signal_group(self.pidfd.as_fd(), signal),
            (GroupBy::Number, false) => killpg(Pid::from_raw(self.pid.cast_signed()), signal),
            // The number may belong to somebody else by now.
            (GroupBy::Number, true) => Err(Errno::ESRCH),
        }
    }

    /// Takes the leader's zombie away.
    pub(super) fn reap(&mut self) {
        if !self.reaped && self.exit.is_some() {
            // ECHILD means that someone else has done it.
            let _ = sys::wait(self.pidfd.as_fd(), true);
            self.reaped = true;
        }
    }

    /// Looks who of the tree lives. The leader is dead by now.
    pub(super) fn living(&mut self) -> Living {
        if self.group_by == GroupBy::Pidfd {
            self.reap();
            if self.reach(None) == Err(Errno::ESRCH) {
                return Living::default();
            }
        }
        let Ok(members) = members::of_group(self.pid) else {
            // Without /proc, or a descriptor to read it, nobody can tell zombies from the living.
            self.blind = true;
            return Living { pids: Vec::new(), unseen: true };
        };
        let pids = members.iter().map(|member| member.pid).collect();
        for member in members {
            if self.leftovers.len() < NAMED {
                let outcome = match self.sweep {
                    Some(SweepFor::Kill) => Outcome::Killed,
                    Some(SweepFor::Keep) => Outcome::Kept,
                    _ => Outcome::Terminated,
                };
                let leftover = Leftover { pid: member.pid, name: member.name, outcome };
                self.leftovers.entry(member.pid).or_insert(leftover);
            }
        }
        Living { pids, unseen: false }
    }

    /// Those that live were sent SIGKILL, or are known to live on.
    pub(super) fn mark(&mut self, living: &Living, outcome: Outcome) {
        for pid in &living.pids {
            if let Some(leftover) = self.leftovers.get_mut(pid) {
                leftover.outcome = outcome;
            }
        }
    }

    /// What the result says.
    pub(super) fn leftovers(&self) -> Option<Vec<Leftover>> {
        (!self.blind).then(|| self.leftovers.values().cloned().collect())
    }
}

fn usage(usage: &nix::libc::rusage) -> Usage {
    let ms =
        |time: nix::libc::timeval| u64::try_from(time.tv_sec * 1_000 + time.tv_usec / 1_000).unwrap_or(0);
    Usage {
        user_ms: ms(usage.ru_utime),
        system_ms: ms(usage.ru_stime),
        // Linux counts in KiB.
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1_024,
    }
}
