//! Faults of input: what is written to commands that read, that don't, that have closed their stdin or have ended.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler::{
    Call, CallError, Command, Error, Handle, INPUT_MAX_BYTES, LaunchError, LeftoversPolicy, Status, TraceLog,
    TraceTo, UnixSignal, Written,
};
use ostler_tests::{Bench, SLACK, fixture, ms, rss_peak_bytes, rss_peak_reset, sh};
use std::time::Instant;

const PIPE_BYTES: u64 = 65_536;
const MIB: usize = 1 << 20;

fn refused<T: std::fmt::Debug>(call: Call<T>) -> CallError {
    match call.wait() {
        Err(Error::Call(error)) => error,
        other => panic!("expected a refusal: {other:?}"),
    }
}
fn counts(written: Written) -> (u64, u64, u64) {
    (written.taken, written.queued, written.dropped)
}
/// A command that never reads, with its pipe full and so many bytes queued.
fn stuffed(bench: &Bench, queued: u64) -> Handle {
    let handle = bench.launch(Command::new("sleep").arg("1000").stdin_open());
    let bytes = vec![b'x'; usize::try_from(PIPE_BYTES + queued).unwrap()];
    let written = handle.write_within(bytes, ms(100)).wait().unwrap();
    assert_eq!(counts(written), (PIPE_BYTES, queued, 0));
    handle
}

fn stdin_is_empty_unless_it_is_asked_for() {
    let bench = Bench::new();
    let record = bench.run(sh("wc -c; readlink /proc/self/fd/0"));
    assert_eq!(record.stdout, "0\n/dev/null\n");
    let handle = bench.launch(sh("sleep 1000"));
    let handle_id = handle.id();
    assert_eq!(refused(handle.write("x")), CallError::NoStdin { handle_id });
    assert_eq!(refused(handle.close_stdin()), CallError::NoStdin { handle_id });
}

fn bytes_of_a_launch_are_read_whole_and_then_the_end() {
    let bench = Bench::new();
    for size in [0, 5, MIB] {
        let record = bench.run(sh("wc -c; cat; echo over").stdin_bytes(vec![b'x'; size]));
        assert_eq!(record.stdout, format!("{size}\nover\n"));
    }
    // More than a pipe holds, and it reads nothing of it.
    let record = bench.run(Command::new("true").stdin_bytes(vec![0; MIB]));
    assert_eq!((record.status, record.exit_code), (Status::Completed, Some(0)));
    let (field, limit) = ("stdin.bytes".to_owned(), INPUT_MAX_BYTES);
    let refused = bench.refused(Command::new("cat").stdin_bytes(vec![0; MIB + 1]));
    assert_eq!(refused, LaunchError::TooLarge { field, value: limit + 1, limit });
}

fn a_conversation_ends_with_the_end_of_stdin() {
    let bench = Bench::new();
    let script = "while read line; do echo \"got $line\"; done; echo over; exit 7";
    let handle = bench.launch(sh(script).stdin_open());
    assert_eq!(counts(handle.write("one\n").wait().unwrap()), (4, 0, 0));
    bench.hears(&handle, "got one\n", 1);
    assert_eq!(counts(handle.write("").wait().unwrap()), (0, 0, 0));
    assert_eq!(counts(handle.write("two\nthr").wait().unwrap()), (7, 0, 0));
    handle.write("ee\n").wait().unwrap();
    handle.close_stdin().wait().unwrap();
    let record = bench.result(&handle);
    assert_eq!((record.stdout.as_str(), record.exit_code), ("got one\ngot two\ngot three\nover\n", Some(7)));
    let handle_id = handle.id();
    assert_eq!(refused(handle.write("late")), CallError::HandleEnded { handle_id });
    assert_eq!(refused(handle.close_stdin()), CallError::HandleEnded { handle_id });
}

fn the_end_of_stdin_comes_behind_what_is_queued() {
    let bench = Bench::new();
    let gate = bench.fifo("gate");
    let handle = bench.launch(sh(format!("read x <{}; wc -c", gate.display())).stdin_open());
    let written = handle.write_within(vec![b'x'; MIB], ms(50)).wait().unwrap();
    assert_eq!(counts(written), (PIPE_BYTES, MIB as u64 - PIPE_BYTES, 0));
    handle.close_stdin().wait().unwrap();
    handle.close_stdin().wait().unwrap();
    let handle_id = handle.id();
    assert_eq!(refused(handle.write("more")), CallError::StdinClosed { handle_id });
    std::fs::write(gate, "go\n").unwrap();
    assert_eq!(bench.result(&handle).stdout, format!("{MIB}\n"));
}

