//! The lives of one host with a journal, one after the other or beside each other: the fixture `journal-host`.

use crate::{Ground, LIMIT, OtherHost, RunningHost};
use ostler::trace::replay;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Instant};

/// The lives of one host. Each of them records a trace. When this is dropped, each trace is replayed to its last whole input, and has to be
/// the same to the byte: of a life that was killed, and of the one that took over what that had left.
pub struct Lives {
    /// How each of them is started.
    pub host: OtherHost,
    _ground: Ground,
}
impl Lives {
    /// Before the first of them. `program`: the fixture `journal-host`.
    pub fn new(program: &'static str) -> Lives {
        let mut ground = Ground::take();
        ground.has_escapees();
        Lives { host: OtherHost::new(program), _ground: ground }
    }
    /// Where its journals lie.
    pub fn base(&self) -> PathBuf {
        self.host.root().with_file_name("journals")
    }
    /// Where its journal lies.
    pub fn folder(&self) -> PathBuf {
        self.base().join("agent")
    }
    /// The next one, and what it has found.
    pub fn start(&self) -> (RunningHost, Value) {
        self.host.start(&[self.base().to_str().unwrap()])
    }
    /// The next one, with this session open.
    pub fn open(&self, session: &str) -> RunningHost {
        let (mut host, _) = self.start();
        let opened = host.ask(&json!({ "open": session }));
        assert!(opened.get("recovered").is_some(), "{opened}");
        host
    }
    /// Where the traces of its lives lie, a file for each.
    pub fn traces(&self) -> PathBuf {
        self.base().with_file_name("traces")
    }
    /// Replays the trace of each life that has begun; how many they are, and how many records came out again.
    pub fn replay(&self) -> (usize, u64) {
        let traces = fs::read_dir(self.traces()).into_iter().flatten().map(|entry| entry.unwrap().path());
        // One that was killed before it had written its first line has said nothing.
        let begun = |trace: &PathBuf| fs::read(trace).unwrap().contains(&b'\n');
        let mut count = (0, 0);
        for trace in traces.filter(begun) {
            let replayed = replay(&trace).unwrap_or_else(|error| panic!("{}: {error}", trace.display()));
            assert!(replayed.is_identical(), "{}: {replayed}", trace.display());
            count = (count.0 + 1, count.1 + replayed.records);
        }
        count
    }
    /// How many databases there are.
    pub fn databases(&self) -> usize {
        let names = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".db")).count()
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.replay();
        }
    }
}

/// A launch of a shell.
pub fn shell(script: &str, session: &str) -> Value {
    json!({ "launch": ["/bin/sh", "-c", script], "session": session })
}
/// It is killed.
pub fn dies(mut host: RunningHost) {
    host.kill();
    host.ends();
}
/// It ends in order; its tally.
pub fn ends(mut host: RunningHost) -> Value {
    let tally = host.ask(&json!({ "shutdown": null }));
    assert!(host.ends().success());
    tally
}
/// Number, kind, whether it comes again, and the status.
pub type Brief = (u64, String, bool, Option<String>);
/// Entries in brief.
pub fn brief(entries: &Value) -> Vec<Brief> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entry = |entry: &Value| {
        let again = entry["redelivered"].as_bool().unwrap();
        (
            entry["sequence"].as_u64().unwrap(),
            text(&entry["kind"]).unwrap(),
            again,
            text(&entry["content"]["status"]),
        )
    };
    entries.as_array().expect("entries").iter().map(entry).collect()
}
/// How [`brief`] has a result.
pub fn brief_result(number: u64, again: bool, status: &str) -> Brief {
    (number, "tool_result".into(), again, Some(status.into()))
}
/// Reads until there is a result.
pub fn wait_for_result(host: &mut RunningHost, session: &str) -> Value {
    let began = Instant::now();
    loop {
        let read = host.ask(&json!({ "read": session }));
        if let Some(entry) = read.as_array().unwrap().iter().find(|entry| entry["kind"] == "tool_result") {
            return entry.clone();
        }
        assert!(began.elapsed() < LIMIT, "no result comes");
    }
}
