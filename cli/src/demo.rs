//! `ostler demo`: five commands at once, live; then the inbox, and what the actors said to each other.

use crate::{
    args::DemoArgs,
    board::Board,
    events,
    exit::{self, Failure},
    run::config,
    screen::Screen,
    shown, tour,
};
use ostler::{Error, Filter, Handle, Ostler, Record, Session, TraceLog, TraceTo, trace::Trace};
use signal_hook::consts::{SIGTSTP, SIGWINCH};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

/// When one of them is cancelled.
const CANCEL_AFTER: Duration = Duration::from_secs(2);
/// When the session is ended although a command is not over: a compiler on a busy machine may take so long.
const AT_MOST: Duration = Duration::from_secs(30);

/// What the threads of the tour tell its loop.
enum Event {
    /// New output of a command: how many lines, and the newest.
    Flowed(usize, u64, String),
    /// The result of a command is in the inbox.
    InInbox(usize),
    /// The answer of the cancel.
    Cancelled(Arc<Record>),
    /// Somebody wants the tour to end.
    Signal(i32),
    /// It can't go on.
    Failed(Error),
}

/// Takes the tour. Returns the exit code.
pub(crate) fn demo(args: &DemoArgs) -> Result<u8, Failure> {
    let (tell, events) = channel();
    let signals = tell.clone();
    // Where there is no screen that would have to be left, Ctrl-Z is as ever.
    let others: &[i32] = if Screen::can_be() { &[SIGTSTP, SIGWINCH] } else { &[] };
    events::signals(others, move |signal| signals.send(Event::Signal(signal)).is_ok())?;
    let log = TraceLog::default();
    let ostler = Ostler::start(config(args.root.artifacts.as_ref()).trace(TraceTo::Memory(log.clone())))?;
    let toured = tour(&ostler, args, &log, &tell, &events);
    // However it ended, the commands end before ostler does. At its regular end that was so already.
    let _ = ostler.shutdown().wait();
    toured
}

fn tour(
    ostler: &Ostler,
    args: &DemoArgs,
    log: &TraceLog,
    tell: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<u8, Failure> {
    // What is built is thrown away; what was written to stdout and stderr is kept.
    let workshop = tempfile::Builder::new().prefix("ostler-demo-").tempdir();
    let workshop = workshop.map_err(Failure::system("temporary directory"))?;
    let stops = tour::stops(workshop.path()).map_err(Failure::system("temporary directory"))?;
    let names: Vec<_> = stops.iter().map(|stop| stop.name).collect();
    let session = ostler.open_session().wait()?;

    let heading = "Five commands at once, in one session";
    shown::plan(heading, &stops)?;
    let mut board = Board::begin(heading, &stops)?;
    let launches: Vec<_> = stops.into_iter().map(|stop| session.launch(stop.command).begin()).collect();
    let handles = launches.into_iter().map(|launch| launch.wait()).collect::<Result<Vec<_>, _>>()?;
    for (n, handle) in handles.iter().enumerate() {
        watch(n, &session, handle, tell.clone())?;
    }
    let signal = live(&mut board, &handles, tell, events);
    board.leave()?;
    if let Some(signal) = signal? {
        // Before the workshop is gone.
        ostler.shutdown().wait()?;
        return Ok(exit::of_signal(signal));
    }

    let before = session.inbox().drain().wait()?;
    let tally = session.end().wait()?;
    let after = session.inbox().drain().wait()?;
    ostler.shutdown().wait()?;
    let names: Vec<_> = handles.iter().map(Handle::id).zip(names).collect();
    shown::inbox(&names, &before, &tally, &after)?;
    shown::story(&Trace::parse(log.text().as_bytes())?, handles[tour::CANCELLED].id())?;
    shown::next(ostler.artifact_root(), args.root.artifacts.as_deref())?;
    Ok(0)
}

/// Follows one command on a thread of its own: first its output, then its result, which it leaves where it is.
fn watch(n: usize, session: &Session, handle: &Handle, tell: Sender<Event>) -> Result<(), Failure> {
    let (inbox, handle) = (session.inbox(), handle.clone());
    events::spawn("watch", move || {
        let follow = || -> Result<(), Error> {
            let mut offset = 0;
            loop {
                let page = handle.read().offset(offset).wait_for(Duration::MAX).wait()?;
                let text = page.text();
                if let Some(newest) = text.lines().last() {
                    let lines = text.matches('\n').count() as u64;
                    let _ = tell.send(Event::Flowed(n, lines, newest.to_owned()));
                }
                if page.eof {
                    break;
                }
                offset = page.next_offset;
            }
            if n != tour::CANCELLED {
                inbox.wait(Filter::results().and_handle(handle.id()), Duration::MAX).wait()?;
                let _ = tell.send(Event::InInbox(n));
            }
            Ok(())
        };
        // Nobody listens once the tour has ended.
        let _ = follow().map_err(|error| tell.send(Event::Failed(error)));
    })
}

/// Until all has ended that ends by itself or is cancelled, or somebody sends a signal.
fn live(
    board: &mut Board,
    handles: &[Handle],
    tell: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Option<i32>, Failure> {
    let since = Instant::now();
    let mut running = handles.len() - 1;
    let mut cancel_at = Some(since + CANCEL_AFTER);
    while running > 0 && since.elapsed() < AT_MOST {
        let next = cancel_at.unwrap_or(since + AT_MOST);
        match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Event::Flowed(n, lines, newest)) => board.flowed(n, lines, &newest)?,
            Ok(Event::InInbox(n)) => {
                board.finish(n, "finished; the result is in the inbox")?;
                running -= 1;
            }
            Ok(Event::Cancelled(record)) => {
                let words = record.stdout.lines().last().unwrap_or_default();
                let what = format!("answer of the cancel: {}, last words: {words}", record.ending());
                board.finish(tour::CANCELLED, &what)?;
                running -= 1;
            }
            Ok(Event::Signal(SIGWINCH)) => board.draw()?,
            Ok(Event::Signal(SIGTSTP)) => board.suspend()?,
            Ok(Event::Signal(signal)) => return Ok(Some(signal)),
            Ok(Event::Failed(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {
                if cancel_at.take().is_some() {
                    board.happened(tour::CANCELLED, "cancelled …")?;
                    cancel(&handles[tour::CANCELLED], tell.clone())?;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Closed.into()),
        }
    }
    Ok(None)
}

fn cancel(handle: &Handle, tell: Sender<Event>) -> Result<(), Failure> {
    let cancel = handle.cancel().begin();
    events::spawn("cancel", move || {
        let _ = tell.send(match cancel.wait() {
            Ok(cancelled) => Event::Cancelled(cancelled.record),
            Err(error) => Event::Failed(error),
        });
    })
}
