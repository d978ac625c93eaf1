//! Reading a command's output, while it runs and after.
//!
//! * in: a command's paths and a request
//! * out: a [`Page`] of at most [`READ_MAX_BYTES`](crate::READ_MAX_BYTES)
//! * keeps: the end is looked at before the length: a page that says `eof` is the last

use crate::{
    Gap, Growth, LaunchFile, OutputFile, Page, Paths, READ_MAX_BYTES, RESULT_FILE, ReadError, ReadRequest,
    View,
    cut::{behind_return, clean, on_characters},
    lines::{self, Now, Span},
    lock, result,
    source::Source,
};
use ostler_messages::{CommandId, MAX_TIME_MS};
use std::{
    io,
    time::{Duration, Instant},
};

/// Reads what is there, without waiting. An offset beyond the end gives an empty page.
///
/// The page is the last one (`eof`) if it reaches the end of the file and nothing can follow. With `live` that is when
/// the recorder has ended, or has stopped to write this file ([`Growth::ended_of`]). Without it nobody in this process records the command, and it is when `result.json` is
/// there, or when no *other* process that has the host's pid in the command's id holds its lock: a host that died
/// leaves a file that has an end all the same.
///
/// # Errors
/// [`ReadError`]; a page is never partly an error.
pub fn read_now(paths: &Paths, live: Option<&Growth>, request: &ReadRequest) -> Result<Page, ReadError> {
    let path = paths.file(request.which);
    match page(paths, live, request) {
        Ok(Some(page)) => {
            if let Some(live) = live.filter(|_| request.follows) {
                // One that got nothing can do nothing with what there is: it is not behind.
                let done = if page.bytes_read == 0 { page.total_bytes } else { page.offset };
                live.follower_at(request.which, done);
            }
            Ok(page)
        }
        // An empty page would make the caller ask again, for ever.
        Ok(None) => Err(ReadError::CutShort { path }),
        Err(error) => Err(ReadError::new(&path, &error)),
    }
}

/// None if the file is shorter than it must be.
fn page(paths: &Paths, live: Option<&Growth>, request: &ReadRequest) -> io::Result<Option<Page>> {
    let which = request.which;
    // The end first: a length that is looked at after the end is final.
    let ended = live.map_or_else(|| no_writer(paths, which), |live| live.ended_of(which));
    let source = Source::open(paths, live, which)?;
    let total = match (&source, live) {
        // While it grows, the file may already hold bytes that the recorder has not counted.
        (Source::Disk(_), Some(live)) if !ended => live.length(which),
        _ => source.length()?,
    };
    let now = Now { source: &source, total, ended };
    let mut span = match request.lines {
        Some(lines) => {
            let marks = live.map(|live| live.marks()[which as usize].clone()).unwrap_or_default();
            lines::find(&now, lines, request.length, &marks)?
        }
        None => span(request, total),
    };
    let cut = match request.view {
        View::Raw => on_characters(&now, (span.from, span.to))?,
        View::Clean => {
            if span.begins_within {
                span.from = behind_return(&now, (span.from, span.to))?;
            }
            clean(&now, (span.from, span.to))?
        }
    };
    let bytes_read = cut.to - cut.from;
    if bytes_read == 0 && span.to > span.from && !cut.waits {
        return Ok(None);
    }
    let offset = if bytes_read == 0 && request.lines.is_none() { request.offset } else { cut.from };
    let next_offset = offset + bytes_read;
    let eof = ended && next_offset >= total;
    Ok(Some(Page {
        path: paths.file(which),
        offset,
        bytes_read,
        next_offset,
        total_bytes: total,
        eof,
        first_line: span.first_line.filter(|_| bytes_read > 0),
        gap: eof.then(|| gap(paths, live, which, total)).flatten(),
        content: cut.content,
    }))
}

/// The same, on the caller's thread, after waiting for a byte at `offset`, or the end, at most `wait_ms`; for a whole line
/// where lines or the clean view are asked for. It sleeps until the recorder wakes it and never polls.
///
/// Without `live` there is nobody to wake it, and it does not wait.
///
/// # Errors
/// As [`read_now`].
pub fn read_blocking(paths: &Paths, live: Option<&Growth>, request: &ReadRequest) -> Result<Page, ReadError> {
    if let (Some(live), Some(wait_ms)) = (live, request.wait_ms.filter(|ms| *ms > 0)) {
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(MAX_TIME_MS));
        let mut wait_at = request.wait_at();
        let wait = |offset| {
            if request.follows && !live.ready(request.which, offset) {
                live.follower_at(request.which, offset);
            }
            live.wait(request.which, offset, deadline)
        };
        while wait_at.is_none_or(wait) {
            let page = read_now(paths, Some(live), request)?;
            let again_at = page.wait_at(request);
            // A file that was cut by others is not waited for.
            if again_at.is_none() || wait_at.is_some_and(|offset| page.total_bytes <= offset) {
                return Ok(page);
            }
            wait_at = again_at;
        }
    }
    read_now(paths, live, request)
}

/// Resolves when there is a byte at `offset`, or nothing will come. Reads that follow are short, so an async caller races this
/// with its own timer and calls [`read_now`]. Dropping it is fine at any time.
pub async fn next_byte(live: &Growth, which: OutputFile, offset: u64) {
    live.grow(which, offset).await;
}

/// The bytes that a request means, in a file of this length.
fn span(request: &ReadRequest, total: u64) -> Span {
    let from = request.offset.min(total);
    let to = from + request.length.min(READ_MAX_BYTES).min(total - from);
    Span { from, to, first_line: None, begins_within: false }
}

/// What is missing at the end of a file that has one.
fn gap(paths: &Paths, live: Option<&Growth>, which: OutputFile, offset: u64) -> Option<Gap> {
    let bytes = match (live, which) {
        (Some(live), _) => live.missed_of(which),
        // The record is older than what leftovers say.
        (None, OutputFile::Kept) => 0,
        (None, _) => result::unrecorded_bytes(&paths.result()),
    };
    (bytes > 0).then_some(Gap { offset, bytes })
}

/// Whether no process can be adding to a command that this one does not record.
fn no_writer(paths: &Paths, which: OutputFile) -> bool {
    // Kept leftovers go on when the record is sealed.
    if which != OutputFile::Kept && paths.dir.join(RESULT_FILE).symlink_metadata().is_ok() {
        return true;
    }
    if let Some(launch) = LaunchFile::read(&paths.dir) {
        // Of a graph of this process it would be known, and be live.
        let root = paths.dir.parent().unwrap_or(&paths.dir);
        return launch.host.is_here() || !launch.host.lives(root, launch.command_id.host_pid);
    }
    let command = paths.dir.file_name().and_then(|name| name.to_str()?.parse::<CommandId>().ok());
    match (paths.dir.parent(), command) {
        (Some(root), Some(command)) if command.host_pid != std::process::id() => {
            !lock::is_held(root, command.host_pid)
        }
        _ => true,
    }
}
