//! When a worker is gone for good. Every worker asks this of all others.

use std::collections::BTreeMap;

/// What one observer has read of the heartbeats. Times are the observer's own; a pause of the observer, or of its connection, delays what it finds and
/// makes nothing wrong: what counts is that two reads, so far apart, have found the same heartbeat.
///
/// The order of a round matters:
///
/// 1. read all heartbeats ([`read`](Sentinel::read)), which tells who is overdue;
/// 2. list the claims (before 1 does as well: a list is only the shorter for it);
/// 3. read the heartbeats of those again ([`is_gone`](Sentinel::is_gone)): a claim that stood in the list was made before this read, under a lease that
///    had ended at it;
/// 4. create `lost` for those claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sentinel<W> {
    /// The lease and the margin for clocks that drift.
    limit_ms: u64,
    seen: BTreeMap<W, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seen {
    revision: u64,
    /// When the read that found it first was answered.
    since_ms: u64,
}

impl<W: Ord + Clone> Sentinel<W> {
    /// With the lease that workers hold, and what clocks may differ by in its length.
    pub(crate) fn new(lease_ms: u64, margin_ms: u64) -> Sentinel<W> {
        Sentinel { limit_ms: lease_ms.saturating_add(margin_ms), seen: BTreeMap::new() }
    }
    /// A read of all heartbeats was begun at this time: which revision each has. Those whose was the same for so long are overdue.
    pub(crate) fn read(
        &mut self,
        heartbeats: impl IntoIterator<Item = (W, u64)>,
        begun_ms: u64,
        answered_ms: u64,
    ) -> Vec<W> {
        let before = std::mem::take(&mut self.seen);
        for (worker, revision) in heartbeats {
            let same = before.get(&worker).filter(|seen| seen.revision == revision);
            let seen = same.copied().unwrap_or(Seen { revision, since_ms: answered_ms });
            self.seen.insert(worker, seen);
        }
        self.seen
            .iter()
            .filter(|(_, seen)| self.overdue(seen, begun_ms))
            .map(|(worker, _)| worker.clone())
            .collect()
    }
    /// Its heartbeat was read again, in a read begun at this time, after its claims were listed: whether what was listed may be answered with `lost`.
    pub(crate) fn is_gone(&self, worker: &W, revision: u64, begun_ms: u64) -> bool {
        self.seen.get(worker).is_some_and(|seen| seen.revision == revision && self.overdue(seen, begun_ms))
    }
    fn overdue(&self, seen: &Seen, begun_ms: u64) -> bool {
        begun_ms >= seen.since_ms.saturating_add(self.limit_ms)
    }
}
