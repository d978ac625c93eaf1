//! A world that a test writes itself.

use super::program::Program;
use crate::backend::HostInput;
use crossbeam_channel::Sender;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A scripted kernel: programs that do what they are told, in virtual time. The graph on top of it is the real one, so
/// a host can test its own loop without a process, a file, or a clock.
///
/// Time stands still unless the host waits for an answer ([`Call::wait`](crate::Call::wait), `.await`), or calls
/// [`advance`](World::advance); then it jumps from one event to the next. A call that was only
/// [begun](crate::Call::begin) does not move it. What one thread does is therefore the same on every run, to the byte of
/// the trace.
///
/// ```
/// use ostler::{Command, Config, Filter, Ostler, Program, World};
/// use std::time::Duration;
///
/// let world = World::new();
/// world.program("make", Program::new()
///     .stdout_at(Duration::from_millis(100), "compiling\n")
///     .exits_at(Duration::from_secs(90), 2));
/// let ostler = Ostler::scripted(Config::default(), &world)?;
/// let session = ostler.open_session().wait()?;
/// session.launch(Command::new("make")).wait()?;
///
/// // An hour at most, and no time at all.
/// let entries = session.inbox().receive(Filter::results(), 1, Duration::from_secs(3600)).wait()?;
/// let result = entries[0].record().unwrap();
/// assert_eq!((result.exit_code, result.duration_ms), (Some(2), Some(90_000)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct World(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    programs: BTreeMap<Vec<u8>, Program>,
    requests: Option<Sender<HostInput>>,
}
impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("programs", &self.programs.len()).finish_non_exhaustive()
    }
}

impl World {
    /// No program in it: every launch fails with `ProgramNotFound`.
    pub fn new() -> World {
        World::default()
    }

    /// What happens when a program of this name is launched, from now on.
    pub fn program(&self, name: impl AsRef<str>, program: Program) {
        self.script().programs.insert(name.as_ref().as_bytes().to_vec(), program);
    }

    /// Lets time pass, and returns when everything that happens within it has been dealt with. Returns at once if no graph
    /// runs on this world.
    pub fn advance(&self, time: Duration) {
        let (done, passed) = oneshot::channel();
        let by_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let requests = self.script().requests.clone();
        let sent = requests.is_some_and(|requests| requests.send(HostInput::Advance { by_ms, done }).is_ok());
        if sent {
            // Closed when the graph ends instead.
            let _ = passed.recv();
        }
    }

    pub(crate) fn connect(&self, requests: Sender<HostInput>) {
        self.script().requests = Some(requests);
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Program> {
        self.script().programs.get(name).cloned()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // Every change is one insertion: it is whole, or it has not happened.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
