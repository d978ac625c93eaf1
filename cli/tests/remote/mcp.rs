//! `ostler mcp --pool`: a model sees what it sees on one machine.

use crate::{
    client::{Client, Speaks},
    place::{LIMIT, Place, Running, lives, text, until},
};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{fs, process::Stdio};

fn start(place: &Place, args: &[&str]) -> Client {
    Client::begin(place.ostler(&["mcp", "--pool", "p"]).args(args))
}

#[test]
fn each_tool_does_what_it_does_on_one_machine() {
    for how in [Speaks::V2025_06_18, Speaks::V2026_07_28] {
        let Some(place) = Place::new() else { return };
        let _worker = place.worker("a", &["--slots", "8"]);
        let mut client = start(&place, &[]).speaks(how, json!({}));
        let failed = client.call("run_command", json!({ "command": "echo out; echo err >&2; exit 3" }));
        assert_eq!((failed.field("exit_code"), failed.field("success")), (&json!(3), &json!(false)));
        assert!(failed.text().contains("ended: failed after"), "{}", failed.text());
        // A file of another machine.
        assert_eq!(failed.field("output_path"), "");
        assert!(!failed.text().contains("combined.txt"), "{}", failed.text());

        let cat = client.call(
            "run_command",
            json!({ "argv": ["cat"], "interactive": true, "yield_ms": 0, "labels": { "k": "v" } }),
        );
        let handle = cat.field("handle").clone();
        assert_eq!(cat.field("status"), "running");
        let wrote = client.call("write_stdin", json!({ "handle": handle, "text": "hello\n" }));
        assert_eq!(wrote.field("output"), "hello\n");
        let waited = client.call("wait_command", json!({ "handle": handle, "pattern": "hel(lo)" }));
        assert_eq!(waited.field("condition")["groups"], json!(["hello", "lo"]));
        let bad = client.call("wait_command", json!({ "handle": handle, "pattern": "(" }));
        assert!(bad.is_error() && bad.text().contains("pattern"), "{bad:?}");
        let vain =
            client.call("wait_command", json!({ "handle": handle, "pattern": "never", "timeout_ms": 10 }));
        assert_eq!((vain.field("wait_timed_out"), vain.field("status")), (&json!(true), &json!("running")));
        let read = client.call("read_command_output", json!({ "handle": handle, "offset": 1 }));
        assert_eq!((read.field("output"), read.field("next_offset")), (&json!("ello\n"), &json!(6)));
        let found = client.call("read_command_output", json!({ "handle": handle, "find": "l+o" }));
        assert_eq!((found.field("output"), found.field("matches")), (&json!("1: hello\n"), &json!(1)));
        let screen = client.call("read_command_output", json!({ "handle": handle, "screen": true }));
        assert!(screen.is_error() && screen.text().contains("has no terminal"), "{screen:?}");
        assert!(screen.text().contains(handle.as_str().unwrap()), "{screen:?}");
        let listed = client.call("list_commands", json!({}));
        let rows = listed.field("commands").as_array().unwrap().clone();
        assert_eq!((rows.len(), &rows[0]["handle"], &rows[0]["status"]), (2, &handle, &json!("running")));
        assert!(rows[0]["silence_ms"].is_u64() && rows[0]["age_ms"].is_u64(), "{rows:?}");
        let listed = client.call("list_commands", json!({ "labels": { "k": "v" } }));
        assert_eq!(listed.field("commands").as_array().unwrap().len(), 1);
        let ended = client.call("write_stdin", json!({ "handle": handle, "eof": true, "yield_ms": 60000 }));
        assert_eq!((ended.field("status"), ended.field("exit_code")), (&json!("completed"), &json!(0)));
        let other = client.start_command("sleep 1000");
        let stopped = client.call("cancel_command", json!({ "handle": other }));
        assert_eq!(
            (stopped.field("status"), stopped.field("stop_cause")),
            (&json!("killed"), &json!("cancelled"))
        );
        let first = client.call("list_commands", json!({ "limit": 1 }));
        assert_eq!((first.field("commands").as_array().unwrap().len(), first.field("more")), (1, &json!(2)));
        let running = client.call("list_commands", json!({ "running": true }));
        assert_eq!((running.field("commands"), running.field("more")), (&json!([]), &json!(0)));
        // The end of each was told by the answer that was about it.
        assert_eq!(stopped.ended(), [""; 0]);
        assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
        assert!(client.close().success());
    }
}

