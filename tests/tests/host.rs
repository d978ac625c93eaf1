//! Faults of the host, and of ostler itself: crashes, clocks, a host that reaps what is not its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler::{
    Command, Error, Filter, Handle, LaunchError, Ostler, Record, Status, StopCause, Stream,
    testing::{Descendant, OnTerminate, Program, World},
};
use ostler_messages::{ActorName, trace::Fault};
use ostler_tests::{
    Bench, Ground, LIMIT, OtherHost, SLACK, Settings, alive, config, fixture, group, ms, next_n, settles, sh,
    tier,
};
use serde_json::Value;
use std::time::{Duration, Instant};

fn fault(actor: ActorName, message: &str) -> Fault {
    Fault { actor, message: message.to_owned() }
}

/// A tree of a leader and two others that ignore SIGTERM.
fn stubborn_tree() -> Command {
    sh(format!("{0} & {0} & {0}", fixture!("ignores-term"))).grace(Duration::from_secs(100))
}

/// Starts one and gives the pids of all three and of the shell.
fn grown(bench: &Bench) -> (Handle, Vec<u32>) {
    let handle = bench.launch(stubborn_tree());
    bench.hears(&handle, "ready", 3);
    let pids = group(handle.record().process_group_id.unwrap());
    assert_eq!(pids.len(), 4);
    (handle, pids)
}

fn living(pids: &[u32]) -> Vec<u32> {
    pids.iter().copied().filter(|pid| alive(*pid)).collect()
}

fn f41_a_crash_of_the_actor_that_follows_a_process_kills_its_tree_and_nobody_elses() {
    let mut n = 0;
    let bench = Bench::with(|config| {
        n = next_n();
        config.faults = vec![fault(ActorName::Process(n), "Stop")];
    });
    let (crashing, tree) = grown(&bench);
    assert_eq!(crashing.id().n, n);
    let (other, others) = grown(&bench);
    let began = Instant::now();
    let answer = crashing.cancel().wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "it had no grace to wait for: {:?}", began.elapsed());
    assert_eq!(living(&tree), [0; 0], "the tree of a lost handle lives");
    assert_eq!((answer.cancelled, answer.record.status), (false, Status::Lost));
    assert_eq!(answer.record.signal.as_deref(), Some("SIGKILL"));
    assert_eq!(*answer.record, bench.result(&crashing), "a lost one goes to the inbox all the same");
    assert_eq!(living(&others), others, "another tree was hit");
    other.cancel_within(Duration::ZERO).wait().unwrap();
    assert_eq!(other.cancel().wait().unwrap().record.status, Status::Killed);
    assert_eq!(living(&others), [0; 0]);
}

fn f41_a_crash_at_the_exit_still_tells_how_the_leader_ended() {
    let mut n = 0;
    let bench = Bench::with(|config| {
        n = next_n();
        config.faults = vec![fault(ActorName::Process(n), "Exited")];
    });
    let go = bench.fifo("go");
    let script = format!("{} & read x <go; echo said; exit 6", fixture!("ignores-term"));
    let handle = bench.launch(sh(script).current_dir(bench.path("")));
    bench.hears(&handle, "ready", 1);
    std::fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.exit_code), (Status::Lost, Some(6)));
    assert!(group(result.process_group_id.unwrap()).is_empty());
    assert_eq!(bench.run(sh("echo next")).stdout, "next\n");
}

fn f41_a_crash_during_the_launch_leaves_neither_process_nor_directory() {
    let mut n = 0;
    let bench = Bench::with(|config| {
        n = next_n();
        config.faults = vec![fault(ActorName::Process(n), "Started")];
    });
    assert_eq!(bench.refused(stubborn_tree()), LaunchError::Crashed);
    assert_eq!(bench.run(sh("echo next")).stdout, "next\n");
    // By then the first one is dead too: the look at the end would find it.
}

fn f41_a_crash_of_the_one_that_took_over_is_lost_all_the_same() {
    let mut n = 0;
    let mut bench = Bench::with(|config| {
        n = next_n();
        config.faults = vec![fault(ActorName::Process(n), "Stop"), fault(ActorName::Process(n), "Exited")];
    });
    // Nobody was left to complete them.
    bench.spoils_artifacts();
    let (handle, tree) = grown(&bench);
    let answer = handle.cancel().wait().unwrap();
    assert_eq!((answer.record.status, answer.record.exit_code), (Status::Lost, Some(-1)));
    assert_eq!(*answer.record, bench.result(&handle));
    assert_eq!(settles(|| living(&tree)), [0; 0]);
}

