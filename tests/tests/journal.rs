//! Hosts with a journal that end, are started again and stand beside each other, on real processes; and disks that fail them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler_tests::{
    LIMIT, SmallDisk, fixture, group,
    lives::{Lives, brief, brief_result, dies, ends, shell, wait_for_result},
    ms, settles_within,
};
use serde_json::{Value, json};
use std::{fs, time::Instant};

fn a_host_that_is_killed_goes_on_where_it_was() {
    let lives = Lives::new(fixture!("journal-host"));
    let mut host = lives.open("chat");
    let done = host.ask(&shell("echo said; exit 3", "chat"));
    wait_for_result(&mut host, "chat");
    let mut long = shell("echo begun; sleep 1000 & echo $! >&2; wait", "chat");
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
    let expected =
        [brief_result(1, true, "completed"), (2, "note".into(), true, None), brief_result(3, false, "lost")];
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
    let output = host.ask(&said);
    // What comes of two pipes has no order between them.
    assert!(output.as_str().is_some_and(|text| text.lines().any(|line| line == "begun")), "{output}");
    assert_eq!(host.ask(&long)["handle_id"], handle);
    assert_eq!(
        host.ask(&json!({ "result": handle, "session": "chat" }))["taken"],
        false,
        "a reader holds it"
    );
    let mut other = shell("other", "chat");
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
    let next = host.ask(&shell("true", "chat"));
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

fn of_what_a_lost_command_has_written_much_of_only_the_length_is_known() {
    let lives = Lives::new(fixture!("journal-host"));
    let mut host = lives.open("chat");
    let runs = host.ask(&shell("yes 0123456 | head -c 2097152; echo end; sleep 1000", "chat"));
    let file = runs["output_path"].as_str().unwrap();
    settles_within(LIMIT, || if fs::metadata(file).unwrap().len() == 2_097_156 { vec![] } else { vec![0] });
    dies(host);
    let mut host = lives.open("chat");
    let lost = host.ask(&json!({ "read": "chat" }))[0]["content"].clone();
    assert_eq!((&lost["status"], &lost["byte_count"]), (&json!("lost"), &json!(2_097_156)));
    assert_eq!((&lost["line_count"], &lost["output_sha256"]), (&Value::Null, &Value::Null), "it is not read");
    let text = lost["stdout"].as_str().unwrap();
    assert!(text.starts_with("0123456\n") && text.ends_with("0123456\nend\n"));
    assert!(text.len() < 1 << 20 && lost["stdout_truncated"] == true, "{}", text.len());
    assert!(lost.get("line_count").is_some(), "null, and not left out: {lost}");
    ends(host);
}

fn what_is_unread_survives_an_end_in_order_and_an_ended_session_is_opened_anew() {
    let lives = Lives::new(fixture!("journal-host"));
    let mut host = lives.open("chat");
    host.ask(&json!({ "open": "read" }));
    host.ask(&shell("exit 7", "chat"));
    wait_for_result(&mut host, "chat");
    host.ask(&json!({ "push": 1, "session": "read" }));
    assert_eq!(brief(&host.ask(&json!({ "take": "read" }))).len(), 1);
    assert_eq!(ends(host)["unread"], 1);

    let (mut host, found) = lives.start();
    assert_eq!((&found["sessions"], &found["unread"]), (&json!([]), &json!(1)));
    // As of any session that has ended: it can be read, and nothing can be launched in it.
    assert!(host.ask(&shell("true", "chat"))["error"].as_str().unwrap().contains("is closed"));
    assert_eq!(brief(&host.ask(&json!({ "read": "chat" }))), [brief_result(1, true, "completed")]);
    assert_eq!(host.ask(&json!({ "open": "chat" })), json!({ "recovered": false }));
    assert_eq!(host.ask(&json!({ "open": "read" })), json!({ "recovered": false }));
    assert_eq!(host.ask(&json!({ "push": 2, "session": "chat" })), 2, "its numbers go on");
    assert_eq!(host.ask(&json!({ "push": 2, "session": "read" })), 2, "also where nothing was left");
    host.ask(&shell("true", "chat"));
    dies(host);
    let (mut host, found) = lives.start();
    assert_eq!(found["sessions"], json!(["chat", "read"]));
    assert_eq!(host.ask(&json!({ "end": "read" }))["unread"], 0);
    ends(host);
}

fn a_session_is_open_in_one_living_host_at_a_time() {
    let lives = Lives::new(fixture!("journal-host"));
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
    // Its old host is gone, and its unread waits for a host that starts. No number is given twice.
    assert_eq!(second.ask(&json!({ "open": "chat" })), json!({ "recovered": false }));
    assert_eq!(second.ask(&json!({ "push": 2, "session": "chat" })), 2);
    let (mut third, found) = lives.start();
    let trouble = found["trouble"][0].as_str().unwrap();
    assert!(trouble.contains("session chat is open in another host"), "{found}");
    assert_eq!(brief(&third.ask(&json!({ "read": "chat" }))), [(1, "note".into(), true, None)]);
    ends(third);
    ends(second);
    assert_eq!(lives.databases(), 2);
}

fn a_journal_on_a_full_disk_holds_nobody_up_and_is_written_again_when_there_is_room() {
    let lives = Lives::new(fixture!("journal-host"));
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
    let runs = host.ask(&shell("echo said", "chat"));
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
    let lives = Lives::new(fixture!("journal-host"));
    let mut host = lives.open("chat");
    host.ask(&json!({ "open": "other" }));
    host.ask(&json!({ "open": "ended" }));
    for n in 1..=2 {
        host.ask(&json!({ "push": n, "session": "ended" }));
        assert_eq!(brief(&host.ask(&json!({ "take": "ended" }))).len(), 1);
    }
    host.ask(&json!({ "end": "ended" }));
    host.ask(&json!({ "push": 1, "session": "chat" }));
    fs::remove_dir_all(lives.folder()).unwrap();
    let began = Instant::now();
    let (mut pushes, mut troubled) = (1, false);
    loop {
        let wrong = !host.ask(&json!({ "health": null })).is_null();
        if troubled && !wrong {
            break;
        }
        troubled |= wrong;
        // It notices by itself too, and a session takes no more than 1,024.
        if pushes < 1_000 {
            pushes += 1;
            let pushed = host.ask(&json!({ "push": pushes, "session": "chat" }));
            assert!(pushed.is_u64(), "push {pushes}: {pushed}");
        }
        assert!(began.elapsed() < LIMIT);
    }
    assert!(host.ask(&json!({ "push": 9, "session": "ended" }))["error"].is_string());
    let (mut second, _) = lives.start();
    for session in ["chat", "other"] {
        assert!(second.ask(&json!({ "open": session }))["error"].as_str().unwrap().contains("another host"));
    }
    assert_eq!(second.ask(&json!({ "open": "ended" })), json!({ "recovered": false }));
    assert_eq!(second.ask(&json!({ "push": 1, "session": "ended" })), 3, "its numbers were written again");
    ends(second);
    dies(host);
    // Sessions that it has had are its own still, and numbers go on.
    let mut host = lives.open("chat");
    let read = host.ask(&json!({ "read": "chat" }));
    let notes: Vec<u64> =
        read.as_array().unwrap().iter().filter_map(|entry| entry["content"].as_u64()).collect();
    assert_eq!(notes, (1..=pushes).collect::<Vec<_>>(), "{read}");
    ends(host);
}

fn a_disk_that_is_synced_says_the_same() {
    let lives = Lives::new(fixture!("journal-host"));
    let synced = [lives.base().to_str().unwrap().to_owned(), "power-loss".to_owned()];
    let synced: Vec<&str> = synced.iter().map(String::as_str).collect();
    let (mut host, _) = lives.host.start(&synced);
    host.ask(&json!({ "open": "chat" }));
    host.ask(&shell("echo said", "chat"));
    assert_eq!(wait_for_result(&mut host, "chat")["content"]["stdout"], "said\n");
    dies(host);
    let (mut host, _) = lives.host.start(&synced);
    assert_eq!(brief(&host.ask(&json!({ "read": "chat" }))), [brief_result(1, true, "completed")]);
    ends(host);
}

/// Through the socket that a host with a journal opens by itself.
fn a_host_can_be_asked_from_outside_by_whoever_may_and_only_what_he_may() {
    use std::io::{BufRead, BufReader, Write};
    let lives = Lives::new(fixture!("journal-host"));
    let mut host = lives.open("chat");
    let done = host.ask(&shell("echo said; echo more", "chat"));
    wait_for_result(&mut host, "chat");
    let runs = host.ask(&shell("sleep 1000", "chat"));
    let socket = fs::read_dir(lives.host.root()).unwrap().map(|entry| entry.unwrap().path());
    let socket = socket.into_iter().find(|path| path.extension().is_some_and(|end| end == "sock")).unwrap();
    let connect = |question: Value| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        // One that has too many refuses before it has read.
        let _ = stream.write_all(format!("{question}\n").as_bytes());
        stream
    };
    let ask = |question: Value| -> Vec<Value> {
        let lines = BufReader::new(connect(question)).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    };
    let id = |record: &Value| record["command_id"].clone();
    let listed = ask(json!({ "list": {} }));
    let records = listed[0]["listed"]["records"].as_array().unwrap();
    assert_eq!(
        records.iter().map(|record| record["status"].as_str().unwrap()).collect::<Vec<_>>(),
        ["completed", "running"]
    );
    assert!(records.iter().all(|record| record["stdout"] == ""), "{listed:?}");
    assert_eq!(ask(json!({ "list": { "labels": { "no": "such" } } }))[0]["listed"]["records"], json!([]));
    let page = ask(json!({ "read": { "command_id": id(&done), "offset": 5 } }));
    assert_eq!((&page[0]["page"]["text"], &page[0]["page"]["eof"]), (&json!("more\n"), &json!(true)));
    // What lives, and what somebody can still come to have, is not removed.
    let refused =
        |record: &Value| ask(json!({ "remove": { "command_id": id(record) } }))[0]["refused"]["why"].clone();
    assert!(refused(&runs).as_str().unwrap().contains("has not ended"));
    assert!(refused(&done).as_str().unwrap().contains("not read yet"));
    host.ask(&json!({ "acknowledge": [1], "session": "chat" }));
    // A handle's number is not enough: it may be another host's with the same process id.
    let parts: Vec<&str> = done["command_id"].as_str().unwrap().split('_').collect();
    let others = json!({ "command_id": format!("cmd_{}_{}_{}", "1700000000000000000", parts[2], parts[3]) });
    assert!(refused(&others).as_str().unwrap().contains("another host's"));
    assert_eq!(ask(json!({ "remove": { "command_id": id(&done) } })), [json!("removed")]);
    assert!(!lives.host.root().join(done["command_id"].as_str().unwrap()).exists());
    let gone = host.ask(&json!({ "output": done["handle_id"], "session": "chat" }));
    assert!(gone["error"].as_str().unwrap().contains("not kept any more"), "{gone}");
    // Who waits hears of the end, and takes nothing.
    let waits = std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask(json!({ "wait": { "command_id": id(&runs) } })));
        let cancelled = ask(json!({ "cancel": { "command_id": id(&runs), "now": true } }));
        assert_eq!(cancelled[1]["cancelled"]["cancelled"], true, "{cancelled:?}");
        waits.join().unwrap()
    });
    assert_eq!((&waits[0], &waits[1]["ended"]["record"]["status"]), (&json!("heard"), &json!("killed")));
    assert_eq!(brief(&host.ask(&json!({ "read": "chat" }))), [brief_result(2, false, "killed")]);
    // Never a launch, and no input.
    for question in
        [json!({ "launch": {} }), json!({ "write": { "command_id": id(&runs) } }), json!("nonsense")]
    {
        assert!(
            ask(question.clone())[0]["refused"]["why"].as_str().unwrap().contains("not understood"),
            "{question}"
        );
    }
    // Whoever has gone leaves a place to others.
    let runs = host.ask(&shell("sleep 1000", "chat"));
    let began = std::time::Instant::now();
    // The place of whoever was answered before may not be free yet.
    let wait = || loop {
        let mut stream = BufReader::new(connect(json!({ "wait": { "command_id": id(&runs) } })));
        let mut heard = String::new();
        stream.read_line(&mut heard).unwrap();
        if heard == "\"heard\"\n" {
            return stream;
        }
        assert!(heard.contains("too many") && began.elapsed() < LIMIT, "{heard}");
    };
    let waits: Vec<_> = (0..16).map(|_| wait()).collect();
    assert!(refused(&runs).as_str().unwrap().contains("too many"));
    drop(waits);
    while ask(json!({ "list": {} }))[0].get("listed").is_none() {
        assert!(began.elapsed() < LIMIT);
    }
    ends(host);
    assert!(!socket.exists());
}

