//! Real processes on Linux: three kinds of threads that the graph's commands are dealt out to.
//!
//! | thread | does | never |
//! |---|---|---|
//! | spawn, two per core up to eight | artifact directory, lookup, pipes, clone | anything that another handle waits for |
//! | signal | exits, signals, reaping, timers | touches a disk |
//! | drain, one per core | pipes to files, digest, text | looks at another thread's processes |
//!
//! Their events go into one bounded queue. A thread waits when it is full; the graph never waits for a thread.

use crate::{
    backend::{
        Containments, Dumps, Facts, HostInput, Input, Kernel, KernelEvent, Outputs, StartError, StartKernel,
        Trouble, thread::spawn,
    },
    config::{Config, Inherited, cores, spawn_thread_count},
    linux::{
        clock::{self, Clock},
        contain::group::GroupBy,
        contain::helper::Program,
        contain::tier::Choice,
        drain::drains::{DrainCommand, DrainThread},
        exec::{clone, slots},
        follow::thread::FollowThread,
        janitor::Janitor,
        journal,
        mailbox::{Deadline, Outbox, mailbox},
        spawn::launch::{SpawnCommand, SpawnThread, thread_of},
        spawn::pending::Pending,
        spawn::toolchain::Toolchains,
        sys::ask_for_short_turns,
        watch::guards::GuardThread,
        watch::looks,
        watch::signals::{SignalCommand, SignalThread},
    },
};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select_biased, unbounded};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use ostler_artifacts::Root;
use ostler_messages::{ActorName, KernelCommand, KernelFailed, Recovered};
use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Events on their way to the graph, which takes about 1 µs for each; beyond it the kernel's threads wait, and with them
/// the pipes: that is the backpressure.
const EVENTS_MAX: usize = 4_096;
/// How long the end of a graph waits for each of its threads. One that hangs in a dead file system is left behind.
const JOIN_LIMIT: Duration = Duration::from_secs(2);
/// How long the descriptors and the memory of a command that has ended may be held: what comes in a burst is given back together.
const RELEASED_WITHIN: Duration = Duration::from_millis(20);
/// Below it the removal of artifacts would be a busy loop.
const RETENTION_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// What the graph asks of the world is dealt out here.
pub(crate) struct Dispatcher {
    spawns: Sender<SpawnCommand>,
    spawn_threads: usize,
    pending: Arc<Pending>,
    signals: Outbox<SignalCommand>,
    deadline: Deadline,
    drains: Vec<(Outbox<DrainCommand>, Deadline)>,
    /// In the order in which they end: first no more processes, then their deaths, then their files.
    threads: Vec<Thread>,
    /// Held as long as the graph lives: what it wrote is not removed by another host.
    root: Option<Arc<Root>>,
    _stdio: Vec<OwnedFd>,
    janitor: Janitor,
    outputs: Arc<Outputs>,
    journal: Option<(journal::Writer, Thread)>,
}

