//! A spawn thread: artifact directory, lookup, pipes, and a helper that starts the command. That is waited for until exec, so
//! nothing else waits here. Where the host itself is the parent, death signals are bound to the thread, which lives as long as the
//! graph.
//!
//! * in: [`Exec`]; whatever is asked of a launch on its way ([`Pending`])
//! * out: `Started` or `StartFailed`; the pipes to a drain thread, the process to the signal thread
//! * keeps: nothing is left of a launch that failed

use crate::linux::{
    clock::{Activity, Clock, stamp},
    contain::group::signal_of,
    contain::limits::{NoLimit, TreeLimits},
    contain::tier::{Prepared, SpawnError, Spawned, Tiers},
    drain::drains::{self, DrainCommand, NewDrain},
    exec::clone::Scratch,
    mailbox::Outbox,
    spawn::failures,
    spawn::lookup::{self, Program},
    spawn::pending::{Asked, Pending},
    spawn::stdio::{Ours, Stdio},
    spawn::toolchain::{Toolchains, Tools},
    watch::{guards::GuardCommand, signals::SignalCommand, started::Watch},
};
use crate::{
    backend::{KernelEvent, Outputs},
    config::{Environment, Inherited, environment, own_variables, value_of},
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use ostler_artifacts::{Directory, Growth, LaunchFile, Recorder, Root, discard, start_ticks};
use ostler_messages::{
    ActorName, Exec, LaunchError, LeftoversPolicy, OutputPolicy, Release, Signal, Stage, StartFailed,
    Started, Stream, Toolchain, UnixSignal,
};
use std::{
    collections::VecDeque,
    ffi::{CStr, CString},
    fs::File,
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a program that is being written to (ETXTBSY) is tried again, and when: half a second in all. Whoever wrote
/// the file has closed it by then, or is a child of another thread that is about to exec.
const BUSY_RETRIES: u32 = 10;
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// How long a launch waits for a new guard, in the place of one that somebody has ended.
const GUARD_LIMIT: Duration = Duration::from_secs(2);

/// So often a launch waits for one: whoever ends guards faster than they can be used stops all launches.
const GUARD_ATTEMPTS: u32 = 3;

/// What the graph asks of the spawn threads: whichever is free takes it.
pub(crate) enum SpawnCommand {
    Exec(Exec),
    Quit,
}

/// What a spawn thread is given.
pub(crate) struct SpawnThread {
    pub(crate) commands: Receiver<SpawnCommand>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) events: Sender<KernelEvent>,
    pub(crate) signals: Outbox<SignalCommand>,
    pub(crate) guards: Sender<GuardCommand>,
    pub(crate) drains: Vec<Outbox<DrainCommand>>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) root: Arc<Root>,
    pub(crate) inherited: Arc<Inherited>,
    pub(crate) toolchains: Arc<Toolchains>,
    pub(crate) clock: Clock,
    /// How long a start may take: the graph does not wait for longer either.
    pub(crate) start_limit: Duration,
    pub(crate) null: Arc<File>,
    pub(crate) scratch: Scratch,
    /// The name of the host's journal.
    pub(crate) journal: Option<String>,
}

/// A launch that is to be tried, with its directory and pipes still to be made; again, if its program was busy.
struct Retry {
    exec: Exec,
    left: u32,
    at: Instant,
}

