//! `--log`.

use crate::{client::Client, place::Place};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

#[test]
fn a_log_says_what_was_done_and_no_secret() {
    let place = Place::new();
    let file = place.path("log");
    let mut client = Client::begin(place.command().arg("--log").arg(&file)).old();
    let arguments =
        json!({ "command": "cat; exit 3", "env": { "TOKEN": "se-cret" }, "stdin": "pass-word\n" });
    let handle = client.call("run_command", arguments).field("handle").as_str().unwrap().to_owned();
    let wrong = json!({ "handle": handle, "text": "type-d", "keys": "pass-phrase" });
    assert!(client.call("write_stdin", wrong).is_error());
    assert!(client.call("run_command", json!({ "argv": ["no-such-program"], "env": 7 })).is_error());
    assert!(client.call("run_command", json!({ "argv": ["no-such-program"] })).is_error());
    assert!(client.call("run_command", json!({ "argv": ["PASS=pass-wort make deploy"] })).is_error());
    assert!(client.close().success());
    let log = fs::read_to_string(&file).unwrap();
    for said in [
        "client connected",
        "name=\"test\"",
        "tool=\"run_command\" refused=false",
        "tool=\"write_stdin\" refused=true",
        "process.exit.code=3",
        "error.type=\"program_not_found\"",
        &handle,
        "session ended",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    for secret in ["se-cret", "pass-word", "type-d", "pass-phrase", "pass-wort", "exit 3"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_can_not_be_had_is_named_before_anything_is_served() {
    let place = Place::new();
    let (code, said) =
        Client::begin(place.command().args(["--log", "/no/such/log"]).stderr(Stdio::piped())).end_by_itself();
    assert_eq!(code, Some(125));
    assert!(said.contains("--log: No such file"), "{said}");
    // Nobody reads that pipe; and that is what the client reads.
    place.fifo("pipe");
    for (file, says) in
        [(place.path("pipe"), "--log: "), ("/dev/stdout".into(), "--log: stdout is the client's")]
    {
        let mut started = place.command();
        let (code, said) =
            Client::begin(started.arg("--log").arg(file).stderr(Stdio::piped())).end_by_itself();
        assert_eq!(code, Some(125), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn what_is_wrong_is_said_on_stderr_without_a_file() {
    let place = Place::new();
    fs::write(place.path("artifacts"), "no directory").unwrap();
    let mut client = Client::begin(place.command().stderr(Stdio::piped())).old();
    assert!(client.call("run_command", json!({ "command": "true" })).is_error());
    let (_, said) = client.close_and_read_stderr();
    assert!(said.contains("WARN no session can be opened error="), "{said}");
}

#[test]
fn a_trace_of_a_server_has_its_commands_and_no_value_of_a_variable() {
    let place = Place::new();
    let file = place.path("trace.jsonl");
    let mut client = Client::begin(place.command().arg("--trace").arg(&file)).old();
    client.call("run_command", json!({ "command": "exit 3", "env": { "TOKEN": "se-cret" } }));
    assert!(client.close().success());
    let trace = ostler::trace::Trace::read(&file).unwrap();
    assert_eq!((trace.handles().len(), trace.cut_bytes), (1, 0));
    let told = trace.text();
    assert!(told.contains("Exited exit 3") && !told.contains("se-cret"), "{told}");
}
