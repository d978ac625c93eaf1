//! The scripted world at work: virtual time, and what commands and time bring about.
//!
//! * in: commands of the graph, inputs of the host, the agenda
//! * out: events, in the order of virtual time
//! * keeps: time moves only when the host waits and nothing else can happen

mod journaling;
mod standing;
mod starting;
mod time;

use super::{
    followed::Followed,
    process::{Planned, Process},
    world::World,
};
use crate::backend::{Files, HostInput, Input, Kernel, KernelEvent, Outputs, Pace};
use crossbeam_channel::{Receiver, Sender, select_biased, unbounded};
use journaling::Journaling;
use ostler_artifacts::Paths;
use ostler_messages::{
    ActorName, Append, CallId, Exec, Follow as FollowCommand, KernelCommand, PortsSeen, Recovered, Seal,
    SessionId, Stamp, Surveyed, Survived, TimerFired, TimerKind, Unsealed,
};
use standing::Standing;
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};
use time::Waits;

/// Process id of the host in every scripted world.
pub(crate) const HOST_PID: u32 = 1;
/// Where its artifacts would lie.
pub(crate) const ROOT: &str = "/ostler";
/// Where its commands run.
const CWD: &str = "/work";
/// Leaders have the pids 1000, 2000, …; their descendants those after.
const PIDS_PER_PROCESS: u64 = 1_000;

/// See the [module](self).
pub(crate) struct Player {
    requests: Receiver<HostInput>,
    world: World,
    outputs: Arc<Outputs>,
    now_us: u64,
    /// What will happen, by time and then by order of planning.
    agenda: BTreeMap<(u64, u64), Event>,
    planned: u64,
    timers: BTreeMap<(ActorName, TimerKind), (u64, u64)>,
    idle_us: BTreeMap<u64, u64>,
    /// Of waits.
    silence_ms: BTreeMap<(ActorName, TimerKind), u64>,
    processes: BTreeMap<u64, Process>,
    standing: Standing,
    /// Processes whose followers have moved: each reader tells it from its own thread.
    moved: (Sender<u64>, Receiver<u64>),
    events: VecDeque<KernelEvent>,
    waits: Waits,
    /// Waits, and what they search.
    followed: Followed,
    journaling: Journaling,
    /// Wall time at which `now_us` is 0.
    began: Stamp,
    crashed: bool,
    dying: Option<oneshot::Sender<()>>,
}

enum Event {
    /// Rows are written.
    Written(Append),
    /// A session is this host's own, and that is written.
    Claimed(SessionId),
    /// Whether the journal can be written again.
    Probe,
    Timer(ActorName, TimerKind),
    /// An open line may count as it stands.
    Quiet,
    Start(Box<Exec>),
    /// A slow disk has completed the files of a process.
    Seal(Box<Seal>),
    Planned(u64, Planned),
}

impl Player {
    pub(crate) fn new(
        (world, pace): (World, Arc<Pace>),
        (journal, recovered, began): (Option<String>, Option<Recovered>, Stamp),
        outputs: Arc<Outputs>,
        requests: Receiver<HostInput>,
    ) -> Player {
        let recovered = recovered.map(|recovered| KernelEvent::new(ActorName::Supervisor, recovered));
        Player {
            journaling: Journaling::new(journal),
            began,
            crashed: false,
            dying: None,
            requests,
            world,
            outputs,
            now_us: 0,
            agenda: BTreeMap::new(),
            planned: 0,
            timers: BTreeMap::new(),
            idle_us: BTreeMap::new(),
            silence_ms: BTreeMap::new(),
            processes: BTreeMap::new(),
            standing: Standing::default(),
            moved: unbounded(),
            events: recovered.into_iter().collect(),
            waits: Waits::new(pace),
            followed: Followed::default(),
        }
    }
}

