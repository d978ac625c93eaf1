//! The pages for people, run as they stand: each block that a shell is to take, in the order of its page, in a home of its own.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's own verdict")]

use std::{env, fs, path::Path, process::Command};

/// A block of a page between its fences, if it is one for a shell.
fn blocks(page: &str) -> Vec<&str> {
    let parts: Vec<&str> = page.split("```").collect();
    assert!(parts.len() % 2 == 1, "a fence is open");
    parts.iter().skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect()
}

fn runs(name: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(name);
    let page = fs::read_to_string(page).unwrap();
    let first = page.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(first, Some("```sh"), "{name} begins with something to paste");
    let blocks = blocks(&page);
    assert!(blocks.len() >= 4, "{name}: {blocks:?}");
    let home = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_BIN_EXE_ostler")).parent().unwrap().display().to_string();
    let path = format!("{own}:{}", env::var("PATH").unwrap_or_default());
    // Each command must work, and what was started must end with it.
    let script = format!("set -eu\n{}\nwait\n", blocks.join("\n"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(home.path()).env("HOME", home.path()).env("PATH", path);
    shell.env("XDG_STATE_HOME", home.path().join("state")).env_remove("XDG_CONFIG_HOME");
    let output = shell.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}, {}: {said}", output.status);
    assert!(!said.contains("error"), "{name}: {said}");
}

#[test]
fn by_hand() {
    runs("by-hand.md");
}

#[test]
fn traces() {
    runs("traces.md");
}

#[test]
fn operating() {
    runs("operating.md");
}

/// What a page names of ostler is there: subcommands, and options of it.
#[test]
fn each_subcommand_and_option_is_there() {
    // What a build has only when it is asked for.
    let with_nats = cfg!(feature = "nats").then_some("beyond-one-machine.md");
    for name in ["by-hand.md", "operating.md", "traces.md"].into_iter().chain(with_nats) {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(name);
        let page = fs::read_to_string(page).unwrap();
        let quoted = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let lines = page.lines().filter(|line| line.starts_with("ostler ") || line.starts_with("$ ostler "));
        for text in quoted.chain(lines) {
            let Some(call) = text.trim_start_matches("$ ").strip_prefix("ostler ") else { continue };
            let mut words = call.split_whitespace();
            let Some(subcommand) = words.next().filter(|word| word.starts_with(char::is_alphabetic)) else {
                continue;
            };
            let help =
                Command::new(env!("CARGO_BIN_EXE_ostler")).args([subcommand, "--help"]).output().unwrap();
            assert!(help.status.success(), "{name}: there is no `ostler {subcommand}`");
            let help = String::from_utf8(help.stdout).unwrap();
            for option in words.take_while(|word| *word != "--").filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{name}: `ostler {subcommand}` has no {option}");
            }
        }
    }
}
