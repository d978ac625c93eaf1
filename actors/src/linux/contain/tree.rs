//! What holds the processes of one command together, and how all of them are seen and ended.
//!
//! * in: a signal for the whole tree, a look at it
//! * out: who lives; that nobody does, where that is proven
//! * keeps: a means that fails is followed by the next one, and what could not be looked at is not empty

use crate::linux::{
    contain::{
        cgroup::Leaf,
        group::{Group, GroupBy, signal_of},
        helper::Helper,
        helper_protocol as protocol,
        members::{self, Member},
    },
    proc, sys,
};
use nix::{
    errno::Errno,
    unistd::{Pid, getpgid, getsid},
};
use ostler_messages::{Containment, StopSignal, UnixSignal};
use std::{io, os::fd::AsFd};

/// What holds the tree together beside the leader's group.
pub(crate) enum Tree {
    Group,
    Cgroup(Leaf),
    /// The helper: everybody descends from it.
    Subreaper,
}

/// What a look at a tree gave.
pub(crate) enum Probe {
    /// Nobody lives: that is proven.
    Empty,
    /// These live, and perhaps others: nobody here is no proof.
    Alive(Vec<Member>),
    /// It takes a look at each process of the machine ([`members::of_leader`]), which is another thread's.
    Asks,
    /// Somebody else is at work for it, and will report.
    Waits,
}

impl Tree {
    /// What it is called.
    pub(crate) fn containment(&self) -> Containment {
        match self {
            Tree::Group => Containment::Group,
            Tree::Cgroup(_) => Containment::Cgroup,
            Tree::Subreaper => Containment::Subreaper,
        }
    }

    /// Whether the kernel has ended somebody for want of memory, where it says so.
    pub(crate) fn oom_killed(&self) -> Option<bool> {
        match self {
            Tree::Cgroup(leaf) => leaf.oom_killed(),
            Tree::Group | Tree::Subreaper => None,
        }
    }

    /// Signals all of it.
    pub(crate) fn signal(&self, group: &Group, helper: Option<&Helper>, signal: StopSignal) {
        let helped = || match (helper, signal) {
            (Some(helper), StopSignal::Terminate) => helper.say(protocol::TERMINATE),
            (Some(helper), StopSignal::Kill) => helper.say(protocol::KILL),
            (None, _) => {}
        };
        let to_group = || {
            // Whom this process may not signal (any more) its parent may.
            if !group.signal(signal) {
                helped();
            }
        };
        match (self, helper) {
            (Tree::Subreaper, Some(helper)) if !helper.gone => helped(),
            (Tree::Group | Tree::Subreaper, _) => to_group(),
            (Tree::Cgroup(leaf), _) => {
                to_group();
                match signal {
                    StopSignal::Terminate => {
                        let others = leaf.members().and_then(|pids| others(pids, group.pid));
                        leaf.signal_each(others.unwrap_or_default(), &group.unix(signal));
                    }
                    // What it does not reach is listed still when the tree is looked at, and gets a signal of its own.
                    StopSignal::Kill => drop(leaf.kill()),
                }
            }
        }
    }

    /// A signal of the host's, to the leader's group.
    pub(crate) fn raise(&self, group: &Group, helper: Option<&Helper>, signal: UnixSignal) {
        let signal = signal_of(signal);
        // Whom this process may not signal (any more) its parent may.
        if !group.raise(signal)
            && let Some(helper) = helper
        {
            helper.say(protocol::RAISE + signal as u8);
        }
    }

    /// Signals those who were seen, one by one: whom the signal for all of them did not reach.
    pub(crate) fn signal_seen(&self, group: &Group, seen: &[Member], signal: StopSignal) {
        let (leader, signals) = (group.pid, group.unix(signal));
        match self {
            Tree::Cgroup(leaf) => leaf.signal_each(seen.iter().map(|member| member.pid), &signals),
            Tree::Group => {
                for member in seen.iter().filter(|member| member.group != leader) {
                    let Ok(process) = sys::open_process(member.pid) else { continue };
                    // Opened first, asked afterwards: if it is of the leader's session still, it is the one that was seen.
                    if is_led(member.pid, leader) {
                        for signal in &signals {
                            let _ = sys::signal_process(process.as_fd(), *signal);
                        }
                    }
                }
            }
            // The helper looks and signals by itself, again and again.
            Tree::Subreaper => {}
        }
    }

    /// Looks who of it lives. The leader is dead by now, or can't be killed.
    ///
    /// # Errors
    /// Nobody was able to look.
    pub(crate) fn look(&mut self, group: &Group, helper: Option<&Helper>) -> io::Result<Probe> {
        match (self, helper) {
            (Tree::Subreaper, Some(helper)) if helper.finished => Ok(Probe::Empty),
            (Tree::Subreaper, Some(helper)) if !helper.gone => {
                members::readable()?;
                let mut tree = Vec::new();
                proc::read_descendants(helper.pid, &mut tree)?;
                members::alive(tree.iter().map(|descendant| descendant.pid)).map(Probe::Alive)
            }
            (Tree::Cgroup(leaf), _) => match leaf.is_empty()? {
                false => members::alive(leaf.members()?).map(Probe::Alive),
                // The leader may have moved to another cgroup: then its group is still to be looked for.
                true if group.by == GroupBy::Number || group.is_empty() => Ok(Probe::Empty),
                true => Ok(Probe::Asks),
            },
            // Whoever is in the group holds its number; if nobody is, nothing does.
            (Tree::Subreaper, _) if group.by == GroupBy::Number || group.is_empty() => Ok(Probe::Empty),
            (Tree::Group | Tree::Subreaper, _) => Ok(Probe::Asks),
        }
    }
}

/// Those who are not in the leader's group, which has had the signal.
fn others(pids: Vec<u32>, leader: u32) -> Result<Vec<u32>, Errno> {
    let leader = Pid::from_raw(leader.cast_signed());
    Ok(pids.into_iter().filter(|pid| getpgid(Some(Pid::from_raw(pid.cast_signed()))) != Ok(leader)).collect())
}

/// Whether a process is of a leader's group or session.
pub(crate) fn is_led(pid: u32, leader: u32) -> bool {
    let (pid, leader) = (Some(Pid::from_raw(pid.cast_signed())), Ok(Pid::from_raw(leader.cast_signed())));
    getpgid(pid) == leader || getsid(pid) == leader
}
