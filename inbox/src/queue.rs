//! One session's entries, and the calls that wait for them.
//!
//! * in: entries, readers, acks and nacks
//! * out: leased entries to readers; effects
//! * keeps: an entry is free, leased or gone; order of arrival

use crate::{
    Effect,
    lease::{Counts, Leases, Reading},
};
use log::Log;
use ostler_messages::{
    ActorName, Answer, CallError, CallId, Claim, ClaimBy, Content, Entry, Filter, HandleId, Record, Refusal,
    Reply, ResultsGone, SOURCE_EXIT, SOURCE_PROGRESS, SessionId, Shared, Stamp, Status, TOOL_PROGRESS,
    TOOL_RESULT, TimerKind,
};
use std::{borrow::Cow, collections::BTreeMap, mem, sync::Arc};
use subscriptions::Subscriber;

mod leased;
mod log;
mod subscriptions;

/// What a waiter wants when an entry fits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// To know how many there are.
    Count,
    /// To have them, so many at most; to keep them until they are acknowledged, if for a reader.
    Take(usize, Option<Reading>),
}

/// A call that waits for an entry.
#[derive(Debug)]
struct Waiter {
    call: CallId,
    filter: Filter,
    want: Want,
}

#[derive(Debug)]
pub(crate) struct Queue {
    session_id: SessionId,
    /// Entries that nobody holds, by sequence. Readers see only these.
    free: BTreeMap<u64, Entry>,
    /// Entries that a call or a reader holds.
    leases: Leases,
    counts: Counts,
    /// Sequence of the next entry.
    next: u64,
    /// The newest progress entry of each handle that has no result yet, free or leased. A leased one that comes back and
    /// does not stand here is out of date. As many as live handles at most.
    progress: BTreeMap<HandleId, u64>,
    /// In order of arrival. No free entry fits any of them. The host's limit on open calls bounds them.
    waiters: Vec<Waiter>,
    subscribers: Vec<Subscriber>,
    /// So many results are unread that nothing more is launched.
    launches_paused: bool,
    /// The session has ended.
    closed: bool,
    /// Nobody will read it: what comes back is dropped.
    discarding: bool,
    /// What of it is to survive the host; none without a journal.
    log: Option<Log>,
}

impl Queue {
    pub(crate) fn new(session_id: SessionId, journaled: bool) -> Queue {
        Queue {
            session_id,
            free: BTreeMap::new(),
            leases: Leases::default(),
            counts: Counts::default(),
            next: 1,
            progress: BTreeMap::new(),
            waiters: Vec::new(),
            subscribers: Vec::new(),
            launches_paused: false,
            closed: false,
            discarding: false,
            log: journaled.then(Log::default),
        }
    }

    /// The same, whose first entry has another number than 1.
    pub(crate) fn beginning_at(mut self, next: u64) -> Queue {
        self.next = next;
        self
    }

    /// Free and leased results.
    pub(crate) fn results(&self) -> usize {
        self.counts.results
    }
    /// The handles whose results are free, the oldest first.
    pub(crate) fn results_of(&self) -> impl Iterator<Item = HandleId> {
        self.free
            .values()
            .filter(|entry| entry.is_result())
            .filter_map(|entry| Some(entry.record()?.handle_id))
    }
    /// Free and leased entries of the host's own.
    pub(crate) fn pushed(&self) -> usize {
        self.counts.pushed
    }
    /// Leased results, and leased entries of the host's own.
    pub(crate) fn leased(&self) -> (usize, usize) {
        self.leases.counts()
    }
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
    /// Whether the session has ended, and every entry is gone.
    pub(crate) fn is_finished(&self) -> bool {
        self.closed && self.free.is_empty() && self.leases.is_empty()
    }
    /// Whether launches have to be paused or go on, if that has changed. Two thresholds, so that a host that reads one
    /// result at a time does not flip it with each.
    pub(crate) fn pause(&mut self, limit: usize) -> Option<bool> {
        let (limit, unread) = (limit.max(1), self.results());
        let paused = if self.launches_paused { unread > limit / 2 } else { unread >= limit };
        let changed = paused != self.launches_paused && !self.closed;
        changed.then(|| std::mem::replace(&mut self.launches_paused, paused)).map(|was| !was)
    }
    /// Free entries that fit.
    pub(crate) fn count(&self, filter: &Filter) -> usize {
        if *filter == Filter::any() {
            return self.free.len();
        }
        self.free.values().filter(|entry| filter.fits(entry)).count()
    }

    /// Ends the session. Its handles have had their results by now, so no progress is left to report, and nobody needs
    /// to wait any longer. With `discard` nobody will read it either.
    pub(crate) fn close(&mut self, discard: bool, effects: &mut Vec<Effect>) {
        self.closed = true;
        self.discarding = discard;
        if discard {
            let free = mem::take(&mut self.free);
            free.values().for_each(|entry| self.counts.remove(entry));
            self.gone(free.values(), effects);
        }
        for (_, sequence) in mem::take(&mut self.progress) {
            self.remove(sequence);
        }
        for waiter in mem::take(&mut self.waiters) {
            effects.push(disarm(waiter.call));
            effects.push(self.nothing(&waiter));
        }
    }

