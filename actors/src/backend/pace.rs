//! When virtual time may move: while the host does nothing but wait.
//!
//! * in: polls of the host's waits, its steps, and what the graph tells it
//! * out: that it is idle, said once after each answer; what it is told, one after the other, each when it is idle
//! * keeps: between an answer and what the host does about it no time passes and nothing else is told, in whatever order it looks at what it waits for. So it sees
//!   what comes at the same moment in the order of the graph, though the task that says it is idle has not finished its look.

use ostler_messages::CallId;
use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    thread::{self, ThreadId},
};

use super::{OutputWatch, Subscriber};

thread_local! {
    /// What the host has done on this thread: sent, taken, dropped. A task that has looked at all that it waits for has done so on one.
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Looks of one wait in a row between which nothing has happened: a task may look at its waits in another order each time, and only between the first
/// and the third it has looked at each of the others for certain.
const LOOKS: u8 = 3;

/// What only a scripted world takes from the host.
pub(crate) enum WorldInput {
    /// The host has begun to wait for this call.
    Blocked(CallId),
    /// The host has begun to wait for the news of a subscriber.
    Listens(Arc<Subscriber>),
    /// A reader waits for output, or until virtual time has passed.
    Watch(OutputWatch),
    /// The host does nothing but wait, as of so many answers.
    Idle(u64),
    /// A wait is given up that is no call. Then `taken` is dropped.
    Left { taken: oneshot::Sender<()> },
    /// The host dies.
    Crash { done: oneshot::Sender<()> },
    /// Moves virtual time.
    Advance { by_ms: u64, done: oneshot::Sender<()> },
    /// Moves virtual time until nothing happens any more, or so many things have happened. How many microseconds that took, and what still
    /// would happen.
    UntilQuiet { max_events: u64, done: oneshot::Sender<(u64, Vec<String>)> },
}

/// Between the host's threads and the world's.
#[derive(Default)]
pub(crate) struct Pace {
    /// Answers to waits for which the host was idle, and waits that it has given up.
    answers: AtomicU64,
    next: AtomicU64,
    waiters: Mutex<BTreeMap<u64, Waker>>,
    held: Mutex<VecDeque<Told>>,
}

/// Hands something to the host.
type Told = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

impl Pace {
    fn waiters(&self) -> MutexGuard<'_, BTreeMap<u64, Waker>> {
        // Each change is one insertion or removal.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn held(&self) -> MutexGuard<'_, VecDeque<Told>> {
        // As with the waiters.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The graph has something for the host, which is told when it is idle, after what was there before. Bounded by the calls that are open
    /// and by what one input brings.
    pub(crate) fn hold(&self, told: impl FnOnce() + Send + 'static) {
        self.held().push_back(Box::new(told));
    }
    pub(crate) fn holds(&self) -> bool {
        !self.held().is_empty()
    }
    /// Tells the host what has waited the longest.
    pub(crate) fn tell(&self) {
        let told = self.held().pop_front();
        // It wakes the host, so not with the lock.
        if let Some(told) = told {
            told();
        }
    }
    /// The host has done something.
    pub(crate) fn step(&self) {
        // Not while the thread ends: then nothing waits on it any more.
        let _ = STEPS.try_with(|steps| steps.set(steps.get() + 1));
    }
    /// A wait of the host's is over: whatever else waits says anew that it does.
    pub(crate) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        let waiters = mem::take(&mut *self.waiters());
        // They run what the host has written, so not with the lock.
        waiters.into_values().for_each(Waker::wake);
    }
    /// Whether nothing was answered since the host said that it was idle.
    pub(crate) fn is_current(&self, answers: u64) -> bool {
        self.answers.load(Ordering::SeqCst) == answers
    }
}

/// One wait of the host's. Dropped with it.
#[derive(Debug)]
pub(crate) struct Waiting {
    id: u64,
    pace: Arc<Pace>,
    /// Answers and steps at the last look, on which thread, and how often in a row.
    seen: Option<((u64, u64, ThreadId), u8)>,
    announced: Option<u64>,
    begun: bool,
}
impl Waiting {
    pub(crate) fn new(pace: Arc<Pace>) -> Waiting {
        let id = pace.next.fetch_add(1, Ordering::Relaxed);
        Waiting { id, pace, seen: None, announced: None, begun: false }
    }

    /// It was polled and is not over. When its task has looked at everything without taking a step, the host is idle: then as of
    /// which answers, once.
    pub(crate) fn idle(&mut self, cx: &Context<'_>) -> Option<u64> {
        let before = self.pace.waiters().insert(self.id, cx.waker().clone());
        drop(before);
        // After that: whoever is not woken sees here why it would have been.
        let steps = STEPS.try_with(Cell::get).unwrap_or_default();
        let now = (self.pace.answers.load(Ordering::SeqCst), steps, thread::current().id());
        if self.announced == Some(now.0) {
            return None;
        }
        let looks = match self.seen {
            Some((seen, looks)) if seen == now => looks.saturating_add(1),
            _ => 1,
        };
        self.seen = Some((now, looks));
        if looks >= LOOKS {
            self.announced = Some(now.0);
            return Some(now.0);
        }
        cx.waker().wake_by_ref();
        None
    }
    /// True once. What is waited for is told at the first look: before anybody's last look says that the host is idle.
    pub(crate) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }
    /// Whether it was ever polled.
    pub(crate) fn has_begun(&self) -> bool {
        self.seen.is_some()
    }
}
impl Drop for Waiting {
    fn drop(&mut self) {
        let waker = self.pace.waiters().remove(&self.id);
        // It may run what the host has written.
        drop(waker);
    }
}
