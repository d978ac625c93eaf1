//! What a model reads: `docs/for-models.md` is what the server says, in a world of programs that do what they are told.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

use ostler::{
    Config, LaunchRequest, Ostler,
    testing::{Program, Reaction, World},
};
use ostler_mcp::{Options, Server};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, path::Path, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};

struct Client {
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    next: u64,
}

impl Client {
    async fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let line = json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params });
        self.write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let answer = self.lines.next_line().await.unwrap().unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A shell's line, or the words of a program.
fn program(request: &LaunchRequest) -> Option<Program> {
    let line = request.args.last().map_or_else(|| request.program.to_string(), ToString::to_string);
    let program = Program::new();
    Some(match &*line {
        "git status --short" => {
            program.stdout_at(Duration::ZERO, " M src/main.rs\n").exits_at(Duration::ZERO, 0)
        }
        "cargo test" => program
            .stderr_at(at(1), "   Compiling demo v0.1.0\n")
            .stdout_at(at(40), "test parser::reads_it ... FAILED\n")
            .exits_at(at(41), 101),
        "npm run dev" => program.stdout_at(at(2), "ready on http://localhost:3000\n").listens_at(at(2), 3000),
        "./deploy" => program
            .stdout_at(Duration::ZERO, "to production\n")
            .prompts_at(Duration::ZERO, "really? ")
            .on_line(|answer| Reaction::says(format!("answer: {answer}\n")).exits(0)),
        "make" => program.stderr_at(at(3), "compiling parser.c\n").dies_at(at(3), "SIGSEGV"),
        _ => program,
    })
}

const TEST: &str = "hto-1-2";
const DEV: &str = "hto-1-3";
const DEPLOY: &str = "hto-1-4";

/// What is asked, in order, in one session.
fn questions() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("A command that ends in time", "run_command", json!({ "command": "git status --short" })),
        ("One that does not", "run_command", json!({ "command": "cargo test", "yield_ms": 5000 })),
        ("A server, until it is ready", "run_command", json!({ "command": "npm run dev", "yield_ms": 0 })),
        ("", "wait_command", json!({ "handle": DEV, "port": 3000 })),
        (
            "What has not come in time, and an end meanwhile",
            "wait_command",
            json!({ "handle": DEV, "pattern": "compiled", "timeout_ms": 40000, "offset": 31 }),
        ),
        (
            "A question, and its answer",
            "run_command",
            json!({ "command": "./deploy", "interactive": true, "yield_ms": 0 }),
        ),
        ("", "wait_command", json!({ "handle": DEPLOY, "input": true })),
        ("", "write_stdin", json!({ "handle": DEPLOY, "text": "no\n" })),
        ("A program that crashes", "run_command", json!({ "argv": ["make"] })),
        ("What there is", "list_commands", json!({})),
        ("A stop", "cancel_command", json!({ "handle": DEV })),
        ("Again", "cancel_command", json!({ "handle": DEV })),
        ("Time that is up", "run_command", json!({ "command": "sleep 100", "timeout_ms": 2000 })),
        ("Silence", "run_command", json!({ "command": "sleep 100", "idle_timeout_ms": 3000 })),
        ("No end of any", "wait_command", json!({ "timeout_ms": 1000 })),
        ("Errors: a handle that is none", "wait_command", json!({ "handle": "hto-1-99" })),
        ("Nothing to run", "run_command", json!({})),
        ("Two things to run", "run_command", json!({ "command": "ls", "argv": ["ls"] })),
        ("A field that is not there", "run_command", json!({ "cmd": "ls" })),
        ("A value of another type", "run_command", json!({ "command": "ls", "timeout_ms": "60" })),
        ("A limit of no time", "run_command", json!({ "command": "ls", "timeout_ms": 0 })),
        ("A variable without a name", "run_command", json!({ "command": "ls", "env": { "": "x" } })),
        ("Input to what has ended", "write_stdin", json!({ "handle": TEST, "text": "x" })),
        ("A key that is none", "write_stdin", json!({ "handle": TEST, "keys": ["any"] })),
        ("Nothing to write", "write_stdin", json!({ "handle": TEST })),
        ("A screen without a terminal", "read_command_output", json!({ "handle": TEST, "screen": true })),
        ("Two ways to read", "read_command_output", json!({ "handle": TEST, "tail": 5, "offset": 0 })),
        ("A pattern that is none", "wait_command", json!({ "handle": TEST, "pattern": "(" })),
        (
            "Force and a signal",
            "cancel_command",
            json!({ "handle": TEST, "force": true, "signal": "SIGINT" }),
        ),
        ("A signal to what has ended", "cancel_command", json!({ "handle": TEST, "signal": "SIGINT" })),
        ("A wait for any end, with a condition", "wait_command", json!({ "pattern": "x" })),
    ]
}

