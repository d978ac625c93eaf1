//! The graph's thread: one input is delivered, the graph runs until nothing is in flight, then the next.

use super::{
    directory::{Families, Pillars},
    gate::{
        HostActor, LastAnswers, OpenCalls, deliver_ack, deliver_nack, deliver_news, deliver_request, holder,
    },
    kernel::KernelActor,
    supervisor::Supervisor,
    trace_sink::{self, Tracing},
};
use crate::{
    host::{Config, ContainmentReport, FromHost, Intake, StartError},
    kernel::{Backend, Input, Inputs, Outputs, World, linux, scripted},
};
use actix_rt::System;
use crossbeam_channel::{Receiver, Sender};
use ostler_inbox::{Inbox, Links};
use ostler_messages::{
    ActorName, CallId,
    context::{Reserved, start as start_actor},
    trace::{Header, Tracer, in_flight},
};
use std::{
    cell::Cell,
    future::poll_fn,
    path::Path,
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread::{Builder, JoinHandle},
};

/// Numbers for new processes, unique in the host process.
pub(crate) type NextN = Box<dyn FnMut() -> u64 + Send>;

/// What is known of the world before the first input. The graph makes up none of it.
pub(crate) struct Facts {
    pub(crate) header: Header,
    pub(crate) artifact_root: Arc<Path>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) containment: ContainmentReport,
    /// A `result.json` with the texts lies beside every output.
    pub(crate) texts_on_disk: bool,
    pub(crate) next_n: NextN,
}

/// A graph that runs.
pub(crate) struct Started {
    pub(crate) thread: JoinHandle<()>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) artifact_root: Arc<Path>,
    pub(crate) containment: ContainmentReport,
}

/// Starts the graph's thread. `alive` is dropped when it ends.
pub(crate) fn start(
    config: Config,
    world: Option<&World>,
    from_host: FromHost,
    alive: Sender<()>,
) -> Result<Started, StartError> {
    let trace_file = trace_sink::open(&config.trace)?;
    // Neither sockets nor tokio's timers are used, so no descriptor is spent on them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| StartError::Resource { what: "runtime", source })?;
    let (facts, kernel) = match world {
        None => linux::start(&config)?,
        Some(world) => scripted::start(world),
    };
    let outputs = facts.outputs.clone();
    let artifact_root = facts.artifact_root.clone();
    let containment = facts.containment.clone();
    let run = move || {
        let _alive = alive;
        linux::ask_for_short_turns();
        let tracing = trace_sink::sink(&config.trace, trace_file);
        let FromHost { requests, acks } = from_host;
        let (backend, inputs) = kernel.split(requests);
        System::with_tokio_rt(|| runtime).block_on(run(config, facts, tracing, acks, backend, inputs));
    };
    let thread = Builder::new()
        .name("ostler-graph".into())
        .spawn(run)
        .map_err(|source| StartError::Resource { what: "thread", source })?;
    Ok(Started { thread, outputs, artifact_root, containment })
}

async fn run(
    config: Config,
    facts: Facts,
    tracing: Tracing,
    acks: Receiver<CallId>,
    backend: Backend,
    mut inputs: Inputs,
) {
    let Tracing { sink, flushed } = tracing;
    let tracer = Tracer::new(&facts.header, sink);
    config.faults.iter().cloned().for_each(|fault| tracer.inject(fault));
    let (calls, over) = (OpenCalls::default(), Rc::new(Cell::new(false)));
    let last = LastAnswers::default();
    let host = HostActor::new(calls.clone(), last.clone(), over.clone());
    let (pillars, families) = raise(config, facts, &tracer, host, backend);
    while !over.get() && !tracer.failed() {
        let input = match inputs.ready() {
            Some(input) => input,
            None => {
                tracer.flush();
                let Some(input) = inputs.next() else { break };
                input
            }
        };
        tracer.set_now_us(inputs.now_us());
        match input {
            Input::News(news) => deliver_news(news, &pillars, &families),
            Input::Host(Intake::Call { call, request, reply_to }) => {
                take_acks(&acks, &calls, &pillars).await;
                calls.open(call, reply_to, holder(&request));
                deliver_request(request, &pillars);
            }
            Input::Host(Intake::Nack { call, permit, taken }) => {
                take_acks(&acks, &calls, &pillars).await;
                deliver_nack(call, &calls, &pillars);
                quiet().await;
                drop((permit, taken));
            }
            Input::Host(Intake::HostGone(gone)) => deliver_request(gone.into(), &pillars),
            Input::Host(Intake::Blocked(call)) => inputs.blocked(call),
            // Only a scripted world takes these, and has taken them.
            Input::Host(Intake::Advance { .. } | Intake::Watch(_)) => {}
        }
        quiet().await;
        inputs.settled(|call| calls.waits(call));
    }
    calls.clear();
    families.borrow_mut().clear();
    inputs.close();
    tracer.end();
    if let Some(flushed) = flushed {
        flushed.wait();
    }
    for (reply_to, answered) in last.take() {
        // A caller that is gone has nothing to lose by it.
        let _ = reply_to.send(answered);
    }
}

/// Whatever a caller does next finds its earlier answers acknowledged. Only calls and their ends ask for that: all else
/// comes at moments of its own, and a scripted world would differ from run to run.
async fn take_acks(acks: &Receiver<CallId>, calls: &OpenCalls, pillars: &Pillars) {
    while let Ok(call) = acks.try_recv() {
        deliver_ack(call, calls, pillars);
        quiet().await;
    }
}

/// Starts the actors that live as long as the graph. None of them has a parent: if one crashes, the graph ends.
fn raise(
    config: Config,
    facts: Facts,
    tracer: &Tracer,
    host: HostActor,
    backend: Backend,
) -> (Pillars, Families) {
    let families = Families::default();
    let supervisor = Reserved::new(ActorName::Supervisor, tracer);
    let host = start_actor(host, ActorName::Host, tracer, None);
    let kernel = start_actor(KernelActor::new(backend), ActorName::Kernel, tracer, None);
    let links = Links {
        kernel_arm: kernel.clone().recipient(),
        kernel_disarm: kernel.clone().recipient(),
        host: host.clone().recipient(),
        queue_closed: supervisor.addr().clone().recipient(),
        queue_emptied: supervisor.addr().clone().recipient(),
        launches_paused: supervisor.addr().clone().recipient(),
        no_queue: supervisor.addr().clone().recipient(),
        discarded: supervisor.addr().clone().recipient(),
    };
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let limits = ostler_inbox::Limits {
        results_with_text: match facts.texts_on_disk {
            true => size(config.limits.results_with_text),
            false => usize::MAX,
        },
        pushed_entries: size(config.limits.pushed_entries),
        unread_results: size(config.limits.unread_results),
    };
    let inbox = start_actor(Inbox::new(links, limits), ActorName::Inbox, tracer, None);
    let pillars = Pillars { host, kernel, supervisor: supervisor.addr().clone(), inbox };
    let actor = Supervisor::new(config, facts, pillars.clone(), families.clone());
    supervisor.start(actor, None);
    (pillars, families)
}

/// Lets the actors run until no message is in flight.
async fn quiet() {
    poll_fn(|context| match in_flight() {
        0 => Poll::Ready(()),
        _ => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
