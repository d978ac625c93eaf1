//! The first match in a file as it grows: the same whatever the pieces, and no later than its line is known.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

#[path = "common/lines.rs"]
mod lines;

use lines::{Case, Dice, cases, split};
use ostler_artifacts::{
    CARRY_BYTES, Found, PIECE_BYTES, Pattern, PatternSource, QUIET_US, SHOWN_BYTES, Search, Span,
};
use std::ops::Range;

/// Where a match and its groups are, and where its line begins.
type At = (Vec<Option<Range<usize>>>, usize);

/// The rule, told with everything at hand: `came[n]` is when byte `n` came. Then the stream ends.
fn model(case: &Case, all: &[u8], came: &[u64], from: usize) -> Option<At> {
    let judge = |begin: usize, judged: usize, end: usize| {
        let line = &all[begin..end];
        let shift = |at: Option<Range<usize>>| at.map(|at| at.start + begin..at.end + begin);
        let groups = case.first(line, judged - begin)?;
        Some((groups.into_iter().map(shift).collect(), begin))
    };
    for (begin, end, next) in split(all, from) {
        let mut piece = begin;
        for at in begin + 1..=end {
            // In a piece after the first, what was carried is looked at again.
            let window = if piece == begin { begin } else { piece - CARRY_BYTES };
            let quiet = at < all.len() && came[at] - came[at - 1] >= QUIET_US;
            let full = at - piece == PIECE_BYTES;
            if (quiet || full || at == end)
                && let Some(found) = judge(begin, window, at)
            {
                return Some(found);
            }
            if full {
                piece = at;
            }
        }
        let _ = next;
    }
    None
}

fn at(found: &Found) -> At {
    let range = |span: &Span| span.offset as usize..(span.offset + span.length) as usize;
    let groups = found.groups.iter().map(|group| group.span.as_ref().map(range)).collect();
    (groups, found.line_offset as usize)
}

/// Feeds it in random pieces that come at random times; sometimes somebody looks at the clock between.
fn run(dice: &mut Dice, case: &Case, all: &[u8], from: usize, longest: usize) -> (Option<Found>, Vec<u64>) {
    let mut search = Search::new(case.pattern.clone(), from as u64);
    let (mut came, mut now, mut begin, mut found) = (vec![0; from], 5, from, None);
    while begin < all.len() {
        let end = all.len().min(begin + 1 + dice.below(longest));
        now += [0, 1, 30_000, QUIET_US - 1, QUIET_US, 3 * QUIET_US][dice.below(6)];
        came.resize(end, now);
        let before = now.saturating_sub([0, 1, QUIET_US][dice.below(3)]);
        if dice.below(3) == 0 && begin > from && before >= came[begin - 1] {
            found = found.or_else(|| search.quiet(before));
        }
        found = found.or_else(|| search.feed(&all[begin..end], now));
        if found.is_none() {
            assert_eq!(search.offset(), end as u64, "all of it was taken in");
        }
        begin = end;
    }
    (found.or_else(|| search.end()), came)
}

#[test]
fn any_pieces_at_any_times_find_what_a_look_at_each_line_finds() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let cases = cases();
    let mut hits = 0;
    for round in 0..60_000 {
        let case = &cases[round % cases.len()];
        let len = dice.below(40);
        let all = dice.text(len);
        let from = if dice.below(4) == 0 { dice.below(all.len() + 1) } else { 0 };
        let longest = [1, 3, 10, 60][dice.below(4)];
        let (found, came) = run(&mut dice, case, &all, from, longest);
        let expected = model(case, &all, &came, from);
        let what =
            format!("{} in {:?} from {from}, came {came:?}", case.shown, all.escape_ascii().to_string());
        assert_eq!(found.as_ref().map(at), expected, "{what}");
        if let Some(found) = found {
            hits += 1;
            let (groups, _) = expected.unwrap();
            let text = |at: Range<usize>| String::from_utf8_lossy(&all[at]).into_owned();
            let texts: Vec<_> = found.groups.iter().map(|group| group.text.clone()).collect();
            assert_eq!(texts, groups.into_iter().map(|at| at.map(text)).collect::<Vec<_>>(), "{what}");
            assert_eq!(
                found.groups[0].span,
                Some(Span { offset: found.offset, length: found.length }),
                "{what}"
            );
            assert!(
                found.length > 0 && !found.line.contains(['\n', '\r']) && !found.line_truncated,
                "{what}"
            );
        }
    }
    assert!(hits > 20_000, "{hits}");
}

