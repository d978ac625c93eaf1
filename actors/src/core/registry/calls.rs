//! Calls that wait: for a result, for time to pass, or for their caller to have its answer.
//!
//! * in: acks, nacks, times that are up
//! * out: effects: replies, timers, hand-backs
//! * keeps: each waiting call is answered once, or dropped once

use super::{handles::State, *};

impl Registry {
    pub(crate) fn sleep(&mut self, call: CallId, after_ms: u64) -> Effects {
        self.timed.insert(call, None);
        vec![Effect::ArmCall { call, after_ms }]
    }

    /// A sleep has ended; or a call has waited long enough for a result, and gets what is known.
    pub(crate) fn call_timed_out(&mut self, call: CallId) -> Effects {
        match self.timed.remove(&call) {
            None => Vec::new(),
            Some(None) => vec![Effect::Reply(call, Ok(Answer::Slept))],
            Some(Some(n)) => self.waited_long_enough(call, n),
        }
    }

    /// The caller has its answer.
    pub(crate) fn ack(&mut self, call: CallId) -> Effects {
        self.opening.remove(&call);
        Effects::new()
    }

    /// The caller is gone. A launch or a cancel goes on without it; an anonymous session whose name it did not get is
    /// ended.
    pub(crate) fn nack(&mut self, call: CallId) -> Effects {
        self.waits_no_more(call);
        self.listing.remove(&call);
        self.shutdown_calls.retain(|waiting| *waiting != call);
        if let Some(session) = self.ending.remove(&call).and_then(|id| self.sessions.get_mut(&id)) {
            session.end_calls.retain(|waiting| *waiting != call);
        }
        if self.waits.remove(call) {
            return vec![Effect::StopWait(call), Effect::RemoveWait(call)];
        }
        let mut effects: Effects =
            self.timed.remove(&call).map(|_| Effect::DisarmCall(call)).into_iter().collect();
        if let Some(session_id) = self.opening.remove(&call) {
            self.begin_end(&session_id, true, &mut effects);
        }
        effects
    }

    pub(super) fn waits_no_more(&mut self, call: CallId) {
        if let Some(handle) = self.waiting.remove(&call).and_then(|n| self.handles.get_mut(&n)) {
            handle.waiting.retain(|waiting| waiting.call != call);
            handle.input.waits_no_more(call);
            if let State::Launching { calls } = &mut handle.state {
                calls.retain(|(waiting, _)| *waiting != call);
            }
        }
    }
}
