//! The guard of a graph, as the signal thread has it: there is one as long as there can be one.
//!
//! * in: that its line is at its end, or that a launch has found none
//! * out: a new one; when to try again
//! * keeps: the report on the graph's containment is true at each moment

use crate::linux::{contain::tier::Tiers, mailbox::Mailbox};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The guard's place among the descriptors that are watched. No process has this number.
pub(crate) const GUARD: u64 = u64::MAX - 1;
/// The pause before a guard is started again that was ended soon after its start; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// See the [module](self).
pub(crate) struct Guards {
    tiers: Arc<Tiers>,
    started: Instant,
    pause: Duration,
}

impl Guards {
    pub(crate) fn new<T>(tiers: Arc<Tiers>, mailbox: &Mailbox<T>) -> Guards {
        let guards = Guards { tiers, started: Instant::now(), pause: PAUSE };
        guards.watch(mailbox);
        guards
    }

    fn watch<T>(&self, mailbox: &Mailbox<T>) {
        if let Some(helpers) = self.tiers.helpers() {
            helpers.watch_guard(|fd| {
                // ENOMEM or the limit on watches: its end shows at the next launch then.
                let _ = mailbox.watch(fd, GUARD);
            });
        }
    }

    /// Starts one in the place of one that was ended, or of one that belongs to a user that this process is no more. Gives the time
    /// of the next attempt.
    pub(crate) fn renew<T>(&mut self, mailbox: &Mailbox<T>) -> Option<Instant> {
        let helpers = self.tiers.helpers().filter(|helpers| helpers.needs_guard())?.clone();
        if self.started.elapsed() > PAUSE_MAX {
            self.pause = PAUSE;
        } else if self.started + self.pause > Instant::now() {
            // Somebody ends them as fast as they are started.
            self.tiers.set_trouble(Some("the guard was ended, and is started again soon".to_owned()));
            return Some(self.started + self.pause);
        }
        let renewed = self.tiers.renew_guard(&helpers);
        self.started = Instant::now();
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        match renewed {
            Ok(()) => {
                self.tiers.set_trouble(None);
                self.watch(mailbox);
                None
            }
            Err(why) => {
                self.tiers.set_trouble(Some(format!("the guard was ended, and there is no new one: {why}")));
                Some(self.started + self.pause)
            }
        }
    }
}
