//! What a subscriber was told and has not looked at yet, as a pure structure.
//!
//! * in: entries, by their numbers
//! * out: the same, or how many were left out
//! * keeps: bounded memory; at most one progress entry for each handle, and none before its result

use crate::{BACKLOG_ENTRIES, RESULTS_WITH_TEXT, lease::Counts, queue::without_text};
use ostler_messages::{Content, Entry, HandleId, Subscribed};
use std::collections::BTreeMap;

/// The entries that one subscriber is behind, at most [`BACKLOG_ENTRIES`]. Beyond that the oldest are left out and counted. At most
/// [`RESULTS_WITH_TEXT`] results keep their text, as in a queue.
#[derive(Debug, Default)]
pub struct Backlog {
    /// By number, which grows from one to the next.
    entries: BTreeMap<u64, Entry>,
    progress: BTreeMap<HandleId, u64>,
    counts: Counts,
    missed: u64,
}

impl Backlog {
    /// Adds one. Progress goes in place of older progress of its handle, a result too.
    pub fn push(&mut self, mut entry: Entry) {
        let handle = entry.record().map(|record| record.handle_id);
        if let Some(older) = handle.and_then(|handle| self.progress.remove(&handle)) {
            self.remove(older);
        }
        if self.entries.len() >= BACKLOG_ENTRIES {
            self.missed += u64::from(self.pop().is_some());
        }
        if let Some(handle) = handle.filter(|_| entry.is_progress()) {
            self.progress.insert(handle, entry.sequence);
        }
        if self.counts.with_text >= RESULTS_WITH_TEXT && entry.is_result() {
            entry.content = match entry.content {
                Content::Record(record) if record.text_on_disk.0 => Content::Record(without_text(record)),
                other => other,
            };
        }
        self.counts.add(&entry);
        self.entries.insert(entry.sequence, entry);
    }

    /// The next thing to look at, the oldest first. What was left out is said before it.
    pub fn take_next(&mut self) -> Option<Subscribed> {
        match std::mem::take(&mut self.missed) {
            0 => self.pop().map(Subscribed::Entry),
            missed => Some(Subscribed::Lagged { missed }),
        }
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.missed == 0
    }

    fn pop(&mut self) -> Option<Entry> {
        let sequence = *self.entries.first_key_value()?.0;
        let entry = self.remove(sequence)?;
        if entry.is_progress() {
            entry.record().and_then(|record| self.progress.remove(&record.handle_id));
        }
        Some(entry)
    }
    fn remove(&mut self, sequence: u64) -> Option<Entry> {
        self.entries.remove(&sequence).inspect(|entry| self.counts.remove(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::tests::{AT, record, session};
    use ostler_messages::{Status, TOOL_PROGRESS, TOOL_RESULT};

    fn entry(sequence: u64, n: u64, kind: &'static str) -> Entry {
        let status = if kind == TOOL_PROGRESS { Status::Running } else { Status::Completed };
        let content = Content::Record(record(&session(), n, status));
        Entry::new(sequence, session(), (kind.into(), "ostler".into()), content, AT)
    }
    fn all(backlog: &mut Backlog) -> Vec<(u64, &'static str)> {
        let told = std::iter::from_fn(|| backlog.take_next()).map(|next| match next {
            Subscribed::Entry(entry) if entry.is_progress() => (entry.sequence, "progress"),
            Subscribed::Entry(entry) => (entry.sequence, "result"),
            Subscribed::Lagged { missed } => (missed, "missed"),
        });
        told.collect()
    }

    #[test]
    fn one_progress_entry_of_each_handle_waits_and_none_when_the_result_does() {
        let mut backlog = Backlog::default();
        for (sequence, n) in [(1, 1), (2, 2), (3, 1), (4, 3)] {
            backlog.push(entry(sequence, n, TOOL_PROGRESS));
        }
        backlog.push(entry(5, 3, TOOL_RESULT));
        assert_eq!(all(&mut backlog), [(2, "progress"), (3, "progress"), (5, "result")]);
        assert!(backlog.is_empty() && backlog.progress.is_empty());
        backlog.push(entry(6, 1, TOOL_PROGRESS));
        assert_eq!(all(&mut backlog), [(6, "progress")], "what was looked at is not replaced");
    }

    #[test]
    fn whoever_is_too_far_behind_misses_the_oldest_and_is_told_how_many() {
        let mut backlog = Backlog::default();
        let limit = BACKLOG_ENTRIES as u64;
        backlog.push(entry(1, 7_000, TOOL_PROGRESS));
        (2..=limit).for_each(|n| backlog.push(entry(n, n, TOOL_RESULT)));
        assert_eq!(backlog.missed, 0);
        (limit + 1..=limit + 3).for_each(|n| backlog.push(entry(n, n, TOOL_RESULT)));
        assert_eq!((backlog.entries.len(), backlog.progress.len()), (BACKLOG_ENTRIES, 0));
        assert_eq!(backlog.counts.with_text, RESULTS_WITH_TEXT);
        let told = all(&mut backlog);
        assert_eq!(told[..2], [(3, "missed"), (4, "result")]);
        assert_eq!((told.len(), told.last()), (1 + BACKLOG_ENTRIES, Some(&(limit + 3, "result"))));
        assert_eq!(backlog.counts, Counts::default());
    }
}
