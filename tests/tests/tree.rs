//! Faults of the tree and of the pipes: what outlives its leader, and who holds what open.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::{sys::signal::Signal, unistd::Pid};
use ostler::{Command, Containment, LeftoversPolicy, Outcome, Record, Status, TraceLog, TraceTo};
use ostler_tests::{Bench, LIMIT, SLACK, alive, fixture, group, has_tier, marked, settles, sh};
use std::time::{Duration, Instant};

const DRAIN_GRACE: Duration = Duration::from_millis(ostler_messages::DRAIN_GRACE_MS);

/// The one leftover, which must be dead.
fn the_leftover(result: &Record) -> (&str, Outcome) {
    let leftovers = result.leftovers.as_deref().expect("the tree was looked at");
    let [leftover] = leftovers else { panic!("expected one: {leftovers:?}") };
    assert!(!alive(leftover.pid), "{leftover:?} lives");
    (&leftover.name, leftover.outcome)
}

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

fn f03_a_descendant_that_writes_on_and_on_does_not_prolong_the_drain() {
    let bench = Bench::new();
    let began = Instant::now();
    let result = bench.run(sh("(while :; do echo more; done) & echo leader; exit 0"));
    assert!(began.elapsed() < DRAIN_GRACE + SLACK, "{:?}", began.elapsed());
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
    assert_eq!(the_leftover(&result), ("sh", Outcome::Terminated));
}

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