fn f41_a_crash_of_a_drain_or_a_ticker_costs_its_own_work_only() {
    let mut n = 0;
    let bench = Bench::with(|config| {
        n = next_n();
        config.faults = vec![
            fault(ActorName::Drain(n, Stream::Stdout), "EndOfStream"),
            fault(ActorName::Ticker(n + 1), "Peeked"),
        ];
    });
    let flood = bench.run(Command::new(fixture!("flood")).arg((4 << 20).to_string()));
    assert_eq!((flood.handle_id.n, flood.status, flood.exit_code), (n, Status::Completed, Some(0)));
    assert!(flood.artifact_error.as_deref().unwrap().contains("stdout"), "{:?}", flood.artifact_error);
    assert_eq!(std::fs::metadata(&flood.output_path).unwrap().len(), flood.recorded_bytes);

    let go = bench.fifo("go");
    let command = sh("read x <go; echo said").current_dir(bench.path("")).progress(Duration::from_millis(10));
    let handle = bench.launch(command);
    let wait = Duration::from_millis(200);
    assert_eq!(bench.session().inbox().wait(Filter::any(), wait).wait().unwrap(), 0, "there is no ticker");
    std::fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.stdout.as_str()), (Status::Completed, "said\n"));
}

fn f41_a_crash_of_an_actor_that_all_depend_on_ends_the_graph_and_every_tree() {
    let core_actors = [
        (ActorName::Supervisor, "Cancel"),
        (ActorName::Inbox, "Push"),
        (ActorName::Kernel, "Signal"),
        (ActorName::Host, "Reply"),
    ];
    for (actor, message) in core_actors {
        let faults = vec![fault(actor, message)];
        // The answers before it are many, and one answer is like another: this fault comes with the first.
        if actor == ActorName::Host {
            let _ground = Ground::take();
            let directory = tempfile::tempdir().unwrap();
            let ostler = Settings { config: config(directory.path()), faults }.start(None).unwrap();
            assert_eq!(ostler.open_session().wait().unwrap_err(), Error::Closed);
            continue;
        }
        let bench = Bench::with(|config| config.faults = faults);
        let (handle, tree) = grown(&bench);
        let trigger = match actor {
            ActorName::Inbox => {
                bench.session().inbox().push("note", "test", Value::Null).wait().map(|_| ()).unwrap_err()
            }
            _ => handle.cancel().wait().map(|_| ()).unwrap_err(),
        };
        assert_eq!(trigger, Error::Closed, "{actor}");
        // The answer comes when the graph ends, and the trees a moment later.
        assert_eq!(settles(|| living(&tree)), [0; 0], "{actor}: a tree outlived the graph");
        assert_eq!(
            bench.session().launch(sh("true")).wait().map(|_| ()).unwrap_err(),
            Error::Closed,
            "{actor}"
        );
    }
}

#[test]
fn f87_a_late_cancel_of_a_scripted_command_has_its_text() {
    let world = World::new();
    world.program("work", Program::new().stdout_at(ms(1), "said\n").exits_at(ms(2), 0));
    let bench = Bench::scripted(&world, |config| config.limits.results_with_text = 0);
    let handle = bench.launch(Command::new("work"));
    assert_eq!(bench.result(&handle).stdout, "said\n");
    let late = handle.cancel().wait().unwrap();
    assert_eq!((late.cancelled, late.record.stdout.as_str()), (false, "said\n"));
}

