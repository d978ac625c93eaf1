//! Who holds what, until it says that it has it or that it is gone.
//!
//! An entry is free, leased or gone. Whoever reads is handed a copy, and the original stays here: an `Ack` lets it go, a
//! `Nack` makes it free again. So a reader can be dropped at any moment, and nothing is lost or read twice. What is read for a
//! reader that acknowledges by itself is the call's until its `Ack`, and then the reader's.
//!
//! * in: entries, and the ends of calls and readers
//! * out: what is gone, and what comes back
//! * keeps: an entry is leased once; a reader has what it was given or is known to want more time for it

use ostler_messages::{CallId, Claim, Entry, HandleId, ReaderId, Record};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Entries by their numbers.
type Entries = BTreeMap<u64, Entry>;

/// For whom a call reads, if the entries are to stay until they are acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) reader: ReaderId,
    /// From the moment at which the reader has them.
    pub(crate) redeliver_ms: u64,
}

/// What one call holds, or has brought to its reader.
#[derive(Debug)]
enum Lease {
    /// Entries that only this call holds.
    Taking(Entries),
    /// The same, and when the caller has them they are its reader's.
    Reading(Entries, Reading),
    /// Entries that the reader has and has not acknowledged. Never empty.
    Held(Entries, ReaderId),
    /// A result that other claimants may hold too.
    Result(HandleId),
}
impl Lease {
    fn entries(&self) -> Option<&Entries> {
        match self {
            Lease::Taking(entries) | Lease::Reading(entries, _) | Lease::Held(entries, _) => Some(entries),
            Lease::Result(_) => None,
        }
    }
}

/// A result that is leased to all who claim it by its handle: the first `Ack` takes it, the last `Nack` frees it.
#[derive(Debug)]
struct SharedResult {
    record: Arc<Record>,
    holders: usize,
}

/// What follows from an `Ack`.
#[derive(Debug)]
pub(crate) enum Acked {
    /// These are gone.
    Gone(Vec<Entry>),
    /// A result that never had a place in the queue is gone.
    Result(Arc<Record>),
    /// A reader holds them from now, for so long.
    Held { redeliver_ms: u64 },
}

/// What the end of a lease brings back.
#[derive(Debug)]
pub(crate) enum Returned {
    /// Entries that had a place in the queue.
    Entries(Vec<Entry>),
    /// A result that never had one.
    Result(Arc<Record>),
}

/// The leases of one session. Bounded by the open calls of the host, and by the entries of the queue.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_call: BTreeMap<CallId, Lease>,
    results: BTreeMap<HandleId, SharedResult>,
    /// Which lease an entry is in.
    calls: BTreeMap<u64, CallId>,
    /// What each reader holds.
    readers: BTreeMap<ReaderId, BTreeSet<u64>>,
}
impl Leases {
    /// Hands entries to a call.
    pub(crate) fn lend(&mut self, call: CallId, entries: Vec<Entry>, reading: Option<Reading>) {
        self.calls.extend(entries.iter().map(|entry| (entry.sequence, call)));
        let entries = entries.into_iter().map(|entry| (entry.sequence, entry)).collect();
        let lease = match reading {
            None => Lease::Taking(entries),
            Some(reading) => Lease::Reading(entries, reading),
        };
        self.by_call.insert(call, lease);
    }

    /// Hands one result to several calls; `claims` is not empty.
    pub(crate) fn share(&mut self, record: Arc<Record>, claims: &[Claim]) {
        let handle_id = record.handle_id;
        self.results.insert(handle_id, SharedResult { record, holders: claims.len() });
        self.by_call.extend(claims.iter().map(|claim| (claim.call, Lease::Result(handle_id))));
    }

    /// The caller has what the call holds. Of a shared result nothing follows if another caller had it before.
    pub(crate) fn ack(&mut self, call: CallId) -> Option<Acked> {
        match self.by_call.remove(&call)? {
            Lease::Taking(entries) => Some(Acked::Gone(self.let_go(entries))),
            Lease::Reading(entries, Reading { reader, redeliver_ms }) => {
                if entries.is_empty() {
                    return None;
                }
                self.readers.entry(reader).or_default().extend(entries.keys());
                self.by_call.insert(call, Lease::Held(entries, reader));
                Some(Acked::Held { redeliver_ms })
            }
            Lease::Result(handle_id) => {
                self.results.remove(&handle_id).map(|shared| Acked::Result(shared.record))
            }
            held @ Lease::Held(..) => {
                self.by_call.insert(call, held);
                None
            }
        }
    }

    /// The caller is gone. Returns what nobody else holds: of a shared result nothing, if somebody has it, or may still
    /// come to have it.
    pub(crate) fn nack(&mut self, call: CallId) -> Option<Returned> {
        match self.by_call.remove(&call)? {
            Lease::Taking(entries) | Lease::Reading(entries, _) => {
                Some(Returned::Entries(self.let_go(entries)))
            }
            Lease::Result(handle_id) => {
                let shared = self.results.get_mut(&handle_id)?;
                shared.holders -= 1;
                if shared.holders > 0 {
                    return None;
                }
                self.results.remove(&handle_id).map(|shared| Returned::Result(shared.record))
            }
            held @ Lease::Held(..) => {
                self.by_call.insert(call, held);
                None
            }
        }
    }

