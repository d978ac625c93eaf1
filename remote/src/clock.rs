//! The time of this machine, which goes on while it sleeps.

use nix::time::{ClockId, clock_gettime};
use ostler::Stamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the boot, suspended time included (clock_gettime(2), CLOCK_BOOTTIME): leases are measured by it, so that a laptop that wakes up knows that
/// it has slept.
pub(crate) fn now_ms() -> u64 {
    // It fails only for a clock that the kernel does not have; this one is there since 2.6.39.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock, for people.
pub(crate) fn stamp() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