fn f08_if_only_stderr_is_held_open_stdout_ends_at_once_and_stderr_in_time() {
    let log = TraceLog::default();
    let bench = Bench::with(|config| config.trace = TraceTo::Memory(log.clone()));
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

/// A word that no other process has among its arguments.
fn mark(bench: &Bench) -> String {
    bench.path("mark").to_str().unwrap().to_owned()
}

fn kill(pids: &[u32]) {
    for pid in pids {
        // Orphans are children of this process, so their numbers are held.
        nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    }
    assert_eq!(settles(|| pids.iter().filter(|pid| alive(**pid)).collect()), [&0; 0]);
}

/// Two ways out of the group and the session of the leader. Each says its pid.
fn daemons() -> [Command; 2] {
    let setsid = sh("setsid sh -c 'echo daemon $$; exec sleep 1000' & wait");
    [setsid, Command::new(fixture!("escapes")).arg("daemon")]
}

/// Who escaped must be dead with the result. The tier `group` does not promise that: there they must be alive, or the
/// test would prove nothing, and are killed here.
fn no_daemon_lives(record: &Record) {
    let daemons: Vec<u32> =
        record.stdout.lines().filter_map(|line| line.strip_prefix("daemon ")?.parse().ok()).collect();
    assert_eq!(daemons.len(), 1, "{record:?}");
    assert!(group(record.process_group_id.unwrap()).is_empty());
    if has_tier(Containment::Group) {
        assert!(alive(daemons[0]), "it did not escape");
        kill(&daemons);
    }
    assert!(!alive(daemons[0]), "{record:?}");
}

fn f06_a_daemon_is_dead_after_a_cancel() {
    for daemon in daemons() {
        let mut bench = Bench::new();
        bench.has_escapees();
        let handle = bench.launch(daemon);
        bench.hears(&handle, "daemon ", 1);
        let record = handle.cancel().wait().unwrap().record;
        assert_eq!(record.status, Status::Killed);
        no_daemon_lives(&record);
    }
}

fn f06_a_daemon_is_dead_after_a_deadline() {
    for daemon in daemons() {
        let mut bench = Bench::new();
        bench.has_escapees();
        let record = bench.run(daemon.timeout(Duration::from_secs(1)));
        assert_eq!(record.status, Status::TimedOut);
        no_daemon_lives(&record);
    }
}

fn f06_a_daemon_is_dead_after_the_end_of_its_session() {
    for daemon in daemons() {
        let mut bench = Bench::new();
        bench.has_escapees();
        let handle = bench.launch(daemon);
        bench.hears(&handle, "daemon ", 1);
        let tally = bench.session().end().wait().unwrap();
        assert_eq!((tally.killed, tally.survivors), (1, 0));
        no_daemon_lives(&bench.result(&handle));
    }
}

fn f06_a_daemon_whose_leader_ended_by_itself_is_a_leftover() {
    if has_tier(Containment::Group) {
        return eprintln!("SKIPPED: the tier group does not see who left the group");
    }
    let mut bench = Bench::new();
    bench.has_escapees();
    let go = bench.fifo("go");
    let script = "setsid sh -c 'echo daemon $$; exec sleep 1000' & read x <go; exit 0";
    let handle = bench.launch(sh(script).current_dir(bench.path("")));
    bench.hears(&handle, "daemon ", 1);
    std::fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
    assert_eq!(the_leftover(&result), ("sleep", Outcome::Terminated));
    no_daemon_lives(&result);
}

/// Processes that make processes, within the group where a tier sees no others.
fn nobody_survives(way: &str, ready: usize) {
    let mut bench = Bench::new();
    bench.has_escapees();
    let (mark, out) = (mark(&bench), if has_tier(Containment::Group) { "in" } else { "out" });
    for grace in [Duration::ZERO, Duration::from_millis(100), Duration::ZERO] {
        let command = Command::new(fixture!("escapes")).args([way, out, &mark]).grace(grace);
        let handle = bench.launch(command);
        bench.hears(&handle, "ready", ready);
        let record = handle.cancel().wait().unwrap().record;
        assert_eq!(marked(&mark), [0; 0], "{way}: somebody survived {record:?}");
        assert_eq!(record.status, Status::Killed);
        assert!(
            record.leftovers.iter().flatten().all(|left| left.outcome != Outcome::Survived),
            "{record:?}"
        );
    }
}

fn f07_nobody_survives_of_a_fork_storm() {
    nobody_survives("storm", 8);
}

fn f07_nobody_survives_who_forks_and_exits_again_and_again() {
    nobody_survives("hop", 1);
}

fn f10_processes_in_other_groups_of_the_session_are_gone_too() {
    let mut bench = Bench::new();
    bench.has_escapees();
    let mark = mark(&bench);
    let handle = bench.launch(Command::new(fixture!("escapes")).args(["group", &mark]));
    bench.hears(&handle, "ready", 1);
    assert_eq!(marked(&mark).len(), 3);
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!(record.signal.as_deref(), Some("SIGTERM"));
    assert_eq!(marked(&mark), [0; 0]);
    assert!(group(record.process_group_id.unwrap()).is_empty());
}

fn f52_a_leftover_whose_name_is_no_text_is_seen_and_ended() {
    let bench = Bench::new();
    let result = bench.run(Command::new(fixture!("escapes")).arg("odd-name"));
    assert_eq!(result.exit_code, Some(0), "{}", result.stderr);
    assert_eq!(the_leftover(&result), ("\u{fffd}\u{fffd} odd", Outcome::Terminated));
}

fn f53_a_process_whose_main_thread_has_ended_is_alive_and_is_killed() {
    let bench = Bench::new();
    let command =
        Command::new(fixture!("escapes")).arg("headless").leftovers_grace(Duration::from_millis(200));
    let result = bench.run(command);
    assert_eq!(result.exit_code, Some(0), "{}", result.stderr);
    assert_eq!(the_leftover(&result), ("escapes", Outcome::Killed));
}

fn f55_a_leader_that_leaves_its_cgroup_is_ended_with_its_group() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let point = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| std::path::Path::new(point).join(&own).join("cgroup.procs"))
    });
    let Some(procs) = point.filter(|procs| std::fs::File::options().write(true).open(procs).is_ok()) else {
        return eprintln!("SKIPPED: there is no other cgroup that a command could move to");
    };
    let bench = Bench::new();
    let result = bench.run(Command::new(fixture!("escapes")).arg("moves").arg(procs));
    assert_eq!(result.exit_code, Some(0), "{}", result.stderr);
    assert_eq!(the_leftover(&result), ("escapes", Outcome::Terminated));
}

