//! Faults of stopping: what obeys, what does not, and who asks at a bad moment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::sys::signal::Signal;
use ostler::{
    Command, Containment, Handle, LeftoversPolicy, Outcome, Record, Status, StopCause, TraceLog, TraceTo,
    testing::{Program, World},
};
use ostler_tests::{
    Bench, Ground, LIMIT, OtherHost, SLACK, alive, fixture, group, has_tier, ms, settles, sh, stopped,
};
use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt,
    sync::Barrier,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(100);

/// Starts a program that ignores SIGTERM, and waits until it does.
fn stubborn(bench: &Bench, grace: Duration) -> Handle {
    let handle = bench.launch(Command::new(fixture!("ignores-term")).grace(grace));
    bench.hears(&handle, "ready", 1);
    handle
}

/// The messages of a trace with their times.
fn deliveries(log: &TraceLog, message: &str) -> Vec<(Duration, serde_json::Value)> {
    let text = log.text();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .filter(|line| line["message"] == message)
        .map(|line| (Duration::from_micros(line["at_us"].as_u64().unwrap()), line["body"].clone()))
        .collect()
}

fn f11_a_program_that_ignores_sigterm_is_killed_at_its_grace() {
    let bench = Bench::new();
    let grace = Duration::from_millis(300);
    let handle = stubborn(&bench, grace);
    let began = Instant::now();
    let cancelled = handle.cancel().wait().unwrap();
    let took = began.elapsed();
    assert!(took >= grace && took < grace + SLACK, "{took:?}");
    let record = &cancelled.record;
    assert_eq!((cancelled.cancelled, record.status, record.exit_code), (true, Status::Killed, Some(-1)));
    assert_eq!(record.signal.as_deref(), Some("SIGKILL"));
    assert!(!alive(record.pid.unwrap()));
    assert_eq!(bench.unread(), 0, "the result went to whoever cancelled");
}

fn f12_a_program_that_cleans_up_after_sigterm_keeps_its_own_exit_code() {
    let bench = Bench::new();
    let file = bench.path("file");
    let args = [file.as_os_str(), "3".as_ref(), "200".as_ref()];
    let handle = bench.launch(Command::new(fixture!("cleans-up")).args(args));
    bench.hears(&handle, "ready", 1);
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!(std::fs::read_to_string(file).unwrap(), "cleaned up");
    assert_eq!((record.status, record.exit_code, record.signal.as_deref()), (Status::Killed, Some(3), None));
    assert_eq!(record.stdout, "ready\ncleaned up\n");
}

