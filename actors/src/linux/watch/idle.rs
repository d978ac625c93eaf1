//! Idle times: whether a command is silent, or whoever reads it is late.
//!
//! * in: a timer that has fired, and how late; when the last byte came
//! * out: when to look again
//! * keeps: time in which this host did not run is not the command's silence

use crate::linux::clock::{Activity, Clock};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A timer that fires so late was held up by more than a busy machine: the host was stopped, or its memory was swapped out.
const LATE: Duration = Duration::from_millis(100);

/// So often in a row an idle time begins anew for that: a machine that is always late must not keep a silent command for ever.
const LATES_MAX: u32 = 3;

/// By process: a timer that fires while bytes flow is armed again for the rest.
#[derive(Default)]
pub(crate) struct IdleTimes(BTreeMap<u64, Idle>);

/// An idle time, and how often in a row its timer was late.
struct Idle {
    time: Duration,
    lates: u32,
}

impl IdleTimes {
    pub(crate) fn begin(&mut self, n: u64, time: Duration) {
        self.0.insert(n, Idle { time, lates: 0 });
    }
    pub(crate) fn end(&mut self, n: u64) {
        self.0.remove(&n);
    }

    /// When to look again whether a command is silent; none: it is. `late`: how long after its time the timer has fired.
    pub(crate) fn is_not_silent(
        &mut self,
        n: u64,
        activity: Option<&Activity>,
        clock: &Clock,
        late: Duration,
    ) -> Option<Instant> {
        let Idle { time, lates } = self.0.get_mut(&n)?;
        // One that the thread is still to hear of has only just begun.
        let Some(activity) = activity else { return Some(Instant::now() + *time) };
        let idle_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let silent_at_us = activity.last_us().saturating_add(idle_us);
        if silent_at_us > clock.now_us() {
            *lates = 0;
            return Some(clock.at_us(silent_at_us));
        }
        // Its reader is behind, or this host did not run, and perhaps the command neither: its time begins anew.
        let was_late = late > LATE && *lates < LATES_MAX;
        *lates += u32::from(was_late);
        (activity.is_unread() || was_late).then(|| Instant::now() + *time)
    }
}
