//! JSON, traces, environment, places, the tour.

use crate::place::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    fs::{self},
    io::{BufRead, BufReader},
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::Path,
    process::Stdio,
};

const KEYS: [&str; 37] = [
    "artifact_error",
    "byte_count",
    "command",
    "command_id",
    "command_or_op_descriptor",
    "containment",
    "cwd",
    "duration_ms",
    "ended_at",
    "env_withheld",
    "exit_code",
    "handle_id",
    "leftovers",
    "line_count",
    "oom_killed",
    "output_offset",
    "output_path",
    "output_sha256",
    "pid",
    "process_group_id",
    "recorded_bytes",
    "session_id",
    "signal",
    "silence_ms",
    "started_at",
    "status",
    "stderr",
    "stderr_path",
    "stderr_truncated",
    "stdout",
    "stdout_path",
    "stdout_truncated",
    "stop_cause",
    "success",
    "timed_out",
    "toolchain_error",
    "usage",
];

#[test]
fn json_is_one_object_with_the_keys_of_the_contract_and_nothing_else() {
    let place = Place::new();
    let args = ["--json", "--progress", "10ms", "--max-inline-bytes", "8", "--"];
    let output = place.run(&[&args[..], &["sh", "-c", "seq 100; echo err >&2; exit 3"]].concat());
    assert_eq!((output.status.code(), output.stderr.len()), (Some(3), 0));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut keys: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, KEYS);
    assert_eq!((&result["status"], &result["exit_code"]), (&"completed".into(), &3.into()));
    assert_eq!((&result["success"], &result["stop_cause"]), (&false.into(), &Value::Null));
    assert_eq!((&result["stdout_truncated"], &result["stderr"]), (&true.into(), &"err\n".into()));
    let combined = fs::read(result["output_path"].as_str().unwrap()).unwrap();
    let hex: String = Sha256::digest(&combined).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(result["output_sha256"], format!("sha256:{hex}"));
}

#[test]
fn a_trace_has_a_header_and_a_line_for_each_message_and_no_value_of_a_variable() {
    let place = Place::new();
    let output =
        place.run(&["--trace", "trace", "--env", "SECRET=xyzzy", "--", "sh", "-c", "echo $SECRET | tr x a"]);
    assert_eq!(text(&output.stdout), "ayzzy\n");
    let trace = fs::read_to_string(place.path("trace")).unwrap();
    assert!(!trace.contains("xyzzy"));
    let lines: Vec<Value> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["ostler_trace"], 3);
    let sequences: Vec<_> = lines[1..].iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    for message in ["OpenSession", "Launch", "Exec", "Started", "Exited", "Deliver", "Shutdown", "Stopped"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}");
    }
    // It is the same when it is run again, and what was changed is found.
    let replay = |file: &str| {
        let mut ostler = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"));
        ostler.arg("replay").arg(place.path(file)).output().unwrap()
    };
    let same = replay("trace");
    assert_eq!(
        (same.status.code(), text(&same.stdout)),
        (Some(0), format!("{} records, identical\n", sequences.len()))
    );
    fs::write(place.path("changed"), trace.replacen("\"exit_code\":0", "\"exit_code\":7", 1)).unwrap();
    let changed = replay("changed");
    assert_eq!(changed.status.code(), Some(1));
    assert!(text(&changed.stdout).contains("records, then a difference\nline "), "{}", text(&changed.stdout));
    let missing = replay("missing");
    assert_eq!(missing.status.code(), Some(125));
    assert!(text(&missing.stderr).contains("missing: No such file"), "{}", text(&missing.stderr));
}

