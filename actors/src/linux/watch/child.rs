//! One process as the signal thread has it: its exit, its tree, its leftovers.
//!
//! * in: what the kernel says of the leader, its tree, or its helper
//! * out: the exit, who is left, and whether the tree is empty
//! * keeps: "could not look" is never "is empty"

use crate::linux::{
    clock::{Activity, millis, stamp},
    contain::group::{Group, GroupBy, unix},
    contain::helper::{Told, unknown_exit},
    contain::helper_protocol as protocol,
    contain::members::{self, Member, NAMED},
    contain::tree::Tree,
    names::signal_name,
    proc,
    sys::{self, Code},
};
use nix::{errno::Errno, sys::signal::Signal};
use ostler_messages::{Exit, Leftover, Outcome, StopSignal, SweepFor, Usage};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

/// First wait before a look whether a tree is empty; it doubles up to [`PROBE_MAX`], since most trees end at once.
pub(crate) const PROBE_FIRST: Duration = Duration::from_micros(100);
/// Longest wait between two looks at a tree that shall end: it delays a result by at most that.
pub(crate) const PROBE_MAX: Duration = Duration::from_millis(20);
/// Longest wait between two looks at leftovers that are kept: nobody waits for their end.
pub(crate) const PROBE_KEPT_MAX: Duration = Duration::from_secs(5);

/// What a look at a tree gave.
pub(crate) struct Probe {
    /// It is empty: that is proven. If nobody was able to look, it is not.
    pub(crate) empty: bool,
    /// Who was seen.
    pub(crate) alive: Vec<u32>,
}

/// A process that has just been started.
pub(crate) struct Watch {
    pub(crate) n: u64,
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) began: Instant,
    pub(crate) activity: Arc<Activity>,
    pub(crate) tree: Tree,
    /// Whether its descriptor is watched already.
    pub(crate) watched: bool,
}
impl Watch {
    /// What becomes readable when something has happened.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.tree {
            Tree::Group | Tree::Cgroup(_) => self.pidfd.as_fd(),
            Tree::Helper(helper) => helper.link.as_fd(),
        }
    }
}

pub(crate) struct Child {
    group: Group,
    tree: Tree,
    began: Instant,
    pub(crate) activity: Arc<Activity>,
    pub(crate) exit: Option<Exit>,
    /// Whether a signal of ours went out before the exit.
    pub(crate) signalled: bool,
    /// Nobody else lived when the exit was seen.
    pub(crate) tree_empty: bool,
    /// The whole tree was seen to be gone.
    seen_empty: bool,
    /// The graph wants nothing more of it.
    pub(crate) released: bool,
    /// What the sweep is for, once there is one.
    pub(crate) sweep: Option<SweepFor>,
    pub(crate) look_after: Duration,
    leftovers: BTreeMap<u32, Leftover>,
    /// Nobody could look for a part of the tree.
    blind: bool,
}

impl Child {
    pub(crate) fn new(watch: Watch, by: GroupBy) -> Child {
        let Watch { pid, pidfd, began, activity, tree, .. } = watch;
        Child {
            group: Group { pid, pidfd, by, reaped: false },
            tree,
            began,
            activity,
            exit: None,
            signalled: false,
            tree_empty: false,
            seen_empty: false,
            released: false,
            sweep: None,
            look_after: PROBE_FIRST,
            leftovers: BTreeMap::new(),
            blind: false,
        }
    }

