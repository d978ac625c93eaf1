//! The signal thread: exits, signals, reaping, timers. It never touches a disk.
//!
//! * in: processes that were just started, signals, sweeps, timers, and epoll
//! * out: `Exited`, `TreeAlive`, `TreeEmpty`, `Survived`, `Unsealed`, `TimerFired`
//! * keeps: no process outlives this thread, however it ends; a number is used only as long as its zombie is held

mod due;
mod questions;
mod standstill;

use crate::backend::{KernelEvent, Outputs};
use crate::linux::{
    clock::Clock,
    contain::group::GroupBy,
    contain::tree::Probe,
    follow::thread::FollowCommand,
    mailbox::Mailbox,
    watch::child::{Child, PROBE_FIRST, PROBE_KEPT_MAX, PROBE_MAX},
    watch::guards::{GUARD, GuardCommand},
    watch::idle::IdleTimes,
    watch::looks::{Ask, Looked, Passed},
    watch::pauses::{GoingOn, Pauses},
    watch::started::Watch,
    watch::timers::{TimerKey, Timers},
};
use crossbeam_channel::Sender;
use ostler_messages::{
    ActorName, Arm, Disarm, Event, Exited, Follow, Freeze, LookForPorts, NotPaused, Peek, Raise, Release,
    RetentionDue, Signal, StopSignal, Survey, Sweep, SweepFor, Thaw, TimerKind, TreeAlive, TreeEmpty,
    Unfollow,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// At the end of a graph: how long the dead are waited for. SIGKILL acts within milliseconds; what takes longer is left
/// to init.
const REAP_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at them.
const REAP_STEP: Duration = Duration::from_millis(1);

/// How long a helper is waited for that reports the end of its tree, until who lives is looked at again.
const HELPER_PATIENCE: Duration = Duration::from_secs(1);

/// What the graph, and the spawn thread, ask of this thread.
pub(crate) enum SignalCommand {
    Watch(Box<Watch>),
    Signal(Signal),
    Raise(Raise),
    Freeze(Freeze),
    Thaw(Thaw),
    Sweep(Sweep),
    Release(Release),
    /// From the look thread.
    Looked(Box<Looked>),
    /// The same.
    Passed(Passed),
    /// The same: a tree goes on.
    WentOn {
        n: u64,
        since: Instant,
        done: bool,
    },
    /// When it is to fire.
    Arm(Arm, Instant),
    Disarm(Disarm),
    Peek(Peek),
    Survey(Survey),
    Follow(Follow),
    Unfollow(Unfollow),
    LookForPorts(LookForPorts),
    /// There is much to be removed.
    Retain,
    Quit,
}

pub(crate) struct SignalThread {
    pub(crate) mailbox: Mailbox<SignalCommand>,
    pub(crate) events: Sender<KernelEvent>,
    pub(crate) clock: Clock,
    pub(crate) group_by: GroupBy,
    pub(crate) outputs: Arc<Outputs>,
    /// To the look thread.
    pub(crate) looks: Sender<Ask>,
    /// To the guard thread.
    pub(crate) guards: Sender<GuardCommand>,
    /// To the follow thread.
    pub(crate) follower: Sender<FollowCommand>,
    pub(crate) retention_interval: Duration,
}

impl SignalThread {
    pub(crate) fn run(self) {
        crate::linux::sys::ask_for_short_turns();
        let timers = Timers::default();
        let (children, idle) = (Children::default(), IdleTimes::default());
        let (pauses, going_on) = (Pauses::default(), BTreeMap::new());
        let mut state = State { thread: self, children, timers, idle, pauses, going_on };
        state.arm_retention();
        let mut ready = Vec::new();
        loop {
            while let Some(command) = state.thread.mailbox.try_next() {
                if matches!(command, SignalCommand::Quit) {
                    return;
                }
                state.obey(command);
            }
            let now = Instant::now();
            while let Some((key, at)) = state.timers.pop_due(now) {
                state.fire(key, now.saturating_duration_since(at));
            }
            let until = state.timers.next_at();
            state.thread.mailbox.sleep(until, &mut ready);
            for n in ready.iter().copied() {
                if n == GUARD {
                    // A thread that has ended was reported.
                    let _ = state.thread.guards.send(GuardCommand::Check);
                    continue;
                }
                if !state.children.0.contains_key(&n)
                    && let Some(command) = state.thread.mailbox.expect()
                {
                    if matches!(command, SignalCommand::Quit) {
                        return;
                    }
                    state.obey(command);
                }
                state.noticed(n);
            }
        }
    }
}

/// All processes. However this thread ends, also by a panic, none of them outlives it.
#[derive(Default)]
struct Children(BTreeMap<u64, Child>);
impl Drop for Children {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            child.signal(StopSignal::Kill);
            child.begin_sweep(SweepFor::Kill);
            child.sweep_helper();
        }
        let limit = Instant::now() + REAP_LIMIT;
        loop {
            self.0.retain(|_, child| !child.is_finished());
            if self.0.is_empty() || Instant::now() >= limit {
                return;
            }
            std::thread::sleep(REAP_STEP);
        }
    }
}