fn a_command_that_never_reads_holds_nobody_up_and_what_it_did_not_take_is_counted() {
    let bench = Bench::new();
    let handle = stuffed(&bench, 100_000);
    let waits = handle.write("more").begin();
    let dropped = handle.write("gone").begin();
    drop(dropped);
    let began = Instant::now();
    // Another command meanwhile.
    assert_eq!(bench.run(Command::new("cat").stdin_bytes("hello")).stdout, "hello");
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert_eq!(handle.cancel().wait().unwrap().record.status, Status::Killed);
    assert_eq!(counts(waits.wait().unwrap()), (0, 0, 4));
}

fn what_a_dropped_call_has_brought_stays_queued() {
    let bench = Bench::new();
    let gate = bench.fifo("gate");
    let handle = bench.launch(sh(format!("read x <{}; wc -c", gate.display())).stdin_open());
    drop(handle.write(vec![b'x'; 200_000]).begin());
    std::fs::write(gate, "go\n").unwrap();
    handle.close_stdin().wait().unwrap();
    assert_eq!(bench.result(&handle).stdout, "200000\n");
}

fn a_queue_has_an_end() {
    let bench = Bench::new();
    let handle = stuffed(&bench, INPUT_MAX_BYTES - PIPE_BYTES);
    let (limit, writes_limit) = (INPUT_MAX_BYTES, 1_024);
    let full = refused(handle.write(vec![0; PIPE_BYTES as usize + 1]));
    assert_eq!(full, CallError::InputFull { queued: limit - PIPE_BYTES, writes: 1, limit, writes_limit });
    let written = handle.write_within(vec![0; PIPE_BYTES as usize], ms(0)).wait().unwrap();
    assert_eq!(counts(written), (0, PIPE_BYTES, 0));
    let full = refused(handle.write("x"));
    assert_eq!(full, CallError::InputFull { queued: limit, writes: 2, limit, writes_limit });
    let large = refused(handle.write(vec![0; 10 * MIB]));
    assert_eq!(large, CallError::InputTooLarge { bytes: 10 << 20, limit });
}

fn a_command_that_has_closed_its_stdin_is_not_written_to() {
    let bench = Bench::new();
    let gate = bench.fifo("gate");
    let script = format!("exec <&-; echo closed; read x <{}", gate.display());
    let handle = bench.launch(sh(script).stdin_open());
    bench.hears(&handle, "closed", 1);
    let handle_id = handle.id();
    assert_eq!(refused(handle.write("x")), CallError::StdinClosed { handle_id });
    handle.close_stdin().wait().unwrap();
    std::fs::write(gate, "go\n").unwrap();
    bench.result(&handle);
}

fn one_that_closes_it_while_much_is_queued_says_how_much_it_took() {
    let bench = Bench::new();
    let gate = bench.fifo("gate");
    let script = "head -c 1 >/dev/null; echo begun; read x <GATE; exec <&-; exec sleep 1000";
    let handle = bench.launch(sh(script.replace("GATE", gate.to_str().unwrap())).stdin_open());
    let all = INPUT_MAX_BYTES - 4;
    let first = handle.write(vec![0; all as usize]).begin();
    bench.hears(&handle, "begun", 1);
    let second = handle.write("more").begin();
    // Answered behind the write.
    handle.status().wait().unwrap();
    std::fs::write(gate, "go\n").unwrap();
    assert_eq!(counts(first.wait().unwrap()), (PIPE_BYTES, 0, all - PIPE_BYTES));
    match second.wait() {
        Ok(written) => assert_eq!(counts(written), (0, 0, 4)),
        // Its thread saw the end before the write.
        Err(error) => assert_eq!(error, CallError::StdinClosed { handle_id: handle.id() }.into()),
    }
}

fn the_same_write_twice_is_one() {
    let mut bench = Bench::new();
    bench.has_secrets();
    let handle = bench.launch(Command::new("cat").stdin_open());
    let both = [handle.write_once("a", "one\n").begin(), handle.write_once("a", "one\n").begin()];
    assert_eq!(both.map(|call| counts(call.wait().unwrap())), [(4, 0, 0); 2]);
    let write_id = "a".to_owned();
    assert_eq!(refused(handle.write_once("a", "two\n")), CallError::WriteIdReused { write_id });
    handle.close_stdin().wait().unwrap();
    assert_eq!(bench.result(&handle).stdout, "one\n");
    assert_eq!(counts(handle.write_once("a", "one\n").wait().unwrap()), (4, 0, 0), "after its end too");
}

