//! All sessions' entries, as a pure data structure: each operation returns what has to be done about it.

use crate::{
    Limits, PUSH_MAX_BYTES,
    limits::pushed_bytes,
    room::{Room, Want, reply},
};
use ostler_messages::{
    Answer, CallError, CallId, Crowded, Drain, HandleId, Limit, Pending, Push, PutBack, Record, Refusal,
    Reply, RoomClosed, SessionId, Stamp, TOOL_PROGRESS, TOOL_RESULT, Wait,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[cfg(test)]
mod model;
#[cfg(test)]
mod naive;
#[cfg(test)]
pub(crate) mod tests;

/// Sources with this prefix are ostler's own.
const RESERVED_SOURCES: &str = "ostler.";

/// What the mailroom wants done, in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a call. Each call is answered once.
    Reply(Reply),
    /// Set the call's timer; when it fires, [`Mailroom::expire`].
    Arm {
        /// Who waits.
        call: CallId,
        /// From now.
        after_ms: u64,
    },
    /// Drop the call's timer: it is answered. The timer may have fired already, which does no harm.
    Disarm {
        /// Who waited.
        call: CallId,
    },
    /// Tell the supervisor that the session's room is closed.
    Closed(RoomClosed),
    /// Tell the supervisor to stop launching, or to go on. Only at the change.
    Crowded(Crowded),
}

/// A room for each session.
///
/// The room of an ended session stays until it is empty and is then given up; of the session only its id is remembered, so
/// that reading on finds nothing, instead of being told that there was no such session. Calls on a session that was never
/// opened are refused with [`CallError::SessionUnknown`].
///
/// Adding an entry, and replacing or withdrawing a handle's progress, cost O(log entries + waiters); taking and counting
/// cost one look at each entry of the session.
#[derive(Debug)]
pub struct Mailroom {
    limits: Limits,
    rooms: BTreeMap<SessionId, Room>,
    /// Sessions that have ended. Bounded by the host's limit on sessions, whose ids are never used twice.
    ended: BTreeSet<SessionId>,
    /// In which room a call waits. A call stands here exactly while its timer is armed.
    waiting: BTreeMap<CallId, SessionId>,
    /// Unread results in all rooms.
    unread: usize,
    crowded: bool,
    /// Above every sequence that a room had when it was given up, so that no sequence of a session comes twice if the
    /// room has to be made again. One number for all of them: it needs no memory of past sessions, and a gap is the
    /// smaller evil.
    retired: u64,
}

impl Mailroom {
    /// Without any room.
    pub fn new(limits: Limits) -> Mailroom {
        Mailroom {
            limits,
            rooms: BTreeMap::new(),
            ended: BTreeSet::new(),
            waiting: BTreeMap::new(),
            unread: 0,
            crowded: false,
            retired: 1,
        }
    }

    /// Makes a session's room; nothing if it has one.
    pub fn open(&mut self, session_id: SessionId) {
        self.rooms.entry(session_id.clone()).or_insert_with(|| Room::new(session_id));
    }

    /// The session has ended: pushes are refused from now, unread progress is withdrawn, who waits is answered with
    /// nothing, and the room is given up once it is empty. Always tells [`Effect::Closed`] with the number of unread
    /// results, 0 for a session without a room.
    ///
    /// To be called after the results of the session's handles were delivered.
    pub fn close(&mut self, session_id: &SessionId) -> Vec<Effect> {
        self.ended.insert(session_id.clone());
        let unread = self.rooms.get(session_id).map_or(0, Room::results) as u64;
        let mut effects = vec![Effect::Closed(RoomClosed { session_id: session_id.clone(), unread })];
        effects.extend(self.change(session_id, |room, effects| room.close(effects)).unwrap_or_default());
        effects
    }

    /// Adds a result and withdraws the unread progress of its handle. Never refused: if the room was given up, it is
    /// made again.
    pub fn deliver(&mut self, record: Arc<Record>, at: Stamp) -> Vec<Effect> {
        let (session_id, texts) = (record.session_id.clone(), self.limits.results_with_text);
        self.make_again(&session_id);
        self.change(&session_id, |room, effects| room.deliver(record, at, texts, effects)).unwrap_or_default()
    }

    /// The handle's result went elsewhere: withdraws its unread progress.
    pub fn settle(&mut self, session_id: &SessionId, handle_id: HandleId) -> Vec<Effect> {
        self.change(session_id, |room, _| room.settle(handle_id)).unwrap_or_default()
    }

