//! `ostler mcp --http`: requests by hand, as bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

struct Served {
    place: TempDir,
    child: Child,
    /// What it has said of where it listens.
    at: String,
    token: String,
}

impl Served {
    fn start(address: &str) -> Served {
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.args(["mcp", "--http", &address.replace("DIR", place.path().to_str().unwrap())]);
        command.arg("--token-file").arg(place.path().join("token"));
        command.arg("--artifacts").arg(place.path().join("artifacts"));
        command.env("XDG_STATE_HOME", place.path()).current_dir(place.path());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let at =
            line.split("listens on ").nth(1).and_then(|rest| rest.split(';').next()).expect(&line).to_owned();
        let token = fs::read_to_string(place.path().join("token")).unwrap();
        Served { place, child, at, token }
    }

    /// Sends these bytes on a connection of their own; everything that comes back.
    fn send(&self, bytes: &[u8]) -> String {
        let mut answer = Vec::new();
        if let Some(path) = self.at.strip_prefix("unix:") {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream.write_all(bytes).unwrap();
            stream.read_to_end(&mut answer).unwrap();
        } else {
            let mut stream = self.connect();
            stream.write_all(bytes).unwrap();
            stream.read_to_end(&mut answer).unwrap();
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn connect(&self) -> TcpStream {
        let at = self.at.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn bytes(&self, headers: &[(&str, &str)], message: &Value) -> Vec<u8> {
        let body = message.to_string();
        let mut lines = vec!["POST /mcp HTTP/1.1".to_owned(), "Connection: close".to_owned()];
        let mut all = vec![
            ("Host", "127.0.0.1".to_owned()),
            ("Authorization", format!("Bearer {}", self.token)),
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "application/json, text/event-stream".to_owned()),
            ("MCP-Protocol-Version", "2026-07-28".to_owned()),
            ("Mcp-Method", message["method"].as_str().unwrap_or_default().to_owned()),
            ("Content-Length", body.len().to_string()),
        ];
        if let Some(name) = message["params"]["name"].as_str() {
            all.push(("Mcp-Name", name.to_owned()));
        }
        all.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        lines.extend(all.into_iter().map(|(name, value)| format!("{name}: {value}")));
        lines.extend(
            headers
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("{name}: {value}")),
        );
        format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
    }

    /// A request, with these headers in place of the usual ones; its status and answer.
    fn request(&self, headers: &[(&str, &str)], message: &Value) -> (u16, Value) {
        let answer = self.send(&self.bytes(headers, message));
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&answer);
        // The body of an event stream, or plain.
        let json = answer.split(['\n', '\r']).find_map(|line| {
            let line = line.strip_prefix("data:").unwrap_or(line).trim();
            serde_json::from_str::<Value>(line).ok().filter(Value::is_object)
        });
        (status, json.unwrap_or(Value::Null))
    }

    fn call(&self, session: &str, name: &str, arguments: Value) -> Value {
        let (status, answer) = self.request(&[("ostler-session", session)], &tool(name, arguments));
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }
}
impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(name: &str, arguments: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments, "_meta": meta } })
}

fn ended(result: &Value) -> usize {
    result["structuredContent"]["ended"].as_array().expect("an answer").len()
}

#[test]
fn sessions_by_name_have_their_own_commands_and_an_end_is_told_once() {
    for address in ["127.0.0.1:0", "unix:DIR/socket"] {
        let served = Served::start(address);
        let said = served.call("a", "run_command", json!({ "command": "echo hello" }));
        assert_eq!(said["structuredContent"]["output"], "hello\n", "{said}");
        assert_eq!(served.call("b", "list_commands", json!({}))["structuredContent"]["commands"], json!([]));
        let fifo = served.place.path().join("go");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        served.call("a", "run_command", json!({ "command": "read x < go", "yield_ms": 0 }));
        fs::write(&fifo, "\n").unwrap();
        let waited = served.call("a", "wait_command", json!({ "timeout_ms": 60000 }));
        assert_eq!(ended(&waited), 1, "{waited}");
        assert_eq!(ended(&served.call("a", "list_commands", json!({}))), 0);
        // A legacy client introduces itself, and has the session of those who name none.
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello });
        let (status, answer) = served.request(&[("MCP-Protocol-Version", "")], &hello);
        assert_eq!((status, &answer["result"]["serverInfo"]["name"]), (200, &json!("ostler")));
    }
}

