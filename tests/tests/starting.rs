//! Faults of starting: what can't be run says why, and what runs gets nothing that was not meant for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::sys::signal::Signal;
use ostler::{Command, LaunchError, Record, Stage, Status};
use ostler_tests::{Bench, Ground, SLACK, TIER_VARIABLE, fixture, sh, tier_name};
use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::Path,
    time::{Duration, Instant},
};

/// A file with these permissions.
fn file(path: &Path, text: &str, mode: u32) -> String {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn is_empty(dir: &Path) -> bool {
    let made = |entry: &fs::DirEntry| !entry.file_name().as_bytes().starts_with(b".host-");
    fs::read_dir(dir).unwrap().flatten().filter(made).count() == 0
}

fn f22_each_reason_why_a_program_cannot_start_is_an_error_of_its_own() {
    let bench = Bench::new();
    let dir = bench.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let at = |name: &str| bench.path(name).to_str().unwrap().to_owned();
    let plain = file(&bench.path("plain"), "#!/bin/sh\n", 0o644);
    let text = file(&bench.path("text"), "no shebang\n", 0o755);
    let orphan = file(&bench.path("orphan"), "#!/no/such/interpreter -x\n", 0o755);
    let missing = at("missing");
    let (enoent, eacces) = (nix::libc::ENOENT, nix::libc::EACCES);

    let refused = |command: Command| {
        let error = bench.refused(command);
        assert!(is_empty(bench.ostler().artifact_root()), "{error}: a directory is left");
        error
    };
    let run = |program: &str| Command::new(program);
    let program = missing.clone();
    assert_eq!(refused(run(&missing)), LaunchError::ProgramNotFound { program });
    let program = "no-such-name".to_owned();
    assert_eq!(refused(run("no-such-name")), LaunchError::ProgramNotFound { program });
    assert_eq!(refused(run(&dir)), LaunchError::ProgramIsDirectory { path: dir.clone() });
    let path = plain.clone();
    assert_eq!(
        refused(run(&plain)),
        LaunchError::PermissionDenied { stage: Stage::Exec, path, errno: eacces }
    );
    let path = plain.clone();
    let found = run("plain").env("PATH", &dir);
    assert_eq!(refused(found), LaunchError::PermissionDenied { stage: Stage::Lookup, path, errno: eacces });
    assert_eq!(refused(run(&text)), LaunchError::NotExecutableFormat { path: text.clone() });
    let interpreter = "/no/such/interpreter -x".to_owned();
    assert_eq!(refused(run(&orphan)), LaunchError::InterpreterMissing { path: orphan.clone(), interpreter });
    let cwd = missing.clone();
    assert_eq!(refused(run("true").current_dir(&missing)), LaunchError::CwdMissing { cwd });
    let cwd = plain.clone();
    assert_eq!(refused(run("true").current_dir(&plain)), LaunchError::CwdNotDirectory { cwd });
    assert_eq!(refused(run("")), LaunchError::EmptyProgram);

    fs::remove_dir_all(bench.ostler().artifact_root()).unwrap();
    let error = bench.refused(run("true"));
    assert!(matches!(error, LaunchError::ArtifactsNotWritable { errno, .. } if errno == enoent), "{error:?}");
}

fn f23_arguments_that_no_kernel_takes_are_refused_by_name() {
    let bench = Bench::new();
    let refused = |command: Command| bench.refused(command);
    let field = |field: &str| LaunchError::Nul { field: field.to_owned() };
    assert_eq!(refused(Command::new("a\0b")), field("program"));
    assert_eq!(refused(Command::new("true").args(["fine", "a\0b"])), field("args[1]"));
    assert_eq!(refused(Command::new("true").current_dir("/a\0b")), field("cwd"));
    assert_eq!(refused(Command::new("true").env("NAME", "a\0b")), field("env value of NAME"));
    let name = |name: &str| LaunchError::EnvName { name: name.to_owned() };
    assert_eq!(refused(Command::new("true").env("A=B", "")), name("A=B"));
    assert_eq!(refused(Command::new("true").env("", "")), name(""));
    // One argument over the kernel's 128 KiB, and many small ones over a quarter of the stack's limit.
    for args in [vec!["x".repeat(200 << 10)], vec!["x".repeat(1 << 10); 16 << 10]] {
        let error = refused(Command::new("/bin/true").args(args));
        assert!(matches!(error, LaunchError::ArgumentsTooLong { bytes } if bytes > 200 << 10), "{error:?}");
    }
}

fn f23_arguments_and_paths_that_are_not_utf_8_arrive_as_they_are() {
    let bench = Bench::new();
    let bytes: Vec<u8> = (1..=255).collect();
    let result = bench.run(Command::new("printf").arg("%s").arg(OsStr::from_bytes(&bytes)));
    assert_eq!(fs::read(&result.output_path).unwrap(), bytes);
    assert!(result.command.is_ascii() || result.command.contains("\\x"), "{}", result.command);
    let cwd = bench.path(OsStr::from_bytes(b"not \xff utf-8"));
    fs::create_dir(&cwd).unwrap();
    let program = cwd.join(OsStr::from_bytes(b"tool \xfe"));
    file_of_bytes(&program, b"#!/bin/sh\npwd\n");
    let result = bench.run(Command::new(program).current_dir(&cwd).env(OsStr::from_bytes(b"\xfd"), "x"));
    assert_eq!(result.exit_code, Some(0));
    let said = fs::read(&result.output_path).unwrap();
    assert!(said.ends_with(b"not \xff utf-8\n"), "{said:?}");
    assert_eq!(result.cwd.as_deref(), Some(cwd.as_path()));
    let json: Value = serde_json::to_value(&result).unwrap();
    assert!(json["cwd"].as_str().unwrap().ends_with("not \\xff utf-8"), "{}", json["cwd"]);
}

fn file_of_bytes(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o755).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Runs `a-host` to its end and gives the lines of its output, each of which is JSON.
fn host(before: &str, args: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    // The shell arranges what this process can't do to itself, and is replaced by the host.
    let script = format!("{before} {} \"$@\"", fixture!("a-host"));
    let mut command = std::process::Command::new("/bin/bash");
    command
        .args(["-c", &script, "bash"])
        .env(TIER_VARIABLE, tier_name())
        .arg(directory.path().join("artifacts"))
        .args(args);
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn outcomes_with_few_descriptors(script: &str) -> Vec<(u64, Result<Record, String>)> {
    let lines = host("exec", &["few-descriptors", "/bin/sh", "-c", script]);
    assert_eq!(lines.len(), 13);
    let outcomes = lines.into_iter().map(|line| {
        let free = line["free"].as_u64().unwrap();
        assert_eq!(line["living"].as_array().unwrap().len(), 0, "with {free} free: somebody lives: {line}");
        let outcome = &line["outcome"];
        let error = outcome["error"].as_str().map(str::to_owned);
        (free, error.map_or_else(|| Ok(serde_json::from_value(outcome.clone()).unwrap()), Err))
    });
    outcomes.collect()
}

fn f24_with_few_free_descriptors_a_launch_succeeds_or_fails_cleanly() {
    let _ground = Ground::take();
    let outcomes = outcomes_with_few_descriptors("echo out; echo err >&2; exit 3");
    for (free, outcome) in &outcomes {
        match outcome {
            Err(error) => assert_eq!(error, "no_descriptors", "with {free} free"),
            Ok(record) => {
                assert_eq!(
                    (record.status, record.exit_code),
                    (Status::Completed, Some(3)),
                    "with {free} free"
                );
                assert_eq!((record.stdout.as_str(), record.stderr.as_str()), ("out\n", "err\n"));
                let whole = record.recorded_bytes == record.byte_count;
                assert!(whole || record.artifact_error.is_some(), "with {free} free: {record:?}");
            }
        }
    }
    assert!(outcomes[0].1.is_err(), "none free, and yet it started");
    let last = outcomes[12].1.as_ref().unwrap();
    assert_eq!(last.artifact_error, None);
}

fn f24_with_few_free_descriptors_leftovers_are_ended_all_the_same() {
    let _ground = Ground::take();
    // It is living when its leader's end is looked at, and no descriptor may be left to look with.
    let outcomes = outcomes_with_few_descriptors("echo out; echo err >&2; sleep 1000 & exit 3");
    for (free, outcome) in outcomes {
        if let Ok(record) = outcome
            && let Some(leftovers) = record.leftovers
        {
            // Null says that nobody could look; a list is a claim.
            assert_eq!(leftovers.len(), 1, "with {free} free");
        }
    }
}

fn f26_a_program_that_is_being_written_to_is_tried_again_and_then_reported() {
    let bench = Bench::new();
    let program = bench.path("program");
    fs::copy("/bin/true", &program).unwrap();
    let writer = fs::File::options().append(true).open(&program).unwrap();
    let began = Instant::now();
    let path = program.to_str().unwrap().to_owned();
    let other = {
        let launch = bench.session().launch(Command::new(&program)).begin();
        // Nobody else waits for it.
        let other = bench.run(Command::new("/bin/true"));
        let between = began.elapsed();
        assert!(between < Duration::from_millis(450), "another launch waited for the busy one: {between:?}");
        let error = launch.wait().unwrap_err();
        assert_eq!(error, ostler::Error::Launch(LaunchError::TextBusy { path }));
        other
    };
    assert_eq!(other.exit_code, Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_millis(500) + SLACK, "{took:?}");

    let launch = bench.session().launch(Command::new(&program)).begin();
    // So that the first try comes before the writer is done; a later one finds the file free.
    bench.ostler().sleep(Duration::from_millis(60)).wait().unwrap();
    drop(writer);
    let handle = launch.wait().unwrap();
    assert_eq!(bench.result(&handle).exit_code, Some(0));
}

fn f29_descriptors_signal_mask_and_dispositions_of_the_host_do_not_reach_the_tool() {
    let _ground = Ground::take();
    // A host with descriptors that are not closed on exec, ignored signals, and blocked ones.
    let stranger = "exec 7</etc/passwd 9>/dev/null; \
                    exec env --ignore-signal=HUP,INT,QUIT,TERM,USR1 --block-signal=INT,TERM,USR2,CHLD";
    let lines = host(stranger, &["run", "60000", "/bin/cat", "/proc/self/status"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    let mask = |name: &str| {
        let line = result.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // The two that the C library keeps for itself are as they were.
    let own = 1 << 31 | 1 << 32;
    assert_eq!(mask("SigBlk:"), 0, "blocked");
    assert_eq!(mask("SigIgn:") & !own, 0, "ignored (SIGPIPE is {:x})", 1 << (Signal::SIGPIPE as i32 - 1));
    let lines = host(stranger, &["run", "60000", "/bin/ls", "/proc/self/fd"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    // The last one is the directory that `ls` itself reads.
    assert_eq!(result.stdout, "0\n1\n2\n3\n");
    let lines = host(stranger, &["run", "300", "/bin/sleep", "1000"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    assert_eq!(
        result.signal.as_deref(),
        Some("SIGTERM"),
        "a host that ignores SIGTERM has tools that obey it"
    );
}

fn f29_standard_input_is_empty_and_there_is_no_terminal() {
    let bench = Bench::new();
    let result =
        bench.run(sh("cat; readlink /proc/self/fd/0; (: </dev/tty) 2>/dev/null || echo no terminal"));
    assert_eq!(result.stdout, "/dev/null\nno terminal\n");
    let leader = result.pid.unwrap();
    let result = bench.run(Command::new("/bin/sh").args(["-c", "cut -d' ' -f5,6 /proc/self/stat; echo $$"]));
    let numbers: Vec<OsString> = result.stdout.split_whitespace().map(OsString::from).collect();
    assert_eq!(numbers[0], numbers[2], "its process group is its own");
    assert_eq!(numbers[1], numbers[2], "its session is its own");
    assert_ne!(result.pid.unwrap(), leader);
}

ostler_tests::in_every_tier!(
    f22_each_reason_why_a_program_cannot_start_is_an_error_of_its_own,
    f23_arguments_that_no_kernel_takes_are_refused_by_name,
    f23_arguments_and_paths_that_are_not_utf_8_arrive_as_they_are,
    f24_with_few_free_descriptors_a_launch_succeeds_or_fails_cleanly,
    f24_with_few_free_descriptors_leftovers_are_ended_all_the_same,
    f26_a_program_that_is_being_written_to_is_tried_again_and_then_reported,
    f29_descriptors_signal_mask_and_dispositions_of_the_host_do_not_reach_the_tool,
    f29_standard_input_is_empty_and_there_is_no_terminal,
);
