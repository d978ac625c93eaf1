//! Calls that wait: for a result, for time to pass, or for their caller to have its answer.
//!
//! * in: acks, nacks, times that are up
//! * out: effects: replies, timers, hand-backs
//! * keeps: each waiting call is answered once, or dropped once

use super::{handles::State, *};

impl Registry {
    /// They are answered.
    pub(super) fn wait_no_more(&mut self, calls: &[CallId]) {
        for call in calls {
            self.waiting.remove(call);
        }
    }

    pub(crate) fn cancel(
        &mut self,
        call: CallId,
        handle_id: HandleId,
        wait_ms: Option<u64>,
        notify: bool,
    ) -> Effects {
        let handle = self.handles.get_mut(&handle_id.n).filter(|_| handle_id.host_pid == self.host_pid);
        let unknown = Err(Refusal::Call(CallError::HandleUnknown { handle_id }));
        let Some(handle) = handle else { return vec![Effect::Reply(call, unknown)] };
        match &handle.state {
            // Its id has not been given to anyone yet.
            State::Launching { .. } => vec![Effect::Reply(call, unknown)],
            State::Kept(record) | State::Finished(record) => {
                let answer = Answer::Cancelled { cancelled: false, record: record.clone() };
                vec![Effect::Reply(call, Ok(answer))]
            }
            State::Live(record) => {
                handle.notify |= notify;
                let mut effects = vec![Effect::Stop { n: handle_id.n, cause: Cause::Cancelled }];
                if wait_ms == Some(0) {
                    let answer = Answer::Cancelled { cancelled: true, record: record.clone() };
                    effects.push(Effect::Reply(call, Ok(answer)));
                    return effects;
                }
                handle.waiting.push(call);
                self.waiting.insert(call, handle_id.n);
                if let Some(after_ms) = wait_ms {
                    self.timed.insert(call, Some(handle_id.n));
                    effects.push(Effect::ArmCall { call, after_ms });
                }
                effects
            }
        }
    }

    pub(crate) fn sleep(&mut self, call: CallId, after_ms: u64) -> Effects {
        self.timed.insert(call, None);
        vec![Effect::ArmCall { call, after_ms }]
    }

    /// A sleep has ended; or a cancel has waited long enough, and gets what is known.
    pub(crate) fn call_timed_out(&mut self, call: CallId) -> Effects {
        let answer = match self.timed.remove(&call) {
            None => return Vec::new(),
            Some(None) => Answer::Slept,
            Some(Some(n)) => {
                self.waits_no_more(call);
                let Some(State::Live(record)) = self.handles.get(&n).map(|handle| &handle.state) else {
                    return Vec::new();
                };
                Answer::Cancelled { cancelled: true, record: record.clone() }
            }
        };
        vec![Effect::Reply(call, Ok(answer))]
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
        self.shutdown_calls.retain(|waiting| *waiting != call);
        if let Some(session) = self.ending.remove(&call).and_then(|id| self.sessions.get_mut(&id)) {
            session.end_calls.retain(|waiting| *waiting != call);
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
            handle.waiting.retain(|waiting| *waiting != call);
            if let State::Launching { calls } = &mut handle.state {
                calls.retain(|waiting| *waiting != call);
            }
        }
    }
}
