//! Where lines begin in a file: the last ones, or one by its number.
//!
//! * in: a file, which lines, and what the recorder noted of its lines
//! * out: a span of whole lines that fits a page, and the number of its first
//! * keeps: the last lines of a large file are found without reading the file

use crate::{Lines, READ_MAX_BYTES, source::Source};
use memchr::{memchr, memchr_iter, memrchr, memrchr_iter};
use std::io;

/// A mark each so often: counting the lines between two of them takes about 0.1 ms.
const MARK_BYTES: u64 = 1 << 20;
/// Marks of one file. Of more, every second one is dropped, so a file of 1 GiB has one each MiB and one of 1 TiB one each GiB.
const MARKS_MAX: usize = 1_024;
/// How far lines are counted to give the last lines a number: about 50 ms from the page cache.
const COUNT_MAX_BYTES: u64 = 256 << 20;
/// Read at once while lines are counted: it stays in the cache of a core.
const BLOCK_BYTES: usize = 256 << 10;

/// How many line feeds there are before some offsets.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    /// Offset and line feeds before it, in order.
    at: Vec<(u64, u64)>,
    spacing: u64,
}
impl Default for Marks {
    fn default() -> Marks {
        Marks { at: Vec::new(), spacing: MARK_BYTES }
    }
}
impl Marks {
    /// Notes the line feeds before an offset, and says at which offset the next mark is due.
    pub(crate) fn push(&mut self, offset: u64, feeds: u64) -> u64 {
        if self.at.len() >= MARKS_MAX {
            let mut n = 0;
            self.at.retain(|_| {
                n += 1;
                n % 2 == 0
            });
            self.spacing *= 2;
        }
        self.at.push((offset, feeds));
        offset + self.spacing
    }
    /// The last mark that is not behind the offset.
    fn before(&self, offset: u64) -> (u64, u64) {
        self.last_of(self.at.partition_point(|(at, _)| *at <= offset))
    }
    /// The last mark within `total` bytes that stands before the end of this line feed.
    fn before_feed(&self, feed: u64, total: u64) -> (u64, u64) {
        self.last_of(self.at.partition_point(|(at, feeds)| *at <= total && *feeds < feed))
    }
    fn last_of(&self, n: usize) -> (u64, u64) {
        n.checked_sub(1).map_or((0, 0), |last| self.at[last])
    }
}

/// What a recorder has offered to one file, whether it was written or not.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) bytes: u64,
    feeds: u64,
    mark_at: u64,
}
impl Default for Offered {
    fn default() -> Offered {
        Offered { bytes: 0, feeds: 0, mark_at: MARK_BYTES }
    }
}
impl Offered {
    /// Counts. The marks are asked for only when one is due.
    pub(crate) fn add(&mut self, bytes: u64, feeds: u64, mark: impl FnOnce(u64, u64) -> u64) {
        self.bytes += bytes;
        self.feeds += feeds;
        if self.bytes >= self.mark_at {
            self.mark_at = mark(self.bytes, self.feeds);
        }
    }
}

/// Some whole lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) first_line: Option<u64>,
    /// It is the end of a line that does not fit.
    pub(crate) begins_within: bool,
}
impl Span {
    fn nothing(at: u64) -> Span {
        Span { from: at, to: at, first_line: None, begins_within: false }
    }
}

/// A file as it is at one moment.
pub(crate) struct Now<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) total: u64,
    /// Nothing will follow.
    pub(crate) ended: bool,
}

/// The lines that are meant, in at most `length` bytes.
pub(crate) fn find(now: &Now<'_>, lines: Lines, length: u64, marks: &Marks) -> io::Result<Span> {
    let length = length.min(READ_MAX_BYTES);
    match lines {
        Lines::Last { count } => last(now, count, length, marks),
        Lines::From { line, count } => from(now, line.max(1), count, length, marks),
    }
}

