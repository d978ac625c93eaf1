//! What a person reads: ostler's own lines on stderr, and how numbers and times are written.

use crate::{exit::Failure, locale, meant, pass::Passing, terminal};
use anstyle::{AnsiColor, Style};
use nix::poll::{PollFd, PollFlags, poll};
use ostler::{Record, Status, Text, TraceDump, duration};
use std::{
    env,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// For what is said beside the matter.
pub(crate) const DIM: Style = Style::new().dimmed();
/// For headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// How long a line of ostler's own waits for whoever reads it, in milliseconds.
const WRITE_TIME: u16 = 2_000;
/// What each line of ostler's own begins with.
const PREFIX: &str = "ostler: ";
/// Of what went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const MIDDLING: Style = AnsiColor::Yellow.on_default();

/// Whether `TERM` names a terminal that can do more than write one line below the other.
pub(crate) fn is_named() -> bool {
    env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// One that can't gets no colours that nobody asked for. `anstream` alone colours it where `CI` is set: the log of a build can show colours, but
/// `TERM` speaks of this very terminal.
pub(crate) fn choose_colours() {
    let asked = ["CLICOLOR", "CLICOLOR_FORCE"].iter().any(|name| env::var_os(name).is_some());
    if !is_named() && !asked {
        anstream::ColorChoice::Never.write_global();
    }
}

/// `ostler: ` and what `write` writes, as one write to stderr and on a line of its own. Colors only for a terminal, and
/// not with `NO_COLOR`. If stderr is gone there is nobody to tell.
pub(crate) fn line(passing: &Passing, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
    let mut text = Vec::new();
    if passing.mid_line.swap(false, Ordering::Relaxed) {
        text.push(b'\n');
    }
    let _ = write!(text, "{DIM}{PREFIX}{DIM:#}");
    let _ = write(&mut text);
    if passing.raw.load(Ordering::Relaxed) {
        text = text.split_inclusive(|byte| *byte == b'\n').flat_map(with_return).collect();
    }
    let stderr = io::stderr();
    if anstream::AutoStream::choice(&stderr) == anstream::ColorChoice::Never {
        // Here, and not by a stream, which writes what is between colours piece by piece: others may write in between.
        text = anstream::adapter::strip_bytes(&text).into_vec();
    }
    if writable(stderr.as_fd()) {
        let _ = stderr.lock().write_all(&text);
    }
}

/// Whether it takes a line now, or soon. A pipe that nobody reads must not hold up whoever has signals and time limits to follow.
fn writable(fd: BorrowedFd<'_>) -> bool {
    let mut room = [PollFd::new(fd, PollFlags::POLLOUT)];
    !matches!(poll(&mut room, WRITE_TIME), Ok(0))
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

/// How a command ended, in one line of the terminal, with a colour for the ending.
pub(crate) fn summary(passing: &Passing, record: &Record) {
    let (style, ending, summary) = (style(record), record.ending(), record.summary());
    let shown = fitted(&summary, room());
    let (ending, rest) = match shown.strip_prefix(&ending) {
        Some(rest) => (&*ending, rest),
        None => (&*shown, ""),
    };
    line(passing, |out| writeln!(out, "{style}{ending}{style:#}{rest}"));
}

/// Where the output of a command is, on a line of its own and never shortened: it is there to be copied.
pub(crate) fn place(passing: &Passing, record: &Record) {
    let dir = record.output_path.parent().unwrap_or(&record.output_path);
    if !dir.as_os_str().is_empty() {
        line(passing, |out| writeln!(out, "its output is in {}", Text::from(dir)));
    }
}

/// The end of a command whose output was shown by nobody here.
pub(crate) fn ended(record: &Record) {
    let passing = Passing::default();
    summary(&passing, record);
    if record.recorded_bytes > 0 {
        place(&passing, record);
    }
}

/// Says where it stands what led to something that should not happen; not to who wants to hear nothing.
pub(crate) fn dumped(passing: &Arc<Passing>, quiet: bool) -> impl Fn(&TraceDump) + Send + Sync + 'static {
    let passing = passing.clone();
    move |dump| {
        if !quiet {
            line(&passing, |out| writeln!(out, "{dump}"));
        }
    }
}

/// What a running command does, in one line.
pub(crate) fn progress(passing: &Passing, record: &Record, since: Duration) {
    let running_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let silent =
        record.silence_ms.filter(|ms| *ms >= 1_000).map(|ms| format!(", silent for {}", duration(ms)));
    let (running, silent) = (duration(running_ms), silent.unwrap_or_default());
    let text = format!("running, {running}, {}{silent}", record.counts().join(", "));
    line(passing, |out| writeln!(out, "{}", fitted(&text, room())));
}

/// Columns of a line behind its beginning; as many as it takes where stderr is no terminal.
fn room() -> usize {
    match io::stderr().is_terminal() {
        true => usize::from(terminal::size().1).saturating_sub(PREFIX.len()),
        false => usize::MAX,
    }
}

/// As much as there is room for, in columns; it shows where it is cut.
pub(crate) fn fitted(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let sign = cut(locale::ellipsis(), room);
    cut(text, room.saturating_sub(sign.width())) + &sign
}

/// As much as there is room for, in columns.
fn cut(text: &str, room: usize) -> String {
    let mut width = 0;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= room
    };
    text.chars().take_while(fits).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_columns_and_shows_it() {
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("日本", 3), "日");
        assert_eq!(cut("abc", 9), "abc");
        assert_eq!(fitted("abc", 3), "abc");
        assert_eq!(fitted("abcd", 3), "ab…");
        assert_eq!(fitted("日本語", 4), "日…");
    }
}
