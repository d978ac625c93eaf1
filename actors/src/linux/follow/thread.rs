//! The follow thread: searches files as they grow, and looks at trees for ports and for who waits for input.
//!
//! * in: waits that begin and end; a word from each file that has grown, and time
//! * out: [`ConditionMet`](ostler_messages::ConditionMet), `ConditionOpen`, `ConditionNever`; `PortsSeen`
//! * keeps: it sleeps while nothing happens; waits take turns, a page each

use super::trees::{Trees, WaitsFor};
use crate::{
    backend::{Files, Follow as Search, KernelEvent, Outputs, Turn},
    linux::{clock::Clock, contain::view::TreeView},
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use ostler_artifacts::{Paths, next_byte};
use ostler_messages::{
    ActorName, CallId, Condition, ConditionNever, ConditionOpen, Event, Follow, PortsSeen, Unfollow,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

/// What the signal thread, and files that have grown, tell this thread.
pub(crate) enum FollowCommand {
    /// With the means to look at its tree, where the wait is for that and the process lives.
    Follow(Follow, Option<TreeView>),
    Unfollow(Unfollow),
    Ports(CallId, Option<TreeView>),
    /// There may be something new for this search.
    Grown(Key),
    Quit,
}

/// A search: its call, and its place in the list of conditions.
pub(super) type Key = (CallId, usize);

pub(crate) struct FollowThread {
    pub(crate) commands: Receiver<FollowCommand>,
    /// For what wakes it.
    pub(crate) own: Sender<FollowCommand>,
    pub(crate) events: Sender<KernelEvent>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) root: Arc<Path>,
    pub(crate) clock: Clock,
}

struct Followed {
    search: Search,
    files: Arc<Files>,
    /// Resolves when there is more to read.
    growth: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// It is in the queue.
    queued: bool,
}

struct State {
    thread: FollowThread,
    searches: BTreeMap<Key, Followed>,
    /// Those that have something to read, in turn.
    ready: VecDeque<Key>,
    /// When an open line counts as it stands.
    quiet: BTreeSet<(u64, Key)>,
    trees: Trees,
}

impl FollowThread {
    /// Follows until whoever sends commands is gone.
    pub(crate) fn run(self) {
        let mut state = State {
            thread: self,
            searches: BTreeMap::new(),
            ready: VecDeque::new(),
            quiet: BTreeSet::new(),
            trees: Trees::default(),
        };
        loop {
            match state.thread.commands.try_recv() {
                Ok(FollowCommand::Quit) | Err(TryRecvError::Disconnected) => return,
                Ok(command) => {
                    state.obey(command);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
            }
            state.time_passes();
            if let Some(key) = state.ready.pop_front() {
                state.turn(key);
                continue;
            }
            match state.sleep() {
                Ok(FollowCommand::Quit) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(command) => state.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Wakes the thread for one search.
struct Grown(Sender<FollowCommand>, Key);
impl Wake for Grown {
    fn wake(self: Arc<Self>) {
        // A thread that has ended follows nothing.
        let _ = self.0.send(FollowCommand::Grown(self.1));
    }
}

impl State {
    fn sleep(&self) -> Result<FollowCommand, RecvTimeoutError> {
        let quiet = self.quiet.first().map(|(us, _)| self.thread.clock.at_us(*us));
        let until = [quiet, self.trees.next_at()].into_iter().flatten().min();
        match until {
            Some(until) => self.thread.commands.recv_deadline(until),
            None => self.thread.commands.recv().map_err(RecvTimeoutError::from),
        }
    }

    fn obey(&mut self, command: FollowCommand) {
        match command {
            FollowCommand::Follow(follow, view) => self.follow(&follow, view),
            FollowCommand::Unfollow(unfollow) => self.unfollow(unfollow.call),
            FollowCommand::Ports(call, view) => self.ports(call, view),
            FollowCommand::Grown(key) => self.enqueue(key),
            FollowCommand::Quit => {}
        }
    }

    fn follow(&mut self, follow: &Follow, view: Option<TreeView>) {
        let call = follow.call;
        let now_us = self.thread.clock.now_us();
        let silent_since_us = now_us.saturating_sub(follow.silence_ms.saturating_mul(1_000));
        let growth = self.thread.outputs.growth(follow.command_id);
        let files = Arc::new(Files { paths: Paths::of(&self.thread.root, follow.command_id), growth });
        let view = view.map(Arc::new);
        for (index, condition) in follow.conditions.iter().enumerate() {
            if let Some(search) = Search::new(index, condition, silent_since_us) {
                let key = (call, index);
                let (files, growth) = (files.clone(), None);
                self.searches.insert(key, Followed { search, files, growth, queued: false });
                self.enqueue(key);
                continue;
            }
            let waits_for = match condition {
                Condition::Port { port } => WaitsFor::Port(*port),
                Condition::Input => WaitsFor::Input,
                _ => continue,
            };
            match &view {
                Some(view) => self.trees.add(follow.n, (call, index), waits_for, view),
                // It has ended meanwhile, and the wait hears of it.
                None => self.tell(call, ConditionOpen { index, unseen: 0 }),
            }
        }
    }

    fn unfollow(&mut self, call: CallId) {
        let keys: Vec<Key> =
            self.searches.range((call, 0)..=(call, usize::MAX)).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.remove(key));
        self.trees.remove(call);
    }

    fn remove(&mut self, key: Key) {
        self.searches.remove(&key);
        self.quiet.retain(|(_, quiet)| *quiet != key);
        self.ready.retain(|ready| *ready != key);
    }

    fn enqueue(&mut self, key: Key) {
        if let Some(followed) = self.searches.get_mut(&key)
            && !std::mem::replace(&mut followed.queued, true)
        {
            self.ready.push_back(key);
        }
    }

    fn turn(&mut self, key: Key) {
        let Some(followed) = self.searches.get_mut(&key) else { return };
        (followed.queued, followed.growth) = (false, None);
        let (call, _) = key;
        let mut told = Vec::new();
        let turn =
            followed.search.turn(&followed.files, self.thread.clock.now_us(), &mut |event| told.push(event));
        match turn {
            Turn::More => self.enqueue(key),
            Turn::Finished => self.remove(key),
            Turn::Waits(quiet_at_us) => {
                self.quiet.retain(|(_, quiet)| *quiet != key);
                self.quiet.extend(quiet_at_us.map(|us| (us, key)));
                self.await_growth(key);
            }
        }
        told.into_iter().for_each(|event| self.tell(call, event));
    }

    /// Asks to be told when there is more.
    fn await_growth(&mut self, key: Key) {
        let Some(followed) = self.searches.get_mut(&key) else { return };
        let (files, which, offset) =
            (followed.files.clone(), followed.search.which, followed.search.wait_at());
        let mut growth = Box::pin(async move {
            if let Some(growth) = &files.growth {
                next_byte(growth, which, offset).await;
            }
        });
        let waker = Waker::from(Arc::new(Grown(self.thread.own.clone(), key)));
        match growth.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => followed.growth = Some(growth),
            // It has come meanwhile.
            Poll::Ready(()) => self.enqueue(key),
        }
    }

    fn time_passes(&mut self) {
        let now_us = self.thread.clock.now_us();
        while let Some((_, key)) = self.quiet.first().copied().filter(|(us, _)| *us <= now_us) {
            self.quiet.pop_first();
            self.enqueue(key);
        }
        if self.trees.next_at().is_some_and(|at| at <= Instant::now()) {
            for ((call, index), seen) in self.trees.look() {
                self.tell(call, seen.into_event(index));
            }
        }
    }

    fn ports(&mut self, call: CallId, view: Option<TreeView>) {
        let (ports, unseen) = match view.as_ref().map(super::trees::ports_of) {
            None => (Ok(Vec::new()), 0),
            Some(Ok((ports, unseen))) => (Ok(ports), unseen),
            Some(Err(why)) => (Err(why), 0),
        };
        let seen = PortsSeen { call, ports, unseen };
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Supervisor, seen));
    }

    fn tell(&self, call: CallId, event: impl Into<Event>) {
        // A graph that has ended hears nothing.
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Wait(call.0), event));
    }
}

/// What a look at a tree gave for one condition.
pub(super) enum Sighting {
    Met(ostler_messages::Met),
    /// So many processes could not be looked at.
    Open(u64),
    Refused(String),
}
impl Sighting {
    fn into_event(self, index: usize) -> Event {
        match self {
            Sighting::Met(by) => ostler_messages::ConditionMet { index, by }.into(),
            Sighting::Open(unseen) => ConditionOpen { index, unseen }.into(),
            Sighting::Refused(why) => ConditionNever { index, stopped: None, refused: Some(why) }.into(),
        }
    }
}
