//! Faults of pauses and of followers: what moves all the same, what never goes on, and what time passes meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ostler::{
    Call, CallError, Command, Condition, Containment, Error, Handle, LeftoversPolicy, OutputFile, Status,
    StopCause, UnixSignal, WaitEnd,
};
use ostler_tests::{
    Bench, Ground, LIMIT, OtherHost, SLACK, alive, fixture, group, has_tier, ms, settles, sh, stopped,
};
use serde_json::json;
use std::time::{Duration, Instant};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Talks as fast as it can, in a process of its own each time.
const TALKS: &str = "while :; do /bin/echo word; done";

fn refused<T: std::fmt::Debug>(call: Call<T>) -> CallError {
    match call.wait() {
        Err(Error::Call(error)) => error,
        other => panic!("expected a refusal: {other:?}"),
    }
}
fn time_passes(bench: &Bench, time: Duration) {
    bench.ostler().sleep(time).wait().unwrap();
}
fn bytes(handle: &Handle) -> u64 {
    handle.status().wait().unwrap().byte_count
}
/// Nothing is said between two moments far enough apart, once what was in the pipes is read.
fn is_still(bench: &Bench, handle: &Handle) {
    time_passes(bench, ms(50));
    let before = bytes(handle);
    time_passes(bench, ms(100));
    assert_eq!(bytes(handle), before, "it goes on");
}
fn goes_on(handle: &Handle) {
    let from = handle.status().wait().unwrap().output_offset;
    let page = handle.read().offset(from).wait_for(LIMIT).wait().unwrap();
    assert!(page.bytes_read > 0, "it says nothing");
}

fn a_paused_tree_stands_still_and_goes_on() {
    let bench = Bench::new();
    let handle = bench.launch(sh(format!("({TALKS}) & (sh -c '{TALKS}') & {TALKS}")));
    bench.hears(&handle, "word", 3);
    for _ in 0..3 {
        handle.pause().wait().unwrap();
        handle.pause().wait().unwrap();
        assert!(handle.status().wait().unwrap().paused);
        assert!(bench.session().list().wait().unwrap()[0].paused);
        is_still(&bench, &handle);
        handle.resume().wait().unwrap();
        handle.resume().wait().unwrap();
        assert!(!handle.status().wait().unwrap().paused);
        goes_on(&handle);
    }
    assert_eq!(handle.cancel().wait().unwrap().record.status, Status::Killed);
    let handle_id = handle.id();
    assert_eq!(refused(handle.pause()), CallError::HandleEnded { handle_id });
    assert_eq!(refused(handle.resume()), CallError::HandleEnded { handle_id });
}

/// Whoever forks as fast as it can is caught all the same.
fn a_tree_that_forks_without_end_is_brought_to_a_standstill() {
    let bench = Bench::new();
    let forks = "while :; do (exec true) & (exec true); /bin/echo fork; done";
    let handle = bench.launch(sh(forks));
    bench.hears(&handle, "fork", 10);
    for _ in 0..10 {
        handle.pause().wait().unwrap();
        is_still(&bench, &handle);
        handle.resume().wait().unwrap();
        goes_on(&handle);
    }
}

/// A pause and its end take them in parts, and wait for descriptors rather than refuse.
fn a_tree_of_more_processes_than_descriptors_stands_still_and_goes_on() {
    let ground = Ground::take();
    let host = OtherHost::new(fixture!("a-host"));
    let rounds = host.run(&["pauses", "8", "16", "24", "32", "40"]);
    assert_eq!(rounds.len(), 5);
    for round in rounds {
        assert_eq!(round["refused"], json!([null, null]), "{round}");
        assert_eq!(round["left"], 0, "{round}");
        // A frozen cgroup's processes show no state of their own.
        assert!([50, 0].contains(&round["still"].as_u64().unwrap()), "{round}");
        assert_eq!(round["still"] == 0, has_tier(Containment::Cgroup), "{round}");
    }
    ground.check(false);
}

/// Whoever has just been sent a signal need not show it yet, on a machine that has more to do.
fn what_is_let_go_on_at_once_goes_on() {
    let bench = Bench::new();
    let spins = "(while :; do :; done) & ";
    let handle = bench.launch(sh(format!("{}{TALKS}", spins.repeat(8))));
    bench.hears(&handle, "word", 1);
    for _ in 0..20 {
        let pause = handle.pause().begin();
        handle.resume().wait().unwrap();
        match pause.wait() {
            Ok(()) | Err(Error::Call(CallError::NotPaused { .. })) => {}
            other => panic!("{other:?}"),
        }
        goes_on(&handle);
        let pid = handle.record().pid.unwrap();
        assert_eq!(
            settles(|| group(pid).into_iter().filter(|pid| stopped(*pid)).collect()),
            Vec::<u32>::new()
        );
    }
}