fn f56_jobs_with_groups_of_their_own_are_seen_and_ended() {
    let bench = Bench::new();
    // bash makes a group for each job, timeout(1) one for itself.
    for script in ["set -m; sleep 1000 & exit 0", "timeout 1000 sleep 1000 & sleep 0.2; exit 0"] {
        let result = bench.run(Command::new("/bin/bash").args(["-c", script]));
        assert_eq!(result.exit_code, Some(0), "{}", result.stderr);
        let leftovers = result.leftovers.as_deref().expect("the tree was looked at");
        assert!(leftovers.iter().any(|leftover| leftover.name == "sleep"), "{script}: {leftovers:?}");
        for leftover in leftovers {
            assert_eq!(leftover.outcome, Outcome::Terminated, "{script}");
            assert!(!alive(leftover.pid), "{script}: {leftover:?} lives");
        }
    }
}

/// A chain of processes, each of which forks the next and exits, in a way in which it can be reached at all.
fn no_link_survives(out: bool) {
    let mut bench = Bench::new();
    bench.has_escapees();
    for _ in 0..5 {
        let mark = mark(&bench);
        let grace = Duration::from_millis(100);
        let mut command = Command::new(fixture!("escapes")).args(["chain", &mark]).leftovers_grace(grace);
        if out {
            command = command.arg("out");
        }
        let began = Instant::now();
        let result = bench.run(command);
        assert!(began.elapsed() < grace + SLACK, "{:?}", began.elapsed());
        assert_eq!(result.status, Status::Completed);
        // One that was missed would go on: it is looked for more than once.
        for _ in 0..20 {
            assert_eq!(marked(&mark), [0; 0], "{result:?}");
        }
        assert_ne!(result.leftovers.as_deref(), Some([].as_slice()), "somebody was there");
    }
}
fn f92_a_chain_of_forks_in_the_leaders_group_is_ended_and_not_denied() {
    no_link_survives(false);
}
fn f93_a_chain_of_forks_in_sessions_of_their_own_is_ended_within_its_grace() {
    // By their group they can't be reached.
    if !has_tier(Containment::Group) {
        no_link_survives(true);
    }
}

ostler_tests::in_every_tier!(
    f01_a_background_sleep_is_a_leftover_terminated_and_reported,
    f01_a_leftover_that_ignores_sigterm_is_killed_and_reported_as_that,
    f02_a_deadline_with_a_background_sleep_leaves_nothing_alive,
    f03_a_descendant_that_writes_on_and_on_does_not_prolong_the_drain,
    f03_a_kept_leftover_can_write_for_ever_after_the_record_is_closed,
    f04_what_the_leader_wrote_is_recorded_even_while_a_descendant_floods_the_pipe,
    f05_output_through_a_process_substitution_is_kept,
    f08_if_only_stderr_is_held_open_stdout_ends_at_once_and_stderr_in_time,
    f09_pipelines_jobs_and_subshells_are_gone_after_a_cancel_under_every_shell,
    f10_a_tool_that_kills_its_whole_group_hits_only_itself,
    f06_a_daemon_is_dead_after_a_cancel,
    f06_a_daemon_is_dead_after_a_deadline,
    f06_a_daemon_is_dead_after_the_end_of_its_session,
    f06_a_daemon_whose_leader_ended_by_itself_is_a_leftover,
    f07_nobody_survives_of_a_fork_storm,
    f07_nobody_survives_who_forks_and_exits_again_and_again,
    f10_processes_in_other_groups_of_the_session_are_gone_too,
    f52_a_leftover_whose_name_is_no_text_is_seen_and_ended,
    f53_a_process_whose_main_thread_has_ended_is_alive_and_is_killed,
    f55_a_leader_that_leaves_its_cgroup_is_ended_with_its_group,
    f56_jobs_with_groups_of_their_own_are_seen_and_ended,
    f92_a_chain_of_forks_in_the_leaders_group_is_ended_and_not_denied,
    f93_a_chain_of_forks_in_sessions_of_their_own_is_ended_within_its_grace,
);
