//! What a person reads: ostler's own lines on stderr, and how numbers and times are written.

use crate::{exit::Failure, meant, pass::Passing};
use anstyle::{AnsiColor, Style};
use ostler::{Record, Status, duration};
use std::{
    io::{self, Write},
    sync::atomic::Ordering,
    time::Duration,
};

/// For what is said beside the matter.
pub(crate) const DIM: Style = Style::new().dimmed();
/// For headings.
pub(crate) const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const MIDDLING: Style = AnsiColor::Yellow.on_default();

/// `ostler: ` and what `write` writes, as one write to stderr and on a line of its own. Colors only for a terminal, and
/// not with `NO_COLOR`. If stderr is gone there is nobody to tell.
pub(crate) fn line(passing: &Passing, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
    let mut text = Vec::new();
    if passing.mid_line.swap(false, Ordering::Relaxed) {
        text.push(b'\n');
    }
    let _ = write!(text, "{DIM}ostler:{DIM:#} ");
    let _ = write(&mut text);
    if passing.raw.load(Ordering::Relaxed) {
        text = text.split_inclusive(|byte| *byte == b'\n').flat_map(with_return).collect();
    }
    let _ = anstream::stderr().write_all(&text);
}

/// A line as a raw terminal needs it.
fn with_return(line: &[u8]) -> Vec<u8> {
    match line.strip_suffix(b"\n") {
        Some(line) => [line, b"\r\n"].concat(),
        None => line.to_vec(),
    }
}

/// The same for what is said beside nothing else.
pub(crate) fn say(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
    line(&Passing::default(), write);
}

/// An error that ends ostler. A reader that went away is no news to anyone.
pub(crate) fn failed(failure: &Failure) {
    if !matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
        say(|out| writeln!(out, "{BAD}error:{BAD:#} {failure}"));
        if let Some(instead) = meant::instead(failure) {
            say(|out| writeln!(out, "{instead}"));
        }
    }
}

/// What a program reads: a line of JSON on stdout.
pub(crate) fn print_line(value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// How a command ended, in one line, with a colour for the ending.
pub(crate) fn summary(out: &mut dyn Write, record: &Record) -> io::Result<()> {
    let (style, ending, summary) = (style(record), record.ending(), record.summary());
    writeln!(out, "{style}{ending}{style:#}{}", summary.strip_prefix(&ending).unwrap_or(&summary))
}

/// What a running command does, in one line.
pub(crate) fn progress(out: &mut dyn Write, record: &Record, since: Duration) -> io::Result<()> {
    let running_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    write!(out, "running, {}, {}", duration(running_ms), amounts(record))?;
    match record.silence_ms.filter(|ms| *ms >= 1_000) {
        Some(ms) => writeln!(out, ", silent for {}", duration(ms)),
        None => writeln!(out),
    }
}

/// By how it ended.
pub(crate) fn style(record: &Record) -> Style {
    match (record.status, record.exit_code) {
        (Status::Completed, Some(0)) => GOOD,
        (Status::Killed | Status::TimedOut, _) => MIDDLING,
        (Status::Running, _) => Style::new(),
        _ => BAD,
    }
}

fn amounts(record: &Record) -> String {
    let time = record.duration_ms.map_or_else(String::new, |ms| format!("{}, ", duration(ms)));
    format!("{time}{}", record.counts().join(", "))
}
