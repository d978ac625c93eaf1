//! `ostler trace`, of what `ostler run --trace` has written.

use crate::place::*;
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

fn trace(place: &Place, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.arg("trace").args(args).current_dir(place.0.path()).stdin(Stdio::null()).output().unwrap()
}

/// What it says, and whether it failed as it should.
fn refused(place: &Place, args: &[&str]) -> String {
    let output = trace(place, args);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(125), ""));
    text(&output.stderr)
}

fn recorded() -> Place {
    let place = Place::new();
    let ran = place.run(&[
        "--quiet",
        "--trace",
        "t.jsonl",
        "--",
        "sh",
        "-c",
        "echo '<script>alert(1)</script>'; exit 3",
    ]);
    assert_eq!(ran.status.code(), Some(3));
    place
}

#[test]
fn what_was_recorded_is_shown_in_each_form() {
    let place = recorded();
    let shown = |args: &[&str]| {
        let output = trace(&place, args);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        text(&output.stdout)
    };
    let told = shown(&["t.jsonl"]);
    for said in [
        "Messages of host ",
        "host → supervisor: Launch #",
        "process/1 → kernel: Exec sh -c ",
        "Exited exit 3",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let one = shown(&["t.jsonl", "--handle", "1"]);
    assert!(one.contains("Exited exit 3") && !one.contains("OpenSession"), "{one}");
    assert!(
        shown(&["t.jsonl", "--as", "mermaid"]).starts_with("sequenceDiagram\n    participant a0 as host\n")
    );
    let few = shown(&["t.jsonl", "--as", "mermaid", "--max-messages", "3"]);
    assert!(few.contains("more messages are left out"), "{few}");
    let timeline: serde_json::Value = serde_json::from_str(&shown(&["t.jsonl", "--as", "perfetto"])).unwrap();
    let has =
        |name: &str| timeline["traceEvents"].as_array().unwrap().iter().any(|event| event["name"] == name);
    assert!(has("running") && has("Exited") && has("cause"));
    // By stdin too, and into a file that only its owner reads.
    assert!(shown(&["t.jsonl", "--as", "html", "--out", "t.html"]).is_empty());
    assert_eq!(fs::metadata(place.path("t.html")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.args(["trace", "-", "--as", "html"]).stdin(File::open(place.path("t.jsonl")).unwrap());
    assert_eq!(command.output().unwrap().stdout, fs::read(place.path("t.html")).unwrap());
}

#[test]
fn the_policy_of_the_page_names_its_own_script_and_style_and_nothing_else() {
    let place = recorded();
    let page = text(&trace(&place, &["t.jsonl", "--as", "html"]).stdout);
    let between = |before: &str, after: &str| {
        page.split(before).nth(1).unwrap().split(after).next().unwrap().to_owned()
    };
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())));
    let policy = between("Content-Security-Policy\" content=\"", "\"");
    let expected = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(&between("</script>\n<script>", "</script>")),
        hash(&between("<style>", "</style>")),
    );
    assert_eq!(policy, expected, "actors/src/trace/page has a file that was changed without its hash");
    assert!(!page.contains("<script>alert"), "it stands there as markup");
}

#[test]
fn a_command_is_explained_by_its_number_and_by_its_id() {
    let place = recorded();
    let explain = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.arg("explain").arg("t.jsonl").args(args).current_dir(place.0.path());
        command.output().unwrap()
    };
    let all = text(&explain(&[]).stdout);
    assert!(all.contains("\nWhy \"") && all.contains("\nDecided by\n"), "{all}");
    let id = all.split_whitespace().next().unwrap();
    assert_eq!((text(&explain(&["1"]).stdout), text(&explain(&[id]).stdout)), (all.clone(), all.clone()));
    let unknown = explain(&["7"]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(text(&unknown.stderr).contains("is no handle of this trace"), "{unknown:?}");
}

#[test]
fn a_pipe_that_nobody_reads_is_no_place_for_a_trace() {
    let place = recorded();
    nix::unistd::mkfifo(&place.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.args(["run", "--trace", "pipe", "--artifacts"]).arg(place.path("artifacts"));
    let output = command.args(["--", "true"]).current_dir(place.0.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("trace: pipe can't be written: "), "{output:?}");
}

#[test]
fn what_can_not_be_shown_is_refused_with_what_to_do() {
    let place = recorded();
    let whole = fs::read_to_string(place.path("t.jsonl")).unwrap();
    let said = refused(&place, &["nowhere.jsonl"]);
    assert!(said.contains("nowhere.jsonl: No such file"), "{said}");
    let said = refused(&place, &["t.jsonl", "--handle", "7"]);
    assert!(said.contains("\"7\" is no handle of this trace; it has hto-"), "{said}");
    let said = refused(&place, &["t.jsonl", "--out", "t.jsonl"]);
    assert!(said.contains("this is the trace itself"), "{said}");
    assert_eq!(fs::read_to_string(place.path("t.jsonl")).unwrap(), whole);
    let said = refused(&place, &["t.jsonl", "--out", "nowhere/t"]);
    assert!(said.contains("nowhere/t: No such file"), "{said}");
    fs::write(place.path("later.jsonl"), whole.replace("\"ostler_trace\":", "\"ostler_trace\":99")).unwrap();
    let said = refused(&place, &["later.jsonl"]);
    assert!(said.contains("later.jsonl: line 1: it is a trace of version 99"), "{said}");
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(place.path("broken.jsonl"), [&lines[..3], &["}"], &lines[3..]].concat().join("\n")).unwrap();
    let said = refused(&place, &["broken.jsonl"]);
    assert!(said.contains("broken.jsonl: line 4: it is no line of a trace"), "{said}");
    // A kill cuts it: what is whole is shown, and that it is cut.
    fs::write(place.path("cut.jsonl"), &whole[..whole.len() - 9]).unwrap();
    let shown = text(&trace(&place, &["cut.jsonl"]).stdout);
    assert!(shown.ends_with("… the trace is cut off here, in the middle of a line\n"), "{shown}");
}

/// Its parent is a helper of ostler's, without which nobody sees its end.
#[test]
fn of_a_command_that_is_lost_it_is_said_where_to_read_why() {
    let place = Place::new();
    // Once it is seen to run: before that, its helper's death is that of a start.
    let lost = |args: &[&str], fifo: &str| {
        nix::unistd::mkfifo(&place.path(fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let running = place.start(args, &format!("echo $$; read x <{fifo}; kill -9 $PPID; sleep 100"));
        place.go(fifo);
        running.end().2
    };
    let said = lost(&[], "one");
    let line =
        said.lines().find(|line| line.contains("is lost; what led to it: ostler explain ")).expect(&said);
    let path = line.split(' ').next_back().unwrap();
    let ostler = |subcommand: &str| {
        Command::new(env!("CARGO_BIN_EXE_ostler")).arg(subcommand).arg(path).output().unwrap()
    };
    let told = ostler("explain");
    assert!(text(&told.stdout).contains("\nWhy \"lost"), "{}", text(&told.stdout));
    let replayed = ostler("replay");
    assert!(text(&replayed.stdout).contains("records, identical"), "nothing was forgotten: {replayed:?}");
    let quiet = lost(&["--quiet"], "two");
    assert!(!quiet.contains("what led to it"), "{quiet}");
}
