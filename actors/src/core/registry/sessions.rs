//! Sessions: opened once, ended once, and remembered as far as needed.
//!
//! * in: opening, ending, listing; what the inbox says of a queue
//! * out: effects: open and close queues, stop handles, reply with a tally
//! * keeps: an id is used once; a session ends after its last handle

use super::{
    handles::{Handle, State},
    results::refuse,
    *,
};
use ostler_messages::List;

/// Ids of ended sessions that are remembered, if the host chose them (about 200 bytes each: 13 MiB). Those that ostler made
/// cost nothing: their numbers say it.
pub(super) const ENDED_IDS: usize = 65_536;

/// A session that is open, or ending.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// No launch is taken any more.
    pub(super) ending: bool,
    /// At its end its unread entries are not kept.
    pub(super) discard: bool,
    pub(super) end_calls: Vec<CallId>,
    /// Launching, live and kept handles.
    pub(super) live: BTreeSet<u64>,
    /// So many results are unread that nothing is launched.
    pub(super) launches_paused: bool,
    pub(super) tally: Tally,
    pub(super) keys: BTreeMap<String, u64>,
}

/// Ids of sessions that have ended, so that they are not used again and reading on finds nothing instead of an error.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedIds {
    /// Those that a host chose; the newest [`ENDED_IDS`]. With a journal also the number of its next entry, else 0.
    pub(super) named: BTreeMap<SessionId, u64>,
    pub(super) oldest_first: VecDeque<SessionId>,
}
impl EndedIds {
    /// Returns those that are not remembered any more.
    pub(super) fn insert(&mut self, id: SessionId, next: u64) -> Vec<SessionId> {
        if self.named.insert(id.clone(), next).is_none() {
            self.oldest_first.push_back(id);
        }
        let beyond = self.oldest_first.len().saturating_sub(ENDED_IDS);
        let forgotten: Vec<SessionId> = self.oldest_first.drain(..beyond).collect();
        for oldest in &forgotten {
            self.named.remove(oldest);
        }
        forgotten
    }
}

impl Registry {
    pub(crate) fn open(&mut self, call: CallId, asked: Option<SessionId>) -> Effects {
        let refuse = |error| vec![refuse(call, error)];
        let recovered = |id: &SessionId| self.past.open.contains(id) && !self.shutting_down;
        if let Some(id) = asked.as_ref().filter(|id| recovered(id)) {
            self.past.open.remove(id);
            return vec![Effect::Reply(call, Ok(Answer::Recovered(id.clone())))];
        }
        let count = self.sessions.len() + self.unread_sessions.len() + self.claiming.len();
        // What earlier lives have left is no reason to refuse anything in this one.
        let count = count.saturating_sub(self.past.open.len() + self.past.unread);
        if count as u64 >= self.limits.sessions {
            let (limit, max) = (Limit::Sessions, self.limits.sessions);
            return refuse(CallError::LimitReached { limit, max, leased: 0 });
        }
        let anonymous = asked.is_none();
        let session_id = match asked {
            Some(id) => {
                let bytes = id.as_str().len();
                if bytes == 0 || bytes > SESSION_ID_MAX_BYTES {
                    return refuse(CallError::SessionIdLength { bytes, limit: SESSION_ID_MAX_BYTES });
                }
                let over = self.has_ended(&id) && !self.past.ended.contains_key(&id);
                if self.sessions.contains_key(&id) || self.claiming.contains_key(&id) || over {
                    return refuse(CallError::SessionReused { session_id: id.to_string() });
                }
                id
            }
            None => loop {
                self.anonymous += 1;
                let id = anonymous_id(self.host_pid, self.anonymous);
                if !self.sessions.contains_key(&id) && !self.ended.named.contains_key(&id) {
                    break id;
                }
            },
        };
        if self.shutting_down {
            return refuse(CallError::SessionClosed { session_id: session_id.to_string() });
        }
        if self.journaled && !anonymous {
            self.claiming.insert(session_id.clone(), call);
            return vec![Effect::ClaimSession(session_id)];
        }
        self.sessions.insert(session_id.clone(), Session::default());
        let mut effects = vec![Effect::OpenQueue { session_id: session_id.clone(), next: None }];
        if anonymous {
            self.opening.insert(call, session_id.clone());
            let (opened, anonymous) = (session_id.clone(), Some(self.anonymous));
            let row = || Row::SessionOpened { session_id: opened, anonymous };
            let after = self.append(row, &mut effects);
            effects.push(Effect::ReplyOpened(call, session_id, after));
        } else {
            effects.push(Effect::Reply(call, Ok(Answer::Opened(session_id))));
        }
        effects
    }