fn a_cleanup_may_read_on_in_its_grace() {
    let bench = Bench::new();
    let script =
        "trap 'read line; echo \"bye $line\"; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let handle = bench.launch(sh(script).stdin_open());
    bench.hears(&handle, "ready", 1);
    let cancel = handle.cancel().begin();
    assert_eq!(counts(handle.write("friend\n").wait().unwrap()), (7, 0, 0));
    let record = cancel.wait().unwrap().record;
    assert_eq!((record.stdout.as_str(), record.exit_code), ("ready\nbye friend\n", Some(4)));
}

fn kept_leftovers_read_on_until_they_are_gone() {
    let bench = Bench::new();
    let file = bench.path("file");
    let script = format!("exec 3<&0; (cat <&3 >{}) & exec 3<&-", file.display());
    let handle = bench.launch(sh(script).stdin_open().leftovers(LeftoversPolicy::Keep));
    assert_eq!(bench.result(&handle).leftovers.unwrap().len(), 1);
    assert_eq!(counts(handle.write("on\n").wait().unwrap()), (3, 0, 0));
    handle.close_stdin().wait().unwrap();
    let content = || std::fs::read_to_string(&file).unwrap();
    let waits = || if content() == "on\n" { Vec::new() } else { vec![content()] };
    assert_eq!(ostler_tests::settles(waits), [""; 0]);
    // It ends by itself, at the end of its stdin.
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!(record.status, Status::Completed);
}

