//! Trees that are to stand still, and their timers.
//!
//! * in: that one is paused, what a look at it gave, timers that come and go meanwhile
//! * out: whether all of it was seen to stand still; when to look again; what is left of each timer
//! * keeps: a pause that can't be had ends within [`LIMIT`]; each call that waits for one is answered once
//!
//! No process and no clock, so that it is tested without either.

use crate::backend::stands_still_with;
use ostler_messages::{ActorName, CallId, TimerKind};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long it may take until all of a tree stands still: a process in the hands of a device stops when the device is done.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// From the first look to the second; each later one comes after twice the time, up to the longest.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Looks in a row that find nobody who moves, where each process is stopped for itself: one that was forked behind the back of the first
/// is seen by the second, since nobody forks any more.
const STILL_LOOKS: u32 = 2;

/// How a tree is brought to a standstill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Its cgroup is frozen.
    Cgroup,
    /// Each process is stopped for itself, by the look thread.
    Signals,
}

pub(super) type Timer = (ActorName, TimerKind);

/// One of them.
#[derive(Debug)]
pub(super) struct Pause {
    /// Names it too.
    pub(super) since: Instant,
    pub(super) by: By,
    /// All of it was seen to stand still.
    pub(super) is_still: bool,
    /// Calls that wait for that.
    pub(super) waiting: Vec<CallId>,
    still_looks: u32,
    look_after: Duration,
    /// What is left of its timers.
    timers: BTreeMap<Timer, Duration>,
}

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Still,
    LookAt(Instant),
    /// The time is up.
    GivesUp,
}

impl Pause {
    pub(super) fn begin(since: Instant, by: By, call: CallId) -> Pause {
        let (timers, waiting) = (BTreeMap::new(), vec![call]);
        Pause { since, by, is_still: false, waiting, still_looks: 0, look_after: LOOK_FIRST, timers }
    }

    /// `moving`: whether somebody was seen who did not stand still.
    pub(super) fn looked(&mut self, moving: bool, now: Instant) -> Seen {
        self.still_looks = if moving { 0 } else { self.still_looks + 1 };
        let needed = if self.by == By::Cgroup { 1 } else { STILL_LOOKS };
        if self.still_looks >= needed {
            self.is_still = true;
            return Seen::Still;
        }
        if now >= self.since + LIMIT {
            return Seen::GivesUp;
        }
        // Nobody moves any more: there is nothing to wait for.
        let after = if moving { self.look_after } else { Duration::ZERO };
        if moving {
            self.look_after = (self.look_after * 2).min(LOOK_MAX);
        }
        Seen::LookAt(now + after)
    }

    pub(super) fn keep_timer(&mut self, timer: Timer, left: Duration) {
        self.timers.insert(timer, left);
    }
    pub(super) fn drop_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
    pub(super) fn into_timers(self) -> impl Iterator<Item = (Timer, Duration)> {
        self.timers.into_iter()
    }
}

/// All of them, by the number of the process.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<u64, Pause>);
impl Pauses {
    pub(super) fn is_paused(&self, n: u64) -> bool {
        self.0.contains_key(&n)
    }
    pub(super) fn get(&mut self, n: u64) -> Option<&mut Pause> {
        self.0.get_mut(&n)
    }
    pub(super) fn begin(&mut self, n: u64, pause: Pause) {
        self.0.insert(n, pause);
    }
    pub(super) fn end(&mut self, n: u64) -> Option<Pause> {
        self.0.remove(&n)
    }
    /// The pause that this timer stands still with, if it does.
    pub(super) fn of_timer(&mut self, (owner, kind): Timer) -> Option<&mut Pause> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get_mut(&stands_still_with(owner, kind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_enough_for_a_cgroup_and_two_in_a_row_for_single_processes() {
        let now = Instant::now();
        let mut frozen = Pause::begin(now, By::Cgroup, CallId(1));
        assert_eq!(frozen.looked(true, now), Seen::LookAt(now + LOOK_FIRST));
        assert_eq!(frozen.looked(true, now), Seen::LookAt(now + 2 * LOOK_FIRST));
        assert_eq!((frozen.looked(false, now), frozen.is_still), (Seen::Still, true));

        let mut stopped = Pause::begin(now, By::Signals, CallId(1));
        assert_eq!(stopped.looked(false, now), Seen::LookAt(now));
        assert_eq!(stopped.looked(true, now), Seen::LookAt(now + LOOK_FIRST), "one was forked meanwhile");
        assert_eq!((stopped.looked(false, now), stopped.is_still), (Seen::LookAt(now), false));
        assert_eq!((stopped.looked(false, now), stopped.is_still), (Seen::Still, true));
    }

    #[test]
    fn what_never_stands_still_is_given_up() {
        let since = Instant::now();
        let mut pause = Pause::begin(since, By::Cgroup, CallId(1));
        let (mut now, mut looks) = (since, 0);
        while let Seen::LookAt(at) = pause.looked(true, now) {
            assert!(at > now && at <= now + LOOK_MAX);
            (now, looks) = (at, looks + 1);
        }
        assert!(now >= since + LIMIT && now < since + LIMIT + LOOK_MAX && looks < 60, "{looks}");
    }
}
