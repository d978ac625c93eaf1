//! One call of a host, in both forms, blocking and async.

use crate::errors::Error;
use futures_util::future::BoxFuture;
use std::{
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll},
};
use tokio::{runtime::Handle as Runtime, sync::oneshot, task::AbortHandle};

/// Makes the value, on the caller's thread: what is handed over by it goes back where it was when this is dropped instead.
pub(super) type Finish<T> = Box<dyn FnOnce() -> Result<T, Error> + Send>;

/// A call to another machine. Nothing happens before it is waited for or awaited.
///
/// * [`wait`](Call::wait) blocks the calling thread, which must not be one of an async runtime;
/// * `.await` works in any runtime and never blocks its thread.
///
/// It can be dropped at any moment, and nothing is lost by it. What it had asked for may have been done by then: a launch that was sent stands, and its
/// result goes to the inbox.
#[must_use = "a call does nothing before it is waited for or awaited"]
pub struct Call<T> {
    runtime: Runtime,
    stage: Stage<T>,
}

enum Stage<T> {
    Unsent(BoxFuture<'static, Result<Finish<T>, Error>>),
    Sent(oneshot::Receiver<Result<Finish<T>, Error>>, AbortHandle),
    Finished,
}

impl<T: Send + 'static> Call<T> {
    /// Whose value needs nothing when it is handed over.
    pub(super) fn new(
        runtime: &Runtime,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Call<T> {
        Call::handing_over(runtime, async move {
            let value = work.await?;
            Ok(Box::new(move || Ok(value)) as Finish<T>)
        })
    }
    pub(super) fn handing_over(
        runtime: &Runtime,
        work: impl Future<Output = Result<Finish<T>, Error>> + Send + 'static,
    ) -> Call<T> {
        Call { runtime: runtime.clone(), stage: Stage::Unsent(Box::pin(work)) }
    }
    /// Waits for the answer on this thread.
    ///
    /// # Errors
    /// What [`Error`] says.
    pub fn wait(mut self) -> Result<T, Error> {
        let Stage::Unsent(work) = std::mem::replace(&mut self.stage, Stage::Finished) else {
            return Err(Error::Closed);
        };
        let (done, answer) = mpsc::sync_channel(1);
        self.runtime.spawn(async move { done.send(work.await) });
        match answer.recv() {
            Ok(finish) => finish?(),
            // The runtime is gone.
            Err(_) => Err(Error::Closed),
        }
    }
}

impl<T: Send + 'static> Future for Call<T> {
    type Output = Result<T, Error>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if matches!(self.stage, Stage::Unsent(_))
            && let Stage::Unsent(work) = std::mem::replace(&mut self.stage, Stage::Finished)
        {
            let (done, answer) = oneshot::channel();
            let task = self.runtime.spawn(async move { done.send(work.await).map_err(drop) });
            self.stage = Stage::Sent(answer, task.abort_handle());
        }
        let Stage::Sent(answer, _) = &mut self.stage else { return Poll::Ready(Err(Error::Closed)) };
        let answer = std::task::ready!(Pin::new(answer).poll(cx));
        self.stage = Stage::Finished;
        Poll::Ready(answer.unwrap_or(Err(Error::Closed)).and_then(|finish| finish()))
    }
}
// What is pinned is in a box of its own.
impl<T> Unpin for Call<T> {}
impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if let Stage::Sent(_, task) = &self.stage {
            task.abort();
        }
    }
}
