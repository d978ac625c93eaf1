//! Who is who: sessions, their handles, and the calls that wait for them, as a pure structure.
//!
//! Every method takes one event and returns what is to be done about it. What each handle's result comes to is decided
//! here and nowhere else: to those who cancelled it and wait, or to the inbox; exactly once.

use crate::config::Limits;
use ostler_messages::{
    Answer, CallError, CallId, Cause, HandleId, LaunchError, LaunchRequest, Limit, Refusal,
    SESSION_ID_MAX_BYTES, SessionId, Shared, Status, Tally,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Results that a late `Cancel` can still ask for keep their inline text up to this many bytes; longer ones are
/// reloaded from `result.json`. It bounds the store at 256 KiB of text.
const REPLAY_TEXT_BYTES: usize = 1_024;

/// Ids of ended sessions that are remembered, if the host chose them (about 200 bytes each: 13 MiB). Those that ostler made
/// cost nothing: their numbers say it.
const ENDED_IDS: usize = 65_536;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Reply(CallId, Result<Answer, Refusal>),
    /// The answer to a call that opened an anonymous session. It is leased: if the caller is gone before it has the
    /// session's name, nobody knows it, and the session is ended.
    ReplyOpened(CallId, SessionId),
    OpenQueue(SessionId),
    CloseQueue {
        session_id: SessionId,
        discard: bool,
    },
    /// The inbox refuses it: it knows how many results are unread, and how many of them are leased.
    RefuseLaunch {
        call: CallId,
        session_id: SessionId,
    },
    /// The graph is about to end: the inbox answers with what nobody has taken.
    DiscardAll,
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
enum State {
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
    state: State,
    launch_key: Option<String>,
    /// Cancels that wait for the result.
    waiting: Vec<CallId>,
    notify: bool,
    recovered: bool,
}

/// A session that is open, or ending.
#[derive(Clone, Debug, Default)]
struct Session {
    /// No launch is taken any more.
    ending: bool,
    /// At its end its unread entries are not kept.
    discard: bool,
    end_calls: Vec<CallId>,
    /// Launching, live and kept handles.
    live: BTreeSet<u64>,
    /// So many results are unread that nothing is launched.
    launches_paused: bool,
    tally: Tally,
    keys: BTreeMap<String, u64>,
}

/// Ids of sessions that have ended, so that they are not used again and reading on finds nothing instead of an error.
#[derive(Clone, Debug, Default)]
struct EndedIds {
    /// Those that a host chose; the newest [`ENDED_IDS`].
    named: BTreeSet<SessionId>,
    oldest_first: VecDeque<SessionId>,
}
impl EndedIds {
    fn insert(&mut self, id: SessionId) {
        if self.named.insert(id.clone()) {
            self.oldest_first.push_back(id);
        }
        while self.oldest_first.len() > ENDED_IDS {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.named.remove(&oldest);
            }
        }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    limits: Limits,
    host_pid: u32,
    /// Texts are on disk too, so that they may be left out of what is kept for replay.
    texts_on_disk: bool,
    sessions: BTreeMap<SessionId, Session>,
    ended: EndedIds,
    /// Sessions that have ended and whose entries are not all taken.
    unread_sessions: u64,
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
    /// Of all sessions that have ended.
    tally: Tally,
    shutdown_calls: Vec<CallId>,
    shutting_down: bool,
    host_gone: bool,
}

impl Registry {
    pub(crate) fn new(limits: Limits, host_pid: u32, texts_on_disk: bool) -> Registry {
        Registry {
            limits,
            host_pid,
            texts_on_disk,
            sessions: BTreeMap::new(),
            ended: EndedIds::default(),
            unread_sessions: 0,
            handles: BTreeMap::new(),
            finished: VecDeque::new(),
            timed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            opening: BTreeMap::new(),
            live: 0,
            anonymous: 0,
            tally: Tally::default(),
            shutdown_calls: Vec::new(),
            shutting_down: false,
            host_gone: false,
        }
    }

    pub(crate) fn open(&mut self, call: CallId, asked: Option<SessionId>) -> Effects {
        let refuse = |error| vec![Effect::Reply(call, Err(Refusal::Call(error)))];
        if self.sessions.len() as u64 + self.unread_sessions >= self.limits.sessions {
            let (limit, most) = (Limit::Sessions, self.limits.sessions);
            return refuse(CallError::LimitReached { limit, most, leased: 0 });
        }
        let anonymous = asked.is_none();
        let session_id = match asked {
            Some(id) => {
                let bytes = id.as_str().len();
                if bytes == 0 || bytes > SESSION_ID_MAX_BYTES {
                    return refuse(CallError::SessionIdLength { bytes, limit: SESSION_ID_MAX_BYTES });
                }
                if self.sessions.contains_key(&id) || self.has_ended(&id) {
                    return refuse(CallError::SessionReused { session_id: id.to_string() });
                }
                id
            }
            None => loop {
                self.anonymous += 1;
                let id = anonymous_id(self.host_pid, self.anonymous);
                if !self.sessions.contains_key(&id) && !self.ended.named.contains(&id) {
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
        let has_ended = self.has_ended(id);
        let session = self.sessions.get_mut(id).filter(|session| !session.ending);
        let session = session.ok_or_else(|| match has_ended {
            true => LaunchError::SessionClosed { session_id: id.to_string() },
            false => LaunchError::SessionUnknown { session_id: id.to_string() },
        })?;
        let twin = request.launch_key.as_ref().and_then(|key| session.keys.get(key)).copied();
        if let Some((n, handle)) = twin.and_then(|n| self.handles.get_mut(&n).map(|handle| (n, handle))) {
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
        let check = |limit, count: u64, most: u64| match count >= most {
            true => Err(LaunchError::LimitReached { limit, most, leased: 0 }),
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
        match std::mem::replace(&mut handle.state, State::Live(record.clone())) {
            State::Launching { calls } => {
                self.waiting.retain(|call, _| !calls.contains(call));
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
        self.forget_key(&handle);
        let State::Launching { calls } = handle.state else { return Vec::new() };
        self.waiting.retain(|call, _| !calls.contains(call));
        let refusal = |call| Effect::Reply(call, Err(Refusal::Launch(error.clone())));
        let mut effects: Effects = calls.into_iter().map(refusal).collect();
        if let Some(session) = self.sessions.get_mut(&handle.session_id) {
            session.tally.undone += u64::from(session.ending);
        }
        effects.push(Effect::Retire { n });
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
        let stored = if self.texts_on_disk { for_replay(&record) } else { record.clone() };
        handle.state = if kept { State::Kept(stored) } else { State::Finished(stored) };
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
        let State::Kept(record) = &handle.state else { return effects };
        handle.state = State::Finished(record.clone());
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

    /// A sleep is over; or a cancel has waited long enough, and gets what is known.
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
        let mut effects: Effects =
            self.timed.remove(&call).map(|_| Effect::DisarmCall(call)).into_iter().collect();
        if let Some(session_id) = self.opening.remove(&call) {
            self.begin_end(&session_id, true, &mut effects);
        }
        effects
    }

    fn waits_no_more(&mut self, call: CallId) {
        if let Some(handle) = self.waiting.remove(&call).and_then(|n| self.handles.get_mut(&n)) {
            handle.waiting.retain(|waiting| *waiting != call);
            if let State::Launching { calls } = &mut handle.state {
                calls.retain(|waiting| *waiting != call);
            }
        }
    }

    pub(crate) fn list(&self, call: CallId, session_id: &SessionId) -> Effects {
        let answer = match self.sessions.get(session_id) {
            None if self.has_ended(session_id) => Ok(Answer::Listed(Vec::new())),
            None => Err(CallError::SessionUnknown { session_id: session_id.to_string() }.into()),
            Some(session) => {
                let handles = session.live.iter().filter_map(|n| self.handles.get(n));
                let live = handles.filter_map(|handle| match &handle.state {
                    State::Live(record) => Some(record.clone()),
                    _ => None,
                });
                Ok(Answer::Listed(live.collect()))
            }
        };
        vec![Effect::Reply(call, answer)]
    }

    /// A session has no queue in the inbox: it has ended, and there is nothing to read; or there is no such session.
    pub(crate) fn no_queue(&self, call: CallId, session_id: &SessionId, nothing: Option<Answer>) -> Effects {
        let id = session_id.to_string();
        let answer = match (self.has_ended(session_id), nothing) {
            (true, Some(nothing)) => Ok(nothing),
            (true, None) => Err(CallError::SessionClosed { session_id: id }.into()),
            (false, _) => Err(CallError::SessionUnknown { session_id: id }.into()),
        };
        vec![Effect::Reply(call, answer)]
    }

    /// Whether a session of this id is ending or has ended, as far as that is remembered.
    fn has_ended(&self, id: &SessionId) -> bool {
        if let Some(session) = self.sessions.get(id) {
            return session.ending;
        }
        self.ended.named.contains(id) || self.is_anonymous(id)
    }
    /// Whether this graph made the id itself.
    fn is_anonymous(&self, id: &SessionId) -> bool {
        let n = id.as_str().strip_prefix("session-").and_then(|rest| rest.split_once('-'));
        let n = n.and_then(|(_, n)| n.parse::<u64>().ok());
        n.is_some_and(|n| (1..=self.anonymous).contains(&n) && anonymous_id(self.host_pid, n) == *id)
    }

    pub(crate) fn end(&mut self, call: CallId, session_id: &SessionId, discard: bool) -> Effects {
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.end_calls.push(call);
            let mut effects = Effects::new();
            self.begin_end(session_id, discard, &mut effects);
            return effects;
        }
        let id = session_id.to_string();
        let error = match self.has_ended(session_id) {
            true => CallError::SessionClosed { session_id: id },
            false => CallError::SessionUnknown { session_id: id },
        };
        vec![Effect::Reply(call, Err(error.into()))]
    }

    pub(crate) fn shutdown(&mut self, call: CallId) -> Effects {
        let mut effects = Effects::new();
        self.shutdown_calls.push(call);
        if !std::mem::replace(&mut self.shutting_down, true) {
            let ids: Vec<SessionId> = self.sessions.keys().cloned().collect();
            ids.iter().for_each(|id| self.begin_end(id, false, &mut effects));
            self.check_stopped(&mut effects);
        }
        effects
    }

    pub(crate) fn host_gone(&mut self) -> Effects {
        self.shutting_down = true;
        self.host_gone = true;
        let mut effects: Effects =
            self.alive().map(|(n, _)| Effect::Stop { n, cause: Cause::HostGone }).collect();
        self.check_stopped(&mut effects);
        effects
    }

    /// The inbox has closed the queue of a session whose handles have all ended.
    pub(crate) fn queue_closed(&mut self, session_id: SessionId, unread: u64, kept: bool) -> Effects {
        let mut effects = Effects::new();
        let Some(mut session) = self.sessions.remove(&session_id) else { return effects };
        self.unread_sessions += u64::from(kept);
        session.tally.unread = unread;
        self.tally.add(session.tally);
        let answer = Answer::Ended(session.tally);
        let calls = session.end_calls.into_iter();
        effects.extend(calls.map(|call| Effect::Reply(call, Ok(answer.clone()))));
        if !self.is_anonymous(&session_id) {
            self.ended.insert(session_id);
        }
        self.check_stopped(&mut effects);
        effects
    }

    /// The last entry of a session that has ended is taken.
    pub(crate) fn queue_emptied(&mut self) {
        self.unread_sessions = self.unread_sessions.saturating_sub(1);
    }

    pub(crate) fn launches_paused(&mut self, session_id: &SessionId, paused: bool) {
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.launches_paused = paused;
        }
    }

    /// The inbox keeps nothing any more: the graph can end.
    pub(crate) fn discarded(&mut self, unread: u64) -> Effects {
        let answer = Answer::Stopped(Tally { unread, ..self.tally });
        let calls = std::mem::take(&mut self.shutdown_calls);
        let replies = calls.into_iter().map(|call| Effect::Reply(call, Ok(answer.clone())));
        replies.chain([Effect::Over]).collect()
    }

    /// The actor of a process crashed.
    pub(crate) fn down(&mut self, n: u64) -> Effects {
        let Some(handle) = self.handles.get_mut(&n) else { return Vec::new() };
        let undo = matches!(handle.state, State::Launching { .. });
        let mut effects = vec![Effect::Abandon { n, undo }];
        match &handle.state {
            State::Launching { .. } => effects.extend(self.launch_failed(n, LaunchError::Crashed)),
            State::Live(_) if !handle.recovered => {
                handle.recovered = true;
                return vec![Effect::Recover { n }];
            }
            // The one that took over crashed too: there is nobody left to ask what became of it.
            State::Live(record) => {
                let mut lost = (**record).clone();
                lost.status = Status::Lost;
                lost.exit_code = Some(-1);
                effects.extend(self.finished(n, lost.into(), false));
            }
            State::Kept(_) => effects.extend(self.released(n)),
            State::Finished(_) => return Vec::new(),
        }
        effects
    }

    fn alive(&self) -> impl Iterator<Item = (u64, &Handle)> {
        self.handles.iter().filter(|(_, h)| !matches!(h.state, State::Finished(_))).map(|(n, h)| (*n, h))
    }

    /// Stops everything in a session; the first one that ends it decides whether its unread entries are kept.
    fn begin_end(&mut self, id: &SessionId, discard: bool, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.ending) else { return };
        (session.ending, session.discard) = (true, discard);
        effects.extend(session.live.iter().map(|n| Effect::Stop { n: *n, cause: Cause::SessionEnded }));
        if session.live.is_empty() {
            effects.push(Effect::CloseQueue { session_id: id.clone(), discard });
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
        self.one_less(n, session_id, effects);
    }

    fn one_less(&mut self, n: u64, session_id: &SessionId, effects: &mut Effects) {
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

    /// Ends the graph if nothing is left to wait for.
    fn check_stopped(&mut self, effects: &mut Effects) {
        if self.host_gone {
            // Nobody is left to be told what was unread.
            effects.extend((self.live == 0).then_some(Effect::Over));
        } else if self.shutting_down && self.sessions.is_empty() {
            effects.push(Effect::DiscardAll);
        }
    }

    fn forget_key(&mut self, handle: &Handle) {
        if let (Some(key), Some(session)) = (&handle.launch_key, self.sessions.get_mut(&handle.session_id)) {
            session.keys.remove(key);
        }
    }
}

fn anonymous_id(host_pid: u32, n: u64) -> SessionId {
    SessionId::new(format!("session-{host_pid:x}-{n}"))
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
mod walk;
