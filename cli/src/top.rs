//! `ostler top`: what runs, and what it takes.
//!
//! * in: the artifact root, where every host of this user says what it runs; the kernel's numbers of their trees
//! * out: a table that is drawn anew each second, or once; lines of JSON
//! * keeps: what can't be known is null, and a dash; the terminal is as it was before

use crate::{
    args::TopArgs,
    ask::listed,
    events,
    exit::Failure,
    screen::{self, Screen},
    stored,
    table::{Cell, Column, table},
    terminal::Keys,
    used::{Used, used},
};
use ostler::{CommandId, Record, Store, StoredState, duration, on_one_line};
use serde::Serialize;
use signal_hook::consts::{SIGTSTP, SIGWINCH};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    path::Path,
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const REFRESH: Duration = Duration::from_secs(1);
const COMMAND_MAX_BYTES: usize = 1_024;

/// One command.
#[derive(Serialize)]
struct Row {
    handle_id: String,
    command_id: CommandId,
    host_pid: u32,
    session_id: String,
    status: &'static str,
    command: String,
    elapsed_ms: u64,
    silence_ms: Option<u64>,
    byte_count: u64,
    #[serde(flatten)]
    used: Used,
}

/// `ostler top`.
pub(crate) fn top(args: &TopArgs) -> Result<u8, Failure> {
    let root = stored::root(args.root.artifacts.as_ref());
    if args.json {
        let mut out = io::stdout().lock();
        for row in rows(&root)? {
            serde_json::to_writer(&mut out, &row).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        return Ok(0);
    }
    if !args.once && Screen::can_be() {
        return live(&root);
    }
    let mut text = Vec::new();
    for line in lines(&rows(&root)?, &BTreeMap::new(), screen::columns()) {
        writeln!(text, "{line}")?;
    }
    anstream::stdout().write_all(&text)?;
    Ok(0)
}

/// What ends a wait for the next second.
enum Event {
    Key,
    Signal(i32),
}

/// Until somebody types q, or sends a signal that ends it.
fn live(root: &Path) -> Result<u8, Failure> {
    let (tell, told) = channel();
    let typed = tell.clone();
    events::signals(&[SIGTSTP, SIGWINCH], move |signal| tell.send(Event::Signal(signal)).is_ok())?;
    let mut keys = Keys::begin()?;
    if keys.is_some() {
        events::spawn("keys", move || {
            let mut key = [0];
            while io::stdin().read(&mut key).is_ok_and(|count| count == 1) {
                if matches!(key[0], b'q' | b'Q') && typed.send(Event::Key).is_err() {
                    return;
                }
            }
        })?;
    }
    let Some(screen) = Screen::begin()? else { return Ok(0) };
    let mut before: BTreeMap<CommandId, (Instant, u64)> = BTreeMap::new();
    loop {
        let rows = rows(root)?;
        let now = Instant::now();
        // The last column is left alone: some terminals go to the next line with it.
        let room = screen::columns().saturating_sub(1);
        screen.draw(&lines(&rows, &shares(&rows, &before, now), room), "q ends")?;
        before = rows.iter().filter_map(|row| Some((row.command_id, (now, row.used.cpu_ms?)))).collect();
        match told.recv_timeout(REFRESH) {
            Err(RecvTimeoutError::Timeout) | Ok(Event::Signal(SIGWINCH)) => {}
            Ok(Event::Signal(SIGTSTP)) => {
                drop(keys.take());
                screen.suspend()?;
                keys = Keys::begin()?;
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Ok(0),
        }
    }
}

fn rows(root: &Path) -> Result<Vec<Row>, Failure> {
    let looked = Store::look(root).map_err(|source| Failure::Root { root: root.to_owned(), source })?;
    let running = looked.summaries().into_iter().filter(|summary| summary.state == StoredState::Running);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let running: Vec<_> = running.collect();
    let hosts: BTreeSet<u32> = running.iter().map(|summary| summary.command_id.host_pid).collect();
    // Only its host knows the leader.
    let said: BTreeMap<CommandId, Record> =
        hosts.iter().flat_map(|pid| listed(root, *pid)).map(|record| (record.command_id, record)).collect();
    let row = |summary: ostler::Summary| {
        let (id, record) = (summary.command_id, summary.record);
        let live = said.get(&id);
        // One that has just been removed has no bytes.
        let about = std::fs::metadata(&record.output_path).ok();
        let written = about.as_ref().and_then(|about| about.modified().ok());
        let silence = written.and_then(|at| SystemTime::now().duration_since(at).ok());
        Row {
            handle_id: ostler::HandleId { host_pid: id.host_pid, n: id.n }.to_string(),
            command_id: id,
            host_pid: id.host_pid,
            session_id: record.session_id.as_str().to_owned(),
            status: if live.is_some_and(|live| live.paused) { "paused" } else { "running" },
            elapsed_ms: millis(now).saturating_sub(id.unix_ns / 1_000_000),
            silence_ms: silence.map(millis),
            byte_count: about.map_or(0, |about| about.len()),
            used: live.map(|live| used(live.pid, live.containment)).unwrap_or_default(),
            command: record.command,
        }
    };
    Ok(running.into_iter().map(row).collect())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Of one processor since the last look, in percent.
fn shares(
    rows: &[Row],
    before: &BTreeMap<CommandId, (Instant, u64)>,
    now: Instant,
) -> BTreeMap<CommandId, u64> {
    let share = |row: &Row| {
        let (at, ms) = before.get(&row.command_id)?;
        let (used, passed) = (row.used.cpu_ms?.saturating_sub(*ms), millis(now.duration_since(*at)));
        Some((row.command_id, 100 * used / passed.max(1)))
    };
    rows.iter().filter_map(share).collect()
}

const COLUMNS: [Column; 8] = [
    Column::whole("ID"),
    Column::whole("STATE"),
    Column { heading: "ELAPSED", right: true, least: 0 },
    Column { heading: "SILENCE", right: true, least: 0 },
    Column { heading: "OUTPUT", right: true, least: 0 },
    Column { heading: "CPU", right: true, least: 0 },
    Column { heading: "MEMORY", right: true, least: 0 },
    Column::whole("COMMAND"),
];

/// Lines of at most so many columns, the first of them bold. Where a share is not known yet, it is that since the start.
fn lines(rows: &[Row], shares: &BTreeMap<CommandId, u64>, columns: usize) -> Vec<String> {
    let dash = || "-".to_owned();
    let cells = |row: &Row| {
        let mean = row.used.cpu_ms.map(|ms| 100 * ms / row.elapsed_ms.max(1));
        let share = shares.get(&row.command_id).copied().or(mean);
        [
            row.handle_id.clone(),
            row.status.to_owned(),
            duration(row.elapsed_ms),
            row.silence_ms.map_or_else(dash, duration),
            bytesize::ByteSize(row.byte_count).to_string(),
            share.map_or_else(dash, |share| format!("{share} %")),
            row.used.memory_bytes.map_or_else(dash, |bytes| bytesize::ByteSize(bytes).to_string()),
            on_one_line(&row.command, COMMAND_MAX_BYTES),
        ]
        .map(Cell::from)
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    table(&COLUMNS, &cells, columns, stored::COMMAND_LEAST)
}
