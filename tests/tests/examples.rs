//! The example hosts, run as a newcomer would: on real processes, and unchanged in a scripted world.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// What every host says at the end of its tour.
const SAID: [&str; 4] = ["server listens: true", "you said y", "killed, SIGTERM", "2 completed"];

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

/// It is killed as a newcomer is told to, and run again.
#[test]
fn a_host_that_is_killed_in_the_middle_of_a_build() {
    let state = tempfile::tempdir().unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let run = || {
        let mut run = Command::new(&cargo);
        run.args(["run", "--quiet", "-p", "ostler", "--features", "journal", "--example", "restarted_host"]);
        run.env("XDG_STATE_HOME", state.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        run
    };
    let mut first = run().spawn().unwrap();
    let mut said = BufReader::new(first.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    // Cargo stands between; the line says whom to kill.
    let pid = line.trim().rsplit_once("kill -9 ").expect(&line).1;
    assert!(Command::new("/bin/kill").args(["-9", pid]).status().unwrap().success());
    assert!(!first.wait().unwrap().success(), "the build has ended before the host was killed");
    let next = run().output().unwrap();
    let said = String::from_utf8_lossy(&next.stdout);
    assert!(
        next.status.success() && next.stderr.is_empty(),
        "{said}{}",
        String::from_utf8_lossy(&next.stderr)
    );
    for text in ["ended: lost", "| compiling", "the build of before: lost", "once more: completed, exit 0"] {
        assert!(said.contains(text), "it does not say {text:?}: {said}");
    }
    // What is read and ended is read and ended.
    let mut last = run().spawn().unwrap();
    let mut said = BufReader::new(last.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains(" builds; now kill this host"), "{line}");
    let pid = line.trim().rsplit_once("kill -9 ").expect(&line).1;
    assert!(Command::new("/bin/kill").args(["-9", pid]).status().unwrap().success());
    last.wait().unwrap();
}

#[test]
fn none_is_longer_than_a_page() {
    for example in ["sync_host", "async_host", "actix_host", "restarted_host"] {
        let path = format!("{}/../actors/examples/{example}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 80, "{example} has {lines} lines");
    }
}