    /// Adds a result, with its text only while fewer than `texts` have theirs, or if nothing else has it.
    pub(crate) fn deliver(
        &mut self,
        record: Arc<Record>,
        at: Stamp,
        texts: usize,
        effects: &mut Vec<Effect>,
    ) {
        self.withdraw_progress(record.handle_id);
        let keeps_text = self.counts.with_text < texts || !record.text_on_disk.0;
        let record = if keeps_text { record } else { without_text(record) };
        let entry = self.entry(TOOL_RESULT.into(), SOURCE_EXIT.into(), Content::Record(record), at);
        self.add(entry, effects);
    }
    /// Leases a result to those who claim it by its handle, and answers them.
    pub(crate) fn deliver_to(&mut self, record: Arc<Record>, claims: &[Claim], effects: &mut Vec<Effect>) {
        self.withdraw_progress(record.handle_id);
        self.counts.results += 1;
        self.log_owed(&record);
        let cancelled = record.status == Status::Killed;
        self.leases.share(record.clone(), claims);
        effects.extend(claims.iter().map(|claim| {
            let record = record.clone().into();
            leased(
                claim.call,
                match claim.by {
                    ClaimBy::Cancel => Answer::Cancelled { cancelled, taken: true, record },
                    ClaimBy::Result => Answer::Result { taken: true, record },
                },
            )
        }));
    }
    /// The result of one handle: leased, if it is free, and else as it was stored.
    pub(crate) fn take_result(&mut self, call: CallId, stored: Shared) -> Effect {
        let of_handle = |entry: &Entry| {
            entry.is_result() && entry.record().is_some_and(|record| record.handle_id == stored.handle_id)
        };
        let found = self.free.values().find(|entry| of_handle(entry)).map(|entry| entry.sequence);
        let entry = found.and_then(|sequence| self.free.remove(&sequence));
        let Some(Content::Record(record)) = entry.as_ref().map(|entry| &entry.content) else {
            return reply(call, Answer::Result { taken: false, record: stored });
        };
        let answer = Answer::Result { taken: true, record: record.clone().into() };
        self.leases.lend(call, entry.into_iter().collect(), None);
        leased(call, answer)
    }
    fn withdraw_progress(&mut self, handle_id: HandleId) {
        if let Some(sequence) = self.progress.remove(&handle_id) {
            // A leased one is dropped when it comes back.
            self.remove(sequence);
        }
    }
    pub(crate) fn progress(&mut self, record: Arc<Record>, at: Stamp, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        let handle_id = record.handle_id;
        self.withdraw_progress(handle_id);
        let entry = self.entry(TOOL_PROGRESS.into(), SOURCE_PROGRESS.into(), Content::Record(record), at);
        self.progress.insert(handle_id, entry.sequence);
        self.add(entry, effects);
    }
    /// Adds an entry of the host's own, and answers its call.
    pub(crate) fn push(
        &mut self,
        call: CallId,
        (kind, source): (String, String),
        content: serde_json::Value,
        at: Stamp,
        effects: &mut Vec<Effect>,
    ) {
        let content = Content::Other(Arc::new(content));
        let entry = self.entry(kind.into(), source.into(), content, at);
        effects.push(reply(call, Answer::Pushed(entry.sequence)));
        self.add(entry, effects);
    }

