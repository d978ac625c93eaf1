//! `read_command_output`: a piece of a command's output.

use super::{Answered, Asked};
use crate::{
    answer::Said,
    place::{Handle, Search},
    shown::{SHOWN_MAX_BYTES, fit},
};
use ostler::{
    Lines, OutputFile, Page, PatternSource, ReadRequest, Record, Status, View, clean_text, counted,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) const ABOUT: &str = "Reads a command's output, while it runs and after: from a byte `offset` (next_offset of an earlier answer), \
the last `tail` lines, lines from `from_line` on, the lines that match `find`, or the `screen` of its terminal. Without any of these: the \
last lines. At most 30000 bytes; next_offset says where to go on. Reading takes nothing away.";

/// Lines that are shown if nothing is asked for.
const TAIL_LINES: u64 = 200;
/// Lines that match, in one answer.
const FOUND_LINES: usize = 100;
/// A line without its end that is shown at the end of what is there: a prompt.
const PARTIAL_BYTES: u64 = 4_096;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The command.
    handle: String,
    /// From this byte on.
    offset: Option<u64>,
    /// The last so many lines.
    tail: Option<u64>,
    /// From this line on; the first is 1.
    from_line: Option<u64>,
    /// How many lines, with from_line. Default: as many as fit.
    lines: Option<u64>,
    /// Only lines that match this regular expression, from offset on.
    find: Option<String>,
    /// Lines to show before and after each that matches. Default 0.
    around: Option<u8>,
    /// What its terminal shows now.
    #[serde(default)]
    screen: bool,
    /// combined (default); stdout or stderr of a command that was run with separate_stderr; kept: what leftovers have said after its end.
    stream: Option<Stream>,
    /// With escape sequences and redrawn lines, as it was written.
    #[serde(default)]
    raw: bool,
    /// At most so many bytes. Default and maximum 30000.
    max_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Stream {
    Combined,
    Stdout,
    Stderr,
    Kept,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Answer {
    /// The command.
    handle: String,
    /// running, completed, killed, timed_out or lost.
    status: String,
    /// What was read.
    output: String,
    /// Where it begins, in raw bytes of this stream.
    offset: u64,
    /// Where to read on.
    next_offset: u64,
    /// Raw bytes that there are now.
    total_bytes: u64,
    /// Raw bytes before `offset`, and after `next_offset`.
    omitted_bytes: u64,
    /// Nothing follows, now or later.
    eof: bool,
    /// The number of the first line, where that is known.
    first_line: Option<u64>,
    /// How many lines match, of those that are shown.
    matches: Option<u64>,
    /// Bytes that were written and nobody recorded.
    missing_bytes: u64,
    /// Row and column of the cursor on the screen, from 0.
    cursor: Option<(u16, u16)>,
    /// Ends of commands that no answer has told before.
    ended: Vec<String>,
}

pub(super) async fn call(arguments: Arguments, asked: &Asked<'_>) -> Answered {
    let ways = [
        ("tail", arguments.tail.is_some()),
        ("from_line", arguments.from_line.is_some()),
        ("find", arguments.find.is_some()),
        ("screen", arguments.screen),
        ("offset", arguments.offset.is_some() && arguments.find.is_none()),
    ];
    let asked_for: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if asked_for.len() > 1 {
        return Err(format!("{}: give one of them", asked_for.join(" and ")));
    }
    let handle = asked.handle(&arguments.handle).await?;
    if arguments.screen {
        return screen(handle).await;
    }
    match &arguments.find {
        Some(pattern) => find(&handle, pattern.clone(), &arguments).await,
        None => page(&handle, &arguments).await,
    }
}

fn which(arguments: &Arguments) -> OutputFile {
    match arguments.stream {
        None | Some(Stream::Combined) => OutputFile::Combined,
        Some(Stream::Stdout) => OutputFile::Stdout,
        Some(Stream::Stderr) => OutputFile::Stderr,
        Some(Stream::Kept) => OutputFile::Kept,
    }
}

fn of(record: &Record) -> Answer {
    Answer { handle: record.handle_id.to_string(), status: record.status.to_string(), ..Answer::default() }
}

async fn page(handle: &Handle, arguments: &Arguments) -> Answered {
    let max = arguments.max_bytes.unwrap_or(SHOWN_MAX_BYTES).clamp(1, SHOWN_MAX_BYTES);
    let all = ReadRequest::new().of(which(arguments)).length(max);
    let clean = all.view(View::Clean);
    let request = match (arguments.offset, arguments.from_line) {
        (Some(offset), _) if arguments.raw => all.offset(offset),
        (Some(offset), _) => clean.offset(offset),
        (None, Some(line)) => clean.lines(Lines::From { line, count: arguments.lines.unwrap_or(u64::MAX) }),
        (None, None) => clean.lines(Lines::Last { count: arguments.tail.unwrap_or(TAIL_LINES) }),
    };
    let page = handle.read(request).await.map_err(|error| error.to_string())?;
    let mut output = page.text();
    let mut notes = String::new();
    let rest = page.total_bytes.saturating_sub(page.next_offset);
    if !page.eof && !arguments.raw && (1..=PARTIAL_BYTES).contains(&rest) {
        let raw = handle.read(all.offset(page.next_offset).length(PARTIAL_BYTES)).await;
        if let Ok(partial) = raw
            && !partial.content.contains(&b'\n')
        {
            output += &clean_text(&partial.content);
            notes = "; its last line has no end yet, and is read again from next_offset".to_owned();
        }
    }
    let output = fit(output, max + PARTIAL_BYTES);
    let record = handle.record();
    let answer = Answer {
        offset: page.offset,
        next_offset: page.next_offset,
        total_bytes: page.total_bytes,
        omitted_bytes: page.total_bytes.saturating_sub(page.bytes_read),
        eof: page.eof,
        first_line: page.first_line,
        missing_bytes: page.gap.map_or(0, |gap| gap.bytes),
        output: output.clone(),
        ..of(record)
    };
    let text = format!("{}{notes}{}", where_it_is(record, &page), call_next(record, &page));
    Ok(Said { output, ..Said::new(text, &answer) })
}

fn where_it_is(record: &Record, page: &Page) -> String {
    let first = page.first_line.map(|line| format!(", from line {line} on")).unwrap_or_default();
    let missing = page
        .gap
        .map(|gap| format!("; {} after it are not recorded", counted(gap.bytes, "byte")))
        .unwrap_or_default();
    format!(
        "{} ({}): bytes {} to {} of {}{first}; next_offset {}{}{missing}",
        record.handle_id,
        record.status,
        page.offset,
        page.next_offset,
        page.total_bytes,
        page.next_offset,
        if page.eof { ", which is the end" } else { "" }
    )
}

fn call_next(record: &Record, page: &Page) -> String {
    match (record.status, page.next_offset < page.total_bytes) {
        (Status::Running, false) => "\ncall: wait_command waits for more, or for its end".to_owned(),
        (_, true) => format!(
            "\ncall: read_command_output {{\"handle\":\"{}\",\"offset\":{}}} reads on",
            record.handle_id, page.next_offset
        ),
        _ => String::new(),
    }
}

async fn find(handle: &Handle, pattern: String, arguments: &Arguments) -> Answered {
    let around = usize::from(arguments.around.unwrap_or(0));
    let max = usize::try_from(arguments.max_bytes.unwrap_or(SHOWN_MAX_BYTES).clamp(1, SHOWN_MAX_BYTES))
        .unwrap_or(usize::MAX);
    let offset = arguments.offset.unwrap_or(0);
    let (pattern, which) = (PatternSource::Regex(pattern), which(arguments));
    let search = Search { pattern, which, offset, max: FOUND_LINES, around };
    let found = handle.find(search).await.map_err(|error| format!("find: {error}"))?;
    let (mut output, mut matches, mut next) = (String::new(), 0, found.next_offset);
    for line in &found.lines {
        let number =
            line.number.map(|number| format!("{number}")).unwrap_or_else(|| format!("@{}", line.offset));
        let mark = if line.matched.is_some() { ':' } else { '-' };
        let text = clean_text(line.text.as_bytes());
        let shown = format!("{number}{mark} {}\n", text.trim_end_matches('\n'));
        if !output.is_empty() && output.len() + shown.len() > max {
            next = line.offset;
            break;
        }
        output += &shown;
        matches += u64::from(line.matched.is_some());
    }
    let record = handle.record();
    let complete = found.complete && next == found.next_offset;
    let answer = Answer {
        offset,
        next_offset: next,
        total_bytes: record.output_offset,
        eof: complete && record.status != Status::Running,
        matches: Some(matches),
        output: output.clone(),
        ..of(record)
    };
    let text = match complete {
        true => format!("{}: {} match", record.handle_id, counted(matches, "line")),
        false => format!(
            "{}: {} match so far\ncall: read_command_output with the same find and \"offset\":{next} goes on",
            record.handle_id,
            counted(matches, "line")
        ),
    };
    Ok(Said { output, ..Said::new(text, &answer) })
}

async fn screen(handle: Handle) -> Answered {
    let record = handle.record();
    let screen = match handle.screen().await {
        Ok(Some(screen)) => screen,
        Err(error) => return Err(format!("{error}; run_command with terminal gives a command one")),
        Ok(None) => return Err("the screen could not be made; read its output instead".to_owned()),
    };
    let mut output = screen.rows.join("\n");
    output.truncate(output.trim_end().len());
    let answer = Answer {
        next_offset: record.output_offset,
        total_bytes: record.output_offset,
        cursor: Some(screen.cursor),
        output: output.clone(),
        ..of(record)
    };
    let (row, column) = screen.cursor;
    let text = format!(
        "{} ({}): its screen of {} columns and {} rows; the cursor is in row {row}, column {column}, from 0",
        record.handle_id, record.status, screen.size.1, screen.size.0
    );
    Ok(Said { output, ..Said::new(text, &answer) })
}
