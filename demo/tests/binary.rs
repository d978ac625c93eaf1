//! The binary, driven from outside: what a shell, a pipeline and a person at the keyboard see of it.
//!
//! Nothing here sleeps to wait for something: a command says that it is ready, or waits on a fifo until it may go on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Once, atomic::AtomicBool},
};
use tempfile::TempDir;

/// A place for artifacts and files of one test.
struct Place(TempDir);
impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn ostler(&self, subcommand: &str) -> Command {
        signals_at_their_defaults();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.arg(subcommand).arg("--artifacts").arg(self.path("artifacts")).current_dir(self.0.path());
        command.env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }
    /// Lets a command go on that reads from a fifo; waits until it does. Each fifo serves once: a second reader could
    /// open it before this writer has closed it, and would see an end.
    fn go(&self, fifo: &str) {
        File::options().write(true).open(self.path(fifo)).unwrap().write_all(b"\n").unwrap();
    }
    /// `ostler run` with these arguments.
    fn run(&self, args: &[&str]) -> Output {
        self.ostler("run").args(args).output().unwrap()
    }
    fn code(&self, args: &[&str]) -> Option<i32> {
        self.run(args).status.code()
    }
    /// The same with a script, up to the moment when it has written a line of its process group, which must be its
    /// first: `echo $$`.
    fn start(&self, args: &[&str], script: &str) -> Running {
        let mut command = self.ostler("run");
        command.args(args).args(["--", "sh", "-c", script]);
        Running::begin(command)
    }
}

/// What runs in the background of a script ignores SIGINT, and hands that on. A signal with a handler is at its default
/// again after exec.
fn signals_at_their_defaults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
            let on = Arc::new(AtomicBool::new(true));
            signal_hook::flag::register_conditional_shutdown(signal, 130, on).unwrap();
        }
    });
}

/// An `ostler run` whose command is known to run.
struct Running {
    ostler: Child,
    stdout: BufReader<ChildStdout>,
    group: Pid,
}
impl Running {
    fn begin(mut command: Command) -> Running {
        let mut ostler = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(ostler.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let group = Pid::from_raw(line.trim().parse().expect(&line));
        Running { ostler, stdout, group }
    }
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.ostler.id().cast_signed()), signal).unwrap();
    }
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }
    /// Status, the rest of stdout, and stderr; nothing of the command may be left.
    fn end(mut self) -> (ExitStatus, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.ostler.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = self.ostler.wait().unwrap();
        assert_eq!(living(self.group), [0; 0], "of group {}; {out:?} {err:?}", self.group);
        (status, out, err)
    }
}

/// Processes of a group that are not dead. A zombie is: whoever inherited it is only slow to collect it.
fn living(group: Pid) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let lives = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // proc_pid_stat(5): state, parent and group follow the name, which ends at the last parenthesis.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.len() > 2 && !matches!(fields[0], "Z" | "X") && fields[2] == group.to_string()
    };
    pids.filter(lives).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that are no text and follow no pattern.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

// ── exit codes ──────────────────────────────────────────────────────────────────────────────────────────────────────

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
    assert!(text(&idle.stderr).contains("ostler: timed out, SIGTERM, "), "{}", text(&idle.stderr));
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
    assert_eq!((nothing.status.code(), text(&nothing.stdout)), (Some(127), String::new()));
    assert_eq!(text(&nothing.stderr), "ostler: error: program: no-such-program-anywhere was not found\n");
}

#[test]
fn a_wrong_command_line_and_errors_of_ostlers_own_are_125() {
    let place = Place::new();
    for wrong in [
        &[][..],
        &["--timeout", "5", "--", "true"],
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
    let bare = place.run(&["--timeout", "5", "--", "true"]);
    assert!(text(&bare.stderr).contains("write 500ms, 10s, 2m or 1h"), "{}", text(&bare.stderr));
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
    assert!(line.contains(", 5,242,880 bytes, artifacts in /"), "{line}");
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
    assert!(result["usage"]["max_rss_bytes"].as_u64().unwrap() < 64 << 20, "{result}");
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
    assert!(text(&output.stderr).starts_with("ostler: killed, SIGTERM, "), "{}", text(&output.stderr));
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

const CLEANS_UP: &str = "trap 'echo cleaned; exit 7' TERM; echo $$; while :; do sleep 0.01; done";
const IGNORES_TERM: &str = "trap 'echo ignored' TERM; echo $$; while :; do sleep 0.01; done";

#[test]
fn ctrl_c_cancels_and_the_command_may_clean_up() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let place = Place::new();
        let running = place.start(&["--grace", "1h"], CLEANS_UP);
        running.signal(signal);
        let (status, out, err) = running.end();
        assert_eq!((status.code(), &*out), (Some(code), "cleaned\n"), "{err}");
        assert!(err.contains("ostler: killed, exit 7, "), "{err}");
    }
}

