//! The clean view of what real programs wrote to a terminal, beside what a real terminal shows of it.
//!
//! `recorded/` has the output of cargo, npm, pip, apt, git and curl as script(1) took it down from a terminal of 30 rows and
//! 100 columns, without the lines of script itself. `layers.txt` is written by hand: it redraws several lines at once, as a
//! pull of image layers does.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]
#![allow(clippy::print_stderr, reason = "what was not tested has to be told")]

use ostler_artifacts::{clean_text, screen_of};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Written behind the recording: when the terminal shows it, it has shown everything before.
const END: &str = "== the end of the recording ==";
const RECORDED: [&str; 6] = ["cargo", "npm", "pip", "apt", "git", "curl"];

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name).with_extension("txt")
}

/// A tmux server of its own, ended with it.
struct Terminal {
    dir: tempfile::TempDir,
}
impl Terminal {
    fn is_installed() -> bool {
        Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }
    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        let socket = self.dir.path().join("socket");
        tmux.args(["-u", "-f", "/dev/null", "-S"]).arg(socket).env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        tmux
    }
    fn run(&self, args: &[&str]) -> Output {
        let output = self.tmux().args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
    /// Wide enough that nothing of the recordings wraps.
    fn showing(file: &Path) -> Terminal {
        let terminal = Terminal { dir: tempfile::tempdir().unwrap() };
        let show = format!("cat '{}'; printf '\\r\\n{END}'; exec cat", file.display());
        terminal.run(&["new-session", "-d", "-x", "400", "-y", "900", &show]);
        terminal
    }
    fn lines(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.run(&["capture-pane", "-p", "-J", "-S", "-"]);
            let text = String::from_utf8(shown.stdout).unwrap();
            let mut lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
            if let Some(end) = lines.iter().position(|line| line == END) {
                lines.truncate(end);
                return lines;
            }
            assert!(Instant::now() < deadline, "the end is not shown: {text}");
            std::thread::yield_now();
        }
    }
}
impl Drop for Terminal {
    fn drop(&mut self) {
        // It ends what it runs. If it is gone already, that is what was wanted.
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// As a terminal shows it: without blanks at the end, and with tabs as columns.
fn as_shown(raw: &[u8]) -> Vec<String> {
    let text = clean_text(&[raw, b"\r\n"].concat());
    let expand = |line: &str| {
        line.chars().fold(String::new(), |mut shown, c| {
            match c {
                '\t' => shown.push_str(&" ".repeat(8 - shown.chars().count() % 8)),
                c => shown.push(c),
            }
            shown
        })
    };
    text.lines().map(|line| expand(line).trim_end().to_owned()).collect()
}

#[test]
fn the_clean_view_is_what_a_terminal_shows_in_the_end() {
    if !Terminal::is_installed() {
        eprintln!("SKIPPED: there is no tmux to compare the clean view with");
        return;
    }
    for name in RECORDED {
        let file = recorded(name);
        let terminal = Terminal::showing(&file);
        assert_eq!(as_shown(&fs::read(&file).unwrap()), terminal.lines(), "{name}");
    }
    // Several lines that are redrawn together are a matter for the screen.
    let file = recorded("layers");
    let raw = fs::read(&file).unwrap();
    let shown = Terminal::showing(&file).lines();
    assert_ne!(as_shown(&raw), shown);
    let rows = screen_of(&raw, 30, 100).rows;
    let last = rows.iter().rposition(|row| !row.is_empty()).unwrap();
    assert_eq!(rows[..=last], shown[..=last]);
    assert!(shown[last + 1..].iter().all(String::is_empty));
}

/// The same without a terminal to compare with: what a reader of each wants to see, and nothing that was drawn over.
#[test]
fn nothing_of_a_progress_bar_is_left_but_its_end() {
    for (name, there, gone) in [
        ("cargo", "   Compiling sample v0.1.0", "[=>"),
        ("npm", "added 205 packages", "\u{280b}"),
        ("pip", "Saved ./dl/numpy", "0.0/16.9 MB"),
        ("apt", "Reading package lists... Done", "%"),
        ("git", "remote: Compressing objects: 100%", "Receiving objects:  50%"),
        ("curl", "100.0%", "  0     0    0     0"),
    ] {
        let raw = fs::read(recorded(name)).unwrap();
        let text = clean_text(&raw);
        assert!(text.contains(there), "{name} has no {there}: {text}");
        assert!(!text.contains(gone), "{name} has {gone}: {text}");
        assert!(String::from_utf8_lossy(&raw).contains(gone), "{name} never had {gone}");
        assert!(!text.contains(['\u{1b}', '\r', '\u{8}']), "{name}");
    }
}

#[test]
fn of_lines_that_are_redrawn_together_each_drawing_is_a_line_of_its_own() {
    let raw = fs::read(recorded("layers")).unwrap();
    let text = clean_text(&raw);
    assert!(!text.contains('\u{1b}') && text.contains("Status: Downloaded newer image"));
    let screen = screen_of(&raw, 10, 100);
    assert_eq!(screen.rows[2..6].iter().filter(|row| row.ends_with(": Pull complete")).count(), 4);
    assert_eq!((screen.rows.len(), screen.cursor, screen.size), (10, (8, 0), (10, 100)));
}
