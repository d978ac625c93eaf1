//! Timers of the signal thread.

use ostler_messages::{ActorName, TimerKind};
use std::{collections::BTreeMap, time::Instant};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// Armed by the graph.
    Graph(ActorName, TimerKind),
    /// The signal thread's own: look again whether the tree of this process is empty.
    Probe(u64),
}

/// By time and by name. At most eight for each process and one for each waiting call.
#[derive(Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<(Instant, u64), TimerKey>,
    by_key: BTreeMap<TimerKey, (Instant, u64)>,
    next: u64,
}
impl Timers {
    /// Replaces one of the same name.
    pub(crate) fn arm(&mut self, key: TimerKey, at: Instant) {
        self.disarm(key);
        self.next += 1;
        self.by_time.insert((at, self.next), key);
        self.by_key.insert(key, (at, self.next));
    }
    pub(crate) fn disarm(&mut self, key: TimerKey) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&at);
        }
    }
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }
    /// One that is due, earliest first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<TimerKey> {
        let (&at, &key) = self.by_time.first_key_value().filter(|((at, _), _)| *at <= now)?;
        self.by_time.remove(&at);
        self.by_key.remove(&key);
        Some(key)
    }
    /// Those of a process that has ended.
    pub(crate) fn remove_all(&mut self, n: u64) {
        self.disarm(TimerKey::Probe(n));
    }
}
