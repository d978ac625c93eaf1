//! What each result comes to: to those who have asked for it by its handle, or to the inbox.
//!
//! * in: cancels, calls that wait for a result, what processes report
//! * out: effects: stop, deliver, reply
//! * keeps: one result for each handle: to all who claim it together, or to the inbox

use super::{
    handles::{Handle, State},
    *,
};
use ostler_messages::{Cancel, Claim};

/// Results that a late call can still ask for keep their inline text up to this many bytes; longer ones are
/// reloaded from `result.json`. It bounds the store at 256 KiB of text.
const REPLAY_TEXT_BYTES: usize = 1_024;

/// A call that waits for something of a handle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) call: CallId,
    pub(super) want: Want,
}
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Want {
    /// It has stopped the command, and gets the result; or what became of its leftovers.
    Cancel,
    /// To take the result.
    Result,
    /// To hear of the result.
    Exit,
    /// To hear how it stands.
    Status,
}

impl Registry {
    /// A handle that was given out.
    pub(super) fn known(&self, handle_id: HandleId) -> Result<&Handle, CallError> {
        if let Some(handle) = self.past.handles.get(&handle_id) {
            return Ok(handle);
        }
        if handle_id.host_pid != self.host_pid {
            return Err(CallError::HandleOfOtherHost { handle_id });
        }
        match self.handles.get(&handle_id.n) {
            // Its id has not been given to anyone yet.
            Some(handle) if !matches!(handle.state, State::Launching { .. }) => Ok(handle),
            None if handle_id.n <= self.last_n => Err(CallError::HandleForgotten { handle_id }),
            _ => Err(CallError::HandleUnknown { handle_id }),
        }
    }

    pub(crate) fn cancel(&mut self, asked: Cancel) -> Effects {
        let Cancel { call, handle_id, wait_ms, notify_on_cancel, lease_lost } = asked;
        let n = handle_id.n;
        let (stop, record) = match self.known(handle_id).map(|handle| &handle.state) {
            Err(error) => return vec![refuse(call, error)],
            Ok(State::Live(record) | State::Kept(record)) => (true, record.clone()),
            Ok(State::Finished(record)) => (false, record.clone()),
            Ok(State::Launching { .. }) => return Vec::new(),
        };
        if !stop {
            return vec![Effect::Reply(
                call,
                Ok(Answer::Cancelled { cancelled: false, taken: false, record }),
            )];
        }
        if let Some(handle) = self.handles.get_mut(&n) {
            handle.notify |= notify_on_cancel;
        }
        let cause = if lease_lost { Cause::LeaseLost } else { Cause::Cancelled };
        let mut effects = vec![Effect::Stop { n, cause }];
        match wait_ms {
            Some(0) => effects
                .push(Effect::Reply(call, Ok(Answer::Cancelled { cancelled: true, taken: false, record }))),
            wait_ms => effects.extend(self.wait(call, n, wait_ms, Want::Cancel)),
        }
        effects
    }

    /// Waits for the result: to take it, or only to hear of it.
    pub(crate) fn await_result(
        &mut self,
        call: CallId,
        handle_id: HandleId,
        wait_ms: Option<u64>,
        take: bool,
    ) -> Effects {
        match self.known(handle_id) {
            Err(error) => vec![refuse(call, error)],
            Ok(handle) => {
                let want = if take { Want::Result } else { Want::Exit };
                match self.past.handles.contains_key(&handle_id) {
                    true => replay(call, &handle.state, want),
                    false => self.wait_for_result(call, handle_id.n, wait_ms, want),
                }
            }
        }
    }

    /// Of a handle that was given out.
    pub(super) fn wait_for_result(
        &mut self,
        call: CallId,
        n: u64,
        wait_ms: Option<u64>,
        want: Want,
    ) -> Effects {
        match (self.handles.get(&n).map(|handle| &handle.state), want) {
            (Some(State::Live(_)), want) if wait_ms == Some(0) => {
                let mut effects = self.wait(call, n, None, want);
                effects.push(Effect::Report { n, call });
                effects
            }
            (Some(State::Live(_)), want) => self.wait(call, n, wait_ms, want),
            (Some(state), want) => replay(call, state, want),
            (None, _) => Vec::new(),
        }
    }

    /// How it stands at this moment.
    pub(crate) fn status(
        &mut self,
        call: CallId,
        handle_id: HandleId,
        session_id: Option<&SessionId>,
    ) -> Effects {
        match self.known(handle_id) {
            Err(error) => vec![refuse(call, error)],
            Ok(handle) if session_id.is_some_and(|asks| *asks != handle.session_id) => {
                vec![refuse(call, CallError::HandleOfOtherSession { handle_id })]
            }
            Ok(handle) if self.past.handles.contains_key(&handle_id) => {
                replay(call, &handle.state, Want::Status)
            }
            Ok(_) => self.wait_for_result(call, handle_id.n, Some(0), Want::Status),
        }
    }

    fn wait(&mut self, call: CallId, n: u64, wait_ms: Option<u64>, want: Want) -> Effects {
        let Some(handle) = self.handles.get_mut(&n) else { return Vec::new() };
        handle.waiting.push(Waiting { call, want });
        self.waiting.insert(call, n);
        let Some(after_ms) = wait_ms else { return Vec::new() };
        self.timed.insert(call, Some(n));
        vec![Effect::ArmCall { call, after_ms }]
    }