struct Thread {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Dispatcher {
    fn perform(&mut self, command: KernelCommand) {
        let drain = |n: u64| &self.drains[thread_of(n, self.drains.len())].0;
        match command {
            KernelCommand::Exec(exec) => {
                if self.janitor.note(exec.command_id) {
                    self.signals.send(SignalCommand::Retain);
                }
                self.pending.begin(exec.n);
                // The end of a spawn thread was reported; the graph ends.
                let _ = self.spawns.send(SpawnCommand::Exec(exec));
            }
            KernelCommand::Release(release) if self.pending.release(release.n, release.undo) => {}
            KernelCommand::Signal(signal) if self.pending.signal(signal.n, signal.signal) => {}
            KernelCommand::Release(release) => {
                // What is released has ended, or was killed in vain: nobody waits for it.
                let (within, threads) = (Instant::now() + RELEASED_WITHIN, self.drains.len());
                let (drain, deadline) = &mut self.drains[thread_of(release.n, threads)];
                drain.defer(DrainCommand::Release(release.clone()));
                deadline.set(within);
                self.signals.defer(SignalCommand::Release(release));
                self.deadline.set(within);
            }
            KernelCommand::Signal(signal) => self.signals.send(SignalCommand::Signal(signal)),
            KernelCommand::Sweep(sweep) => self.signals.send(SignalCommand::Sweep(sweep)),
            KernelCommand::Arm(arm) => {
                let at = Instant::now() + Duration::from_millis(arm.after_ms);
                self.signals.defer(SignalCommand::Arm(arm, at));
                self.deadline.set(at);
            }
            KernelCommand::Disarm(disarm) => self.signals.defer(SignalCommand::Disarm(disarm)),
            KernelCommand::Close(close) => drain(close.n).send(DrainCommand::Close(close)),
            KernelCommand::Peek(peek) => self.signals.send(SignalCommand::Peek(peek)),
            KernelCommand::Follow(follow) => {
                if let Some(follow) = self.pending.follow(follow) {
                    self.signals.send(SignalCommand::Follow(follow));
                }
            }
            KernelCommand::Unfollow(unfollow) if self.pending.unfollow(&unfollow) => {}
            KernelCommand::Unfollow(unfollow) => self.signals.send(SignalCommand::Unfollow(unfollow)),
            KernelCommand::LookForPorts(look) => self.signals.send(SignalCommand::LookForPorts(look)),
            KernelCommand::Survey(survey) => self.signals.send(SignalCommand::Survey(survey)),
            KernelCommand::Raise(raise) => self.wanted(raise.n, SignalCommand::Raise(raise)),
            KernelCommand::Freeze(freeze) => self.wanted(freeze.n, SignalCommand::Freeze(freeze)),
            KernelCommand::Thaw(thaw) => self.wanted(thaw.n, SignalCommand::Thaw(thaw)),
            KernelCommand::SetSize(set) => self.input(set.n, DrainCommand::SetSize(set)),
            KernelCommand::Feed(feed) => self.input(feed.n, DrainCommand::Feed(feed)),
            KernelCommand::EndInput(end) => self.input(end.n, DrainCommand::EndInput(end)),
            KernelCommand::Retain(retain) => self.janitor.retain(Some(retain)),
            KernelCommand::ForgetSession(forget) => self.outputs.forget_session(&forget.session_id),
            KernelCommand::Append(append) => {
                if let Some((writer, _)) = &self.journal {
                    writer.append(append);
                }
            }
            KernelCommand::ClaimSession(claim) => {
                if let Some((writer, _)) = &self.journal {
                    writer.claim(claim);
                }
            }
            KernelCommand::Seal(seal) => drain(seal.n).send(DrainCommand::Seal(Box::new(seal))),
        }
    }

    fn wanted(&self, n: u64, command: SignalCommand) {
        self.pending.want(n, command).into_iter().for_each(|command| self.signals.send(command));
    }

    fn input(&self, n: u64, command: DrainCommand) {
        if let Some(command) = self.pending.input(n, command) {
            self.drains[thread_of(n, self.drains.len())].0.send(command);
        }
    }

    /// Ends the threads, and with the signal thread every process that is left.
    fn close(&mut self) {
        (0..self.spawn_threads).for_each(|_| drop(self.spawns.send(SpawnCommand::Quit)));
        let mut threads = self.threads.drain(..);
        let mut end = |count: usize| {
            for thread in threads.by_ref().take(count) {
                if thread.ended.recv_timeout(JOIN_LIMIT) != Err(crossbeam_channel::RecvTimeoutError::Timeout)
                {
                    let _ = thread.handle.join();
                }
            }
        };
        end(self.spawn_threads);
        self.signals.send(SignalCommand::Quit);
        end(1);
        self.drains.iter().for_each(|(drain, _)| drain.send(DrainCommand::Quit));
        end(usize::MAX);
        drop(threads);
        if let Some((writer, thread)) = self.journal.take() {
            writer.quit();
            // What is unread is to be there at the next start.
            if thread.ended.recv_timeout(JOIN_LIMIT) != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                let _ = thread.handle.join();
            }
        }
        self.root.take();
        self.janitor.close();
    }
}
impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.close();
    }
}

/// The real kernel as the graph's thread has it.
struct Linux {
    dispatcher: Dispatcher,
    /// None once the graph has ended: a thread that waits for room in the queue must see that nobody takes events.
    inputs: Option<(Receiver<KernelEvent>, Receiver<HostInput>)>,
    clock: Clock,
    /// What earlier lives of the host have left.
    first: Option<KernelEvent>,
}
impl Kernel for Linux {
    fn perform(&mut self, command: KernelCommand) {
        self.dispatcher.perform(command);
    }
    fn ready(&mut self) -> Option<Input> {
        if let Some(first) = self.first.take() {
            return Some(Input::Kernel(first));
        }
        let (events, requests) = self.inputs.as_ref()?;
        match events.try_recv() {
            Ok(event) => Some(Input::Kernel(event)),
            Err(TryRecvError::Empty) => requests.try_recv().ok().map(Input::Host),
            // `next` ends the graph.
            Err(TryRecvError::Disconnected) => None,
        }
    }
    fn next(&mut self) -> Option<Input> {
        let (events, requests) = self.inputs.as_ref()?;
        select_biased! {
            recv(events) -> event => event.ok().map(Input::Kernel),
            recv(requests) -> request => request.ok().map(Input::Host),
        }
    }
    fn now_us(&self) -> u64 {
        self.clock.now_us()
    }
    fn close(&mut self) {
        self.inputs = None;
        self.dispatcher.close();
    }
}

