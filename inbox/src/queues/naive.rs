//! What the queues have to do, in the plainest way: a list for each session, all of it looked at each time.

use crate::Effect;
use ostler_messages::{CallId, Claim, ClaimBy, Filter, HandleId, ResultsGone, Sequences};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Result(u64),
    Progress(u64),
    Note,
}
impl What {
    pub(super) fn result(self) -> Option<u64> {
        if let What::Result(n) = self { Some(n) } else { None }
    }
}
#[derive(Debug, PartialEq)]
pub(super) enum Out {
    Taken(Vec<u64>),
    Cancelled(u64),
    /// The result of this handle is taken; none: a copy.
    Result(Option<u64>),
    Counted(usize),
    Pushed(u64),
    Acknowledged(u64),
    Subscribed,
    Refused,
    Paused(bool),
    Emptied,
    Closed(u64),
}
pub(super) type Told = Vec<(u64, Out)>;

#[derive(Default)]
pub(super) struct List {
    pub(super) rows: Vec<(u64, What)>,
    pub(super) next: u64,
    pub(super) closed: bool,
    pub(super) waiters: Vec<(u64, Filter, Option<usize>)>,
    pub(super) newest: BTreeMap<u64, u64>,
    /// Handles that run.
    pub(super) live: Vec<u64>,
    /// What calls hold: rows, or a cancelled result that has no row yet.
    pub(super) leases: BTreeMap<u64, Vec<(u64, What)>>,
    pub(super) shared: BTreeMap<u64, Vec<u64>>,
    /// Calls that read for a reader, and what each has brought it that is not acknowledged.
    pub(super) reading: BTreeMap<u64, u64>,
    pub(super) held: BTreeMap<u64, (u64, Vec<(u64, What)>)>,
    /// Numbers of entries that a reader has had.
    seen: BTreeSet<u64>,
    /// Their filters.
    pub(super) subscribers: Vec<(u64, Filter)>,
    /// What each is to be told of.
    pub(super) notified: BTreeMap<u64, Vec<u64>>,
}
impl List {
    pub(super) fn fits(filter: &Filter, what: What) -> bool {
        let (kind, handle) = match what {
            What::Result(n) => ("tool_result", Some(n)),
            What::Progress(n) => ("tool_progress", Some(n)),
            What::Note => ("note", None),
        };
        filter.kind.as_ref().is_none_or(|wanted| wanted == kind)
            && filter.handle_id.is_none_or(|wanted| Some(wanted.n) == handle)
    }
    pub(super) fn count(&self, filter: &Filter) -> usize {
        self.rows.iter().filter(|row| List::fits(filter, row.1)).count()
    }
    /// Free and leased.
    fn every(&self) -> impl Iterator<Item = &(u64, What)> {
        let held = self.held.values().flat_map(|held| &held.1);
        self.rows.iter().chain(self.leases.values().flatten()).chain(held)
    }
    pub(super) fn results(&self) -> usize {
        self.every().filter(|row| matches!(row.1, What::Result(_))).count() + self.shared.len()
    }
    pub(super) fn notes(&self) -> usize {
        self.every().filter(|row| row.1 == What::Note).count()
    }
    pub(super) fn is_finished(&self) -> bool {
        self.closed && self.every().count() == 0 && self.shared.is_empty()
    }
    pub(super) fn take(&mut self, call: u64, filter: &Filter, max: usize) -> Vec<u64> {
        let (mut taken, mut stay) = (Vec::new(), Vec::new());
        for row in mem::take(&mut self.rows) {
            if taken.len() < max && List::fits(filter, row.1) { taken.push(row) } else { stay.push(row) }
        }
        self.rows = stay;
        let sequences = taken.iter().map(|row| row.0).collect();
        if !taken.is_empty() {
            self.leases.insert(call, taken);
        }
        sequences
    }
    /// What is unread comes first; false: there are too many.
    pub(super) fn subscribe(&mut self, id: u64, filter: Filter, max: usize) -> bool {
        if self.is_finished() || self.subscribers.len() >= max {
            return self.is_finished();
        }
        let fits = |row: &&(u64, What)| List::fits(&filter, row.1) && !self.is_stale(row);
        let mut there: Vec<u64> = self.every().filter(fits).map(|row| row.0).collect();
        there.sort_unstable();
        if !there.is_empty() {
            self.notified.insert(id, there);
        }
        self.subscribers.push((id, filter));
        true
    }
    /// Those for whom nothing can come any more.
    pub(super) fn end_subscriptions(&mut self) -> BTreeSet<u64> {
        let ends = self.closed && self.shared.is_empty();
        let ended = if ends { mem::take(&mut self.subscribers) } else { Vec::new() };
        ended.into_iter().map(|subscriber| subscriber.0).collect()
    }
    pub(super) fn take_or_wait(&mut self, call: u64, filter: Filter, max: Option<usize>, wait: bool) -> Told {
        let max = max.unwrap_or(usize::MAX);
        let taken = self.take(call, &filter, max);
        if taken.is_empty() && wait && !self.closed {
            self.waiters.push((call, filter, Some(max)));
            return Vec::new();
        }
        vec![(call, Out::Taken(taken))]
    }
    /// Rows that are taken out; none if one of the numbers is of no row that was read.
    pub(super) fn acknowledge(&mut self, reader: u64, which: &Sequences) -> Option<Vec<(u64, What)>> {
        if self.is_finished() {
            // Nothing is remembered, not even how many there were.
            return Some(Vec::new());
        }
        let there: BTreeSet<u64> = self.every().map(|row| row.0).collect();
        let never = |n: &u64| *n == 0 || *n > self.next || (there.contains(n) && !self.seen.contains(n));
        let sequences: BTreeSet<u64> = match which {
            Sequences::UpTo(last) if *last > self.next => return None,
            Sequences::UpTo(last) => {
                let held = self.held.values().filter(|held| held.0 == reader).flat_map(|held| &held.1);
                held.map(|row| row.0).filter(|sequence| sequence <= last).collect()
            }
            Sequences::These(these) if these.iter().any(never) => return None,
            Sequences::These(these) => these.clone(),
        };
        let taken_out: Vec<_> = self.every().filter(|row| sequences.contains(&row.0)).copied().collect();
        let stays = |row: &(u64, What)| !sequences.contains(&row.0);
        self.rows.retain(stays);
        self.leases.values_mut().for_each(|rows| rows.retain(stays));
        self.held.values_mut().for_each(|held| held.1.retain(stays));
        self.held.retain(|_, held| !held.1.is_empty());
        self.newest.retain(|_, sequence| !sequences.contains(sequence));
        Some(taken_out)
    }
    /// What readers hold, by call and reader, comes again.
    pub(super) fn give_back(&mut self, which: impl Fn(u64, u64) -> bool, told: &mut Told) {
        let (back, held) =
            mem::take(&mut self.held).into_iter().partition(|(call, held)| which(*call, held.0));
        self.held = held;
        let back: BTreeMap<u64, (u64, Vec<(u64, What)>)> = back;
        back.into_values().for_each(|(_, rows)| self.put_back(rows));
        self.serve(told);
    }
    fn is_stale(&self, row: &(u64, What)) -> bool {
        matches!(row.1, What::Progress(n) if self.newest.get(&n) != Some(&row.0))
    }
    fn put_back(&mut self, rows: Vec<(u64, What)>) {
        for row in rows {
            if !self.is_stale(&row) {
                self.rows.push(row);
            }
        }
        self.rows.sort_by_key(|row| row.0);
    }
    /// Whether the result of a handle is free, and taken.
    pub(super) fn take_result(&mut self, call: u64, n: u64) -> bool {
        let Some(at) = self.rows.iter().position(|row| row.1 == What::Result(n)) else { return false };
        let row = self.rows.remove(at);
        self.leases.insert(call, vec![row]);
        true
    }
    /// Ends what a call holds, or its waiting.
    pub(super) fn end(&mut self, call: u64, has_it: bool, told: &mut Told) {
        self.waiters.retain(|waiter| waiter.0 != call);
        let rows = self.leases.remove(&call).unwrap_or_default();
        match self.reading.remove(&call) {
            Some(reader) if has_it => {
                self.seen.extend(rows.iter().map(|row| row.0));
                if !rows.is_empty() {
                    self.held.insert(call, (reader, rows));
                }
            }
            None if has_it => {
                let gone: Vec<u64> = rows.iter().map(|row| row.0).collect();
                self.newest.retain(|_, sequence| !gone.contains(sequence));
            }
            _ => self.put_back(rows),
        }
        let result = self.shared.iter().find(|(_, calls)| calls.contains(&call)).map(|(n, _)| *n);
        if let Some(n) = result {
            let calls = self.shared.get_mut(&n).unwrap();
            calls.retain(|other| *other != call);
            if has_it {
                self.shared.remove(&n);
            } else if calls.is_empty() {
                self.shared.remove(&n);
                self.add(What::Result(n));
            }
        }
        self.serve(told);
    }
    pub(super) fn forget(&mut self, n: u64) {
        self.newest.remove(&n);
        self.rows.retain(|row| row.1 != What::Progress(n));
    }
    pub(super) fn add(&mut self, what: What) -> u64 {
        self.next += 1;
        self.rows.push((self.next, what));
        for (id, _) in self.subscribers.iter().filter(|subscriber| List::fits(&subscriber.1, what)) {
            self.notified.entry(*id).or_default().push(self.next);
        }
        self.next
    }
    pub(super) fn serve(&mut self, told: &mut Told) {
        for (call, filter, max) in mem::take(&mut self.waiters) {
            match self.count(&filter) {
                count if count > 0 && max.is_none() => told.push((call, Out::Counted(count))),
                _ => self.waiters.push((call, filter, max)),
            }
        }
        for (call, filter, max) in mem::take(&mut self.waiters) {
            match max.map(|max| self.take(call, &filter, max)) {
                Some(taken) if !taken.is_empty() => told.push((call, Out::Taken(taken))),
                _ => self.waiters.push((call, filter, max)),
            }
        }
    }
    pub(super) fn give_up(&mut self, told: &mut Told, only: Option<u64>) {
        for (call, filter, max) in mem::take(&mut self.waiters) {
            if only.is_some_and(|only| only != call) {
                self.waiters.push((call, filter, max));
            } else {
                told.push((call, max.map_or(Out::Counted(0), |_| Out::Taken(vec![]))));
            }
        }
    }
}

/// A call that claims a result.
pub(crate) fn claim(call: u64) -> Claim {
    Claim { call: CallId(call), by: [ClaimBy::Cancel, ClaimBy::Result][(call % 2) as usize] }
}

/// That these are read, or discarded.
pub(crate) fn gone(ns: &[u64]) -> Effect {
    let handle_ids = ns.iter().map(|n| HandleId { host_pid: 31, n: *n }).collect();
    Effect::Gone(ResultsGone { handle_ids })
}

/// Marsaglia's xorshift64.
pub(super) struct Dice(pub(super) u64);
impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len() as u64) as usize]) }
    }
}
