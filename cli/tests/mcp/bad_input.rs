//! What no client should send: each is answered, the server lives on, and nothing is lost.

use crate::{
    client::{Client, Speaks},
    place::Place,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::fd::AsFd,
    process::Stdio,
};

/// That it lives and works.
fn works(client: &mut Client) {
    let said = client.call("run_command", json!({ "argv": ["echo", "works"] }));
    assert_eq!(said.field("output"), "works\n");
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn lines_that_are_no_messages_are_answered_one_by_one() {
    let place = Place::new();
    let mut client = place.start(&[]);
    // Before the handshake too.
    for round in 0..2 {
        for (line, code, id) in [
            ("garbage", -32700, Value::Null),
            ("{", -32700, Value::Null),
            ("\u{0}", -32700, Value::Null),
            ("[]", -32600, Value::Null),
            ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600, Value::Null),
            ("{}", -32600, Value::Null),
            ("null", -32600, Value::Null),
            ("7", -32600, Value::Null),
            ("{\"jsonrpc\":\"1.0\",\"id\":5,\"method\":\"ping\"}", -32600, json!(5)),
            ("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"tools/call\",\"params\":3}", -32602, json!("x")),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"tools/call\",\"params\":{\"name\":7}}",
                -32602,
                json!(6),
            ),
        ] {
            client.raw(format!("{line}\n").as_bytes());
            let answer = client.next();
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(code), &id),
                "{round}: {line}: {answer}"
            );
        }
        // What nobody waits for is not answered.
        client.raw(b"\n  \r\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unknown\"}\n");
        client.raw(
            b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":99}}\n",
        );
        client.raw(b"{\"jsonrpc\":\"2.0\",\"id\":400,\"result\":{}}\n");
        if round == 0 {
            client = client.old();
        }
    }
    let unknown = client.request("nothing/such", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    works(&mut client);
    assert!(client.close().success());
}

#[test]
fn a_line_of_a_gigabyte_is_answered_and_never_held() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    works(&mut client);
    let block = vec![b'a'; 1 << 20];
    for _ in 0..1024 {
        client.raw(&block);
    }
    client.raw(b"\n");
    let answer = client.next();
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    works(&mut client);
    let kib = memory_kib(client.pid());
    assert!(kib < 150 << 10, "{kib} KiB");
}

#[test]
fn arguments_that_are_wrong_are_told_with_what_to_do() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let handle = client.start_command("sleep 1000");
    let large = "x".repeat(10 << 20);
    for (tool, arguments, says) in [
        ("run_command", json!({}), "command: it is missing"),
        ("run_command", json!({ "command": "a", "argv": ["b"] }), "give one of them"),
        ("run_command", json!({ "argv": [] }), "argv: it is empty"),
        ("run_command", json!({ "comand": "a" }), "unknown field `comand`"),
        ("run_command", json!({ "command": "a", "yield_ms": -1 }), "yield_ms: "),
        ("run_command", json!({ "command": "a", "yield_ms": "1" }), "yield_ms: "),
        ("run_command", json!({ "command": "a", "timeout_ms": 0 }), "timeout_ms"),
        ("run_command", json!({ "command": "a", "env": { "A=B": "c" } }), "A=B"),
        ("run_command", json!({ "command": "a\u{0}b" }), "NUL"),
        ("run_command", json!({ "argv": ["/no/such/program"] }), "not found"),
        ("run_command", json!({ "command": "a", "cwd": "/no/such" }), "/no/such"),
        ("run_command", json!({ "argv": ["echo", large] }), "long"),
        ("run_command", json!({ "command": "cat", "stdin": large }), "stdin"),
        ("wait_command", json!({ "handle": "hto-1-1" }), &handle),
        ("wait_command", json!({ "handle": 7 }), "handle: "),
        ("wait_command", json!({ "handle": handle, "pattern": "(" }), "pattern"),
        ("read_command_output", json!({}), "handle"),
        ("read_command_output", json!({ "handle": handle, "offset": 1, "tail": 2 }), "give one of them"),
        ("read_command_output", json!({ "handle": handle, "screen": true }), "terminal"),
        ("read_command_output", json!({ "handle": "../../etc/passwd" }), &handle),
        ("write_stdin", json!({ "handle": handle, "text": "x" }), "interactive"),
        ("write_stdin", json!({ "handle": handle }), "nothing to write"),
        ("write_stdin", json!({ "handle": handle, "keys": ["hyper"] }), "there is no key"),
        ("cancel_command", json!({ "handle": handle, "signal": "SIGWHAT" }), "SIGINT"),
        ("list_commands", json!({ "labels": 5 }), "labels: "),
    ] {
        let said = client.call(tool, arguments.clone());
        let text = said.text();
        assert!(
            said.is_error() && text.contains(says),
            "{tool} {}: {text}",
            &arguments.to_string()[..60.min(arguments.to_string().len())]
        );
        assert!(text.len() < 2_000, "{tool}: {} bytes", text.len());
    }
    let unknown = client.request("tools/call", json!({ "name": "format_disk", "arguments": {} }));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    for uri in [
        "ostler://commands/",
        "ostler://commands/hto-1-1",
        "ostler://commands/../x",
        "file:///etc/passwd",
        "",
    ] {
        let answer = client.request("resources/read", json!({ "uri": uri }));
        assert!(answer["error"]["code"].is_i64(), "{uri}: {answer}");
        assert_eq!(answer["error"]["data"]["uri"], uri, "{answer}");
    }
    works(&mut client);
    assert_eq!(
        client.call("list_commands", json!({ "running": true })).field("commands").as_array().unwrap().len(),
        1
    );
}