fn no_time_passes_for_what_is_paused() {
    let bench = Bench::new();
    let limited = bench.launch(Command::new("sleep").arg("1000").timeout(ms(500)));
    let idle = bench.launch(Command::new("sleep").arg("1000").idle_timeout(ms(500)));
    let silent = bench.launch(Command::new("sleep").arg("1000"));
    let waits = silent.wait_for([Condition::silence_ms(500)], LIMIT).begin();
    let all = [&limited, &idle, &silent];
    all.iter().for_each(|handle| handle.pause().wait().unwrap());
    // Also of a wait that begins meanwhile.
    let begins = silent.wait_for([Condition::silence_ms(500)], LIMIT).begin();
    time_passes(&bench, ms(1_500));
    for handle in all {
        let status = handle.status().wait().unwrap();
        assert!(status.status == Status::Running && status.silence_ms.unwrap() < 500, "{status:?}");
    }
    let began = Instant::now();
    all.iter().for_each(|handle| handle.resume().wait().unwrap());
    let (limited, idle) = (bench.result(&limited), bench.result(&idle));
    assert_eq!((limited.stop_cause, idle.stop_cause), (Some(StopCause::Deadline), Some(StopCause::Idle)));
    for wait in [waits, begins] {
        assert!(matches!(wait.wait().unwrap().end, WaitEnd::Met { index: 0, .. }));
    }
    assert!(began.elapsed() < ms(500) + SLACK, "{:?}", began.elapsed());
    assert!(limited.duration_ms.unwrap() >= 2_000, "{limited:?}");
}

