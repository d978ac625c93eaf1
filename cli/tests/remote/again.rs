//! `--launch-id`: a launch that may be there already.

use crate::place::{Place, Running, text};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{fs, io::Write, process::Stdio};

#[test]
fn what_was_launched_before_is_not_run_again_and_its_result_is_the_result() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    place.fifo("go");
    let cwd = place.path("").display().to_string();
    let args = ["--session", "s", "--launch-id", "build-17", "--cwd", &cwd];
    let run = |command: &[&str]| {
        let mut run = place.ostler(&["run", "--pool", "p"]);
        Running::begin(run.args(args).arg("--").args(command).stdin(Stdio::piped()))
    };
    let command = ["sh", "-c", "echo $$; read x < go; cat; exit 3"];
    let mut first = run(&command);
    let (pid, mut stdin) = (first.line(), first.stdin());
    // It runs, and goes on reading what it was given.
    let mut second = run(&command);
    second.says(
        "ostler: launch build-17 was there before: it is not run again, and stdin is not passed on to it",
    );
    second.stdin().write_all(b"not for it\n").unwrap();
    assert_eq!(second.line(), pid);
    place.go("go");
    stdin.write_all(b"for it\n").unwrap();
    drop(stdin);
    for run in [&mut first, &mut second] {
        let (status, rest, said) = run.end();
        assert_eq!((status.code(), &*rest), (Some(3), "for it\n"), "{said}");
    }
    // It has ended.
    let (status, rest, said) = run(&command).end();
    assert_eq!((status.code(), rest), (Some(3), format!("{pid}\nfor it\n")), "{said}");
    // Another command is not the same launch.
    let output = place.run(&[&args[..], &["--json", "--", "echo", "other"]].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["error"]), (Some(125), &"launch_reused".into()), "{json}");
    // In another session it is another one, and without one it would be in none.
    let output = place.run(&["--session", "t", "--launch-id", "build-17", "--", "echo", "other"]);
    assert_eq!(text(&output.stdout), "other\n");
    let output = place.run(&["--launch-id", "build-17", "--", "echo", "other"]);
    assert!(text(&output.stderr).contains("--session <ID>"), "{output:?}");
}

#[test]
fn a_launch_is_found_where_nobody_has_room_for_it_and_when_nobody_is_left() {
    let Some(place) = Place::new() else { return };
    let mut worker = place.worker("a", &["--slots", "1"]);
    place.fifo("go");
    let cwd = place.path("").display().to_string();
    let run = |id: &str| {
        let args = ["run", "--pool", "p", "-q", "--session", "s", "--launch-id", id, "--cwd", &cwd];
        Running::begin(place.ostler(&args).args(["--", "sh", "-c", "echo begun; read x < go; echo done"]))
    };
    let (mut first, mut second) = (run("l"), run("l"));
    assert_eq!((first.line(), second.line()), ("begun".to_owned(), "begun".to_owned()));
    place.go("go");
    for run in [&mut first, &mut second] {
        assert!(run.end().0.success());
    }
    worker.signal(Signal::SIGTERM);
    worker.is_over();
    let (status, stdout, said) = run("l").end();
    assert!(status.success() && stdout == "begun\ndone\n", "{said}");
    let (status, _, said) = run("other").end();
    assert!(status.code() == Some(125) && said.contains("none listens"), "{said}");
}

#[test]
fn a_launch_that_nobody_has_answered_is_launched_again_and_runs_once() {
    let Some(place) = Place::new() else { return };
    let worker = place.worker("a", &[]);
    let cwd = place.path("").display().to_string();
    let script = "echo x >> ran; echo done";
    let run = |args: &[&str]| {
        let mut run = place.ostler(&["run", "--pool", "p", "--json", "--cwd", &cwd]);
        Running::begin(run.args(args).args(["--", "sh", "-c", script]))
    };
    let error = |run: &mut Running| -> Value {
        let (status, json, said) = run.end();
        assert_eq!(status.code(), Some(125), "{said}");
        serde_json::from_str(&json).unwrap()
    };
    worker.signal(Signal::SIGSTOP);
    let stays = error(&mut run(&["--session", "a chat"]));
    assert_eq!(stays["error"], "not_claimed", "{stays}");
    let launch = stays["launch"].as_str().unwrap();
    let again = format!("ostler run --pool p --session 'a chat' --launch-id {launch} -- PROGRAM");
    assert!(stays["instead"].as_str().unwrap().ends_with(&again), "{stays}");
    // It may take it now.
    worker.signal(Signal::SIGCONT);
    for _ in 0..2 {
        let (status, json, said) = run(&["--session", "a chat", "--launch-id", launch]).end();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(status.success() && json["stdout"] == "done\n", "{json} {said}");
    }
    assert_eq!(fs::read_to_string(place.path("ran")).unwrap(), "x\n");
}

#[test]
fn a_launch_that_nobody_has_answered_in_a_session_of_its_own_is_to_be_run_anew() {
    let Some(place) = Place::new() else { return };
    let worker = place.worker("a", &[]);
    worker.signal(Signal::SIGSTOP);
    let output = place.run(&["--json", "--", "true"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["error"]), (Some(125), &"not_claimed".into()), "{json}");
    let said = json["message"].as_str().unwrap();
    assert!(json["instead"].is_null() && said.contains("its session ends with it"), "{json}");
}