impl Kernel for Player {
    fn perform(&mut self, command: KernelCommand) {
        self.perform_command(command);
        self.look();
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn after_input(&mut self, waits: &dyn Fn(CallId) -> bool) {
        let before = self.waits.blocked.len();
        self.waits.blocked.retain(|call| waits(*call));
        // What it is told counts when it is told.
        if self.waits.blocked.len() < before && !self.waits.holds() {
            self.answered();
        }
    }

    fn ready(&mut self) -> Option<Input> {
        if self.crashed {
            return None;
        }
        // Before what the same reader asks next.
        while let Ok(n) = self.moved.1.try_recv() {
            self.has_room(n);
        }
        if let Some(event) = self.events.pop_front() {
            return Some(Input::Kernel(event));
        }
        let input = self.requests.try_recv().ok();
        self.take(input)
    }

    /// What is asked comes first; then, if the host waits, what happens next in the world.
    fn next(&mut self) -> Option<Input> {
        loop {
            if let Some(input) = self.ready() {
                return Some(input);
            }
            if self.crashed {
                return None;
            }
            // An Advance, a Watch or a Listens may have been taken, and more be behind it.
            if !self.requests.is_empty() {
                continue;
            }
            if self.step() {
                continue;
            }
            select_biased! {
                recv(self.moved.1) -> moved => moved.into_iter().for_each(|n| self.has_room(n)),
                recv(self.requests) -> input => {
                    let input = input.ok()?;
                    if let Some(input) = self.take(Some(input)) {
                        return Some(input);
                    }
                }
            }
        }
    }

    fn close(&mut self) {
        self.waits.tell_all();
        // Whoever waits for the graph hears of its end when the channel goes.
        self.requests = crossbeam_channel::never();
    }
}

impl Player {
    fn follow(&mut self, follow: &FollowCommand) {
        let growth = self.outputs.growth(follow.command_id);
        let files = Files { paths: Paths::of(Path::new(ROOT), follow.command_id), growth };
        self.followed.add(follow, files, self.now_us);
    }

    /// Whatever has happened, waits look at it at once.
    fn look(&mut self) {
        let looked = self.followed.look(&self.processes, self.now_us);
        self.events.extend(looked.events);
        for at_us in looked.quiet_at_us {
            self.plan(at_us, Event::Quiet);
        }
    }

    fn plan(&mut self, at_us: u64, event: Event) -> (u64, u64) {
        self.planned += 1;
        let key = (at_us, self.planned);
        self.agenda.insert(key, event);
        key
    }

    fn perform_command(&mut self, command: KernelCommand) {
        match command {
            KernelCommand::Exec(exec) => {
                self.world.note_launch(&exec.request.0);
                let program = self.world.find(&exec.request);
                match program.as_ref().and_then(|program| program.starts_us) {
                    Some(us) => drop(self.plan(self.now_us + us, Event::Start(Box::new(exec)))),
                    None if program.is_some_and(|program| program.never_starts) => {}
                    None => self.start(&exec),
                }
            }
            KernelCommand::Arm(arm) => {
                if let TimerKind::Silence(_) = arm.kind {
                    self.silence_ms.insert((arm.owner, arm.kind), arm.after_ms);
                }
                if let (ActorName::Process(n), TimerKind::Idle) = (arm.owner, arm.kind) {
                    self.idle_us.insert(n, arm.after_ms.saturating_mul(1_000));
                }
                let after_us = arm.after_ms.saturating_mul(1_000);
                if !self.keeps_timer((arm.owner, arm.kind), after_us) {
                    self.arm(arm.owner, arm.kind, self.now_us.saturating_add(after_us));
                }
            }
            KernelCommand::Disarm(disarm) => {
                self.silence_ms.remove(&(disarm.owner, disarm.kind));
                self.drops_timer((disarm.owner, disarm.kind));
                if let Some(key) = self.timers.remove(&(disarm.owner, disarm.kind)) {
                    self.agenda.remove(&key);
                }
            }
            KernelCommand::Freeze(freeze) => self.freeze(freeze.n, freeze.call),
            KernelCommand::Thaw(thaw) => self.thaw(thaw.n, thaw.call),
            KernelCommand::Signal(signal) => {
                self.end_pause(signal.n);
                self.with(signal.n, |process, now| process.signal(signal.signal, now))
            }
            KernelCommand::Sweep(sweep) => self.with(sweep.n, |process, now| process.sweep(sweep.to, now)),
            KernelCommand::Close(close) => self.with(close.n, |process, _| process.close(close.stream)),
            KernelCommand::Peek(peek) => self.with(peek.n, |process, now| process.peek(&peek, now)),
            KernelCommand::Follow(follow) => self.follow(&follow),
            KernelCommand::Unfollow(unfollow) => self.followed.remove(unfollow.call),
            KernelCommand::LookForPorts(look) => {
                let ports = self.processes.get(&look.n).map(Process::ports).unwrap_or_default();
                let seen = PortsSeen { call: look.call, ports: Ok(ports), unseen: 0 };
                self.events.push_back(KernelEvent::new(ActorName::Supervisor, seen));
            }
            KernelCommand::Survey(survey) => {
                let seen = |n: &u64| self.processes.get(n).map(|process| process.seen(self.now_us));
                let seen = survey.ns.iter().filter_map(seen).collect();
                let surveyed = Surveyed { call: survey.call, seen };
                self.events.push_back(KernelEvent::new(ActorName::Supervisor, surveyed));
            }
            KernelCommand::Feed(feed) => self.with(feed.n, |process, now| process.feed(feed, now)),
            KernelCommand::EndInput(end) => self.with(end.n, |process, now| process.end_input(&end, now)),
            KernelCommand::SetSize(set) => {
                self.outputs.set_terminal(set.n, set.size);
                self.with(set.n, |process, now| process.set_size(set.size, now));
            }
            KernelCommand::Raise(raise) => {
                self.with(raise.n, |process, now| process.raise(raise.signal, now))
            }
            // Nothing is on a disk.
            KernelCommand::Retain(_) => {}
            KernelCommand::ForgetSession(forget) => self.outputs.forget_session(&forget.session_id),
            KernelCommand::Append(append) => self.append(append),
            KernelCommand::ClaimSession(claim) => self.claim_session(claim),
            KernelCommand::Seal(seal) => {
                let takes_us = self.processes.get(&seal.n).map_or(0, Process::disk_takes_us);
                match takes_us {
                    0 => self.seal(&seal),
                    us => drop(self.plan(self.now_us.saturating_add(us), Event::Seal(Box::new(seal)))),
                }
            }
            KernelCommand::Release(release) => {
                self.processes.remove(&release.n);
                self.forget_standing(release.n);
                self.idle_us.remove(&release.n);
                let n = release.n;
                self.agenda.retain(|_, event| match event {
                    Event::Start(exec) => exec.n != n,
                    Event::Seal(seal) => seal.n != n,
                    Event::Planned(whose, _) => *whose != n,
                    Event::Timer(..)
                    | Event::Quiet
                    | Event::Written(_)
                    | Event::Claimed(_)
                    | Event::Probe => true,
                });
                if release.undo {
                    self.outputs.remove(n);
                } else {
                    self.outputs.finish(n);
                }
            }
        }
    }