#[test]
fn an_unknown_version_is_answered_with_those_that_are_known() {
    let place = Place::new();
    let mut client = place.start(&[]);
    let hello = json!({ "protocolVersion": "2099-01-01", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let answer = client.request("initialize", hello);
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
    let mut client = place.start(&[]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2099-01-01",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let answer = client.request("tools/list", json!({ "_meta": meta }));
    assert!(answer["error"]["message"].is_string(), "{answer}");
    works(&mut client.old());
}

#[test]
fn a_method_that_the_newest_version_has_no_more_is_told_so_whatever_its_params() {
    let place = Place::new();
    let mut client = place.start(&[]).speaks(Speaks::V2026_07_28, json!({}));
    for method in ["initialize", "resources/subscribe", "resources/unsubscribe", "ping"] {
        let answer = client.request(method, json!({}));
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
    let answer = client.request("resources/read", json!({}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let mut client = place.start(&[]).old();
    let answer = client.request("resources/subscribe", json!({}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    works(&mut client);
}

#[test]
fn of_two_requests_with_one_id_the_second_is_refused_and_the_first_answered() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    place.fifo("go");
    let run = json!({ "name": "run_command", "arguments": { "command": "read x < go; echo went" } });
    let ask = json!({ "jsonrpc": "2.0", "id": "same", "method": "tools/call", "params": run });
    client.send(&ask);
    client.send(&json!({ "jsonrpc": "2.0", "id": "same", "method": "tools/list" }));
    let refused = client.next();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("same"), &json!(-32600)), "{refused}");
    place.go("go");
    let answer = client.next();
    assert_eq!(answer["result"]["structuredContent"]["output"], "went\n", "{answer}");
    // Once it has its answer the id is free: some clients have one for all.
    for _ in 0..100 {
        client.send(&json!({ "jsonrpc": "2.0", "id": "same", "method": "tools/list" }));
        assert!(client.next()["result"].is_object());
    }
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
}

#[test]
fn floods_of_requests_and_of_output_are_answered() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let flood = client.start_command("trap '' TERM; yes 'a line of the flood'; while :; do :; done");
    let ids: Vec<u64> = (0..100)
        .map(|n| client.ask_tool("run_command", json!({ "command": format!("echo {n}"), "yield_ms": 60000 })))
        .collect();
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(client.said(id).field("output"), &json!(format!("{n}\n")));
    }
    let stopped = client.call("cancel_command", json!({ "handle": flood, "force": true }));
    assert_eq!(stopped.field("signal"), "SIGKILL");
    assert!(stopped.field("output").as_str().unwrap().len() < 31_000);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_for_ever() {
    let place = Place::new();
    let mut child = place.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let info = json!({ "name": "t", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    stdin.write_all(format!("{hello}\n").as_bytes()).unwrap();
    // Far more than it may owe, and what its pipes hold beside.
    let stopped = (1..200_000).any(|id| {
        let mut room = [PollFd::new(stdin.as_fd(), PollFlags::POLLOUT)];
        let full = poll(&mut room, PollTimeout::from(2_000_u16)).unwrap() == 0;
        if !full {
            let ask = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {} });
            stdin.write_all(format!("{ask}\n").as_bytes()).unwrap();
        }
        full
    });
    assert!(stopped, "it took everything");
    let kib = memory_kib(child.id());
    assert!(kib < 250 << 10, "{kib} KiB");
    // Once its answers are read it goes on.
    let answers = BufReader::new(child.stdout.take().unwrap()).lines().take(3_000);
    assert_eq!(answers.filter(|line| line.is_ok()).count(), 3_000);
    drop(stdin);
    child.kill().unwrap();
    child.wait().unwrap();
}
