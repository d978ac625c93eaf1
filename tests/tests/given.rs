//! Faults of what a command is given: its environment, its descriptors, its directory, a place for its output.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::sys::signal::Signal;
use ostler::{Command, Containment, Error, LaunchError, Record, Status};
use ostler_tests::{Bench, Ground, OtherHost, fixture, has_tier, sh};
use std::{ffi::OsString, fs, time::Duration};

fn f72_a_store_that_is_missing_refuses_no_command_and_is_made_again_when_it_can_be() {
    let mut bench = Bench::with(|config| config.limits.results_with_text = 1);
    bench.spoils_artifacts();
    let root = bench.ostler().artifact_root().to_owned();
    // Removed by a cleaner.
    fs::remove_dir_all(&root).unwrap();
    let result = bench.run(sh("echo said"));
    assert_eq!((result.stdout.as_str(), result.artifact_error.as_deref()), ("said\n", None));
    assert_eq!(fs::read_to_string(&result.output_path).unwrap(), "said\n");
    // Nowhere to make it.
    fs::remove_dir_all(&root).unwrap();
    fs::write(&root, "").unwrap();
    // Nothing else has these texts, so they are kept beyond the number of those that may be.
    let handles: Vec<_> = (0..3).map(|n| bench.launch(sh(format!("echo {n}; df . >/dev/null")))).collect();
    bench.ostler().sleep(Duration::from_millis(100)).wait().unwrap();
    for (n, handle) in handles.iter().enumerate() {
        let result = bench.result(handle);
        assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
        assert_eq!(result.stdout, format!("{n}\n"));
        let error = result.artifact_error.unwrap();
        assert!(error.contains("can't be made") && error.contains("Not a directory"), "{error}");
    }
    fs::remove_file(&root).unwrap();
    assert_eq!(bench.run(sh("echo said")).artifact_error, None);
}

fn f95_a_command_that_replaces_its_directory_by_a_link_writes_nowhere_else() {
    let mut bench = Bench::new();
    bench.spoils_artifacts();
    let root = bench.ostler().artifact_root().display().to_string();
    let elsewhere = bench.path("elsewhere");
    let there = elsewhere.display();
    let script = format!(
        "echo before; d=$(echo {root}/cmd_*); mkdir {there}; touch {there}/combined.txt {there}/stdout.txt; \
         mv $d $d.away; ln -s {there} $d; echo after"
    );
    let result = bench.run(sh(script));
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(0), "before\nafter\n"));
    assert!(result.artifact_error.unwrap().contains("moved away"));
    for entry in fs::read_dir(&elsewhere).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().len(), 0, "written to where the link leads");
    }
    assert!(!elsewhere.join("result.json").exists());
}

fn f75_what_speaks_of_the_hosts_own_place_does_not_reach_the_tool() {
    let _ground = Ground::take();
    let place =
        ["OLDPWD=/", "MAKEFLAGS= -j --jobserver-auth=3,4", "NOTIFY_SOCKET=/x", "GIT_DIR=/x", "LISTEN_FDS=1"];
    let kept = ["GIT_AUTHOR_NAME=x", "KUBECONFIG=/k", "OPENAI_BASE_URL=http://x", "SORT_KEY=name"];
    let secret = ["MY_TOKEN=x", "OPENAI_API_KEY=x"];
    let words = [&["/usr/bin/env"], &place[..], &kept, &secret].concat();
    let host = OtherHost::new(fixture!("a-host")).through(&words);
    let lines = host.run(&["in", "/usr/share", "/usr/bin/env"]);
    let result: Record = serde_json::from_value(lines[0]["outcome"].clone()).unwrap();
    let has = |line: &str| result.stdout.lines().any(|own| own == line);
    for line in kept.into_iter().chain(["PWD=/usr/share"]) {
        assert!(has(line), "{line}: {}", result.stdout);
    }
    for line in place.into_iter().chain(secret) {
        assert!(!has(line), "{line}");
    }
    let mut withheld = result.env_withheld.unwrap();
    withheld.sort();
    assert!(
        ["MY_TOKEN", "OPENAI_API_KEY"].iter().all(|name| withheld.contains(&(*name).to_owned())),
        "{withheld:?}"
    );
    assert!(!withheld.contains(&"OLDPWD".to_owned()));
}

