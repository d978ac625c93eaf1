//! A worker: a graph with a journal that runs what its pool is asked for.
//!
//! ```text
//!            launch: claim ─▶ start ─▶ reply          result: journal ─▶ create ─▶ output ─▶ unclaim ─▶ acknowledge
//! engine ──▶ launches.rs ──▶ graph ──▶ inbox of each session ──▶ deliver.rs ──▶ engine
//!   ▲  │                       ▲
//!   │  └──▶ serve.rs ──────────┘  read, status, cancel, end of a session
//!   └── beat.rs: heartbeats, the lease, what is stopped when it ends; sentinel.rs: others whose lease has ended
//! ```

mod beat;
mod deliver;
mod launches;
mod sentinel;
mod serve;
mod start;

pub(crate) use serve::{PAGE_MAX_BYTES, READ_WAIT};

use crate::{
    clock,
    connect::Connect,
    core::{Lease, Term},
    errors::Error,
    names::{Pool, WorkerName, launch_key},
    store::{Keep, Store},
    words::{Claim, Heartbeat, WorkerReply},
};
use ostler::{Config, Handle, Labels, Ostler, SessionId};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore, watch},
};

/// How long a worker may run what it has claimed after its last heartbeat: a minute.
pub const LEASE: Duration = Duration::from_secs(60);
/// The shortest lease. What is shorter than a pause of the server or of this machine would end commands for nothing.
pub const LEASE_MIN: Duration = Duration::from_secs(2);
/// The longest lease: with its margin it has to be over before the heartbeat that says how long it is goes from the store, a day after it was sent.
pub const LEASE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Clocks that are within their makers' bounds differ by less than this part of a lease in its length; and no less than
/// [`MARGIN_MIN_MS`].
const MARGIN_PART: u64 = 10;
/// What a worker that is late itself may take to stop what runs, before a sentinel says that it is gone.
const MARGIN_MIN_MS: u64 = 1_000;
/// How much of one file of output is kept beyond its worker: 64 MiB.
pub const OUTPUT_MAX_BYTES: u64 = 64 << 20;
/// How many orders of a command are told apart from those that are sent again: more than any host has on their way.
const ORDERS: usize = 64;
/// How long a worker that is told to end waits for its commands to end and their results to be stored.
const END_TIME: Duration = Duration::from_secs(30);

/// What a worker is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Whose launches it takes.
    pub pool: Pool,
    /// Its name; the same after a restart.
    pub name: WorkerName,
    /// How many commands it runs at a time; the processors by default.
    pub slots: u32,
    /// [`LEASE`] by default. The same for all workers of a pool is easiest to reason about; each has its own in its heartbeat.
    pub lease: Duration,
    /// What buckets are made with if there are none.
    pub keep: Keep,
    /// How much of one file of output is kept beyond the worker; [`OUTPUT_MAX_BYTES`] by default. A longer file is read from the worker, as long as
    /// that lives and has it.
    pub output_max_bytes: u64,
    /// What its operator says of it.
    pub labels: Labels,
    /// Where its journal and its lock lie; with the journals of other hosts by default.
    pub state: Option<PathBuf>,
    /// Of its graph. Its journal is the worker's own.
    pub config: Config,
}
impl WorkerOptions {
    /// With every default.
    pub fn new(pool: Pool, name: WorkerName) -> WorkerOptions {
        let slots = std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
        WorkerOptions {
            pool,
            name,
            slots,
            lease: LEASE,
            keep: Keep::default(),
            output_max_bytes: OUTPUT_MAX_BYTES,
            labels: Labels::new(),
            state: None,
            config: Config::new(),
        }
    }
}

/// A worker that runs. Its drop kills what it runs and says so to nobody; [`end`](Worker::end) is the orderly way.
#[derive(Debug)]
pub struct Worker {
    inner: Arc<Inner>,
    /// None once it is shut down.
    runtime: Option<Runtime>,
    over: watch::Receiver<Option<String>>,
}

