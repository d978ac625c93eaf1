//! A page of lines, while the lines come to it in the order of the file.

use super::{
    AROUND_MAX_BYTES, FIND_MAX_AROUND, FIND_MAX_LINES, FIND_MAX_TEXT_BYTES, FindRequest, FoundLine,
    FoundLines, LongLine,
};
use crate::{
    CARRY_BYTES, Pattern, Span,
    search::{line_around, shown, span, text},
};

use memchr::{memchr_iter, memchr2, memrchr2};
use regex_automata::Input;
use std::{
    collections::VecDeque,
    ops::{
        ControlFlow::{self, Break, Continue},
        Range,
    },
};

/// A page, while lines come to it.
pub(super) struct Building<'a> {
    pattern: &'a Pattern,
    /// With its limits applied.
    request: FindRequest,
    lines: Vec<FoundLine>,
    text_bytes: usize,
    matches: usize,
    /// The last lines that are in no page; the next match may want them before it.
    before: VecDeque<FoundLine>,
    /// How many lines the last match still wants after it.
    after: usize,
    /// Where the next line begins, and its number.
    pub(super) at: u64,
    number: Option<u64>,
}
impl<'a> Building<'a> {
    pub(super) fn new(pattern: &'a Pattern, request: &FindRequest) -> Building<'a> {
        let request = FindRequest {
            max: request.max.clamp(1, FIND_MAX_LINES),
            before: request.before.min(FIND_MAX_AROUND),
            after: request.after.min(FIND_MAX_AROUND),
            ..*request
        };
        Building {
            pattern,
            request,
            lines: Vec::new(),
            text_bytes: 0,
            matches: 0,
            before: VecDeque::new(),
            after: 0,
            at: request.offset,
            number: request.line.or((request.offset == 0).then_some(1)),
        }
    }

    /// Lines with their ends, none longer than a piece. Break: the page is full, and `at` is where the next one
    /// begins.
    pub(super) fn lines(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let mut from = 0;
        while let Some(hit) = self.pattern.compiled().search(&Input::new(bytes).range(from..)) {
            let hit = hit.range();
            let line = line_around(bytes, from, &hit);
            self.others(&bytes[from..line.start])?;
            self.matching(bytes, &line, &hit)?;
            from = line.end + end_length(&bytes[line.end..]);
        }
        self.others(&bytes[from..])
    }

    /// The file's last line, which has no end.
    pub(super) fn last_line(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        match self.pattern.compiled().search(&Input::new(bytes)) {
            Some(hit) => self.matching(bytes, &(0..bytes.len()), &hit.range()),
            None if bytes.is_empty() => Continue(()),
            None => self.unfinished(bytes, 0),
        }
    }

    pub(super) fn long_line(&mut self, line: &LongLine) -> ControlFlow<()> {
        match &line.found {
            Some(found) => {
                let shown = FoundLine {
                    offset: self.at,
                    number: self.number,
                    text: found.line.clone(),
                    truncated: true,
                    matched: Some(Span { offset: found.offset, length: found.length }),
                };
                self.matched(shown, line.size, line.ended)
            }
            None if line.ended => self.other(self.line_of(&line.beginning), line.size),
            // What may match across the border is searched again.
            None if line.goes_on => self.unfinished(&line.beginning, line.size - CARRY_BYTES as u64),
            None => self.unfinished(&line.beginning, 0),
        }
    }

    fn matching(&mut self, bytes: &[u8], line: &Range<usize>, hit: &Range<usize>) -> ControlFlow<()> {
        let part = shown(bytes, line, hit);
        let found = FoundLine {
            offset: self.at,
            number: self.number,
            text: text(&bytes[part.clone()]),
            truncated: part != *line,
            matched: Some(span(self.at - line.start as u64, hit)),
        };
        let end = end_length(&bytes[line.end..]);
        self.matched(found, (line.len() + end) as u64, end > 0)
    }

    /// A line that matches, with those before it.
    fn matched(&mut self, line: FoundLine, size: u64, ended: bool) -> ControlFlow<()> {
        let needed = line.text.len() + self.before.iter().map(|line| line.text.len()).sum::<usize>();
        if self.matches == self.request.max || !self.has_room(needed) {
            return Break(());
        }
        self.text_bytes += needed;
        self.lines.extend(self.before.drain(..));
        self.lines.push(line);
        self.matches += 1;
        self.after = self.request.after;
        self.advance(size, u64::from(ended));
        // With nothing to show behind it, a full page need not look on.
        if self.matches == self.request.max && self.after == 0 { Break(()) } else { Continue(()) }
    }

    /// Lines between those that match.
    fn others(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let mut rest = bytes;
        while !rest.is_empty() && (self.after > 0 || self.matches == self.request.max) {
            rest = self.next_other(rest)?;
        }
        // Of what lies between, only the last lines can be wanted.
        let wanted = last_lines(rest, self.request.before);
        let (passed, mut rest) = rest.split_at(rest.len() - wanted.len());
        self.advance(passed.len() as u64, self.number.map_or(0, |_| count_lines(passed)));
        while !rest.is_empty() {
            rest = self.next_other(rest)?;
        }
        Continue(())
    }

    /// Takes the first of these lines, and gives the others back.
    fn next_other<'b>(&mut self, lines: &'b [u8]) -> ControlFlow<(), &'b [u8]> {
        let length = memchr2(b'\n', b'\r', lines).unwrap_or(lines.len());
        let (line, rest) = lines.split_at(length);
        let end = end_length(rest);
        self.other(self.line_of(line), (length + end) as u64)?;
        Continue(&rest[end..])
    }

    /// A line that has an end and does not match: the last match wants it, or the next one may.
    fn other(&mut self, line: FoundLine, size: u64) -> ControlFlow<()> {
        if self.after > 0 {
            self.show(line)?;
        } else if self.matches == self.request.max {
            return Break(());
        } else if self.request.before > 0 {
            if self.before.len() == self.request.before {
                self.before.pop_front();
            }
            self.before.push_back(line);
        }
        self.advance(size, 1);
        Continue(())
    }

    /// A line that has no end yet and does not match: the next page begins with it, or so far in it.
    fn unfinished(&mut self, beginning: &[u8], searched: u64) -> ControlFlow<()> {
        if self.after > 0 {
            self.show(self.line_of(beginning))?;
        }
        self.advance(searched, 0);
        Continue(())
    }

    fn show(&mut self, line: FoundLine) -> ControlFlow<()> {
        if !self.has_room(line.text.len()) {
            return Break(());
        }
        self.after -= 1;
        self.text_bytes += line.text.len();
        self.lines.push(line);
        Continue(())
    }

    /// A page has at least one line that matches, and what is before it.
    fn has_room(&self, bytes: usize) -> bool {
        self.lines.is_empty() || self.text_bytes + bytes <= FIND_MAX_TEXT_BYTES
    }

    fn advance(&mut self, bytes: u64, lines: u64) {
        self.at += bytes;
        self.number = self.number.map(|number| number.saturating_add(lines));
    }

    /// The next line, which does not match, from its beginning on.
    fn line_of(&self, bytes: &[u8]) -> FoundLine {
        let part = shown(bytes, &(0..bytes.len()), &(0..0));
        FoundLine {
            offset: self.at,
            number: self.number,
            text: text(&bytes[part.clone()]),
            truncated: part.end < bytes.len(),
            matched: None,
        }
    }

    pub(super) fn finish(mut self, complete: bool) -> FoundLines {
        while self.before.front().is_some_and(|line| self.at - line.offset > AROUND_MAX_BYTES) {
            self.before.pop_front();
        }
        let (next_offset, next_line) =
            self.before.front().map_or((self.at, self.number), |line| (line.offset, line.number));
        FoundLines { lines: self.lines, matches: self.matches, next_offset, next_line, complete }
    }
}

/// Length of the line end at the beginning.
fn end_length(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\n' | b'\r', ..] => 1,
        _ => 0,
    }
}

/// The last lines of some that all have their end.
fn last_lines(lines: &[u8], count: usize) -> &[u8] {
    let mut start = lines.len();
    for _ in 0..count {
        let before = &lines[..start];
        let end = if before.ends_with(b"\r\n") { 2 } else { 1 };
        if before.is_empty() {
            break;
        }
        start = memrchr2(b'\n', b'\r', &before[..start - end]).map_or(0, |end| end + 1);
    }
    &lines[start..]
}

fn count_lines(lines: &[u8]) -> u64 {
    let alone = memchr_iter(b'\r', lines).filter(|at| lines.get(at + 1) != Some(&b'\n'));
    (memchr_iter(b'\n', lines).count() + alone.count()) as u64
}