fn of_schema(schema: &Value, text: &mut String) {
    for (name, property) in schema["properties"].as_object().unwrap() {
        let kind = property["type"].as_str().unwrap();
        let words: Vec<&str> =
            property["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let words = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        writeln!(text, "- `{name}`, {kind}{words}: {}", property["description"].as_str().unwrap()).unwrap();
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !required.is_empty() {
        writeln!(text, "\nRequired: {}.", required.join(", ")).unwrap();
    }
    text.push('\n');
}

const ABOUT: &str = "# What models are told

Every text of `ostler mcp` that a model reads: what it is told of the server and of each tool, then answers and errors. A test writes
this page and compares it (`mcp/tests/for_models.rs`); times and handles are those of a scripted world.

## The server

";

async fn page() -> String {
    let world = World::new();
    world.programs_by(program);
    let server = Server::new(Options::new(), move || {
        Ok(Ostler::scripted(Config::default(), &world)?.open_session().wait()?)
    });
    let (client, served) = tokio::io::duplex(1 << 20);
    let (read, write) = tokio::io::split(served);
    let serves = tokio::spawn(async move {
        server.serve(read, write, std::future::pending()).await;
        server.end().await;
    });
    let (read, write) = tokio::io::split(client);
    let mut client = Client { write, lines: BufReader::new(read).lines(), next: 0 };
    let info = json!({ "name": "t", "version": "1" });
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info });
    let hello = client.request("initialize", hello).await;
    let mut text = ABOUT.to_owned();
    writeln!(text, "{}\n", hello["result"]["instructions"].as_str().unwrap()).unwrap();
    let tools = client.request("tools/list", json!({})).await;
    for tool in tools["result"]["tools"].as_array().unwrap() {
        let (name, about) = (tool["name"].as_str().unwrap(), tool["description"].as_str().unwrap());
        writeln!(text, "## {name}\n\n{about}\n").unwrap();
        of_schema(&tool["inputSchema"], &mut text);
    }
    text += "## Answers\n\n";
    for (title, tool, arguments) in questions() {
        if !title.is_empty() {
            writeln!(text, "### {title}\n").unwrap();
        }
        let answer = client.request("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        let result = &answer["result"];
        let error = if result["isError"] == true { "   (an error)" } else { "" };
        writeln!(text, "```text\n{tool} {arguments}{error}").unwrap();
        for block in result["content"].as_array().unwrap_or_else(|| panic!("{answer}")) {
            for line in block["text"].as_str().unwrap().lines() {
                writeln!(text, "  {line}").unwrap();
            }
        }
        text += "```\n\n";
    }
    drop(client);
    serves.await.unwrap();
    text
}

#[test]
fn the_page_of_texts_for_models_is_what_the_server_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let written = runtime.block_on(page());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/for-models.md");
    if fs::read_to_string(&path).unwrap_or_default() != written {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("for-models.md");
        fs::write(&new, written).unwrap();
        panic!("docs/for-models.md is another: read {} and copy it there if it is right", new.display());
    }
}

#[test]
fn no_schema_has_words_that_clients_warn_of() {
    fn walk(value: &Value, path: &str) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let is_word = value.is_string() && matches!(&**name, "format" | "$schema" | "$ref");
                    assert!(!is_word, "{path}.{name}");
                    walk(value, &format!("{path}.{name}"));
                }
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, path)),
            _ => {}
        }
    }
    let tools = ostler_mcp::descriptions();
    for tool in tools.as_array().unwrap() {
        walk(tool, tool["name"].as_str().unwrap());
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object");
        }
        for property in tool["inputSchema"]["properties"].as_object().unwrap().values() {
            // Some models' APIs refuse lists of types.
            assert!(property["type"].is_string() && property["description"].is_string(), "{property}");
        }
        assert!(tool["description"].as_str().unwrap().len() < 700, "{tool}");
    }
}
