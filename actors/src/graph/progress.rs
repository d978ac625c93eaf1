//! Reports to the session that a command is running: first after its interval, then at doubling intervals up to a limit.
//! A tick costs the same however much output there was: the kernel keeps counts and a bounded head and tail.
//!
//! * in: `Launched` once, `Halt` once; `TimerFired` and `Peeked` from the kernel
//! * out: `Arm`, `Peek` to the kernel; `Progress` to the inbox
//! * keeps: at most one timer and one peek are outstanding

use super::actors::CoreActors;
use actix::{Actor, ActorContext, Handler};
use ostler_context::{Context, Sent};
use ostler_messages::{
    ActorName, Arm, Disarm, Halt, Launched, Peek, Peeked, Progress, Shared, TimerFired, TimerKind,
};
use std::rc::Rc;

pub(crate) struct ProgressTicker {
    n: u64,
    core_actors: Rc<CoreActors>,
    interval_ms: u64,
    max_interval_ms: u64,
    inline_bytes: u64,
    /// What is known of the command but for its output.
    record: Option<Shared>,
}

impl ProgressTicker {
    pub(crate) fn new(
        n: u64,
        core_actors: Rc<CoreActors>,
        (interval_ms, max_interval_ms): (u64, u64),
        inline_bytes: u64,
    ) -> ProgressTicker {
        ProgressTicker { n, core_actors, interval_ms, max_interval_ms, inline_bytes, record: None }
    }

    fn arm(&self) {
        let owner = ActorName::Ticker(self.n);
        self.core_actors.kernel.do_send(Sent(Arm {
            owner,
            kind: TimerKind::Progress,
            after_ms: self.interval_ms,
        }));
    }
}

impl Actor for ProgressTicker {
    type Context = Context<ProgressTicker>;
}
impl Handler<Sent<Launched>> for ProgressTicker {
    type Result = ();
    fn handle(&mut self, Sent(launched): Sent<Launched>, _: &mut Context<ProgressTicker>) {
        self.record = Some(launched.record);
        self.arm();
    }
}
impl Handler<Sent<TimerFired>> for ProgressTicker {
    type Result = ();
    fn handle(&mut self, _: Sent<TimerFired>, _: &mut Context<ProgressTicker>) {
        self.core_actors.kernel.do_send(Sent(Peek {
            n: self.n,
            inline_bytes: self.inline_bytes,
            call: None,
            owner: ActorName::Ticker(self.n),
        }));
    }
}
impl Handler<Sent<Peeked>> for ProgressTicker {
    type Result = ();
    fn handle(&mut self, Sent(peeked): Sent<Peeked>, _: &mut Context<ProgressTicker>) {
        // After the seal comes the result, and no progress.
        let Some(base) = self.record.as_ref().filter(|_| !peeked.sealed) else { return };
        let mut record = (**base).clone();
        record.set_output(peeked.output);
        record.silence_ms = Some(peeked.silence_ms);
        record.paused = peeked.paused;
        self.core_actors.inbox.do_send(Sent(Progress { record: record.into() }));
        self.interval_ms = self.interval_ms.saturating_mul(2).min(self.max_interval_ms);
        self.arm();
    }
}
impl Handler<Sent<Halt>> for ProgressTicker {
    type Result = ();
    fn handle(&mut self, _: Sent<Halt>, ctx: &mut Context<ProgressTicker>) {
        self.core_actors
            .kernel
            .do_send(Sent(Disarm { owner: ActorName::Ticker(self.n), kind: TimerKind::Progress }));
        ctx.stop();
    }
}
