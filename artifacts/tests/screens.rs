//! What is on a terminal's screen.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{Dice, scene};
use ostler_artifacts::{ReadError, SCREEN_TAIL_BYTES, discard, screen, screen_of};
use ostler_messages::{Capture, Stream};

#[test]
fn rows_cursor_and_size_are_those_of_the_terminal() {
    let shown = screen_of("ab\r\n\x1b[31mrot\x1b[0m  \r\n\x1b[5;3H日本x".as_bytes(), 5, 8);
    assert_eq!(shown.rows, ["ab", "rot", "", "", "  日本x"]);
    assert_eq!((shown.cursor, shown.size), ((4, 7), (5, 8)));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["cursor"], serde_json::json!([4, 7]));
    assert_eq!(screen_of(b"", 0, 0).size, (1, 2));
    assert_eq!(screen_of(b"x", u16::MAX, u16::MAX).size, (1_000, 1_000));
    // The alternate screen of a full-screen program, and back.
    let editor = b"$ edit\r\n\x1b[?1049h\x1b[2J\x1b[Htext";
    assert_eq!(screen_of(editor, 2, 20).rows, ["text", ""]);
    assert_eq!(screen_of(&[&editor[..], b"\x1b[?1049l"].concat(), 2, 20).rows, ["$ edit", ""]);
}

#[test]
fn no_output_is_too_odd_for_a_screen() {
    const PIECES: [&[u8]; 27] = [
        b"text",
        b"\n",
        b"\r",
        b"\x08",
        b"\t",
        "日".as_bytes(),
        "e\u{301}".as_bytes(),
        "\u{200d}🦀".as_bytes(),
        b"\xff",
        b"\x1b[",
        b"\x1b[H",
        b"\x1b[9;9H",
        b"\x1b[65535;65535H",
        b"\x1b[2J",
        b"\x1b[3;2r",
        b"\x1b[r",
        b"\x1b[65535P",
        b"\x1b[65535@",
        b"\x1b[65535L",
        b"\x1b[65535M",
        b"\x1b[65535S",
        b"\x1b[65535T",
        b"\x1b[65535X",
        b"\x1bM",
        b"\x1b[?6h",
        b"\x1b[?1049h",
        b"\x1b8",
    ];
    let mut dice = Dice(0x5C4E_E211);
    for _ in 0..20_000 {
        let (rows, columns) = (dice.below(4) as u16, dice.below(6) as u16);
        let count = dice.below(30);
        let bytes: Vec<u8> = (0..count).flat_map(|_| PIECES[dice.below(PIECES.len())].to_vec()).collect();
        let shown = screen_of(&bytes, rows, columns);
        assert_eq!(shown.rows.len(), usize::from(shown.size.0), "{bytes:x?}");
        assert!(shown.cursor.0 < shown.size.0 && shown.cursor.1 <= shown.size.1, "{bytes:x?}");
    }
}

#[test]
fn the_screen_of_a_command_is_made_from_the_end_of_its_output() {
    let of = scene();
    let mut recorder = of.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"drawn once, and long ago\r\n");
    let frame = format!("\x1b[H\x1b[2J{}\r\nlast row", "x".repeat(70));
    let frames = SCREEN_TAIL_BYTES as usize / frame.len() + 100;
    recorder.append(Stream::Stdout, frame.repeat(frames).as_bytes());
    let shown = screen(&of.paths, Some(&of.live), (3, 80)).unwrap();
    assert_eq!(shown.rows, ["x".repeat(70), "last row".into(), String::new()]);
    assert_eq!(shown.cursor, (1, 8));
    let played = scene();
    played.in_memory(None).append(Stream::Stdout, b"played");
    assert_eq!(screen(&played.paths, Some(&played.live), (1, 9)).unwrap().rows, ["played"]);
    discard(&of.paths).unwrap();
    let gone = ReadError::NotFound { path: of.paths.combined() };
    assert_eq!(screen(&of.paths, None, (3, 80)), Err(gone));
}
