//! A trace, run again.

use crate::{place_in, says_why};
use ostler::trace::{ReplayError, Replayed, replay_text};

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(whole) = replayed(&text) else { return };
    let lines = text.lines().count() as u64;
    assert!(whole.records < lines.max(1), "{} records of {lines} lines", whole.records);
    if !whole.is_identical() {
        return;
    }
    let header = text.find('\n').map_or(text.len(), |end| end + 1);
    let cut = place_in(bytes).clamp(header.min(text.len()), text.len());
    let cut = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    // It may end in the middle of an input, of which what is left can be another message.
    if text[..cut].ends_with('\n')
        && let Some(part) = replayed(&text[..cut])
    {
        assert!(part.is_identical() && part.records <= whole.records, "cut after {cut} bytes: {part}");
    }
}

fn replayed(text: &str) -> Option<Replayed> {
    match replay_text(text) {
        Ok(replayed) => {
            assert!(!replayed.to_string().is_empty());
            Some(replayed)
        }
        Err(ReplayError::Resource(why)) => panic!("{why}"),
        Err(error) => {
            says_why(&error);
            None
        }
    }
}
