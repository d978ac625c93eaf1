//! A session, as a host holds it. It is a name: dropping it ends nothing.

use super::{Call, Handle, Inbox, List, ListRequest, Listed, ListedState, Remote, launch};
use crate::{
    connect::ANSWER_TIME,
    errors::Error,
    names::{LaunchId, Pool, WorkerName, launch_key, session_token},
    store::{self, Created, Store},
    words::{AllAsk, AllReply, Claim},
    worker::Pause,
};
use bytes::Bytes;
use futures_util::StreamExt;
use ostler::{Command, LaunchRequest, Record, SessionId, Tally};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long the workers of a session have for ending their part of it: the longest grace that is usual, and a little.
const END_TIME: Duration = Duration::from_secs(30);
/// How often it is looked whether those that have not answered are answered for.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is waited for that what has ended is stored, output included, before its inbox is let go: that can be asked for again.
const STORED_TIME: Duration = Duration::from_secs(2);
/// How often the end is tried to be written.
const END_ATTEMPTS: u32 = 6;

/// One agent conversation, whose commands run on the workers of a pool. A clone is the same session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);
struct Inner {
    id: SessionId,
    store: Arc<Store>,
    inbox: Inbox,
    /// Last: what the inbox gives back is sent by its connection.
    remote: Remote,
}
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.0.id).finish_non_exhaustive()
    }
}

/// How the commands of a session ended, and which workers have not said so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedSession {
    /// What the workers that have answered say, together.
    pub tally: Tally,
    /// Workers that have not answered: they stop what they run in it when they hear of it, at the latest when their lease ends.
    pub unreached: Vec<WorkerName>,
}

impl Session {
    pub(super) async fn open(remote: Remote, id: SessionId, pool: Pool) -> Result<Session, Error> {
        if id.as_str().is_empty() || id.as_str().len() > 256 {
            let why = format!("it must have 1 to 256 bytes, this one has {}", id.as_str().len());
            return Err(Error::Option { option: "session", why });
        }
        let store = remote.store(&pool).await?;
        let inbox = Inbox::new(remote.runtime(), store.clone(), &id);
        Ok(Session(Arc::new(Inner { id, store, inbox, remote })))
    }
    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.0.id
    }
    /// Whose workers run its commands.
    pub fn pool(&self) -> &Pool {
        &self.0.store.pool
    }
    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }
    pub(super) fn remote(&self) -> &Remote {
        &self.0.remote
    }
    pub(super) fn key(&self, launch: &LaunchId) -> String {
        launch_key(self.0.id.as_str(), launch)
    }

    /// Starts a command on a worker with a free slot, and waits for one up to 10 s. The answer comes when the process has started, or has failed to; nothing is
    /// left after an error but where the error says that it is not known.
    ///
    /// A launch key is the same launch, wherever it is asked for and whoever asks, as long as its result is kept.
    ///
    /// Dropped after it was polled, the launch may stand: it is in [`list`](Session::list), and its result goes to the inbox.
    pub fn launch(&self, command: Command) -> Call<Handle> {
        self.launch_request(command.into_request(&self.0.id))
    }
    /// The same for a request that came over a wire. Its `session_id` is replaced by this session's.
    pub fn launch_request(&self, request: LaunchRequest) -> Call<Handle> {
        let launch = request.launch_key.as_deref().map_or_else(LaunchId::make, LaunchId::of_key);
        self.launch_as(launch, request, launch::LAUNCH_TIME)
    }
    /// The same under an id that the host has made, and with another time to wait for a free slot: after [`Error::NotClaimed`] the same id can be sent again.
    pub fn launch_as(&self, launch: LaunchId, mut request: LaunchRequest, within: Duration) -> Call<Handle> {
        request.session_id = self.0.id.clone();
        let session = self.clone();
        self.0.remote.call(launch::launch(session, request, launch, within))
    }
    /// The handle of a launch by its id: also of one whose answer was lost.
    ///
    /// # Errors
    /// [`Error::NotClaimed`]: nobody has it; whatever it was refused with; [`Error::Unknown`].
    pub fn handle(&self, launch: &LaunchId) -> Call<Handle> {
        let (session, launch) = (self.clone(), launch.clone());
        self.0
            .remote
            .call(async move { launch::found(&session, &launch, Instant::now() + launch::LAUNCH_TIME).await })
    }
    /// The handle of one in a list, without asking anybody; none: it is not known yet whether it runs.
    pub fn handle_of(&self, listed: &Listed) -> Option<Handle> {
        let (ListedState::Running(record) | ListedState::Ended(record)) = &listed.state else { return None };
        let (launch, worker) = (listed.launch.clone(), listed.worker.clone());
        Some(Handle::new(self.clone(), launch, worker, Record::clone(record), None))
    }
    /// What runs in it, and what has ended and is kept: of both what is asked for.
    pub fn list(&self, request: ListRequest) -> Call<List> {
        let session = self.clone();
        self.0.remote.call(async move {
            request.list(session.store(), &format!("{}.*", session_token(session.id().as_str()))).await
        })
    }
    /// Where results arrive: a durable consumer of the engine, made when it is first read, so that any host that opens the session goes on reading where the last one has acknowledged.
    pub fn inbox(&self) -> Inbox {
        self.0.inbox.clone()
    }
    /// Refuses launches from now on, on every worker, and stops what runs. Answers when the workers that run something in it have said that it has ended, up to 30 s; who has not is
    /// named. What is unread can still be read. Called when all is read and acknowledged, or once more then, nothing is left of the inbox in the engine but a number.
    ///
    /// # Errors
    /// The end could not be written: then it is not known, and can be asked for again.
    pub fn end(&self) -> Call<EndedSession> {
        let session = self.clone();
        self.0.remote.call(async move { end(&session, false).await })
    }
    /// The same, and what is unread then is for nobody: of the inbox nothing is left in the engine but a number. Results can still be asked for by their handles.
    ///
    /// # Errors
    /// As [`end`](Session::end).
    pub fn end_and_discard(&self) -> Call<EndedSession> {
        let session = self.clone();
        self.0.remote.call(async move { end(&session, true).await })
    }
}