fn f76_a_host_whose_directory_was_removed_can_run_programs() {
    let _ground = Ground::take();
    let dir = tempfile::tempdir().unwrap();
    let there = ["/usr/bin/env", "-C", dir.path().to_str().unwrap()];
    let lines =
        OtherHost::new(fixture!("a-host")).through(&there).run(&["nowhere", "/bin/sh", "-c", "echo ran"]);
    let result: Record = serde_json::from_value(lines[0]["outcome"].clone()).unwrap();
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(0), "ran\n"));
}

fn f77_merged_streams_have_one_pipe_and_an_exact_order() {
    let bench = Bench::new();
    let script = "set -x; i=0; while [ $i -lt 200 ]; do echo out $i; i=$((i+1)); done 2>&1";
    let apart = bench.run(sh(script));
    let script = script.replace(" 2>&1", "");
    let merged = bench.run(sh(script).merge_stderr());
    // Of dash itself the trace goes to stderr in any case; the loop's own is what `2>&1` sends to stdout.
    assert_eq!(apart.exit_code, merged.exit_code);
    let lines: Vec<&str> = merged.stdout.lines().collect();
    let mut said = 0;
    for pair in lines.windows(2) {
        if let Some(n) = pair[1].strip_prefix("out ") {
            assert_eq!(pair[0], format!("+ echo out {n}"), "torn from its output");
            said += 1;
        }
    }
    assert_eq!((said, merged.stderr.as_str()), (200, ""));
    assert_eq!(fs::metadata(&merged.stderr_path).unwrap().len(), 0);
    assert_eq!(fs::read_to_string(&merged.output_path).unwrap(), merged.stdout);
}

