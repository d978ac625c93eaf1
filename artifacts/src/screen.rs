//! What a person would see now on a command's terminal.

use crate::{Growth, OutputFile, Paths, ReadError, source::Source};
use serde::{Deserialize, Serialize};
use std::{io, num::NonZero};

/// How much of the output is looked at: programs that use the whole screen draw it anew long before. It takes about 40 ms.
pub const SCREEN_TAIL_BYTES: u64 = 2 << 20;
/// Largest screen, in rows or columns: above any real one, and a screen of this size takes 32 MiB.
const SIDE_MAX: u16 = 1_000;
/// Smallest number of columns: a wide character has two.
const COLUMNS_MIN: u16 = 2;

/// A terminal's screen at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Screen {
    /// The text of each row, without the blanks at its end.
    pub rows: Vec<String>,
    /// Row and column of the cursor, from 0.
    pub cursor: (u16, u16),
    /// Rows and columns.
    pub size: (u16, u16),
}

/// The screen after the bytes, which begin with an empty one. Sizes are held between 1 and 1,000 rows, 2 and 1,000 columns.
pub fn screen_of(bytes: &[u8], rows: u16, columns: u16) -> Screen {
    let size = (rows.clamp(1, SIDE_MAX), columns.clamp(COLUMNS_MIN, SIDE_MAX));
    let not_zero = |side| NonZero::new(side).unwrap_or(NonZero::<u16>::MIN);
    let mut terminal = vt100::Parser::new(not_zero(size.0), not_zero(size.1), 0);
    terminal.process(bytes);
    let screen = terminal.screen();
    let rows = screen.rows(0, size.1).map(|row| row.trim_end().to_owned()).collect();
    Screen { rows, cursor: screen.cursor_position(), size }
}

/// The screen of a command whose output is a terminal's, with the size that the terminal has, rows first. It is made from the last
/// [`SCREEN_TAIL_BYTES`] of the combined output: what was drawn before and not again is not on it.
///
/// # Errors
/// As [`read_now`](crate::read_now).
pub fn screen(paths: &Paths, live: Option<&Growth>, size: (u16, u16)) -> Result<Screen, ReadError> {
    let failed = |error: io::Error| ReadError::new(&paths.combined(), &error);
    let bytes = tail(paths, live).map_err(failed)?;
    Ok(screen_of(&bytes, size.0, size.1))
}

fn tail(paths: &Paths, live: Option<&Growth>) -> io::Result<Vec<u8>> {
    let source = Source::open(paths, live, OutputFile::Combined)?;
    let total = source.length()?;
    let from = total.saturating_sub(SCREEN_TAIL_BYTES);
    let mut bytes = source.read(from, total)?;
    if from > 0 {
        // Not from within a sequence or a character.
        let begin = bytes.iter().position(|byte| matches!(byte, b'\n' | 0x1b)).unwrap_or(0);
        bytes.drain(..begin);
    }
    Ok(bytes)
}
