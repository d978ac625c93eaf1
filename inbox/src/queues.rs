//! All sessions' queues, as a pure data structure: each operation returns what has to be done about it.
//!
//! * in: all that concerns any session's queue
//! * out: effects
//! * keeps: limits of one session never stop another

use crate::{
    Limits,
    lease::Reading,
    queue::{Queue, Want, refuse, reply},
};
use ostler_messages::{
    Acknowledge, Answer, Append, CallError, CallId, Claim, Drain, Filter, LaunchError, LaunchesPaused, Limit,
    NoQueue, NotifiedAll, Notify, OLDEST_HANDLES, PUSH_MAX_BYTES, Pending, Push, Pushed, QueueClosed,
    QueueEmptied, Read, ReaderGone, Record, RecoveredSession, RefuseLaunch, Reply, ResultsGone, Row,
    SessionId, Shared, Stamp, Subscribe, TOOL_PROGRESS, TOOL_RESULT, TimerKind, Unsubscribe, Wait,
};
use std::{collections::BTreeMap, sync::Arc};

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod subscribing;
#[cfg(test)]
pub(crate) mod tests;

/// Sources with this prefix are ostler's own.
const RESERVED_SOURCES: &str = "ostler.";

/// What the queues want done, in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a call. Each call is answered once. If the answer is leased, the call's end is [`Queues::ack`] or
    /// [`Queues::nack`].
    Reply(Reply),
    /// Set a timer; when it fires, [`Queues::time_up`]. One for each call that waits, and one for each read whose entries are
    /// not all acknowledged.
    Arm {
        /// What it is for.
        timer: TimerKind,
        /// From now.
        after_ms: u64,
    },
    /// Drop it. It may have fired already, which does no harm.
    Disarm {
        /// What it was for.
        timer: TimerKind,
    },
    /// Write this; answers may wait for it.
    Append(Append),
    /// Report to the supervisor that the session's queue is closed.
    Closed(QueueClosed),
    /// Report to the supervisor that the entries of a closed queue are gone.
    Emptied(QueueEmptied),
    /// Report to the supervisor that results are read or discarded. At most once for each result.
    Gone(ResultsGone),
    /// Report to the supervisor that launches of a session are paused, or go on. Only at the change.
    Paused(LaunchesPaused),
    /// Tell a subscriber of entries.
    Notify(Notify),
    /// Tell a subscriber that nothing more comes.
    NotifiedAll(NotifiedAll),
    /// Let the supervisor answer.
    NoQueue(NoQueue),
}

/// A queue for each session.
///
/// The queue of an ended session stays until its entries are gone, leased ones too, and nothing of it is remembered
/// then. A call on a session without a queue is for the supervisor to answer ([`Effect::NoQueue`]), which knows whether
/// there ever was such a session.
///
/// Adding an entry, and replacing or withdrawing a handle's progress, cost O(log entries + waiters); taking and counting
/// cost one look at each free entry of the session.
#[derive(Debug)]
pub struct Queues {
    limits: Limits,
    queues: BTreeMap<SessionId, Queue>,
    /// In which queue a call waits or holds entries, or has brought a reader what it still holds.
    calls: BTreeMap<CallId, SessionId>,
    /// What they hold is to survive the host.
    journaled: bool,
    /// Appends so far.
    appends: u64,
}

impl Queues {
    /// Without any queue.
    pub fn new(limits: Limits) -> Queues {
        let (queues, calls) = (BTreeMap::new(), BTreeMap::new());
        Queues { limits, queues, calls, journaled: false, appends: 0 }
    }
    /// The same, of which everything that is to survive the host is [appended](Effect::Append) to a journal.
    pub fn journaled(mut self) -> Queues {
        self.journaled = true;
        self
    }

    /// Makes a session's queue, whose first entry has the number `next`, or 1. One that is there is opened again, with what is
    /// unread in it.
    pub fn open(&mut self, session_id: SessionId, next: Option<u64>) -> Vec<Effect> {
        let journaled = self.journaled;
        let queue = self
            .queues
            .entry(session_id.clone())
            .or_insert_with(|| Queue::new(session_id.clone(), journaled).beginning_at(next.unwrap_or(1)));
        queue.reopen();
        self.change(&session_id, |_, _| {}).unwrap_or_default()
    }

