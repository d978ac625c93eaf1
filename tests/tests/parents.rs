//! Faults of our own processes: that they are taken for the command, or wait for the wrong thing; and what ends a tree is not in
//! hand any more when it is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use ostler::{Command, Containment, Record, Status};
use ostler_tests::{
    Bench, Ground, LIMIT, OtherHost, RunningHost, SLACK, alive, children, fixture, group, guards_of,
    has_tier, marked, settles, settles_within, sh,
};
use serde_json::Value;
use std::{fs, process, time::Duration};

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Everybody in whose arguments a text stands, whoever it is.
fn telling(text: &str) -> Vec<u32> {
    let everybody = fs::read_dir("/proc").unwrap().flatten();
    let pids = everybody.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(text.len()).any(|words| words == text.as_bytes())
    })
    .collect()
}

fn f63_the_text_of_a_command_is_among_nobody_elses_arguments() {
    let bench = Bench::new();
    let mark = bench.path("mark").display().to_string();
    let handle = bench.launch(Command::new(fixture!("ignores-term")).arg(&mark));
    bench.hears(&handle, "ready", 1);
    let leader = handle.record().pid.unwrap();
    assert_eq!(telling(&mark), [leader]);
    // So whoever shoots by that text hits the command alone.
    telling(&mark).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
    let result = bench.result(&handle);
    assert_eq!((result.status, result.signal.as_deref()), (Status::Completed, Some("SIGKILL")));
}

fn f63_a_tool_that_kills_its_parent_hits_only_itself() {
    let mut bench = Bench::new();
    // Without its helper a leader is an orphan too.
    bench.has_escapees();
    let mark = bench.path("mark").display().to_string();
    let other = bench.launch(Command::new(fixture!("ignores-term")));
    bench.hears(&other, "ready", 1);
    // It shoots only when it counts as started.
    let go = bench.fifo("go");
    let script = "setsid \"$1\" \"$0\" & read x <go; kill -9 $PPID; wait";
    let command = Command::new("/bin/sh").args(["-c", script, &mark]).arg(fixture!("ignores-term"));
    let handle = bench.launch(command.current_dir(bench.path("")));
    bench.hears(&handle, "ready", 1);
    fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.exit_code), (Status::Lost, Some(-1)), "{result:?}");
    if has_tier(Containment::Subreaper) {
        assert_eq!(result.leftovers, None, "nobody could look");
    }
    assert!(group(result.process_group_id.unwrap()).is_empty());
    if !has_tier(Containment::Group) {
        assert_eq!(settles(|| marked(&mark)), [0; 0], "found another way");
    }
    for pid in marked(&mark) {
        send(pid, Signal::SIGKILL);
    }
    assert!(alive(other.record().pid.unwrap()), "another handle was hit");
    assert_eq!(bench.run(sh("echo next")).stdout, "next\n");
    other.cancel_within(Duration::ZERO).wait().unwrap();
    assert_eq!(other.cancel().wait().unwrap().record.signal.as_deref(), Some("SIGKILL"));
}

fn f63_a_parent_that_is_stopped_or_told_to_end_goes_on() {
    let bench = Bench::new();
    for signal in ["STOP", "TSTP", "TERM", "INT", "HUP", "USR1", "USR2", "SEGV"] {
        let result = bench.run(sh(format!("kill -{signal} $PPID; echo on; exit 3")));
        assert_eq!(
            (result.status, result.exit_code, result.stdout.as_str()),
            (Status::Completed, Some(3), "on\n"),
            "{signal}"
        );
    }
}

fn f64_no_commands_parent_is_the_host_or_that_of_another_command() {
    let bench = Bench::new();
    let other = bench.launch(Command::new(fixture!("ignores-term")));
    bench.hears(&other, "ready", 1);
    // It shoots at its parent's children, and so at itself.
    let script =
        "echo $PPID; for pid in $(cat /proc/$PPID/task/*/children); do kill -9 $pid; done; sleep 1000";
    let result = bench.run(sh(script));
    assert_eq!((result.status, result.signal.as_deref()), (Status::Completed, Some("SIGKILL")));
    let parent: u32 = result.stdout.trim().parse().unwrap();
    assert_ne!(parent, process::id());
    assert!(alive(other.record().pid.unwrap()), "another command was hit");
    let parent_of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    assert_ne!(parent_of(other.record().pid.unwrap()), parent, "two commands have one parent");
    assert_eq!(parent_of(parent), guards_of(process::id())[0], "the guard is");
    other.cancel_within(Duration::ZERO).wait().unwrap();
    other.cancel().wait().unwrap();
}

