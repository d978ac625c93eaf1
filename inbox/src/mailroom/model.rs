//! The mailroom and the naive one are told the same at random, and have to say the same.

use super::{
    naive::{Dice, List, Out, Told, What},
    tests::{AT, record},
    *,
};
use ostler_messages::{Entry, Filter, Status};
use std::collections::BTreeSet;

const SESSIONS: u64 = 3;
const LIMITS: Limits = Limits { results_with_text: 3, pushed_entries: 4, unread_results: 12 };

struct Run {
    dice: Dice,
    mailroom: Mailroom,
    lists: Vec<List>,
    retired: u64,
    crowded: bool,
    calls: u64,
    handles: u64,
    /// Taken by somebody who was gone, to be put back.
    held: Vec<(u64, Vec<Entry>)>,
    /// Results that were delivered, and those that somebody has really read.
    delivered: BTreeSet<u64>,
    read: BTreeSet<u64>,
}
impl Run {
    fn new(seed: u64) -> Run {
        let mut mailroom = Mailroom::new(LIMITS);
        (0..SESSIONS).for_each(|s| mailroom.open(name(s)));
        Run {
            dice: Dice(seed),
            mailroom,
            lists: (0..SESSIONS).map(|_| List::default()).collect(),
            retired: 0,
            crowded: false,
            calls: 0,
            handles: 0,
            held: Vec::new(),
            delivered: BTreeSet::new(),
            read: BTreeSet::new(),
        }
    }
    fn filter(&mut self, list: usize) -> Filter {
        match self.dice.below(6) {
            0 => Filter::results(),
            1 => Filter::kind("tool_progress"),
            2 => Filter::kind("note"),
            3 => Filter::handle(HandleId {
                host_pid: 31,
                n: self.dice.pick(&self.lists[list].live).unwrap_or(1),
            }),
            _ => Filter::any(),
        }
    }
    fn gone(&self, list: usize) -> bool {
        self.lists[list].closed && self.lists[list].rows.is_empty()
    }

