//! Processes that have outlived their host: found by their leader's number and the time of its start, and ended.
//!
//! Where a cgroup or a helper held the tree, the death of the host has ended it. This is for what a helper that was killed too has left
//! behind, and for hosts that are the parents of their commands.
//!
//! * in: a record of a command that was running, when its leader was started
//! * out: who was left, and what became of them
//! * keeps: a number alone proves nothing: nobody is signalled unless the leader that was ours lives and leads him

use crate::linux::{
    contain::{
        group::GroupBy,
        members::{Led, Member, of_leader},
        tree::is_led,
    },
    sys,
};
use nix::{sys::signal::Signal, unistd::Pid};
use ostler_artifacts::start_ticks;
use ostler_messages::{Containment, Leftover, Outcome, Record};
use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// How often its session is looked at until nobody is left in it but the leader: who forks meanwhile is seen by the next look.
const PASSES_MAX: u32 = 8;
/// How long one may take to end that was killed.
const KILLED_WITHIN: Duration = Duration::from_millis(500);

/// Ends whoever is left of a command's tree. None: that could not be seen, or what was seen is not proven to be of it.
pub(super) fn end_what_is_left(record: &Record, started: Option<u64>) -> Option<Vec<Leftover>> {
    let (pid, started) = (record.pid?, started?);
    if is_led(std::process::id(), pid) {
        // This host is itself what that command was to run.
        return None;
    }
    let leader = sys::open_process(pid).ok().filter(|_| start_ticks(pid) == Some(started));
    let Some(leader) = leader else {
        // Its number names nobody of ours any more. If it leads nobody, nobody is left; but only a group is all of a tree that is held by
        // its group.
        let nobody = of_leader(pid).is_ok_and(|led| led.alive.is_empty());
        return (nobody && record.containment == Some(Containment::Group)).then(Vec::new);
    };
    let (named, seen) = end(pid, &leader);
    let outcome = |survives: bool| if survives { Outcome::Survived } else { Outcome::Killed };
    let left = named.into_iter().map(|member| {
        let survives = member.pid == pid && !sys::wait_for_death(leader.as_fd(), KILLED_WITHIN);
        Leftover::new(member.pid, member.name, outcome(survives))
    });
    let left = left.collect();
    seen.then_some(left)
}

/// Kills all whom it leads, and then the leader itself, whose number names them as long as it lives. Who that was, and whether all of
/// it could be seen.
fn end(pid: u32, leader: &OwnedFd) -> (Vec<Member>, bool) {
    // One that stands still does not end by itself, so that its number stays its own.
    let _ = sys::signal_process(leader.as_fd(), Signal::SIGSTOP);
    let (mut named, mut seen): (Vec<Member>, bool) = (Vec::new(), true);
    for _ in 0..PASSES_MAX {
        let Ok(Led { alive, .. }) = of_leader(pid) else {
            seen = false;
            break;
        };
        let others: Vec<Member> = alive.into_iter().filter(|member| member.pid != pid).collect();
        if others.is_empty() {
            break;
        }
        for member in others {
            let process = sys::open_process(member.pid);
            // Opened first, asked afterwards: whoever is still led is the one that was seen.
            if let Ok(process) = process
                && is_led(member.pid, pid)
                && !sys::is_dead(leader.as_fd())
            {
                let _ = sys::signal_process(process.as_fd(), Signal::SIGKILL);
            }
            if !named.iter().any(|known| known.pid == member.pid) {
                named.push(member);
            }
        }
    }
    let alive = of_leader(pid).map(|led| led.alive);
    seen &= alive.is_ok();
    named.splice(0..0, alive.into_iter().flatten().filter(|member| member.pid == pid));
    // Who was forked behind the back of the last look; one signal to a group is atomic.
    if !sys::is_dead(leader.as_fd()) {
        let _ = match GroupBy::probe() {
            GroupBy::Pidfd => sys::signal_group(leader.as_fd(), Some(Signal::SIGKILL)),
            GroupBy::Number => nix::sys::signal::killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL),
        };
    }
    let _ = sys::signal_process(leader.as_fd(), Signal::SIGKILL);
    (named, seen)
}
