//! A pattern, and the output in which it is looked for: `KIND PATTERN`, a line feed, and the output. KIND is one character: the bits of its
//! code say whether it is a literal, how many lines come at once, and how often the output is repeated.

use crate::{pieces, says_why};
use ostler_artifacts::{FindRequest, FoundLine, Pattern, Search, find};
use ostler_messages::Found;

/// Most output: more than a piece of a long line and what is searched again.
const OUTPUT_MAX_BYTES: usize = 200 << 10;
/// Most matches of one input: each takes a search of its own.
const MATCHES_MAX: usize = 50;

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (pattern, output) = rest.split_at(end);
    let output = output.get(1..).unwrap_or_default();
    let pattern = if kind & 1 == 0 {
        Pattern::literal(pattern)
    } else {
        Pattern::regex(&String::from_utf8_lossy(pattern))
    };
    let pattern = match pattern {
        Ok(pattern) => pattern,
        Err(error) => return says_why(&error),
    };
    let times = if kind & 8 == 0 { 1 } else { OUTPUT_MAX_BYTES / output.len().max(1) };
    let mut output = output.repeat(times.max(1));
    output.truncate(OUTPUT_MAX_BYTES);
    let whole = all(&pattern, &output, &[&output]);
    let parts = all(&pattern, &output, &pieces(&output));
    assert_eq!(whole, parts, "what is found depends on the pieces");
    for found in &whole {
        let (begin, length) = (found.offset as usize, found.length as usize);
        let matched = output.get(begin..begin + length).unwrap_or_default();
        assert!(!matched.is_empty() && !matched.contains(&b'\n') && !matched.contains(&b'\r'), "{found:?}");
    }
    let max = usize::from(kind >> 4) % 4 + 1;
    let around = usize::from(kind >> 1) % 4;
    pages_join(&pattern, &output, max, around, whole.first());
}

/// Each match, one search after the other.
fn all(pattern: &Pattern, output: &[u8], pieces: &[&[u8]]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = 0_usize;
    while found.len() < MATCHES_MAX && from < output.len() {
        let mut search = Search::new(pattern.clone(), from as u64);
        let mut at = 0;
        let mut first = None;
        for piece in pieces {
            let end = at + piece.len();
            if end > from && first.is_none() {
                first = search.feed(&piece[from.saturating_sub(at)..], 0);
            }
            at = end;
        }
        let Some(one) = first.or_else(|| search.end()) else { break };
        from = (one.offset + one.length) as usize;
        assert_eq!(search.offset() as usize, from);
        found.push(one);
    }
    found
}

fn pages_join(pattern: &Pattern, output: &[u8], max: usize, around: usize, first: Option<&Found>) {
    let read = |offset: u64, to: &mut [u8]| -> std::io::Result<usize> {
        let rest = output.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let count = rest.len().min(to.len());
        to[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    };
    let page = |request: &FindRequest| match find(read, pattern, request) {
        Ok(page) => page,
        Err(error) => panic!("{error}"),
    };
    let matched = |lines: Vec<FoundLine>| lines.into_iter().filter(|line| line.matched.is_some());
    let whole = page(&FindRequest::new().max(MATCHES_MAX));
    let whole: Vec<_> = matched(whole.lines).collect();
    let begins = whole.first().and_then(|line| line.matched.as_ref()).map(|span| span.offset);
    assert_eq!(begins, first.map(|found| found.offset), "a page and a search find another first match");
    let mut request = FindRequest::new().max(max).around(around, around);
    let mut joined = Vec::new();
    while joined.len() < whole.len() {
        let next = page(&request);
        assert!(next.matches <= max, "{} matches in a page of {max}", next.matches);
        let (count, complete) = (next.matches, next.complete);
        joined.extend(matched(next.lines));
        assert!(complete || count > 0 || next.next_offset > request.offset, "a page does not get on");
        if complete {
            break;
        }
        request = request.offset(next.next_offset).line(next.next_line);
    }
    joined.truncate(whole.len());
    // A page that begins within the file knows the numbers of its lines too: they are compared.
    assert_eq!(joined, whole, "the pages of {max} do not join to the whole");
}