    fn step(&mut self) {
        let s = self.dice.below(SESSIONS);
        let (at, session_id) = (s as usize, name(s));
        self.calls += 1;
        let (n, call) = (self.calls, CallId(self.calls));
        match self.dice.below(100) {
            0..25 if !self.lists[at].closed => self.progress(s),
            25..40 => {
                if let Some(handle) = self.dice.pick(&self.lists[at].live) {
                    self.deliver(s, handle);
                }
            }
            40..45 => {
                let Some(handle) = self.dice.pick(&self.lists[at].live) else { return };
                let list = &mut self.lists[at];
                list.live.retain(|live| *live != handle);
                list.elsewhere.push(handle);
                list.forget(handle);
                let effects = self.mailroom.settle(&session_id, HandleId { host_pid: 31, n: handle });
                self.check(s, effects, vec![]);
            }
            45..48 => {
                if let Some(handle) = self.dice.pick(&self.lists[at].elsewhere) {
                    self.deliver(s, handle);
                }
            }
            48..58 => {
                let (kind, source) = ("note".to_owned(), "me".to_owned());
                let effects =
                    self.mailroom.push(Push { call, session_id, kind, source, content: n.into() }, AT);
                let list = &mut self.lists[at];
                let full =
                    list.rows.iter().filter(|row| row.1 == What::Note).count() >= LIMITS.pushed_entries;
                let mut told = Vec::new();
                if full || list.closed {
                    told.push((n, Out::Refused));
                } else {
                    told.push((n, Out::Pushed(list.add(What::Note))));
                    list.serve(&mut told);
                }
                self.check(s, effects, told);
            }
            58..72 => {
                let (filter, most) = (self.filter(at), [None, Some(1), Some(3)][self.dice.below(3) as usize]);
                let wait_ms = [None, Some(5)][self.dice.below(2) as usize];
                let drain = Drain { call, session_id, filter: filter.clone(), most, wait_ms };
                let effects = self.mailroom.drain(drain);
                let list = &mut self.lists[at];
                let taken = list.take(&filter, most.unwrap_or(usize::MAX));
                let mut told = Vec::new();
                if taken.is_empty() && wait_ms.is_some() && !list.closed {
                    list.waiters.push((n, filter, Some(most.unwrap_or(usize::MAX))));
                } else {
                    told.push((n, Out::Taken(taken)));
                }
                self.check(s, effects, told);
            }
            72..80 => {
                let filter = self.filter(at);
                let effects =
                    self.mailroom.wait(Wait { call, session_id, filter: filter.clone(), timeout_ms: 5 });
                let list = &mut self.lists[at];
                let mut told = Vec::new();
                match list.count(&filter) {
                    0 if !list.closed => list.waiters.push((n, filter, None)),
                    count => told.push((n, Out::Counted(count))),
                }
                self.check(s, effects, told);
            }
            80..87 => {
                // Any call that ever was: most are answered already.
                let late = 1 + self.dice.below(n);
                let list = self.lists.iter().position(|list| list.waiters.iter().any(|w| w.0 == late));
                let mut told = Vec::new();
                if let Some(list) = list {
                    self.lists[list].give_up(&mut told, Some(late));
                }
                let effects = self.mailroom.expire(CallId(late));
                self.check(list.unwrap_or(at) as u64, effects, told);
            }
            87..94 => self.put_back(),
            94..99 => {
                let filter = self.filter(at);
                let pending = Pending { call, session_id, filter };
                let effects = self.mailroom.pending(&pending);
                let count = Out::Counted(self.lists[at].count(&pending.filter));
                self.check(s, effects, vec![(n, count)]);
            }
            99 if self.dice.below(3) == 0 => self.close(s),
            _ => {}
        }
    }
    fn progress(&mut self, s: u64) {
        let list = &mut self.lists[s as usize];
        let handle = match self.dice.pick(&list.live) {
            Some(handle) if list.live.len() > 4 || self.dice.below(3) > 0 => handle,
            _ => {
                self.handles += 1;
                list.live.push(self.handles);
                self.handles
            }
        };
        list.forget(handle);
        let sequence = list.add(What::Progress(handle));
        list.newest.insert(handle, sequence);
        let mut told = Vec::new();
        list.serve(&mut told);
        let effects = self.mailroom.progress(record(&name(s), handle, Status::Running), AT);
        self.check(s, effects, told);
    }
    fn deliver(&mut self, s: u64, handle: u64) {
        let gone = self.gone(s as usize);
        let list = &mut self.lists[s as usize];
        if gone {
            list.next = self.retired;
        }
        list.live.retain(|live| *live != handle);
        list.elsewhere.retain(|elsewhere| *elsewhere != handle);
        list.forget(handle);
        list.add(What::Result(handle));
        let mut told = Vec::new();
        list.serve(&mut told);
        self.delivered.insert(handle);
        let effects = self.mailroom.deliver(record(&name(s), handle, Status::Completed), AT);
        self.check(s, effects, told);
    }
    fn put_back(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let which = self.dice.below(self.held.len() as u64) as usize;
        let (s, entries) = self.held.swap_remove(which);
        let gone = self.gone(s as usize);
        let list = &mut self.lists[s as usize];
        if gone {
            list.next = self.retired;
        }
        for entry in &entries {
            let n = entry.record().map_or(0, |record| record.handle_id.n);
            let what = match entry.kind.as_str() {
                "tool_result" => What::Result(n),
                "tool_progress" => What::Progress(n),
                _ => What::Note,
            };
            if !matches!(what, What::Progress(n) if list.newest.get(&n) != Some(&entry.sequence)) {
                list.rows.push((entry.sequence, what));
            }
        }
        list.rows.sort_by_key(|row| row.0);
        let mut told = Vec::new();
        list.serve(&mut told);
        let effects = self.mailroom.put_back(PutBack { session_id: name(s), entries });
        self.check(s, effects, told);
    }
    fn close(&mut self, s: u64) {
        for handle in self.lists[s as usize].live.clone() {
            self.deliver(s, handle);
        }
        let list = &mut self.lists[s as usize];
        list.closed = true;
        let mut told = vec![(0, Out::Closed(list.results() as u64))];
        list.give_up(&mut told, None);
        let effects = self.mailroom.close(&name(s));
        self.check(s, effects, told);
    }

