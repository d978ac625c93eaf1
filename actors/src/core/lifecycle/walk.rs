//! Visits every reachable state of a [`Life`] in a world that does whatever a kernel can do, and holds each step against
//! the rules. A rule that is broken shows the shortest way to it.

#[path = "walk_rules.rs"]
mod rules;
#[path = "walk_world.rs"]
mod world;

use super::{
    super::explore::{Space, explore},
    Effect, Effects, Event, Failure, Life, Phase, Plan, TIMERS,
};
use ostler_messages::{Cause, StopSignal, Stream, SweepFor, TimerKind};
use rules::Past;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use world::{Step, World, is_armed};

/// Every stop that the graph knows, at any time and as often as you like: states are finite, so no bound is needed.
const STOPS: [Cause; 8] = [
    Cause::Cancelled,
    Cause::SessionEnded,
    Cause::LeaseLost,
    Cause::HostGone,
    Cause::Deadline,
    Cause::Idle,
    Cause::OutputLimit,
    Cause::Lost,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    life: Life,
    world: World,
    past: Past,
}

/// What all walks together have come by.
#[derive(Default)]
struct Sights {
    states: usize,
    phases: BTreeSet<Phase>,
    effects: BTreeSet<Effect>,
    commands: u32,
    /// In which phase which kind of event led to which phases.
    table: BTreeMap<(&'static str, Phase), BTreeSet<Phase>>,
}

/// The kinds of events, in the order of the table's lines.
const KINDS: [&str; 10] = [
    "Started",
    "StartFailed",
    "Stop",
    "Exited",
    "Closed",
    "DrainDown",
    "TimerFired",
    "TreeAlive",
    "TreeEmpty",
    "Sealed",
];
const PHASES: [Phase; 8] = [
    Phase::Starting,
    Phase::Running,
    Phase::Terminating,
    Phase::Killing,
    Phase::Draining,
    Phase::Sweeping,
    Phase::Sealing,
    Phase::Kept,
];

fn kind(event: Event) -> &'static str {
    match event {
        Event::Started => "Started",
        Event::StartFailed => "StartFailed",
        Event::Stop(_) => "Stop",
        Event::Exited { .. } => "Exited",
        Event::Closed(_) => "Closed",
        Event::DrainDown(_) => "DrainDown",
        Event::TimerFired(_) => "TimerFired",
        Event::TreeAlive => "TreeAlive",
        Event::TreeEmpty => "TreeEmpty",
        Event::Sealed => "Sealed",
    }
}

/// The table at the head of `lifecycle.rs`: what each event leads to in each phase. A dash: it does not happen there. A dot: the
/// life stays in its phase.
fn table(sights: &Sights) -> String {
    let names = PHASES.map(|phase| format!("{phase:?}"));
    let mut table = format!("| event | {} |\n|{}\n", names.join(" | "), "---|".repeat(PHASES.len() + 1));
    for kind in KINDS {
        let cells = PHASES.map(|phase| match sights.table.get(&(kind, phase)) {
            None => "–".to_owned(),
            Some(to) => {
                let name = |to: &Phase| if *to == phase { "·".to_owned() } else { format!("{to:?}") };
                to.iter().map(name).collect::<Vec<_>>().join(" ")
            }
        });
        let _ = writeln!(table, "| {kind} | {} |", cells.join(" | "));
    }
    table
}

/// One walk.
struct Walk<'a> {
    sights: &'a mut Sights,
}

impl Walk<'_> {
    fn from(plan: Plan, life: Life, effects: &Effects, world: World, recovered: bool, sights: &mut Sights) {
        let mut first = State { life, world, past: Past::new(recovered) };
        assert_eq!(first.perform(effects, sights), Ok(()), "at the beginning of {plan:?}");
        let states = explore(&mut Walk { sights }, &first);
        sights.states += states;
    }
}

