//! The same on the workers of a pool. Paths in records are those of another machine: they are left out, since whoever reads an answer would look for them here.

use super::{Cancelled, Error, Listed, Place, Waited, Written};
use ostler::{
    Command, Condition, Content, Entry, HandleId, Page, PatternSource, ReadRequest, Record, Screen, Stamp,
    Status, UnixSignal,
};
use ostler_remote::{FindLines, Inbox, LaunchId, List, ListRequest};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

/// Of so many commands that run it is asked at a time how they stand.
const ASKED_AT_ONCE: usize = 16;
/// How long a list waits for what the workers say: one that does not answer has not said more than that it runs.
const LIST_TIME: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(super) struct Session {
    session: ostler_remote::Session,
    ends: bool,
}

impl super::Session {
    /// On the workers of a pool. `ends`: the session ends with its server, as one of this machine does; else its commands go on, and a later server goes on with them.
    pub fn of_pool(session: ostler_remote::Session, ends: bool) -> super::Session {
        super::Session(Place::Pool(Session { session, ends }))
    }
}

impl Session {
    pub(super) fn id(&self) -> &ostler::SessionId {
        self.session.id()
    }
    pub(super) async fn launch(&self, command: Command) -> Result<Handle, Error> {
        let handle = self.session.launch(command).await?;
        Ok(Handle::of(handle))
    }
    pub(super) async fn handle(&self, id: HandleId) -> Result<Handle, Error> {
        // What a server of ours has launched is called so. Other hosts can choose other names.
        let launch: LaunchId = id.to_string().parse().map_err(ostler_remote::Error::Name)?;
        let handle = match self.session.handle(&launch).await {
            Err(unknown @ ostler_remote::Error::NotClaimed { .. }) => {
                let of_it = ListRequest::new().only(move |launch| launch.handle_id() == id);
                let listed = self.session.list(of_it).await?.launches;
                self.session.handle(&listed.first().ok_or(unknown)?.launch).await?
            }
            handle => handle?,
        };
        // Its worker may be silent; what is asked of it then says so.
        let record = match timeout(LIST_TIME, handle.status()).await {
            Ok(Ok(record)) => shown(record),
            _ => return Ok(Handle::of(handle)),
        };
        Ok(Handle { handle, record })
    }
    pub(super) async fn list(&self, ended: usize) -> Result<super::List, Error> {
        let List { launches, more, .. } = self.session.list(ListRequest::new().newest(ended)).await?;
        let mut listed = Vec::new();
        let (mut asked, room) = (JoinSet::new(), Arc::new(Semaphore::new(ASKED_AT_ONCE)));
        for one in launches {
            // One that is being started is not there yet.
            let Some(handle) = self.session.handle_of(&one) else { continue };
            if handle.record().status == Status::Running {
                let (handle, room, at) = (handle.clone(), room.clone(), listed.len());
                asked.spawn(async move {
                    let _permit = room.acquire_owned().await;
                    (at, handle.status().await)
                });
            }
            listed.push(Handle::of(handle));
        }
        let answers = async {
            while let Some(answer) = asked.join_next().await {
                if let Ok((at, Ok(record))) = answer
                    && let Some(handle) = listed.get_mut(at)
                {
                    handle.record = shown(record);
                }
            }
        };
        let _ = timeout(LIST_TIME, answers).await;
        Ok(super::List { listed: listed.into_iter().map(Listed::from).collect(), more })
    }
    pub(super) fn inbox(&self) -> Inbox {
        self.session.inbox().keep_read()
    }
    pub(super) async fn end(&self) -> Result<(), Error> {
        if self.ends {
            self.session.end_and_discard().await?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Handle {
    handle: ostler_remote::Handle,
    record: Arc<Record>,
}

impl Handle {
    fn of(handle: ostler_remote::Handle) -> Handle {
        let record = shown(Arc::new(handle.record().clone()));
        Handle { handle, record }
    }
    pub(super) fn record(&self) -> &Record {
        &self.record
    }
    pub(super) async fn status(&self) -> Result<Arc<Record>, Error> {
        Ok(shown(self.handle.status().await?))
    }
    pub(super) async fn exited_within(&self, time: Duration) -> Result<Arc<Record>, Error> {
        Ok(shown(self.handle.exited_within(time).await?))
    }
    pub(super) async fn wait_for(&self, conditions: Vec<Condition>, time: Duration) -> Result<Waited, Error> {
        let waited = self.handle.wait_for(conditions, time).await?;
        Ok(Waited { end: waited.end, record: shown(waited.record), unseen: waited.unseen })
    }
    pub(super) async fn read(&self, request: ReadRequest) -> Result<Page, Error> {
        Ok(self.handle.read().request(request).await?)
    }
    pub(super) fn find(&self, pattern: PatternSource) -> FindLines {
        self.handle.find(pattern)
    }
    pub(super) async fn screen(&self) -> Result<Screen, Error> {
        Ok(self.handle.screen().await?)
    }
    pub(super) async fn write_within(&self, bytes: Vec<u8>, time: Duration) -> Result<Written, Error> {
        let written = self.handle.write_within(bytes, time).await?;
        Ok(Written { taken: written.taken, queued: written.queued, dropped: written.dropped })
    }
    pub(super) async fn close_stdin(&self) -> Result<(), Error> {
        Ok(self.handle.close_stdin().await?)
    }
    pub(super) async fn resize(&self, rows: u16, columns: u16) -> Result<(), Error> {
        Ok(self.handle.resize(rows, columns).await?)
    }
    pub(super) async fn signal(&self, signal: UnixSignal) -> Result<(), Error> {
        Ok(self.handle.signal(signal).await?)
    }
    pub(super) async fn cancel(&self, now: bool, time: Duration) -> Result<Cancelled, Error> {
        let handle = self.handle.clone();
        // It is stopped also when nobody waits for the answer.
        let mut stopping = tokio::spawn(async move {
            match now {
                true => handle.cancel_now_and_notify().await,
                false => handle.cancel_and_notify().await,
            }
        });
        match timeout(time, &mut stopping).await {
            Ok(Ok(cancelled)) => {
                let cancelled = cancelled?;
                Ok(Cancelled { cancelled: cancelled.cancelled, record: shown(cancelled.record) })
            }
            Ok(Err(_)) => Err(ostler_remote::Error::Closed.into()),
            Err(_) => Ok(Cancelled { cancelled: true, record: self.status().await? }),
        }
    }
}

impl From<Handle> for Listed {
    fn from(handle: Handle) -> Listed {
        let record = &handle.record;
        let runs = record.status == Status::Running;
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        // By two clocks, so about so long.
        let since = |at: Stamp| now.saturating_sub(Duration::from_millis(at.0));
        let age = record.started_at.filter(|_| runs).map(since);
        let silence = record.silence_ms.filter(|_| runs).map(Duration::from_millis);
        let paused = runs && record.paused;
        // What outlives a command is ended there.
        Listed { handle: super::Handle::Pool(handle), age, silence, paused, kept: 0 }
    }
}

/// An entry with a record of the other machine.
pub(super) fn entry(mut entry: Entry) -> Entry {
    if let Content::Record(record) = &mut entry.content {
        *record = shown(record.clone());
    }
    entry
}

fn shown(record: Arc<Record>) -> Arc<Record> {
    let mut record = Arc::unwrap_or_clone(record);
    for path in [&mut record.output_path, &mut record.stdout_path, &mut record.stderr_path] {
        *path = PathBuf::new();
    }
    Arc::new(record)
}
