//! Ctrl-C, and ends.

use crate::place::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::process::{Command, Stdio};

const CLEANS_UP: &str = "trap 'echo cleaned; exit 7' TERM; echo $$; while :; do sleep 0.01; done";
const IGNORES_TERM: &str = "trap 'echo ignored' TERM; echo $$; while :; do sleep 0.01; done";

#[test]
fn ctrl_c_cancels_and_the_command_may_clean_up() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let place = Place::new();
        let running = place.start(&["--grace", "1h"], CLEANS_UP);
        running.signal(signal);
        let (status, out, err) = running.end();
        assert_eq!((status.code(), &*out), (Some(code), "cleaned\n"), "{err}");
        let again = if signal == Signal::SIGINT { "Ctrl-C again" } else { "another signal" };
        let told = format!("ostler: stopping: SIGTERM now, SIGKILL in 1 h 0 min; {again} kills at once\n");
        assert!(err.starts_with(&told), "{err}");
        // Between them its shell may say what has become of its `sleep`.
        assert!(err.lines().next_back().unwrap().starts_with("ostler: cancelled, exit 7, "), "{err}");
    }
}

#[test]
fn a_second_ctrl_c_kills() {
    let place = Place::new();
    let mut running = place.start(&["--grace", "1h"], IGNORES_TERM);
    running.signal(Signal::SIGINT);
    assert_eq!(running.line(), "ignored\n");
    running.signal(Signal::SIGINT);
    let (status, _, err) = running.end();
    assert_eq!(status.code(), Some(130), "{err}");
    assert!(err.contains("ostler: cancelled, SIGKILL, "), "{err}");
    assert_eq!(err.matches("kills at once").count(), 1, "it is told once: {err}");
}

/// Ctrl-Z, until ostler stands still.
fn stops(running: &Running) {
    running.signal(Signal::SIGTSTP);
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", running.ostler.id())).unwrap();
    while !state().contains(") T ") {
        std::thread::yield_now();
    }
}

#[test]
fn what_ctrl_z_has_stopped_does_not_outlive_ostler() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; sleep 1000 & sleep 1000");
    stops(&running);
    running.dies();
}

#[test]
fn ctrl_z_stops_the_command_and_its_time_and_both_go_on() {
    let place = Place::new();
    let script = "echo $$; until [ -e over ]; do echo >> ticks; sleep 0.01; done; echo over";
    let running = place.start(&["--timeout", "3s"], script);
    let ticks = || std::fs::metadata(place.path("ticks")).map_or(0, |about| about.len());
    while ticks() < 2 {
        std::thread::yield_now();
    }
    stops(&running);
    let stopped_at = ticks();
    // Longer than it may run.
    std::thread::sleep(std::time::Duration::from_millis(3_200));
    assert_eq!(ticks(), stopped_at, "it ran on");
    std::fs::write(place.path("over"), "").unwrap();
    running.signal(Signal::SIGCONT);
    let (status, out, err) = running.end();
    assert_eq!((status.code(), &*out), (Some(0), "over\n"), "{err}");
}

#[test]
fn with_json_ctrl_c_gives_the_result_all_the_same() {
    let place = Place::new();
    let mut command = place.ostler("run");
    // stdout tells nothing before the end, so the command says by a fifo that it is ready.
    let script = "mkfifo go.new; trap 'exit 7' TERM; mv go.new go; while :; do sleep 0.01; done";
    command.args(["--json", "--", "sh", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ostler = command.spawn().unwrap();
    while !place.path("go").exists() {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(ostler.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = ostler.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["status"], &result["exit_code"]), (&"killed".into(), &7.into()));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let place = Place::new();
    let mut command = Command::new("sh");
    let script = "mkfifo go && echo $$ && read _ < go; echo over";
    let ostler = r#"trap "" HUP; exec "$0" run --artifacts artifacts -- sh -c "$1""#;
    command.args(["-c", ostler, env!("CARGO_BIN_EXE_ostler"), script]).current_dir(place.0.path());
    let running = Running::begin(command);
    running.signal(Signal::SIGHUP);
    place.go("go");
    let (status, out, err) = running.end();
    assert_eq!((status.code(), &*out), (Some(0), "over\n"), "{err}");
}

#[test]
fn nothing_of_the_tree_is_left() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; sleep 1000 & sleep 1000 & exit 5");
    let (status, _, err) = running.end();
    assert_eq!(status.code(), Some(5));
    assert!(err.contains("left over: sleep ("), "{err}");
}

// ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────
