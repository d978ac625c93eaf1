//! What a client sends that is broken, hostile or in a hurry. The same seed gives the same lines for the same pid.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// An argument that is larger than anything a command can be given.
const LARGE_BYTES: usize = 10 << 20;
/// Deeper than a parser that calls itself should go.
const DEEP: usize = 10_000;
/// Handles that may be there.
const HANDLES: u64 = 40;

/// What is to come back for a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Owed {
    /// One answer with this id.
    One(Value),
    /// One answer, with this id or with none.
    Some(Value),
    /// Nothing: a notification, an answer, an empty line.
    Nothing,
    /// One answer or none: it cancels another one, or ends only with the connection.
    Perhaps(Value),
}

pub(crate) struct Inputs {
    pub(crate) rng: Rng,
    pid: u32,
    next: u64,
}

impl Inputs {
    pub(crate) fn new(seed: u64, pid: u32) -> Inputs {
        Inputs { rng: Rng::with_seed(seed), pid, next: 1_000 }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    /// A line with its newline, and what is to come back.
    pub(crate) fn line(&mut self, meta: Option<&Value>) -> (Vec<u8>, Vec<Owed>) {
        if self.one_in(12) {
            let junk: &[&[u8]] = &[
                b"",
                b" \t\r",
                b"[",
                b"{}",
                b"[]",
                b"null",
                b"7",
                b"\"x\"",
                b"\0",
                b"\xff\xfe",
                b"{\"jsonrpc\":\"2.0\"}",
                b"[{}]",
                b"{\"jsonrpc\":\"2.0\",\"result\":{},\"id\":3}",
                b"Content-Length: 7\r",
            ];
            return lines(self.rng.choice(junk).copied().unwrap_or_default().to_vec());
        }
        let mut message = self.message(meta);
        for _ in 0..self.rng.usize(..3) {
            self.mutate(&mut message);
        }
        let mut bytes = match self.one_in(60) {
            true => deep(&message),
            false => message.to_string().into_bytes(),
        };
        if self.one_in(8) {
            for _ in 0..self.rng.usize(1..4) {
                let at = self.rng.usize(..bytes.len());
                match self.rng.u8(..4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = self.rng.u8(..),
                    2 => bytes.insert(at, b'\n'),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    break;
                }
            }
        }
        lines(bytes)
    }

    fn message(&mut self, meta: Option<&Value>) -> Value {
        self.next += 1;
        let (method, mut params) = self.method();
        if let Some(meta) = meta {
            params["_meta"] = meta.clone();
        }
        if self.one_in(4) {
            params["_meta"]["progressToken"] = json!(self.next);
        }
        let mut message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        if !method.starts_with("notifications/") {
            // Now and then one that was there already.
            let id = if self.one_in(20) { self.next.saturating_sub(self.rng.u64(..9)) } else { self.next };
            message["id"] = if self.one_in(10) { json!(format!("text-{id}")) } else { json!(id) };
        }
        message
    }

    fn handle(&mut self) -> String {
        let n = self.rng.u64(1..HANDLES);
        match self.rng.u8(..10) {
            0 => "hto-1-1".to_owned(),
            1 => "../../etc/passwd".to_owned(),
            _ => format!("hto-{:x}-{n}", self.pid),
        }
    }

    fn method(&mut self) -> (&'static str, Value) {
        let handle = self.handle();
        let uris = ["ostler://commands/", "ostler://commands/../x", "file:///etc/passwd", "\0"];
        let uri = match self.rng.u8(..4) {
            0 => self.rng.choice(uris).unwrap_or_default().to_owned(),
            1 => format!("ostler://commands/{handle}"),
            _ => format!("ostler://commands/{handle}/output?offset=0&length=1000"),
        };
        match self.rng.u8(..24) {
            0 => ("ping", json!({})),
            1 => ("tools/list", json!({})),
            2 => ("resources/list", json!({ "cursor": "none" })),
            3 => ("resources/templates/list", json!({})),
            4 => ("resources/read", json!({ "uri": uri })),
            5 => ("resources/subscribe", json!({ "uri": uri })),
            6 => ("resources/unsubscribe", json!({ "uri": uri })),
            7 => ("tasks/get", json!({ "taskId": handle })),
            8 => ("tasks/cancel", json!({ "taskId": handle })),
            9 => ("tasks/update", json!({ "taskId": handle, "inputResponses": {} })),
            10 => ("server/discover", json!({})),
            11 => ("prompts/list", json!({})),
            12 => ("format/disk", json!({ "now": true })),
            13 => {
                let id = self.next.saturating_sub(self.rng.u64(..20));
                ("notifications/cancelled", json!({ "requestId": id, "reason": "fuzz" }))
            }
            14 => ("notifications/roots/list_changed", json!({})),
            15 => ("subscriptions/listen", json!({ "notifications": { "resourceSubscriptions": [uri] } })),
            _ => ("tools/call", self.call(handle)),
        }
    }

    fn call(&mut self, handle: String) -> Value {
        let line = [
            "echo hi",
            "exit 3",
            "cat",
            "sleep 1000",
            "seq 20000",
            "echo one; sleep 1000 & sleep 1000",
            "kill -9 $$",
        ];
        let line = self.rng.choice(line).unwrap_or_default();
        let (tool, arguments) = match self.rng.u8(..12) {
            0..=3 => ("run_command", json!({ "command": line, "yield_ms": self.rng.u32(..50) })),
            4 => (
                "run_command",
                json!({ "argv": ["cat"], "interactive": true, "yield_ms": 0, "labels": { "a": "b" } }),
            ),
            5 => ("run_command", json!({ "argv": ["cat"], "terminal": true, "yield_ms": 0 })),
            6 => {
                let cwd = ["/", "..", "/etc/../root", ".", "/proc/self/cwd", "no/such", "\0"];
                ("run_command", json!({ "command": "pwd", "cwd": self.rng.choice(cwd), "yield_ms": 20 }))
            }
            7 => ("wait_command", json!({ "handle": handle, "timeout_ms": 20, "pattern": "h(i)" })),
            8 => ("read_command_output", json!({ "handle": handle, "offset": self.rng.u32(..2_000) })),
            9 => ("write_stdin", json!({ "handle": handle, "text": "x\n" })),
            10 => ("cancel_command", json!({ "handle": handle })),
            _ => ("list_commands", json!({})),
        };
        json!({ "name": tool, "arguments": arguments })
    }

    /// Changes one place of it: another value, one less, one more.
    fn mutate(&mut self, value: &mut Value) {
        let goes_deeper = !self.one_in(4);
        match value {
            Value::Object(map) if goes_deeper && !map.is_empty() => self.mutate_map(map),
            Value::Array(list) if goes_deeper && !list.is_empty() => {
                let at = self.rng.usize(..list.len());
                self.mutate(&mut list[at]);
            }
            _ => *value = self.wrong(),
        }
    }

    fn mutate_map(&mut self, map: &mut Map<String, Value>) {
        let at = self.rng.usize(..map.len());
        // There are so many.
        let Some(key) = map.keys().nth(at).cloned() else { return };
        match self.rng.u8(..8) {
            0 => drop(map.remove(&key)),
            1 => drop(map.insert(format!("{key}x"), json!(1))),
            2 => drop(map.insert("__proto__".to_owned(), self.wrong())),
            _ => map.iter_mut().filter(|(name, _)| **name == key).for_each(|(_, inner)| self.mutate(inner)),
        }
    }

    /// No numbers by which somebody would wait for long.
    fn wrong(&mut self) -> Value {
        match self.rng.u8(..14) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-1),
            3 => json!(0),
            4 => json!(1.5),
            5 => json!(u64::MAX),
            6 => json!(1e300),
            7 => json!(""),
            8 => json!("a\u{0}b"),
            9 => json!("\u{202e}😀\u{7f}\r\n"),
            10 => json!([]),
            11 => json!({}),
            12 => json!([[[{ "a": [1, "2", null] }]]]),
            _ => json!("x".repeat(if self.one_in(20) { LARGE_BYTES } else { 3_000 })),
        }
    }
}

