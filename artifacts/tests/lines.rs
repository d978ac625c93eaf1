//! Reading by line: the last ones, and from one on.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{Dice, record, scene};
use ostler_artifacts::{
    Growth, Lines, Page, Paths, READ_MAX_BYTES, ReadRequest, View, read_blocking, read_now,
};
use ostler_messages::{Capture, Stream};
use std::{fs, thread};

const ALL: u64 = u64::MAX;

fn last(count: u64, length: u64) -> ReadRequest {
    ReadRequest::new().lines(Lines::Last { count }).length(length)
}
fn from(line: u64, count: u64, length: u64) -> ReadRequest {
    ReadRequest::new().lines(Lines::From { line, count }).length(length)
}
fn read(paths: &Paths, live: Option<&Growth>, request: ReadRequest) -> Page {
    read_now(paths, live, &request).unwrap()
}
fn seen(page: &Page) -> (Option<u64>, String) {
    (page.first_line, page.text())
}

/// The whole lines of it, each with its end.
fn whole(raw: &[u8], ended: bool) -> Vec<&[u8]> {
    let lines = raw.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| ended || line.ends_with(b"\n")).collect()
}

/// The rule, told with everything at hand: as many as fit, and of one that does not fit a part.
fn last_of(raw: &[u8], ended: bool, count: usize, length: usize) -> (Option<u64>, Vec<u8>) {
    let lines = whole(raw, ended);
    let mut first = lines.len();
    while first > 0 && lines.len() - first < count && lines[first - 1..].concat().len() <= length {
        first -= 1;
    }
    match lines.last().filter(|_| first == lines.len() && count > 0 && length > 0) {
        Some(line) => (Some(first as u64), line[line.len() - length..].to_vec()),
        None => ((first < lines.len()).then_some(first as u64 + 1), lines[first..].concat()),
    }
}
fn from_of(raw: &[u8], ended: bool, line: usize, count: usize, length: usize) -> (Option<u64>, Vec<u8>) {
    let lines = whole(raw, ended);
    let begin = line.max(1) - 1;
    let rest = lines.get(begin..).unwrap_or_default();
    let mut some = 0;
    while some < rest.len().min(count) && rest[..=some].concat().len() <= length {
        some += 1;
    }
    let content = match rest.first().filter(|_| some == 0 && count > 0) {
        Some(line) => line[..length].to_vec(),
        None => rest[..some].concat(),
    };
    ((!content.is_empty()).then_some(begin as u64 + 1), content)
}

#[test]
fn lines_are_those_of_a_naive_look() {
    let mut dice = Dice(0xFEED_5EED);
    for round in 0..300 {
        let scene = scene();
        let mut recorder = match round % 2 {
            0 => scene.recorder(Capture::default(), None),
            _ => scene.in_memory(None),
        };
        let pieces = dice.below(12);
        let raw = (0..pieces).map(|_| *dice.one_of(&[&"\n", &"a", &"bcd", &"efghijk\n"])).collect::<String>();
        recorder.append(Stream::Stdout, raw.as_bytes());
        for ended in [false, true] {
            if ended {
                recorder.seal(record(&scene.paths));
            }
            for count in [0, 1, 2, 3, 20] {
                for length in [0, 1, 2, 5, 9, 100] {
                    let page = read(&scene.paths, Some(&scene.live), last(count, length));
                    // What has not ended is whole once nothing fits before it.
                    let expected = last_of(raw.as_bytes(), ended, count as usize, length as usize);
                    let got = (page.first_line, page.content.clone());
                    assert_eq!(got, expected, "last {count} in {length} of {raw:?}, {ended}");
                    assert_eq!(page.next_offset, page.offset + page.content.len() as u64);
                    assert_eq!(page.eof, ended && page.next_offset == raw.len() as u64);
                    for line in [0, 1, 2, 3, 9] {
                        let page = read(&scene.paths, Some(&scene.live), from(line, count, length));
                        let of = (line as usize, count as usize, length as usize);
                        // Of a line that goes on nothing is given, unless it is longer than the page already.
                        let goes_on = !ended && page.bytes_read > 0 && !page.content.contains(&b'\n');
                        if !goes_on {
                            let expected = from_of(raw.as_bytes(), ended, of.0, of.1, of.2);
                            let got = (page.first_line, page.content.clone());
                            assert_eq!(got, expected, "{count} from {line} in {length} of {raw:?}, {ended}");
                        }
                        assert_eq!(page.next_offset, page.offset + page.content.len() as u64);
                    }
                }
            }
        }
    }
}

