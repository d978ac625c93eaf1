//! `ostler run`: one command as a handle.

use crate::{
    args::RunArgs,
    events::{self, Event},
    exit::{self, Failure},
    pass::{self, Passing},
    stdin, term,
};
use ostler::{Command, Config, Error, Handle, Ostler, Record, Session, TraceTo};
use std::{
    io::{self, ErrorKind, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    time::Instant,
};

/// Runs it to its end; nothing of it is left. Returns the exit code.
pub(crate) fn run(args: RunArgs) -> Result<u8, Failure> {
    let (events, happened) = channel();
    // Before the launch: a Ctrl-C during it counts.
    let signals = events.clone();
    events::signals(move |signal| signals.send(Event::Signal(signal)).is_ok())?;
    let trace = args.trace.clone().map_or(TraceTo::Off, TraceTo::File);
    let ostler = Ostler::start(config(args.artifacts.as_ref()).trace(trace))?;
    let session = ostler.open_session().wait()?;
    let json = args.json;
    let says = |word: &str| {
        if !json {
            term::line(&Passing::default(), |out| writeln!(out, "{word}"));
        }
    };
    let launched = stdin::source(args.stdin.as_deref(), says).and_then(|source| {
        let command = command(args);
        let Some(source) = source else { return Ok(session.launch(command).wait()?) };
        let handle = session.launch(command.stdin_open()).wait()?;
        stdin::pass(source, handle.clone())?;
        Ok(handle)
    });
    let ended = launched.and_then(|handle| follow(&session, handle, json, events, happened));
    let stopped = ostler.shutdown().wait();
    let code = ended.and_then(|code| Ok(stopped.map(|_| code)?));
    if let (true, Err(failure)) = (json, &code) {
        print_line(&exit::json(failure))?;
    }
    code
}

fn command(args: RunArgs) -> Command {
    let mut argv = args.argv.into_iter();
    let mut command = Command::new(argv.next().unwrap_or_default())
        .args(argv)
        .envs(args.vars)
        .env_mode(args.env_mode.into())
        .grace(args.grace)
        .inline_bytes(args.max_inline_bytes);
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
    match args.progress.filter(|_| !args.json) {
        Some(interval) => command.progress(interval),
        None => command,
    }
}

fn follow(
    session: &Session,
    handle: Handle,
    json: bool,
    events: Sender<Event>,
    happened: Receiver<Event>,
) -> Result<u8, Failure> {
    let passing = Arc::new(Passing::default());
    events::inbox(session.inbox(), events.clone())?;
    let to_pass = if json { 0 } else { pass::begin(&handle, &passing, &events)? };
    let mut running =
        Running { handle, passing, events, to_pass, since: Instant::now(), stopped: None, result: None };
    // Senders live as long as `running`.
    for event in happened {
        if running.on(event)? {
            break;
        }
    }
    let Running { passing, stopped, result, .. } = running;
    let Some(record) = result else { return Err(Error::Closed.into()) };
    if json {
        print_line(&*record)?;
    } else {
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
    events: Sender<Event>,
    /// Streams that are still passed through.
    to_pass: usize,
    since: Instant,
    stopped: Option<Stop>,
    result: Option<Arc<Record>>,
}

impl Running {
    /// Whether it is all over.
    fn on(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Signal(signal) => {
                let code = exit::of_signal(signal);
                if self.result.is_some() {
                    // Only the reader of the output is behind, and nobody wants to wait for it any more.
                    self.stopped = Some(Stop { code, whatever_the_result: true });
                    return Ok(true);
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

    fn cancel(&self) -> Result<(), Failure> {
        self.passing.cancelled.store(true, Ordering::Relaxed);
        events::cancel(&self.handle, self.events.clone())
    }
}

fn print_line(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::from)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    Ok(stdout.flush()?)
}

/// The settings of every subcommand.
pub(crate) fn config(artifacts: Option<&PathBuf>) -> Config {
    artifacts.map_or_else(Config::new, |root| Config::new().artifact_root(root))
}
