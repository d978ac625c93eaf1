//! Whatever of ostler reads bytes that somebody else has written, each as a function of bytes.
//!
//! * in: any bytes
//! * out: nothing; a promise that does not hold is a panic
//! * keeps: no process and no file of anybody else's is touched, whatever the bytes say
//!
//! | target | what it reads | what must hold, beside no panic |
//! |---|---|---|
//! | [`trace`] | a trace, in each form for people | what a kill has cut is read to its last whole line; no form lets a control character or a tag through |
//! | [`replay`] | a trace, run again | its thread never panics; what is identical is so wherever it is cut |
//! | [`pattern`] | a pattern, and output | a search finds the same however the output comes in; pages of a search join |
//! | [`clean`] | output | its clean view and a terminal's screen do not depend on the pieces |
//! | [`files`] | `launch.json`, `result.json` | what was read and written again reads the same |
//! | [`journal`] | rows of a dead host's database, or a damaged file | what was taken over and written reads the same |
//! | [`control`] | a question to a host, an answer of one | each question has an answer of whole lines |
//! | [`keeper`] | frames between a client's process and its keeper, a keeper's first line | the client's bytes come out as they went in, however they are cut |
//! | [`helper`] | what the guard and the helpers report | one report of each whole message, and the end after the last |
//! | [`mcp`] | lines of a client of `ostler mcp` | every line out is a message; no request has two answers; the end of the input is the end |
//!
//! What is refused says why in words: [`says_why`].

pub mod clean;
pub mod control;
pub mod files;
pub mod helper;
pub mod journal;
pub mod keeper;
pub mod mcp;
pub mod pattern;
pub mod replay;
pub mod trace;

/// One entry point.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also that of its folder in `corpus`.
    pub name: &'static str,
    /// Panics where a promise does not hold.
    pub run: fn(&[u8]),
    /// Most bytes that it may allocate for an input, in all of its run: so many, and so many for each byte of the input. Some times what was
    /// seen; in `replay` a process that has crashed is reported with the lines of its stack, and 30 bytes can say that a mebibyte was written.
    pub allocates: (usize, usize),
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    Target { name: "trace", run: trace::run, allocates: (4 << 20, 1_000) },
    Target { name: "replay", run: replay::run, allocates: (96 << 20, 20_000) },
    Target { name: "pattern", run: pattern::run, allocates: (64 << 20, 2_000) },
    Target { name: "clean", run: clean::run, allocates: (32 << 20, 1_000) },
    Target { name: "files", run: files::run, allocates: (4 << 20, 500) },
    Target { name: "journal", run: journal::run, allocates: (16 << 20, 500) },
    Target { name: "control", run: control::run, allocates: (4 << 20, 500) },
    Target { name: "keeper", run: keeper::run, allocates: (2 << 20, 200) },
    Target { name: "helper", run: helper::run, allocates: (1 << 20, 100) },
    Target { name: "mcp", run: mcp::run, allocates: (32 << 20, 2_000) },
];

/// An error that a person can do something with: words, in one piece, and no form of the program's own.
///
/// # Panics
/// It is none.
pub fn says_why(error: &dyn std::error::Error) {
    let said = error.to_string();
    let words = said.split(' ').filter(|word| word.chars().any(char::is_alphabetic)).count();
    assert!(words >= 2, "an error that says nothing: {said:?}");
}

/// Cuts bytes into pieces. Where, depends on them alone, so that an input fails in the same way each time.
pub(crate) fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let mut dice = ostler::testing::Dice::new(digits(bytes));
    let (mut rest, mut pieces) = (bytes, Vec::new());
    // Many small ones, and now and then a large one.
    while !rest.is_empty() {
        let most = if dice.below(8) == 0 { 100_000 } else { 7 };
        let (piece, others) = rest.split_at(rest.len().min(1 + dice.below(most) as usize));
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// A number that bytes come to (FNV-1a).
pub(crate) fn digits(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A place in bytes that depends on them alone; 0 if there are none.
pub(crate) fn place_in(bytes: &[u8]) -> usize {
    usize::try_from(digits(bytes) % (bytes.len() as u64 + 1)).unwrap_or(0)
}