fn a_host_whose_journal_cannot_be_had_does_not_start_and_says_why() {
    let lives = Lives::new(fixture!("journal-host"));
    fs::create_dir_all(lives.base()).unwrap();
    fs::write(lives.folder(), "a file").unwrap();
    let (_, said) = lives.start();
    let said = said["error"].as_str().unwrap();
    assert!(said.contains("journals/agent: making it: ") && said.contains("exists"), "{said}");
}

fn a_journal_that_can_only_be_read_is_refused_by_name_and_is_all_there_afterwards() {
    let lives = Lives::new(fixture!("journal-host"));
    fs::create_dir_all(lives.base()).unwrap();
    let Some(disk) = SmallDisk::mount_of(&lives.base(), 1 << 20) else { return };
    let mut host = lives.open("chat");
    host.ask(&json!({ "push": "before", "session": "chat" }));
    dies(host);
    disk.read_only(true);
    let (_, said) = lives.start();
    let said = said["error"].as_str().unwrap();
    assert!(said.contains("journals/agent") && said.contains("Read-only file system"), "{said}");
    disk.read_only(false);
    let mut host = lives.open("chat");
    let read = host.ask(&json!({ "read": "chat" }));
    assert_eq!(read[0]["content"], "before", "{read}");
    ends(host);
}

ostler_tests::in_every_tier!(
    a_host_that_is_killed_goes_on_where_it_was,
    of_what_a_lost_command_has_written_much_of_only_the_length_is_known,
    what_is_unread_survives_an_end_in_order_and_an_ended_session_is_opened_anew,
    a_session_is_open_in_one_living_host_at_a_time,
    a_journal_on_a_full_disk_holds_nobody_up_and_is_written_again_when_there_is_room,
    a_journal_that_is_removed_is_made_anew,
    a_disk_that_is_synced_says_the_same,
    a_host_can_be_asked_from_outside_by_whoever_may_and_only_what_he_may,
    a_host_whose_journal_cannot_be_had_does_not_start_and_says_why,
    a_journal_that_can_only_be_read_is_refused_by_name_and_is_all_there_afterwards,
);