/// Long lines, with something near the cuts.
#[test]
fn a_line_of_many_pieces_is_cut_at_the_same_places_whatever_the_pieces_it_comes_in() {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| ["ab", "^b+$", "b$", r"\bab\b", "^[^x]*b", "ba(b|$)", "[^ab]+$"].contains(&case.shown))
        .collect();
    let mut hits = 0;
    for round in 0..300 {
        let case = &cases[round % cases.len()];
        let fill = [b'a', b'x', b'x'][dice.below(3)];
        let mut all = vec![fill; PIECE_BYTES / 2 + dice.below(3 * PIECE_BYTES)];
        for _ in 0..dice.below(8) {
            let near = (1 + dice.below(3)) * PIECE_BYTES - [0, CARRY_BYTES][dice.below(2)];
            let end: &[u8] = [b"\n".as_slice(), b"\r\n", b" ab ", b"b", b"bab"][dice.below(5)];
            let begin = near + dice.below(8);
            if begin >= 4 && begin - 4 + end.len() <= all.len() {
                all[begin - 4..][..end.len()].copy_from_slice(end);
            }
        }
        let longest = [1_000, 10_000, 70_000, 300_000][dice.below(4)];
        let (found, came) = run(&mut dice, case, &all, 0, longest);
        let expected = model(case, &all, &came, 0);
        let places: Vec<_> = all.iter().enumerate().filter(|(_, byte)| **byte != fill).take(20).collect();
        assert_eq!(found.as_ref().map(at), expected, "{} in {} of {fill}: {places:?}", case.shown, all.len());
        hits += usize::from(found.is_some());
    }
    assert!((75..225).contains(&hits), "{hits}");
}

fn literal(text: &str) -> Search {
    Search::new(Pattern::literal(text).unwrap(), 0)
}
fn regex(text: &str) -> Search {
    Search::new(Pattern::regex(text).unwrap(), 0)
}

#[test]
fn a_prompt_is_found_once_nothing_has_followed_for_a_while() {
    let mut search = regex("> $");
    assert_eq!(search.quiet_at_us(), None);
    assert_eq!(search.feed(b"hello\n> ", 1_000), None);
    assert_eq!(search.quiet_at_us(), Some(1_000 + QUIET_US));
    assert_eq!(search.quiet(QUIET_US), None);
    let found = search.quiet(1_000 + QUIET_US).unwrap();
    assert_eq!((found.offset, found.length, found.line.as_str(), found.line_offset), (6, 2, "> ", 6));
    assert_eq!((search.quiet_at_us(), search.offset()), (None, 8), "it is over");
    assert_eq!(search.feed(b"\n> \n> \n", 1 << 40), None);
    assert_eq!(search.end(), None);
}

#[test]
fn a_line_that_was_quiet_and_did_not_match_is_judged_again_as_a_whole() {
    let mut search = literal("ready now");
    assert_eq!(search.feed(b"rea", 0), None);
    assert_eq!(search.quiet(QUIET_US), None);
    assert_eq!(search.quiet_at_us(), None, "it stands as it was judged");
    assert_eq!(search.feed(b"dy ", 2 * QUIET_US), None);
    let found = search.feed(b"now\n", 9 * QUIET_US).unwrap();
    assert_eq!((found.offset, found.line.as_str()), (0, "ready now"));
}

#[test]
fn bytes_that_come_late_do_not_change_what_was_quiet_before() {
    let mut search = regex("^ready$");
    assert_eq!(search.feed(b"ready", 0), None);
    let found = search.feed(b" in a moment\n", QUIET_US).unwrap();
    assert_eq!(
        (found.line.as_str(), search.offset()),
        ("ready", 5),
        "the bytes are left for the next search"
    );
}

#[test]
fn a_match_waits_for_the_rest_of_its_line() {
    let mut search = regex(r"port (\d+)");
    assert_eq!(search.feed(b"port 30", 0), None);
    let found = search.feed(b"00\r", QUIET_US - 1).unwrap();
    assert_eq!(found.groups[1].text.as_deref(), Some("3000"));
}