#[test]
fn a_terminal_there_is_seen_and_answered() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let mut client = start(&place, &[]).old();
    let script = "stty size; printf 'name? '; read name; echo \"hello $name\"; cat";
    let run = client.call(
        "run_command",
        json!({ "command": script, "terminal": true, "rows": 5, "columns": 40, "yield_ms": 0 }),
    );
    let handle = run.field("handle").clone();
    let asks =
        client.call("wait_command", json!({ "handle": handle, "pattern": "name\\?", "timeout_ms": 60000 }));
    assert_eq!(asks.field("condition")["which"], "pattern", "{asks:?}");
    client.call("write_stdin", json!({ "handle": handle, "text": "Ada", "keys": ["enter"] }));
    let said =
        client.call("wait_command", json!({ "handle": handle, "pattern": "hello Ada", "timeout_ms": 60000 }));
    assert_eq!(said.field("condition")["line"], "hello Ada", "{said:?}");
    let screen = client.call("read_command_output", json!({ "handle": handle, "screen": true }));
    assert_eq!(screen.field("output"), "5 40\nname? Ada\nhello Ada", "{screen:?}");
    // A terminal has no end: Ctrl-D says it.
    let ended = client.call("write_stdin", json!({ "handle": handle, "eof": true, "yield_ms": 60000 }));
    assert_eq!(ended.field("status"), "completed", "{ended:?}");
}

#[test]
fn what_is_long_is_searched_and_read_once_it_has_ended_and_its_worker_is_gone() {
    let Some(place) = Place::new() else { return };
    let mut worker = place.worker("a", &[]);
    let mut client = start(&place, &[]).old();
    let said = client.call("run_command", json!({ "command": "seq 1 300000" }));
    let (handle, total) = (said.field("handle").clone(), said.field("total_bytes").as_u64().unwrap());
    worker.signal(Signal::SIGTERM);
    worker.is_over();
    let found =
        client.call("read_command_output", json!({ "handle": handle, "find": "^299999$", "around": 1 }));
    assert_eq!(found.field("output"), "299998- 299998\n299999: 299999\n300000- 300000\n");
    let read = client.call("read_command_output", json!({ "handle": handle, "offset": total - 7 }));
    assert_eq!((read.field("output"), read.field("eof")), (&json!("300000\n"), &json!(true)));
}

#[test]
fn an_end_is_told_once_and_what_was_not_told_is_told_elsewhere() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &["--slots", "4"]);
    place.fifo("go");
    let go = place.path("go").display().to_string();
    let mut client = start(&place, &["--session", "s"]).old();
    let waits = client.start_command(&format!("read x < {go}"));
    let other = client.start_command("sleep 1000");
    place.go("go");
    let any = client.call("wait_command", json!({ "timeout_ms": 60000 }));
    assert!(any.ended().len() == 1 && any.ended()[0].contains(&waits), "{any:?}");
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
    // Another end, which nobody is told of before the server is killed.
    let third = client.start_command(&format!("read x < {go}"));
    client.kill();
    place.go("go");
    let mut client = start(&place, &["--session", "s"]).old();
    let told = client.call("wait_command", json!({ "timeout_ms": 60000 }));
    assert!(told.ended().len() == 1 && told.ended()[0].contains(&third), "{told:?}");
    // What runs has gone on; the same key is the same command, for any server.
    let listed = client.call("list_commands", json!({ "running": true }));
    assert_eq!(listed.field("commands")[0]["handle"], json!(other));
    let stopped = client.call("cancel_command", json!({ "handle": other, "force": true }));
    assert_eq!(stopped.field("status"), "killed");
    assert_eq!(stopped.ended(), [""; 0]);
    assert!(client.close().success());
}

#[test]
fn a_session_without_a_name_ends_with_its_client_and_one_with_a_name_goes_on() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &["--slots", "4"]);
    let pid = |said: crate::client::Said| said.field("output").as_str().unwrap().trim().to_owned();
    let runs = |client: &mut Client| {
        let run = client.call("run_command", json!({ "command": "echo $$; exec sleep 1000", "yield_ms": 0 }));
        let handle = run.field("handle").clone();
        pid(client
            .call("wait_command", json!({ "handle": handle, "pattern": "[0-9]+", "timeout_ms": 60000 })))
    };
    let (mut own, mut named) = (start(&place, &[]).old(), start(&place, &["--session", "s"]).old());
    let (ends, goes_on) = (runs(&mut own), runs(&mut named));
    assert!(named.close().success() && own.close().success());
    assert!(!lives(&ends) && lives(&goes_on));
    let mut again = start(&place, &["--session", "s"]).old();
    let listed = again.call("list_commands", json!({}));
    let handle = &listed.field("commands")[0]["handle"];
    again.call("cancel_command", json!({ "handle": handle, "force": true }));
    until("it is stopped", || !lives(&goes_on));
}

