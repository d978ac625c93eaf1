//! When virtual time moves, and how far.
//!
//! * in: that the host is idle, what it waits for, how far a test lets time go
//! * out: the next event of the world, or an answer to whoever waited for time alone
//! * keeps: after an answer to a host that was idle no time passes before it is idle again

use super::{Event, Player};
use crate::backend::{HostInput, Input, OutputWatch, Pace, Subscriber, WorldInput};
use ostler_messages::CallId;
use std::{collections::BTreeSet, sync::Arc};

/// Who waits for time to move.
pub(super) struct Waits {
    pace: Arc<Pace>,
    /// The host is idle, and nothing was answered since it said so.
    idle: bool,
    /// Calls for which the host does nothing but wait.
    pub(super) blocked: BTreeSet<CallId>,
    /// Readers that wait for output, with the time until which they do.
    watching: Vec<(u64, OutputWatch)>,
    /// Subscribers for whose news the host does nothing but wait.
    listening: Vec<Arc<Subscriber>>,
    /// Nobody is left who could wait: time runs to the end of everything.
    host_gone: bool,
    advancing: Option<(u64, oneshot::Sender<()>)>,
    quieting: Option<Quieting>,
}
/// A test lets time go until nothing happens.
struct Quieting {
    events_left: u64,
    since_us: u64,
    done: oneshot::Sender<(u64, Vec<String>)>,
}

impl Waits {
    pub(super) fn new(pace: Arc<Pace>) -> Waits {
        Waits {
            pace,
            idle: false,
            blocked: BTreeSet::new(),
            watching: Vec::new(),
            listening: Vec::new(),
            host_gone: false,
            advancing: None,
            quieting: None,
        }
    }
    fn idle_as_of(&mut self, answers: u64) {
        self.idle |= self.pace.is_current(answers);
    }
    pub(super) fn holds(&self) -> bool {
        self.pace.holds()
    }
    /// Nobody waits for the host's turn any more.
    pub(super) fn tell_all(&self) {
        while self.pace.holds() {
            self.pace.tell();
        }
    }
    /// Whether the next may be told: the host has looked at what came before, or does not look.
    fn is_turn(&self) -> bool {
        self.idle || self.host_gone || self.advancing.is_some() || self.quieting.is_some()
    }
    fn somebody(&self) -> bool {
        !self.blocked.is_empty() || !self.listening.is_empty() || !self.watching.is_empty()
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.tell_all();
    }
}

/// How many of the things that would still happen a report names.
const STILL_MOVING_MAX: usize = 8;

impl OutputWatch {
    fn is_ready(&self) -> bool {
        self.growth.ready(self.which, self.offset)
    }
}

impl Player {
    /// What is the world's business alone is not given to the graph.
    pub(super) fn take(&mut self, input: Option<HostInput>) -> Option<Input> {
        let input = match input? {
            HostInput::World(input) => input,
            other => {
                self.waits.host_gone |= matches!(other, HostInput::HostGone(_));
                return Some(Input::Host(other));
            }
        };
        match input {
            WorldInput::Blocked(call) => {
                self.waits.blocked.insert(call);
                // It may have been answered meanwhile: the graph looks.
                return Some(Input::Host(HostInput::World(WorldInput::Blocked(call))));
            }
            WorldInput::Idle(answers) => self.waits.idle_as_of(answers),
            WorldInput::Listens(subscriber) => {
                if !self.waits.listening.iter().any(|other| Arc::ptr_eq(other, &subscriber)) {
                    self.waits.listening.push(subscriber);
                }
            }
            WorldInput::Watch(watch) => {
                let until = self.now_us.saturating_add(watch.wait_ms.saturating_mul(1_000));
                self.waits.watching.push((until, watch));
            }
            WorldInput::Left { taken } => {
                self.waits.watching.retain(|(_, watch)| !watch.done.is_closed());
                self.waits.listening.retain(|subscriber| subscriber.waits());
                self.answered();
                drop(taken);
            }
            WorldInput::Crash { done } => {
                self.crash();
                // Heard when the graph has ended.
                self.dying = Some(done);
            }
            WorldInput::Advance { by_ms, done } => {
                let until = self.now_us.saturating_add(by_ms.saturating_mul(1_000));
                self.waits.advancing = Some((until, done));
            }
            WorldInput::UntilQuiet { max_events, done } => {
                let since_us = self.now_us;
                self.waits.quieting = Some(Quieting { events_left: max_events, since_us, done });
            }
        }
        None
    }