    /// Whether a session is this host's own now. It is open then, whether or not anybody waits for that.
    /// `next`: where another host that has had it would go on.
    pub(crate) fn session_claimed(
        &mut self,
        session_id: SessionId,
        held_by: Option<u32>,
        next: Option<u64>,
    ) -> Effects {
        let Some(call) = self.claiming.remove(&session_id) else { return Effects::new() };
        if let Some(pid) = held_by {
            let pid = Some(pid).filter(|pid| *pid > 0);
            return vec![refuse(
                call,
                CallError::SessionElsewhere { session_id: session_id.to_string(), pid },
            )];
        }
        let mut effects = Effects::new();
        if self.shutting_down {
            let error = CallError::SessionClosed { session_id: session_id.to_string() };
            self.append(|| Row::SessionEnded { session_id }, &mut effects);
            effects.push(refuse(call, error));
            self.check_stopped(&mut effects);
            return effects;
        }
        let next = next.max(self.past.ended.remove(&session_id));
        if self.unread_sessions.remove(&session_id) {
            self.past.unread = self.past.unread.saturating_sub(1);
        }
        self.sessions.insert(session_id.clone(), Session::default());
        effects.push(Effect::OpenQueue { session_id: session_id.clone(), next });
        effects.push(Effect::Reply(call, Ok(Answer::Opened(session_id))));
        effects
    }

    /// The handles of a session. Of live ones the kernel is asked first.
    pub(crate) fn list(&mut self, List { call, session_id, finished, labels }: List) -> Effects {
        let unknown = |id: &&SessionId| !self.sessions.contains_key(*id) && !self.has_ended(id);
        if let Some(id) = session_id.as_ref().filter(unknown) {
            return vec![refuse(call, CallError::SessionUnknown { session_id: id.to_string() })];
        }
        let is_of = |of: &SessionId| session_id.as_ref().is_none_or(|id| id == of);
        let of_session = |n: &u64| self.handles.get(n).map(|handle| (*n, handle));
        // Of one session it costs nothing what the others have.
        let one = session_id.as_ref().map(|id| self.sessions.get(id).into_iter().collect::<Vec<_>>());
        let sessions = one.unwrap_or_else(|| self.sessions.values().collect());
        let live = sessions.into_iter().flat_map(|session| &session.live);
        let handles: Vec<(u64, &Handle)> = match finished {
            false => {
                let mut live: Vec<(u64, &Handle)> = live.filter_map(of_session).collect();
                live.sort_by_key(|(n, _)| *n);
                live
            }
            true => {
                let past = self.past.handles.iter().map(|(id, handle)| (id.n, handle));
                let all = past.chain(self.handles.iter().map(|(n, handle)| (*n, handle)));
                all.filter(|(_, handle)| is_of(&handle.session_id)).collect()
            }
        };
        let (mut listed, mut ns) = (Vec::new(), Vec::new());
        let is_meant = |handle: &Handle| {
            labels.iter().all(|(name, value)| handle.request.labels.get(name) == Some(value))
        };
        for (n, handle) in handles.into_iter().filter(|(_, handle)| is_meant(handle)) {
            let (record, kept) = match &handle.state {
                State::Launching { .. } => continue,
                State::Live(record) => {
                    ns.push(n);
                    (record, 0)
                }
                State::Kept(record) => {
                    let kept = record.leftovers.iter().flatten();
                    (record, kept.filter(|leftover| leftover.outcome == Outcome::Kept).count() as u64)
                }
                State::Finished(record) => (record, 0),
            };
            listed.push(Listed {
                record: without_text(record),
                age_ms: None,
                silence_ms: None,
                paused: false,
                kept,
            });
        }
        if ns.is_empty() {
            return vec![reply_after(Some(self.asked), call, Ok(Answer::Listed(listed)))];
        }
        self.listing.insert(call, listed);
        vec![Effect::Survey { call, ns }]
    }

