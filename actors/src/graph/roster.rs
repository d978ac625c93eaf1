//! Who is who: sessions, their handles, and the calls that wait for them, as a pure structure.
//!
//! Every method takes one event and returns what is to be done about it. What each handle's result comes to is decided
//! here and nowhere else: to those who cancelled it and wait, or to the inbox; exactly once.

use crate::host::Limits;
use ostler_messages::{
    Answer, CallError, CallId, Cause, HandleId, LaunchError, LaunchRequest, Limit, Refusal,
    SESSION_ID_MAX_BYTES, SessionId, Shared, Status, Tally,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Results that a late `Cancel` can still ask for keep their inline text up to this many bytes; longer ones are
/// reloaded from `result.json`. It bounds the store at 256 KiB of text.
const REPLAY_TEXT_BYTES: usize = 1_024;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Reply(CallId, Result<Answer, Refusal>),
    /// The answer to a call that opened an anonymous session. It is leased: if the caller is gone before it has the
    /// session's name, nobody knows it, and the session is ended.
    ReplyOpened(CallId, SessionId),
    OpenQueue(SessionId),
    CloseQueue(SessionId),
    /// The result, to those who cancelled and wait; to the session's queue if there is none.
    Deliver {
        record: Shared,
        to: Vec<CallId>,
    },
    Spawn {
        n: u64,
        request: Arc<LaunchRequest>,
    },
    Stop {
        n: u64,
        cause: Cause,
    },
    /// Its actor crashed: another one takes over and kills it.
    Recover {
        n: u64,
    },
    /// Its actor crashed, and nobody takes over: the kernel kills and forgets it; a launch is undone.
    Abandon {
        n: u64,
        undo: bool,
    },
    /// Nothing comes from this process any more.
    Retire {
        n: u64,
    },
    ArmCall {
        call: CallId,
        after_ms: u64,
    },
    DisarmCall(CallId),
    Over,
}
type Effects = Vec<Effect>;

#[derive(Clone, Debug, PartialEq)]
enum Stand {
    Launching {
        calls: Vec<CallId>,
    },
    Live(Shared),
    /// The result is out, leftovers live on.
    Kept(Shared),
    Finished(Shared),
}

#[derive(Clone, Debug)]
struct Handle {
    session_id: SessionId,
    stand: Stand,
    launch_key: Option<String>,
    /// Cancels that wait for the result.
    waiting: Vec<CallId>,
    notify: bool,
    recovered: bool,
}

#[derive(Clone, Debug, Default)]
struct Session {
    /// No launch is taken any more.
    ending: bool,
    /// All is over; only the id is remembered, so that it is never used again.
    ended: bool,
    end_calls: Vec<CallId>,
    /// Launching, live and kept handles.
    live: u64,
    tally: Tally,
    keys: BTreeMap<String, u64>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    limits: Limits,
    host_pid: u32,
    /// Texts are on disk too, so that they may be left out of what is kept for replay.
    texts_on_disk: bool,
    sessions: BTreeMap<SessionId, Session>,
    handles: BTreeMap<u64, Handle>,
    /// Finished handles, oldest first.
    finished: VecDeque<u64>,
    /// Calls with a timer: cancels that wait for a limited time, with their handle, and sleeps.
    timed: BTreeMap<CallId, Option<u64>>,
    /// Launches that wait for their start and cancels that wait for a result, with their handle.
    waiting: BTreeMap<CallId, u64>,
    /// Callers that do not have the name of their anonymous session yet.
    opening: BTreeMap<CallId, SessionId>,
    live: u64,
    anonymous: u64,
    launches_paused: bool,
    shutdown_calls: Vec<CallId>,
    shutting_down: bool,
    host_gone: bool,
}

impl Roster {
    pub(crate) fn new(limits: Limits, host_pid: u32, texts_on_disk: bool) -> Roster {
        Roster {
            limits,
            host_pid,
            texts_on_disk,
            sessions: BTreeMap::new(),
            handles: BTreeMap::new(),
            finished: VecDeque::new(),
            timed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            opening: BTreeMap::new(),
            live: 0,
            anonymous: 0,
            launches_paused: false,
            shutdown_calls: Vec::new(),
            shutting_down: false,
            host_gone: false,
        }
    }

