//! Numbers the messages of one graph where they are delivered, and records them.
//!
//! * in: each message, at its delivery
//! * out: a line of the trace; what is in flight
//! * keeps: a number for each delivery, and the number of what caused it

use ostler_messages::{
    ActorName, Stamp,
    trace::{Fault, Header, Incident},
};
use serde::Serialize;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// [`Delivery`](ostler_messages::trace::Delivery) by reference, so that recording copies nothing.
#[derive(Serialize)]
struct DeliveryRef<'a, M> {
    sequence: u64,
    at_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<u64>,
    from: ActorName,
    to: ActorName,
    message: &'a str,
    body: &'a M,
}

/// Which deliveries panic, by their numbers, and what is said then. A clone is the same list.
#[derive(Clone, Default)]
pub struct Crashes(Rc<RefCell<Vec<(u64, String)>>>);
impl Crashes {
    /// One more.
    pub fn add(&self, sequence: u64, reason: String) {
        self.0.borrow_mut().push((sequence, reason));
    }
    fn take(&self, sequence: u64) -> Option<String> {
        let mut crashes = self.0.borrow_mut();
        let at = crashes.iter().position(|(at, _)| *at == sequence)?;
        Some(crashes.swap_remove(at).1)
    }
}

/// Takes each line of a trace, newline included; an empty one means that the graph is about to wait, and what was held
/// back should go out. It must not block: it runs on the graph's thread.
pub type Sink = Box<dyn FnMut(&[u8])>;

/// Numbers the deliveries of one graph and, if it has a sink, records them. Off by default and then nearly free.
#[derive(Clone)]
pub struct Tracer(Rc<Inner>);
struct Inner {
    started_at: Stamp,
    now_us: Cell<u64>,
    sequence: Cell<u64>,
    failed: Cell<bool>,
    sink: RefCell<Option<Sink>>,
    line: RefCell<Vec<u8>>,
    faults: RefCell<Vec<Fault>>,
    crashes: RefCell<Crashes>,
    incident: RefCell<Option<Incident>>,
}

impl Tracer {
    /// With a sink, writes the header at once.
    pub fn new(header: &Header, sink: Option<Sink>) -> Tracer {
        let tracer = Tracer(Rc::new(Inner {
            started_at: header.started_at,
            now_us: Cell::new(0),
            sequence: Cell::new(0),
            failed: Cell::new(false),
            sink: RefCell::new(sink),
            line: RefCell::default(),
            faults: RefCell::default(),
            crashes: RefCell::default(),
            incident: RefCell::default(),
        }));
        tracer.write(header);
        tracer
    }
    /// The time of the input that is being handled.
    pub fn set_now_us(&self, now_us: u64) {
        self.0.now_us.set(now_us);
    }
    /// Microseconds since the graph's start.
    pub fn now_us(&self) -> u64 {
        self.0.now_us.get()
    }
    /// Nanoseconds since 1970 by the wall clock at the graph's start and the monotonic one since.
    pub fn unix_ns(&self) -> u64 {
        self.0.started_at.0.saturating_mul(1_000_000).saturating_add(self.now_us().saturating_mul(1_000))
    }
    /// The same as a stamp.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.0.started_at.0.saturating_add(self.now_us() / 1_000))
    }
    /// For tests of what a crash does: the delivery that is named panics, once.
    pub fn inject(&self, fault: Fault) {
        self.0.faults.borrow_mut().push(fault);
    }
    /// For a replay: the handling of these deliveries panics, as it did when they were recorded.
    pub fn crash_at(&self, crashes: Crashes) {
        *self.0.crashes.borrow_mut() = crashes;
    }
    /// Somebody will want to look into this: whoever runs the graph finds it after the input. Of several of one input the first counts, from
    /// which the others most often follow.
    pub fn incident(&self, what: Incident) {
        self.0.incident.borrow_mut().get_or_insert(what);
    }
    /// What has gone wrong since the last call.
    pub fn take_incident(&self) -> Option<Incident> {
        self.0.incident.borrow_mut().take()
    }
    /// Whether an actor without a parent has crashed: the graph can't go on.
    pub fn failed(&self) -> bool {
        self.0.failed.get()
    }
    /// The graph is about to wait: the sink should hold nothing back.
    pub fn flush(&self) {
        if let Some(sink) = self.0.sink.borrow_mut().as_mut() {
            sink(&[]);
        }
    }
    /// The graph has ended: the sink is dropped, and nothing more is recorded.
    pub fn end(&self) {
        self.flush();
        self.0.sink.borrow_mut().take();
    }
    pub(crate) fn fail(&self) {
        self.0.failed.set(true);
    }

    pub(crate) fn delivered<M: Serialize>(&self, to: ActorName, origin: Origin, message: &M) -> u64 {
        let sequence = self.0.sequence.get() + 1;
        self.0.sequence.set(sequence);
        // After such a crash the graph only ends. What is still delivered then is nothing that a replay could know of.
        if self.0.sink.borrow().is_some() && !self.failed() {
            let name = message_name::<M>();
            let Origin { from, cause } = origin;
            self.write(&DeliveryRef {
                sequence,
                at_us: self.now_us(),
                cause,
                from,
                to,
                message: name,
                body: message,
            });
        }
        sequence
    }

    /// Panics if a test or a replay asked for it.
    pub(crate) fn trip<M>(&self, to: ActorName) {
        if let Some(reason) = self.0.crashes.borrow().take(self.0.sequence.get()) {
            std::panic::resume_unwind(Box::new(reason));
        }
        let mut faults = self.0.faults.borrow_mut();
        if faults.is_empty() {
            return;
        }
        let at = faults.iter().position(|fault| fault.actor == to && fault.message == message_name::<M>());
        if let Some(at) = at {
            faults.remove(at);
            drop(faults);
            // Not through the panic hook: nobody needs a report of a crash that was asked for.
            std::panic::resume_unwind(Box::new("a fault that a test asked for"));
        }
    }

    fn write(&self, record: &impl Serialize) {
        if let Some(sink) = self.0.sink.borrow_mut().as_mut() {
            let line = &mut *self.0.line.borrow_mut();
            line.clear();
            // Writing to memory fails only if a value can't be JSON, and every message is a plain struct.
            if serde_json::to_writer(&mut *line, record).is_ok() {
                line.push(b'\n');
                sink(line);
            }
        }
    }
}

