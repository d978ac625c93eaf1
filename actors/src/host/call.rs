//! One call of a host: a request that is on its way, in both forms, blocking and async.

use super::{Error, Shared as Door};
use async_lock::{Semaphore, SemaphoreGuardArc, futures::AcquireArc};
use blocking::Task;
use crossbeam_channel::Sender;
use futures_lite::{FutureExt, future};
use ostler_artifacts::{Live, Which, reload_text};
use ostler_messages::{
    Answer, CallError, CallId, Cancel, Content, Drain, EndSession, Hangup, HostGone, Launch, Limit, List,
    OpenSession, Pending, Push, PutBack, Record, Refusal, Shared, Shutdown, Sleep, Unclaimed, Wait,
};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

/// Everything that a host can send into the graph.
#[derive(Debug)]
pub(crate) enum HostRequest {
    OpenSession(OpenSession),
    Launch(Launch),
    Cancel(Cancel),
    EndSession(EndSession),
    List(List),
    Sleep(Sleep),
    Hangup(Hangup),
    Shutdown(Shutdown),
    HostGone(HostGone),
    Push(Push),
    Drain(Drain),
    Wait(Wait),
    Pending(Pending),
    PutBack(PutBack),
    Unclaimed(Unclaimed),
}

/// What enters the gate from the host's side.
pub(crate) enum Intake {
    /// A call; the permit is given back when the graph takes it up.
    Call { call: CallId, request: HostRequest, port: Port, permit: SemaphoreGuardArc },
    /// Without an answer. At most two for each open call, and one at the end.
    Notice(HostRequest),
    /// The host does nothing before this call is answered: virtual time may move.
    Blocked(CallId),
    /// The host does nothing before there is output, or virtual time has passed.
    Watch(OutputWatch),
    /// Moves virtual time.
    Advance { by_ms: u64, done: oneshot::Sender<()> },
}

/// A reader that waits for a byte in a scripted world. It is no message: a real reader waits on its own thread, and the
/// graph knows nothing of it.
pub(crate) struct OutputWatch {
    pub(crate) live: Arc<Live>,
    pub(crate) which: Which,
    pub(crate) offset: u64,
    pub(crate) wait_ms: u64,
    pub(crate) done: oneshot::Sender<()>,
}

/// Where an answer goes.
pub(crate) type Port = oneshot::Sender<Delivered>;

/// An answer on its way to a caller's thread. Wherever it is dropped unread, on whichever side and at whatever moment,
/// what must not be lost goes back into the graph.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// None once taken.
    answer: Option<Result<Answer, Refusal>>,
    claim: Option<Arc<Claim>>,
    back: Sender<Intake>,
}

/// A result that several callers wait for: if none takes it, it has to go to the inbox, exactly once.
#[derive(Debug)]
struct Claim {
    outstanding: AtomicUsize,
    taken: AtomicBool,
}
impl Claim {
    /// Whether this was the last chance that somebody takes the result.
    fn give_up(&self) -> bool {
        self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 && !self.taken.load(Ordering::Acquire)
    }
}

impl Delivered {
    pub(crate) fn plain(answer: Result<Answer, Refusal>, back: &Sender<Intake>) -> Delivered {
        Delivered { answer: Some(answer), claim: None, back: back.clone() }
    }
    /// The same result for each of `callers`.
    pub(crate) fn settle(
        callers: usize,
        cancelled: bool,
        record: &Shared,
        back: &Sender<Intake>,
    ) -> impl Iterator<Item = Delivered> {
        let claim = Arc::new(Claim { outstanding: AtomicUsize::new(callers), taken: AtomicBool::new(false) });
        let answer = Answer::Cancelled { cancelled, record: record.clone() };
        let one = move || Delivered {
            answer: Some(Ok(answer.clone())),
            claim: Some(claim.clone()),
            back: back.clone(),
        };
        std::iter::repeat_with(one).take(callers)
    }
    /// Now it is the caller's.
    fn take(mut self) -> Option<Result<Answer, Refusal>> {
        if let Some(claim) = &self.claim {
            claim.taken.store(true, Ordering::Release);
            claim.outstanding.fetch_sub(1, Ordering::AcqRel);
        }
        self.answer.take()
    }
}
impl Drop for Delivered {
    fn drop(&mut self) {
        let notice = match self.answer.take() {
            Some(Ok(Answer::Drained { session_id, entries })) if !entries.is_empty() => {
                HostRequest::PutBack(PutBack { session_id, entries })
            }
            Some(Ok(Answer::Cancelled { record, .. }))
                if self.claim.as_ref().is_some_and(|c| c.give_up()) =>
            {
                HostRequest::Unclaimed(Unclaimed { record })
            }
            _ => return,
        };
        // A graph that is over has no inbox any more.
        let _ = self.back.send(Intake::Notice(notice));
    }
}

type Convert<T> = Box<dyn FnOnce(Answer) -> Option<T> + Send>;

/// A call to the graph. Nothing happens before it is waited for, awaited, or begun.
///
/// * [`wait`](Call::wait) blocks the calling thread;
/// * `.await` works in any runtime and never blocks its thread;
/// * [`begin`](Call::begin) only sends the request; the answer can be fetched later by one of the other two.
///
/// An answer that is dropped unread is not lost: entries taken from an inbox go back to their place, and a result goes
/// to the inbox.
#[must_use = "a call does nothing before it is waited for, awaited, or begun"]
pub struct Call<T> {
    door: Arc<Door>,
    call: CallId,
    stage: Stage,
    convert: Option<Convert<T>>,
    counted: bool,
    announced: bool,
}