    /// Both say the same, and what they say keeps the rules.
    fn check(&mut self, s: u64, effects: Vec<Effect>, mut expected: Told) {
        if self.gone(s as usize) {
            self.retired = self.retired.max(self.lists[s as usize].next);
        }
        let unread: usize = self.lists.iter().map(List::results).sum();
        let limit = LIMITS.unread_results;
        let changes = if self.crowded { unread <= limit / 2 } else { unread >= limit };
        if changes {
            self.crowded = !self.crowded;
            expected.push((0, Out::Crowded(self.crowded)));
        }
        let told: Told = effects.into_iter().filter_map(|effect| self.told(s, effect)).collect();
        assert_eq!(told, expected);
        assert_eq!(self.mailroom.unread(), unread);
        let waiting: usize = self.lists.iter().map(|list| list.waiters.len()).sum();
        assert_eq!(self.mailroom.waiting.len(), waiting, "a timer for each waiter, and for nobody else");
        let at = s as usize;
        assert_eq!(self.mailroom.has_room(&name(s)), !self.gone(at));
        if let Some(room) = self.mailroom.rooms.get(&name(s)) {
            let stands: Vec<u64> = room.entries().keys().copied().collect();
            let rows: Vec<u64> = self.lists[at].rows.iter().map(|row| row.0).collect();
            assert_eq!(stands, rows);
            let told = room.entries().values().filter(|entry| entry.is_progress()).count();
            assert!(told <= self.lists[at].live.len(), "one progress entry a handle at most");
            assert!(room.tracked() <= self.lists[at].live.len(), "no memory of handles that are over");
            let text =
                |entry: &&Entry| entry.is_result() && entry.record().is_some_and(|r| r.text_bytes() > 0);
            let texts = room.entries().values().filter(text).count();
            assert_eq!(room.with_text(), texts);
            assert!(texts <= LIMITS.results_with_text);
        }
    }
    fn told(&mut self, s: u64, effect: Effect) -> Option<(u64, Out)> {
        let Reply { call, answer } = match effect {
            Effect::Arm { .. } | Effect::Disarm { .. } => return None,
            Effect::Closed(closed) => return Some((0, Out::Closed(closed.unread))),
            Effect::Crowded(crowded) => return Some((0, Out::Crowded(crowded.crowded))),
            Effect::Reply(reply) => reply,
        };
        let out = match answer {
            Err(_) => Out::Refused,
            Ok(Answer::Pushed(sequence)) => Out::Pushed(sequence),
            Ok(Answer::Waited(count) | Answer::Pending(count)) => Out::Counted(count),
            Ok(Answer::Drained { entries, .. }) => {
                let sequences = entries.iter().map(|entry| entry.sequence).collect();
                if self.dice.below(3) == 0 {
                    self.held.push((s, entries));
                } else {
                    self.read(&entries);
                }
                Out::Taken(sequences)
            }
            Ok(other) => panic!("no answer of an inbox: {other:?}"),
        };
        Some((call.0, out))
    }
    fn read(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Some(record) = entry.record() else { continue };
            let n = record.handle_id.n;
            if entry.is_result() {
                assert!(self.read.insert(n), "the result of {n} was read twice");
            } else {
                assert!(!self.delivered.contains(&n), "progress of {n} after its result");
            }
        }
    }
    fn finish(mut self) {
        (0..SESSIONS).for_each(|s| self.close(s));
        while !self.held.is_empty() || self.mailroom.unread() > 0 || !self.mailroom.rooms.is_empty() {
            self.put_back();
            for s in 0..SESSIONS {
                let effects = self.mailroom.drain(Drain {
                    call: CallId(0),
                    session_id: name(s),
                    filter: Filter::any(),
                    most: None,
                    wait_ms: None,
                });
                let taken = self.lists[s as usize].take(&Filter::any(), usize::MAX);
                self.check(s, effects, vec![(0, Out::Taken(taken))]);
            }
        }
        assert_eq!(self.read, self.delivered, "each result was read once");
        assert!(self.mailroom.waiting.is_empty());
    }
}
fn name(s: u64) -> SessionId {
    SessionId::new(format!("s{s}"))
}

#[test]
fn it_does_what_a_naive_list_does_and_every_result_is_read_once() {
    for seed in 1..=300 {
        let mut run = Run::new(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        (0..400).for_each(|_| run.step());
        run.finish();
    }
}
