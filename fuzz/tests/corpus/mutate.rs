//! Bytes changed at random. Without a look at what they do: libFuzzer looks, and is one command away (CONTRIBUTING.md).

use fastrand::Rng;

/// Most changes of one input.
const CHANGES_MAX: usize = 5;
/// Longest part that is moved, repeated or taken out.
const PART_MAX_BYTES: usize = 300;

/// What programs stumble over, beside the words of the corpus.
const WORDS: [&[u8]; 22] = [
    b"0",
    b"-1",
    b"1",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"1e400",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"\"",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x1b[",
    b"\xff",
    b"\xc2\x9b",
    "\u{202e}\u{1f600}".as_bytes(),
    b"\\u0000\\ud800",
];

pub(crate) struct Mutator {
    rng: Rng,
    corpus: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Mutator {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let mut words: Vec<Vec<u8>> =
            corpus.iter().flat_map(|bytes| bytes.split(|byte| !is_word(byte)).map(<[u8]>::to_vec)).collect();
        words.sort();
        words.dedup();
        Mutator { rng: Rng::with_seed(seed), corpus, words }
    }

    /// The next input.
    pub(crate) fn next(&mut self, max_bytes: usize) -> Vec<u8> {
        let mut bytes = self.one().to_vec();
        for _ in 0..self.rng.usize(1..=CHANGES_MAX) {
            self.change(&mut bytes);
        }
        bytes.truncate(max_bytes);
        bytes
    }

    fn one(&mut self) -> &[u8] {
        let at = self.rng.usize(..self.corpus.len());
        &self.corpus[at]
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.rng.usize(..=bytes.len());
        let end = (at + self.rng.usize(..PART_MAX_BYTES)).min(bytes.len());
        match self.rng.u8(..12) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = self.rng.u8(..),
            2 => bytes.insert(at, self.rng.u8(..)),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            // Again, once or often.
            5 => {
                let part = bytes[at..end].repeat(if self.rng.u8(..8) == 0 { 30 } else { 1 });
                drop(bytes.splice(at..at, part));
            }
            // A line out, a line twice, two lines that change places.
            6 => self.lines(bytes),
            // A part of another one.
            7 => {
                let other = self.one().to_vec();
                let from = self.rng.usize(..=other.len());
                let to = (from + self.rng.usize(..PART_MAX_BYTES)).min(other.len());
                drop(bytes.splice(at..at, other[from..to].to_vec()));
            }
            // Another word, or another number, in place of one.
            _ => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let from = bytes[at..].iter().position(is_word).map_or(at, |from| at + from);
                let length = bytes[from..].iter().take_while(|byte| is_word(byte)).count();
                let words = if self.rng.bool() { self.words.len() } else { 0 };
                let word = match words {
                    0 => WORDS[self.rng.usize(..WORDS.len())].to_vec(),
                    _ => self.words[self.rng.usize(..words)].clone(),
                };
                drop(bytes.splice(from..from + length, word));
            }
        }
    }

    fn lines(&mut self, bytes: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.is_empty() {
            return;
        }
        let (one, other) = (self.rng.usize(..lines.len()), self.rng.usize(..lines.len()));
        match self.rng.u8(..3) {
            0 => drop(lines.remove(one)),
            1 => lines.insert(other, lines[one]),
            _ => lines.swap(one, other),
        }
        *bytes = lines.concat();
    }
}

/// A number that bytes come to (FNV-1a): a name for them.
pub(crate) fn digits(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