fn message_name<M>() -> &'static str {
    let path = std::any::type_name::<M>();
    // By one character: a search for two of them costs as much as the rest of a short line.
    path.rfind(':').map_or(path, |colon| &path[colon + 1..])
}

/// Who sent a message, and while handling which other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    from: ActorName,
    cause: Option<u64>,
}

const OUTSIDE: Origin = Origin { from: ActorName::Host, cause: None };

// A thread runs one graph, so "the message being handled" and "messages in flight" are facts of the thread.
thread_local! {
    static CURRENT: Cell<Origin> = const { Cell::new(OUTSIDE) };
    static CRASHED: Cell<Origin> = const { Cell::new(OUTSIDE) };
    static IN_FLIGHT: Cell<u64> = const { Cell::new(0) };
}

/// Messages sent on this thread that are neither handled nor dropped yet, and actors that have not begun. At 0 the graph is
/// idle.
pub fn in_flight() -> u64 {
    IN_FLIGHT.get()
}
/// Sends from the edge of the graph: what `send` sends has no cause and comes from `from`.
pub fn entering(from: ActorName, send: impl FnOnce()) {
    let _scope = Scope(CURRENT.replace(Origin { from, cause: None }));
    send();
}
pub(crate) fn departed() -> Origin {
    IN_FLIGHT.set(IN_FLIGHT.get() + 1);
    CURRENT.get()
}
pub(crate) fn arrived() {
    IN_FLIGHT.set(IN_FLIGHT.get().saturating_sub(1));
}

/// While it lives, what is sent is caused by one message. Remembers that message if a panic ends it.
pub(crate) struct Scope(Origin);
impl Scope {
    pub(crate) fn handling(actor: ActorName, sequence: u64) -> Scope {
        Scope(CURRENT.replace(Origin { from: actor, cause: Some(sequence) }))
    }
    /// What a new actor sends from its `started` was caused by the message whose handling started it.
    pub(crate) fn starting(actor: ActorName, origin: Origin) -> Scope {
        Scope(CURRENT.replace(Origin { from: actor, ..origin }))
    }
    /// That of the message whose handling has just panicked.
    pub(crate) fn crashed() -> Scope {
        Scope(CURRENT.replace(CRASHED.replace(OUTSIDE)))
    }
}
impl Drop for Scope {
    fn drop(&mut self) {
        let was = CURRENT.replace(self.0);
        // The innermost one: the message, if the first poll of an actor handled one.
        if std::thread::panicking() && CRASHED.get().cause.is_none() {
            CRASHED.set(was);
        }
    }
}