fn f66_a_host_that_is_a_subreaper_gets_no_orphans() {
    // This process is one, as long as the bench stands.
    let bench = Bench::new();
    let before = children();
    let mark = bench.path("mark").display().to_string();
    for _ in 0..20 {
        let script = "(setsid sh -c : \"$0\" &) ; (sh -c : \"$0\" &) ; exit 0";
        let result = bench.run(Command::new("/bin/sh").args(["-c", script, &mark]));
        assert_eq!(result.status, Status::Completed);
    }
    // Those that nobody ends have ended.
    assert_eq!(settles(|| marked(&mark)), [0; 0]);
    let mut new = children();
    new.retain(|pid| !before.contains(pid));
    assert_eq!(new, [0; 0], "zombies are left");
}

fn f90_a_guard_that_somebody_ends_is_replaced_and_nobody_else_is_hit() {
    let bench = Bench::new();
    let handle = bench.launch(Command::new(fixture!("ignores-term")));
    bench.hears(&handle, "ready", 1);
    let at_first = bench.ostler().containment();
    let mut guard = guards_of(process::id())[0];
    for round in 0..4 {
        send(guard, Signal::SIGKILL);
        // Each of these waits for the next one, if it needs it.
        let together: Vec<_> = (0..3).map(|_| bench.launch(sh("echo next"))).collect();
        for handle in together {
            assert_eq!(bench.result(&handle).stdout, "next\n", "round {round}");
        }
        let mut next = None;
        let missing = settles_within(LIMIT, || {
            next = guards_of(process::id()).into_iter().find(|pid| *pid != guard && alive(*pid));
            if next.is_some() && bench.ostler().containment() == at_first { vec![] } else { vec![round] }
        });
        assert!(missing.is_empty(), "no new guard: {:?}", bench.ostler().containment());
        guard = next.unwrap();
    }
    assert!(alive(handle.record().pid.unwrap()), "a command was hit");
    handle.cancel_within(Duration::ZERO).wait().unwrap();
    assert_eq!(handle.cancel().wait().unwrap().record.signal.as_deref(), Some("SIGKILL"));
}

fn f63_a_guard_that_is_stopped_goes_on() {
    let bench = Bench::new();
    let guard = guards_of(process::id())[0];
    send(guard, Signal::SIGSTOP);
    // More than there are idle helpers, so that it is needed.
    let together: Vec<_> = (0..4).map(|_| bench.launch(sh("echo on"))).collect();
    for handle in together {
        assert_eq!(bench.result(&handle).stdout, "on\n");
    }
    // And at the end of the graph.
    send(guard, Signal::SIGSTOP);
}

fn f67_a_zombie_that_a_debugger_holds_costs_nothing() {
    let bench = Bench::new();
    let go = bench.fifo("go");
    let handle = bench.launch(sh("echo ready; read x <go; exit 3").current_dir(bench.path("")));
    bench.hears(&handle, "ready", 1);
    let leader = Pid::from_raw(handle.record().pid.unwrap().cast_signed());
    ptrace::seize(leader, ptrace::Options::empty()).unwrap();
    fs::write(go, "\n").unwrap();
    // Dead, and not taken away: its parent hears of it when the debugger has.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(leader), flags).unwrap();
    let ours = || {
        let pids = guards_of(process::id()).into_iter().chain([process::id()]);
        pids.flat_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<u64> = stat
                .rsplit(')')
                .next()
                .unwrap()
                .split_ascii_whitespace()
                .filter_map(|field| field.parse().ok())
                .collect();
            // utime and stime, in ticks of 10 ms; numbers only, so the state is not counted.
            [fields[10], fields[11]]
        })
        .sum::<u64>()
    };
    let before = ours();
    // Not to let something happen: this is the time in which nothing should.
    std::thread::sleep(Duration::from_secs(1));
    let ticks = ours() - before;
    assert!(ticks < 20, "{ticks} ticks of processor time");
    waitid(Id::Pid(leader), WaitPidFlag::WEXITED).unwrap();
    assert_eq!(bench.result(&handle).exit_code, Some(3));
}

fn f91_what_a_helper_has_said_is_heard_also_if_it_is_told_something_at_that_moment() {
    let bench = Bench::new();
    for round in 0..100 {
        let handle = bench.launch(sh(format!("sleep 0.00{}", round % 10)));
        let cancelled = handle.cancel().wait().unwrap();
        // Null would mean that its word was lost.
        assert!(cancelled.record.leftovers.is_some(), "round {round}: {:?}", cancelled.record);
        if !cancelled.cancelled {
            assert!(bench.result(&handle).leftovers.is_some(), "round {round}");
        }
    }
}

