//! A host in a process of its own: the fixture `a-host`, for what a test can't do to itself.

use crate::{TIER_VARIABLE, tier_name};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};
use tempfile::TempDir;

/// How to start one.
pub struct OtherHost {
    program: &'static str,
    through: Vec<String>,
    refuses: String,
    tier: &'static str,
    directory: TempDir,
}

impl OtherHost {
    /// In the tier of this test, with artifacts in a directory of its own. `program`: [`fixture!`](crate::fixture).
    pub fn new(program: &'static str) -> OtherHost {
        let directory = tempfile::tempdir().unwrap();
        OtherHost { program, through: Vec::new(), refuses: String::new(), tier: tier_name(), directory }
    }
    /// By a program that arranges what a process can't do to itself, and then executes it.
    pub fn through(mut self, words: &[&str]) -> OtherHost {
        self.through = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }
    /// What the kernel shall refuse it: words of `a-host`.
    pub fn refusing(mut self, words: &str) -> OtherHost {
        self.refuses = words.to_owned();
        self
    }
    /// In whatever tier it finds.
    pub fn in_any_tier(mut self) -> OtherHost {
        self.tier = "any";
        self
    }
    /// Its artifact root.
    pub fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("artifacts")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut words = self.through.iter().map(String::as_str).chain([self.program]);
        let mut command = Command::new(words.next().unwrap_or(self.program));
        command.args(words).arg(self.root()).args(args);
        command.env(TIER_VARIABLE, self.tier).env("A_HOST_REFUSES", &self.refuses);
        command
    }

    /// Runs it to its end and gives the lines of its output, each of which is JSON. What it says on stderr, if it fails.
    pub fn try_run(&self, args: &[&str]) -> Result<Vec<Value>, String> {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, text(&output.stderr)));
        }
        Ok(text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
    /// The same for one that must not fail.
    pub fn run(&self, args: &[&str]) -> Vec<Value> {
        self.try_run(args).unwrap_or_else(|error| panic!("{error}"))
    }
    /// Lets it run.
    pub fn spawn(&self, args: &[&str]) -> RunningHost {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        RunningHost { child, lines }
    }
    /// Lets it run, and waits for its first line.
    pub fn start(&self, args: &[&str]) -> (RunningHost, Value) {
        let mut host = self.spawn(args);
        let first = host.line();
        (host, first)
    }
}

/// One that runs. Killed when dropped.
pub struct RunningHost {
    child: Child,
    lines: BufReader<ChildStdout>,
}
impl RunningHost {
    /// SIGKILL.
    pub fn kill(&self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
    }
    /// Gives it a line.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    /// Waits for its next line.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
    /// What it has said until its end, whole lines.
    pub fn rest(&mut self) -> Vec<Value> {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
    /// Gives it a line of JSON and waits for its answer.
    pub fn ask(&mut self, question: &Value) -> Value {
        self.say(&question.to_string());
        self.line()
    }
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
    /// Waits for its end.
    pub fn ends(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}
impl Drop for RunningHost {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// How many commands a host has begun.
pub fn begun(root: &Path) -> usize {
    let named = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("cmd_");
    std::fs::read_dir(root).map_or(0, |entries| entries.flatten().filter(named).count())
}
