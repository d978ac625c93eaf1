//! Exit codes, and what passes through.

use crate::place::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

#[test]
fn the_exit_code_is_that_of_the_command() {
    let place = Place::new();
    for code in [0, 1, 3, 124, 125, 255] {
        assert_eq!(place.code(&["--", "sh", "-c", &format!("exit {code}")]), Some(code));
    }
}

#[test]
fn a_signal_that_ended_the_command_is_128_and_its_number() {
    let place = Place::new();
    for signal in [9, 11, 15, 34, 37] {
        assert_eq!(place.code(&["--", "sh", "-c", &format!("kill -{signal} $$")]), Some(128 + signal));
    }
}

#[test]
fn a_deadline_and_an_idle_time_are_124() {
    let place = Place::new();
    assert_eq!(place.code(&["--timeout", "50ms", "--", "sleep", "1000"]), Some(124));
    let idle = place.run(&["--idle-timeout", "200ms", "--", "sh", "-c", "echo last words; sleep 1000"]);
    assert_eq!((idle.status.code(), text(&idle.stdout)), (Some(124), "last words\n".into()));
    assert!(
        text(&idle.stderr).contains("ostler: timed out: 200 ms without output, SIGTERM, "),
        "{}",
        text(&idle.stderr)
    );
}

#[test]
fn what_cannot_be_executed_is_126_and_what_is_not_there_127() {
    let place = Place::new();
    let file = |name: &str, content: &str, mode: u32| {
        fs::write(place.path(name), content).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
        format!("./{name}")
    };
    assert_eq!(place.code(&["--", &file("no-permission", "#!/bin/sh\n", 0o600)]), Some(126));
    assert_eq!(place.code(&["--", &file("no-format", "no format", 0o700)]), Some(126));
    assert_eq!(place.code(&["--", "/"]), Some(126));
    assert_eq!(place.code(&["--", &file("no-interpreter", "#!/nowhere/sh\n", 0o700)]), Some(127));
    assert_eq!(place.code(&["--", "./nothing"]), Some(127));
    let nothing = place.run(&["--json", "--", "no-such-program-anywhere"]);
    let json: Value = serde_json::from_slice(&nothing.stdout).unwrap();
    assert_eq!((nothing.status.code(), &json["error"]), (Some(127), &"program_not_found".into()));
    assert_eq!(json["message"], "program: no-such-program-anywhere was not found");
    assert_eq!(text(&nothing.stderr), "ostler: error: program: no-such-program-anywhere was not found\n");
}