    /// What was unread in an earlier life of the host.
    pub fn restore(&mut self, sessions: Vec<RecoveredSession>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for session in sessions {
            let session_id = session.session_id.clone();
            self.queues.insert(session_id.clone(), Queue::restored(session));
            effects.extend(self.change(&session_id, |_, _| {}).unwrap_or_default());
        }
        effects
    }

    /// All that the queues hold, for a journal that begins anew.
    pub fn rows(&self) -> Vec<Row> {
        self.queues.values().flat_map(Queue::rows).collect()
    }

    /// The journal can't be written: each open session is told, in an entry that takes the place of an unread one that says so.
    pub fn journal_trouble(&mut self, error: &str, at: Stamp) -> Vec<Effect> {
        let ids: Vec<SessionId> = self.queues.keys().cloned().collect();
        let tell =
            |id: &SessionId| self.change(id, |queue, effects| queue.journal_trouble(error, at, effects));
        ids.iter().filter_map(tell).flatten().collect()
    }

    /// The session has ended: pushes are refused from now, unread progress is withdrawn, who waits is answered with
    /// nothing, and the queue goes once its entries are gone; with `discard`, only leased ones are waited for. Always
    /// reports [`Effect::Closed`] with the number of unread results, 0 for a session without a queue, and
    /// [`Effect::Emptied`] later if the queue stays.
    ///
    /// To be called after the results of the session's handles were delivered.
    pub fn close(&mut self, session_id: &SessionId, discard: bool) -> Vec<Effect> {
        let unread = self.queues.get(session_id).map_or(0, Queue::results) as u64;
        let next = self.queues.get(session_id).filter(|_| self.journaled).map(Queue::next);
        let effects = self.change(session_id, |queue, effects| queue.close(discard, effects));
        // Closing gives no number.
        let kept = self.has_queue(session_id);
        let closed = QueueClosed { session_id: session_id.clone(), unread, kept, next };
        let mut closed = vec![Effect::Closed(closed)];
        // A queue that goes at once was never kept.
        closed.extend(effects.into_iter().flatten().filter(|effect| !matches!(effect, Effect::Emptied(_))));
        closed
    }

    /// The graph ends: nothing is kept. Returns how many results nobody has taken.
    pub fn discard_all(&mut self) -> u64 {
        self.calls.clear();
        std::mem::take(&mut self.queues).values().map(|queue| queue.results() as u64).sum()
    }

    /// A launch in a session whose launches are paused is refused, with the limit and what of it is leased.
    pub fn refuse_launch(&self, refused: &RefuseLaunch) -> Vec<Effect> {
        let queue = self.queues.get(&refused.session_id);
        let count = queue.map_or(0, Queue::results) as u64;
        let leased = queue.map_or(0, |queue| queue.leased().0) as u64;
        let oldest = queue.map(|queue| queue.results_of().take(OLDEST_HANDLES).collect()).unwrap_or_default();
        let max = self.limits.unread_results as u64;
        let error = LaunchError::LimitReached { limit: Limit::UnreadResults, max, count, leased, oldest };
        vec![Effect::Reply(Reply {
            call: refused.call,
            answer: Err(error.into()),
            leased_by: None,
            after: None,
        })]
    }

    /// Adds a result and withdraws the unread progress of its handle. With `to`, it is leased to those calls, which are
    /// answered with [`Answer::Cancelled`] or [`Answer::Result`]: the first that has it takes it, and if none does, it becomes an
    /// entry like any other, at the tail.
    pub fn deliver(&mut self, record: Arc<Record>, to: &[Claim], at: Stamp) -> Vec<Effect> {
        let (session_id, texts) = (record.session_id.clone(), self.limits.results_with_text);
        let deliver = |queue: &mut Queue, effects: &mut Vec<Effect>| match to {
            [] => queue.deliver(record, at, texts, effects),
            claims => queue.deliver_to(record, claims, effects),
        };
        self.change(&session_id, deliver).unwrap_or_default()
    }

