//! `ostler run`, beside the output of its command.

use crate::window::*;

/// Writes a line, and another one when it is let go on.
const IN_TWO_PARTS: &str = "sh -c 'echo one; mkfifo go.new; mv go.new go; read _ < go; echo two'";

#[test]
fn output_is_seen_as_it_comes_and_the_summary_is_a_line_in_every_size() {
    for (columns, rows) in SIZES {
        let Some(window) = Window::open(columns, rows) else { return };
        window.types(&format!("clear; ostler run -q -- {IN_TWO_PARTS}; echo code $?"));
        window.sees("one");
        window.is_there("go");
        assert!(!window.screen().contains(&"two".to_owned()));
        std::fs::write(window.path("go"), "\n").unwrap();
        assert_eq!(window.ends().lines, ["one", "two"], "-q says nothing");

        let ran = window.runs("ostler run --stdin null -- sh -c 'echo one; sleep 1000 & exit 3'");
        ran.fits();
        assert_eq!((ran.code, &*ran.lines[0], ran.lines.len()), (3, "one", 2), "{}", ran.text());
        let summary = ran.one("ostler: failed, exit 3");
        assert_eq!(summary.ends_with('…'), columns < 200, "{summary}");
        assert!(columns < 200 || summary.ends_with("1 line, 4 bytes"), "{summary}");
    }
}

#[test]
fn a_summary_fits_the_size_that_the_terminal_has_at_the_end() {
    let Some(mut window) = Window::open(80, 24) else { return };
    window.types(&format!("clear; ostler run -- {IN_TWO_PARTS}; echo code $?"));
    window.is_there("go");
    window.sees("one");
    window.resize(40, 10);
    std::fs::write(window.path("go"), "\n").unwrap();
    let ran = window.ends();
    assert!(ran.lines.contains(&"one".to_owned()) && ran.lines.contains(&"two".to_owned()), "{}", ran.text());
    let summary = ran.one("ostler: completed");
    assert!(summary.chars().count() <= 40, "{summary}");
}

#[test]
fn a_bar_is_drawn_in_its_line_and_the_summary_below_it() {
    let Some(window) = Window::open(40, 10) else { return };
    let bar = r#"sh -c 'for n in 10 55 100; do printf "\r[%3d %%]" $n; sleep 0.02; done'"#;
    let ran = window.runs(&format!("ostler run --stdin null -- {bar}"));
    assert_eq!(ran.lines[0], "[100 %]", "{}", ran.text());
    assert!(ran.lines.len() == 2 && ran.lines[1].starts_with("ostler: completed, exit 0"), "{}", ran.text());
}

#[test]
fn long_lines_and_wide_letters_are_those_of_the_command() {
    for (columns, rows) in SIZES {
        let Some(window) = Window::open(columns, rows) else { return };
        let script = r#"printf 'x%.0s' $(seq 300); echo; printf '日本%.0s' $(seq 150); echo"#;
        std::fs::write(window.path("script"), script).unwrap();
        let ran = window.runs("ostler run --stdin null -- sh script");
        assert_eq!(ran.lines[0], "x".repeat(300));
        assert_eq!(ran.lines[1], "日本".repeat(150));
        assert!(
            ran.lines[2].starts_with("ostler: completed, exit 0") && ran.lines.len() == 3,
            "{}",
            ran.text()
        );
        // What is not the command's fits, wide letters too.
        let ran = window.runs(
            "ostler run --stdin null -- 'ls 日本日本日本日本日本日本日本日本日本日本'; ostler ps --all",
        );
        assert!(ran.lines[0].starts_with("ostler: error: program: ls 日本"), "{}", ran.text());
        let rows = &ran.lines[ran.lines.len() - 2..];
        assert!(rows[0].starts_with("ID ") && rows[1].contains("sh script"), "{rows:?}");
    }
}

#[test]
fn colours_and_letters_are_as_the_environment_says() {
    let Some(window) = Window::open(40, 10) else { return };
    let failing = "ostler run --stdin null -- sh -c 'sleep 1000 & exit 3'";
    window.runs(failing);
    assert!(window.coloured().contains("\u{1b}[31m"), "{:?}", window.coloured());
    for plain in ["NO_COLOR=1", "TERM=dumb", "CI=true TERM=dumb"] {
        let ran = window.runs(&format!("{plain} {failing}"));
        assert!(ran.one("ostler: failed, exit 3").ends_with('…'));
        assert!(!window.coloured().contains('\u{1b}'), "{plain}: {:?}", window.coloured());
    }
    let ran = window.runs(&format!("LC_ALL=C {failing}"));
    ran.fits();
    assert!(ran.text().is_ascii() && ran.one("ostler: failed, exit 3").ends_with("..."), "{}", ran.text());
}

#[test]
fn a_person_is_told_once_that_nothing_is_read_from_the_keyboard() {
    let Some(window) = Window::open(80, 24) else { return };
    let ran = window.runs("ostler run -- cat");
    assert_eq!(ran.lines[0], "ostler: stdin is a terminal and not passed on (--stdin inherit does)");
    assert_eq!(ran.lines.len(), 2, "{}", ran.text());
    window.types("clear; ostler run --stdin inherit -- sh -c 'echo > up; exec cat'; echo code $?");
    window.is_there("up");
    window.types("a line");
    window.sees_line(|line| line == "a line");
    window.key("C-d");
    let ran = window.ends();
    assert_eq!(ran.lines[..2], ["a line", "a line"], "typed, and written");
}
