//! The graph's thread: one input is delivered, the graph runs until nothing is in flight, then the next.
//!
//! * in: inputs of a kernel
//! * out: commands to it, answers to callers, lines of the trace
//! * keeps: one input at a time; a panic of a core actor ends the loop, and whoever waits hears `Closed`

use super::{
    actors::{CoreActors, ProcessTable},
    journal::JournalActor,
    kernel::KernelActor,
    router::{HostActor, LastAnswers, OpenCalls, deliver_ack, deliver_event, deliver_nack, deliver_request},
    supervisor::Supervisor,
    trace::{
        recorder::Recorder,
        sink::{self, Tracing},
    },
};
use crate::{
    backend::{
        Containments, EndOfSubscriptions, Facts, FromHost, HostInput, Input, Kernel, Outputs, Spans,
        StartError, StartKernel, Subscribers, thread::spawn,
    },
    config::Config,
};
use actix_rt::System;
use crossbeam_channel::{Receiver, Sender};
use ostler_context::{Crashes, Reserved, Sink, Tracer, in_flight, start as start_actor};
use ostler_inbox::{Inbox, Links};
use ostler_messages::{ActorName, CallId, trace::Fault};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    path::Path,
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread::JoinHandle,
};

/// A graph that runs.
pub(crate) struct Running {
    pub(crate) thread: JoinHandle<()>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) artifact_root: Arc<Path>,
    pub(crate) containment: Containments,
}

/// Starts the graph's thread. `alive` is dropped when it ends.
pub(crate) fn start(
    config: Config,
    facts: Facts,
    start_kernel: StartKernel,
    from_host: FromHost,
    alive: Sender<()>,
    faults: Vec<Fault>,
) -> Result<Running, StartError> {
    let trace_file = sink::open(&config.trace)?;
    // Neither sockets nor tokio's timers are used, so no descriptor is spent on them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| StartError::Resource { what: "runtime", source })?;
    let outputs = facts.outputs.clone();
    let artifact_root = facts.artifact_root.clone();
    let containment = facts.containment.clone();
    let run = move || {
        let _alive = alive;
        let dumps = facts.dumps.clone().map(|dumps| (dumps, config.dump_hook.clone()));
        let recorder = Recorder::new(config.recorder_bytes, facts.header.clone(), dumps);
        let tracing = sink::sink(&config.trace, trace_file).beside(recorder);
        let FromHost { requests, acks, subscribers } = from_host;
        let _ends = EndOfSubscriptions(subscribers.clone());
        let kernel = start_kernel(requests);
        System::with_tokio_rt(|| runtime).block_on(run(
            config,
            facts,
            tracing,
            (acks, subscribers),
            kernel,
            (faults, Crashes::default()),
        ));
    };
    let thread =
        spawn("ostler-graph", run).map_err(|source| StartError::Resource { what: "thread", source })?;
    Ok(Running { thread, outputs, artifact_root, containment })
}

/// Runs a graph to its end on this thread, which must have no runtime, on a kernel that feeds it what was recorded.
pub(crate) fn rerun(
    config: Config,
    facts: Facts,
    sink: Sink,
    kernel: Box<dyn Kernel>,
    crashes: Crashes,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| StartError::Resource { what: "runtime", source })?;
    // Its sender is gone: acknowledgements come in their places among the inputs.
    let (_, acks) = crossbeam_channel::bounded(1);
    let tracing = Tracing { sink: Some(sink), flushed: None, recorder: None };
    let outside = (acks, Arc::default());
    System::with_tokio_rt(|| runtime).block_on(run(
        config,
        facts,
        tracing,
        outside,
        kernel,
        (Vec::new(), crashes),
    ));
    Ok(())
}