    /// Leases the result of one handle to a call, out of its place in the queue, and answers [`Answer::Result`]. If it is not free,
    /// because a reader has it or had it, the answer is what was stored, and nothing is taken.
    pub fn take_result(&mut self, call: CallId, stored: Shared) -> Vec<Effect> {
        let session_id = stored.session_id.clone();
        let copy = reply(call, Answer::Result { taken: false, record: stored.clone() });
        self.change(&session_id, |queue, effects| effects.push(queue.take_result(call, stored)))
            .unwrap_or_else(|| vec![copy])
    }

    /// Adds a progress entry, in place of an unread one of its handle. Dropped if the session has ended. The caller
    /// sends none after the handle's result.
    pub fn progress(&mut self, record: Arc<Record>, at: Stamp) -> Vec<Effect> {
        let session_id = record.session_id.clone();
        self.change(&session_id, |queue, effects| queue.progress(record, at, effects)).unwrap_or_default()
    }

    /// Adds an entry of the host's own; answers [`Answer::Pushed`] with its sequence.
    ///
    /// Refused with `SessionClosed` after the session's end, with `ReservedKind` for the kinds
    /// `tool_result` and `tool_progress` and for sources that begin with `ostler.`, with `ContentTooLarge` over
    /// [`PUSH_MAX_BYTES`], and with `LimitReached` when [`Limits::pushed_entries`] of them are unread.
    pub fn push(&mut self, push: Push, at: Stamp) -> Vec<Effect> {
        let Push { call, session_id, kind, source, content } = push;
        let limit = self.limits.pushed_entries;
        let add = |queue: &mut Queue, effects: &mut Vec<Effect>| match Queues::may_push(
            queue,
            limit,
            &session_id,
            (&kind, &source),
            &content,
        ) {
            Err(error) => effects.push(refuse(call, error)),
            Ok(()) => queue.push(call, (kind, source), content.into_value(), at, effects),
        };
        self.change(&session_id, add).unwrap_or_else(|| no_queue(call, &session_id, None))
    }
    fn may_push(
        queue: &Queue,
        limit: usize,
        session_id: &SessionId,
        (kind, source): (&str, &str),
        content: &Pushed,
    ) -> Result<(), CallError> {
        if queue.is_closed() {
            return Err(CallError::SessionClosed { session_id: session_id.to_string() });
        }
        // Before the names are looked at: an error repeats them.
        let bytes = (kind.len() + source.len())
            .saturating_add(usize::try_from(content.bytes()).unwrap_or(usize::MAX));
        if bytes > PUSH_MAX_BYTES {
            return Err(CallError::ContentTooLarge { bytes, limit: PUSH_MAX_BYTES });
        }
        if [TOOL_RESULT, TOOL_PROGRESS].contains(&kind) || source.starts_with(RESERVED_SOURCES) {
            return Err(CallError::ReservedKind { kind: kind.to_owned(), source_name: source.to_owned() });
        }
        if queue.pushed() >= limit {
            let (max, leased) = (limit as u64, queue.leased().1 as u64);
            return Err(CallError::LimitReached { limit: Limit::PushedEntries, max, leased });
        }
        Ok(())
    }

    /// Leases fitting entries to the call, in order; the others stay, in order. Answers [`Answer::Drained`].
    ///
    /// If none fits and there is time to wait, the answer comes with the first entry that does, or empty when the time
    /// is up or the session ends. After the session's end nothing waits.
    pub fn drain(&mut self, drain: Drain) -> Vec<Effect> {
        let Drain { call, session_id, filter, max, wait_ms } = drain;
        self.take(call, session_id, filter, Want::Take(max.unwrap_or(usize::MAX), None), wait_ms)
    }

    /// The same for a reader: once the caller has the entries they are the reader's, until it acknowledges them
    /// ([`Queues::acknowledge`]), is gone ([`Queues::reader_gone`]) or has had them for `redeliver_ms`. Then those that are left
    /// are free again, at their old numbers and `redelivered`.
    pub fn read(&mut self, read: Read) -> Vec<Effect> {
        let Read { call, session_id, reader, filter, max, wait_ms, redeliver_ms } = read;
        let want = Want::Take(max.unwrap_or(usize::MAX), Some(Reading { reader, redeliver_ms }));
        self.take(call, session_id, filter, want, wait_ms)
    }