#[test]
fn a_quiet_run_says_nothing_but_errors() {
    let place = Place::new();
    let quiet = place.run(&["--quiet", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (quiet.status.code(), text(&quiet.stdout), text(&quiet.stderr)),
        (Some(3), "out\n".into(), "err\n".into())
    );
    let wrong = place.run(&["-q", "--", "no-such-program-anywhere"]);
    assert_eq!(text(&wrong.stderr), "ostler: error: program: no-such-program-anywhere was not found\n");
}

#[test]
fn merged_streams_have_their_exact_order_and_the_first_signal_is_chosen() {
    let place = Place::new();
    let both = "for n in 1 2 3; do echo o$n; echo e$n >&2; done";
    let merged = place.run(&["--merge-stderr", "-q", "--", "sh", "-c", both]);
    assert_eq!(
        (text(&merged.stdout), text(&merged.stderr)),
        ("o1\ne1\no2\ne2\no3\ne3\n".into(), String::new())
    );
    let waits = "trap 'echo interrupted; exit 0' INT; echo begun; while :; do sleep 0.01; done";
    let said = place.run(&["--timeout", "1", "--signal", "int", "-q", "--", "sh", "-c", waits]);
    assert_eq!((said.status.code(), text(&said.stdout)), (Some(124), "begun\ninterrupted\n".into()));
}

#[test]
fn an_error_is_told_to_a_program_too() {
    let place = Place::new();
    let told = |place: &Place, what: &str, args: &[&str]| {
        let output = place.ostler(what).args(args).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.iter().filter(|byte| **byte == b'\n').count()),
            (Some(125), 1)
        );
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = format!("ostler: error: {}\n", json["message"].as_str().unwrap());
        assert_eq!(text(&output.stderr), message);
        json
    };
    fs::write(place.path("artifacts"), "").unwrap();
    let refused = told(&place, "run", &["--json", "--", "true"]);
    assert_eq!(refused["error"], "not_started", "{refused}");
    let unknown = told(&Place::new(), "show", &["--json", "hto-0-1"]);
    assert_eq!((&unknown["error"], &unknown["id"]), (&"unknown_id".into(), &"hto-0-1".into()), "{unknown}");
    let wrong = place.run(&["--json", "--timeout", "soon", "--", "true"]);
    let json: Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!((wrong.status.code(), &json["error"]), (Some(125), &"usage".into()));
    assert!(json["message"].as_str().unwrap().contains("'--timeout <D>'"), "{json}");
    assert!(text(&wrong.stderr).contains("'--timeout <D>'"));
    // What the program is given is not ostler's.
    assert!(place.run(&["--timeout", "soon", "--", "true", "--json"]).stdout.is_empty());
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let place = Place::new();
    let with = |args: &[&str]| {
        let mut command = place.ostler("run");
        command.env("PLAIN", "1").env("MY_API_KEY", "2").args(args).args(["--", "/usr/bin/env"]);
        text(&command.output().unwrap().stdout)
    };
    let has = |text: &str, line: &str| text.lines().any(|found| found == line);
    let clean = with(&["--env", "OTHER_TOKEN=a=b", "--env-mode", "inherit_clean"]);
    assert!(has(&clean, "PLAIN=1") && !clean.contains("MY_API_KEY") && has(&clean, "OTHER_TOKEN=a=b"));
    // It is a person's own shell.
    let all = with(&[]);
    assert!(has(&all, "PLAIN=1") && has(&all, "MY_API_KEY=2"));
    assert_eq!(all, with(&["--env-mode", "patch"]));
    assert_eq!(all, with(&["--env-mode", "inherit"]));
    let less = with(&["--env-remove", "MY_API_KEY", "--env-remove", "PLAIN", "--env", "PLAIN=3"]);
    assert!(has(&less, "PLAIN=3") && !less.contains("MY_API_KEY"), "what is set wins: {less}");
    assert_eq!(with(&["--env-mode", "replace", "--env", "A=1", "--env", "B=2"]), "A=1\nB=2\n");
    let agent = with(&["--preset", "agent", "--env", "PAGER=more"]);
    assert!(has(&agent, "TERM=dumb") && has(&agent, "NO_COLOR=1") && has(&agent, "PAGER=more"));
    assert!(has(&with(&["--preset", "terminal"]), "TERM=xterm-256color"));
}

#[test]
fn a_program_is_found_where_the_tools_of_its_directory_are() {
    let place = Place::new();
    for (file, script) in [
        ("mise", "#!/bin/sh\necho \"{\\\"PATH\\\": \\\"$PWD/tools:$PATH\\\"}\"\n"),
        ("tools/its-tool", "#!/bin/sh\necho ran \"${PATH%%:*}\"\n"),
    ] {
        let path = place.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(place.path("mise.toml"), "").unwrap();
    let run = |toolchain: &str| {
        let mut command = place.ostler("run");
        command.env("PATH", format!("{}:/usr/bin:/bin", place.0.path().display()));
        command.args(["--toolchain", toolchain, "--", "its-tool"]).output().unwrap()
    };
    assert_eq!(run("off").status.code(), Some(127));
    assert_eq!(text(&run("auto").stdout), format!("ran {}\n", place.path("tools").display()));
}

#[test]
fn arguments_variables_and_directories_need_not_be_text() {
    let place = Place::new();
    let raw = |text: &[u8]| OsString::from_vec(text.to_vec());
    fs::create_dir(place.0.path().join(raw(b"dir\xff"))).unwrap();
    let mut command = place.ostler("run");
    command.arg("--cwd").arg(raw(b"dir\xff")).arg("--env").arg(raw(b"V=\xfe")).arg("--");
    command.args(["sh", "-c", r#"printf '%s %s %s' "$1" "$V" "${PWD##*/}""#, "sh"]).arg(raw(b"\xfd"));
    // The shell works PWD out again by itself where the inherited one is wrong.
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"\xfd \xfe dir\xff", "{}", text(&output.stderr));
}

#[test]
fn options_after_the_program_are_its_own() {
    let place = Place::new();
    let output = place.run(&["echo", "--timeout", "5"]);
    assert_eq!(text(&output.stdout), "--timeout 5\n");
}

#[test]
fn artifacts_lie_where_they_were_asked_for() {
    let place = Place::new();
    let line = text(&place.run(&["--show-path", "--", "true"]).stderr);
    let dir = line.trim_end().rsplit_once("its output is in ").unwrap().1;
    assert_eq!(Path::new(dir).parent(), Some(&*place.path("artifacts").canonicalize().unwrap()));
    assert!(Path::new(dir).join("result.json").is_file());
}

// ── the tour ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_tour_shows_the_inbox_and_the_messages() {
    let place = Place::new();
    let output = place.ostler("demo").output().unwrap();
    let tour = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [
        "Five commands at once",
        "request 1000 served",
        "completed, exit 0",
        "timed out after 1.5 s",
        "answer of the cancel: cancelled, exit 0, last words: All finished, bye",
        "the session ends: 2 completed, 2 killed, 1 timed out",
        "process/4 → kernel: Signal terminate",
        "What to try next",
    ] {
        assert!(tour.contains(part), "{part:?} is missing in\n{tour}");
    }
    assert!(!tour.contains('\u{1b}'), "colors without a terminal");
}

#[test]
fn the_tour_can_be_left() {
    let place = Place::new();
    let mut ostler = place.ostler("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(ostler.stdout.take().unwrap()).lines();
    let ready = lines.by_ref().any(|line| line.unwrap().contains("Ready for requests"));
    assert!(ready);
    kill(Pid::from_raw(ostler.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(lines.all(|line| !line.unwrap().contains("The inbox")));
    assert_eq!(ostler.wait().unwrap().code(), Some(130));
}
