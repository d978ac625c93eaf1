//! What helps a person on: what was meant, completions, the manual.

use crate::place::*;
use serde_json::Value;
use std::process::Command;

fn ostler(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ostler")).args(args).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn whoever_writes_something_else_is_told_what_it_is_here() {
    for (wrong, right) in [("ls", "'ps'"), ("kill", "'cancel'"), ("status", "'ps'"), ("log", "'logs'")] {
        let (code, out, err) = ostler(&[wrong, "x"]);
        assert_eq!((code, out.as_str()), (Some(125), ""));
        assert!(err.contains(&format!("a similar subcommand exists: {right}")), "{err}");
    }
    let (_, _, err) = ostler(&["cargo", "test"]);
    assert!(err.contains("to run a program: ostler run -- cargo"), "{err}");
    let place = Place::new();
    for (program, instead) in [
        ("ls | wc -l", Some("a line for a shell is: ostler run -- sh -c 'ls | wc -l'")),
        ("it's", Some("a line for a shell is: ostler run -- sh -c \"it's\"")),
        ("FOO=1", Some("to set a variable: ostler run --env 'FOO=1' -- PROGRAM")),
        ("no-such-program", None),
        ("=", None),
    ] {
        let said = text(&place.run(&[program, "env"]).stderr);
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(format!("ostler: error: program: {program} was not found").as_str()));
        assert_eq!(lines.next(), instead.map(|instead| format!("ostler: {instead}")).as_deref());
        let told: Value = serde_json::from_slice(&place.run(&["--json", program, "env"]).stdout).unwrap();
        assert_eq!(told.get("instead"), instead.map(Value::from).as_ref());
    }
}

#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, err) = ostler(&["completions", shell]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(script.contains("merge-stderr"), "{script}");
        let place = Place::new();
        std::fs::write(place.path("script"), script).unwrap();
        // `-n` reads it and runs nothing.
        match Command::new(shell).arg("-n").arg(place.path("script")).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {}", text(&read.stderr)),
            Err(error) => println!("SKIPPED {shell} reads its completions: {error}"),
        }
    }
}

#[test]
fn there_is_a_page_for_each_subcommand() {
    let (code, page, _) = ostler(&["man"]);
    assert_eq!(code, Some(0));
    let named: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("ostler\\-")?.strip_suffix("(1)")).collect();
    assert!(named.contains(&"run") && named.contains(&"gc"), "{named:?}");
    for name in named.into_iter().filter(|name| *name != "help") {
        let (code, page, err) = ostler(&["man", name]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{name}");
        assert!(page.contains(&format!(".TH ostler-{name} 1")), "{page}");
    }
    let (code, out, err) = ostler(&["man", "nothing"]);
    assert_eq!((code, out.as_str()), (Some(125), ""));
    assert_eq!(err, "ostler: error: \"nothing\" is no subcommand; `ostler --help` names them\n");
}