enum Stage {
    Unsent(HostRequest),
    Queueing(Pin<Box<AcquireArc>>, HostRequest),
    Sent(oneshot::AsyncReceiver<Delivered>),
    Reloading(Task<Result<Answer, Refusal>>),
    Over,
}

impl<T> Call<T> {
    pub(crate) fn new(
        door: &Arc<Door>,
        request: impl FnOnce(CallId) -> HostRequest,
        convert: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Call<T> {
        let call = CallId(door.next_call.fetch_add(1, Ordering::Relaxed) + 1);
        Call {
            door: door.clone(),
            call,
            stage: Stage::Unsent(request(call)),
            convert: Some(Box::new(convert)),
            counted: false,
            announced: false,
        }
    }

    /// Blocks this thread until the answer is there. Don't use it on a runtime's thread: `.await` the call there.
    pub fn wait(self) -> Result<T, Error> {
        future::block_on(self)
    }

    /// Sends the request now, if there is room in the queue, and waits for nothing.
    pub fn begin(mut self) -> Call<T> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        while matches!(self.stage, Stage::Unsent(_) | Stage::Queueing(..)) {
            if self.send(&mut context).is_pending() {
                break;
            }
        }
        self
    }

    /// One step towards `Sent`, or to the error that ends it.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let fail = |error: Error| Poll::Ready(Err(error));
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Unsent(request) => {
                let most = self.door.open_calls_limit;
                if self.door.open_calls.fetch_add(1, Ordering::Relaxed) as u64 >= most {
                    self.door.open_calls.fetch_sub(1, Ordering::Relaxed);
                    return fail(Error::Call(CallError::LimitReached { limit: Limit::OpenCalls, most }));
                }
                self.counted = true;
                self.stage = Stage::Queueing(Box::pin(self.door.queue.acquire_arc()), request);
                Poll::Ready(Ok(()))
            }
            Stage::Queueing(mut acquire, request) => {
                let Poll::Ready(permit) = acquire.poll(cx) else {
                    self.stage = Stage::Queueing(acquire, request);
                    return Poll::Pending;
                };
                let (port, receiver) = oneshot::async_channel();
                let intake = Intake::Call { call: self.call, request, port, permit };
                if self.door.requests.send(intake).is_err() {
                    return fail(Error::Closed);
                }
                self.stage = Stage::Sent(receiver);
                Poll::Ready(Ok(()))
            }
            other => {
                self.stage = other;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn finish(&mut self, answer: Result<Answer, Refusal>) -> Result<T, Error> {
        self.stage = Stage::Over;
        let convert = self.convert.take().ok_or(Error::Closed)?;
        match answer {
            Ok(answer) => convert(answer).ok_or(Error::Closed),
            Err(Refusal::Launch(error)) => Err(Error::Launch(error)),
            Err(Refusal::Call(error)) => Err(Error::Call(error)),
        }
    }
}

// Nothing in a call is pinned but what it boxes itself.
impl<T> Unpin for Call<T> {}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Unsent(_) | Stage::Queueing(..) => match this.send(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                },
                Stage::Sent(receiver) => {
                    if this.door.virtual_time && !this.announced {
                        this.announced = true;
                        let _ = this.door.requests.send(Intake::Blocked(this.call));
                    }
                    let delivered = match Pin::new(receiver).poll(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(delivered) => delivered.ok().and_then(Delivered::take),
                    };
                    let Some(answer) = delivered else {
                        this.stage = Stage::Over;
                        return Poll::Ready(Err(Error::Closed));
                    };
                    if !lacks_text(&answer) {
                        return Poll::Ready(this.finish(answer));
                    }
                    this.stage = Stage::Reloading(blocking::unblock(move || with_text(answer)));
                }
                Stage::Reloading(task) => match task.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(answer) => return Poll::Ready(this.finish(answer)),
                },
                Stage::Over => return Poll::Ready(Err(Error::Closed)),
            }
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Sent(_)) {
            let _ = self.door.requests.send(Intake::Notice(HostRequest::Hangup(Hangup { call: self.call })));
        }
        if self.counted {
            self.door.open_calls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn lacks_text(answer: &Result<Answer, Refusal>) -> bool {
    match answer {
        Ok(Answer::Cancelled { record, .. }) => lacks(record),
        Ok(Answer::Drained { entries, .. }) => {
            entries.iter().any(|entry| entry.is_result() && entry.record().is_some_and(lacks))
        }
        _ => false,
    }
}

fn lacks(record: &Record) -> bool {
    record.output_sha256.is_some() && ostler_inbox::needs_text(record)
}

fn with_text(mut answer: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
    match &mut answer {
        Ok(Answer::Cancelled { record, .. }) => fill(&mut record.0),
        Ok(Answer::Drained { entries, .. }) => {
            for entry in entries.iter_mut().filter(|entry| entry.is_result()) {
                if let Content::Record(record) = &mut entry.content {
                    fill(record);
                }
            }
        }
        _ => {}
    }
    answer
}

fn fill(record: &mut Arc<Record>) {
    if lacks(record) && !reload_text(Arc::make_mut(record)) {
        let missing = "the inline text is gone with the artifacts".to_owned();
        Arc::make_mut(record).artifact_error.get_or_insert(missing);
    }
}

/// Bounds the requests on their way to the graph.
pub(crate) fn queue(limit: u64) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX)))
}
