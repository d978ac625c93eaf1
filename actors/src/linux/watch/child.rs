//! One process as the signal thread has it: its exit, its tree, its leftovers.
//!
//! * in: what the kernel says of the leader, its tree, or its helper
//! * out: the exit, who is left, and whether the tree is empty
//! * keeps: "could not look" is never "is empty"

mod leftovers;
mod standstill;

use crate::linux::{
    clock::{Activity, millis, stamp},
    contain::group::{Group, GroupBy, usage_of},
    contain::helper::{Helper, unknown_exit},
    contain::helper_protocol as protocol,
    contain::link::{Ended, Told},
    contain::members::{self, Led, Member},
    contain::tree::{Probe, Tree},
    contain::view::TreeView,
    mailbox::Mailbox,
    names::signal_name,
    sight::input::InputTarget,
    sys::{self, Code},
    watch::found::Found,
    watch::looks::{Ask, Looked},
    watch::started::{Watch, told_by},
};
use nix::{errno::Errno, sys::signal::Signal};
use ostler_artifacts::Growth;
use ostler_messages::{Exit, Outcome, StopSignal, SweepFor, UnixSignal};
use std::{
    collections::BTreeSet,
    io,
    os::fd::BorrowedFd,
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

pub(crate) struct Child {
    group: Group,
    tree: Tree,
    helper: Option<Helper>,
    input: Option<InputTarget>,
    pub(crate) began: Instant,
    pub(crate) activity: Arc<Activity>,
    /// Its output, until nobody is waited for any more.
    follow: Option<Arc<Growth>>,
    pub(crate) exit: Option<Exit>,
    /// Whether a signal of ours went out before the exit.
    pub(crate) signalled: bool,
    /// Its helper was killed before the exit was known.
    pub(crate) lost: bool,
    /// Nobody else lived when the exit was seen.
    pub(crate) tree_empty: bool,
    /// The whole tree was seen to be gone.
    seen_empty: bool,
    /// The graph wants nothing more of it.
    pub(crate) released: bool,
    /// What the sweep is for, once there is one.
    pub(crate) sweep: Option<SweepFor>,
    pub(crate) look_after: Duration,
    found: Found,
    /// SIGKILL was sent to the whole group.
    group_killed: bool,
    /// Looks at which nobody was seen though somebody is there, and the zombies of the last one.
    unseen_looks: u32,
    zombies: BTreeSet<u32>,
    /// Another thread looks at this moment.
    looks_elsewhere: bool,
    /// What it has seen, while the helper takes the leader's zombie away: then the kernel can be asked about the group.
    unjudged: Option<Looked>,
    /// The helper was told to.
    asked_to_reap: bool,
    /// The sweep has just begun: the next look is its first.
    pub(crate) first_look: bool,
    /// What tells about it wakes the thread.
    watched: bool,
    /// A timer has waited for the report of an exit that is known.
    pub(crate) waited_for_exit: bool,
}

impl Child {
    pub(crate) fn new(watch: Watch, by: GroupBy) -> Child {
        let Watch { pid, pidfd, stop, began, activity, follow, tree, helper, input, watched, .. } = watch;
        Child {
            group: Group { pid, pidfd, by, stop, reaped: false },
            tree,
            helper,
            input,
            began,
            activity,
            follow,
            exit: None,
            signalled: false,
            lost: false,
            tree_empty: false,
            seen_empty: false,
            released: false,
            sweep: None,
            look_after: PROBE_FIRST,
            found: Found::default(),
            group_killed: false,
            unseen_looks: 0,
            zombies: BTreeSet::new(),
            looks_elsewhere: false,
            unjudged: None,
            asked_to_reap: false,
            first_look: false,
            watched,
            waited_for_exit: false,
        }
    }

    /// What becomes readable when something has happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        told_by(self.helper.as_ref(), self.group.as_fd())
    }

    /// For another thread that looks at its tree, as long as there is one.
    pub(crate) fn view(&self) -> Option<TreeView> {
        (!self.seen_empty).then(|| TreeView::of(&self.tree, self.helper.as_ref(), self.group.pid, self.input))
    }

    /// Nothing more is to wake the thread.
    pub(crate) fn unwatch<T>(&mut self, mailbox: &Mailbox<T>) {
        if std::mem::take(&mut self.watched) {
            mailbox.unwatch(self.as_fd());
        }
    }

    /// Looks what has happened, without reaping the leader. True if its exit was not known before.
    pub(crate) fn notice(&mut self) -> bool {
        let known = self.exit.is_some();
        if self.helper.is_some() {
            self.notice_helper();
        } else if !known {
            self.notice_death();
        }
        !known && self.exit.is_some()
    }

    /// Also if its parent has not said so yet.
    pub(crate) fn is_leader_dead(&self) -> bool {
        self.exit.is_some() || (self.helper.is_some() && sys::is_dead(self.group.as_fd()))
    }

    fn notice_death(&mut self) {
        let (exit_code, signal, usage) = match self.group.death(matches!(self.tree, Tree::Group)) {
            Ok(None) => return,
            Ok(Some(status)) => {
                let usage = Some(usage_of(&status));
                match status.code {
                    Code::Exited(code) => (code, None, usage),
                    Code::Signalled(signal) => (-1, Some(signal_name(signal)), usage),
                }
            }
            // Someone else in the host has reaped it, or SIGCHLD is ignored there: how it ended is lost.
            Err(_) => (-1, None, None),
        };
        let (duration_ms, oom_killed) = (millis(self.began.elapsed()), self.tree.oom_killed());
        self.exit = Some(Exit { exit_code, signal, usage, ended_at: stamp(), duration_ms, oom_killed });
        self.look_whether_empty();
    }

    /// With the leader's exit: nobody else may live, and then there is nothing to sweep.
    fn look_whether_empty(&mut self) {
        self.tree_empty = match &mut self.tree {
            Tree::Cgroup(leaf) => {
                leaf.is_empty().unwrap_or(false)
                    && (self.group.by == GroupBy::Number || self.group.is_empty())
            }
            // Its session may have other groups, which only a look shows; and a helper has said it.
            Tree::Group | Tree::Subreaper => self.tree_empty,
        };
        if self.tree_empty && !matches!(self.tree, Tree::Subreaper) {
            self.found_empty();
        }
    }

    fn notice_helper(&mut self) {
        while let Some(helper) = self.helper.as_mut().filter(|helper| !helper.gone && !helper.finished) {
            match helper.next() {
                Ok(Some(Told::Exited(ended))) => self.take_exit(ended),
                Ok(Some(Told::Empty)) => {
                    // It has reaped the leader: nobody holds its number any more.
                    (helper.finished, self.group.reaped) = (true, true);
                }
                Ok(Some(Told::Ready(_) | Told::Started { .. } | Told::Failed(_) | Told::Watches(_))) => {}
                Err(Errno::EAGAIN) => return,
                Ok(None) | Err(_) => {
                    helper.gone = true;
                    self.lose_helper();
                }
            }
        }
    }

    fn take_exit(&mut self, ended: Ended) {
        // By its parent's clock, since this thread may be late: its host was stopped, say.
        let late = sys::monotonic().saturating_sub(ended.monotonic);
        self.exit = Some(Exit {
            exit_code: ended.exit_code,
            signal: ended.signal.map(signal_name),
            usage: Some(ended.usage),
            ended_at: ended.at,
            duration_ms: millis(self.began.elapsed().saturating_sub(late)),
            // Before it is looked whether the tree is empty: an empty cgroup is removed.
            oom_killed: self.tree.oom_killed(),
        });
        self.group.reaped = ended.reaped;
        if let Some(helper) = &mut self.helper {
            helper.finished = ended.reaped;
        }
        if let Tree::Subreaper = self.tree {
            (self.signalled, self.tree_empty) = (ended.signalled, ended.alone);
            if self.tree_empty {
                self.sweep_helper();
            }
        } else {
            self.look_whether_empty();
        }
    }

    /// Somebody has killed the helper. The leader dies with it; who else descends from it, nobody can tell.
    fn lose_helper(&mut self) {
        if let Tree::Subreaper = self.tree {
            self.found.lose_sight();
        }
        self.group.lose_number();
        self.signal(StopSignal::Kill);
        let _ = sys::signal_process(self.group.as_fd(), Signal::SIGKILL);
        self.lost |= self.exit.is_none();
        self.exit.get_or_insert_with(|| unknown_exit(stamp(), millis(self.began.elapsed())));
    }

    /// Whether nothing more is to be watched.
    pub(crate) fn is_silent(&self) -> bool {
        self.helper.as_ref().map_or(self.exit.is_some(), |helper| helper.gone || helper.finished)
    }

    /// Whether the end of the tree is reported, instead of having to be looked for.
    pub(crate) fn tells_end(&self) -> bool {
        matches!((&self.tree, &self.helper), (Tree::Subreaper, Some(helper)) if !helper.gone)
    }

    /// Signals the whole tree.
    pub(crate) fn signal(&mut self, signal: StopSignal) {
        self.tree.signal(&self.group, self.helper.as_ref(), signal);
        self.group_killed |= signal == StopSignal::Kill;
    }

    /// A signal of the host's, which is no stop.
    pub(crate) fn raise(&self, signal: UnixSignal) {
        self.tree.raise(&self.group, self.helper.as_ref(), signal);
    }

    /// Signals those who were seen one by one, whom the signal for all may not have reached.
    pub(crate) fn signal_seen(&self, seen: &[Member], signal: StopSignal) {
        self.tree.signal_seen(&self.group, seen, signal);
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
        let ask = Ask::Look { n, leader: self.group.pid, after_kill: self.group_killed };
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
        if to == SweepFor::Kill && waited && self.found.is_empty() {
            self.found.lose_sight();
        }
        self.sweep = Some(to);
        self.first_look = true;
        self.look_after = PROBE_FIRST;
    }

    /// Lets the helper take the leader's zombie away. After a look: while a child is being removed, the kernel's list of
    /// children can leave out the one behind it (proc_pid_children(5)).
    pub(crate) fn sweep_helper(&self) {
        if let (Tree::Subreaper, Some(helper)) = (&self.tree, &self.helper) {
            helper.say(protocol::SWEEP);
        }
    }

    /// Looks who of the tree lives. The leader is dead by now, or can't be killed.
    pub(crate) fn look(&mut self) -> Probe {
        if self.looks_elsewhere || self.unjudged.is_some() {
            return Probe::Waits;
        }
        let probe = self.tree.look(&self.group, self.helper.as_ref());
        self.taken_in(probe)
    }

    /// The same from what another thread has seen of the leader's group and session.
    pub(crate) fn looked(&mut self, looked: Looked) -> Probe {
        self.looks_elsewhere = false;
        // Until nobody else is seen the leader's zombie holds the number, by which the others are found.
        let was_held = !self.group.reaped;
        let nobody = match &looked.led {
            Ok(led) => led.alive.is_empty(),
            // The kernel answers for the group all the same, where nobody will be able to look.
            Err(_) => members::readable().is_err(),
        };
        if nobody && self.group.by == GroupBy::Pidfd {
            self.reap();
            if !self.group.reaped {
                self.unjudged = Some(looked);
                return Probe::Waits;
            }
        }
        self.judge(looked, was_held)
    }

    /// Goes on with what was seen, when the helper has taken the leader's zombie away.
    pub(crate) fn judge_at_last(&mut self) -> Option<Probe> {
        let looked = self.group.reaped.then(|| self.unjudged.take()).flatten()?;
        Some(self.judge(looked, true))
    }

    fn judge(&mut self, Looked { after_kill, led, .. }: Looked, was_held: bool) -> Probe {
        let is_empty = self.group.by == GroupBy::Pidfd && self.group.is_empty();
        let probe = match led {
            // Nobody has held the number for sure: who has it now may be a stranger. So nobody can say who else there is.
            Ok(Led { alive, .. }) if !alive.is_empty() && !was_held && is_empty => {
                self.found.lose_sight();
                Ok(Probe::Empty)
            }
            Ok(Led { alive, .. }) if !alive.is_empty() => Ok(Probe::Alive(alive)),
            // One SIGKILL for the group is atomic: nobody in it has forked after it.
            Ok(_) if is_empty || after_kill => Ok(Probe::Empty),
            // Nobody was seen, but the group's descriptor says that somebody is there.
            Ok(Led { alive, zombies }) => Ok(self.unseen(alive, zombies)),
            Err(_) if is_empty && members::readable().is_err() => {
                self.found.lose_sight();
                Ok(Probe::Empty)
            }
            Err(error) => Err(error),
        };
        self.taken_in(probe)
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
            if !explained {
                self.found.lose_sight();
            }
            self.signal(StopSignal::Kill);
        }
        self.zombies = zombies;
        Probe::Alive(alive)
    }

    fn taken_in(&mut self, probe: io::Result<Probe>) -> Probe {
        let probe = probe.unwrap_or_else(|_| {
            self.found.lose_sight();
            Probe::Alive(Vec::new())
        });
        if let Probe::Alive(seen) = &probe {
            let outcome = match self.sweep {
                Some(SweepFor::Kill) => Outcome::Killed,
                Some(SweepFor::Keep) => Outcome::Kept,
                _ => Outcome::Terminated,
            };
            self.found.take(seen, outcome);
        }
        probe
    }

    /// Takes the leader's zombie away, or lets its parent do it.
    pub(crate) fn reap(&mut self) {
        match &self.helper {
            _ if self.exit.is_none() => {}
            None => self.group.reap(),
            // It reaps when nobody else is left.
            Some(_) if matches!(self.tree, Tree::Subreaper) => {}
            Some(helper) => {
                if !std::mem::replace(&mut self.asked_to_reap, true) {
                    helper.say(protocol::SWEEP);
                }
            }
        }
    }

    /// Everything is dead and taken away. Called until it says so.
    pub(crate) fn is_finished(&mut self) -> bool {
        self.notice();
        self.reap();
        let helper_finished = self.helper.as_ref().is_none_or(|helper| helper.gone || helper.finished);
        let tree_gone = match &mut self.tree {
            Tree::Cgroup(leaf) => leaf.is_empty().unwrap_or(false),
            Tree::Group | Tree::Subreaper => true,
        };
        self.exit.is_some() && helper_finished && tree_gone
    }
}
