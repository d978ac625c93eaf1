//! The inbox of a session: a durable consumer of the engine over the results of the session.
//!
//! What the engine has delivered stands in a buffer of this process until a call's value is made of it, so a call can be dropped at any await and nothing waits for the engine
//! to deliver it again.

mod consumer;
mod sort;

use super::{Call, call::Finish};
use crate::{
    errors::{Error, server},
    store::Store,
};
use async_nats::jetstream::{
    self, AckKind,
    consumer::{PullConsumer, pull},
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use ostler::{CommandId, Entry, Filter, REDELIVER_MS, SessionId};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle as Runtime,
    sync::{Mutex as AsyncMutex, Notify},
    time::{sleep, timeout},
};

/// How long the engine waits for an acknowledgement of what it has delivered.
const ACK_WAIT: Duration = Duration::from_millis(REDELIVER_MS);
/// How often the engine is told that what stands in the buffer is not forgotten.
const KEEP_ALIVE: Duration = Duration::from_millis(REDELIVER_MS / 3);
/// Unacknowledged entries of a session; beyond it the engine delivers nothing more.
const ACK_PENDING: i64 = 1_000;
/// Entries that are asked for at a time, so held in this process beyond what a call wants.
const BATCH: usize = 64;
/// Entries that wait here for a reader whose filter they fit: of each command there is one at most.
const READY_MAX: usize = 800;
/// Longest wait of one request to the engine; who waits longer asks again.
const POLL: Duration = Duration::from_secs(5);
/// How long it is waited before the engine is asked again, when it could not answer, or had nothing that fits.
const RETRY: Duration = Duration::from_millis(200);
/// In errors.
const READ: &str = "read the inbox";
/// Of so many entries that went out it is known that they did: the engine may deliver one again whose acknowledgement was lost.
const REMEMBERED: usize = 4_096;

/// The inbox of one session. Entries stand in the engine, first in first out, until somebody has them and it is acknowledged, whatever becomes of hosts meanwhile.
///
/// A value and its clones are one reader. When the last is dropped, or its process is gone, what it has read and not acknowledged comes again: at once, or after a minute.
/// An entry's `sequence` is the engine's: it grows, and not by one.
#[derive(Clone)]
pub struct Inbox(Arc<Owner>);

/// Shared by the clones of an inbox and its calls, and by nothing that goes on by itself.
struct Owner(Arc<Reader>);

struct Reader {
    runtime: Runtime,
    store: Arc<Store>,
    session: SessionId,
    /// Made by the first that reads: a server has room for so many, and a session that nobody reads needs none.
    consumer: AsyncMutex<Option<PullConsumer>>,
    buffer: Mutex<Buffer>,
    /// One asks the engine at a time; the others get what it brings.
    fetching: Arc<AsyncMutex<()>>,
    /// That one waits: whatever there was is in the buffer.
    waiting: AtomicBool,
    /// Something has come into the buffer.
    came: Notify,
    /// Nobody reads any more: what comes goes back at once.
    closed: AtomicBool,
    /// What was read does not come again as long as somebody reads.
    keeps_read: AtomicBool,
}
#[derive(Default)]
struct Buffer {
    ready: VecDeque<Slot>,
    /// Read, and not acknowledged.
    read: BTreeMap<u64, Slot>,
    /// Numbers that went out and were acknowledged, the newest last.
    done: VecDeque<u64>,
}
#[derive(Clone)]
struct Slot {
    entry: Entry,
    message: Arc<jetstream::Message>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("session", &self.0.0.session).finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        let buffer = std::mem::take(&mut *super::lock(&self.0.buffer));
        for slot in buffer.ready.into_iter().chain(buffer.read.into_values()) {
            // It only goes into the queue of the connection, whose end waits for what is in it. One that finds no room comes again by itself.
            let _ = slot.message.ack_with(AckKind::Nak(None)).now_or_never();
        }
    }
}

impl Inbox {
    pub(super) fn new(runtime: Runtime, store: Arc<Store>, session: &SessionId) -> Inbox {
        let reader = Arc::new(Reader {
            runtime: runtime.clone(),
            store,
            session: session.clone(),
            consumer: AsyncMutex::default(),
            buffer: Mutex::default(),
            fetching: Arc::default(),
            waiting: AtomicBool::new(false),
            came: Notify::new(),
            closed: AtomicBool::new(false),
            keeps_read: AtomicBool::new(false),
        });
        runtime.spawn(keep_alive(Arc::downgrade(&reader)));
        Inbox(Arc::new(Owner(reader)))
    }

