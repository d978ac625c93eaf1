//! Passing on the output of a command of another machine, as it comes.
//!
//! * in: its output, read by offset from its worker, and from the server when it has ended
//! * out: the same bytes, to stdout and stderr
//! * keeps: one page at a time; the command is not held back by a slow reader here

use super::run::Event;
use crate::{
    events::spawn,
    exit,
    pass::{self, Passing, To},
};
use ostler::OutputFile;
use ostler_remote::{Error, Handle};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

/// Longest wait of one read, and a part of what a worker that does not answer is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// What the threads that pass output on share with the others.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) passing: Arc<Passing>,
    /// It is known how the command ended.
    pub(super) ended: AtomicBool,
    /// Threads that wait for whoever reads here.
    pub(super) writing: AtomicUsize,
}

/// Starts a thread for each stream of this program. Returns how many [`Event::Passed`] or [`Event::Unreadable`] will follow.
pub(super) fn begin(
    handle: &Handle,
    shared: &Arc<Shared>,
    events: &Sender<Event>,
) -> Result<usize, exit::Failure> {
    let streams = pass::own_streams()?;
    let count = streams.len();
    for (which, to) in streams {
        let (handle, shared, events) = (handle.clone(), shared.clone(), events.clone());
        spawn(&format!("pass-{which}"), move || {
            // Whoever listens no more needs nothing.
            let _ = events.send(match pass(&handle, which, &to, &shared) {
                Ok(passed) => Event::Passed(which, passed),
                Err(error) => Event::Unreadable(error),
            });
        })?;
    }
    Ok(count)
}

/// The outer error is the other machine's side, the inner one the writer's.
fn pass(handle: &Handle, which: OutputFile, to: &To, shared: &Shared) -> Result<io::Result<()>, Error> {
    let mut offset = 0;
    loop {
        let page = match handle.read().stream(which).offset(offset).wait_for(WAIT).wait() {
            Ok(page) => page,
            // It may come back, as long as nobody has said how the command ended.
            Err(Error::WorkerSilent { .. } | Error::Server { .. })
                if !shared.ended.load(Ordering::Relaxed) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        shared.writing.fetch_add(1, Ordering::Relaxed);
        let put = pass::put(to, which, offset, &page.content, &shared.passing);
        shared.writing.fetch_sub(1, Ordering::Relaxed);
        if put.is_err() || page.eof {
            return Ok(put);
        }
        offset = page.next_offset;
    }
}
