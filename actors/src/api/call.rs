//! One call of a host: a request that is on its way, in both forms, blocking and async.

use super::{Client, Error, inbox::Reader};
use crate::backend::{Answered, HostInput, Permit};
#[cfg(feature = "testing")]
use crate::backend::{Waiting, WorldInput};
use blocking::Task;
use futures_lite::{FutureExt, future};
use ostler_artifacts::reload_text;
use ostler_messages::{Answer, CallId, Content, Record, Refusal, Request};
use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

type Convert<T> = Box<dyn FnOnce(Answer) -> Option<T> + Send>;

/// A call to the graph. Nothing happens before it is waited for, awaited, or begun.
///
/// * [`wait`](Call::wait) blocks the calling thread;
/// * `.await` works in any runtime and never blocks its thread;
/// * [`begin`](Call::begin) only sends the request; the answer can be fetched later by one of the other two.
///
/// # Dropping it
///
/// A call can be dropped at any moment, in a `select!`, by a timeout, with its task: nothing is lost by it. Before it was
/// begun, nothing happens. After that the request stands, and what its answer would have brought stays where it was:
/// entries in their places in the inbox, a result for another canceller or for the inbox. From the moment `wait` or
/// `poll` returns a value, the value is the caller's.
///
/// In a scripted [`World`](crate#testing-a-host) the drop of a call that was begun returns when the graph has taken it up, so that
/// a trace is the same on every run.
#[must_use = "a call does nothing before it is waited for, awaited, or begun"]
pub struct Call<T> {
    client: Arc<Client>,
    call: CallId,
    stage: Stage,
    convert: Option<Convert<T>>,
    /// From the sending to the end.
    permit: Option<Permit>,
    #[cfg(feature = "testing")]
    waiting: Option<Waiting>,
    /// For whom it reads: that reader ends after this call, whose end frees what it has not brought.
    reader: Option<Arc<Reader>>,
}

enum Stage {
    Unsent(Request),
    Sent(oneshot::AsyncReceiver<Answered>),
    /// Texts that were left out are read from disk; whether the answer is leased.
    Reloading(Task<Result<Answer, Refusal>>, bool),
    /// It is not sent; the next poll says why.
    Failed(Error),
    Finished,
}

impl<T> Call<T> {
    pub(crate) fn new(
        client: &Arc<Client>,
        request: impl FnOnce(CallId) -> Request,
        convert: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Call<T> {
        let call = CallId(client.next_call.fetch_add(1, Ordering::Relaxed) + 1);
        Call {
            client: client.clone(),
            call,
            stage: Stage::Unsent(request(call)),
            convert: Some(Box::new(convert)),
            permit: None,
            #[cfg(feature = "testing")]
            waiting: client.virtual_time.then(|| Waiting::new(client.pace.clone())),
            reader: None,
        }
    }

    pub(super) fn of_reader(mut self, reader: Arc<Reader>) -> Call<T> {
        self.reader = Some(reader);
        self
    }

    /// A call that is refused without being sent.
    pub(crate) fn refused(client: &Arc<Client>, error: Error) -> Call<T> {
        let stage = Stage::Failed(error);
        Call {
            client: client.clone(),
            call: CallId(0),
            stage,
            convert: None,
            permit: None,
            #[cfg(feature = "testing")]
            waiting: None,
            reader: None,
        }
    }

    /// Blocks this thread until the answer is there. Don't use it on a runtime's thread: `.await` the call there.
    pub fn wait(self) -> Result<T, Error> {
        future::block_on(self)
    }

    /// Sends the request now and waits for nothing. If it can't be sent, because too many calls are open or the graph has
    /// ended, the error comes with the answer.
    pub fn begin(mut self) -> Call<T> {
        self.send();
        self
    }

    fn send(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Unsent(request) => self.stage = self.sent(request).unwrap_or_else(Stage::Failed),
            other => self.stage = other,
        }
    }
    fn sent(&mut self, mut request: Request) -> Result<Stage, Error> {
        if !self.client.is_here() {
            return Err(Error::OtherProcess);
        }
        let permit = Permit::take(&self.client.open_calls, self.client.open_calls_limit)?;
        let (reply_to, receiver) = oneshot::async_channel();
        let asked = self.client.spans.asked(&mut request);
        let intake = HostInput::Call { call: self.call, request, reply_to, asked };
        self.client.step();
        self.client.requests.send(intake).map_err(|_| Error::Closed)?;
        self.permit = Some(permit);
        Ok(Stage::Sent(receiver))
    }

