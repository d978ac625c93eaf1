//! Which lines of a file match, with the lines around them, a page at a time.
//!
//! * in: something to read at an offset, a pattern, a [`FindRequest`]
//! * out: [`FoundLines`]
//! * keeps: one call reads, returns and holds a bounded number of bytes, whatever the file

mod page;

use crate::{
    Found, Growth, OutputFile, PIECE_BYTES, Paths, Pattern, ReadError, SHOWN_BYTES, Search, Span,
    search::whole_lines, source::Source as Files,
};

use memchr::memchr2;
use page::Building;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, ErrorKind},
    ops::Range,
};

/// Most lines that match in one page; a request for more gets so many.
pub const FIND_MAX_LINES: usize = 1_000;
/// Most lines shown before, and after, each that matches; a request for more gets so many.
pub const FIND_MAX_AROUND: usize = 50;
/// Most text of one page: it usually becomes part of a message.
pub const FIND_MAX_TEXT_BYTES: usize = 1 << 20;
/// A call reads so many bytes, and at most a block more, so that it ends within about a second when nothing
/// matches.
pub const FIND_MAX_READ_BYTES: u64 = 256 << 20;

/// What is read at once: a few pieces, so that most lines are searched many at a time.
const BLOCK_BYTES: usize = 4 * PIECE_BYTES;
/// The next page begins at most so far back, to have what is before its first match. Far less than a call reads,
/// so that every page gets on.
const AROUND_MAX_BYTES: u64 = 1 << 20;

/// Which lines to look for, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FindRequest {
    /// Where to begin, in bytes. A line begins there, whatever is before it. Default 0.
    pub offset: u64,
    /// The number of the line at `offset`, as the page before said it in `next_line`. Absent: 1 at offset 0, else
    /// lines have no numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// How many matching lines at most, 1 to [`FIND_MAX_LINES`]. Default 100.
    pub max: usize,
    /// How many lines to show before each, at most [`FIND_MAX_AROUND`]. Default 0.
    pub before: usize,
    /// How many lines to show after each, at most [`FIND_MAX_AROUND`]. Default 0.
    pub after: usize,
}
impl FindRequest {
    /// The first 100 lines that match, alone.
    pub fn new() -> FindRequest {
        FindRequest::default()
    }
    /// Where to begin, in bytes.
    pub fn offset(mut self, offset: u64) -> FindRequest {
        self.offset = offset;
        self
    }
    /// The number of the line at the offset.
    pub fn line(mut self, line: Option<u64>) -> FindRequest {
        self.line = line;
        self
    }
    /// How many matching lines at most.
    pub fn max(mut self, max: usize) -> FindRequest {
        self.max = max;
        self
    }
    /// How many lines to show before and after each.
    pub fn around(mut self, before: usize, after: usize) -> FindRequest {
        (self.before, self.after) = (before, after);
        self
    }
}
impl Default for FindRequest {
    fn default() -> FindRequest {
        FindRequest { offset: 0, line: None, max: 100, before: 0, after: 0 }
    }
}

/// A page of lines, in the order of the file. Each stands in it once, also where two matches are close.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FoundLines {
    /// The lines that match, and those around them.
    pub lines: Vec<FoundLine>,
    /// How many of them match.
    pub matches: usize,
    /// Where to go on: pages that begin at each other's `next_offset` join. That may be before the last byte that
    /// was looked at, for the sake of the lines before the next match, and a last line that has no end and does
    /// not match is looked at again. At a page's border fewer lines may follow a match than were asked for.
    pub next_offset: u64,
    /// The number of the line there, if lines have numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_line: Option<u64>,
    /// Everything that is there was searched. False: the page is full, or as much was read as one call may.
    pub complete: bool,
}

/// A line of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FoundLine {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its number in the file, from 1, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The line without its end, invalid bytes as U+FFFD. Of one of more than [`SHOWN_BYTES`] what is around the
    /// match, or the beginning.
    pub text: String,
    /// `text` is a part of the line.
    pub truncated: bool,
    /// Its first match, in the file. None: it only stands near one.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<Span>,
}

/// The same in a command's file, as far as it is there now.
///
/// # Errors
/// [`ReadError`]: the file is gone, or the system refused.
pub fn find_in(
    (paths, which): (&Paths, OutputFile),
    live: Option<&Growth>,
    pattern: &Pattern,
    request: &FindRequest,
) -> Result<FoundLines, ReadError> {
    let failed = |error: io::Error| ReadError::new(&paths.file(which), &error);
    let source = Files::open(paths, live, which).map_err(failed)?;
    find(|offset, to| source.read_at(to, offset), pattern, request).map_err(failed)
}

