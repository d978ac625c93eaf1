//! The example hosts, run as a newcomer would: on real processes, and unchanged in a scripted world.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap in a test is its verdict")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// What every host says at the end of its tour.
const SAID: [&str; 4] = ["server listens: true", "you said y", "cancelled, SIGTERM", "2 completed"];

fn runs(example: &str) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let python = Command::new("python3").arg("-c").arg("").stdin(Stdio::null()).status();
    for scripted in [false, true] {
        if !scripted && !python.as_ref().is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: {example} on real processes: there is no python3 for its server");
            continue;
        }
        let mut run = Command::new(&cargo);
        run.args(["run", "--quiet", "-p", "ostler", "--example", example]).stdin(Stdio::null());
        if scripted {
            run.args(["--", "--scripted"]);
        }
        let output = run.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{example}: {said}{}", String::from_utf8_lossy(&output.stderr));
        for text in SAID {
            assert!(said.contains(text), "{example} does not say {text:?}: {said}");
        }
        assert!(said.lines().count() >= 7, "{said}");
    }
}

#[test]
fn a_loop_on_a_plain_thread() {
    runs("sync_host");
}

#[test]
fn tasks_on_tokio() {
    runs("async_host");
}

#[test]
fn an_actix_system() {
    runs("actix_host");
}

/// The host with a journal, whose state lies here.
fn restarted_host(state: &Path) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut run = Command::new(cargo);
    run.args(["run", "--quiet", "-p", "ostler", "--features", "journal", "--example", "restarted_host"]);
    run.env("XDG_STATE_HOME", state).stdin(Stdio::null()).stdout(Stdio::piped());
    run
}
/// Kills it as it says, while it builds.
fn is_killed(state: &Path) {
    let mut host = restarted_host(state).spawn().unwrap();
    let (mut said, mut line) = (BufReader::new(host.stdout.take().unwrap()), String::new());
    said.read_line(&mut line).unwrap();
    // Cargo stands between; the line says whom to kill.
    let pid = line.trim().rsplit_once(" builds; now kill this host: kill -9 ").expect(&line).1;
    assert!(Command::new("/bin/kill").args(["-9", pid]).status().unwrap().success());
    assert!(!host.wait().unwrap().success(), "the build has ended before the host was killed");
    line.clear();
    assert_eq!(said.read_line(&mut line).unwrap(), 0, "{line}");
}

/// As a newcomer is told to, and run again.
#[test]
fn a_host_that_is_killed_in_the_middle_of_a_build() {
    let state = tempfile::tempdir().unwrap();
    is_killed(state.path());
    let next = restarted_host(state.path()).output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&next.stdout), String::from_utf8_lossy(&next.stderr));
    assert!(next.status.success() && error.is_empty(), "{said}{error}");
    for text in ["ended: lost", "| compiling", "the build of before: lost", "once more: completed, exit 0"] {
        assert!(said.contains(text), "it does not say {text:?}: {said}");
    }
    // It has ended its session in order: the next one begins from the start.
    is_killed(state.path());
}

#[test]
fn none_is_longer_than_a_page() {
    for example in ["sync_host", "async_host", "actix_host", "restarted_host"] {
        let path = format!("{}/../actors/examples/{example}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 80, "{example} has {lines} lines");
    }
}
