//! Output as text: what a terminal would show of each line in the end.
//!
//! * in: raw bytes, in pieces of any size
//! * out: text, line by line, and up to which raw byte it is final
//! * keeps: the text does not depend on the pieces; memory is bounded, whatever comes

use crate::line::Line;
use memchr::memchr3;
use vte::{Params, Parser, Perform};

/// Longest text of a line, in bytes, or in columns if it was redrawn. A longer one is given away in pieces of this size, which
/// joined are the line: what was given away is not redrawn any more. Long enough for every line that is redrawn on purpose.
const LINE_MAX_BYTES: usize = 32 << 10;
/// Most raw bytes of a line before a piece of it is given away. A progress bar that is redrawn without a line feed shows once for
/// each of them, as a line of its own; a page of the clean view may be longer than was asked for by as much.
const RAW_MAX_BYTES: usize = 256 << 10;
/// Most columns of a line that are moved or erased before a piece of it is given away: a few bytes can ask for thousands.
const WORK_MAX_COLUMNS: usize = 1 << 20;
/// Longest escape sequence. Titles, links and the like are far below; what is longer has lost its end, and text follows.
const SEQUENCE_MAX_BYTES: usize = 64 << 10;

/// Makes text from a command's output: escape sequences are removed; carriage return, backspace, tab and the sequences that
/// move or erase within a line are applied as on a terminal of any width; other control characters are dropped; invalid UTF-8
/// becomes U+FFFD. A line feed ends a line, with or without a carriage return.
///
/// What moves to other lines is not applied: of several lines that are redrawn together each drawing is shown. A tab that
/// nothing was written over stays a tab. A line feed also ends a sequence that was not finished.
#[derive(Default)]
pub struct Cleaner {
    line: Line,
    raw_in_line: usize,
    parser: Parser,
    sequence: Option<Sequence>,
    /// The beginning of a character.
    partial: ([u8; 4], usize),
    read: u64,
    settled: u64,
}

/// An escape sequence that has begun.
#[derive(Default)]
struct Sequence {
    bytes: usize,
    /// After an escape character that a byte has to follow.
    escape: bool,
    /// A control sequence: ends with its first byte from @ to ~, whatever the parser makes of it.
    control: bool,
}

impl Cleaner {
    /// At the beginning of a line.
    pub fn new() -> Cleaner {
        Cleaner::default()
    }

    /// How many of the bytes have their text given away for good: up to the end of the last line. A new cleaner that begins
    /// with the byte behind gives the rest.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Takes the next bytes, and appends the lines that ended in them.
    pub fn push(&mut self, raw: &[u8], text: &mut String) {
        let mut rest = raw;
        while let Some(&first) = rest.first() {
            let taken = if self.sequence.is_some() {
                self.in_sequence(first, text);
                1
            } else if self.partial.1 > 0 {
                usize::from(self.complete(first, text))
            } else if !first.is_ascii_control() {
                let plain = until_control(rest);
                // The rest of a character may be behind, unless something else is there.
                let cut = rest.get(plain).is_none_or(|next| !next.is_ascii_control());
                self.plain(&rest[..plain], cut, text);
                plain
            } else if let Some(common) = Common::at(rest) {
                self.common(&common, text)
            } else {
                self.control(first, text);
                1
            };
            rest = &rest[taken..];
        }
    }

    /// Nothing follows: the rest is a line without an end, and what is not whole in it is no sequence.
    pub fn finish(&mut self, text: &mut String) {
        if self.partial.1 > 0 {
            self.replace(text);
        }
        self.line.take(text);
        *self = Cleaner { settled: self.read, read: self.read, ..Cleaner::default() };
    }

    /// Counts bytes that belong to the line.
    fn count(&mut self, bytes: usize) {
        self.read += bytes as u64;
        self.raw_in_line += bytes;
    }

    /// Between two characters, and not in a sequence: the line may be given away here if it is too long.
    fn bound(&mut self, text: &mut String) {
        let long = self.raw_in_line >= RAW_MAX_BYTES || self.line.size() >= LINE_MAX_BYTES;
        if long || self.line.work() >= WORK_MAX_COLUMNS {
            let redrawn = self.line.is_redrawn();
            self.end_line(redrawn, text);
        }
    }
    fn end_line(&mut self, feed: bool, text: &mut String) {
        self.line.take(text);
        if feed {
            text.push('\n');
        }
        self.raw_in_line = 0;
        self.settled = self.read;
    }

