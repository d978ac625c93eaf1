//! What the tour shows before and after: the plan, the inbox, the messages, and where to go from there.

use crate::{
    locale, screen,
    table::{Cell, Column, table},
    term::{BOLD, DIM, fitted, style},
    tour::Stop,
};
use anstyle::Style;
use ostler::{Entry, HandleId, Tally, Text, trace::Trace};
use std::{
    borrow::Cow,
    env,
    ffi::OsString,
    io::{self, Write},
    path::Path,
};
use unicode_width::UnicodeWidthStr;

/// Longest line of the story where the terminal is wider, in columns.
const STORY_COLUMNS: usize = 116;
/// Longest line of prose where the terminal is wider, in columns: longer ones are hard to read.
pub(crate) const PROSE_COLUMNS: usize = 100;
/// Columns of the newest line that are shown rather than other columns.
const NEWEST_LEAST: usize = 20;
/// Before whatever stands below a heading.
const INDENT: &str = "  ";

/// To stdout, in one piece; colors only for a terminal, and not with `NO_COLOR`.
fn say(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let mut text = Vec::new();
    write(&mut text)?;
    let mut stdout = anstream::stdout();
    stdout.write_all(locale::shown(&String::from_utf8_lossy(&text)).as_bytes())?;
    stdout.flush()
}

/// A heading, and an empty line below it.
fn heading(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    writeln!(out, "{BOLD}{}{BOLD:#}\n", textwrap::fill(text, screen::columns()))
}

/// Prose that is broken between words, the second line as far in as `hang` says.
fn prose(first: &str, hang: usize, text: &str) -> String {
    let hang = " ".repeat(hang);
    let options = textwrap::Options::new(screen::columns().min(PROSE_COLUMNS)).break_words(false);
    textwrap::fill(text, options.initial_indent(first).subsequent_indent(&hang))
}

/// What there will be to see.
pub(crate) fn plan(title: &str, stops: &[Stop]) -> io::Result<()> {
    say(|out| {
        heading(out, title)?;
        for stop in stops {
            let name = format!("{INDENT}{:<8}", stop.name);
            writeln!(out, "{}", prose(&name, name.len(), stop.about))?;
        }
        writeln!(out)
    })
}

const COLUMNS: [Column; 6] = [
    Column { heading: "seq", right: true, least: usize::MAX },
    Column { heading: "kind", right: false, least: 0 },
    Column { heading: "handle", right: false, least: 0 },
    Column::whole("command"),
    Column { heading: "status", right: false, least: 12 },
    Column::whole("newest line"),
];

/// What an agent finds when it looks, before and after the session's end.
pub(crate) fn inbox(
    names: &[(HandleId, &str)],
    before: &[Entry],
    tally: &Tally,
    after: &[Entry],
) -> io::Result<()> {
    let cells = |entry: &Entry| {
        let record = entry.record()?;
        let name = names.iter().find(|(id, _)| *id == record.handle_id).map_or("", |(_, name)| name);
        let (style, ending) = match entry.is_result() {
            true => (style(record), record.ending()),
            false => (Style::new(), record.status.to_string()),
        };
        let newest = record.stdout.lines().last().unwrap_or_default().to_owned();
        let texts = [
            entry.sequence.to_string(),
            entry.kind.to_string(),
            record.handle_id.to_string(),
            name.to_owned(),
        ];
        let [sequence, kind, handle, name] = texts.map(Cell::from);
        Some([sequence, kind, handle, name, Cell::styled(ending, style), newest.into()])
    };
    let rows: Vec<_> = before.iter().chain(after).filter_map(cells).collect();
    let room = screen::columns().saturating_sub(INDENT.len());
    let mut lines = table(&COLUMNS, &rows, room, NEWEST_LEAST);
    let Tally { completed, killed, timed_out, .. } = tally;
    let ends = format!("the session ends: {completed} completed, {killed} killed, {timed_out} timed out");
    let at = 1 + before.iter().filter(|entry| entry.record().is_some()).count();
    lines.insert(at.min(lines.len()), format!("{DIM}{}{DIM:#}", fitted(&ends, room)));
    say(|out| {
        writeln!(out)?;
        heading(out, "The inbox, as the agent finds it")?;
        lines.iter().try_for_each(|line| writeln!(out, "{INDENT}{line}"))?;
        let why = "Of each command at most one progress entry is unread: the newest, which is gone when the result comes. The result \
                   of a cancel is the answer to the one who cancelled, so `server` is not here.";
        writeln!(out, "\n{DIM}{}{DIM:#}", prose(INDENT, INDENT.len(), why))
    })
}

/// The life of one command, as the messages between the actors tell it.
pub(crate) fn story(trace: &Trace, about: HandleId) -> io::Result<()> {
    say(|out| {
        writeln!(out)?;
        heading(out, "What the actors said to each other about `server`")?;
        let how = "What comes from the host or the kernel has a time; what followed from it is indented.";
        writeln!(out, "{DIM}{}{DIM:#}\n", prose(INDENT, INDENT.len(), how))?;
        let columns = screen::columns().min(STORY_COLUMNS);
        // The first line says whose they are.
        for line in trace.of_handle(about).text().lines().skip(1) {
            writeln!(out, "{}", fitted(&locale::shown(line), columns))?;
        }
        Ok(())
    })
}

/// Where everything is, and three lines to type. `given` is where the artifacts were asked for.
pub(crate) fn next(root: &Path, given: Option<&Path>) -> io::Result<()> {
    say(|out| {
        let kept = format!("What the commands wrote is kept in {}.", Text::from(root));
        writeln!(out, "\n{}\n", prose("", 0, &kept))?;
        heading(out, "What to try next")?;
        // As it was called: after `cargo run` it is not in PATH.
        let own = quoted(env::args_os().next().unwrap_or_else(|| "ostler".into()));
        let artifacts = given.map(|dir| format!(" --artifacts {}", quoted(dir.into()))).unwrap_or_default();
        let rows = [
            (format!("{own} run{artifacts} --timeout 1m -- uname -a"), "a command of yours"),
            (format!("{own} ps --all{artifacts}"), "what has run, and how it ended"),
            (format!("{own} init claude --dry-run"), "what an agent needs to have all of this"),
        ];
        let width = rows.iter().map(|(what, _)| what.width()).max().unwrap_or(0);
        let about = rows.iter().map(|(_, about)| about.width()).max().unwrap_or(0);
        // A command is whole, so that it can be copied.
        let room = INDENT.len() + width + INDENT.len() + about <= screen::columns();
        rows.iter().try_for_each(|(what, about)| match room {
            true => writeln!(out, "{INDENT}{what:<width$}{INDENT}{DIM}# {about}{DIM:#}"),
            false => writeln!(out, "{INDENT}{what}"),
        })
    })
}

/// As a shell takes it for one word.
fn quoted(text: OsString) -> String {
    let text = text.to_string_lossy().into_owned();
    // Only a NUL byte can't be, and none is in an argument.
    shlex::try_quote(&text).map(Cow::into_owned).unwrap_or(text.clone())
}
