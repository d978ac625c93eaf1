//! A command with a terminal of its own, seen from a terminal, which here is ostler's too.

use crate::place::*;
use ostler::{Command as Launch, Config, Handle, Ostler};
use std::{fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// A person at a terminal of 30 by 100.
pub(crate) struct Person {
    ostler: Ostler,
    handle: Handle,
    _place: Place,
}
impl Person {
    /// Runs a script in which `$OSTLER` is `ostler run --pty`.
    pub(crate) fn runs(script: &str) -> Person {
        let place = Place::new();
        let ostler = Ostler::start(Config::new().artifact_root(place.path("person"))).unwrap();
        let session = ostler.open_session().wait().unwrap();
        let own = format!("{} run --pty", env!("CARGO_BIN_EXE_ostler"));
        let command = Launch::new("sh").args(["-c", script]).env("OSTLER", own).terminal(30, 100);
        let command = command
            .env("XDG_STATE_HOME", place.path("state"))
            .env("TERM", "tmux-256color")
            .env("LC_ALL", "C.UTF-8");
        let handle = session.launch(command).wait().unwrap();
        Person { ostler, handle, _place: place }
    }
    pub(crate) fn types(&self, keys: &str) {
        self.handle.write(keys).wait().unwrap();
    }
    /// Until it stands there, as a whole line.
    pub(crate) fn sees(&self, line: &str) {
        let waited = self.handle.wait_for([ostler::Condition::text(line)], LIMIT).wait().unwrap();
        assert_eq!(waited.condition(), Some(0), "{line:?}: {}", waited.record.stdout);
    }
    /// All that was shown until its end.
    pub(crate) fn saw(self) -> String {
        let record = self.handle.result_within(LIMIT).wait().unwrap().expect("it goes on").record;
        self.ostler.shutdown().wait().unwrap();
        record.stdout.clone()
    }
}

#[test]
fn a_command_has_a_terminal_as_large_as_the_persons_and_follows_its_size() {
    let script = "$OSTLER -- sh -c 'trap \"stty size; exit 5\" WINCH; tty; stty size; echo $TERM; while :; do sleep 0.05; done'; echo code $?";
    let person = Person::runs(script);
    person.sees("tmux-256color");
    person.handle.resize(44, 111).wait().unwrap();
    let saw = person.saw();
    assert!(saw.contains("/dev/pts/") && saw.contains("30 100\r\n") && saw.contains("44 111\r\n"), "{saw}");
    assert!(saw.contains("code 5\r\n"), "{saw}");
}

#[test]
fn each_key_goes_to_the_command() {
    // The key may come before it reads, or end what it reads.
    let script = "$OSTLER -- sh -c 'trap \"echo interrupted\" INT; echo ready; until read two; do :; done; echo got $two'";
    let person = Person::runs(script);
    person.sees("ready");
    person.types("\u{3}");
    person.sees("interrupted");
    person.types("two\n");
    let saw = person.saw();
    assert!(saw.contains("got two\r\n") && saw.contains("completed, exit 0"), "{saw}");
    // What is typed is shown once: by the command's terminal.
    assert_eq!(saw.matches("two").count(), 2, "{saw}");
}

#[test]
fn a_command_that_hears_nothing_is_stopped_by_who_insists_and_the_terminal_is_as_it_was() {
    let script = "before=$(stty -g); $OSTLER --grace 100ms -- sh -c 'trap \"\" INT TERM HUP; stty raw -echo; echo ready; while :; do sleep 1; done'; \
                  echo code $?; test \"$before\" = \"$(stty -g)\" && echo as before";
    let person = Person::runs(script);
    person.sees("ready");
    person.types("\u{3}\u{4}\u{1a}");
    person.types("\u{1d}\u{1d}");
    person.types("\u{1d}");
    let saw = person.saw();
    assert!(saw.contains("cancelled, SIGKILL") && saw.contains("code 130\r\nas before\r\n"), "{saw}");
}

#[test]
fn who_insists_is_heard_also_when_nobody_takes_what_is_typed() {
    let script = "$OSTLER --grace 100ms -- sh -c 'echo ready; exec </dev/null >/dev/null 2>&1; exec sleep 1000'; echo code $?";
    let person = Person::runs(script);
    person.sees("ready");
    // What has no terminal any more takes no key.
    for key in ["a", "\u{1d}", "\u{1d}", "\u{1d}"] {
        person.types(key);
    }
    let saw = person.saw();
    assert!(saw.contains("code 130\r\n"), "{saw}");
}

#[test]
fn what_is_piped_into_a_terminal_ends_with_the_key_that_ends_it() {
    let place = Place::new();
    fs::write(place.path("lines"), "one\ntwo").unwrap();
    let read =
        place.run(&["--pty", "--stdin", "lines", "--", "sh", "-c", "wc -c; test -t 1 && echo terminal"]);
    let said = text(&read.stdout);
    assert!(said.ends_with("7\r\nterminal\r\n") && read.status.success(), "{said:?}");
    let none = place.run(&["--pty", "--stdin", "null", "--", "sh", "-c", "stty size"]);
    assert_eq!(text(&none.stdout), "24 80\r\n");
    let json = place.run(&["--pty", "--json", "--", "sh", "-c", "test -t 2 && exit 7"]);
    assert_eq!(json.status.code(), Some(7));
}

#[test]
fn the_summary_fits_a_line_of_the_terminal_and_a_path_is_whole() {
    let script = "stty cols 40; export NO_COLOR=1; ${OSTLER% --pty} -- sh -c 'sleep 1000 & exit 3' </dev/null; \
                  ${OSTLER% --pty} --show-path -- true </dev/null";
    let saw = Person::runs(script).saw();
    let own = |what: &str| saw.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{saw}"));
    let summary = own("ostler: failed, exit 3, left over");
    assert!(summary.chars().count() == 40 && summary.ends_with('…'), "{summary:?}");
    let path = own("ostler: its output is in /");
    assert!(path.chars().count() > 40 && path.contains("/cmd_") && !path.contains('…'), "{path:?}");
    assert_eq!(saw.matches("its output is in").count(), 1, "only where it is asked for: {saw}");
}
