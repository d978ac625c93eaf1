//! Ctrl-C, Ctrl-Z, and the keys of a command that has a terminal of its own.

use crate::window::*;
use std::{fs, thread, time::Duration};

/// Hears no SIGTERM, and has a child that has gone away from it.
const IGNORES_TERM: &str =
    "trap 'echo ignored' TERM; setsid sleep 1000 & echo ready; while :; do sleep 0.05; done";

#[test]
fn the_first_ctrl_c_says_what_happens_and_the_second_kills() {
    for (columns, rows) in SIZES {
        let Some(window) = Window::open(columns, rows) else { return };
        fs::write(window.path("script"), IGNORES_TERM).unwrap();
        window.types("clear; ostler run --stdin null --grace 1h -- sh script; echo code $?");
        window.sees("ready");
        window.key("C-c");
        window.sees("ostler: stopping: SIGTERM now, SIGKILL ");
        window.sees("ignored");
        // Ostler and the script, at least.
        assert!(window.processes().len() >= 2, "they live on");
        window.key("C-c");
        let ran = window.ends();
        assert_eq!(ran.code, 130);
        // The key is shown on a line of its own, and not before what ostler says.
        let said = ran.one("ostler: stopping");
        assert_eq!(said, "ostler: stopping: SIGTERM now, SIGKILL in 1 h 0 min; Ctrl-C again kills at once");
        assert!(ran.lines.iter().any(|line| line.starts_with("^C")), "{}", ran.text());
        assert!(ran.one("ostler: cancelled, SIGKILL").chars().count() <= columns, "{}", ran.text());
        window.is_left_alone();
    }
}

#[test]
fn ctrl_z_stops_the_whole_tree_and_its_time_and_fg_continues_both() {
    let Some(window) = Window::open(80, 24) else { return };
    let script = "(until [ -e over ]; do echo >> ticks; sleep 0.01; done) & wait; echo over";
    fs::write(window.path("script"), script).unwrap();
    let ticks = || fs::metadata(window.path("ticks")).map_or(0, |about| about.len());
    window.types("clear; ostler run --stdin null --timeout 3s -- sh script");
    window.waits(|| (ticks() > 2).then_some(()), || "it does not tick".to_owned());
    window.key("C-z");
    window.sees_line(|line| line.contains("Stopped"));
    let stopped_at = ticks();
    // Longer than it may run.
    thread::sleep(Duration::from_millis(3_200));
    assert_eq!(ticks(), stopped_at, "it ran on");
    window.types("clear; fg; echo code $?");
    window.waits(|| (ticks() > stopped_at).then_some(()), || window.screen().join("\n"));
    fs::write(window.path("over"), "").unwrap();
    let ran = window.ends();
    assert_eq!(ran.code, 0, "{}", ran.text());
    assert!(ran.lines.contains(&"over".to_owned()), "{}", ran.text());
    ran.one("ostler: completed, exit 0");
    window.is_left_alone();
}

#[test]
fn ctrl_c_after_ctrl_z_and_a_closed_window_end_what_stands_still() {
    for closes in [false, true] {
        let Some(window) = Window::open(80, 24) else { return };
        fs::write(window.path("script"), IGNORES_TERM).unwrap();
        window.types("clear; ostler run --stdin null --grace 100ms -- sh script");
        window.sees("ready");
        window.key("C-z");
        window.sees_line(|line| line.contains("Stopped"));
        if closes {
            window.closes();
        } else {
            window.types("clear; fg; echo code $?");
            window.sees("ostler run");
            window.key("C-c");
            assert_eq!(window.ends().code, 130);
        }
        window.is_left_alone();
    }
}

#[test]
fn nothing_of_the_tree_outlives_a_window_that_is_closed() {
    for options in ["", "--pty"] {
        let Some(window) = Window::open(80, 24) else { return };
        fs::write(window.path("script"), IGNORES_TERM).unwrap();
        window.types(&format!("clear; ostler run {options} --grace 200ms -- sh script"));
        window.sees("ready");
        assert!(window.processes().len() >= 3);
        window.closes();
        window.is_left_alone();
    }
}

#[test]
fn a_terminal_of_its_own_has_the_windows_size_and_its_keys_and_is_given_back() {
    let Some(mut window) = Window::open(80, 24) else { return };
    let script = "trap 'echo interrupted; exit 7' INT; trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.05; done";
    fs::write(window.path("script"), script).unwrap();
    let line = "before=$(stty -g); ostler run --pty -- sh script; echo code $?; test \"$before\" = \"$(stty -g)\" && echo as before";
    window.types(&format!("clear; {line}"));
    let screen = window.sees("ready");
    assert!(screen.contains(&"24 80".to_owned()), "{screen:?}");
    for (columns, rows) in [(40, 10), (132, 43)] {
        window.resize(columns, rows);
        window.sees(&format!("{rows} {columns}"));
    }
    window.key("C-c");
    window.sees_line(|line| line.ends_with("interrupted"));
    assert_eq!(window.ends().code, 7);
    window.sees("as before");
    window.is_left_alone();
}

#[test]
fn a_program_of_full_screen_works_as_without_ostler() {
    let Some(window) = Window::open(80, 24) else { return };
    fs::write(window.path("text"), (1..=200).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
    if std::process::Command::new("less").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no less");
        return;
    }
    window.types("clear; ostler run --pty -- less text; echo code $?");
    window.sees_line(|line| line == "line 23");
    window.types("G");
    window.sees_line(|line| line == "line 200");
    window.key("q");
    let ran = window.ends();
    assert_eq!(ran.code, 0);
    assert!(!ran.text().contains("line 23"), "its screen is gone: {}", ran.text());
}

#[test]
fn a_window_that_is_closed_ends_what_only_shows_something() {
    for (line, last) in [("ostler demo", "Ctrl-C ends it"), ("ostler top", "q ends")] {
        let Some(window) = Window::open(80, 24) else { return };
        window.types(line);
        window.sees(last);
        window.closes();
        window.is_left_alone();
    }
}
