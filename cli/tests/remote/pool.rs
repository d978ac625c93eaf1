//! A pool of worker processes that can die, stand still and be cut off, on a server that can be killed and comes back.

use crate::{
    place::{LIMIT, Running},
    server::Server,
    wire::Wire,
};
use nix::sys::signal::Signal;
use ostler_remote::{Connect, Handle, Remote};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) struct Pool {
    pub(crate) server: Server,
    place: TempDir,
}

impl Pool {
    pub(crate) fn new() -> Option<Pool> {
        Pool::at("127.0.0.1")
    }
    /// Whose server listens there.
    pub(crate) fn at(host: &str) -> Option<Pool> {
        Some(Pool { server: Server::start_at(host)?, place: tempfile::tempdir().unwrap() })
    }
    pub(crate) fn name(&self) -> ostler_remote::Pool {
        "p".parse().unwrap()
    }
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }
    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.place().join(name), "").unwrap();
    }
    pub(crate) fn host(&self) -> Remote {
        Remote::connect(&Connect::to(self.server.url())).unwrap()
    }
    /// What every process of a worker has in its environment, its commands too.
    fn state(&self, worker: &str) -> PathBuf {
        self.place().join("workers").join(worker)
    }
    fn command(&self, url: &str, state: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.current_dir(self.place()).stdin(Stdio::null());
        command
            .env("HOME", self.place())
            .env("XDG_STATE_HOME", state)
            .env("LC_ALL", "C.UTF-8")
            .env("NATS_URL", url);
        command.env_remove("NATS_CREDS").env_remove("XDG_CONFIG_HOME");
        command
    }
    /// A worker that takes launches.
    pub(crate) fn worker(&self, name: &str, args: &[&str]) -> Running {
        self.worker_at(&self.server.url(), name, args)
    }
    pub(crate) fn worker_over(&self, wire: &Wire, name: &str, args: &[&str]) -> Running {
        self.worker_at(&wire.url(), name, args)
    }
    pub(crate) fn worker_at(&self, url: &str, name: &str, args: &[&str]) -> Running {
        let mut command = self.command(url, &self.state(name));
        command.args(["worker", "--pool", "p", "--name", name]).args(args);
        let mut worker = Running::begin(&mut command);
        worker.says("takes launches of pool p");
        worker
    }
    pub(crate) fn ostler(&self, args: &[&str]) -> Running {
        Running::begin(self.command(&self.server.url(), &self.place().join("host")).args(args))
    }
    /// A wire between a worker and the server.
    pub(crate) fn wire(&self) -> Wire {
        Wire::to(&self.server.url())
    }

    /// Nothing that a worker has started lives; itself and its guard may.
    pub(crate) fn is_left_alone_but(&self, worker: &str, time: Duration) {
        self.dies(worker, time, |name| name == "ostler" || name.starts_with("ostler-"));
    }
    /// Nothing that it has started lives, nor it itself.
    pub(crate) fn is_left_alone(&self, worker: &str, time: Duration) {
        self.dies(worker, time, |_| false);
    }
    fn dies(&self, worker: &str, time: Duration, may_live: impl Fn(&str) -> bool) {
        let since = Instant::now();
        loop {
            let left: Vec<_> = marked(self, worker).into_iter().filter(|(_, name)| !may_live(name)).collect();
            if left.is_empty() {
                return;
            }
            assert!(since.elapsed() < time, "alive after {time:?}: {left:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
    /// As its own machine has it: its record is on the disk, where the next life of its worker finds it.
    pub(crate) fn has_ended(&self, handle: &Handle) {
        let result = handle.record().output_path.with_file_name("result.json");
        self.until("it has ended", || result.exists());
    }
    /// A worker that was away is seen again, as late as this one, which was not.
    pub(crate) fn is_back(&self, away: &str, here: &str) {
        self.until("it is seen again", || {
            let workers = self.host().workers(&self.name()).wait().unwrap();
            let at = |name: &str| {
                workers.iter().find(|worker| worker.worker.to_string() == name).map(|worker| worker.at.0)
            };
            at(away) >= at(here).map(|at| at.saturating_sub(1_500))
        });
    }
    pub(crate) fn until(&self, what: &str, is: impl Fn() -> bool) {
        let since = Instant::now();
        while !is() {
            assert!(since.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Processes with this worker's state in their environment: their ids and names.
pub(crate) fn marked(pool: &Pool, worker: &str) -> Vec<(i32, String)> {
    let mark = format!("XDG_STATE_HOME={}", pool.state(worker).display());
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let of_it = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    pids.filter(of_it)
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // One that is dead and not yet taken away is not alive.
            let (name, rest) = status.split_once('(')?.1.rsplit_once(") ")?;
            (!rest.starts_with('Z') && !rest.starts_with('X')).then(|| (pid, name.to_owned()))
        })
        .collect()
}

impl Running {
    pub(crate) fn is_killed(&mut self) {
        self.signal(Signal::SIGKILL);
        self.is_over();
    }
    pub(crate) fn stands_still(&self) {
        self.signal(Signal::SIGSTOP);
    }
    pub(crate) fn goes_on(&self) {
        self.signal(Signal::SIGCONT);
    }
}