    /// What the kernel has seen of live handles.
    pub(crate) fn surveyed(&mut self, call: CallId, seen: &[SeenProcess]) -> Effects {
        let Some(mut listed) = self.listing.remove(&call) else { return Vec::new() };
        for listed in &mut listed {
            // In the order in which they were asked for: by their numbers.
            let Ok(at) = seen.binary_search_by_key(&listed.record.handle_id.n, |seen| seen.n) else {
                continue;
            };
            listed.age_ms = Some(seen[at].age_ms);
            listed.silence_ms = Some(seen[at].silence_ms);
            listed.paused = seen[at].paused;
        }
        vec![reply_after(Some(self.asked), call, Ok(Answer::Listed(listed)))]
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
    pub(super) fn has_ended(&self, id: &SessionId) -> bool {
        if let Some(session) = self.sessions.get(id) {
            return session.ending;
        }
        self.ended.named.contains_key(id)
            || self.unread_sessions.contains(id)
            || self.past.ended.contains_key(id)
            || self.is_anonymous(id)
    }

    /// Whether this graph made the id itself.
    pub(super) fn is_anonymous(&self, id: &SessionId) -> bool {
        let n = id.as_str().strip_prefix("session-").and_then(|rest| rest.split_once('-'));
        let n = n.and_then(|(_, n)| n.parse::<u64>().ok());
        n.is_some_and(|n| (1..=self.anonymous).contains(&n) && anonymous_id(self.host_pid, n) == *id)
    }

    pub(crate) fn end(&mut self, call: CallId, session_id: &SessionId, discard: bool) -> Effects {
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.end_calls.push(call);
            self.ending.insert(call, session_id.clone());
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
    pub(crate) fn queue_closed(
        &mut self,
        session_id: SessionId,
        unread: u64,
        kept: bool,
        next: Option<u64>,
    ) -> Effects {
        let mut effects = Effects::new();
        let Some(mut session) = self.sessions.remove(&session_id) else { return effects };
        if kept {
            self.unread_sessions.insert(session_id.clone());
        }
        session.tally.unread = unread;
        self.tally.add(session.tally);
        let ended = session_id.clone();
        let after = self.append(|| Row::SessionEnded { session_id: ended }, &mut effects);
        let answer = Answer::Ended(session.tally);
        let calls = session.end_calls.into_iter().inspect(|call| drop(self.ending.remove(call)));
        effects.extend(calls.map(|call| reply_after(after, call, Ok(answer.clone()))));
        self.past.open.remove(&session_id);
        let forgotten = match self.is_anonymous(&session_id) {
            true => vec![session_id],
            false => self.ended.insert(session_id, next.unwrap_or(0)),
        };
        self.forget_sessions(forgotten, &mut effects);
        self.check_stopped(&mut effects);
        effects
    }

    /// The last entry of a session that has ended is taken.
    pub(crate) fn queue_emptied(&mut self, session_id: &SessionId) -> Effects {
        let mut effects = Effects::new();
        if self.unread_sessions.remove(session_id) && self.past.ended.contains_key(session_id) {
            self.past.unread = self.past.unread.saturating_sub(1);
        }
        self.forget_sessions(vec![session_id.clone()], &mut effects);
        effects
    }

    /// If nobody can ask for them any more, the journal need not know them.
    pub(super) fn forget_sessions(&mut self, ids: Vec<SessionId>, effects: &mut Effects) {
        let is_known = |id: &SessionId| {
            self.ended.named.contains_key(id)
                || self.past.ended.contains_key(id)
                || self.unread_sessions.contains(id)
                || self.sessions.contains_key(id)
        };
        let session_ids: Vec<SessionId> = ids.into_iter().filter(|id| !is_known(id)).collect();
        if !session_ids.is_empty() {
            self.append(|| Row::SessionsForgotten { session_ids }, effects);
        }
    }

    pub(crate) fn launches_paused(&mut self, session_id: &SessionId, paused: bool) {
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.launches_paused = paused;
        }
    }

    /// The inbox keeps nothing any more: the graph can end.
    pub(crate) fn discarded(&mut self, unread: u64) -> Effects {
        let answer = Answer::Stopped(self.tally.with_unread(unread));
        let calls = std::mem::take(&mut self.shutdown_calls);
        let replies = calls.into_iter().map(|call| Effect::Reply(call, Ok(answer.clone())));
        replies.chain([Effect::Stopped]).collect()
    }

    /// Stops everything in a session; the first one that ends it decides whether its unread entries are kept.
    pub(super) fn begin_end(&mut self, id: &SessionId, discard: bool, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.ending) else { return };
        (session.ending, session.discard) = (true, discard);
        effects.extend(session.live.iter().map(|n| Effect::Stop { n: *n, cause: Cause::SessionEnded }));
        if session.live.is_empty() {
            self.close_queue(id, discard, effects);
        }
    }

    /// The last handle of a session that ends is gone.
    pub(super) fn close_queue(&self, id: &SessionId, discard: bool, effects: &mut Effects) {
        effects.push(Effect::CloseQueue { session_id: id.clone(), discard });
        if self.limits.session_output_bytes.is_some() {
            effects.push(Effect::ForgetSession(id.clone()));
        }
    }

    /// Ends the graph if nothing is left to wait for.
    pub(super) fn check_stopped(&mut self, effects: &mut Effects) {
        if self.host_gone {
            // Nobody is left who asks what was unread.
            effects.extend((self.live == 0).then_some(Effect::Stopped));
        } else if self.shutting_down && self.sessions.is_empty() && self.claiming.is_empty() {
            effects.push(Effect::DiscardAll);
        }
    }
}

fn anonymous_id(host_pid: u32, n: u64) -> SessionId {
    SessionId::new(format!("session-{host_pid:x}-{n}"))
}

/// A list does not repeat what was said.
fn without_text(record: &Shared) -> Shared {
    let mut record = record.clone();
    if record.text_bytes() > 0 || record.text_omitted {
        let brief = Arc::make_mut(&mut record.0);
        brief.omit_text();
        brief.text_omitted = false;
    }
    record
}
