//! Each tool, as a model uses it.

use crate::{
    client::{Client, Speaks},
    place::Place,
};
use serde_json::json;

#[test]
fn each_tool_does_what_it_says_in_each_generation() {
    for how in [Speaks::V2025_06_18, Speaks::V2026_07_28] {
        let place = Place::new();
        let mut client = place.start(&[]).speaks(how, json!({}));
        let tools = client.request("tools/list", json!({}));
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 6);

        let failed = client.call("run_command", json!({ "command": "echo out; echo err >&2; exit 3" }));
        assert_eq!((failed.field("exit_code"), failed.field("success")), (&json!(3), &json!(false)));
        // Two pipes: which of them is seen first is not said.
        let output = failed.field("output").as_str().unwrap().to_owned();
        assert!(
            ["out\nerr\n", "err\nout\n"].contains(&&*output) && failed.text().starts_with(&output),
            "{}",
            failed.text()
        );
        assert!(failed.text().contains("ended: failed after"), "{}", failed.text());

        let cat = client.call("run_command", json!({ "argv": ["cat"], "interactive": true, "yield_ms": 0 }));
        let handle = cat.field("handle").clone();
        assert_eq!(cat.field("status"), "running");
        let wrote = client.call("write_stdin", json!({ "handle": handle, "text": "hello\n" }));
        assert_eq!(wrote.field("output"), "hello\n");
        let waited = client.call("wait_command", json!({ "handle": handle, "pattern": "hel(lo)" }));
        assert_eq!(waited.field("condition")["groups"], json!(["hello", "lo"]));
        let vain =
            client.call("wait_command", json!({ "handle": handle, "pattern": "never", "timeout_ms": 10 }));
        assert_eq!((vain.field("wait_timed_out"), vain.field("status")), (&json!(true), &json!("running")));
        let read = client.call("read_command_output", json!({ "handle": handle, "offset": 1 }));
        assert_eq!((read.field("output"), read.field("next_offset")), (&json!("ello\n"), &json!(6)));
        let found = client.call("read_command_output", json!({ "handle": handle, "find": "l+o" }));
        assert_eq!((found.field("output"), found.field("matches")), (&json!("1: hello\n"), &json!(1)));
        let listed = client.call("list_commands", json!({}));
        let rows = listed.field("commands").as_array().unwrap().clone();
        assert_eq!((rows.len(), &rows[0]["handle"], &rows[0]["status"]), (2, &handle, &json!("running")));
        let stopped = client.call("cancel_command", json!({ "handle": handle }));
        assert_eq!(
            (stopped.field("status"), stopped.field("stop_cause")),
            (&json!("killed"), &json!("cancelled"))
        );
        assert_eq!(stopped.ended(), [""; 0]);
        // Its end was told by that answer.
        assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
        assert!(client.close().success());
    }
}

#[test]
fn what_is_long_is_cut_in_its_middle_and_every_byte_can_be_read() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let said = client.call("run_command", json!({ "command": "seq 1 20000" }));
    let (output, total) =
        (said.field("output").as_str().unwrap().to_owned(), said.field("total_bytes").as_u64().unwrap());
    assert_eq!(total, 108_894);
    assert!(output.len() < 30_200, "{}", output.len());
    assert!(output.starts_with("1\n2\n") && output.ends_with("\n19999\n20000\n"));
    let (head, tail) = output.split_once("[… ").unwrap();
    let (mark, tail) = tail.split_once("…]\n").unwrap();
    let omitted = said.field("omitted_bytes").as_u64().unwrap();
    assert_eq!(mark, format!("{omitted} bytes omitted; read them from offset 7500 "));
    // The cut is within a line, which ends here.
    let head = head.strip_suffix('\n').unwrap();
    assert_eq!(head.len() as u64 + omitted + tail.len() as u64, total);

    let (mut all, mut offset) = (String::new(), 0);
    while offset < total {
        let arguments = json!({ "handle": said.field("handle"), "offset": offset });
        let page = client.call("read_command_output", arguments);
        all += page.field("output").as_str().unwrap();
        offset = page.field("next_offset").as_u64().unwrap();
        assert_eq!(page.field("eof"), offset == total);
    }
    assert_eq!(all, (1..=20_000).map(|n| format!("{n}\n")).collect::<String>());
}