    /// In virtual time: whether the host does nothing but wait for it.
    #[cfg(feature = "testing")]
    fn announce(&mut self, cx: &Context<'_>) {
        let Some(waiting) = &mut self.waiting else { return };
        // A graph that has ended has dropped the call, too.
        if waiting.begins() {
            let _ = self.client.requests.send(HostInput::World(WorldInput::Blocked(self.call)));
        }
        if let Some(answers) = waiting.idle(cx) {
            let _ = self.client.requests.send(HostInput::World(WorldInput::Idle(answers)));
        }
    }

    /// The host's value. When it is made, and not before, the graph may let go of what it kept for it.
    fn finish(&mut self, answer: Result<Answer, Refusal>, leased: bool) -> Result<T, Error> {
        self.stage = Stage::Finished;
        self.client.step();
        let convert = self.convert.take().ok_or(Error::AlreadyTaken)?;
        let value = match answer {
            // Each request has one kind of answer: another one would be a bug, and as good as none.
            Ok(answer) => convert(answer).ok_or(Error::Closed),
            Err(refusal) => Err(refusal.into()),
        };
        if leased {
            // A graph that has ended keeps nothing any more. What a reader has begins its time with the Ack.
            let _ = match self.client.virtual_time || self.reader.is_some() {
                true => self.client.requests.send(HostInput::Ack(self.call)).is_ok(),
                false => self.client.acks.send(self.call).is_ok(),
            };
        }
        self.permit = None;
        value
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
                Stage::Unsent(_) => this.send(),
                Stage::Failed(error) => {
                    let error = error.clone();
                    this.stage = Stage::Finished;
                    return Poll::Ready(Err(error));
                }
                Stage::Sent(receiver) => {
                    let Answered { answer, leased } = match Pin::new(receiver).poll(cx) {
                        Poll::Pending => {
                            #[cfg(feature = "testing")]
                            this.announce(cx);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(answered)) => answered,
                        // The graph has ended, and the call with it.
                        Poll::Ready(Err(_)) => {
                            this.stage = Stage::Finished;
                            this.permit = None;
                            return Poll::Ready(Err(Error::Closed));
                        }
                    };
                    if !lacks_text(&answer) {
                        return Poll::Ready(this.finish(answer, leased));
                    }
                    this.stage = Stage::Reloading(blocking::unblock(move || with_text(answer)), leased);
                }
                Stage::Reloading(task, leased) => match task.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(answer) => {
                        let leased = *leased;
                        return Poll::Ready(this.finish(answer, leased));
                    }
                },
                Stage::Finished => return Poll::Ready(Err(Error::AlreadyTaken)),
            }
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        // Held from the sending to the end: without it the graph knows nothing of this call, or has closed it.
        let Some(permit) = self.permit.take().filter(|_| self.client.is_here()) else { return };
        self.client.step();
        let (taken, waits) = match self.client.virtual_time {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let sent = self.client.requests.send(HostInput::Nack { call: self.call, permit, taken });
        if let (Ok(()), Some(waits)) = (sent, waits) {
            // Closed when the graph has taken it up, or has ended.
            let _ = waits.recv();
        }
    }
}

fn lacks_text(answer: &Result<Answer, Refusal>) -> bool {
    match answer {
        Ok(
            Answer::Cancelled { record, .. }
            | Answer::Launched(record)
            | Answer::Result { record, .. }
            | Answer::Status(record),
        ) => record.text_omitted,
        Ok(Answer::Waited(waited)) => waited.record.text_omitted,
        Ok(Answer::Drained { entries, .. }) => {
            entries.iter().any(|entry| entry.record().is_some_and(|record| record.text_omitted))
        }
        _ => false,
    }
}

fn with_text(mut answer: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
    match &mut answer {
        Ok(
            Answer::Cancelled { record, .. }
            | Answer::Launched(record)
            | Answer::Result { record, .. }
            | Answer::Status(record),
        ) => fill(&mut record.0),
        Ok(Answer::Waited(waited)) => fill(&mut waited.record.0),
        Ok(Answer::Drained { entries, .. }) => {
            for entry in entries {
                if let Content::Record(record) = &mut entry.content {
                    fill(record);
                }
            }
        }
        _ => {}
    }
    answer
}

pub(super) fn fill(record: &mut Arc<Record>) {
    if !record.text_omitted {
        return;
    }
    let record = Arc::make_mut(record);
    if !reload_text(record) {
        record.text_omitted = false;
        let missing = "the inline text is gone with the artifacts".to_owned();
        record.artifact_error.get_or_insert(missing);
    }
}
