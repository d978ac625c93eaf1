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

/// Wall time, for people.
pub(crate) fn stamp() -> Stamp {
    // A clock that was never set may stand before 1970.
    Stamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis))
}

/// When the last byte of a command's output came, by the graph's clock, and what has come and was not read yet: written by its
/// drain thread, read by the idle timer.
#[derive(Debug)]
pub(crate) struct Activity {
    last_us: AtomicU64,
    /// Its pipes, as long as its drain thread has them open.
    pipes: [Weak<OwnedFd>; 2],
}
impl Activity {
    pub(crate) fn new(now_us: u64, pipes: [Weak<OwnedFd>; 2]) -> Activity {
        Activity { last_us: AtomicU64::new(now_us), pipes }
    }
    pub(crate) fn touch(&self, now_us: u64) {
        self.last_us.store(now_us, Ordering::Relaxed);
    }
    pub(crate) fn last_us(&self) -> u64 {
        self.last_us.load(Ordering::Relaxed)
    }
    /// Whether the command has said something that nobody has read: then it is not silent, but its reader is behind.
    pub(crate) fn is_unread(&self) -> bool {
        self.pipes
            .iter()
            .filter_map(Weak::upgrade)
            .any(|pipe| sys::readable_bytes(pipe.as_fd()).is_ok_and(|bytes| bytes > 0))
    }
}