#[test]
fn lines_beyond_the_end_and_no_lines_are_empty() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"one\ntwo\nthr");
    let page = |request| read(&scene.paths, Some(&scene.live), request);
    for request in
        [from(9, 1, ALL), from(ALL, ALL, ALL), from(1, 0, ALL), from(1, 1, 0), last(0, ALL), last(1, 0)]
    {
        let page = page(request);
        assert_eq!((page.bytes_read, page.first_line, page.eof), (0, None, false), "{request:?}");
        assert!(page.next_offset <= 11);
    }
    assert_eq!(seen(&page(last(ALL, ALL))), (Some(1), "one\ntwo\n".into()));
    assert_eq!(seen(&page(from(0, ALL, ALL))), (Some(1), "one\ntwo\n".into()), "0 is the first");
    let third = page(from(3, 1, ALL));
    assert_eq!((third.offset, third.bytes_read, third.next_offset), (8, 0, 8), "it has begun and not ended");
    recorder.seal(record(&scene.paths));
    assert_eq!(seen(&page(from(3, 1, ALL))), (Some(3), "thr".into()));
    let beyond = page(from(ALL, 1, ALL));
    assert_eq!((beyond.bytes_read, beyond.eof), (0, true));
    // An offset has no meaning beside lines.
    assert_eq!(seen(&page(last(1, ALL).offset(ALL))), (Some(3), "thr".into()));
}

#[test]
fn lines_can_be_read_clean() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"\x1b[1mone\x1b[0m\n10%\r20%\rdone\x1b[K\nthree\n\x1b[31mlast");
    let page = |request: ReadRequest| seen(&read(&scene.paths, Some(&scene.live), request.view(View::Clean)));
    assert_eq!(page(last(2, ALL)), (Some(2), "done\nthree\n".into()));
    assert_eq!(page(from(1, 2, ALL)), (Some(1), "one\ndone\n".into()));
    assert_eq!(
        page(from(1, 2, 3)),
        (Some(1), "one\n".into()),
        "a line that does not fit is whole all the same"
    );
    recorder.seal(record(&scene.paths));
    assert_eq!(page(last(1, ALL)), (Some(4), "last".into()));
    // The end of a line that is longer than a page, from where it was redrawn.
    let scene = common::scene();
    let bars: String = (0..300_000).map(|n| format!("\r\x1b[K\x1b[32m{n}\x1b[0m")).collect();
    scene.recorder(Capture::default(), None).append(Stream::Stdout, bars.as_bytes());
    let (first_line, text) = seen(&read(&scene.paths, None, last(1, ALL).view(View::Clean)));
    assert!(first_line == Some(1) && text.ends_with("\n299999") || text == "299999", "{text:?}");
}

#[test]
fn a_line_that_is_not_there_yet_is_waited_for() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let (paths, live) = (scene.paths.clone(), scene.live.clone());
    let reader = thread::spawn(move || {
        let wait =
            |request: ReadRequest| read_blocking(&paths, Some(&live), &request.wait_ms(60_000)).unwrap();
        (seen(&wait(from(3, 1, ALL))), seen(&wait(from(5, 1, ALL))), wait(from(6, 1, ALL)).eof)
    });
    for part in ["1\n2", "\n", "3", "\n", "4\n5"] {
        thread::yield_now();
        recorder.append(Stream::Stdout, part.as_bytes());
    }
    recorder.seal(record(&scene.paths));
    assert_eq!(reader.join().unwrap(), ((Some(3), "3\n".into()), (Some(5), "5".into()), true));
}

/// The number is known at once where the recorder noted it, and counted where it is not known any more.
#[test]
fn lines_of_a_large_file_have_their_numbers() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let mut lines = 0_u64;
    let mut line = |n: u64| format!("{n} {}\n", "x".repeat((n % 90) as usize));
    while scene.live.length(ostler_artifacts::OutputFile::Combined) < 9 << 20 {
        let some: String = (lines + 1..=lines + 1_000).map(&mut line).collect();
        recorder.append(Stream::BOTH[lines as usize / 1_000 % 2], some.as_bytes());
        lines += 1_000;
    }
    let numbered = |live| {
        let page = read(&scene.paths, live, last(3, ALL));
        assert_eq!(seen(&page), (Some(lines - 2), (lines - 2..=lines).map(line).collect()));
        for number in [1, 2, 999, 50_001, lines / 2, lines - 1, lines] {
            let page = read(&scene.paths, live, from(number, 1, ALL));
            assert_eq!(seen(&page), (Some(number), line(number)));
        }
        let full = read(&scene.paths, live, last(ALL, ALL));
        assert!(full.bytes_read <= READ_MAX_BYTES && full.bytes_read > READ_MAX_BYTES - 100);
        assert!(full.text().starts_with(&line(full.first_line.unwrap())));
    };
    numbered(Some(&scene.live));
    recorder.seal(record(&scene.paths));
    numbered(Some(&scene.live));
    numbered(None);
    // With what the recorder noted, the beginning of the file is not looked at.
    let content = fs::read(scene.paths.combined()).unwrap();
    let other: Vec<u8> = vec![b'?'; 4 << 20];
    fs::write(scene.paths.combined(), [&other, &content[4 << 20..]].concat()).unwrap();
    let page = read(&scene.paths, Some(&scene.live), last(3, ALL));
    assert_eq!(page.first_line, Some(lines - 2));
    assert_eq!(seen(&read(&scene.paths, Some(&scene.live), from(lines, 1, ALL))), (Some(lines), line(lines)));
}
