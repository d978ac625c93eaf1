//! Sessions and their clients: who ends, who is killed, who comes back.

use crate::{
    client::{Client, LONG},
    place::Place,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::{Duration, Instant},
};

/// Whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

pub(crate) fn gone(pid: &str) {
    let until = Instant::now() + LONG;
    while lives(pid) {
        assert!(Instant::now() < until, "{pid} lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_that_is_only_looked_at_opens_nothing() {
    let place = Place::new();
    let mut client = place.start(&["--session", "probe"]).old();
    client.request("tools/list", json!({}));
    client.request("resources/list", json!({}));
    assert!(!place.path("artifacts").exists() && !place.path("state").exists());
    // One thread: no graph was started.
    let threads = fs::read_dir(format!("/proc/{}/task", client.pid())).unwrap().count();
    assert!(threads <= 2, "{threads}");
    assert!(client.close().success());
}

#[test]
fn its_end_ends_its_trees_whoever_ends_it() {
    for how in ["close", "term", "kill"] {
        let place = Place::new();
        let mut client = place.start(&[]).old();
        let line = "sleep 1000 & echo $$ $!; wait";
        let handle = client.start_command(line);
        let said = client.call("wait_command", json!({ "handle": handle, "pattern": r"\d+ \d+" }));
        let pids = said.field("condition")["line"].as_str().unwrap().to_owned();
        match how {
            "close" => assert!(client.close().success()),
            "term" => {
                kill(Pid::from_raw(i32::try_from(client.pid()).unwrap()), Signal::SIGTERM).unwrap();
                assert!(client.close().success());
            }
            _ => client.kill(),
        }
        pids.split(' ').for_each(gone);
    }
}

#[test]
fn a_client_that_comes_back_hears_what_it_was_not_told() {
    let place = Place::new();
    let name = ["--session", "mine"];
    let mut client = place.start(&name).old();
    place.fifo("go");
    let told = client.start_command("true");
    let waited = client.call("wait_command", json!({ "handle": told }));
    assert_eq!(waited.field("status"), "completed");
    let untold = client.start_command("read x < go; echo done");
    let ended = client.start_command("sleep 1000");
    place.go("go");
    assert!(client.close().success());

    let mut client = place.start(&name).old();
    let said = client.call("list_commands", json!({}));
    let lines = said.ended();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(&untold) || lines[1].contains(&untold), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains(&ended) && line.contains("its session ended")),
        "{lines:?}"
    );
    let read = client.call("read_command_output", json!({ "handle": untold }));
    assert!(matches!(read.field("output").as_str(), Some("done\n" | "")), "{read:?}");
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);

    // Killed in the middle of a command: the next one hears that it is lost.
    let lost = client.start_command("sleep 1000");
    client.kill();
    let mut client = place.start(&name).old();
    let lines = client.call("list_commands", json!({})).ended();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&lost) && lines[0].contains("ended: lost"), "{lines:?}");
}

#[test]
fn two_servers_do_not_share_a_session() {
    let place = Place::new();
    let mut first = place.start(&["--session", "mine"]).old();
    first.start_command("sleep 1000");
    let mut second = place.start(&["--session", "mine"]).old();
    let said = second.call("list_commands", json!({}));
    assert!(said.is_error() && said.text().contains("is open in another host"), "{}", said.text());
    // It lives on, and can have it later.
    assert!(first.close().success());
    assert!(!second.call("list_commands", json!({})).is_error());
}

#[test]
fn a_server_whose_stdin_is_a_socket_ends_on_sigterm_too() {
    // Some runtimes give their children sockets in place of pipes.
    let place = Place::new();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = place.command();
    command.stdin(std::os::fd::OwnedFd::from(theirs)).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut answer = String::new();
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello });
    std::io::Write::write_all(&mut &ours, format!("{hello}\n").as_bytes()).unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut answer)
        .unwrap();
    assert!(answer.contains("2025-06-18"), "{answer}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let pid = child.id().to_string();
    gone(&pid);
    assert!(child.wait().unwrap().success());
    drop(ours);
}

#[test]
fn a_client_that_went_with_answers_unread_is_told_again() {
    let place = Place::new();
    let name = ["--session", "mine"];
    let mut command = place.command();
    command.args(name).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let run = json!({ "name": "run_command", "arguments": { "argv": ["sleep", "1000"], "yield_ms": 0 } });
    let wait = json!({ "name": "wait_command", "arguments": { "timeout_ms": 600_000 } });
    for (id, method, params) in [(1, "initialize", hello), (2, "tools/call", run), (3, "tools/call", wait)] {
        writeln!(stdin, "{}", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .unwrap();
        if id < 3 {
            stdout.read_line(&mut String::new()).unwrap();
        }
    }
    drop((stdout, stdin));
    let ended = server.wait_with_output().unwrap();
    // It is no fault that a client is gone.
    assert_eq!((ended.status.success(), String::from_utf8_lossy(&ended.stderr).as_ref()), (true, ""));
    let lines = place.start(&name).old().call("list_commands", json!({})).ended();
    assert!(lines.len() == 1 && lines[0].contains("its session ended"), "{lines:?}");
}

#[test]
fn a_session_is_no_matter_of_another_one() {
    let place = Place::new();
    let of = |name: &str| place.start(&["--session", name]).old();
    for how in ["closed", "killed"] {
        let mut first = of("first");
        let handle = first.start_command("sleep 1000");
        if how == "closed" {
            assert!(first.close().success());
        } else {
            first.kill();
        }
        // A server of another name starts meanwhile, and lives on.
        let mut other = of("the other one's name, which is no name of a folder");
        assert_eq!(other.call("list_commands", json!({})).ended(), [""; 0]);
        let mut again = of("first");
        let lines = again.call("list_commands", json!({})).ended();
        assert!(lines.len() == 1 && lines[0].contains(&handle), "{how}: {lines:?}");
        assert!(again.close().success() && other.close().success());
    }
}

#[test]
fn a_home_that_is_a_link_is_one_all_the_same() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).unwrap();
    std::os::unix::fs::symlink("disk", place.path("home")).unwrap();
    let begin = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.args(["mcp", "--session", "mine"]).current_dir(place.path(""));
        command.env("HOME", place.path("home")).env_remove("XDG_STATE_HOME");
        Client::begin(&mut command).old()
    };
    let mut client = begin();
    let handle = client.start_command("sleep 1000");
    assert!(client.close().success());
    let lines = begin().call("list_commands", json!({})).ended();
    assert!(lines.len() == 1 && lines[0].contains(&handle), "{lines:?}");
}
