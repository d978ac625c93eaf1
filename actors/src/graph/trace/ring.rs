//! The last lines of a trace, in bounded memory: pure.
//!
//! * in: lines, one at a time
//! * out: a copy of what is held, which shares its memory
//! * keeps: whole lines, the newest without a gap; never more than its bytes; when it is full, a line costs one copy and no allocation

use std::{collections::VecDeque, sync::Arc};

/// The oldest lines go by pieces of this share of the whole: one is forgotten at a time, and that is little enough.
const PIECES: usize = 64;

/// See the [module](self).
pub(crate) struct Ring {
    max_bytes: usize,
    /// Bytes of an ordinary piece. A longer line has a piece of its own.
    piece_bytes: usize,
    /// The oldest first. A copy of the ring may share them.
    full: VecDeque<Piece>,
    /// What `full` has taken of `max_bytes`.
    full_bytes: usize,
    newest: Vec<u8>,
    newest_lines: u64,
    missing: u64,
}

struct Piece {
    bytes: Arc<Vec<u8>>,
    lines: u64,
}

impl Ring {
    /// Takes its memory as it is needed.
    pub(crate) fn new(max_bytes: usize) -> Ring {
        Ring {
            max_bytes,
            piece_bytes: max_bytes / PIECES,
            full: VecDeque::new(),
            full_bytes: 0,
            newest: Vec::new(),
            newest_lines: 0,
            missing: 0,
        }
    }

    /// One more line, with its end. One that is longer than the ring is missing, as all before it are.
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.newest.len() + line.len() > self.newest.capacity() && !self.begin_piece(line.len()) {
            self.missing += 1;
            return;
        }
        self.newest.extend_from_slice(line);
        self.newest_lines += 1;
    }

    /// Makes room for a line at the beginning of a new piece. False: there can't be as much.
    fn begin_piece(&mut self, line_bytes: usize) -> bool {
        if self.newest_lines > 0 {
            let bytes = std::mem::take(&mut self.newest);
            self.full_bytes += bytes.capacity();
            self.full
                .push_back(Piece { bytes: Arc::new(bytes), lines: std::mem::take(&mut self.newest_lines) });
        }
        let wanted = self.piece_bytes.max(line_bytes);
        let mut free = std::mem::take(&mut self.newest);
        while self.full_bytes + wanted > self.max_bytes {
            let Some(oldest) = self.full.pop_front() else { return false };
            self.missing += oldest.lines;
            self.full_bytes -= oldest.bytes.capacity();
            // One that a copy shares is the copy's to give back.
            free = Arc::try_unwrap(oldest.bytes).unwrap_or_default();
        }
        self.newest = match free.capacity() == wanted {
            true => free,
            false => Vec::with_capacity(wanted),
        };
        self.newest.clear();
        true
    }

    /// A copy, for whoever writes it down. It costs what the newest piece has in it; the others are shared.
    pub(crate) fn held(&self) -> Vec<Arc<Vec<u8>>> {
        let full = self.full.iter().map(|piece| piece.bytes.clone());
        let newest = Some(&self.newest).filter(|newest| !newest.is_empty());
        full.chain(newest.map(|newest| Arc::new(newest.clone()))).collect()
    }
    /// Lines before the first that is held.
    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of Lehmer's: the same numbers on each run.
    struct Dice(u64);
    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0 * 48_271 % 0x7fff_ffff;
            self.0 as usize % end
        }
    }
    fn text(held: &[Arc<Vec<u8>>]) -> Vec<u8> {
        held.iter().flat_map(|piece| piece.iter().copied()).collect()
    }
    fn capacity(ring: &Ring) -> usize {
        ring.full.iter().map(|piece| piece.bytes.capacity()).sum::<usize>() + ring.newest.capacity()
    }

    /// Of lines of any length, in rings of any size: whole lines, the newest without a gap, and no more than its bytes.
    #[test]
    fn it_holds_the_end_of_what_was_pushed_in_whole_lines() {
        for seed in 1..400 {
            let mut dice = Dice(seed);
            let max_bytes = 1 + dice.below(5_000);
            let longest = 1 + dice.below(3 * max_bytes / 2);
            let mut ring = Ring::new(max_bytes);
            let (mut all, mut ends) = (Vec::new(), vec![0]);
            // Copies that somebody still writes down.
            let mut copies = Vec::new();
            for n in 0..300_u32 {
                let mut line = n.to_string().into_bytes();
                line.resize(line.len() + dice.below(longest), b'x');
                line.push(b'\n');
                ring.push(&line);
                all.extend_from_slice(&line);
                ends.push(all.len());
                let missing = ends[ring.missing() as usize];
                let held = ring.held();
                assert_eq!(text(&held), &all[missing..], "seed {seed}, line {n}");
                assert!(capacity(&ring) <= max_bytes, "seed {seed}: {} of {max_bytes}", capacity(&ring));
                if dice.below(20) == 0 {
                    copies.push((held, missing..all.len()));
                }
            }
            for (held, place) in copies {
                assert_eq!(text(&held), &all[place], "a copy stays as it was, seed {seed}");
            }
        }
    }

    #[test]
    fn a_full_ring_of_short_lines_holds_nearly_all_it_may_and_allocates_nothing() {
        let mut ring = Ring::new(1 << 20);
        let line = [b'x'; 250];
        (0..10_000).for_each(|_| ring.push(&line));
        let places = |ring: &Ring| {
            let mut places: Vec<usize> =
                ring.full.iter().map(|piece| piece.bytes.as_ptr() as usize).collect();
            places.push(ring.newest.as_ptr() as usize);
            places.sort_unstable();
            places
        };
        let before = places(&ring);
        (0..10_000).for_each(|_| ring.push(&line));
        assert_eq!(places(&ring), before, "the memory is used again");
        let held: usize = ring.held().iter().map(|piece| piece.len()).sum();
        assert!(held > (1 << 20) * 95 / 100, "{held}");
    }

    #[test]
    fn a_line_that_is_longer_than_the_ring_is_missing_with_all_before_it() {
        let mut ring = Ring::new(100);
        ring.push(b"one\n");
        ring.push(&[b'x'; 101]);
        assert_eq!((ring.missing(), ring.held().len()), (2, 0));
        ring.push(b"three\n");
        assert_eq!((ring.missing(), text(&ring.held())), (2, b"three\n".to_vec()));
    }
}
