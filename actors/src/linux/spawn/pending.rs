//! Launches on their way: the graph has asked for them, and the spawn thread that has taken one up has not handed it over yet.
//!
//! * in: what the graph asks about a process meanwhile
//! * out: the same, to whoever hands the process over
//! * keeps: the signal and drain threads hear nothing about a process before they have it
//!
//! Shared by the graph's thread and the spawn threads; each holds it for a lookup, or to pass a few messages on.

use crate::linux::{drain::drains::DrainCommand, watch::signals::SignalCommand};
use ostler_messages::{Follow, StopSignal, Unfollow};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(crate) struct Pending(Mutex<BTreeMap<u64, Asked>>);

/// What the graph has asked meanwhile.
#[derive(Default)]
pub(crate) struct Asked {
    /// The strongest.
    pub(crate) signal: Option<StopSignal>,
    /// It is not wanted any more; true: with its directory.
    pub(crate) release: Option<bool>,
    /// Waits that have begun.
    pub(crate) follows: Vec<Follow>,
    /// What the host wants of it, in order: signals of its own, a pause.
    pub(crate) wanted: Vec<SignalCommand>,
    /// What is written to its stdin, in order.
    pub(crate) input: Vec<DrainCommand>,
}

impl Pending {
    fn launches(&self) -> MutexGuard<'_, BTreeMap<u64, Asked>> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, n: u64) {
        self.launches().insert(n, Asked::default());
    }

    /// False: it was handed over, so those who have it are to be asked.
    pub(crate) fn signal(&self, n: u64, signal: StopSignal) -> bool {
        self.ask(n, |asked| asked.signal = asked.signal.max(Some(signal)))
    }
    /// The same.
    pub(crate) fn release(&self, n: u64, undo: bool) -> bool {
        self.ask(n, |asked| asked.release = Some(undo))
    }
    /// The same. Gives it back if it was handed over.
    pub(crate) fn follow(&self, follow: Follow) -> Option<Follow> {
        match self.launches().get_mut(&follow.n) {
            Some(asked) => {
                asked.follows.push(follow);
                None
            }
            None => Some(follow),
        }
    }
    /// Whether that took one back.
    pub(crate) fn unfollow(&self, unfollow: &Unfollow) -> bool {
        self.ask(unfollow.n, |asked| asked.follows.retain(|follow| follow.call != unfollow.call))
    }
    /// None: it is kept. Some: whoever has the process is to be asked.
    pub(crate) fn input(&self, n: u64, command: DrainCommand) -> Option<DrainCommand> {
        match self.launches().get_mut(&n) {
            None => Some(command),
            Some(asked) => {
                asked.input.push(command);
                None
            }
        }
    }
    /// The same for what the signal thread does.
    pub(crate) fn want(&self, n: u64, command: SignalCommand) -> Option<SignalCommand> {
        match self.launches().get_mut(&n) {
            None => Some(command),
            Some(asked) => {
                asked.wanted.push(command);
                None
            }
        }
    }
    fn ask(&self, n: u64, ask: impl FnOnce(&mut Asked)) -> bool {
        self.launches().get_mut(&n).map(ask).is_some()
    }

    /// Whether it need not be started at all.
    pub(crate) fn is_withdrawn(&self, n: u64) -> bool {
        self.launches().get(&n).is_some_and(|asked| asked.release.is_some())
    }

    /// It is handed over, or has failed: from here on nothing is kept for it. What is asked later comes after what is passed on here.
    pub(crate) fn end(&self, n: u64, pass_on: impl FnOnce(Asked)) {
        let mut launches = self.launches();
        pass_on(launches.remove(&n).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_messages::EndInput;

    #[test]
    fn what_is_asked_before_the_hand_over_is_kept_and_nothing_after_it() {
        let pending = Pending::default();
        assert!(!pending.signal(1, StopSignal::Kill), "nobody has heard of it");
        pending.begin(1);
        assert!(pending.signal(1, StopSignal::Kill) && pending.signal(1, StopSignal::Terminate));
        assert!(!pending.is_withdrawn(1));
        assert!(pending.release(1, true) && pending.is_withdrawn(1));
        let end = EndInput { n: 1, now: false };
        assert!(pending.input(1, DrainCommand::EndInput(end.clone())).is_none());
        pending.end(1, |asked| {
            assert_eq!((asked.signal, asked.release), (Some(StopSignal::Kill), Some(true)));
            assert_eq!(asked.input.len(), 1);
        });
        assert!(!pending.release(1, true) && !pending.is_withdrawn(1));
        assert!(pending.input(1, DrainCommand::EndInput(end)).is_some());
        pending.end(1, |asked| assert!(asked.signal.is_none() && asked.release.is_none()));
    }
}