#[test]
fn f88_what_a_request_says_is_kept_or_refused() {
    let json = r#"{"session_id":"s","program":"p","env":{"NAME":"value"}}"#;
    let request: ostler::LaunchRequest = serde_json::from_str(json).unwrap();
    let again = serde_json::to_value(&request).unwrap();
    assert_eq!(again["env"]["NAME"], "value");
    assert_eq!(serde_json::from_value::<ostler::LaunchRequest>(again).unwrap(), request);
    for unknown in [r#"{"kind":"tool_result","handle":"hto-1-1"}"#, r#"{"kinds":[]}"#] {
        assert!(serde_json::from_str::<Filter>(unknown).is_err(), "{unknown} would mean everything");
    }
    for field in ["timeout_ms", "idle_timeout_ms"] {
        let zero = format!(r#"{{"session_id":"s","program":"p","{field}":0}}"#);
        let zero: ostler::LaunchRequest = serde_json::from_str(&zero).unwrap();
        assert_eq!(zero.validate(), Err(LaunchError::ZeroTime { field: field.into() }));
    }
}

#[test]
fn f41_the_same_crashes_in_a_scripted_world_have_the_same_results() {
    let faults = [
        (fault(ActorName::Process(1), "Stop"), Some(Status::Lost)),
        (fault(ActorName::Process(1), "Drained"), Some(Status::Lost)),
        (fault(ActorName::Process(1), "TimerFired"), Some(Status::Lost)),
        (fault(ActorName::Process(1), "TreeEmpty"), Some(Status::Lost)),
        (fault(ActorName::Drain(1, Stream::Stdout), "EndOfStream"), Some(Status::TimedOut)),
        (fault(ActorName::Ticker(1), "TimerFired"), Some(Status::TimedOut)),
        (fault(ActorName::Supervisor, "Finished"), None),
        (fault(ActorName::Inbox, "Deliver"), None),
        (fault(ActorName::Kernel, "Seal"), None),
    ];
    for (fault, status) in faults {
        let world = World::new();
        // It takes longer than its leader to end, so that the tree is still looked at after the leader's exit.
        let slowly = OnTerminate::Exits { after: ms(300), says: String::new(), code: 0 };
        let helper = Descendant::new("helper").holds_pipes().on_terminate(slowly);
        world.program("work", Program::new().stdout_at(ms(1), "said\n").descendant(helper));
        world.program("other", Program::new().exits_at(ms(60_000), 9).on_terminate(OnTerminate::Ignores));
        let bench = Bench::scripted(&world, |config| config.faults = vec![fault.clone()]);
        let timeout = Duration::from_secs(10);
        let work = bench.launch(Command::new("work").timeout(timeout).progress(Duration::from_secs(1)));
        let other = bench.launch(Command::new("other"));
        if fault.message == "Stop" {
            work.cancel_within(Duration::ZERO).wait().unwrap();
        }
        let filter = Filter::results().and_handle(work.id());
        let entries = bench.session().inbox().receive(filter, 2, Duration::from_secs(100)).wait();
        let Some(status) = status else {
            assert_eq!(entries.unwrap_err(), Error::Closed, "{fault:?}");
            continue;
        };
        let entries = entries.unwrap();
        assert_eq!(entries.len(), 1, "{fault:?}: one result");
        assert_eq!(entries[0].record().unwrap().status, status, "{fault:?}");
        assert_eq!(bench.result(&other).exit_code, Some(9), "{fault:?}: another handle was hit");
    }
}

fn records(lines: Vec<Value>) -> Vec<Record> {
    lines.into_iter().map(|line| serde_json::from_value(line).unwrap()).collect()
}

fn f68_a_host_that_waits_for_its_signals_gets_each_of_them() {
    let _ground = Ground::take();
    let results = records(OtherHost::new(fixture!("a-host")).run(&["waits-for-signals", "/bin/true"]));
    assert_eq!(results.len(), 50);
    assert!(results.iter().all(|result| result.success == Some(true)), "{results:?}");
}

fn f42_a_host_that_ignores_sigchld_gets_results_all_the_same() {
    let _ground = Ground::take();
    let script = ["/bin/sh", "-c", "echo said; sleep 1000 & exit 3"];
    let began = Instant::now();
    let host = OtherHost::new(fixture!("a-host")).through(&["/usr/bin/env", "--ignore-signal=CHLD"]);
    let results = records(host.run(&[&["run", "60000"], &script[..]].concat()));
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
    let result = &results[0];
    // A helper does not ignore it.
    assert_eq!(
        (result.status, result.exit_code, result.signal.as_deref()),
        (Status::Completed, Some(3), None)
    );
    assert_eq!((result.usage.is_some(), result.stdout.as_str()), (true, "said\n"));
    let leftovers: Vec<u32> = result.leftovers.iter().flatten().map(|left| left.pid).collect();
    assert_eq!((leftovers.len(), living(&leftovers).len()), (1, 0));
}

fn f42_a_host_that_waits_for_any_child_gets_results_all_the_same() {
    let _ground = Ground::take();
    let results =
        OtherHost::new(fixture!("a-host")).run(&["reaps-everything", "/bin/sh", "-c", "echo said; exit 3"]);
    let results = records(results);
    assert_eq!(results.len(), 20);
    for result in results {
        assert_eq!((result.status, result.stdout.as_str()), (Status::Completed, "said\n"));
        // Whoever was first knows how it ended; the other one knows that it does not.
        match result.usage {
            Some(_) => assert_eq!(result.exit_code, Some(3)),
            None => assert_eq!((result.exit_code, result.signal), (Some(-1), None)),
        }
    }
}

/// A wall clock that is a day ahead at one look and a day behind at the next, for one program: the real one belongs to
/// the whole machine.
const JUMPING_CLOCK: &str = r"
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static _Atomic unsigned looks;
    int result = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME)
        now->tv_sec += (looks++ % 2 ? -1 : 1) * 24 * 3600;
    return result;
}
";

