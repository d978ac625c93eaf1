//! `ostler run`: one command as a handle.

use crate::{
    args::RunArgs,
    events::{self, Event},
    exit::{self, Failure},
    json_lines::JsonLines,
    pass::{self, Passing},
    stdin, term,
    terminal::{self, Raw},
};
use ostler::{
    CallError, Command, Config, Error, Handle, Ostler, Outcome, RECORDER_BYTES, Record, Session, Status,
    TraceTo, UnixSignal, duration,
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
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

/// How long a reader may stand still before what was stopped ends without it.
pub(crate) const READER_TIME: Duration = Duration::from_secs(2);

/// How long the summary of what was stopped waits for the rest of the output, which it would follow.
const TELL_TIME: Duration = Duration::from_millis(100);

/// Runs it to its end; nothing of it is left. Returns the exit code.
pub(crate) fn run(args: RunArgs) -> Result<u8, Failure> {
    let (events, happened) = channel();
    // Before the launch: a Ctrl-C during it counts.
    let signals = events.clone();
    let pty = args.pty;
    let others: &[i32] = if pty { &[SIGWINCH, SIGCONT, SIGQUIT] } else { &[SIGTSTP] };
    events::signals(others, move |signal| signals.send(Event::Signal(signal)).is_ok())?;
    let trace = args.trace.clone().map_or(TraceTo::Off, TraceTo::File);
    let passing = Arc::new(Passing::default());
    let settings = config(args.root.artifacts.as_ref()).at_once(1).trace(trace);
    let ostler = Ostler::start(settings.on_trace_dump(term::dumped(&passing, args.quiet)))?;
    // From another terminal it can be cancelled; where there can be no socket, it can't.
    let control = ostler.control().ok();
    let session = ostler.open_session().wait()?;
    let says = Says::by(&args);
    let mut note = None;
    let mut raw = None;
    let launched = stdin::source(args.stdin.as_deref(), pty, |word| note = Some(word)).and_then(|source| {
        // A person sits there, and sees what the command shows.
        let typed =
            pty && !says.json && !says.events && args.stdin.as_deref().is_none_or(|stdin| stdin == "inherit");
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
    // Of one that was not launched there is nothing to be said but why.
    if let Some(note) = note.filter(|_| launched.is_ok() && says.stops.is_some()) {
        term::say(|out| writeln!(out, "{note}"));
    }
    let ended = launched.and_then(|handle| follow(&session, handle, says, (passing, raw), events, happened));
    drop(control);
    let stopped = ostler.shutdown().wait();
    ended.and_then(|code| Ok(stopped.map(|_| code)?))
}

/// What is said beside the output of the command.
pub(crate) struct Says {
    /// The result, as JSON, and nothing else.
    pub(crate) json: bool,
    /// What happens, as lines of JSON.
    events: bool,
    /// Where the output is, whatever was shown of it.
    path: bool,
    /// What a person is told who stops it; none where nobody is to be told anything.
    pub(crate) stops: Option<String>,
}
impl Says {
    pub(crate) fn by(args: &RunArgs) -> Says {
        let signal = args.signal.unwrap_or(UnixSignal::SigTerm).name();
        let grace = duration(u64::try_from(args.grace.as_millis()).unwrap_or(u64::MAX));
        let stops = format!("stopping: {signal} now, SIGKILL in {grace}");
        let quiet = args.json || args.events || args.quiet;
        Says { json: args.json, events: args.events, path: args.show_path, stops: (!quiet).then_some(stops) }
    }
}

pub(crate) fn command(args: RunArgs) -> Command {
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
    if !args.json && !args.detach_output {
        command = command.follow(pass::MAX_AHEAD);
    }
    command = command.leftovers(args.leftovers.into());
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
    says: Says,
    (passing, raw): (Arc<Passing>, Option<Raw>),
    events: Sender<Event>,
    happened: Receiver<Event>,
) -> Result<u8, Failure> {
    events::inbox(session.inbox(), events.clone())?;
    let lines = if says.events { Some(JsonLines::begin(&passing, &events)?) } else { None };
    if let Some(lines) = &lines {
        lines.started(handle.record());
    }
    let to_pass = if says.json { 0 } else { pass::begin(&handle, &passing, &events, lines.as_ref())? };
    let since = Instant::now();
    let mut running = Running {
        handle,
        passing,
        raw,
        events,
        lines,
        to_pass,
        since,
        says,
        stopped: None,
        result: None,
        summed_up: false,
        told: false,
        kept: false,
    };
    // Senders live as long as `running`.
    while !running.next(&happened)? {}
    let Running { passing, raw, says, stopped, result, summed_up, .. } = running;
    drop(raw);
    let Some(record) = result else { return Err(Error::Closed.into()) };
    if says.json {
        term::print_line(&*record)?;
    } else if says.stops.is_some() {
        if !summed_up {
            term::summary(&passing, &record);
        }
        let hidden = passing.hidden.load(Ordering::Relaxed) && record.recorded_bytes > 0;
        if says.path || hidden {
            term::place(&passing, &record);
        }
    }
    Ok(match stopped {
        Some(Stop { code, whatever_the_result: true }) => code,
        stopped => exit::of_result(&record, stopped.map(|stop| stop.code)),
    })
}

/// Why ostler cancelled, and what its exit code will be.
pub(crate) struct Stop {
    pub(crate) code: u8,
    /// Also if the command had ended before: its output did not get to where it should.
    pub(crate) whatever_the_result: bool,
}

struct Running {
    handle: Handle,
    passing: Arc<Passing>,
    /// The terminal, if each key goes to the command.
    raw: Option<Raw>,
    events: Sender<Event>,
    /// What happens, for a program.
    lines: Option<JsonLines>,
    /// Streams that are still passed through.
    to_pass: usize,
    since: Instant,
    says: Says,
    stopped: Option<Stop>,
    result: Option<Arc<Record>>,
    /// The summary was told, or would have been, before the reader of the output had come to its end.
    summed_up: bool,
    /// The last event was sent on its way.
    told: bool,
    /// What the command has left lives on.
    kept: bool,
}

impl Running {
    /// The next thing that happens. Whether it is all over.
    fn next(&mut self, happened: &Receiver<Event>) -> Result<bool, Failure> {
        let event = if self.is_stopped() {
            // A reader that stands still does not hold up what was stopped, nor that it is told.
            let taken = self.passing.taken.load(Ordering::Relaxed);
            match happened.recv_timeout(if self.summed_up { READER_TIME } else { TELL_TIME }) {
                Err(RecvTimeoutError::Timeout) if !self.summed_up => {
                    self.sum_up();
                    return Ok(false);
                }
                Err(RecvTimeoutError::Timeout) if taken == self.passing.taken.load(Ordering::Relaxed) => {
                    self.passing.hidden.store(true, Ordering::Relaxed);
                    return Ok(true);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                event => event.ok(),
            }
        } else {
            happened.recv().ok()
        };
        // Senders live as long as this.
        event.map_or(Ok(true), |event| self.on(event))
    }

    /// Whether it did not end by itself.
    fn is_stopped(&self) -> bool {
        self.result.as_ref().is_some_and(|record| record.status != Status::Completed)
    }

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
                // A terminal shows the key, in the line of whoever wrote last.
                let typed = signal == SIGINT && io::stderr().is_terminal();
                self.passing.mid_line.fetch_or(typed, Ordering::Relaxed);
                if self.kept && self.stopped.is_none() {
                    // What the command has left is stopped. Its end is what counts, and is known.
                    self.stopped = Some(Stop { code, whatever_the_result: false });
                    self.cancel()?;
                    return Ok(false);
                }
                if self.result.is_some() {
                    // Only the reader of the output is behind, and nobody wants to wait for it any more.
                    self.stopped = Some(Stop { code, whatever_the_result: true });
                    self.passing.hidden.store(true, Ordering::Relaxed);
                    return Ok(true);
                }
                // Of one that is being stopped, this is the second.
                let first = self.stopped.is_none();
                self.stopped.get_or_insert(Stop { code, whatever_the_result: false });
                self.cancel()?;
                if let Some(stops) = self.says.stops.as_ref().filter(|_| first) {
                    let again = if signal == SIGINT { "Ctrl-C again" } else { "another signal" };
                    term::line(&self.passing, |out| writeln!(out, "{stops}; {again} kills at once"));
                }
            }
            Event::Progress(record) => match &self.lines {
                Some(lines) => lines.progress(&record),
                None => term::progress(&self.passing, &record, self.since.elapsed()),
            },
            Event::Result(record) if self.result.is_none() => {
                self.result = Some(record);
                self.stay()?;
            }
            // What has become of those that were kept.
            Event::Result(record) => {
                self.result = Some(record);
            }
            Event::Told(Ok(())) => return Ok(true),
            Event::Told(Err(error)) if self.told => {
                self.unwritable("events", error)?;
                return Ok(true);
            }
            Event::Told(Err(error)) => self.unwritable("events", error)?,
            Event::Passed(_, Ok(())) => self.to_pass -= 1,
            Event::Passed(which, Err(error)) => {
                self.to_pass -= 1;
                self.unwritable(&format!("{which}: {error}"), error)?;
            }
            Event::Unreadable(error) => {
                self.to_pass -= 1;
                self.passing.hidden.store(true, Ordering::Relaxed);
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
        let Some(record) = self.result.as_ref().filter(|_| self.to_pass == 0) else { return Ok(false) };
        let Some(lines) = &self.lines else { return Ok(true) };
        if !self.told {
            self.told = true;
            lines.result(record);
        }
        Ok(false)
    }

    /// As long as something lives that the command has left and that is to be kept.
    fn stay(&mut self) -> Result<(), Failure> {
        let left = self.result.iter().flat_map(|record| record.leftovers.iter().flatten());
        let kept = left.filter(|leftover| leftover.outcome == Outcome::Kept).count();
        // Whoever has stopped the command wants none of it.
        if kept == 0 || self.stopped.is_some() {
            return Ok(());
        }
        self.kept = true;
        self.to_pass += 1;
        let shown = !self.says.json;
        pass::kept(&self.handle, &self.passing, &self.events, self.lines.as_ref(), shown)?;
        self.sum_up();
        if self.says.stops.is_some() {
            let (kept, them) = if kept == 1 {
                ("1 process".to_owned(), "it")
            } else {
                (format!("{kept} processes"), "them")
            };
            term::line(&self.passing, |out| writeln!(out, "it has left {kept} running; Ctrl-C stops {them}"));
        }
        Ok(())
    }

    /// A time limit is told when it has passed, and not when somebody has read the rest of the output.
    fn sum_up(&mut self) {
        self.summed_up = true;
        if let Some(record) = self.result.as_ref().filter(|_| self.says.stops.is_some()) {
            term::summary(&self.passing, record);
        }
    }

    /// Output that can't be written ends a command in a pipeline; so it does here.
    fn unwritable(&mut self, what: &str, error: io::Error) -> Result<(), Failure> {
        if error.kind() != ErrorKind::BrokenPipe {
            term::line(&self.passing, |out| writeln!(out, "output can't be written: {what}"));
        }
        self.passing.hidden.store(true, Ordering::Relaxed);
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
    let config = Config::new().recorder_bytes(RECORDER_BYTES);
    match artifacts {
        Some(root) => config.artifact_root(root),
        None => config,
    }
}
