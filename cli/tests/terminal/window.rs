//! A window of tmux with a shell in it, and how it is looked at.

use std::{
    cell::Cell,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use unicode_width::UnicodeWidthStr;

/// What a person waits for is there within a few seconds, and on a busy machine in a minute.
const LIMIT: Duration = Duration::from_secs(60);

/// The sizes in which everything is looked at: columns and rows.
pub(crate) const SIZES: [(usize, usize); 3] = [(80, 24), (40, 10), (200, 50)];

/// It has a server of its own, which is gone when this is dropped, and a directory, in which its shell stands.
pub(crate) struct Window {
    place: TempDir,
    columns: usize,
    runs: Cell<u32>,
}

impl Window {
    /// None: there is no tmux, and need not be.
    pub(crate) fn open(columns: usize, rows: usize) -> Option<Window> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            let required = env::var("OSTLER_CLIENTS_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == "tmux"), "tmux is required, and is not there");
            eprintln!("SKIPPED: there is no tmux");
            return None;
        }
        let window = Window { place: tempfile::tempdir().unwrap(), columns, runs: Cell::new(0) };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        // It ignores what a runner of tests has it ignore, and so would all of its children.
        window.tmux(&[
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "exec env --default-signal PS1='$ ' sh",
        ]);
        window.sees("$");
        Some(window)
    }

    /// What tmux answers.
    fn tmux(&self, args: &[&str]) -> String {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_ostler"));
        let own = program.parent().unwrap().to_str().unwrap();
        let path = env::var("PATH").unwrap_or_default();
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-L", "ostler"]).args(args).stdin(Stdio::null());
        tmux.env("TMUX_TMPDIR", self.place.path()).current_dir(self.place.path());
        // Of the server, and so of its shell.
        tmux.env("HOME", self.place.path()).env("XDG_STATE_HOME", self.path("state"));
        tmux.env("PATH", format!("{own}:{path}")).env("LC_ALL", "C.UTF-8");
        for name in [
            "TMUX",
            "CI",
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "ENV",
            "XDG_CONFIG_HOME",
            "XDG_RUNTIME_DIR",
        ] {
            tmux.env_remove(name);
        }
        let output = tmux.output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A line, and the key that ends it.
    pub(crate) fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.key("Enter");
    }

    /// A key by its name: `C-c`.
    pub(crate) fn key(&self, name: &str) {
        self.tmux(&["send-keys", name]);
    }

    /// Comes back when the terminal has this size: tmux takes its time.
    pub(crate) fn resize(&mut self, columns: usize, rows: usize) {
        self.columns = columns;
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
        let terminal = self.tmux(&["display-message", "-p", "#{pane_tty}"]);
        let size = || {
            let stty = Command::new("stty").args(["-F", terminal.trim(), "size"]).output().unwrap();
            String::from_utf8(stty.stdout).unwrap().trim().to_owned()
        };
        self.waits(|| (size() == format!("{rows} {columns}")).then_some(()), size);
    }

    /// As a person does who has seen enough.
    pub(crate) fn closes(&self) {
        // The server ends with its last window; another one keeps it.
        self.tmux(&["new-window", "-d", "cat"]);
        self.tmux(&["kill-pane"]);
    }

    /// The screen as it is now, without what is empty at its end.
    pub(crate) fn screen(&self) -> Vec<String> {
        lines(&self.tmux(&["capture-pane", "-p"]))
    }

    /// All that was shown, in the lines in which it was written: one that was too long for the terminal is whole.
    pub(crate) fn written(&self) -> Vec<String> {
        lines(&self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]))
    }

    /// The same with colours, as escape sequences.
    pub(crate) fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-S", "-"])
    }

    /// Waits until a line of the screen is as asked for. Returns the screen.
    pub(crate) fn sees_line(&self, is: impl Fn(&str) -> bool) -> Vec<String> {
        self.waits(
            || Some(self.screen()).filter(|screen| screen.iter().any(|line| is(line))),
            || self.screen().join("\n"),
        )
    }

    /// Waits until a line of the screen begins so.
    pub(crate) fn sees(&self, beginning: &str) -> Vec<String> {
        self.sees_line(|line| line.starts_with(beginning))
    }

    /// Types a line, waits until the shell has its exit code, and returns what was shown meanwhile, in the lines in which it was written.
    pub(crate) fn runs(&self, line: &str) -> Ran {
        self.runs.set(self.runs.get() + 1);
        let begin = format!("run {}", self.runs.get());
        // The number is not in what is typed, so it is seen when the rest is gone.
        self.types(&format!("clear; tmux clear-history; echo run $(({}))", self.runs.get()));
        self.sees_line(|line| line == begin);
        self.types(&format!("{line}; echo code $?"));
        let mut ran = self.ends();
        // Behind it is what was typed.
        let typed = 1 + ran.lines.iter().position(|line| *line == begin).unwrap();
        ran.lines.drain(..=typed);
        ran
    }

    /// Waits for the exit code that was asked for by `echo code $?`.
    pub(crate) fn ends(&self) -> Ran {
        // What was typed can be broken right before its own `code`, which no number follows.
        let code = |line: &str| line.strip_prefix("code ").and_then(|code| code.parse().ok());
        self.sees_line(|line| code(line).is_some());
        let mut lines = self.written();
        let (at, code) = (0..lines.len()).rev().find_map(|at| Some((at, code(&lines[at])?))).unwrap();
        lines.truncate(at);
        Ran { code, lines, columns: self.columns }
    }

    /// Waits for something that is not on the screen.
    pub(crate) fn waits<T>(&self, look: impl Fn() -> Option<T>, told: impl Fn() -> String) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(since.elapsed() < LIMIT, "{}", told());
            thread::yield_now();
        }
    }

    /// The command has come so far: it makes this file.
    pub(crate) fn is_there(&self, file: &str) {
        self.waits(
            || self.path(file).exists().then_some(()),
            || format!("no {file}: {}", self.screen().join("\n")),
        );
    }

    /// Processes that were started in this window, its shell aside: each has inherited where the state is.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let shell = self.tmux(&["display-message", "-p", "#{pid} #{pane_pid}"]);
        let own: Vec<u32> = shell.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let mark = format!("XDG_STATE_HOME={}", self.path("state").display());
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let of_it = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        pids.filter(|pid| !own.contains(pid)).filter(of_it).collect()
    }

    /// Waits until nothing lives that was started here.
    pub(crate) fn is_left_alone(&self) {
        let living = || {
            let names =
                self.processes().into_iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")));
            names.flatten().collect::<Vec<_>>()
        };
        // The other window is a program of the same environment.
        let cat = |stat: &String| stat.contains("(cat)");
        self.waits(|| living().iter().all(cat).then_some(()), || format!("left: {:?}", living()));
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Whatever its tests have come to.
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", "ostler", "kill-server"]).env("TMUX_TMPDIR", self.place.path());
        let _ = tmux.stderr(Stdio::null()).status();
    }
}

fn lines(text: &str) -> Vec<String> {
    text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// What was shown of a line that was typed.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) lines: Vec<String>,
    columns: usize,
}
impl Ran {
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// No line was longer than the terminal.
    pub(crate) fn fits(&self) {
        for line in &self.lines {
            assert!(line.width() <= self.columns, "{line:?} in {} columns:\n{}", self.columns, self.text());
        }
    }

    /// The one line that begins so.
    pub(crate) fn one(&self, beginning: &str) -> &str {
        let mut found = self.lines.iter().filter(|line| line.starts_with(beginning));
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "{beginning:?} twice:\n{}", self.text());
        first.unwrap_or_else(|| panic!("no {beginning:?}:\n{}", self.text()))
    }
}
