//! Waits for what a host has asked for: the shell around [`Wait`], which decides everything. One actor for each call that waits.
//!
//! * in: what the kernel sees, the command's end, the caller's time, its end
//! * out: `Follow`, timers, and a last `Peek` to the kernel; `Reply` to the host, `WaitOver` to the supervisor
//! * keeps: one answer, with the record of its moment; nothing is followed after it

use super::actors::CoreActors;
use crate::core::{
    registry::name_of,
    wait::{Effect, Event, Wait},
};
use actix::{Actor, ActorContext, Handler};
use ostler_context::{Context, Sent};
use ostler_messages::{
    ActorName, Answer, Arm, CallError, CallId, CommandEnded, Condition, ConditionMet, ConditionNever,
    ConditionOpen, Disarm, Follow, MAX_INLINE_BYTES_LIMIT, Met, Peek, Peeked, RecordingStopped, Refusal,
    Reply, Shared, StopWaiting, TimerFired, TimerKind, Unfollow, WaitEnd, WaitOver, Waited,
};
use std::{rc::Rc, sync::Arc};

/// How long a wait whose time is up waits for what it has not looked at yet, so that also one without time is answered by what is
/// there. A disk that hangs may not hold it for longer.
const LAST_LOOK_MS: u64 = 5_000;

pub(crate) struct WaitActor {
    call: CallId,
    record: Shared,
    ended: bool,
    conditions: Arc<Vec<Condition>>,
    timeout_ms: u64,
    core_actors: Rc<CoreActors>,
    wait: Wait,
    /// The shortest silence that is waited for, and its place.
    silence: Option<(usize, u64)>,
    /// What is set, and what the kernel follows.
    armed: Vec<TimerKind>,
    follows: bool,
    /// The answer, while the record of its moment is asked for.
    answer: Option<(WaitEnd, u64, Option<RecordingStopped>)>,
    /// It is answered, or nobody waits.
    done: bool,
}

impl WaitActor {
    pub(crate) fn new(
        call: CallId,
        (record, ended): (Shared, bool),
        conditions: Arc<Vec<Condition>>,
        timeout_ms: u64,
        core_actors: Rc<CoreActors>,
    ) -> WaitActor {
        let silences = conditions.iter().enumerate().filter_map(|(index, condition)| match condition {
            Condition::Silence { ms } => Some((index, *ms)),
            _ => None,
        });
        let silence = silences.min_by_key(|(_, ms)| *ms);
        WaitActor {
            call,
            record,
            ended,
            timeout_ms,
            core_actors,
            wait: Wait::new(&conditions),
            conditions,
            silence,
            armed: Vec::new(),
            follows: false,
            answer: None,
            done: false,
        }
    }

    fn owner(&self) -> ActorName {
        ActorName::Wait(self.call.0)
    }

    fn arm(&mut self, kind: TimerKind, after_ms: u64) {
        self.armed.push(kind);
        self.core_actors.kernel.do_send(Sent(Arm { owner: self.owner(), kind, after_ms }));
    }

    /// How it stands at this moment.
    fn peek(&self, inline_bytes: u64) {
        let n = self.record.handle_id.n;
        self.core_actors.kernel.do_send(Sent(Peek { n, inline_bytes, call: None, owner: self.owner() }));
    }

    fn follow(&mut self, silence_ms: u64) {
        self.follows = true;
        self.core_actors.kernel.do_send(Sent(Follow {
            call: self.call,
            n: self.record.handle_id.n,
            command_id: self.record.command_id,
            conditions: self.conditions.clone(),
            silence_ms,
        }));
    }

    /// The first look: how long the command has been silent.
    fn begin(&mut self, silence_ms: u64, ctx: &mut Context<WaitActor>) {
        let conditions = self.conditions.clone();
        for (index, condition) in conditions.iter().enumerate() {
            match condition {
                Condition::Silence { ms } if silence_ms >= *ms => {
                    self.on(Event::Met { index, by: Met::Silence { ms: silence_ms } }, ctx);
                }
                Condition::Silence { .. } => self.on(Event::Open { index, unseen: 0 }, ctx),
                _ => {}
            }
        }
        if self.answer.is_some() || self.done {
            return;
        }
        if let Some((_, ms)) = self.silence.filter(|(_, ms)| *ms > silence_ms) {
            self.arm(TimerKind::Silence(self.record.handle_id.n), ms - silence_ms);
        }
        if self.wait.needs_kernel() {
            self.follow(silence_ms);
        }
    }

    fn on(&mut self, event: Event, ctx: &mut Context<WaitActor>) {
        match self.wait.step(event) {
            None => {}
            Some(Effect::ArmLastLook) => self.arm(TimerKind::LastLook, LAST_LOOK_MS),
            Some(Effect::Answer { end, unseen, stopped }) => {
                self.answer = Some((end, unseen, stopped));
                if self.ended {
                    self.reply(ctx);
                } else {
                    self.peek(MAX_INLINE_BYTES_LIMIT);
                }
            }
        }
    }

