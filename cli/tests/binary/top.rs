//! `ostler top`.

use crate::{place::*, pty::Person};
use serde_json::Value;

fn top(place: &Place, args: &[&str]) -> String {
    let output = place.ostler("top").args(args).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_runs_is_listed_with_what_its_tree_uses() {
    let place = Place::new();
    assert_eq!(top(&place, &["--once", "--json"]), "");
    let mut running = place.start(&[], "echo $$; sleep 1000 & echo child; exec sleep 1000");
    assert_eq!(running.line(), "child\n");
    let json: Value = serde_json::from_str(&top(&place, &["--once", "--json"])).expect("one line");
    let bytes = running.group.to_string().len() + 1 + "child\n".len();
    assert_eq!((&json["status"], &json["byte_count"]), (&"running".into(), &bytes.into()), "{json}");
    assert_eq!((&json["processes"], &json["host_pid"]), (&2.into(), &running.ostler.id().into()), "{json}");
    for number in ["elapsed_ms", "silence_ms", "cpu_ms"] {
        assert!(json[number].as_u64().is_some_and(|ms| ms < 60_000), "{number}: {json}");
    }
    // Two of sleep(1) have some, and less than a compiler.
    assert!(
        json["memory_bytes"].as_u64().is_some_and(|bytes| (10_000..100_000_000).contains(&bytes)),
        "{json}"
    );
    let table = top(&place, &["--once"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows.len() == 2 && rows[0].starts_with("ID") && rows[0].contains("MEMORY"), "{table}");
    assert!(
        rows[1].starts_with(json["handle_id"].as_str().unwrap()) && rows[1].contains("sleep 1000"),
        "{table}"
    );
    assert_eq!(top(&place, &[]).lines().count(), 2, "without a terminal it is drawn once");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.end();
    assert_eq!(top(&place, &["--json"]), "");
}

#[test]
fn q_and_ctrl_c_end_it_and_the_terminal_is_as_before() {
    for key in ["q", "\u{3}"] {
        let script = "trap : INT; before=$(stty -g); ${OSTLER% run --pty} top; echo code $?; test \"$before\" = \"$(stty -g)\" && echo as before";
        let person = Person::runs(script);
        person.sees("q ends");
        person.types(key);
        let saw = person.saw();
        assert!(saw.contains("\u{1b}[?1049h") && saw.contains("\u{1b}[?25h\u{1b}[?1049l"), "{saw:?}");
        assert!(saw.contains("code 0\r\nas before\r\n"), "{saw:?}");
    }
}
