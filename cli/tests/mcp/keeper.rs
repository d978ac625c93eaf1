//! A session that outlives its client: `--keep-for`.

use crate::{
    client::{Client, Speaks},
    place::Place,
    sessions::gone,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use std::{fs, os::unix::fs::FileTypeExt};

const KEPT: [&str; 4] = ["--session", "mine", "--keep-for", "60s"];

/// The process that has the session.
fn keeper(place: &Place) -> Option<u32> {
    let found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse::<u32>().ok()?;
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let of_place = String::from_utf8_lossy(&environ).contains(place.path("state").to_str()?);
        (of_place && cmdline.ends_with(b"--keeper\0")).then_some(pid)
    });
    found.last()
}

fn end(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGTERM).unwrap();
    gone(&pid.to_string());
}

#[test]
fn a_later_client_goes_on_with_what_runs() {
    for how in [Speaks::V2025_06_18, Speaks::V2026_07_28] {
        let place = Place::new();
        place.fifo("go");
        let mut client = place.start(&KEPT).speaks(how, json!({}));
        client.request("tools/list", json!({}));
        assert_eq!(keeper(&place), None);
        let handle = client.start_command("echo begun; read x < go; echo done");
        client.call("wait_command", json!({ "handle": handle, "pattern": "begun" }));
        let keeper_pid = keeper(&place).unwrap();
        client.kill();

        let mut client = place.start(&KEPT).speaks(how, json!({}));
        let rows = client.call("list_commands", json!({ "running": true }));
        assert_eq!(rows.field("commands")[0]["handle"], handle);
        let second = place.start(&["--session", "mine"]).speaks(how, json!({}));
        let mut second = second;
        place.go("go");
        let ended = second.call("wait_command", json!({ "handle": handle, "timeout_ms": 60000 }));
        assert_eq!(ended.field("output"), "begun\ndone\n");
        // Told by that answer: to both clients.
        assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
        assert_eq!(keeper(&place), Some(keeper_pid));
        assert!(client.close().success() && second.close().success());
        end(keeper_pid);
    }
}

#[test]
fn what_a_client_that_was_killed_did_not_read_is_told_again() {
    let place = Place::new();
    let mut client = place.start(&KEPT).old();
    let (mut handles, mut told) = (Vec::new(), Vec::new());
    for round in 0..10 {
        for _ in 0..20 {
            let said = client.call("run_command", json!({ "argv": ["true"], "yield_ms": 0 }));
            told.extend(said.ended());
            if said.field("status") == "running" {
                handles.push(said.field("handle").as_str().unwrap().to_owned());
            }
        }
        // Answers are asked for and not waited for: some are written, some are not when it is killed.
        for _ in 0..round {
            client.ask_tool("list_commands", json!({ "limit": 1 }));
        }
        told.extend(client.kill_and_read());
        client = place.start(&KEPT).old();
    }
    let mut last = vec![String::new()];
    while !last.is_empty() {
        last = client.call("wait_command", json!({ "timeout_ms": 500 })).ended();
        told.extend(last.clone());
    }
    for handle in &handles {
        let lines: Vec<_> = told.iter().filter(|line| line.starts_with(&format!("{handle} "))).collect();
        // One that was on its way when its client was killed says so, whether that was read or not.
        let again = lines.iter().skip(1).all(|line| line.contains("(again"));
        assert!(!lines.is_empty() && again, "{handle}: {lines:?}");
    }
    end(keeper(&place).unwrap());
}

#[test]
fn it_ends_with_its_trees_when_nobody_comes_and_when_it_dies() {
    for (keep, how) in [("100ms", "late"), ("60s", "killed")] {
        let place = Place::new();
        let mut client = place.start(&["--session", "mine", "--keep-for", keep]).old();
        let handle = client.start_command("echo $$; sleep 1000");
        let said = client.call("wait_command", json!({ "handle": handle, "pattern": r"\d+" }));
        let pid = said.field("condition")["line"].as_str().unwrap().to_owned();
        let keeper_pid = keeper(&place).unwrap();
        if how == "killed" {
            kill(Pid::from_raw(i32::try_from(keeper_pid).unwrap()), Signal::SIGKILL).unwrap();
        } else {
            assert!(client.close().success());
        }
        gone(&keeper_pid.to_string());
        gone(&pid);
        // The next one is told what became of it.
        let mut client = place.start(&["--session", "mine", "--keep-for", keep]).old();
        let lines = client.call("list_commands", json!({})).ended();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&handle), "{lines:?}");
        end(keeper(&place).unwrap());
        // Its socket goes with it; the file of its lock stays.
        let is_socket = |entry: &fs::DirEntry| entry.file_type().unwrap().is_socket();
        let there = fs::read_dir(place.path("state/ostler/journals/mcp-mine")).unwrap();
        assert_eq!(there.map(Result::unwrap).filter(is_socket).count(), 0);
    }
}

