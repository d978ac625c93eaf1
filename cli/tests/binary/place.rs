//! Where a test runs the binary, and how it looks at what runs.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Once, atomic::AtomicBool},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A place for artifacts and files of one test.
pub(crate) struct Place(pub(crate) TempDir);
impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(crate) fn ostler(&self, subcommand: &str) -> Command {
        signals_at_their_defaults();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.arg(subcommand).arg("--artifacts").arg(self.path("artifacts")).current_dir(self.0.path());
        command.env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }
    /// Lets a command go on that reads from a fifo; waits until it does. Each fifo serves once: a second reader could
    /// open it before this writer has closed it, and would see an end.
    pub(crate) fn go(&self, fifo: &str) {
        File::options().write(true).open(self.path(fifo)).unwrap().write_all(b"\n").unwrap();
    }
    /// `ostler run` with these arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.ostler("run").args(args).output().unwrap()
    }
    pub(crate) fn code(&self, args: &[&str]) -> Option<i32> {
        self.run(args).status.code()
    }
    /// The same with a script, up to the moment when it has written a line of its process group, which must be its
    /// first: `echo $$`.
    pub(crate) fn start(&self, args: &[&str], script: &str) -> Running {
        let mut command = self.ostler("run");
        command.args(args).args(["--", "sh", "-c", script]);
        Running::begin(command)
    }
}

/// What runs in the background of a script ignores SIGINT, and hands that on. A signal with a handler is at its default
/// again after exec.
pub(crate) fn signals_at_their_defaults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
            let on = Arc::new(AtomicBool::new(true));
            signal_hook::flag::register_conditional_shutdown(signal, 130, on).unwrap();
        }
    });
}

/// An `ostler run` whose command is known to run.
pub(crate) struct Running {
    pub(crate) ostler: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) group: Pid,
}
impl Running {
    pub(crate) fn begin(mut command: Command) -> Running {
        let mut ostler = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(ostler.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let group = Pid::from_raw(line.trim().parse().expect(&line));
        Running { ostler, stdout, group }
    }
    pub(crate) fn signal(&self, signal: Signal) {
        kill_ostler(&self.ostler, signal);
    }
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }
    /// Kills ostler. Its helper, which ends what is left, is not waited for by the kernel: it has a second.
    pub(crate) fn dies(self) {
        self.signal(Signal::SIGKILL);
        let (killed, second) = (Instant::now(), Duration::from_secs(1));
        while !living(self.group).is_empty() && killed.elapsed() < second {
            std::thread::yield_now();
        }
        self.end();
    }
    /// Status, the rest of stdout, and stderr; nothing of the command may be left.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.ostler.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = self.ostler.wait().unwrap();
        assert_eq!(living(self.group), [0; 0], "of group {}; {out:?} {err:?}", self.group);
        (status, out, err)
    }
}

/// A signal to ostler itself.
pub(crate) fn kill_ostler(ostler: &Child, signal: Signal) {
    kill(Pid::from_raw(ostler.id().cast_signed()), signal).unwrap();
}

/// Processes of a group that are not dead. A zombie is: whoever inherited it is only slow to collect it.
pub(crate) fn living(group: Pid) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let lives = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // proc_pid_stat(5): state, parent and group follow the name, which ends at the last parenthesis.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.len() > 2 && !matches!(fields[0], "Z" | "X") && fields[2] == group.to_string()
    };
    pids.filter(lives).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that are no text and follow no pattern.
pub(crate) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

// ── exit codes ──────────────────────────────────────────────────────────────────────────────────────────────────────
