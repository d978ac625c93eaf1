//! `ostler ps`, `show`, `rm`, `gc`: what lies in an artifact root, whoever made it.
//!
//! * in: a root, and what a person calls a command
//! * out: tables for people, lines of JSON for programs
//! * keeps: nothing of a living host is touched

use crate::{
    args::{GcArgs, PsArgs, RmArgs, ShowArgs},
    ask::ask,
    exit::Failure,
    screen,
    table::{Cell, Column, table},
    term::{self, DIM},
};
use ostler::{
    CommandId, ControlAnswer, ControlAsk, Lines, Page, ReadRequest, RemoveError, Retained, RetentionLimits,
    Store, Stored, StoredState, Summary, View, Wanted, connect_to_host, counted, default_root, duration,
    on_one_line, read_now, retain, would_go,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

const COLUMNS: [Column; 4] = [
    Column::whole("ID"),
    Column { heading: "STATUS", right: false, least: 12 },
    Column { heading: "AGE", right: true, least: 0 },
    Column::whole("COMMAND"),
];
/// Columns of a command that are shown rather than other columns.
pub(crate) const COMMAND_LEAST: usize = 10;
/// Longest command in a table, in bytes: its middle is left out.
pub(crate) const COMMAND_MAX_BYTES: usize = 1_024;
/// Beyond so many bytes nobody counts the lines of a command that has no result.
const COUNTED_MAX_BYTES: u64 = 64 << 20;
/// Lines of a running command that `show` has.
const SHOWN_LINES: u64 = 24;

/// Where the artifacts are, by `--artifacts`.
pub(crate) fn root(given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(default_root)
}

/// What is there.
pub(crate) fn look(root: &Path) -> Result<Store, Failure> {
    Store::look(root).map_err(|source| Failure::Root { root: root.to_owned(), source })
}

/// Shortest beginning of an id that is taken for it: with less a slip would mean some command.
const BEGINNING_MIN: usize = 4;

/// The command that a person means: by its command id or its handle id, with or without `cmd_` and `hto-`; by the beginning of one of them as
/// long as that is unique; or `latest`.
pub(crate) fn find(root: &Path, text: &str) -> Result<Stored, Failure> {
    let store = look(root)?;
    let unknown = || Failure::Unknown { text: text.to_owned(), root: root.to_owned() };
    let fits = |id: &CommandId, exactly: bool| {
        let (command, handle) = (id.to_string(), handle_of(*id));
        let names =
            [&command, command.trim_start_matches("cmd_"), &handle, handle.trim_start_matches("hto-")];
        names.iter().any(|name| if exactly { *name == text } else { name.starts_with(text) })
    };
    let found = |exactly: bool| -> Vec<CommandId> {
        store.ids().iter().filter(|id| fits(id, exactly)).copied().collect()
    };
    let meant = match text {
        "latest" => store.ids().first().copied().into_iter().collect(),
        _ => match found(true) {
            exact if !exact.is_empty() => exact,
            _ if text.len() < BEGINNING_MIN => Vec::new(),
            _ => found(false),
        },
    };
    match meant[..] {
        [] => Err(unknown()),
        [id] => store.command(id).ok_or_else(unknown),
        _ => Err(Failure::Ambiguous {
            text: text.to_owned(),
            fits: meant.iter().take(3).map(CommandId::to_string).collect::<Vec<_>>().join(", "),
            count: meant.len(),
        }),
    }
}

fn handle_of(id: CommandId) -> String {
    ostler::HandleId { host_pid: id.host_pid, n: id.n }.to_string()
}

/// `ostler ps`.
pub(crate) fn ps(args: &PsArgs) -> Result<u8, Failure> {
    let root = root(args.root.artifacts.as_ref());
    let (mut shown, mut ended) = (Vec::new(), 0);
    let store = look(&root)?;
    // Handle ids that more than one command has are no names.
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    store.ids().iter().for_each(|id| *named.entry(handle_of(*id)).or_default() += 1);
    for summary in store.summaries() {
        let record = &summary.record;
        let of_session = args.session.as_ref().is_none_or(|session| record.session_id.as_str() == session);
        let labelled = args.labels.iter().all(|(name, value)| record.labels.get(name) == Some(value));
        if !of_session || !labelled {
            continue;
        }
        if args.all || summary.state == StoredState::Running {
            shown.push(summary);
        } else {
            ended += 1;
        }
    }
    let mut out = io::stdout().lock();
    if args.json {
        for summary in &shown {
            serde_json::to_writer(&mut out, &summary.record).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        return Ok(0);
    }
    drop(out);
    let rows: Vec<[Cell; 4]> = shown.iter().map(|summary| row(&named, summary)).collect();
    let mut text = Vec::new();
    for line in table(&COLUMNS, &rows, screen::columns(), COMMAND_LEAST) {
        writeln!(text, "{line}")?;
    }
    anstream::stdout().write_all(&text)?;
    if shown.is_empty() && ended > 0 {
        term::say(|out| writeln!(out, "nothing runs; --all shows {}", counted(ended, "command")));
    }
    Ok(0)
}

fn row(named: &BTreeMap<String, usize>, summary: &Summary) -> [Cell; 4] {
    let handle = handle_of(summary.command_id);
    let is_unique = named.get(&handle).is_none_or(|count| *count == 1);
    let id = if is_unique { handle } else { summary.command_id.to_string() };
    let ending = summary.record.ending();
    let state = match summary.state {
        StoredState::Lost => "lost".to_owned(),
        _ => ending.strip_prefix("completed, ").unwrap_or(&ending).to_owned(),
    };
    let age = now_ms().saturating_sub(summary.command_id.unix_ns / 1_000_000);
    [id, state, duration(age), on_one_line(&summary.record.command, COMMAND_MAX_BYTES)].map(Cell::from)
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// `ostler show`.
pub(crate) fn show(args: &ShowArgs) -> Result<u8, Failure> {
    let root = root(args.root.artifacts.as_ref());
    let stored = find(&root, &args.id)?;
    let mut record = stored.record();
    if stored.state() != StoredState::Ended {
        let lines = Lines::Last { count: SHOWN_LINES };
        let page = read(&stored, &ReadRequest::new().lines(lines).view(View::Clean))?;
        record.stdout = page.text();
        record.stdout_truncated = page.offset > 0;
        record.line_count = count_lines(&stored)?;
    }
    let mut out = io::stdout().lock();
    match args.json {
        true => {
            serde_json::to_writer(&mut out, &record).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        false => writeln!(out, "{}", record.notice().trim_end())?,
    }
    Ok(0)
}

/// How many lines there are so far, as a result counts them.
fn count_lines(stored: &Stored) -> Result<Option<u64>, Failure> {
    let (mut request, mut count, mut last) = (ReadRequest::new(), 0, b'\n');
    let until = stored.bytes();
    if until > COUNTED_MAX_BYTES {
        return Ok(None);
    }
    // What comes meanwhile is not chased.
    loop {
        let page = read(stored, &request)?;
        count += page.content.iter().filter(|byte| **byte == b'\n').count() as u64;
        last = page.content.last().copied().unwrap_or(last);
        if page.bytes_read == 0 || page.eof || page.next_offset >= until {
            return Ok(Some(count + u64::from(last != b'\n')));
        }
        request = request.offset(page.next_offset);
    }
}

/// A page of a command of any host.
pub(crate) fn read(stored: &Stored, request: &ReadRequest) -> Result<Page, Failure> {
    Ok(read_now(&stored.paths, None, request).map_err(ostler::Error::Read)?)
}

/// `ostler rm`.
pub(crate) fn rm(args: &RmArgs) -> Result<u8, Failure> {
    let root = root(args.root.artifacts.as_ref());
    // All of them are found before the first is removed.
    let meant = args.ids.iter().map(|id| find(&root, id)).collect::<Result<Vec<_>, _>>()?;
    for stored in meant {
        let id = stored.command_id;
        match stored.remove() {
            Ok(()) => {}
            // It alone knows whether somebody will still ask for it.
            Err(RemoveError::HostLives { pid }) => {
                host_removes(&root, id).map_err(|why| Failure::Lives { id, pid, why })?;
            }
            Err(RemoveError::Io(source)) => {
                return Err(Failure::Root { root: stored.paths.dir.clone(), source });
            }
        }
        writeln!(io::stdout(), "{}", stored.command_id)?;
    }
    Ok(0)
}

/// The host of a command removes it, or says why not.
fn host_removes(root: &Path, command_id: CommandId) -> Result<(), String> {
    match ask(root, command_id, &ControlAsk::Remove { command_id })? {
        ControlAnswer::Removed => Ok(()),
        _ => Err("it answers what is not understood here".to_owned()),
    }
}

/// `ostler gc`.
pub(crate) fn gc(args: &GcArgs) -> Result<u8, Failure> {
    let root = root(args.root.artifacts.as_ref());
    let limits = RetentionLimits { age: args.keep, commands: args.max_count, bytes: args.max_bytes.as_u64() };
    if !root.exists() {
        term::say(|out| writeln!(out, "nothing is kept in {}", root.display()));
        return Ok(0);
    }
    let Retained { mut removed, mut kept, errors, stayed, .. } = match args.dry_run {
        true => would_go(&root, &limits),
        false => retain(&root, &limits, &Wanted::default()),
    };
    if !args.dry_run {
        let pids: BTreeSet<u32> = stayed.iter().map(|id| id.host_pid).collect();
        let answers = |pid: &u32| connect_to_host(&root, *pid).is_ok_and(|hosts| !hosts.is_empty());
        let asked: BTreeSet<u32> = pids.into_iter().filter(answers).collect();
        let before = removed.len();
        let meant = stayed.into_iter().filter(|id| asked.contains(&id.host_pid));
        removed.extend(meant.filter(|id| host_removes(&root, *id).is_ok()));
        kept -= removed.len() - before;
    }
    let mut out = io::stdout().lock();
    for id in &removed {
        writeln!(out, "{id}")?;
    }
    for error in &errors {
        term::say(|out| writeln!(out, "{error}"));
    }
    let did = if args.dry_run { "would be removed" } else { "removed" };
    let count = counted(removed.len() as u64, "command");
    term::say(|out| writeln!(out, "{count} {did}, {kept} kept {DIM}in {}{DIM:#}", root.display()));
    Ok(u8::from(!errors.is_empty()))
}
