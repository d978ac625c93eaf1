//! Random texts, and patterns with the same in plain bytes, to be matched against one line at a time.
#![allow(dead_code, reason = "not every test file uses all of it")]

use ostler_artifacts::Pattern;
use regex_automata::{Input, meta, util::syntax};
use std::ops::Range;

/// Deterministic stream of numbers (xorshift64).
pub(crate) struct Dice(pub(crate) u64);
impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    pub(crate) fn text(&mut self, len: usize) -> Vec<u8> {
        let pieces: [&[u8]; 11] =
            [b"a", b"a", b"b", b"A", b"\n", b"\r", b"\r\n", b" ", "é".as_bytes(), b"\xff", b"\xc3"];
        let mut all = Vec::new();
        while all.len() < len {
            all.extend_from_slice(pieces[self.below(pieces.len())]);
        }
        all
    }
}

/// A pattern, and what it means in the bytes of one line, for an engine that knows neither lines nor characters.
const PATTERNS: [(&str, &str); 34] = [
    ("ab", "ab"),
    ("^a", "^a"),
    ("b$", "b$"),
    ("^b+$", "^b+$"),
    (r"\Aa|b\z", "^a|b$"),
    (r"(?m)^ab|ba$", "^ab|ba$"),
    (r"(?mR)^é", r"^\xc3\xa9"),
    (r"(?-m)^ab?$", "^ab?$"),
    (r"(?m-R)^(?-u)a\b.*$", r"^a\b.*$"),
    ("^[^x]*b", r"^(?:[^x][\x80-\xbf]*)*b"),
    ("[^a]{2}b", r"(?:[^a][\x80-\xbf]*){2}b"),
    ("[^ab]+$", r"(?:[^ab][\x80-\xbf]*)+$"),
    ("[^é]a", r"(?:[\x00-\x7f]|[\xc4-\xdf][\x80-\xbf]|\xc3[\x80-\xa8\xaa-\xbf])a"),
    (r"\bab\b", r"\bab\b"),
    (r"\B[ab]+\B", r"\B[ab]+\B"),
    (r"\w+ \w+", r"[a-zA-Z0-9_]+ [a-zA-Z0-9_]+"),
    (r"\s\S+$", r"[ ](?:\S[\x80-\xbf]*)+$"),
    (r"a\s*b", "a *b"),
    (r"[\Wa]b", r"(?:[^b-zA-Z0-9_][\x80-\xbf]*)b"),
    ("(?i)Ab", "[aA][bB]"),
    ("(?i)É", r"\xc3[\xa9\x89]"),
    ("[aé]b", r"(?:a|\xc3\xa9)b"),
    ("a.b", r"a(?:.[\x80-\xbf]*)b"),
    ("a.+", r"a(?:.[\x80-\xbf]*)+"),
    ("b.*?a", r"b(?:.[\x80-\xbf]*)*?a"),
    ("(?s)b.a", r"b(?:.[\x80-\xbf]*)a"),
    ("a|ab|abb", "a|ab|abb"),
    ("abb|b", "abb|b"),
    ("(?<x>a+)(b)?", "(?<x>a+)(b)?"),
    (r"(a|\n|b\r)b", "(a)b"),
    (r"(?-u:\xff)", r"\xff"),
    (r"(?-u:[^a])b", "[^a]b"),
    ("é$", r"\xc3\xa9$"),
    ("ba(b|$)", "ba(b|$)"),
];

pub(crate) struct Case {
    pub(crate) pattern: Pattern,
    pub(crate) shown: &'static str,
    in_line: meta::Regex,
}
pub(crate) fn cases() -> Vec<Case> {
    let case = |(shown, bytes): (&'static str, &str)| {
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let in_line = meta::Builder::new()
            .configure(meta::Config::new().utf8_empty(false))
            .syntax(syntax)
            .build(bytes)
            .unwrap_or_else(|error| panic!("{bytes}: {error:?}"));
        Case {
            pattern: Pattern::regex(shown).unwrap_or_else(|error| panic!("{shown}: {error}")),
            shown,
            in_line,
        }
    };
    PATTERNS.map(case).into_iter().collect()
}
impl Case {
    /// Where it matches in a line, looking from `from` on, and where its groups do.
    pub(crate) fn first(&self, line: &[u8], from: usize) -> Option<Vec<Option<Range<usize>>>> {
        let mut captures = self.in_line.create_captures();
        self.in_line.search_captures(&Input::new(line).range(from..), &mut captures);
        captures.is_match().then(|| captures.iter().map(|at| at.map(|at| at.range())).collect())
    }
}

/// Lines with their ends: begin, end of the content, begin of the next.
pub(crate) fn split(all: &[u8], from: usize) -> Vec<(usize, usize, usize)> {
    let (mut lines, mut begin, mut at) = (Vec::new(), from, from);
    while at < all.len() {
        let next = match all[at] {
            b'\r' if all.get(at + 1) == Some(&b'\n') => at + 2,
            b'\r' | b'\n' => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        lines.push((begin, at, next));
        (begin, at) = (next, next);
    }
    if begin < all.len() {
        lines.push((begin, all.len(), all.len()));
    }
    lines
}
