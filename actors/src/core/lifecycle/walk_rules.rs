//! What must hold: on each step by itself, and over a whole life. It keeps its own account of the past, so that a life
//! that deceives itself is found out.

use super::{
    super::{Effect, Event, Life, Phase, TIMERS, bit},
    world::{Steered, World},
};
use ostler_messages::{Cause, Status, StopCause, StopSignal, SweepFor, TimerKind};

/// What the outside has seen of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Past {
    /// Taken over from an actor that crashed: whoever launched it has its reply.
    recovered: bool,
    started: bool,
    launched: bool,
    failed: bool,
    finished: Option<bool>,
    released: bool,
    sealed_as: Option<(Status, Option<StopCause>)>,
    cause: Option<Cause>,
    exit: Option<bool>,
    empty: bool,
    /// How often somebody has asked for its end by its handle: after that a cancel means now.
    cancels: u8,
    /// There is to be no grace (any more).
    now: bool,
    /// The session ended, or the host, or somebody cancelled, or the lease was lost, after the record was closed: nothing is kept any
    /// longer.
    ended: bool,
    killed: bool,
    ever_armed: u8,
    /// Signals and sweeps.
    asked: u8,
}

macro_rules! ensure {
    ($holds:expr, $($rule:tt)*) => {
        if !$holds {
            return Err(format!($($rule)*));
        }
    };
}

impl Past {
    pub(super) fn new(recovered: bool) -> Past {
        Past {
            recovered,
            started: recovered,
            launched: false,
            failed: false,
            finished: None,
            released: false,
            sealed_as: None,
            cause: recovered.then_some(Cause::Lost),
            exit: None,
            empty: false,
            cancels: 0,
            now: recovered,
            ended: false,
            killed: false,
            ever_armed: 0,
            asked: 0,
        }
    }

    /// How many commands the kernel has been sent, at most: each timer is armed and dropped, both streams are closed;
    /// and an exec, a seal and a release.
    pub(super) fn commands(&self) -> u32 {
        let drops = if self.recovered { TIMERS.len() as u32 } else { self.ever_armed.count_ones() };
        self.ever_armed.count_ones() + drops + 2 + u32::from(self.asked) + 3
    }

    /// What the life hears now.
    pub(super) fn hear(&mut self, event: Event) {
        let mut because = |cause| {
            if self.cause.is_none() && self.sealed_as.is_none() {
                self.cause = Some(cause);
            }
        };
        match event {
            Event::Started => self.started = true,
            // What comes after the record was closed no longer counts.
            Event::Exited { signalled, tree_empty } if self.sealed_as.is_none() => {
                self.exit.get_or_insert(signalled);
                self.empty |= tree_empty;
            }
            // What an actor that crashed had heard is not known to the one that took over.
            Event::TreeEmpty => self.empty |= self.exit.is_some(),
            Event::TimerFired(TimerKind::Deadline) => because(Cause::Deadline),
            Event::TimerFired(TimerKind::Idle) => because(Cause::Idle),
            Event::Stop(cause) => {
                because(cause);
                // When the record is closed, only what is kept can still be stopped.
                let late = self.sealed_as.is_some() && self.finished.is_none();
                self.cancels = match cause {
                    Cause::Cancelled => (self.cancels + 1).min(2),
                    // It is the first, but never the second.
                    Cause::LeaseLost => self.cancels.max(1),
                    _ => self.cancels,
                };
                self.now |= matches!(cause, Cause::HostGone | Cause::Lost);
                let ends = matches!(
                    cause,
                    Cause::HostGone | Cause::SessionEnded | Cause::LeaseLost | Cause::Cancelled
                );
                self.ended |= late && ends;
                self.now |= cause == Cause::Cancelled && self.cancels == 2;
            }
            _ => {}
        }
    }