#[test]
fn a_prompt_behind_much_output_is_shown_and_answered() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let line = "seq 1 20000; printf 'sure? '; read answer; echo \"you said $answer\"";
    let said = client.call("run_command", json!({ "command": line, "interactive": true, "yield_ms": 0 }));
    let handle = said.field("handle").clone();
    let asked = client.call("wait_command", json!({ "handle": handle, "pattern": "sure", "offset": 0 }));
    assert!(asked.field("output").as_str().unwrap().ends_with("sure? "), "{}", asked.text());
    let read = client.call("read_command_output", json!({ "handle": handle, "tail": 2 }));
    assert_eq!(read.field("output"), "19999\n20000\nsure? ");
    let answered = client.call("write_stdin", json!({ "handle": handle, "text": "yes\n" }));
    assert_eq!(answered.field("output"), "you said yes\n");
    assert_eq!(answered.field("success"), true);
}

#[test]
fn a_terminal_takes_keys_and_shows_its_screen() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let line = "stty size; read x; echo got $x; sleep 1000";
    let said = client.call(
        "run_command",
        json!({ "command": line, "terminal": true, "rows": 10, "columns": 40, "yield_ms": 0 }),
    );
    let handle = said.field("handle").clone();
    client.call("wait_command", json!({ "handle": handle, "pattern": "10 40" }));
    client.call("write_stdin", json!({ "handle": handle, "text": "ab", "keys": ["enter"] }));
    client.call("wait_command", json!({ "handle": handle, "pattern": "got ab" }));
    let screen = client.call("read_command_output", json!({ "handle": handle, "screen": true }));
    assert_eq!(screen.field("output"), "10 40\nab\ngot ab");
    assert_eq!(screen.field("cursor"), &json!([3, 0]));
    client.call("write_stdin", json!({ "handle": handle, "keys": ["ctrl-c"] }));
    let ended = client.call("wait_command", json!({ "handle": handle }));
    assert_eq!((ended.field("status"), ended.field("signal")), (&json!("completed"), &json!("SIGINT")));
}

#[test]
fn a_server_that_becomes_ready_is_waited_for() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let serve = "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\nprint(s.getsockname()[1], flush=True)\ninput()";
    let server = json!({ "argv": ["python3", "-c", serve], "interactive": true, "yield_ms": 0 });
    let handle = client.call("run_command", server).field("handle").clone();
    let said = client.call("wait_command", json!({ "handle": handle, "pattern": r"^\d+$" }));
    let port: u16 = said.field("condition")["line"].as_str().unwrap().parse().unwrap();
    let listens = client.call("wait_command", json!({ "handle": handle, "port": port }));
    assert_eq!(listens.field("condition")["port"], port);
    let waits = client.call("wait_command", json!({ "handle": handle, "input": true }));
    assert_eq!(waits.field("condition")["which"], "input");
    let ended = client.call("write_stdin", json!({ "handle": handle, "eof": true, "yield_ms": 20000 }));
    assert_ne!(ended.field("status"), "running", "{}", ended.text());
}

#[test]
fn standard_error_is_read_apart_where_it_was_asked_for() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let said =
        client.call("run_command", json!({ "command": "echo out; echo err >&2", "separate_stderr": true }));
    for (stream, text) in [("stdout", "out\n"), ("stderr", "err\n")] {
        let read =
            client.call("read_command_output", json!({ "handle": said.field("handle"), "stream": stream }));
        assert_eq!(read.field("output"), text);
    }
}

#[test]
fn the_same_key_starts_nothing_twice_and_labels_find_it() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let build = json!({ "command": "echo $$ >> starts", "launch_key": "build", "labels": { "task": "t-1" } });
    let first = client.call("run_command", build.clone()).field("handle").clone();
    assert_eq!(client.call("run_command", build).field("handle"), &first);
    assert_eq!(std::fs::read_to_string(place.path("starts")).unwrap().lines().count(), 1);
    client.call("run_command", json!({ "command": "true" }));
    let found = client.call("list_commands", json!({ "labels": { "task": "t-1" } }));
    assert_eq!(found.field("commands").as_array().unwrap().len(), 1);
    let other = client.call("run_command", json!({ "command": "false", "launch_key": "build" }));
    assert!(other.is_error() && other.text().contains("launch_key"), "{}", other.text());
}

#[test]
fn limits_stop_a_command_and_say_so() {
    let place = Place::new();
    let mut client = place.start(&["--timeout", "100ms", "--output-limit", "1000"]).old();
    let late = client.call("run_command", json!({ "command": "sleep 1000" }));
    assert_eq!((late.field("status"), late.field("stop_cause")), (&json!("timed_out"), &json!("deadline")));
    let loud = client.call("run_command", json!({ "command": "yes", "timeout_ms": 60000 }));
    assert_eq!((loud.field("status"), loud.field("stop_cause")), (&json!("killed"), &json!("output_limit")));
}