fn f94_without_pidfds_each_member_of_a_cgroup_is_asked_to_end() {
    if !has_tier(Containment::Cgroup) {
        return eprintln!("SKIPPED: only a cgroup knows its members without pidfds");
    }
    let _ground = Ground::take();
    let host = OtherHost::new(fixture!("a-host")).refusing("pidfd");
    let file = host.root().with_file_name("file");
    let script = "setsid \"$0\" \"$1\" 0 0 & wait";
    let args = ["run", "500", "/bin/sh", "-c", script, fixture!("cleans-up"), file.to_str().unwrap()];
    let result: Record = serde_json::from_value(host.run(&args)[0].clone()).unwrap();
    assert_eq!(result.status, Status::TimedOut);
    assert_eq!(fs::read_to_string(file).unwrap(), "cleaned up", "{result:?}");
}

fn pid(told: &Value, whose: &str) -> u32 {
    told[whose].as_u64().unwrap().try_into().unwrap()
}

/// A host that changes under its commands, and the word that these have among their arguments.
fn changing(ground: &mut Ground, mode: &[&str]) -> (RunningHost, Value, String) {
    ground.has_escapees();
    let host = OtherHost::new(fixture!("changes"));
    let mark = host.root().to_str().unwrap().replace("artifacts", "mark");
    let (running, told) = host.start(&[&[mode[0], mark.as_str()], &mode[1..]].concat());
    // `setsid` may have forked, and end a moment later.
    let wrong = settles(|| if marked(&mark).len() == 4 { vec![] } else { marked(&mark) });
    assert!(wrong.is_empty(), "the tree is not whole: {told} {wrong:?}");
    (running, told, mark)
}

/// Those whose end is promised: in the tier `group` the leader's group.
fn left(mark: &str, leader: u32) -> Vec<u32> {
    if has_tier(Containment::Group) { group(leader) } else { marked(mark) }
}

fn ends(ground: &Ground, host: RunningHost, mark: &str) {
    drop(host);
    while let Some(pid) = marked(mark).pop() {
        send(pid, Signal::SIGKILL);
        settles(|| if alive(pid) { vec![pid] } else { vec![] });
    }
    ground.check(false);
}

fn f65_nothing_outlives_a_host_that_becomes_another_program() {
    let mut ground = Ground::take();
    let (mut host, told, mark) = changing(&mut ground, &["exec"]);
    host.say("now");
    assert_eq!(settles_within(SLACK, || left(&mark, pid(&told, "leader"))), [0; 0]);
    assert!(alive(pid(&told, "host")), "it did not go on");
    host.kill();
    host.ends();
    ends(&ground, host, &mark);
}

/// A disk that does not answer, as long as this lives.
struct FrozenDisk(tempfile::TempDir);
impl FrozenDisk {
    /// None without the right to make one, which is said aloud.
    fn make() -> Option<FrozenDisk> {
        let disk = FrozenDisk(tempfile::tempdir().unwrap());
        let script =
            "set -e; cd \"$0\"; truncate -s 8M image; mkfs.ext4 -q image; mkdir at; mount -o loop image at";
        let output =
            process::Command::new("/bin/sh").args(["-c", script]).arg(disk.0.path()).output().unwrap();
        if !output.status.success() {
            eprintln!("SKIPPED: no disk can be made: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Some(disk)
    }
    fn freezes(&self, how: &str) {
        let status = process::Command::new("fsfreeze").arg(how).arg(self.0.path().join("at")).status();
        assert!(status.unwrap().success());
    }
}
impl Drop for FrozenDisk {
    fn drop(&mut self) {
        let _ = process::Command::new("umount").arg(self.0.path().join("at")).status();
    }
}

fn f65_nothing_outlives_a_host_that_is_killed_while_a_thread_of_it_hangs_in_a_disk() {
    let mut ground = Ground::take();
    let Some(disk) = FrozenDisk::make() else { return };
    let file = disk.0.path().join("at/file");
    let (mut host, told, mark) = changing(&mut ground, &["hang", file.to_str().unwrap()]);
    disk.freezes("--freeze");
    host.say("now");
    host.line();
    let in_disk = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", pid(&told, "host"))).unwrap().flatten();
        let states = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
        states.filter(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" D"))).count()
    };
    assert!(settles(|| if in_disk() > 0 { vec![] } else { vec![()] }).is_empty(), "no thread hangs");
    host.kill();
    let left = settles_within(SLACK, || left(&mark, pid(&told, "leader")));
    let hung = in_disk();
    disk.freezes("--unfreeze");
    host.ends();
    assert_eq!((left, hung), (vec![], 1), "those that are left, and whether it still hung");
    ends(&ground, host, &mark);
}

