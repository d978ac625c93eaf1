//! A server: one session, opened at the first call, and any number of clients that speak with it.

use crate::{connection::Connection, ledger::Ends, options::Options, place::Session, transport::Lines};
use rmcp::{ServiceExt, transport::stdio_pipes};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OnceCell, Semaphore, watch},
};
use tokio_util::sync::CancellationToken;

/// Most calls of tools at a time, over all clients of a server: each may wait for long and holds a little memory.
const CALLS: usize = 1_024;

/// How long what is on its way to a client is waited for when the conversation has ended.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// Why the session can't be had. It is told to whoever calls a tool, and the next call tries again.
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;
type Open = dyn Fn() -> Result<Session, OpenError> + Send + Sync;

/// One session for clients of the protocol. A clone is the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    options: Options,
    open: Box<Open>,
    opened: OnceCell<Opened>,
    calls: Semaphore,
}

/// The session, and what its clients were told.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) ends: Arc<Ends>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Server {
    /// A server whose session `open` gives. It is called at the first call of a tool, on a thread that may block; if it fails, the
    /// next call tries again.
    pub fn new<S: Into<Session>>(
        options: Options,
        open: impl Fn() -> Result<S, OpenError> + Send + Sync + 'static,
    ) -> Server {
        let mut options = options;
        // Once: a command could put a link in its place.
        if let Some(root) = options.root.as_ref().and_then(|root| root.canonicalize().ok()) {
            options.root = Some(root);
        }
        let (opened, calls) = (OnceCell::new(), Semaphore::new(CALLS));
        Server(Arc::new(Inner { options, open: Box::new(move || open().map(Into::into)), opened, calls }))
    }

    /// Speaks with a client until it is gone (the end of `read`, an error of `write`), or `stop` resolves. Calls that wait then stop
    /// waiting; their commands go on. Within a tokio runtime with time.
    ///
    /// Dropped, it stops in the same way, but for answers on their way, which may be cut.
    pub async fn serve<R, W>(&self, read: R, write: W, stop: impl Future<Output = ()> + Send)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_with(read, write, None, stop).await;
    }

    /// The same where `write` is only the way to the client: an end counts as told when `confirmed` says that the client has so many of the
    /// bytes. When its sender is gone, what is not confirmed may have been read.
    pub async fn serve_confirmed<R, W>(
        &self,
        read: R,
        write: W,
        confirmed: watch::Receiver<u64>,
        stop: impl Future<Output = ()> + Send,
    ) where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_with(read, write, Some(confirmed), stop).await;
    }

    async fn serve_with<R, W>(
        &self,
        read: R,
        write: W,
        confirmed: Option<watch::Receiver<u64>>,
        stop: impl Future<Output = ()> + Send,
    ) where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        tracing::info!("client connected");
        let gone = CancellationToken::new();
        let _gone_when_dropped = gone.clone().drop_guard();
        let connection = Connection::new(self.clone(), gone.clone());
        let (lines, writes) = Lines::new(read, write, confirmed, connection.ledger(), gone.clone());
        let talk = async {
            // An error means that the client was gone before it had said anything of use.
            if let Ok(running) = connection.serve(lines).await {
                let _ = running.waiting().await;
            }
        };
        tokio::pin!(talk);
        tokio::select! {
            () = &mut talk => {}
            () = stop => {
                gone.cancel();
                talk.await;
            }
        }
        // What is written was told, or comes back: known before this returns. A client that does not read is not waited for.
        let _ = tokio::time::timeout(WRITE_TIME, writes).await;
        tracing::info!("client gone");
    }

    /// The same over this process's own stdin and stdout: nothing else may write to stdout then.
    pub async fn serve_stdio(&self, stop: impl Future<Output = ()> + Send) {
        let (read, write) = stdio_pipes();
        self.serve(read, write, stop).await;
    }

    /// Ends its session and all trees, if there is one; one of a pool only if it was made so. What is unread stays in its inbox, where a journal keeps it, or the pool.
    pub async fn end(&self) {
        if let Some(opened) = self.0.opened.get() {
            // A graph that has ended has no trees.
            let ended = opened.session.end().await;
            tracing::info!(
                session_id = opened.session.id().as_str(),
                failed = ended.is_err(),
                "session ended"
            );
        }
    }

    /// The session, if a tool was called before.
    pub fn session(&self) -> Option<&Session> {
        self.0.opened.get().map(|opened| &opened.session)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn calls(&self) -> &Semaphore {
        &self.0.calls
    }

    pub(crate) fn if_opened(&self) -> Option<&Opened> {
        self.0.opened.get()
    }

    pub(crate) async fn opened(&self) -> Result<&Opened, OpenError> {
        let server = self.clone();
        self.0
            .opened
            .get_or_try_init(|| async move {
                let opened = tokio::task::spawn_blocking(move || (server.0.open)()).await?;
                let session =
                    opened.inspect_err(|error| tracing::warn!(%error, "no session can be opened"))?;
                tracing::info!(session_id = session.id().as_str(), "session opened");
                let ends = Ends::new(session.inbox());
                Ok(Opened { session, ends })
            })
            .await
    }
}
