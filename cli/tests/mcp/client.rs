//! A client of the protocol, line by line.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Far more than anything here takes, on a machine with all cores busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// With a handshake.
    V2025_06_18,
    /// Without.
    V2026_07_28,
}

pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    next: u64,
    meta: Value,
    aside: Vec<Value>,
}

impl Client {
    pub(crate) fn begin(command: &mut Command) -> Client {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                // Nothing but messages is on stdout.
                let message =
                    serde_json::from_str(&line).unwrap_or_else(|_| json!({ "not a message": line }));
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Client { child, stdin, lines, next: 0, meta: Value::Null, aside: Vec::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn speaks(mut self, how: Speaks, capabilities: Value) -> Client {
        let info = json!({ "name": "test", "version": "1" });
        match how {
            Speaks::V2025_06_18 => {
                let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": info });
                let answer = self.request("initialize", hello);
                assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
                self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
            }
            Speaks::V2026_07_28 => {
                self.meta = json!({
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": info,
                    "io.modelcontextprotocol/clientCapabilities": capabilities,
                });
                let answer = self.request("server/discover", json!({}));
                assert!(
                    answer["result"]["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28"))
                );
            }
        }
        self
    }

    pub(crate) fn old(self) -> Client {
        self.speaks(Speaks::V2025_06_18, json!({}))
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.raw(format!("{message}\n").as_bytes());
    }

    /// Sends a request; its id.
    pub(crate) fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        if let Value::Object(meta) = self.meta.clone() {
            let own = params["_meta"].as_object().cloned().unwrap_or_default();
            params["_meta"] = Value::Object(meta.into_iter().chain(own).collect());
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        self.next
    }

    /// The next message, whatever it is.
    pub(crate) fn next(&mut self) -> Value {
        self.lines.recv_timeout(LONG).expect("a message")
    }

    /// Everything that came beside the answers.
    pub(crate) fn aside(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.aside)
    }

    pub(crate) fn answer(&mut self, id: u64) -> Value {
        let known = self.aside.iter().position(|message| message["id"] == id);
        if let Some(known) = known {
            return self.aside.remove(known);
        }
        loop {
            let message = self.next();
            if message["id"] == id {
                return message;
            }
            self.aside.push(message);
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.answer(id)
    }

    pub(crate) fn ask_tool(&mut self, name: &str, arguments: Value) -> u64 {
        self.ask("tools/call", json!({ "name": name, "arguments": arguments }))
    }

    /// Calls a tool; what it answers.
    pub(crate) fn call(&mut self, name: &str, arguments: Value) -> Said {
        let id = self.ask_tool(name, arguments);
        self.said(id)
    }

    pub(crate) fn said(&mut self, id: u64) -> Said {
        let answer = self.answer(id);
        assert!(answer["result"].is_object(), "{answer}");
        Said(answer["result"].clone())
    }

    /// Starts a command that goes on; its handle.
    pub(crate) fn start_command(&mut self, line: &str) -> String {
        let said = self.call("run_command", json!({ "command": line, "yield_ms": 0 }));
        said.field("handle").as_str().unwrap().to_owned()
    }

    /// Ends its stdin, and waits for its end.
    pub(crate) fn close(mut self) -> ExitStatus {
        drop(self.stdin.take());
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it did not end");
    }

    /// Kills it; the ends that it has told which nobody has looked at.
    pub(crate) fn kill_and_read(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let come: Vec<Value> = self.aside.drain(..).chain(self.lines.iter()).collect();
        come.into_iter().flat_map(|message| Said(message["result"].clone()).ended()).collect()
    }

    /// Ends its stdin; everything that it has said and nobody has looked at.
    pub(crate) fn end_input_and_read(mut self) -> Vec<Value> {
        drop(self.stdin.take());
        let come = self.aside.drain(..).chain(self.lines.iter()).collect();
        assert!(self.child.wait().unwrap().success());
        come
    }

    /// Ends its stdin; what it has said on stderr.
    pub(crate) fn close_and_read_stderr(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        self.end_by_itself()
    }

    /// Waits for its end while its stdin is open; its exit code and what it has said on stderr.
    pub(crate) fn end_by_itself(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a tool has answered.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) Value);
impl Said {
    /// Of the structured content.
    pub(crate) fn field(&self, name: &str) -> &Value {
        assert_eq!(self.0["isError"], false, "{}", self.0);
        &self.0["structuredContent"][name]
    }
    pub(crate) fn ended(&self) -> Vec<String> {
        let ended = self.0["structuredContent"]["ended"].as_array().cloned().unwrap_or_default();
        ended.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }
    pub(crate) fn text(&self) -> String {
        let content = self.0["content"].as_array().unwrap();
        content.iter().map(|block| block["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n---\n")
    }
    pub(crate) fn is_error(&self) -> bool {
        self.0["isError"] == true
    }
}
