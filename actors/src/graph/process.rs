//! Follows one command from launch to result: the shell around [`Life`], which decides everything. This actor turns
//! messages into events, performs the effects, and fills in the record.
//!
//! * in: `Stop`; what the kernel, the drains and the ticker report
//! * out: commands to the kernel; `Launched`, `LaunchFailed`, `Finished`, `Released` to the supervisor
//! * keeps: one actor for each handle, from launch to result, or to the end of kept leftovers

use super::{
    actors::{CoreActors, Drains, ProcessTable},
    drain::DrainActor,
    progress::ProgressTicker,
};
use crate::{
    config::Times,
    core::lifecycle::{Effect, Effects, Event, Failure, Life, Phase, Plan},
};
use actix::{Actor, ActorContext, Addr, AsyncContext, Handler};
use ostler_context::{Context, Parent, Sent, start};
use ostler_messages::{
    ActorName, Append, Arm, Asked, Cause, Close, CloseStream, CommandId, Disarm, Down, Drained, EndInput,
    Exec, Exited, Finished, Halt, HandleId, LaunchError, LaunchFailed, LaunchRequest, Launched,
    LeftoversPolicy, Output, OutputLimitReached, Peek, Peeked, Record, Release, Released, Report, Reported,
    Row, Seal, Sealed, Signal, StartFailed, Started, Stdin, Stop, StopCause, Stream, Survived, Sweep,
    TimerFired, TimerKind, TreeAlive, TreeEmpty, Unexpected, Unsealed,
};
use std::{path::Path, rc::Rc, sync::Arc};

/// What a process knows from the start.
pub(crate) struct Origin {
    pub(crate) n: u64,
    pub(crate) host_pid: u32,
    pub(crate) artifact_root: Arc<Path>,
    pub(crate) times: Times,
    pub(crate) core_actors: Rc<CoreActors>,
    pub(crate) processes: ProcessTable,
    pub(crate) journaled: bool,
}

pub(crate) struct ProcessActor {
    origin: Origin,
    request: Arc<LaunchRequest>,
    /// What is known so far. Copied only when somebody else still has what it said before.
    record: Arc<Record>,
    life: Life,
    /// What there is to do before any message came: for a process that was taken over.
    first: Effects,
    error: Option<LaunchError>,
    read_error: Option<String>,
    /// For a journal.
    start_ticks: Option<u64>,
    children: Option<Children>,
}

struct Children {
    drains: Drains,
    ticker: Option<Addr<ProgressTicker>>,
}

impl ProcessActor {
    /// Begins when it is started: asks the kernel to run the command.
    pub(crate) fn new(origin: Origin, command_id: CommandId, request: Arc<LaunchRequest>) -> ProcessActor {
        let begun = Life::begin(plan(&request));
        let record = blank(&origin, command_id, &request).into();
        ProcessActor::with(origin, request, record, begun)
    }

    /// Takes over from one that crashed, and kills the tree when it is started.
    pub(crate) fn recover(origin: Origin, request: Arc<LaunchRequest>, record: Arc<Record>) -> ProcessActor {
        let begun = Life::recover(plan(&request));
        ProcessActor::with(origin, request, record, begun)
    }

    fn with(
        origin: Origin,
        request: Arc<LaunchRequest>,
        record: Arc<Record>,
        (life, first): (Life, Effects),
    ) -> ProcessActor {
        let (error, read_error, start_ticks, children) = (None, None, None, None);
        ProcessActor { origin, request, record, life, first, error, read_error, start_ticks, children }
    }

    fn on(&mut self, event: Event, ctx: &mut Context<ProcessActor>) {
        if !self.life.may_meet(event) {
            let (phase, event) = (format!("{:?}", self.life.phase()), format!("{event:?}"));
            debug_assert!(false, "{event} in {phase}");
            let unexpected = Unexpected { n: self.origin.n, phase, event };
            return self.origin.core_actors.supervisor.do_send(Sent(unexpected));
        }
        let (life, effects) = self.life.step(event);
        self.life = life;
        self.perform(effects, ctx);
    }

