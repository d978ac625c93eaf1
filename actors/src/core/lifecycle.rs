//! The life of a process as a pure function: `(life, event) -> (life, effects)`.
//!
//! * in: [`Event`]s, from the kernel, the drains, and the Supervisor;
//! * out: [`Effect`]s, which [`ProcessActor`](crate::graph) performs.
//!
//! Invariant: one result for each life that was launched, and nothing after its end. Nothing here knows a clock, a pid or an
//! actor. `walk.rs` visits every reachable state, asserts what must hold in all of them, and makes this table: what each event
//! leads to in each phase. A dash: it does not happen there. A dot: the life stays in its phase. A second cancel means now:
//! that is decided in `stop`.
//!
#![doc = include_str!("lifecycle/table.md")]

mod events;
#[cfg(test)]
mod walk;

pub(crate) use events::{Effect, Event, Failure, Phase, Plan};
use ostler_messages::{Cause, Status, StopCause, StopSignal, Stream, SweepFor, TimerKind};

/// The timers of a life, as bits. Each is armed at most once, so a late firing can't be taken for a new one.
const TIMERS: [TimerKind; 8] = [
    TimerKind::StartTimeout,
    TimerKind::Deadline,
    TimerKind::Idle,
    TimerKind::Grace,
    TimerKind::DrainGrace,
    TimerKind::LeftoversGrace,
    TimerKind::Unkillable,
    TimerKind::SealTimeout,
];

