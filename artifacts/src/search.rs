//! Looking for a pattern in a file as it grows, without reading anything twice.
//!
//! * in: the file's bytes in order and when they came; that nothing came; the end
//! * out: a [`Found`], once
//! * keeps: the answer depends on the bytes and their times, not on how they were cut into pieces. At most one
//!   piece of a line is held

use crate::{Pattern, text::incomplete};

use memchr::{memchr2, memrchr2};
use ostler_messages::{Found, Group, Span};
use regex_automata::{Anchored, Input};
use std::ops::Range;

/// How long nothing must follow for an unfinished line to count as it stands: a prompt. Long enough for a program
/// that writes a line in several pieces, and nobody notices it.
pub const QUIET_US: u64 = 100_000;
/// A longer line is searched in pieces of this length, so that a line without an end is found something in, and is
/// not held in memory.
pub const PIECE_BYTES: usize = 64 << 10;
/// How much of a long line's earlier pieces is searched again with the next one: a match across a cut is found if
/// no more of it than this lies before the cut.
pub const CARRY_BYTES: usize = 4 << 10;
/// How much of a line, and of a group, is shown; in bytes of the file. As text it is longer where they are not
/// UTF-8.
pub const SHOWN_BYTES: usize = 4 << 10;

/// Before what is searched again lies one byte that is only looked at, for `^` and `\b`.
const CONTEXT_BYTES: usize = 1;

/// The search for a pattern's first match in one file.
///
/// A match lies within a line, which is what stands between two of `\n`, `\r\n`, `\r`. A line is judged when it
/// ends. One that has not ended is judged as it stands, as if it ended there (so `$` holds there):
///
/// * once nothing has followed for [`QUIET_US`]: [`quiet`](Search::quiet). If nothing is found and it goes on, all
///   of it is judged again;
/// * at the end of the stream: [`end`](Search::end);
/// * each time another [`PIECE_BYTES`] of it are there. The last [`CARRY_BYTES`] are searched again with the next
///   piece.
///
/// The first match in the file is found, then the search is over: it takes nothing more in. For the next match,
/// begin another one at [`offset`](Search::offset).
///
/// It does no I/O and has no clock: times are whatever the caller counts microseconds by. Memory is bounded by a
/// piece and the carry.
///
/// ```
/// use ostler_artifacts::{Pattern, Search};
///
/// let mut search = Search::new(Pattern::regex(r"listening on .*:(\d+)")?, 0);
/// assert_eq!(search.feed(b"starting\nlistening on localh", 0), None);
/// let found = search.feed(b"ost:3000\r\n", 40_000).unwrap();
/// assert_eq!((found.offset, found.line.as_str()), (9, "listening on localhost:3000"));
/// assert_eq!(found.groups[1].text.as_deref(), Some("3000"));
///
/// // A prompt has no line end.
/// let mut search = Search::new(Pattern::regex("password: ?$")?, 0);
/// assert_eq!(search.feed(b"password: ", 0), None);
/// assert_eq!(search.quiet_at_us(), Some(100_000));
/// assert!(search.quiet(100_000).is_some());
/// # Ok::<(), ostler_artifacts::PatternError>(())
/// ```
#[derive(Debug)]
pub struct Search {
    pattern: Pattern,
    /// The unfinished line, or its last piece with what is before it.
    open: Vec<u8>,
    /// Where the unfinished line begins, if its first pieces are no longer held. Then the first byte of `open` is
    /// only looked at.
    cut: Option<u64>,
    /// With so many bytes `open` is a whole piece.
    full: usize,
    /// So many bytes of `open` were judged as they stand.
    judged: usize,
    offset: u64,
    last_us: u64,
    over: bool,
}

impl Search {
    /// Begins at an offset of the file; a line begins there, whatever is before it.
    pub fn new(pattern: Pattern, from_offset: u64) -> Search {
        Search {
            pattern,
            open: Vec::new(),
            cut: None,
            full: PIECE_BYTES,
            judged: 0,
            offset: from_offset,
            last_us: 0,
            over: false,
        }
    }

