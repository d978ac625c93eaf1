//! A graph to be measured.

use crate::measure::timed;
use ostler::{Command, Config, Containment, Entry, Filter, Handle, Ostler, Session};
use std::{
    fs,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Artifacts stay until everything was measured: ext4 without a journal searches past each inode that was freed within
/// the last seconds, so that tidying up between two rows would halve the rate of the next one.
static KEPT: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());

pub(crate) fn tidy_up() {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

pub(crate) struct Graph {
    pub(crate) session: Session,
    pub(crate) ostler: Ostler,
    dir: Option<TempDir>,
}

impl Graph {
    pub(crate) fn new() -> Graph {
        Graph::with(|_| ()).unwrap()
    }
    /// None if the machine has not what is asked for.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Option<Graph> {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new().artifact_root(dir.path().join("artifacts"));
        config.limits.handles = 8_000;
        config.limits.session_handles = 8_000;
        config.limits.unread_results = 16_000;
        change(&mut config);
        let ostler = Ostler::start(config).inspect_err(|error| eprintln!("skipped: {error}")).ok()?;
        let session = ostler.open_session().wait().unwrap();
        Some(Graph { session, ostler, dir: Some(dir) })
    }
    pub(crate) fn in_tier(tier: Containment) -> Option<Graph> {
        Graph::with(|config| config.containment = [tier].into())
    }
    pub(crate) fn launch(&self, program: &str, args: &[&str]) -> Handle {
        self.session.launch(Command::new(program).args(args.iter().copied())).wait().unwrap()
    }
    /// Asked for at once.
    pub(crate) fn burst(&self, count: usize, command: &Command) -> Vec<Handle> {
        let calls: Vec<_> = (0..count).map(|_| self.session.launch(command.clone()).begin()).collect();
        calls.into_iter().map(|call| call.wait().unwrap()).collect()
    }
    pub(crate) fn results(&self, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        while entries.len() < count {
            let max = count - entries.len();
            entries.extend(self.session.inbox().receive(Filter::results(), max, LONG).wait().unwrap());
        }
        entries
    }
    /// From a launch to its result, in milliseconds.
    pub(crate) fn one(&self, command: &Command) -> f64 {
        timed(|| {
            self.session.launch(command.clone()).wait().unwrap();
            self.results(1);
        })
    }
    /// The same for several at once; what they wrote is removed afterwards.
    pub(crate) fn floods(&self, count: usize, command: &Command) -> f64 {
        let mut entries = Vec::new();
        let ms = timed(|| {
            self.burst(count, command);
            entries = self.results(count);
        });
        for entry in entries {
            let record = entry.record().unwrap();
            assert_eq!((record.exit_code, record.artifact_error.as_deref()), (Some(0), None));
            fs::remove_dir_all(record.output_path.parent().unwrap()).unwrap();
        }
        ms
    }
}
impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.ostler.shutdown().wait();
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).extend(self.dir.take());
    }
}