impl Worker {
    /// Connects, takes over what an earlier life of this worker has left, holds its lease, and takes launches from then on.
    ///
    /// # Errors
    /// There is no server; a worker of this name lives; the graph does not start.
    pub fn start(connect: &Connect, options: WorkerOptions) -> Result<Worker, Error> {
        start::start(connect, options)
    }
    /// The machine and what holds its commands, as it stands in its heartbeat.
    pub fn about(&self) -> Heartbeat {
        self.inner.heartbeat()
    }
    /// What whoever runs it should know: a setting of the server by which a result that was acknowledged can be lost with its machine.
    pub fn warning(&self) -> Option<String> {
        crate::warning(&self.inner.store)
    }
    /// How many commands run, or have results or output that are on their way to the store.
    pub fn running(&self) -> usize {
        self.inner.running().len()
    }
    /// How many sessions are open on it, or have ended with results that are on their way to the store.
    pub fn sessions(&self) -> usize {
        lock(&self.inner.sessions).len()
    }
    /// Waits for its end by itself: another worker of its name has taken its place. Comes back early when `stop` is done.
    ///
    /// # Errors
    /// [`Error::NameInUse`]: its commands are stopped.
    pub fn wait(&mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let over = &mut self.over;
        runtime.block_on(async {
            tokio::select! {
                () = stop => Ok(()),
                other = over.wait_for(Option::is_some) => match other.ok().and_then(|other| other.clone()) {
                    Some(machine) => {
                        Err(Error::NameInUse { worker: self.inner.options.name.clone(), machine })
                    }
                    None => Err(Error::Closed),
                },
            }
        })
    }
    /// Takes nothing more, stops what runs (`lease_lost`: it gives its lease back), stores the results, for up to 30 s, and takes its name off the
    /// list. What could not be stored is in its journal, for its next life.
    ///
    /// # Errors
    /// Something is left to be stored.
    pub fn end(mut self) -> Result<(), Error> {
        let Some(runtime) = self.runtime.take() else { return Ok(()) };
        let ended = runtime.block_on(beat::end(&self.inner, END_TIME));
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    }
}
impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be waited for where it may be dropped: inside another one.
            runtime.shutdown_background();
        }
    }
}

/// What all tasks of a worker share.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) ostler: Ostler,
    pub(crate) options: WorkerOptions,
    /// This life of the worker.
    life: String,
    machine: String,
    place: String,
    lease: Mutex<Lease>,
    /// Its term has changed, or was renewed.
    leased: Notify,
    slots: Arc<Semaphore>,
    /// It holds a slot for the next launch, which is free.
    listening: watch::Sender<bool>,
    running: Mutex<HashMap<String, Running>>,
    /// Sessions that are open, or have ended with something in their inboxes: their results are being delivered.
    sessions: Mutex<HashSet<SessionId>>,
    /// The marks of claims that are being made.
    attempts: Mutex<HashSet<String>>,
    /// One session is opened at a time: one that is being opened can't be opened by another launch, nor used.
    opening: AsyncMutex<()>,
    /// Launches of earlier lives whose results the journal has, until they are in the store.
    recovered: Mutex<HashSet<String>>,
    /// It ends: nothing is taken.
    ending: watch::Sender<bool>,
    /// It can't go on: the machine of the next worker of its name.
    over: watch::Sender<Option<String>>,
    _lock: std::fs::File,
}
impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("name", &self.options.name).finish_non_exhaustive()
    }
}

/// What was claimed, until nothing is to be done for it any more.
struct Running {
    claim: Claim,
    /// Under which it was claimed; none: by an earlier life.
    term: Option<Term>,
    /// From its start until its result is stored.
    handle: Option<Handle>,
    /// It was stopped because its term ended.
    revoked: bool,
    /// Somebody who asked by the handle waits for its result.
    held: bool,
    /// Somebody has cancelled it.
    cancelled: bool,
    /// What was asked of it last, by ids.
    orders: VecDeque<(String, Ordered)>,
    /// Whoever writes progress of it holds this, and whoever stores its result, which is the last.
    progress: Arc<AsyncMutex<Told>>,
    /// Until the result is stored.
    slot: Option<OwnedSemaphorePermit>,
}