impl Space for Walk<'_> {
    type State = State;
    type Step = Step;
    type Key = State;

    fn key(&self, state: &State) -> State {
        *state
    }

    fn steps(&self, state: &State) -> Vec<Step> {
        if state.life.phase == Phase::Done {
            return Vec::new();
        }
        let mut steps = state.world.steps();
        steps.extend(STOPS.map(|cause| Step::Tells(Event::Stop(cause))));
        steps
    }

    fn take(&mut self, state: &State, step: Step) -> Result<State, String> {
        let next = state.take(step, self.sights)?;
        self.sights.phases.extend([state.life.phase, next.life.phase]);
        self.sights.commands = self.sights.commands.max(next.past.commands());
        Ok(next)
    }

    fn rests(&self, state: &State) -> Result<(), String> {
        state.rests()
    }

    fn tell(&self, state: &State, step: Step) -> String {
        let mut world = state.world;
        let event = world.take(step);
        let effects = event.map(|event| state.life.step(event).1).unwrap_or_default();
        format!("{:?}: {step:?} {event:?} → {effects:?}", state.life.phase)
    }
}

impl State {
    /// One step, held against the rules.
    fn take(mut self, step: Step, sights: &mut Sights) -> Result<State, String> {
        let State { world, past: before, .. } = self;
        let Some(event) = self.world.take(step) else { return Ok(self) };
        self.past.hear(event);
        if !self.life.may_meet(event) {
            return Err(format!("{event:?} was not expected"));
        }
        let (life, effects) = self.life.step(event);
        sights.table.entry((kind(event), self.life.phase)).or_default().insert(life.phase);
        self.life = life;
        self.perform(&effects, sights)?;
        self.past.judge(&before, &world, event, &effects)?;
        self.forget_which_stream();
        Ok(self)
    }

    /// The two streams are alike: of two states that differ only in their names one is visited.
    fn forget_which_stream(&mut self) {
        let [out, err] = Stream::BOTH.map(|s| (self.world.streams[s.index()], self.life.open[s.index()]));
        if out > err {
            self.world.streams.swap(0, 1);
            self.life.open.swap(0, 1);
        }
    }

    fn perform(&mut self, effects: &Effects, sights: &mut Sights) -> Result<(), String> {
        for effect in effects {
            self.past.witness(*effect, &self.life, &self.world)?;
            self.world.perform(*effect);
            sights.effects.insert(*effect);
        }
        Ok(())
    }

    /// Between two steps.
    fn rests(&self) -> Result<(), String> {
        self.past.settle(&self.life, &self.world)?;
        self.late_events_mean_nothing()
    }

    /// A timer that is not armed may still fire once, because it had fired when it was disarmed; and nothing follows the end.
    fn late_events_mean_nothing(&self) -> Result<(), String> {
        let late = TIMERS.into_iter().filter(|timer| !is_armed(&self.world, *timer)).map(Event::TimerFired);
        let done = self.life.phase == Phase::Done;
        for event in late.chain(every_event().filter(|_| done)) {
            let (life, effects) = self.life.step(event);
            if life != self.life || !effects.is_empty() {
                return Err(format!("{event:?} comes late and does something: {effects:?}"));
            }
        }
        Ok(())
    }
}

fn every_event() -> impl Iterator<Item = Event> + Clone {
    let mut events =
        vec![Event::Started, Event::StartFailed, Event::TreeAlive, Event::TreeEmpty, Event::Sealed];
    for signalled in [false, true] {
        events.extend([false, true].map(|tree_empty| Event::Exited { signalled, tree_empty }));
    }
    events.extend(Stream::BOTH.map(Event::Closed));
    events.extend(Stream::BOTH.map(Event::DrainDown));
    events.extend(STOPS.map(Event::Stop));
    events.into_iter()
}