/// What is to be tried next; none at the end. What is due comes before what is new: else a queue of launches would use up
/// its time.
fn next(busy: &mut VecDeque<Retry>, commands: &Receiver<SpawnCommand>) -> Option<Retry> {
    loop {
        if busy.front().is_some_and(|retry| retry.at <= Instant::now())
            && let Some(due) = busy.pop_front()
        {
            return Some(due);
        }
        let command = match busy.front() {
            None => commands.recv().map_err(RecvTimeoutError::from),
            Some(first) => commands.recv_deadline(first.at),
        };
        match command {
            Ok(SpawnCommand::Exec(exec)) => {
                return Some(Retry { exec, left: BUSY_RETRIES, at: Instant::now() });
            }
            Ok(SpawnCommand::Quit) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl SpawnThread {
    /// Starts commands until it is told to quit.
    pub(crate) fn run(mut self, tiers: &Tiers) {
        let mut busy: VecDeque<Retry> = VecDeque::new();
        while let Some(next) = next(&mut busy, &self.commands) {
            busy.extend(self.exec(tiers, next.exec, next.left));
        }
    }

    fn drain_of(&self, n: u64) -> &Outbox<DrainCommand> {
        &self.drains[thread_of(n, self.drains.len())]
    }

    /// Gives it back if it should be tried again.
    fn exec(&mut self, tiers: &Tiers, exec: Exec, left: u32) -> Option<Retry> {
        if self.pending.is_withdrawn(exec.n) {
            self.pending.end(exec.n, drop);
            return None;
        }
        let directory = self.root.create(exec.command_id);
        let result = match directory {
            // Without descriptors there is no pipe either.
            Err(error) if failures::wants_descriptors(&error) => Err(failures::artifacts(&error)),
            mut directory => {
                let launch = || {
                    let journal = self.journal.clone();
                    LaunchFile::new(exec.command_id, &exec.request, self.root.identity(), journal)
                };
                let trouble =
                    directory.as_mut().ok().and_then(|directory| directory.describe(&launch()).err());
                let paths = directory.as_ref().ok().map(|directory| directory.paths().clone());
                self.start(tiers, &exec, directory, trouble).inspect_err(|_| {
                    // What can't be removed now goes with the retention.
                    let _ = paths.as_ref().map(discard);
                })
            }
        };
        match result {
            Ok(()) => {
                self.pending.end(exec.n, |asked| self.pass_on(exec.n, asked));
                None
            }
            Err(LaunchError::TextBusy { .. }) if left > 0 => {
                Some(Retry { exec, left: left - 1, at: Instant::now() + BUSY_WAIT })
            }
            Err(error) => {
                self.pending.end(exec.n, drop);
                let _ = self.events.send(KernelEvent::new(ActorName::Process(exec.n), StartFailed { error }));
                None
            }
        }
    }

    /// What was asked about it meanwhile.
    fn pass_on(&self, n: u64, asked: Asked) {
        let drain = self.drain_of(n);
        asked.follows.into_iter().for_each(|follow| self.signals.send(SignalCommand::Follow(follow)));
        asked.input.into_iter().for_each(|input| drain.send(input));
        asked.wanted.into_iter().for_each(|command| self.signals.send(command));
        if let Some(signal) = asked.signal {
            self.signals.send(SignalCommand::Signal(Signal { n, signal }));
        }
        if let Some(undo) = asked.release {
            let release = Release { n, undo };
            self.signals.send(SignalCommand::Release(release.clone()));
            drain.send(DrainCommand::Release(release));
        }
    }

    fn start(
        &mut self,
        tiers: &Tiers,
        exec: &Exec,
        directory: io::Result<Directory>,
        trouble: Option<io::Error>,
    ) -> Result<(), LaunchError> {
        let request = &exec.request;
        let own = own_variables(request)?;
        let cwd = lookup::working_dir(request.cwd.as_deref())?;
        // A directory that has no path any more has no PWD.
        let pwd =
            cwd.is_absolute().then(|| CString::new([b"PWD=", cwd.as_os_str().as_bytes()].concat()).ok());
        let pwd = pwd.flatten();
        let without = environment(&self.inherited, request, &own, &[], pwd.as_deref());
        let Tools { lines: tools, error: toolchain_error } = match request.toolchain {
            Toolchain::Auto => {
                let (scratch, guards) = (&mut self.scratch, &self.guards);
                let mut run = |asked: &Prepared<'_>| {
                    with_guard(tiers, guards, asked.limit / GUARD_ATTEMPTS, || {
                        tiers.spawn_to_ask(asked, scratch)
                    })
                };
                self.toolchains.of(&cwd, &without.lines, &self.null, &mut run)
            }
            _ => Tools::default(),
        };
        let Environment { lines: env, withheld } = match tools.is_empty() {
            true => without,
            false => environment(&self.inherited, request, &own, &tools, pwd.as_deref()),
        };
        let program = lookup::find(&request.program, &cwd, value_of(&env, "PATH"))?;
        // Validated before: no NUL. The first error that could come here would name the field wrongly, not be missed.
        let c_string = |bytes: &[u8]| {
            CString::new(bytes).map_err(|_| LaunchError::Nul { field: "program, args or env".into() })
        };
        let path = c_string(program.path.as_os_str().as_bytes())?;
        let argv: Vec<CString> = std::iter::once(&request.program)
            .chain(&request.args)
            .map(|arg| c_string(arg.as_bytes()))
            .collect::<Result<_, _>>()?;
        let cwd_text = request.cwd.as_ref().map(|_| c_string(cwd.as_os_str().as_bytes())).transpose()?;
        // A helper is somewhere else. It need not have a path, or be readable.
        let here = || open(".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let own_dir = (cwd_text.is_none() && tiers.helpers().is_some()).then(here).transpose();
        let own_dir = own_dir.map_err(|errno| failures::descriptors_or(Stage::Cwd, errno))?;
        let n = exec.n;
        let budget = self.outputs.budget(&request.session_id)?;
        let stdio = Stdio::new(n, request)?;
        // Before there is anything that could fail: what a user may watch is limited (epoll(7)). The drain thread need not
        // hear of the process before it says something.
        let no_watches = |errno| LaunchError::NoWatches { errno: errno as i32 };
        for (read, stream) in stdio.ours().reads.iter().zip(Stream::BOTH) {
            self.drain_of(n).watch(read.as_fd(), drains::key(n, stream)).map_err(no_watches)?;
        }
        if let Some(input) = &stdio.ours().input {
            input.watch(self.drain_of(n)).map_err(no_watches)?;
        }
        let stop = signal_of(request.stop_signal.unwrap_or(UnixSignal::SigTerm));
        let (began, started_at) = (Instant::now(), stamp());
        let prepared = Prepared {
            path: &path,
            argv: &argv,
            env: &env,
            cwd: cwd_text.as_deref(),
            own_dir: own_dir.as_ref().map(AsFd::as_fd),
            stdio: stdio.given(&self.null),
            terminal: request.terminal.is_some(),
            stop,
            limits: TreeLimits {
                memory_bytes: request.memory_limit_bytes,
                processes: request.processes_limit,
                cpu_share: request.cpu_share,
            },
            limit: self.start_limit,
        };
        let scratch = &mut self.scratch;
        let spawned = with_guard(tiers, &self.guards, prepared.limit, || tiers.spawn(n, &prepared, scratch))
            .map_err(|error| failure(error, &program, &cwd, &argv, &env))?;
        let read_from = stdio.read_from();
        let Ours { reads, input, terminal } = stdio.into_ours();

        let live = Arc::new(Growth::new());
        if let Some(limit) = request.follow {
            let drain = self.drain_of(n).clone();
            live.follow(limit.max_ahead, move || drain.send(DrainCommand::GoOn(n)));
        }
        let follow = request.follow.map(|_| live.clone());
        let mut recorder = match directory {
            Ok(directory) => {
                Recorder::new(directory, request.capture, request.output_limit_bytes, live.clone())
            }
            // The store is no precondition: whoever's disk is full runs `df` and reads what it says.
            Err(error) => {
                let why = format!("artifacts can't be made in {}: {error}", self.root.path().display());
                Recorder::without_files(why, request.capture, live.clone())
            }
        };
        budget.into_iter().for_each(|budget| recorder.share(budget, n));
        if let Some(error) = trouble {
            recorder.note_trouble(format!("writing launch.json: {error}"));
        }
        let pipes = reads.map(Arc::new);
        let activity = Arc::new(Activity::new(self.clock.now_us(), pipes.each_ref().map(Arc::downgrade)));
        self.outputs.begin(n, exec.command_id, live);
        request.terminal.into_iter().for_each(|size| self.outputs.set_terminal(n, size));
        let started = Started {
            pid: spawned.pid,
            process_group_id: spawned.pid,
            containment: spawned.tree.containment(),
            cwd: cwd.into_os_string().into(),
            started_at,
            env_withheld: withheld,
            toolchain_error,
            start_ticks: self.journal.as_ref().and_then(|_| start_ticks(spawned.pid)),
        };
        // Before anything else: the events of the other threads come after it in the same queue.
        let _ = self.events.send(KernelEvent::new(ActorName::Process(n), started));
        let drain = NewDrain {
            n,
            pipes,
            terminal,
            input,
            recorder,
            activity: activity.clone(),
            follow: follow.clone(),
            stops_at_limit: request.output_policy == OutputPolicy::StopCommand,
            keeps: request.leftovers == LeftoversPolicy::Keep,
        };
        self.drain_of(n).defer(DrainCommand::Attach(Box::new(drain)));

        let Spawned { pid, pidfd, tree, helper } = spawned;
        let mut watch = Watch {
            n,
            pid,
            pidfd,
            stop,
            began,
            activity,
            follow,
            tree,
            helper,
            input: read_from,
            watched: true,
        };
        watch.watched = self.signals.watch(watch.as_fd(), n).is_ok();
        if watch.watched {
            self.signals.defer(SignalCommand::Watch(Box::new(watch)));
        } else {
            self.signals.send(SignalCommand::Watch(Box::new(watch)));
        }
        Ok(())
    }
}

/// Without a guard at this moment a new one is asked for, and waited for.
fn with_guard(
    tiers: &Tiers,
    guards: &Sender<GuardCommand>,
    limit: Duration,
    mut spawn: impl FnMut() -> Result<Spawned, SpawnError>,
) -> Result<Spawned, SpawnError> {
    let mut attempts = GUARD_ATTEMPTS;
    loop {
        match (spawn(), tiers.helpers()) {
            (Err(SpawnError::NoGuard(count)), Some(helpers)) if attempts > 0 => {
                attempts -= 1;
                let _ = guards.send(GuardCommand::Check);
                helpers.wait_for_guard(count, limit.min(GUARD_LIMIT));
            }
            (spawned, helpers) => {
                if helpers.is_some_and(|helpers| helpers.wakes()) {
                    let _ = guards.send(GuardCommand::AtWork);
                }
                return spawned;
            }
        }
    }
}

fn failure(error: SpawnError, program: &Program, cwd: &Path, argv: &[CString], env: &[&CStr]) -> LaunchError {
    let texts = argv.iter().map(CString::as_c_str).chain(env.iter().copied());
    let (all, longest) = texts.fold((0, 0), |(all, longest), text| {
        (all + text.count_bytes() as u64 + 1, longest.max(text.count_bytes() as u64))
    });
    match error {
        SpawnError::Process(failed) => failures::spawn(&failed, program, cwd, (all, longest)),
        SpawnError::Around(stage, errno) => failures::descriptors_or(stage, errno),
        SpawnError::NoLimit(NoLimit(field, reason)) => {
            LaunchError::LimitUnavailable { field: field.to_owned(), reason }
        }
        SpawnError::NoGuard(_) => LaunchError::Failed { stage: Stage::Helper, errno: Errno::ECHILD as i32 },
    }
}

/// Which of several threads a process belongs to: always the same one.
pub(crate) fn thread_of(n: u64, threads: usize) -> usize {
    usize::try_from(n).unwrap_or(0) % threads.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;
    use ostler_messages::{CommandId, LaunchRequest, SessionId};

    fn exec(n: u64) -> Exec {
        let request = LaunchRequest::new(SessionId::new("s"), "program");
        Exec {
            n,
            command_id: CommandId { host_pid: 1, unix_ns: 1, n },
            request: ostler_messages::Asked(Arc::new(request)),
        }
    }

    #[test]
    fn f83_a_busy_program_is_tried_again_however_many_launches_are_queued() {
        let (sender, commands) = unbounded();
        for n in [2, 3] {
            sender.send(SpawnCommand::Exec(exec(n))).unwrap();
        }
        let now = Instant::now();
        let retry = |n, at| Retry { exec: exec(n), left: 1, at };
        let mut busy = VecDeque::from([retry(1, now), retry(9, now + BUSY_WAIT)]);
        let mut tried = || next(&mut busy, &commands).map(|next| (next.exec.n, next.left));
        assert_eq!(
            [tried(), tried(), tried()],
            [Some((1, 1)), Some((2, BUSY_RETRIES)), Some((3, BUSY_RETRIES))]
        );
        assert_eq!(tried(), Some((9, 1)), "it was not waited for");
        sender.send(SpawnCommand::Quit).unwrap();
        assert_eq!(tried(), None);
    }
}