    /// Takes in the bytes at [`offset`](Search::offset). `now_us` is when they came, which is not when they were
    /// read: a reader that is late would otherwise take its own pause for a prompt. What stood in the file already
    /// has one time.
    ///
    /// If the unfinished line had been quiet long enough before, it is judged first; a match in it leaves the
    /// bytes alone.
    pub fn feed(&mut self, bytes: &[u8], now_us: u64) -> Option<Found> {
        if let Some(found) = self.quiet(now_us) {
            return Some(found);
        }
        if self.over || bytes.is_empty() {
            return None;
        }
        self.last_us = self.last_us.max(now_us);
        let mut rest = bytes;
        // Between the pieces of a `\r\n` this sees an empty line: no pattern matches one.
        while !rest.is_empty() {
            let whole = if self.open.is_empty() { whole_lines(rest) } else { 0 };
            let (now, later) = rest.split_at(if whole > 0 { whole } else { self.step(rest) });
            if whole > 0 {
                if let Some(found) = first_match(&self.pattern, now, self.offset, None) {
                    return Some(self.over(found));
                }
                self.offset += whole as u64;
            } else if let Some(found) = self.take(now) {
                return Some(found);
            }
            rest = later;
        }
        None
    }

    /// The unfinished line goes on: its rest is on its way, however late it is read. So it does not count as it stands.
    pub fn goes_on(&mut self, now_us: u64) {
        self.last_us = self.last_us.max(now_us);
    }

    /// When the unfinished line counts as it stands, if nothing follows. None: no line is open that has not been
    /// judged.
    pub fn quiet_at_us(&self) -> Option<u64> {
        let waits = !self.over && self.open.len() > self.judged;
        waits.then(|| self.last_us.saturating_add(QUIET_US))
    }

    /// Nothing has followed up to now. Before [`quiet_at_us`](Search::quiet_at_us) this does nothing.
    pub fn quiet(&mut self, now_us: u64) -> Option<Found> {
        if self.quiet_at_us().is_some_and(|at| at <= now_us) { self.judge() } else { None }
    }

    /// Nothing will follow: what is left is judged, and the search is over.
    pub fn end(&mut self) -> Option<Found> {
        let found = self.judge();
        self.over = true;
        found
    }

    /// Where to read on: everything before was taken in. Once something was found, where it ends.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How much of these bytes to take next: up to a line end, with it, or what the piece has room for.
    fn step(&self, bytes: &[u8]) -> usize {
        let room = &bytes[..bytes.len().min(self.full - self.open.len())];
        memchr2(b'\n', b'\r', room).map_or(room.len(), |end| end + 1)
    }

    /// Adds bytes to the unfinished line; only the last of them can be its end.
    fn take(&mut self, bytes: &[u8]) -> Option<Found> {
        let line = bytes.strip_suffix(b"\n").or_else(|| bytes.strip_suffix(b"\r")).unwrap_or(bytes);
        let ended = line.len() < bytes.len();
        grow(&mut self.open, line);
        self.offset += line.len() as u64;
        if !ended && self.open.len() < self.full {
            return None;
        }
        if let Some(found) = self.judge() {
            return Some(found);
        }
        let kept = if ended { 0 } else { CONTEXT_BYTES + CARRY_BYTES };
        self.cut = (!ended).then(|| self.cut.unwrap_or(self.begin()));
        self.open.drain(..self.open.len() - kept);
        self.judged = kept;
        self.full = kept + PIECE_BYTES;
        self.offset += u64::from(ended);
        None
    }

    /// Searches the unfinished line as it stands, unless it has been since the last byte.
    fn judge(&mut self) -> Option<Found> {
        if self.over || self.open.len() == self.judged {
            return None;
        }
        self.judged = self.open.len();
        let found = first_match(&self.pattern, &self.open, self.begin(), self.cut)?;
        Some(self.over(found))
    }

    /// Where `open` begins in the file, as long as the line's end has not been counted.
    fn begin(&self) -> u64 {
        self.offset - self.open.len() as u64
    }

    fn over(&mut self, found: Found) -> Found {
        self.over = true;
        self.open = Vec::new();
        self.offset = found.offset + found.length;
        found
    }
}