    fn arm(&mut self, owner: ActorName, kind: TimerKind, at_us: u64) {
        let key = self.plan(at_us, Event::Timer(owner, kind));
        if let Some(old) = self.timers.insert((owner, kind), key) {
            self.agenda.remove(&old);
        }
    }

    fn fire(&mut self, owner: ActorName, kind: TimerKind) {
        self.timers.remove(&(owner, kind));
        if let (TimerKind::Silence(n), Some(ms)) = (kind, self.silence_ms.get(&(owner, kind)))
            && let Some(process) = self.processes.get(&n)
        {
            let left_us = ms.saturating_mul(1_000).saturating_sub(process.silent_us(self.now_us));
            if left_us > 0 {
                return self.arm(owner, kind, self.now_us.saturating_add(left_us));
            }
        }
        self.silence_ms.remove(&(owner, kind));
        let process = match owner {
            ActorName::Process(n) => self.processes.get_mut(&n).map(|process| (n, process)),
            _ => None,
        };
        match (kind, process) {
            (TimerKind::Idle, Some((n, process))) => {
                let idle_us = self.idle_us.get(&n).copied().unwrap_or(0);
                let left_us = idle_us.saturating_sub(process.silent_us(self.now_us));
                if left_us > 0 {
                    return self.arm(owner, kind, self.now_us.saturating_add(left_us));
                }
                self.events.push_back(KernelEvent::new(owner, TimerFired { kind }));
            }
            (TimerKind::Unkillable, Some((_, process))) => {
                let leftovers = process.survivors();
                self.events.push_back(KernelEvent::new(owner, Survived { leftovers }));
            }
            (TimerKind::SealTimeout, Some((_, process))) => {
                let output = process.output();
                self.events.push_back(KernelEvent::new(owner, Unsealed { output }));
            }
            _ => self.events.push_back(KernelEvent::new(owner, TimerFired { kind })),
        }
    }

    /// Lets a process act, then takes what it reports and what it plans.
    fn with(&mut self, n: u64, act: impl FnOnce(&mut Process, u64)) {
        let now_us = self.now_us;
        let Some(process) = self.processes.get_mut(&n) else { return };
        act(process, now_us);
        self.events.append(&mut process.events);
        let plans = std::mem::take(&mut process.plans);
        self.take_plans(n, plans);
    }
}
