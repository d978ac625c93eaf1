//! `ostler ps --pool`: the workers of a pool, what runs on them, and what has ended.

use super::{Failure, connect};
use crate::{
    args::PsArgs,
    exit, screen,
    stored::{COMMAND_LEAST, COMMAND_MAX_BYTES, now_ms},
    table::{Cell, Column, table},
    term,
};
use ostler::{Record, duration, on_one_line};
use ostler_remote::{Heartbeat, List, ListRequest, Listed, ListedState, Pool, Remote};
use serde_json::{Value, json};
use std::io::{self, Write};

const WORKERS: [Column; 6] = [
    Column::whole("WORKER"),
    Column { heading: "FREE", right: true, least: 4 },
    Column { heading: "TIER", right: false, least: 0 },
    Column { heading: "HEARD", right: true, least: 5 },
    Column { heading: "STATE", right: false, least: 6 },
    Column::whole("LABELS"),
];
const LAUNCHES: [Column; 6] = [
    Column::whole("LAUNCH"),
    Column { heading: "SESSION", right: false, least: 0 },
    Column { heading: "WORKER", right: false, least: 0 },
    Column { heading: "STATUS", right: false, least: 12 },
    Column { heading: "AGE", right: true, least: 0 },
    Column::whole("COMMAND"),
];

/// `ostler ps --pool`.
pub(crate) fn ps(args: &PsArgs) -> Result<u8, exit::Failure> {
    if args.root.artifacts.is_some() {
        return Err(Failure::NotThere { option: "--artifacts", why: "the server keeps the list" }.into());
    }
    let (remote, pool) = connect(&args.pool)?;
    let mut workers = remote.workers(&pool).wait()?;
    workers.sort_by(|one, other| one.worker.cmp(&other.worker));
    let request = if args.all { ListRequest::new() } else { ListRequest::new().running() };
    let List { launches: mut shown, more, .. } = list(&remote, &pool, args.session.as_deref(), request)?;
    shown.retain(|launch| is_labelled(args, launch));
    // The newest first, as on this machine.
    shown.reverse();
    if args.json {
        let mut out = io::stdout().lock();
        for line in workers.iter().map(worker_in_json).chain(shown.iter().map(launch_in_json)) {
            writeln!(out, "{line}")?;
        }
        return Ok(0);
    }
    let columns = screen::columns();
    let of_workers: Vec<_> = workers.iter().map(worker_row).collect();
    let of_launches: Vec<_> = shown.iter().map(launch_row).collect();
    let mut text = Vec::new();
    for line in table(&WORKERS, &of_workers, columns, COMMAND_LEAST) {
        writeln!(text, "{line}")?;
    }
    writeln!(text)?;
    for line in table(&LAUNCHES, &of_launches, columns, COMMAND_LEAST) {
        writeln!(text, "{line}")?;
    }
    anstream::stdout().write_all(&text)?;
    // Which of them have these labels, or did not start, nobody has read.
    if shown.is_empty() && more > 0 && args.labels.is_empty() {
        term::say(|out| writeln!(out, "nothing runs; --all shows what has ended"));
    }
    Ok(0)
}

/// Of a pool, or of one session of it.
pub(super) fn list(
    remote: &Remote,
    pool: &Pool,
    session: Option<&str>,
    request: ListRequest,
) -> Result<List, Failure> {
    Ok(match session {
        Some(session) => remote.session(session, pool).wait()?.list(request).wait()?,
        None => remote.list(pool, request).wait()?,
    })
}

fn record(launch: &Listed) -> Option<&Record> {
    match &launch.state {
        ListedState::Running(record) | ListedState::Ended(record) => Some(record),
        _ => None,
    }
}

fn is_labelled(args: &PsArgs, launch: &Listed) -> bool {
    let has =
        |name, value| record(launch).is_some_and(|record: &Record| record.labels.get(name) == Some(value));
    args.labels.iter().all(|(name, value)| has(name, value))
}

/// How long ago, by this machine's clock; another one's may differ.
fn ago(at_ms: u64) -> u64 {
    now_ms().saturating_sub(at_ms)
}

/// `silent`: what it runs is about to be stopped, and to be told as lost.
fn worker_state(worker: &Heartbeat) -> &'static str {
    match worker.ending {
        _ if ago(worker.at.0) > worker.lease_ms => "silent",
        true => "ending",
        false => "ready",
    }
}

fn worker_row(worker: &Heartbeat) -> [Cell; 6] {
    let labels = worker.labels.iter().map(|(name, value)| format!("{name}={value}"));
    [
        worker.worker.to_string(),
        format!("{}/{}", worker.free, worker.slots),
        worker.containment.to_string(),
        duration(ago(worker.at.0)),
        worker_state(worker).to_owned(),
        on_one_line(&labels.collect::<Vec<_>>().join(" "), COMMAND_MAX_BYTES),
    ]
    .map(Cell::from)
}

fn worker_in_json(worker: &Heartbeat) -> Value {
    json!({
        "worker": worker.worker,
        "state": worker_state(worker),
        "slots": worker.slots,
        "free": worker.free,
        "tier": worker.containment,
        "heartbeat_age_ms": ago(worker.at.0),
        "lease_ms": worker.lease_ms,
        "machine": worker.machine,
        "cores": worker.cores,
        "memory_bytes": worker.memory_bytes,
        "labels": worker.labels,
        "version": worker.version,
    })
}

fn launch_state(launch: &Listed) -> String {
    match &launch.state {
        ListedState::Running(record) => record.ending(),
        ListedState::Ended(record) => {
            let ending = record.ending();
            ending.strip_prefix("completed, ").unwrap_or(&ending).to_owned()
        }
        _ => "starting".to_owned(),
    }
}

fn launch_row(launch: &Listed) -> [Cell; 6] {
    [
        launch.launch.to_string(),
        launch.session.to_string(),
        launch.worker.to_string(),
        launch_state(launch),
        duration(ago(launch.at.0)),
        on_one_line(&launch.command, COMMAND_MAX_BYTES),
    ]
    .map(Cell::from)
}

fn launch_in_json(launch: &Listed) -> Value {
    json!({
        "launch": launch.launch,
        "session_id": launch.session,
        "worker": launch.worker,
        "state": match &launch.state {
            ListedState::Running(_) => "running",
            ListedState::Ended(_) => "ended",
            _ => "starting",
        },
        "at": launch.at,
        "command": launch.command,
        "record": record(launch),
    })
}
