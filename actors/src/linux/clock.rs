//! The two clocks: monotonic for every decision, wall time for stamps only.

use crate::linux::sys;
use ostler_messages::Stamp;
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Monotonic, from the graph's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}
impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { start: Instant::now() }
    }
    pub(crate) fn now_us(&self) -> u64 {
        micros(self.start.elapsed())
    }
    pub(crate) fn at_us(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970: with the pid, unique on this machine.
pub(crate) fn unix_ns() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos())
}

/// Wall time, for people.
pub(crate) fn stamp() -> Stamp {
    // A clock that was never set may stand before 1970.
    Stamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis))
}

/// When the last byte of a command's output came, by the graph's clock, and what has come and was not read yet: written by its
/// drain thread, read by the idle timer. While the command is paused its silence stands still.
#[derive(Debug)]
pub(crate) struct Activity {
    last_us: AtomicU64,
    /// Its pipes, as long as its drain thread has them open.
    pipes: [Weak<OwnedFd>; 2],
    /// Since when it stands still; [`NOT_PAUSED`]: it does not. Only the signal thread writes it.
    paused_us: AtomicU64,
}

const NOT_PAUSED: u64 = u64::MAX;

impl Activity {
    pub(crate) fn new(now_us: u64, pipes: [Weak<OwnedFd>; 2]) -> Activity {
        Activity { last_us: AtomicU64::new(now_us), pipes, paused_us: AtomicU64::new(NOT_PAUSED) }
    }
    pub(crate) fn touch(&self, now_us: u64) {
        self.last_us.store(now_us, Ordering::Relaxed);
    }

    /// From now on it stands still.
    pub(crate) fn pause(&self, now_us: u64) {
        self.paused_us.store(now_us, Ordering::Relaxed);
    }
    /// It goes on: what was silent before is silent for no longer than it was.
    pub(crate) fn resume(&self, now_us: u64) {
        let since_us = self.paused_us.swap(NOT_PAUSED, Ordering::Relaxed).min(now_us);
        let last_us = self.last_us.load(Ordering::Relaxed).saturating_add(now_us - since_us);
        // What came while it was paused came later than that.
        self.last_us.fetch_max(last_us.min(now_us), Ordering::Relaxed);
    }

    /// For how long it has been silent.
    pub(crate) fn silent_us(&self, now_us: u64) -> u64 {
        let until_us = self.paused_us.load(Ordering::Relaxed).min(now_us);
        until_us.saturating_sub(self.last_us.load(Ordering::Relaxed))
    }
    /// Whether the command has said something that nobody has read: then it is not silent, but its reader is behind.
    pub(crate) fn is_unread(&self) -> bool {
        self.pipes
            .iter()
            .filter_map(Weak::upgrade)
            .any(|pipe| sys::readable_bytes(pipe.as_fd()).is_ok_and(|bytes| bytes > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_no_silence() {
        let activity = Activity::new(100, [Weak::new(), Weak::new()]);
        assert_eq!(activity.silent_us(150), 50);
        activity.pause(150);
        assert_eq!(activity.silent_us(900), 50);
        activity.resume(1_000);
        assert_eq!((activity.silent_us(1_000), activity.silent_us(1_007)), (50, 57));
        activity.pause(1_100);
        // What was in the pipe.
        activity.touch(1_130);
        assert_eq!(activity.silent_us(1_150), 0);
        activity.resume(1_160);
        assert_eq!(activity.silent_us(1_160), 0);
    }
}