    /// Takes bytes among which are no ASCII control characters. If they were `cut` from more, the rest of the last character
    /// comes later.
    fn plain(&mut self, bytes: &[u8], cut: bool, text: &mut String) {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.line.prepare();
            let room = LINE_MAX_BYTES.saturating_sub(self.line.size());
            let room = room.min(RAW_MAX_BYTES.saturating_sub(self.raw_in_line)).max(1);
            // A character across the end of the room is the last one in it.
            let within = &rest[..rest.len().min(room + 3)];
            let (valid, wrong) = match std::str::from_utf8(within) {
                Ok(valid) => (valid, None),
                Err(error) => {
                    let valid = std::str::from_utf8(&within[..error.valid_up_to()]).unwrap_or_default();
                    (valid, error.error_len())
                }
            };
            let taken = if !valid.is_empty() {
                let end = (room..valid.len()).find(|at| valid.is_char_boundary(*at));
                self.print(&valid[..end.unwrap_or(valid.len())], text)
            } else if cut && wrong.is_none() {
                self.partial.0[..rest.len()].copy_from_slice(rest);
                self.partial.1 = rest.len();
                self.count(rest.len());
                return;
            } else {
                let length = wrong.unwrap_or(rest.len());
                self.count(length);
                self.replace(text);
                length
            };
            rest = &rest[taken..];
        }
    }
    /// Prints characters for which there is room; the bytes that they had.
    fn print(&mut self, characters: &str, text: &mut String) -> usize {
        // There are control characters beyond ASCII, from U+0080 to U+009F, all of which begin with this byte.
        if characters.as_bytes().contains(&0xc2) {
            characters.split(char::is_control).for_each(|shown| self.line.print(shown));
        } else {
            self.line.print(characters);
        }
        self.count(characters.len());
        self.bound(text);
        characters.len()
    }

    /// Takes the next byte of a character, if it belongs there.
    fn complete(&mut self, byte: u8, text: &mut String) -> bool {
        let (mut bytes, length) = self.partial;
        bytes[length] = byte;
        match std::str::from_utf8(&bytes[..=length]) {
            Ok(character) => {
                self.partial.1 = 0;
                if !character.contains(char::is_control) {
                    self.line.print(character);
                }
                self.count(1);
                self.bound(text);
                true
            }
            Err(error) if error.error_len().is_none() => {
                self.partial = (bytes, length + 1);
                self.count(1);
                true
            }
            Err(_) => {
                self.replace(text);
                false
            }
        }
    }
    /// What was no character.
    fn replace(&mut self, text: &mut String) {
        self.partial.1 = 0;
        self.line.print("\u{fffd}");
        self.bound(text);
    }

    fn control(&mut self, byte: u8, text: &mut String) {
        self.count(1);
        match byte {
            b'\n' => return self.end_line(true, text),
            0x1b => self.begin_sequence(),
            _ => apply(&mut self.line, byte),
        }
        if self.sequence.is_none() {
            self.bound(text);
        }
    }

    fn common(&mut self, common: &Common, text: &mut String) -> usize {
        self.count(common.length);
        if !common.private {
            self.line.sequence(common.action, common.parameter);
        }
        self.bound(text);
        common.length
    }

    fn begin_sequence(&mut self) {
        self.sequence = Some(Sequence { bytes: 1, escape: true, control: false });
        self.parser.advance(&mut Performer::new(&mut self.line), b"\x1b");
    }
    fn in_sequence(&mut self, byte: u8, text: &mut String) {
        let Some(sequence) = &mut self.sequence else { return };
        sequence.bytes += 1;
        let ends_control = sequence.control && (b'@'..=b'~').contains(&byte);
        if byte == 0x1b {
            (sequence.escape, sequence.control) = (true, false);
        } else if sequence.escape && byte.is_ascii() && !byte.is_ascii_control() {
            (sequence.escape, sequence.control) = (false, byte == b'[');
        }
        let overlong = sequence.bytes >= SEQUENCE_MAX_BYTES;
        self.count(1);
        let mut does = Performer::new(&mut self.line);
        self.parser.advance(&mut does, &[byte]);
        // A string whose end is a byte of its own; after an escape character the end has yet to come.
        let ended = does.ended || ends_control || (does.unhooked && byte != 0x1b);
        let feed = does.feed;
        if feed || (overlong && !ended) {
            // It holds a part of a sequence, or all of an overlong one.
            self.parser = Parser::new();
        }
        if feed || overlong || ended {
            self.sequence = None;
            if feed { self.end_line(true, text) } else { self.bound(text) }
        }
    }
}

