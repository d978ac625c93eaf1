//! What can happen while a command runs, gathered from threads that each wait for one thing.

use crate::exit::Failure;
use ostler::{Error, Filter, Handle, Inbox, OutputFile, Record};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs, io,
    sync::{Arc, mpsc::Sender},
    thread,
    time::Duration,
};

/// One of them.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody wants ostler to end.
    Signal(i32),
    /// Somebody at the keyboard insists.
    Insisted,
    /// A progress entry.
    Progress(Arc<Record>),
    /// The result, from the inbox or as the answer of a cancel.
    Result(Arc<Record>),
    /// One stream is passed through to its end, or can't be any further.
    Passed(OutputFile, io::Result<()>),
    /// One stream can't be read any further.
    Unreadable(Error),
    /// The last event is written, or one can't be.
    Told(io::Result<()>),
    /// A call failed that the rest depends on.
    Failed(Error),
}

/// Runs `work` on a thread of its own.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(Failure::system("no thread"))
}

/// Tells of SIGINT, SIGTERM, SIGHUP and these others for as long as somebody listens, except those that were ignored when ostler was started:
/// nohup(1) and `command &` in a script mean it.
pub(crate) fn signals(others: &[i32], tell: impl Fn(i32) -> bool + Send + 'static) -> Result<(), Failure> {
    let ignored = ignored_signals();
    let all = [SIGINT, SIGTERM, SIGHUP].into_iter().chain(others.iter().copied());
    let wanted = all.filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted).map_err(Failure::system("signals"))?;
    spawn("signals", move || {
        for signal in signals.forever() {
            if !tell(signal) {
                return;
            }
        }
    })
}

/// Bit n-1 for signal n (proc(5), `SigIgn`); 0 where nobody can tell.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Sends what comes into the inbox, up to the result.
pub(crate) fn inbox(inbox: Inbox, events: Sender<Event>) -> Result<(), Failure> {
    spawn("inbox", move || {
        loop {
            let entries = match inbox.receive(Filter::any(), 1, Duration::MAX).wait() {
                // The session has ended: the result went to a cancel.
                Ok(entries) if entries.is_empty() => return,
                Ok(entries) => entries,
                Err(error) => {
                    let _ = events.send(Event::Failed(error));
                    return;
                }
            };
            for entry in entries {
                let Some(record) = entry.record().cloned().map(Arc::new) else { continue };
                let last = entry.is_result();
                let event = if last { Event::Result(record) } else { Event::Progress(record) };
                if events.send(event).is_err() || last {
                    return;
                }
            }
        }
    })
}

/// Cancels, waits for nothing, and sends the result as an event when it is there. A second call kills.
pub(crate) fn cancel(handle: &Handle, events: Sender<Event>) -> Result<(), Failure> {
    let cancel = handle.cancel().begin();
    spawn("cancel", move || {
        let event = match cancel.wait() {
            Ok(cancelled) => Event::Result(cancelled.record),
            Err(error) => Event::Failed(error),
        };
        // Whoever has the result already listens no more.
        let _ = events.send(event);
    })
}
