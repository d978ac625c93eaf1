//! The head and the tail of a stream whose middle is not kept.

use std::fmt::Write as _;

/// The longest UTF-8 character has 4 bytes, so this many on the far side of a cut decide whether one spans it.
const SLACK_BYTES: usize = 3;

/// Keeps the first quarter and the last three quarters of at most `limit` bytes of one stream.
///
/// Memory follows what has come and never exceeds the limit by more than 6 bytes: 3 are kept beyond each cut, so
/// that a character which spans it can be told from bytes that are no character.
#[derive(Debug)]
pub struct HeadTail {
    limit: usize,
    head_max: usize,
    tail_max: usize,
    head: Vec<u8>,
    /// What came after the head: grows to `tail_max`, and is a ring from then on.
    ring: Vec<u8>,
    /// Oldest byte of the ring; 0 as long as it grows.
    start: usize,
    total: u64,
}

impl HeadTail {
    /// Keeps nothing yet. `limit` is in raw bytes.
    pub fn new(limit: usize) -> HeadTail {
        HeadTail {
            limit,
            head_max: limit / 4 + SLACK_BYTES,
            tail_max: limit - limit / 4 + SLACK_BYTES,
            head: Vec::new(),
            ring: Vec::new(),
            start: 0,
            total: 0,
        }
    }

    /// Bytes pushed so far.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Takes the next bytes of the stream. Once the limit is reached this is at most two copies, of at most the
    /// limit, however long the slice, and no allocation.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let mut rest = bytes;
        let head_room = self.head_max - self.head.len();
        if head_room > 0 {
            let (head, after) = rest.split_at(head_room.min(rest.len()));
            extend_within(&mut self.head, head, self.head_max);
            rest = after;
        }
        if rest.len() >= self.tail_max {
            rest = &rest[rest.len() - self.tail_max..];
            self.ring.clear();
            self.start = 0;
        }
        let (grown, wrapped) = rest.split_at((self.tail_max - self.ring.len()).min(rest.len()));
        extend_within(&mut self.ring, grown, self.tail_max);
        if !wrapped.is_empty() {
            let (first, second) = wrapped.split_at((self.tail_max - self.start).min(wrapped.len()));
            self.ring[self.start..self.start + first.len()].copy_from_slice(first);
            self.ring[..second.len()].copy_from_slice(second);
            self.start = (self.start + wrapped.len()) % self.tail_max;
        }
    }

    /// Of a stream of so many bytes, which of them need not be pushed: from, to. None: all are needed.
    pub(crate) fn middle_of(&self, bytes: u64) -> Option<(u64, u64)> {
        let (head, tail) = (self.head_max as u64, self.tail_max as u64);
        (bytes > head + tail).then(|| (head, bytes - tail))
    }
    /// So many bytes were in the stream that lie in its [middle](HeadTail::middle_of).
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.total += bytes;
    }

    /// The text as if the limit had been `limit` raw bytes all along (at most the one given to [`HeadTail::new`]),
    /// and whether anything was omitted.
    ///
    /// Invalid bytes become U+FFFD. A character that a cut would split is left out whole and counted in the marker
    /// `[… N bytes omitted …]`, which stands on a line of its own. Neither is part of the limit.
    pub fn view(&self, limit: usize) -> (String, bool) {
        let limit = limit.min(self.limit);
        if self.total <= limit as u64 {
            return (self.text(0, self.total), false);
        }
        let head_cut = (limit / 4) as u64;
        let tail_cut = self.total - (limit - limit / 4) as u64;
        let head_end = self.character_across(head_cut).map_or(head_cut, |(start, _)| start);
        let tail_start = self.character_across(tail_cut).map_or(tail_cut, |(_, end)| end);

        let mut text = self.text(0, head_end);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[… {} bytes omitted …]", tail_start - head_end);
        text.push_str(&self.text(tail_start, self.total));
        (text, true)
    }

    /// Start and end of the valid character that begins before `cut` and ends after it.
    fn character_across(&self, cut: u64) -> Option<(u64, u64)> {
        character_across(cut, |offset| self.get(offset))
    }

    /// Whether it ends in the middle of what may become a character.
    pub fn ends_within_a_character(&self) -> bool {
        let mut end = [0; SLACK_BYTES];
        let begin = self.total.saturating_sub(SLACK_BYTES as u64);
        let kept = end.iter_mut().zip(begin..self.total).filter_map(|(byte, offset)| {
            *byte = self.get(offset)?;
            Some(())
        });
        let count = kept.count();
        incomplete(&end[..count]) > 0
    }

    /// Offset in the stream of the ring's oldest byte.
    fn ring_offset(&self) -> u64 {
        self.total - self.ring.len() as u64
    }

    /// The byte at an offset of the stream, if it is kept.
    fn get(&self, offset: u64) -> Option<u8> {
        if offset < self.head.len() as u64 {
            return Some(self.head[offset as usize]);
        }
        let at = usize::try_from(offset.checked_sub(self.ring_offset())?).ok()?;
        (at < self.ring.len()).then(|| self.ring[(self.start + at) % self.ring.len()])
    }

    /// What is kept of `from..to`, decoded. Every range asked for is either in the head, in the ring, or in both
    /// when nothing is missing between them.
    fn text(&self, from: u64, to: u64) -> String {
        let mut bytes = Vec::with_capacity((to - from) as usize);
        let (newer, older) = self.ring.split_at(self.start);
        let ring_offset = self.ring_offset();
        for (at, part) in
            [(0, self.head.as_slice()), (ring_offset, older), (ring_offset + older.len() as u64, newer)]
        {
            let inside = |offset: u64| offset.saturating_sub(at).min(part.len() as u64) as usize;
            bytes.extend_from_slice(&part[inside(from)..inside(to)]);
        }
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}

