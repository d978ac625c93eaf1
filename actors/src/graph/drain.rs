//! Follows one stream of a command until nothing more of it is recorded. Its bytes never come here: a thread of the kernel
//! takes them from the pipe to the files.
//!
//! * in: `CloseStream` from the process; `EndOfStream`, `ReadFailed` from the kernel
//! * out: `Close` to the kernel; `Drained` to the process, exactly once, with the actor's end

use super::{actors::CoreActors, process::ProcessActor};
use actix::{Actor, ActorContext, Addr, Handler};
use ostler_context::{Context, Sent};
use ostler_messages::{Close, CloseStream, Drained, EndOfStream, ReadFailed, Stream};
use std::rc::Rc;

pub(crate) struct DrainActor {
    n: u64,
    stream: Stream,
    core_actors: Rc<CoreActors>,
    process: Rc<Addr<ProcessActor>>,
}

impl DrainActor {
    pub(crate) fn new(
        n: u64,
        stream: Stream,
        core_actors: Rc<CoreActors>,
        process: Rc<Addr<ProcessActor>>,
    ) -> DrainActor {
        DrainActor { n, stream, core_actors, process }
    }

    fn drained(&mut self, errno: Option<i32>, ctx: &mut Context<DrainActor>) {
        self.process.do_send(Sent(Drained { stream: self.stream, errno }));
        ctx.stop();
    }
}

impl Actor for DrainActor {
    type Context = Context<DrainActor>;
}
impl Handler<Sent<EndOfStream>> for DrainActor {
    type Result = ();
    fn handle(&mut self, _: Sent<EndOfStream>, ctx: &mut Context<DrainActor>) {
        self.drained(None, ctx);
    }
}
impl Handler<Sent<ReadFailed>> for DrainActor {
    type Result = ();
    fn handle(&mut self, Sent(failed): Sent<ReadFailed>, ctx: &mut Context<DrainActor>) {
        self.drained(Some(failed.errno), ctx);
    }
}
impl Handler<Sent<CloseStream>> for DrainActor {
    type Result = ();
    fn handle(&mut self, _: Sent<CloseStream>, _: &mut Context<DrainActor>) {
        self.core_actors.kernel.do_send(Sent(Close { n: self.n, stream: self.stream }));
    }
}