fn f80_exec_is_the_judge_of_what_may_be_run() {
    let _ground = Ground::take();
    let host = OtherHost::new(fixture!("a-host")).refusing("faccessat2");
    let lines = host.run(&["run", "60000", "true"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
}

fn f86_memory_that_is_the_hosts_is_not_reported_as_the_commands() {
    let bench = Bench::new();
    let _memory = vec![1_u8; 200 << 20];
    // Made by a helper, which has little.
    let usage = bench.run(Command::new("/bin/true")).usage.unwrap();
    assert!(usage.max_rss_bytes.is_some_and(|bytes| bytes < 50 << 20), "{usage:?}");
}

/// What a limit of a tree gave. None, and a line on stderr, where it can't be had: then it was refused by name.
fn limited(bench: &Bench, field: &str, command: Command) -> Option<Record> {
    match bench.session().launch(command).wait() {
        Ok(handle) => {
            assert!(has_tier(Containment::Cgroup), "{field} was promised, and nobody keeps it");
            Some(bench.result(&handle))
        }
        Err(Error::Launch(LaunchError::LimitUnavailable { field: refused, reason })) => {
            assert_eq!(refused, field);
            let missing = if has_tier(Containment::Cgroup) { "controller" } else { "a cgroup of its own" };
            assert!(reason.contains(missing), "{reason}");
            eprintln!("SKIPPED: {field} can't be had here: {reason}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn a_tree_that_wants_more_memory_than_its_limit_is_ended_and_it_is_said() {
    let bench = Bench::new();
    let hog = sh("head -c 300000000 /dev/zero | tail -c 250000000 | wc -c; echo end").memory_limit(50 << 20);
    if let Some(result) = limited(&bench, "memory_limit_bytes", hog) {
        assert_eq!((result.oom_killed, result.exit_code), (Some(true), Some(0)), "{result:?}");
        let modest = bench.run(sh("echo fits").memory_limit(50 << 20));
        assert_eq!((modest.oom_killed, modest.stdout.as_str()), (Some(false), "fits\n"));
    }
    assert_eq!(bench.run(sh("echo no limit")).stdout, "no limit\n");
    let zero = bench.refused(Command::new("true").memory_limit(0));
    assert_eq!(zero, LaunchError::ZeroLimit { field: "memory_limit_bytes".into() });
}

fn a_tree_has_no_more_processes_than_its_limit() {
    let bench = Bench::new();
    let many = sh("for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait; echo all").processes_limit(4);
    if let Some(result) = limited(&bench, "processes_limit", many) {
        assert!(result.stderr.contains("fork"), "{result:?}");
    }
    let zero = bench.refused(Command::new("true").processes_limit(0));
    assert_eq!(zero, LaunchError::ZeroLimit { field: "processes_limit".into() });
}

fn a_tree_has_the_share_of_the_processors_that_was_asked_for() {
    let bench = Bench::new();
    let weight = "cat $(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts)$(sed -n s/^0:://p /proc/self/cgroup)/cpu.weight";
    if let Some(result) = limited(&bench, "cpu_share", sh(weight).cpu_share(37)) {
        assert_eq!(result.stdout, "37\n", "{result:?}");
        assert_eq!(bench.run(sh(weight)).stdout, "100\n", "whoever asks for none has what all have");
    }
    let refused = |share| bench.refused(Command::new("true").cpu_share(share));
    assert_eq!(refused(0), LaunchError::ZeroLimit { field: "cpu_share".into() });
    let too_large = LaunchError::TooLarge { field: "cpu_share".into(), value: 10_001, limit: 10_000 };
    assert_eq!(refused(10_001), too_large);
}

fn a_command_is_readier_to_be_ended_for_want_of_memory_than_its_host() {
    let bench = Bench::new();
    let score = |text: &str| text.trim().parse::<i32>().unwrap();
    let own = score(&fs::read_to_string("/proc/self/oom_score_adj").unwrap());
    let its = score(&bench.run(sh("cat /proc/self/oom_score_adj")).stdout);
    assert_eq!(its, (own + 200).min(1_000));
}

fn f29_descriptors_signal_mask_and_dispositions_of_the_host_do_not_reach_the_tool() {
    let _ground = Ground::take();
    // A host with descriptors that are not closed on exec, ignored signals, and blocked ones.
    let script = "exec 7</etc/passwd 9>/dev/null; \
                  exec env --ignore-signal=HUP,INT,QUIT,TERM,USR1 --block-signal=INT,TERM,USR2,CHLD \"$@\"";
    let host = OtherHost::new(fixture!("a-host")).through(&["/bin/bash", "-c", script, "bash"]);
    let lines = host.run(&["run", "60000", "/bin/cat", "/proc/self/status"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    let mask = |name: &str| {
        let line = result.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // The two that the C library keeps for itself are as they were.
    let own = 1 << 31 | 1 << 32;
    assert_eq!(mask("SigBlk:"), 0, "blocked");
    assert_eq!(mask("SigIgn:") & !own, 0, "ignored (SIGPIPE is {:x})", 1 << (Signal::SIGPIPE as i32 - 1));
    let lines = host.run(&["run", "60000", "/bin/ls", "/proc/self/fd"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    // The last one is the directory that `ls` itself reads.
    assert_eq!(result.stdout, "0\n1\n2\n3\n");
    let lines = host.run(&["run", "300", "/bin/sleep", "1000"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    assert_eq!(
        result.signal.as_deref(),
        Some("SIGTERM"),
        "a host that ignores SIGTERM has tools that obey it"
    );
}

fn f29_standard_input_is_empty_and_there_is_no_terminal() {
    let bench = Bench::new();
    let result =
        bench.run(sh("cat; readlink /proc/self/fd/0; (: </dev/tty) 2>/dev/null || echo no terminal"));
    assert_eq!(result.stdout, "/dev/null\nno terminal\n");
    let leader = result.pid.unwrap();
    let result = bench.run(Command::new("/bin/sh").args(["-c", "cut -d' ' -f5,6 /proc/self/stat; echo $$"]));
    let numbers: Vec<OsString> = result.stdout.split_whitespace().map(OsString::from).collect();
    assert_eq!(numbers[0], numbers[2], "its process group is its own");
    assert_eq!(numbers[1], numbers[2], "its session is its own");
    assert_ne!(result.pid.unwrap(), leader);
}

ostler_tests::in_every_tier!(
    a_tree_that_wants_more_memory_than_its_limit_is_ended_and_it_is_said,
    a_tree_has_no_more_processes_than_its_limit,
    a_tree_has_the_share_of_the_processors_that_was_asked_for,
    a_command_is_readier_to_be_ended_for_want_of_memory_than_its_host,
    f72_a_store_that_is_missing_refuses_no_command_and_is_made_again_when_it_can_be,
    f95_a_command_that_replaces_its_directory_by_a_link_writes_nowhere_else,
    f75_what_speaks_of_the_hosts_own_place_does_not_reach_the_tool,
    f76_a_host_whose_directory_was_removed_can_run_programs,
    f77_merged_streams_have_one_pipe_and_an_exact_order,
    f80_exec_is_the_judge_of_what_may_be_run,
    f86_memory_that_is_the_hosts_is_not_reported_as_the_commands,
    f29_descriptors_signal_mask_and_dispositions_of_the_host_do_not_reach_the_tool,
    f29_standard_input_is_empty_and_there_is_no_terminal,
);