#[test]
fn a_wrong_command_line_and_errors_of_ostlers_own_are_125() {
    let place = Place::new();
    for wrong in [
        &[][..],
        &["--timeout", "5x", "--", "true"],
        &["--timeout", "0", "--", "true"],
        &["--idle-timeout", "0s", "--", "true"],
        &["--timeout", "soon", "--", "true"],
        &["--timeout", "9999years", "--", "true"],
        &["--env", "NAME", "--", "true"],
        &["--env", "=value", "--", "true"],
        &["--env-mode", "some", "--", "true"],
        &["--max-inline-bytes", "99999999999", "--", "true"],
        &["--no-such-option", "--", "true"],
        &["--cwd", "/nowhere", "--", "true"],
        &["--trace", "/nowhere/trace", "--", "true"],
        &["--", ""],
    ] {
        let output = place.run(wrong);
        assert_eq!(output.status.code(), Some(125), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
    let wrong = place.run(&["--timeout", "soon", "--", "true"]);
    assert!(text(&wrong.stderr).contains("write 500ms, 10s, 2m or 1h"), "{}", text(&wrong.stderr));
}

#[test]
fn help_and_version_are_asked_for_and_no_error() {
    let place = Place::new();
    for arg in ["--help", "-h"] {
        let help = place.run(&[arg]);
        assert!(help.status.success() && help.stderr.is_empty());
        assert!(text(&help.stdout).contains("ostler run [OPTIONS] -- PROGRAM [ARGS]..."));
    }
    let version = Command::new(env!("CARGO_BIN_EXE_ostler")).arg("--version").output().unwrap();
    assert!(version.status.success() && text(&version.stdout).starts_with("ostler "));
}

// ── passing through ─────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn both_streams_pass_byte_for_byte_and_the_summary_is_the_last_line_of_stderr() {
    let place = Place::new();
    let (out, err) = (noise(3 << 20, 1), noise(2 << 20, 2));
    fs::write(place.path("out"), &out).unwrap();
    fs::write(place.path("err"), &err).unwrap();
    let output = place.run(&["--", "sh", "-c", "cat out & cat err >&2; wait"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(Sha256::digest(&output.stdout), Sha256::digest(&out));
    assert_eq!(Sha256::digest(&output.stderr[..err.len()]), Sha256::digest(&err));
    let rest = text(&output.stderr[err.len()..]);
    let line = rest.trim_start_matches('\n');
    assert!(line.starts_with("ostler: completed, exit 0, ") && line.ends_with('\n'), "{line}");
    assert!(line.ends_with(", 5,242,880 bytes\n"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn an_unfinished_last_line_is_not_glued_to_the_summary() {
    let place = Place::new();
    let output = place.run(&["--", "sh", "-c", "printf unfinished >&2"]);
    assert!(text(&output.stderr).starts_with("unfinished\nostler: completed"), "{}", text(&output.stderr));
}

#[test]
fn output_comes_while_the_command_runs_and_in_order_where_both_streams_are_one() {
    let place = Place::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = place.ostler("run");
    let script = "mkfifo go2 go3 && echo one && read _ < go2; echo two >&2; read _ < go3; echo three";
    command.args(["--", "sh", "-c", script]).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut ostler = command.spawn().unwrap();
    // It holds the writing ends.
    drop(command);
    for (word, next) in [("one\n", "go2"), ("two\n", "go3"), ("three\n", "")] {
        let mut bytes = vec![0; word.len()];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(text(&bytes), word);
        if !next.is_empty() {
            place.go(next);
        }
    }
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("ostler: completed, exit 0, ") && rest.lines().count() == 1, "{rest}");
    assert!(ostler.wait().unwrap().success());
}

#[test]
fn a_flood_takes_no_memory() {
    let place = Place::new();
    let inner = format!(
        "{} run --artifacts {} -- head -c 100000000 /dev/zero >/dev/null",
        env!("CARGO_BIN_EXE_ostler"),
        place.path("inner").display()
    );
    let output = place.run(&["--json", "--", "sh", "-c", &format!("exec {inner}")]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["exit_code"], 0, "{result}");
    assert!(result["stderr"].as_str().unwrap().contains("100,000,000 bytes"), "{result}");
    // Of the inner one alone: what other tests have started, a compiler among them, is no matter of this one.
    let peak = result["usage"]["max_rss_bytes"].as_u64().unwrap();
    assert!(peak < 64 << 20, "{peak} bytes");
}

#[test]
fn when_the_reader_goes_away_the_command_ends_too() {
    let place = Place::new();
    let mut flood = place.start(&[], "echo $$; exec yes");
    assert_eq!(flood.line(), "y\n");
    let Running { ostler, stdout, group } = flood;
    drop(stdout);
    let output = ostler.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    let said = text(&output.stderr);
    // There is more than its reader has seen.
    let (ending, place_of_it) = said.split_once('\n').unwrap();
    assert!(ending.starts_with("ostler: cancelled, SIGTERM, "), "{said}");
    let artifacts = place.path("artifacts").canonicalize().unwrap();
    assert!(
        place_of_it.starts_with(&format!("ostler: its output is in {}/cmd_", artifacts.display())),
        "{said}"
    );
    assert_eq!(living(group), [0; 0]);
    // The same when the command was faster than its reader.
    let script = format!(
        "{} run --artifacts {} -- head -c 300000 /dev/zero | true",
        env!("CARGO_BIN_EXE_ostler"),
        place.path("artifacts").display()
    );
    assert!(Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap().success());
}

#[test]
fn a_full_disk_behind_stdout_is_ostlers_own_error() {
    let place = Place::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output =
        place.ostler("run").args(["--", "sh", "-c", "echo lost; sleep 1000"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));
}

#[test]
fn progress_is_told_on_stderr_until_the_end() {
    let place = Place::new();
    let mut command = place.ostler("run");
    let script = "mkfifo go && printf 'so far' && read _ < go";
    command.args(["--progress", "50ms", "--", "sh", "-c", script]);
    let mut ostler = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(ostler.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(", 1 line, 6 bytes") {
        line.clear();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("ostler: running, "), "{line}");
    }
    place.go("go");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.lines().last().unwrap().starts_with("ostler: completed, exit 0"), "{rest}");
    assert!(ostler.wait().unwrap().success());
}

#[test]
fn beyond_the_output_limit_bytes_are_counted_only() {
    let place = Place::new();
    let output = place.run(&["--output-limit", "10", "--", "seq", "1000"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "1\n2\n3\n4\n5\n".into()));
    let line = text(&output.stderr);
    assert!(line.contains("3,893 bytes") && line.contains("record incomplete: output limit"), "{line}");
}

// ── signals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn f72_without_a_place_for_artifacts_a_command_runs_all_the_same() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command
        .env("HOME", "/dev/null")
        .env_remove("XDG_STATE_HOME")
        .args(["run", "--json", "--", "echo", "said"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &result["stdout"]), (Some(0), &"said\n".into()), "{result}");
    assert!(result["artifact_error"].as_str().unwrap().contains("can't be made"), "{result}");
}

#[test]
fn one_command_needs_one_thread_of_each_kind() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; exec sleep 1000");
    let tasks = fs::read_dir(format!("/proc/{}/task", running.ostler.id())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    for kind in ["ostler-spawn", "ostler-drain"] {
        assert_eq!(names.iter().filter(|name| name.starts_with(kind)).count(), 1, "{names:?}");
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.end();
}