    fn take(
        &mut self,
        call: CallId,
        session_id: SessionId,
        filter: Filter,
        want: Want,
        wait_ms: Option<u64>,
    ) -> Vec<Effect> {
        let (max, reading) = match want {
            Want::Take(max, reading) => (max, reading),
            Want::Count => (0, None),
        };
        let take = |queue: &mut Queue, effects: &mut Vec<Effect>| {
            let may_wait = max > 0 && !queue.is_closed();
            match wait_ms.filter(|ms| *ms > 0 && may_wait && queue.count(&filter) == 0) {
                Some(after_ms) => {
                    queue.wait(call, filter, want);
                    effects.push(Effect::Arm { timer: TimerKind::Call(call), after_ms });
                }
                None => effects.push(queue.take(call, &filter, max, reading)),
            }
        };
        let nothing = Answer::Drained { session_id: session_id.clone(), entries: Vec::new() };
        self.change(&session_id, take).unwrap_or_else(|| no_queue(call, &session_id, Some(nothing)))
    }

    /// Takes out what was read, and answers [`Answer::Acknowledged`] with the number of entries that are gone by it: those that
    /// were acknowledged or taken before do not count.
    ///
    /// Refused with `NeverRead`, and nothing is taken out, if one of the numbers was given to no entry yet, or if nobody has
    /// read that entry.
    pub fn acknowledge(&mut self, acknowledge: Acknowledge) -> Vec<Effect> {
        let Acknowledge { call, session_id, reader, sequences } = acknowledge;
        self.change(&session_id, |queue, effects| queue.acknowledge(call, reader, sequences, effects))
            .unwrap_or_else(|| no_queue(call, &session_id, Some(Answer::Acknowledged(0))))
    }

    /// A reader is gone: what it holds comes again. What a call of its brings later comes again when its time is up.
    pub fn reader_gone(&mut self, gone: &ReaderGone) -> Vec<Effect> {
        self.change(&gone.session_id, |queue, effects| queue.reader_gone(gone.reader, effects))
            .unwrap_or_default()
    }

    /// Tells a subscriber of each fitting entry: first those that are unread, free or leased, then each that comes. Answers
    /// [`Answer::Subscribed`], leased: a `Nack` of that call ends the subscription, as [`Queues::unsubscribe`] does.
    ///
    /// It ends by itself, with [`Effect::NotifiedAll`], when the session has ended and nothing can come any more. Refused with
    /// `LimitReached` when there are [`Limits::subscriptions`] of them.
    pub fn subscribe(&mut self, subscribe: Subscribe) -> Vec<Effect> {
        let (call, session_id, max) =
            (subscribe.call, subscribe.session_id.clone(), self.limits.subscriptions);
        let nothing = Answer::Subscribed(subscribe.subscription);
        self.change(&session_id, |queue, effects| queue.subscribe(subscribe, max, effects))
            .unwrap_or_else(|| no_queue(call, &session_id, Some(nothing)))
    }

    /// A subscriber is gone.
    pub fn unsubscribe(&mut self, gone: &Unsubscribe) {
        if let Some(queue) = self.queues.get_mut(&gone.session_id) {
            queue.unsubscribe(gone.subscription);
        }
    }

    /// Answers [`Answer::Counted`] with the number of fitting entries as soon as there is one; with 0 when the time is up
    /// or the session ends. Takes nothing. After the session's end nothing waits.
    pub fn wait(&mut self, wait: Wait) -> Vec<Effect> {
        let Wait { call, session_id, filter, timeout_ms } = wait;
        let look = |queue: &mut Queue, effects: &mut Vec<Effect>| {
            let count = queue.count(&filter);
            if count == 0 && timeout_ms > 0 && !queue.is_closed() {
                queue.wait(call, filter, Want::Count);
                effects.push(Effect::Arm { timer: TimerKind::Call(call), after_ms: timeout_ms });
            } else {
                effects.push(reply(call, Answer::Counted(count)));
            }
        };
        self.change(&session_id, look)
            .unwrap_or_else(|| no_queue(call, &session_id, Some(Answer::Counted(0))))
    }