fn a_flood_goes_through_with_memory_flat() {
    const ALL: usize = 64 * MIB;
    let bench = Bench::new();
    let handle = bench.launch(sh("wc -c").stdin_open());
    rss_peak_reset();
    let before = rss_peak_bytes();
    let chunk = vec![b'x'; MIB];
    for _ in 0..ALL / MIB {
        assert_eq!(counts(handle.write(chunk.clone()).wait().unwrap()), (MIB as u64, 0, 0));
    }
    handle.close_stdin().wait().unwrap();
    assert_eq!(bench.result(&handle).stdout, format!("{ALL}\n"));
    let grown = rss_peak_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

/// Two that say and read much: one of them moves to another drain thread, with its stdin.
fn what_is_written_follows_a_flood_to_another_thread() {
    let bench = Bench::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    let flood = format!("{} {}; exec cat", fixture!("flood"), 64 * MIB);
    let handles = [0, 1].map(|_| {
        let handle = bench.launch(sh(&flood).stdin_open().inline_bytes(16).output_limit(64 << 20));
        // Numbers go round the threads: the next flood falls on the same.
        (1..cores).for_each(|_| drop(bench.run(Command::new("true"))));
        handle
    });
    for handle in &handles {
        let written = handle.write_within(vec![b'x'; MIB], ms(0)).wait().unwrap();
        assert_eq!(written.taken + written.queued, MIB as u64);
        handle.close_stdin().wait().unwrap();
    }
    for handle in &handles {
        assert_eq!(bench.result(handle).byte_count, 65 * MIB as u64);
    }
}

fn terminal(bench: &Bench, script: &str) -> Handle {
    bench.launch(sh(script).terminal(24, 80))
}

fn a_terminal_is_the_commands_own() {
    let bench = Bench::new();
    let record = bench.run(
        sh("tty; stty size; echo $TERM; [ -t 2 ] && echo err >&2; cat </dev/tty & ps -o tty= -p $$; kill $!")
            .terminal(33, 101),
    );
    let lines: Vec<_> = record.stdout.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{record:?}");
    assert_eq!(lines[1..4], ["33 101", "xterm-256color", "err"]);
    assert_eq!(lines[4].trim(), &lines[0]["/dev/".len()..]);
    assert_eq!((record.stderr.as_str(), record.exit_code), ("", Some(0)));
    let record = bench.run(sh("echo $TERM").terminal(1, 1).env("TERM", "dumb"));
    assert_eq!(record.stdout, "dumb\r\n");
}

fn a_terminal_asks_echoes_and_hears() {
    let bench = Bench::new();
    let handle = terminal(&bench, "printf 'name? '; read name; echo \"hello $name\"; cat; echo over");
    bench.hears(&handle, "name? ", 1);
    assert_eq!(counts(handle.write("world\n").wait().unwrap()), (6, 0, 0));
    bench.hears(&handle, "hello world\r\n", 1);
    let handle_id = handle.id();
    assert_eq!(refused(handle.close_stdin()), CallError::StdinIsTerminal { handle_id });
    handle.write("\x04").wait().unwrap();
    let record = bench.result(&handle);
    assert_eq!(record.stdout, "name? world\r\nhello world\r\nover\r\n");
}

fn ctrl_c_ends_what_is_in_the_foreground() {
    let bench = Bench::new();
    let handle = terminal(
        &bench,
        "trap 'echo caught; exit 5' INT; sh -c 'echo ready; exec sleep 1000'; echo not here",
    );
    bench.hears(&handle, "ready", 1);
    handle.write("\x03").wait().unwrap();
    let record = bench.result(&handle);
    assert_eq!((record.exit_code, record.stdout.as_str()), (Some(5), "ready\r\n^Ccaught\r\n"));
}

fn a_new_size_is_heard() {
    let bench = Bench::new();
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let handle = terminal(&bench, script);
    bench.hears(&handle, "ready", 1);
    assert_eq!(refused(handle.resize(0, 80)), CallError::TerminalSize { rows: 0, columns: 80 });
    handle.resize(40, 132).wait().unwrap();
    assert_eq!(bench.result(&handle).stdout, "ready\r\n40 132\r\n");
    let handle_id = handle.id();
    assert_eq!(refused(handle.resize(1, 1)), CallError::HandleEnded { handle_id });
    let none = bench.launch(sh("sleep 1000"));
    assert_eq!(refused(none.resize(1, 1)), CallError::NoTerminal { handle_id: none.id() });
}

fn what_a_terminal_was_sent_is_whole_however_short_its_command_lives() {
    let bench = Bench::new();
    for round in 0..200 {
        let record = bench.run(sh("echo a; echo b").terminal(24, 80));
        assert_eq!(record.stdout, "a\r\nb\r\n", "round {round}");
    }
    // Held open by another, so that its end is not seen.
    for round in 0..20 {
        let script = "trap '' HUP; sleep 1000 & echo a; echo b";
        let record = bench.run(sh(script).terminal(24, 80).drain_grace(ms(20)).leftovers_grace(ms(0)));
        assert_eq!(record.stdout, "a\r\nb\r\n", "round {round}");
    }
}

fn much_comes_through_a_terminal() {
    let bench = Bench::new();
    let record = bench.run(sh("seq 1 200000").terminal(24, 80).output_limit(64 << 20));
    let expected: usize = (1..=200_000_u32).map(|n| n.to_string().len() + 2).sum();
    assert_eq!((record.byte_count, record.line_count), (expected as u64, Some(200_000)));
}

fn a_shell_with_a_terminal_controls_its_jobs() {
    let bench = Bench::new();
    let script = "set -m; sleep 1000 & jobs; kill %1; wait %1; echo $?; (exit 3); echo $?";
    let record = bench.run(Command::new("bash").args(["-c", script]).terminal(24, 80));
    let lines: Vec<_> = record.stdout.lines().collect();
    assert!(lines[0].starts_with("[1]+") && lines[0].contains("Running"), "{}", record.stdout);
    assert!(lines.contains(&"143") && lines.last() == Some(&"3"), "{}", record.stdout);
}

fn what_is_kept_of_a_terminal_hears_sighup_at_its_leaders_exit_and_has_its_terminal_still() {
    let bench = Bench::new();
    let file = bench.path("file");
    let script = format!(
        "trap '' HUP; (trap 'echo hup >>{0}; [ -t 2 ] && echo tty >>{0}; exit 0' HUP; echo ready; while :; do sleep 0.05; done) & \
         read x; exit 0",
        file.display()
    );
    let handle = bench.launch(sh(script).terminal(24, 80).leftovers(LeftoversPolicy::Keep));
    bench.hears(&handle, "ready", 1);
    handle.write("go\n").wait().unwrap();
    assert_eq!(bench.result(&handle).exit_code, Some(0));
    let content = || std::fs::read_to_string(&file).unwrap_or_default();
    let waits = || if content().lines().count() == 2 { Vec::new() } else { vec![content()] };
    assert_eq!(ostler_tests::settles(waits), [""; 0]);
    assert_eq!(content(), "hup\ntty\n");
}

fn a_signal_reaches_the_group_and_changes_nothing_else() {
    let bench = Bench::new();
    let script =
        "trap 'echo hup' HUP; trap 'echo usr1; exit 6' USR1; echo ready; while :; do sleep 0.05; done";
    let handle = bench.launch(sh(script));
    bench.hears(&handle, "ready", 1);
    handle.signal(UnixSignal::SigHup).wait().unwrap();
    bench.hears(&handle, "hup", 1);
    assert_eq!(handle.status().wait().unwrap().status, Status::Running);
    handle.signal(UnixSignal::SigUsr1).wait().unwrap();
    let record = bench.result(&handle);
    assert_eq!((record.status, record.exit_code), (Status::Completed, Some(6)));
    let handle_id = handle.id();
    assert_eq!(refused(handle.signal(UnixSignal::SigInt)), CallError::HandleEnded { handle_id });
    let handle = bench.launch(Command::new("sleep").arg("1000"));
    handle.signal(UnixSignal::SigQuit).wait().unwrap();
    let record = bench.result(&handle);
    assert_eq!((record.status, record.signal.as_deref()), (Status::Completed, Some("SIGQUIT")));
}

fn a_stop_begins_with_the_signal_of_the_launch() {
    let bench = Bench::new();
    let script = "trap 'echo term; exit 1' TERM; trap 'echo int; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let handle = bench.launch(sh(script).stop_signal(UnixSignal::SigInt));
    bench.hears(&handle, "ready", 1);
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!(
        (record.status, record.exit_code, record.stdout.as_str()),
        (Status::Killed, Some(7), "ready\nint\n")
    );
}

/// A host that has SIGPIPE at its default would die of a write to what nobody reads.
#[test]
fn no_signal_of_a_broken_pipe_reaches_the_host() {
    let bench = Bench::new();
    let tasks: Vec<_> =
        std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path()).collect();
    let file =
        |task: &std::path::PathBuf, name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
    let blocks = |task: &std::path::PathBuf| {
        let status = file(task, "status");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or_default();
        u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & 1 << (nix::libc::SIGPIPE - 1) != 0
    };
    let writers: Vec<_> =
        tasks.iter().filter(|task| file(task, "comm").starts_with("ostler-drain")).collect();
    assert!(!writers.is_empty() && writers.iter().all(|task| blocks(task)));
    bench.run(Command::new("true"));
}