    /// Takes out what fits and is there now. It is acknowledged when the caller has it: a host that dies at that moment gets it again.
    pub fn drain(&self) -> Call<Vec<Entry>> {
        self.receive(Filter::any(), usize::MAX, Duration::ZERO)
    }
    /// Takes out entries that fit, at most so many, and waits for the first up to `timeout`. Safe to drop.
    pub fn receive(&self, filter: Filter, max: usize, timeout: Duration) -> Call<Vec<Entry>> {
        self.take(filter, max, timeout, true)
    }
    /// Reads what fits and is there now, without taking it out: what is not [acknowledged](Inbox::acknowledge) within a minute, or
    /// before this reader is dropped, comes again.
    pub fn read(&self, filter: Filter, max: usize) -> Call<Vec<Entry>> {
        self.read_within(filter, max, Duration::ZERO)
    }
    /// The same, and waits for the first up to `timeout`.
    pub fn read_within(&self, filter: Filter, max: usize, timeout: Duration) -> Call<Vec<Entry>> {
        self.take(filter, max, timeout, false)
    }
    /// Waits until there is one that fits, and leaves it there; false: the time is up. Safe to drop.
    pub fn wait(&self, filter: Filter, timeout: Duration) -> Call<bool> {
        let owner = self.0.clone();
        Call::new(&self.0.0.runtime, async move {
            let until = Instant::now().checked_add(timeout);
            Ok(!some(owner, &filter, 1, until).await?.slots.is_empty())
        })
    }
    /// From now on what this reader and its clones have read comes again only when it is dropped, or its process is gone, however long that takes.
    #[must_use = "the value that is returned is the reader"]
    pub fn keep_read(self) -> Inbox {
        self.0.0.keeps_read.store(true, Ordering::Release);
        self
    }
    fn take(&self, filter: Filter, max: usize, timeout: Duration, acknowledge: bool) -> Call<Vec<Entry>> {
        let owner = self.0.clone();
        Call::handing_over(&self.0.0.runtime, async move {
            let until = Instant::now().checked_add(timeout);
            let held = some(owner, &filter, max, until).await?;
            Ok(Box::new(move || Ok(held.hand_over(acknowledge))) as Finish<_>)
        })
    }
    /// Takes out what this reader was given, up to this number; answers how many entries that were. Each is acknowledged twice over: the engine has said that it knows.
    ///
    /// # Errors
    /// [`Error::Server`]: it is not known of all of them; those come again.
    pub fn acknowledge(&self, up_to: u64) -> Call<u64> {
        self.acknowledge_if(move |sequence| sequence <= up_to)
    }
    /// Takes out the entries of these numbers that this reader was given.
    ///
    /// # Errors
    /// As [`acknowledge`](Inbox::acknowledge).
    pub fn acknowledge_these(&self, sequences: &[u64]) -> Call<u64> {
        let sequences = sequences.to_vec();
        self.acknowledge_if(move |sequence| sequences.contains(&sequence))
    }
    fn acknowledge_if(&self, fits: impl Fn(u64) -> bool + Send + 'static) -> Call<u64> {
        let owner = self.0.clone();
        Call::new(&self.0.0.runtime, async move {
            let reader = &owner.0;
            let read = super::lock(&reader.buffer).read.clone();
            let slots: Vec<(u64, Slot)> = read.into_iter().filter(|(sequence, _)| fits(*sequence)).collect();
            let told = join_all(slots.iter().map(|(_, slot)| timeout(POLL, slot.message.double_ack()))).await;
            let (mut count, mut failed) = (0, None);
            for ((sequence, _), told) in slots.iter().zip(told) {
                match told {
                    Ok(Ok(())) => {
                        let mut buffer = super::lock(&reader.buffer);
                        buffer.read.remove(sequence);
                        buffer.is_done(*sequence);
                        count += 1;
                    }
                    Ok(Err(error)) => failed = Some(error.to_string()),
                    Err(_) => failed = Some("no answer".to_owned()),
                }
            }
            failed.map_or(Ok(count), |why| Err(Error::Server { what: "acknowledge", why }))
        })
    }
}

impl Buffer {
    /// What waits here of a command goes: nobody is to have it any more.
    fn forget(&mut self, command: CommandId) {
        self.ready.retain(|there| {
            let is_of_it = sort::command(&there.entry) == Some(command);
            if is_of_it {
                // One that does not arrive is sorted out when it is delivered again.
                let _ = there.message.ack().now_or_never();
            }
            !is_of_it
        });
    }
    fn is_done(&mut self, sequence: u64) {
        self.done.push_back(sequence);
        if self.done.len() > REMEMBERED {
            self.done.pop_front();
        }
    }
}

/// Entries that are a call's until its value is made; dropped before, they are ready again, in their places.
struct Held {
    owner: Arc<Owner>,
    slots: VecDeque<Slot>,
}
impl Held {
    /// The caller has them from now on.
    fn hand_over(mut self, acknowledge: bool) -> Vec<Entry> {
        let slots = std::mem::take(&mut self.slots);
        let entries = slots.iter().map(|slot| slot.entry.clone()).collect();
        let mut buffer = super::lock(&self.owner.0.buffer);
        if !acknowledge {
            buffer.read.extend(slots.into_iter().map(|slot| (slot.entry.sequence, slot)));
            return entries;
        }
        slots.iter().for_each(|slot| buffer.is_done(slot.entry.sequence));
        drop(buffer);
        for slot in slots {
            // Into the queue of the connection, if there is room. One that does not arrive is sent when the entry is delivered again, which is known here.
            if slot.message.ack().now_or_never().is_none() {
                self.owner.0.runtime.spawn(async move { slot.message.ack().await.map_err(drop) });
            }
        }
        entries
    }
}
impl Drop for Held {
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut buffer = super::lock(&self.owner.0.buffer);
        for slot in std::mem::take(&mut self.slots).into_iter().rev() {
            buffer.ready.push_front(slot);
        }
        drop(buffer);
        // Somebody else may want them.
        self.owner.0.came.notify_waiters();
    }
}

