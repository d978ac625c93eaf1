//! What the command reads.

use crate::place::*;
use std::{
    fs::{self, File},
    io::Write,
    process::Stdio,
};

fn given(place: &Place, args: &[&str], bytes: &[u8]) -> String {
    let mut command = place.ostler("run");
    let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing breaks no test.
    let _ = stdin.write_all(bytes);
    drop(stdin);
    text(&child.wait_with_output().unwrap().stdout)
}

#[test]
fn what_is_piped_into_it_goes_on_to_the_command_whole_and_ends_with_it() {
    let place = Place::new();
    let much = vec![b'x'; 3 << 20];
    assert_eq!(given(&place, &["--", "wc", "-c"], &much), format!("{}\n", much.len()));
    assert_eq!(given(&place, &["--stdin", "inherit", "--", "cat"], b"hello"), "hello");
    assert_eq!(given(&place, &["--stdin", "null", "--", "cat"], b"hello"), "");
    // It reads nothing, and more is there than any pipe holds.
    assert_eq!(given(&place, &["--", "echo", "done"], &vec![0; 300_000]), "done\n");
}

#[test]
fn a_command_that_ends_does_not_wait_for_more_input() {
    let place = Place::new();
    let mut command = place.ostler("run");
    let mut child =
        command.args(["--", "sh", "-c", "read line; echo got $line"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    // It stays open.
    assert!(child.wait().unwrap().success());
    drop(stdin);
}

#[test]
fn a_file_is_read_and_one_that_is_not_there_is_named() {
    let place = Place::new();
    fs::write(place.path("input"), "from a file").unwrap();
    let read = place.run(&["--stdin", "input", "--", "cat"]);
    assert_eq!((text(&read.stdout).as_str(), read.status.code()), ("from a file", Some(0)));
    File::create(place.path("null")).unwrap();
    assert_eq!(text(&place.run(&["--stdin", "./null", "--", "cat"]).stdout), "");
    let refused = place.run(&["--stdin", "nowhere", "--", "cat"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused.stderr).contains("--stdin: nowhere: No such file"), "{}", text(&refused.stderr));
}