fn bit(timer: TimerKind) -> u8 {
    TIMERS.iter().position(|t| *t == timer).map_or(0, |n| 1 << n)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Life {
    plan: Plan,
    phase: Phase,
    /// The first one; never rewritten.
    cause: Option<Cause>,
    /// A `Cancel` was heard: the next one means now, unless it only says that the lease is lost.
    asked: bool,
    /// What the tree has been sent, or was about to be sent when its leader was found dead.
    sent: Option<StopSignal>,
    /// Whether a signal of ours had gone out before the leader's exit.
    exited: Option<bool>,
    /// Nobody else of the tree lived when the leader's exit was seen: there is nothing to look for.
    tree_empty: bool,
    open: [bool; 2],
    armed: u8,
    /// The session ended during the launch: no handle, no result.
    undo: bool,
    /// Leftovers live on after the result.
    kept: bool,
    /// Why leftovers that were to be kept are to be stopped once the result is sealed.
    end_kept: Option<Cause>,
    /// The result is out.
    reported: bool,
}

/// A life and what is to be done; the effects of one event.
pub(crate) type Effects = Vec<Effect>;

impl Life {
    pub(crate) fn begin(plan: Plan) -> (Life, Effects) {
        let mut life = Life {
            plan,
            phase: Phase::Starting,
            cause: None,
            asked: false,
            sent: None,
            exited: None,
            tree_empty: false,
            open: [true; 2],
            armed: 0,
            undo: false,
            kept: false,
            end_kept: None,
            reported: false,
        };
        let mut effects = vec![Effect::Exec];
        life.arm(TimerKind::StartTimeout, &mut effects);
        (life, effects)
    }

    /// Takes over a running process from an actor that crashed: whatever state it was in, its tree is killed.
    /// The kernel reports again what it reported before.
    pub(crate) fn recover(plan: Plan) -> (Life, Effects) {
        let (mut life, _) = Life::begin(plan);
        life.armed = 0;
        life.phase = Phase::Running;
        life.open = [false; 2];
        let mut effects = Stream::BOTH.map(Effect::CloseOrphan).to_vec();
        // What the other had armed is not known. The rest of the timers are armed anew in any case.
        let limits = [(plan.deadline, TimerKind::Deadline), (plan.idle, TimerKind::Idle)];
        let limits = limits.into_iter().filter_map(|(has, timer)| has.then_some(timer));
        let old = limits.chain([TimerKind::Grace, TimerKind::DrainGrace, TimerKind::LeftoversGrace]);
        effects.extend(old.map(Effect::Disarm));
        life.stop(Cause::Lost, &mut effects);
        (life, effects)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the session ended during the launch: there is to be no trace of it.
    pub(crate) fn undone(&self) -> bool {
        self.undo
    }

    /// What the result says. A leader that was dead before the first signal ended by itself, whatever was asked.
    pub(crate) fn status(&self) -> Status {
        match (self.cause, self.exited) {
            (Some(Cause::Lost), _) => Status::Lost,
            (None, _) | (_, Some(false)) => Status::Completed,
            (Some(Cause::Deadline | Cause::Idle), _) => Status::TimedOut,
            (Some(Cause::Cancelled | Cause::SessionEnded | Cause::LeaseLost), _) => Status::Killed,
            (Some(Cause::HostGone | Cause::OutputLimit), _) => Status::Killed,
        }
    }

    /// Who or what ended it: none exactly for what ended by itself, whatever was asked.
    pub(crate) fn stop_cause(&self) -> Option<StopCause> {
        let cause = self.cause.filter(|_| self.status() != Status::Completed)?;
        Some(match cause {
            Cause::Cancelled => StopCause::Cancelled,
            Cause::SessionEnded => StopCause::SessionEnded,
            Cause::LeaseLost => StopCause::LeaseLost,
            Cause::HostGone => StopCause::HostGone,
            Cause::Deadline => StopCause::Deadline,
            Cause::Idle => StopCause::Idle,
            Cause::OutputLimit => StopCause::OutputLimit,
            Cause::Lost => StopCause::Crashed,
        })
    }

    /// Whether this can happen now, in a world that keeps to its protocol; what comes late can. The dashes of the table.
    pub(crate) fn may_meet(&self, event: Event) -> bool {
        match event {
            // Of what was on its way to the actor before this one, anything can come.
            _ if self.phase == Phase::Done || self.cause == Some(Cause::Lost) => true,
            Event::Stop(_) | Event::TimerFired(_) => true,
            Event::Started | Event::StartFailed => self.phase == Phase::Starting,
            Event::Exited { .. } => !matches!(self.phase, Phase::Starting | Phase::Kept),
            Event::Closed(_) | Event::DrainDown(_) => self.phase != Phase::Starting,
            Event::TreeAlive => matches!(self.phase, Phase::Sweeping | Phase::Sealing),
            Event::TreeEmpty => matches!(self.phase, Phase::Sweeping | Phase::Sealing | Phase::Kept),
            Event::Sealed => matches!(self.phase, Phase::Sweeping | Phase::Sealing | Phase::Kept),
        }
    }

    pub(crate) fn step(mut self, event: Event) -> (Life, Effects) {
        let mut effects = Effects::new();
        let out = &mut effects;
        match (self.phase, event) {
            (Phase::Done, _) => {}
            (Phase::Starting, Event::Started) => self.started(out),
            (Phase::Starting, Event::StartFailed) => self.fail(Failure::Refused, out),
            (_, Event::Stop(cause)) => self.stop(cause, out),
            (
                Phase::Running | Phase::Terminating | Phase::Killing,
                Event::Exited { signalled, tree_empty },
            ) => {
                self.exited(signalled, tree_empty, out);
            }
            (_, Event::Closed(stream)) => self.closed(stream, out),
            (_, Event::DrainDown(stream)) => {
                if self.open[stream.index()] {
                    out.push(Effect::CloseOrphan(stream));
                }
                self.closed(stream, out);
            }
            (_, Event::TimerFired(timer)) => self.fired(timer, out),
            (Phase::Sweeping, Event::TreeAlive) => self.tree_alive(out),
            (Phase::Sweeping, Event::TreeEmpty) => self.over(out),
            (Phase::Kept, Event::TreeEmpty) => self.over(out),
            // What was to be kept has ended by itself.
            (Phase::Sealing, Event::TreeEmpty) => self.kept = false,
            (Phase::Sealing, Event::Sealed) => self.sealed(out),
            // What comes late, or can't happen: nothing is done about either.
            (
                _,
                Event::Started
                | Event::StartFailed
                | Event::Exited { .. }
                | Event::TreeAlive
                | Event::TreeEmpty
                | Event::Sealed,
            ) => {}
        }
        (self, effects)
    }

    fn started(&mut self, out: &mut Effects) {
        self.disarm(TimerKind::StartTimeout, out);
        self.phase = Phase::Running;
        if self.undo {
            return self.kill_leader(out);
        }
        if self.plan.deadline {
            self.arm(TimerKind::Deadline, out);
        }
        if self.plan.idle {
            self.arm(TimerKind::Idle, out);
        }
        out.push(Effect::ReplyLaunched);
    }

    fn stop(&mut self, cause: Cause, out: &mut Effects) {
        let now = matches!(cause, Cause::HostGone | Cause::Lost) || (cause == Cause::Cancelled && self.asked);
        self.asked |= matches!(cause, Cause::Cancelled | Cause::LeaseLost);
        // What is being sealed says already how it ended.
        let first = self.cause.is_none() && !self.reported && self.phase != Phase::Sealing;
        if first {
            self.cause = Some(cause);
        }
        match self.phase {
            Phase::Starting => self.undo = true,
            Phase::Running if now => self.kill_leader(out),
            Phase::Running => {
                self.disarm(TimerKind::Deadline, out);
                self.disarm(TimerKind::Idle, out);
                self.phase = Phase::Terminating;
                self.sent = Some(StopSignal::Terminate);
                out.push(Effect::Signal(StopSignal::Terminate));
                self.arm(TimerKind::Grace, out);
            }
            Phase::Terminating if now => self.kill_leader(out),
            // Only strangers hold the pipes.
            Phase::Draining if self.tree_empty && (now || first) => self.sweep(out),
            Phase::Draining if now => self.kill_rest(out),
            Phase::Draining if first => {
                self.sent = Some(StopSignal::Terminate);
                self.arm(TimerKind::Grace, out);
                self.sweep(out);
            }
            Phase::Sweeping if now && self.sent != Some(StopSignal::Kill) => self.kill_rest(out),
            Phase::Sweeping if first && self.plan.keep && self.sent.is_none() => {
                self.sent = Some(StopSignal::Terminate);
                out.push(Effect::Sweep(SweepFor::Terminate));
                self.arm(TimerKind::Grace, out);
            }
            Phase::Sealing if self.kept => match cause {
                Cause::HostGone | Cause::Lost => self.end_kept = Some(cause),
                Cause::Cancelled if now => self.end_kept = Some(Cause::HostGone),
                Cause::Cancelled | Cause::SessionEnded | Cause::LeaseLost => {
                    self.end_kept = self.end_kept.or(Some(cause));
                }
                Cause::Deadline | Cause::Idle | Cause::OutputLimit => {}
            },
            Phase::Kept if now => self.kill_rest(out),
            Phase::Kept if matches!(cause, Cause::Cancelled | Cause::SessionEnded | Cause::LeaseLost) => {
                self.phase = Phase::Sweeping;
                self.sent = Some(StopSignal::Terminate);
                out.push(Effect::Sweep(SweepFor::Terminate));
                self.arm(TimerKind::LeftoversGrace, out);
            }
            // Joins what is under way.
            Phase::Terminating | Phase::Killing | Phase::Draining | Phase::Sweeping => {}
            Phase::Sealing | Phase::Kept | Phase::Done => {}
        }
    }

    fn exited(&mut self, signalled: bool, tree_empty: bool, out: &mut Effects) {
        self.disarm(TimerKind::Deadline, out);
        self.disarm(TimerKind::Idle, out);
        self.exited = Some(signalled);
        self.tree_empty = tree_empty;
        if self.open == [false; 2] || self.undo {
            return self.sweep(out);
        }
        self.phase = Phase::Draining;
        self.arm(TimerKind::DrainGrace, out);
    }

    fn closed(&mut self, stream: Stream, out: &mut Effects) {
        self.open[stream.index()] = false;
        if self.phase == Phase::Draining && self.open == [false; 2] {
            self.sweep(out);
        }
    }

    fn fired(&mut self, timer: TimerKind, out: &mut Effects) {
        if self.armed & bit(timer) == 0 {
            return;
        }
        self.armed &= !bit(timer);
        match (self.phase, timer) {
            (Phase::Starting, TimerKind::StartTimeout) => self.fail(Failure::TimedOut, out),
            (Phase::Running, TimerKind::Deadline) => self.stop(Cause::Deadline, out),
            (Phase::Running, TimerKind::Idle) => self.stop(Cause::Idle, out),
            (Phase::Terminating, TimerKind::Grace) => self.kill_leader(out),
            (Phase::Draining, TimerKind::DrainGrace) => self.sweep(out),
            (Phase::Draining | Phase::Sweeping, TimerKind::Grace | TimerKind::LeftoversGrace) => {
                self.kill_rest(out);
            }
            (Phase::Killing | Phase::Draining | Phase::Sweeping, TimerKind::Unkillable) => self.over(out),
            (Phase::Sealing, TimerKind::SealTimeout) => self.sealed(out),
            _ => {}
        }
    }

    /// Nobody has looked at the tree yet, or the leader is not known to be dead.
    fn kill_leader(&mut self, out: &mut Effects) {
        self.disarm(TimerKind::Deadline, out);
        self.disarm(TimerKind::Idle, out);
        self.disarm(TimerKind::Grace, out);
        self.phase = Phase::Killing;
        self.sent = Some(StopSignal::Kill);
        out.push(Effect::Signal(StopSignal::Kill));
        self.arm(TimerKind::Unkillable, out);
    }

    /// The leader is dead: no grace is left for the others.
    fn kill_rest(&mut self, out: &mut Effects) {
        self.disarm(TimerKind::Grace, out);
        self.disarm(TimerKind::LeftoversGrace, out);
        // Whoever was killed before its leader's death has its time already: it doesn't begin anew.
        if self.sent.replace(StopSignal::Kill) != Some(StopSignal::Kill) {
            self.arm(TimerKind::Unkillable, out);
        }
        self.sweep(out);
    }

    /// The record of the streams ends here, then the tree is looked at, unless it is known to be empty.
    fn sweep(&mut self, out: &mut Effects) {
        self.disarm(TimerKind::DrainGrace, out);
        for stream in Stream::BOTH {
            if std::mem::take(&mut self.open[stream.index()]) {
                out.push(Effect::CloseStream(stream));
            }
        }
        if self.tree_empty {
            return self.over(out);
        }
        self.phase = Phase::Sweeping;
        let to = match (self.sent, self.exited) {
            (Some(StopSignal::Kill), _) => SweepFor::Kill,
            // A second SIGTERM means something else to many programs.
            (Some(StopSignal::Terminate), Some(true)) => SweepFor::Watch,
            (Some(StopSignal::Terminate), _) => SweepFor::Terminate,
            (None, _) if self.plan.keep => SweepFor::Keep,
            (None, _) => SweepFor::Terminate,
        };
        out.push(Effect::Sweep(to));
        // With the sweep, not with the first who is seen: there may be some whom no look shows.
        if to == SweepFor::Terminate && self.sent.is_none() {
            self.sent = Some(StopSignal::Terminate);
            self.arm(TimerKind::LeftoversGrace, out);
        }
    }

    fn tree_alive(&mut self, out: &mut Effects) {
        if self.sent.is_none() && self.plan.keep {
            self.kept = true;
            self.seal(out);
        }
    }

    /// Nothing more is to be waited for: the tree is gone, or can't be killed.
    fn over(&mut self, out: &mut Effects) {
        for timer in
            [TimerKind::Grace, TimerKind::DrainGrace, TimerKind::LeftoversGrace, TimerKind::Unkillable]
        {
            self.disarm(timer, out);
        }
        if self.reported {
            self.phase = Phase::Done;
            out.extend([Effect::Release { undo: false }, Effect::ReplyReleased]);
        } else {
            self.seal(out);
        }
    }

    fn seal(&mut self, out: &mut Effects) {
        self.phase = Phase::Sealing;
        self.open = [false; 2];
        out.push(Effect::Seal);
        self.arm(TimerKind::SealTimeout, out);
    }

    fn sealed(&mut self, out: &mut Effects) {
        self.disarm(TimerKind::SealTimeout, out);
        if self.undo {
            return self.fail(Failure::Undone, out);
        }
        self.reported = true;
        out.push(Effect::Finish { kept: self.kept });
        if !self.kept {
            self.phase = Phase::Done;
            return out.push(Effect::Release { undo: false });
        }
        self.phase = Phase::Kept;
        if let Some(cause) = self.end_kept {
            // A cancel is heard only now, and is no second one.
            self.asked &= cause != Cause::Cancelled;
            self.stop(cause, out);
        }
    }

    fn fail(&mut self, why: Failure, out: &mut Effects) {
        self.disarm(TimerKind::StartTimeout, out);
        self.phase = Phase::Done;
        out.extend([Effect::Release { undo: why == Failure::TimedOut }, Effect::ReplyFailed(why)]);
    }

    fn arm(&mut self, timer: TimerKind, out: &mut Effects) {
        self.armed |= bit(timer);
        out.push(Effect::Arm(timer));
    }

    fn disarm(&mut self, timer: TimerKind, out: &mut Effects) {
        if self.armed & bit(timer) != 0 {
            self.armed &= !bit(timer);
            out.push(Effect::Disarm(timer));
        }
    }
}
