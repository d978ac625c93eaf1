//! Steers one stream of a command: grants credit, hears what flowed, tells when nothing more is recorded.
//! It never sees a byte of it.

use super::{kernel::KernelActor, process::ProcessActor};
use actix::{Actor, ActorContext, Addr, Handler};
use ostler_context::{Context, Sent};
use ostler_messages::{Close, CloseStream, Drained, EndOfStream, Flowed, Pull, ReadFailed, Stream};

pub(crate) struct DrainActor {
    n: u64,
    stream: Stream,
    kernel: Addr<KernelActor>,
    process: Addr<ProcessActor>,
    bytes: u64,
    closing: bool,
}

impl DrainActor {
    pub(crate) fn new(
        n: u64,
        stream: Stream,
        kernel: Addr<KernelActor>,
        process: Addr<ProcessActor>,
    ) -> DrainActor {
        DrainActor { n, stream, kernel, process, bytes: 0, closing: false }
    }

    fn drained(&mut self, errno: Option<i32>, ctx: &mut Context<DrainActor>) {
        self.process.do_send(Sent(Drained { stream: self.stream, bytes: self.bytes, errno }));
        ctx.stop();
    }
}

impl Actor for DrainActor {
    type Context = Context<DrainActor>;
}
impl Handler<Sent<Flowed>> for DrainActor {
    type Result = ();
    fn handle(&mut self, Sent(flowed): Sent<Flowed>, _: &mut Context<DrainActor>) {
        self.bytes += flowed.bytes;
        if !self.closing {
            self.kernel.do_send(Sent(Pull { n: self.n, stream: self.stream, bytes: flowed.bytes }));
        }
    }
}
impl Handler<Sent<EndOfStream>> for DrainActor {
    type Result = ();
    fn handle(&mut self, Sent(end): Sent<EndOfStream>, ctx: &mut Context<DrainActor>) {
        self.bytes += end.bytes;
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
        self.closing = true;
        self.kernel.do_send(Sent(Close { n: self.n, stream: self.stream }));
    }
}
