//! One process as the signal thread has it: its exit, its tree, its leftovers.
//!
//! * in: what the kernel says of the leader, its tree, or its helper
//! * out: the exit, who is left, and whether the tree is empty
//! * keeps: "could not look" is never "is empty"

use crate::linux::{
    clock::{Activity, millis, stamp},
    contain::group::{Group, GroupBy},
    contain::helper::{Told, unknown_exit},
    contain::helper_protocol as protocol,
    contain::members::{self, Led, Member, NAMED},
    contain::tree::{Probe, Tree},
    names::signal_name,
    proc,
    sys::{self, Code},
    watch::looks::{Ask, Looked},
};
use nix::{errno::Errno, sys::signal::Signal};
use ostler_messages::{Exit, Leftover, Outcome, StopSignal, SweepFor, Usage};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

/// First wait before a look whether a tree is empty; it doubles up to [`PROBE_MAX`], since most trees end at once.
pub(crate) const PROBE_FIRST: Duration = Duration::from_micros(100);
/// Longest wait between two looks at a tree that shall end: it delays a result by at most that.
pub(crate) const PROBE_MAX: Duration = Duration::from_millis(20);
/// So often a tree is looked at in which nobody is seen though somebody is there, before all of it is killed unseen.
const UNSEEN_LOOKS_MAX: u32 = 5;
/// Longest wait between two looks at leftovers that are kept: nobody waits for their end.
pub(crate) const PROBE_KEPT_MAX: Duration = Duration::from_secs(5);

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
    /// Who was alive at the last look.
    seen: Vec<u32>,
    /// Nobody could look for a part of the tree.
    blind: bool,
    /// SIGKILL was sent to the whole group.
    group_killed: bool,
    /// Looks at which nobody was seen though somebody is there, and the zombies of the last one.
    unseen_looks: u32,
    zombies: BTreeSet<u32>,
    /// Another thread looks at this moment.
    looks_elsewhere: bool,
    /// The sweep has just begun: the next look is its first.
    pub(crate) first_look: bool,
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
            seen: Vec::new(),
            blind: false,
            group_killed: false,
            unseen_looks: 0,
            zombies: BTreeSet::new(),
            looks_elsewhere: false,
            first_look: false,
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
        let (exit_code, signal, usage) = match self.group.death(matches!(self.tree, Tree::Group)) {
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
            Tree::Cgroup(leaf) => {
                leaf.is_empty().unwrap_or(false)
                    && (self.group.by == GroupBy::Number || self.group.is_empty())
            }
            // Its session may have other groups, which only a look shows.
            Tree::Group | Tree::Helper(_) => false,
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
            self.group.lose_number();
            self.group.signal(StopSignal::Kill);
            let _ = sys::signal_process(self.group.as_fd(), Signal::SIGKILL);
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
    pub(crate) fn signal(&mut self, signal: StopSignal) {
        self.tree.signal(&self.group, signal);
        self.group_killed |= signal == StopSignal::Kill;
    }

    /// Signals those who were seen one by one, whom the signal for all may not have reached.
    pub(crate) fn signal_seen(&self, seen: &[Member], signal: StopSignal) {
        self.tree.signal_seen(self.group.pid, seen, signal);
    }

    /// Those whom the signal before the leader's exit could not reach, because they were not seen then: in the tier `group`,
    /// which reaches other groups of the session one by one.
    pub(crate) fn signal_unreached(&self, seen: &[Member]) {
        if matches!(self.tree, Tree::Group) {
            self.signal_seen(seen, StopSignal::Terminate);
        }
    }

    /// What another thread has to know for a look. None: it looks already.
    pub(crate) fn ask(&mut self, n: u64) -> Option<Ask> {
        let ask = Ask { n, leader: self.group.pid, after_kill: self.group_killed };
        (!std::mem::replace(&mut self.looks_elsewhere, true)).then_some(ask)
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
        let waited = matches!(self.sweep, Some(SweepFor::Terminate | SweepFor::Watch));
        // Somebody was there all the time, whom no look has shown.
        self.blind |= to == SweepFor::Kill && waited && self.leftovers.is_empty();
        self.sweep = Some(to);
        self.first_look = true;
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
        if self.looks_elsewhere {
            return Probe::Asks;
        }
        let probe = self.tree.look(&self.group);
        self.taken_in(probe)
    }

    /// The same from what another thread has seen of the leader's group and session.
    pub(crate) fn looked(&mut self, looked: Looked) -> Probe {
        self.looks_elsewhere = false;
        let Looked { after_kill, led, .. } = looked;
        // Until nobody else is seen the leader's zombie holds the number, by which the others are found.
        let is_held = !self.group.reaped;
        if led.as_ref().is_ok_and(|led| led.alive.is_empty()) && self.group.by == GroupBy::Pidfd {
            self.reap();
        }
        let is_empty = self.group.by == GroupBy::Pidfd && self.group.is_empty();
        let probe = match led {
            // Nobody has held the number for sure: who has it now may be a stranger. So nobody can say who else there is.
            Ok(Led { alive, .. }) if !alive.is_empty() && !is_held && is_empty => {
                self.blind = true;
                Ok(Probe::Empty)
            }
            Ok(Led { alive, .. }) if !alive.is_empty() => Ok(Probe::Alive(alive)),
            // One SIGKILL for the group is atomic: nobody in it has forked after it.
            Ok(_) if is_empty || after_kill => Ok(Probe::Empty),
            // Nobody was seen, but the group's descriptor says that somebody is there.
            Ok(Led { alive, zombies }) => Ok(self.unseen(alive, zombies)),
            // The kernel answers for the group all the same, where nobody will be able to look.
            Err(_) if members::readable().is_err() && self.is_group_gone() => {
                self.blind = true;
                Ok(Probe::Empty)
            }
            Err(error) => Err(error),
        };
        self.taken_in(probe)
    }

    /// Gives the leader's number up; whether nobody is in its group then.
    fn is_group_gone(&mut self) -> bool {
        if self.group.by == GroupBy::Pidfd {
            self.reap();
        }
        self.group.by == GroupBy::Pidfd && self.group.is_empty()
    }

    /// Zombies that nobody takes away are counted too: if they are the same as at the look before, they are all that is there.
    /// Else somebody forks and exits, who may be seen the next time.
    fn unseen(&mut self, alive: Vec<Member>, zombies: BTreeSet<u32>) -> Probe {
        if self.sweep == Some(SweepFor::Keep) {
            // By number the kernel can't be asked: the leader's own zombie holds it.
            return if self.group.by == GroupBy::Number { Probe::Empty } else { Probe::Alive(alive) };
        }
        self.unseen_looks += 1;
        let explained = !zombies.is_empty() && self.zombies == zombies;
        if explained || self.unseen_looks >= UNSEEN_LOOKS_MAX {
            self.blind |= !explained;
            self.signal(StopSignal::Kill);
        }
        self.zombies = zombies;
        Probe::Alive(alive)
    }

    fn taken_in(&mut self, probe: io::Result<Probe>) -> Probe {
        let probe = probe.unwrap_or_else(|_| {
            self.blind = true;
            Probe::Alive(Vec::new())
        });
        if let Probe::Alive(seen) = &probe {
            for Member { pid, name, .. } in seen {
                if self.leftovers.len() < NAMED {
                    let outcome = match self.sweep {
                        Some(SweepFor::Kill) => Outcome::Killed,
                        Some(SweepFor::Keep) => Outcome::Kept,
                        _ => Outcome::Terminated,
                    };
                    self.leftovers.entry(*pid).or_insert(Leftover::new(*pid, name.as_str(), outcome));
                }
            }
            self.seen = seen.iter().map(|member| member.pid).collect();
        }
        probe
    }

    /// Who lives on after SIGKILL and the time for it.
    pub(crate) fn survivors(&mut self) -> Option<Vec<Leftover>> {
        if let Probe::Asks = self.look() {
            // Nobody has looked since the kill, as far as this thread knows.
            self.blind = true;
        }
        self.mark(Outcome::Survived);
        if self.exit.is_none() && !self.blind {
            let pid = self.group.pid;
            let name = proc::look(pid).ok().and_then(|seen| seen.stat().map(|stat| stat.name.clone()));
            let leader = Leftover::new(pid, name.unwrap_or_default(), Outcome::Survived);
            self.leftovers.insert(pid, leader);
        }
        self.leftovers()
    }

    /// Those who were seen last were sent SIGKILL, or are known to live on.
    pub(crate) fn mark(&mut self, outcome: Outcome) {
        for pid in &self.seen {
            if let Some(leftover) = self.leftovers.get_mut(pid) {
                leftover.outcome = outcome;
            }
        }
    }

    /// What the result says.
    pub(crate) fn leftovers(&self) -> Option<Vec<Leftover>> {
        (!self.blind).then(|| self.leftovers.values().cloned().collect())
    }

    /// A helper that does not answer: if somebody has stopped it, its leader dies with it. Else it is at work, and nobody but it can
    /// reach the whole tree.
    pub(crate) fn give_up_helper(&self) {
        if let Tree::Helper(helper) = &self.tree
            && proc::look(helper.pid).is_ok_and(|seen| seen.stat().is_some_and(|stat| stat.stopped))
        {
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
    // Its highest memory is at least that of this process, which it shared until it ran its program.
    Usage::new(ms(usage.ru_utime), ms(usage.ru_stime), None)
}