/// Bytes of a character of more than one byte, by its first.
fn width(lead: u8) -> Option<usize> {
    match lead {
        0xC2..=0xDF => Some(2),
        0xE0..=0xEF => Some(3),
        0xF0..=0xF4 => Some(4),
        _ => None,
    }
}

/// How many bytes at the end may be the beginning of a character.
pub(crate) fn incomplete(bytes: &[u8]) -> usize {
    let ends = (1..=SLACK_BYTES.min(bytes.len())).map(|back| &bytes[bytes.len() - back..]);
    let is_beginning = |end: &&[u8]| {
        width(end[0]).is_some_and(|width| width > end.len())
            && std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none())
    };
    ends.filter(is_beginning).map(<[u8]>::len).next().unwrap_or(0)
}

/// Start and end of the valid character that begins before `cut` and ends after it.
///
/// Looking back 3 bytes is enough: a lead byte always starts a character, whatever stands before it
/// (The Unicode Standard, section 3.9, table 3-7).
pub(crate) fn character_across(cut: u64, get: impl Fn(u64) -> Option<u8>) -> Option<(u64, u64)> {
    (1..=SLACK_BYTES as u64).filter_map(|back| cut.checked_sub(back)).find_map(|start| {
        let width = width(get(start)?)?;
        let end = start + width as u64;
        let mut bytes = [0; 4];
        for (n, byte) in bytes[..width].iter_mut().enumerate() {
            *byte = get(start + n as u64)?;
        }
        (end > cut && std::str::from_utf8(&bytes[..width]).is_ok()).then_some((start, end))
    })
}

/// Appends, doubling the capacity like any vector but never beyond `max`.
fn extend_within(to: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let needed = to.len() + bytes.len();
    if needed > to.capacity() {
        let capacity = needed.max(to.capacity() * 2).min(max);
        to.reserve_exact(capacity - to.len());
    }
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule, told with everything at hand.
    fn model(all: &[u8], limit: usize) -> (String, bool) {
        if all.len() <= limit {
            return (String::from_utf8_lossy(all).into_owned(), false);
        }
        // Which bytes are the inside of a valid character?
        let mut inside = vec![false; all.len() + 1];
        let mut at = 0;
        for chunk in all.utf8_chunks() {
            for (n, c) in chunk.valid().char_indices() {
                inside[at + n + 1..at + n + c.len_utf8()].fill(true);
            }
            at += chunk.valid().len() + chunk.invalid().len();
        }
        let (mut head, mut tail) = (limit / 4, all.len() - (limit - limit / 4));
        while inside[head] {
            head -= 1;
        }
        while inside[tail] {
            tail += 1;
        }
        let mut text = String::from_utf8_lossy(&all[..head]).into_owned();
        if head > 0 && all[head - 1] != b'\n' {
            text.push('\n');
        }
        text += &format!("[… {} bytes omitted …]\n", tail - head);
        text += &String::from_utf8_lossy(&all[tail..]);
        (text, true)
    }

    /// Deterministic stream of numbers (xorshift64).
    struct Dice(u64);
    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % n as u64) as usize
        }
    }

    const PIECES: [&[u8]; 12] = [
        b"a",
        b"\n",
        "é".as_bytes(),
        "€".as_bytes(),
        "🦀".as_bytes(),
        b"\xff",
        b"\x80",
        b"\xe2\x82",
        b"\xf0\x9f\xa6",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xc0\x80",
    ];

    fn sample(dice: &mut Dice, len: usize, kinds: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            all.extend_from_slice(PIECES[dice.below(kinds)]);
        }
        all.truncate(len);
        all
    }

    #[test]
    fn every_view_equals_the_model_for_any_sizes_chunks_and_limits() {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        for round in 0..400 {
            let kept = dice.below(50);
            let len = dice.below(140);
            let all = sample(&mut dice, len, [2, 5, PIECES.len()][round % 3]);
            let mut text = HeadTail::new(kept);
            let mut at = 0;
            while at < all.len() {
                let next = all.len().min(at + 1 + dice.below([1, 4, 30, 200][round % 4]));
                text.push(&all[at..next]);
                at = next;
                for limit in 0..=kept {
                    assert_eq!(
                        text.view(limit),
                        model(&all[..at], limit),
                        "{limit} of {kept}, {at}: {all:x?}"
                    );
                }
                assert!(text.head.capacity() + text.ring.capacity() <= kept + 2 * SLACK_BYTES);
            }
            assert_eq!(text.view(usize::MAX), model(&all, kept), "above the limit is the limit");
        }
    }

    #[test]
    fn exactly_at_the_limit_is_whole_and_one_more_is_not() {
        let mut text = HeadTail::new(8);
        text.push(b"12345678");
        assert_eq!(text.view(8), ("12345678".to_owned(), false));
        text.push(b"9");
        assert_eq!(text.view(8), ("12\n[… 1 bytes omitted …]\n456789".to_owned(), true));
    }

    #[test]
    fn a_split_character_is_left_out_whole_and_counted() {
        let mut text = HeadTail::new(8);
        text.push("a€bcd€efgh".as_bytes());
        // 14 bytes: the cuts at 2 and at 8 fall inside the first and the second euro sign.
        assert_eq!(text.view(8), ("a\n[… 9 bytes omitted …]\nefgh".to_owned(), true));
    }

    #[test]
    fn a_limit_of_nothing_shows_the_marker_alone() {
        let mut text = HeadTail::new(0);
        assert_eq!(text.view(0), (String::new(), false));
        text.push(&[b'x'; 100_000]);
        assert_eq!(text.view(0), ("[… 100000 bytes omitted …]\n".to_owned(), true));
        assert!(text.ring.capacity() + text.head.capacity() <= 2 * SLACK_BYTES);
    }
}
