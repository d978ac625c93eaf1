//! Traces of real runs, replayed: the same to the byte in each tier, to the last whole input where a writer was killed, and the first difference where
//! somebody has changed a line.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    Command, Condition, Filter, LeftoversPolicy, TraceTo,
    trace::{ReplayError, Replayed, replay, replay_text},
};
use ostler_tests::{Bench, Dice, LIMIT, in_every_tier, ms, seed_or, sh};
use std::{fs, path::PathBuf, time::Duration};

/// What a host does in a day, and what the trace of it says.
fn day() -> (PathBuf, Bench) {
    let mut file = PathBuf::new();
    let bench = Bench::with(|config| {
        file = config.artifact_root.as_ref().unwrap().with_file_name("trace.jsonl");
        config.trace = TraceTo::File(file.clone());
        config.limits.results_with_text = 2;
    });
    let session = bench.session();
    let inbox = session.inbox();
    let reader = session.inbox().redeliver_after(ms(30));
    // Progress, output that is too long, bytes that are no text.
    bench.run(sh("for i in 1 2 3; do echo $i; sleep 0.02; done").progress(ms(10)));
    bench.run(sh("head -c 2000000 /dev/zero | tr '\\0' x; printf '\\377\\376'; exit 3"));
    bench.run(sh("wc -c").stdin_bytes("some input"));
    // Refused.
    bench.refused(Command::new("no-such-program"));
    bench.refused(Command::new("true").current_dir("/no/such/directory"));
    // Deadline, idle time, a signal, a cancel, a cancel that nobody waits for, a lost lease, a limit of output.
    bench.run(sh("sleep 30").timeout(ms(30)).env("SECRET", "se-cret"));
    bench.run(sh("echo once; sleep 30").idle_timeout(ms(30)));
    bench.run(sh("kill -SEGV $$"));
    let handle =
        bench.launch(sh("trap 'echo bye' TERM; echo begun; sleep 30 & wait").label("what", "cancel"));
    handle.wait_for([Condition::text("begun")], LIMIT).wait().unwrap();
    handle.cancel().wait().unwrap();
    drop(bench.launch(sh("sleep 30")).cancel().begin());
    bench.launch(sh("sleep 30")).revoke().wait().unwrap();
    bench.run(sh("yes").output_limit(10_000).output_policy(ostler::OutputPolicy::StopCommand));
    // Input, a pause, leftovers that are kept.
    let handle = bench.launch(Command::new("cat").stdin_open().launch_key("cat"));
    handle.write("typ-ed\n").wait().unwrap();
    handle.wait_for([Condition::regex("typ-ed"), Condition::silence_ms(500)], LIMIT).wait().unwrap();
    handle.pause().wait().unwrap();
    handle.resume().wait().unwrap();
    assert_eq!(
        session.launch(Command::new("cat").stdin_open().launch_key("cat")).wait().unwrap().id(),
        handle.id()
    );
    handle.close_stdin().wait().unwrap();
    handle.result().wait().unwrap();
    let kept = bench.launch(sh("sleep 30 & echo left").leftovers(LeftoversPolicy::Keep));
    kept.result().wait().unwrap();
    session.list_all().wait().unwrap();
    kept.cancel().wait().unwrap();
    // Deliveries that come again, a subscriber, calls that are dropped.
    inbox
        .push("note", "host", serde_json::json!({ "b": [1, 2.092_233_720_368_548e20, 0.1, null], "a": "ä" }))
        .wait()
        .unwrap();
    let subscription = inbox.subscribe(Filter::any()).wait().unwrap();
    assert!(!reader.read(Filter::any(), 3).wait().unwrap().is_empty());
    while !reader.read_within(Filter::any(), 100, LIMIT).wait().unwrap().iter().any(|entry| entry.redelivered)
    {
    }
    drop((subscription, reader));
    drop(inbox.receive(Filter::kind("never"), 1, Duration::from_secs(9)).begin());
    inbox.drain().wait().unwrap();
    bench.launch(sh("sleep 30"));
    session.end().wait().unwrap();
    bench.ostler().shutdown().wait().unwrap();
    (file, bench)
}

fn identical(replayed: Result<Replayed, ReplayError>) -> u64 {
    let replayed = replayed.unwrap();
    replayed.assert_identical();
    replayed.records
}

