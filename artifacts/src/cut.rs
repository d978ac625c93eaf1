//! Where a page may begin and end: on a character, or for the clean view at the end of a line.

use crate::{
    Cleaner, READ_MAX_BYTES,
    lines::Now,
    text::{character_across, incomplete},
};
use memchr::{memchr, memchr_iter};
use std::io;

/// A character has at most so many bytes beside its first.
const CHARACTER_SLACK: u64 = 3;
/// Read at once for the clean view: what is read beyond the page is read in vain.
const BLOCK_BYTES: u64 = 64 << 10;

/// What was read of a span.
pub(crate) struct Cut {
    /// The raw bytes that it stands for.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) content: Vec<u8>,
    /// It is empty because all that there is is a part of a character or of a line, of which the rest may come.
    pub(crate) waits: bool,
}

/// Reads a span so that it begins and ends on a character (UTF-8), where there are characters. One that the beginning would
/// split is in it whole, one that the end would split is not, unless it is the first: then the span is longer by up to 3
/// bytes. Of one that is still coming nothing is read before it is whole, or the output has ended.
pub(crate) fn on_characters(now: &Now<'_>, (from, to): (u64, u64)) -> io::Result<Cut> {
    let around = (from.saturating_sub(CHARACTER_SLACK), (to + CHARACTER_SLACK).min(now.total));
    if from == to {
        return Ok(Cut { from, to, content: Vec::new(), waits: false });
    }
    let mut bytes = now.source.read(around.0, around.1)?;
    let get = |offset: u64| bytes.get(usize::try_from(offset.checked_sub(around.0)?).ok()?).copied();
    let begin = character_across(from, get).map_or(from, |(start, _)| start);
    let end = match character_across(to, get) {
        Some((start, _)) if start > begin => start,
        Some((_, end)) => end,
        None if to == now.total && !now.ended => to - incomplete(&bytes) as u64,
        None => to,
    };
    let within = |offset: u64| usize::try_from(offset - around.0).unwrap_or(usize::MAX).min(bytes.len());
    let (begin_at, end_at) = (within(begin), within(end));
    bytes.truncate(end_at);
    bytes.drain(..begin_at.min(bytes.len()));
    let waits = bytes.is_empty() && end < to;
    Ok(Cut { from: begin, to: begin + bytes.len() as u64, content: bytes, waits })
}

/// Reads a span so that it ends where a line does that is as it will stay. If no line ends in the span it is longer: a
/// [`Cleaner`] lets no line be longer than a page. At the end of the output the rest is a line.
pub(crate) fn clean(now: &Now<'_>, (from, to): (u64, u64)) -> io::Result<Cut> {
    let (mut cleaner, mut text, mut at) = (Cleaner::new(), String::new(), from);
    let mut full = from == to;
    while !full && at < now.total {
        let block = now.source.read(at, now.total.min(at + BLOCK_BYTES))?;
        if block.is_empty() {
            break;
        }
        let mut begin = 0;
        let ends = memchr_iter(b'\n', &block).map(|feed| feed + 1).chain([block.len()]);
        for end in ends.filter(|end| *end > 0) {
            let next = at + (end - begin) as u64;
            if cleaner.settled() > 0 && (next > to || text.len() as u64 >= READ_MAX_BYTES) {
                full = true;
                break;
            }
            cleaner.push(&block[begin..end], &mut text);
            (begin, at) = (end, next);
        }
    }
    if now.ended && at == now.total {
        cleaner.finish(&mut text);
    }
    let to = from + cleaner.settled();
    Ok(Cut { from, to, content: text.into_bytes(), waits: !full && at == now.total && !now.ended })
}

/// Where a line that is longer than a page can be begun to be read for the clean view: where it was redrawn.
pub(crate) fn behind_return(now: &Now<'_>, (from, to): (u64, u64)) -> io::Result<u64> {
    let bytes = now.source.read(from, to)?;
    Ok(memchr(b'\r', &bytes).map_or(from, |at| from + at as u64 + 1))
}
