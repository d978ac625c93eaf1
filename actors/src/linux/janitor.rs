//! Removes artifacts, each time on a thread of its own: nobody waits for a disk.
//!
//! * in: the commands that this graph starts; that it is time, and which of them are still asked for
//! * out: directories that are gone
//! * keeps: one removal at a time; nothing of another graph in this process is touched

use crate::backend::{Outputs, thread::spawn};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use ostler_artifacts::{Others, RetentionLimits, Wanted, is_turn, retain};
use ostler_messages::{CommandId, Retain};
use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long the end of a graph waits for a removal: a short one ends with the graph, and nobody waits for a long one.
const CLEAN_UP_LIMIT: Duration = Duration::from_millis(200);

/// Commands of this graph whose artifacts may be there still: so many that a busy graph removes some before they are forgotten here.
/// Beyond it the oldest are left to the host's next start. 32 bytes each.
const OWN_MAX: usize = 65_536;

/// Which commands of dead hosts of the journal's name nobody has taken over yet, as it is now. None: that can't be told.
pub(super) type Look = Arc<dyn Fn() -> Option<IsMeant> + Send + Sync>;
type IsMeant = Arc<dyn Fn(CommandId) -> bool + Send + Sync>;

/// See the [module](self).
pub(super) struct Janitor {
    root: PathBuf,
    limits: RetentionLimits,
    outputs: Arc<Outputs>,
    /// In the order of their launches, by number. The whole id: where hosts of several containers share a root, one of them may have the same pid.
    own: VecDeque<CommandId>,
    /// Of earlier lives of the host, those that somebody can still ask for; and the journal that knows of them.
    past: BTreeSet<CommandId>,
    journal: Option<(String, Look)>,
    /// Tells what was removed, once the removal is over.
    at_work: Option<Receiver<Vec<CommandId>>>,
}

impl Janitor {
    pub(super) fn new(root: &Path, limits: RetentionLimits, outputs: Arc<Outputs>) -> Janitor {
        let (own, past, journal) = (VecDeque::new(), BTreeSet::new(), None);
        Janitor { root: root.to_owned(), limits, outputs, own, past, journal, at_work: None }
    }
    /// The host has earlier lives, of which these commands can still be asked for.
    pub(super) fn has_past(&mut self, journal: (String, Look), past: BTreeSet<CommandId>) {
        (self.past, self.journal) = (past, Some(journal));
    }

    /// A command of this graph. True: there are so many that it is time for a removal.
    pub(super) fn note(&mut self, command: CommandId) -> bool {
        self.own.push_back(command);
        let is_time = self.own.len() == OWN_MAX;
        if self.own.len() > OWN_MAX {
            self.is_at_work();
            self.own.drain(..self.own.len().saturating_sub(OWN_MAX));
        }
        is_time
    }

    /// Whether a removal goes on. One that is over is taken note of.
    fn is_at_work(&mut self) -> bool {
        match self.at_work.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return true,
            Some(Ok(removed)) => {
                let removed: BTreeSet<CommandId> = removed.into_iter().collect();
                self.own.retain(|command| !removed.contains(command));
            }
            Some(Err(TryRecvError::Disconnected)) | None => {}
        }
        self.at_work = None;
        false
    }

    /// The graph starts, and will look again after this time.
    pub(super) fn start(&mut self, interval: Duration) {
        if is_turn(&self.root, &self.limits, interval) {
            self.retain(None);
        }
    }

    /// Removes what hosts that are gone have left, and what of this graph nobody asks for any more; none: nothing of it.
    pub(super) fn retain(&mut self, own: Option<Retain>) {
        if self.is_at_work() {
            // The next time will do.
            return;
        }
        if let Some(own) = &own {
            self.past = own.past.iter().copied().collect();
        }
        let may_go = own.map(|Retain { up_to, but, .. }| {
            let but: BTreeSet<u64> = but.into_iter().collect();
            self.own.iter().filter(|id| id.n <= up_to && !but.contains(&id.n)).copied().collect()
        });
        let (may_go, past, journal) = (may_go.unwrap_or_default(), self.past.clone(), self.journal.clone());
        let (root, limits, outputs) = (self.root.clone(), self.limits, self.outputs.clone());
        let (tell, at_work) = bounded(1);
        let thread = spawn("ostler-retention", move || {
            // Where it can't be told, everything of any journal stays until its age.
            let others = journal.as_ref().and_then(|(_, look)| look());
            let journal = journal.filter(|_| others.is_some()).map(|(name, _)| name);
            let wanted = Wanted { may_go, past, journal, others: Others(others) };
            // What could not be removed is tried again at the next time.
            let removed = retain(&root, &limits, &wanted).removed;
            outputs.give_back(&removed);
            let _ = tell.send(removed);
        });
        self.at_work = thread.is_ok().then_some(at_work);
    }

    /// The graph ends.
    pub(super) fn close(&mut self) {
        if let Some(at_work) = self.at_work.take() {
            let _ = at_work.recv_timeout(CLEAN_UP_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_a_removal_when_there_is_much_and_remembers_no_more_than_that() {
        let dir = tempfile::tempdir().unwrap();
        let limits = RetentionLimits { age: Duration::ZERO, commands: 0, bytes: 0 };
        let outputs = Arc::new(Outputs::new(7, None));
        let mut janitor = Janitor::new(dir.path(), limits, outputs);
        let id = |n: usize| CommandId { host_pid: 7, unix_ns: 1, n: n as u64 };
        let asked: Vec<usize> = (1..=OWN_MAX + 500).filter(|n| janitor.note(id(*n))).collect();
        assert_eq!((asked, janitor.own.len(), janitor.own[0]), (vec![OWN_MAX], OWN_MAX, id(501)));
        // What was removed is forgotten with the next one, and there is room again.
        let (tell, at_work) = bounded(1);
        tell.send((501..=OWN_MAX).map(id).collect()).unwrap();
        janitor.at_work = Some(at_work);
        assert!(!janitor.note(id(OWN_MAX + 501)));
        assert_eq!((janitor.own.len(), janitor.own[0]), (501, id(OWN_MAX + 1)));
    }
}
