//! A server, workers of a pool, and hosts, each of which is gone with its test.

pub(crate) use crate::server::LIMIT;
use crate::server::Server;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Between two looks at something that tells nobody of its change.
const LOOK: Duration = Duration::from_millis(20);

/// A server of its own, and files of one test.
pub(crate) struct Place {
    server: Server,
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Option<Place> {
        Some(Place { server: Server::start()?, dir: tempfile::tempdir().unwrap() })
    }

    /// With these settings, by where it listens and keeps its store.
    pub(crate) fn with(settings: impl Fn(&str, &str) -> String) -> Option<Place> {
        Some(Place { server: Server::with("127.0.0.1", settings)?, dir: tempfile::tempdir().unwrap() })
    }

    /// What the server has said so far.
    pub(crate) fn server_said(&self) -> String {
        self.server.said()
    }

    /// Where it is, to this user; "": to anybody.
    pub(crate) fn url(&self, user: &str) -> String {
        let url = self.server.url();
        match user {
            "" => url,
            user => url.replace("//", &format!("//{user}:of-{user}@")),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary, with nothing of whoever runs the test: no home, no settings.
    pub(crate) fn ostler(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_ostler"));
        command.args(args);
        command
    }

    /// Another program, in whose script the binary may be called.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("LC_ALL", "C.UTF-8");
        command.env("NATS_URL", self.url("")).env_remove("NATS_CREDS").env_remove("XDG_CONFIG_HOME");
        command
    }

    /// A worker of the pool `p`, that takes launches.
    pub(crate) fn worker(&self, name: &str, args: &[&str]) -> Running {
        self.worker_of("p", name, args)
    }

    pub(crate) fn worker_of(&self, pool: &str, name: &str, args: &[&str]) -> Running {
        let mut command = self.ostler(&["worker", "--pool", pool, "--name", name]);
        command.arg("--state").arg(self.path(name)).arg("--artifacts").arg(self.path(name).join("artifacts"));
        let mut worker = Running::begin(command.args(args));
        worker.says(&format!("takes launches of pool {pool}"));
        worker
    }

    /// `ostler run` in the pool, in the background, up to the first line of its command.
    pub(crate) fn start(&self, args: &[&str], script: &str) -> (Running, String) {
        let mut command = self.ostler(&["run", "--pool", "p"]);
        let mut run = Running::begin(command.args(args).args(["--", "sh", "-c", script]));
        let line = run.line();
        (run, line)
    }

    /// The same to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.ends(self.ostler(&["run", "--pool", "p"]).args(args))
    }

    /// One that ends by itself, and in time.
    pub(crate) fn ends(&self, command: &mut Command) -> Output {
        let mut running = Running::begin(command);
        let (status, stdout, stderr) = running.end();
        Output { status, stdout: stdout.into(), stderr: stderr.into() }
    }

    /// `ostler ps --json`: its lines.
    pub(crate) fn ps(&self) -> Vec<serde_json::Value> {
        let output = self.ends(&mut self.ostler(&["ps", "--pool", "p", "--all", "--json"]));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn fifo(&self, name: &str) {
        nix::unistd::mkfifo(&self.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }

    /// Lets a command go on that reads from a fifo.
    pub(crate) fn go(&self, fifo: &str) {
        File::options().write(true).open(self.path(fifo)).unwrap().write_all(b"\n").unwrap();
    }
}
/// The lines of a stream, as they come, to its end.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if to.send(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// A process of the binary.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What of stderr was looked at.
    said: String,
}
impl Running {
    pub(crate) fn begin(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Running { child, stdout, stderr, said: String::new() }
    }
    /// What it reads, if that is a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }
    /// The next line of stdout.
    pub(crate) fn line(&mut self) -> String {
        match self.stdout.recv_timeout(LIMIT) {
            Ok(line) => line.trim_end().to_owned(),
            Err(_) => panic!("no line within {LIMIT:?}: {:?}", self.stderr.try_iter().collect::<Vec<_>>()),
        }
    }
    /// Waits until stderr has a line with this in it.
    pub(crate) fn says(&mut self, what: &str) {
        let until = Instant::now() + LIMIT;
        loop {
            let line = self.stderr.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("no {what:?}: {}", self.said));
            self.said += &line;
            if line.contains(what) {
                return;
            }
        }
    }
    /// Takes it away when it has ended.
    pub(crate) fn is_over(&mut self) {
        self.child.wait().unwrap();
    }
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
    /// Its status, the rest of stdout, and stderr.
    pub(crate) fn end(&mut self) -> (ExitStatus, String, String) {
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                let said: String = self.stderr.try_iter().collect();
                panic!("not done within {LIMIT:?}: {}{said}", self.said);
            }
            thread::sleep(LOOK);
        };
        let rest = |lines: &Receiver<String>| {
            let mut text = String::new();
            // Whoever writes has ended.
            while let Ok(line) = lines.recv_timeout(LIMIT) {
                text += &line;
            }
            text
        };
        let stdout = rest(&self.stdout);
        self.said += &rest(&self.stderr);
        (status, stdout, self.said.clone())
    }
}
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process is there that is not dead.
pub(crate) fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Waits until it is so.
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        thread::sleep(LOOK);
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
