//! The router: everything from outside is handed to its actor here, and every answer leaves here.
//!
//! One input is delivered, then the graph runs until nothing is in flight, then the next. That gives backpressure, one
//! order, and replay.
//!
//! * in: kernel events; requests, acks and nacks of the host; answers of the actors
//! * out: each to the actor that holds it; each answer to its caller, each entry to its subscribers
//! * keeps: a call is open from its request to its Ack, its Nack, or an answer that leases nothing

use super::actors::{CoreActors, ProcessTable};
#[cfg(feature = "testing")]
use crate::backend::Pace;
use crate::backend::{Answered, KernelEvent, ReplyTo, Subscribers};
use actix::{Actor, Handler};
use ostler_context::{Context, Sent, entering};
use ostler_messages::{
    Ack, ActorName, Answer, CallId, Cleared, Event, Mark, Nack, NotifiedAll, Notify, Reply, Request, Stopped,
    SubscriptionId, route_request,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

/// One call of a host that is not closed yet.
struct OpenCall {
    /// None once it is answered.
    reply_to: Option<ReplyTo>,
    /// Who knows of it: the actor that works on its answer, or the one that keeps what was leased to it.
    holder: ActorName,
}

/// The calls of the host that are open: they wait for their answer, or their answer is leased to them. Bounded by the
/// host's limit on open calls.
#[derive(Clone, Default)]
pub(crate) struct OpenCalls(Rc<RefCell<BTreeMap<CallId, OpenCall>>>);
impl OpenCalls {
    pub(crate) fn open(&self, call: CallId, reply_to: ReplyTo, holder: ActorName) {
        self.0.borrow_mut().insert(call, OpenCall { reply_to: Some(reply_to), holder });
    }
    /// Closes the call and returns who held it; none if it is closed already: then its end means nothing.
    pub(crate) fn close(&self, call: CallId) -> Option<ActorName> {
        self.0.borrow_mut().remove(&call).map(|open| open.holder)
    }
    pub(crate) fn waits(&self, call: CallId) -> bool {
        self.0.borrow().get(&call).is_some_and(|open| open.reply_to.is_some())
    }
    /// Callers that still wait hear that the graph has ended.
    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
    /// Its answer leases something, which this one keeps.
    fn is_held_by(&self, call: CallId, leased_by: Option<ActorName>) {
        if let (Some(holder), Some(open)) = (leased_by, self.0.borrow_mut().get_mut(&call)) {
            open.holder = holder;
        }
    }
    /// Where the answer goes. If it leases something, the call stays open, with the one who keeps that.
    fn answer(&self, call: CallId, leased_by: Option<ActorName>) -> Option<ReplyTo> {
        let mut calls = self.0.borrow_mut();
        match leased_by {
            None => calls.remove(&call)?.reply_to,
            Some(_) => calls.get_mut(&call)?.reply_to.take(),
        }
    }
}

/// Answers to `Shutdown`, which go out when the graph has nothing left to do: a host that hears that everything has ended may end
/// its process at once, and the rest of the trace with it.
pub(crate) type LastAnswers = Rc<RefCell<Vec<(ReplyTo, Answered)>>>;

/// Stands for the host in the graph: hands answers to the callers' threads, and entries to subscribers. What is leased with an answer stays in the
/// graph until the call says that its caller has it.
pub(crate) struct HostActor {
    calls: OpenCalls,
    last: LastAnswers,
    stopped: Rc<Cell<bool>>,
    subscribers: Arc<Subscribers>,
    waiting: Waiting,
    /// The graph ends when nothing waits to be written any more.
    stopping: bool,
    #[cfg(feature = "testing")]
    pace: Option<Arc<Pace>>,
}

/// What waits until what it says is written: by who has appended that, and by the number of the append.
#[derive(Default)]
struct Waiting {
    written: BTreeMap<ActorName, u64>,
    leaving: BTreeMap<Mark, Vec<Leaving>>,
}
enum Leaving {
    Reply(Reply),
    Notify(Notify),
    NotifiedAll(NotifiedAll),
}
impl Waiting {
    /// Gives it back if it may leave.
    fn hold(&mut self, after: Option<Mark>, leaving: Leaving) -> Option<Leaving> {
        match after.filter(|mark| self.written.get(&mark.by).is_none_or(|written| *written < mark.n)) {
            None => Some(leaving),
            Some(mark) => {
                self.leaving.entry(mark).or_default().push(leaving);
                None
            }
        }
    }
    /// So much is written: these may leave, in their order.
    fn clear(&mut self, Mark { by, n }: Mark) -> Vec<Leaving> {
        let written = self.written.entry(by).or_default();
        *written = n.max(*written);
        let marks: Vec<Mark> =
            self.leaving.range(Mark { by, n: 0 }..=Mark { by, n: *written }).map(|(mark, _)| *mark).collect();
        marks.iter().filter_map(|mark| self.leaving.remove(mark)).flatten().collect()
    }
}

impl HostActor {
    pub(crate) fn new(
        calls: OpenCalls,
        last: LastAnswers,
        stopped: Rc<Cell<bool>>,
        subscribers: Arc<Subscribers>,
    ) -> HostActor {
        let (waiting, stopping) = (Waiting::default(), false);
        HostActor {
            calls,
            last,
            stopped,
            subscribers,
            waiting,
            stopping,
            #[cfg(feature = "testing")]
            pace: None,
        }
    }
    #[cfg(feature = "testing")]
    pub(crate) fn paced(self, pace: Option<Arc<Pace>>) -> HostActor {
        HostActor { pace, ..self }
    }

    /// At once; in virtual time in its turn.
    fn tell(&self, told: impl FnOnce() + Send + 'static) {
        #[cfg(feature = "testing")]
        if let Some(pace) = &self.pace {
            return pace.hold(told);
        }
        told();
    }

    /// To a subscriber.
    fn tell_of(&self, id: SubscriptionId, told: impl FnOnce() + Send + 'static) {
        // On real processes nobody is asked for it.
        #[cfg(feature = "testing")]
        if self.pace.is_some() && self.subscribers.is_told_at_once(id) {
            return told();
        }
        #[cfg(not(feature = "testing"))]
        let _ = id;
        self.tell(told);
    }

    fn leave(&mut self, after: Option<Mark>, leaving: Leaving) {
        if let Some(leaving) = self.waiting.hold(after, leaving) {
            self.let_go(leaving);
        }
    }
    fn let_go(&mut self, leaving: Leaving) {
        match leaving {
            Leaving::Reply(reply) => self.reply(reply),
            Leaving::Notify(notify) => {
                let subscribers = self.subscribers.clone();
                self.tell_of(notify.subscription, move || {
                    subscribers.notify(notify.subscription, notify.entries);
                });
            }
            Leaving::NotifiedAll(all) => {
                let subscribers = self.subscribers.clone();
                self.tell_of(all.subscription, move || subscribers.end(all.subscription));
            }
        }
    }
    fn reply(&mut self, Reply { call, answer, leased_by, .. }: Reply) {
        let Some(reply_to) = self.calls.answer(call, leased_by) else { return };
        if let (Ok(Answer::Subscribed(id)), None) = (&answer, leased_by) {
            // Nobody in the graph knows of it: nothing can come.
            let (subscribers, id) = (self.subscribers.clone(), *id);
            self.tell_of(id, move || subscribers.end(id));
        }
        let last = matches!(answer, Ok(Answer::Stopped(_)));
        let answered = Answered { answer, leased: leased_by.is_some() };
        if last {
            self.last.borrow_mut().push((reply_to, answered));
        } else {
            // A caller that is gone has sent its Nack, which frees what was leased.
            self.tell(move || drop(reply_to.send(answered)));
        }
    }
}
impl Actor for HostActor {
    type Context = Context<HostActor>;
}
impl Handler<Sent<Reply>> for HostActor {
    type Result = ();
    fn handle(&mut self, Sent(reply): Sent<Reply>, _: &mut Context<HostActor>) {
        // Who keeps what it holds hears of its caller's end from now on, though the answer may wait.
        self.calls.is_held_by(reply.call, reply.leased_by);
        self.leave(reply.after, Leaving::Reply(reply));
    }
}
impl Handler<Sent<Notify>> for HostActor {
    type Result = ();
    fn handle(&mut self, Sent(notify): Sent<Notify>, _: &mut Context<HostActor>) {
        self.leave(notify.after, Leaving::Notify(notify));
    }
}
impl Handler<Sent<NotifiedAll>> for HostActor {
    type Result = ();
    fn handle(&mut self, Sent(all): Sent<NotifiedAll>, _: &mut Context<HostActor>) {
        self.leave(all.after, Leaving::NotifiedAll(all));
    }
}
impl Handler<Sent<Cleared>> for HostActor {
    type Result = ();
    fn handle(&mut self, Sent(cleared): Sent<Cleared>, _: &mut Context<HostActor>) {
        for mark in cleared.marks {
            let leaving = self.waiting.clear(mark);
            leaving.into_iter().for_each(|leaving| self.let_go(leaving));
        }
        self.stopped.set(self.stopped.get() || (self.stopping && self.waiting.leaving.is_empty()));
    }
}
impl Handler<Sent<Stopped>> for HostActor {
    type Result = ();
    fn handle(&mut self, Sent(Stopped { at_once }): Sent<Stopped>, _: &mut Context<HostActor>) {
        self.stopping = true;
        self.stopped.set(at_once || self.waiting.leaving.is_empty());
    }
}

/// Delivers what the kernel reports. What is for an actor that has ended is dropped: late events are legal and mean
/// nothing.
pub(crate) fn deliver_event(
    KernelEvent { to, event }: KernelEvent,
    core_actors: &CoreActors,
    processes: &ProcessTable,
) {
    let (processes, waits) = (processes.borrow(), core_actors.waits.borrow());
    let process = |n: u64| processes.get(&n).map(|process_actors| &process_actors.process);
    let drain = |n: u64, stream: usize| {
        processes
            .get(&n)
            .and_then(|process_actors| process_actors.drains.as_ref())
            .map(|drains| &drains[stream])
    };
    macro_rules! send {
        ($addr:expr, $message:expr) => {
            if let Some(addr) = $addr {
                addr.do_send(Sent($message));
            }
        };
    }
    entering(ActorName::Kernel, || match (to, event) {
        (ActorName::Process(n), Event::Started(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::StartFailed(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::Exited(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::TimerFired(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::TreeAlive(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::TreeEmpty(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::Survived(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::Unsealed(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::Sealed(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::OutputLimitReached(m)) => send!(process(n), m),
        (ActorName::Process(n), Event::Peeked(m)) => send!(process(n), m),
        (ActorName::Drain(n, s), Event::EndOfStream(m)) => send!(drain(n, s.index()), m),
        (ActorName::Drain(n, s), Event::ReadFailed(m)) => send!(drain(n, s.index()), m),
        (ActorName::Ticker(n), Event::TimerFired(m)) => {
            send!(processes.get(&n).and_then(|actors| actors.ticker.as_ref()), m)
        }
        (ActorName::Ticker(n), Event::Peeked(m)) => {
            send!(processes.get(&n).and_then(|actors| actors.ticker.as_ref()), m)
        }
        (ActorName::Supervisor, Event::TimerFired(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Wait(call), Event::Peeked(m)) => send!(waits.get(&call), m),
        (ActorName::Wait(call), Event::ConditionMet(m)) => send!(waits.get(&call), m),
        (ActorName::Wait(call), Event::ConditionOpen(m)) => send!(waits.get(&call), m),
        (ActorName::Wait(call), Event::ConditionNever(m)) => send!(waits.get(&call), m),
        (ActorName::Wait(call), Event::TimerFired(m)) => send!(waits.get(&call), m),
        (ActorName::Supervisor, Event::PortsSeen(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::RetentionDue(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::Froze(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::Thawed(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::Surveyed(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::Fed(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::InputEnded(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::KernelFailed(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Supervisor, Event::Recovered(m)) => core_actors.supervisor.do_send(Sent(m)),
        (ActorName::Journal, Event::Recorded(m)) => core_actors.journal.do_send(Sent(m)),
        (ActorName::Journal, Event::SessionClaimed(m)) => core_actors.journal.do_send(Sent(m)),
        (ActorName::Journal, Event::JournalFailed(m)) => core_actors.journal.do_send(Sent(m)),
        (ActorName::Journal, Event::JournalBack(m)) => core_actors.journal.do_send(Sent(m)),
        (ActorName::Journal, Event::TimerFired(m)) => core_actors.journal.do_send(Sent(m)),
        (ActorName::Inbox, Event::TimerFired(m)) => core_actors.inbox.do_send(Sent(m)),
        // No kernel reports anything else.
        _ => {}
    });
}

/// Delivers a request of the host's.
pub(crate) fn deliver_request(request: Request, core_actors: &CoreActors) {
    let CoreActors { supervisor, inbox, .. } = core_actors;
    entering(ActorName::Host, || {
        route_request!(
            request, message,
            supervisor: supervisor.do_send(Sent(message)),
            inbox: inbox.do_send(Sent(message))
        );
    });
}

/// Tells the holder of a call that its caller has the answer.
pub(crate) fn deliver_ack(call: CallId, calls: &OpenCalls, core_actors: &CoreActors) {
    entering(ActorName::Host, || match calls.close(call) {
        Some(ActorName::Inbox) => core_actors.inbox.do_send(Sent(Ack { call })),
        Some(_) => core_actors.supervisor.do_send(Sent(Ack { call })),
        None => {}
    });
}

/// Tells the holder of a call that its caller is gone. Of a call that was answered and held nothing, nobody hears.
pub(crate) fn deliver_nack(call: CallId, calls: &OpenCalls, core_actors: &CoreActors) {
    entering(ActorName::Host, || match calls.close(call) {
        Some(ActorName::Inbox) => core_actors.inbox.do_send(Sent(Nack { call })),
        Some(_) => core_actors.supervisor.do_send(Sent(Nack { call })),
        None => {}
    });
}