fn last(now: &Now<'_>, count: u64, length: u64, marks: &Marks) -> io::Result<Span> {
    let to = whole_lines_end(now)?;
    let Some(before_first) = usize::try_from(count).unwrap_or(usize::MAX).checked_sub(1) else {
        return Ok(Span::nothing(to));
    };
    let room = to.saturating_sub(length);
    // With the byte before: if that is a line feed, a line begins where the room does.
    let at = room.saturating_sub(1);
    let bytes = now.source.read(at, to)?;
    // The last byte ends the last line and begins none.
    let inner = &bytes[..bytes.len().saturating_sub(1)];
    let begin = match memrchr_iter(b'\n', inner).nth(before_first) {
        Some(feed) => Some(feed),
        None if room == 0 => return numbered(now, Span { to, ..Span::nothing(0) }, marks),
        None => memchr(b'\n', inner),
    };
    let from = begin.map_or(room, |feed| at + feed as u64 + 1);
    numbered(now, Span { from, to, first_line: None, begins_within: begin.is_none() }, marks)
}

/// Behind the last line that is whole. The rest is one, if it does not fit into a page.
fn whole_lines_end(now: &Now<'_>) -> io::Result<u64> {
    if now.ended {
        return Ok(now.total);
    }
    let at = now.total.saturating_sub(READ_MAX_BYTES);
    let tail = now.source.read(at, now.total)?;
    Ok(match memrchr(b'\n', &tail) {
        Some(feed) => at + feed as u64 + 1,
        None if at == 0 => 0,
        None => now.total,
    })
}

/// With the number of its first line, if counting as far is cheap.
fn numbered(now: &Now<'_>, span: Span, marks: &Marks) -> io::Result<Span> {
    let (mut at, mut feeds) = marks.before(span.from);
    if span.from == span.to || span.from - at > COUNT_MAX_BYTES {
        return Ok(span);
    }
    let mut block = vec![0; BLOCK_BYTES];
    while at < span.from {
        let room = usize::try_from(span.from - at).map_or(BLOCK_BYTES, |room| room.min(BLOCK_BYTES));
        let count = now.source.read_at(&mut block[..room], at)?;
        if count == 0 {
            return Ok(span);
        }
        feeds += memchr_iter(b'\n', &block[..count]).count() as u64;
        at += count as u64;
    }
    Ok(Span { first_line: Some(feeds + 1), ..span })
}

fn from(now: &Now<'_>, line: u64, count: u64, length: u64, marks: &Marks) -> io::Result<Span> {
    let Some(from) = behind_feed(now, line - 1, marks)? else { return Ok(Span::nothing(now.total)) };
    let Some(others) = usize::try_from(count).unwrap_or(usize::MAX).checked_sub(1) else {
        return Ok(Span::nothing(from));
    };
    let bytes = now.source.read(from, now.total.min(from + length))?;
    let reached = from + bytes.len() as u64;
    let behind = |feed: usize| from + feed as u64 + 1;
    let to = match memchr_iter(b'\n', &bytes).nth(others) {
        Some(feed) => behind(feed),
        None if reached == now.total && now.ended => reached,
        None => match memrchr(b'\n', &bytes) {
            Some(feed) => behind(feed),
            None if reached == now.total => from,
            None => reached,
        },
    };
    Ok(Span { to, first_line: (to > from).then_some(line), ..Span::nothing(from) })
}

/// The offset behind so many line feeds; None if there are fewer.
fn behind_feed(now: &Now<'_>, feed: u64, marks: &Marks) -> io::Result<Option<u64>> {
    if feed == 0 {
        return Ok(Some(0));
    }
    let (mut at, mut feeds) = marks.before_feed(feed, now.total);
    let mut block = vec![0; BLOCK_BYTES];
    while at < now.total {
        let room = usize::try_from(now.total - at).map_or(BLOCK_BYTES, |room| room.min(BLOCK_BYTES));
        let count = now.source.read_at(&mut block[..room], at)?;
        let here = memchr_iter(b'\n', &block[..count]).count() as u64;
        if feeds + here >= feed {
            // Not behind the end of the block, so it fits.
            let nth = (feed - feeds - 1) as usize;
            return Ok(memchr_iter(b'\n', &block[..count]).nth(nth).map(|found| at + found as u64 + 1));
        }
        if count == 0 {
            break;
        }
        feeds += here;
        at += count as u64;
    }
    Ok(None)
}
