//! The outputs that are being written, for readers on the host's threads.

use ostler_artifacts::{Budget, Growth};
use ostler_messages::{CommandId, HandleId, LaunchError, Limit, Output, SessionId, TerminalSize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Handles that have ended but can still be read by their handle id; a command id can be read as long as its files exist.
const FINISHED: usize = 256;

/// Locked when a command starts, ends, or is read; never while bytes flow.
#[derive(Debug)]
pub(crate) struct Outputs {
    host_pid: u32,
    /// What each session may have on disk.
    session_bytes: Option<u64>,
    known: Mutex<Known>,
}
#[derive(Debug, Default)]
struct Known {
    commands: BTreeMap<u64, (CommandId, Arc<Growth>)>,
    finished: VecDeque<u64>,
    /// Rows and columns of those that have one.
    terminals: BTreeMap<u64, (u16, u16)>,
    /// Of earlier lives of the host.
    past: BTreeMap<HandleId, CommandId>,
    /// Of sessions that have launched something, until they end.
    budgets: BTreeMap<SessionId, Arc<Budget>>,
}

impl Outputs {
    pub(crate) fn new(host_pid: u32, session_bytes: Option<u64>) -> Outputs {
        Outputs { host_pid, session_bytes, known: Mutex::default() }
    }
    fn known(&self) -> MutexGuard<'_, Known> {
        // Whoever panicked with the lock held had at most one of the two collections changed: both stay usable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn begin(&self, n: u64, command_id: CommandId, growth: Arc<Growth>) {
        self.known().commands.insert(n, (command_id, growth));
    }
    /// What the commands of this session may have on disk together, if that is limited.
    ///
    /// # Errors
    /// It is spent. The registry adds which handles are the oldest.
    pub(crate) fn budget(&self, session_id: &SessionId) -> Result<Option<Arc<Budget>>, LaunchError> {
        let Some(max) = self.session_bytes else { return Ok(None) };
        let mut known = self.known();
        let budget = known.budgets.entry(session_id.clone()).or_insert_with(|| Arc::new(Budget::new(max)));
        let (limit, count) = (Limit::SessionOutputBytes, budget.used());
        // Each byte stands there twice.
        match count + 2 > max {
            true => Err(LaunchError::LimitReached { limit, max, count, leased: 0, oldest: Vec::new() }),
            false => Ok(Some(budget.clone())),
        }
    }
    /// The session has ended.
    pub(crate) fn forget_session(&self, session_id: &SessionId) {
        self.known().budgets.remove(session_id);
    }
    /// The files of these commands are gone.
    pub(crate) fn give_back(&self, removed: &[CommandId]) {
        let own = removed.iter().filter(|id| id.host_pid == self.host_pid);
        let known = self.known();
        own.for_each(|id| known.budgets.values().for_each(|budget| budget.give_back(id.n)));
    }
    /// It has a terminal of this size from now on.
    pub(crate) fn set_terminal(&self, n: u64, size: TerminalSize) {
        self.known().terminals.insert(n, (size.rows, size.columns));
    }
    /// Rows and columns of its terminal, if it has one.
    pub(crate) fn terminal(&self, n: u64) -> Option<(u16, u16)> {
        self.known().terminals.get(&n).copied()
    }
    /// The command has ended; some later one will push it out.
    pub(crate) fn finish(&self, n: u64) {
        let mut known = self.known();
        if known.commands.contains_key(&n) {
            known.finished.push_back(n);
        }
        while known.finished.len() > FINISHED {
            if let Some(oldest) = known.finished.pop_front() {
                known.terminals.remove(&oldest);
                known.commands.remove(&oldest);
            }
        }
    }
    /// There is no such command after all.
    pub(crate) fn remove(&self, n: u64) {
        let mut known = self.known();
        known.commands.remove(&n);
        known.terminals.remove(&n);
        known.budgets.values().for_each(|budget| budget.give_back(n));
    }
    /// A command of an earlier life of the host can be read by its handle id too.
    pub(crate) fn remember(&self, handle: HandleId, command_id: CommandId) {
        self.known().past.insert(handle, command_id);
    }
    pub(crate) fn command_of(&self, handle: HandleId) -> Option<CommandId> {
        if let Some(command_id) = self.known().past.get(&handle) {
            return Some(*command_id);
        }
        let ours = handle.host_pid == self.host_pid;
        ours.then(|| self.known().commands.get(&handle.n).map(|(id, _)| *id)).flatten()
    }
    /// What was read of a command so far, also by a thread that hangs in the disk since.
    /// None: it is sealed.
    pub(crate) fn peek(&self, n: u64, inline_bytes: u64) -> Option<Output> {
        let growth = self.known().commands.get(&n).map(|(_, growth)| growth.clone());
        growth?.peek(inline_bytes)
    }
    pub(crate) fn growth(&self, command: CommandId) -> Option<Arc<Growth>> {
        let known = self.known();
        known.commands.get(&command.n).filter(|(id, _)| *id == command).map(|(_, growth)| growth.clone())
    }
}