/// What was answered to an order, once it is carried out.
type Ordered = Arc<AsyncMutex<Option<WorkerReply>>>;

/// A claim that is being made.
struct Attempt {
    inner: Arc<Inner>,
    mark: String,
}
impl Drop for Attempt {
    fn drop(&mut self) {
        lock(&self.inner.attempts).remove(&self.mark);
    }
}

/// What was told of a command while it ran.
#[derive(Default)]
struct Told {
    /// Its result is being stored: nothing more is told.
    ended: bool,
    /// Some progress was.
    some: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here is half done when a thread panics: each lock is held for one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        lock(&self.running)
    }
    fn held(&self) -> Option<Term> {
        lock(&self.lease).held(clock::now_ms())
    }
    /// The mark of an attempt to claim something.
    fn mark(&self) -> String {
        format!("{}.{}", self.life, nuid::next())
    }
    /// Whether somebody here answers for a claim: it is being made, it runs, or the journal has its result.
    fn knows(&self, claim: &Claim) -> bool {
        let key = launch_key(claim.session.as_str(), &claim.launch);
        // In the order in which one becomes the other.
        lock(&self.attempts).contains(&claim.mark)
            || self.running().get(&key).is_some_and(|running| running.claim.mark == claim.mark)
            || lock(&self.recovered).contains(&key)
    }
    /// Known from now on, until it is dropped.
    fn attempts(self: &Arc<Inner>, mark: &str) -> Attempt {
        lock(&self.attempts).insert(mark.to_owned());
        Attempt { inner: self.clone(), mark: mark.to_owned() }
    }
    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX)
    }
    fn heartbeat(&self) -> Heartbeat {
        let next = usize::from(*self.listening.borrow());
        let free = if self.is_ending() { 0 } else { self.slots.available_permits() + next };
        Heartbeat {
            worker: self.options.name.clone(),
            life: self.life.clone(),
            machine: self.machine.clone(),
            place: self.place.clone(),
            at: clock::stamp(),
            lease_ms: self.lease_ms(),
            slots: self.options.slots,
            free: u32::try_from(free).unwrap_or(u32::MAX),
            ending: self.is_ending(),
            containment: self.ostler.containment().tier,
            cores: std::thread::available_parallelism()
                .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            memory_bytes: start::memory_bytes(),
            labels: self.options.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
    /// Somebody who asked by the handle waits for the result. Whether it is the first that cancels it.
    fn is_cancelled(&self, key: &str, hold: bool) -> bool {
        let mut running = self.running();
        let Some(running) = running.get_mut(key) else { return false };
        running.held |= hold;
        !std::mem::replace(&mut running.cancelled, true)
    }
    /// What was answered to this order; nothing: it is asked for the first time. Held while it is carried out: an answer can be lost, and then it is asked again.
    fn order(&self, key: &str, id: String) -> Option<Ordered> {
        let mut running = self.running();
        let orders = &mut running.get_mut(key)?.orders;
        if let Some((_, answer)) = orders.iter().find(|(known, _)| *known == id) {
            return Some(answer.clone());
        }
        let answer = Arc::default();
        orders.push_back((id, Arc::clone(&answer)));
        if orders.len() > ORDERS {
            orders.pop_front();
        }
        Some(answer)
    }
    fn handle_of(&self, key: &str) -> Option<Handle> {
        self.running().get(key).and_then(|running| running.handle.clone())
    }
}

/// A pause that grows, so that who can't answer is not asked ever more: doubled each time, from 50 ms to 5 s.
pub(crate) struct Pause(Duration);
impl Pause {
    pub(crate) fn new() -> Pause {
        Pause(Duration::from_millis(50))
    }
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(5));
    }
}