    /// What becomes readable when something has happened.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.tree {
            Tree::Group | Tree::Cgroup(_) => self.group.as_fd(),
            Tree::Helper(helper) => helper.link.as_fd(),
        }
    }

    /// Looks what has happened, without reaping the leader. True if its exit was not known before.
    pub(crate) fn notice(&mut self) -> bool {
        let known = self.exit.is_some();
        match &mut self.tree {
            Tree::Group | Tree::Cgroup(_) if known => {}
            Tree::Group | Tree::Cgroup(_) => self.notice_death(),
            Tree::Helper(_) => self.notice_helper(),
        }
        !known && self.exit.is_some()
    }

    fn notice_death(&mut self) {
        let (exit_code, signal, usage) = match self.group.death() {
            Ok(None) => return,
            Ok(Some(status)) => {
                let usage = Some(usage(&status.usage));
                match status.code {
                    Code::Exited(code) => (code, None, usage),
                    Code::Signalled(signal) => (-1, Some(signal_name(signal)), usage),
                }
            }
            // Someone else in the host has reaped it, or SIGCHLD is ignored there: how it ended is lost.
            Err(_) => (-1, None, None),
        };
        let duration_ms = millis(self.began.elapsed());
        self.exit = Some(Exit { exit_code, signal, usage, ended_at: stamp(), duration_ms });
        self.tree_empty = match &mut self.tree {
            Tree::Cgroup(leaf) => leaf.is_empty().unwrap_or(false),
            Tree::Group => self.group.by == GroupBy::Pidfd && self.group.is_empty(),
            Tree::Helper(_) => false,
        };
        if self.tree_empty {
            self.found_empty();
        }
    }

    fn notice_helper(&mut self) {
        let Tree::Helper(helper) = &mut self.tree else { return };
        while !helper.gone {
            match helper.link.next() {
                Ok(Some(Told::Exited { exit_code, signal, usage, signalled, tree_empty })) => {
                    (self.signalled, self.tree_empty) = (signalled, tree_empty);
                    if tree_empty {
                        helper.link.say(protocol::SWEEP);
                    }
                    self.exit = Some(Exit {
                        exit_code,
                        signal: signal.map(signal_name),
                        usage: Some(usage),
                        ended_at: stamp(),
                        duration_ms: millis(self.began.elapsed()),
                    });
                }
                Ok(Some(Told::Empty)) => {
                    // It has reaped the leader: nobody holds its number any more.
                    (helper.empty, self.group.reaped) = (true, true);
                }
                Ok(Some(Told::Started { .. } | Told::Failed(_))) => {}
                Err(Errno::EAGAIN) => return,
                Ok(None) | Err(_) => helper.gone = true,
            }
        }
        if !helper.empty {
            // Somebody has killed the helper. The leader dies with it; who else there was, nobody can tell.
            self.blind = true;
            self.group.signal(StopSignal::Kill);
        }
        let lost = || unknown_exit(stamp(), millis(self.began.elapsed()));
        self.exit.get_or_insert_with(lost);
    }

    /// Whether a helper is at its end: nothing more is to be watched.
    pub(crate) fn is_silent(&self) -> bool {
        match &self.tree {
            Tree::Group | Tree::Cgroup(_) => self.exit.is_some(),
            Tree::Helper(helper) => helper.gone,
        }
    }

    /// Whether the end of the tree is reported, instead of having to be looked for.
    pub(crate) fn tells_end(&self) -> bool {
        matches!(&self.tree, Tree::Helper(helper) if !helper.gone)
    }

    /// Signals the whole tree.
    pub(crate) fn signal(&self, signal: StopSignal) {
        match &self.tree {
            Tree::Group => self.group.signal(signal),
            Tree::Cgroup(leaf) => {
                self.group.signal(signal);
                match signal {
                    StopSignal::Terminate => leaf.signal_outside(self.group.pid, unix(signal)),
                    StopSignal::Kill => drop(leaf.kill()),
                }
            }
            Tree::Helper(helper) if helper.gone => self.group.signal(signal),
            Tree::Helper(helper) => helper.link.say(match signal {
                StopSignal::Terminate => protocol::TERMINATE,
                StopSignal::Kill => protocol::KILL,
            }),
        }
    }

    /// Nobody of the tree lives.
    pub(crate) fn found_empty(&mut self) {
        self.seen_empty = true;
        self.sweep = None;
        self.reap();
    }

    /// Nobody asks any more what becomes of it: whoever was not seen to be gone is killed. Before the leader is reaped,
    /// since its number may be what reaches the others.
    pub(crate) fn kill_unseen(&mut self) {
        if !self.seen_empty {
            self.signal(StopSignal::Kill);
            self.begin_sweep(SweepFor::Kill);
            self.sweep_helper();
        }
    }

    /// The leader is dead and the graph knows: from here the tree is looked at until it is empty.
    pub(crate) fn begin_sweep(&mut self, to: SweepFor) {
        self.sweep = Some(to);
        self.look_after = PROBE_FIRST;
    }

    /// Lets the helper take the leader's zombie away. After a look: while a child is being removed, the kernel's list of
    /// children can leave out the one behind it (proc_pid_children(5)).
    pub(crate) fn sweep_helper(&self) {
        if let Tree::Helper(helper) = &self.tree {
            helper.link.say(protocol::SWEEP);
        }
    }

    /// Looks who of the tree lives. The leader is dead by now, or can't be killed.
    pub(crate) fn look(&mut self) -> Probe {
        let seen = match &mut self.tree {
            Tree::Helper(helper) if helper.empty => Ok(None),
            Tree::Helper(helper) if !helper.gone => {
                let mut tree = Vec::new();
                proc::read_descendants(helper.pid, &mut tree)
                    .and_then(|()| members::alive(tree.iter().map(|descendant| descendant.pid)))
                    .map(Some)
            }
            Tree::Cgroup(leaf) => match leaf.is_empty() {
                Ok(false) => leaf.members().and_then(members::alive).map(Some),
                Ok(true) => Ok(None),
                Err(error) => Err(error),
            },
            Tree::Group | Tree::Helper(_) => self.look_at_group(),
        };
        if seen.is_err() {
            self.blind = true;
        }
        self.name(seen.unwrap_or_else(|_| Some(Vec::new())))
    }

    /// None: it is empty.
    fn look_at_group(&self) -> io::Result<Option<Vec<Member>>> {
        if self.group.by == GroupBy::Pidfd && self.group.is_empty() {
            return Ok(None);
        }
        let members = members::of_group(self.group.pid)?;
        Ok((!members.is_empty()).then_some(members))
    }

    fn name(&mut self, seen: Option<Vec<Member>>) -> Probe {
        let Some(seen) = seen else { return Probe { empty: true, alive: Vec::new() } };
        let alive = seen.iter().map(|member| member.pid).collect();
        for Member { pid, name } in seen {
            if self.leftovers.len() < NAMED {
                let outcome = match self.sweep {
                    Some(SweepFor::Kill) => Outcome::Killed,
                    Some(SweepFor::Keep) => Outcome::Kept,
                    _ => Outcome::Terminated,
                };
                self.leftovers.entry(pid).or_insert(Leftover::new(pid, name, outcome));
            }
        }
        Probe { empty: false, alive }
    }

    /// Those that live were sent SIGKILL, or are known to live on.
    pub(crate) fn mark(&mut self, alive: &[u32], outcome: Outcome) {
        for pid in alive {
            if let Some(leftover) = self.leftovers.get_mut(pid) {
                leftover.outcome = outcome;
            }
        }
    }

    /// What the result says.
    pub(crate) fn leftovers(&self) -> Option<Vec<Leftover>> {
        (!self.blind).then(|| self.leftovers.values().cloned().collect())
    }

    /// A helper that does not answer, because somebody has stopped it: its leader dies with it.
    pub(crate) fn give_up_helper(&self) {
        if let Tree::Helper(helper) = &self.tree {
            let _ = sys::signal_process(helper.pidfd.as_fd(), Signal::SIGKILL);
        }
    }

    /// Takes the leader's zombie away, if it is ours to take.
    pub(crate) fn reap(&mut self) {
        if self.exit.is_some() && !matches!(self.tree, Tree::Helper(_)) {
            self.group.reap();
        }
    }

    /// Everything is dead and taken away. Called until it says so.
    pub(crate) fn is_finished(&mut self) -> bool {
        self.notice();
        self.reap();
        match &mut self.tree {
            Tree::Group => self.exit.is_some(),
            Tree::Cgroup(leaf) => self.exit.is_some() && leaf.is_empty().unwrap_or(false),
            // Its socket closes a moment before it can be reaped.
            Tree::Helper(helper) => helper.gone && !matches!(sys::wait(helper.pidfd.as_fd(), true), Ok(None)),
        }
    }
}

fn usage(usage: &nix::libc::rusage) -> Usage {
    let ms =
        |time: nix::libc::timeval| u64::try_from(time.tv_sec * 1_000 + time.tv_usec / 1_000).unwrap_or(0);
    // Linux counts in KiB.
    let max_rss_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1_024;
    Usage::new(ms(usage.ru_utime), ms(usage.ru_stime), max_rss_bytes)
}