    pub(crate) fn open(&mut self, call: CallId, asked: Option<SessionId>) -> Effects {
        let refuse = |error| vec![Effect::Reply(call, Err(Refusal::Call(error)))];
        if self.sessions.len() as u64 >= self.limits.sessions {
            return refuse(CallError::LimitReached { limit: Limit::Sessions, most: self.limits.sessions });
        }
        let anonymous = asked.is_none();
        let session_id = match asked {
            Some(id) => {
                let bytes = id.as_str().len();
                if bytes == 0 || bytes > SESSION_ID_MAX_BYTES {
                    return refuse(CallError::SessionIdLength { bytes, limit: SESSION_ID_MAX_BYTES });
                }
                if self.sessions.contains_key(&id) {
                    return refuse(CallError::SessionReused { session_id: id.to_string() });
                }
                id
            }
            None => loop {
                self.anonymous += 1;
                let id = SessionId::new(format!("session-{:x}-{}", self.host_pid, self.anonymous));
                if !self.sessions.contains_key(&id) {
                    break id;
                }
            },
        };
        if self.shutting_down {
            return refuse(CallError::SessionClosed { session_id: session_id.to_string() });
        }
        self.sessions.insert(session_id.clone(), Session::default());
        let opened = if anonymous {
            self.opening.insert(call, session_id.clone());
            Effect::ReplyOpened(call, session_id.clone())
        } else {
            Effect::Reply(call, Ok(Answer::Opened(session_id.clone())))
        };
        vec![Effect::OpenQueue(session_id), opened]
    }

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

