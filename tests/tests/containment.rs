//! Faults of containment: the host dies, or the machine has not what a tier needs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ostler::{Containment, Outcome, Record, Status};
use ostler_tests::{
    Ground, OtherHost, RunningHost, SLACK, alive, begun, cgroups_of, fixture, group, has_tier, marked,
    settles, settles_within,
};
use serde_json::Value;

/// A word that no other process has among its arguments.
fn mark(host: &OtherHost) -> String {
    host.root().to_str().unwrap().replace("artifacts", "mark")
}

fn pid(told: &Value, whose: &str) -> u32 {
    told[whose].as_u64().unwrap().try_into().unwrap()
}

/// Where orphans of dead hosts come to.
fn orphanage() -> Ground {
    let mut ground = Ground::take();
    ground.has_escapees();
    ground
}

/// Those whose death is promised: in the tier `group` only the leader's is. What lives on there is killed here.
fn all_are_dead_in_time(mark: &str, leader: Option<u32>) {
    let promised = |pid: &u32| !has_tier(Containment::Group) || Some(*pid) == leader;
    let left = settles_within(SLACK, || marked(mark).into_iter().filter(promised).collect());
    assert_eq!(left, [0; 0], "somebody outlived the host");
    while let Some(pid) = marked(mark).pop() {
        // Orphans are children of this process, so their numbers are held; another one may be gone by now.
        match kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(nix::Error::ESRCH) => {}
            Err(errno) => panic!("{pid} can't be killed: {errno}"),
        }
        settles(|| if alive(pid) { vec![pid] } else { vec![] });
    }
}

/// A host with a tree that has a stubborn member, one outside the session, and a daemon; and with a child that has
/// inherited every descriptor.
fn nothing_outlives(host_dies: fn(&mut RunningHost)) {
    let ground = orphanage();
    let host = OtherHost::new(fixture!("a-host"));
    let mark = mark(&host);
    let script = r#""$1" "$0" & setsid "$1" "$0" & exec "$2" daemon "$0""#;
    let tree = ["/bin/sh", "-c", script, &mark, fixture!("ignores-term"), fixture!("escapes")];
    let (mut running, told) = host.start(&[&["holds", "3"], &tree[..]].concat());
    // On its way there are more: a daemon's first fork, a shell that is not yet the program.
    let others = settles(|| Some(marked(&mark).len()).filter(|count| *count != 4).into_iter().collect());
    assert_eq!(others, [0; 0], "the tree is not whole");
    host_dies(&mut running);
    running.ends();
    drop(running);
    all_are_dead_in_time(&mark, Some(pid(&told, "leader")));
    let stranger = pid(&told, "stranger");
    assert!(alive(stranger), "nothing was proven without the one that has the descriptors");
    kill(Pid::from_raw(stranger.cast_signed()), Signal::SIGKILL).unwrap();
    settles(|| if alive(stranger) { vec![stranger] } else { vec![] });
    let cgroups = settles(|| cgroups_of(pid(&told, "host")));
    assert!(cgroups.is_empty(), "{cgroups:?}");
    ground.check(false);
}

fn f40_nothing_outlives_a_host_that_is_killed() {
    nothing_outlives(|host| host.kill());
}

fn f40_nothing_outlives_a_host_that_aborts() {
    nothing_outlives(|host| host.say("abort"));
}

fn f40_nothing_outlives_a_host_that_dies_in_the_middle_of_a_launch() {
    let ground = orphanage();
    for round in 1..=20 {
        let host = OtherHost::new(fixture!("a-host"));
        let mark = mark(&host);
        let (mut running, told) = host.start(&["launches", fixture!("ignores-term"), &mark]);
        // Whatever it is doing just then: the directory is the first thing that a launch makes.
        while begun(&host.root()) < round {
            std::hint::spin_loop();
        }
        running.kill();
        running.ends();
        all_are_dead_in_time(&mark, None);
        let host = pid(&told, "host");
        let cgroups = settles(|| cgroups_of(host));
        assert!(cgroups.is_empty(), "{cgroups:?}");
    }
    ground.check(false);
}

