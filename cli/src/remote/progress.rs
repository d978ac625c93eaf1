//! `--progress` of a command on another machine.
//!
//! * in: how often
//! * out: how it stands, from its worker, at the times at which a session of this machine would be told
//! * keeps: the inbox of its session is left alone: others may read it

use super::{pass::Shared, run::Event};
use crate::{events::spawn, exit::Failure};
use ostler::Status;
use ostler_remote::{Error, Handle};
use std::{
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    thread,
    time::Duration,
};

/// When it is told, by the launch.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) first: Duration,
    /// Where the doubling stops.
    pub(super) longest: Duration,
}

/// Until it is known how it ended.
pub(super) fn begin(
    handle: Handle,
    times: Times,
    shared: Arc<Shared>,
    events: Sender<Event>,
) -> Result<(), Failure> {
    spawn("progress", move || {
        let mut pause = times.first;
        loop {
            thread::sleep(pause);
            if shared.ended.load(Ordering::Relaxed) {
                return;
            }
            let event = match handle.status().wait() {
                Ok(record) if record.status != Status::Running => return,
                Ok(record) => Event::Progress(record),
                Err(error @ (Error::WorkerSilent { .. } | Error::Server { .. })) => Event::Unheard(error),
                // Its result says the rest.
                Err(_) => return,
            };
            if events.send(event).is_err() {
                return;
            }
            pause = pause.saturating_mul(2).min(times.longest);
        }
    })
}
