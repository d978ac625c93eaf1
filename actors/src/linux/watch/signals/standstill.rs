//! Pauses: trees that stand still and go on.
//!
//! * in: freezes and thaws, looks at trees that are to stand still, stops and ends of paused ones
//! * out: `Froze`, `Thawed`; timers that stand still and go on
//! * keeps: whatever stops a tree, or sees its end, lets it go on first; no call waits for longer than the pause's limit

use super::State;
use crate::backend::{KernelEvent, stands_still_with};
use crate::linux::{
    contain::standstill::is_want_of_descriptors,
    watch::child::Child,
    watch::looks::{Ask, Passed},
    watch::pauses::{By, GoingOn, LIMIT, Pause, Seen},
    watch::timers::TimerKey,
};
use ostler_messages::{ActorName, CallId, Event, Freeze, Froze, NotPaused, Thaw, Thawed};
use std::{io::Write, sync::Arc, time::Instant};

impl State {
    pub(super) fn freeze(&mut self, Freeze { n, call }: &Freeze) {
        let (n, call) = (*n, *call);
        self.noticed(n);
        let refused = match self.children.0.get(&n) {
            None => Some(NotPaused::Ended),
            Some(child) if child.is_leader_dead() => Some(NotPaused::Ended),
            Some(child) if child.signalled => Some(NotPaused::Stopping),
            Some(_) => None,
        };
        if refused.is_some() {
            return self.tell_supervisor(Froze { n, call, refused });
        }
        match self.pauses.get(n) {
            Some(pause) if pause.is_still => self.tell_supervisor(Froze { n, call, refused: None }),
            Some(pause) => pause.waiting.push(call),
            None => self.begin_pause(n, call),
        }
    }

    fn begin_pause(&mut self, n: u64, call: CallId) {
        let Some(child) = self.children.0.get(&n) else { return };
        let by = match child.freeze() {
            Some(file) => By::Cgroup(file),
            None => match child.standstill() {
                Some(tree) => By::Signals(Arc::new(tree)),
                None => {
                    let reason = "no descriptor is left to look at it".to_owned();
                    return self.tell_supervisor(Froze { n, call, refused: Some(NotPaused::Failed(reason)) });
                }
            },
        };
        child.activity.pause(self.thread.clock.now_us());
        // What a pause before this one was to continue stands still again.
        self.finish_going_on(n);
        let now = Instant::now();
        let mut pause = Pause::begin(now, by, call);
        let of_it = |key: &TimerKey| matches!(key, TimerKey::Graph(owner, kind) if stands_still_with(*owner, *kind) == Some(n));
        for (key, at) in self.timers.take(of_it) {
            if let TimerKey::Graph(owner, kind) = key {
                pause.keep_timer((owner, kind), at.saturating_duration_since(now));
            }
        }
        self.pauses.begin(n, pause);
        self.look_whether_still(n);
    }

    /// Its time for a look, or for another try.
    pub(super) fn look_whether_still(&mut self, n: u64) {
        if let Some(going_on) = self.going_on.get(&n) {
            let ask = Ask::GoOn { n, since: going_on.since, tree: going_on.tree.clone() };
            // Its end is reported, as of each thread.
            let _ = self.thread.looks.send(ask);
        }
        let (Some(pause), Some(child)) = (self.pauses.get(n), self.children.0.get(&n)) else { return };
        match &pause.by {
            By::Cgroup(_) => {
                let seen = child.is_frozen().map(|still| !still);
                self.seen_moving(n, seen);
            }
            By::Signals(tree) => {
                let _ = self.thread.looks.send(Ask::Stop { n, since: pause.since, tree: tree.clone() });
            }
        }
    }

    /// The look thread has made a pass.
    pub(super) fn passed(&mut self, Passed { n, since, stopped }: Passed) {
        if self.pauses.get(n).is_some_and(|pause| pause.since == since) {
            let moving = match stopped {
                Ok(count) => Ok(count > 0),
                // Descriptors come back: until the time is up nobody is known to stand still.
                Err(error) if is_want_of_descriptors(&error) => Ok(true),
                Err(error) => Err(format!("it can't be looked at: {error}")),
            };
            self.seen_moving(n, moving);
        }
    }