#[test]
fn f43_no_deadline_moves_when_the_wall_clock_jumps_a_day() {
    let _ground = Ground::take();
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("jump.so");
    let source = directory.path().join("jump.c");
    std::fs::write(&source, JUMPING_CLOCK).unwrap();
    let compiled =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    if !compiled.as_ref().is_ok_and(|status| status.success()) {
        return eprintln!("SKIPPED, as the clock is made with a C compiler: {compiled:?}");
    }
    let preload = format!("LD_PRELOAD={}", library.display());
    let host = OtherHost::new(fixture!("a-host")).through(&["/usr/bin/env", &preload]);
    let began = Instant::now();
    let results = records(host.run(&["run", "700", "/bin/sleep", "1000"]));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let result = &results[0];
    assert_eq!((result.status, result.signal.as_deref()), (Status::TimedOut, Some("SIGTERM")));
    let took = Duration::from_millis(result.duration_ms.unwrap());
    assert!(took >= Duration::from_millis(700) && took < Duration::from_millis(700) + SLACK, "{took:?}");
    let (started, ended) = (result.started_at.unwrap().0, result.ended_at.unwrap().0);
    assert!(started.abs_diff(ended) > 3_600_000, "the clock did not jump: {started} {ended}");
}

fn f44_two_graphs_in_one_process_share_nothing_but_the_numbers_of_their_handles() {
    let bench = Bench::new();
    let other = Ostler::start(config(&bench.path(""))).unwrap();
    let session = other.open_session_as(bench.session().id().clone()).wait().unwrap();
    let (handle, tree) = grown(&bench);
    let theirs = session.launch(Command::new("/bin/sleep").arg("1000")).wait().unwrap();
    assert_ne!(handle.id(), theirs.id());
    assert_ne!(handle.command_id(), theirs.command_id());
    let unknown = other.cancel(handle.id(), None, false).wait().unwrap_err();
    assert!(matches!(unknown, Error::Call(_)), "{unknown}");
    let tally = other.shutdown().wait().unwrap();
    assert_eq!(tally.killed, 1);
    assert_eq!(living(&tree), tree, "the other graph's tree was hit");
    assert_eq!(bench.run(sh("echo still here")).stdout, "still here\n");
    handle.cancel_within(Duration::ZERO).wait().unwrap();
    handle.cancel().wait().unwrap();
}

