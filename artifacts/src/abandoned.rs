//! Commands whose host died before they ended: what they had said, from their files, and the result that somebody else writes for them.
//!
//! * in: a command's directory
//! * out: counts and text as far as the files go; `result.json`
//! * keeps: the cost of a look does not grow with the output

use crate::{
    Directory, HeadTail, OutputFile, Paths, View, clean_text,
    recorder::{count_newlines, sha256},
    result,
};
use ostler_messages::{Capture, Output, Record};
use sha2::{Digest, Sha256};
use std::{fs::File, io, os::unix::fs::FileExt};

/// Up to this length output is read again for its digest and its lines: of a gigabyte that would take a second.
const DIGEST_MAX_BYTES: u64 = 1 << 20;

/// What the files of a command hold whose host died. Bytes that were on their way then are in none of them.
///
/// The digest and the number of lines are there up to 1 MiB, and left out (null, 0) beyond it.
pub fn said_until_now(paths: &Paths, capture: Capture) -> Output {
    let text = |which, shown: bool| match shown {
        true => head_and_tail(paths, which, capture).unwrap_or_default(),
        false => (String::new(), false),
    };
    let (stdout, stderr) = match capture.merge_stderr {
        true => (text(OutputFile::Combined, capture.stdout), (String::new(), false)),
        false => (text(OutputFile::Stdout, capture.stdout), text(OutputFile::Stderr, capture.stderr)),
    };
    let combined = open(paths, OutputFile::Combined);
    let bytes = combined.as_ref().map_or(0, |(_, bytes)| *bytes);
    let whole = combined.ok().filter(|_| bytes <= DIGEST_MAX_BYTES).and_then(|(file, _)| {
        let mut all = vec![0; usize::try_from(bytes).ok()?];
        file.read_exact_at(&mut all, 0).ok()?;
        Some(all)
    });
    let lines =
        |all: &Vec<u8>| count_newlines(all) + u64::from(all.last().is_some_and(|byte| *byte != b'\n'));
    Output {
        stdout: stdout.0,
        stderr: stderr.0,
        stdout_truncated: stdout.1,
        stderr_truncated: stderr.1,
        line_count: whole.as_ref().map(lines),
        byte_count: bytes,
        recorded_bytes: bytes,
        output_sha256: whole.map(|all| sha256(&Sha256::digest(all))),
        ..Output::default()
    }
}

fn open(paths: &Paths, which: OutputFile) -> io::Result<(File, u64)> {
    let file = result::open_to_read(&paths.file(which))?;
    let about = file.metadata()?;
    // Not what somebody has put in its place.
    let bytes = if about.is_file() { about.len() } else { 0 };
    Ok((file, bytes))
}

fn head_and_tail(paths: &Paths, which: OutputFile, capture: Capture) -> io::Result<(String, bool)> {
    let (file, bytes) = open(paths, which)?;
    let limit = usize::try_from(capture.max_inline_bytes).unwrap_or(usize::MAX);
    let mut text = HeadTail::new(limit);
    let read = |from: u64, count: u64, text: &mut HeadTail| {
        let mut part = vec![0; usize::try_from(count).unwrap_or(0)];
        file.read_exact_at(&mut part, from).map(|()| text.push(&part))
    };
    match text.middle_of(bytes) {
        None => read(0, bytes, &mut text)?,
        Some((head, tail)) => {
            read(0, head, &mut text)?;
            text.skip(tail - head);
            read(tail, bytes - tail, &mut text)?;
        }
    }
    let (text, truncated) = text.view(limit);
    Ok(match capture.view {
        View::Clean => (clean_text(text.as_bytes()), truncated),
        View::Raw => (text, truncated),
    })
}

/// Writes the result of a command whose host died, whole or not at all.
///
/// # Errors
/// What open(2), write(2) or rename(2) said.
pub fn seal_abandoned(paths: &Paths, record: &Record) -> io::Result<()> {
    result::write(&Directory::open(paths)?, record)
}

/// The result that the host has written before it died, if it has.
pub fn abandoned_result(paths: &Paths) -> Option<Record> {
    result::read::<Record>(&paths.result())
}