async fn end(session: &Session, discard: bool) -> Result<EndedSession, Error> {
    let store = session.store();
    let token = session_token(session.id().as_str());
    let (mut pause, mut attempts) = (Pause::new(), 0);
    while let Created::Unknown(why) = store::create(&store.sessions, &token, session.id()).await {
        attempts += 1;
        if attempts == END_ATTEMPTS {
            return Err(Error::Server { what: "end the session", why });
        }
        pause.wait().await;
    }
    let failed = |error: String| Error::Server { what: "ask all workers", why: error };
    let inbox = store.client.new_inbox();
    // Without a connection not even the sending comes back.
    let sent = |_| failed("it could not be sent".to_owned());
    let mut replies = timeout(ANSWER_TIME, store.client.subscribe(inbox.clone()))
        .await
        .map_err(sent)?
        .map_err(|error| failed(error.to_string()))?;
    let ask = AllAsk::EndSession { session: session.id().clone() };
    let ask = serde_json::to_vec(&ask).map_err(|error| failed(error.to_string()))?;
    let asked = store.client.publish_with_reply(store.pool.everybody(), inbox, Bytes::from(ask));
    timeout(ANSWER_TIME, asked).await.map_err(sent)?.map_err(|error| failed(error.to_string()))?;
    // Whoever has claimed in it before is seen here; whoever claims after this finds that it has ended.
    let mut open = open(session).await?;
    let (mut ended, until) = (BTreeMap::new(), Instant::now() + END_TIME);
    while !open.iter().all(|worker| ended.contains_key(worker)) && Instant::now() < until {
        match timeout(LOOK, replies.next()).await {
            Ok(Some(message)) => {
                if let Ok(AllReply::Ended { worker, tally }) = serde_json::from_slice(&message.payload) {
                    ended.insert(worker, tally);
                }
            }
            // One whose commands are answered for has nothing left in it.
            Ok(None) | Err(_) => {
                if let Ok(now) = self::open(session).await {
                    open = now;
                }
            }
        }
    }
    let mut tally = Tally::default();
    ended.values().for_each(|of_it| tally.add(*of_it));
    let unreached: Vec<WorkerName> = open.into_iter().filter(|worker| !ended.contains_key(worker)).collect();
    if unreached.is_empty() && are_stored(session).await {
        session.0.inbox.let_go(discard).await;
    }
    Ok(EndedSession { tally, unreached })
}

/// Whether the result of each command of a session that has ended is stored, within a time: then nothing more comes into its inbox.
async fn are_stored(session: &Session) -> bool {
    let mut pause = Pause::new();
    let stored = async {
        while !open(session).await.is_ok_and(|open| open.is_empty()) {
            pause.wait().await;
        }
    };
    timeout(STORED_TIME, stored).await.is_ok()
}

/// Who has claimed something in a session that has no result yet.
async fn open(session: &Session) -> Result<BTreeSet<WorkerName>, Error> {
    let keys = format!("{}.*", session_token(session.id().as_str()));
    let claims = store::list::<Claim>(&session.store().claims, &keys).await?;
    Ok(claims.into_iter().map(|(claim, _)| claim.worker).collect())
}