fn f13_a_descendant_has_the_whole_grace_even_if_its_leader_obeys_at_once() {
    let bench = Bench::new();
    let file = bench.path("file");
    let script = format!("{} {} 0 1000 & wait", fixture!("cleans-up"), file.display());
    let handle = bench.launch(sh(script).grace(Duration::from_secs(30)));
    bench.hears(&handle, "ready", 1);
    let began = Instant::now();
    let record = handle.cancel().wait().unwrap().record;
    assert!(began.elapsed() >= Duration::from_secs(1), "it was not waited for: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "its end was not seen: {:?}", began.elapsed());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "cleaned up");
    assert_eq!((record.status, record.signal.as_deref()), (Status::Killed, Some("SIGTERM")));
    let leftovers = record.leftovers.as_deref().unwrap();
    let outcomes: Vec<_> = leftovers.iter().map(|left| (left.name.as_str(), left.outcome)).collect();
    assert_eq!(outcomes, [("cleans-up", Outcome::Terminated)]);
}

fn f13_a_descendant_that_outstays_the_grace_is_killed() {
    let bench = Bench::new();
    let grace = Duration::from_millis(500);
    let handle = bench.launch(sh(format!("{} & wait", fixture!("ignores-term"))).grace(grace));
    bench.hears(&handle, "ready", 1);
    let began = Instant::now();
    let record = handle.cancel().wait().unwrap().record;
    let took = began.elapsed();
    assert!(took >= grace && took < grace + SLACK, "{took:?}");
    let outcomes: Vec<_> = record.leftovers.iter().flatten().map(|left| left.outcome).collect();
    assert_eq!(outcomes, [Outcome::Killed]);
    assert!(group(record.process_group_id.unwrap()).is_empty());
}

fn f13_a_stopped_program_is_continued_so_that_it_can_obey() {
    let bench = Bench::new();
    let handle = bench
        .launch(sh("trap 'echo bye; exit 4' TERM; kill -STOP $$; sleep 1000").grace(Duration::from_secs(5)));
    let pid = handle.record().pid.unwrap();
    // In some tiers it is not this process's child, and then the kernel tells its stop to another.
    assert_eq!(settles(|| if stopped(pid) { Vec::new() } else { vec![pid] }), [0; 0], "it was not stopped");
    let began = Instant::now();
    let record = handle.cancel().wait().unwrap().record;
    assert!(began.elapsed() < Duration::from_secs(4), "it was never continued: {record:?}");
    assert_eq!((record.status, record.exit_code, record.signal.as_deref()), (Status::Killed, Some(4), None));
    assert_eq!(record.stdout, "bye\n");
}

fn f14_a_cancel_at_the_instant_of_exit_gives_one_true_result() {
    let bench = Bench::new();
    let (mut completed, mut killed) = (Vec::new(), 0);
    // The moment creeps after the exit: later when the cancel came first, earlier when the exit did.
    let mut delay = Duration::from_micros(500);
    for round in 0..1_000 {
        let handle = bench.launch(Command::new("/bin/false"));
        let until = Instant::now() + delay;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let cancelled = handle.cancel().wait().unwrap();
        let record = &cancelled.record;
        let end = (record.exit_code, record.signal.as_deref());
        if cancelled.cancelled {
            assert_eq!(record.status, Status::Killed, "round {round}");
            // A signal that went out while the process was on its way out no longer changes how it ended.
            assert!(matches!(end, (Some(-1), Some("SIGTERM")) | (Some(1), None)), "round {round}: {end:?}");
            killed += 1;
            delay += Duration::from_micros(7);
        } else {
            assert_eq!((record.status, end), (Status::Completed, (Some(1), None)), "round {round}");
            completed.push(handle.id());
            delay = delay.saturating_sub(Duration::from_micros(7));
        }
    }
    assert!(
        killed > 50 && completed.len() > 50,
        "the instant was missed: {killed} killed, {} completed",
        completed.len()
    );
    let entries = bench.session().inbox().drain().wait().unwrap();
    let delivered: Vec<_> = entries.iter().map(|entry| entry.record().unwrap().handle_id).collect();
    let by_id = |ids: &[_]| ids.iter().map(|id| (*id, ())).collect::<BTreeMap<_, _>>();
    assert_eq!(delivered.len(), completed.len(), "one result each");
    assert_eq!(by_id(&delivered), by_id(&completed));
}

fn f14_a_cancel_that_is_asked_after_the_exit_never_claims_to_have_killed() {
    let bench = Bench::new();
    for round in 0..300 {
        let handle = bench.launch(Command::new("/bin/false"));
        let pid = handle.record().pid.unwrap();
        // Its zombie is ostler's to take away, or its helper's.
        assert_eq!(settles(|| if alive(pid) { vec![pid] } else { Vec::new() }), [0; 0], "round {round}");
        let cancelled = handle.cancel().wait().unwrap();
        assert_eq!(
            (cancelled.cancelled, cancelled.record.status),
            (false, Status::Completed),
            "round {round}"
        );
        assert_eq!(*cancelled.record, bench.result(&handle), "round {round}");
    }
}

fn f15_two_cancels_at_once_get_one_result_and_the_second_means_now() {
    let bench = Bench::new();
    let handle = stubborn(&bench, LONG);
    let (began, at_once) = (Instant::now(), Barrier::new(2));
    let cancel = || {
        at_once.wait();
        handle.cancel().wait().unwrap()
    };
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(cancel);
        (cancel(), other.join().unwrap())
    });
    assert!(began.elapsed() < Duration::from_secs(10), "nothing escalated: {:?}", began.elapsed());
    assert_eq!(one, other);
    assert_eq!((one.cancelled, one.record.status), (true, Status::Killed));
    assert_eq!(one.record.signal.as_deref(), Some("SIGKILL"));
    assert_eq!(bench.unread(), 0);
}