/// What a host must be able to do in any tier, whatever the kernel refuses it.
fn the_rest_holds(refuses: &str, tier: Containment) {
    let host = OtherHost::new(fixture!("a-host")).refusing(refuses).in_any_tier();
    let run = |timeout: &str, args: &[&str]| -> Record {
        let lines = host.run(&[&["run", timeout], args].concat());
        serde_json::from_value(lines[0].clone()).unwrap()
    };
    let result = run("60000", &["/bin/sh", "-c", "echo said; exit 3"]);
    assert_eq!(
        (result.status, result.exit_code, result.containment),
        (Status::Completed, Some(3), Some(tier))
    );
    assert_eq!(result.stdout, "said\n");
    let result = run("60000", &["/bin/sh", "-c", "sleep 1000 & exit 0"]);
    assert_eq!(result.status, Status::Completed, "{refuses}");
    // Null: nobody was able to look.
    if let Some(leftovers) = result.leftovers {
        let outcomes: Vec<Outcome> = leftovers.iter().map(|left| left.outcome).collect();
        assert_eq!(outcomes, [Outcome::Terminated], "{refuses}");
    }
    assert_eq!(group(result.process_group_id.unwrap()), [0; 0], "{refuses}");
    let script = "stty size; read x </dev/tty; echo got $x >/dev/tty; test -t 0 && echo terminal";
    let lines = host.run(&["terminal", "/bin/sh", "-c", script]);
    // What stops each process by itself has to see it, and to hold it.
    let not_paused = lines[0]["not_paused"].as_str().map(|why| {
        ["/proc", "pidfd_open"]
            .into_iter()
            .find(|needed| why.contains(needed))
            .unwrap_or_else(|| panic!("{why}"))
    });
    let needs = (tier != Containment::Cgroup).then_some(refuses).and_then(|refuses| match refuses {
        "proc" => Some("/proc"),
        "clone3 pidfd" => Some("pidfd_open"),
        _ => None,
    });
    assert_eq!(not_paused, needs, "{refuses}: {}", lines[0]["not_paused"]);
    let result: Record = serde_json::from_value(lines[0]["result"].clone()).unwrap();
    let shown = ["30 100\r\n", "got word\r\n", "terminal\r\n"];
    assert!(shown.iter().all(|line| result.stdout.contains(line)), "{refuses}: {}", result.stdout);
    let stubborn = format!("{0} & exec {0}", fixture!("ignores-term"));
    let result = run("200", &["/bin/sh", "-c", &stubborn]);
    assert_eq!((result.status, result.signal.as_deref()), (Status::TimedOut, Some("SIGKILL")), "{refuses}");
    assert_eq!(group(result.process_group_id.unwrap()), [0; 0], "{refuses}");
    let result = run("200", &[fixture!("escapes"), "daemon"]);
    let daemon: u32 = result.stdout.trim().trim_start_matches("daemon ").parse().unwrap();
    if tier == Containment::Group {
        assert!(alive(daemon), "{refuses}: it did not escape");
        kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL).unwrap();
        settles(|| if alive(daemon) { vec![daemon] } else { vec![] });
    }
    assert!(!alive(daemon), "{refuses}: {result:?}");
}

/// Runs a host that the kernel refuses something. `at_best` is the strongest tier it can have, `why` a part of the
/// reason that it gives for each stronger one.
fn weaker(refuses: &str, at_best: Containment, why: &[(&str, &str)]) -> Option<Value> {
    let told_by = |refuses: &str| {
        let host = OtherHost::new(fixture!("a-host")).refusing(refuses).in_any_tier();
        host.try_run(&["tells"]).map(|lines| lines[0].clone())
    };
    let without = told_by("").unwrap();
    let told = match told_by(refuses) {
        Ok(told) => told,
        Err(error) => {
            eprintln!("SKIPPED: {refuses} can't be refused: {error}");
            return None;
        }
    };
    let best: Containment = serde_json::from_value(without["tier"].clone()).unwrap();
    let tier: Containment = serde_json::from_value(told["tier"].clone()).unwrap();
    if best > at_best {
        eprintln!("SKIPPED: this machine has no more than {best:?} anyway");
        return None;
    }
    assert_eq!(tier, at_best, "{told}");
    for (refused, reason) in why {
        let reasons = told["refused"].as_array().unwrap().iter().filter(|pair| pair[0] == *refused);
        let said: Vec<&str> = reasons.filter_map(|pair| pair[1].as_str()).collect();
        assert!(said.len() == 1 && said[0].contains(reason), "{refused}: {told}");
    }
    the_rest_holds(refuses, tier);
    Some(told)
}