    /// The time of what a reader was given with this call is up. Returns what it has not acknowledged.
    pub(crate) fn expire(&mut self, call: CallId) -> Vec<Entry> {
        match self.by_call.remove(&call) {
            Some(Lease::Held(entries, reader)) => {
                entries.keys().for_each(|sequence| self.forget(reader, *sequence));
                self.let_go(entries)
            }
            Some(other) => {
                self.by_call.insert(call, other);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The calls with which a reader was given what it still holds.
    pub(crate) fn calls_of(&self, reader: ReaderId) -> BTreeSet<CallId> {
        let held = self.readers.get(&reader).into_iter().flatten();
        held.filter_map(|sequence| self.calls.get(sequence).copied()).collect()
    }
    /// What a reader holds, up to a number.
    pub(crate) fn held_by(&self, reader: ReaderId, up_to: u64) -> Vec<u64> {
        self.readers.get(&reader).map(|held| held.range(..=up_to).copied().collect()).unwrap_or_default()
    }
    /// Whether a leased entry was read before, now or earlier; none if it is not leased.
    pub(crate) fn was_read(&self, sequence: u64) -> Option<bool> {
        let lease = self.by_call.get(self.calls.get(&sequence)?)?;
        let redelivered = lease.entries()?.get(&sequence)?.redelivered;
        Some(redelivered || matches!(lease, Lease::Held(..)))
    }

    /// Takes an entry out, whoever holds it. Also the call with which its reader was given it, if that brought nothing else that
    /// is still held.
    pub(crate) fn take_out(&mut self, sequence: u64) -> Option<(Entry, Option<CallId>)> {
        let call = self.calls.remove(&sequence)?;
        match self.by_call.get_mut(&call)? {
            // The call goes on, with what is left.
            Lease::Taking(entries) | Lease::Reading(entries, _) => Some((entries.remove(&sequence)?, None)),
            Lease::Held(entries, reader) => {
                let (entry, reader) = (entries.remove(&sequence)?, *reader);
                let emptied = entries.is_empty();
                self.forget(reader, sequence);
                if emptied {
                    self.by_call.remove(&call);
                }
                Some((entry, emptied.then_some(call)))
            }
            Lease::Result(_) => None,
        }
    }

    fn forget(&mut self, reader: ReaderId, sequence: u64) {
        if let Some(held) = self.readers.get_mut(&reader) {
            held.remove(&sequence);
            if held.is_empty() {
                self.readers.remove(&reader);
            }
        }
    }
    fn let_go(&mut self, entries: Entries) -> Vec<Entry> {
        for sequence in entries.keys() {
            self.calls.remove(sequence);
        }
        entries.into_values().collect()
    }

    /// Whether no entry is leased. Calls that hold a result which another caller has taken hold nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.results.is_empty() && self.calls.is_empty()
    }

    /// Leased entries that have a place in the queue.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
    /// Leased results, and leased entries of the host's own.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let mut counts = Counts { results: self.results.len(), ..Counts::default() };
        self.entries().for_each(|entry| counts.add(entry));
        (counts.results, counts.pushed)
    }
    /// Leased entries, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_call.values().filter_map(Lease::entries).flat_map(BTreeMap::values)
    }
    #[cfg(test)]
    pub(crate) fn shared_records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.results.values().map(|shared| &shared.record)
    }
    /// Leased results that have no place in the queue.
    pub(crate) fn shared(&self) -> usize {
        self.results.len()
    }
    /// Entries that readers hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.readers.values().map(BTreeSet::len).sum()
    }
}

/// How many entries there are of each kind that has a limit. Free and leased ones count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Results.
    pub(crate) results: usize,
    /// Those of them that hold text.
    pub(crate) with_text: usize,
    /// Entries of the host's own.
    pub(crate) pushed: usize,
}
impl Counts {
    pub(crate) fn add(&mut self, entry: &Entry) {
        if entry.is_result() {
            self.results += 1;
            self.with_text += usize::from(holds_text(entry));
        } else if is_pushed(entry) {
            self.pushed += 1;
        }
    }
    pub(crate) fn remove(&mut self, entry: &Entry) {
        if entry.is_result() {
            self.results -= 1;
            self.with_text -= usize::from(holds_text(entry));
        } else if is_pushed(entry) {
            self.pushed -= 1;
        }
    }
}

fn is_pushed(entry: &Entry) -> bool {
    !entry.is_progress() && !entry.is_journal_error()
}
fn holds_text(entry: &Entry) -> bool {
    entry.record().is_some_and(|record| record.text_bytes() > 0)
}