fn f16_a_cancel_after_the_end_sends_no_signal_and_gives_the_stored_result() {
    let log = TraceLog::default();
    let bench = Bench::with(|config| config.trace = TraceTo::Memory(log.clone()));
    let handle = bench.launch(sh("echo said; exit 5"));
    let result = bench.result(&handle);
    for _ in 0..3 {
        let late = handle.cancel().wait().unwrap();
        assert!(!late.cancelled);
        assert_eq!(*late.record, result);
    }
    assert_eq!(deliveries(&log, "Cancel").len(), 3);
    assert_eq!(deliveries(&log, "Signal"), [], "a signal went out");
    assert_eq!(bench.unread(), 0, "the result was delivered before");
}

/// A process of nobody's with a number that was somebody's, leader of its own group.
struct Innocent(std::process::Child);
impl Innocent {
    /// None, and a line on stderr, where numbers can't be chosen (/proc/sys/kernel/ns_last_pid, proc(5)).
    fn with(pid: u32) -> Option<Innocent> {
        let until = Instant::now() + LIMIT;
        loop {
            if let Err(error) = std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()) {
                eprintln!("SKIPPED: the next process's number can't be chosen: {error}");
                return None;
            }
            let child =
                std::process::Command::new("/bin/sleep").arg("1000").process_group(0).spawn().unwrap();
            let innocent = Innocent(child);
            if innocent.0.id() == pid {
                return Some(innocent);
            }
            // Another process of this machine was faster, or the number is still held.
            assert!(Instant::now() < until, "the number {pid} is not free");
        }
    }
}
impl Drop for Innocent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn f17_the_next_one_with_the_leaders_number_is_not_hit_by_a_late_cancel() {
    let bench = Bench::new();
    let handle = bench.launch(sh("exit 5"));
    let result = bench.result(&handle);
    let Some(innocent) = Innocent::with(result.pid.unwrap()) else { return };
    assert_eq!(*handle.cancel().wait().unwrap().record, result);
    handle.cancel_within(Duration::ZERO).wait().unwrap();
    bench.session().end().wait().unwrap();
    assert!(alive(innocent.0.id()), "somebody else's process was hit");
}

fn f17_nor_by_the_end_of_what_the_leader_has_left() {
    if has_tier(Containment::Group) {
        // There, who is left is a member of the leader's group, and so the number is not free.
        return eprintln!("SKIPPED: the tier group does not see who left the group");
    }
    let mut bench = Bench::new();
    bench.has_escapees();
    let script = "setsid sh -c 'echo daemon; exec sleep 1000' & read x <go";
    let go = bench.fifo("go");
    let command = sh(script).current_dir(bench.path("")).leftovers(LeftoversPolicy::Keep);
    let handle = bench.launch(command);
    bench.hears(&handle, "daemon", 1);
    std::fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    let left = result.leftovers.as_ref().unwrap()[0].pid;
    let Some(innocent) = Innocent::with(result.pid.unwrap()) else { return };
    assert!(alive(left), "it was to be kept");
    bench.session().end().wait().unwrap();
    assert!(!alive(left), "it is to end with the session");
    assert!(alive(innocent.0.id()), "somebody else's process was hit");
}

#[test]
fn f18_a_process_that_cannot_be_killed_is_reported_in_time_and_holds_nobody_up() {
    let log = TraceLog::default();
    let world = World::new();
    world.program("stuck", Program::new().stdout_at(ms(0), "in a device\n").unkillable());
    world.program("make", Program::new().stdout_at(ms(100), "made\n").exits_at(ms(200), 0));
    let bench = Bench::scripted(&world, |config| config.trace = TraceTo::Memory(log.clone()));
    let stuck = bench.launch(Command::new("stuck"));
    let cancel = stuck.cancel().begin();
    // What comes meanwhile is not held up.
    let made = bench.run(Command::new("make"));
    assert_eq!((made.status, made.duration_ms), (Status::Completed, Some(200)));
    let record = cancel.wait().unwrap().record;
    assert_eq!((record.status, record.exit_code, record.ended_at), (Status::Killed, None, None));
    assert_eq!(record.stdout, "in a device\n");
    let outcomes: Vec<_> = record.leftovers.iter().flatten().map(|left| (left.pid, left.outcome)).collect();
    assert_eq!(outcomes, [(record.pid.unwrap(), Outcome::Survived)]);
    let reported = deliveries(&log, "Deliver");
    // A grace of 2 s, then a second for the kill.
    let [made, stuck] = [Duration::from_millis(200), Duration::from_secs(3)];
    assert_eq!(reported.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [made, stuck]);
}

