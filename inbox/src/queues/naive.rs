//! What the queues have to do, in the plainest way: a list for each session, all of it looked at each time.

use crate::Effect;
use ostler_messages::{CallId, Claim, ClaimBy, Filter, HandleId, ResultsGone};
use std::{collections::BTreeMap, mem};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Result(u64),
    Progress(u64),
    Note,
}
#[derive(Debug, PartialEq)]
pub(super) enum Out {
    Taken(Vec<u64>),
    Cancelled(u64),
    /// The result of this handle is taken; none: a copy.
    Result(Option<u64>),
    Counted(usize),
    Pushed(u64),
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
        self.rows.iter().chain(self.leases.values().flatten())
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
        for row in self.leases.remove(&call).into_iter().flatten() {
            let stale = matches!(row.1, What::Progress(n) if self.newest.get(&n) != Some(&row.0));
            match row.1 {
                What::Progress(n) if has_it && !stale => drop(self.newest.remove(&n)),
                _ if has_it || stale => {}
                _ => self.rows.push(row),
            }
        }
        self.rows.sort_by_key(|row| row.0);
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
