//! Faults of the tree and of the pipes: what outlives its leader, and who holds what open.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler::{Command, Config, LeftoversPolicy, Outcome, Record, Status, TraceLog, TraceTo};
use ostler_tests::{Bench, LIMIT, SLACK, alive, fixture, group, sh};
use std::time::{Duration, Instant};

const DRAIN_GRACE: Duration = Duration::from_millis(ostler_messages::DRAIN_GRACE_MS);

/// The one leftover, which must be dead.
fn the_leftover(result: &Record) -> (&str, Outcome) {
    let leftovers = result.leftovers.as_deref().expect("the tree was looked at");
    let [leftover] = leftovers else { panic!("expected one: {leftovers:?}") };
    assert!(!alive(leftover.pid), "{leftover:?} lives");
    (&leftover.name, leftover.outcome)
}

#[test]
fn f01_a_background_sleep_is_a_leftover_terminated_and_reported() {
    let bench = Bench::new();
    let began = Instant::now();
    let result = bench.run(sh("sleep 1000 & exit 0"));
    assert!(began.elapsed() < DRAIN_GRACE + SLACK, "{:?}", began.elapsed());
    assert_eq!(
        (result.status, result.exit_code, result.signal.as_deref()),
        (Status::Completed, Some(0), None)
    );
    assert_eq!(the_leftover(&result), ("sleep", Outcome::Terminated));
    assert!(result.duration_ms.unwrap() < 250, "the duration ends with the leader: {:?}", result.duration_ms);
}

#[test]
fn f01_a_leftover_that_ignores_sigterm_is_killed_and_reported_as_that() {
    let bench = Bench::new();
    let go = bench.fifo("go");
    let script = format!("{} & read x <go; exit 0", fixture!("ignores-term"));
    let command = sh(script).current_dir(bench.path("")).leftovers_grace(Duration::from_millis(200));
    let handle = bench.launch(command);
    bench.hears(&handle, "ready", 1);
    std::fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
    assert_eq!(the_leftover(&result), ("ignores-term", Outcome::Killed));
}

#[test]
fn f02_a_deadline_with_a_background_sleep_leaves_nothing_alive() {
    let bench = Bench::new();
    let limit = Duration::from_millis(300);
    let began = Instant::now();
    let handle = bench.launch(sh("sleep 1000 & sleep 1000; true").timeout(limit));
    let result = bench.result(&handle);
    assert!(began.elapsed() < limit + DRAIN_GRACE + SLACK, "{:?}", began.elapsed());
    assert_eq!((result.status, result.timed_out), (Status::TimedOut, true));
    assert_eq!(result.signal.as_deref(), Some("SIGTERM"));
    assert!(result.duration_ms.unwrap() >= 300, "{:?}", result.duration_ms);
    assert!(group(result.process_group_id.unwrap()).is_empty());
    // That both pipes are closed shows in the look at the descriptors when the bench is dropped.
}

#[test]
fn f03_a_descendant_that_writes_on_and_on_does_not_prolong_the_drain() {
    let bench = Bench::new();
    let began = Instant::now();
    let result = bench.run(sh("(while :; do echo more; done) & echo leader; exit 0"));
    assert!(began.elapsed() < DRAIN_GRACE + SLACK, "{:?}", began.elapsed());
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
    assert_eq!(the_leftover(&result), ("sh", Outcome::Terminated));
}

#[test]
fn f03_a_kept_leftover_can_write_for_ever_after_the_record_is_closed() {
    let bench = Bench::new();
    let (go, done) = (bench.fifo("go"), bench.fifo("done"));
    // Ten times what a pipe holds, once the result is out: unread it would block, closed it would end by SIGPIPE.
    let script = "(read x <go; head -c 655360 /dev/zero; echo $? >done; read x <go) & echo leader; exit 0";
    let command = sh(script).current_dir(bench.path("")).leftovers(LeftoversPolicy::Keep);
    let result = bench.run(command);
    assert_eq!(result.stdout, "leader\n");
    let kept = result.leftovers.unwrap();
    assert_eq!(kept.iter().map(|kept| kept.outcome).collect::<Vec<_>>(), [Outcome::Kept]);
    std::fs::write(&go, "\n").unwrap();
    let written = bench.run(Command::new("/bin/cat").arg(done).timeout(LIMIT));
    assert_eq!(written.stdout, "0\n", "the pipe blocked or broke");
    assert!(alive(kept[0].pid));
    let tally = bench.session().end().wait().unwrap();
    assert_eq!((tally.completed, tally.survivors), (2, 0));
    assert!(!alive(kept[0].pid), "a kept leftover ends with its session");
    assert_eq!(
        std::fs::metadata(result.output_path).unwrap().len(),
        7,
        "what comes after the result is not recorded"
    );
}