    fn try_launch(
        &mut self,
        call: CallId,
        request: &Arc<LaunchRequest>,
        next_n: impl FnOnce() -> u64,
    ) -> Result<Effects, LaunchError> {
        request.validate()?;
        let id = &request.session_id;
        let session = self
            .sessions
            .get_mut(id)
            .ok_or_else(|| LaunchError::SessionUnknown { session_id: id.to_string() })?;
        if session.ending {
            return Err(LaunchError::SessionClosed { session_id: id.to_string() });
        }
        let twin = request.launch_key.as_ref().and_then(|key| session.keys.get(key)).copied();
        if let Some((n, handle)) = twin.and_then(|n| self.handles.get_mut(&n).map(|handle| (n, handle))) {
            return Ok(match &mut handle.stand {
                Stand::Launching { calls } => {
                    calls.push(call);
                    self.waiting.insert(call, n);
                    Vec::new()
                }
                Stand::Live(record) | Stand::Kept(record) | Stand::Finished(record) => {
                    vec![Effect::Reply(call, Ok(Answer::Launched(record.clone())))]
                }
            });
        }
        let check = |limit, count: u64, most: u64| match count >= most {
            true => Err(LaunchError::LimitReached { limit, most }),
            false => Ok(()),
        };
        if self.launches_paused {
            let (limit, most) = (Limit::UnreadResults, self.limits.unread_results);
            return Err(LaunchError::LimitReached { limit, most });
        }
        check(Limit::SessionHandles, session.live, self.limits.session_handles)?;
        check(Limit::Handles, self.live, self.limits.handles)?;
        let n = next_n();
        session.live += 1;
        self.live += 1;
        if let Some(key) = &request.launch_key {
            session.keys.insert(key.clone(), n);
        }
        self.handles.insert(
            n,
            Handle {
                session_id: id.clone(),
                stand: Stand::Launching { calls: vec![call] },
                launch_key: request.launch_key.clone(),
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
        match std::mem::replace(&mut handle.stand, Stand::Live(record.clone())) {
            Stand::Launching { calls } => {
                self.waiting.retain(|call, _| !calls.contains(call));
                let answer = |call| Effect::Reply(call, Ok(Answer::Launched(record.clone())));
                calls.into_iter().map(answer).collect()
            }
            other => {
                handle.stand = other;
                Vec::new()
            }
        }
    }

    pub(crate) fn launch_failed(&mut self, n: u64, error: LaunchError) -> Effects {
        let launching = self.handles.get(&n).is_some_and(|h| matches!(h.stand, Stand::Launching { .. }));
        let Some(handle) = launching.then(|| self.handles.remove(&n)).flatten() else { return Vec::new() };
        self.forget_key(&handle);
        let Stand::Launching { calls } = handle.stand else { return Vec::new() };
        self.waiting.retain(|call, _| !calls.contains(call));
        let refusal = |call| Effect::Reply(call, Err(Refusal::Launch(error.clone())));
        let mut effects: Effects = calls.into_iter().map(refusal).collect();
        if let Some(session) = self.sessions.get_mut(&handle.session_id) {
            session.tally.undone += u64::from(session.ending);
        }
        effects.push(Effect::Retire { n });
        self.one_less(&handle.session_id, &mut effects);
        effects
    }

    /// The result. From here it goes to whoever cancelled and waits, or to the inbox.
    pub(crate) fn finished(&mut self, n: u64, record: Shared, kept: bool) -> Effects {
        let mut effects = Effects::new();
        let Some(handle) = self.handles.get_mut(&n) else { return effects };
        if !matches!(handle.stand, Stand::Live(_)) {
            return effects;
        }
        let stored = if self.texts_on_disk { for_replay(&record) } else { record.clone() };
        handle.stand = if kept { Stand::Kept(stored) } else { Stand::Finished(stored) };
        let waiting = std::mem::take(&mut handle.waiting);
        let notify = handle.notify;
        let handle = handle.clone();
        self.forget_key(&handle);
        if let Some(session) = self.sessions.get_mut(&handle.session_id) {
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
            self.retire(n, &handle.session_id, &mut effects);
        }
        effects
    }

    pub(crate) fn released(&mut self, n: u64) -> Effects {
        let mut effects = Effects::new();
        let Some(handle) = self.handles.get_mut(&n) else { return effects };
        let Stand::Kept(record) = &handle.stand else { return effects };
        handle.stand = Stand::Finished(record.clone());
        let session_id = handle.session_id.clone();
        self.retire(n, &session_id, &mut effects);
        effects
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
        match &handle.stand {
            // Its id has not been given to anyone yet.
            Stand::Launching { .. } => vec![Effect::Reply(call, unknown)],
            Stand::Kept(record) | Stand::Finished(record) => {
                let answer = Answer::Cancelled { cancelled: false, record: record.clone() };
                vec![Effect::Reply(call, Ok(answer))]
            }
            Stand::Live(record) => {
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

    /// A sleep is over; or a cancel has waited long enough, and gets what is known.
    pub(crate) fn call_timed_out(&mut self, call: CallId) -> Effects {
        let answer = match self.timed.remove(&call) {
            None => return Vec::new(),
            Some(None) => Answer::Slept,
            Some(Some(n)) => {
                self.waits_no_more(call);
                let Some(Stand::Live(record)) = self.handles.get(&n).map(|handle| &handle.stand) else {
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
        let mut effects: Effects =
            self.timed.remove(&call).map(|_| Effect::DisarmCall(call)).into_iter().collect();
        if let Some(session_id) = self.opening.remove(&call) {
            self.begin_end(&session_id, &mut effects);
        }
        effects
    }

    fn waits_no_more(&mut self, call: CallId) {
        if let Some(handle) = self.waiting.remove(&call).and_then(|n| self.handles.get_mut(&n)) {
            handle.waiting.retain(|waiting| *waiting != call);
            if let Stand::Launching { calls } = &mut handle.stand {
                calls.retain(|waiting| *waiting != call);
            }
        }
    }

    pub(crate) fn list(&self, call: CallId, session_id: &SessionId) -> Effects {
        let answer = match self.sessions.get(session_id) {
            None => Err(CallError::SessionUnknown { session_id: session_id.to_string() }.into()),
            Some(_) => {
                let live = self.handles.values().filter(|handle| handle.session_id == *session_id);
                Ok(Answer::Listed(
                    live.filter_map(|handle| match &handle.stand {
                        Stand::Live(record) => Some(record.clone()),
                        _ => None,
                    })
                    .collect(),
                ))
            }
        };
        vec![Effect::Reply(call, answer)]
    }

    pub(crate) fn end(&mut self, call: CallId, session_id: &SessionId) -> Effects {
        let error = match self.sessions.get_mut(session_id) {
            None => CallError::SessionUnknown { session_id: session_id.to_string() },
            Some(session) if session.ended => CallError::SessionClosed { session_id: session_id.to_string() },
            Some(session) => {
                session.end_calls.push(call);
                let mut effects = Effects::new();
                self.begin_end(session_id, &mut effects);
                return effects;
            }
        };
        vec![Effect::Reply(call, Err(error.into()))]
    }

    pub(crate) fn shutdown(&mut self, call: CallId) -> Effects {
        let mut effects = Effects::new();
        self.shutting_down = true;
        self.shutdown_calls.push(call);
        let ids: Vec<SessionId> = self.sessions.keys().cloned().collect();
        for id in &ids {
            self.begin_end(id, &mut effects);
        }
        self.check_over(&mut effects);
        effects
    }

    pub(crate) fn host_gone(&mut self) -> Effects {
        self.shutting_down = true;
        self.host_gone = true;
        let mut effects: Effects =
            self.alive().map(|(n, _)| Effect::Stop { n, cause: Cause::HostGone }).collect();
        self.check_over(&mut effects);
        effects
    }

    /// The inbox has closed the queue of a session whose handles are all over.
    pub(crate) fn queue_closed(&mut self, session_id: &SessionId, unread: u64) -> Effects {
        let mut effects = Effects::new();
        let Some(session) = self.sessions.get_mut(session_id).filter(|session| session.ending) else {
            return effects;
        };
        session.ended = true;
        session.tally.unread = unread;
        let answer = Answer::Ended(session.tally);
        let calls = std::mem::take(&mut session.end_calls);
        effects.extend(calls.into_iter().map(|call| Effect::Reply(call, Ok(answer.clone()))));
        self.check_over(&mut effects);
        effects
    }

    pub(crate) fn launches_paused(&mut self, paused: bool) {
        self.launches_paused = paused;
    }

    /// The actor of a process crashed.
    pub(crate) fn down(&mut self, n: u64) -> Effects {
        let Some(handle) = self.handles.get_mut(&n) else { return Vec::new() };
        let undo = matches!(handle.stand, Stand::Launching { .. });
        let mut effects = vec![Effect::Abandon { n, undo }];
        match &handle.stand {
            Stand::Launching { .. } => effects.extend(self.launch_failed(n, LaunchError::Crashed)),
            Stand::Live(_) if !handle.recovered => {
                handle.recovered = true;
                return vec![Effect::Recover { n }];
            }
            // The one that took over crashed too: there is nobody left to ask what became of it.
            Stand::Live(record) => {
                let mut lost = (**record).clone();
                lost.status = Status::Lost;
                lost.exit_code = Some(-1);
                effects.extend(self.finished(n, lost.into(), false));
            }
            Stand::Kept(_) => effects.extend(self.released(n)),
            Stand::Finished(_) => return Vec::new(),
        }
        effects
    }

    fn alive(&self) -> impl Iterator<Item = (u64, &Handle)> {
        self.handles.iter().filter(|(_, h)| !matches!(h.stand, Stand::Finished(_))).map(|(n, h)| (*n, h))
    }

    fn begin_end(&mut self, id: &SessionId, effects: &mut Effects) {
        let stops = |roster: &Roster| -> Effects {
            let ours = roster.alive().filter(|(_, handle)| handle.session_id == *id);
            ours.map(|(n, _)| Effect::Stop { n, cause: Cause::SessionEnded }).collect()
        };
        let stops = stops(self);
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.ending) else { return };
        session.ending = true;
        effects.extend(stops);
        if session.live == 0 {
            effects.push(Effect::CloseQueue(id.clone()));
        }
    }

    /// A handle is over, its leftovers too.
    fn retire(&mut self, n: u64, session_id: &SessionId, effects: &mut Effects) {
        effects.push(Effect::Retire { n });
        self.finished.push_back(n);
        while self.finished.len() as u64 > self.limits.replay_results {
            if let Some(oldest) = self.finished.pop_front() {
                self.handles.remove(&oldest);
            }
        }
        self.one_less(session_id, effects);
    }

    fn one_less(&mut self, session_id: &SessionId, effects: &mut Effects) {
        self.live -= 1;
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.live -= 1;
            if session.ending && session.live == 0 {
                effects.push(Effect::CloseQueue(session_id.clone()));
            }
        }
        if self.host_gone {
            self.check_over(effects);
        }
    }

    fn check_over(&mut self, effects: &mut Effects) {
        let over = match self.host_gone {
            true => self.live == 0,
            false => self.shutting_down && self.sessions.values().all(|session| session.ended),
        };
        if !over {
            return;
        }
        let mut total = Tally::default();
        self.sessions.values().for_each(|session| total.add(session.tally));
        let calls = std::mem::take(&mut self.shutdown_calls);
        effects.extend(calls.into_iter().map(|call| Effect::Reply(call, Ok(Answer::Stopped(total)))));
        effects.push(Effect::Over);
    }

    fn forget_key(&mut self, handle: &Handle) {
        if let (Some(key), Some(session)) = (&handle.launch_key, self.sessions.get_mut(&handle.session_id)) {
            session.keys.remove(key);
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
    if record.text_bytes() <= REPLAY_TEXT_BYTES || record.artifact_error.is_some() {
        return record.clone();
    }
    let mut brief = (**record).clone();
    brief.omit_text();
    brief.into()
}

#[cfg(test)]
#[path = "roster_walk.rs"]
mod walk;