/// Length of the lines at the beginning that have their end and fit in a piece: those can be searched all at once.
pub(crate) fn whole_lines(bytes: &[u8]) -> usize {
    let mut whole = 0;
    loop {
        let reach = &bytes[whole..bytes.len().min(whole + PIECE_BYTES + 1)];
        match memrchr2(b'\n', b'\r', reach) {
            Some(end) => whole += end + 1,
            None => return whole,
        }
    }
}

/// The first match in lines that lie at `begin` of the file. With `cut` they are the rest of a line that began
/// there, and their first byte is only looked at.
fn first_match(pattern: &Pattern, lines: &[u8], begin: u64, cut: Option<u64>) -> Option<Found> {
    let regex = pattern.compiled();
    let from = if cut.is_some() { CONTEXT_BYTES } else { 0 };
    let hit = regex.search(&Input::new(lines).range(from..))?.range();
    let line = line_around(lines, from, &hit);

    // Where the groups are is asked of this match alone: it is far slower.
    let mut captures = regex.create_captures();
    regex.search_captures(
        &Input::new(lines).range(hit.start..line.end).anchored(Anchored::Yes),
        &mut captures,
    );
    let group = |(number, name): (usize, Option<&str>)| {
        let range =
            if number == 0 { Some(hit.clone()) } else { captures.get_group(number).map(|at| at.range()) };
        let text = range.clone().map(|at| text(&lines[shown(lines, &at, &at)]));
        Group { number, name: name.map(str::to_owned), text, span: range.map(|at| span(begin, &at)) }
    };
    let names = pattern.groups().pattern_names(regex_automata::PatternID::ZERO);
    let groups = names.enumerate().map(group).collect();

    let part = shown(lines, &line, &hit);
    let Span { offset, length } = span(begin, &hit);
    Some(Found {
        offset,
        length,
        line: text(&lines[part.clone()]),
        line_offset: cut.unwrap_or(begin + line.start as u64),
        line_truncated: cut.is_some() || part != line,
        groups,
    })
}

/// The line in which a match lies.
pub(crate) fn line_around(lines: &[u8], from: usize, hit: &Range<usize>) -> Range<usize> {
    let start = memrchr2(b'\n', b'\r', &lines[from..hit.start]).map_or(from, |end| from + end + 1);
    let end = memchr2(b'\n', b'\r', &lines[hit.end..]).map_or(lines.len(), |end| hit.end + end);
    start..end
}

/// What is shown of a line: at most [`SHOWN_BYTES`] around the match, without a character that a cut would split.
pub(crate) fn shown(bytes: &[u8], line: &Range<usize>, hit: &Range<usize>) -> Range<usize> {
    if line.len() <= SHOWN_BYTES {
        return line.clone();
    }
    let spare = SHOWN_BYTES - hit.len().min(SHOWN_BYTES);
    // Half of it on each side, and what one side does not need on the other.
    let (before, after) = (hit.start - line.start, line.end - hit.end);
    let before = before.min((spare / 2).max(spare.saturating_sub(after)));
    let mut start = hit.start - before;
    let mut end = line.end.min(start + SHOWN_BYTES);
    if start > line.start {
        let inside = bytes[start..hit.start].iter().take(3).take_while(|byte| matches!(byte, 0x80..=0xBF));
        start += inside.count();
    }
    if end < line.end {
        end -= incomplete(&bytes[start..end]);
    }
    start..end
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn span(begin: u64, at: &Range<usize>) -> Span {
    Span { offset: begin + at.start as u64, length: at.len() as u64 }
}

/// Appends to an unfinished line, doubling the capacity like any vector but never beyond what it can need.
fn grow(open: &mut Vec<u8>, line: &[u8]) {
    let needed = open.len() + line.len();
    if needed > open.capacity() {
        let capacity = needed.max(open.capacity() * 2).min(CONTEXT_BYTES + CARRY_BYTES + PIECE_BYTES);
        open.reserve_exact(capacity - open.len());
    }
    open.extend_from_slice(line);
}