in_every_tier!(a_day_of_a_host_is_the_same_to_the_byte);
fn a_day_of_a_host_is_the_same_to_the_byte() {
    let (file, _bench) = day();
    let trace = fs::read_to_string(&file).unwrap();
    let records = identical(replay(&file));
    assert_eq!(records + 1, trace.lines().count() as u64);
    for secret in ["se-cret", "some input"] {
        assert!(!trace.contains(secret), "{secret}");
    }
    // Wherever a writer was killed.
    let mut dice = Dice::new(seed_or(1));
    let begin = trace.find('\n').unwrap() + 1;
    let mut last = 0;
    let mut cuts: Vec<usize> =
        (0..60).map(|_| begin + dice.below((trace.len() - begin) as u64) as usize).collect();
    cuts.sort_unstable();
    for cut in cuts {
        let bytes = &trace.as_bytes()[..cut];
        let cut_file = file.with_extension("cut");
        fs::write(&cut_file, bytes).unwrap();
        let records = identical(replay(&cut_file));
        assert!(records >= last);
        last = records;
    }
}

#[test]
fn a_changed_line_is_the_first_difference_with_its_input() {
    let (file, _bench) = day();
    let trace = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("\"message\":\"Arm\"") && line.contains("\"cause\""))
        .unwrap();
    let changed = lines[at].replace("\"after_ms\":", "\"after_ms\":9");
    let mut all = lines.clone();
    all[at] = &changed;
    let replayed = replay_text(&(all.join("\n") + "\n")).unwrap();
    let difference = replayed.difference.clone().unwrap();
    assert_eq!((difference.line, replayed.records), (at as u64 + 1, at as u64 - 1));
    assert_eq!(difference.recorded.as_deref(), Some(&*changed));
    assert_eq!(difference.replayed.as_deref(), Some(lines[at]));
    let (input, text) = difference.input.clone().unwrap();
    assert!(input < difference.line && !text.contains("\"cause\""), "{text}");
    assert!(replayed.to_string().contains(&format!("line {}", at + 1)), "{replayed}");
    // A line too few, a line too many.
    for change in [vec![], vec![lines[at], lines[at]]] {
        let mut all = lines.clone();
        all.splice(at..=at, change);
        let replayed = replay_text(&(all.join("\n") + "\n")).unwrap();
        assert!(!replayed.is_identical(), "{replayed}");
    }
    // An input too few: what followed from it is missed.
    let input = lines.iter().position(|line| line.contains("\"message\":\"Exited\"")).unwrap();
    let mut all = lines.clone();
    all.remove(input);
    let replayed = replay_text(&(all.join("\n") + "\n")).unwrap();
    assert!(!replayed.is_identical(), "{replayed}");
}

#[test]
fn what_can_not_be_replayed_is_refused_by_name() {
    let (file, _bench) = day();
    let trace = fs::read_to_string(&file).unwrap();
    let refused = |trace: &str| replay_text(trace).unwrap_err().to_string();
    let lines: Vec<&str> = trace.lines().collect();
    assert!(refused("").contains("no header") && refused(lines[1]).contains("no header"));
    let newer = lines[0].replacen("\"ostler_trace\":3", "\"ostler_trace\":4", 1);
    assert!(refused(&format!("{newer}\n")).contains("trace version 4"));
    let input = lines.iter().position(|line| line.contains("\"message\":\"Exited\"")).unwrap();
    let with = |line: &str| {
        let mut all = lines.clone();
        all[input] = line;
        refused(&(all.join("\n") + "\n"))
    };
    let unknown = with(&lines[input].replace("\"Exited\"", "\"Evaporated\""));
    assert!(unknown.contains(&format!("line {}", input + 1)) && unknown.contains("Evaporated"), "{unknown}");
    assert!(with("{\"lost\":12}").contains("12 lines were left out here"));
    assert!(with("no json").contains(&format!("line {}: ", input + 1)));
    assert!(replay("/no/such/trace").unwrap_err().to_string().contains("/no/such/trace: No such file"));
}

/// Whatever stands in a file: an answer, and no panic.
#[test]
fn no_file_makes_a_replay_panic() {
    let (file, _bench) = day();
    let trace = fs::read(&file).unwrap();
    let mut dice = Dice::new(seed_or(1));
    for _ in 0..300 {
        let mut bytes = trace.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(4) {
                0 => bytes[at] = dice.below(256) as u8,
                1 => bytes.truncate(at + 1),
                2 => drop(bytes.splice(at..at, *b"9223372036854775807")),
                _ => {
                    let to = (at + dice.below(3_000) as usize).min(bytes.len());
                    drop(bytes.drain(at..to));
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if let Err(ReplayError::Resource(why)) = replay_text(&String::from_utf8_lossy(&bytes)) {
            panic!("{why}");
        }
    }
}