/// How far control characters are looked for at once: where each second byte is one, as in UTF-16, much more would be in vain.
const LOOK_BYTES: usize = 256;
/// So near, a look at one byte after the other is the fastest.
const NEAR_BYTES: usize = 16;

/// How many bytes there are, of the next ones, before the first ASCII control character.
fn until_control(bytes: &[u8]) -> usize {
    let bytes = &bytes[..bytes.len().min(LOOK_BYTES)];
    let near = &bytes[..bytes.len().min(NEAR_BYTES)];
    if let Some(first) = near.iter().position(u8::is_ascii_control) {
        return first;
    }
    let usual = memchr3(b'\n', b'\r', 0x1b, bytes).unwrap_or(bytes.len());
    // Others are rare: a look at all bytes, many at once, is faster than one that stops at the first.
    let other = bytes[..usual].iter().fold(false, |any, byte| any | byte.is_ascii_control());
    let first = || bytes[..usual].iter().position(u8::is_ascii_control).unwrap_or(usual);
    if other { first() } else { usual }
}

/// Most parameters and letters of a control sequence that is looked at without the parser.
const COMMON_BYTES: usize = 32;

/// A control sequence as they mostly are, whole: numbers, and then a letter. The parser would do the same with it, byte by byte.
struct Common {
    length: usize,
    private: bool,
    parameter: u16,
    action: char,
}
impl Common {
    fn at(bytes: &[u8]) -> Option<Common> {
        let after = bytes.strip_prefix(b"\x1b[")?;
        let private = after.first() == Some(&b'?');
        let numbers = &after[usize::from(private)..after.len().min(COMMON_BYTES)];
        let count = numbers.iter().position(|byte| !byte.is_ascii_digit() && *byte != b';')?;
        let action = numbers.get(count).filter(|byte| (b'@'..=b'~').contains(*byte))?;
        let first = numbers[..count].iter().take_while(|byte| byte.is_ascii_digit());
        let parameter = first
            .fold(0_u16, |number, digit| number.saturating_mul(10).saturating_add(u16::from(digit - b'0')));
        let length = 2 + usize::from(private) + count + 1;
        Some(Common { length, private, parameter, action: char::from(*action) })
    }
}

/// A control character that is neither a line feed nor the begin of a sequence.
fn apply(line: &mut Line, byte: u8) {
    match byte {
        b'\r' => line.carriage_return(),
        b'\t' => line.tab(),
        0x08 => line.backspace(),
        _ => {}
    }
}

/// What one byte does to the line, by the parser.
struct Performer<'a> {
    line: &'a mut Line,
    /// The sequence has ended, and text follows.
    ended: bool,
    unhooked: bool,
    feed: bool,
}
impl<'a> Performer<'a> {
    fn new(line: &'a mut Line) -> Performer<'a> {
        Performer { line, ended: false, unhooked: false, feed: false }
    }
}
impl Perform for Performer<'_> {
    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.feed = true,
            // They break a sequence off.
            0x18 | 0x1a => self.ended = true,
            _ => apply(self.line, byte),
        }
    }
    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        self.ended = true;
        if intermediates.is_empty() && !ignore {
            let first = params.iter().next().and_then(|first| first.first().copied());
            self.line.sequence(action, first.unwrap_or(0));
        }
    }
    fn esc_dispatch(&mut self, _: &[u8], _: bool, _: u8) {
        self.ended = true;
    }
    fn osc_dispatch(&mut self, _: &[&[u8]], bell: bool) {
        self.ended |= bell;
    }
    fn unhook(&mut self) {
        self.unhooked = true;
    }
}

impl std::fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleaner")
            .field("read", &self.read)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

/// All of some output as a [`Cleaner`] gives it, as if nothing could follow.
pub fn clean_text(raw: &[u8]) -> String {
    let (mut cleaner, mut text) = (Cleaner::new(), String::with_capacity(raw.len()));
    cleaner.push(raw, &mut text);
    cleaner.finish(&mut text);
    text
}