    /// One effect, before the world performs it.
    pub(super) fn witness(&mut self, effect: Effect, life: &Life, world: &World) -> Result<(), String> {
        ensure!(!self.released || effect == Effect::ReplyReleased || self.unreplied(effect), "after Release");
        self.asked += u8::from(matches!(effect, Effect::Signal(_) | Effect::Sweep(_)));
        match effect {
            Effect::Arm(timer) => {
                ensure!(self.ever_armed & bit(timer) == 0, "{timer:?} is armed a second time");
                self.ever_armed |= bit(timer);
            }
            Effect::Disarm(timer) => {
                ensure!(self.recovered || world.armed & bit(timer) != 0, "{timer:?} was not armed");
            }
            Effect::Signal(signal) => {
                ensure!(self.started, "a signal to what was never started");
                ensure!(self.exit.is_none(), "a signal after the leader's death was reported");
                self.killed |= signal == StopSignal::Kill;
            }
            Effect::Sweep(to) => {
                ensure!(self.exit.is_some(), "a sweep before the leader's death was reported");
                ensure!(!self.empty, "a sweep after the tree was seen empty");
                self.killed |= to == SweepFor::Kill;
            }
            Effect::CloseStream(stream) => {
                let steered = world.streams[stream.index()];
                ensure!(matches!(steered, Steered::No | Steered::Open), "{stream} closed while {steered:?}");
            }
            Effect::CloseOrphan(stream) => {
                let steered = world.streams[stream.index()];
                ensure!(matches!(steered, Steered::No | Steered::Crashed), "{stream}'s actor lives");
            }
            Effect::Seal => {
                ensure!(self.sealed_as.is_none(), "sealed twice");
                self.sealed_as = Some((life.status(), life.stop_cause()));
            }
            Effect::ReplyLaunched => {
                ensure!(self.started && !self.launched && !self.recovered, "launched without cause");
                ensure!(self.cause.is_none(), "an undone launch is replied to as if it went well");
                self.launched = true;
            }
            Effect::ReplyFailed(_) => {
                ensure!(!self.launched && !self.failed && !self.recovered, "failed after a reply");
                ensure!(self.released, "failed before all was undone");
                self.failed = true;
            }
            Effect::Finish { kept } => {
                ensure!(self.launched || self.recovered, "a result of what was not launched");
                ensure!(self.finished.is_none(), "a second result");
                let says = (life.status(), life.stop_cause());
                ensure!(self.sealed_as == Some(says), "the result differs from what was sealed");
                ensure!(!kept || !self.empty, "nobody is kept");
                self.finished = Some(kept);
                self.ended &= kept;
            }
            Effect::Release { .. } => self.released = true,
            Effect::ReplyReleased => {
                ensure!(self.released && self.finished == Some(true), "nothing was kept")
            }
            Effect::Exec => {}
        }
        Ok(())
    }

    /// The refusal of a launch is the only other thing that comes after Release.
    fn unreplied(&self, effect: Effect) -> bool {
        matches!(effect, Effect::ReplyFailed(_)) && !self.failed
    }

    /// One whole step: what it may not do, and what it may not leave undone.
    pub(super) fn judge(
        &self,
        before: &Past,
        world: &World,
        event: Event,
        effects: &[Effect],
    ) -> Result<(), String> {
        if let Event::DrainDown(stream) = event {
            let open = world.streams[stream.index()] == Steered::Open && before.sealed_as.is_none();
            let closed = effects.contains(&Effect::CloseOrphan(stream));
            ensure!(!open || closed, "nobody reads {stream} any more");
        }
        if self.killed && !before.killed {
            let asked = match event {
                Event::TimerFired(TimerKind::Grace | TimerKind::LeftoversGrace) => true,
                Event::Stop(cause) => !matches!(cause, Cause::SessionEnded | Cause::LeaseLost) && self.now,
                // A stop that came when nothing could be killed yet.
                Event::Started => self.cause.is_some(),
                Event::Sealed | Event::TimerFired(TimerKind::SealTimeout) => self.now,
                _ => false,
            };
            ensure!(asked, "killed though nobody asked for it: grace was shortened");
        }
        for timer in [TimerKind::Grace, TimerKind::LeftoversGrace] {
            if effects.contains(&Effect::Disarm(timer)) {
                ensure!(self.empty || self.killed, "{timer:?} is dropped though the tree lives");
            }
        }
        Ok(())
    }