/// Far too many brackets, where its params were.
fn deep(message: &Value) -> Vec<u8> {
    let brackets = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\",\"params\":{brackets}}}", message["id"])
        .into_bytes()
}

/// What is to come back for these bytes, which a newline ends.
fn lines(mut bytes: Vec<u8>) -> (Vec<u8>, Vec<Owed>) {
    let owed = bytes.split(|byte| *byte == b'\n').map(owed).collect();
    bytes.push(b'\n');
    (bytes, owed)
}

fn owed(line: &[u8]) -> Owed {
    if line.trim_ascii().is_empty() {
        return Owed::Nothing;
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Owed::Some(Value::Null) };
    let id = value.get("id").cloned();
    let (is_2, method) = (value["jsonrpc"] == "2.0", value["method"].as_str());
    match (id, method) {
        (None, Some(_)) => Owed::Nothing,
        (Some(id), _) if value.get("result").is_some() || value.get("error").is_some() => Owed::Perhaps(id),
        (None, None) if value.get("result").is_some() || value.get("error").is_some() => {
            Owed::Perhaps(Value::Null)
        }
        (Some(id), Some("subscriptions/listen")) => Owed::Perhaps(id),
        (Some(id), Some(_)) if is_2 && (id.is_string() || id.is_i64()) => Owed::One(id),
        (Some(id), _) => Owed::Some(id),
        (None, None) if value.get("method").is_some() => Owed::Nothing,
        (None, None) => Owed::Some(Value::Null),
    }
}
