//! What the mailroom has to do, in the plainest way: a list for each session, all of it looked at each time.

use ostler_messages::Filter;
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
    Counted(usize),
    Pushed(u64),
    Refused,
    Crowded(bool),
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
    /// Handles that run, and those whose result went elsewhere and may still come back.
    pub(super) live: Vec<u64>,
    pub(super) elsewhere: Vec<u64>,
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
    /// Results among the rows.
    pub(super) fn results(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.1, What::Result(_))).count()
    }
    pub(super) fn take(&mut self, filter: &Filter, most: usize) -> Vec<u64> {
        let (mut taken, mut stay) = (Vec::new(), Vec::new());
        for row in mem::take(&mut self.rows) {
            if taken.len() < most && List::fits(filter, row.1) { taken.push(row.0) } else { stay.push(row) }
        }
        self.rows = stay;
        taken
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
        for (call, filter, most) in mem::take(&mut self.waiters) {
            match self.count(&filter) {
                count if count > 0 && most.is_none() => told.push((call, Out::Counted(count))),
                _ => self.waiters.push((call, filter, most)),
            }
        }
        for (call, filter, most) in mem::take(&mut self.waiters) {
            match most.map(|most| self.take(&filter, most)) {
                Some(taken) if !taken.is_empty() => told.push((call, Out::Taken(taken))),
                _ => self.waiters.push((call, filter, most)),
            }
        }
    }
    pub(super) fn give_up(&mut self, told: &mut Told, only: Option<u64>) {
        for (call, filter, most) in mem::take(&mut self.waiters) {
            if only.is_some_and(|only| only != call) {
                self.waiters.push((call, filter, most));
            } else {
                told.push((call, most.map_or(Out::Counted(0), |_| Out::Taken(vec![]))));
            }
        }
    }
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
