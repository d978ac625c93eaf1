//! One session's entries and those who wait for them.

use crate::{
    Effect,
    limits::{needs_text, without_text},
};
use ostler_messages::{
    Answer, CallId, Content, Entry, Filter, HandleId, Record, Reply, SOURCE_EXIT, SOURCE_PROGRESS, SessionId,
    Stamp, TOOL_PROGRESS, TOOL_RESULT,
};
use std::{collections::BTreeMap, mem, sync::Arc};

/// What a waiter wants when an entry fits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// To know how many there are.
    Count,
    /// To have them, so many at most.
    Take(usize),
}

/// A call that stands in the room.
#[derive(Debug)]
struct Waiter {
    call: CallId,
    filter: Filter,
    want: Want,
}

#[derive(Debug)]
pub(crate) struct Room {
    session_id: SessionId,
    /// By sequence.
    entries: BTreeMap<u64, Entry>,
    /// Sequence of the next entry.
    next: u64,
    /// The newest progress entry of each handle that has no result yet, read or unread. It is kept after it was taken,
    /// so that a late put-back can be told from one that still counts. As many as live handles at most, since each
    /// handle ends in a result or is settled.
    progress: BTreeMap<HandleId, u64>,
    /// In order of arrival. None of them has a fitting entry in the room. The host's limit on open calls bounds them.
    waiters: Vec<Waiter>,
    /// Unread results.
    results: usize,
    /// Those of them that hold text.
    with_text: usize,
    /// Unread entries of the host's own.
    pushed: usize,
    /// The session has ended.
    closed: bool,
}

impl Room {
    pub(crate) fn new(session_id: SessionId) -> Room {
        Room {
            session_id,
            entries: BTreeMap::new(),
            next: 1,
            progress: BTreeMap::new(),
            waiters: Vec::new(),
            results: 0,
            with_text: 0,
            pushed: 0,
            closed: false,
        }
    }
    /// A room for what comes after a closed one was given up; its sequences go on from `next`.
    pub(crate) fn again(session_id: SessionId, next: u64) -> Room {
        Room { next, closed: true, ..Room::new(session_id) }
    }

    pub(crate) fn results(&self) -> usize {
        self.results
    }
    pub(crate) fn pushed(&self) -> usize {
        self.pushed
    }
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
    /// Whether nothing will be asked of it any more.
    pub(crate) fn is_done(&self) -> bool {
        self.closed && self.entries.is_empty()
    }
    pub(crate) fn count(&self, filter: &Filter) -> usize {
        if *filter == Filter::any() {
            return self.entries.len();
        }
        self.entries.values().filter(|entry| filter.fits(entry)).count()
    }

    /// Ends the session. Its handles have had their results by now, so no progress is left to tell, and nobody needs to
    /// wait any longer.
    pub(crate) fn close(&mut self, effects: &mut Vec<Effect>) {
        self.closed = true;
        for (_, sequence) in mem::take(&mut self.progress) {
            self.remove(sequence);
        }
        for waiter in mem::take(&mut self.waiters) {
            effects.push(Effect::Disarm { call: waiter.call });
            effects.push(self.nothing(&waiter));
        }
    }

    pub(crate) fn deliver(
        &mut self,
        record: Arc<Record>,
        at: Stamp,
        texts: usize,
        effects: &mut Vec<Effect>,
    ) {
        self.settle(record.handle_id);
        let entry = self.entry(TOOL_RESULT, SOURCE_EXIT, Content::Record(record), at);
        let sequence = self.insert(entry, texts);
        self.offer(&[sequence], effects);
    }
    /// Withdraws a handle's progress.
    pub(crate) fn settle(&mut self, handle_id: HandleId) {
        if let Some(sequence) = self.progress.remove(&handle_id) {
            self.remove(sequence);
        }
    }
    pub(crate) fn progress(&mut self, record: Arc<Record>, at: Stamp, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        let handle_id = record.handle_id;
        self.settle(handle_id);
        let entry = self.entry(TOOL_PROGRESS, SOURCE_PROGRESS, Content::Record(record), at);
        self.progress.insert(handle_id, entry.sequence);
        let sequence = self.insert(entry, 0);
        self.offer(&[sequence], effects);
    }
    pub(crate) fn push(&mut self, kind: &str, source: &str, content: serde_json::Value, at: Stamp) -> u64 {
        let entry = self.entry(kind, source, Content::Other(content), at);
        self.insert(entry, 0)
    }
    /// Merges entries back by sequence. Progress that is no longer the newest word about its handle is dropped.
    pub(crate) fn put_back(&mut self, entries: Vec<Entry>, texts: usize, effects: &mut Vec<Effect>) {
        let mut back = Vec::with_capacity(entries.len());
        for entry in entries {
            if self.entries.contains_key(&entry.sequence) || self.is_stale(&entry) {
                continue;
            }
            self.next = self.next.max(entry.sequence.saturating_add(1));
            back.push(self.insert(entry, texts));
        }
        back.sort_unstable();
        self.offer(&back, effects);
    }
    fn is_stale(&self, entry: &Entry) -> bool {
        entry.is_progress()
            && entry
                .record()
                .is_none_or(|record| self.progress.get(&record.handle_id) != Some(&entry.sequence))
    }