/// Looks for the lines of a file that match. What is a line, and what matches in it, is as for a [`Search`]; the
/// file's last line counts as it stands.
///
/// `read` gives bytes at an offset, as [`read_at`](std::os::unix::fs::FileExt::read_at) does: fewer than asked for
/// is fine, 0 is the end. It is called in the order of the file, except that a little is read again behind a very
/// long line.
///
/// ```
/// use ostler_artifacts::{FindRequest, Pattern, find};
///
/// let file = b"one\ntwo\nthree\n".as_slice();
/// let read = |offset: u64, buffer: &mut [u8]| {
///     let rest = &file[file.len().min(offset as usize)..];
///     let length = rest.len().min(buffer.len());
///     buffer[..length].copy_from_slice(&rest[..length]);
///     Ok(length)
/// };
/// let page = find(read, &Pattern::literal("wo")?, &FindRequest::new().around(1, 0))?;
/// let lines: Vec<_> = page.lines.iter().map(|line| (line.number, line.text.as_str())).collect();
/// assert_eq!(lines, [(Some(1), "one"), (Some(2), "two")]);
/// assert!(page.complete);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What `read` says, but for [`ErrorKind::Interrupted`], after which it is asked again.
pub fn find(
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    pattern: &Pattern,
    request: &FindRequest,
) -> io::Result<FoundLines> {
    let mut page = Building::new(pattern, request);
    let mut file = Source { read: &mut read, at: request.offset, left: FIND_MAX_READ_BYTES, ended: false };
    let mut block = vec![0; BLOCK_BYTES];
    let mut held = 0;
    loop {
        held += file.fill(&mut block[held..])?;
        // What follows a `\r` decides whether the line ends there or one byte later.
        let known = held - usize::from(block[..held].ends_with(b"\r") && !file.ended);
        let whole = whole_lines(&block[..known]);
        if page.lines(&block[..whole]).is_break() {
            return Ok(page.finish(false));
        }
        if known - whole > PIECE_BYTES {
            let line = LongLine::read(&mut file, &mut block, whole..held, pattern, page.at)?;
            let flow = page.long_line(&line);
            if flow.is_break() || !line.ended {
                return Ok(page.finish(flow.is_continue() && !line.goes_on));
            }
            (file.at, file.ended, held) = (page.at, false, 0);
        } else if file.ended {
            let flow = page.last_line(&block[whole..held]);
            return Ok(page.finish(flow.is_continue()));
        } else if file.left == 0 {
            return Ok(page.finish(false));
        } else {
            block.copy_within(whole..held, 0);
            held -= whole;
        }
    }
}

/// The file, read forward.
struct Source<'a, R> {
    read: &'a mut R,
    /// Where it is read next.
    at: u64,
    /// What this call may still read.
    left: u64,
    /// There was nothing more.
    ended: bool,
}
impl<R: FnMut(u64, &mut [u8]) -> io::Result<usize>> Source<'_, R> {
    /// Reads until the buffer is full, or nothing is left of the file or of what may be read.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() && self.left > 0 && !self.ended {
            match (self.read)(self.at, &mut buffer[done..]) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    let n = n.min(buffer.len() - done);
                    done += n;
                    self.at += n as u64;
                    self.left = self.left.saturating_sub(n as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// A line that is longer than a piece, as far as it could be read.
struct LongLine {
    beginning: Vec<u8>,
    found: Option<Found>,
    /// With its end.
    size: u64,
    /// It has an end.
    ended: bool,
    /// It has more than this call may read.
    goes_on: bool,
}
impl LongLine {
    /// Searches it piece by piece. Its beginning is in the block at `held`; the block is read into from there on.
    fn read<R: FnMut(u64, &mut [u8]) -> io::Result<usize>>(
        file: &mut Source<'_, R>,
        block: &mut [u8],
        held: Range<usize>,
        pattern: &Pattern,
        at: u64,
    ) -> io::Result<LongLine> {
        // One byte more than is shown tells that it is cut.
        let beginning = block[held.clone()].iter().take(SHOWN_BYTES + 1).copied().collect();
        let mut line = LongLine { beginning, found: None, size: 0, ended: false, goes_on: false };
        let mut search = Search::new(pattern.clone(), at);
        let mut chunk = held;
        while !chunk.is_empty() {
            let bytes = &block[chunk];
            let end = memchr2(b'\n', b'\r', bytes);
            let content = &bytes[..end.unwrap_or(bytes.len())];
            if line.found.is_none() {
                line.found = search.feed(content, 0);
            }
            line.size += content.len() as u64;
            if let Some(end) = end {
                let mut next = [0];
                let two = bytes[end] == b'\r' && {
                    (file.at, file.ended, file.left) = (at + line.size + 1, false, file.left.max(1));
                    file.fill(&mut next)? == 1 && next == *b"\n"
                };
                line.size += if two { 2 } else { 1 };
                line.ended = true;
                break;
            }
            chunk = 0..file.fill(block)?;
        }
        if line.found.is_none() {
            line.found = search.end();
        }
        line.goes_on = !line.ended && !file.ended;
        Ok(line)
    }
}
