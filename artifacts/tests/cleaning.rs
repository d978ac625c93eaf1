//! The clean view: what a line comes to, and that it does not depend on how it was read.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{Dice, record, scene};
use ostler_artifacts::{Cleaner, OutputFile, Page, ReadRequest, View, clean_text, read_blocking, read_now};
use ostler_messages::{Capture, Stream};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Pieces of output, some of them broken.
const PIECES: [&[u8]; 44] = [
    b"plain text ",
    b"a",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\x08",
    b"\x08\x08\x08",
    b"\t",
    "é".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{301}".as_bytes(),
    "日本".as_bytes(),
    "🦀".as_bytes(),
    b"\xff",
    b"\x80",
    b"\xe2\x82",
    b"\xf0\x9f\xa6",
    b"\xc2\x85",
    b"\x00\x07\x0b\x0c\x7f",
    b"\x1b[0m",
    b"\x1b[1;38;5;196m",
    b"\x1b[K",
    b"\x1b[1K",
    b"\x1b[2K",
    b"\x1b[0J",
    b"\x1b[5G",
    b"\x1b[G",
    b"\x1b[3C",
    b"\x1b[65535C",
    b"\x1b[2D",
    b"\x1b[2P",
    b"\x1b[3@",
    b"\x1b[2X",
    b"\x1b[?25l",
    b"\x1b[3;1:2:3m",
    b"\x1b[1?2K",
    b"\x1b[12",
    b"\x1b]0;title\x07",
    b"\x1b]8;;http://example.org/\x1b\\link\x1b]8;;\x1b\\",
    b"\x1bP1$rq\x9c",
    b"\x1b(B\x1b7",
    b"\x1b",
    b"\x1b]unfinished\x18",
];

fn sample(dice: &mut Dice, pieces: usize) -> Vec<u8> {
    let kinds = [2, 6, PIECES.len()][dice.below(3)];
    (0..pieces).flat_map(|_| PIECES[dice.below(kinds)].to_vec()).collect()
}

/// As one line that has ended.
fn shown(raw: &[u8]) -> String {
    clean_text(raw)
}

#[test]
fn what_a_line_comes_to() {
    for (raw, text) in [
        ("a\r\nb\n", "a\nb\n"),
        ("10%\r20%\rdone\n", "done\n"),
        ("longer\rab", "abnger"),
        ("longer\r\x1b[Kab", "ab"),
        ("abc\x08\x08X\n", "aXc\n"),
        ("a\x1b[31mb\x1b[0mc\x1b[38;2;1;2;3md", "abcd"),
        ("\x1b]0;title\x07a\x1b]8;;u\x1b\\b\x1b]8;;\x1b\\", "ab"),
        ("\x1bPq#0;2\x1b\\a\x1b_x\x1b\\b\x1b^y\x1b\\c", "abc"),
        ("abcdef\x1b[3G\x1b[K|", "ab|"),
        ("abcdef\x1b[4D\x1b[1Kx", "  xdef"),
        ("abcdef\x1b[2Kx", "      x"),
        ("abcdef\r\x1b[2P|", "|def"),
        ("abcdef\r\x1b[2@|", "| abcdef"),
        ("abcdef\r\x1b[2X", "  cdef"),
        ("a\x1b[3Cb", "a   b"),
        ("a\x1b[3C", "a"),
        ("a\tb", "a\tb"),
        ("a\tb\r12345", "12345   b"),
        ("a\tb\r\tX", "a\tX"),
        ("日本\r\x1b[2Cx", "日x"),
        ("日本\rx", "x 本"),
        ("e\u{301}a\rx", "xa"),
        ("xe\u{301}a\ry", "ye\u{301}a"),
        ("a\0\x07\x0b\x0c\x7fb\u{85}c", "abc"),
        ("spin |\x08/\x08-\x08\\\x08 \n", "spin  \n"),
        ("cut \x1b[31\nnext", "cut \nnext"),
        ("a\x1b[12", "a"),
        ("a\x1b[3\x18b", "ab"),
        ("a\x1b[1?2Kb\n", "ab\n"),
        ("a  \n", "a  \n"),
        ("", ""),
    ] {
        assert_eq!(shown(raw.as_bytes()), text, "{raw:?}");
    }
    assert_eq!(shown(b"a\xffb\xe2\x82\nc\xe2\x82"), "a\u{fffd}b\u{fffd}\nc\u{fffd}");
}

