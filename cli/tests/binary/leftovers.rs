//! `--leftovers keep`: ostler stays as long as what the command has left.

use crate::place::*;
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

/// Up to the moment when ostler has told on stderr that something is kept. Its process group is the first line on stdout.
fn begun(place: &Place, script: &str) -> (Child, BufReader<impl Read>, Pid) {
    let mut command = place.ostler("run");
    command.args(["--leftovers", "keep", "--", "sh", "-c", script]);
    let mut ostler = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(ostler.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.next().unwrap().starts_with("ostler: failed, exit 3, left over: sh ("));
    assert_eq!(said.next().unwrap(), "ostler: it has left 1 process running; Ctrl-C stops it");
    let mut stdout = BufReader::new(ostler.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (ostler, stdout, Pid::from_raw(line.trim().parse().expect(&line)))
}

#[test]
fn what_is_kept_is_heard_to_its_end_and_the_exit_code_is_that_of_the_command() {
    let place = Place::new();
    let (mut ostler, mut stdout, group) =
        begun(&place, "mkfifo go; echo $$; (read x <go; echo late) & exit 3");
    place.go("go");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((ostler.wait().unwrap().code(), rest.as_str()), (Some(3), "late\n"));
    assert_eq!(living(group), [0; 0]);
}

#[test]
fn ctrl_c_stops_what_is_kept() {
    let place = Place::new();
    let (mut ostler, mut stdout, group) =
        begun(&place, "mkfifo go; echo $$; (read x <go; echo late) & exit 3");
    kill_ostler(&ostler, Signal::SIGINT);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((ostler.wait().unwrap().code(), rest.as_str()), (Some(3), ""));
    assert_eq!(living(group), [0; 0]);
}

#[test]
fn the_result_waits_for_what_is_kept() {
    let place = Place::new();
    let script = "(until [ -e over ]; do sleep 0.01; done) </dev/null >/dev/null 2>&1 & exit 3";
    let mut command = place.ostler("run");
    command.args(["--leftovers", "keep", "--json", "--", "sh", "-c", script]).stdout(Stdio::piped());
    let ostler = command.spawn().unwrap();
    std::fs::write(place.path("over"), "").unwrap();
    let output = ostler.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &result["exit_code"]), (Some(3), &3.into()));
}
