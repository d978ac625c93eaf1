//! What a kernel and the processes can do: nothing else than what the effects asked for makes possible, but of that
//! everything, in any order. It follows `linux/{watch,drain,spawn}`.

use super::super::{Effect, Event, bit};
use ostler_messages::{StopSignal, Stream, SweepFor, TimerKind};

/// What the signal thread reports about the tree.
const EVENTS: [Event; 6] = [
    Event::Exited { signalled: false, tree_empty: false },
    Event::Exited { signalled: true, tree_empty: false },
    Event::Exited { signalled: false, tree_empty: true },
    Event::Exited { signalled: true, tree_empty: true },
    Event::TreeAlive,
    Event::TreeEmpty,
];

/// Those that are on their way, which arrive in order: a digit to the base of eight for each, the oldest last. Millions
/// of worlds are kept and compared, so they have to be small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Queue(u32);
impl Queue {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
    fn push(&mut self, event: Event) {
        let digit = 1 + EVENTS.iter().position(|events| *events == event).expect("the signal thread's");
        let place = 32_u32.saturating_sub(self.0.leading_zeros()).div_ceil(3);
        assert!(place < 10, "more events than any life brings about");
        self.0 |= u32::try_from(digit).unwrap() << (3 * place);
    }
    fn pop(&mut self) -> Option<Event> {
        let digit = (self.0 & 7) as usize;
        self.0 >>= 3;
        digit.checked_sub(1).map(|n| EVENTS[n])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leader {
    /// Between `Exec` and `Started` or `StartFailed`.
    Unborn,
    Alive,
    /// The kernel has not noticed it yet.
    Dead,
    /// The kernel has noticed it, and reported it.
    Seen,
    /// The start failed.
    Never,
}

/// The actor that steers a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Steered {
    /// There is none: not launched yet, or the process was taken over after a crash.
    No,
    Open,
    Asked,
    /// It reported the end, and stopped.
    Closed,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) leader: Leader,
    /// A signal of ours went out before the leader's exit.
    pub(super) signalled: bool,
    /// Descendants live. Before the leader's death nobody looks at them.
    pub(super) rest: bool,
    /// The kernel knew that nobody else lives when it saw the exit.
    pub(super) tree_empty: bool,
    /// A sweep goes on watching.
    pub(super) watching: bool,
    pub(super) streams: [Steered; 2],
    pub(super) sealing: bool,
    pub(super) armed: u8,
    pub(super) events: Queue,
    /// How often the tree was really sent SIGTERM.
    pub(super) terminated: u8,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something that the life doesn't hear of at once.
    LeaderDies,
    /// And, if it can, that nobody else lives.
    KernelSeesExit {
        tree_empty: bool,
    },
    RestDies,
    KernelLooksAgain,
    /// Something that it does.
    Tells(Event),
    /// The oldest event arrives.
    Arrives,
}

impl World {
    pub(super) fn new() -> World {
        World {
            leader: Leader::Unborn,
            signalled: false,
            rest: true,
            tree_empty: false,
            watching: false,
            streams: [Steered::No; 2],
            sealing: false,
            armed: 0,
            events: Queue::default(),
            terminated: 0,
        }
    }