fn f19_a_session_end_with_200_stubborn_programs_takes_one_grace() {
    let bench = Bench::new();
    let grace = Duration::from_secs(1);
    let command = Command::new(fixture!("ignores-term")).grace(grace);
    let handles: Vec<Handle> = (0..200).map(|_| bench.launch(command.clone())).collect();
    handles.iter().for_each(|handle| bench.hears(handle, "ready", 1));
    let began = Instant::now();
    let tally = bench.session().end().wait().unwrap();
    let took = began.elapsed();
    assert!(took >= grace && took < grace * 4, "{took:?}");
    assert_eq!((tally.killed, tally.survivors), (200, 0));
    assert!(handles.iter().all(|handle| !alive(handle.record().pid.unwrap())));
    let results = bench.session().inbox().drain().wait().unwrap();
    assert_eq!(results.len(), 200);
    assert!(results.iter().all(|entry| entry.record().unwrap().signal.as_deref() == Some("SIGKILL")));
}

/// Nothing may live on without a lease, whatever was asked for about leftovers.
fn a_lost_lease_ends_what_runs_in_its_grace_and_what_was_kept() {
    let bench = Bench::new();
    let grace = Duration::from_millis(300);
    let stubborn = stubborn(&bench, grace);
    let keeps = bench.launch(sh("sleep 1000 & echo daemon").leftovers(LeftoversPolicy::Keep));
    let left = bench.result(&keeps).leftovers.unwrap()[0].pid;
    assert!(alive(left), "it was to be kept");

    let began = Instant::now();
    let (kept, revoked) = (keeps.revoke().begin(), stubborn.revoke().wait().unwrap());
    let took = began.elapsed();
    assert!(took >= grace && took < grace + SLACK, "{took:?}");
    let record = &revoked.record;
    assert_eq!((record.status, record.stop_cause), (Status::Killed, Some(StopCause::LeaseLost)));
    assert_eq!((record.signal.as_deref(), revoked.taken), (Some("SIGKILL"), false));
    assert_eq!(bench.result(&stubborn), **record, "it is in the inbox");
    let kept = kept.wait().unwrap().record;
    assert_eq!((kept.status, kept.stop_cause), (Status::Completed, None), "its result was out");
    assert_eq!(kept.leftovers.as_ref().unwrap()[0].outcome, Outcome::Terminated);
    assert!(!alive(left) && !alive(record.pid.unwrap()));
}

/// A host that is stopped for longer than the command's idle time.
fn f70_a_host_that_did_not_run_is_not_the_commands_silence() {
    let _ground = Ground::take();
    // It says something all the time, and ends after the host was continued.
    let script = "i=0; while [ $i -lt 15 ]; do echo $i; sleep 0.1; i=$((i+1)); done";
    for _ in 0..3 {
        let host = OtherHost::new(fixture!("a-host"));
        let (mut running, _) = host.start(&["idles", "400", "/bin/sh", "-c", script]);
        running.signal(Signal::SIGSTOP);
        // The fault is that time passes meanwhile.
        std::thread::sleep(Duration::from_millis(1_000));
        running.signal(Signal::SIGCONT);
        let result: Record = serde_json::from_value(running.line()).unwrap();
        assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)), "{result:?}");
        assert!(running.ends().success());
    }
}

/// The command ends in time; the host is stopped until after its deadline.
fn f71_a_command_that_ended_in_time_has_not_missed_its_deadline_because_its_host_was_stopped() {
    let _ground = Ground::take();
    let host = OtherHost::new(fixture!("a-host"));
    let (mut running, _) = host.start(&["idles", "300", "/bin/sh", "-c", "sleep 0.1; exit 3"]);
    running.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(800));
    running.signal(Signal::SIGCONT);
    let result: Record = serde_json::from_value(running.line()).unwrap();
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(3)), "{result:?}");
    assert!(running.ends().success());
}

