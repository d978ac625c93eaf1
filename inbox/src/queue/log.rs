//! What of a session's queue is to survive the host.
//!
//! * in: entries that come and go
//! * out: rows for the journal, and how far they have to be written before an answer goes out
//! * keeps: what a reader can see, and what an acknowledgement has taken out, is written before its answer leaves; what a call takes is
//!   written behind it

use super::Queue;
use crate::Effect;
use ostler_messages::{
    ActorName, Append, Content, Entry, JOURNAL_ERROR, Mark, Record, RecoveredEntry, RecoveredSession, Row,
    SOURCE_JOURNAL, Stamp, TextOnDisk,
};
use std::{collections::BTreeMap, sync::Arc};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Since the last append.
    rows: Vec<Row>,
    /// Answers wait for those.
    wait: bool,
    /// For which append they wait.
    after: Option<Mark>,
    /// The last append; 0 before the first.
    last: u64,
}

impl Queue {
    fn log(&mut self, row: impl FnOnce() -> Row) {
        if let Some(log) = &mut self.log {
            log.rows.push(row());
        }
    }
    /// Whatever is answered from here on waits until it is written.
    pub(super) fn answers_wait(&mut self) {
        if let Some(log) = &mut self.log {
            log.wait = true;
        }
    }
    pub(super) fn log_entry(&mut self, entry: &Entry) {
        let session_id = &entry.session_id;
        self.log(|| match is_kept(entry) {
            true => Row::Delivered(entry.clone()),
            false => Row::Counted { session_id: session_id.clone(), next: entry.sequence + 1 },
        });
        self.answers_wait();
    }
    pub(super) fn log_owed(&mut self, record: &Arc<Record>) {
        self.log(|| Row::Owed { record: record.clone().into() });
        self.answers_wait();
    }
    pub(super) fn log_taken(&mut self, record: &Record) {
        self.log(|| Row::Taken { command_id: record.command_id });
    }
    pub(super) fn log_gone<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        let Some(log) = &mut self.log else { return };
        let kept = entries.into_iter().filter(|entry| is_kept(entry));
        let sequences: Vec<u64> = kept.map(|entry| entry.sequence).collect();
        if !sequences.is_empty() {
            log.rows.push(Row::Acknowledged { session_id: self.session_id.clone(), sequences });
        }
    }

    /// After each operation: what is to be written, and the answers that wait for it. `appends` counts those of all queues.
    pub(crate) fn append(&mut self, effects: &mut Vec<Effect>, appends: &mut u64) {
        let Some(log) = &mut self.log else { return };
        let rows = std::mem::take(&mut log.rows);
        if !rows.is_empty() {
            *appends += 1;
            let append = Append { by: ActorName::Inbox, n: *appends, rows };
            effects.insert(0, Effect::Append(append));
            log.last = *appends;
        }
        // Also for one that another operation has sent, and that nobody has waited for.
        if std::mem::take(&mut log.wait) && log.last > 0 {
            log.after = Some(Mark { by: ActorName::Inbox, n: log.last });
        }
        self.wait_for_log(effects);
    }
    /// Answers that show what the queue holds.
    pub(crate) fn wait_for_log(&self, effects: &mut [Effect]) {
        let Some(mark) = self.log.as_ref().and_then(|log| log.after) else { return };
        for effect in effects {
            match effect {
                Effect::Reply(reply) => reply.after = Some(mark),
                Effect::Notify(notify) => notify.after = Some(mark),
                Effect::NotifiedAll(all) => all.after = Some(mark),
                _ => {}
            }
        }
    }

    /// All that the queue holds, for a journal that begins anew. What is owed the registry knows.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![Row::Counted { session_id: self.session_id.clone(), next: self.next }];
        let held: BTreeMap<u64, &Entry> =
            self.free.values().chain(self.leases.entries()).map(|entry| (entry.sequence, entry)).collect();
        rows.extend(held.into_values().filter(|entry| is_kept(entry)).cloned().map(Row::Delivered));
        rows
    }

    /// The queue of a session of an earlier life of the host.
    pub(crate) fn restored(recovered: RecoveredSession) -> Queue {
        let RecoveredSession { session_id, ended, next, entries } = recovered;
        let mut queue = Queue::new(session_id, true);
        (queue.closed, queue.next) = (ended, next);
        for RecoveredEntry { mut entry, text_on_disk, .. } in entries {
            if let Content::Record(record) = &mut entry.content {
                let record = Arc::make_mut(record);
                (record.text_omitted, record.text_on_disk) = (text_on_disk, TextOnDisk(text_on_disk));
            }
            queue.insert(entry);
        }
        queue
    }
    /// The session is opened again, under the same id.
    pub(crate) fn reopen(&mut self) {
        (self.closed, self.discarding) = (false, false);
    }

    /// The journal can't be written. A newer word takes the place of an unread one.
    pub(crate) fn journal_trouble(&mut self, error: &str, at: Stamp, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        let unread = self.free.values().find(|entry| entry.is_journal_error()).map(|entry| entry.sequence);
        unread.into_iter().for_each(|sequence| self.remove(sequence));
        let content = Content::Other(Arc::new(serde_json::json!({ "error": error })));
        let entry = self.entry(JOURNAL_ERROR.into(), SOURCE_JOURNAL.into(), content, at);
        self.add(entry, effects);
    }
}

/// Whether it comes again in a next life of the host: progress is of this one, and so is what is said of the journal.
fn is_kept(entry: &Entry) -> bool {
    !entry.is_progress() && !entry.is_journal_error()
}
