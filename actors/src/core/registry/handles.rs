//! Handles: from launch to their end, and what is kept of them after it.
//!
//! * in: launches, and what becomes of each process
//! * out: effects: spawn, recover, reply, remove
//! * keeps: what lives or is unread is never forgotten

use super::{
    input::Input,
    results::{Waiting, Want, refuse},
    *,
};
use ostler_messages::OLDEST_HANDLES;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// With how long each call waits for the result too.
    Launching {
        calls: Vec<(CallId, Option<u64>)>,
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
    /// Calls that wait for the result, for what becomes of kept leftovers, or to hear how it stands.
    pub(super) waiting: Vec<Waiting>,
    pub(super) input: Input,
    pub(super) notify: bool,
    pub(super) recovered: bool,
    /// Its result is out, and somebody can still come to have it.
    pub(super) unread: bool,
    /// Names its artifacts; none until it is spawned.
    pub(super) command_id: Option<CommandId>,
    /// The append that says that it is asked for; 0 without a journal.
    pub(super) asked: u64,
    /// When its leader was started, for a journal.
    pub(super) start_ticks: Option<u64>,
}

impl Registry {
    /// `next_n` is asked for a number only when a process is really to be made.
    pub(crate) fn launch(
        &mut self,
        call: CallId,
        request: Arc<LaunchRequest>,
        result_within_ms: Option<u64>,
        next_n: impl FnOnce() -> u64,
    ) -> Effects {
        match self.try_launch(call, &request, result_within_ms, next_n) {
            Ok(effects) => effects,
            Err(error) => vec![Effect::Reply(call, Err(Refusal::Launch(error)))],
        }
    }