/// Opens the artifact root, starts the threads.
pub(crate) fn start(config: &Config) -> Result<(Facts, StartKernel), StartError> {
    let stdio = slots::standard_descriptors()
        .map_err(|errno| StartError::Resource { what: "/dev/null", source: errno.into() })?;
    let host_pid = std::process::id();
    let root = Arc::new(Root::open(config.artifact_root.clone(), host_pid)?);
    let artifact_root: Arc<std::path::Path> = root.path().into();
    let outputs = Arc::new(Outputs::new(host_pid, config.limits.session_output_bytes));
    let clock = Clock::new();
    let header = config.header(host_pid, artifact_root.display().to_string(), clock::stamp());
    // Before anything else: what it finds is the first that the graph hears of.
    let mut journal = config.journal.as_ref().map(|journal| journal::open(journal, &root)).transpose()?;
    let (mut recovered, recovery) = journal.as_mut().map(journal::Found::recovered).unwrap_or_default();
    recovered.iter_mut().filter(|_| !config.trace_pushed).for_each(Recovered::withhold_pushed);
    LAST_N.fetch_max(journal.as_ref().map_or(0, journal::Found::last_n), Ordering::Relaxed);
    let dumps = Some(Dumps { root: root.clone(), trouble: Trouble::default() });
    let (mut dispatcher, events, containment) =
        threads(config, root, &outputs, clock, (journal, &recovered))?;
    dispatcher._stdio = stdio;
    for command in recovered.iter().flat_map(|recovered| &recovered.commands) {
        outputs.remember(command.record.handle_id, command.record.command_id);
    }
    dispatcher.janitor.start(config.retention.interval);
    let facts = Facts {
        header,
        artifact_root,
        outputs,
        containment,
        next_n: Box::new(next_n),
        journaled: config.journal.is_some(),
        journal_trouble: Trouble::default(),
        recovery,
        #[cfg(feature = "testing")]
        pace: None,
        dumps,
    };
    let start = move |requests| -> Box<dyn Kernel> {
        ask_for_short_turns();
        let first = recovered.map(|recovered| KernelEvent::new(ActorName::Supervisor, recovered));
        Box::new(Linux { dispatcher, inputs: Some((events, requests)), clock, first })
    };
    Ok((facts, Box::new(start)))
}

/// Handle ids are unique in the host process, however many graphs it has, and with a journal in all of its lives.
static LAST_N: AtomicU64 = AtomicU64::new(0);
fn next_n() -> u64 {
    LAST_N.fetch_add(1, Ordering::Relaxed) + 1
}

