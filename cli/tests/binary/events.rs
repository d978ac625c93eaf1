//! `--events`.

use crate::place::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

const PAGE: &str = include_str!("../../../docs/events.md");

fn lines(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// All that came of one stream; each piece begins where the last one ended.
fn joined(events: &[Value], stream: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for event in events.iter().filter(|event| event["event"] == "output" && event["stream"] == stream) {
        assert_eq!(event["offset"], all.len(), "{event}");
        let piece = match event.get("text") {
            Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
            None => STANDARD.decode(event["base64"].as_str().unwrap()).unwrap(),
        };
        assert!(event["bytes"] == piece.len() && (1..=16 << 10).contains(&piece.len()), "{event}");
        all.extend(piece);
    }
    all
}

/// Whether all that stands here stands there too; a handle id only has to be one.
fn has(there: &Value, here: &Value) -> bool {
    match here {
        Value::Object(fields) => fields.iter().all(|(name, value)| match name.as_str() {
            "handle_id" => there[name].as_str().is_some_and(|id| id.starts_with("hto-")),
            _ => has(&there[name], value),
        }),
        _ => there == here,
    }
}

#[test]
fn the_example_of_the_page_is_what_happens() {
    let block = PAGE.split("```").nth(1).unwrap().trim();
    let (command, expected) = block.split_once('\n').unwrap();
    let argv = shlex::split(command.strip_prefix("$ ostler run ").unwrap()).unwrap();
    let place = Place::new();
    let output = place.ostler("run").args(argv).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(3), String::new()));
    let (events, expected) = (lines(&output.stdout), lines(expected.as_bytes()));
    assert_eq!(events.len(), expected.len());
    for line in &expected {
        assert!(events.iter().any(|event| has(event, line)), "{line} is not among {events:?}");
    }
    assert!(has(&events[0], &expected[0]) && has(&events[3], &expected[3]), "{events:?}");
}

#[test]
fn the_pieces_of_each_stream_are_the_stream() {
    let place = Place::new();
    let (out, err) = ("zażółć gęślą jaźń\n".repeat(20_000).into_bytes(), noise(300_000, 3));
    fs::write(place.path("out"), &out).unwrap();
    fs::write(place.path("err"), &err).unwrap();
    let output = place.run(&[
        "--events",
        "--max-inline-bytes",
        "100",
        "--",
        "sh",
        "-c",
        "cat out & cat err >&2; wait",
    ]);
    let events = lines(&output.stdout);
    assert!(joined(&events, "stdout") == out && joined(&events, "stderr") == err);
    assert!(events.iter().all(|event| event["stream"] != "stdout" || event.get("text").is_some()));
    assert!(output.stdout.split(|byte| *byte == b'\n').all(|line| line.len() < 150_000));
    let result = &events.last().unwrap()["record"];
    assert_eq!(result["byte_count"], out.len() + err.len());
    assert_eq!(fs::read(result["stdout_path"].as_str().unwrap()).unwrap(), out);
}

#[test]
fn events_come_while_the_command_runs_and_a_signal_gives_the_result() {
    let place = Place::new();
    let mut command = place.ostler("run");
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    command.args(["--events", "--progress", "10ms", "--", "sh", "-c", script]).stdout(Stdio::piped());
    let mut ostler = command.spawn().unwrap();
    let mut events = BufReader::new(ostler.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert_eq!(events.next().unwrap()["event"], "started");
    assert_eq!(events.find(|event| event["event"] == "output").unwrap()["text"], "ready\n");
    let progress = events.find(|event| event["event"] == "progress").unwrap();
    assert_eq!(progress["record"]["stdout"], "ready\n");
    kill_ostler(&ostler, Signal::SIGINT);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["record"]["stop_cause"], &last["record"]["exit_code"]),
        (&"result".into(), &"cancelled".into(), &7.into())
    );
    assert_eq!(ostler.wait().unwrap().code(), Some(130));
}

#[test]
fn an_error_is_an_event_too_and_a_reader_that_goes_away_ends_the_command() {
    let place = Place::new();
    let nothing = place.run(&["--events", "--", "no-such-program-anywhere"]);
    let events = lines(&nothing.stdout);
    assert_eq!((nothing.status.code(), events.len()), (Some(127), 1));
    assert_eq!((&events[0]["event"], &events[0]["error"]), (&"error".into(), &"program_not_found".into()));
    let wrong = place.run(&["--events", "--timeout", "soon", "--", "true"]);
    let events = lines(&wrong.stdout);
    assert_eq!((&events[0]["event"], &events[0]["error"]), (&"error".into(), &"usage".into()));

    let mut ostler =
        place.ostler("run").args(["--events", "--", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(ostler.stdout.take());
    assert_eq!(ostler.wait().unwrap().code(), Some(141));
}
