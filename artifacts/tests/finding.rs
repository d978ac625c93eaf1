//! Lines that match, a page at a time: joined, the pages are what a look at each line gives.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

#[path = "common/lines.rs"]
mod lines;

use lines::{Case, Dice, cases, split};
use ostler_artifacts::{
    FIND_MAX_AROUND, FIND_MAX_LINES, FIND_MAX_READ_BYTES, FIND_MAX_TEXT_BYTES, FindRequest, FoundLine,
    FoundLines, PIECE_BYTES, Pattern, SHOWN_BYTES, Span, find,
};
use std::io::{self, ErrorKind};

/// Reads a file that is in memory, at most so much at once.
fn page(all: &[u8], at_once: usize, pattern: &Pattern, request: &FindRequest) -> FoundLines {
    let mut interrupted = false;
    let read = |offset: u64, to: &mut [u8]| {
        interrupted = !interrupted;
        if interrupted {
            return Err(io::Error::from(ErrorKind::Interrupted));
        }
        let rest = &all[all.len().min(offset as usize)..];
        let length = rest.len().min(to.len()).min(at_once);
        to[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    };
    find(read, pattern, request).unwrap()
}

/// All pages, each from where the one before ends.
fn pages(all: &[u8], at_once: usize, pattern: &Pattern, request: &FindRequest) -> Vec<FoundLines> {
    let (mut pages, mut request) = (Vec::new(), *request);
    loop {
        let page = page(all, at_once, pattern, &request);
        let complete = page.complete;
        assert!(complete || page.next_offset > request.offset, "{request:?} gets on: {page:?}");
        request = request.offset(page.next_offset).line(page.next_line);
        pages.push(page);
        if complete {
            return pages;
        }
    }
}

/// The rule, told with everything at hand: what is shown of lines of at most a piece.
fn model(case: &Case, all: &[u8], request: &FindRequest) -> Vec<FoundLine> {
    let from = request.offset as usize;
    let lines = split(all, from);
    let first: Vec<_> = lines.iter().map(|(begin, end, _)| case.first(&all[*begin..*end], 0)).collect();
    let near = |n: usize| {
        (n.saturating_sub(request.after)..=n + request.before)
            .any(|at| first.get(at).is_some_and(Option::is_some))
    };
    let shown = (0..lines.len()).filter(|n| near(*n)).map(|n| {
        let (begin, end, _) = lines[n];
        let hit = first[n].as_ref().map(|groups| groups[0].clone().unwrap());
        serde_json::json!({
            "offset": begin,
            "number": (from == 0).then_some(n + 1),
            "text": String::from_utf8_lossy(&all[begin..end]),
            "truncated": false,
            "match": hit.map(|hit| Span { offset: (begin + hit.start) as u64, length: hit.len() as u64 }),
        })
    });
    shown.map(|line| serde_json::from_value(line).unwrap()).collect()
}

#[test]
fn joined_pages_are_what_a_look_at_each_line_gives() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let cases = cases();
    let mut shown = 0;
    for round in 0..10_000 {
        let case = &cases[round % cases.len()];
        let len = dice.below(120);
        let all = dice.text(len);
        let from = if dice.below(4) == 0 { dice.below(all.len() + 1) } else { 0 };
        let request =
            FindRequest::new().offset(from as u64).around(dice.below(4), [0, 0, 1, 3][dice.below(4)]);
        let at_once = [1, 7, 1 << 20][dice.below(3)];
        let expected = model(case, &all, &request);
        let what = format!("{} in {:?}, {request:?}", case.shown, all.escape_ascii().to_string());

        let one = page(&all, at_once, &case.pattern, &request);
        assert_eq!(one.lines, expected, "{what}");
        assert!(one.complete && one.matches == expected.iter().filter(|line| line.matched.is_some()).count());

        let max = 1 + dice.below(3);
        let small = pages(&all, at_once, &case.pattern, &request.max(max));
        assert!(small.iter().all(|page| page.matches <= max), "{what}");
        let mut joined: Vec<_> = small.into_iter().flat_map(|page| page.lines).collect();
        // A last line that only stands near a match is looked at again.
        joined.dedup();
        assert_eq!(joined, expected, "{what}");
        shown += expected.len();
    }
    assert!(shown > 20_000, "{shown}");
}

