//! Hosts with a journal that are killed, ended, started again and beside each other, on real processes and a real disk.
//!
//! `OSTLER_TESTS_KILLS` sets how many hosts are killed at a random moment, `OSTLER_TESTS_SEED` chooses others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use nix::sys::signal::Signal;
use ostler::Containment;
use ostler_tests::{
    Dice, Ground, LIMIT, OtherHost, RunningHost, SmallDisk, alive, fixture, group, guards_of, has_tier, ms,
    seed_or, settles_within,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Hosts that are killed in one run of the tests; more by hand.
const KILLS: u64 = 25;

/// The lives of one host.
struct Lives {
    host: OtherHost,
    _ground: Ground,
}
impl Lives {
    fn new() -> Lives {
        let mut ground = Ground::take();
        ground.has_escapees();
        Lives { host: OtherHost::new(fixture!("journal-host")), _ground: ground }
    }
    fn base(&self) -> PathBuf {
        self.host.root().with_file_name("journals")
    }
    fn folder(&self) -> PathBuf {
        self.base().join("agent")
    }
    /// The next one, and what it has found.
    fn start(&self) -> (RunningHost, Value) {
        self.host.start(&[self.base().to_str().unwrap()])
    }
    /// The next one, with this session open.
    fn open(&self, session: &str) -> RunningHost {
        let (mut host, _) = self.start();
        let opened = host.ask(&json!({ "open": session }));
        assert!(opened.get("recovered").is_some(), "{opened}");
        host
    }
    fn databases(&self) -> usize {
        let names = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".db")).count()
    }
}

fn sh(script: &str, session: &str) -> Value {
    json!({ "launch": ["/bin/sh", "-c", script], "session": session })
}
fn dies(mut host: RunningHost) {
    host.kill();
    host.ends();
}
fn ends(mut host: RunningHost) -> Value {
    let tally = host.ask(&json!({ "shutdown": null }));
    assert!(host.ends().success());
    tally
}
/// Number, kind, whether it comes again, and the status.
fn brief(entries: &Value) -> Vec<(u64, String, bool, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entry = |entry: &Value| {
        let again = entry["redelivered"].as_bool().unwrap();
        (
            entry["sequence"].as_u64().unwrap(),
            text(&entry["kind"]).unwrap(),
            again,
            text(&entry["content"]["status"]),
        )
    };
    entries.as_array().expect("entries").iter().map(entry).collect()
}
fn result(number: u64, again: bool, status: &str) -> (u64, String, bool, Option<String>) {
    (number, "tool_result".into(), again, Some(status.into()))
}
/// Takes entries until it has one that fits.
fn wait_for_result(host: &mut RunningHost, session: &str) -> Value {
    let began = Instant::now();
    loop {
        let read = host.ask(&json!({ "read": session }));
        if let Some(entry) = read.as_array().unwrap().iter().find(|entry| entry["kind"] == "tool_result") {
            return entry.clone();
        }
        assert!(began.elapsed() < LIMIT, "no result comes");
    }
}