async fn run(
    config: Config,
    facts: Facts,
    tracing: Tracing,
    (acks, subscribers): (Receiver<CallId>, Arc<Subscribers>),
    kernel: Box<dyn Kernel>,
    (faults, crashes): (Vec<Fault>, Crashes),
) {
    let kernel = Rc::new(RefCell::new(kernel));
    let Tracing { sink, flushed, mut recorder } = tracing;
    let tracer = Tracer::new(&facts.header, sink);
    faults.into_iter().for_each(|fault| tracer.inject(fault));
    tracer.crash_at(crashes);
    let (calls, stopped) = (OpenCalls::default(), Rc::new(Cell::new(false)));
    let last = LastAnswers::default();
    let host = HostActor::new(calls.clone(), last.clone(), stopped.clone(), subscribers);
    #[cfg(feature = "testing")]
    let host = host.paced(facts.pace.clone());
    let spans = Spans::default();
    let (core_actors, processes) =
        start_actors(config, facts, &tracer, host, (kernel.clone(), spans.clone()));
    while !stopped.get() && !tracer.failed() {
        let ready = kernel.borrow_mut().ready();
        let input = match ready {
            Some(input) => input,
            None => {
                tracer.flush();
                let Some(input) = kernel.borrow_mut().next() else { break };
                input
            }
        };
        tracer.set_now_us(kernel.borrow().now_us());
        // Whatever a caller does next, and whatever the answer to it counts, finds its earlier answers acknowledged.
        while let Ok(call) = acks.try_recv() {
            deliver_ack(call, &calls, &core_actors);
            run_until_idle().await;
        }
        match input {
            Input::Kernel(event) => deliver_event(event, &core_actors, &processes),
            Input::Host(HostInput::Call { call, request, reply_to, asked }) => {
                spans.ask(call, asked);
                calls.open(call, reply_to, request.holder());
                deliver_request(request, &core_actors);
            }
            Input::Host(HostInput::Nack { call, permit, taken }) => {
                deliver_nack(call, &calls, &core_actors);
                run_until_idle().await;
                drop((permit, taken));
            }
            Input::Host(HostInput::Gone { request, taken }) => {
                deliver_request(request, &core_actors);
                run_until_idle().await;
                drop(taken);
            }
            Input::Host(HostInput::Ack(call)) => deliver_ack(call, &calls, &core_actors),
            Input::Host(HostInput::HostGone(gone)) => deliver_request(gone.into(), &core_actors),
            // No input of the trace: nothing in the graph hears of it.
            Input::Host(HostInput::Dump(reply_to)) => {
                let _ = reply_to.send(recorder.as_ref().map(Recorder::dump));
            }
            // The world has taken it.
            #[cfg(feature = "testing")]
            Input::Host(HostInput::World(_)) => {}
        }
        run_until_idle().await;
        kernel.borrow_mut().after_input(&|call| calls.waits(call));
        if let Some(recorder) = &mut recorder {
            recorder.after_input(tracer.take_incident());
        }
    }
    calls.clear();
    processes.borrow_mut().clear();
    core_actors.waits.borrow_mut().clear();
    kernel.borrow_mut().close();
    tracer.end();
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    if let Some(flushed) = flushed {
        flushed.wait();
    }
    for (reply_to, answered) in last.take() {
        // A caller that is gone has nothing to lose by it.
        let _ = reply_to.send(answered);
    }
}

/// Starts the actors that live as long as the graph. None of them has a parent: if one crashes, the graph ends.
fn start_actors(
    config: Config,
    facts: Facts,
    tracer: &Tracer,
    host: HostActor,
    (kernel, spans): (Rc<RefCell<Box<dyn Kernel>>>, Spans),
) -> (Rc<CoreActors>, ProcessTable) {
    let processes = ProcessTable::default();
    let (journaled, trouble) = (facts.journaled, facts.journal_trouble.clone());
    let journal = Reserved::new(ActorName::Journal, tracer);
    let of_world = kernel.clone();
    let supervisor = Reserved::new(ActorName::Supervisor, tracer);
    let host = start_actor(host, ActorName::Host, tracer, None);
    let kernel = start_actor(KernelActor::new(kernel), ActorName::Kernel, tracer, None);
    let links = Links {
        kernel_arm: kernel.clone().recipient(),
        kernel_disarm: kernel.clone().recipient(),
        host: host.clone().recipient(),
        notify: host.clone().recipient(),
        notified_all: host.clone().recipient(),
        results_gone: supervisor.addr().clone().recipient(),
        queue_closed: supervisor.addr().clone().recipient(),
        queue_emptied: supervisor.addr().clone().recipient(),
        launches_paused: supervisor.addr().clone().recipient(),
        no_queue: supervisor.addr().clone().recipient(),
        discarded: supervisor.addr().clone().recipient(),
        append: journal.addr().clone().recipient(),
        append_all: journal.addr().clone().recipient(),
    };
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let limits = ostler_inbox::Limits {
        results_with_text: size(config.limits.results_with_text),
        pushed_entries: size(config.limits.pushed_entries),
        unread_results: size(config.limits.unread_results),
        subscriptions: size(config.limits.subscriptions),
    };
    let inbox = start_actor(Inbox::new(links, limits, journaled), ActorName::Inbox, tracer, None);
    let core_actors = Rc::new(CoreActors {
        host,
        kernel,
        supervisor: supervisor.addr().clone(),
        inbox,
        journal: journal.addr().clone(),
        waits: RefCell::default(),
    });
    journal.start(JournalActor::new(of_world, core_actors.clone(), trouble), None);
    let actor = Supervisor::new(config, facts, core_actors.clone(), (processes.clone(), spans));
    supervisor.start(actor, None);
    (core_actors, processes)
}

/// Lets the actors run until no message is in flight.
async fn run_until_idle() {
    poll_fn(|context| match in_flight() {
        0 => Poll::Ready(()),
        _ => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
