//! Steers one stream of a command: grants credit, hears what flowed, tells when nothing more is recorded.
//! It never sees a byte of it.

use super::{kernel::KernelActor, process::ProcessActor};
use actix::{Actor, ActorContext, Addr, Handler};
use ostler_messages::{
    Close, CloseStream, Drained, EndOfStream, Flowed, Pull, ReadFailed, Stream, context::Context,
};

/// How many bytes may flow without word from the graph. At a quarter of it or less the round trip through the graph
/// shows in the throughput (64 KiB cost a fifth); each stream starts with one window of credit.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;
/// The kernel reports after so many bytes, and that much is granted again: half a window is always in reserve.
pub(crate) const REPORT_BYTES: u64 = WINDOW_BYTES / 2;

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
        self.process.do_send(Drained { stream: self.stream, bytes: self.bytes, errno });
        ctx.stop();
    }
}

impl Actor for DrainActor {
    type Context = Context<DrainActor>;
}
impl Handler<Flowed> for DrainActor {
    type Result = ();
    fn handle(&mut self, flowed: Flowed, _: &mut Context<DrainActor>) {
        self.bytes += flowed.bytes;
        if !self.closing {
            self.kernel.do_send(Pull { n: self.n, stream: self.stream, bytes: flowed.bytes });
        }
    }
}
impl Handler<EndOfStream> for DrainActor {
    type Result = ();
    fn handle(&mut self, end: EndOfStream, ctx: &mut Context<DrainActor>) {
        self.bytes += end.bytes;
        self.drained(None, ctx);
    }
}
impl Handler<ReadFailed> for DrainActor {
    type Result = ();
    fn handle(&mut self, failed: ReadFailed, ctx: &mut Context<DrainActor>) {
        self.drained(Some(failed.errno), ctx);
    }
}
impl Handler<CloseStream> for DrainActor {
    type Result = ();
    fn handle(&mut self, _: CloseStream, _: &mut Context<DrainActor>) {
        self.closing = true;
        self.kernel.do_send(Close { n: self.n, stream: self.stream });
    }
}
