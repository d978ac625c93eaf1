//! The guard thread: it chooses the tiers, and there is a guard as long as there can be one. It lives as long as the graph and waits for
//! no disk, since the guard takes its end for the graph's; and nobody waits for it, since making a process can take long.
//!
//! * in: that the guard's line is at its end, that a launch has found none, that a helper is at work
//! * out: the tiers; a new guard; whoever was stopped by somebody goes on
//! * keeps: the report on the graph's containment is true at each moment

use crate::{
    backend::{ContainmentReport, Refused},
    linux::{
        contain::helper::Helpers,
        contain::tier::{Choice, Tiers},
        mailbox::Outbox,
        watch::signals::SignalCommand,
    },
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The guard's place among the descriptors that the signal thread watches. No process has this number.
pub(crate) const GUARD: u64 = u64::MAX - 1;
/// The pause before a guard is started again that was ended soon after its start; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Between two reminders, as long as helpers are at work, or too many are not: how long somebody can hold up a result by stopping its parents.
const REMIND: Duration = Duration::from_secs(1);

/// What this thread is told.
pub(crate) enum GuardCommand {
    /// There may be no guard.
    Check,
    /// A helper is at work again.
    AtWork,
}

/// A graph's tiers, and the report on them.
pub(crate) type Chosen = Result<(Arc<Tiers>, ContainmentReport), Refused>;

/// See the [module](self).
pub(crate) struct GuardThread {
    pub(crate) commands: Receiver<GuardCommand>,
    pub(crate) signals: Outbox<SignalCommand>,
}

impl GuardThread {
    /// Until nobody is left who could tell it something.
    pub(crate) fn run(self, choice: Choice, say: &Sender<Chosen>) {
        match Tiers::choose(choice) {
            Ok((tiers, report)) => {
                let tiers = Arc::new(tiers);
                self.watch(&tiers);
                let _ = say.send(Ok((tiers.clone(), report)));
                self.serve(&tiers);
            }
            Err(refused) => drop(say.send(Err(refused))),
        }
    }

    fn serve(&self, tiers: &Tiers) {
        let (mut started, mut pause) = (Instant::now(), PAUSE);
        // When to start a guard, if there is none.
        let mut again = None;
        let helpers = tiers.helpers();
        loop {
            let remind = helpers.filter(|helpers| helpers.need_care()).map(|_| Instant::now() + REMIND);
            let command = match [remind, again].into_iter().flatten().min() {
                None => self.commands.recv().map_err(RecvTimeoutError::from),
                Some(at) => self.commands.recv_deadline(at),
            };
            let Some(helpers) = helpers else {
                match command {
                    Err(RecvTimeoutError::Disconnected) => return,
                    _ => continue,
                }
            };
            match command {
                Ok(GuardCommand::Check) if again.is_none() => again = Some(Instant::now()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    helpers.remind();
                    helpers.trim();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if again.is_some_and(|at| at <= Instant::now()) {
                again = self.renew(tiers, helpers, &mut started, &mut pause);
            }
        }
    }

    fn watch(&self, tiers: &Tiers) {
        if let Some(helpers) = tiers.helpers() {
            helpers.watch_guard(|fd| {
                // ENOMEM or the limit on watches: its end shows at the next launch then.
                let _ = self.signals.watch_once(fd, GUARD);
            });
        }
    }

    /// Starts a guard in the place of one that was ended, or of one that belongs to a user that this process is no more. Gives the
    /// time of the next attempt.
    fn renew(
        &self,
        tiers: &Tiers,
        helpers: &Helpers,
        started: &mut Instant,
        pause: &mut Duration,
    ) -> Option<Instant> {
        if !helpers.needs_guard() {
            return None;
        }
        if started.elapsed() > PAUSE_MAX {
            *pause = PAUSE;
        } else if *started + *pause > Instant::now() {
            // Somebody ends them as fast as they are started.
            tiers.set_trouble(Some("the guard was ended, and is started again soon".to_owned()));
            return Some(*started + *pause);
        }
        let renewed = tiers.renew_guard(helpers);
        *started = Instant::now();
        *pause = (*pause * 2).min(PAUSE_MAX);
        match renewed {
            Ok(()) => {
                tiers.set_trouble(None);
                self.watch(tiers);
                None
            }
            Err(why) => {
                tiers.set_trouble(Some(format!("the guard was ended, and there is no new one: {why}")));
                Some(*started + *pause)
            }
        }
    }
}