fn a_host_that_is_killed_goes_on_where_it_was() {
    let lives = Lives::new();
    let mut host = lives.open("chat");
    let done = host.ask(&sh("echo said; exit 3", "chat"));
    wait_for_result(&mut host, "chat");
    let mut long = sh("echo begun; sleep 1000 & echo $! >&2; wait", "chat");
    long["key"] = "build".into();
    let runs = host.ask(&long);
    let (handle, pid) = (runs["handle_id"].clone(), runs["pid"].as_u64().unwrap() as u32);
    let said = json!({ "output": handle, "session": "chat" });
    while host.ask(&said).as_str().unwrap().lines().count() < 2 {}
    assert_eq!(host.ask(&json!({ "push": { "note": 1 }, "session": "chat" })), 2);
    dies(host);

    let (mut host, found) = lives.start();
    assert_eq!((&found["sessions"], &found["lost"]), (&json!(["chat"]), &json!([handle])));
    assert_eq!((&found["unread"], &found["trouble"]), (&json!(3), &json!([])));
    assert_eq!(settles_within(LIMIT, || group(pid)), [0; 0], "its tree lives");
    // Nobody has to open it for its entries to be there, and whoever opens it is told.
    assert_eq!(host.ask(&json!({ "open": "chat" })), json!({ "recovered": true }));
    let refused = host.ask(&json!({ "open": "chat" }));
    assert!(refused["error"].as_str().unwrap().contains("was opened before"), "{refused}");
    let read = host.ask(&json!({ "read": "chat" }));
    let expected = [result(1, true, "completed"), (2, "note".into(), true, None), result(3, false, "lost")];
    assert_eq!(brief(&read), expected);
    assert_eq!(
        (&read[0]["content"]["stdout"], &read[0]["content"]["exit_code"]),
        (&json!("said\n"), &json!(3))
    );
    let lost = &read[2]["content"];
    assert_eq!((&lost["stop_cause"], &lost["exit_code"]), (&json!("host_gone"), &json!(-1)));
    assert_eq!((&lost["stdout"], &lost["line_count"]), (&json!("begun\n"), &json!(2)));
    assert!(lost["output_sha256"].as_str().unwrap().starts_with("sha256:"), "{lost}");
    assert!(lost["started_at"].is_string() && lost["pid"] == runs["pid"], "{lost}");
    // By its old id, and by its key.
    assert!(host.ask(&said).as_str().unwrap().starts_with("begun\n"));
    assert_eq!(host.ask(&long)["handle_id"], handle);
    assert_eq!(
        host.ask(&json!({ "result": handle, "session": "chat" }))["taken"],
        false,
        "a reader holds it"
    );
    let mut other = sh("other", "chat");
    other["key"] = "build".into();
    assert!(host.ask(&other)["error"].as_str().unwrap().contains("belongs to another request"));
    let listed = host.ask(&json!({ "list": "chat" }));
    assert_eq!(
        listed.as_array().unwrap().iter().map(|record| &record["handle_id"]).collect::<Vec<_>>(),
        [&done["handle_id"], &handle]
    );
    // Numbers go on.
    assert_eq!(host.ask(&json!({ "acknowledge": [1, 3], "session": "chat" })), 2);
    assert_eq!(host.ask(&json!({ "push": 5, "session": "chat" })), 4);
    let next = host.ask(&sh("true", "chat"));
    let n = |record: &Value| {
        record["handle_id"].as_str().unwrap().rsplit_once('-').unwrap().1.parse::<u64>().unwrap()
    };
    assert!(n(&next) > n(&runs), "{next}");
    dies(host);

    let (mut host, found) = lives.start();
    assert_eq!(lives.databases(), 1, "theirs are gone");
    let again = host.ask(&json!({ "take": "chat" }));
    assert_eq!(brief(&again)[..2], [(2, "note".into(), true, None), (4, "note".into(), true, None)]);
    assert_eq!(found["sessions"], json!(["chat"]));
    ends(host);
}

fn what_is_unread_survives_an_end_in_order_and_an_ended_session_is_opened_anew() {
    let lives = Lives::new();
    let mut host = lives.open("chat");
    host.ask(&json!({ "open": "read" }));
    host.ask(&sh("exit 7", "chat"));
    wait_for_result(&mut host, "chat");
    host.ask(&json!({ "push": 1, "session": "read" }));
    assert_eq!(brief(&host.ask(&json!({ "take": "read" }))).len(), 1);
    assert_eq!(ends(host)["unread"], 1);

    let (mut host, found) = lives.start();
    assert_eq!((&found["sessions"], &found["unread"]), (&json!([]), &json!(1)));
    // As of any session that has ended: it can be read, and nothing can be launched in it.
    assert!(host.ask(&sh("true", "chat"))["error"].as_str().unwrap().contains("is closed"));
    assert_eq!(brief(&host.ask(&json!({ "read": "chat" }))), [result(1, true, "completed")]);
    assert_eq!(host.ask(&json!({ "open": "chat" })), json!({ "recovered": false }));
    assert_eq!(host.ask(&json!({ "open": "read" })), json!({ "recovered": false }));
    assert_eq!(host.ask(&json!({ "push": 2, "session": "chat" })), 2, "its numbers go on");
    assert_eq!(host.ask(&json!({ "push": 2, "session": "read" })), 2, "also where nothing was left");
    host.ask(&sh("true", "chat"));
    dies(host);
    let (mut host, found) = lives.start();
    assert_eq!(found["sessions"], json!(["chat", "read"]));
    assert_eq!(host.ask(&json!({ "end": "read" }))["unread"], 0);
    ends(host);
}

