//! Output, as its clean view and as a terminal's screen: the first byte says how often it is repeated, and how large the screen is.

use crate::pieces;
use ostler_artifacts::{Cleaner, clean_text, screen_of};

/// Most output: more than the longest line that is held.
const OUTPUT_MAX_BYTES: usize = 300 << 10;
/// Most of it that is drawn: each byte can move all of a large screen.
const DRAWN_MAX_BYTES: usize = 16 << 10;

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let Some((&kind, output)) = bytes.split_first() else { return };
    let times = if kind & 7 == 7 { OUTPUT_MAX_BYTES / output.len().max(1) } else { 1 };
    let mut output = output.repeat(times.max(1));
    output.truncate(OUTPUT_MAX_BYTES);
    let whole = clean_text(&output);
    let control = whole.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert!(control.is_none(), "a control character comes through: {control:?}");
    assert_eq!(in_pieces(&output), whole, "the clean view depends on the pieces");
    let (rows, columns) = (u16::from(kind >> 3) * 5, u16::from(kind) * 4);
    let screen = screen_of(&output[..output.len().min(DRAWN_MAX_BYTES)], rows, columns);
    assert_eq!(screen.rows.len(), usize::from(screen.size.0));
    assert!(screen.cursor.0 < screen.size.0 && screen.cursor.1 <= screen.size.1, "{:?}", screen.cursor);
}

/// The same in pieces; in the middle somebody else goes on with what is not settled.
fn in_pieces(output: &[u8]) -> String {
    let (mut cleaner, mut text) = (Cleaner::new(), String::new());
    let pieces = pieces(output);
    let middle = pieces.len() / 2;
    let mut at = 0;
    for (n, piece) in pieces.into_iter().enumerate() {
        cleaner.push(piece, &mut text);
        at += piece.len();
        if n == middle {
            let settled = usize::try_from(cleaner.settled()).unwrap_or(usize::MAX);
            assert!(settled <= at, "more is settled than was read");
            cleaner = Cleaner::new();
            cleaner.push(&output[settled..at], &mut text);
        }
    }
    cleaner.finish(&mut text);
    text
}
