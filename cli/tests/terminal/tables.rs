//! Tables, help, and what is said to whoever meant something else.

use crate::window::*;
use std::fs;
use unicode_width::UnicodeWidthStr;

#[test]
fn top_fits_and_follows_the_size_and_gives_the_terminal_back() {
    for (columns, rows) in SIZES {
        let Some(mut window) = Window::open(columns, rows) else { return };
        window.types("ostler run -q -- sh -c 'echo > up; exec sleep 1000' &");
        window.is_there("up");
        window.types("clear; ostler top; echo code $?");
        for (columns, rows) in [(columns, rows), (30, 5), (columns, rows)] {
            window.resize(columns, rows);
            let screen = window.waits(
                || {
                    let screen = window.screen();
                    let right = screen.len() == 3
                        && screen[0].contains("COMMAND")
                        && screen[1].width() < columns
                        && (columns == 30 || screen[1].contains("sh -c"));
                    right.then_some(screen)
                },
                || window.screen().join("\n"),
            );
            assert!(screen[0].starts_with("ID ") && screen[0].contains("COMMAND"), "{screen:?}");
            assert_eq!(screen[0].contains("MEMORY"), columns >= 80, "{screen:?}");
            assert!(screen[1].starts_with("hto-") && screen[1].contains(" running "), "{screen:?}");
            assert_eq!(screen[2], "q ends");
        }
        window.key("C-z");
        window.sees_line(|line| line.contains("Stopped"));
        assert!(!window.screen().iter().any(|line| line.starts_with("ID ")), "its screen is left");
        window.types("clear; fg %2; echo code $?");
        window.sees("ID ");
        window.key("q");
        let ran = window.ends();
        assert_eq!(ran.code, 0);
        assert!(!ran.text().contains("STATE"), "its screen is gone: {}", ran.text());
        window.types("kill %1; wait");
        window.is_left_alone();
    }
}

#[test]
fn a_terminal_without_a_cursor_gets_the_table_once() {
    let Some(window) = Window::open(80, 24) else { return };
    let ran = window.runs("TERM=dumb ostler top");
    assert_eq!(ran.lines, ["ID  STATE  ELAPSED  SILENCE  OUTPUT  CPU  MEMORY  COMMAND"]);
}

#[test]
fn ps_has_the_command_in_every_size_and_logs_are_as_written() {
    for (columns, rows) in SIZES {
        let Some(window) = Window::open(columns, rows) else { return };
        fs::write(window.path("a-script-with-a-long-name-of-its-own"), "printf 'a\\tb\\n'; sleep 1000")
            .unwrap();
        let ran = window.runs("ostler ps");
        assert_eq!(ran.lines, ["ID  STATUS  AGE  COMMAND"]);
        window.runs("ostler run --stdin null --timeout 100ms -- sh a-script-with-a-long-name-of-its-own");
        let ran = window.runs("ostler ps --all");
        ran.fits();
        let row = ran.one("hto-");
        assert!(row.contains("timed out") && row.contains("sh a-scri"), "{row}");
        assert_eq!(row.ends_with('…'), columns < 200, "{row}");
        let ran = window.runs("ostler ps");
        assert_eq!(ran.lines[1], "ostler: nothing runs; --all shows 1 command");
        assert_eq!(window.runs("ostler logs latest").lines, ["a       b"]);
    }
}

/// Of a text, all that are not too long for a line.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().filter(|word| word.width() < 36).collect()
}

#[test]
fn help_breaks_no_word_and_no_line() {
    for command in ["ostler", "ostler --help", "ostler run --help", "ostler mcp --help", "ostler run -h"] {
        let Some(mut window) = Window::open(200, 50) else { return };
        let wide = window.runs(command);
        assert!(
            wide.lines.iter().all(|line| line.width() <= 100),
            "prose in lines that nobody reads: {}",
            wide.text()
        );
        for columns in [40, 80] {
            window.resize(columns, 24);
            let ran = window.runs(command);
            let long = |line: &&String| {
                line.starts_with("Usage:") || line.split_whitespace().any(|word| word.width() >= 30)
            };
            for line in ran.lines.iter().filter(|line| !long(line)) {
                assert!(line.width() <= columns, "{line:?} in {columns}");
            }
            assert_eq!(words(&ran.text()), words(&wide.text()), "{command} in {columns} columns");
            // A paragraph that was broken before, and is now again, has lines of a word or two in its middle.
            let ragged = ran.lines.windows(2).find(|pair| {
                let next = pair[1].split_whitespace().next().unwrap_or_default();
                let goes_on = pair[1].starts_with("  ")
                    && next.starts_with(char::is_lowercase)
                    && pair[0].ends_with(',');
                goes_on && pair[0].width() + 1 + next.width() + 20 < columns
            });
            assert!(ragged.is_none(), "{ragged:?}");
        }
    }
}

#[test]
fn whoever_meant_something_else_is_told_what_to_type_and_nothing_before_it() {
    let Some(window) = Window::open(80, 24) else { return };
    let ran = window.runs("ostler ls");
    assert_eq!(ran.code, 125);
    assert_eq!(
        ran.lines[..3],
        ["error: unrecognized subcommand 'ls'", "", "  tip: a similar subcommand exists: 'ps'"]
    );
    for (typed, says, instead) in [
        (
            "'ls | wc -l'",
            "program: ls | wc -l was not found",
            "a line for a shell is: ostler run -- sh -c 'ls | wc -l'",
        ),
        (
            "FOO=1 env",
            "program: FOO=1 was not found",
            "to set a variable: ostler run --env 'FOO=1' -- PROGRAM",
        ),
    ] {
        let ran = window.runs(&format!("ostler run {typed}"));
        assert_eq!(ran.code, 127);
        assert_eq!(ran.lines, [format!("ostler: error: {says}"), format!("ostler: {instead}")]);
        let line = instead.split_once(": ").unwrap().1.replace("PROGRAM", "env");
        let ran = window.runs(&line);
        assert_eq!(ran.code, 0, "what it says works: {}", ran.text());
    }
}