#[test]
fn f45_without_clone3_there_is_a_helper_for_each_command() {
    let ground = orphanage();
    weaker("clone3", Containment::Subreaper, &[("cgroup", "ENOSYS")]);
    ground.check(false);
}

#[test]
fn f45_without_a_file_in_memory_a_cgroup_has_no_guard_and_says_so() {
    let ground = orphanage();
    if let Some(told) = weaker("memfd", Containment::Cgroup, &[]) {
        assert!(told["host_death"].as_str().unwrap().contains("EPERM"), "{told}");
        assert!(told["host_is_parent"].as_str().unwrap().contains("EPERM"), "{told}");
    }
    ground.check(false);
}

#[test]
fn f45_without_clone3_and_a_file_in_memory_only_the_group_is_held() {
    let ground = orphanage();
    let why = [("cgroup", "ENOSYS"), ("subreaper", "EPERM")];
    weaker("clone3 memfd", Containment::Group, &why);
    ground.check(false);
}

#[test]
fn f45_without_pidfds_a_cgroup_is_guarded_all_the_same() {
    let ground = orphanage();
    if let Some(told) = weaker("pidfd", Containment::Cgroup, &[]) {
        assert_eq!((&told["host_death"], &told["host_is_parent"]), (&Value::Null, &Value::Null), "{told}");
    }
    ground.check(false);
}

#[test]
fn f45_without_clone3_and_pidfds_only_the_group_is_held() {
    let ground = orphanage();
    let why = [("cgroup", "ENOSYS"), ("subreaper", "helper")];
    weaker("clone3 pidfd", Containment::Group, &why);
    ground.check(false);
}

fn only_the_commands_own_descriptors_reach_it(refuses: &str) {
    let host = OtherHost::new(fixture!("a-host")).refusing(refuses).in_any_tier();
    let script = "exec 7</etc/passwd 9>/dev/null; exec \"$@\"";
    let host = host.through(&["/bin/bash", "-c", script, "bash"]);
    let lines = host.run(&["run", "60000", "/bin/ls", "/proc/self/fd"]);
    // The last one is the directory that `ls` itself reads.
    assert_eq!(lines[0]["stdout"], "0\n1\n2\n3\n");
}

#[test]
fn f45_without_close_range_descriptors_are_closed_all_the_same() {
    let ground = orphanage();
    weaker("close_range", Containment::Cgroup, &[]);
    only_the_commands_own_descriptors_reach_it("close_range");
    ground.check(false);
}

#[test]
fn f45_nor_with_no_way_to_a_table_of_descriptors_of_its_own() {
    let ground = orphanage();
    weaker("close_range unshare", Containment::Cgroup, &[]);
    only_the_commands_own_descriptors_reach_it("close_range unshare");
    ground.check(false);
}

#[test]
fn f45_without_proc_only_the_group_is_held() {
    let ground = orphanage();
    let why = [("cgroup", "No such file"), ("subreaper", "/proc")];
    if let Some(told) = weaker("proc", Containment::Group, &why) {
        assert!(told["host_death"].as_str().unwrap().contains("leader"), "{told}");
    }
    ground.check(false);
}

