//! The queues and the naive ones are told the same at random, and have to say the same.

use super::{
    naive::{Dice, List, Out, Told, What, claim},
    tests::{AT, record},
    *,
};
use ostler_messages::{Content, Entry, HandleId, Status};
use std::collections::BTreeSet;

mod journal;
mod reading;
mod subscribing;

const SESSIONS: u64 = 3;
const LIMITS: Limits =
    Limits { results_with_text: 3, pushed_entries: 4, unread_results: 4, subscriptions: 3 };

struct Run {
    dice: Dice,
    queues: Queues,
    lists: Vec<List>,
    paused: [bool; SESSIONS as usize],
    queues_were: [bool; SESSIONS as usize],
    calls: u64,
    handles: u64,
    /// Answered calls that have not ended: their session, and what their reader would have.
    held: Vec<(u64, u64, Vec<Entry>)>,
    /// Results that were delivered, and those that somebody has really read.
    delivered: BTreeSet<u64>,
    read: BTreeSet<u64>,
    /// Those that were reported to be gone.
    gone: BTreeSet<u64>,
    /// Entries that a reader has had and may not have acknowledged: their session and number.
    seen: BTreeSet<(u64, u64)>,
    /// Reads whose entries come again when their timer fires.
    timers: BTreeSet<u64>,
    /// A result is asked for by its handle.
    taking: bool,
    /// What was appended.
    journal: journal::Journal,
}
impl Run {
    fn new(seed: u64) -> Run {
        // Each second one.
        let queues = Queues::new(LIMITS);
        let mut queues = if seed.count_ones().is_multiple_of(2) { queues.journaled() } else { queues };
        (0..SESSIONS).for_each(|s| drop(queues.open(name(s), None)));
        Run {
            dice: Dice(seed),
            queues,
            lists: (0..SESSIONS).map(|_| List::default()).collect(),
            paused: [false; SESSIONS as usize],
            queues_were: [true; SESSIONS as usize],
            calls: 0,
            handles: 0,
            held: Vec::new(),
            delivered: BTreeSet::new(),
            read: BTreeSet::new(),
            gone: BTreeSet::new(),
            seen: BTreeSet::new(),
            timers: BTreeSet::new(),
            taking: false,
            journal: journal::Journal::default(),
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

    fn step(&mut self) {
        let s = self.dice.below(SESSIONS);
        let (at, session_id) = (s as usize, name(s));
        self.calls += 1;
        let (n, call) = (self.calls, CallId(self.calls));
        if self.dice.below(4) == 0 {
            return self.step_of_a_reader(s);
        }
        if self.dice.below(16) == 0 {
            return self.step_of_a_subscriber(s);
        }
        match self.dice.below(100) {
            0..25 if !self.lists[at].closed => self.progress(s),
            25..40 => {
                if let Some(handle) = self.dice.pick(&self.lists[at].live) {
                    self.deliver(s, handle);
                }
            }
            40..48 => self.cancelled(s),
            48..58 => {
                let (kind, source) = ("note".to_owned(), "me".to_owned());
                let effects =
                    self.queues.push(Push { call, session_id, kind, source, content: n.into() }, AT);
                let list = &mut self.lists[at];
                let full = list.notes() >= LIMITS.pushed_entries;
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
                let (filter, max) = (self.filter(at), [None, Some(1), Some(3)][self.dice.below(3) as usize]);
                let wait_ms = [None, Some(5)][self.dice.below(2) as usize];
                let drain = Drain { call, session_id, filter: filter.clone(), max, wait_ms };
                let effects = self.queues.drain(drain);
                let told = self.lists[at].take_or_wait(n, filter, max, wait_ms.is_some());
                self.check(s, effects, told);
            }
            72..80 => {
                let filter = self.filter(at);
                let effects =
                    self.queues.wait(Wait { call, session_id, filter: filter.clone(), timeout_ms: 5 });
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
                let effects = self.queues.time_up(TimerKind::Call(CallId(late)));
                self.check(list.unwrap_or(at) as u64, effects, told);
            }
            87..94 => self.end_a_call(),
            94..97 => {
                let Some(handle) = self.dice.pick(&self.delivered.iter().copied().collect::<Vec<_>>()) else {
                    return;
                };
                // Its session may be another one: then there is no entry either.
                let stored = Shared::from(record(&session_id, handle, Status::Completed));
                let taken = self.lists[at].take_result(n, handle);
                let told = vec![(n, Out::Result(taken.then_some(handle)))];
                let effects = self.queues.take_result(call, stored);
                self.taking = true;
                self.check(s, effects, told);
                self.taking = false;
            }
            97..99 => {
                let filter = self.filter(at);
                let pending = Pending { call, session_id, filter };
                let effects = self.queues.pending(&pending);
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
        let effects = self.queues.progress(record(&name(s), handle, Status::Running), AT);
        self.check(s, effects, told);
    }
    fn deliver(&mut self, s: u64, handle: u64) {
        let list = &mut self.lists[s as usize];
        list.live.retain(|live| *live != handle);
        list.forget(handle);
        list.add(What::Result(handle));
        let mut told = Vec::new();
        list.serve(&mut told);
        self.delivered.insert(handle);
        let effects = self.queues.deliver(record(&name(s), handle, Status::Completed), &[], AT);
        self.check(s, effects, told);
    }
    /// The result is leased to one, two or three cancellers.
    fn cancelled(&mut self, s: u64) {
        let Some(handle) = self.dice.pick(&self.lists[s as usize].live) else { return };
        let calls: Vec<u64> = (0..=self.dice.below(3)).map(|more| self.calls + more).collect();
        self.calls += 3;
        let list = &mut self.lists[s as usize];
        list.live.retain(|live| *live != handle);
        list.forget(handle);
        list.shared.insert(handle, calls.clone());
        self.delivered.insert(handle);
        let told = calls.iter().map(|call| (*call, Out::Cancelled(handle))).collect();
        let to: Vec<Claim> = calls.into_iter().map(claim).collect();
        let effects = self.queues.deliver(record(&name(s), handle, Status::Killed), &to, AT);
        self.check(s, effects, told);
    }
    /// A reader has its answer, or is gone; or a call that waits is dropped.
    fn end_a_call(&mut self) {
        let waits = self.lists.iter().enumerate().filter_map(|(s, list)| {
            let waiter = list.waiters.first()?;
            Some((s as u64, waiter.0, Vec::new()))
        });
        let waits: Vec<_> = waits.take(1).collect();
        let among = self.held.len() as u64 + waits.len() as u64;
        if among == 0 {
            return;
        }
        let which = self.dice.below(among) as usize;
        let waiting = which >= self.held.len();
        let (s, call, entries) = if waiting { waits[0].clone() } else { self.held.swap_remove(which) };
        let has_it = !waiting && self.dice.below(2) == 0;
        let list = &mut self.lists[s as usize];
        let reads = list.reading.contains_key(&call);
        let cancelled = list.shared.iter().find(|(_, calls)| calls.contains(&call)).map(|(n, _)| *n);
        let mut told = Vec::new();
        list.end(call, has_it, &mut told);
        let effects = match has_it {
            true => self.queues.ack(CallId(call)),
            false => self.queues.nack(CallId(call), AT),
        };
        if has_it && reads {
            self.seen.extend(entries.iter().map(|entry| (s, entry.sequence)));
        } else if has_it {
            self.read(&entries);
            if let Some(n) = cancelled {
                assert!(self.read.insert(n), "the result of {n} was read twice");
            }
        }
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
        let effects = self.queues.close(&name(s), false);
        self.check(s, effects, told);
    }

    /// Both say the same, and what they say keeps the rules.
    fn check(&mut self, s: u64, effects: Vec<Effect>, mut expected: Told) {
        let at = s as usize;
        let list = &self.lists[at];
        let (limit, unread) = (LIMITS.unread_results, list.results());
        let changes = if self.paused[at] { unread <= limit / 2 } else { unread >= limit };
        if list.is_finished() {
            // Once, when the last one goes; not by the close itself, which reports that nothing was kept.
            let closes = expected.iter().any(|told| matches!(told.1, Out::Closed(_)));
            if self.queues_were[at] && !closes {
                expected.push((0, Out::Emptied));
            }
        } else if changes && !list.closed {
            self.paused[at] = !self.paused[at];
            expected.push((0, Out::Paused(self.paused[at])));
        }
        self.queues_were[at] = !list.is_finished();
        self.note_timers(&effects);
        self.check_notified(s, &effects);
        self.check_written(s, &effects);
        let told: Told = effects.into_iter().filter_map(|effect| self.told(s, effect)).collect();
        assert_eq!(told, expected);
        self.check_timers();
        assert_eq!(self.gone, self.read, "what is read is reported, and nothing else");
        let at = s as usize;
        let list = &self.lists[at];
        assert_eq!(self.queues.has_queue(&name(s)), !list.is_finished());
        if let Some(queue) = self.queues.queues.get(&name(s)) {
            let free: Vec<u64> = queue.free().keys().copied().collect();
            let rows: Vec<u64> = list.rows.iter().map(|row| row.0).collect();
            assert_eq!(free, rows);
            let every: Vec<&Entry> = queue.free().values().chain(queue.leases().entries()).collect();
            assert!(queue.tracked() <= list.live.len(), "no memory of handles that have ended");
            let progress = queue.free().values().filter(|entry| entry.is_progress()).count();
            assert!(progress <= list.live.len(), "one progress entry a handle at most");
            let text =
                |entry: &&&Entry| entry.is_result() && entry.record().is_some_and(|r| r.text_bytes() > 0);
            let counts = queue.counts();
            assert_eq!(counts.with_text, every.iter().filter(text).count());
            assert!(counts.with_text <= LIMITS.results_with_text);
            assert_eq!((counts.results, counts.pushed), (list.results(), list.notes()));
            assert_eq!(queue.leases().shared(), list.shared.len());
            assert_eq!(queue.subscriptions(), list.subscribers.len());
            assert_eq!(queue.leases().held(), list.held.values().map(|held| held.1.len()).sum::<usize>());
        }
    }
    fn told(&mut self, s: u64, effect: Effect) -> Option<(u64, Out)> {
        let Reply { call, answer, leased_by, .. } = match effect {
            Effect::Arm { .. } | Effect::Disarm { .. } => return None,
            Effect::Notify(_) | Effect::NotifiedAll(_) | Effect::Append(_) => return None,
            Effect::Closed(closed) => return Some((0, Out::Closed(closed.unread))),
            Effect::Emptied(_) => return Some((0, Out::Emptied)),
            Effect::NoQueue(asked) => {
                let out = match asked.nothing {
                    None => Out::Refused,
                    Some(Answer::Drained { .. }) => Out::Taken(vec![]),
                    Some(Answer::Acknowledged(_)) => Out::Acknowledged(0),
                    Some(Answer::Subscribed(_)) => Out::Subscribed,
                    Some(_) => Out::Counted(0),
                };
                return Some((asked.call.0, out));
            }
            Effect::Paused(launches) => return Some((0, Out::Paused(launches.paused))),
            Effect::Gone(gone) => {
                for handle in gone.handle_ids {
                    assert!(self.gone.insert(handle.n), "{} is gone twice", handle.n);
                }
                return None;
            }
            Effect::Reply(reply) => reply,
        };
        let out = match answer {
            Err(_) => Out::Refused,
            Ok(Answer::Pushed(sequence)) => Out::Pushed(sequence),
            Ok(Answer::Acknowledged(count)) => Out::Acknowledged(count),
            Ok(Answer::Subscribed(_)) => Out::Subscribed,
            Ok(Answer::Counted(count) | Answer::Pending(count)) => Out::Counted(count),
            Ok(Answer::Drained { entries, .. }) => {
                let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
                assert_eq!(leased_by.is_some(), !entries.is_empty());
                for entry in &entries {
                    let seen = self.seen.contains(&(s, entry.sequence));
                    assert_eq!(entry.redelivered, seen, "{} of session {s}", entry.sequence);
                }
                for record in entries.iter().filter(|entry| entry.is_progress()).filter_map(Entry::record) {
                    let n = record.handle_id.n;
                    assert!(!self.delivered.contains(&n), "progress of {n} after its result");
                }
                if !entries.is_empty() {
                    self.held.push((s, call.0, entries));
                }
                Out::Taken(sequences)
            }
            Ok(Answer::Cancelled { record, taken: true, .. } | Answer::Result { record, taken: true })
                if !self.taking =>
            {
                assert!(leased_by.is_some());
                self.held.push((s, call.0, Vec::new()));
                Out::Cancelled(record.handle_id.n)
            }
            Ok(Answer::Result { taken: true, record }) => {
                assert!(leased_by.is_some());
                let entry =
                    Entry::new(0, name(s), (TOOL_RESULT.into(), "".into()), Content::Record(record.0), AT);
                let n = entry.record().unwrap().handle_id.n;
                self.held.push((s, call.0, vec![entry]));
                Out::Result(Some(n))
            }
            Ok(Answer::Result { taken: false, .. }) => {
                assert!(leased_by.is_none());
                Out::Result(None)
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
            }
        }
    }
    fn finish(mut self) {
        (0..SESSIONS).for_each(|s| self.close(s));
        while !self.queues.queues.is_empty() {
            self.end_a_call();
            self.readers_go();
            for s in 0..SESSIONS {
                self.calls += 1;
                let call = self.calls;
                let effects = self.queues.drain(Drain {
                    call: CallId(call),
                    session_id: name(s),
                    filter: Filter::any(),
                    max: None,
                    wait_ms: None,
                });
                let taken = self.lists[s as usize].take(call, &Filter::any(), usize::MAX);
                self.check(s, effects, vec![(call, Out::Taken(taken))]);
            }
        }
        while !self.held.is_empty() {
            self.end_a_call();
        }
        assert_eq!(self.read, self.delivered, "each result was read once");
        assert!(self.queues.calls.is_empty(), "{:?}", self.queues.calls);
    }
}
fn name(s: u64) -> SessionId {
    SessionId::new(format!("s{s}"))
}

#[test]
fn it_does_what_a_naive_list_does_and_every_result_is_read_once() {
    for seed in 1..=150 {
        let mut run = Run::new(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        (0..400).for_each(|_| run.step());
        run.finish();
    }
}