    /// Adds a progress entry, in place of an unread one of its handle. Dropped if the session has ended. The caller
    /// sends none after the handle's result.
    pub fn progress(&mut self, record: Arc<Record>, at: Stamp) -> Vec<Effect> {
        let session_id = record.session_id.clone();
        self.change(&session_id, |room, effects| room.progress(record, at, effects)).unwrap_or_default()
    }

    /// Adds an entry of the host's own; answers [`Answer::Pushed`] with its sequence.
    ///
    /// Refused with `SessionUnknown`, with `SessionClosed` after the session's end, with `ReservedKind` for the kinds
    /// `tool_result` and `tool_progress` and for sources that begin with `ostler.`, with `ContentTooLarge` over
    /// [`PUSH_MAX_BYTES`], and with `LimitReached` when [`Limits::pushed_entries`] of them are unread.
    pub fn push(&mut self, push: Push, at: Stamp) -> Vec<Effect> {
        let Push { call, session_id, kind, source, content } = push;
        if let Err(error) = self.may_push(&session_id, &kind, &source, &content) {
            return vec![refuse(call, error)];
        }
        let add = |room: &mut Room, effects: &mut Vec<Effect>| {
            let sequence = room.push(&kind, &source, content, at);
            effects.push(reply(call, Answer::Pushed(sequence)));
            room.offer(&[sequence], effects);
        };
        // `may_push` has found the room.
        self.change(&session_id, add).unwrap_or_default()
    }
    fn may_push(
        &self,
        session_id: &SessionId,
        kind: &str,
        source: &str,
        content: &serde_json::Value,
    ) -> Result<(), CallError> {
        let name = || session_id.to_string();
        let room = self.rooms.get(session_id).ok_or_else(|| self.no_room(session_id))?;
        if room.is_closed() {
            return Err(CallError::SessionClosed { session_id: name() });
        }
        // Before the names are looked at: an error repeats them.
        let bytes = pushed_bytes(kind, source, content);
        if bytes > PUSH_MAX_BYTES {
            return Err(CallError::ContentTooLarge { bytes, limit: PUSH_MAX_BYTES });
        }
        if [TOOL_RESULT, TOOL_PROGRESS].contains(&kind) || source.starts_with(RESERVED_SOURCES) {
            return Err(CallError::ReservedKind { kind: kind.to_owned(), source_name: source.to_owned() });
        }
        if room.pushed() >= self.limits.pushed_entries {
            let most = self.limits.pushed_entries as u64;
            return Err(CallError::LimitReached { limit: Limit::PushedEntries, most });
        }
        Ok(())
    }

    /// Takes fitting entries, in order; the others stay, in order. Answers [`Answer::Drained`].
    ///
    /// If none fits and there is time to wait, the answer comes with the first entry that does, or empty when the time
    /// is up or the session ends. After the session's end nothing waits. Refused with `SessionUnknown` if it was never opened.
    pub fn drain(&mut self, drain: Drain) -> Vec<Effect> {
        let Drain { call, session_id, filter, most, wait_ms } = drain;
        let most = most.unwrap_or(usize::MAX);
        let take = |room: &mut Room, effects: &mut Vec<Effect>| {
            let entries = room.take(&filter, most);
            match wait_ms.unwrap_or(0) {
                after_ms if after_ms > 0 && most > 0 && entries.is_empty() && !room.is_closed() => {
                    room.stand(call, filter, Want::Take(most));
                    effects.push(Effect::Arm { call, after_ms });
                }
                _ => effects.push(room.drained(call, entries)),
            }
        };
        let nothing = Answer::Drained { session_id: session_id.clone(), entries: Vec::new() };
        self.change(&session_id, take).unwrap_or_else(|| self.without_room(call, &session_id, nothing))
    }

    /// Answers [`Answer::Waited`] with the number of fitting entries as soon as there is one; with 0 when the time is up
    /// or the session ends. Takes nothing. After the session's end nothing waits. Refused with `SessionUnknown` if it was never opened.
    pub fn wait(&mut self, wait: Wait) -> Vec<Effect> {
        let Wait { call, session_id, filter, timeout_ms } = wait;
        let look = |room: &mut Room, effects: &mut Vec<Effect>| {
            let count = room.count(&filter);
            if count == 0 && timeout_ms > 0 && !room.is_closed() {
                room.stand(call, filter, Want::Count);
                effects.push(Effect::Arm { call, after_ms: timeout_ms });
            } else {
                effects.push(reply(call, Answer::Waited(count)));
            }
        };
        self.change(&session_id, look)
            .unwrap_or_else(|| self.without_room(call, &session_id, Answer::Waited(0)))
    }