fn a_session_is_open_in_one_living_host_at_a_time() {
    let lives = Lives::new();
    let mut first = lives.open("chat");
    first.ask(&json!({ "push": 1, "session": "chat" }));
    let (mut second, found) = lives.start();
    assert_eq!(found["sessions"], json!([]), "what is a living one's stays his");
    let refused = second.ask(&json!({ "open": "chat" }));
    assert!(refused["error"].as_str().unwrap().contains(&format!("pid {}", first.pid())), "{refused}");
    // The same for a third, and the second one can have others.
    assert_eq!(second.ask(&json!({ "open": "other" })), json!({ "recovered": false }));
    let refused = first.ask(&json!({ "open": "other" }));
    assert!(refused["error"].as_str().unwrap().contains(&format!("pid {}", second.pid())), "{refused}");
    // Once it has ended in one, the other may have it.
    second.ask(&json!({ "end": "other" }));
    assert_eq!(first.ask(&json!({ "open": "other" })), json!({ "recovered": false }));
    dies(first);
    // Its old host is gone, and its unread waits for a host that starts.
    assert_eq!(second.ask(&json!({ "open": "chat" })), json!({ "recovered": false }));
    let (mut third, found) = lives.start();
    let trouble = found["trouble"][0].as_str().unwrap();
    assert!(trouble.contains("session chat is open in another host"), "{found}");
    assert_eq!(brief(&third.ask(&json!({ "read": "chat" }))), [(1, "note".into(), true, None)]);
    ends(third);
    ends(second);
    assert_eq!(lives.databases(), 2);
}

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