    /// Answers [`Answer::Pending`] with the number of fitting entries.
    pub fn pending(&self, pending: &Pending) -> Vec<Effect> {
        let Pending { call, session_id, filter } = pending;
        match self.queues.get(session_id) {
            Some(queue) => {
                let mut effects = vec![reply(*call, Answer::Pending(queue.count(filter)))];
                queue.wait_for_log(&mut effects);
                effects
            }
            None => no_queue(*call, session_id, Some(Answer::Pending(0))),
        }
    }

    /// A timer fired: the call that waits is answered with nothing; what was read and not acknowledged comes again. A call
    /// that was answered before needs nothing more.
    pub fn time_up(&mut self, timer: TimerKind) -> Vec<Effect> {
        match timer {
            TimerKind::Call(call) => self.of_call(call, |queue, effects| queue.expire(call, effects)),
            TimerKind::Redeliver(call) => {
                let effects = self.of_call(call, |queue, effects| queue.redeliver(call, effects));
                self.calls.remove(&call);
                effects
            }
            // The queues arm no other.
            _ => Vec::new(),
        }
    }

    /// The caller has its answer: the entries that were leased to it are gone, or its reader's.
    pub fn ack(&mut self, call: CallId) -> Vec<Effect> {
        let Some(session_id) = self.calls.remove(&call) else { return Vec::new() };
        self.change(&session_id, |queue, effects| queue.ack(call, effects)).unwrap_or_default()
    }

    /// The caller is gone: it waits no more, and the entries that were leased to it are free again, where they stood, and
    /// offered to those who wait. A result that was leased to cancellers becomes an entry when the last of them is gone.
    ///
    /// Progress is dropped instead if there was newer progress or a result of its handle since, or if the session has
    /// ended.
    pub fn nack(&mut self, call: CallId, at: Stamp) -> Vec<Effect> {
        let texts = self.limits.results_with_text;
        let effects = self.of_call(call, |queue, effects| queue.nack(call, at, texts, effects));
        self.calls.remove(&call);
        effects
    }

    /// Whether the session has a queue. An ended session has one until its entries are gone.
    pub fn has_queue(&self, session_id: &SessionId) -> bool {
        self.queues.contains_key(session_id)
    }

    /// The same as [`Queues::change`] where a call waits or holds entries; nothing if it does neither.
    fn of_call(&mut self, call: CallId, work: impl FnOnce(&mut Queue, &mut Vec<Effect>)) -> Vec<Effect> {
        let session_id = self.calls.get(&call).cloned();
        session_id.and_then(|session_id| self.change(&session_id, work)).unwrap_or_default()
    }

    /// Does the work in the session's queue and what follows from it; `None` if there is no such queue.
    fn change(
        &mut self,
        session_id: &SessionId,
        work: impl FnOnce(&mut Queue, &mut Vec<Effect>),
    ) -> Option<Vec<Effect>> {
        let mut effects = Vec::new();
        let queue = self.queues.get_mut(session_id)?;
        work(queue, &mut effects);
        queue.end_subscriptions(&mut effects);
        queue.append(&mut effects, &mut self.appends);
        for effect in &effects {
            match effect {
                Effect::Arm { timer: TimerKind::Call(call) | TimerKind::Redeliver(call), .. }
                | Effect::Reply(Reply { call, leased_by: Some(_), .. }) => {
                    self.calls.insert(*call, session_id.clone());
                }
                Effect::Disarm { timer: TimerKind::Redeliver(call) }
                | Effect::Reply(Reply { call, leased_by: None, .. }) => drop(self.calls.remove(call)),
                _ => {}
            }
        }
        let session_id = session_id.clone();
        if queue.is_finished() {
            self.queues.remove(&session_id);
            effects.push(Effect::Emptied(QueueEmptied { session_id }));
        } else if let Some(paused) = queue.pause(self.limits.unread_results) {
            effects.push(Effect::Paused(LaunchesPaused { session_id, paused }));
        }
        Some(effects)
    }
}

fn no_queue(call: CallId, session_id: &SessionId, nothing: Option<Answer>) -> Vec<Effect> {
    vec![Effect::NoQueue(NoQueue { call, session_id: session_id.clone(), nothing })]
}