    fn perform(&mut self, effects: Effects, ctx: &mut Context<ProcessActor>) {
        let n = self.origin.n;
        let owner = ActorName::Process(n);
        let core_actors = self.origin.core_actors.clone();
        let kernel = &core_actors.kernel;
        for effect in effects {
            match effect {
                Effect::Exec => kernel.do_send(Sent(Exec {
                    n,
                    command_id: self.record.command_id,
                    request: Asked(self.request.clone()),
                })),
                Effect::Arm(kind) => kernel.do_send(Sent(Arm { owner, kind, after_ms: self.after_ms(kind) })),
                Effect::Disarm(kind) => kernel.do_send(Sent(Disarm { owner, kind })),
                Effect::Signal(signal) => kernel.do_send(Sent(Signal { n, signal })),
                Effect::CloseStream(stream) => match &self.children {
                    Some(children) => children.drains[stream.index()].do_send(Sent(CloseStream {})),
                    None => kernel.do_send(Sent(Close { n, stream })),
                },
                Effect::CloseOrphan(stream) => kernel.do_send(Sent(Close { n, stream })),
                Effect::Sweep(to) => kernel.do_send(Sent(Sweep { n, to })),
                Effect::Seal => self.seal(),
                Effect::ReplyLaunched => self.launched(ctx),
                Effect::ReplyFailed(why) => self.failed(why),
                Effect::Finish { kept } => self.finish(kept),
                Effect::Release { undo } => kernel.do_send(Sent(Release { n, undo })),
                Effect::ReplyReleased => {
                    let leftovers = self.record.leftovers.clone();
                    core_actors.supervisor.do_send(Sent(Released { n, leftovers }));
                }
            }
        }
        if self.life.phase() == Phase::Done {
            ctx.stop();
        }
    }

    fn launched(&mut self, ctx: &mut Context<ProcessActor>) {
        let n = self.origin.n;
        let core_actors = &self.origin.core_actors;
        let process = Rc::new(ctx.address());
        let parent: Parent = Rc::new(ctx.address().recipient());
        let drains = Rc::new(Stream::BOTH.map(|stream| {
            let drain = DrainActor::new(n, stream, core_actors.clone(), process.clone());
            start(drain, ActorName::Drain(n, stream), ctx.tracer(), Some(parent.clone()))
        }));
        let ticker = self.request.progress_ms().map(|intervals| {
            let inline_bytes = self.request.progress_inline_bytes();
            let ticker = ProgressTicker::new(n, core_actors.clone(), intervals, inline_bytes);
            start(ticker, ActorName::Ticker(n), ctx.tracer(), Some(parent.clone()))
        });
        if let Some(process_actors) = self.origin.processes.borrow_mut().get_mut(&n) {
            process_actors.drains = Some(drains.clone());
            process_actors.ticker = ticker.clone();
        }
        let launched = Launched { n, record: self.record.clone().into(), start_ticks: self.start_ticks };
        if let Some(ticker) = &ticker {
            ticker.do_send(Sent(launched.clone()));
        }
        self.children = Some(Children { drains, ticker });
        self.origin.core_actors.supervisor.do_send(Sent(launched));
    }

    fn failed(&mut self, why: Failure) {
        let session_id = self.request.session_id.to_string();
        let error = match why {
            Failure::Refused => self.error.take().unwrap_or(LaunchError::Crashed),
            Failure::TimedOut => {
                LaunchError::StartTimedOut { limit_ms: millis(self.origin.times.start_timeout) }
            }
            Failure::Undone => LaunchError::SessionClosed { session_id },
        };
        self.origin.core_actors.supervisor.do_send(Sent(LaunchFailed { n: self.origin.n, error }));
    }

    fn seal(&mut self) {
        if let Some(ticker) = self.children.as_ref().and_then(|children| children.ticker.as_ref()) {
            ticker.do_send(Sent(Halt {}));
        }
        let record = Arc::make_mut(&mut self.record);
        record.end(self.life.status(), self.life.stop_cause());
        record.time_limit_ms = match record.stop_cause {
            Some(StopCause::Deadline) => self.request.timeout_ms,
            Some(StopCause::Idle) => self.request.idle_timeout_ms,
            _ => None,
        };
        record.artifact_error = self.read_error.clone();
        let record = self.record.clone();
        let discard = self.life.undone();
        self.origin.core_actors.kernel.do_send(Sent(Seal {
            n: self.origin.n,
            record: record.into(),
            discard,
        }));
    }

    fn sealed(&mut self, mut output: Output) {
        output.artifact_error = output.artifact_error.or(self.read_error.take());
        Arc::make_mut(&mut self.record).set_output(output);
    }

    fn unsealed(&mut self, mut output: Output) {
        let limit_ms = millis(self.origin.times.seal_timeout);
        let error =
            format!("the artifacts were not completed within {limit_ms} ms: the disk does not answer");
        output.artifact_error = Some(match self.read_error.take().or(output.artifact_error) {
            Some(earlier) => format!("{earlier}; {error}"),
            None => error,
        });
        Arc::make_mut(&mut self.record).set_output(output);
    }

