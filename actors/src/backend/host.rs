//! What enters the graph from the host's side, and what goes back.

#[cfg(feature = "testing")]
use super::WorldInput;
use super::{Asked, Dump, Subscribers};
use crossbeam_channel::Receiver;
#[cfg(feature = "testing")]
use ostler_artifacts::{Growth, OutputFile};
use ostler_messages::{Answer, CallError, CallId, HostGone, Limit, Refusal, Request};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What enters the graph from the host's side.
pub(crate) enum HostInput {
    /// A call. Bounded by the permits.
    Call { call: CallId, request: Request, reply_to: ReplyTo, asked: Asked },
    /// The caller is gone without its answer. The call's permit comes back when the graph has taken this up, so that a
    /// host that drops calls faster than the graph closes them finds its limit. Then `taken` is dropped.
    Nack { call: CallId, permit: Permit, taken: Option<oneshot::Sender<()>> },
    /// The caller has its answer, and the graph is to know at once: a reader's time begins with it; and in a scripted world the
    /// order of a host's steps is part of the trace. See [`FromHost::acks`].
    Ack(CallId),
    /// Something of the host's is gone that is no call; there is no answer. Then `taken` is dropped.
    Gone { request: Request, taken: Option<oneshot::Sender<()>> },
    /// What the recorder holds, for the host to write; none if it is off.
    Dump(oneshot::Sender<Option<Dump>>),
    /// The last handle of the host was dropped.
    HostGone(HostGone),
    /// What only a scripted world takes.
    #[cfg(feature = "testing")]
    World(WorldInput),
}

/// The graph's side of the ways in, and of the way to subscribers.
pub(crate) struct FromHost {
    pub(crate) requests: Receiver<HostInput>,
    /// Calls whose caller has the answer. They free memory and nobody who waits, so they do not wake the graph: it looks
    /// here before it takes the next input. Never more than the limit on open calls, since each of these calls was open
    /// when the graph last took one.
    pub(crate) acks: Receiver<CallId>,
    pub(crate) subscribers: Arc<Subscribers>,
}

/// A reader that waits for a byte in a scripted world. It is no message: a real reader waits on its own thread, and the
/// graph knows nothing of it.
#[cfg(feature = "testing")]
pub(crate) struct OutputWatch {
    pub(crate) growth: Arc<Growth>,
    pub(crate) which: OutputFile,
    pub(crate) offset: u64,
    pub(crate) wait_ms: u64,
    /// How many milliseconds of it were left.
    pub(crate) done: oneshot::Sender<u64>,
}

/// Where an answer goes.
pub(crate) type ReplyTo = oneshot::Sender<Answered>;

/// An answer on its way to a caller's thread. It is a copy: what must not be lost stays in the graph.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Result<Answer, Refusal>,
    /// The graph keeps what the answer holds until the call's Ack or Nack.
    pub(crate) leased: bool,
}

/// The right to have one call open. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicU64>);
impl Permit {
    pub(crate) fn take(open: &Arc<AtomicU64>, max: u64) -> Result<Permit, CallError> {
        let permit = Permit(open.clone());
        match open.fetch_add(1, Ordering::Relaxed) >= max {
            true => Err(CallError::LimitReached { limit: Limit::OpenCalls, max, leased: 0 }),
            false => Ok(permit),
        }
    }
}
impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