#[test]
fn f54_proc_of_another_namespace_is_as_good_as_none() {
    let _ground = orphanage();
    // A new PID namespace with the old /proc: its numbers are strangers'.
    let through = ["unshare", "--pid", "--fork", "--kill-child"];
    let host = OtherHost::new(fixture!("a-host")).in_any_tier().through(&through);
    let mark = mark(&host);
    let script = "sh -c 'trap \"\" TERM; echo ready; sleep 1000; :' \"$0\" & read x <&1; exit 0";
    let script = script.replace("read x <&1", "sleep 0.2");
    match host.try_run(&["run", "60000", "/bin/sh", "-c", &script, &mark]) {
        Ok(lines) => {
            let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
            assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)), "{result:?}");
            assert_eq!(result.leftovers, None, "nobody was able to look");
            assert_ne!(result.containment, Some(Containment::Subreaper), "which lives on /proc");
            assert_eq!(settles(|| marked(&mark)), [0; 0]);
        }
        Err(error) => eprintln!("SKIPPED: no PID namespace can be made here: {error}"),
    }
}

/// A cgroup beside those of this process's graphs, with a process in it; as old as a stale one.
fn old_cgroup(name: &str, leaf: Option<&str>) -> Option<(std::path::PathBuf, std::process::Child)> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let base = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| std::path::Path::new(point).join(&own))
    })?;
    let dir = base.join(name);
    let inner = leaf.map_or(dir.clone(), |leaf| dir.join(leaf));
    std::fs::create_dir_all(&inner).ok()?;
    let old = std::fs::FileTimes::new().set_modified(std::time::SystemTime::now() - SLACK * 60);
    std::fs::File::open(&dir).ok()?.set_times(old).ok()?;
    let child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
    std::fs::write(inner.join("cgroup.procs"), child.id().to_string()).unwrap();
    Some((dir, child))
}

#[test]
fn f60_only_what_a_graph_has_left_is_removed_and_no_strangers_cgroup() {
    let ground = orphanage();
    let strangers = ["ostler-tools", "ostler-1-2-3", "ostler-4000001-7"].map(|name| old_cgroup(name, None));
    let [Some(tools), Some(numbers), Some(with_process)] = strangers else {
        return eprintln!("SKIPPED: no cgroup can be made here");
    };
    let (stale, mut left) = old_cgroup("ostler-4000002-7", Some("h3")).unwrap();
    let host = OtherHost::new(fixture!("a-host")).in_any_tier();
    // It is swept by a thread that nobody waits for: a host that ends at once may not get to it.
    let ends = settles_within(SLACK * 10, || {
        host.run(&["run", "60000", "/bin/sleep", "0.2"]);
        if stale.exists() { vec![stale.clone()] } else { Vec::new() }
    });
    assert!(ends.is_empty(), "what was left by a host is still there");
    left.wait().unwrap();
    for (dir, mut child) in [tools, numbers, with_process] {
        assert!(alive(child.id()), "a stranger in {} was killed", dir.display());
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir(&dir).unwrap();
    }
    drop(ground);
}

#[test]
fn f62_a_launch_that_can_have_no_cgroup_gets_the_next_tier() {
    use ostler_tests::Bench;
    let bench = Bench::with(|config| config.containment = ostler::Config::default().containment);
    let first = bench.run(ostler::Command::new("/bin/true"));
    if first.containment != Some(Containment::Cgroup) {
        return eprintln!("SKIPPED: there are no cgroups here");
    }
    let [dir] = &cgroups_of(std::process::id())[..] else { panic!("one graph has one") };
    std::fs::write(dir.join("cgroup.max.descendants"), "0").unwrap();
    let result = bench.run(ostler_tests::sh("setsid sleep 1000 & sleep 0.1; exit 3"));
    assert_eq!((result.exit_code, result.containment), (Some(3), Some(Containment::Subreaper)));
    let outcomes: Vec<_> = result.leftovers.unwrap().into_iter().map(|left| left.outcome).collect();
    assert_eq!(outcomes, [Outcome::Terminated]);
    std::fs::write(dir.join("cgroup.max.descendants"), "max").unwrap();
    assert_eq!(bench.run(ostler::Command::new("/bin/true")).containment, Some(Containment::Cgroup));
}

ostler_tests::in_every_tier!(
    f40_nothing_outlives_a_host_that_is_killed,
    f40_nothing_outlives_a_host_that_aborts,
    f40_nothing_outlives_a_host_that_dies_in_the_middle_of_a_launch,
);
