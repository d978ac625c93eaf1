//! Owns sessions and handles: the shell around [`Registry`], which decides everything. Spawns one [`ProcessActor`] per
//! handle and hears of its end, or of its crash.
//!
//! * in: requests of the host; what becomes of processes and queues
//! * out: `Stop` to processes, deliveries to the inbox, `Reply` to the host, timers and releases to the kernel
//! * keeps: it decides nothing: each message is one call of the registry

use super::{
    actors::{CoreActors, ProcessActors, ProcessTable},
    process::{Origin, ProcessActor},
    wait::WaitActor,
};
use crate::{
    backend::{Facts, NextN, Spans},
    config::Config,
    core::registry::{Effect, Registry},
};
use actix::{Actor, AsyncContext, Handler};
use ostler_context::{Context, Parent, Sent, start};
use ostler_messages::{
    Ack, ActorName, Answer, Append, AppendAll, Arm, AwaitResult, CallId, Cancel, ClaimSession, CloseQueue,
    CloseStdin, CommandEnded, CommandId, Deliver, Disarm, DiscardAll, Discarded, Down, EndInput, EndSession,
    Fed, Feed, Finished, Forget, ForgetSession, Freeze, Froze, GetStatus, HostGone, InputEnded, KernelFailed,
    Launch, LaunchFailed, LaunchRequest, Launched, LaunchesPaused, Leftover, List, ListPorts, LookForPorts,
    Mark, Nack, NoQueue, OpenQueue, OpenSession, Outcome, Pause, PortsSeen, QueueClosed, QueueEmptied, Raise,
    Recovered, Refusal, RefuseLaunch, Release, Released, Reply, Report, Reported, Resize, RestoreQueues,
    ResultsGone, Resume, Retain, RetentionDue, Row, SendSignal, SessionClaimed, SetSize, Shutdown, Sleep,
    Status, Stop, StopWaiting, Stopped, Survey, Surveyed, TakeResult, Thaw, Thawed, TimerFired, TimerKind,
    Unexpected, Unfollow, WaitFor, WaitOver, Write, WriteAgain, trace::Incident,
};
use std::{path::Path, rc::Rc, sync::Arc};

pub(crate) struct Supervisor {
    registry: Registry,
    config: Config,
    host_pid: u32,
    artifact_root: Arc<Path>,
    next_n: NextN,
    core_actors: Rc<CoreActors>,
    processes: ProcessTable,
    spans: Spans,
    journaled: bool,
    /// Its own address, for the processes. None before the first.
    parent: Option<Parent>,
}