#[test]
fn who_has_no_token_or_comes_from_elsewhere_is_refused() {
    let served = Served::start("127.0.0.1:0");
    let list = tool("list_commands", json!({}));
    let wrong = format!("Bearer {}", "0".repeat(64));
    let short = format!("Bearer {}", &served.token[..63]);
    for token in ["", "Bearer ", &served.token, &wrong, &short, "Basic eDp5"] {
        assert_eq!(served.request(&[("Authorization", token)], &list).0, 401, "{token}");
    }
    assert_eq!(served.request(&[("Host", "evil.example")], &list).0, 403);
    for origin in ["http://evil.example", "http://localhost.evil.example", "http://10.0.0.1", "null"] {
        assert_eq!(served.request(&[("Origin", origin)], &list).0, 403, "{origin}");
    }
    // A page of this machine may, with the token.
    for origin in ["http://localhost:6274", "http://127.0.0.1", "https://[::1]:1"] {
        assert_eq!(served.request(&[("Origin", origin)], &list).0, 200, "{origin}");
        assert_eq!(served.request(&[("Origin", origin), ("Authorization", "")], &list).0, 401, "{origin}");
    }
    assert_eq!(served.request(&[("ostler-session", &"x".repeat(200))], &list).0, 400);
    assert_eq!(served.request(&[], &list).0, 200);
    // Nothing was opened by those that were refused, and what is no HTTP breaks nothing.
    served.connect().write_all(b"\x16\x03\x01 garbage\r\n\r\n").unwrap();
    assert_eq!(served.request(&[], &list).0, 200);
}

#[test]
fn an_answer_that_nobody_has_read_gives_its_ends_back() {
    let served = Served::start("127.0.0.1:0");
    for _ in 0..20 {
        let fifo = served.place.path().join("go");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        served.call("a", "run_command", json!({ "command": "read x < go", "yield_ms": 0 }));
        // Whoever waits for it breaks off.
        let mut waits = served.connect();
        let wait = tool("wait_command", json!({ "timeout_ms": 60000 }));
        waits.write_all(&served.bytes(&[("ostler-session", "a")], &wait)).unwrap();
        drop(waits);
        fs::write(&fifo, "\n").unwrap();
        // Each waits for a second: who has broken off may have it for a moment.
        let mut tries = (0..30).map(|_| served.call("a", "wait_command", json!({ "timeout_ms": 1000 })));
        assert_eq!(tries.find_map(|said| Some(ended(&said)).filter(|told| *told > 0)), Some(1));
        fs::remove_file(&fifo).unwrap();
    }
}

#[test]
fn its_end_ends_every_session() {
    let mut served = Served::start("127.0.0.1:0");
    let mut pids = Vec::new();
    for session in ["a", "b", ""] {
        let said = served.call(
            session,
            "run_command",
            json!({ "command": "echo $$; exec sleep 1000", "yield_ms": 0 }),
        );
        let handle = said["structuredContent"]["handle"].clone();
        let said = served.call(session, "wait_command", json!({ "handle": handle, "pattern": r"\d+" }));
        pids.push(said["structuredContent"]["condition"]["line"].as_str().unwrap().to_owned());
    }
    kill(Pid::from_raw(i32::try_from(served.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(served.child.wait().unwrap().success());
    for pid in pids {
        assert!(!PathBuf::from(format!("/proc/{pid}/exe")).exists(), "{pid}");
    }
}