#[test]
fn clients_that_come_at_once_get_one_keeper() {
    let place = Place::new();
    let mut clients: Vec<Client> = (0..8).map(|_| place.start(&KEPT).old()).collect();
    let asked: Vec<u64> = clients
        .iter_mut()
        .map(|client| client.ask_tool("run_command", json!({ "command": "true" })))
        .collect();
    for (client, id) in clients.iter_mut().zip(asked) {
        assert_eq!(client.said(id).field("success"), true);
    }
    let rows = clients[0].call("list_commands", json!({}));
    assert_eq!(rows.field("commands").as_array().unwrap().len(), 8);
    end(keeper(&place).unwrap());
}

#[test]
fn a_keeper_that_can_not_begin_ends_the_server_and_says_why() {
    let place = Place::new();
    // Its folder is a file.
    fs::create_dir_all(place.path("state/ostler")).unwrap();
    fs::write(place.path("state/ostler/journals"), "").unwrap();
    let mut command = place.command();
    let mut client = Client::begin(command.args(KEPT).stderr(std::process::Stdio::piped())).old();
    client.request("tools/list", json!({}));
    client.ask_tool("list_commands", json!({}));
    let (code, said) = client.end_by_itself();
    assert_eq!(code, Some(125));
    assert!(said.contains("the session's keeper"), "{said}");
}

#[test]
fn what_is_large_goes_through_the_pipe_from_the_first_call_on() {
    let place = Place::new();
    let mut client = place.start(&KEPT).old();
    let large = "a".repeat(1 << 20);
    for _ in 0..2 {
        let said = client.call("run_command", json!({ "command": "wc -c", "stdin": large }));
        assert_eq!(said.field("output").as_str().unwrap().trim(), (1 << 20).to_string());
    }
    // Lines that are answered one by one, far more than fit into what is between the two.
    client.raw(&b"x\n".repeat(20_000));
    for _ in 0..20_000 {
        assert_eq!(client.next()["error"]["code"], -32700);
    }
    end(keeper(&place).unwrap());
}

#[test]
fn what_was_asked_is_answered_when_the_input_has_ended() {
    for args in [&[][..], &["--session", "mine"], &KEPT] {
        let place = Place::new();
        let mut client = place.start(args).old();
        let id = client.ask_tool("run_command", json!({ "command": "echo hello" }));
        let answers = client.end_input_and_read();
        let answer = answers
            .iter()
            .find(|answer| answer["id"] == id)
            .unwrap_or_else(|| panic!("{args:?}: {answers:?}"));
        assert!(answer["result"].is_object(), "{answer}");
        if let Some(pid) = keeper(&place) {
            end(pid);
        }
    }
}

#[test]
fn a_keeper_with_other_settings_is_refused_by_name() {
    let place = Place::new();
    let mut client = place.start(&KEPT).old();
    client.start_command("sleep 1000");
    let keeper_pid = keeper(&place).unwrap();
    for (more, says) in [
        (&["--no-network"][..], "mcp.no_network is not set there and true here"),
        (&["--trace", "/tmp/t.jsonl"], "--trace is not set there and /tmp/t.jsonl here"),
        (&["--root", "/usr"], "mcp.root is not set there and /usr here"),
        (&["--env-mode", "patch", "--timeout", "9"], "mcp.timeout is not set there and 9s here"),
    ] {
        let mut started = place.command();
        started.args(KEPT).args(more).stderr(std::process::Stdio::piped());
        let mut other = Client::begin(&mut started).old();
        other.ask_tool("list_commands", json!({}));
        let (code, said) = other.end_by_itself();
        assert_eq!(code, Some(125), "{more:?}: {said}");
        assert!(said.contains(says) && said.contains(&format!("kill {keeper_pid}")), "{said}");
    }
    // The one that was there is not disturbed, and the same settings are let in.
    let mut same = place.start(&KEPT).old();
    assert_eq!(
        same.call("list_commands", json!({ "running": true })).field("commands").as_array().unwrap().len(),
        1
    );
    client.call("list_commands", json!({}));
    end(keeper_pid);
}
