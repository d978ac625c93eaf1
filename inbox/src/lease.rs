//! Which call holds what, until it says that it has it or that it is gone.
//!
//! An entry is free, leased or gone. Whoever reads is handed a copy, and the original stays here: an `Ack` lets it go, a
//! `Nack` makes it free again. So a reader can be dropped at any moment, and nothing is lost or read twice.

use ostler_messages::{CallId, Claim, Entry, HandleId, Record};
use std::{collections::BTreeMap, sync::Arc};

/// What one call holds.
#[derive(Debug)]
enum Lease {
    /// Entries that only this call holds.
    Entries(Vec<Entry>),
    /// A result that other claimants may hold too.
    Result(HandleId),
}

/// A result that is leased to all who claim it by its handle: the first `Ack` takes it, the last `Nack` frees it.
#[derive(Debug)]
struct SharedResult {
    record: Arc<Record>,
    holders: usize,
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
}
impl Leases {
    /// Hands entries to a call.
    pub(crate) fn lend(&mut self, call: CallId, entries: Vec<Entry>) {
        self.by_call.insert(call, Lease::Entries(entries));
    }

    /// Hands one result to several calls; `claims` is not empty.
    pub(crate) fn share(&mut self, record: Arc<Record>, claims: &[Claim]) {
        let handle_id = record.handle_id;
        self.results.insert(handle_id, SharedResult { record, holders: claims.len() });
        self.by_call.extend(claims.iter().map(|claim| (claim.call, Lease::Result(handle_id))));
    }

    /// The caller has what the call holds. Returns what is gone with that: of a shared result nothing, if another caller
    /// had it before.
    pub(crate) fn ack(&mut self, call: CallId) -> Option<Returned> {
        match self.by_call.remove(&call)? {
            Lease::Entries(entries) => Some(Returned::Entries(entries)),
            Lease::Result(handle_id) => {
                self.results.remove(&handle_id).map(|shared| Returned::Result(shared.record))
            }
        }
    }

    /// The caller is gone. Returns what nobody else holds: of a shared result nothing, if somebody has it, or may still
    /// come to have it.
    pub(crate) fn nack(&mut self, call: CallId) -> Option<Returned> {
        match self.by_call.remove(&call)? {
            Lease::Entries(entries) => Some(Returned::Entries(entries)),
            Lease::Result(handle_id) => {
                let shared = self.results.get_mut(&handle_id)?;
                shared.holders -= 1;
                if shared.holders > 0 {
                    return None;
                }
                self.results.remove(&handle_id).map(|shared| Returned::Result(shared.record))
            }
        }
    }

    /// Whether no entry is leased. Calls that hold a result which another caller has taken hold nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.results.is_empty()
            && self.by_call.values().all(|lease| match lease {
                Lease::Entries(entries) => entries.is_empty(),
                Lease::Result(_) => true,
            })
    }

    /// Leased results, and leased entries of the host's own.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let mut counts = Counts { results: self.results.len(), ..Counts::default() };
        self.entries().for_each(|entry| counts.add(entry));
        (counts.results, counts.pushed)
    }
    /// Leased entries, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_call.values().flat_map(|lease| match lease {
            Lease::Entries(entries) => entries.as_slice(),
            Lease::Result(_) => &[],
        })
    }
    /// Leased results that have no place in the queue.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> usize {
        self.results.len()
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
        } else if !entry.is_progress() {
            self.pushed += 1;
        }
    }
    pub(crate) fn remove(&mut self, entry: &Entry) {
        if entry.is_result() {
            self.results -= 1;
            self.with_text -= usize::from(holds_text(entry));
        } else if !entry.is_progress() {
            self.pushed -= 1;
        }
    }
}

fn holds_text(entry: &Entry) -> bool {
    entry.record().is_some_and(|record| record.text_bytes() > 0)
}