    fn finish(&mut self, kept: bool) {
        let finished = Finished { n: self.origin.n, record: self.record.clone().into(), kept };
        self.origin.core_actors.supervisor.do_send(Sent(finished));
    }

    fn after_ms(&self, kind: TimerKind) -> u64 {
        let times = &self.origin.times;
        match kind {
            TimerKind::StartTimeout => millis(times.start_timeout),
            TimerKind::Deadline => self.request.timeout_ms.unwrap_or(u64::MAX),
            TimerKind::Idle => self.request.idle_timeout_ms.unwrap_or(u64::MAX),
            TimerKind::Grace => self.request.grace_ms,
            TimerKind::DrainGrace => self.request.drain_grace_ms,
            TimerKind::LeftoversGrace => self.request.leftovers_grace_ms,
            TimerKind::Unkillable => millis(times.unkillable),
            TimerKind::SealTimeout => millis(times.seal_timeout),
            TimerKind::Progress
            | TimerKind::Call(_)
            | TimerKind::Silence(_)
            | TimerKind::LastLook
            | TimerKind::Redeliver(_)
            | TimerKind::JournalLimit => u64::MAX,
        }
    }
}

fn plan(request: &LaunchRequest) -> Plan {
    Plan {
        deadline: request.deadline_ms().is_some(),
        idle: request.idle_ms().is_some(),
        keep: request.leftovers == LeftoversPolicy::Keep,
    }
}

fn blank(origin: &Origin, command_id: CommandId, request: &LaunchRequest) -> Record {
    let paths = ostler_artifacts::Paths::of(&origin.artifact_root, command_id);
    let handle_id = HandleId { host_pid: origin.host_pid, n: origin.n };
    let mut record = Record::new(request.session_id.clone(), command_id, handle_id);
    record.cwd = request.cwd.clone();
    record.command = request.display();
    record.command_or_op_descriptor = record.command.clone();
    record.labels = request.labels.clone();
    record.output_path = paths.combined();
    record.stdout_path = paths.stdout();
    record.stderr_path = paths.stderr();
    record
}

impl Actor for ProcessActor {
    type Context = Context<ProcessActor>;

