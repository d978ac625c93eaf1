//! The exchange that README.md shows is what the program answers.

use crate::{client::Said, place::Place};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Calls and their answers, as they stand there: a line of the call, then text of the answer, output first.
fn shown() -> Vec<(String, Value, Vec<String>)> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let begin = readme.find("\nrun_command {").expect("the exchange") + 1;
    let block = readme[begin..].split("\n```").next().unwrap();
    let mut calls: Vec<(String, Value, Vec<String>)> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line.split_once(" {").filter(|_| !line.starts_with(' ')) {
            Some((tool, arguments)) => {
                let arguments = serde_json::from_str(&format!("{{{arguments}")).unwrap();
                calls.push((tool.to_owned(), arguments, Vec::new()));
            }
            None => calls.last_mut().unwrap().2.push(line.to_owned()),
        }
    }
    calls
}

/// A line without what differs from one time to the next: words that have a digit, but for those that are kept, and absolute paths.
fn plain(line: &str, keeps: &[&str]) -> String {
    let sign = |c: char| "(){},;\":'".contains(c);
    let word = |word: &str| {
        let bare = word.trim_matches(sign);
        let differs = !keeps.contains(&bare) && bare.contains(|c: char| c.is_ascii_digit());
        let is_path = bare.starts_with('/') && bare != "/bin/sh";
        // What stands around it stays.
        if differs || is_path { word.replace(bare, "#") } else { word.to_owned() }
    };
    // A unit belongs to its time.
    let words = line.split_whitespace().filter(|word| !["ms", "ms,", "s", "s,"].contains(word));
    words.map(word).collect::<Vec<_>>().join(" ")
}

/// What ostler says in an answer, line by line, without the command's own output.
fn said(said: &Said) -> Vec<String> {
    let text = said.text();
    let own = text.rsplit("\n---\n").next().unwrap().to_owned();
    own.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_exchange_of_the_readme_is_what_is_answered() {
    let place = Place::new();
    let shown = shown();
    let [(build, build_arguments, build_shown), (status, status_arguments, status_shown)] = &*shown else {
        panic!("two calls: {shown:?}")
    };
    // A build that takes as long as this test wants, and what git would say.
    place.fifo("go");
    fs::create_dir(place.path("bin")).unwrap();
    let compiling = build_shown[0].clone();
    for (name, script) in [
        ("cargo", format!("echo '{compiling}'; read x < {}; exit 101", place.path("go").display())),
        ("git", format!("echo '{}'", status_shown[0])),
    ] {
        let path = place.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut command = place.command();
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
    let mut client = crate::client::Client::begin(command.env("PATH", path)).old();

    let first = client.call(build, build_arguments.clone());
    let handle = first.field("handle").as_str().unwrap().to_owned();
    assert_eq!(first.field("output"), &json!(format!("{compiling}\n")));
    compare(&build_shown[1..], &said(&first));

    // Its end is there before the next question.
    place.go("go");
    let mut record = Value::Null;
    while record["status"] != "completed" {
        let uri = format!("ostler://commands/{handle}");
        let read = client.request("resources/read", json!({ "uri": uri }));
        record = serde_json::from_str(read["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
    }
    let second = client.call(status, status_arguments.clone());
    assert_eq!(second.field("output"), &json!(format!("{}\n", status_shown[0])));
    compare(&status_shown[1..], &said(&second));
}

/// Each line that is shown is said, in this order; `…` alone stands for any number of lines, and within a line for the rest of a part of it.
fn compare(shown: &[String], said: &[String]) {
    let (mut said, mut skips) = (said.iter(), false);
    for line in shown.iter().map(|line| line.trim()) {
        if line == "…" {
            skips = true;
            continue;
        }
        // Exit codes and counts are not left to chance.
        let keeps = ["101", "0", "1", "60"];
        let fits = |other: &&String| {
            let other = plain(other, &keeps);
            let mut rest = &*other;
            line.split('…').all(|part| {
                let part = plain(part, &keeps);
                let at = rest.find(&*part);
                rest = at.map_or("", |at| &rest[at + part.len()..]);
                at.is_some()
            })
        };
        let next = if skips { said.find(fits) } else { said.next().filter(fits) };
        assert!(next.is_some(), "README.md shows {line:?}, which is not said: {said:?}");
        skips = false;
    }
    assert!(skips || said.next().is_none(), "README.md leaves out what follows without saying so: {said:?}");
}