fn a_stop_lets_it_go_on_first_so_that_it_can_clean_up() {
    let bench = Bench::new();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let handle = bench.launch(sh(script).grace(LIMIT));
    bench.hears(&handle, "ready", 1);
    handle.pause().wait().unwrap();
    let began = Instant::now();
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!((record.exit_code, record.stdout.as_str()), (Some(3), "ready\nbye\n"));
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

fn what_is_being_stopped_is_not_paused() {
    let bench = Bench::new();
    let gate = bench.fifo("gate");
    let script = format!(
        "trap 'echo stops; read x <{}; exit 3' TERM; echo ready; while :; do sleep 0.01; done",
        gate.display()
    );
    let handle = bench.launch(sh(script).grace(LIMIT));
    bench.hears(&handle, "ready", 1);
    let cancel = handle.cancel().begin();
    bench.hears(&handle, "stops", 1);
    assert_eq!(refused(handle.pause()), CallError::HandleStopping { handle_id: handle.id() });
    handle.resume().wait().unwrap();
    std::fs::write(gate, "go\n").unwrap();
    assert_eq!(cancel.wait().unwrap().record.exit_code, Some(3));
}

fn a_paused_tree_is_killed_at_once() {
    let bench = Bench::new();
    let handle = bench.launch(sh(format!("trap '' TERM; ({TALKS}) & {TALKS}")).grace(ms(100)));
    bench.hears(&handle, "word", 1);
    handle.pause().wait().unwrap();
    let first = handle.cancel().begin();
    let second = handle.cancel().begin();
    assert_eq!(first.wait().unwrap().record.signal.as_deref(), Some("SIGKILL"));
    second.wait().unwrap();
    // And one that the end of the session finds paused: the bench looks whether anything is left.
    let other = bench.launch(sh(format!("({TALKS}) & {TALKS}")));
    bench.hears(&other, "word", 1);
    other.pause().wait().unwrap();
}

fn the_death_of_a_paused_leader_ends_its_pause() {
    let bench = Bench::new();
    let handle = bench.launch(sh("sleep 1000 & echo ready; wait"));
    bench.hears(&handle, "ready", 1);
    handle.pause().wait().unwrap();
    let pid = handle.record().pid.unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    let record = bench.result(&handle);
    assert_eq!((record.status, record.signal.as_deref()), (Status::Completed, Some("SIGKILL")));
    assert_eq!(record.leftovers.unwrap().len(), 1);
}

fn what_is_kept_of_a_paused_command_goes_on() {
    let bench = Bench::new();
    let script = format!("({TALKS}) & echo $!; wait");
    let handle = bench.launch(sh(script).leftovers(LeftoversPolicy::Keep).drain_grace(ms(10)));
    bench.hears(&handle, "word", 1);
    handle.pause().wait().unwrap();
    let pid = handle.record().pid.unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    let record = bench.result(&handle);
    let kept = record.leftovers.unwrap();
    let page = handle.read().kept().wait_for(LIMIT).wait().unwrap();
    assert!(page.bytes_read > 0, "it stands still");
    assert!(kept.iter().all(|kept| !stopped(kept.pid)));
    assert_eq!(refused(handle.pause()), CallError::HandleEnded { handle_id: handle.id() });
    handle.cancel().wait().unwrap();
    let pids = || kept.iter().map(|kept| kept.pid);
    assert_eq!(settles(|| pids().filter(|pid| alive(*pid)).collect::<Vec<_>>()), Vec::<u32>::new());
}

/// Nothing of it holds a pipe, so that its end is looked for at once.
fn what_is_kept_of_a_paused_command_goes_on_though_it_holds_nothing() {
    let bench = Bench::new();
    for _ in 0..20 {
        let script = "sleep 1000 </dev/null >/dev/null 2>&1 & sleep 1000 </dev/null >/dev/null 2>&1 & echo ready; wait";
        let handle = bench.launch(sh(script).leftovers(LeftoversPolicy::Keep));
        bench.hears(&handle, "ready", 1);
        handle.pause().wait().unwrap();
        let pid = handle.record().pid.unwrap();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        let kept = bench.result(&handle).leftovers.unwrap();
        assert_eq!(kept.len(), 2);
        let still = || kept.iter().map(|kept| kept.pid).filter(|pid| stopped(*pid)).collect::<Vec<_>>();
        assert_eq!(settles(still), Vec::<u32>::new());
        handle.cancel().wait().unwrap();
    }
}

fn input_and_signals_wait_for_what_is_paused() {
    let bench = Bench::new();
    let script = "trap 'echo usr1' USR1; echo ready; while :; do read line && echo \"got $line\"; done";
    let handle = bench.launch(sh(script).stdin_open());
    bench.hears(&handle, "ready", 1);
    handle.pause().wait().unwrap();
    assert_eq!(handle.write("a line\n").wait().unwrap().taken, 7);
    handle.signal(UnixSignal::SigUsr1).wait().unwrap();
    is_still(&bench, &handle);
    handle.resume().wait().unwrap();
    bench.hears(&handle, "got a line", 1);
    bench.hears(&handle, "usr1", 1);
}

/// Its caller, its handle, its session: whoever goes away in the middle leaves nothing that stands still for ever.
fn pauses_that_are_dropped_and_crossed_leave_nothing_behind() {
    let bench = Bench::new();
    for round in 0..30_u32 {
        let handle = bench.launch(sh(format!("({TALKS}) & {TALKS}")).grace(ms(200)));
        let calls = [handle.pause().begin(), handle.resume().begin(), handle.pause().begin()];
        match round % 3 {
            0 => drop(calls),
            1 => calls.into_iter().for_each(|call| match call.wait() {
                Ok(()) | Err(Error::Call(CallError::NotPaused { .. })) => {}
                other => panic!("{other:?}"),
            }),
            _ => {}
        }
        let record = handle.cancel().wait().unwrap().record;
        assert_eq!(record.status, Status::Killed);
    }
}

fn a_follower_is_waited_for() {
    let bench = Bench::new();
    let (size, ahead) = (5 * MIB + 3, 100 * KIB);
    let handle = bench.launch(sh(format!("head -c {size} /dev/zero")).follow(ahead));
    let mut offset = 0;
    loop {
        let page = handle.read().offset(offset).length(64 * KIB).follows().wait_for(LIMIT).wait().unwrap();
        // All of it once the command has ended, which the last of its bytes may wait in the pipe for.
        let total = page.total_bytes;
        assert!(total <= offset + ahead || total == size, "{total} at {offset}");
        offset = page.next_offset;
        if page.eof {
            break;
        }
    }
    assert_eq!(offset, size);
    let record = bench.result(&handle);
    assert_eq!((record.byte_count, record.exit_code, record.artifact_error), (size, Some(0), None));
}

fn a_follower_of_lines_is_never_waited_for_in_vain() {
    let bench = Bench::new();
    // Each line is longer than what may be ahead.
    let script = "for n in 1 2 3; do head -c 5000 /dev/zero | tr '\\0' x; echo $n; done";
    let handle = bench.launch(sh(script).follow(100));
    let mut line = 1;
    loop {
        let page = handle.read().from_line(line, 1).follows().wait_for(LIMIT).wait().unwrap();
        if page.bytes_read > 0 {
            assert_eq!((page.bytes_read, page.first_line), (5_002, Some(line)));
            line += 1;
        }
        if page.eof {
            break;
        }
    }
    assert_eq!((line, bench.result(&handle).exit_code), (4, Some(0)));
}

fn a_command_that_waits_for_its_follower_is_not_silent_and_its_end_waits_for_nobody() {
    let bench = Bench::new();
    let script = "trap 'echo bye; exit 3' TERM; i=0; while :; do i=$((i+1)); echo \"line $i of many that nobody reads\"; done";
    let handle = bench.launch(sh(script).follow(1_000).idle_timeout(ms(300)).grace(LIMIT));
    time_passes(&bench, ms(1_000));
    let status = handle.status().wait().unwrap();
    assert_eq!((status.status, status.byte_count, status.silence_ms), (Status::Running, 1_000, Some(0)));
    let began = Instant::now();
    let record = handle.cancel().wait().unwrap().record;
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert!(record.exit_code == Some(3) && record.stdout.ends_with("bye\n"), "{record:?}");
    // All that it said, and not only what there was room for.
    assert!(record.byte_count > 10_000 && record.recorded_bytes == record.byte_count, "{record:?}");
}

fn what_was_said_before_an_exit_is_recorded_without_a_follower() {
    let bench = Bench::new();
    let began = Instant::now();
    let record = bench.run(sh("head -c 60000 /dev/zero; echo over >&2; exit 5").follow(0).drain_grace(LIMIT));
    assert_eq!((record.byte_count, record.exit_code, record.stderr.as_str()), (60_005, Some(5), "over\n"));
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

fn a_follower_of_one_stream_lets_the_other_flow() {
    let bench = Bench::new();
    let script = "head -c 300000 /dev/zero >&2; echo one; echo two; head -c 300000 /dev/zero >&2; echo over";
    let handle = bench.launch(sh(script).follow(4));
    let (mut offset, mut text) = (0, String::new());
    loop {
        let read = handle.read().stream(OutputFile::Stdout).offset(offset).follows();
        let page = read.wait_for(LIMIT).wait().unwrap();
        // All of it once the command has ended.
        assert!(page.total_bytes <= offset + 4 || page.total_bytes == 13);
        (offset, text) = (page.next_offset, text + &page.text());
        if page.eof {
            break;
        }
    }
    assert_eq!((text.as_str(), bench.result(&handle).byte_count), ("one\ntwo\nover\n", 600_013));
}

/// Two floods of which one moves to another thread, and their followers.
fn followers_of_floods_race_with_what_moves_them() {
    let bench = Bench::new();
    let flood = || bench.launch(sh("head -c 30000000 /dev/zero").follow(MIB));
    let handles = [flood(), flood(), flood(), flood()];
    std::thread::scope(|scope| {
        for handle in &handles {
            scope.spawn(|| {
                let mut offset = 0;
                loop {
                    let page = handle.read().offset(offset).follows().wait_for(LIMIT).wait().unwrap();
                    offset = page.next_offset;
                    if page.eof {
                        break;
                    }
                }
                assert_eq!(offset, 30_000_000);
            });
        }
    });
    for handle in &handles {
        assert_eq!(bench.result(handle).byte_count, 30_000_000);
    }
}

fn a_followed_terminal_is_whole() {
    let bench = Bench::new();
    let handle = bench.launch(
        sh("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done").terminal(24, 80).follow(500),
    );
    let (mut offset, mut text) = (0, String::new());
    loop {
        let page = handle.read().offset(offset).follows().wait_for(LIMIT).wait().unwrap();
        (offset, text) = (page.next_offset, text + &page.text());
        if page.eof {
            break;
        }
    }
    assert!(text.ends_with("line 2999\r\nline 3000\r\n") && text.lines().count() == 3_000);
    bench.result(&handle);
}

ostler_tests::in_every_tier!(
    a_paused_tree_stands_still_and_goes_on,
    a_tree_that_forks_without_end_is_brought_to_a_standstill,
    a_tree_of_more_processes_than_descriptors_stands_still_and_goes_on,
    what_is_let_go_on_at_once_goes_on,
    no_time_passes_for_what_is_paused,
    a_stop_lets_it_go_on_first_so_that_it_can_clean_up,
    what_is_being_stopped_is_not_paused,
    a_paused_tree_is_killed_at_once,
    the_death_of_a_paused_leader_ends_its_pause,
    what_is_kept_of_a_paused_command_goes_on,
    what_is_kept_of_a_paused_command_goes_on_though_it_holds_nothing,
    input_and_signals_wait_for_what_is_paused,
    pauses_that_are_dropped_and_crossed_leave_nothing_behind,
    a_follower_is_waited_for,
    a_follower_of_lines_is_never_waited_for_in_vain,
    a_command_that_waits_for_its_follower_is_not_silent_and_its_end_waits_for_nobody,
    what_was_said_before_an_exit_is_recorded_without_a_follower,
    a_follower_of_one_stream_lets_the_other_flow,
    followers_of_floods_race_with_what_moves_them,
    a_followed_terminal_is_whole,
);