    /// Takes fitting entries out, in order.
    pub(crate) fn take(&mut self, filter: &Filter, most: usize) -> Vec<Entry> {
        let fitting = self.entries.iter().filter(|(_, entry)| filter.fits(entry));
        let sequences: Vec<u64> = fitting.map(|(sequence, _)| *sequence).take(most).collect();
        sequences.into_iter().filter_map(|sequence| self.remove(sequence)).collect()
    }
    /// Lets a call wait. Only for a call that nothing in the room fits, and not in a closed room.
    pub(crate) fn stand(&mut self, call: CallId, filter: Filter, want: Want) {
        self.waiters.push(Waiter { call, filter, want });
    }
    /// The call's time is up.
    pub(crate) fn expire(&mut self, call: CallId, effects: &mut Vec<Effect>) {
        if let Some(at) = self.waiters.iter().position(|waiter| waiter.call == call) {
            let waiter = self.waiters.remove(at);
            effects.push(self.nothing(&waiter));
        }
    }
    /// Serves those who wait, after entries were added. Only new entries can fit: had an older one fitted, the waiter
    /// would have been served by it.
    ///
    /// Who only wants to know is told before anything is taken; who wants to take is served in order of arrival.
    pub(crate) fn offer(&mut self, new: &[u64], effects: &mut Vec<Effect>) {
        let mut waiters = mem::take(&mut self.waiters);
        waiters.retain(|waiter| {
            let Want::Count = waiter.want else { return true };
            let count = self.fitting(new, &waiter.filter).count();
            if count > 0 {
                effects.push(Effect::Disarm { call: waiter.call });
                effects.push(reply(waiter.call, Answer::Waited(count)));
            }
            count == 0
        });
        waiters.retain(|waiter| {
            let Want::Take(most) = waiter.want else { return true };
            let sequences: Vec<u64> = self.fitting(new, &waiter.filter).take(most).collect();
            if sequences.is_empty() {
                return true;
            }
            let entries = sequences.into_iter().filter_map(|sequence| self.remove(sequence)).collect();
            effects.push(Effect::Disarm { call: waiter.call });
            effects.push(self.drained(waiter.call, entries));
            false
        });
        self.waiters = waiters;
    }
    fn fitting<'a>(&'a self, among: &'a [u64], filter: &'a Filter) -> impl Iterator<Item = u64> + 'a {
        let stands = |sequence: &u64| self.entries.get(sequence).is_some_and(|entry| filter.fits(entry));
        among.iter().copied().filter(stands)
    }

    pub(crate) fn drained(&self, call: CallId, entries: Vec<Entry>) -> Effect {
        reply(call, Answer::Drained { session_id: self.session_id.clone(), entries })
    }
    fn nothing(&self, waiter: &Waiter) -> Effect {
        match waiter.want {
            Want::Count => reply(waiter.call, Answer::Waited(0)),
            Want::Take(_) => self.drained(waiter.call, Vec::new()),
        }
    }

    /// A new entry, at the tail.
    fn entry(&mut self, kind: &str, source: &str, content: Content, at: Stamp) -> Entry {
        let sequence = self.next;
        self.next += 1;
        let session_id = self.session_id.clone();
        Entry { sequence, session_id, kind: kind.to_owned(), content, source: source.to_owned(), at }
    }
    /// Counts and stores it; a result without its text if `texts` of them have theirs.
    fn insert(&mut self, mut entry: Entry, texts: usize) -> u64 {
        if entry.is_result() {
            self.results += 1;
            if let Content::Record(record) = &mut entry.content
                && record.text_bytes() > 0
            {
                // What could not be told from a command without output must not lose its text.
                if self.with_text >= texts && record.byte_count > 0 {
                    let empty = without_text(record.clone());
                    debug_assert!(needs_text(&empty));
                    *record = empty;
                } else {
                    self.with_text += 1;
                }
            }
        } else if !entry.is_progress() {
            self.pushed += 1;
        }
        let sequence = entry.sequence;
        self.entries.insert(sequence, entry);
        sequence
    }
    fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        if entry.is_result() {
            self.results -= 1;
            self.with_text -= usize::from(entry.record().is_some_and(|record| record.text_bytes() > 0));
        } else if !entry.is_progress() {
            self.pushed -= 1;
        }
        Some(entry)
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> &BTreeMap<u64, Entry> {
        &self.entries
    }
    #[cfg(test)]
    pub(crate) fn tracked(&self) -> usize {
        self.progress.len()
    }
    #[cfg(test)]
    pub(crate) fn with_text(&self) -> usize {
        self.with_text
    }
}

pub(crate) fn reply(call: CallId, answer: Answer) -> Effect {
    Effect::Reply(Reply { call, answer: Ok(answer) })
}
