//! Handles: from launch to result, and what is kept of them after it. What each result comes to is decided here.
//!
//! * in: launches, cancels, and what becomes of each process
//! * out: effects: spawn, stop, deliver, reply, remove
//! * keeps: one result for each handle, to its cancellers or to the inbox

use super::*;

/// Results that a late `Cancel` can still ask for keep their inline text up to this many bytes; longer ones are
/// reloaded from `result.json`. It bounds the store at 256 KiB of text.
const REPLAY_TEXT_BYTES: usize = 1_024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Launching {
        calls: Vec<CallId>,
    },
    Live(Shared),
    /// The result is out, leftovers live on.
    Kept(Shared),
    Finished(Shared),
}

#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) session_id: SessionId,
    pub(super) state: State,
    pub(super) request: Arc<LaunchRequest>,
    /// Cancels that wait for the result.
    pub(super) waiting: Vec<CallId>,
    pub(super) notify: bool,
    pub(super) recovered: bool,
}

impl Registry {
    /// `next_n` is asked for a number only when a process is really to be made.
    pub(crate) fn launch(
        &mut self,
        call: CallId,
        request: Arc<LaunchRequest>,
        next_n: impl FnOnce() -> u64,
    ) -> Effects {
        match self.try_launch(call, &request, next_n) {
            Ok(effects) => effects,
            Err(error) => vec![Effect::Reply(call, Err(Refusal::Launch(error)))],
        }
    }

    pub(super) fn try_launch(
        &mut self,
        call: CallId,
        request: &Arc<LaunchRequest>,
        next_n: impl FnOnce() -> u64,
    ) -> Result<Effects, LaunchError> {
        let id = &request.session_id;
        let has_ended = self.has_ended(id);
        let session = self.sessions.get_mut(id).filter(|session| !session.ending);
        let session = session.ok_or_else(|| match has_ended {
            true => LaunchError::SessionClosed { session_id: id.to_string() },
            false => LaunchError::SessionUnknown { session_id: id.to_string() },
        })?;
        let twin = request.launch_key.as_ref().and_then(|key| session.keys.get(key)).copied();
        if let Some((n, handle)) = twin.and_then(|n| self.handles.get_mut(&n).map(|handle| (n, handle))) {
            if handle.request != *request {
                let launch_key = request.launch_key.clone().unwrap_or_default();
                return Err(LaunchError::LaunchKeyReused { launch_key });
            }
            return Ok(match &mut handle.state {
                State::Launching { calls } => {
                    calls.push(call);
                    self.waiting.insert(call, n);
                    Vec::new()
                }
                State::Live(record) | State::Kept(record) | State::Finished(record) => {
                    vec![Effect::Reply(call, Ok(Answer::Launched(record.clone())))]
                }
            });
        }
        let check = |limit, count: u64, max: u64| match count >= max {
            true => Err(LaunchError::LimitReached { limit, max, leased: 0 }),
            false => Ok(()),
        };
        if session.launches_paused {
            return Ok(vec![Effect::RefuseLaunch { call, session_id: id.clone() }]);
        }
        check(Limit::SessionHandles, session.live.len() as u64, self.limits.session_handles)?;
        check(Limit::Handles, self.live, self.limits.handles)?;
        let n = next_n();
        session.live.insert(n);
        self.live += 1;
        if let Some(key) = &request.launch_key {
            session.keys.insert(key.clone(), n);
        }
        self.handles.insert(
            n,
            Handle {
                session_id: id.clone(),
                state: State::Launching { calls: vec![call] },
                request: request.clone(),
                waiting: Vec::new(),
                notify: false,
                recovered: false,
            },
        );
        self.waiting.insert(call, n);
        Ok(vec![Effect::Spawn { n, request: request.clone() }])
    }

    pub(crate) fn launched(&mut self, n: u64, record: Shared) -> Effects {
        let Some(handle) = self.handles.get_mut(&n) else { return Vec::new() };
        match std::mem::replace(&mut handle.state, State::Live(record.clone())) {
            State::Launching { calls } => {
                self.wait_no_more(&calls);
                let answer = |call| Effect::Reply(call, Ok(Answer::Launched(record.clone())));
                calls.into_iter().map(answer).collect()
            }
            other => {
                handle.state = other;
                Vec::new()
            }
        }
    }

    pub(crate) fn launch_failed(&mut self, n: u64, error: LaunchError) -> Effects {
        let launching = self.handles.get(&n).is_some_and(|h| matches!(h.state, State::Launching { .. }));
        let Some(handle) = launching.then(|| self.handles.remove(&n)).flatten() else { return Vec::new() };
        self.remove_key(n, &handle);
        let State::Launching { calls } = handle.state else { return Vec::new() };
        self.wait_no_more(&calls);
        let refusal = |call| Effect::Reply(call, Err(Refusal::Launch(error.clone())));
        let mut effects: Effects = calls.into_iter().map(refusal).collect();
        if let Some(session) = self.sessions.get_mut(&handle.session_id) {
            session.tally.undone += u64::from(session.ending);
        }
        effects.push(Effect::Remove { n });
        self.one_less(n, &handle.session_id, &mut effects);
        effects
    }

