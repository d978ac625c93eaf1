//! `ostler follow --ends`: what another program hears of the ends of commands.

use crate::place::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, Stdio},
};

/// One that is known to follow. It dies with its test.
struct Follower {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}
impl Follower {
    fn begin(mut command: Command) -> Follower {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("follows what ends in"), "{said}");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { child, lines: Some(lines) }
    }
    fn with(place: &Place, args: &[&str]) -> Follower {
        let mut command = place.ostler("follow");
        command.arg("--ends").args(args);
        Follower::begin(command)
    }
    /// Its next line. A test's runner bounds the wait.
    fn line(&mut self) -> String {
        self.lines.as_mut().unwrap().next().unwrap().unwrap()
    }
    fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line()).unwrap()
    }
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}
impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_end_from_now_on_is_a_line() {
    let place = Place::new();
    // It is there before any host, and what has ended before it is no news.
    let mut early = Follower::with(&place, &[]);
    assert_eq!(place.code(&["--", "sh", "-c", "exit 1"]), Some(1));
    let first = early.line();
    assert!(first.starts_with("hto-") && first.contains(" ended: failed, exit 1 after "), "{first}");
    assert!(first.ends_with(": sh -c 'exit 1'"), "{first}");
    // One that runs already is followed too.
    let running = place.start(&[], "echo $$; exec sleep 1000");
    let mut late = Follower::with(&place, &["--json"]);
    kill(running.group, Signal::SIGKILL).unwrap();
    running.end();
    let end = late.json();
    assert_eq!(
        (&end["status"], &end["command"]),
        (&"completed".into(), &"sh -c 'echo $$; exec sleep 1000'".into())
    );
    assert!(early.line().contains("SIGKILL"));
    // A long command is cut, and a line stays one whatever it holds.
    place.run(&["--", "sh", "-c", &format!(": 'a\nb' {}", "x".repeat(1_000))]);
    let cut = early.line();
    assert!(cut.len() < 250 && cut.contains("a\\nb"), "{cut}");
}

#[test]
fn what_a_killed_host_has_left_has_ended_too() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; exec sleep 1000");
    let mut follower = Follower::with(&place, &[]);
    running.dies();
    let line = follower.line();
    assert!(line.contains(" ended: lost"), "{line}");
}

#[test]
fn sessions_that_nobody_asked_for_and_short_commands_are_left_out() {
    let place = Place::new();
    let mut follower = Follower::with(&place, &["--longer-than", "1h"]);
    let mut other = Follower::with(&place, &["--session", "nobody"]);
    let mut all = Follower::with(&place, &["--json"]);
    place.run(&["--", "true"]);
    // What a follower says next shows what it has left out.
    let lost = place.start(&[], "echo $$; exec sleep 1000");
    let session = all.json()["session_id"].as_str().unwrap().to_owned();
    lost.dies();
    assert!(follower.line().contains("lost"), "how long it ran is not known");
    let of_lost = all.json();
    assert!(of_lost["session_id"].as_str().is_some_and(|id| id != "nobody" && id != session));
    kill(other.pid(), Signal::SIGTERM).unwrap();
    assert!(other.lines.take().unwrap().next().is_none());
}

/// A shell stands for an agent: it starts a follower, and a host beside it.
#[test]
fn of_the_same_agent_is_what_was_started_by_the_same_program() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut agent = Command::new("sh");
    agent.arg("-c").arg(
        r#""$0" follow --ends --same-agent --artifacts "$1" & read x <go; "$0" run --quiet --artifacts "$1" -- true mine; kill $!; wait"#,
    );
    agent.arg(env!("CARGO_BIN_EXE_ostler")).arg(place.path("artifacts")).current_dir(place.0.path());
    let mut follower = Follower::begin(agent);
    // Its host's parent is this test, which stands above the follower too; a shell between them makes it another's.
    let mut others = Command::new("sh");
    others.arg("-c").arg(r#""$0" run --quiet --artifacts "$1" -- true others; :"#);
    others.arg(env!("CARGO_BIN_EXE_ostler")).arg(place.path("artifacts"));
    assert!(others.status().unwrap().success());
    place.go("go");
    let line = follower.line();
    assert!(line.ends_with(": true mine"), "{line}");
    assert!(follower.lines.take().unwrap().next().is_none());
}

#[test]
fn it_ends_with_its_reader_on_sigterm_and_with_the_root() {
    let place = Place::new();
    let mut follower = Follower::with(&place, &[]);
    drop(follower.lines.take());
    assert_eq!(follower.child.wait().unwrap().code(), Some(141));

    let mut follower = Follower::with(&place, &[]);
    kill(follower.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(follower.child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));

    let mut follower = Follower::with(&place, &[]);
    fs::remove_dir_all(place.path("artifacts")).unwrap();
    assert_eq!(follower.child.wait().unwrap().code(), Some(125));
}
