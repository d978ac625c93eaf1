//! The gate: everything from outside enters here, and every answer leaves here.
//!
//! One input is delivered, then the graph runs until nothing is in flight, then the next. That gives backpressure, one
//! order, and replay.

use super::directory::{Families, Pillars};
use crate::host::{Answered, HostRequest, ReplyTo};
use actix::{Actor, Handler};
use ostler_messages::{
    Ack, ActorName, Answer, CallId, EndOfStream, Exited, Flowed, KernelFailed, Nack, Over, Peeked,
    ReadFailed, Reply, Sealed, StartFailed, Started, Survived, TimerFired, TreeAlive, TreeEmpty,
    context::Context, trace::entering,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
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
    /// Where the answer goes. If it leases something, the call stays open, with the one who keeps that.
    fn answer(&self, call: CallId, leased_by: Option<ActorName>) -> Option<ReplyTo> {
        let mut calls = self.0.borrow_mut();
        let Some(holder) = leased_by else { return calls.remove(&call)?.reply_to };
        let open = calls.get_mut(&call)?;
        open.holder = holder;
        open.reply_to.take()
    }
}

/// Answers to `Shutdown`, which go out when the graph has nothing left to do: a host that hears that all is over may end
/// its process at once, and the rest of the trace with it.
pub(crate) type LastAnswers = Rc<RefCell<Vec<(ReplyTo, Answered)>>>;

/// Stands for the host in the graph: hands answers to the callers' threads. What is leased with an answer stays in the
/// graph until the call says that its caller has it.
pub(crate) struct HostActor {
    calls: OpenCalls,
    last: LastAnswers,
    over: Rc<Cell<bool>>,
}
impl HostActor {
    pub(crate) fn new(calls: OpenCalls, last: LastAnswers, over: Rc<Cell<bool>>) -> HostActor {
        HostActor { calls, last, over }
    }
}
impl Actor for HostActor {
    type Context = Context<HostActor>;
}
impl Handler<Reply> for HostActor {
    type Result = ();
    fn handle(&mut self, reply: Reply, _: &mut Context<HostActor>) {
        let Reply { call, answer, leased_by } = reply;
        let Some(reply_to) = self.calls.answer(call, leased_by) else { return };
        let last = matches!(answer, Ok(Answer::Stopped(_)));
        let answered = Answered { answer, leased: leased_by.is_some() };
        if last {
            self.last.borrow_mut().push((reply_to, answered));
        } else {
            // A caller that is gone has sent its Nack, which frees what was leased.
            let _ = reply_to.send(answered);
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

/// Who works on the answer to a request of the host's.
pub(crate) fn holder(request: &HostRequest) -> ActorName {
    match request {
        HostRequest::Push(_) | HostRequest::Drain(_) | HostRequest::Wait(_) | HostRequest::Pending(_) => {
            ActorName::Inbox
        }
        _ => ActorName::Supervisor,
    }
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
        HostRequest::Shutdown(m) => supervisor.do_send(m),
        HostRequest::HostGone(m) => supervisor.do_send(m),
        HostRequest::Push(m) => inbox.do_send(m),
        HostRequest::Drain(m) => inbox.do_send(m),
        HostRequest::Wait(m) => inbox.do_send(m),
        HostRequest::Pending(m) => inbox.do_send(m),
    });
}

/// Tells the holder of a call that its caller has the answer.
pub(crate) fn deliver_ack(call: CallId, calls: &OpenCalls, pillars: &Pillars) {
    entering(ActorName::Host, || match calls.close(call) {
        Some(ActorName::Inbox) => pillars.inbox.do_send(Ack { call }),
        Some(_) => pillars.supervisor.do_send(Ack { call }),
        None => {}
    });
}

/// Tells the holder of a call that its caller is gone. Of a call that was answered and held nothing, nobody hears.
pub(crate) fn deliver_nack(call: CallId, calls: &OpenCalls, pillars: &Pillars) {
    entering(ActorName::Host, || match calls.close(call) {
        Some(ActorName::Inbox) => pillars.inbox.do_send(Nack { call }),
        Some(_) => pillars.supervisor.do_send(Nack { call }),
        None => {}
    });
}
