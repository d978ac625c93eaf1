//! Agent programs, as far as they start a server and list its tools without an account. Each is told of the server as docs/agents.md says it.

use crate::place::{LIMIT, Place};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
};

fn agents() -> Option<Place> {
    // Some of them need a newer Node than there may be.
    let (place, _node) = (Place::of("agents")?, Place::of("node")?);
    Some(place)
}

fn agent(place: &Place, program: &str) -> Command {
    let mut command = match program {
        // A script of the package would have put it where npm links it.
        "claude" => place.command(place.client("node_modules/@anthropic-ai/claude-code-linux-x64/claude")),
        _ => {
            let mut command = place.command(place.node());
            command.arg(place.client("node_modules/.bin").join(program));
            command
        }
    };
    // Nothing is to be fetched, and nobody told.
    command.env("DISABLE_AUTOUPDATER", "1").env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    command
}

#[test]
fn claude_code_connects() {
    let Some(place) = agents() else { return };
    let added = place.run({
        let mut command = agent(&place, "claude");
        command.args(["mcp", "add", "ostler", "--"]).args(place.server());
        command
    });
    assert!(added.success, "{added:?}");
    let mut list = agent(&place, "claude");
    list.args(["mcp", "list"]);
    let listed = place.run(list);
    let connected = |line: &str| line.starts_with("ostler: ") && line.ends_with("✔ Connected");
    assert!(listed.success && listed.stdout.lines().any(connected), "{listed:?}");
}

#[test]
fn gemini_cli_connects() {
    let Some(place) = agents() else { return };
    let mut add = agent(&place, "gemini");
    add.args(["mcp", "add", "--scope", "user", "ostler"]).args(place.server());
    let added = place.run(add);
    assert!(added.success, "{added:?}");
    // It starts nothing in a directory that nobody has said to trust.
    let here = place.path("").canonicalize().unwrap();
    let trusted = json!({ here.to_str().unwrap(): "TRUST_FOLDER" });
    fs::write(place.path(".gemini/trustedFolders.json"), trusted.to_string()).unwrap();
    let mut list = agent(&place, "gemini");
    list.args(["mcp", "list"]);
    let listed = place.run(list);
    let said = format!("{}{}", listed.stdout, listed.stderr);
    let connected = |line: &str| line.contains("ostler: ") && line.ends_with("Connected");
    assert!(listed.success && said.lines().any(connected), "{listed:?}");
}

#[test]
fn codex_lists_the_tools_with_their_schemas() {
    let Some(place) = agents() else { return };
    let mut add = agent(&place, "codex");
    add.args(["mcp", "add", "ostler", "--"]).args(place.server());
    let added = place.run(add);
    assert!(added.success, "{added:?}");

    let mut serve = agent(&place, "codex");
    serve.arg("app-server").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = serve.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for message in [
        json!({ "id": 1, "method": "initialize", "params": { "clientInfo": { "name": "checks", "version": "1" } } }),
        json!({ "method": "initialized" }),
        json!({ "id": 2, "method": "mcpServerStatus/list", "params": {} }),
    ] {
        writeln!(stdin, "{message}").unwrap();
    }
    let (send, answers) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || {
        let messages = stdout.lines().map_while(Result::ok);
        let messages = messages.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        messages.filter(|message| message["id"] == 2).for_each(|answer| drop(send.send(answer)));
    });
    let answer = answers.recv_timeout(LIMIT);
    child.kill().unwrap();
    child.wait().unwrap();
    let answer = answer.expect("an answer");
    let server = &answer["result"]["data"][0];
    assert_eq!(server["serverInfo"]["name"], "ostler", "{answer}");
    let tools = server["tools"].as_object().unwrap();
    assert_eq!(tools.len(), 6, "{answer}");
    for (name, tool) in tools {
        assert!(tool["inputSchema"]["properties"].is_object(), "{name}: {tool}");
        assert!(tool["annotations"]["title"].is_string(), "{name}: {tool}");
    }
}