fn f44_shutdown_twice_is_answered_twice_and_without_work_at_once() {
    let bench = Bench::new();
    let began = Instant::now();
    let (one, other) = (bench.ostler().shutdown().begin(), bench.ostler().shutdown().begin());
    assert_eq!(one.wait().unwrap(), ostler::Tally::default());
    // The second is answered with the first, or finds the graph closed.
    assert!(matches!(other.wait(), Ok(_) | Err(Error::Closed)));
    assert_eq!(bench.ostler().shutdown().wait().unwrap_err(), Error::Closed);
    assert_eq!(bench.session().list().wait().map(|_| ()).unwrap_err(), Error::Closed);
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

fn f44_two_shutdowns_at_once_with_work_wait_for_the_same_end() {
    let bench = Bench::new();
    let (_, tree) = grown(&bench);
    let handles = bench.session().list().wait().unwrap();
    let (one, other) = (bench.ostler().shutdown().begin(), bench.ostler().shutdown().begin());
    // Else the grace would be waited for; it has to reach the graph while the shutdown is under way.
    handles[0].handle.cancel_within(Duration::ZERO).wait().unwrap();
    handles[0].handle.cancel_within(Duration::ZERO).wait().unwrap();
    let (one, other) = (one.wait().unwrap(), other.wait().unwrap());
    assert_eq!((one.killed, other), (1, one));
    assert_eq!(living(&tree), [0; 0]);
}

fn f44_a_dropped_handle_ends_nothing_and_the_last_name_of_the_graph_everything() {
    let bench = Bench::new();
    let go = bench.fifo("go");
    let handle = bench.launch(sh("read x <go; exit 8").current_dir(bench.path("")));
    let (id, containment) = (handle.id(), handle.record().containment);
    drop(handle);
    std::fs::write(go, "\n").unwrap();
    let filter = Filter::results().and_handle(id);
    let entries = bench.session().inbox().receive(filter, 1, LIMIT).wait().unwrap();
    assert_eq!(entries[0].record().unwrap().exit_code, Some(8));
    assert_eq!(containment, tier());

    let other = Ostler::start(config(&bench.path("other"))).unwrap();
    let session = other.open_session().wait().unwrap();
    let handle = session.launch(stubborn_tree()).wait().unwrap();
    while !handle.read().wait().unwrap().text().contains("ready\nready\nready\n") {
        handle.read().offset(6).wait_for(Duration::from_millis(10)).wait().unwrap();
    }
    let tree = group(handle.record().process_group_id.unwrap());
    let result = handle.record().output_path.with_file_name("result.json");
    drop((other, session));
    assert_eq!(living(&tree), tree, "a handle still names the graph");
    let began = Instant::now();
    drop(handle);
    assert!(began.elapsed() < ostler::DROP_LIMIT, "{:?}", began.elapsed());
    assert_eq!(living(&tree), [0; 0], "it has no grace");
    let result: Record = serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap();
    assert_eq!((result.status, result.stop_cause), (Status::Killed, Some(StopCause::HostGone)));
}

ostler_tests::in_every_tier!(
    f41_a_crash_of_the_actor_that_follows_a_process_kills_its_tree_and_nobody_elses,
    f41_a_crash_at_the_exit_still_tells_how_the_leader_ended,
    f41_a_crash_during_the_launch_leaves_neither_process_nor_directory,
    f41_a_crash_of_the_one_that_took_over_is_lost_all_the_same,
    f41_a_crash_of_a_drain_or_a_ticker_costs_its_own_work_only,
    f41_a_crash_of_an_actor_that_all_depend_on_ends_the_graph_and_every_tree,
    f68_a_host_that_waits_for_its_signals_gets_each_of_them,
    f42_a_host_that_ignores_sigchld_gets_results_all_the_same,
    f42_a_host_that_waits_for_any_child_gets_results_all_the_same,
    f44_two_graphs_in_one_process_share_nothing_but_the_numbers_of_their_handles,
    f44_shutdown_twice_is_answered_twice_and_without_work_at_once,
    f44_two_shutdowns_at_once_with_work_wait_for_the_same_end,
    f44_a_dropped_handle_ends_nothing_and_the_last_name_of_the_graph_everything,
);

#[test]
fn f51_a_forked_copy_of_the_host_is_told_at_once() {
    let _ground = Ground::take();
    let lines = OtherHost::new(fixture!("a-host")).in_any_tier().run(&["forks"]);
    assert_eq!((&lines[0]["told"], &lines[0]["lives"]), (&true.into(), &true.into()));
}

#[test]
fn f69_no_file_of_ours_gets_the_number_of_a_closed_standard_descriptor() {
    let _ground = Ground::take();
    let closed = ["/bin/sh", "-c", "exec \"$@\" <&- 2>&-", "sh"];
    let lines =
        OtherHost::new(fixture!("a-host")).in_any_tier().through(&closed).run(&["stdio", "echo", "said"]);
    assert_eq!(lines[0]["fds"], serde_json::json!(["/dev/null", "/dev/null"]));
    assert_eq!(lines[0]["result"]["stdout"], "said\n");
}

#[test]
fn f82_a_trace_into_a_full_disk_says_how_many_lines_are_missing() {
    let Some((bench, file)) = Bench::tracing_to_a_small_disk() else { return };
    for _ in 0..40 {
        bench.run(Command::new("/bin/true"));
    }
    bench.ostler().shutdown().wait().unwrap();
    // The graph has ended when its trace is flushed, or has had its time for it.
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, lines) = lines.split_last().unwrap();
    let lost = last["lost"].as_u64().expect("the last line says what is missing");
    assert!(lost > 0 && lines.len() > 50, "{lost} of {}", lines.len());
    // Deliveries are numbered: none is missing without being counted where it is missing.
    let mut next = 1;
    for line in lines {
        match (line["sequence"].as_u64(), line["lost"].as_u64()) {
            (Some(sequence), _) => {
                assert_eq!(sequence, next, "a gap that nobody counts");
                next += 1;
            }
            (None, Some(lost)) => next += lost,
            (None, None) => assert!(line["ostler_trace"].is_u64(), "{line}"),
        }
    }
}
