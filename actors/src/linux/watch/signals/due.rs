//! Timers that are due.
//!
//! * in: a timer, and how late it is
//! * out: `TimerFired`, `Survived`, `Unsealed`; or it is armed again
//! * keeps: what was late is this thread, and not the command

use super::State;
use crate::{backend::KernelEvent, linux::watch::timers::TimerKey};
use ostler_messages::{ActorName, Leftover, RetentionDue, Survived, TimerFired, TimerKind, Unsealed};
use std::time::{Duration, Instant};

/// How long a timer waits, once, for the report of an exit that is known.
const REPORT_PATIENCE: Duration = Duration::from_millis(200);

impl State {
    /// `late`: how long after its time.
    pub(super) fn fire(&mut self, key: TimerKey, late: Duration) {
        match key {
            TimerKey::Probe(n) => self.look(n),
            TimerKey::Retention => {
                self.tell_supervisor(RetentionDue {});
                self.arm_retention();
            }
            TimerKey::Standstill(n) => self.look_whether_still(n),
            TimerKey::Graph(ActorName::Process(n), kind @ (TimerKind::Deadline | TimerKind::Idle)) => {
                // If it has ended meanwhile it ended in time, as far as anybody knows: what was late is this thread.
                self.noticed(n);
                if let Some(child) = self.children.0.get_mut(&n) {
                    if child.exit.is_some() {
                        return;
                    }
                    if child.is_leader_dead() && !std::mem::replace(&mut child.waited_for_exit, true) {
                        return self.timers.arm(key, Instant::now() + REPORT_PATIENCE);
                    }
                }
                if kind == TimerKind::Idle
                    && let Some(next) = self.is_not_silent((ActorName::Process(n), kind), n, late)
                {
                    return self.timers.arm(key, next);
                }
                self.report(n, TimerFired { kind });
            }
            TimerKey::Graph(ActorName::Process(n), TimerKind::Unkillable) => {
                let leftovers = self.survivors(n);
                self.report(n, Survived { leftovers });
            }
            TimerKey::Graph(ActorName::Process(n), TimerKind::SealTimeout) => {
                let output = self.thread.outputs.peek(n, u64::MAX).unwrap_or_default();
                self.report(n, Unsealed { output });
            }
            TimerKey::Graph(owner, kind @ TimerKind::Silence(n)) => {
                if let Some(next) = self.is_not_silent((owner, kind), n, late) {
                    return self.timers.arm(key, next);
                }
                self.idle.end((owner, kind));
                let _ = self.thread.events.send(KernelEvent::new(owner, TimerFired { kind }));
            }
            TimerKey::Graph(owner, kind) => {
                let _ = self.thread.events.send(KernelEvent::new(owner, TimerFired { kind }));
            }
        }
    }

    pub(super) fn arm_retention(&mut self) {
        // One that is too far away for the clock never comes.
        let at = Instant::now().checked_add(self.thread.retention_interval);
        at.into_iter().for_each(|at| self.timers.arm(TimerKey::Retention, at));
    }

    fn survivors(&mut self, n: u64) -> Option<Vec<Leftover>> {
        self.noticed(n);
        let child = self.children.0.get_mut(&n)?;
        child.survivors()
    }

    /// When to look again whether a command is silent; none: it is.
    fn is_not_silent(&mut self, timer: (ActorName, TimerKind), n: u64, late: Duration) -> Option<Instant> {
        let activity = self.children.0.get(&n).map(|child| &*child.activity);
        self.idle.is_not_silent(timer, activity, &self.thread.clock, late)
    }
}
