//! Timers of the signal thread.

use ostler_messages::{ActorName, TimerKind};
use std::{collections::BTreeMap, time::Instant};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// Armed by the graph.
    Graph(ActorName, TimerKind),
    /// The signal thread's own: look again whether the tree of this process is empty.
    Probe(u64),
    /// The same: artifacts are to be removed.
    Retention,
    /// The same: look whether this tree stands still by now.
    Standstill(u64),
}

/// By time and by name. At most eight for each process and one for each waiting call.
#[derive(Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<(Instant, u64), TimerKey>,
    by_key: BTreeMap<TimerKey, (Instant, u64)>,
    next: u64,
}
impl Timers {
    /// Replaces one of the same name.
    pub(crate) fn arm(&mut self, key: TimerKey, at: Instant) {
        self.disarm(key);
        self.next += 1;
        self.by_time.insert((at, self.next), key);
        self.by_key.insert(key, (at, self.next));
    }
    pub(crate) fn disarm(&mut self, key: TimerKey) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&at);
        }
    }
    /// Takes those out that are meant, with their times.
    pub(crate) fn take(&mut self, is_meant: impl Fn(&TimerKey) -> bool) -> Vec<(TimerKey, Instant)> {
        let meant = self.by_key.iter().filter(|(key, _)| is_meant(key));
        let meant: Vec<_> = meant.map(|(key, (at, _))| (*key, *at)).collect();
        meant.iter().for_each(|(key, _)| self.disarm(*key));
        meant
    }
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }
    /// One that is due, earliest first, and when it was.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(TimerKey, Instant)> {
        let (&at, &key) = self.by_time.first_key_value().filter(|((at, _), _)| *at <= now)?;
        self.by_time.remove(&at);
        self.by_key.remove(&key);
        Some((key, at.0))
    }
    /// Those of a process that has ended.
    pub(crate) fn remove_all(&mut self, n: u64) {
        self.disarm(TimerKey::Probe(n));
        self.disarm(TimerKey::Standstill(n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A list of keys and times, told the same at random.
    #[test]
    fn they_fire_in_order_as_often_as_they_were_armed_and_not_disarmed() {
        let begin = Instant::now();
        let (mut timers, mut list, mut dice) =
            (Timers::default(), Vec::<(TimerKey, Instant, u32)>::new(), 1_u64);
        for step in 0..50_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (what, n, at) = (dice >> 62, dice >> 40 & 7, begin + Duration::from_millis(dice >> 33 & 63));
            let key = match n {
                0 => TimerKey::Probe(1),
                n => TimerKey::Graph(ActorName::Process(n), TimerKind::Grace),
            };
            match what {
                0 => {
                    timers.disarm(key);
                    list.retain(|(listed, ..)| *listed != key);
                }
                1 => {
                    let due =
                        list.iter().filter(|(_, due, _)| *due <= at).min_by_key(|(_, at, step)| (*at, *step));
                    let due = due.map(|(key, ..)| *key);
                    assert_eq!(timers.pop_due(at).map(|(key, _)| key), due);
                    list.retain(|(listed, ..)| Some(*listed) != due);
                }
                _ => {
                    timers.arm(key, at);
                    list.retain(|(listed, ..)| *listed != key);
                    list.push((key, at, step));
                }
            }
            assert_eq!(timers.next_at(), list.iter().map(|(_, at, _)| *at).min());
        }
    }
}