impl Supervisor {
    pub(crate) fn new(
        config: Config,
        facts: Facts,
        core_actors: Rc<CoreActors>,
        (processes, spans): (ProcessTable, Spans),
    ) -> Supervisor {
        let host_pid = facts.header.host_pid;
        Supervisor {
            registry: match facts.journaled {
                true => Registry::new(config.limits.clone(), host_pid).journaled(),
                false => Registry::new(config.limits.clone(), host_pid),
            },
            journaled: facts.journaled,
            config,
            host_pid,
            artifact_root: facts.artifact_root,
            next_n: facts.next_n,
            core_actors,
            processes,
            spans,
            parent: None,
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, ctx: &mut Context<Supervisor>) {
        let core_actors = self.core_actors.clone();
        let CoreActors { host, kernel, inbox, journal, .. } = &*core_actors;
        let owner = ActorName::Supervisor;
        for effect in effects {
            match effect {
                Effect::Reply(call, answer) => {
                    host.do_send(Sent(Reply { call, answer, leased_by: None, after: None }));
                }
                Effect::ReplyWritten { call, answer, after: n } => {
                    let after = Some(Mark { by: owner, n });
                    host.do_send(Sent(Reply { call, answer, leased_by: None, after }));
                }
                Effect::ReplyOpened(call, session_id, after) => {
                    let (answer, after) =
                        (Ok(Answer::Opened(session_id)), after.map(|n| Mark { by: owner, n }));
                    host.do_send(Sent(Reply { call, answer, leased_by: Some(owner), after }));
                }
                Effect::Append(append) => journal.do_send(Sent(append)),
                Effect::ClaimSession(session_id) => journal.do_send(Sent(ClaimSession { session_id })),
                Effect::RestoreQueues(sessions) => inbox.do_send(Sent(RestoreQueues { sessions })),
                Effect::OpenQueue { session_id, next } => inbox.do_send(Sent(OpenQueue { session_id, next })),
                Effect::CloseQueue { session_id, discard } => {
                    inbox.do_send(Sent(CloseQueue { session_id, discard }));
                }
                Effect::RefuseLaunch { call, session_id } => {
                    inbox.do_send(Sent(RefuseLaunch { call, session_id }))
                }
                Effect::DiscardAll => inbox.do_send(Sent(DiscardAll {})),
                Effect::Deliver { record, to } => inbox.do_send(Sent(Deliver { record, to_calls: to })),
                Effect::TakeResult { call, stored } => inbox.do_send(Sent(TakeResult { call, stored })),
                Effect::Report { n, call } => {
                    // One that has crashed is taken over by one that kills: then the call gets the result.
                    if let Some(process_actors) = self.processes.borrow().get(&n) {
                        process_actors.process.do_send(Sent(Report { call }));
                    }
                }
                Effect::StartWait { call, record, ended, conditions, timeout_ms } => {
                    let wait =
                        WaitActor::new(call, (record, ended), conditions, timeout_ms, core_actors.clone());
                    let parent = self.own_address(ctx);
                    let wait = start(wait, ActorName::Wait(call.0), ctx.tracer(), Some(parent));
                    core_actors.waits.borrow_mut().insert(call.0, wait);
                }
                Effect::TellWait { call, record } => {
                    if let Some(wait) = core_actors.waits.borrow().get(&call.0) {
                        wait.do_send(Sent(CommandEnded { record }));
                    }
                }
                Effect::StopWait(call) => {
                    if let Some(wait) = core_actors.waits.borrow().get(&call.0) {
                        wait.do_send(Sent(StopWaiting {}));
                    }
                }
                Effect::RemoveWait(call) => drop(core_actors.waits.borrow_mut().remove(&call.0)),
                Effect::Unfollow { call, n } => {
                    let owner = ActorName::Wait(call.0);
                    for kind in [TimerKind::Call(call), TimerKind::LastLook, TimerKind::Silence(n)] {
                        kernel.do_send(Sent(Disarm { owner, kind }));
                    }
                    kernel.do_send(Sent(Unfollow { call, n }));
                }
                Effect::LookForPorts { call, n } => kernel.do_send(Sent(LookForPorts { call, n })),
                Effect::Survey { call, ns } => kernel.do_send(Sent(Survey { call, ns })),
                Effect::Spawn { n, request, append } => self.spawn(n, request, append, ctx),
                Effect::Stop { n, cause } => {
                    if let Some(process_actors) = self.processes.borrow().get(&n) {
                        process_actors.process.do_send(Sent(Stop { cause }));
                    }
                }
                Effect::Feed { n, call, bytes } => kernel.do_send(Sent(Feed { n, call, bytes })),
                Effect::SetSize { n, size } => kernel.do_send(Sent(SetSize { n, size })),
                Effect::Raise { n, signal } => kernel.do_send(Sent(Raise { n, signal })),
                Effect::Freeze { n, call } => kernel.do_send(Sent(Freeze { n, call })),
                Effect::Thaw { n, call } => kernel.do_send(Sent(Thaw { n, call })),
                Effect::EndInput { n } => kernel.do_send(Sent(EndInput { n, now: false })),
                Effect::Recover { n, request, record } => {
                    let actor = ProcessActor::recover(self.origin(n), request, record.0);
                    self.start_process(n, actor, ctx);
                }
                Effect::Release { n, undo } => kernel.do_send(Sent(Release { n, undo })),
                Effect::Remove { n } => {
                    self.processes.borrow_mut().remove(&n);
                }
                Effect::Retain { up_to, but, past } => kernel.do_send(Sent(Retain { up_to, but, past })),
                Effect::ForgetSession(session_id) => kernel.do_send(Sent(ForgetSession { session_id })),
                Effect::ArmCall { call, after_ms } => {
                    kernel.do_send(Sent(Arm { owner, kind: TimerKind::Call(call), after_ms }));
                }
                Effect::DisarmCall(call) => {
                    kernel.do_send(Sent(Disarm { owner, kind: TimerKind::Call(call) }))
                }
                Effect::Stopped => host.do_send(Sent(Stopped { at_once: false })),
            }
        }
    }

    fn origin(&self, n: u64) -> Origin {
        Origin {
            n,
            host_pid: self.host_pid,
            artifact_root: self.artifact_root.clone(),
            times: self.config.times.clone(),
            core_actors: self.core_actors.clone(),
            processes: self.processes.clone(),
            journaled: self.journaled,
        }
    }

    fn spawn(
        &mut self,
        n: u64,
        request: Arc<LaunchRequest>,
        append: Option<u64>,
        ctx: &mut Context<Supervisor>,
    ) {
        let command_id = CommandId { host_pid: self.host_pid, unix_ns: ctx.tracer().unix_ns(), n };
        self.registry.spawned(command_id);
        if let Some(n) = append {
            let rows = vec![Row::Asked { command_id, request: request.clone() }];
            self.core_actors.journal.do_send(Sent(Append { by: ActorName::Supervisor, n, rows }));
        }
        let actor = ProcessActor::new(self.origin(n), command_id, request);
        self.start_process(n, actor, ctx);
    }

    fn own_address(&mut self, ctx: &mut Context<Supervisor>) -> Parent {
        self.parent.get_or_insert_with(|| Rc::new(ctx.address().recipient())).clone()
    }

    fn start_process(&mut self, n: u64, actor: ProcessActor, ctx: &mut Context<Supervisor>) {
        let parent = self.own_address(ctx);
        let process = start(actor, ActorName::Process(n), ctx.tracer(), Some(parent));
        self.processes.borrow_mut().insert(n, ProcessActors { process, drains: None, ticker: None });
    }
}

impl Actor for Supervisor {
    type Context = Context<Supervisor>;
}

/// One arm per message: hand it to the registry, perform what it says.
macro_rules! on {
    ($($message:ident => |$registry:ident, $m:ident| $effects:expr;)*) => {$(
        impl Handler<Sent<$message>> for Supervisor {
            type Result = ();
            fn handle(&mut self, Sent($m): Sent<$message>, ctx: &mut Context<Supervisor>) {
                let $registry = &mut self.registry;
                let effects = $effects;
                self.perform(effects, ctx);
            }
        }
    )*};
}
on! {
    OpenSession => |registry, m| registry.open(m.call, m.session_id);
    Cancel => |registry, m| registry.cancel(m);
    EndSession => |registry, m| registry.end(m.call, &m.session_id, m.discard);
    AwaitResult => |registry, m| registry.await_result(m.call, m.handle_id, m.wait_ms, m.take);
    GetStatus => |registry, m| registry.status(m.call, m.handle_id, m.session_id.as_ref());
    List => |registry, m| registry.list(m);
    Forget => |registry, m| registry.forget(m.call, m.handle_id);
    WaitFor => |registry, m| registry.wait_for(m);
    WaitOver => |registry, m| registry.wait_over(m.call);
    ListPorts => |registry, m| registry.list_ports(m.call, m.handle_id);
    PortsSeen => |registry, m| registry.ports_seen(m.call, m.ports, m.unseen);
    Surveyed => |registry, m| registry.surveyed(m.call, &m.seen);
    Reported => |registry, m| registry.reported(m.call, m.record);
    Write => |registry, m| registry.write(m);
    CloseStdin => |registry, m| registry.close_stdin(m);
    Resize => |registry, m| registry.resize(m);
    SendSignal => |registry, m| registry.send_signal(m);
    Pause => |registry, m| registry.pause(m.call, m.handle_id);
    Resume => |registry, m| registry.resume(m.call, m.handle_id);
    Froze => |registry, m| registry.froze(m.n, m.call, m.refused);
    Thawed => |registry, m| registry.thawed(m.n, m.call, m.ended);
    RetentionDue => |registry, _m| registry.retention_due();
    Fed => |registry, m| registry.fed(&m);
    Sleep => |registry, m| registry.sleep(m.call, m.sleep_ms);
    Ack => |registry, m| registry.ack(m.call);
    Nack => |registry, m| registry.nack(m.call);
    Shutdown => |registry, m| registry.shutdown(m.call);
    HostGone => |registry, _m| registry.host_gone();
    Released => |registry, m| registry.released(m.n, m.leftovers);
    QueueClosed => |registry, m| registry.queue_closed(m.session_id, m.unread, m.kept, m.next);
    NoQueue => |registry, m| registry.no_queue(m.call, &m.session_id, m.nothing);
    Discarded => |registry, m| registry.discarded(m.unread);
    Recovered => |registry, m| registry.restore(m.sessions, m.commands, m.anonymous, m.last_n);
    SessionClaimed => |registry, m| registry.session_claimed(m.session_id, m.held_by, m.next);
    ResultsGone => |registry, m| registry.results_gone(&m.handle_ids);
    QueueEmptied => |registry, m| registry.queue_emptied(&m.session_id);
}
impl Handler<Sent<Launch>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(launch): Sent<Launch>, ctx: &mut Context<Supervisor>) {
        let next_n = &mut self.next_n;
        let effects = self.registry.launch(launch.call, launch.request, launch.result_within_ms, next_n);
        let (mut spawned, mut refused) = (None, None);
        for effect in &effects {
            match effect {
                Effect::Spawn { n, .. } => spawned = Some(*n),
                Effect::Reply(_, Err(Refusal::Launch(error))) => refused = Some(error),
                _ => {}
            }
        }
        self.spans.launch(launch.call, spawned, refused);
        self.perform(effects, ctx);
    }
}
impl Handler<Sent<Launched>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(launched): Sent<Launched>, ctx: &mut Context<Supervisor>) {
        self.spans.started(launched.n, &launched.record.0);
        let effects = self.registry.launched(launched.n, launched.record, launched.start_ticks);
        self.perform(effects, ctx);
    }
}
impl Handler<Sent<LaunchFailed>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(failed): Sent<LaunchFailed>, ctx: &mut Context<Supervisor>) {
        self.spans.refused(failed.n, &failed.error);
        let effects = self.registry.launch_failed(failed.n, failed.error);
        self.perform(effects, ctx);
    }
}
impl Handler<Sent<Finished>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(finished): Sent<Finished>, ctx: &mut Context<Supervisor>) {
        self.spans.ended(finished.n, &finished.record.0);
        let (record, survived) =
            (&finished.record.0, |leftover: &Leftover| leftover.outcome == Outcome::Survived);
        if record.status == Status::Lost {
            ctx.tracer().incident(Incident::Lost(record.handle_id));
        } else if record.leftovers.iter().flatten().any(survived) {
            ctx.tracer().incident(Incident::Survived(record.handle_id));
        }
        let effects = self.registry.finished(finished.n, finished.record, finished.kept);
        self.perform(effects, ctx);
    }
}
impl Handler<Sent<LaunchesPaused>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(launches): Sent<LaunchesPaused>, _: &mut Context<Supervisor>) {
        self.registry.launches_paused(&launches.session_id, launches.paused);
    }
}
impl Handler<Sent<WriteAgain>> for Supervisor {
    type Result = ();
    fn handle(&mut self, _: Sent<WriteAgain>, _: &mut Context<Supervisor>) {
        let all = AppendAll { by: ActorName::Supervisor, rows: self.registry.rows() };
        self.core_actors.journal.do_send(Sent(all));
    }
}
impl Handler<Sent<InputEnded>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(ended): Sent<InputEnded>, _: &mut Context<Supervisor>) {
        self.registry.input_ended(ended.n);
    }
}
impl Handler<Sent<TimerFired>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(fired): Sent<TimerFired>, ctx: &mut Context<Supervisor>) {
        if let TimerKind::Call(call) = fired.kind {
            let effects = self.registry.call_timed_out(call);
            self.perform(effects, ctx);
        }
    }
}
impl Handler<Sent<Unexpected>> for Supervisor {
    type Result = ();
    /// It only has to stand in the trace.
    fn handle(&mut self, _: Sent<Unexpected>, _: &mut Context<Supervisor>) {}
}
impl Handler<Sent<Down>> for Supervisor {
    type Result = ();
    fn handle(&mut self, Sent(down): Sent<Down>, ctx: &mut Context<Supervisor>) {
        let effects = match down.actor {
            ActorName::Process(n) => self.registry.down(n),
            ActorName::Wait(call) => self.registry.wait_down(CallId(call)),
            _ => return,
        };
        self.perform(effects, ctx);
    }
}
impl Handler<Sent<KernelFailed>> for Supervisor {
    type Result = ();
    /// Nothing can be started, stopped or followed any more: the graph ends, and with the kernel's remaining threads
    /// every tree.
    fn handle(&mut self, Sent(failed): Sent<KernelFailed>, ctx: &mut Context<Supervisor>) {
        ctx.tracer().incident(Incident::ThreadFailed(failed.thread));
        self.core_actors.host.do_send(Sent(Stopped { at_once: true }));
    }
}
