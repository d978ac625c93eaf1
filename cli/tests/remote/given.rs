//! What a command reads, and how it is told that it runs: as on one machine.

use crate::place::{Place, Running, text, until};
use nix::{pty::openpty, sys::signal::Signal};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// `ostler run` in the pool, whose stdin is a pipe.
fn begin(place: &Place, args: &[&str]) -> Running {
    Running::begin(place.ostler(&["run", "--pool", "p", "-q"]).args(args).stdin(Stdio::piped()))
}

/// Its stdout, when these bytes are all that comes.
fn given(place: &Place, args: &[&str], bytes: &[u8]) -> String {
    let mut run = begin(place, args);
    // A command that reads nothing breaks no test.
    let _ = run.stdin().write_all(bytes);
    let (status, stdout, said) = run.end();
    assert!(status.success(), "{said}");
    stdout
}

#[test]
fn what_is_piped_into_it_goes_on_to_the_command_whole_and_ends_with_it() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let ostler = env!("CARGO_BIN_EXE_ostler");
    let script = format!("seq 1 200000 | {ostler} run --pool p -q -- sha256sum; seq 1 200000 | sha256sum");
    let mut shell = place.program("bash");
    let output = place.ends(shell.args(["-c", &script]));
    let (there, here) = (text(&output.stdout), "  -\n");
    let [there, here] = there.strip_suffix(here).unwrap().split("  -\n").collect::<Vec<_>>()[..] else {
        panic!("{output:?}")
    };
    assert_eq!(there, here);
    // Bytes that are no text, and more of them than may wait for a command.
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(place.path("bytes"), &bytes).unwrap();
    let cwd = place.path("").display().to_string();
    assert_eq!(given(&place, &["--cwd", &cwd, "--", "cmp", "-", "bytes"], &bytes), "");
    assert_eq!(given(&place, &["--stdin", "inherit", "--", "cat"], b"hello"), "hello");
    assert_eq!(given(&place, &["--stdin", "null", "--", "cat"], b"hello"), "");
    // They read nothing, and more is there than any pipe holds.
    assert_eq!(given(&place, &["--", "echo", "done"], &vec![0; 300_000]), "done\n");
    let closes = "exec <&-; echo closed; until [ -e go ]; do sleep 0.01; done; echo done";
    let mut run = begin(&place, &["--cwd", &cwd, "--", "sh", "-c", closes]);
    let mut stdin = run.stdin();
    assert_eq!(run.line(), "closed");
    let wrote = thread::spawn(move || stdin.write_all(&vec![0; 300_000]).map_err(|error| error.kind()));
    fs::write(place.path("go"), "").unwrap();
    let (status, stdout, said) = run.end();
    assert!(status.success() && stdout == "done\n", "{said}");
    assert_eq!(wrote.join().unwrap(), Err(ErrorKind::BrokenPipe));
}

#[test]
fn a_command_that_ends_does_not_wait_for_more_input() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let mut run = begin(&place, &["--", "sh", "-c", "read line; echo got $line"]);
    // It stays open.
    let mut stdin = run.stdin();
    stdin.write_all(b"one\n").unwrap();
    let (status, stdout, said) = run.end();
    assert!(status.success() && stdout == "got one\n", "{said}");
    // Nothing ever comes, and nobody reads it.
    let mut run = begin(&place, &["--", "echo", "done"]);
    let _stdin = run.stdin();
    assert_eq!(run.end().1, "done\n");
    drop(stdin);
}

