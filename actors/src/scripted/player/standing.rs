//! Processes that stand still: what they had planned, and the timers that stand still with them.
//!
//! * in: freezes and thaws; that a process has no room to speak, or has it again
//! * out: the same plans and timers, later by as long as it stood still
//! * keeps: nothing happens to a process that stands still but its exit being seen

use super::{Event, Planned, Player};
use crate::backend::{KernelEvent, stands_still_with};
use crate::scripted::process::Process;
use ostler_messages::{ActorName, CallId, Event as KernelReport, Froze, NotPaused, Thawed, TimerKind};
use std::collections::BTreeMap;

type Timer = (ActorName, TimerKind);

/// What waits, with the microseconds that are left of it.
#[derive(Default)]
pub(super) struct Standing {
    plans: BTreeMap<u64, Vec<(u64, Planned)>>,
    timers: BTreeMap<u64, BTreeMap<Timer, u64>>,
}

impl Player {
    pub(super) fn freeze(&mut self, n: u64, call: CallId) {
        let refused = match self.processes.get(&n) {
            Some(process) if process.is_being_stopped() && !process.has_ended() => Some(NotPaused::Stopping),
            Some(process) if !process.has_ended() => None,
            _ => Some(NotPaused::Ended),
        };
        if refused.is_none() && !self.standing.timers.contains_key(&n) {
            let now_us = self.now_us;
            let mut kept = BTreeMap::new();
            let of_it = |timer: &Timer| stands_still_with(timer.0, timer.1) == Some(n);
            let agenda = &mut self.agenda;
            self.timers.retain(|timer, key| {
                if of_it(timer) {
                    agenda.remove(key);
                    kept.insert(*timer, key.0.saturating_sub(now_us));
                }
                !of_it(timer)
            });
            self.standing.timers.insert(n, kept);
            self.with(n, Process::pause);
        }
        self.report(Froze { n, call, refused });
    }

    pub(super) fn thaw(&mut self, n: u64, call: CallId) {
        let ended = self.processes.get(&n).is_none_or(Process::has_ended);
        self.end_pause(n);
        self.report(Thawed { n, call, ended });
    }

    /// It goes on, if it was paused.
    pub(super) fn end_pause(&mut self, n: u64) {
        let Some(timers) = self.standing.timers.remove(&n) else { return };
        self.with(n, Process::resume);
        for ((owner, kind), left_us) in timers {
            self.arm(owner, kind, self.now_us.saturating_add(left_us));
        }
    }

    /// Whether a timer is kept until its process goes on.
    pub(super) fn keeps_timer(&mut self, (owner, kind): Timer, left_us: u64) -> bool {
        let n = stands_still_with(owner, kind);
        let kept = n.and_then(|n| self.standing.timers.get_mut(&n));
        kept.map(|kept| kept.insert((owner, kind), left_us)).is_some()
    }
    pub(super) fn drops_timer(&mut self, (owner, kind): Timer) {
        let n = stands_still_with(owner, kind);
        if let Some(kept) = n.and_then(|n| self.standing.timers.get_mut(&n)) {
            kept.remove(&(owner, kind));
        }
    }

    /// The follower of a process has moved: there may be room to speak.
    pub(super) fn has_room(&mut self, n: u64) {
        self.with(n, Process::speak);
        self.look();
    }

    /// Plans what a process has planned, or keeps it while it stands still.
    pub(super) fn take_plans(&mut self, n: u64, plans: Vec<(u64, Planned)>) {
        let now_us = self.now_us;
        let stands = self.processes.get(&n).is_some_and(Process::stands);
        if !stands {
            for (left_us, planned) in self.standing.plans.remove(&n).unwrap_or_default() {
                self.plan(now_us + left_us, Event::Planned(n, planned));
            }
        } else if !self.standing.plans.contains_key(&n) {
            let mut kept = Vec::new();
            for (key, event) in std::mem::take(&mut self.agenda) {
                match event {
                    Event::Planned(whose, planned) if whose == n && planned.waits() => {
                        kept.push((key.0.saturating_sub(now_us), planned));
                    }
                    other => drop(self.agenda.insert(key, other)),
                }
            }
            self.standing.plans.insert(n, kept);
        }
        for (at_us, planned) in plans {
            match self.standing.plans.get_mut(&n).filter(|_| planned.waits()) {
                Some(kept) => kept.push((at_us.saturating_sub(now_us), planned)),
                None => drop(self.plan(at_us, Event::Planned(n, planned))),
            }
        }
    }

    /// Nothing is kept of it any more.
    pub(super) fn forget_standing(&mut self, n: u64) {
        self.standing.plans.remove(&n);
        self.standing.timers.remove(&n);
    }

    fn report(&mut self, report: impl Into<KernelReport>) {
        self.events.push_back(KernelEvent::new(ActorName::Supervisor, report));
    }
}

impl Planned {
    /// Whether it does not happen while its process stands still.
    fn waits(&self) -> bool {
        !matches!(self, Planned::ExitSeen)
    }
}
