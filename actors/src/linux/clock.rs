//! The two clocks: monotonic for every decision, wall time for stamps only.

use chrono::Utc;
use ostler_messages::Stamp;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
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

/// Wall time, for people.
pub(crate) fn stamp() -> Stamp {
    Stamp(u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0))
}

/// When the last byte of a command's output came, by the graph's clock: written by its drain thread, read by the idle
/// timer.
#[derive(Debug)]
pub(crate) struct Activity(AtomicU64);
impl Activity {
    pub(crate) fn new(now_us: u64) -> Activity {
        Activity(AtomicU64::new(now_us))
    }
    pub(crate) fn touch(&self, now_us: u64) {
        self.0.store(now_us, Ordering::Relaxed);
    }
    pub(crate) fn last_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
