//! An end is told once, whatever becomes of the answers that carry it.

use crate::{client::Speaks, place::Place};
use serde_json::json;

#[test]
fn an_end_is_told_by_the_next_answer_of_any_tool_once() {
    let place = Place::new();
    place.fifo("go");
    let mut client = place.start(&[]).old();
    let waits = client.start_command("read x < go");
    let other = client.start_command("sleep 1000");
    place.go("go");
    // Errors carry it too: so the answer that comes first after the end does, whichever that is.
    let mut told = Vec::new();
    while told.is_empty() {
        let said = client.call("read_command_output", json!({ "handle": "hto-1-1" }));
        assert!(said.is_error());
        told.extend(said.text().lines().filter(|line| line.contains("* ")).map(str::to_owned));
        // For programs, which read no text.
        let lines = said.0["_meta"]["ostler/ended"].as_array().cloned().unwrap_or_default();
        assert_eq!(lines.len(), told.len(), "{said:?}");
        assert!(told.iter().zip(&lines).all(|(text, line)| text.strip_prefix("* ") == line.as_str()));
    }
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&waits) && told[0].contains("ended: succeeded after"), "{told:?}");
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
    // Whoever waits for it is told by the answer itself, and others are not.
    let waiter = client.ask_tool("wait_command", json!({ "handle": other, "timeout_ms": 60000 }));
    client.call("cancel_command", json!({ "handle": other, "yield_ms": 0 }));
    let ended = client.said(waiter);
    assert_eq!((ended.field("status"), ended.ended().len()), (&json!("killed"), 0));
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
}

#[test]
fn an_answer_that_was_cancelled_gives_its_ends_back() {
    for how in [Speaks::V2025_06_18, Speaks::V2026_07_28] {
        let place = Place::new();
        place.fifo("go");
        let mut client = place.start(&[]).speaks(how, json!({}));
        let run = client.ask_tool("run_command", json!({ "command": "read x < go", "yield_ms": 600000 }));
        let cancel =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": run } });
        let mut begun = false;
        while !begun {
            let rows = client.call("list_commands", json!({}));
            begun = !rows.field("commands").as_array().unwrap().is_empty();
        }
        client.send(&cancel);
        place.go("go");
        let any = client.call("wait_command", json!({ "timeout_ms": 60000 }));
        assert_eq!(any.ended().len(), 1, "{any:?}");
        assert!(any.ended()[0].contains("ended: succeeded"), "{any:?}");
        // The cancelled request has no answer.
        assert!(client.aside().iter().all(|message| message["id"] != run));
    }
}

/// Its client has thrown it away: it looks at no answer of a request that it has cancelled.
#[test]
fn an_answer_that_crosses_its_cancel_gives_its_ends_back() {
    for how in [Speaks::V2025_06_18, Speaks::V2026_07_28] {
        let place = Place::new();
        place.fifo("go");
        let mut client = place.start(&[]).speaks(how, json!({}));
        let cancel = |id| json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
        let handle = client.start_command("read x < go");
        let any = client.ask_tool("wait_command", json!({ "timeout_ms": 60000 }));
        place.go("go");
        assert_eq!(client.said(any).ended().len(), 1);
        // It was written whole long ago, and the client says that it has not looked at it.
        client.send(&cancel(any));
        let again = client.call("list_commands", json!({})).ended();
        assert!(again.len() == 1 && again[0].starts_with(&handle), "{again:?}");
        assert!(again[0].ends_with("(again: it may have been told before)"), "{again:?}");
        // So with the answer that is about it.
        let run = client.ask_tool("run_command", json!({ "command": "exit 3" }));
        assert_eq!(client.said(run).field("exit_code"), 3);
        client.send(&cancel(run));
        client.send(&cancel(run));
        let again = client.call("list_commands", json!({})).ended();
        assert!(again.len() == 1 && again[0].contains("failed after"), "{again:?}");
        assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
    }
}

#[test]
fn of_many_ends_each_is_told_once_however_requests_are_cancelled() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let commands = 150;
    for _ in 0..commands {
        client.ask_tool("run_command", json!({ "argv": ["true"], "yield_ms": 0 }));
    }
    let mut told = Vec::new();
    let mut direct = 0;
    let mut open: Vec<u64> = (client_ids(commands)).collect();
    let mut n = 0;
    while told.len() + direct < commands {
        let id = client.ask_tool("list_commands", json!({ "limit": 1 }));
        n += 1;
        if n % 2 == 0 {
            // Cancelled at once: it may be answered already, then what it says is told again.
            client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }));
            // A later answer tells how far the server is.
            let after = client.ask_tool("list_commands", json!({ "limit": 1 }));
            let said = client.said(after);
            tell(&mut told, said.ended());
        } else {
            tell(&mut told, client.said(id).ended());
        }
        for message in client.aside() {
            let Some(id) = message["id"].as_u64() else { continue };
            let said = crate::client::Said(message["result"].clone());
            tell(&mut told, said.ended());
            if open.contains(&id) {
                open.retain(|open| *open != id);
                direct += usize::from(said.field("status") != "running");
            }
        }
        assert!(n < 10_000, "{} told, {direct} by their own answers", told.len());
    }
    let handles: std::collections::BTreeSet<&str> =
        told.iter().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!((told.len() + direct, handles.len()), (commands, told.len()));
    assert_eq!(client.call("list_commands", json!({})).ended(), [""; 0]);
}

/// Once, but for those that say that they are told again.
fn tell(told: &mut Vec<String>, ended: Vec<String>) {
    let handle = |line: &str| line.split_once(' ').unwrap().0.to_owned();
    let again = |line: &str| line.ends_with("(again: it may have been told before)");
    for line in ended {
        let same = |one: &String| handle(one) == handle(&line) && (again(one) || again(&line));
        if !told.iter().any(same) {
            told.push(line);
        }
    }
}

/// A client's first requests after its handshake.
fn client_ids(count: usize) -> impl Iterator<Item = u64> {
    2..2 + count as u64
}

#[test]
fn of_two_that_wait_for_any_end_one_is_told_and_the_other_goes_on_waiting() {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    for round in 0..10 {
        let fifos = [format!("a{round}"), format!("b{round}")];
        for fifo in &fifos {
            place.fifo(fifo);
            client.start_command(&format!("read x < {fifo}"));
        }
        let waits: Vec<u64> =
            (0..2).map(|_| client.ask_tool("wait_command", json!({ "timeout_ms": 60000 }))).collect();
        let mut told = Vec::new();
        for fifo in &fifos {
            place.go(fifo);
            let answer = client.next();
            assert!(waits.contains(&answer["id"].as_u64().unwrap()), "{answer}");
            let said = crate::client::Said(answer["result"].clone());
            assert_eq!((said.field("wait_timed_out"), said.ended().len()), (&json!(false), 1), "{said:?}");
            told.extend(said.ended());
        }
        assert_ne!(told[0], told[1]);
    }
}
