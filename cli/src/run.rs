//! `ostler run`: one command as a handle.

use crate::{
    args::RunArgs,
    events::{self, Event},
    exit::{self, Failure},
    pass::{self, Passing},
    stdin, term,
    terminal::{self, Raw},
};
use ostler::{
    CallError, Command, Config, Error, Handle, Ostler, Record, Session, TraceTo, UnixSignal, duration,
};
use signal_hook::{
    consts::{SIGCONT, SIGINT, SIGQUIT, SIGTSTP, SIGWINCH},
    low_level::emulate_default_handler,
};
use std::{
    ffi::OsString,
    io::{self, ErrorKind, IsTerminal, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

/// Runs it to its end; nothing of it is left. Returns the exit code.
pub(crate) fn run(args: RunArgs) -> Result<u8, Failure> {
    let (events, happened) = channel();
    // Before the launch: a Ctrl-C during it counts.
    let signals = events.clone();
    let pty = args.pty;
    let others: &[i32] = if pty { &[SIGWINCH, SIGCONT, SIGQUIT] } else { &[SIGTSTP] };
    events::signals(others, move |signal| signals.send(Event::Signal(signal)).is_ok())?;
    let trace = args.trace.clone().map_or(TraceTo::Off, TraceTo::File);
    let ostler = Ostler::start(config(args.root.artifacts.as_ref()).trace(trace))?;
    // From another terminal it can be cancelled; where there can be no socket, it can't.
    let control = ostler.control().ok();
    let session = ostler.open_session().wait()?;
    let (json, quiet) = (args.json, args.json || args.quiet);
    let stops = (!quiet).then(|| stops(args.signal.unwrap_or(UnixSignal::SigTerm), args.grace));
    let says = |word: &str| {
        if !quiet {
            term::line(&Passing::default(), |out| writeln!(out, "{word}"));
        }
    };
    let passing = Arc::new(Passing::default());
    let mut raw = None;
    let launched = stdin::source(args.stdin.as_deref(), pty, says).and_then(|source| {
        // A person sits there, and sees what the command shows.
        let typed = pty && !json && args.stdin.as_deref().is_none_or(|stdin| stdin == "inherit");
        let command = command(args);
        let Some(source) = source else { return Ok(session.launch(command).wait()?) };
        let command = if pty { command } else { command.stdin_open() };
        let handle = session.launch(command).wait()?;
        raw = if typed { Raw::begin(&passing)? } else { None };
        let events = events.clone();
        let insists = move || drop(events.send(Event::Insisted));
        let insisted = raw.is_some().then_some(insists);
        stdin::pass(source, handle.clone(), pty, insisted)?;
        Ok(handle)
    });
    let ended =
        launched.and_then(|handle| follow(&session, handle, (json, stops), (passing, raw), events, happened));
    drop(control);
    let stopped = ostler.shutdown().wait();
    ended.and_then(|code| Ok(stopped.map(|_| code)?))
}

/// What happens to a command that is to stop.
fn stops(signal: UnixSignal, grace: Duration) -> String {
    let grace = duration(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    format!("stopping: {} now, SIGKILL in {grace}", signal.name())
}

fn command(args: RunArgs) -> Command {
    let named: Vec<OsString> = args.vars.iter().map(|(name, _)| name.clone()).collect();
    let mut argv = args.argv.into_iter();
    let mut command = Command::new(argv.next().unwrap_or_default()).args(argv);
    for name in args.env_remove {
        command = command.env_remove(name);
    }
    let mut command = command
        .envs(args.vars)
        .env_mode(args.env_mode.into())
        .grace(args.grace)
        .inline_bytes(args.max_inline_bytes);
    if args.merge_stderr {
        command = command.merge_stderr();
    }
    if let Some(signal) = args.signal {
        command = command.stop_signal(signal);
    }
    if args.pty {
        let (rows, columns) = terminal::size();
        command = command.terminal(rows, columns);
        // It is shown on this terminal.
        let own = std::env::var_os("TERM").filter(|_| io::stdin().is_terminal());
        if let Some(term) = own.filter(|_| !named.iter().any(|name| name == "TERM")) {
            command = command.env("TERM", term);
        }
    }
    for (name, value) in args.labels {
        command = command.label(name, value);
    }
    if let Some(cwd) = args.cwd {
        command = command.current_dir(cwd);
    }
    if let Some(preset) = args.preset {
        command = command.preset(preset.into());
    }
    if let Some(toolchain) = args.toolchain {
        command = command.toolchain(toolchain.into());
    }
    if let Some(limit) = args.timeout {
        command = command.timeout(limit);
    }
    if let Some(limit) = args.idle_timeout {
        command = command.idle_timeout(limit);
    }
    if let Some(bytes) = args.memory_limit {
        command = command.memory_limit(bytes);
    }
    if let Some(processes) = args.processes_limit {
        command = command.processes_limit(processes);
    }
    if let Some(share) = args.cpu_share {
        command = command.cpu_share(share);
    }
    if let Some(limit) = args.output_limit {
        command = command.output_limit(limit);
    }
    if let Some(policy) = args.output_policy {
        command = command.output_policy(policy.into());
    }
    match args.progress.filter(|_| !args.json) {
        Some(interval) => command.progress(interval),
        None => command,
    }
}

fn follow(
    session: &Session,
    handle: Handle,
    (json, stops): (bool, Option<String>),
    (passing, raw): (Arc<Passing>, Option<Raw>),
    events: Sender<Event>,
    happened: Receiver<Event>,
) -> Result<u8, Failure> {
    events::inbox(session.inbox(), events.clone())?;
    let to_pass = if json { 0 } else { pass::begin(&handle, &passing, &events)? };
    let (quiet, since) = (stops.is_none(), Instant::now());
    let mut running =
        Running { handle, passing, raw, events, to_pass, since, stops, stopped: None, result: None };
    // Senders live as long as `running`.
    for event in happened {
        if running.on(event)? {
            break;
        }
    }
    let Running { passing, raw, stopped, result, .. } = running;
    drop(raw);
    let Some(record) = result else { return Err(Error::Closed.into()) };
    if json {
        term::print_line(&*record)?;
    } else if !quiet {
        term::line(&passing, |out| term::summary(out, &record));
    }
    Ok(match stopped {
        Some(Stop { code, whatever_the_result: true }) => code,
        stopped => exit::of_result(&record, stopped.map(|stop| stop.code)),
    })
}

/// Why ostler cancelled, and what its exit code will be.
struct Stop {
    code: u8,
    /// Also if the command had ended before: its output did not get to where it should.
    whatever_the_result: bool,
}

struct Running {
    handle: Handle,
    passing: Arc<Passing>,
    /// The terminal, if each key goes to the command.
    raw: Option<Raw>,
    events: Sender<Event>,
    /// Streams that are still passed through.
    to_pass: usize,
    since: Instant,
    /// What a person is told who stops it; none where nobody is to be told anything.
    stops: Option<String>,
    stopped: Option<Stop>,
    result: Option<Arc<Record>>,
}

impl Running {
    /// Whether it is all over.
    fn on(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Signal(SIGWINCH | SIGCONT) => {
                if let Some(raw) = &self.raw {
                    // A terminal that is gone needs nothing.
                    let _ = raw.apply();
                }
                let (rows, columns) = terminal::size();
                // One that has ended needs none.
                let _ = self.handle.resize(rows, columns).wait();
            }
            Event::Signal(SIGTSTP) => self.suspend()?,
            Event::Insisted => {
                self.stopped
                    .get_or_insert(Stop { code: exit::of_signal(SIGINT), whatever_the_result: false });
                self.cancel()?;
            }
            Event::Signal(signal) => {
                let code = exit::of_signal(signal);
                if self.result.is_some() {
                    // Only the reader of the output is behind, and nobody wants to wait for it any more.
                    self.stopped = Some(Stop { code, whatever_the_result: true });
                    return Ok(true);
                }
                // Of one that is being stopped, this is the second.
                if self.stopped.is_none()
                    && let Some(stops) = &self.stops
                {
                    let again = if signal == SIGINT { "Ctrl-C again" } else { "another signal" };
                    term::line(&self.passing, |out| writeln!(out, "{stops}; {again} kills at once"));
                }
                self.stopped.get_or_insert(Stop { code, whatever_the_result: false });
                self.cancel()?;
            }
            Event::Progress(record) => {
                term::line(&self.passing, |out| term::progress(out, &record, self.since.elapsed()));
            }
            Event::Result(record) => {
                self.result.get_or_insert(record);
            }
            Event::Passed(_, Ok(())) => self.to_pass -= 1,
            Event::Passed(which, Err(error)) => {
                self.to_pass -= 1;
                self.unwritable(&format!("{which}: {error}"), error)?;
            }
            Event::Unreadable(error) => {
                self.to_pass -= 1;
                term::line(&self.passing, |out| {
                    writeln!(out, "the rest of the output is not shown: {error}")
                });
            }
            // A late cancel of what has ended and forgotten: the result came another way.
            Event::Failed(Error::Call(_)) => {}
            Event::Failed(error) => {
                if self.result.is_none() {
                    return Err(error.into());
                }
            }
        }
        Ok(self.result.is_some() && self.to_pass == 0)
    }

    /// Output that can't be written ends a command in a pipeline; so it does here.
    fn unwritable(&mut self, what: &str, error: io::Error) -> Result<(), Failure> {
        if error.kind() != ErrorKind::BrokenPipe {
            term::line(&self.passing, |out| writeln!(out, "output can't be written: {what}"));
        }
        let first = self.stopped.is_none();
        self.stopped
            .get_or_insert(Stop { code: Failure::Output(error).exit_code(), whatever_the_result: true });
        if first && self.result.is_none() {
            self.cancel()?;
        }
        Ok(())
    }

    /// Ctrl-Z: the command stands still as ostler does, its time too, until somebody lets ostler go on.
    fn suspend(&self) -> Result<(), Failure> {
        let paused = self.handle.pause().wait();
        if let Err(Error::Call(CallError::NotPaused { .. })) = &paused {
            term::line(&self.passing, |out| writeln!(out, "ostler stops, but the command runs on"));
        }
        emulate_default_handler(SIGTSTP).map_err(Failure::system("stopping"))?;
        match paused.and_then(|()| self.handle.resume().wait()) {
            // Somebody has stopped it from elsewhere, or it could not be paused: it runs, or is about to end.
            Ok(()) | Err(Error::Call(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn cancel(&self) -> Result<(), Failure> {
        self.passing.cancelled.store(true, Ordering::Relaxed);
        events::cancel(&self.handle, self.events.clone())
    }
}

/// The settings of every subcommand.
pub(crate) fn config(artifacts: Option<&PathBuf>) -> Config {
    artifacts.map_or_else(Config::new, |root| Config::new().artifact_root(root))
}
