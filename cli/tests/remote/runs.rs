//! `ostler run --pool`: what a shell sees of it is what it sees of a command of this machine.

use crate::{
    disk::SmallDisk,
    place::{Place, text},
};
use std::fs;

#[test]
fn output_ending_and_exit_code_are_those_of_a_local_run() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let output = place.run(&["--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(3), "out\n"), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.starts_with("err\nostler: failed, exit 3, ") && said.ends_with(", 2 lines, 8 bytes\n"),
        "{said}"
    );
    let output = place.run(&["-q", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!((output.status.code(), &*text(&output.stderr)), (Some(137), ""), "{output:?}");
    let output = place.run(&["--timeout", "100ms", "--", "sleep", "1000"]);
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    let output = place.run(&["--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let output = place.run(&["--json", "--", "no such program"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"], "program_not_found");
    assert!(error["instead"].is_string(), "{error}");
}

#[test]
fn output_is_the_same_to_the_byte_and_comes_as_it_is_written() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    // More than a page, and no text.
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(place.path("bytes"), &bytes).unwrap();
    let cwd = place.path("").display().to_string();
    let mut cat = place.ostler(&["run", "--pool", "p", "-q", "--cwd", &cwd, "--", "cat", "bytes"]);
    let output = cat.output().unwrap();
    assert!(
        output.status.success() && output.stdout == bytes,
        "{}, {:?}",
        output.stdout.len(),
        output.stderr
    );
    place.fifo("go");
    let (mut run, line) = place.start(&["--cwd", &cwd], "echo first; read x < go; echo second");
    assert_eq!(line, "first");
    place.go("go");
    assert_eq!(run.line(), "second");
    assert!(run.end().0.success());
}

#[test]
fn json_has_the_record_and_where_it_ran() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let output = place.run(&["--json", "--label", "k=v", "--session", "s", "--", "echo", "hello"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["status"], &json["stdout"]), (&"completed".into(), &"hello\n".into()), "{json}");
    assert_eq!((&json["session_id"], &json["worker"]), (&"s".into(), &"a".into()), "{json}");
    assert_eq!(json["labels"], serde_json::json!({ "k": "v" }));
    assert!(json["launch"].as_str().is_some_and(|launch| launch.starts_with("hto-")), "{json}");
    assert_eq!(text(&output.stderr), "");
    // It stays open.
    let output = place.run(&["--json", "--session", "s", "--", "true"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_cant_be_had_is_refused_by_name() {
    let Some(place) = Place::new() else { return };
    for (option, named) in [
        (&["--pty"][..], "--pty"),
        (&["--events"], "--events"),
        (&["--leftovers", "keep"], "--leftovers keep"),
        (&["--show-path"], "--show-path"),
        (&["--trace", "t"], "--trace"),
        (&["--artifacts", "d"], "--artifacts"),
    ] {
        // There is no worker that could do it.
        let output = place.run(&[option, &["--", "true"]].concat());
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let said = format!("ostler: error: {named} can't be had on another machine: ");
        assert!(text(&output.stderr).starts_with(&said), "{output:?}");
    }
    let output = place.run(&["--json", "--trace", "t", "--", "true"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["error"], &json["option"]), (&"not_remote".into(), &"--trace".into()));
    let output = place.ends(&mut place.ostler(&["run", "--nats", "nats://127.0.0.1:1", "--", "true"]));
    assert!(text(&output.stderr).contains("--pool <NAME>"), "{output:?}");
    let output = place.ends(place.ostler(&["run", "--pool", "p", "--", "true"]).env_remove("NATS_URL"));
    assert!(text(&output.stderr).contains("--nats: say where the server is"), "{output:?}");
}

#[test]
fn the_full_disk_of_a_worker_costs_neither_the_result_nor_the_next_command() {
    let Some(place) = Place::new() else { return };
    let artifacts = place.path("a").join("artifacts");
    fs::create_dir_all(&artifacts).unwrap();
    let Some(_disk) = SmallDisk::mount_of(&artifacts, 256 << 10) else { return };
    let _worker = place.worker("a", &[]);
    let output = place.run(&["--json", "--", "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["status"], &json["exit_code"]), (&"completed".into(), &0.into()), "{json}");
    assert_eq!(json["byte_count"], 1_000_000);
    assert!(json["artifact_error"].as_str().unwrap().contains("No space left"), "{json}");
    assert!(json["recorded_bytes"].as_u64().unwrap() < 256 << 10, "{json}");
    // What was recorded can be read, and what was not is not made up.
    let launch = json["launch"].as_str().unwrap();
    let logs = place.ends(&mut place.ostler(&["logs", "--pool", "p", launch]));
    assert_eq!(logs.stdout.len() as u64, json["recorded_bytes"].as_u64().unwrap(), "{:?}", logs.status);
    let output = place.run(&["--json", "--", "echo", "next"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["exit_code"], &json["stdout"]), (&0.into(), &"next\n".into()), "{json}");
    let output = place.run(&["--", "echo", "next"]);
    assert!(output.status.success() && text(&output.stderr).contains("record incomplete"), "{output:?}");
}

#[test]
fn without_a_worker_or_a_server_the_error_says_so() {
    let Some(place) = Place::new() else { return };
    let output = place.run(&["--json", "--", "true"]);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["error"], "no_worker");
    assert!(json["message"].as_str().unwrap().contains("no worker of it was heard of"), "{json}");
    let output = place.run(&["--nats", "nats://me:secret@127.0.0.1:1", "--", "true"]);
    let said = text(&output.stderr);
    assert!(said.contains("can't connect") && !said.contains("secret"), "{said}");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}