    /// Leases fitting entries to a call, in order, and answers it. If none fits, the answer is empty.
    pub(crate) fn take(
        &mut self,
        call: CallId,
        filter: &Filter,
        max: usize,
        reading: Option<Reading>,
    ) -> Effect {
        let fitting = self.free.iter().filter(|(_, entry)| filter.fits(entry));
        let sequences = fitting.map(|(sequence, _)| *sequence).take(max).collect();
        self.lease(call, sequences, reading)
    }
    fn lease(&mut self, call: CallId, sequences: Vec<u64>, reading: Option<Reading>) -> Effect {
        let entries: Vec<Entry> =
            sequences.iter().filter_map(|sequence| self.free.remove(sequence)).collect();
        if entries.is_empty() {
            return self.drained(call, entries);
        }
        self.leases.lend(call, entries.clone(), reading);
        leased(call, Answer::Drained { session_id: self.session_id.clone(), entries })
    }
    /// Lets a call wait. Only for a call that no free entry fits, and not in a closed queue.
    pub(crate) fn wait(&mut self, call: CallId, filter: Filter, want: Want) {
        self.waiters.push(Waiter { call, filter, want });
    }
    /// The call's time is up.
    pub(crate) fn expire(&mut self, call: CallId, effects: &mut Vec<Effect>) {
        if let Some(at) = self.waiters.iter().position(|waiter| waiter.call == call) {
            let waiter = self.waiters.remove(at);
            effects.push(self.nothing(&waiter));
        }
    }
    /// Serves those who wait, after entries became free. Only those entries can fit: had an older one fitted, the waiter
    /// would have been served by it.
    ///
    /// Who only wants to know is answered before anything is taken; who wants to take is served in order of arrival.
    fn offer(&mut self, new: &[u64], effects: &mut Vec<Effect>) {
        let mut waiters = mem::take(&mut self.waiters);
        waiters.retain(|waiter| {
            let Want::Count = waiter.want else { return true };
            let count = self.fitting(new, &waiter.filter).count();
            if count > 0 {
                effects.push(disarm(waiter.call));
                effects.push(reply(waiter.call, Answer::Counted(count)));
            }
            count == 0
        });
        waiters.retain(|waiter| {
            let Want::Take(max, reading) = waiter.want else { return true };
            let sequences: Vec<u64> = self.fitting(new, &waiter.filter).take(max).collect();
            if sequences.is_empty() {
                return true;
            }
            effects.push(disarm(waiter.call));
            effects.push(self.lease(waiter.call, sequences, reading));
            false
        });
        self.waiters = waiters;
    }
    fn fitting<'a>(&'a self, among: &'a [u64], filter: &'a Filter) -> impl Iterator<Item = u64> + 'a {
        let fits = |sequence: &u64| self.free.get(sequence).is_some_and(|entry| filter.fits(entry));
        among.iter().copied().filter(fits)
    }

    fn drained(&self, call: CallId, entries: Vec<Entry>) -> Effect {
        reply(call, Answer::Drained { session_id: self.session_id.clone(), entries })
    }
    fn nothing(&self, waiter: &Waiter) -> Effect {
        match waiter.want {
            Want::Count => reply(waiter.call, Answer::Counted(0)),
            Want::Take(..) => self.drained(waiter.call, Vec::new()),
        }
    }

    /// A new entry, at the tail.
    fn entry(
        &mut self,
        kind: Cow<'static, str>,
        source: Cow<'static, str>,
        content: Content,
        at: Stamp,
    ) -> Entry {
        let sequence = self.next;
        self.next += 1;
        let session_id = self.session_id.clone();
        Entry::new(sequence, session_id, (kind, source), content, at)
    }
    /// Puts a new one in: whoever is to be told of it hears of it before anybody takes it.
    fn add(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        self.log_entry(&entry);
        let sequence = self.insert(entry);
        self.notify(sequence, effects);
        self.offer(&[sequence], effects);
    }
    fn insert(&mut self, entry: Entry) -> u64 {
        let sequence = entry.sequence;
        self.counts.add(&entry);
        self.free.insert(sequence, entry);
        sequence
    }
    /// A free entry goes; a leased one stays with who holds it.
    fn remove(&mut self, sequence: u64) {
        if let Some(entry) = self.free.remove(&sequence) {
            self.counts.remove(&entry);
        }
    }

    /// Nobody can come to have these any more.
    fn gone<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry> + Clone, effects: &mut Vec<Effect>) {
        self.log_gone(entries.clone());
        let results = entries.into_iter().filter(|entry| entry.is_result()).filter_map(Entry::record);
        let handle_ids: Vec<HandleId> = results.map(|record| record.handle_id).collect();
        if !handle_ids.is_empty() {
            effects.push(Effect::Gone(ResultsGone { handle_ids }));
        }
    }

    /// The number of the next entry.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
    #[cfg(test)]
    pub(crate) fn free(&self) -> &BTreeMap<u64, Entry> {
        &self.free
    }
    #[cfg(test)]
    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }
    #[cfg(test)]
    pub(crate) fn tracked(&self) -> usize {
        self.progress.len()
    }
    #[cfg(test)]
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// The same record without its texts, for one that has any.
pub(crate) fn without_text(mut record: Arc<Record>) -> Arc<Record> {
    if record.text_bytes() > 0 {
        Arc::make_mut(&mut record).omit_text();
    }
    record
}

/// An answer that leases nothing.
pub(crate) fn reply(call: CallId, answer: Answer) -> Effect {
    Effect::Reply(Reply { call, answer: Ok(answer), leased_by: None, after: None })
}
/// An answer whose entries stay here until the caller says that it has them.
fn leased(call: CallId, answer: Answer) -> Effect {
    Effect::Reply(Reply { call, answer: Ok(answer), leased_by: Some(ActorName::Inbox), after: None })
}
pub(crate) fn refuse(call: CallId, error: CallError) -> Effect {
    Effect::Reply(Reply { call, answer: Err(Refusal::Call(error)), leased_by: None, after: None })
}
/// A call waits no more.
fn disarm(call: CallId) -> Effect {
    Effect::Disarm { timer: TimerKind::Call(call) }
}