/// Entries that fit, when there are some, or when the time is up.
async fn some(owner: Arc<Owner>, filter: &Filter, max: usize, until: Option<Instant>) -> Result<Held, Error> {
    let reader = &owner.0;
    let (mut asked, mut failed) = (false, None);
    loop {
        let came = reader.came.notified();
        let held = ready(&owner, filter, max);
        let left = until.map_or(POLL, |until| until.saturating_duration_since(Instant::now()));
        let has_all = asked || reader.waiting.load(Ordering::Acquire);
        if !held.slots.is_empty() || max == 0 || (left.is_zero() && has_all) {
            return Ok(held);
        }
        drop(held);
        if left.is_zero()
            && let Some(error) = failed
        {
            return Err(error);
        }
        tokio::select! {
            turn = reader.fetching.clone().lock_owned() => {
                // Whoever asked meanwhile may have brought it.
                if super::lock(&reader.buffer).ready.iter().any(|slot| filter.fits(&slot.entry)) {
                    continue;
                }
                // On its own: a call that is dropped drops nothing that is on its way here.
                let (fetcher, wait) = (reader.clone(), left.min(POLL));
                let fetched = tokio::spawn(async move {
                    let fetched = fetcher.fetch(wait).await;
                    drop(turn);
                    fetched
                });
                match fetched.await {
                    // What came may fit nobody here, and there may be more behind it.
                    Ok(Ok(brought)) => (asked, failed) = (!brought, None),
                    // A server that is away for a while is waited for, as an entry is.
                    Ok(Err(error)) => {
                        *reader.consumer.lock().await = None;
                        failed = Some(error);
                        sleep(left.min(RETRY)).await;
                    }
                    Err(_) => return Err(Error::Closed),
                }
            }
            () = came => {}
            () = sleep(left), if !left.is_zero() => {}
        }
    }
}

fn ready(owner: &Arc<Owner>, filter: &Filter, max: usize) -> Held {
    let mut buffer = super::lock(&owner.0.buffer);
    let (mut slots, mut kept) = (VecDeque::new(), VecDeque::new());
    for slot in std::mem::take(&mut buffer.ready) {
        let fits = slots.len() < max && filter.fits(&slot.entry);
        if fits { slots.push_back(slot) } else { kept.push_back(slot) }
    }
    buffer.ready = kept;
    drop(buffer);
    Held { owner: owner.clone(), slots }
}

impl Reader {
    /// What is there now; if nothing is, waits for one. Whether something came.
    async fn fetch(&self, wait: Duration) -> Result<bool, Error> {
        if super::lock(&self.buffer).ready.len() >= READY_MAX {
            // They wait for a reader with another filter. Whoever wants none of them waits in vain until they are read.
            sleep(wait.min(RETRY)).await;
            return Ok(false);
        }
        let consumer = self.consumer().await?;
        let now = timeout(POLL, async {
            self.take_up(consumer.fetch().max_messages(BATCH).messages().await).await
        });
        let some = now.await.map_err(|_| Error::Server { what: READ, why: "no answer".into() })??;
        if some || wait.is_zero() {
            return Ok(some);
        }
        self.waiting.store(true, Ordering::Release);
        // Whoever wants only what is there has it.
        self.came.notify_waiters();
        let one = consumer.batch().max_messages(1).expires(wait);
        let one = timeout(wait + POLL, async { self.take_up(one.messages().await).await }).await;
        self.waiting.store(false, Ordering::Release);
        one.unwrap_or(Ok(false))
    }

    /// Whether there were any.
    async fn take_up(&self, batch: Result<pull::Batch, pull::BatchError>) -> Result<bool, Error> {
        let mut batch = batch.map_err(server(READ))?;
        let mut some = false;
        while let Some(message) = batch.next().await {
            self.arrived(message.map_err(server(READ))?).await;
            some = true;
        }
        Ok(some)
    }
}

/// The engine would deliver it again, to this reader or another one.
async fn keep_alive(reader: Weak<Reader>) {
    loop {
        sleep(KEEP_ALIVE).await;
        let Some(reader) = reader.upgrade() else { return };
        let messages: Vec<_> = {
            let buffer = super::lock(&reader.buffer);
            let read = buffer.read.values().filter(|_| reader.keeps_read.load(Ordering::Acquire));
            buffer.ready.iter().chain(read).map(|slot| slot.message.clone()).collect()
        };
        join_all(messages.iter().map(|message| message.ack_with(AckKind::Progress))).await;
    }
}
