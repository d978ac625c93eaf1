//! What a kernel must do for the graph: take commands, and give what happens.
//!
//! * in: [`KernelCommand`]s, by [`Kernel::perform`];
//! * out: [`Input`]s, which are the kernel's own [`KernelEvent`]s and what the host asks.
//!
//! Two do it: `linux` with real processes, and `scripted` in virtual time. Nothing of the graph's decisions depends on which.

mod dump;
mod facts;
mod follow;
mod host;
#[cfg(any(feature = "journal", feature = "testing"))]
mod lost;
mod outputs;
#[cfg(feature = "testing")]
mod pace;
mod spans;
mod subscribers;
pub(crate) mod thread;

use crossbeam_channel::Receiver;
pub(crate) use dump::{Dump, Dumps};
pub(crate) use facts::Containments;
pub use facts::{ContainmentReport, Recovery, Refused, StartError};
pub(crate) use facts::{Facts, NextN, Trouble};
pub(crate) use follow::{Files, Follow, Turn};
#[cfg(feature = "testing")]
pub(crate) use host::OutputWatch;
pub(crate) use host::{Answered, FromHost, HostInput, Permit, ReplyTo};
#[cfg(any(feature = "journal", feature = "testing"))]
pub(crate) use lost::{lost, request_of};
use ostler_messages::{ActorName, CallId, Event, KernelCommand, TimerKind};
pub(crate) use outputs::Outputs;
#[cfg(feature = "testing")]
pub(crate) use pace::{Pace, Waiting, WorldInput};
pub(crate) use spans::{Asked, MakeSpans, Spans};
pub(crate) use subscribers::{EndOfSubscriptions, Subscriber, Subscribers};

/// What enters the graph.
pub(crate) enum Input {
    Kernel(KernelEvent),
    Host(HostInput),
}

/// Something that happened, with the actor that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KernelEvent {
    pub(crate) to: ActorName,
    pub(crate) event: Event,
}
impl KernelEvent {
    pub(crate) fn new(to: ActorName, event: impl Into<Event>) -> KernelEvent {
        KernelEvent { to, event: event.into() }
    }
}

/// The process with which a timer stands still while that is paused. The grace of a stop does not, nor does a call's own time.
pub(crate) fn stands_still_with(owner: ActorName, kind: TimerKind) -> Option<u64> {
    match (owner, kind) {
        (ActorName::Process(n), TimerKind::Deadline | TimerKind::Idle) => Some(n),
        (_, TimerKind::Silence(n)) => Some(n),
        _ => None,
    }
}

/// A world, as the graph's thread has it.
pub(crate) trait Kernel {
    /// Takes a command. Never blocks.
    fn perform(&mut self, command: KernelCommand);
    /// An input that is there already: what the kernel reports before what the host asks, so that what a process did is
    /// settled before more is asked.
    fn ready(&mut self) -> Option<Input>;
    /// The next input, however long it takes; none if there will never be one.
    fn next(&mut self) -> Option<Input>;
    /// Microseconds since the graph's start, monotonic or virtual.
    fn now_us(&self) -> u64;
    /// The graph is idle after an input. `waits` tells whether a call still waits for its answer.
    fn after_input(&mut self, _waits: &dyn Fn(CallId) -> bool) {}
    /// The graph has ended: kills and reaps what is left, and ends the kernel's threads.
    fn close(&mut self);
}

/// Makes the kernel, on the graph's thread.
pub(crate) type StartKernel = Box<dyn FnOnce(Receiver<HostInput>) -> Box<dyn Kernel> + Send>;
