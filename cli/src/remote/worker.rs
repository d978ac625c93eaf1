//! `ostler worker`: runs what a pool is asked for, until it is told to end.
//!
//! * in: launches, by way of the server
//! * out: results, by the same way; what an operator should know, on stderr
//! * keeps: a first signal ends it in order, a second one at once

use super::{Failure, server};
use crate::{args::WorkerArgs, events, exit, run, term};
use nix::sys::signal::Signal;
use ostler::{counted, duration};
use ostler_remote::{NAME_MAX_BYTES, Worker, WorkerName, WorkerOptions};
use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError, mpsc},
};
use tokio::sync::oneshot;

/// Runs until a signal, or until it can't go on.
pub(crate) fn worker(args: WorkerArgs) -> Result<u8, exit::Failure> {
    let connect = server(&args.server)?;
    let name = args.name.map_or_else(own_name, Ok)?;
    let mut options = WorkerOptions::new(args.pool.clone(), name);
    options.config =
        run::config(args.root.artifacts.as_ref()).on_trace_dump(term::dumped(&Arc::default(), false));
    options.slots = args.slots.unwrap_or(options.slots);
    options.lease = args.lease.unwrap_or(options.lease);
    options.keep.time = args.keep.unwrap_or(options.keep.time);
    options.keep.synced = args.synced;
    options.keep.replicas = args.replicas.unwrap_or(options.keep.replicas);
    options.labels.extend(args.labels);
    options.output_max_bytes = args.output_limit.map_or(options.output_max_bytes, |size| size.as_u64());
    options.state = args.state;
    // Before it starts: a signal meanwhile counts.
    let (stop, stopped) = oneshot::channel();
    on_signals(stop)?;
    let mut worker = Worker::start(&connect, options)?;
    let about = worker.about();
    if let Some(warning) = worker.warning() {
        term::say(|out| writeln!(out, "warning: {warning}"));
    }
    term::say(|out| {
        let (slots, lease) = (counted(about.slots.into(), "slot"), duration(about.lease_ms));
        let (name, pool, tier) = (&about.worker, &args.pool, about.containment);
        writeln!(out, "worker {name} takes launches of pool {pool}: {slots}, tier {tier}, lease {lease}")
    });
    let (told, signal) = mpsc::channel();
    let over = worker.wait(async move {
        // The thread that has the other end lives as long as this process.
        let _ = told.send(stopped.await);
    });
    over?;
    let signal = signal.try_recv().ok().and_then(Result::ok).map_or("signal".into(), name_of);
    let left = counted(worker.running() as u64, "command");
    term::say(|out| {
        writeln!(
            out,
            "{signal}: takes nothing more, stops {left} and stores the results, up to 30 s; another signal kills at once"
        )
    });
    worker.end()?;
    term::say(|out| writeln!(out, "ended in order"));
    Ok(0)
}

/// Tells of the first signal. The second one is the end of this process, and by that of all that it runs.
fn on_signals(stop: oneshot::Sender<i32>) -> Result<(), exit::Failure> {
    let stop = Mutex::new(Some(stop));
    events::signals(&[], move |signal| {
        let first = stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first.map(|stop| stop.send(signal)) {
            // It has not started yet, or has been told.
            Some(_) => true,
            None => {
                term::say(|out| {
                    writeln!(
                        out,
                        "{} again: kills what runs; its results are stored at the next start",
                        name_of(signal)
                    )
                });
                std::process::exit(exit::of_signal(signal).into())
            }
        }
    })
}

fn name_of(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string())
}

/// That of the host, as far as it can be one.
fn own_name() -> Result<WorkerName, Failure> {
    let host = super::host();
    reduced(&host).parse().map_err(|_| Failure::NoName { host })
}

/// What of it can stand in a name.
pub(super) fn reduced(host: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    host.chars().filter(fits).take(NAME_MAX_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_host_becomes_one_of_a_worker() {
        assert_eq!(reduced("build-3.example.org"), "build-3exampleorg");
        assert_eq!(reduced(&"x".repeat(40)).len(), NAME_MAX_BYTES);
        assert_eq!(reduced("…"), "");
    }
}