    /// A state between two steps.
    pub(super) fn settle(&self, life: &Life, world: &World) -> Result<(), String> {
        ensure!(world.terminated <= 1, "SIGTERM was sent twice");
        // Timers of an actor that crashed may still be armed.
        let armed = if self.recovered { world.armed & life.armed } else { world.armed };
        ensure!(life.armed == armed, "the life is wrong about which timers are armed");
        let status = match (self.cause, self.exit) {
            (Some(Cause::Lost), _) => Status::Lost,
            (None, _) | (_, Some(false)) => Status::Completed,
            (Some(Cause::Deadline | Cause::Idle), _) => Status::TimedOut,
            (Some(Cause::Cancelled | Cause::SessionEnded | Cause::LeaseLost), _) => Status::Killed,
            (Some(Cause::HostGone | Cause::OutputLimit), _) => Status::Killed,
        };
        if life.phase != Phase::Done {
            ensure!(life.status() == status, "status {} should be {status}", life.status());
            let (named, by_itself) = (life.stop_cause(), status == Status::Completed);
            ensure!(named.is_none() == by_itself, "{status}, and the cause of its stop is {named:?}");
            let first = self.cause.map(named_cause).filter(|_| !by_itself);
            ensure!(named == first, "the cause of its stop is {named:?}, not {first:?}");
        }
        let untouched = self.empty || !self.started || self.sealed_as.is_some() && self.finished.is_none();
        ensure!(!self.now || self.killed || untouched, "no grace is left, yet nothing is killed");
        let graces = bit(TimerKind::Grace) | bit(TimerKind::LeftoversGrace);
        ensure!(!self.killed || life.armed & graces == 0, "a grace runs for what was killed");
        match life.phase {
            Phase::Done => self.is_finished(world),
            Phase::Kept => {
                ensure!(self.finished == Some(true) && !self.released, "kept, but not reported so");
                ensure!(world.armed == 0, "a timer runs for what is only kept");
                ensure!(self.cause.is_none() && !self.ended, "kept on though it was to be stopped");
                Ok(())
            }
            // A command without limits runs as long as it likes.
            Phase::Running if self.cause.is_none() => Ok(()),
            // The world is silent from here on: no process dies, no pipe closes, no disk answers. What is left are
            // timers and events on their way, among them the answer to a sweep, which comes from the thread that has the
            // timers. Each timer is armed once, so whoever always has one of these to wait for gets to the end.
            _ => {
                let waits = world.armed != 0 || !world.events.is_empty();
                ensure!(waits, "stuck: the world is silent and no timer runs");
                Ok(())
            }
        }
    }

    fn is_finished(&self, world: &World) -> Result<(), String> {
        ensure!(world.armed == 0, "a timer outlives the process");
        ensure!(self.released, "the kernel still holds it");
        ensure!(self.finished.is_some() || self.failed, "neither a result nor a refusal");
        ensure!(self.finished.is_none() || !self.failed, "both a result and a refusal");
        ensure!(self.launched <= self.finished.is_some(), "launched without a result");
        ensure!(!self.started || self.sealed_as.is_some(), "never sealed");
        Ok(())
    }
}

fn named_cause(cause: Cause) -> StopCause {
    match cause {
        Cause::Cancelled => StopCause::Cancelled,
        Cause::SessionEnded => StopCause::SessionEnded,
        Cause::LeaseLost => StopCause::LeaseLost,
        Cause::HostGone => StopCause::HostGone,
        Cause::Deadline => StopCause::Deadline,
        Cause::Idle => StopCause::Idle,
        Cause::OutputLimit => StopCause::OutputLimit,
        Cause::Lost => StopCause::Crashed,
    }
}