#[test]
fn a_line_is_what_a_wide_terminal_shows() {
    const STEPS: [&str; 22] = [
        "abc",
        "x",
        "0123456789",
        " ",
        "ä",
        "é",
        "\r",
        "\r",
        "\x08",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2K",
        "\x1b[4G",
        "\x1b[G",
        "\x1b[2C",
        "\x1b[C",
        "\x1b[3D",
        "\x1b[2P",
        "\x1b[P",
        "\x1b[X",
        "\x1b[2@",
        "\x1b[32m",
    ];
    let mut dice = Dice(0x1234_5678_9ABC_DEF1);
    for _ in 0..10_000 {
        let steps = 1 + dice.below(14);
        let raw: String = std::iter::repeat_with(|| dice.one_of(&STEPS)).take(steps).collect();
        let screen = ostler_artifacts::screen_of(raw.as_bytes(), 1, 900);
        assert_eq!(shown(raw.as_bytes()).trim_end(), screen.rows[0], "{raw:?}");
    }
}

#[test]
fn the_text_does_not_depend_on_the_pieces() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..1_500 {
        let length = dice.below(60);
        let raw = sample(&mut dice, length);
        let whole = clean_text(&raw);
        let (mut cleaner, mut text, mut at) = (Cleaner::new(), String::new(), 0);
        while at < raw.len() {
            let most = [1, 3, 20][dice.below(3)];
            let next = raw.len().min(at + 1 + dice.below(most));
            cleaner.push(&raw[at..next], &mut text);
            at = next;
            // What was given away is final, and the rest begins anew.
            let settled = cleaner.settled() as usize;
            assert_eq!(format!("{text}{}", clean_text(&raw[settled..])), whole, "{settled} of {raw:x?}");
        }
        cleaner.finish(&mut text);
        assert_eq!((text, cleaner.settled()), (whole, raw.len() as u64), "{raw:x?}");
        assert!(!clean_text(&raw).contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    }
}

/// Long lines of every kind: they are given away in pieces whose borders do not depend on how they were read.
#[test]
fn long_lines_come_in_pieces_that_join() {
    let mut dice = Dice(77);
    let bar = |n: usize| format!("\r{n:>6} [{}]", "=".repeat(n % 50)).into_bytes();
    let long: [Vec<u8>; 7] = [
        vec![b'x'; 200_000],
        "é€🦀".repeat(20_000).into_bytes(),
        (0..8_000).flat_map(bar).collect(),
        b"a|\x08/\x08-\x08\\\x08".repeat(36_000),
        [b"x".repeat(30_000), b"\x1b[1K".repeat(300), b"y\n".to_vec()].concat(),
        b"\x1b[31mx\x1b[0m".repeat(60_000),
        vec![0xff; 100_000],
    ];
    for raw in long {
        let whole = clean_text(&raw);
        let (mut cleaner, mut text, mut at) = (Cleaner::new(), String::new(), 0);
        while at < raw.len() {
            let next = raw.len().min(at + 1 + dice.below(9_000));
            cleaner.push(&raw[at..next], &mut text);
            at = next;
        }
        assert!(cleaner.settled() + (400 << 10) > raw.len() as u64, "it makes progress");
        let settled = cleaner.settled() as usize;
        assert!(format!("{text}{}", clean_text(&raw[settled..])) == whole);
        cleaner.finish(&mut text);
        assert!(text == whole);
    }
    assert_eq!(clean_text(&vec![b'x'; 200_000]), "x".repeat(200_000), "no line feed is put in between");
    let bars = clean_text(&(0..20_000).flat_map(bar).collect::<Vec<u8>>());
    assert!((2..6).contains(&bars.lines().count()), "a few of the drawings: {}", bars.lines().count());
}

fn clean(offset: u64, length: u64) -> ReadRequest {
    ReadRequest::new().offset(offset).length(length).view(View::Clean)
}

/// What every page of the clean view promises.
fn check(page: &Page, raw: &[u8], offset: u64) {
    let text = String::from_utf8(page.content.clone()).unwrap();
    let (from, to) = (offset as usize, page.next_offset as usize);
    assert_eq!((page.offset, page.bytes_read), (offset, page.next_offset - offset));
    assert_eq!(text, clean_text(&raw[from..to]), "the page is that of its bytes");
    let apart = clean_text(&raw[..to]) + &clean_text(&raw[to..]);
    assert_eq!(apart, clean_text(raw), "{to} is within a character, a sequence or a line");
}

