//! Trees that are to stand still, and their timers.
//!
//! * in: that one is paused, what a look at it gave, timers that come and go meanwhile
//! * out: whether all of it was seen to stand still; when to look again; what is left of each timer
//! * keeps: a pause that can't be had ends within [`LIMIT`]; each call that waits for one is answered once
//!
//! The looks know no process and no clock, so that they are tested without either.

use crate::{backend::stands_still_with, linux::contain::standstill::Standstill};
use ostler_messages::{ActorName, CallId, TimerKind};
use std::{
    collections::BTreeMap,
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long it may take until all of a tree stands still: a process in the hands of a device stops when the device is done.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// From the first look to the second; each later one comes after twice the time, up to the longest.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// How often a tree is tried to be continued where nobody was able to look, with growing pauses between: for about eight seconds, after which
/// descriptors are not likely to come back.
const TRIES_MAX: u32 = 16;
const TRY_MAX: Duration = Duration::from_secs(1);
/// Looks in a row that find nobody who moves, where each process is stopped for itself: one that was forked behind the back of the first
/// is seen by the second, since nobody forks any more.
const STILL_LOOKS: u32 = 2;

/// How a tree is brought to a standstill; with all that letting it go on needs.
pub(super) enum By {
    /// Its cgroup is frozen, by this file.
    Cgroup(File),
    /// Each process is stopped for itself, by the look thread.
    Signals(Arc<Standstill>),
}

pub(super) type Timer = (ActorName, TimerKind);

/// One of them.
pub(super) struct Pause {
    /// Names it too.
    pub(super) since: Instant,
    pub(super) by: By,
    /// All of it was seen to stand still.
    pub(super) is_still: bool,
    /// Calls that wait for that.
    pub(super) waiting: Vec<CallId>,
    looks: Looks,
    /// What is left of its timers.
    timers: BTreeMap<Timer, Duration>,
}

/// The looks at a tree that is to stand still.
#[derive(Debug)]
pub(super) struct Looks {
    /// So many in a row have to find nobody who moves.
    needed: u32,
    still: u32,
    after: Duration,
    /// The first one: until somebody looks, nobody can be blamed.
    began: Option<Instant>,
}

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Still,
    LookAt(Instant),
    /// The time is up.
    GivesUp,
}

impl Looks {
    fn new(needed: u32) -> Looks {
        Looks { needed, still: 0, after: LOOK_FIRST, began: None }
    }

    /// `moving`: whether somebody was seen who did not stand still.
    pub(super) fn looked(&mut self, moving: bool, now: Instant) -> Seen {
        let began = *self.began.get_or_insert(now);
        if !moving {
            self.still += 1;
            // Nobody moves: there is nothing to wait for.
            return if self.still >= self.needed { Seen::Still } else { Seen::LookAt(now) };
        }
        self.still = 0;
        if now >= began + LIMIT {
            return Seen::GivesUp;
        }
        let after = self.after;
        self.after = (after * 2).min(LOOK_MAX);
        Seen::LookAt(now + after)
    }
}

impl Pause {
    pub(super) fn begin(since: Instant, by: By, call: CallId) -> Pause {
        let looks = Looks::new(if matches!(by, By::Cgroup(_)) { 1 } else { STILL_LOOKS });
        Pause { since, by, is_still: false, waiting: vec![call], looks, timers: BTreeMap::new() }
    }

    pub(super) fn looked(&mut self, moving: bool, now: Instant) -> Seen {
        let seen = self.looks.looked(moving, now);
        self.is_still |= seen == Seen::Still;
        seen
    }

    pub(super) fn keep_timer(&mut self, timer: Timer, left: Duration) {
        self.timers.insert(timer, left);
    }
    pub(super) fn drop_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
    pub(super) fn timers(&mut self) -> impl Iterator<Item = (Timer, Duration)> {
        std::mem::take(&mut self.timers).into_iter()
    }
}

/// A tree whose processes are being continued, one by one.
pub(super) struct GoingOn {
    /// Names it.
    pub(super) since: Instant,
    pub(super) tree: Arc<Standstill>,
    /// Who waits for it.
    pub(super) call: Option<CallId>,
    /// Its helper is to take the leader away then, whose number names the tree until then.
    pub(super) sweeps_helper: bool,
    tries: u32,
    after: Duration,
}
impl GoingOn {
    pub(super) fn begin(since: Instant, tree: Arc<Standstill>, call: Option<CallId>) -> GoingOn {
        GoingOn { since, tree, call, sweeps_helper: false, tries: 0, after: LOOK_FIRST }
    }
    /// When to try again after nobody was able to look, for want of descriptors. None: not any more.
    pub(super) fn again_at(&mut self, now: Instant) -> Option<Instant> {
        self.tries += 1;
        self.after = (self.after * 2).min(TRY_MAX);
        (self.tries < TRIES_MAX).then(|| now + self.after)
    }
}

/// All of them, by the number of the process.
#[derive(Default)]
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
        let mut frozen = Looks::new(1);
        assert_eq!(frozen.looked(true, now), Seen::LookAt(now + LOOK_FIRST));
        assert_eq!(frozen.looked(true, now), Seen::LookAt(now + 2 * LOOK_FIRST));
        assert_eq!(frozen.looked(false, now), Seen::Still);

        let mut stopped = Looks::new(STILL_LOOKS);
        assert_eq!(stopped.looked(false, now), Seen::LookAt(now));
        assert_eq!(stopped.looked(true, now), Seen::LookAt(now + LOOK_FIRST), "one was forked meanwhile");
        assert_eq!(stopped.looked(false, now), Seen::LookAt(now));
        assert_eq!(stopped.looked(false, now + 9 * LIMIT), Seen::Still, "however late it is seen");
    }

    #[test]
    fn what_never_stands_still_is_given_up() {
        let since = Instant::now();
        let (mut looks, mut now, mut count) = (Looks::new(1), since, 0);
        while let Seen::LookAt(at) = looks.looked(true, now) {
            assert!(at > now && at <= now + LOOK_MAX);
            (now, count) = (at, count + 1);
        }
        assert!(now >= since + LIMIT && now < since + LIMIT + LOOK_MAX && count < 60, "{count}");
    }
}