#[test]
fn input_stands_in_a_trace_as_its_size() {
    let log = TraceLog::default();
    let bench = Bench::with(|settings| settings.config.trace = TraceTo::Memory(log.clone()));
    bench.run(Command::new("true").stdin_bytes("one secret"));
    let handle = bench.launch(Command::new("sleep").arg("1000").stdin_open());
    handle.write("two secrets").wait().unwrap();
    let trace = log.text();
    assert!(!trace.contains("secret") && trace.contains(r#""bytes":11"#), "{trace}");
    assert!(trace.contains(r#""stdin":{"bytes":10}"#), "{trace}");
}

ostler_tests::in_every_tier!(
    stdin_is_empty_unless_it_is_asked_for,
    bytes_of_a_launch_are_read_whole_and_then_the_end,
    a_conversation_ends_with_the_end_of_stdin,
    the_end_of_stdin_comes_behind_what_is_queued,
    a_command_that_never_reads_holds_nobody_up_and_what_it_did_not_take_is_counted,
    what_a_dropped_call_has_brought_stays_queued,
    a_queue_has_an_end,
    a_command_that_has_closed_its_stdin_is_not_written_to,
    one_that_closes_it_while_much_is_queued_says_how_much_it_took,
    the_same_write_twice_is_one,
    a_cleanup_may_read_on_in_its_grace,
    kept_leftovers_read_on_until_they_are_gone,
    a_flood_goes_through_with_memory_flat,
    what_is_written_follows_a_flood_to_another_thread,
    a_terminal_is_the_commands_own,
    a_terminal_asks_echoes_and_hears,
    ctrl_c_ends_what_is_in_the_foreground,
    a_new_size_is_heard,
    what_a_terminal_was_sent_is_whole_however_short_its_command_lives,
    much_comes_through_a_terminal,
    a_shell_with_a_terminal_controls_its_jobs,
    what_is_kept_of_a_terminal_hears_sighup_at_its_leaders_exit_and_has_its_terminal_still,
    a_signal_reaches_the_group_and_changes_nothing_else,
    a_stop_begins_with_the_signal_of_the_launch,
);