struct State {
    thread: SignalThread,
    children: Children,
    timers: Timers,
    idle: IdleTimes,
    pauses: Pauses,
    going_on: BTreeMap<u64, GoingOn>,
}

impl State {
    fn report(&self, n: u64, body: impl Into<Event>) {
        // A graph that has ended hears nothing; the end of this thread follows.
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Process(n), body));
    }

    fn obey(&mut self, command: SignalCommand) {
        match command {
            SignalCommand::Watch(watch) => self.watch(*watch),
            SignalCommand::Signal(signal) => self.signal(&signal),
            SignalCommand::Raise(raise) => {
                self.noticed(raise.n);
                // Nobody hears it after the exit.
                let child = self.children.0.get(&raise.n).filter(|child| child.exit.is_none());
                child.into_iter().for_each(|child| child.raise(raise.signal));
            }
            SignalCommand::Freeze(freeze) => self.freeze(&freeze),
            SignalCommand::Thaw(thaw) => self.thaw(&thaw),
            SignalCommand::Passed(passed) => self.passed(passed),
            SignalCommand::WentOn { n, since, done } => self.went_on(n, since, done),
            SignalCommand::Sweep(sweep) => self.sweep(&sweep),
            SignalCommand::Release(release) => self.release(release.n),
            SignalCommand::Looked(looked) => self.looked_elsewhere(*looked),
            SignalCommand::Arm(arm, at) => {
                if matches!(arm.kind, TimerKind::Idle | TimerKind::Silence(_)) {
                    self.idle.begin((arm.owner, arm.kind), Duration::from_millis(arm.after_ms));
                }
                match self.pauses.of_timer((arm.owner, arm.kind)) {
                    Some(pause) => {
                        pause.keep_timer((arm.owner, arm.kind), Duration::from_millis(arm.after_ms))
                    }
                    None => self.timers.arm(TimerKey::Graph(arm.owner, arm.kind), at),
                }
            }
            SignalCommand::Disarm(disarm) => {
                let timer = (disarm.owner, disarm.kind);
                self.idle.end(timer);
                self.pauses.of_timer(timer).into_iter().for_each(|pause| pause.drop_timer(timer));
                self.timers.disarm(TimerKey::Graph(disarm.owner, disarm.kind));
            }
            SignalCommand::Peek(peek) => self.peek(&peek),
            SignalCommand::Survey(survey) => self.survey(&survey),
            SignalCommand::Follow(follow) => self.follow(follow),
            SignalCommand::Unfollow(unfollow) => self.tell_follower(FollowCommand::Unfollow(unfollow)),
            SignalCommand::LookForPorts(look) => {
                let view = self.view(look.n);
                self.tell_follower(FollowCommand::Ports(look.call, view));
            }
            SignalCommand::Retain => self.tell_supervisor(RetentionDue {}),
            SignalCommand::Quit => {}
        }
    }

    fn watch(&mut self, watch: Watch) {
        let (n, watched) = (watch.n, watch.watched);
        let child = Child::new(watch, self.thread.group_by);
        if !watched {
            // ENOMEM or the limit on watches: looking now and then is late, but never wrong.
            self.timers.arm(TimerKey::Probe(n), Instant::now() + PROBE_FIRST);
        }
        self.children.0.insert(n, child);
    }

    /// A descriptor says that something happened to a process.
    fn noticed(&mut self, n: u64) {
        let Some(child) = self.children.0.get_mut(&n) else { return };
        let told_end = child.tells_end();
        let exited = child.notice();
        if child.is_silent() {
            // A dead process, and a closed socket, stay readable for ever.
            child.unwatch(&self.thread.mailbox);
        }
        let swept = told_end && child.sweep.is_some();
        let probe = child.judge_at_last();
        if exited {
            // Whoever is left of it is to be able to end.
            self.goes_to_its_end(n, NotPaused::Ended);
            self.report_exit(n);
        }
        if let Some(probe) = probe {
            self.act_on(n, probe);
        } else if swept {
            self.look(n);
        }
        self.remove_if_finished(n);
    }

    fn report_exit(&self, n: u64) {
        if let Some(child) = self.children.0.get(&n)
            && let Some(exit) = child.exit.clone()
        {
            let (signalled, tree_empty, lost) = (child.signalled, child.tree_empty, child.lost);
            self.report(n, Exited { exit, signalled, tree_empty, lost });
        }
    }

    fn signal(&mut self, signal: &Signal) {
        let n = signal.n;
        self.noticed_before_signal(n);
        let Some(child) = self.children.0.get_mut(&n) else { return };
        if child.exit.is_some() {
            // It ended by itself; or the graph asks again because the actor that heard of it first is gone.
            self.goes_to_its_end(n, NotPaused::Ended);
            return self.report_exit(n);
        }
        if !child.signalled && child.is_leader_dead() {
            // It ended by itself; its parent is about to say so, unless a debugger holds it, who may be of its tree.
            if signal.signal == StopSignal::Kill {
                child.signal(StopSignal::Kill);
            }
            return;
        }
        child.signalled = true;
        self.goes_to_its_end(n, NotPaused::Stopping);
        self.children.0.get_mut(&n).into_iter().for_each(|child| child.signal(signal.signal));
    }

    /// If it is dead already, it ended by itself.
    fn noticed_before_signal(&mut self, n: u64) {
        if let Some(child) = self.children.0.get_mut(&n)
            && !child.signalled
            && child.notice()
            && child.is_silent()
        {
            child.unwatch(&self.thread.mailbox);
        }
    }

    fn sweep(&mut self, sweep: &Sweep) {
        let Some(child) = self.children.0.get_mut(&sweep.n) else { return };
        child.begin_sweep(sweep.to);
        // Before anything is sent: whoever is gone by then has a name only if he was seen.
        self.look(sweep.n);
    }

    /// Tells that the tree is empty, or sets the time of the next look.
    fn looked(&mut self, n: u64, empty: bool) {
        let Some(child) = self.children.0.get_mut(&n) else { return };
        if empty {
            child.found_empty();
            let leftovers = child.leftovers();
            return self.report(n, TreeEmpty { leftovers });
        }
        if child.tells_end() {
            return self.timers.arm(TimerKey::Probe(n), Instant::now() + HELPER_PATIENCE);
        }
        let max = if child.sweep == Some(SweepFor::Keep) { PROBE_KEPT_MAX } else { PROBE_MAX };
        self.timers.arm(TimerKey::Probe(n), Instant::now() + child.look_after);
        child.look_after = (child.look_after * 2).min(max);
    }

    fn look(&mut self, n: u64) {
        let Some(child) = self.children.0.get_mut(&n) else { return };
        if child.released {
            return self.remove_if_finished(n);
        }
        if child.exit.is_none() {
            // Its descriptor could not be watched.
            self.noticed(n);
            if self.children.0.get(&n).is_some_and(|child| child.exit.is_none()) {
                self.timers.arm(TimerKey::Probe(n), Instant::now() + PROBE_MAX);
            }
            return;
        }
        if child.sweep.is_none() {
            return;
        }
        // If its descriptor could not be watched, nobody else hears what its parent says.
        child.notice();
        let probe = child.look();
        self.act_on(n, probe);
    }

    /// Another thread has looked.
    fn looked_elsewhere(&mut self, looked: Looked) {
        let n = looked.n;
        let Some(child) = self.children.0.get_mut(&n) else { return };
        let probe = child.looked(looked);
        if child.released {
            return self.remove_if_finished(n);
        }
        self.act_on(n, probe);
    }

    fn act_on(&mut self, n: u64, probe: Probe) {
        let Some(child) = self.children.0.get_mut(&n) else { return };
        let Some(sweep) = child.sweep else { return };
        let alive = match probe {
            Probe::Asks => {
                if let Some(ask) = child.ask(n) {
                    // Its end is reported, as of each thread.
                    let _ = self.thread.looks.send(ask);
                }
                return;
            }
            Probe::Waits => return,
            Probe::Empty => None,
            Probe::Alive(seen) => Some(seen),
        };
        let first = std::mem::take(&mut child.first_look);
        if first {
            self.sweep_helper(n);
        }
        let Some(child) = self.children.0.get_mut(&n) else { return };
        if let Some(seen) = &alive {
            match sweep {
                SweepFor::Terminate if first => {
                    child.signal(StopSignal::Terminate);
                    child.signal_seen(seen, StopSignal::Terminate);
                }
                SweepFor::Kill => {
                    // Again for what was forked while the signal was on its way; one by one whom it does not reach.
                    child.signal(StopSignal::Kill);
                    if !first {
                        child.signal_seen(seen, StopSignal::Kill);
                    }
                    child.mark_killed();
                }
                SweepFor::Watch if first => child.signal_unreached(seen),
                SweepFor::Terminate | SweepFor::Watch | SweepFor::Keep => {}
            }
            // A helper proves it in a moment, if nobody was seen.
            if first && (!seen.is_empty() || !child.tells_end()) {
                let kept = (sweep == SweepFor::Keep).then(|| child.leftovers()).flatten();
                self.report(n, TreeAlive { seen: seen.len() as u64, kept });
            }
        }
        self.looked(n, alive.is_none());
    }

    fn release(&mut self, n: u64) {
        self.idle.end((ActorName::Process(n), TimerKind::Idle));
        self.goes_to_its_end(n, NotPaused::Stopping);
        self.timers.remove_all(n);
        let Some(child) = self.children.0.get_mut(&n) else { return };
        child.released = true;
        child.kill_unseen();
        self.remove_if_finished(n);
    }

    /// A process that can't be killed is kept until it dies, so that its number stays ours and its zombie is taken away.
    fn remove_if_finished(&mut self, n: u64) {
        let Some(child) = self.children.0.get_mut(&n).filter(|child| child.released) else { return };
        if child.is_finished() {
            // Before its helper is given back: the next command's events would come by this one's key.
            child.unwatch(&self.thread.mailbox);
            self.children.0.remove(&n);
        } else {
            if child.is_silent() {
                child.unwatch(&self.thread.mailbox);
            }
            self.timers.arm(TimerKey::Probe(n), Instant::now() + child.look_after);
            child.look_after = (child.look_after * 2).min(PROBE_KEPT_MAX);
        }
    }
}

impl Drop for State {
    /// Processes that this thread was still to hear of are among those that don't outlive it.
    fn drop(&mut self) {
        self.tell_follower(FollowCommand::Quit);
        while let Some(command) = self.thread.mailbox.try_next() {
            if let SignalCommand::Watch(watch) = command {
                self.children.0.insert(watch.n, Child::new(*watch, self.thread.group_by));
            }
        }
    }
}