fn f20_a_launch_in_flight_at_the_end_of_its_session_leaves_nothing() {
    for starts in [true, false] {
        let bench = Bench::new();
        // A program that is being written to is tried again for half a second: so long the launch is in flight.
        let program = bench.path("program");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let busy = std::fs::File::options().append(true).open(&program).unwrap();
        let launch = bench.session().launch(Command::new(program).arg("1000")).begin();
        let end = bench.session().end().begin();
        // Requests are taken up in order: with this answer, both are.
        bench.ostler().sleep(Duration::ZERO).wait().unwrap();
        let busy = (!starts).then_some(busy);
        let tally = end.wait().unwrap();
        let error = launch.wait().unwrap_err();
        drop(busy);
        match starts {
            // It did start, and was undone.
            true => assert!(error.to_string().contains("is closed"), "{error}"),
            false => assert!(error.to_string().contains("being written to"), "{error}"),
        }
        assert_eq!((tally.undone, tally.killed, tally.completed), (1, 0, 0));
        assert_eq!(tally.unread, 0, "there never was a handle");
        let again = bench.refused(Command::new("/bin/true"));
        assert!(matches!(again, ostler::LaunchError::SessionClosed { .. }), "{again:?}");
    }
}

fn f20_launches_that_race_with_the_end_of_their_session_leave_nothing() {
    let bench = Bench::new();
    let mut refused = 0;
    for round in 0..50 {
        let session = bench.ostler().open_session().wait().unwrap();
        let launch = session.launch(Command::new("/bin/sleep").arg("1000")).begin();
        let tally = session.end().wait().unwrap();
        match launch.wait() {
            Ok(handle) => {
                assert!(!alive(handle.record().pid.unwrap()), "round {round}");
                assert_eq!((tally.killed, tally.undone), (1, 0), "round {round}");
            }
            Err(ostler::Error::Launch(ostler::LaunchError::SessionClosed { .. })) => {
                assert_eq!((tally.killed, tally.undone), (0, 1), "round {round}");
                refused += 1;
            }
            Err(other) => panic!("round {round}: {other}"),
        }
        assert!(ostler_tests::children().iter().all(|pid| !alive(*pid)), "round {round}");
    }
    assert!(refused > 0, "no launch was in flight");
}

fn f21_the_signal_that_ended_a_program_has_its_right_name() {
    let bench = Bench::new();
    let named = [
        ("SEGV", "SIGSEGV"),
        ("ABRT", "SIGABRT"),
        ("TERM", "SIGTERM"),
        ("34", "SIGRTMIN"),
        ("37", "SIGRTMIN+3"),
        ("64", "SIGRTMIN+30"),
    ];
    for (signal, name) in named {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let result = bench.run(Command::new("/bin/bash").args(["-c", script.as_str()]));
        assert_eq!(result.signal.as_deref(), Some(name));
        assert_eq!(
            (result.status, result.exit_code),
            (Status::Completed, Some(-1)),
            "nobody of ours sent it"
        );
    }
}

ostler_tests::in_every_tier!(
    f11_a_program_that_ignores_sigterm_is_killed_at_its_grace,
    f12_a_program_that_cleans_up_after_sigterm_keeps_its_own_exit_code,
    f13_a_descendant_has_the_whole_grace_even_if_its_leader_obeys_at_once,
    f13_a_descendant_that_outstays_the_grace_is_killed,
    f13_a_stopped_program_is_continued_so_that_it_can_obey,
    f14_a_cancel_at_the_instant_of_exit_gives_one_true_result,
    f14_a_cancel_that_is_asked_after_the_exit_never_claims_to_have_killed,
    f15_two_cancels_at_once_get_one_result_and_the_second_means_now,
    f16_a_cancel_after_the_end_sends_no_signal_and_gives_the_stored_result,
    f17_the_next_one_with_the_leaders_number_is_not_hit_by_a_late_cancel,
    f17_nor_by_the_end_of_what_the_leader_has_left,
    f19_a_session_end_with_200_stubborn_programs_takes_one_grace,
    f20_a_launch_in_flight_at_the_end_of_its_session_leaves_nothing,
    a_lost_lease_ends_what_runs_in_its_grace_and_what_was_kept,
    f70_a_host_that_did_not_run_is_not_the_commands_silence,
    f71_a_command_that_ended_in_time_has_not_missed_its_deadline_because_its_host_was_stopped,
    f20_launches_that_race_with_the_end_of_their_session_leave_nothing,
    f21_the_signal_that_ended_a_program_has_its_right_name,
);