    /// The time of a call is up.
    pub(super) fn waited_long_enough(&mut self, call: CallId, n: u64) -> Effects {
        let Some(handle) = self.handles.get(&n) else { return Vec::new() };
        if let Some(so_far) = handle.input.so_far(call) {
            self.waits_no_more(call);
            return vec![Effect::Reply(call, Ok(so_far))];
        }
        let cancels = |waiting: &Waiting| waiting.call == call && waiting.want == Want::Cancel;
        match &handle.state {
            State::Live(record) | State::Kept(record) if handle.waiting.iter().any(cancels) => {
                let answer = Answer::Cancelled { cancelled: true, taken: false, record: record.clone() };
                self.waits_no_more(call);
                vec![Effect::Reply(call, Ok(answer))]
            }
            // It gets the result all the same if that comes before the report.
            _ => vec![Effect::Report { n, call }],
        }
    }

    /// A process has told how it stands.
    pub(crate) fn reported(&mut self, call: CallId, record: Shared) -> Effects {
        // If it waits no more it has the result, or is gone.
        if !self.waiting.contains_key(&call) {
            return Vec::new();
        }
        self.waits_no_more(call);
        let asked = self.handles.get(&record.handle_id.n).map(|handle| handle.asked);
        vec![reply_after(asked, call, Ok(Answer::Status(record)))]
    }

    /// The result. From here it goes to whoever claims it by its handle, or to the inbox.
    pub(crate) fn finished(&mut self, n: u64, record: Shared, kept: bool) -> Effects {
        let mut effects = Effects::new();
        let Some(handle) = self.handles.get_mut(&n) else { return effects };
        if !matches!(handle.state, State::Live(_)) {
            return effects;
        }
        let stored = for_replay(&record);
        handle.state = if kept { State::Kept(stored) } else { State::Finished(stored) };
        handle.unread = true;
        let waiting = std::mem::take(&mut handle.waiting);
        let (notify, session_id) = (handle.notify, handle.session_id.clone());
        if let Some(session) = self.sessions.get_mut(&session_id) {
            count(&mut session.tally, &record);
        }
        self.answered(&waiting, &mut effects);
        effects.extend(self.tell_waits(&record));
        let killed = record.status == Status::Killed;
        let wants = |want| waiting.iter().any(|waiting| waiting.want == want);
        let leased = !notify && (wants(Want::Result) || (killed && wants(Want::Cancel)));
        let claim = |waiting: &Waiting| match waiting.want {
            Want::Cancel => Some(Claim { call: waiting.call, by: ClaimBy::Cancel }),
            Want::Result => Some(Claim { call: waiting.call, by: ClaimBy::Result }),
            Want::Exit | Want::Status => None,
        };
        let to = if leased { waiting.iter().filter_map(claim).collect() } else { Vec::new() };
        effects.push(Effect::Deliver { record: record.clone(), to });
        for Waiting { call, want } in waiting {
            let record = record.clone();
            let answer = match want {
                Want::Cancel | Want::Result if leased => continue,
                Want::Cancel => Answer::Cancelled { cancelled: killed, taken: false, record },
                Want::Result => Answer::Result { taken: false, record },
                Want::Exit | Want::Status => Answer::Status(record),
            };
            effects.push(Effect::Reply(call, Ok(answer)));
        }
        if !kept {
            self.remove(n, &session_id, &mut effects);
        }
        effects
    }

    /// The leftovers that were kept are gone.
    pub(crate) fn released(&mut self, n: u64, leftovers: Option<Vec<Leftover>>) -> Effects {
        let mut effects = Effects::new();
        let Some(handle) = self.handles.get_mut(&n) else { return effects };
        let State::Kept(record) = &handle.state else { return effects };
        let mut record = record.clone();
        if record.leftovers != leftovers {
            Arc::make_mut(&mut record.0).leftovers = leftovers;
        }
        handle.state = State::Finished(record.clone());
        let waiting = std::mem::take(&mut handle.waiting);
        let session_id = handle.session_id.clone();
        let amended = record.clone();
        self.append(|| Row::Amended { record: amended }, &mut effects);
        self.answered(&waiting, &mut effects);
        for Waiting { call, .. } in waiting {
            let answer = Answer::Cancelled { cancelled: true, taken: false, record: record.clone() };
            effects.push(Effect::Reply(call, Ok(answer)));
        }
        self.remove(n, &session_id, &mut effects);
        effects
    }

    /// They wait no more.
    fn answered(&mut self, calls: &[Waiting], effects: &mut Effects) {
        for Waiting { call, .. } in calls {
            self.waiting.remove(call);
            if self.timed.remove(call).is_some() {
                effects.push(Effect::DisarmCall(*call));
            }
        }
    }
}

/// Of one that has ended.
fn replay(call: CallId, state: &State, want: Want) -> Effects {
    match (state, want) {
        // The inbox knows whether it is unread.
        (State::Kept(record) | State::Finished(record), Want::Result) => {
            vec![Effect::TakeResult { call, stored: record.clone() }]
        }
        (State::Kept(record) | State::Finished(record), _) => {
            vec![Effect::Reply(call, Ok(Answer::Status(record.clone())))]
        }
        _ => Vec::new(),
    }
}

pub(super) fn refuse(call: CallId, error: CallError) -> Effect {
    Effect::Reply(call, Err(Refusal::Call(error)))
}

fn count(tally: &mut Tally, record: &Shared) {
    match record.status {
        Status::Completed | Status::Running => tally.completed += 1,
        Status::Killed => tally.killed += 1,
        Status::TimedOut => tally.timed_out += 1,
        Status::Lost => tally.lost += 1,
    }
    let leftovers = record.leftovers.iter().flatten();
    tally.survivors += leftovers.filter(|l| l.outcome == Outcome::Survived).count() as u64;
}

fn for_replay(record: &Shared) -> Shared {
    if record.text_bytes() <= REPLAY_TEXT_BYTES || !record.text_on_disk.0 {
        return record.clone();
    }
    let mut brief = (**record).clone();
    brief.omit_text();
    brief.into()
}