#[test]
fn a_command_that_does_not_read_holds_up_whoever_writes() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    place.fifo("go");
    let cwd = place.path("").display().to_string();
    let mut run = begin(&place, &["--cwd", &cwd, "--", "sh", "-c", "read x < go; exec wc -c"]);
    let (mut stdin, wrote) = (run.stdin(), Arc::new(AtomicUsize::new(0)));
    let all = 8 << 20;
    let writer = thread::spawn({
        let wrote = wrote.clone();
        move || {
            while wrote.load(Ordering::Relaxed) < all {
                stdin.write_all(&[b'x'; 16 << 10]).unwrap();
                wrote.fetch_add(16 << 10, Ordering::Relaxed);
            }
        }
    });
    // What the pipe to ostler holds, and what the pipe to the command does.
    until("both pipes are full", || wrote.load(Ordering::Relaxed) >= 128 << 10);
    // As long as others take that are launched, write and end.
    for _ in 0..3 {
        assert_eq!(given(&place, &["--", "wc", "-c"], &vec![b'x'; 1 << 20]), "1048576\n");
    }
    // And a piece in between, and the one that waits for its answer.
    let written = wrote.load(Ordering::Relaxed);
    assert!(written <= 320 << 10, "{written} bytes went somewhere");
    place.go("go");
    assert_eq!(run.line(), all.to_string());
    writer.join().unwrap();
    assert!(run.end().0.success());
}

#[test]
fn a_file_is_read_however_long_it_is_and_one_that_is_not_there_is_named() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    fs::write(place.path("in"), "to be read\n").unwrap();
    let output = place.run(&["--stdin", "in", "--env", "A=b", "--", "sh", "-c", "cat; echo $A"]);
    assert_eq!(text(&output.stdout), "to be read\nb\n", "{output:?}");
    for length in [512 << 10, (512 << 10) + 1, 3 << 20] {
        fs::write(place.path("in"), vec![b'x'; length]).unwrap();
        let output = place.run(&["--stdin", "in", "--", "wc", "-c"]);
        assert_eq!(text(&output.stdout), format!("{length}\n"), "{output:?}");
    }
    let output = place.run(&["--stdin", "nowhere", "--", "cat"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("--stdin: nowhere: No such file"), "{output:?}");
}

#[test]
fn a_terminal_is_passed_on_when_it_is_asked_for() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let typed = |args: &[&str]| {
        let terminal = openpty(None, None).unwrap();
        let mut run = place.ostler(&["run", "--pool", "p"]);
        let mut run = Running::begin(run.args(args).args(["--", "wc", "-c"]).stdin(terminal.slave));
        // A line, and the key that ends the input.
        File::from(terminal.master.try_clone().unwrap()).write_all(b"typed\n\x04").unwrap();
        let (_, stdout, said) = run.end();
        (stdout, said.contains("ostler: stdin is a terminal and not passed on (--stdin inherit does)"))
    };
    assert_eq!(typed(&[]), ("0\n".to_owned(), true));
    assert_eq!(typed(&["--stdin", "inherit"]), ("6\n".to_owned(), false));
}

#[test]
fn progress_is_told_until_the_end() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    place.fifo("go");
    let cwd = place.path("").display().to_string();
    let args = ["--progress", "50ms", "--session", "s", "--cwd", &cwd];
    let (mut run, _) = place.start(&args, "echo ready; read x < go; echo done");
    (0..3).for_each(|_| run.says("1 line, 6 bytes"));
    place.go("go");
    let (status, rest, said) = run.end();
    assert_eq!((status.code(), &*rest), (Some(0), "done\n"), "{said}");
    let mut lines = said.lines().rev();
    assert!(lines.next().unwrap().starts_with("ostler: completed, exit 0"), "{said}");
    assert!(lines.all(|line| line.starts_with("ostler: running, ")), "{said}");
}

#[test]
fn a_worker_that_is_gone_is_told_of_and_stdin_waits_for_it() {
    let Some(place) = Place::new() else { return };
    let worker = place.worker("a", &[]);
    let mut run = Running::begin(
        place
            .ostler(&["run", "--pool", "p", "--progress", "500ms", "--", "sh", "-c", "echo begun; exec cat"])
            .stdin(Stdio::piped()),
    );
    let mut stdin = run.stdin();
    assert_eq!(run.line(), "begun");
    worker.signal(Signal::SIGKILL);
    thread::spawn(move || while stdin.write_all(b"more\n").is_ok() {});
    run.says("ostler: worker a: no answer within 10.0 s");
    let _again = place.worker("a", &[]);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(125), "{said}");
    assert!(said.contains("ostler: lost with its host") && !said.contains("can't be passed on"), "{said}");
}
