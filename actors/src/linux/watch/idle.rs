//! Idle times: whether a command is silent, or whoever reads it is late.
//!
//! * in: a timer that has fired, and how late; when the last byte came
//! * out: when to look again
//! * keeps: time in which this host did not run is not the command's silence

use crate::linux::clock::{Activity, Clock};
use ostler_messages::{ActorName, TimerKind};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A timer that fires so late was held up by more than a busy machine: the host was stopped, or its memory was swapped out.
const LATE: Duration = Duration::from_millis(100);

/// So often in a row an idle time begins anew for that: a machine that is always late must not keep a silent command for ever.
const LATES_MAX: u32 = 3;

/// Whose timer it is, and what it is for.
type Timer = (ActorName, TimerKind);

/// By timer: one that fires while bytes flow is armed again for the rest.
#[derive(Default)]
pub(crate) struct IdleTimes(BTreeMap<Timer, Idle>);

/// An idle time, and how often in a row its timer was late.
struct Idle {
    time: Duration,
    lates: u32,
}

impl IdleTimes {
    pub(crate) fn begin(&mut self, timer: Timer, time: Duration) {
        self.0.insert(timer, Idle { time, lates: 0 });
    }
    pub(crate) fn end(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    /// When to look again whether a command is silent; none: it is. `late`: how long after its time the timer has fired.
    pub(crate) fn is_not_silent(
        &mut self,
        timer: Timer,
        activity: Option<&Activity>,
        clock: &Clock,
        late: Duration,
    ) -> Option<Instant> {
        let Idle { time, lates } = self.0.get_mut(&timer)?;
        // One that the thread is still to hear of has only just begun.
        let Some(activity) = activity else { return Some(Instant::now() + *time) };
        let idle_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let left = Duration::from_micros(idle_us.saturating_sub(activity.silent_us(clock.now_us())));
        if !left.is_zero() {
            *lates = 0;
            return Some(Instant::now() + left);
        }
        // Its reader is behind, or this host did not run, and perhaps the command neither: its time begins anew.
        let was_late = late > LATE && *lates < LATES_MAX;
        *lates += u32::from(was_late);
        (activity.is_unread() || was_late).then(|| Instant::now() + *time)
    }
}