#[test]
fn the_next_match_is_found_by_a_search_from_the_end_of_the_first() {
    let all = b"a1 a2\na3";
    let (mut from, mut seen) = (0, Vec::new());
    loop {
        let mut search = Search::new(Pattern::regex(r"a\d").unwrap(), from);
        let found = search.feed(&all[from as usize..], 0).or_else(|| search.end());
        let Some(found) = found else { break };
        seen.push((found.offset, found.line_offset));
        from = search.offset();
    }
    assert_eq!(seen, [(0, 0), (3, 2), (6, 6)], "a line begins where a search does");
}

#[test]
fn a_long_line_is_shown_around_its_match_on_characters() {
    for ends in ["", "\n"] {
        let line = format!("{}needle{}", "é".repeat(20_001), "€".repeat(5_000));
        let mut search = literal("needle");
        let found =
            search.feed(format!("first\n{line}{ends}").as_bytes(), 0).or_else(|| search.end()).unwrap();
        assert_eq!((found.offset, found.line_offset, found.line_truncated), (6 + 40_002, 6, true));
        assert!((SHOWN_BYTES - 6..=SHOWN_BYTES).contains(&found.line.len()), "{}", found.line.len());
        let middle = found.line.find("needle").unwrap();
        assert!((2_040..2_048).contains(&middle) && !found.line.contains('\u{fffd}'), "{middle}");
    }
    let mut search = literal("needle");
    let found = search.feed(format!("needle{}\n", "€".repeat(5_000)).as_bytes(), 0).unwrap();
    assert_eq!(found.line.len(), SHOWN_BYTES - 1, "what is not before the match is behind it");
}

#[test]
fn a_long_match_and_its_groups_are_shown_in_part_and_told_in_full() {
    let mut search = regex("^(x+)(?<no>y)?");
    let found = search.feed(format!("{}\n", "x".repeat(30_000)).as_bytes(), 0).unwrap();
    assert_eq!((found.length, found.line.len(), found.line_truncated), (30_000, SHOWN_BYTES, true));
    assert_eq!(found.groups[1].text.as_ref().unwrap().len(), SHOWN_BYTES);
    assert_eq!(found.groups[1].span, Some(Span { offset: 0, length: 30_000 }));
    assert_eq!((found.groups[2].name.as_deref(), &found.groups[2].text), (Some("no"), &None));
}

#[test]
fn a_line_without_an_end_is_found_something_in_and_says_where_it_began() {
    let mut search = literal("needle");
    let mut all = vec![b'.'; 5 * PIECE_BYTES];
    let at = 3 * PIECE_BYTES - 3;
    all[at..at + 6].copy_from_slice(b"needle");
    assert_eq!(search.feed(b"x\n", 0), None);
    let found = all.chunks(1_000).find_map(|chunk| search.feed(chunk, 0)).unwrap();
    assert_eq!((found.offset, found.line_offset, found.line_truncated), (2 + at as u64, 2, true));
}

#[test]
fn a_match_across_a_cut_may_begin_as_far_before_it_as_is_carried() {
    for (before, whole) in [(CARRY_BYTES, true), (CARRY_BYTES + 1, false)] {
        let mut search = regex("nx*z");
        let mut all = vec![b'x'; PIECE_BYTES];
        all[PIECE_BYTES - before] = b'n';
        assert_eq!(search.feed(&all, 0), None);
        assert_eq!(search.quiet_at_us(), None, "the piece was judged");
        assert_eq!(search.feed(b"xz\n", 0).is_some(), whole, "{before}");
    }
}

#[test]
fn a_found_match_travels_as_json() {
    let source: PatternSource = serde_json::from_str(r#"{"regex": "(?<port>[0-9]+)(x)?"}"#).unwrap();
    let mut search = Search::new(Pattern::try_from(source).unwrap(), 0);
    let found = search.feed(b"\xff 80\n", 0).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "offset": 2, "length": 2, "line": "\u{fffd} 80", "line_offset": 0, "line_truncated": false,
            "groups": [
                {"number": 0, "text": "80", "offset": 2, "length": 2},
                {"number": 1, "name": "port", "text": "80", "offset": 2, "length": 2},
                {"number": 2, "text": null},
            ],
        })
    );
    assert_eq!(serde_json::from_value::<Found>(json).unwrap(), found);
}
