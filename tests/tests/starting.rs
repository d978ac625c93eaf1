//! Faults of starting: what can't be run says why, and what runs gets nothing that was not meant for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]
#![allow(unsafe_code, reason = "advice on memory, and a fork to compare with")]

use nix::sys::{
    mman::{MmapAdvise, madvise},
    resource::{UsageWho, getrusage},
};
use ostler::{Command, LaunchError, Record, Stage, Status};
use ostler_tests::{Bench, Ground, OtherHost, SLACK, fixture, sh};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    ptr::NonNull,
    time::{Duration, Instant},
};

/// A file with these permissions.
fn file(path: &Path, text: &str, mode: u32) -> String {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn is_empty(dir: &Path) -> bool {
    let made = |entry: &fs::DirEntry| !entry.file_name().as_bytes().starts_with(b".");
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
    let eacces = nix::libc::EACCES;

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
    for (args, longest) in
        [(vec!["x".repeat(200 << 10)], 200 << 10), (vec!["x".repeat(1 << 10); 16 << 10], 0)]
    {
        let error = refused(Command::new("/bin/true").args(args));
        let LaunchError::ArgumentsTooLong { bytes, longest: said } = error else { panic!("{error:?}") };
        assert!(bytes > 200 << 10 && said >= longest, "{error:?}");
        assert!(error.to_string().contains("131071"), "{error}");
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
    assert_eq!(serde_json::from_value::<Record>(json).unwrap().cwd.as_deref(), Some(cwd.as_path()));
    let launch = ostler::LaunchFile::read(result.output_path.parent().unwrap()).unwrap();
    assert_eq!(launch.cwd.as_deref(), Some(cwd.as_path()));
}

fn file_of_bytes(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o755).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// What came of it with so much left, and that nobody lives who should not.
fn outcomes(lines: Vec<Value>) -> Vec<(u64, Result<Record, Value>)> {
    let outcomes = lines.into_iter().map(|line| {
        let free = line["free"].as_u64().unwrap();
        assert_eq!(line["living"].as_array().unwrap().len(), 0, "with {free} free: somebody lives: {line}");
        let outcome = &line["outcome"];
        let refused = outcome.get("error").is_some();
        let record = || serde_json::from_value(outcome.clone()).unwrap();
        (free, if refused { Err(outcome.clone()) } else { Ok(record()) })
    });
    outcomes.collect()
}

fn outcomes_with_few_descriptors(script: &str) -> Vec<(u64, Result<Record, Value>)> {
    let lines = OtherHost::new(fixture!("a-host")).run(&["few-descriptors", "/bin/sh", "-c", script]);
    assert_eq!(lines.len(), 13);
    outcomes(lines)
}

fn f24_with_few_free_descriptors_a_launch_succeeds_or_fails_cleanly() {
    let _ground = Ground::take();
    let outcomes = outcomes_with_few_descriptors("echo out; echo err >&2; exit 3");
    for (free, outcome) in &outcomes {
        match outcome {
            Err(error) => assert_eq!(error["error"], "no_descriptors", "with {free} free"),
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

fn f59_a_launch_whose_pipes_cannot_be_watched_is_refused_by_name() {
    let _ground = Ground::take();
    let lines = OtherHost::new(fixture!("a-host")).run(&["no-watches", "/bin/sh", "-c", "echo out"]);
    let [(_, Err(error))] = &outcomes(lines)[..] else { panic!("it was started") };
    assert_eq!((&error["error"], &error["errno"]), (&json!("no_watches"), &json!(nix::libc::ENOSPC)));
}

fn f24_with_few_free_descriptors_leftovers_are_ended_all_the_same() {
    let _ground = Ground::take();
    // It is living when its leader's end is looked at, and no descriptor may be left to look with.
    let outcomes = outcomes_with_few_descriptors("echo out; echo err >&2; sleep 1000 & exit 3");
    for (free, outcome) in outcomes {
        if let Ok(record) = outcome
            && let Some(leftovers) = record.leftovers
        {
            // Null says that nobody was able to look; a list is a claim.
            assert_eq!(leftovers.len(), 1, "with {free} free");
        }
    }
}

fn f25_a_refused_fork_is_an_error_that_names_the_limit() {
    let _ground = Ground::take();
    let script = "echo out; exit 3";
    let lines = OtherHost::new(fixture!("a-host")).run(&["few-processes", "/bin/sh", "-c", script]);
    if let Some(reason) = lines[0].get("skipped") {
        return eprintln!("SKIPPED: {reason}");
    }
    let outcomes = outcomes(lines);
    assert_eq!(outcomes.len(), 4);
    for (free, outcome) in &outcomes {
        match outcome {
            Err(error) => {
                assert_eq!(error["error"], "process_limit", "with {free} free: {error}");
                assert_eq!(error["errno"], nix::libc::EAGAIN, "with {free} free");
                assert!(error["limit"].as_str().unwrap().contains("pids.max"), "{error}");
            }
            Ok(record) => assert_eq!((record.exit_code, record.stdout.as_str()), (Some(3), "out\n")),
        }
    }
    assert!(outcomes[0].1.is_err(), "no process more is allowed, and yet it started");
    assert!(outcomes[3].1.is_ok(), "there is room for a leader and its helper: {:?}", outcomes[3].1);
}

fn f27_a_program_that_is_killed_before_it_is_executed_is_an_error() {
    let _ground = Ground::take();
    // Entering a directory is deadly in that host, and only a child on its way to exec does so.
    let host = OtherHost::new(fixture!("a-host")).refusing("chdir-kills");
    let lines = host.run(&["in", "/tmp", "/bin/true"]);
    let outcomes = outcomes(lines);
    let error = outcomes[0].1.as_ref().unwrap_err();
    assert_eq!(*error, json!({ "error": "killed_before_exec", "stage": "cwd", "signal": "SIGSYS" }));
    assert!(is_empty(&host.root()), "a directory is left");
}

fn f28_starting_a_program_does_not_copy_the_memory_of_the_host() {
    /// A fork marks every page of the host as shared, so that the next write to each is a fault.
    const BYTES: usize = 256 << 20;
    const PAGE: usize = 4 << 10;
    let bench = Bench::new();
    bench.run(Command::new("/bin/true"));
    let mut memory = small_pages(BYTES);
    let mut faults_of = |begins: &mut dyn FnMut()| {
        let faults = || getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults();
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        begins();
        let before = faults();
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 2);
        usize::try_from(faults() - before).unwrap()
    };
    let forked = faults_of(&mut || {
        let mut command = std::process::Command::new("/bin/true");
        // SAFETY: the closure does nothing. That it exists makes the standard library fork.
        let status = unsafe { command.pre_exec(|| Ok(())) }.status().unwrap();
        assert!(status.success());
    });
    assert!(forked >= BYTES / PAGE, "this way of looking does not see a fork: {forked} faults");
    let started = faults_of(&mut || assert_eq!(bench.run(Command::new("/bin/true")).exit_code, Some(0)));
    assert!(started < BYTES / PAGE / 100, "{started} pages were copied");
}

/// Memory that the kernel doesn't put into large pages.
fn small_pages(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0_u8; bytes];
    let start = NonNull::new(memory.as_mut_ptr().map_addr(|at| at.next_multiple_of(1 << 12))).unwrap();
    // SAFETY: advice that changes no byte, for pages that lie within the vector, except that the last one may hold a
    // neighbour's bytes too, for which it is as harmless.
    unsafe { madvise(start.cast(), bytes - (1 << 12), MmapAdvise::MADV_NOHUGEPAGE).unwrap() };
    memory
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

fn f30_a_program_outlives_the_thread_that_launched_it() {
    let bench = Bench::new();
    let go = bench.fifo("go");
    // The thread has ended, joined and gone, before the program may go on.
    let handle = std::thread::scope(|scope| {
        let launch = || bench.launch(sh("read x <go; echo said").current_dir(bench.path("")));
        scope.spawn(launch).join().unwrap()
    });
    fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.stdout.as_str()), (Status::Completed, "said\n"));
}

ostler_tests::in_every_tier!(
    f22_each_reason_why_a_program_cannot_start_is_an_error_of_its_own,
    f23_arguments_that_no_kernel_takes_are_refused_by_name,
    f23_arguments_and_paths_that_are_not_utf_8_arrive_as_they_are,
    f24_with_few_free_descriptors_a_launch_succeeds_or_fails_cleanly,
    f24_with_few_free_descriptors_leftovers_are_ended_all_the_same,
    f59_a_launch_whose_pipes_cannot_be_watched_is_refused_by_name,
    f25_a_refused_fork_is_an_error_that_names_the_limit,
    f26_a_program_that_is_being_written_to_is_tried_again_and_then_reported,
    f27_a_program_that_is_killed_before_it_is_executed_is_an_error,
    f28_starting_a_program_does_not_copy_the_memory_of_the_host,
    f30_a_program_outlives_the_thread_that_launched_it,
);
