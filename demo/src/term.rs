//! What a person reads: ostler's own lines on stderr, and how numbers and times are written.

use crate::{exit::Failure, pass::Passing};
use anstyle::{AnsiColor, Style};
use ostler::{Leftover, Outcome, Record, Status, Text};
use std::{
    io::{self, Write},
    path::Path,
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
    let _ = anstream::stderr().write_all(&text);
}

/// An error that ends ostler. A reader that went away is no news to anyone.
pub(crate) fn failed(failure: &Failure) {
    if !matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
        line(&Passing::default(), |out| writeln!(out, "{BAD}error:{BAD:#} {failure}"));
    }
}

/// How a command ended, in one line.
pub(crate) fn summary(out: &mut dyn Write, record: &Record) -> io::Result<()> {
    let (style, ending) = (style(record), ending(record));
    write!(out, "{style}{ending}{style:#}, {}", amounts(record))?;
    if let Some(leftovers) = record.leftovers.as_ref().filter(|leftovers| !leftovers.is_empty()) {
        let told: Vec<_> = leftovers.iter().map(leftover).collect();
        write!(out, ", {MIDDLING}left over:{MIDDLING:#} {}", told.join(", "))?;
    }
    if let Some(error) = &record.artifact_error {
        write!(out, ", {MIDDLING}record incomplete:{MIDDLING:#} {error}")?;
    }
    let dir = record.output_path.parent().unwrap_or(&record.output_path);
    writeln!(out, "{DIM}, artifacts in {}{DIM:#}", path(dir))
}

/// What a running command does, in one line.
pub(crate) fn progress(out: &mut dyn Write, record: &Record, since: Duration) -> io::Result<()> {
    let running_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    write!(out, "running, {}, {}", seconds(running_ms), amounts(record))?;
    match record.silence_ms.filter(|ms| *ms >= 1_000) {
        Some(ms) => writeln!(out, ", silent for {}", seconds(ms)),
        None => writeln!(out),
    }
}

/// `completed, exit 3`; `killed, SIGTERM`.
pub(crate) fn ending(record: &Record) -> String {
    let status = match record.status {
        Status::TimedOut => "timed out".to_owned(),
        status => status.to_string(),
    };
    match (&record.signal, record.exit_code) {
        (Some(signal), _) => format!("{status}, {signal}"),
        (None, Some(code)) => format!("{status}, exit {code}"),
        (None, None) => status,
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
    let (lines, bytes) = (record.line_count, record.byte_count);
    let time = record.duration_ms.map_or_else(String::new, |ms| format!("{}, ", seconds(ms)));
    format!("{time}{}, {}", counted(lines, "line"), counted(bytes, "byte"))
}

fn leftover(leftover: &Leftover) -> String {
    let outcome = match leftover.outcome {
        Outcome::Terminated => "terminated",
        Outcome::Killed => "killed",
        Outcome::Kept => "kept",
        Outcome::Survived => "survived SIGKILL",
    };
    format!("{} ({}, {outcome})", leftover.name, leftover.pid)
}

/// `1.2 s`, `2 min 5 s`.
pub(crate) fn seconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// `1 line`, `1,234 lines`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{text} {what}{plural}")
}

/// A path for people: bytes that are not UTF-8 are escaped.
pub(crate) fn path(path: &Path) -> Text {
    Text::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!(counted(0, "line"), "0 lines");
        assert_eq!(counted(1, "byte"), "1 byte");
        assert_eq!(counted(1_234, "byte"), "1,234 bytes");
        assert_eq!(counted(1_073_741_824, "byte"), "1,073,741,824 bytes");
        assert_eq!(seconds(999), "999 ms");
        assert_eq!(seconds(1_234), "1.2 s");
        assert_eq!(seconds(125_000), "2 min 5 s");
        assert_eq!(seconds(7_260_000), "2 h 1 min");
    }
}
