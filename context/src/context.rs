//! The one context that all actors run in: it records each message where it travels, and turns a panic into a
//! [`Down`] for the parent.
//!
//! actix's own context does neither: it swallows a panic (tokio catches it, nobody is told), and it runs an actor's
//! destructors while unwinding, where a second panic aborts the whole host. Here the panic is caught first.
//! With `panic = "abort"` nothing can be caught: any panic then ends the host.

use crate::{
    Sent,
    tracer::{Origin, Scope, Tracer, arrived, departed},
};
use actix::{
    Actor, ActorContext, ActorState, Addr, AsyncContext, Handler, Recipient, SpawnHandle,
    dev::{
        AsyncContextParts, ContextFut, ContextParts, Envelope, EnvelopeProxy, Mailbox, OneshotSender,
        ToEnvelope,
    },
    fut::ActorFuture,
};
use ostler_messages::{ActorName, Down, Stamp, trace::Incident};
use serde::Serialize;
use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context as Cx, Poll},
};

/// Longest reason that a [`Down`] carries, in characters: a panic's message can be anything.
const REASON_MAX_CHARS: usize = 200;

/// The context of every actor in the graph.
pub struct Context<A: Actor<Context = Context<A>>> {
    parts: ContextParts<A>,
    name: ActorName,
    tracer: Tracer,
}

impl<A: Actor<Context = Context<A>>> Context<A> {
    /// The actor's name.
    pub fn name(&self) -> ActorName {
        self.name
    }
    /// The graph's numbering, clock and trace; needed to start a child.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }
    /// Wall time of the input that is being handled.
    pub fn stamp(&self) -> Stamp {
        self.tracer.stamp()
    }
}

/// Who hears of an actor's panic. Shared by its children: a copy of an address costs two allocations.
pub type Parent = Rc<Recipient<Sent<Down>>>;

/// An address before its actor: for two actors that know each other.
pub struct Reserved<A: Actor<Context = Context<A>>> {
    addr: Addr<A>,
    context: Context<A>,
    mailbox: Mailbox<A>,
}
impl<A: Actor<Context = Context<A>>> Reserved<A> {
    /// Makes the address; what is sent to it waits for the actor.
    pub fn new(name: ActorName, tracer: &Tracer) -> Reserved<A> {
        let mailbox = Mailbox::default();
        let context =
            Context { parts: ContextParts::new(mailbox.sender_producer()), name, tracer: tracer.clone() };
        Reserved { addr: context.address(), context, mailbox }
    }
    /// Where the actor will be.
    pub fn addr(&self) -> &Addr<A> {
        &self.addr
    }
    /// Starts the actor; it counts as in flight until its `started` has run. If it panics, `parent` hears [`Down`]; without a
    /// parent the graph ends.
    /// Must be called on a thread with a running actix `System`.
    pub fn start(self, actor: A, parent: Option<Parent>) -> Addr<A> {
        let (name, tracer) = (self.context.name, self.context.tracer.clone());
        let run = Box::pin(ContextFut::new(self.context, actor, self.mailbox));
        actix::spawn(Guarded { run: Some(run), born: Some(departed()), name, tracer, parent });
        self.addr
    }
}

/// [`Reserved::start`] for an actor that nobody needs to know before it exists.
pub fn start<A: Actor<Context = Context<A>>>(
    actor: A,
    name: ActorName,
    tracer: &Tracer,
    parent: Option<Parent>,
) -> Addr<A> {
    Reserved::new(name, tracer).start(actor, parent)
}

type Run<A> = Pin<Box<ContextFut<A, Context<A>>>>;

struct Guarded<A: Actor<Context = Context<A>>> {
    run: Option<Run<A>>,
    /// Until the first poll, which runs the actor's `started`: what it sends then was caused by what started it.
    born: Option<Origin>,
    name: ActorName,
    tracer: Tracer,
    parent: Option<Parent>,
}
impl<A: Actor<Context = Context<A>>> Future for Guarded<A> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let (born, name) = (self.born.take(), self.name);
        let Some(run) = self.run.as_mut() else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let _scope = born.map(|origin| Scope::starting(name, origin));
            run.as_mut().poll(cx)
        }));
        if born.is_some() {
            arrived();
        }
        let payload = match polled {
            Ok(poll) => return poll,
            Err(payload) => payload,
        };
        self.tracer.incident(Incident::Crashed(self.name));
        let _scope = Scope::crashed();
        match &self.parent {
            Some(parent) => parent.do_send(Sent(Down { actor: self.name, reason: reason(payload.as_ref()) })),
            None => self.tracer.fail(),
        }
        // Dropped here, when nothing unwinds any more: a destructor that panics too cannot abort the host.
        let dead = self.run.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(dead)));
        Poll::Ready(())
    }
}

fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    text.chars().take(REASON_MAX_CHARS).collect()
}

struct Travelling<M> {
    message: Option<Sent<M>>,
    origin: Origin,
}
impl<M> Drop for Travelling<M> {
    fn drop(&mut self) {
        arrived();
    }
}
impl<A, M> ToEnvelope<A, Sent<M>> for Context<A>
where
    A: Actor<Context = Context<A>> + Handler<Sent<M>>,
    M: Serialize + Send + 'static,
{
    /// Runs at the send. Answers are messages in this graph, so a sender that waits for a return value gets none.
    fn pack(message: Sent<M>, _: Option<OneshotSender<()>>) -> Envelope<A> {
        Envelope::with_proxy(Box::new(Travelling { message: Some(message), origin: departed() }))
    }
}
impl<A, M> EnvelopeProxy<A> for Travelling<M>
where
    A: Actor<Context = Context<A>> + Handler<Sent<M>>,
    M: Serialize + Send + 'static,
{
    /// Runs at the delivery.
    fn handle(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        let Some(message) = self.message.take() else { return };
        let sequence = ctx.tracer.delivered(ctx.name, self.origin, &message.0);
        let _scope = Scope::handling(ctx.name, sequence);
        ctx.tracer.trip::<M>(ctx.name);
        actor.handle(message, ctx);
    }
}

impl<A: Actor<Context = Context<A>>> ActorContext for Context<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }
    fn terminate(&mut self) {
        self.parts.terminate();
    }
    fn state(&self) -> ActorState {
        self.parts.state()
    }
}
impl<A: Actor<Context = Context<A>>> AsyncContext<A> for Context<A> {
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }
    fn spawn<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) -> SpawnHandle {
        self.parts.spawn(future)
    }
    fn wait<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) {
        self.parts.wait(future);
    }
    fn waiting(&self) -> bool {
        self.parts.waiting()
    }
    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }
}
impl<A: Actor<Context = Context<A>>> AsyncContextParts<A> for Context<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::in_flight;
    use actix::System;
    use ostler_messages::{Halt, trace::Header};
    use std::{cell::RefCell, task::Poll::Pending};

    struct Parent(Rc<RefCell<Vec<Down>>>);
    impl Actor for Parent {
        type Context = Context<Parent>;
    }
    impl Handler<Sent<Down>> for Parent {
        type Result = ();
        fn handle(&mut self, Sent(down): Sent<Down>, _: &mut Context<Parent>) {
            self.0.borrow_mut().push(down);
        }
    }

    /// Panics in its handler, and again when it is dropped for that.
    struct Fragile;
    impl Actor for Fragile {
        type Context = Context<Fragile>;
    }
    impl Handler<Sent<Halt>> for Fragile {
        type Result = ();
        fn handle(&mut self, _: Sent<Halt>, _: &mut Context<Fragile>) {
            std::panic::resume_unwind(Box::new("in the handler"));
        }
    }
    impl Drop for Fragile {
        fn drop(&mut self) {
            assert!(!std::thread::panicking(), "dropped while unwinding: a panic here ends the host");
            std::panic::resume_unwind(Box::new("in the destructor"));
        }
    }

    #[test]
    fn f41_an_actor_that_panics_again_when_it_is_dropped_does_not_end_the_host() {
        let header = Header::new(1, String::new(), Stamp(0));
        let tracer = Tracer::new(&header, None);
        let heard = Rc::new(RefCell::new(Vec::new()));
        let system = System::new();
        system.block_on(async {
            let parent = start(Parent(heard.clone()), ActorName::Process(1), &tracer, None);
            let parent = Some(Rc::new(parent.recipient()));
            let fragile = start(Fragile, ActorName::Ticker(1), &tracer, parent);
            fragile.do_send(Sent(Halt {}));
            std::future::poll_fn(|cx| match in_flight() {
                0 => Poll::Ready(()),
                _ => {
                    cx.waker().wake_by_ref();
                    Pending
                }
            })
            .await;
        });
        let heard = heard.borrow();
        let [down] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!((down.actor, down.reason.as_str()), (ActorName::Ticker(1), "in the handler"));
        assert!(!tracer.failed(), "the graph goes on");
    }
}