#[test]
fn f04_what_the_leader_wrote_is_recorded_even_while_a_descendant_floods_the_pipe() {
    let bench = Bench::new();
    for round in 0..20 {
        // The shortest drain: what is owed must be read all the same.
        let script = format!("yes flood & head -c 300000 /dev/zero; echo 'the tail of {round}'; exit 0");
        let result = bench.run(sh(script).drain_grace(Duration::from_millis(1)));
        assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
        let combined = std::fs::read(&result.output_path).unwrap();
        let tail = format!("the tail of {round}\n").into_bytes();
        assert!(combined.windows(tail.len()).any(|window| window == tail), "round {round}: the tail is lost");
        assert_eq!(combined.iter().filter(|byte| **byte == 0).count(), 300_000, "round {round}");
        assert_eq!(
            (result.recorded_bytes, result.byte_count),
            (combined.len() as u64, combined.len() as u64)
        );
    }
}

#[test]
fn f05_output_through_a_process_substitution_is_kept() {
    let bench = Bench::new();
    let script = "exec > >(tee log) 2>&1; echo to stdout; echo to stderr >&2; exit 3";
    let began = Instant::now();
    let result = bench.run(Command::new("/bin/bash").args(["-c", script]).current_dir(bench.path("")));
    assert!(began.elapsed() < DRAIN_GRACE + SLACK, "{:?}", began.elapsed());
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(3)));
    assert_eq!(result.stdout, "to stdout\nto stderr\n");
    assert_eq!(std::fs::read_to_string(bench.path("log")).unwrap(), result.stdout);
}

#[test]
fn f08_if_only_stderr_is_held_open_stdout_ends_at_once_and_stderr_in_time() {
    let log = TraceLog::default();
    let bench = Bench::with(|config: &mut Config| config.trace = TraceTo::Memory(log.clone()));
    let grace = Duration::from_secs(1);
    let result = bench.run(sh("sleep 1000 >&- & echo out; echo err >&2; exit 0").drain_grace(grace));
    assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(the_leftover(&result), ("sleep", Outcome::Terminated));
    let n = result.handle_id.n;
    let at = |to: String, message: &str| {
        let text = log.text();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut found = lines.filter(|line| line["to"] == to.as_str() && line["message"] == message);
        Duration::from_micros(found.next().unwrap()["at_us"].as_u64().unwrap())
    };
    let exited = at(format!("process/{n}"), "Exited");
    let out = at(format!("drain/{n}.stdout"), "EndOfStream");
    let err = at(format!("drain/{n}.stderr"), "EndOfStream");
    assert!(out < exited + grace / 2, "stdout: {out:?}, exit: {exited:?}");
    assert!(err >= exited + grace && err < exited + grace + SLACK, "stderr: {err:?}, exit: {exited:?}");
}

#[test]
fn f09_pipelines_jobs_and_subshells_are_gone_after_a_cancel_under_every_shell() {
    let bench = Bench::new();
    // Each stage says that it is there.
    let up = "sh -c 'echo up >&2; exec sleep 1000'";
    let scripts = [
        (3, format!("{up} | {up} | {up}")),
        (2, format!("{up} & {up} & wait")),
        (2, format!("({up}; true) & ({up}; true); true")),
        (3, format!("x=$({up} | {up} & {up}); true")),
    ];
    for shell in ["/bin/dash", "/bin/bash"] {
        for (stages, script) in &scripts {
            let handle = bench.launch(Command::new(shell).args(["-c", script]));
            bench.hears(&handle, "up", *stages);
            let members = group(handle.record().process_group_id.unwrap());
            assert!(members.len() >= *stages, "{shell} {script}: {members:?}");
            let cancelled = handle.cancel().wait().unwrap();
            let living: Vec<&u32> = members.iter().filter(|pid| alive(**pid)).collect();
            assert!(living.is_empty(), "{shell} {script}: {living:?}");
            assert_eq!((cancelled.cancelled, cancelled.record.status), (true, Status::Killed));
            assert!(group(handle.record().process_group_id.unwrap()).is_empty());
        }
    }
}

#[test]
fn f10_a_tool_that_kills_its_whole_group_hits_only_itself() {
    let bench = Bench::new();
    let other = bench.launch(Command::new(fixture!("ignores-term")));
    bench.hears(&other, "ready", 1);
    let result = bench.run(sh("sleep 1000 & kill -9 0"));
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(-1)), "the signal was not ours");
    assert_eq!(result.signal.as_deref(), Some("SIGKILL"));
    assert!(group(result.process_group_id.unwrap()).is_empty());
    assert!(alive(other.record().pid.unwrap()), "another handle was hit");
    other.cancel_within(Duration::ZERO).wait().unwrap();
    assert_eq!(other.cancel().wait().unwrap().record.signal.as_deref(), Some("SIGKILL"));
}