    fn seen_moving(&mut self, n: u64, moving: Result<bool, String>) {
        let Some(pause) = self.pauses.get(n) else { return };
        let seen = match moving {
            Ok(moving) => pause.looked(moving, Instant::now()),
            Err(reason) => return self.end_pause(n, NotPaused::Failed(reason), None),
        };
        match seen {
            Seen::LookAt(at) => self.timers.arm(TimerKey::Standstill(n), at),
            Seen::Still => {
                for call in std::mem::take(&mut pause.waiting) {
                    self.tell_supervisor(Froze { n, call, refused: None });
                }
            }
            Seen::GivesUp => {
                let ms = LIMIT.as_millis();
                let reason = format!(
                    "not all of its processes stood still within {ms} ms; one may wait for a device, or be another user's, or no descriptor was left to look at it"
                );
                self.end_pause(n, NotPaused::Failed(reason), None);
            }
        }
    }

    pub(super) fn thaw(&mut self, Thaw { n, call }: &Thaw) {
        let (n, call) = (*n, *call);
        self.noticed(n);
        if self.pauses.is_paused(n) {
            return self.end_pause(n, NotPaused::Resumed, Some(call));
        }
        let ended = self.children.0.get(&n).is_none_or(|child| child.exit.is_some());
        self.tell_supervisor(Thawed { n, call, ended });
    }

    /// Nothing holds it any more, neither a pause nor a reader.
    pub(super) fn goes_to_its_end(&mut self, n: u64, why: NotPaused) {
        self.children.0.get_mut(&n).into_iter().for_each(Child::lift);
        self.end_pause(n, why, None);
    }

    /// It goes on: `why` is for those who wait for it to stand still, `call` is told when it does go on.
    fn end_pause(&mut self, n: u64, why: NotPaused, call: Option<CallId>) {
        let Some(mut pause) = self.pauses.end(n) else { return };
        self.timers.disarm(TimerKey::Standstill(n));
        if let Some(child) = self.children.0.get(&n) {
            child.activity.resume(self.thread.clock.now_us());
        }
        let now = Instant::now();
        for ((owner, kind), left) in pause.timers() {
            self.timers.arm(TimerKey::Graph(owner, kind), now + left);
        }
        for waiting in std::mem::take(&mut pause.waiting) {
            self.tell_supervisor(Froze { n, call: waiting, refused: Some(why.clone()) });
        }
        match pause.by {
            By::Cgroup(mut file) => {
                // Refused only when it is gone, and everybody in it.
                let _ = file.write_all(b"0");
                call.into_iter().for_each(|call| self.tell_supervisor(Thawed { n, call, ended: false }));
            }
            By::Signals(tree) => {
                self.going_on.insert(n, GoingOn::begin(pause.since, tree, call));
                self.look_whether_still(n);
            }
        }
    }

    /// The look thread has continued everybody, or was not able to look.
    pub(super) fn went_on(&mut self, n: u64, since: Instant, done: bool) {
        let Some(going_on) = self.going_on.get_mut(&n).filter(|going_on| going_on.since == since) else {
            return;
        };
        let is_there = self.children.0.contains_key(&n);
        if !done
            && is_there
            && let Some(at) = going_on.again_at(Instant::now())
        {
            return self.timers.arm(TimerKey::Standstill(n), at);
        }
        self.finish_going_on(n);
    }

    fn finish_going_on(&mut self, n: u64) {
        let Some(GoingOn { call, sweeps_helper, .. }) = self.going_on.remove(&n) else { return };
        self.timers.disarm(TimerKey::Standstill(n));
        call.into_iter().for_each(|call| self.tell_supervisor(Thawed { n, call, ended: false }));
        if let Some(child) = self.children.0.get(&n).filter(|_| sweeps_helper) {
            child.sweep_helper();
        }
    }

    /// Lets the helper take the leader's zombie away, but not while that names those who are to be continued.
    pub(super) fn sweep_helper(&mut self, n: u64) {
        match (self.going_on.get_mut(&n), self.children.0.get(&n)) {
            (Some(going_on), _) => going_on.sweeps_helper = true,
            (None, Some(child)) => child.sweep_helper(),
            (None, None) => {}
        }
    }

    pub(super) fn tell_supervisor(&self, body: impl Into<Event>) {
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Supervisor, body));
    }
}
