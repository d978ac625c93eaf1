//! A world that a test writes itself.

use super::{journal::Disk, program::Program};
use crate::{
    backend::{HostInput, WorldInput},
    config::TraceTo,
};
use crossbeam_channel::Sender;
use ostler_messages::{LaunchRequest, Stamp};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// So many events happen until a world counts as one that never comes to rest: a flood of 97 GiB is as many, and a second of work.
pub const QUIET_EVENTS: u64 = 100_000;

/// A world does not come to rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {passed:?} and {QUIET_EVENTS} events it still goes on: {}", moving.join("; "))]
#[non_exhaustive]
pub struct NotQuiet {
    /// How far time has gone.
    pub passed: Duration,
    /// What would happen next, at which time of the graph; the first eight.
    pub moving: Vec<String>,
}

/// When it begins: 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: Stamp = Stamp(1_767_225_600_000);

/// A scripted kernel: programs that do what they are told, in virtual time. The graph on top of it is the real one, so
/// a host can test its own loop without a process, a file, or a clock.
///
/// Time stands still unless the host waits for an answer ([`Call::wait`](crate::Call::wait), `.await`), or calls
/// [`advance`](World::advance); then it jumps from one event to the next. A call that was only
/// [begun](crate::Call::begin) does not move it. What one thread does, one call after another, is therefore the same on every
/// run, to the byte of the trace. So is what one
/// task does with several calls at once (a `select!`, a `join!`): after an answer no time passes until the task has looked at everything that it
/// still waits for, and nothing else is answered: what comes at the same moment is seen in the order in which the graph answers. Threads beside each other are as they are, and so are timers that are not the world's.
///
/// ```
/// use ostler::{Command, Config, Filter, Ostler, testing::{Program, World}};
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

type Rule = Arc<dyn Fn(&LaunchRequest) -> Option<Program> + Send + Sync>;

#[derive(Default)]
struct Script {
    programs: BTreeMap<Vec<u8>, Program>,
    /// Asked for what has no name here.
    rule: Option<Rule>,
    missing_dirs: Vec<PathBuf>,
    launched: Vec<Arc<LaunchRequest>>,
    requests: Option<Sender<HostInput>>,
    disk: Disk,
    /// Of each life of the host: what it records.
    traces: Vec<TraceTo>,
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

    /// What happens when something is launched that no [`program`](World::program) is named after: a function of its whole
    /// request, its argv first of all. None: there is no such program. It must not call the world or the graph.
    pub fn programs_by(&self, rule: impl Fn(&LaunchRequest) -> Option<Program> + Send + Sync + 'static) {
        self.script().rule = Some(Arc::new(rule));
    }

    /// This directory does not exist: a launch in it fails with `CwdMissing`. Every other one exists.
    pub fn without_dir(&self, dir: impl Into<PathBuf>) {
        self.script().missing_dirs.push(dir.into());
    }

    /// Everything that was launched, in order, also what could not be started. For a test that asks what its host did.
    pub fn launched(&self) -> Vec<Arc<LaunchRequest>> {
        self.script().launched.clone()
    }

    /// Lets time pass, and returns when everything that happens within it has been dealt with. Returns at once if no graph
    /// runs on this world.
    pub fn advance(&self, time: Duration) {
        let (done, passed) = oneshot::channel();
        let by_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let requests = self.script().requests.clone();
        let sent = requests.is_some_and(|requests| {
            requests.send(HostInput::World(WorldInput::Advance { by_ms, done })).is_ok()
        });
        if sent {
            // Closed when the graph ends instead.
            let _ = passed.recv();
        }
    }

    /// Lets time pass until nothing happens any more unless the host does something, however far that is, and returns how much has passed. A
    /// program that runs on and says nothing is quiet; so is a host's call that waits for what never comes. Returns at once if no graph runs on this world.
    ///
    /// # Errors
    /// After [`QUIET_EVENTS`] events something still happens, as in a world with a command that has
    /// [`progress`](crate::Command::progress) and never ends; what, stands in the error.
    pub fn run_until_quiet(&self) -> Result<Duration, NotQuiet> {
        let (done, quiet) = oneshot::channel();
        let requests = self.script().requests.clone();
        let until = WorldInput::UntilQuiet { max_events: QUIET_EVENTS, done };
        if requests.is_none_or(|requests| requests.send(HostInput::World(until)).is_err()) {
            return Ok(Duration::ZERO);
        }
        // Closed when the graph ends instead.
        let (passed_us, moving) = quiet.recv().unwrap_or_default();
        let passed = Duration::from_micros(passed_us);
        if moving.is_empty() { Ok(passed) } else { Err(NotQuiet { passed, moving }) }
    }

    /// The host dies at this moment, as by SIGKILL: whoever waits hears [`Closed`](crate::Error::Closed), every process ends, and what was
    /// not written to its journal is not there. Start another graph on this world for its next life: it goes on at the same time.
    pub fn crash(&self) {
        let (done, crashed) = oneshot::channel();
        let requests = self.script().requests.take();
        if requests
            .is_some_and(|requests| requests.send(HostInput::World(WorldInput::Crash { done })).is_ok())
        {
            // Closed when the graph has ended instead.
            let _ = crashed.recv();
        }
    }
    /// From now on the journal can't be written, until [`journal_works`](World::journal_works).
    pub fn journal_fails(&self, error: impl Into<String>) {
        self.script().disk.fault = Some(error.into());
    }
    /// It can be written again. Whoever writes it notices within a second.
    pub fn journal_works(&self) {
        self.script().disk.fault = None;
    }
    /// How long it takes from now on until something is written to the journal; at first it takes no time.
    pub fn journal_takes(&self, time: Duration) {
        self.script().disk.write_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    }

    /// What the lives of the host record, the first one first.
    pub(crate) fn traces(&self) -> Vec<TraceTo> {
        self.script().traces.clone()
    }
    /// Another life begins, which records there.
    pub(crate) fn note_trace(&self, to: TraceTo) {
        self.script().traces.push(to);
    }

    pub(super) fn disk<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.script().disk)
    }

    pub(crate) fn connect(&self, requests: Sender<HostInput>) {
        self.script().requests = Some(requests);
    }

    /// The program of a request.
    pub(super) fn find(&self, request: &LaunchRequest) -> Option<Program> {
        let script = self.script();
        let named = script.programs.get(request.program.as_bytes()).cloned();
        let rule = script.rule.clone();
        // The host's own function runs without the lock.
        drop(script);
        named.or_else(|| rule.and_then(|rule| rule(request)))
    }

    pub(super) fn note_launch(&self, request: &Arc<LaunchRequest>) {
        self.script().launched.push(request.clone());
    }

    pub(super) fn lacks_dir(&self, dir: &Path) -> bool {
        self.script().missing_dirs.iter().any(|missing| missing == dir)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // Every change is one insertion: it is whole, or it has not happened.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