#[test]
fn what_a_model_has_to_know_of_a_pool_it_is_told() {
    let Some(place) = Place::new() else { return };
    let mut client = start(&place, &[]);
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let answer = client.request("initialize", hello);
    assert!(
        answer["result"]["instructions"].as_str().unwrap().contains("the pool p, on other machines"),
        "{answer}"
    );
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    // No bucket, no worker.
    let none = client.call("run_command", json!({ "command": "true" }));
    assert!(none.is_error(), "{none:?}");
    let _worker = place.worker("a", &[]);
    let unknown = client.call("wait_command", json!({ "handle": "hto-1-1" }));
    assert!(
        unknown.is_error() && unknown.text().contains("unknown handle hto-1-1: this session has none"),
        "{unknown:?}"
    );
    let run =
        client.call("run_command", json!({ "command": "sleep 1000", "yield_ms": 0, "launch_key": "k" }));
    let again =
        client.call("run_command", json!({ "command": "sleep 1000", "yield_ms": 0, "launch_key": "k" }));
    assert_eq!(run.field("handle"), again.field("handle"));
    let other = client.call("run_command", json!({ "command": "sleep 1", "yield_ms": 0, "launch_key": "k" }));
    assert!(other.is_error() && other.text().contains("launch_key"), "{other:?}");
    let unknown = client.call("wait_command", json!({ "handle": "hto-1-1" }));
    let handle = run.field("handle").as_str().unwrap();
    assert!(unknown.text().contains(&format!("{handle} (/bin/sh -c 'sleep 1000', running)")), "{unknown:?}");
}

#[test]
fn the_death_of_a_worker_is_told_as_lost() {
    let Some(place) = Place::new() else { return };
    let mut gone = place.worker("a", &["--lease", "2s"]);
    let mut client = start(&place, &[]).old();
    let handle = client.start_command("sleep 1000");
    gone.signal(Signal::SIGKILL);
    gone.is_over();
    let _worker = place.worker("b", &["--lease", "2s"]);
    let lost =
        client.call("wait_command", json!({ "handle": handle, "timeout_ms": LIMIT.as_millis() as u64 }));
    assert_eq!(
        (lost.field("status"), lost.field("stop_cause")),
        (&json!("lost"), &json!("host_gone")),
        "{lost:?}"
    );
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
}

#[test]
fn what_was_started_on_a_worker_that_is_silent_is_named_and_searched_once_it_has_ended() {
    let Some(place) = Place::new() else { return };
    let worker = place.worker("a", &["--slots", "4"]);
    place.fifo("go");
    let go = place.path("go").display().to_string();
    let mut client = start(&place, &[]).old();
    let script = format!("echo ready; read x < {go}; echo steady; exit 3");
    let run = client.ask_tool("run_command", json!({ "command": script, "yield_ms": 0, "launch_key": "k" }));
    let handle = client.said(run).field("handle").clone();
    // The pool knows that it runs, and by what record.
    until("it is listed", || place.ps().iter().any(|line| line["state"] == "running"));
    worker.signal(Signal::SIGSTOP);
    // Nobody can say how it stands; a model that did not hear its handle would run it again.
    let again = client.call("run_command", json!({ "command": script, "yield_ms": 0, "launch_key": "k" }));
    assert_eq!((again.field("handle"), again.field("status")), (&handle, &json!("running")), "{again:?}");
    assert!(
        again.text().contains("state: it was started, and how it stands can't be asked now: worker a"),
        "{again:?}"
    );
    worker.signal(Signal::SIGCONT);
    place.go("go");
    let ended = client.call("wait_command", json!({ "handle": handle, "timeout_ms": 60000 }));
    assert_eq!(ended.field("exit_code"), 3, "{ended:?}");
    // As on one machine, what it has written before its end is searched.
    let met = client.call("wait_command", json!({ "handle": handle, "pattern": "^ste(a)" }));
    assert_eq!(met.field("condition")["groups"], json!(["stea", "a"]), "{met:?}");
    let vain = client.call("wait_command", json!({ "handle": handle, "pattern": "^never" }));
    assert!(vain.field("condition").is_null(), "{vain:?}");
    assert!(client.call("wait_command", json!({ "handle": handle, "pattern": "(" })).is_error());
}

#[test]
fn what_can_t_be_had_there_is_refused_by_name_whoever_has_set_it() {
    let Some(place) = Place::new() else { return };
    let refused = |args: &[&str]| {
        let mut mcp = place.ostler(&["mcp", "--pool", "p"]);
        let (status, _, said) = Running::begin(mcp.args(args).stdin(Stdio::null())).end();
        assert_eq!(status.code(), Some(125), "{said}");
        said
    };
    assert!(refused(&["--session", "s", "--keep-for", "1m"]).contains("--keep-for (mcp.keep_for)"));
    assert!(refused(&["--root", "/"]).contains("--root (mcp.root)"));
    assert!(refused(&["--max-commands", "3"]).contains("--max-commands (mcp.max_commands)"));
    assert!(refused(&["--trace", "t"]).contains("--trace"));
    assert!(refused(&["--artifacts", "a"]).contains("--artifacts"));
    // A limit of the machine's owner is not left out in silence.
    fs::write(place.path("ostler.toml"), "[mcp]\nroot = \"/\"\n").unwrap();
    let config = place.path("ostler.toml").display().to_string();
    assert!(refused(&["--config", &config]).contains("--root (mcp.root)"));
    let output = place.ostler(&["mcp", "--nats", "nats://127.0.0.1:1"]).output().unwrap();
    assert!(!output.status.success() && text(&output.stderr).contains("--pool"), "{output:?}");
}