fn threads(
    config: &Config,
    root: Arc<Root>,
    outputs: &Arc<Outputs>,
    clock: Clock,
    (journal, recovered): (Option<journal::Found>, &Option<Recovered>),
) -> Result<(Dispatcher, Receiver<KernelEvent>, Containments), StartError> {
    let lacking = |what: &'static str| move |source: io::Error| StartError::Resource { what, source };
    let (events, inputs) = bounded(EVENTS_MAX);
    let (signals, deadline, signal_mailbox) = mailbox().map_err(lacking("descriptor"))?;
    let cores = cores();
    let mailboxes: Vec<_> = (0..config.threads(cores))
        .map(|_| mailbox())
        .collect::<io::Result<_>>()
        .map_err(lacking("descriptor"))?;
    let (drains, drain_mailboxes): (Vec<_>, Vec<_>) =
        mailboxes.into_iter().map(|(outbox, deadline, mailbox)| ((outbox, deadline), mailbox)).unzip();
    let null = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(slots::above_stdio)
        .map_err(|errno| lacking("/dev/null")(errno.into()))?;
    let null = Arc::new(File::from(null));
    let inherited = Arc::new(Inherited::new(std::env::vars_os(), &config.credentials));
    let toolchains = Arc::new(Toolchains::new(config.toolchain_hook.clone(), config.times.start_timeout));
    let pending = Arc::new(Pending::default());
    let (spawns, commands) = unbounded();
    let (guards, guard_commands) = unbounded();
    let outboxes: Vec<_> = drains.iter().map(|(outbox, _)| outbox.clone()).collect();
    let scratch =
        || clone::Scratch::new(&null).map_err(|errno| lacking("memory or descriptors")(errno.into()));
    let spawn_thread = |_| -> Result<SpawnThread, StartError> {
        Ok(SpawnThread {
            commands: commands.clone(),
            pending: pending.clone(),
            events: events.clone(),
            signals: signals.clone(),
            guards: guards.clone(),
            drains: outboxes.clone(),
            outputs: outputs.clone(),
            root: root.clone(),
            inherited: inherited.clone(),
            toolchains: toolchains.clone(),
            clock,
            start_limit: config.times.start_timeout,
            null: null.clone(),
            scratch: scratch()?,
            journal: config.journal.as_ref().map(|journal| journal.name.clone()),
        })
    };
    let spawn_threads =
        (0..config.threads(spawn_thread_count(cores))).map(spawn_thread).collect::<Result<Vec<_>, _>>()?;
    let group_by = GroupBy::probe();
    let (looks, asks) = unbounded();
    let answers = signals.clone();
    let (follower, follow_commands) = unbounded();
    let follow_thread = FollowThread {
        commands: follow_commands,
        own: follower.clone(),
        events: events.clone(),
        outputs: outputs.clone(),
        root: root.path().into(),
        clock,
    };
    let signal_thread = SignalThread {
        mailbox: signal_mailbox,
        events: events.clone(),
        clock,
        group_by,
        outputs: outputs.clone(),
        looks,
        guards,
        follower,
        retention_interval: config.retention.interval.max(RETENTION_INTERVAL_MIN),
    };
    let guard_thread = GuardThread { commands: guard_commands, signals: signals.clone() };
    let (give, program) = bounded(1);
    let choice = Choice {
        program,
        allowed: config.containment.iter().copied().collect(),
        name: format!("{}-{}", std::process::id(), clock::unix_ns()),
        group_by,
        null: null.clone(),
        scratch: scratch()?,
    };
    // The dispatcher first: if a later thread can't be made, dropping it ends the earlier ones.
    let mut dispatcher = Dispatcher {
        spawns,
        spawn_threads: 0,
        pending,
        signals,
        deadline,
        drains,
        threads: Vec::new(),
        _stdio: Vec::new(),
        janitor: Janitor::new(root.path(), config.retention.limits(), outputs.clone()),
        outputs: outputs.clone(),
        root: Some(root),
        journal: None,
    };
    let made = |name: &str, run| thread(name, events.clone(), run).map_err(lacking("thread"));
    let (say, chosen) = bounded(1);
    let guard_thread = made("ostler-guard", Box::new(move || guard_thread.run(choice, &say)))?;
    // Ends last: with everybody who could tell it something.
    dispatcher.threads.push(guard_thread);
    // While that thread looks for a cgroup; and the threads that need no tier while the guard starts.
    let _ = give.send(Program::load());
    let mut add = |name: &str, run| -> Result<(), StartError> {
        let before_guard = dispatcher.threads.len() - 1;
        dispatcher.threads.insert(before_guard, made(name, run)?);
        Ok(())
    };
    add("ostler-signal", Box::new(move || signal_thread.run()))?;
    // These two end with the signal thread, which alone asks them.
    add("ostler-follow", Box::new(move || follow_thread.run()))?;
    add("ostler-look", Box::new(move || looks::run(&asks, &answers)))?;
    for (index, mailbox) in drain_mailboxes.into_iter().enumerate() {
        let digest = (cores > 1).then(|| format!("ostler-digest-{index}"));
        let peers = outboxes.clone();
        let drain =
            DrainThread { mailbox, events: events.clone(), clock, outputs: outputs.clone(), peers, digest };
        add(&format!("ostler-drain-{index}"), Box::new(move || drain.run()))?;
    }
    let chosen = chosen.recv().map_err(|_| lacking("thread")(io::ErrorKind::BrokenPipe.into()))?;
    let (tiers, report) = chosen.map_err(StartError::Containment)?;
    for spawn in spawn_threads {
        let (tiers, index) = (tiers.clone(), dispatcher.spawn_threads);
        let thread = made(&format!("ostler-spawn-{index}"), Box::new(move || spawn.run(&tiers)))?;
        dispatcher.threads.insert(index, thread);
        dispatcher.spawn_threads += 1;
    }
    let trouble = tiers.trouble().clone();
    drop(tiers);
    if let (Some(journal), Some(found)) = (&config.journal, journal) {
        let past = recovered.iter().flat_map(|recovered| &recovered.commands);
        let past = past.map(|command| command.record.command_id).collect();
        dispatcher.janitor.has_past((journal.name.clone(), found.others()), past);
        let (writer, body) = found.writer(events.clone());
        dispatcher.journal = Some((writer, made("ostler-journal", body)?));
    }
    Ok((dispatcher, inputs, Containments::new(report, trouble)))
}

/// A thread that no signal of the host's interrupts, and whose panic the graph hears of.
fn thread(name: &str, events: Sender<KernelEvent>, run: Box<dyn FnOnce() + Send>) -> io::Result<Thread> {
    let (alive, ended) = bounded::<()>(0);
    let thread = name.to_owned();
    let body = move || {
        let _alive = alive;
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            let _ = events.send(KernelEvent::new(ActorName::Supervisor, KernelFailed { thread }));
        }
    };
    let handle = spawn(name, body)?;
    Ok(Thread { handle, ended })
}