/// Blocks of the file begin and end anywhere in lines, in line ends, and between the two of `\r\n`.
#[test]
fn large_files_are_read_in_blocks_and_long_lines_in_pieces() {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let pattern = Pattern::literal("needle").unwrap();
    let words: [&[u8]; 3] = [b"hay ", b"needle ", "é".as_bytes()];
    for round in 0..40 {
        let mut all = Vec::new();
        let mut expected = Vec::new();
        let mut number = 1;
        while all.len() < 900_000 {
            let begin = all.len();
            let long = dice.below(12) == 0;
            let length = if long { PIECE_BYTES - 2 + dice.below(400_000) } else { dice.below(30_000) };
            all.resize(begin + length, b'x');
            let found = dice.below(4) == 0;
            if found {
                all.extend_from_slice(words[1]);
                expected.push((begin as u64, number, (begin + length) as u64));
            }
            all.resize(all.len() + 1 + dice.below(PIECE_BYTES), b'y');
            all.extend_from_slice([b"\n".as_slice(), b"\r\n", b"\r"][dice.below(3)]);
            all.extend(std::iter::repeat_n(&b"\r\n"[..], dice.below(3)).flatten());
            number += split(&all, begin).len() as u64;
        }
        let request = FindRequest::new().max([1, 3, 100][round % 3]).around(round % 2, 0);
        let found: Vec<_> = pages(&all, [10_000, 1 << 20][round % 2], &pattern, &request)
            .into_iter()
            .flat_map(|page| page.lines)
            .filter_map(|line| Some((line.offset, line.number.unwrap(), line.matched?.offset)))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_line_end_of_two_bytes_counts_once_also_where_a_block_ends_between_them() {
    // Lines of 1 KiB, all but the first: so each block of any power of two ends behind a `\r`.
    let all = format!("x{}", format!("{}\r\n", "x".repeat(1_022)).repeat(1_000)) + "needle";
    let pattern = Pattern::literal("needle").unwrap();
    let found = page(all.as_bytes(), 1 << 20, &pattern, &FindRequest::new());
    assert_eq!(found.lines[0].number, Some(1_001));
}

#[test]
fn a_full_page_ends_behind_what_it_shows() {
    let pattern = Pattern::literal("a").unwrap();
    for (after, next, line) in [(0, 2, 2), (1, 4, 3)] {
        let one = page(b"a\nb\nb\nb\n", 99, &pattern, &FindRequest::new().max(1).around(1, after));
        assert_eq!((one.next_offset, one.next_line, one.complete), (next, Some(line), false));
    }
}

#[test]
fn a_file_that_grows_is_searched_from_where_the_last_page_ended() {
    let pattern = Pattern::literal("ab").unwrap();
    let request = FindRequest::new().around(1, 0);
    let one = page(b"x\ny\na", 99, &pattern, &request);
    assert!(one.complete && one.lines.is_empty());
    assert_eq!((one.next_offset, one.next_line), (2, Some(2)), "y may stand before a match");
    let two = page(b"x\ny\nab\n", 99, &pattern, &request.offset(one.next_offset).line(one.next_line));
    let lines: Vec<_> = two.lines.iter().map(|line| (line.number.unwrap(), line.text.as_str())).collect();
    assert_eq!(lines, [(2, "y"), (3, "ab")]);
    // A line that has no end yet counts as it stands, once.
    let open = page(b"ab", 99, &pattern, &FindRequest::new());
    assert_eq!((open.matches, open.next_offset, open.next_line), (1, 2, Some(1)));
}

#[test]
fn a_page_is_bounded_by_lines_text_and_what_it_reads() {
    let pattern = Pattern::literal("a").unwrap();
    let all = "a\n".repeat(3_000);
    assert_eq!(page(all.as_bytes(), 1 << 20, &pattern, &FindRequest::new()).matches, 100);
    assert_eq!(page(all.as_bytes(), 1 << 20, &pattern, &FindRequest::new().max(0)).matches, 1);
    let most = page(all.as_bytes(), 1 << 20, &pattern, &FindRequest::new().max(9_999));
    assert_eq!((most.matches, most.next_offset, most.complete), (FIND_MAX_LINES, 2_000, false));

    let around =
        page("b\n".repeat(200).replace("b\nb\n", "b\n").as_bytes(), 99, &pattern, &FindRequest::new());
    assert!(around.lines.is_empty());
    let all = format!("{0}a\n{0}", "b\n".repeat(100));
    let around = page(all.as_bytes(), 99, &pattern, &FindRequest::new().around(99, 99));
    assert_eq!(around.lines.len(), 2 * FIND_MAX_AROUND + 1);

    let long = format!("a{}\n", "€".repeat(5_000)).repeat(600);
    let all = pages(long.as_bytes(), 1 << 20, &pattern, &FindRequest::new().max(1_000).around(5, 5));
    assert_eq!(all.iter().map(|page| page.matches).sum::<usize>(), 600);
    for page in &all {
        assert!(page.lines.iter().map(|line| line.text.len()).sum::<usize>() <= FIND_MAX_TEXT_BYTES);
        assert!(page.lines.iter().all(|line| line.truncated && line.text.len() == SHOWN_BYTES));
    }
}

/// Gigabytes that nobody has to store.
#[test]
fn one_call_reads_so_much_and_the_next_goes_on_even_within_a_line() {
    let pattern = Pattern::literal("needle").unwrap();
    let size = FIND_MAX_READ_BYTES + (40 << 20);
    for line_end in [b'\n', b'.'] {
        let mut read_bytes = 0;
        let mut read = |offset: u64, to: &mut [u8]| {
            let length = to.len().min(size.saturating_sub(offset) as usize);
            to[..length].fill(b'.');
            // A short line, then lines of 4 KiB, or one.
            let first = (4_096 - offset % 4_096) as usize - 1;
            if offset == 0 {
                to[1] = b'\n';
            }
            to[..length].iter_mut().skip(first).step_by(4_096).for_each(|byte| *byte = line_end);
            for (n, byte) in b"needle".iter().enumerate() {
                let at = (FIND_MAX_READ_BYTES - 3 + n as u64).wrapping_sub(offset);
                if at < length as u64 {
                    to[at as usize] = *byte;
                }
            }
            read_bytes += length as u64;
            Ok(length)
        };
        let one = find(&mut read, &pattern, &FindRequest::new().around(2, 0)).unwrap();
        assert!(!one.complete && one.matches == 0, "{one:?}");
        let two = find(&mut read, &pattern, &FindRequest::new().offset(one.next_offset).line(one.next_line))
            .unwrap();
        assert!(two.complete && two.matches == 1, "{two:?}");
        assert_eq!(two.lines[0].matched.unwrap().offset, FIND_MAX_READ_BYTES - 3);
        let number = if line_end == b'\n' { FIND_MAX_READ_BYTES / 4_096 + 1 } else { 2 };
        assert_eq!(two.lines[0].number, Some(number));
        assert!(read_bytes < size + (2 << 20), "{read_bytes}");
    }
}

#[test]
fn what_the_reader_says_goes_to_the_caller() {
    let pattern = Pattern::literal("a").unwrap();
    let read = |_: u64, _: &mut [u8]| Err(io::Error::from(ErrorKind::PermissionDenied));
    assert_eq!(find(read, &pattern, &FindRequest::new()).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_request_is_written_as_json() {
    let request: FindRequest =
        serde_json::from_str(r#"{"offset": 7, "max": 3, "before": 1, "line": 2}"#).unwrap();
    assert_eq!(request, FindRequest::new().offset(7).line(Some(2)).max(3).around(1, 0));
    assert!(serde_json::from_str::<FindRequest>(r#"{"limit": 3}"#).is_err());
    let page = page(b"xa\n", 9, &Pattern::literal("a").unwrap(), &FindRequest::new());
    let json = serde_json::to_value(&page).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "lines": [
                {"offset": 0, "number": 1, "text": "xa", "truncated": false, "match": {"offset": 1, "length": 1}},
            ],
            "matches": 1, "next_offset": 3, "next_line": 2, "complete": true,
        })
    );
    assert_eq!(serde_json::from_value::<FoundLines>(json).unwrap(), page);
}
