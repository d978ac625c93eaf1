//! How leases of one session end: the reader has its entries, acknowledges them, or is gone.
//!
//! * in: acks and nacks of calls; acknowledgements, ends and times of readers
//! * out: entries that are gone or free again; effects
//! * keeps: what comes back stands at its old number; progress comes back only while it is the newest of its handle

use super::{Queue, refuse, reply};
use crate::{
    Effect,
    lease::{Acked, Returned},
};
use ostler_messages::{Answer, CallError, CallId, Entry, ReaderId, ResultsGone, Sequences, Stamp, TimerKind};

impl Queue {
    /// The caller has what was leased to it. What it has read for a reader is that reader's from now.
    pub(crate) fn ack(&mut self, call: CallId, effects: &mut Vec<Effect>) {
        match self.leases.ack(call) {
            None => {}
            Some(Acked::Result(record)) => {
                self.counts.results -= 1;
                self.log_taken(&record);
                effects.push(Effect::Gone(ResultsGone { handle_ids: vec![record.handle_id] }));
            }
            Some(Acked::Gone(entries)) => self.let_go(&entries, effects),
            Some(Acked::Held { redeliver_ms: after_ms }) => {
                effects.push(Effect::Arm { timer: TimerKind::Redeliver(call), after_ms });
            }
        }
    }

    /// The caller is gone: it waits no more, and what was leased to it is free again and offered to those who wait. Nobody has
    /// seen it.
    pub(crate) fn nack(&mut self, call: CallId, at: Stamp, texts: usize, effects: &mut Vec<Effect>) {
        if let Some(waiting) = self.waiters.iter().position(|waiter| waiter.call == call) {
            self.waiters.remove(waiting);
            effects.push(Effect::Disarm { timer: TimerKind::Call(call) });
        }
        self.unsubscribe_call(call);
        match self.leases.nack(call) {
            None => {}
            Some(Returned::Result(record)) => {
                self.counts.results -= 1;
                if self.discarding {
                    self.log_taken(&record);
                    effects.push(Effect::Gone(ResultsGone { handle_ids: vec![record.handle_id] }));
                } else {
                    self.deliver(record, at, texts, effects);
                }
            }
            Some(Returned::Entries(entries)) => self.take_back(entries, effects),
        }
    }

    /// The time of what was read with this call is up: what its reader has not acknowledged comes again.
    pub(crate) fn redeliver(&mut self, call: CallId, effects: &mut Vec<Effect>) {
        let entries = self.leases.expire(call);
        self.take_back(seen(entries), effects);
    }

    /// A reader is gone: what it has not acknowledged comes again.
    pub(crate) fn reader_gone(&mut self, reader: ReaderId, effects: &mut Vec<Effect>) {
        let mut back = Vec::new();
        for call in self.leases.calls_of(reader) {
            effects.push(Effect::Disarm { timer: TimerKind::Redeliver(call) });
            back.extend(self.leases.expire(call));
        }
        self.take_back(seen(back), effects);
    }

    /// Takes out what was read, and answers how many entries that were. All or nothing: an entry that nobody can have read
    /// refuses it.
    pub(crate) fn acknowledge(
        &mut self,
        call: CallId,
        reader: ReaderId,
        sequences: Sequences,
        effects: &mut Vec<Effect>,
    ) {
        let never = match &sequences {
            Sequences::UpTo(last) => Some(*last).filter(|last| *last >= self.next),
            Sequences::These(these) => these.iter().copied().find(|sequence| !self.was_read(*sequence)),
        };
        if let Some(sequence) = never {
            return effects.push(refuse(call, CallError::NeverRead { sequence }));
        }
        let sequences = match sequences {
            Sequences::UpTo(last) => self.leases.held_by(reader, last),
            Sequences::These(these) => these.into_iter().collect(),
        };
        let mut entries = Vec::with_capacity(sequences.len().min(self.free.len() + self.leases.len()));
        for sequence in sequences {
            if let Some(entry) = self.free.remove(&sequence) {
                entries.push(entry);
            } else if let Some((entry, emptied)) = self.leases.take_out(sequence) {
                entries.push(entry);
                effects.extend(emptied.map(|call| Effect::Disarm { timer: TimerKind::Redeliver(call) }));
            }
        }
        self.let_go(&entries, effects);
        self.answers_wait();
        effects.push(reply(call, Answer::Acknowledged(entries.len() as u64)));
    }
    /// Whether somebody has read the entry of this number. What is not there any more has been read, or was replaced.
    fn was_read(&self, sequence: u64) -> bool {
        let given = (1..self.next).contains(&sequence);
        given
            && match self.free.get(&sequence) {
                Some(entry) => entry.redelivered,
                None => self.leases.was_read(sequence).unwrap_or(true),
            }
    }

    /// These are gone for good.
    fn let_go(&mut self, entries: &[Entry], effects: &mut Vec<Effect>) {
        for entry in entries {
            self.counts.remove(entry);
            if self.is_newest_progress(entry) {
                entry.record().map(|record| self.progress.remove(&record.handle_id));
            }
        }
        self.gone(entries, effects);
    }
    /// These are free again, but for progress that is out of date, and for all if nobody is to read them.
    fn take_back(&mut self, entries: Vec<Entry>, effects: &mut Vec<Effect>) {
        if self.discarding {
            self.gone(&entries, effects);
        }
        let mut back = Vec::with_capacity(entries.len());
        for entry in entries {
            self.counts.remove(&entry);
            if !self.discarding && (!entry.is_progress() || self.is_newest_progress(&entry)) {
                back.push(self.insert(entry));
            }
        }
        back.sort_unstable();
        self.offer(&back, effects);
    }
    pub(super) fn is_newest_progress(&self, entry: &Entry) -> bool {
        entry.is_progress()
            && entry
                .record()
                .is_some_and(|record| self.progress.get(&record.handle_id) == Some(&entry.sequence))
    }
}

/// They come again.
fn seen(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.iter_mut().for_each(|entry| entry.redelivered = true);
    entries
}
