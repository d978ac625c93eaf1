//! Reading a command's output, by offset: from its worker, and when it has ended from what was sealed.

use super::{Handle, sealed};
use crate::{
    errors::Error,
    words::{End, PAGE_HEAD, PageHead, WorkerAsk, WorkerReply},
    worker::{PAGE_MAX_BYTES, Pause, READ_WAIT},
};
use ostler::{Lines, OutputFile, Page, ReadRequest, View};
use std::{
    future::IntoFuture,
    pin::Pin,
    time::{Duration, Instant},
};

/// How long the output of a command that has ended is waited for, while its worker stores it.
const STORE_TIME: Duration = Duration::from_secs(30);
/// What an answer of the worker may take beyond the wait that was asked for.
const ANSWER: Duration = Duration::from_secs(3);

/// One page to be read, as on one machine; at most 512 KiB.
#[must_use = "nothing is read before it is waited for or awaited"]
#[derive(Clone, Debug)]
pub struct ReadOutput {
    handle: Handle,
    request: ReadRequest,
}

impl ReadOutput {
    pub(super) fn new(handle: Handle, request: ReadRequest) -> ReadOutput {
        ReadOutput { handle, request }
    }
    /// Which file; combined by default.
    pub fn stream(mut self, which: OutputFile) -> ReadOutput {
        self.request.which = which;
        self
    }
    /// Where to begin, in bytes; 0 by default.
    pub fn offset(mut self, offset: u64) -> ReadOutput {
        self.request.offset = offset;
        self
    }
    /// How many raw bytes at most; 512 KiB by default, and never more: a page is one message.
    pub fn length(mut self, length: u64) -> ReadOutput {
        self.request.length = length;
        self
    }
    /// As text for models and people: see [`View::Clean`].
    pub fn clean(mut self) -> ReadOutput {
        self.request.view = View::Clean;
        self
    }
    /// The last lines that there are, instead of an offset.
    pub fn last_lines(mut self, count: u64) -> ReadOutput {
        self.request.lines = Some(Lines::Last { count });
        self
    }
    /// So many lines from one on, which count from 1, instead of an offset.
    pub fn from_line(mut self, line: u64, count: u64) -> ReadOutput {
        self.request.lines = Some(Lines::From { line, count });
        self
    }
    /// If there is nothing at the offset yet, waits for it or the end.
    pub fn wait_for(mut self, time: Duration) -> ReadOutput {
        self.request.wait_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }
    /// All of it in one value, as it came over a wire.
    pub fn request(mut self, request: ReadRequest) -> ReadOutput {
        self.request = request;
        self
    }
    /// Reads, and waits on this thread.
    ///
    /// # Errors
    /// [`Error::WorkerSilent`], [`Error::Output`]: it is nowhere any more, or too long to be kept beyond its worker.
    pub fn wait(self) -> Result<Page, Error> {
        let session = self.handle.session().clone();
        session.remote().call(self.read()).wait()
    }

    async fn read(mut self) -> Result<Page, Error> {
        self.request.length = self.request.length.min(PAGE_MAX_BYTES);
        let wait = Duration::from_millis(self.request.wait_ms.unwrap_or(0))
            .min(Duration::from_secs(u32::MAX.into()));
        let (until, patience) = (Instant::now() + wait, Instant::now() + wait + STORE_TIME);
        let mut pause = Pause::new();
        loop {
            let away = match self.sealed().await {
                Ok(Some(page)) => return Ok(page),
                Ok(None) => None,
                // It may be about to come back.
                Err(error @ Error::Server { .. }) => Some(error),
                Err(error) => return Err(error),
            };
            let left = until.saturating_duration_since(Instant::now()).min(READ_WAIT);
            match self.ask_worker(left).await? {
                // It may have ended, and its end not be stored yet: whoever reads on gets it.
                Some(page) if page.wait_at(&self.request).is_none() || Instant::now() >= until => {
                    return Ok(page);
                }
                Some(_) => continue,
                None if Instant::now() >= patience => {
                    let worker = self.handle.worker().clone();
                    let silent = Error::WorkerSilent { worker, within: wait + STORE_TIME };
                    return Err(away.unwrap_or(silent));
                }
                None => pause.wait().await,
            }
        }
    }

    /// From what was sealed; none: it is not there yet, or never will be.
    async fn sealed(&self) -> Result<Option<Page>, Error> {
        let Some(stored) = self.handle.ended().await? else { return Ok(None) };
        let End::Result { record, files, .. } = &stored.end else { return Ok(None) };
        let cache = &self.handle.session().remote().0.sealed;
        cache.page(self.handle.store(), &self.handle.key(), record, files, &self.request).await
    }

    /// None: it does not answer, or has nothing of it.
    async fn ask_worker(&self, left: Duration) -> Result<Option<Page>, Error> {
        let worker = self.handle.worker().clone();
        let mut request = self.request;
        request.wait_ms = Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let ask = WorkerAsk::Read { command_id: self.handle.record().command_id, request };
        let Ok(message) = self.handle.ask(&ask, left + ANSWER).await else { return Ok(None) };
        let Some(head) = message.headers.as_ref().and_then(|headers| headers.get(PAGE_HEAD)) else {
            return match serde_json::from_slice::<WorkerReply>(&message.payload) {
                Ok(WorkerReply::Failed { why }) => match self.handle.ended().await? {
                    Some(_) => Err(Error::Output {
                        launch: self.handle.id().clone(),
                        why: format!("worker {worker}: {why}"),
                    }),
                    None => Err(Error::Worker { worker, why }),
                },
                _ => Ok(None),
            };
        };
        let head: PageHead = serde_json::from_str(head.as_str()).map_err(|error| Error::Damaged {
            what: format!("a page of {worker}"),
            why: error.to_string(),
        })?;
        Ok(Some(sealed::page(&self.handle.record().output_path, head, message.payload.to_vec())))
    }
}

impl IntoFuture for ReadOutput {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Page, Error>> + Send>>;
    fn into_future(self) -> Self::IntoFuture {
        let session = self.handle.session().clone();
        Box::pin(async move { session.remote().call(self.read()).await })
    }
}