fn every_effect() -> BTreeSet<Effect> {
    let mut effects =
        BTreeSet::from([Effect::Exec, Effect::Seal, Effect::ReplyLaunched, Effect::ReplyReleased]);
    effects.extend(TIMERS.map(Effect::Arm));
    effects.extend(TIMERS.map(Effect::Disarm));
    effects.extend([StopSignal::Terminate, StopSignal::Kill].map(Effect::Signal));
    effects.extend(Stream::BOTH.map(Effect::CloseStream));
    effects.extend(Stream::BOTH.map(Effect::CloseOrphan));
    effects.extend([SweepFor::Watch, SweepFor::Terminate, SweepFor::Kill, SweepFor::Keep].map(Effect::Sweep));
    effects.extend([Failure::Refused, Failure::TimedOut, Failure::Undone].map(Effect::ReplyFailed));
    effects.extend([false, true].map(|kept| Effect::Finish { kept }));
    effects.extend([false, true].map(|undo| Effect::Release { undo }));
    effects
}

fn every_plan() -> impl Iterator<Item = Plan> {
    (0..8).map(|bits| Plan { deadline: bits & 1 != 0, idle: bits & 2 != 0, keep: bits & 4 != 0 })
}

/// Exactly: another number means that the walk goes other ways than before, and somebody has to say why.
const STATES: usize = 1_066_052;
const STATES_AFTER_CRASHES: usize = 52_296;
/// Commands that one life can have sent to the kernel when nothing of it has been done yet. Its ticker adds a
/// timer and a peek. So the queues into the kernel's threads, which are unbounded in type, hold at most that many for each
/// live handle.
const COMMANDS: u32 = 22;

#[test]
fn every_life_keeps_its_promises_whatever_the_world_does() {
    let mut sights = Sights::default();
    for plan in every_plan() {
        let (life, effects) = Life::begin(plan);
        Walk::from(plan, life, &effects, World::new(), false, &mut sights);
    }
    let unseen: Vec<_> = every_effect().difference(&sights.effects).copied().collect();
    assert_eq!(unseen, []);
    assert_eq!(sights.phases.len(), 9);
    assert_eq!(sights.states, STATES);
    assert_eq!(sights.commands, COMMANDS);
    for (phase, event) in PHASES.into_iter().flat_map(|phase| every_event().map(move |event| (phase, event)))
    {
        let (life, _) = Life::begin(Plan { deadline: false, idle: false, keep: false });
        let expected = Life { phase, ..life }.may_meet(event);
        assert!(
            !expected || sights.table.contains_key(&(kind(event), phase)),
            "{event:?} in {phase:?} never happens"
        );
    }
    let table = table(&sights);
    assert_eq!(include_str!("table.md"), table, "write this to lifecycle/table.md:\n{table}");
}

#[test]
fn whoever_takes_over_after_a_crash_ends_it_whatever_state_it_was_in() {
    let mut sights = Sights::default();
    for plan in every_plan() {
        // Each of these was armed by some life with such a plan when its actor crashed.
        let old = TIMERS.into_iter().filter(|timer| match timer {
            TimerKind::Deadline => plan.deadline,
            TimerKind::Idle => plan.idle,
            _ => *timer != TimerKind::StartTimeout,
        });
        let old: Vec<_> = old.collect();
        for world in World::after_crashes(&[]).into_iter().chain(World::after_crashes(&old)) {
            let (life, effects) = Life::recover(plan);
            Walk::from(plan, life, &effects, world, true, &mut sights);
        }
    }
    assert_eq!(sights.states, STATES_AFTER_CRASHES);
    assert!(sights.commands <= COMMANDS);
}

#[test]
fn only_a_launch_that_was_ended_is_undone_and_only_one_that_timed_out_may_still_start() {
    let plan = Plan { deadline: false, idle: false, keep: false };
    let (life, _) = Life::begin(plan);
    assert!(!life.undone());
    assert!(life.step(Event::Stop(Cause::SessionEnded)).0.undone());
    let failed = |event| life.step(event).1;
    assert!(failed(Event::StartFailed).contains(&Effect::Release { undo: false }));
    assert!(failed(Event::TimerFired(TimerKind::StartTimeout)).contains(&Effect::Release { undo: true }));
}
