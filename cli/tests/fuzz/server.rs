//! One server, what it was sent, and what it said.

use crate::inputs::Owed;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Far more than anything here takes, on a machine with all cores busy.
const LONG: Duration = Duration::from_secs(15);
/// How long an answer is waited for before what it may wait for is ended.
const PATIENCE: Duration = Duration::from_millis(200);
/// Most memory of the server: some lines of 10 MiB at a time, and what they are read into.
const MEMORY_MAX_KIB: u64 = 100 << 10;
/// In the environment of all that it starts.
const MARK: &str = "OSTLER_FUZZ_MARK";

pub(crate) struct Server {
    dir: TempDir,
    child: Child,
    /// None: it has ended.
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    meta: Option<Value>,
    next: u64,
    heard: Heard,
}

/// What was sent and what came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// By id as text: least and most answers.
    owed: BTreeMap<String, (usize, usize)>,
    answers: BTreeMap<String, usize>,
    /// Least and most answers to lines whose id can't be told.
    loose: (usize, usize),
    cancelled: BTreeSet<String>,
    /// Handles whose end was told beside an answer, and those told of by their own answer.
    told: Vec<String>,
    own: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Server {
    pub(crate) fn start(modern: bool, tasks: bool) -> Server {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.arg("mcp").arg("--artifacts").arg(dir.path().join("artifacts")).arg("--root");
        command.arg(dir.path().join("root")).current_dir(dir.path().join("root"));
        command.env("XDG_STATE_HOME", dir.path()).env(MARK, dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(File::create(dir.path().join("stderr")).unwrap()).spawn().unwrap();
        let (send, lines) = channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                let read = stdout.read_until(b'\n', &mut line).unwrap_or(0);
                if read == 0 || send.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        let (heard, meta) = Default::default();
        let mut server = Server { dir, child, stdin, lines, meta, next: 0, heard };
        let info = json!({ "name": "fuzz", "version": "1" });
        let capabilities = match tasks {
            true => json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } }),
            false => json!({}),
        };
        if modern {
            server.meta = Some(json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": info,
                "io.modelcontextprotocol/clientCapabilities": capabilities,
            }));
            server.request("server/discover", json!({}));
        } else {
            let hello =
                json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info });
            server.request("initialize", hello);
            let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            server.send(format!("{ready}\n").as_bytes(), 1, vec![Owed::Nothing]);
        }
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn meta(&self) -> Option<&Value> {
        self.meta.as_ref()
    }

    pub(crate) fn send(&mut self, bytes: &[u8], pieces: usize, owed: Vec<Owed>) {
        self.write(bytes, pieces, owed);
        while let Ok(line) = self.lines.try_recv() {
            self.heard.hears(&line);
        }
    }

    fn write(&mut self, bytes: &[u8], pieces: usize, owed: Vec<Owed>) {
        for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
            self.stdin.as_mut().unwrap().write_all(piece).unwrap();
        }
        let parsed =
            bytes.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice::<Value>(line).ok());
        for (owed, line) in owed.into_iter().zip(parsed) {
            self.heard.owes(owed);
            let Some(line) = line.filter(|line| line["method"] == "notifications/cancelled") else {
                continue;
            };
            self.heard.cancelled.insert(line["params"]["requestId"].to_string());
        }
    }

    pub(crate) fn gigabyte(&mut self) {
        let block = vec![b'a'; 1 << 20];
        for _ in 0..1 << 10 {
            self.stdin.as_mut().unwrap().write_all(&block).unwrap();
        }
        self.send(b"\n", 1, vec![Owed::Some(Value::Null)]);
    }

    fn ask(&mut self, method: &str, mut params: Value) -> Value {
        self.next += 1;
        let id = json!(format!("own-{}", self.next));
        if let Some(meta) = &self.meta {
            params["_meta"] = meta.clone();
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.write(format!("{message}\n").as_bytes(), 1, vec![Owed::One(id.clone())]);
        id
    }

    /// A request of its own; its result.
    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let until = Instant::now() + LONG;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("the server answers");
            let message = self.heard.hears(&line);
            if message["id"] == id {
                assert!(message["result"].is_object(), "{message}");
                return message["result"].clone();
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// It works, every command ends, and every answer is there.
    pub(crate) fn settle(&mut self) -> Heard {
        let said = self.call("run_command", json!({ "argv": ["echo", "works"], "yield_ms": 60_000 }));
        assert_eq!(said["structuredContent"]["output"], "works\n", "{said}");
        let until = Instant::now() + LONG;
        loop {
            let listed = self.call("list_commands", json!({ "running": true }));
            let running = listed["structuredContent"]["commands"].as_array().unwrap().clone();
            for command in &running {
                self.call("cancel_command", json!({ "handle": command["handle"], "force": true }));
            }
            if running.is_empty() && self.heard.lacks().is_none() {
                break;
            }
            assert!(Instant::now() < until, "unanswered: {:?}", self.heard.lacks());
            // Whoever waits for the end of any command has one.
            self.call("run_command", json!({ "argv": ["true"], "yield_ms": 0 }));
            while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
                self.heard.hears(&line);
            }
        }
        // What nobody was told of until now.
        loop {
            let listed = self.call("list_commands", json!({}));
            if listed["structuredContent"]["ended"].as_array().unwrap().is_empty() {
                break;
            }
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib < MEMORY_MAX_KIB, "{kib} KiB of memory");
        self.heard.clone()
    }

    /// It ends with its input, and nothing of it lives.
    pub(crate) fn end(&mut self) {
        drop(self.stdin.take());
        let until = Instant::now() + LONG;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "{status}");
        let said = fs::read_to_string(self.dir.path().join("stderr")).unwrap();
        assert_eq!(said, "");
        let mark = format!("{MARK}={}", self.dir.path().display());
        while let Some(pid) = marked(&mark) {
            assert!(Instant::now() < until, "{pid} lives");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A process with this in its environment.
fn marked(mark: &str) -> Option<String> {
    let mut all = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let has = |path: &std::path::Path| {
        let environ = fs::read(path.join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let found =
        all.find(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok() && has(&entry.path()));
    found.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

impl Heard {
    fn owes(&mut self, owed: Owed) {
        let (id, least, most) = match owed {
            Owed::Nothing => return,
            Owed::Some(_) => {
                self.loose = (self.loose.0 + 1, self.loose.1 + 1);
                return;
            }
            Owed::Perhaps(id) if !id.is_string() && !id.is_i64() => {
                self.loose.1 += 1;
                return;
            }
            Owed::One(id) => (id, 1, 1),
            Owed::Perhaps(id) => (id, 0, 1),
        };
        let entry = self.owed.entry(id.to_string()).or_default();
        *entry = (entry.0 + least, entry.1 + most);
    }

    /// Takes up a line of the server's, which is a message.
    fn hears(&mut self, line: &[u8]) -> Value {
        let said = || String::from_utf8_lossy(&line[..line.len().min(500)]).into_owned();
        let message: Value =
            serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", said()));
        assert!(message["jsonrpc"] == "2.0" && line.ends_with(b"\n"), "{}", said());
        if message.get("method").is_some() {
            assert!(message.get("id").is_none(), "the server asks: {}", said());
            return message;
        }
        assert!(message.get("result").is_some() != message.get("error").is_some(), "{}", said());
        let id = message.get("id").unwrap_or(&Value::Null);
        *self.answers.entry(id.to_string()).or_default() += 1;
        let about = &message["result"]["structuredContent"];
        // An error has them in its text alone, so they are read there.
        let text = message["result"]["content"].as_array().and_then(|blocks| blocks.last()?["text"].as_str());
        let lines = text.and_then(|text| text.rsplit_once("Meanwhile, not told before")).into_iter();
        for line in lines.flat_map(|(_, lines)| lines.lines()).filter_map(|line| line.strip_prefix("* ")) {
            self.told.push(line.split(' ').next().unwrap().to_owned());
        }
        if let Some(handle) = about["handle"].as_str() {
            self.seen.insert(handle.to_owned());
            if about["status"].as_str().is_some_and(|status| status != "running") {
                self.own.insert(handle.to_owned());
            }
        }
        message
    }

    /// The first that lacks an answer.
    fn lacks(&self) -> Option<String> {
        let mut owed = self.owed.iter().filter(|(id, _)| !self.cancelled.contains(*id));
        let has = |id: &String| self.answers.get(id).copied().unwrap_or(0);
        let lacks = owed.find(|(id, (least, _))| has(id) < *least);
        let lacks = lacks.map(|(id, (least, _))| format!("{id}: {} of {least} answers", has(id)));
        lacks.or_else(|| (self.rest() < self.loose.0).then(|| "a line".to_owned()))
    }

    /// Answers beyond those that are owed by their id.
    fn rest(&self) -> usize {
        let beyond = |(id, count): (&String, &usize)| {
            count.saturating_sub(self.owed.get(id).map_or(0, |(_, most)| *most))
        };
        self.answers.iter().map(beyond).sum()
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.lacks(), None, "it has no answer");
        assert!(self.rest() <= self.loose.1, "answers that nobody is owed: {self:?}");
        let once: BTreeSet<&String> = self.told.iter().collect();
        assert_eq!(once.len(), self.told.len(), "an end was told twice: {:?}", self.told);
        let untold: Vec<_> =
            self.seen.iter().filter(|handle| !once.contains(handle) && !self.own.contains(*handle)).collect();
        assert!(untold.is_empty(), "ends that were not told: {untold:?}");
    }

    /// One request that has so many answers.
    pub(crate) fn of_one(answers: usize) -> Heard {
        let mut heard = Heard::default();
        heard.owes(Owed::One(json!(1)));
        for _ in 0..answers {
            heard.hears(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
        }
        heard
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
