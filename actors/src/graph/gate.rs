//! The gate: everything from outside enters here, and every answer leaves here.
//!
//! One input is delivered, then the graph runs until nothing is in flight, then the next. That gives backpressure, one
//! order, and replay.

use super::directory::{Families, Pillars};
use crate::host::{Delivered, HostRequest, Intake, Port};
use actix::{Actor, Handler};
use crossbeam_channel::Sender;
use ostler_messages::{
    ActorName, Answer, CallId, EndOfStream, Exited, Flowed, KernelFailed, Over, Peeked, ReadFailed, Reply,
    Sealed, Settle, StartFailed, Started, Survived, TimerFired, TreeAlive, TreeEmpty, context::Context,
    trace::entering,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// Calls that wait for their answer. Bounded by the host's limit on open calls.
pub(crate) type Ports = Rc<RefCell<BTreeMap<CallId, Port>>>;

/// Answers to `Shutdown`, which go out when the graph has nothing left to do: a host that hears that all is over may end
/// its process at once, and the rest of the trace with it.
pub(crate) type LastAnswers = Rc<RefCell<Vec<(Port, Delivered)>>>;

/// Stands for the host in the graph: hands answers to the callers' threads. What a caller does not take comes back as
/// `PutBack` or `Unclaimed`.
pub(crate) struct HostActor {
    ports: Ports,
    back: Sender<Intake>,
    last: LastAnswers,
    over: Rc<Cell<bool>>,
}
impl HostActor {
    pub(crate) fn new(
        ports: Ports,
        back: Sender<Intake>,
        last: LastAnswers,
        over: Rc<Cell<bool>>,
    ) -> HostActor {
        HostActor { ports, back, last, over }
    }
}
impl Actor for HostActor {
    type Context = Context<HostActor>;
}
impl Handler<Reply> for HostActor {
    type Result = ();
    fn handle(&mut self, reply: Reply, _: &mut Context<HostActor>) {
        if let Some(port) = self.ports.borrow_mut().remove(&reply.call) {
            let last = matches!(reply.answer, Ok(Answer::Stopped(_)));
            let delivered = Delivered::plain(reply.answer, &self.back);
            if last {
                self.last.borrow_mut().push((port, delivered));
            } else {
                // A caller that is gone: the delivery comes back and is dropped, which returns what must not be lost.
                let _ = port.send(delivered);
            }
        }
    }
}
impl Handler<Settle> for HostActor {
    type Result = ();
    fn handle(&mut self, settle: Settle, _: &mut Context<HostActor>) {
        let ports: Vec<Port> = {
            let mut open = self.ports.borrow_mut();
            settle.calls.iter().filter_map(|call| open.remove(call)).collect()
        };
        let deliveries = Delivered::settle(ports.len(), settle.cancelled, &settle.record, &self.back);
        for (port, delivered) in ports.into_iter().zip(deliveries) {
            let _ = port.send(delivered);
        }
    }
}
impl Handler<Over> for HostActor {
    type Result = ();
    fn handle(&mut self, _: Over, _: &mut Context<HostActor>) {
        self.over.set(true);
    }
}

/// News of the kernel, with the actor it is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) to: ActorName,
    pub(crate) body: NewsBody,
}

macro_rules! news {
    ($($name:ident),*) => {
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum NewsBody { $($name($name)),* }
        $(impl From<$name> for NewsBody {
            fn from(body: $name) -> NewsBody { NewsBody::$name(body) }
        })*
    };
}
news!(
    Started,
    StartFailed,
    Exited,
    TimerFired,
    TreeAlive,
    TreeEmpty,
    Survived,
    Flowed,
    EndOfStream,
    ReadFailed,
    Peeked,
    Sealed,
    KernelFailed
);
impl News {
    pub(crate) fn new(to: ActorName, body: impl Into<NewsBody>) -> News {
        News { to, body: body.into() }
    }
}

/// Delivers news. Those for an actor that is over are dropped: late news are legal and mean nothing.
pub(crate) fn deliver_news(news: News, pillars: &Pillars, families: &Families) {
    let families = families.borrow();
    let process = |n: u64| families.get(&n).map(|family| &family.process);
    let drain = |n: u64, stream: usize| {
        families.get(&n).and_then(|family| family.drains.as_ref()).map(|drains| &drains[stream])
    };
    macro_rules! to {
        ($addr:expr, $message:expr) => {
            if let Some(addr) = $addr {
                addr.do_send($message);
            }
        };
    }
    entering(ActorName::Kernel, || match (news.to, news.body) {
        (ActorName::Process(n), NewsBody::Started(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::StartFailed(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::Exited(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::TimerFired(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::TreeAlive(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::TreeEmpty(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::Survived(m)) => to!(process(n), m),
        (ActorName::Process(n), NewsBody::Sealed(m)) => to!(process(n), m),
        (ActorName::Drain(n, s), NewsBody::Flowed(m)) => to!(drain(n, s.index()), m),
        (ActorName::Drain(n, s), NewsBody::EndOfStream(m)) => to!(drain(n, s.index()), m),
        (ActorName::Drain(n, s), NewsBody::ReadFailed(m)) => to!(drain(n, s.index()), m),
        (ActorName::Ticker(n), NewsBody::TimerFired(m)) => {
            to!(families.get(&n).and_then(|f| f.ticker.as_ref()), m)
        }
        (ActorName::Ticker(n), NewsBody::Peeked(m)) => {
            to!(families.get(&n).and_then(|f| f.ticker.as_ref()), m)
        }
        (ActorName::Supervisor, NewsBody::TimerFired(m)) => pillars.supervisor.do_send(m),
        (ActorName::Supervisor, NewsBody::KernelFailed(m)) => pillars.supervisor.do_send(m),
        (ActorName::Inbox, NewsBody::TimerFired(m)) => pillars.inbox.do_send(m),
        // No backend sends anything else.
        _ => {}
    });
}

/// Delivers a request of the host's.
pub(crate) fn deliver_request(request: HostRequest, pillars: &Pillars) {
    let Pillars { supervisor, inbox, .. } = pillars;
    entering(ActorName::Host, || match request {
        HostRequest::OpenSession(m) => supervisor.do_send(m),
        HostRequest::Launch(m) => supervisor.do_send(m),
        HostRequest::Cancel(m) => supervisor.do_send(m),
        HostRequest::EndSession(m) => supervisor.do_send(m),
        HostRequest::List(m) => supervisor.do_send(m),
        HostRequest::Sleep(m) => supervisor.do_send(m),
        HostRequest::Hangup(m) => supervisor.do_send(m),
        HostRequest::Shutdown(m) => supervisor.do_send(m),
        HostRequest::HostGone(m) => supervisor.do_send(m),
        HostRequest::Push(m) => inbox.do_send(m),
        HostRequest::Drain(m) => inbox.do_send(m),
        HostRequest::Wait(m) => inbox.do_send(m),
        HostRequest::Pending(m) => inbox.do_send(m),
        HostRequest::PutBack(m) => inbox.do_send(m),
        HostRequest::Unclaimed(m) => inbox.do_send(m),
    });
}