    fn reply(&mut self, ctx: &mut Context<WaitActor>) {
        if let Some((end, unseen, recording_stopped)) = self.answer.take() {
            let record = self.record.clone();
            let waited = Waited { end, record, unseen, recording_stopped };
            self.finish(Ok(Answer::Waited(Box::new(waited))), ctx);
        }
    }

    fn finish(&mut self, answer: Result<Answer, Refusal>, ctx: &mut Context<WaitActor>) {
        let call = self.call;
        self.let_go();
        self.core_actors.host.do_send(Sent(Reply { call, answer, leased_by: None, after: None }));
        self.core_actors.supervisor.do_send(Sent(WaitOver { call }));
        ctx.stop();
    }

    /// Nothing is followed or timed any more.
    fn let_go(&mut self) {
        self.done = true;
        let owner = self.owner();
        for kind in std::mem::take(&mut self.armed) {
            self.core_actors.kernel.do_send(Sent(Disarm { owner, kind }));
        }
        if std::mem::take(&mut self.follows) {
            self.core_actors.kernel.do_send(Sent(Unfollow { call: self.call, n: self.record.handle_id.n }));
        }
    }
}

impl Actor for WaitActor {
    type Context = Context<WaitActor>;

    fn started(&mut self, ctx: &mut Context<WaitActor>) {
        self.arm(TimerKind::Call(self.call), self.timeout_ms);
        if self.ended {
            self.on(Event::Ended, ctx);
            if !self.done && self.wait.needs_kernel() {
                self.follow(u64::MAX);
            }
        } else if self.wait.needs_kernel() {
            self.peek(0);
        }
    }
}
impl Handler<Sent<Peeked>> for WaitActor {
    type Result = ();
    fn handle(&mut self, Sent(peeked): Sent<Peeked>, ctx: &mut Context<WaitActor>) {
        if self.answer.is_none() {
            return self.begin(peeked.silence_ms, ctx);
        }
        if !self.ended {
            if peeked.sealed {
                // Its result is on its way.
                return;
            }
            let record = Arc::make_mut(&mut self.record.0);
            record.set_output(peeked.output);
            record.silence_ms = Some(peeked.silence_ms);
            record.paused = peeked.paused;
        }
        self.reply(ctx);
    }
}
impl Handler<Sent<CommandEnded>> for WaitActor {
    type Result = ();
    fn handle(&mut self, Sent(ended): Sent<CommandEnded>, ctx: &mut Context<WaitActor>) {
        (self.record, self.ended) = (ended.record, true);
        if self.answer.is_some() {
            return self.reply(ctx);
        }
        self.on(Event::Ended, ctx);
    }
}
impl Handler<Sent<ConditionMet>> for WaitActor {
    type Result = ();
    fn handle(&mut self, Sent(met): Sent<ConditionMet>, ctx: &mut Context<WaitActor>) {
        self.on(Event::Met { index: met.index, by: met.by }, ctx);
    }
}
impl Handler<Sent<ConditionOpen>> for WaitActor {
    type Result = ();
    fn handle(&mut self, Sent(open): Sent<ConditionOpen>, ctx: &mut Context<WaitActor>) {
        self.on(Event::Open { index: open.index, unseen: open.unseen }, ctx);
    }
}
impl Handler<Sent<ConditionNever>> for WaitActor {
    type Result = ();
    fn handle(&mut self, Sent(never): Sent<ConditionNever>, ctx: &mut Context<WaitActor>) {
        let ConditionNever { index, stopped, refused } = never;
        let Some(reason) = refused else { return self.on(Event::Never { index, stopped }, ctx) };
        if self.ended {
            // There is nobody left to look at, and the exit says so.
            return;
        }
        let what = self.conditions.get(index).map_or("condition", name_of).to_owned();
        if self.answer.is_none() {
            self.finish(Err(CallError::CannotLook { what, reason }.into()), ctx);
        }
    }
}
impl Handler<Sent<TimerFired>> for WaitActor {
    type Result = ();
    fn handle(&mut self, Sent(fired): Sent<TimerFired>, ctx: &mut Context<WaitActor>) {
        self.armed.retain(|kind| *kind != fired.kind);
        match fired.kind {
            TimerKind::LastLook => self.on(Event::LastLookUp, ctx),
            TimerKind::Silence(_) => {
                if let Some((index, ms)) = self.silence {
                    self.on(Event::Met { index, by: Met::Silence { ms } }, ctx);
                }
            }
            _ => self.on(Event::TimeUp, ctx),
        }
    }
}
impl Handler<Sent<StopWaiting>> for WaitActor {
    type Result = ();
    fn handle(&mut self, _: Sent<StopWaiting>, ctx: &mut Context<WaitActor>) {
        self.let_go();
        ctx.stop();
    }
}
