//! What a host sees: a connection, sessions, handles and inboxes, as on one machine.

mod ask;
mod call;
mod handle;
mod inbox;
mod input;
mod launch;
mod list;
mod look;
mod output;
mod sealed;
mod session;

pub use call::Call;
pub use handle::{Cancelled, Ended, Handle, Waited};
pub use inbox::Inbox;
pub use input::Written;
pub use list::{List, ListRequest, Listed, ListedState};
pub use look::FindLines;
pub use output::ReadOutput;
pub use session::{EndedSession, Session};

use crate::{
    connect::Connect,
    errors::Error,
    names::Pool,
    store::{self, Keep, Store},
    words::Heartbeat,
};
use async_nats::Client;
use ostler::SessionId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    runtime::{Builder, Handle as RuntimeHandle, Runtime},
    sync::Mutex as AsyncMutex,
};

/// How long the end of a connection waits for what is to be sent.
const FLUSH_TIME: std::time::Duration = std::time::Duration::from_secs(1);
/// What a host's calls need is messages.
const THREADS: usize = 1;

/// A connection to a server, shared by all of its clones; the last one that is dropped closes it. Nothing ends by that: sessions, commands and inboxes are
/// found again by their ids, from any machine.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    runtime: Option<Runtime>,
    client: Client,
    keep: Keep,
    stores: AsyncMutex<HashMap<Pool, Arc<Store>>>,
    sealed: sealed::Cache,
}
impl Drop for Shared {
    /// What was acknowledged, or given back, is still sent: on a thread, since a runtime must not be waited for inside another one.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let client = self.client.clone();
        let flush = move || {
            let _ = runtime.block_on(async { tokio::time::timeout(FLUSH_TIME, client.flush()).await });
            runtime.shutdown_background();
        };
        let flushing = std::thread::Builder::new().name("ostler-remote-end".into()).spawn(flush);
        if let (Ok(flushing), Err(_)) = (flushing, RuntimeHandle::try_current()) {
            // Outside of a runtime it can be waited for, so that a process that ends has sent it.
            let _ = flushing.join();
        }
    }
}
impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects, on this thread. If the connection breaks later it is made anew, and calls meanwhile say so or wait, each as long as it says.
    ///
    /// # Errors
    /// There is no server, or it refuses.
    pub fn connect(connect: &Connect) -> Result<Remote, Error> {
        Remote::connect_keeping(connect, Keep::default())
    }
    /// The same, with what the buckets of a pool are made with if this is the first that comes.
    ///
    /// # Errors
    /// As [`connect`](Remote::connect).
    pub fn connect_keeping(connect: &Connect, keep: Keep) -> Result<Remote, Error> {
        let sealed = sealed::Cache::new()?;
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("ostler-remote")
            .enable_all()
            .build();
        let runtime = threads.map_err(|source| Error::Io { path: "threads".into(), source })?;
        let (done, connected) = std::sync::mpsc::sync_channel(1);
        let to = connect.clone();
        runtime.spawn(async move { done.send(to.connect("ostler host").await) });
        let (client, _) = match connected.recv().unwrap_or(Err(Error::Closed)) {
            Ok(connected) => connected,
            Err(error) => {
                // Its drop would wait, which is not allowed where this may be called: inside another one.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Remote(Arc::new(Shared {
            runtime: Some(runtime),
            client,
            keep,
            stores: AsyncMutex::default(),
            sealed,
        })))
    }
    /// A session of this id, of commands that workers of this pool run: a new one, or the one that is there, with what is unread in its inbox.
    pub fn session(&self, id: impl Into<SessionId>, pool: &Pool) -> Call<Session> {
        let (remote, id, pool) = (self.clone(), id.into(), pool.clone());
        self.call(async move { Session::open(remote, id, pool).await })
    }
    /// The workers of a pool that were heard of in the last day, by their last heartbeats.
    pub fn workers(&self, pool: &Pool) -> Call<Vec<Heartbeat>> {
        let (remote, pool) = (self.clone(), pool.clone());
        self.call(async move {
            let store = remote.store(&pool).await?;
            workers(&store).await
        })
    }
    /// What runs in all sessions of a pool, and what has ended and is kept: of both what is asked for.
    pub fn list(&self, pool: &Pool, request: ListRequest) -> Call<List> {
        let (remote, pool) = (self.clone(), pool.clone());
        self.call(async move { request.list(&*remote.store(&pool).await?, "*.*").await })
    }
    /// How many launches of a pool are claimed, and not yet done with: they run, or their results are being stored.
    pub fn claims(&self, pool: &Pool) -> Call<usize> {
        let (remote, pool) = (self.clone(), pool.clone());
        self.call(async move {
            let store = remote.store(&pool).await?;
            Ok(store::list::<serde::de::IgnoredAny>(&store.claims, ">").await?.len())
        })
    }
    /// What whoever runs this should know of the server: see the page on several machines.
    pub fn warning(&self, pool: &Pool) -> Call<Option<String>> {
        let (remote, pool) = (self.clone(), pool.clone());
        self.call(async move { Ok(crate::warning(&*remote.store(&pool).await?)) })
    }

    async fn store(&self, pool: &Pool) -> Result<Arc<Store>, Error> {
        let mut stores = self.0.stores.lock().await;
        if let Some(there) = stores.get(pool) {
            return Ok(there.clone());
        }
        let store = Arc::new(Store::open(self.0.client.clone(), pool.clone(), self.0.keep).await?);
        stores.insert(pool.clone(), store.clone());
        Ok(store)
    }
    fn runtime(&self) -> RuntimeHandle {
        // It is there until the last of those who ask is dropped.
        match &self.0.runtime {
            Some(runtime) => runtime.handle().clone(),
            None => unreachable!("taken only by the drop"),
        }
    }
    fn call<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Call<T> {
        Call::new(&self.runtime(), work)
    }
}

async fn workers(store: &Store) -> Result<Vec<Heartbeat>, Error> {
    let workers = store::list::<Heartbeat>(&store.workers, ">").await?;
    Ok(workers.into_iter().map(|(heartbeat, _)| heartbeat).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each is held for one step, which leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