#[test]
fn commands_start_below_the_root_and_nowhere_else() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("root/sub")).unwrap();
    std::os::unix::fs::symlink("/", place.path("root/out")).unwrap();
    let root = place.path("root");
    let mut client = Client::begin(place.command().arg("--root").arg(&root)).old();
    let mut pwd = |cwd: Option<&str>| client.call("run_command", json!({ "argv": ["pwd"], "cwd": cwd }));
    let real = root.canonicalize().unwrap();
    assert_eq!(pwd(None).field("output"), &json!(format!("{}\n", real.display())));
    assert_eq!(pwd(Some("sub")).field("output"), &json!(format!("{}\n", real.join("sub").display())));
    assert!(!pwd(Some(real.join("sub").to_str().unwrap())).is_error());
    for outside in ["/", "..", "out", "sub/../..", "out/tmp", "nowhere"] {
        let said = pwd(Some(outside));
        assert!(said.is_error() && said.text().starts_with("cwd: "), "{outside}: {}", said.text());
    }
}

#[test]
fn schemas_have_no_lists_of_types_and_no_null_among_choices() {
    fn check(schema: &serde_json::Value, at: &str) {
        assert!(!schema["type"].is_array(), "{at}: {schema}");
        let choices = schema["enum"].as_array();
        assert!(
            choices.is_none_or(|choices| choices.iter().all(|choice| choice.is_string())),
            "{at}: {schema}"
        );
        match schema {
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(name, schema)| check(schema, &format!("{at}.{name}")));
            }
            serde_json::Value::Array(all) => all.iter().for_each(|schema| check(schema, at)),
            _ => {}
        }
    }
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let tools = client.request("tools/list", json!({}));
    check(&tools["result"]["tools"], "tools");
}

#[test]
fn text_is_bounded_whatever_the_bytes_are() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    for line in [
        r"for i in $(seq 4000); do printf '\033[65535Cx\n'; done",
        r"head -c 30000 /dev/zero | tr '\0' '\377'",
        r"head -c 3000000 /dev/zero | tr '\0' 'x'",
    ] {
        let said = client.call("run_command", json!({ "command": line }));
        let handle = said.field("handle").clone();
        assert!(said.text().len() < 33_000, "{line}: {}", said.text().len());
        for read in
            [json!({ "offset": 0 }), json!({ "from_line": 1 }), json!({ "tail": 9 }), json!({ "find": "x" })]
        {
            let mut arguments = read.clone();
            arguments["handle"] = handle.clone();
            let said = client.call("read_command_output", arguments);
            assert!(said.text().len() < 36_000, "{line}: {read}: {}", said.text().len());
        }
    }
    let long = client.call("run_command", json!({ "argv": ["true", "x".repeat(100_000)] }));
    assert!(long.0.to_string().len() < 10_000);
    assert!(client.call("list_commands", json!({})).0.to_string().len() < 20_000);
}

#[test]
fn output_can_not_speak_in_the_words_of_the_server() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let line = r"printf 'tok \033]0;evil\007\033[31mred\033[2Jx\n'; sleep 1000";
    let handle = client.start_command(line);
    let said = client.call("wait_command", json!({ "handle": handle, "pattern": "tok(.*)" }));
    assert!(!said.0.to_string().contains("\\u001b") && !said.text().contains('\u{1b}'), "{}", said.0);
}

#[test]
fn a_command_can_not_move_the_root() {
    let place = Place::new();
    std::fs::create_dir(place.path("root")).unwrap();
    let mut client = Client::begin(place.command().arg("--root").arg(place.path("root"))).old();
    let moved = client.call("run_command", json!({ "command": "cd .. && mv root other && ln -s / root" }));
    assert_eq!(moved.field("exit_code"), 0);
    for cwd in [json!("etc"), json!(null), json!("/etc")] {
        let said = client.call("run_command", json!({ "argv": ["pwd"], "cwd": cwd }));
        assert!(said.is_error(), "{cwd}: {said:?}");
    }
}

#[test]
fn a_command_knows_its_place_in_the_clients_trace() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut says = |meta: serde_json::Value| {
        let arguments = json!({ "command": "echo ${TRACEPARENT-none} ${TRACESTATE-none}" });
        let params = json!({ "name": "run_command", "arguments": arguments, "_meta": meta });
        let id = client.ask("tools/call", params);
        client.said(id).field("output").as_str().unwrap().to_owned()
    };
    assert_eq!(says(json!({ "traceparent": parent, "tracestate": "a=1" })), format!("{parent} a=1\n"));
    assert_eq!(says(json!({ "traceparent": parent })), format!("{parent} none\n"));
    for nothing in
        [json!({}), json!({ "traceparent": "no" }), json!({ "traceparent": 7, "tracestate": "a=1" })]
    {
        assert_eq!(says(nothing), "none none\n");
    }
}