#[test]
fn a_second_ctrl_c_kills() {
    let place = Place::new();
    let mut running = place.start(&["--grace", "1h"], IGNORES_TERM);
    running.signal(Signal::SIGINT);
    assert_eq!(running.line(), "ignored\n");
    running.signal(Signal::SIGINT);
    let (status, _, err) = running.end();
    assert_eq!(status.code(), Some(130), "{err}");
    assert!(err.contains("ostler: killed, SIGKILL, "), "{err}");
}

#[test]
fn with_json_ctrl_c_gives_the_result_all_the_same() {
    let place = Place::new();
    let mut command = place.ostler("run");
    // stdout tells nothing before the end, so the command says by a fifo that it is ready.
    let script = "mkfifo go.new; trap 'exit 7' TERM; mv go.new go; while :; do sleep 0.01; done";
    command.args(["--json", "--", "sh", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ostler = command.spawn().unwrap();
    while !place.path("go").exists() {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(ostler.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = ostler.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["status"], &result["exit_code"]), (&"killed".into(), &7.into()));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let place = Place::new();
    let mut command = Command::new("sh");
    let script = "mkfifo go && echo $$ && read _ < go; echo over";
    let ostler = r#"trap "" HUP; exec "$0" run --artifacts artifacts -- sh -c "$1""#;
    command.args(["-c", ostler, env!("CARGO_BIN_EXE_ostler"), script]).current_dir(place.0.path());
    let running = Running::begin(command);
    running.signal(Signal::SIGHUP);
    place.go("go");
    let (status, out, err) = running.end();
    assert_eq!((status.code(), &*out), (Some(0), "over\n"), "{err}");
}

#[test]
fn nothing_of_the_tree_is_left() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; sleep 1000 & sleep 1000 & exit 5");
    let (status, _, err) = running.end();
    assert_eq!(status.code(), Some(5));
    assert!(err.contains("left over: sleep ("), "{err}");
}

// ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const KEYS: [&str; 32] = [
    "artifact_error",
    "byte_count",
    "command",
    "command_id",
    "command_or_op_descriptor",
    "containment",
    "cwd",
    "duration_ms",
    "ended_at",
    "exit_code",
    "handle_id",
    "leftovers",
    "line_count",
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
    "timed_out",
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
    assert_eq!(lines[0]["ostler_trace"], 1);
    let sequences: Vec<_> = lines[1..].iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    for message in ["OpenSession", "Launch", "Exec", "Started", "Exited", "Deliver", "Shutdown", "Over"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}");
    }
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
    let clean = with(&["--env", "OTHER_TOKEN=a=b"]);
    assert!(has(&clean, "PLAIN=1") && !clean.contains("MY_API_KEY") && has(&clean, "OTHER_TOKEN=a=b"));
    assert_eq!(clean, with(&["--env", "OTHER_TOKEN=a=b", "--env-mode", "inherit_clean"]));
    let all = with(&["--env-mode", "patch"]);
    assert!(has(&all, "PLAIN=1") && has(&all, "MY_API_KEY=2"));
    assert_eq!(with(&["--env-mode", "replace", "--env", "A=1", "--env", "B=2"]), "A=1\nB=2\n");
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
    let line = text(&place.run(&["--", "true"]).stderr);
    let dir = line.trim_end().rsplit_once("artifacts in ").unwrap().1;
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
        "timed out, SIGTERM",
        "answer of the cancel: killed, exit 0, last words: All finished, bye",
        "the session ends: 2 completed, 2 killed, 1 timed out",
        "process/4 → kernel: Signal terminate",
        "Where to go from here",
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