/// Each answer that came out of a host is true in its next life, whenever it is killed.
fn whenever_it_is_killed_nothing_that_it_was_told_is_lost() {
    let lives = Lives::new();
    let kills = std::env::var("OSTLER_TESTS_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = seed_or(0x50_u64);
    let (mut dice, mut memory) = (Dice::new(seed), Memory::default());
    for life in 1..=kills {
        let mut host = lives.open("chat");
        let mut asked = Vec::new();
        let read = host.ask(&json!({ "read": "chat" }));
        memory.read(life, &read);
        let mut held: Vec<u64> = brief(&read).into_iter().map(|entry| entry.0).collect();
        for _ in 0..2 + dice.below(12) {
            let question = match dice.below(5) {
                0 | 1 => sh(&format!("echo {life}; exit {}", dice.below(3)), "chat"),
                2 => sh("sleep 1000", "chat"),
                3 if !held.is_empty() => {
                    let count = 1 + dice.below(held.len() as u64) as usize;
                    json!({ "acknowledge": held.drain(..count).collect::<Vec<_>>(), "session": "chat" })
                }
                _ => json!({ "push": life, "session": "chat" }),
            };
            host.say(&question.to_string());
            asked.push(question);
        }
        // Somewhere between the first and the last, or after it.
        std::thread::sleep(Duration::from_micros(dice.below(30_000)));
        host.kill();
        for (question, answer) in asked.iter().zip(host.rest()) {
            assert!(answer.get("error").is_none(), "{question}: {answer}");
            if question.get("launch").is_some() {
                memory.launched.insert(answer["handle_id"].as_str().unwrap().to_owned());
            }
            if let Some(numbers) = question.get("acknowledge").and_then(Value::as_array) {
                memory.acknowledged.extend(numbers.iter().filter_map(Value::as_u64));
            }
        }
        host.ends();
    }
    let mut host = lives.open("chat");
    memory.read(kills + 1, &host.ask(&json!({ "read": "chat" })));
    let missing: Vec<_> = memory.launched.iter().filter(|id| !memory.results.contains_key(*id)).collect();
    assert!(missing.is_empty(), "seed {seed}: no result of {missing:?}");
    assert_eq!(lives.databases(), 1);
    assert!(memory.launched.len() as u64 > kills, "it was not killed too early: {}", memory.launched.len());
    ends(host);
}

fn a_recovery_that_is_killed_is_done_again() {
    let lives = Lives::new();
    let mut dice = Dice::new(seed_or(7));
    let mut host = lives.open("chat");
    let mut handles = Vec::new();
    for n in 0..40 {
        let script = if n % 2 == 0 { "sleep 1000" } else { "echo said" };
        handles.push(host.ask(&sh(script, "chat"))["handle_id"].as_str().unwrap().to_owned());
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
    let lives = Lives::new();
    let mut host = lives.open("chat");
    let runs = host.ask(&sh("sleep 1000 & sleep 1000 & echo begun; wait", "chat"));
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

fn a_journal_on_a_full_disk_holds_nobody_up_and_is_written_again_when_there_is_room() {
    let lives = Lives::new();
    fs::create_dir_all(lives.base()).unwrap();
    let Some(disk) = SmallDisk::mount_of(&lives.base(), 512 << 10) else { return };
    let mut host = lives.open("chat");
    host.ask(&json!({ "push": "before", "session": "chat" }));
    let ballast = lives.base().join("ballast");
    disk.fill(&ballast);
    let mut pushed = 1;
    while host.ask(&json!({ "health": null })).is_null() {
        pushed += 1;
        assert!(host.ask(&json!({ "push": "x".repeat(20_000), "session": "chat" })).is_u64());
        assert!(pushed < 200, "it is never full");
    }
    let said = host.ask(&json!({ "health": null }));
    assert!(said.as_str().unwrap().contains("full"), "{said}");
    let read = host.ask(&json!({ "read": "chat" }));
    let told: Vec<_> =
        read.as_array().unwrap().iter().filter(|entry| entry["kind"] == "journal_error").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["source"], &told[0]["content"]["error"]), (&json!("ostler.journal"), &said));
    // Commands go on.
    let runs = host.ask(&sh("echo said", "chat"));
    assert_eq!(wait_for_result(&mut host, "chat")["content"]["stdout"], "said\n");
    let all: Vec<u64> = brief(&read).into_iter().map(|entry| entry.0).filter(|number| *number > 1).collect();
    host.ask(&json!({ "acknowledge": all, "session": "chat" }));
    fs::remove_file(&ballast).unwrap();
    let began = Instant::now();
    while !host.ask(&json!({ "health": null })).is_null() {
        assert!(began.elapsed() < LIMIT, "it is not written again: {}", host.ask(&json!({ "health": null })));
        std::thread::sleep(ms(20));
    }
    dies(host);
    // What happened meanwhile is there too.
    let mut host = lives.open("chat");
    let read = host.ask(&json!({ "read": "chat" }));
    let kinds: Vec<&Value> = read.as_array().unwrap().iter().map(|entry| &entry["content"]).collect();
    assert_eq!(kinds[0], "before");
    assert_eq!((kinds.len(), &kinds[1]["handle_id"]), (2, &runs["handle_id"]), "{read}");
    ends(host);
}

fn a_journal_that_is_removed_is_made_anew() {
    let lives = Lives::new();
    let mut host = lives.open("chat");
    host.ask(&json!({ "push": 1, "session": "chat" }));
    fs::remove_dir_all(lives.folder()).unwrap();
    let began = Instant::now();
    let mut pushes = 1;
    let mut was_told = false;
    while !was_told || !host.ask(&json!({ "health": null })).is_null() {
        pushes += 1;
        assert!(host.ask(&json!({ "push": pushes, "session": "chat" })).is_u64());
        was_told |= !host.ask(&json!({ "health": null })).is_null();
        assert!(began.elapsed() < LIMIT);
    }
    dies(host);
    let mut host = lives.open("chat");
    let read = host.ask(&json!({ "read": "chat" }));
    let notes: Vec<u64> =
        read.as_array().unwrap().iter().filter_map(|entry| entry["content"].as_u64()).collect();
    assert_eq!(notes, (1..=pushes).collect::<Vec<_>>(), "{read}");
    ends(host);
}

fn a_disk_that_is_synced_says_the_same() {
    let lives = Lives::new();
    let synced = [lives.base().to_str().unwrap().to_owned(), "power-loss".to_owned()];
    let synced: Vec<&str> = synced.iter().map(String::as_str).collect();
    let (mut host, _) = lives.host.start(&synced);
    host.ask(&json!({ "open": "chat" }));
    host.ask(&sh("echo said", "chat"));
    assert_eq!(wait_for_result(&mut host, "chat")["content"]["stdout"], "said\n");
    dies(host);
    let (mut host, _) = lives.host.start(&synced);
    assert_eq!(brief(&host.ask(&json!({ "read": "chat" }))), [result(1, true, "completed")]);
    ends(host);
}

fn a_host_whose_journal_cannot_be_had_does_not_start_and_says_why() {
    let lives = Lives::new();
    fs::create_dir_all(lives.base()).unwrap();
    fs::write(lives.folder(), "a file").unwrap();
    let (_, said) = lives.start();
    let said = said["error"].as_str().unwrap();
    assert!(said.contains("journals/agent: making it: ") && said.contains("exists"), "{said}");
    assert!(alive(std::process::id()));
}

ostler_tests::in_every_tier!(
    a_host_that_is_killed_goes_on_where_it_was,
    what_is_unread_survives_an_end_in_order_and_an_ended_session_is_opened_anew,
    a_session_is_open_in_one_living_host_at_a_time,
    whenever_it_is_killed_nothing_that_it_was_told_is_lost,
    a_recovery_that_is_killed_is_done_again,
    what_is_left_of_a_group_is_proven_to_be_ours_and_ended,
    a_journal_on_a_full_disk_holds_nobody_up_and_is_written_again_when_there_is_room,
    a_journal_that_is_removed_is_made_anew,
    a_disk_that_is_synced_says_the_same,
    a_host_whose_journal_cannot_be_had_does_not_start_and_says_why,
);
