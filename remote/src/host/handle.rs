//! A handle, as a host holds it: a name, which ends nothing when it is dropped.

use super::{Call, ReadOutput, Session, ask::WORKER_PATIENCE, sealed};
use crate::{
    connect::ANSWER_TIME,
    errors::{Error, server},
    names::{LaunchId, WorkerName},
    store::{self, Created, Store},
    words::{End, Stored, WorkerAsk, WorkerReply},
    worker::{Pause, READ_WAIT},
};
use futures_util::StreamExt;
use ostler::{Condition, ReadRequest, Record, RecordingStopped, StopCause, WaitEnd};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// How long a worker is waited for when it is asked something that it answers at once.
pub(super) const WORKER_TIME: Duration = Duration::from_secs(5);
/// A result is told of without its message being kept; who has missed that finds it by looking.
const LOOK: Duration = Duration::from_secs(2);

/// A result, to who has asked for it by its handle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// Whether it was taken with this answer: then no reader of the inbox gets it any more. One that was reading it at this moment has it too.
    pub taken: bool,
    /// The result.
    pub record: Arc<Record>,
}

/// What became of a cancel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cancelled {
    /// Whether it was stopped because somebody had cancelled it; false if it had ended before.
    pub cancelled: bool,
    /// As in [`Ended`].
    pub taken: bool,
    /// The result.
    pub record: Arc<Record>,
}

/// What ended a wait.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Waited {
    /// The condition that held, the end of the command, or of the time.
    pub end: WaitEnd,
    /// The record as of that moment.
    pub record: Arc<Record>,
    /// Processes that could not be looked at.
    pub unseen: u64,
    /// The recording of the output has stopped: what came after it was not searched.
    pub recording_stopped: Option<RecordingStopped>,
}

