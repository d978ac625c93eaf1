//! Processes that have outlived their host: found by their leader's number and by when they were started, and ended.
//!
//! Where a cgroup or a helper held the tree, the death of the host has ended it. This is for what nobody was left to end: the helper was
//! killed too, or the host was itself the parent of its commands.
//!
//! * in: a record of a command that was running; when its leader was started, and when its host has said last that it lives
//! * out: who was left, and what became of them
//! * keeps: a number alone proves nothing: nobody is signalled but whom an *anchor* leads or is beside

use crate::linux::{
    contain::{
        group::GroupBy,
        members::{self, Member, of_leader},
        tree::is_led,
    },
    sys,
};
use nix::{
    sys::signal::Signal,
    unistd::{Pid, getpgid, getsid},
};
use ostler_artifacts::start_ticks;
use ostler_messages::{Containment, Leftover, Outcome, Record};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

/// How often they are looked at until nobody is left but the anchor: who forks meanwhile is seen by the next look.
const PASSES_MAX: u32 = 8;
/// How long one may take to end that was killed.
const KILLED_WITHIN: Duration = Duration::from_millis(500);

/// How long ending what is left may take in all.
const ENDING_LIMIT: Duration = Duration::from_secs(3);

/// A living process that proves whose the leader's number is: as long as it is of that session or group, so is whoever else is.
///
/// It is the leader itself, by the time of its start; or somebody of its session or group who was started before its host said last that it
/// lives. Until then the leader's number was held, by the leader or its zombie, so that no other session or group could have it; and a
/// session's number is not given out again before the session is empty (setsid(2), credentials(7)).
struct Anchor {
    pid: u32,
    process: OwnedFd,
}

impl Anchor {
    fn find(leader: u32, started: u64, host_lived: u64) -> std::io::Result<Option<Anchor>> {
        let proves = |pid: u32| {
            let ticks = start_ticks(pid);
            match pid == leader {
                true => ticks == Some(started),
                false => ticks.is_some_and(|ticks| (started..=host_lived).contains(&ticks)),
            }
        };
        let alive = of_leader(leader)?.alive;
        // Whoever has the leader's number and is not the leader shows that the number was given out again.
        if alive.iter().any(|member| member.pid == leader && !proves(leader)) {
            return Ok(None);
        }
        for member in alive.into_iter().filter(|member| proves(member.pid)) {
            let Ok(process) = sys::open_process(member.pid) else { continue };
            let anchor = Anchor { pid: member.pid, process };
            // Opened first, asked afterwards.
            if proves(anchor.pid) && anchor.holds(leader) {
                // One that stands still does not end by itself.
                let _ = sys::signal_process(anchor.process.as_fd(), Signal::SIGSTOP);
                return Ok(Some(anchor));
            }
        }
        Ok(None)
    }
    fn holds(&self, leader: u32) -> bool {
        is_led(self.pid, leader) && !sys::is_dead(self.process.as_fd())
    }
}

/// The numbers of all groups and sessions that there are: one look for all commands.
pub(super) struct Led {
    numbers: BTreeSet<u32>,
    /// Until then whoever is left is ended: the next host waits for this one.
    until: Instant,
}
impl Led {
    /// None: nobody is able to look.
    pub(super) fn look() -> Option<Led> {
        members::readable().ok()?;
        let mut numbers = BTreeSet::new();
        for entry in std::fs::read_dir("/proc").ok()? {
            let name = entry.ok()?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let pid = Some(Pid::from_raw(pid));
            // One that is gone leads nobody.
            let both = [getpgid(pid), getsid(pid)];
            numbers.extend(both.into_iter().flatten().map(|number| number.as_raw().cast_unsigned()));
        }
        Some(Led { numbers, until: Instant::now() + ENDING_LIMIT })
    }
}

/// Ends whoever is left of a command's tree. None: that could not be seen, or what was seen is not proven to be of it.
pub(super) fn end_what_is_left(
    record: &Record,
    started: Option<u64>,
    host_lived: u64,
    led: &Led,
) -> Option<Vec<Leftover>> {
    let (leader, started) = (record.pid?, started?);
    if !led.numbers.contains(&leader) {
        // Nobody is left; but only a group is all of a tree that is held by its group.
        return (record.containment == Some(Containment::Group)).then(Vec::new);
    }
    // This host is itself what that command was to run; or so many others hang that there is no more time.
    if is_led(std::process::id(), leader) || Instant::now() >= led.until {
        return None;
    }
    let anchor = Anchor::find(leader, started, host_lived).ok()??;
    let seen = end(leader, &anchor);
    seen.map(|killed| killed.into_values().collect())
}

/// Kills all of them, and then the anchor. None: not all of it could be seen.
fn end(leader: u32, anchor: &Anchor) -> Option<BTreeMap<u32, Leftover>> {
    let (mut killed, mut seen) = (BTreeMap::new(), true);
    let mut note = |member: Member| {
        let leftover = Leftover::new(member.pid, member.name, Outcome::Killed);
        killed.entry(member.pid).or_insert(leftover);
    };
    for pass in 0..PASSES_MAX {
        let Ok(led) = of_leader(leader) else {
            seen = false;
            break;
        };
        let (own, others): (Vec<Member>, Vec<Member>) =
            led.alive.into_iter().partition(|member| member.pid == anchor.pid);
        own.into_iter().filter(|_| pass == 0).for_each(&mut note);
        if others.is_empty() {
            break;
        }
        for member in others {
            let Ok(process) = sys::open_process(member.pid) else { continue };
            // Opened first, asked afterwards: whoever is still led is the one that was seen.
            if is_led(member.pid, leader) && anchor.holds(leader) {
                let _ = sys::signal_process(process.as_fd(), Signal::SIGKILL);
                sys::wait_for_death(process.as_fd(), KILLED_WITHIN);
                note(member);
            }
        }
    }
    // Who was forked behind the back of the last look: one signal to a group is atomic.
    if anchor.pid == leader && anchor.holds(leader) {
        let _ = match GroupBy::probe() {
            GroupBy::Pidfd => sys::signal_group(anchor.process.as_fd(), Some(Signal::SIGKILL)),
            GroupBy::Number => nix::sys::signal::killpg(Pid::from_raw(leader.cast_signed()), Signal::SIGKILL),
        };
    }
    let _ = sys::signal_process(anchor.process.as_fd(), Signal::SIGKILL);
    sys::wait_for_death(anchor.process.as_fd(), KILLED_WITHIN);
    // What lives on after all that can't be ended.
    match of_leader(leader) {
        Ok(led) => led.alive.into_iter().for_each(|member| {
            if let Some(leftover) = killed.get_mut(&member.pid) {
                leftover.outcome = Outcome::Survived;
            }
        }),
        Err(_) => seen = false,
    }
    seen.then_some(killed)
}