#[test]
fn clean_pages_join_to_the_clean_file_while_it_grows_and_after() {
    let mut dice = Dice(0xABCD_EF01_2345_6789);
    for round in 0..250 {
        let scene = scene();
        let mut recorder = match round % 2 {
            0 => scene.recorder(Capture::default(), None),
            _ => scene.in_memory(None),
        };
        let pieces = dice.below(80);
        let raw = sample(&mut dice, pieces);
        let (mut joined, mut offset, mut at) = (Vec::new(), 0, 0);
        while at < raw.len() {
            let next = raw.len().min(at + 1 + dice.below(40));
            recorder.append(Stream::Stdout, &raw[at..next]);
            at = next;
            let page =
                read_now(&scene.paths, Some(&scene.live), &clean(offset, 1 + dice.below(60) as u64)).unwrap();
            assert!(!page.eof);
            if page.bytes_read > 0 {
                check(&page, &raw, offset);
                assert!(page.content.ends_with(b"\n"), "a line that goes on is not shown");
            }
            joined.extend(page.content);
            offset = page.next_offset;
        }
        // A scripted command's bytes are nowhere else.
        recorder.seal(record(&scene.paths));
        while offset < raw.len() as u64 {
            let page =
                read_now(&scene.paths, Some(&scene.live), &clean(offset, 1 + dice.below(60) as u64)).unwrap();
            assert!(page.bytes_read > 0, "at {offset} of {raw:x?}");
            check(&page, &raw, offset);
            joined.extend(page.content);
            offset = page.next_offset;
            assert_eq!(page.eof, offset == raw.len() as u64);
        }
        assert_eq!(String::from_utf8(joined).unwrap(), clean_text(&raw), "{raw:x?}");
    }
}

#[test]
fn a_line_longer_than_a_page_makes_progress_and_offsets_beyond_the_end_are_empty() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let bars: Vec<u8> = (0..400_000).flat_map(|n| format!("\r{n}").into_bytes()).collect();
    assert!(bars.len() > 2 << 20);
    recorder.append(Stream::Stdout, &bars);
    let read = |offset, length| read_now(&scene.paths, Some(&scene.live), &clean(offset, length)).unwrap();
    let first = read(0, 10);
    assert!(first.bytes_read > 10 && first.bytes_read < 400 << 10, "{}", first.bytes_read);
    let mut offset = 0;
    loop {
        let page = read(offset, u64::MAX);
        offset = page.next_offset;
        if page.bytes_read == 0 {
            break;
        }
    }
    assert!(offset + (400 << 10) > bars.len() as u64, "{offset}");
    assert_eq!(read(u64::MAX, u64::MAX).next_offset, u64::MAX);
    assert_eq!((read(offset, 0).bytes_read, read(offset, 0).eof), (0, false));
    recorder.seal(record(&scene.paths));
    assert!(read(u64::MAX, 1).eof && read(offset, u64::MAX).eof && !read(0, 0).eof);
    // Blanks that were never written do not make a page larger than memory.
    let wide = b"\x1b[9999Cx\n".repeat(20_000);
    let scene = common::scene();
    scene.recorder(Capture::default(), None).append(Stream::Stdout, &wide);
    let page = read_now(&scene.paths, None, &clean(0, u64::MAX)).unwrap();
    assert!(page.content.len() < 2 << 20 && page.bytes_read > 0, "{}", page.content.len());
}

#[test]
fn a_clean_read_waits_for_a_whole_line_and_no_longer_than_its_time() {
    const LONG_MS: u64 = 60_000;
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"\r10%");
    let (paths, live) = (scene.paths.clone(), scene.live.clone());
    let reader =
        thread::spawn(move || read_blocking(&paths, Some(&live), &clean(0, 100).wait_ms(LONG_MS)).unwrap());
    for part in ["\r20%", "\r\x1b[", "Kdone", "\r\n"] {
        thread::yield_now();
        recorder.append(Stream::Stdout, part.as_bytes());
    }
    assert_eq!(reader.join().unwrap().text(), "done\n");
    let begun = Instant::now();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Far less than what is given away although it goes on.
            for _ in 0..50_000 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                recorder.append(Stream::Stdout, b"|\x08");
                thread::yield_now();
            }
        });
        // A line that is redrawn all the time.
        let offset = scene.live.length(OutputFile::Combined).min(20);
        let page = read_blocking(&scene.paths, Some(&scene.live), &clean(offset, 100).wait_ms(50)).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!((page.bytes_read, page.eof), (0, false));
    });
    assert!(begun.elapsed() < Duration::from_millis(LONG_MS / 2), "{:?}", begun.elapsed());
}