    /// Everything that the world can do; stops are the host's business.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        match self.leader {
            Leader::Unborn => {
                steps.extend([Step::Tells(Event::Started), Step::Tells(Event::StartFailed)]);
            }
            Leader::Alive => steps.push(Step::LeaderDies),
            Leader::Dead => {
                steps.push(Step::KernelSeesExit { tree_empty: false });
                if !self.rest {
                    steps.push(Step::KernelSeesExit { tree_empty: true });
                }
            }
            Leader::Seen | Leader::Never => {}
        }
        if self.rest && matches!(self.leader, Leader::Dead | Leader::Seen) {
            steps.push(Step::RestDies);
        }
        if self.watching && !self.rest {
            steps.push(Step::KernelLooksAgain);
        }
        if !self.events.is_empty() {
            steps.push(Step::Arrives);
        }
        for stream in Stream::BOTH {
            if matches!(self.streams[stream.index()], Steered::Open | Steered::Asked) {
                steps.extend([Event::Closed(stream), Event::DrainDown(stream)].map(Step::Tells));
            }
        }
        if self.sealing {
            steps.push(Step::Tells(Event::Sealed));
        }
        let armed = super::super::TIMERS.into_iter().filter(|timer| self.armed & bit(*timer) != 0);
        steps.extend(armed.map(|timer| Step::Tells(Event::TimerFired(timer))));
        steps
    }

    /// The world after it, and what the life hears.
    pub(super) fn take(&mut self, step: Step) -> Option<Event> {
        match step {
            Step::LeaderDies => self.leader = Leader::Dead,
            Step::KernelSeesExit { tree_empty } => {
                self.tree_empty = tree_empty;
                self.report_exit();
            }
            Step::RestDies => self.rest = false,
            Step::KernelLooksAgain => self.tell_empty(),
            Step::Arrives => return self.events.pop(),
            Step::Tells(event) => {
                match event {
                    Event::Started => self.leader = Leader::Alive,
                    Event::StartFailed => self.leader = Leader::Never,
                    Event::Closed(stream) => self.streams[stream.index()] = Steered::Closed,
                    Event::DrainDown(stream) => self.streams[stream.index()] = Steered::Crashed,
                    Event::Sealed => self.sealing = false,
                    Event::TimerFired(timer) => self.armed &= !bit(timer),
                    _ => {}
                }
                return Some(event);
            }
        }
        None
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Arm(timer) => self.armed |= bit(timer),
            Effect::Disarm(timer) => self.armed &= !bit(timer),
            Effect::Signal(signal) => self.signal(signal),
            Effect::Sweep(to) => self.sweep(to),
            Effect::CloseStream(stream) => {
                let steered = &mut self.streams[stream.index()];
                if *steered == Steered::Open {
                    *steered = Steered::Asked;
                }
            }
            Effect::Seal => self.sealing = true,
            Effect::ReplyLaunched => self.streams = [Steered::Open; 2],
            // Its record is closed by now, and its actors are gone.
            Effect::Release { .. } => (self.sealing, self.watching) = (false, false),
            Effect::CloseOrphan(_) | Effect::Exec => {}
            Effect::ReplyFailed(_) | Effect::Finish { .. } | Effect::ReplyReleased => {}
        }
    }

    /// Looks for an exit before the first signal, and then reports it instead, even if it was reported before.
    fn signal(&mut self, signal: StopSignal) {
        if !self.signalled && self.leader != Leader::Alive {
            return self.report_exit();
        }
        self.signalled = true;
        self.terminated += u8::from(signal == StopSignal::Terminate);
        if self.leader == Leader::Seen {
            self.report_exit();
        }
    }

    fn sweep(&mut self, to: SweepFor) {
        if !self.rest {
            return self.tell_empty();
        }
        self.watching = true;
        self.terminated += u8::from(to == SweepFor::Terminate);
        self.events.push(Event::TreeAlive);
    }

    fn report_exit(&mut self) {
        self.leader = Leader::Seen;
        self.events.push(Event::Exited { signalled: self.signalled, tree_empty: self.tree_empty });
    }

    fn tell_empty(&mut self) {
        self.watching = false;
        self.events.push(Event::TreeEmpty);
    }

    /// Where an actor that crashed may have left a running process, with the timers that it may have armed.
    pub(super) fn after_crashes(old: &[TimerKind]) -> Vec<World> {
        let armed = old.iter().fold(0, |armed, timer| armed | bit(*timer));
        let mut worlds = Vec::new();
        for signalled in [false, true] {
            let alive = World { leader: Leader::Alive, signalled, armed, ..World::new() };
            worlds.extend([alive, World { leader: Leader::Dead, ..alive }]);
            for rest in [false, true] {
                let seen = World { leader: Leader::Seen, rest, ..alive };
                let mut exit_untold = seen;
                exit_untold.report_exit();
                let mut swept = seen;
                swept.sweep(SweepFor::Watch);
                let watched = World { events: Queue::default(), ..swept };
                let sealing = World { sealing: true, watching: false, ..watched };
                worlds.extend([seen, exit_untold, swept, watched, sealing]);
                if !rest {
                    let tree_empty = World { tree_empty: true, ..seen };
                    worlds.extend([tree_empty, World { sealing: true, ..tree_empty }]);
                }
            }
        }
        worlds
    }
}

pub(super) fn is_armed(world: &World, timer: TimerKind) -> bool {
    world.armed & bit(timer) != 0
}
