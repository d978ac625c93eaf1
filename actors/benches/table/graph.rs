//! A graph to be measured.

use ostler::{Command, Config, Containment, Entry, Filter, Handle, Ostler, Session};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) struct Graph {
    pub(crate) session: Session,
    pub(crate) ostler: Ostler,
    _dir: TempDir,
}

impl Graph {
    pub(crate) fn new() -> Graph {
        Graph::with(|_| ()).unwrap()
    }
    /// None if the machine has not what is asked for.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Option<Graph> {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { artifact_root: Some(dir.path().join("artifacts")), ..Config::default() };
        config.limits.session_handles = u64::MAX;
        change(&mut config);
        let ostler = Ostler::start(config).inspect_err(|error| eprintln!("skipped: {error}")).ok()?;
        let session = ostler.open_session(None).wait().unwrap();
        Some(Graph { session, ostler, _dir: dir })
    }
    pub(crate) fn in_tier(tier: Containment) -> Option<Graph> {
        Graph::with(|config| config.containment = vec![tier])
    }
    pub(crate) fn launch(&self, program: &str, args: &[&str]) -> Handle {
        self.session.launch(Command::new(program).args(args.iter().copied())).wait().unwrap()
    }
    pub(crate) fn result(&self) -> Entry {
        self.session.inbox().receive(Filter::results(), 1, LONG).wait().unwrap().remove(0)
    }
    pub(crate) fn results(&self, mut count: usize) {
        while count > 0 {
            count -= self.session.inbox().receive(Filter::results(), count, LONG).wait().unwrap().len();
        }
    }
}
impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.ostler.shutdown().wait();
    }
}
