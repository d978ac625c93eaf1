//! Hosts with a journal that are killed: at any moment, while they recover, together with whoever would end their commands.
//!
//! `OSTLER_TESTS_KILLS` sets how many hosts are killed at a random moment, `OSTLER_TESTS_SEED` chooses others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::sys::signal::Signal;
use ostler::Containment;
use ostler_tests::{
    Dice, LIMIT, fixture, group, guards_of, has_tier,
    lives::{Lives, brief, dies, ends, shell},
    marked, seed_or, settles_within,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

/// Hosts that are killed in one run of the tests; more by hand.
const KILLS: u64 = 25;
/// How long what a host leaves may take to die.
const SECOND: Duration = Duration::from_secs(1);

/// What a host knows over all of its lives.
#[derive(Default)]
struct Memory {
    launched: BTreeSet<String>,
    /// In which life each result came first.
    results: BTreeMap<String, u64>,
    acknowledged: BTreeSet<u64>,
    numbers: BTreeMap<u64, String>,
}
impl Memory {
    fn read(&mut self, life: u64, entries: &Value) {
        for entry in entries.as_array().unwrap() {
            let number = entry["sequence"].as_u64().unwrap();
            let what = format!("{} {}", entry["kind"], entry["content"]["handle_id"]);
            let before = self.numbers.insert(number, what.clone());
            assert!(
                before.as_ref().is_none_or(|before| *before == what),
                "{number}: {before:?}, then {what}"
            );
            assert!(!self.acknowledged.contains(&number), "{number} was acknowledged: {what}");
            if let Some(handle) = entry["content"]["handle_id"].as_str() {
                let first = *self.results.entry(handle.to_owned()).or_insert(life);
                assert!(
                    first == life || entry["redelivered"] == true,
                    "{handle} comes again and does not say so"
                );
            }
        }
    }
}

/// Who lives of the commands of a life, and should not: where only a group holds them, neither its leaders nor, once the next host has
/// recovered, whoever is of their groups. Who has gone to a session of his own is ended here.
fn left_of(mark: &str, recovered: bool) -> Vec<u32> {
    let left = marked(mark);
    if !has_tier(Containment::Group) {
        return left;
    }
    let (escaped, held): (Vec<u32>, Vec<u32>) = left.into_iter().partition(|pid| {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::unistd::getsid(Some(pid)).is_ok_and(|session| session == pid)
    });
    if recovered {
        for pid in escaped {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
    held
}

/// Each answer that came out of a host is true in its next life, whenever it is killed.
fn whenever_it_is_killed_nothing_that_it_was_told_is_lost() {
    let lives = Lives::new(fixture!("journal-host"));
    let kills = std::env::var("OSTLER_TESTS_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = seed_or(0x50_u64);
    let (mut dice, mut memory, mut gone) = (Dice::new(seed), Memory::default(), None::<String>);
    for life in 1..=kills {
        let mut host = lives.open("chat");
        assert_eq!(
            settles_within(LIMIT, || gone.iter().flat_map(|gone| left_of(gone, true)).collect()),
            [0; 0],
            "seed {seed}, life {life}: after its recovery"
        );
        // Nobody sleeps so long but the commands of this life.
        let mark = format!("{}.{life}", 100_000 + std::process::id());
        let mut asked = Vec::new();
        let read = host.ask(&json!({ "read": "chat" }));
        memory.read(life, &read);
        let mut held: Vec<u64> = brief(&read).into_iter().map(|entry| entry.0).collect();
        for _ in 0..2 + dice.below(12) {
            let question = match dice.below(5) {
                0 | 1 => shell(&format!("echo {life}; exit {}", dice.below(3)), "chat"),
                // One that is of nobody's group stays beside it.
                2 => shell(&format!("setsid sleep {mark} & sleep {mark}; true"), "chat"),
                3 if !held.is_empty() => {
                    let count = 1 + dice.below(held.len() as u64) as usize;
                    json!({ "acknowledge": held.drain(..count).collect::<Vec<_>>(), "session": "chat" })
                }
                _ => json!({ "push": life, "session": "chat" }),
            };
            host.say(&question.to_string());
            asked.push(question);
        }
        // Somewhere between the first and the last, or after it: after so many answers, however fast this machine is, and a moment.
        let heard = dice.below(asked.len() as u64 + 1);
        let mut answers: Vec<Value> = (0..heard).map(|_| host.line()).collect();
        std::thread::sleep(Duration::from_micros(dice.below(6_000)));
        host.kill();
        answers.extend(host.rest());
        for (question, answer) in asked.iter().zip(answers) {
            assert!(answer.get("error").is_none(), "{question}: {answer}");
            if question.get("launch").is_some() {
                memory.launched.insert(answer["handle_id"].as_str().unwrap().to_owned());
            }
            if let Some(numbers) = question.get("acknowledge").and_then(Value::as_array) {
                memory.acknowledged.extend(numbers.iter().filter_map(Value::as_u64));
            }
        }
        host.ends();
        let left = settles_within(SECOND, || left_of(&mark, false));
        assert_eq!(left, [0; 0], "seed {seed}, life {life}: a second after the kill");
        gone = Some(mark);
    }
    let mut host = lives.open("chat");
    assert_eq!(gone.iter().flat_map(|gone| left_of(gone, true)).collect::<Vec<_>>(), [0; 0], "seed {seed}");
    memory.read(kills + 1, &host.ask(&json!({ "read": "chat" })));
    let missing: Vec<_> = memory.launched.iter().filter(|id| !memory.results.contains_key(*id)).collect();
    assert!(missing.is_empty(), "seed {seed}: no result of {missing:?}");
    assert_eq!(lives.databases(), 1);
    ends(host);
    // Each has answered at least the question that opens its session, and what led to that answer is in its trace.
    let (traces, records) = lives.replay();
    assert!(traces > 0 && records > traces as u64, "seed {seed}: {records} records of {traces} lives");
    eprintln!("{traces} of {} lives replayed, {records} records", kills + 1);
}

fn a_recovery_that_is_killed_is_done_again() {
    let lives = Lives::new(fixture!("journal-host"));
    let mut dice = Dice::new(seed_or(7));
    let mut host = lives.open("chat");
    let mut handles = Vec::new();
    for n in 0..40 {
        let script = if n % 2 == 0 { "sleep 1000" } else { "echo said" };
        handles.push(host.ask(&shell(script, "chat"))["handle_id"].as_str().unwrap().to_owned());
    }
    host.ask(&json!({ "push": 1, "session": "chat" }));
    dies(host);
    for _ in 0..15 {
        let host = lives.host.spawn(&[lives.base().to_str().unwrap()]);
        std::thread::sleep(Duration::from_micros(dice.below(12_000)));
        dies(host);
    }
    let mut host = lives.open("chat");
    let read = host.ask(&json!({ "read": "chat" }));
    let mut found: Vec<&str> =
        read.as_array().unwrap().iter().filter_map(|entry| entry["content"]["handle_id"].as_str()).collect();
    found.sort_unstable();
    handles.sort_unstable();
    assert_eq!(found, handles, "each of them once");
    assert_eq!(read.as_array().unwrap().len(), 41);
    let lost = read.as_array().unwrap().iter().filter(|entry| entry["content"]["status"] == "lost").count();
    assert!((20..=40).contains(&lost), "{lost}");
    ends(host);
}

/// Nobody is left who could end it: the guard and the helpers are killed with their host.
fn what_is_left_of_a_group_is_proven_to_be_ours_and_ended() {
    if !has_tier(Containment::Group) {
        return;
    }
    let lives = Lives::new(fixture!("journal-host"));
    let mut host = lives.open("chat");
    let runs = host.ask(&shell("sleep 1000 & sleep 1000 & echo begun; wait", "chat"));
    let leader = runs["pid"].as_u64().unwrap() as u32;
    let said = json!({ "output": runs["handle_id"], "session": "chat" });
    while host.ask(&said) != "begun\n" {}
    // It says each second that it lives, and whoever was there before is proven by that.
    let database = fs::read_dir(lives.folder()).unwrap().map(|entry| entry.unwrap().path());
    let database = database.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).unwrap();
    let log = database.with_extension("db-wal");
    let written = || fs::metadata(&log).map(|about| about.modified().unwrap()).unwrap();
    for _ in 0..2 {
        let before = written();
        settles_within(LIMIT, || if written() > before { vec![] } else { vec![0] });
    }
    let signal = |pid: u32, signal| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal).unwrap();
    };
    let guards = guards_of(host.pid());
    host.signal(Signal::SIGSTOP);
    for guard in guards {
        signal(guard, Signal::SIGSTOP);
        let helpers = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
        let helpers = helpers.split_ascii_whitespace().map(|pid| pid.parse().unwrap());
        helpers.for_each(|helper| signal(helper, Signal::SIGKILL));
        signal(guard, Signal::SIGKILL);
    }
    dies(host);
    // The leader goes with its helper, in its own time.
    settles_within(LIMIT, || group(leader).into_iter().filter(|pid| *pid == leader).collect());
    let left = group(leader);
    let (mut host, _) = lives.start();
    assert_eq!(settles_within(LIMIT, || group(leader)), [0; 0], "they live");
    let read = host.ask(&json!({ "read": "chat" }));
    let leftovers = read[0]["content"]["leftovers"].as_array().expect("leftovers are known");
    let named: BTreeSet<u32> = leftovers.iter().map(|left| left["pid"].as_u64().unwrap() as u32).collect();
    assert_eq!(named, left.into_iter().collect(), "{read}");
    assert!(leftovers.iter().all(|left| left["outcome"] == "killed"), "{read}");
    ends(host);
}

ostler_tests::in_every_tier!(
    whenever_it_is_killed_nothing_that_it_was_told_is_lost,
    a_recovery_that_is_killed_is_done_again,
    what_is_left_of_a_group_is_proven_to_be_ours_and_ended,
);
