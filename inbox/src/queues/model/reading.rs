//! Readers that acknowledge, or do not.

use super::*;
use ostler_messages::{ReaderId, Sequences};

/// Of each session.
const READERS: u64 = 2;

impl Run {
    pub(super) fn step_of_a_reader(&mut self, s: u64) {
        let reader = 1 + self.dice.below(READERS);
        match self.dice.below(8) {
            0..4 => self.read_some(s, reader),
            4..6 => self.acknowledge(s, reader),
            6 => self.reader_goes(s, reader),
            _ => {
                let held: Vec<u64> = self.lists[s as usize].held.keys().copied().collect();
                if let Some(call) = self.dice.pick(&held) {
                    self.time_is_up(s, call);
                }
            }
        }
    }
    fn read_some(&mut self, s: u64, reader: u64) {
        let (at, n) = (s as usize, self.calls);
        let (filter, max) = (self.filter(at), [None, Some(1), Some(3)][self.dice.below(3) as usize]);
        let wait_ms = [None, Some(5)][self.dice.below(2) as usize];
        let effects = self.queues.read(Read {
            call: CallId(n),
            session_id: name(s),
            reader: ReaderId(reader),
            filter: filter.clone(),
            max,
            wait_ms,
            redeliver_ms: 60,
        });
        let list = &mut self.lists[at];
        list.reading.insert(n, reader);
        let told = list.take_or_wait(n, filter, max, wait_ms.is_some());
        self.check(s, effects, told);
    }
    fn acknowledge(&mut self, s: u64, reader: u64) {
        let n = self.calls;
        // Some of them nobody can have read.
        let beyond = self.lists[s as usize].next + 2;
        let sequences = match self.dice.below(2) {
            0 => Sequences::UpTo(self.dice.below(beyond)),
            _ => Sequences::These((0..=self.dice.below(3)).map(|_| self.dice.below(beyond)).collect()),
        };
        let taken_out = self.lists[s as usize].acknowledge(reader, &sequences);
        let (call, session_id, reader) = (CallId(n), name(s), ReaderId(reader));
        let effects = self.queues.acknowledge(Acknowledge { call, session_id, reader, sequences });
        let told = match taken_out {
            None => Out::Refused,
            Some(rows) => {
                for result in rows.iter().filter_map(|row| row.1.result()) {
                    assert!(self.read.insert(result), "the result of {result} was read twice");
                    // A call may have it on its way to somebody else, who sees it again.
                    let other = |entry: &Entry| entry.record().is_none_or(|r| r.handle_id.n != result);
                    self.held.iter_mut().for_each(|held| held.2.retain(other));
                }
                Out::Acknowledged(rows.len() as u64)
            }
        };
        self.check(s, effects, vec![(n, told)]);
    }
    pub(super) fn reader_goes(&mut self, s: u64, reader: u64) {
        let gone = ReaderGone { session_id: name(s), reader: ReaderId(reader) };
        let effects = self.queues.reader_gone(&gone);
        let mut told = Vec::new();
        self.lists[s as usize].give_back(|_, whose| whose == reader, &mut told);
        self.check(s, effects, told);
    }
    fn time_is_up(&mut self, s: u64, call: u64) {
        assert!(self.timers.remove(&call), "what {call} has brought has a timer");
        let effects = self.queues.time_up(TimerKind::Redeliver(CallId(call)));
        let mut told = Vec::new();
        self.lists[s as usize].give_back(|held, _| held == call, &mut told);
        self.check(s, effects, told);
    }
    pub(super) fn readers_go(&mut self) {
        for s in 0..SESSIONS {
            (1..=READERS).for_each(|reader| self.reader_goes(s, reader));
        }
    }
    pub(super) fn note_timers(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Arm { timer: TimerKind::Redeliver(call), after_ms } => {
                    assert!(self.timers.insert(call.0) && *after_ms == 60);
                }
                Effect::Disarm { timer: TimerKind::Redeliver(call) } => assert!(self.timers.remove(&call.0)),
                _ => {}
            }
        }
    }
    /// Each read whose entries are not all acknowledged has one timer, and nothing else has.
    pub(super) fn check_timers(&self) {
        let held: BTreeSet<u64> = self.lists.iter().flat_map(|list| list.held.keys().copied()).collect();
        assert_eq!(self.timers, held);
    }
}