    pub(super) fn try_launch(
        &mut self,
        call: CallId,
        request: &Arc<LaunchRequest>,
        result_within_ms: Option<u64>,
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
            if !handle.request.asks_the_same_as(request) {
                let launch_key = request.launch_key.clone().unwrap_or_default();
                return Err(LaunchError::LaunchKeyReused { launch_key });
            }
            return Ok(match (&mut handle.state, result_within_ms) {
                (State::Launching { calls }, within) => {
                    calls.push((call, within));
                    self.waiting.insert(call, n);
                    Vec::new()
                }
                (State::Live(record) | State::Kept(record) | State::Finished(record), None) => {
                    vec![reply_after(Some(handle.asked), call, Ok(Answer::Launched(record.clone())))]
                }
                (_, within) => self.wait_for_result(call, n, within, Want::Result),
            });
        }
        if let Some(record) = self.past.launched(request)? {
            return Ok(vec![match result_within_ms {
                None => Effect::Reply(call, Ok(Answer::Launched(record))),
                Some(_) => Effect::TakeResult { call, stored: record },
            }]);
        }
        if session.launches_paused {
            return Ok(vec![Effect::RefuseLaunch { call, session_id: id.clone() }]);
        }
        let (count, max) = (session.live.len() as u64, self.limits.session_handles);
        if count >= max {
            let (limit, oldest) =
                (Limit::SessionHandles, oldest(self.host_pid, session.live.iter().copied()));
            return Err(LaunchError::LimitReached { limit, max, count, leased: 0, oldest });
        }
        let (count, max) = (self.live, self.limits.handles);
        if count >= max {
            let oldest = oldest(self.host_pid, self.alive().map(|(n, _)| n));
            return Err(LaunchError::LimitReached { limit: Limit::Handles, max, count, leased: 0, oldest });
        }
        let n = next_n();
        self.last_n = n;
        self.live += 1;
        if let Some(session) = self.sessions.get_mut(id) {
            session.live.insert(n);
            session.keys.extend(request.launch_key.iter().map(|key| (key.clone(), n)));
        }
        let append = self.journaled.then(|| {
            self.appends += 1;
            self.appends
        });
        self.asked = append.unwrap_or(0);
        self.handles.insert(
            n,
            Handle {
                session_id: id.clone(),
                state: State::Launching { calls: vec![(call, result_within_ms)] },
                request: request.clone(),
                waiting: Vec::new(),
                input: Input::of(request),
                notify: false,
                recovered: false,
                unread: false,
                command_id: None,
                asked: self.asked,
                start_ticks: None,
            },
        );
        self.waiting.insert(call, n);
        Ok(vec![Effect::Spawn { n, request: request.clone(), append }])
    }

    /// It is being started, under this name.
    pub(crate) fn spawned(&mut self, command_id: CommandId) {
        if let Some(handle) = self.handles.get_mut(&command_id.n) {
            handle.command_id = Some(command_id);
        }
    }

    pub(crate) fn launched(&mut self, n: u64, record: Shared, start_ticks: Option<u64>) -> Effects {
        let Some(handle) = self.handles.get_mut(&n) else { return Vec::new() };
        handle.start_ticks = start_ticks;
        match std::mem::replace(&mut handle.state, State::Live(record.clone())) {
            State::Launching { calls } => {
                let (mut effects, after) = (Effects::new(), Some(handle.asked));
                for (call, within) in calls {
                    self.waiting.remove(&call);
                    effects.extend(match within {
                        None => vec![reply_after(after, call, Ok(Answer::Launched(record.clone())))],
                        within => self.wait_for_result(call, n, within, Want::Result),
                    });
                }
                effects
            }
            other => {
                handle.state = other;
                Vec::new()
            }
        }
    }

    pub(crate) fn launch_failed(&mut self, n: u64, mut error: LaunchError) -> Effects {
        let launching = self.handles.get(&n).is_some_and(|h| matches!(h.state, State::Launching { .. }));
        let Some(handle) = launching.then(|| self.handles.remove(&n)).flatten() else { return Vec::new() };
        self.remove_key(n, &handle);
        if let LaunchError::LimitReached { limit: Limit::SessionOutputBytes, oldest: named, .. } = &mut error
        {
            let of_session = self.handles.iter().filter(|(_, other)| other.session_id == handle.session_id);
            *named = oldest(self.host_pid, of_session.map(|(n, _)| *n));
        }
        let State::Launching { calls } = handle.state else { return Vec::new() };
        let mut effects = Effects::new();
        for (call, _) in calls {
            self.waiting.remove(&call);
            effects.push(Effect::Reply(call, Err(Refusal::Launch(error.clone()))));
        }
        if let Some(session) = self.sessions.get_mut(&handle.session_id) {
            session.tally.undone += u64::from(session.ending);
        }
        if let Some(command_id) = handle.command_id {
            self.append(|| Row::Undone { command_id }, &mut effects);
        }
        effects.push(Effect::Remove { n });
        self.one_less(n, &handle.session_id, &mut effects);
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
            State::Kept(record) => {
                let leftovers = record.leftovers.clone();
                effects.extend(self.released(n, leftovers));
            }
            State::Finished(_) => return Vec::new(),
        }
        effects
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = (u64, &Handle)> {
        self.handles.iter().filter(|(_, h)| !matches!(h.state, State::Finished(_))).map(|(n, h)| (*n, h))
    }

    /// A handle has ended, its leftovers too. Its record stays for those who ask late, and its launch key as long: until its result
    /// is read, and so many others have come to that point after it.
    pub(super) fn remove(&mut self, n: u64, session_id: &SessionId, effects: &mut Effects) {
        effects.extend(self.input_is_over(n));
        effects.push(Effect::Remove { n });
        self.keep_for_replay(n, effects);
        self.one_less(n, session_id, effects);
    }

    /// The results of these handles are read, or discarded.
    pub(crate) fn results_gone(&mut self, handle_ids: &[HandleId]) -> Effects {
        let mut effects = Effects::new();
        for handle_id in handle_ids {
            if self.past.handles.contains_key(handle_id) {
                self.past_result_gone(*handle_id, &mut effects);
            } else if let Some(handle) = self.handles.get_mut(&handle_id.n) {
                handle.unread = false;
                self.keep_for_replay(handle_id.n, &mut effects);
            }
        }
        effects
    }

    /// One that has finished and is read is forgotten now.
    pub(crate) fn forget(&mut self, call: CallId, handle_id: HandleId) -> Effects {
        let refused = match self.known(handle_id) {
            // That is what was asked for.
            Err(CallError::HandleForgotten { .. }) => return vec![Effect::Reply(call, Ok(Answer::Done))],
            Err(error) => Some(error),
            Ok(Handle { unread: true, .. }) => Some(CallError::HandleUnread { handle_id }),
            Ok(Handle { state: State::Finished(_), .. }) => None,
            Ok(_) => Some(CallError::HandleRuns { handle_id }),
        };
        if let Some(error) = refused {
            return vec![refuse(call, error)];
        }
        let mut effects = Effects::new();
        if self.past.handles.contains_key(&handle_id) {
            self.forget_past(handle_id, &mut effects);
        } else {
            self.finished.retain(|n| *n != handle_id.n);
            self.forget_handle(handle_id.n, &mut effects);
        }
        effects.push(Effect::Reply(call, Ok(Answer::Done)));
        effects
    }
    fn forget_handle(&mut self, n: u64, effects: &mut Effects) {
        let Some(handle) = self.handles.remove(&n) else { return };
        self.remove_key(n, &handle);
        let command_ids = handle.command_id.into_iter().collect();
        self.append(|| Row::Forgotten { command_ids }, effects);
    }

    /// One that has finished and is read can be forgotten when enough others can be.
    fn keep_for_replay(&mut self, n: u64, effects: &mut Effects) {
        let over = |handle: &Handle| !handle.unread && matches!(handle.state, State::Finished(_));
        if !self.handles.get(&n).is_some_and(over) {
            return;
        }
        self.finished.push_back(n);
        while self.finished.len() as u64 > self.limits.replay_results {
            if let Some(oldest) = self.finished.pop_front() {
                self.forget_handle(oldest, effects);
            }
        }
    }

    pub(super) fn one_less(&mut self, n: u64, session_id: &SessionId, effects: &mut Effects) {
        self.live -= 1;
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.live.remove(&n);
            if session.ending && session.live.is_empty() {
                let discard = session.discard;
                self.close_queue(session_id, discard, effects);
            }
        }
        if self.host_gone {
            self.check_stopped(effects);
        }
    }

    /// Whatever is finished, read and not kept for those who ask late is nobody's any more.
    pub(crate) fn retention_due(&self) -> Effects {
        let (but, past) = (self.handles.keys().copied().collect(), self.past.command_ids().collect());
        vec![Effect::Retain { up_to: self.last_n, but, past }]
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

/// Of these handles, which are in the order of their launches, the first.
fn oldest(host_pid: u32, ns: impl Iterator<Item = u64>) -> Vec<HandleId> {
    ns.take(OLDEST_HANDLES).map(|n| HandleId { host_pid, n }).collect()
}
