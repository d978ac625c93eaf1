//! The example hosts, run as a newcomer would: on real processes, and unchanged in a scripted world.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use std::process::{Command, Stdio};

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

#[test]
fn none_is_longer_than_a_page() {
    for example in ["sync_host", "async_host", "actix_host"] {
        let path = format!("{}/../actors/examples/{example}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 80, "{example} has {lines} lines");
    }
}