    /// The call's timer fired: it is answered with nothing. A call that was answered before needs nothing more.
    pub fn expire(&mut self, call: CallId) -> Vec<Effect> {
        let Some(session_id) = self.waiting.remove(&call) else { return Vec::new() };
        self.change(&session_id, |room, effects| room.expire(call, effects)).unwrap_or_default()
    }

    /// Answers [`Answer::Pending`] with the number of fitting entries. Refused with `SessionUnknown` if it was never opened.
    pub fn pending(&self, pending: &Pending) -> Vec<Effect> {
        let Pending { call, session_id, filter } = pending;
        match self.rooms.get(session_id) {
            Some(room) => vec![reply(*call, Answer::Pending(room.count(filter)))],
            None => self.without_room(*call, session_id, Answer::Pending(0)),
        }
    }

    /// Entries whose taker was gone stand again where their sequence says, and those who wait are served with them.
    ///
    /// Progress is dropped instead if there was newer progress or a result of its handle since, or if the session has
    /// ended. All else is kept: if the room was given up, it is made again. Entries that are there already are ignored.
    pub fn put_back(&mut self, back: PutBack) -> Vec<Effect> {
        let PutBack { session_id, entries } = back;
        if entries.iter().any(|entry| !entry.is_progress()) {
            self.make_again(&session_id);
        }
        let texts = self.limits.results_with_text;
        self.change(&session_id, |room, effects| room.put_back(entries, texts, effects)).unwrap_or_default()
    }

    /// Unread results in all sessions.
    pub fn unread(&self) -> usize {
        self.unread
    }
    /// Whether the session has a room. An ended session has one until it is read to its end.
    pub fn has_room(&self, session_id: &SessionId) -> bool {
        self.rooms.contains_key(session_id)
    }

    /// Why nothing can be put into a session that has no room.
    fn no_room(&self, session_id: &SessionId) -> CallError {
        let name = session_id.to_string();
        match self.ended.contains(session_id) {
            true => CallError::SessionClosed { session_id: name },
            false => CallError::SessionUnknown { session_id: name },
        }
    }

    /// What reading finds there.
    fn without_room(&self, call: CallId, session_id: &SessionId, nothing: Answer) -> Vec<Effect> {
        vec![match self.no_room(session_id) {
            CallError::SessionClosed { .. } => reply(call, nothing),
            error => refuse(call, error),
        }]
    }

    fn make_again(&mut self, session_id: &SessionId) {
        if !self.rooms.contains_key(session_id) {
            self.rooms.insert(session_id.clone(), Room::again(session_id.clone(), self.retired));
        }
    }

    /// Does the work in the session's room and what follows from it for all rooms; `None` if there is no such room.
    fn change(
        &mut self,
        session_id: &SessionId,
        work: impl FnOnce(&mut Room, &mut Vec<Effect>),
    ) -> Option<Vec<Effect>> {
        let mut effects = Vec::new();
        let room = self.rooms.get_mut(session_id)?;
        let before = room.results();
        work(room, &mut effects);
        self.unread = self.unread - before + room.results();
        if room.is_done() {
            self.retired = self.retired.max(room.next());
            self.rooms.remove(session_id);
        }
        for effect in &effects {
            match effect {
                Effect::Arm { call, .. } => drop(self.waiting.insert(*call, session_id.clone())),
                Effect::Disarm { call } => drop(self.waiting.remove(call)),
                Effect::Reply(_) | Effect::Closed(_) | Effect::Crowded(_) => {}
            }
        }
        effects.extend(self.crowd());
        Some(effects)
    }
    /// Two thresholds, so that a host that reads one result at a time does not flip it with each.
    fn crowd(&mut self) -> Option<Effect> {
        let limit = self.limits.unread_results.max(1);
        let crowded = if self.crowded { self.unread > limit / 2 } else { self.unread >= limit };
        (crowded != self.crowded).then(|| {
            self.crowded = crowded;
            Effect::Crowded(Crowded { crowded })
        })
    }
}

fn refuse(call: CallId, error: CallError) -> Effect {
    Effect::Reply(Reply { call, answer: Err(Refusal::Call(error)) })
}