    /// A wait of the host's is over: it is not idle before it says so again.
    pub(super) fn answered(&mut self) {
        self.waits.idle = false;
        self.waits.pace.answered();
    }

    /// Moves time to the next event, if it may move. True if something was done.
    pub(super) fn step(&mut self) -> bool {
        if self.waits.holds() {
            if self.waits.is_turn() {
                self.waits.pace.tell();
                self.answered();
                return true;
            }
            return false;
        }
        if let Some(ready) = self.waits.watching.iter().position(|(_, watch)| watch.is_ready()) {
            if !self.waits.is_turn() {
                return false;
            }
            let (until, watch) = self.waits.watching.remove(ready);
            // A reader that is gone has what it wanted.
            let _ = watch.done.send(until.saturating_sub(self.now_us) / 1_000);
            self.answered();
            return true;
        }
        let before = self.waits.listening.len();
        self.waits.listening.retain(|subscriber| subscriber.waits());
        if self.waits.listening.len() < before {
            self.answered();
            return true;
        }
        let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let given_up = self.waits.watching.iter().map(|(until, _)| *until).min();
        if let Some(quieting) = &mut self.waits.quieting {
            let over = quieting.events_left == 0 || (next.is_none() && given_up.is_none());
            quieting.events_left = quieting.events_left.saturating_sub(1);
            if over && let Some(Quieting { since_us, done, .. }) = self.waits.quieting.take() {
                // A host that no longer waits for it has what it wanted.
                let _ = done.send((self.now_us - since_us, self.still_moving()));
                return true;
            }
        }
        let waits = self.waits.host_gone
            || self.waits.quieting.is_some()
            || (self.waits.idle && self.waits.somebody());
        let until = match (&self.waits.advancing, waits) {
            (Some((until, _)), _) => *until,
            (None, true) => u64::MAX,
            (None, false) => return false,
        };
        if let Some(at) = given_up.filter(|at| *at <= until && next.is_none_or(|next| next > *at)) {
            self.now_us = at;
            if let Some(over) = self.waits.watching.iter().position(|(until, _)| *until <= at) {
                let _ = self.waits.watching.remove(over).1.done.send(0);
            }
            self.answered();
            return true;
        }
        if next.is_none_or(|at| at > until) {
            let Some((until, done)) = self.waits.advancing.take() else { return false };
            self.now_us = until;
            // A host that no longer waits for it has what it wanted.
            let _ = done.send(());
            return true;
        }
        let Some(((at, _), event)) = self.agenda.pop_first() else { return false };
        self.now_us = at;
        match event {
            Event::Timer(owner, kind) => self.fire(owner, kind),
            Event::Quiet => {}
            Event::Written(append) => self.written(&append),
            Event::Claimed(session_id) => self.claimed(session_id),
            Event::Probe => self.probe(),
            Event::Start(exec) => self.start(&exec),
            Event::Seal(seal) => self.seal(&seal),
            Event::Planned(n, planned) => self.with(n, |process, now| process.happen(planned, now)),
        }
        self.look();
        true
    }

    /// What would happen next, in words.
    fn still_moving(&self) -> Vec<String> {
        let mut next: Vec<String> = Vec::new();
        for ((at_us, _), event) in self.agenda.iter().take(STILL_MOVING_MAX) {
            let what = match event {
                Event::Timer(owner, kind) => format!("the timer {kind:?} of {owner}"),
                Event::Quiet => "the end of a line that stays open".to_owned(),
                Event::Written(_) | Event::Claimed(_) => "a write to the journal".to_owned(),
                Event::Probe => "another try of a journal that can't be written".to_owned(),
                Event::Start(exec) => format!("the start of process/{} ({})", exec.n, exec.request.display()),
                Event::Seal(seal) => format!("the last write of process/{}", seal.n),
                Event::Planned(n, _) => format!("a step of process/{n}"),
            };
            next.push(format!("at {} ms {what}", at_us / 1_000));
        }
        next
    }
}