    /// The result. From here it goes to whoever cancelled and waits, or to the inbox.
    pub(crate) fn finished(&mut self, n: u64, record: Shared, kept: bool) -> Effects {
        let mut effects = Effects::new();
        let Some(handle) = self.handles.get_mut(&n) else { return effects };
        if !matches!(handle.state, State::Live(_)) {
            return effects;
        }
        let stored = for_replay(&record);
        handle.state = if kept { State::Kept(stored) } else { State::Finished(stored) };
        let waiting = std::mem::take(&mut handle.waiting);
        let (notify, session_id) = (handle.notify, handle.session_id.clone());
        if let Some(session) = self.sessions.get_mut(&session_id) {
            count(&mut session.tally, &record);
        }
        for call in &waiting {
            self.waiting.remove(call);
            if self.timed.remove(call).is_some() {
                effects.push(Effect::DisarmCall(*call));
            }
        }
        let killed = record.status == Status::Killed;
        if killed && !notify {
            effects.push(Effect::Deliver { record, to: waiting });
        } else {
            effects.push(Effect::Deliver { record: record.clone(), to: Vec::new() });
            let answer = Answer::Cancelled { cancelled: killed, record };
            effects.extend(waiting.into_iter().map(|call| Effect::Reply(call, Ok(answer.clone()))));
        }
        if !kept {
            self.remove(n, &session_id, &mut effects);
        }
        effects
    }

    pub(crate) fn released(&mut self, n: u64) -> Effects {
        let mut effects = Effects::new();
        let Some(handle) = self.handles.get_mut(&n) else { return effects };
        let State::Kept(record) = &handle.state else { return effects };
        handle.state = State::Finished(record.clone());
        let session_id = handle.session_id.clone();
        self.remove(n, &session_id, &mut effects);
        effects
    }

    /// The actor of a process crashed.
    pub(crate) fn down(&mut self, n: u64) -> Effects {
        let Some(handle) = self.handles.get_mut(&n) else { return Vec::new() };
        let undo = matches!(handle.state, State::Launching { .. });
        let mut effects = vec![Effect::Release { n, undo }];
        match &handle.state {
            State::Launching { .. } => effects.extend(self.launch_failed(n, LaunchError::Crashed)),
            State::Live(record) if !handle.recovered => {
                let recover = Effect::Recover { n, request: handle.request.clone(), record: record.clone() };
                handle.recovered = true;
                return vec![recover];
            }
            // The one that took over crashed too: there is nobody left to ask what became of it.
            State::Live(record) => {
                let mut lost = (**record).clone();
                lost.exit_code = Some(-1);
                lost.end(Status::Lost, Some(StopCause::Crashed));
                effects.extend(self.finished(n, lost.into(), false));
            }
            State::Kept(_) => effects.extend(self.released(n)),
            State::Finished(_) => return Vec::new(),
        }
        effects
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = (u64, &Handle)> {
        self.handles.iter().filter(|(_, h)| !matches!(h.state, State::Finished(_))).map(|(n, h)| (*n, h))
    }

    /// A handle has ended, its leftovers too. Its record stays for those who ask late, and its launch key as long.
    pub(super) fn remove(&mut self, n: u64, session_id: &SessionId, effects: &mut Effects) {
        effects.push(Effect::Remove { n });
        self.finished.push_back(n);
        while self.finished.len() as u64 > self.limits.replay_results {
            if let Some(oldest) = self.finished.pop_front() {
                let handle = self.handles.remove(&oldest);
                handle.iter().for_each(|handle| self.remove_key(oldest, handle));
            }
        }
        self.one_less(n, session_id, effects);
    }

    pub(super) fn one_less(&mut self, n: u64, session_id: &SessionId, effects: &mut Effects) {
        self.live -= 1;
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.live.remove(&n);
            if session.ending && session.live.is_empty() {
                let (session_id, discard) = (session_id.clone(), session.discard);
                effects.push(Effect::CloseQueue { session_id, discard });
            }
        }
        if self.host_gone {
            self.check_stopped(effects);
        }
    }

    pub(super) fn remove_key(&mut self, n: u64, handle: &Handle) {
        if let (Some(key), Some(session)) =
            (&handle.request.launch_key, self.sessions.get_mut(&handle.session_id))
        {
            // Another handle may have the key by now, in a session that took the same id anew.
            if session.keys.get(key) == Some(&n) {
                session.keys.remove(key);
            }
        }
    }
}

fn count(tally: &mut Tally, record: &Shared) {
    match record.status {
        Status::Completed | Status::Running => tally.completed += 1,
        Status::Killed => tally.killed += 1,
        Status::TimedOut => tally.timed_out += 1,
        Status::Lost => tally.lost += 1,
    }
    let leftovers = record.leftovers.iter().flatten();
    tally.survivors += leftovers.filter(|l| l.outcome == ostler_messages::Outcome::Survived).count() as u64;
}

fn for_replay(record: &Shared) -> Shared {
    if record.text_bytes() <= REPLAY_TEXT_BYTES || !record.text_on_disk.0 {
        return record.clone();
    }
    let mut brief = (**record).clone();
    brief.omit_text();
    brief.into()
}
