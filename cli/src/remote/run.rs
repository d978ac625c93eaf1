//! `ostler run --pool`: one command on another machine, as it would be on this one.
//!
//! * in: the same options, but for those that mean nothing there
//! * out: its output as it comes, its ending, its exit code
//! * keeps: a session of its own ends with it, whatever happens

use super::{
    connect,
    pass::{self, Shared},
    progress, refused,
    stdin::{self, Input},
    worker,
};
use crate::{
    args::RunArgs,
    events::{self, spawn},
    exit::{self, Failure},
    run::{READER_TIME, Says, Stop, command},
    term,
};
use ostler::{LaunchRequest, OutputFile, Record, Status};
use ostler_remote::{Call, Cancelled, EndedSession, Error, Handle, LaunchId, Session};
use serde_json::Value;
use signal_hook::consts::SIGINT;
use std::{
    io::{self, ErrorKind, IsTerminal, Read, Write},
    process,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Between two questions for the end, to a server that is away.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a session of its own is waited for when its command has ended: nothing runs in it any more, and the end is written, for whoever comes back.
const END_TIME: Duration = Duration::from_secs(5);
/// The same when it is not known how it ended: more than a session takes to say who has not answered.
const END_MAX: Duration = Duration::from_secs(60);
/// Signals beyond which nothing more is waited for: the first asks the command to end, the second ends it.
const SIGNALS_MAX: u32 = 2;

/// How long a launch under an id waits for a free slot: as long as one without.
const LAUNCH_TIME: Duration = Duration::from_secs(10);

/// A command, and whether it was launched before, by somebody else.
pub(super) struct Launched {
    handle: Handle,
    before: bool,
}

/// What can happen meanwhile.
pub(super) enum Event {
    Signal(i32),
    Launched(Result<Launched, Error>),
    /// How it ended, from whoever has heard it first.
    Ended(Arc<Record>),
    /// It can't be heard how it ended.
    Failed(Error),
    /// It can't be stopped, now.
    NotStopped(Error),
    Progress(Arc<Record>),
    /// It can't be heard how it stands, now.
    Unheard(Error),
    Passed(OutputFile, io::Result<()>),
    Unreadable(Error),
    /// The rest of its stdin can't be passed on.
    Unfed(Error),
    SessionEnded(Result<EndedSession, Error>),
}

/// Runs it to its end. Returns the exit code.
pub(crate) fn run(mut args: RunArgs) -> Result<u8, Failure> {
    refused::refused(&args)?;
    let mut note = None;
    let input = stdin::input(&args, |word| note = Some(word))?;
    let (events, happened) = channel();
    // Before the launch: a Ctrl-C during it counts.
    let signals = events.clone();
    events::signals(&[], move |signal| signals.send(Event::Signal(signal)).is_ok())?;
    let (remote, pool) = connect(&args.pool.of)?;
    let (id, own) = match args.pool.session.take() {
        Some(id) => (id, false),
        None => (own_session("run"), true),
    };
    let session = remote.session(id, &pool).wait()?;
    let says = Says::by(&args);
    let launch_id = args.again.launch_id.take();
    // Whoever reads here is on another machine, and may go away: nothing there waits for it.
    args.detach_output = true;
    let mut command = command(args);
    let mut source = None;
    match input {
        Input::Nothing => {}
        Input::Along(bytes) => command = command.stdin_bytes(bytes),
        Input::Passed(passed) => (command, source) = (command.stdin_open(), Some(passed)),
    }
    let mut request = command.into_request(session.id());
    // It is asked for: an entry in the inbox would be for whoever reads that.
    let interval = request.progress_interval_ms.take().filter(|ms| *ms > 0);
    let longest = Duration::from_millis(request.progress_max_interval_ms);
    let progress = interval.map(|ms| progress::Times { first: Duration::from_millis(ms), longest });
    let (of, tell) = (session.clone(), events.clone());
    spawn("launch", move || drop(tell.send(Event::Launched(launch(&of, request, launch_id)))))?;
    let quiet = says.stops.is_none();
    let begins = Begins { note, source, progress };
    let mut running = Running::new(says, session.clone(), own, begins, events.clone());
    let code = running.finish(&happened);
    if own {
        let wait = running.result.map(|_| END_TIME);
        end(&session, (quiet, wait), &events, &happened)?;
    }
    code
}

fn launch(session: &Session, request: LaunchRequest, id: Option<LaunchId>) -> Result<Launched, Error> {
    let handle = match id {
        None => session.launch_request(request).wait()?,
        Some(id) => session.launch_as(id, request, LAUNCH_TIME).wait()?,
    };
    // What was launched before has its stdin from whoever has launched it.
    let before = !handle.is_new();
    Ok(Launched { handle, before })
}

/// A session that nobody else has, of this kind of host.
pub(super) fn own_session(kind: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{kind}-{}-{}-{now}", worker::reduced(&super::host()), process::id())
}

/// Ends the session, up to the next signal, and no longer than `wait`.
fn end(
    session: &Session,
    (quiet, wait): (bool, Option<Duration>),
    events: &Sender<Event>,
    happened: &Receiver<Event>,
) -> Result<(), Failure> {
    let (ended, tell) = (session.end(), events.clone());
    spawn("end", move || drop(tell.send(Event::SessionEnded(ended.wait()))))?;
    let until = Instant::now() + wait.unwrap_or(END_MAX);
    let left = loop {
        match happened.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::SessionEnded(Ok(EndedSession { unreached, .. }))) if unreached.is_empty() => {
                return Ok(());
            }
            Ok(Event::SessionEnded(Ok(EndedSession { unreached, .. }))) => {
                let names: Vec<String> = unreached.iter().map(ToString::to_string).collect();
                break format!("no answer of {}", names.join(", "));
            }
            Ok(Event::SessionEnded(Err(error))) => break error.to_string(),
            Err(RecvTimeoutError::Timeout) => break "a worker has not answered".to_owned(),
            Ok(Event::Signal(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(_) => {}
        }
    };
    if !quiet {
        term::say(|out| writeln!(out, "its session has not ended everywhere: {left}"));
    }
    Ok(())
}

/// What begins with the command.
#[derive(Default)]
struct Begins {
    /// What a person is told of its stdin.
    note: Option<&'static str>,
    source: Option<Box<dyn Read + Send>>,
    progress: Option<progress::Times>,
}

struct Running {
    says: Says,
    session: Session,
    /// It is nobody else's, and ends with this.
    own: bool,
    begins: Begins,
    since: Instant,
    shared: Arc<Shared>,
    events: Sender<Event>,
    handle: Option<Handle>,
    /// Streams that are still passed on.
    to_pass: usize,
    signals: u32,
    stopped: Option<Stop>,
    result: Option<Arc<Record>>,
}

impl Running {
    fn new(says: Says, session: Session, own: bool, begins: Begins, events: Sender<Event>) -> Running {
        let shared = Arc::default();
        Running {
            says,
            session,
            own,
            begins,
            since: Instant::now(),
            shared,
            events,
            handle: None,
            to_pass: 0,
            signals: 0,
            stopped: None,
            result: None,
        }
    }

    fn finish(&mut self, happened: &Receiver<Event>) -> Result<u8, Failure> {
        while !self.next(happened)? {}
        let Some(record) = &self.result else {
            return Ok(self.stopped.as_ref().map_or(exit::OWN_ERROR, |stop| stop.code));
        };
        if self.says.json {
            term::print_line(&self.in_json(record)?)?;
        } else if self.says.stops.is_some() {
            term::summary(&self.shared.passing, record);
            if self.shared.passing.hidden.load(Ordering::Relaxed) && !self.own {
                self.say(|handle| format!("`ostler logs` has the rest: launch {}", handle.id()));
            }
        }
        Ok(match &self.stopped {
            Some(Stop { code, whatever_the_result: true }) => *code,
            stopped => exit::of_result(record, stopped.as_ref().map(|stop| stop.code)),
        })
    }

    /// The record, and where it ran.
    fn in_json(&self, record: &Record) -> Result<Value, Failure> {
        let mut json = serde_json::to_value(record).map_err(io::Error::from)?;
        json["launch"] = self.handle.as_ref().map(|handle| handle.id().as_str()).into();
        json["worker"] = self.handle.as_ref().map(|handle| handle.worker().to_string()).into();
        Ok(json)
    }

    fn say(&self, what: impl FnOnce(&Handle) -> String) {
        if let Some(handle) = self.handle.as_ref().filter(|_| self.says.stops.is_some()) {
            let what = what(handle);
            term::line(&self.shared.passing, |out| writeln!(out, "{what}"));
        }
    }

    /// The next thing that happens. Whether it is all over.
    fn next(&mut self, happened: &Receiver<Event>) -> Result<bool, Failure> {
        let is_stopped = self.result.as_ref().is_some_and(|record| record.status != Status::Completed);
        let event = if is_stopped {
            // A reader that stands still does not hold up what was stopped.
            let taken = self.shared.passing.taken.load(Ordering::Relaxed);
            match happened.recv_timeout(READER_TIME) {
                Err(RecvTimeoutError::Timeout) => {
                    let waits = self.shared.writing.load(Ordering::Relaxed) > 0;
                    let over = waits && taken == self.shared.passing.taken.load(Ordering::Relaxed);
                    self.shared.passing.hidden.fetch_or(over, Ordering::Relaxed);
                    return Ok(over);
                }
                event => event.ok(),
            }
        } else {
            happened.recv().ok()
        };
        // Senders live as long as this.
        event.map_or(Ok(true), |event| self.on(event))
    }

    fn on(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Signal(signal) => return self.signal(signal),
            Event::Launched(Err(error)) => {
                return Err(super::Failure::of_launch(error, &self.session, self.own).into());
            }
            Event::Launched(Ok(launched)) => self.launched(launched)?,
            Event::Ended(record) => {
                self.shared.ended.store(true, Ordering::Relaxed);
                let is_lost = record.status == Status::Lost;
                self.result.get_or_insert(record);
                if is_lost && self.to_pass > 0 {
                    // Who has it does not answer.
                    self.shared.passing.hidden.store(true, Ordering::Relaxed);
                    return Ok(true);
                }
            }
            Event::Failed(error) => return Err(error.into()),
            Event::NotStopped(error) if self.result.is_none() => {
                self.say(|_| format!("it could not be stopped yet: {error}"));
            }
            Event::Progress(record) if self.result.is_none() => {
                term::progress(&self.shared.passing, &record, self.since.elapsed());
            }
            Event::Unheard(error) if self.result.is_none() => self.say(|_| error.to_string()),
            Event::Unfed(error) if self.result.is_none() => {
                self.say(|_| format!("the rest of stdin can't be passed on: {error}"));
                self.stop(exit::OWN_ERROR, false)?;
            }
            Event::Passed(_, Ok(())) => self.to_pass -= 1,
            Event::Passed(which, Err(error)) => {
                self.to_pass -= 1;
                self.unwritable(which, error)?;
            }
            Event::Unreadable(error) => {
                self.to_pass -= 1;
                self.shared.passing.hidden.store(true, Ordering::Relaxed);
                self.say(|_| format!("the rest of the output is not shown: {error}"));
            }
            Event::NotStopped(_)
            | Event::Progress(_)
            | Event::Unheard(_)
            | Event::Unfed(_)
            | Event::SessionEnded(_) => {}
        }
        Ok(self.result.is_some() && self.to_pass == 0)
    }

    fn launched(&mut self, Launched { handle, before }: Launched) -> Result<(), Failure> {
        self.handle = Some(handle.clone());
        let Begins { note, source, progress } = std::mem::take(&mut self.begins);
        if before {
            let unfed = if source.is_some() { ", and stdin is not passed on to it" } else { "" };
            self.say(|handle| format!("launch {} was there before: it is not run again{unfed}", handle.id()));
        } else if let Some(note) = note {
            self.say(|_| note.to_owned());
        }
        if !self.says.json {
            self.to_pass = pass::begin(&handle, &self.shared, &self.events)?;
        }
        if let Some(source) = source.filter(|_| !before) {
            stdin::pass(source, handle.clone(), self.events.clone())?;
        }
        if let Some(times) = progress {
            self.since = Instant::now();
            progress::begin(handle.clone(), times, self.shared.clone(), self.events.clone())?;
        }
        let events = self.events.clone();
        spawn("result", move || {
            let event = loop {
                match handle.result().wait() {
                    Ok(ended) => break Event::Ended(ended.record),
                    Err(Error::Server { .. }) => thread::sleep(AGAIN),
                    Err(error) => break Event::Failed(error),
                }
            };
            let _ = events.send(event);
        })?;
        // Somebody has stopped it before it was there.
        if self.stopped.is_some() { self.cancel() } else { Ok(()) }
    }

    /// Whether it is all over.
    fn signal(&mut self, signal: i32) -> Result<bool, Failure> {
        let code = exit::of_signal(signal);
        // A terminal shows the key, in the line of whoever wrote last.
        let typed = signal == SIGINT && io::stderr().is_terminal();
        self.shared.passing.mid_line.fetch_or(typed, Ordering::Relaxed);
        self.signals += 1;
        if self.result.is_some() {
            // Only the reader of the output is behind, and nobody wants to wait for it any more.
            self.stopped = Some(Stop { code, whatever_the_result: true });
            self.shared.passing.hidden.store(true, Ordering::Relaxed);
            return Ok(true);
        }
        let first = self.stopped.is_none();
        self.stopped.get_or_insert(Stop { code, whatever_the_result: false });
        if self.handle.is_none() {
            // The end of its session is the end of what may just be starting.
            return Ok(self.own || !first);
        }
        if self.signals > SIGNALS_MAX {
            self.say(|handle| format!("not waited for any more: launch {}", handle.id()));
            return Ok(true);
        }
        self.cancel()?;
        if let Some(stops) = self.says.stops.as_ref().filter(|_| first) {
            let again = if signal == SIGINT { "Ctrl-C again" } else { "another signal" };
            self.say(|_| format!("{stops}; {again} kills at once"));
        }
        Ok(false)
    }

    /// Waits for nothing.
    fn cancel(&self) -> Result<(), Failure> {
        let Some(handle) = &self.handle else { return Ok(()) };
        self.shared.passing.cancelled.store(true, Ordering::Relaxed);
        let cancel: Call<Cancelled> = if self.signals > 1 { handle.cancel_now() } else { handle.cancel() };
        let events = self.events.clone();
        spawn("cancel", move || {
            let _ = events.send(match cancel.wait() {
                Ok(cancelled) => Event::Ended(cancelled.record),
                Err(error) => Event::NotStopped(error),
            });
        })
    }

    /// Output that can't be written ends a command in a pipeline; so it does here.
    fn unwritable(&mut self, which: OutputFile, error: io::Error) -> Result<(), Failure> {
        if error.kind() != ErrorKind::BrokenPipe {
            self.say(|_| format!("output can't be written: {which}: {error}"));
        }
        self.shared.passing.hidden.store(true, Ordering::Relaxed);
        self.stop(Failure::Output(error).exit_code(), true)
    }

    /// Cancels what nobody has stopped yet.
    fn stop(&mut self, code: u8, whatever_the_result: bool) -> Result<(), Failure> {
        let first = self.stopped.is_none();
        self.stopped.get_or_insert(Stop { code, whatever_the_result });
        if first && self.result.is_none() { self.cancel() } else { Ok(()) }
    }
}