    fn started(&mut self, ctx: &mut Context<ProcessActor>) {
        let first = std::mem::take(&mut self.first);
        self.perform(first, ctx);
    }
}
impl Handler<Sent<Stop>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(stop): Sent<Stop>, ctx: &mut Context<ProcessActor>) {
        self.on(Event::Stop(stop.cause), ctx);
    }
}
impl Handler<Sent<Report>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(report): Sent<Report>, _: &mut Context<ProcessActor>) {
        let (n, inline_bytes) = (self.origin.n, self.request.capture.max_inline_bytes);
        self.origin.core_actors.kernel.do_send(Sent(Peek {
            n,
            inline_bytes,
            call: Some(report.call),
            owner: ActorName::Process(n),
        }));
    }
}
impl Handler<Sent<Peeked>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(peeked): Sent<Peeked>, _: &mut Context<ProcessActor>) {
        // Of one that is being sealed the result comes, to this call too.
        let ends = peeked.sealed || self.life.phase() >= Phase::Sealing;
        let Some(call) = peeked.call.filter(|_| !ends) else { return };
        let mut record = (*self.record).clone();
        record.set_output(peeked.output);
        record.silence_ms = Some(peeked.silence_ms);
        record.paused = peeked.paused;
        let reported = Reported { n: self.origin.n, call, record: record.into() };
        self.origin.core_actors.supervisor.do_send(Sent(reported));
    }
}
impl Handler<Sent<Started>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(started): Sent<Started>, ctx: &mut Context<ProcessActor>) {
        let record = Arc::make_mut(&mut self.record);
        record.pid = Some(started.pid);
        record.process_group_id = Some(started.process_group_id);
        record.containment = Some(started.containment);
        record.cwd = Some(started.cwd.0.into());
        record.started_at = Some(started.started_at);
        record.env_withheld = Some(started.env_withheld);
        record.toolchain_error = started.toolchain_error;
        if self.origin.journaled {
            let record = self.record.clone().into();
            self.start_ticks = started.start_ticks;
            let rows = vec![Row::Started { record, start_ticks: started.start_ticks }];
            // Nobody waits for it: without it the command is lost all the same.
            let append = Append { by: ActorName::Process(self.origin.n), n: 0, rows };
            self.origin.core_actors.journal.do_send(Sent(append));
        }
        self.on(Event::Started, ctx);
    }
}
impl Handler<Sent<StartFailed>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(failed): Sent<StartFailed>, ctx: &mut Context<ProcessActor>) {
        self.error = Some(failed.error);
        self.on(Event::StartFailed, ctx);
    }
}
impl Handler<Sent<Exited>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(exited): Sent<Exited>, ctx: &mut Context<ProcessActor>) {
        // What is being sealed is what the result says.
        if self.life.phase() < Phase::Sealing {
            let record = Arc::make_mut(&mut self.record);
            record.exit_code = Some(exited.exit.exit_code);
            record.signal = exited.exit.signal;
            record.usage = exited.exit.usage;
            record.oom_killed = exited.exit.oom_killed;
            record.ended_at = Some(exited.exit.ended_at);
            record.duration_ms = Some(exited.exit.duration_ms);
            if exited.tree_empty {
                record.leftovers = Some(Vec::new());
            }
        }
        // A cleanup may have read on until now. What is kept may do so until it is gone.
        let reads_on = self.request.leftovers == LeftoversPolicy::Keep && !exited.tree_empty;
        let has_input = self.request.takes_input() || self.request.stdin != Stdin::Null;
        if has_input && !reads_on {
            self.origin.core_actors.kernel.do_send(Sent(EndInput { n: self.origin.n, now: true }));
        }
        if exited.lost {
            self.on(Event::Stop(Cause::Lost), ctx);
        }
        self.on(Event::Exited { signalled: exited.signalled, tree_empty: exited.tree_empty }, ctx);
    }
}
impl Handler<Sent<OutputLimitReached>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, _: Sent<OutputLimitReached>, ctx: &mut Context<ProcessActor>) {
        self.on(Event::Stop(Cause::OutputLimit), ctx);
    }
}
impl Handler<Sent<Drained>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(drained): Sent<Drained>, ctx: &mut Context<ProcessActor>) {
        if let Some(errno) = drained.errno {
            let said = std::io::Error::from_raw_os_error(errno);
            self.read_error = Some(format!("{} could not be read to its end: {said}", drained.stream));
        }
        self.on(Event::Closed(drained.stream), ctx);
    }
}
impl Handler<Sent<TimerFired>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(fired): Sent<TimerFired>, ctx: &mut Context<ProcessActor>) {
        self.on(Event::TimerFired(fired.kind), ctx);
    }
}
impl Handler<Sent<TreeAlive>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(alive): Sent<TreeAlive>, ctx: &mut Context<ProcessActor>) {
        if alive.kept.is_some() {
            Arc::make_mut(&mut self.record).leftovers = alive.kept;
        }
        self.on(Event::TreeAlive, ctx);
    }
}
impl Handler<Sent<TreeEmpty>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(empty): Sent<TreeEmpty>, ctx: &mut Context<ProcessActor>) {
        if self.life.phase() < Phase::Sealing {
            Arc::make_mut(&mut self.record).leftovers = empty.leftovers;
        }
        self.on(Event::TreeEmpty, ctx);
    }
}
impl Handler<Sent<Unsealed>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(unsealed): Sent<Unsealed>, ctx: &mut Context<ProcessActor>) {
        // If the files were completed a moment before, the record has what they say.
        if self.life.phase() == Phase::Sealing {
            self.unsealed(unsealed.output);
        }
        self.on(Event::TimerFired(TimerKind::SealTimeout), ctx);
    }
}
impl Handler<Sent<Survived>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(survived): Sent<Survived>, ctx: &mut Context<ProcessActor>) {
        if self.life.phase() < Phase::Sealing {
            Arc::make_mut(&mut self.record).leftovers = survived.leftovers;
        }
        self.on(Event::TimerFired(TimerKind::Unkillable), ctx);
    }
}
impl Handler<Sent<Sealed>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(sealed): Sent<Sealed>, ctx: &mut Context<ProcessActor>) {
        if self.life.phase() == Phase::Sealing {
            self.sealed(sealed.output);
        }
        self.on(Event::Sealed, ctx);
    }
}
impl Handler<Sent<Down>> for ProcessActor {
    type Result = ();
    fn handle(&mut self, Sent(down): Sent<Down>, ctx: &mut Context<ProcessActor>) {
        // Without its ticker a command goes on, only unheard; without a drain its stream ends here.
        if let ActorName::Drain(_, stream) = down.actor {
            self.read_error = Some(format!("the actor that steered {stream} crashed: {}", down.reason));
            self.on(Event::DrainDown(stream), ctx);
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