/// One running or finished command on some worker.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);
struct Inner {
    session: Session,
    launch: LaunchId,
    worker: WorkerName,
    record: Record,
    digest: OnceLock<String>,
    /// The call that has launched it, if that is known.
    by: OnceLock<String>,
    /// That was the call which has given this value.
    is_new: AtomicBool,
    /// How it ended, once that is known: it does not change any more.
    ended: OnceLock<Seen>,
}
/// The end of a command as it was read first, and its revision then, if that is known: set as one, so that nobody writes over what another one has taken meanwhile.
type Seen = (Stored, Option<u64>);
impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("id", &self.0.launch).finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn new(
        session: Session,
        launch: LaunchId,
        worker: WorkerName,
        record: Record,
        stored: Option<Stored>,
    ) -> Handle {
        let ended = stored.map(|stored| OnceLock::from((stored, None))).unwrap_or_default();
        Handle(Arc::new(Inner {
            session,
            launch,
            worker,
            record,
            digest: OnceLock::new(),
            by: OnceLock::new(),
            is_new: AtomicBool::new(false),
            ended,
        }))
    }
    pub(super) fn with_digest(self, digest: &str) -> Handle {
        let _ = self.0.digest.set(digest.to_owned());
        self
    }
    pub(super) fn with_call(self, call: &str) -> Handle {
        let _ = self.0.by.set(call.to_owned());
        self
    }
    /// Of this call, if it has launched it.
    pub(super) fn of_call(self, call: &str) -> Handle {
        let is_new = self.0.by.get().is_some_and(|by| by == call);
        self.0.is_new.store(is_new, Ordering::Relaxed);
        self
    }
    /// Whether the call that has given this value has launched the command; false: it was there before, under the same id or key, or it is not known.
    pub fn is_new(&self) -> bool {
        self.0.is_new.load(Ordering::Relaxed)
    }
    /// Of the request; "" if that is not known.
    pub(super) fn digest(&self) -> &str {
        self.0.digest.get().map_or("", String::as_str)
    }
    /// Its name: by it any host finds it again.
    pub fn id(&self) -> &LaunchId {
        &self.0.launch
    }
    /// Who runs it.
    pub fn worker(&self) -> &WorkerName {
        &self.0.worker
    }
    /// The record as it was when this value was made. Ids, process id and paths are those of the worker's machine.
    pub fn record(&self) -> &Record {
        &self.0.record
    }
    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }
    pub(super) fn store(&self) -> &Store {
        self.0.session.store()
    }
    pub(super) fn key(&self) -> String {
        self.0.session.key(&self.0.launch)
    }
    pub(super) fn call<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Call<T> {
        self.0.session.remote().call(work)
    }

    /// Waits for the result and **takes** it: then no reader of the inbox gets it any more. One that is reading it at this very moment has it too, which is told
    /// apart by nothing: use one of the two ways for a handle. Dropped before it has returned, the result goes to the inbox; at the moment of its
    /// return it may be taken and lost to both, and can still be asked for by the handle.
    pub fn result(&self) -> Call<Ended> {
        let handle = self.clone();
        self.call(async move {
            handle.await_end().await?;
            handle.take().await
        })
    }
    /// The same with a limit: none when the time is up. Then the result goes to the inbox as ever.
    pub fn result_within(&self, time: Duration) -> Call<Option<Ended>> {
        let handle = self.clone();
        self.call(async move {
            match handle.await_end_within(time).await? {
                Some(_) => Ok(Some(handle.take().await?)),
                None => Ok(None),
            }
        })
    }
    /// Waits for the result and takes nothing: it goes where it goes without this call. Safe to drop.
    pub fn exited(&self) -> Call<Arc<Record>> {
        let handle = self.clone();
        self.call(async move {
            handle.await_end().await?;
            handle.whole().await
        })
    }
    /// The same with a limit: when the time is up, the record as it stands then, with `status: running`. Safe to drop.
    ///
    /// # Errors
    /// As [`status`](Handle::status), when the time is up.
    pub fn exited_within(&self, time: Duration) -> Call<Arc<Record>> {
        let handle = self.clone();
        self.call(async move {
            match handle.await_end_within(time).await? {
                Some(_) => handle.whole().await,
                None => handle.stands().await,
            }
        })
    }
    /// The record as it is at this moment: from its worker while it runs, with the output so far. Takes nothing. Safe to drop.
    ///
    /// # Errors
    /// [`Error::WorkerSilent`]: its worker does not answer, and there is no result yet.
    pub fn status(&self) -> Call<Arc<Record>> {
        let handle = self.clone();
        self.call(async move { handle.stands().await })
    }
    async fn stands(&self) -> Result<Arc<Record>, Error> {
        let ask = WorkerAsk::Status { key: self.key() };
        match self.ask_until_ended(&ask).await? {
            Some(WorkerReply::Status { record }) => Ok(Arc::from(record)),
            Some(other) => Err(self.unexpected(other)),
            None => self.whole().await,
        }
    }
    /// Terminates the tree, kills after its grace what is left of it, and answers with the result, which comes here and not to the inbox. A second cancel means now:
    /// [`cancel_now`](Handle::cancel_now).
    ///
    /// Dropped after it was polled, the command is stopped all the same, and its result comes to the inbox, within 5 s of its end.
    ///
    /// # Errors
    /// [`Error::WorkerSilent`]: nobody knows whether the worker has heard of it.
    pub fn cancel(&self) -> Call<Cancelled> {
        self.cancel_with(false, true)
    }
    /// The same without its grace.
    pub fn cancel_now(&self) -> Call<Cancelled> {
        self.cancel_with(true, true)
    }
    /// The same as [`cancel`](Handle::cancel); the result comes here and to the inbox.
    pub fn cancel_and_notify(&self) -> Call<Cancelled> {
        self.cancel_with(false, false)
    }
    /// The same as [`cancel_now`](Handle::cancel_now); the result comes here and to the inbox.
    pub fn cancel_now_and_notify(&self) -> Call<Cancelled> {
        self.cancel_with(true, false)
    }
    fn cancel_with(&self, now: bool, take: bool) -> Call<Cancelled> {
        let handle = self.clone();
        self.call(async move {
            let ask = WorkerAsk::Cancel { key: handle.key(), hold: take, now };
            let stopping = match handle.ask_until_ended(&ask).await? {
                Some(WorkerReply::Stopping) => true,
                Some(other) => return Err(handle.unexpected(other)),
                None => false,
            };
            // Whoever has answered is there, and so is the server.
            handle.watch(None).await?;
            let Ended { taken, record } = match take {
                true => handle.take().await?,
                false => Ended { taken: false, record: handle.whole().await? },
            };
            let cancelled = stopping && record.stop_cause == Some(StopCause::Cancelled);
            Ok(Cancelled { cancelled, taken, record })
        })
    }
    /// Waits until one of these conditions holds, or the command has ended and what it has written was searched, for so long. Safe to drop.
    ///
    /// # Errors
    /// A condition that can't be; [`Error::WorkerSilent`]: its worker has not answered, nor when it was asked again: at most 40 s after the time was up.
    pub fn wait_for(&self, conditions: impl IntoIterator<Item = Condition>, time: Duration) -> Call<Waited> {
        let (handle, conditions) = (self.clone(), conditions.into_iter().collect::<Vec<_>>());
        self.call(async move {
            let until = Instant::now().checked_add(time);
            loop {
                // A worker waits for so long at a time, so that a wait that nobody wants any more is gone soon.
                let left = until.map_or(READ_WAIT, |until| until.saturating_duration_since(Instant::now()));
                let timeout_ms = u64::try_from(left.min(READ_WAIT).as_millis()).unwrap_or(u64::MAX);
                let ask =
                    WorkerAsk::WaitFor { key: handle.key(), conditions: Vec::clone(&conditions), timeout_ms };
                match handle.ask_for(&ask, left.min(READ_WAIT) + WORKER_TIME).await? {
                    Some(WorkerReply::Waited { end: WaitEnd::TimedOut, .. })
                        if left > READ_WAIT || until.is_none() => {}
                    Some(WorkerReply::Waited { end, record, unseen, recording_stopped }) => {
                        return Ok(Waited { end, record: Arc::from(record), unseen, recording_stopped });
                    }
                    Some(other) => return Err(handle.unexpected(other)),
                    None => {
                        let record = handle.whole().await?;
                        let (end, recording_stopped) = handle.searched(&conditions, until).await?;
                        return Ok(Waited { end, record, unseen: 0, recording_stopped });
                    }
                }
            }
        })
    }
    pub(super) fn has_ended(&self) -> Error {
        Error::HandleEnded { launch: self.0.launch.clone() }
    }
    /// Reads the command's output: from its worker while it runs, from the store of objects afterwards. The bytes are the same.
    pub fn read(&self) -> ReadOutput {
        ReadOutput::new(self.clone(), ReadRequest::default())
    }

    /// How it ended, if that is stored.
    pub(super) async fn ended(&self) -> Result<Option<&Stored>, Error> {
        if self.0.ended.get().is_none()
            && let Some((stored, revision)) =
                store::read::<Stored>(&self.store().results, &self.key()).await?
        {
            let _ = self.0.ended.set((stored, Some(revision)));
        }
        Ok(self.stored())
    }

    fn stored(&self) -> Option<&Stored> {
        self.0.ended.get().map(|(stored, _)| stored)
    }

    /// Waits until it is stored how it ended. A server that has answered once may be away for a while, as the command runs for a while; one that never does refuses.
    async fn await_end(&self) -> Result<(), Error> {
        let (until, mut pause) = (Instant::now() + WORKER_PATIENCE, Pause::new());
        loop {
            match self.ended().await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return self.watch(None).await.map(drop),
                Err(Error::Server { .. }) if Instant::now() < until => pause.wait().await,
                Err(error) => return Err(error),
            }
        }
    }
    /// The same up to a time, however short: none when it is up.
    async fn await_end_within(&self, time: Duration) -> Result<Option<&Stored>, Error> {
        match self.ended().await {
            Ok(None) | Err(Error::Server { .. }) => {}
            ended => return ended,
        }
        let watch = self.watch(Instant::now().checked_add(time));
        // Without a connection not even the sending comes back.
        timeout(time.max(WORKER_TIME).saturating_add(ANSWER_TIME), watch).await.unwrap_or(Ok(None))
    }
    async fn watch(&self, until: Option<Instant>) -> Result<Option<&Stored>, Error> {
        if let Some(ended) = self.stored() {
            return Ok(Some(ended));
        }
        let subject = self.store().done(&self.key());
        let mut told = self.store().client.subscribe(subject).await.map_err(server("wait for a result"))?;
        // Before it is looked: what comes between the two is told.
        let _ = timeout(WORKER_TIME, self.store().client.flush()).await;
        loop {
            match self.ended().await {
                Ok(None) | Err(Error::Server { .. }) => {}
                ended => return ended,
            }
            let left = until.map_or(LOOK, |until| until.saturating_duration_since(Instant::now()).min(LOOK));
            if left.is_zero() {
                return Ok(None);
            }
            tokio::select! {
                // A connection that is gone for good tells nothing, at once: then only looking is left.
                told = told.next() => if told.is_none() { sleep(left).await },
                () = sleep(left) => {}
            }
        }
    }

    /// Takes the result that is stored. One of all who try does.
    async fn take(&self) -> Result<Ended, Error> {
        let record = self.whole().await?;
        let (key, taker, mut pause) = (self.key(), nuid::next().to_string(), Pause::new());
        let until = Instant::now() + WORKER_PATIENCE;
        // As it was read a moment ago; if it has changed since, this is refused.
        if let Some((stored, Some(revision))) = self.0.ended.get()
            && stored.taken.is_none()
        {
            let taken = stored.clone().taken_by(&taker, *revision);
            if let Created::New(_) = self.store().replace_result(&key, &taken, *revision).await {
                return Ok(Ended { taken: true, record });
            }
        }
        loop {
            match store::read::<Stored>(&self.store().results, &key).await {
                // It is older than results are kept.
                Ok(None) => return Ok(Ended { taken: false, record }),
                // It may be by us: the answer was lost.
                Ok(Some((stored, _))) if stored.taken.is_some() => {
                    return Ok(Ended { taken: stored.taken == Some(taker), record });
                }
                Ok(Some((stored, revision))) => {
                    let taken = stored.taken_by(&taker, revision);
                    if let Created::New(_) = self.store().replace_result(&key, &taken, revision).await {
                        return Ok(Ended { taken: true, record });
                    }
                }
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => {}
            }
            if Instant::now() >= until {
                return Ok(Ended { taken: false, record });
            }
            pause.wait().await;
        }
    }

    /// The result with its texts.
    async fn whole(&self) -> Result<Arc<Record>, Error> {
        let Some(stored) = self.ended().await? else {
            return Err(Error::NotClaimed { launch: self.0.launch.clone() });
        };
        whole(self.store(), &self.key(), stored).await
    }
}

/// The record of a result, with its texts, which may be an object of their own.
pub(super) async fn whole(store: &Store, key: &str, stored: &Stored) -> Result<Arc<Record>, Error> {
    match &stored.end {
        End::Result { record, text: false, .. } => Ok(Arc::new((**record).clone())),
        End::Result { record, text: true, .. } => match sealed::record(store, key).await {
            Ok(whole) => Ok(Arc::new(whole)),
            // It says itself that its texts are left out.
            Err(_) => Ok(Arc::new((**record).clone())),
        },
        End::Refused { .. } => Err(Error::NotClaimed { launch: stored.launch.clone() }),
    }
}
