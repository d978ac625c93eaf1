//! Where the commands of a server run: on this machine, or on the workers of a pool. What the tools need of either, and nothing else.

#[cfg(feature = "nats")]
mod pool;

use ostler::{
    CallError, Command, Entry, Filter, FoundLines, HandleId, OutputFile, Page, PatternSource, ReadRequest,
    Record, Screen, SessionId, Status, UnixSignal, WaitEnd,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// So many records of ended commands are read on a pool to look for labels.
#[cfg(feature = "nats")]
const LABELLED_MAX: usize = 1_000;

/// The session of a server.
#[derive(Clone, Debug)]
pub struct Session(Place);
#[derive(Clone, Debug)]
enum Place {
    Here(ostler::Session),
    #[cfg(feature = "nats")]
    Pool(pool::Session),
}
impl From<ostler::Session> for Session {
    /// On this machine. It ends with its server.
    fn from(session: ostler::Session) -> Session {
        Session(Place::Here(session))
    }
}

/// A command of it, as it stood when this value was made.
#[derive(Clone, Debug)]
pub(crate) enum Handle {
    Here(ostler::Handle),
    #[cfg(feature = "nats")]
    Pool(pool::Handle),
}

/// Its inbox. What was read and not acknowledged comes again when the last clone is gone.
#[derive(Clone, Debug)]
pub(crate) enum Inbox {
    Here(ostler::Inbox),
    #[cfg(feature = "nats")]
    Pool(ostler_remote::Inbox),
}

/// Why a call was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Here(#[from] ostler::Error),
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Pool(#[from] ostler_remote::Error),
}

/// What ended a wait.
pub(crate) struct Waited {
    pub(crate) end: WaitEnd,
    pub(crate) record: Arc<Record>,
    /// Processes that could not be looked at.
    pub(crate) unseen: u64,
}

/// What became of a cancel.
pub(crate) struct Cancelled {
    /// It was stopped by it, or still is being stopped.
    pub(crate) cancelled: bool,
    pub(crate) record: Arc<Record>,
}

/// What became of a write, in bytes.
pub(crate) struct Written {
    pub(crate) taken: u64,
    pub(crate) queued: u64,
    pub(crate) dropped: u64,
}

/// A command in a list.
pub(crate) struct Listed {
    pub(crate) handle: Handle,
    /// Of a live one, the time since its start.
    pub(crate) age: Option<Duration>,
    /// Of a live one, the time since its last byte of output.
    pub(crate) silence: Option<Duration>,
    pub(crate) paused: bool,
    /// How many of its leftovers were kept.
    pub(crate) kept: u64,
}

/// The oldest first, and how many more have ended.
pub(crate) struct List {
    pub(crate) listed: Vec<Listed>,
    pub(crate) more: u64,
}

/// Where and how lines are looked for.
pub(crate) struct Search {
    pub(crate) pattern: PatternSource,
    pub(crate) which: OutputFile,
    pub(crate) offset: u64,
    pub(crate) max: usize,
    /// Lines to show before and after each.
    pub(crate) around: usize,
}

impl Session {
    /// Its name.
    pub(crate) fn id(&self) -> &SessionId {
        match &self.0 {
            Place::Here(session) => session.id(),
            #[cfg(feature = "nats")]
            Place::Pool(session) => session.id(),
        }
    }
    pub(crate) async fn launch(&self, command: Command) -> Result<Handle, Error> {
        Ok(match &self.0 {
            Place::Here(session) => Handle::Here(session.launch(command).await?),
            #[cfg(feature = "nats")]
            Place::Pool(session) => Handle::Pool(session.launch(command).await?),
        })
    }
    /// A handle of this session, as it stands now.
    pub(crate) async fn handle(&self, id: HandleId) -> Result<Handle, Error> {
        Ok(match &self.0 {
            Place::Here(session) => Handle::Here(session.handle(id).await?),
            #[cfg(feature = "nats")]
            Place::Pool(session) => Handle::Pool(session.handle(id).await?),
        })
    }
    /// Those that run, the oldest first, and of those that have ended at least so many, the newest, or all.
    pub(crate) async fn list(&self, ended: usize) -> Result<List, Error> {
        Ok(match &self.0 {
            Place::Here(session) if ended > 0 => session.list_all().await?.into(),
            Place::Here(session) => session.list().await?.into(),
            #[cfg(feature = "nats")]
            Place::Pool(session) => session.list(ended).await?,
        })
    }
    /// Those with all of these labels, of those that run and, if they are asked for, have ended. How many more: of those it is not known whether they have them.
    pub(crate) async fn list_labelled(
        &self,
        labels: &BTreeMap<String, String>,
        ended: bool,
    ) -> Result<List, Error> {
        Ok(match &self.0 {
            Place::Here(session) => {
                let mut listed = session.list_labelled(labels.clone()).await?;
                listed.retain(|one| ended || one.handle.record().status == Status::Running);
                listed.into()
            }
            #[cfg(feature = "nats")]
            Place::Pool(session) => {
                let mut list = session.list(if ended { LABELLED_MAX } else { 0 }).await?;
                list.listed.retain(|listed| {
                    let of_it = &listed.handle.record().labels;
                    labels.iter().all(|(name, value)| of_it.get(name) == Some(value))
                });
                list
            }
        })
    }
    /// A reader of its inbox that keeps what it has read.
    pub(crate) fn inbox(&self) -> Inbox {
        match &self.0 {
            Place::Here(session) => Inbox::Here(session.inbox().redeliver_after(Duration::MAX)),
            #[cfg(feature = "nats")]
            Place::Pool(session) => Inbox::Pool(session.inbox()),
        }
    }
    /// Its server ends. Here the session does, and on a pool one that has no name.
    pub(crate) async fn end(&self) -> Result<(), Error> {
        match &self.0 {
            Place::Here(session) => session.end().await.map(drop)?,
            #[cfg(feature = "nats")]
            Place::Pool(session) => session.end().await?,
        }
        Ok(())
    }
}

impl Handle {
    pub(crate) fn id(&self) -> HandleId {
        self.record().handle_id
    }
    pub(crate) fn record(&self) -> &Record {
        match self {
            Handle::Here(handle) => handle.record(),
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.record(),
        }
    }
    /// The record as it is at this moment.
    pub(crate) async fn status(&self) -> Result<Arc<Record>, Error> {
        Ok(match self {
            Handle::Here(handle) => handle.status().await?,
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.status().await?,
        })
    }
    /// The result, which goes where it goes without this; or the record when the time is up.
    pub(crate) async fn exited_within(&self, time: Duration) -> Result<Arc<Record>, Error> {
        Ok(match self {
            Handle::Here(handle) => handle.exited_within(time).await?,
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.exited_within(time).await?,
        })
    }
    pub(crate) async fn wait_for(
        &self,
        conditions: Vec<ostler::Condition>,
        time: Duration,
    ) -> Result<Waited, Error> {
        Ok(match self {
            Handle::Here(handle) => {
                let ostler::Waited { end, record, unseen, .. } = handle.wait_for(conditions, time).await?;
                Waited { end, record, unseen }
            }
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.wait_for(conditions, time).await?,
        })
    }
    pub(crate) async fn read(&self, request: ReadRequest) -> Result<Page, Error> {
        Ok(match self {
            Handle::Here(handle) => handle.read().request(request).await?,
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.read(request).await?,
        })
    }
    pub(crate) async fn find(&self, search: Search) -> Result<FoundLines, Error> {
        let Search { pattern, which, offset, max, around } = search;
        Ok(match self {
            Handle::Here(handle) => {
                handle.find(pattern).stream(which).offset(offset).max(max).around(around, around).await?
            }
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => {
                handle.find(pattern).stream(which).offset(offset).max(max).around(around, around).await?
            }
        })
    }
    /// What is on its terminal. None: it could not be made.
    pub(crate) async fn screen(&self) -> Result<Option<Screen>, Error> {
        Ok(match self {
            Handle::Here(handle) => {
                let handle = handle.clone();
                match tokio::task::spawn_blocking(move || handle.screen()).await {
                    Ok(screen) => Some(screen?),
                    Err(_) => None,
                }
            }
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => Some(handle.screen().await?),
        })
    }
    pub(crate) async fn write_within(&self, bytes: Vec<u8>, time: Duration) -> Result<Written, Error> {
        Ok(match self {
            Handle::Here(handle) => {
                let ostler::Written { taken, queued, dropped, .. } = handle.write_within(bytes, time).await?;
                Written { taken, queued, dropped }
            }
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.write_within(bytes, time).await?,
        })
    }
    pub(crate) async fn close_stdin(&self) -> Result<(), Error> {
        match self {
            Handle::Here(handle) => handle.close_stdin().await?,
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.close_stdin().await?,
        }
        Ok(())
    }
    pub(crate) async fn resize(&self, rows: u16, columns: u16) -> Result<(), Error> {
        match self {
            Handle::Here(handle) => handle.resize(rows, columns).await?,
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.resize(rows, columns).await?,
        }
        Ok(())
    }
    pub(crate) async fn signal(&self, signal: UnixSignal) -> Result<(), Error> {
        match self {
            Handle::Here(handle) => handle.signal(signal).await?,
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.signal(signal).await?,
        }
        Ok(())
    }
    /// Stops it, at once if `now`, and waits for its end for so long. Its result comes to the inbox too. Dropped once it was polled, it is stopped all the same.
    pub(crate) async fn cancel(&self, now: bool, time: Duration) -> Result<Cancelled, Error> {
        Ok(match self {
            Handle::Here(handle) => {
                let (ostler, id) = (handle.ostler(), handle.id());
                if now {
                    // A second cancel means now.
                    ostler.cancel(id, Some(Duration::ZERO), true).await?;
                }
                let ostler::Cancelled { cancelled, record, .. } = ostler.cancel(id, Some(time), true).await?;
                Cancelled { cancelled, record }
            }
            #[cfg(feature = "nats")]
            Handle::Pool(handle) => handle.cancel(now, time).await?,
        })
    }
}

impl Inbox {
    /// What the handles of this process have in their ids, where it tells them from those of another.
    pub(crate) fn host_pid(&self) -> Option<u32> {
        match self {
            Inbox::Here(_) => Some(std::process::id()),
            #[cfg(feature = "nats")]
            Inbox::Pool(_) => None,
        }
    }
    /// Whether an entry can come after the result that it brings.
    pub(crate) fn can_be_behind(&self) -> bool {
        match self {
            Inbox::Here(_) => false,
            #[cfg(feature = "nats")]
            Inbox::Pool(_) => true,
        }
    }
    /// What fits and is there now.
    pub(crate) async fn read(&self, filter: Filter, max: usize) -> Result<Vec<Entry>, Error> {
        Ok(match self {
            Inbox::Here(inbox) => inbox.read(filter, max).await?,
            #[cfg(feature = "nats")]
            Inbox::Pool(inbox) => inbox.read(filter, max).await?.into_iter().map(pool::entry).collect(),
        })
    }
    /// Waits until there is one that fits.
    pub(crate) async fn wait(&self, filter: Filter, time: Duration) -> Result<(), Error> {
        match self {
            Inbox::Here(inbox) => drop(inbox.wait(filter, time).await?),
            #[cfg(feature = "nats")]
            Inbox::Pool(inbox) => drop(inbox.wait(filter, time).await?),
        }
        Ok(())
    }
    /// False: it is not known of all of them.
    pub(crate) async fn acknowledge_these(&self, sequences: &[u64]) -> Result<bool, Error> {
        Ok(match self {
            // Those that are not there are for nobody.
            Inbox::Here(inbox) => inbox.acknowledge_these(sequences).await.map(|_| true)?,
            // One that is not there now is on its way here again.
            #[cfg(feature = "nats")]
            Inbox::Pool(inbox) => inbox.acknowledge_these(sequences).await? == sequences.len() as u64,
        })
    }
}

impl Error {
    /// What is asked is on another machine: it may be well, and answer later.
    pub(crate) fn is_elsewhere(&self) -> bool {
        match self {
            Error::Here(_) => false,
            #[cfg(feature = "nats")]
            Error::Pool(_) => true,
        }
    }
    /// Of a launch, for a model: what of it may run must not be run again.
    pub(crate) fn of_launch(&self) -> String {
        match self {
            #[cfg(feature = "nats")]
            Error::Pool(ostler_remote::Error::Unknown { launch, why }) => format!(
                "it is not known whether it was started ({why}); do not run it again: wait_command {{\"handle\":\"{launch}\"}} asks for it"
            ),
            #[cfg(feature = "nats")]
            Error::Pool(ostler_remote::Error::NotClaimed { launch }) => format!(
                "not started: no worker has answered; one may start it later, as {launch}: list_commands says so"
            ),
            other => format!("not started: {other}"),
        }
    }
    /// The session has, or had, no such handle.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            #[cfg(feature = "nats")]
            Error::Pool(ostler_remote::Error::NotClaimed { .. }) => true,
            _ => matches!(
                self.call(),
                Some(
                    CallError::HandleUnknown { .. }
                        | CallError::HandleOfOtherSession { .. }
                        | CallError::HandleOfOtherHost { .. },
                )
            ),
        }
    }
    /// What was refused, where a graph has.
    pub(crate) fn call(&self) -> Option<&CallError> {
        match self {
            Error::Here(ostler::Error::Call(error)) => Some(error),
            #[cfg(feature = "nats")]
            Error::Pool(ostler_remote::Error::Call(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<Vec<ostler::Listed>> for List {
    fn from(listed: Vec<ostler::Listed>) -> List {
        List { listed: listed.into_iter().map(Listed::from).collect(), more: 0 }
    }
}
impl From<ostler::Listed> for Listed {
    fn from(listed: ostler::Listed) -> Listed {
        let ostler::Listed { handle, age, silence, paused, kept, .. } = listed;
        Listed { handle: Handle::Here(handle), age, silence, paused, kept }
    }
}
