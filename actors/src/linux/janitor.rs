//! Removes artifacts, each time on a thread of its own: nobody waits for a disk.
//!
//! * in: the processes that this graph starts; that it is time, and which of them are still asked for
//! * out: directories that are gone
//! * keeps: one removal at a time; nothing of another graph in this process is touched

use crate::backend::{Outputs, thread::spawn};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use ostler_artifacts::{RetentionLimits, retain};
use ostler_messages::Retain;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long the end of a graph waits for a removal: a short one ends with the graph, and nobody waits for a long one.
const CLEAN_UP_LIMIT: Duration = Duration::from_millis(200);

/// See the [module](self).
pub(super) struct Janitor {
    root: PathBuf,
    limits: RetentionLimits,
    outputs: Arc<Outputs>,
    /// The numbers of this graph's processes, from and to. Other graphs of the process have those between.
    own: Vec<(u64, u64)>,
    /// Disconnects when the removal is over.
    at_work: Option<Receiver<()>>,
}

impl Janitor {
    pub(super) fn new(root: &Path, limits: RetentionLimits, outputs: Arc<Outputs>) -> Janitor {
        Janitor { root: root.to_owned(), limits, outputs, own: Vec::new(), at_work: None }
    }

    /// A process of this graph. Their numbers only grow.
    pub(super) fn note(&mut self, n: u64) {
        match self.own.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => self.own.push((n, n)),
        }
    }

    /// Removes what hosts that are gone have left, and what of this graph nobody asks for any more; none: nothing of it.
    pub(super) fn retain(&mut self, own: Option<Retain>) {
        if self.at_work.as_ref().is_some_and(|work| work.try_recv() == Err(TryRecvError::Empty)) {
            // The next time will do.
            return;
        }
        let (root, limits, outputs, numbers) =
            (self.root.clone(), self.limits, self.outputs.clone(), self.own.clone());
        let (running, at_work) = bounded::<()>(0);
        let thread = spawn("ostler-retention", move || {
            let _running = running;
            let (up_to, but) = own.map_or((0, Vec::new()), |own| (own.up_to, own.but));
            let but: BTreeSet<u64> = but.into_iter().collect();
            let is_own = |n: u64| {
                let at = numbers.partition_point(|(from, _)| *from <= n);
                at > 0 && numbers[at - 1].1 >= n
            };
            let may_go = |n: u64| n <= up_to && is_own(n) && !but.contains(&n);
            // What could not be removed is tried again at the next time.
            outputs.give_back(&retain(&root, &limits, |command| may_go(command.n)).removed);
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