fn is_killed_all_the_same(mode: &str) -> Option<Value> {
    let mut ground = Ground::take();
    let (mut host, told, mark) = changing(&mut ground, &[mode]);
    host.say("now");
    let record: Record = serde_json::from_value(host.line()).unwrap();
    assert_eq!((record.status, record.exit_code), (Status::Killed, Some(-1)), "{mode}: {record:?}");
    assert_eq!(settles(|| left(&mark, pid(&told, "leader"))), [0; 0], "{mode}: {record:?}");
    let next = (mode == "user").then(|| host.line());
    assert!(host.ends().success());
    ends(&ground, host, &mark);
    next
}

fn f57_a_tree_is_ended_though_the_cgroups_are_covered() {
    is_killed_all_the_same("covered");
}

fn f57_a_tree_is_ended_though_the_host_is_another_user() {
    let next = is_killed_all_the_same("user").unwrap();
    // Nothing is started with the rights that the host has given up. Nor can it make a cgroup any more, in the one tier that it allows.
    if has_tier(Containment::Cgroup) {
        assert!(next["refused"].as_str().unwrap().contains("cgroup"), "{next}");
    } else {
        let result: Record = serde_json::from_value(next["result"].clone()).unwrap();
        assert_eq!((result.status, result.stdout.as_str()), (Status::Completed, "65534\n"), "{result:?}");
    }
}

fn f58_a_tree_is_ended_though_there_is_no_descriptor_left() {
    is_killed_all_the_same("descriptors");
}

fn f97_the_time_of_a_command_is_its_own_also_if_the_host_was_stopped() {
    const STOPPED: Duration = Duration::from_secs(2);
    let ground = Ground::take();
    let host = OtherHost::new(fixture!("a-host"));
    let done = host.root().with_file_name("done");
    let script = format!("sleep 0.2; : >{}", done.display());
    let (mut running, _) = host.start(&["idles", "60000", "/bin/sh", "-c", &script]);
    running.signal(Signal::SIGSTOP);
    assert!(settles_within(LIMIT, || if done.exists() { vec![] } else { vec![()] }).is_empty());
    // Not to let something happen: this is how long it is stopped.
    std::thread::sleep(STOPPED);
    running.signal(Signal::SIGCONT);
    let result: Record = serde_json::from_value(running.line()).unwrap();
    let took = Duration::from_millis(result.duration_ms.unwrap());
    assert!(took >= Duration::from_millis(200) && took < STOPPED, "{took:?}");
    let (from, to) = (result.started_at.unwrap().0, result.ended_at.unwrap().0);
    assert!(to - from < 2_000, "{from} to {to}");
    running.ends();
    drop(running);
    ground.check(false);
}

ostler_tests::in_every_tier!(
    f63_the_text_of_a_command_is_among_nobody_elses_arguments,
    f63_a_tool_that_kills_its_parent_hits_only_itself,
    f63_a_parent_that_is_stopped_or_told_to_end_goes_on,
    f63_a_guard_that_is_stopped_goes_on,
    f67_a_zombie_that_a_debugger_holds_costs_nothing,
    f91_what_a_helper_has_said_is_heard_also_if_it_is_told_something_at_that_moment,
    f94_without_pidfds_each_member_of_a_cgroup_is_asked_to_end,
    f64_no_commands_parent_is_the_host_or_that_of_another_command,
    f66_a_host_that_is_a_subreaper_gets_no_orphans,
    f90_a_guard_that_somebody_ends_is_replaced_and_nobody_else_is_hit,
    f65_nothing_outlives_a_host_that_becomes_another_program,
    f65_nothing_outlives_a_host_that_is_killed_while_a_thread_of_it_hangs_in_a_disk,
    f57_a_tree_is_ended_though_the_cgroups_are_covered,
    f57_a_tree_is_ended_though_the_host_is_another_user,
    f58_a_tree_is_ended_though_there_is_no_descriptor_left,
    f97_the_time_of_a_command_is_its_own_also_if_the_host_was_stopped,
);
