//! Which ends were told to the client, and which answer carries those that are on their way.
//!
//! * in: results from the session's inbox; requests, their cancels, and answers that were written
//! * out: a line for each end, in the first answer that goes out after it
//! * keeps: an end is told when the answer that carries it was written whole; until then it can come back

use crate::place::{Error, Inbox};
use ostler::{Entry, Filter, HandleId, on_one_line};
use rmcp::model::RequestId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Most ends in one answer: beside what was asked for they are a remark. The rest follows with the next one.
pub const ENDS_IN_ANSWER: usize = 32;
/// Ends that were told before they were in the inbox: each is there within moments, or was told long ago, and never is.
const AHEAD: usize = 256;
/// Of a command's line on such a line.
const COMMAND_BYTES: usize = 120;
/// Answers that told of something and whose cancel may still come, on each connection: a client that was busy for a while cancels all that it has
/// asked for, and that is no more than the answers that it can be owed.
const CROSSED_ANSWERS: usize = crate::transport::UNANSWERED;

/// An end that nobody was told of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    handle_id: HandleId,
    line: String,
    /// An answer that may have been read carried it.
    again: bool,
}

/// The ends of a session. All connections to it share them.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Everything that it has read stays unacknowledged until it was told, however long that takes.
    inbox: Inbox,
    desk: Mutex<Desk>,
    /// Held from before entries are read until they are on the desk: in between nobody would find them.
    reads: tokio::sync::Mutex<()>,
    /// Something on the desk may be told that could not before.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Desk {
    untold: BTreeMap<u64, End>,
    /// A call waits for these and will tell of them itself.
    awaited: HashMap<HandleId, usize>,
    /// In the handles of this process; none: every process's look the same.
    host_pid: Option<u32>,
    /// Launches whose handle is not known yet: what they started may have ended already.
    launching: usize,
    /// Told, and not acknowledged: that could not be said. They are not told again.
    unsaid: BTreeSet<u64>,
    /// Handles whose end was told by the answer about it, before it was in the inbox; the newest last.
    ahead: VecDeque<HandleId>,
    /// Handles of this process that a call has waited for, as long as their ends are not told.
    known: HashSet<HandleId>,
}

impl Desk {
    fn has_something(&self) -> bool {
        self.untold.values().any(|end| !self.is_held(end.handle_id))
    }
    /// Whether a call tells of it itself, or may come to.
    fn is_held(&self, handle_id: HandleId) -> bool {
        let own = self.host_pid.is_none_or(|pid| pid == handle_id.host_pid);
        self.awaited.contains_key(&handle_id)
            || (self.launching > 0 && own && !self.known.contains(&handle_id))
    }
}

impl Ends {
    pub(crate) fn new(inbox: Inbox) -> Arc<Ends> {
        let desk = Mutex::new(Desk { host_pid: inbox.host_pid(), ..Desk::default() });
        let (reads, changed) = Default::default();
        Arc::new(Ends { inbox, desk, reads, changed })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing in there can be half done: no code of others runs while it is held.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As long as the guard lives, answers to other calls do not tell of this one's end.
    pub(crate) fn awaits(self: &Arc<Ends>, handle_id: HandleId) -> Awaits {
        let mut desk = self.desk();
        *desk.awaited.entry(handle_id).or_default() += 1;
        desk.known.insert(handle_id);
        drop(desk);
        Awaits { ends: self.clone(), handle_id }
    }

    /// To be held while a command is launched: until its handle is known, nobody tells that it has ended.
    pub(crate) fn launches(self: &Arc<Ends>) -> Launches {
        self.desk().launching += 1;
        Launches(self.clone())
    }

    /// What an answer is to tell: a line for each end that no answer carries, and of `own` nothing but that it is told, since
    /// the answer is about it.
    pub(crate) async fn claim(self: &Arc<Ends>, own: Option<HandleId>) -> Result<(Vec<String>, Told), Error> {
        if let Some(own) = own {
            self.take_up(Filter::results().and_handle(own), 1).await?;
        }
        self.take_up(Filter::results(), ENDS_IN_ANSWER).await?;
        let mut desk = self.desk();
        let mut claimed = BTreeMap::new();
        let mut lines = Vec::new();
        let open: Vec<u64> = desk.untold.keys().copied().collect();
        for sequence in open {
            let Some(end) = desk.untold.get(&sequence) else { continue };
            if Some(end.handle_id) != own {
                if desk.is_held(end.handle_id) || lines.len() == ENDS_IN_ANSWER {
                    continue;
                }
                lines.push(if end.again {
                    format!("{} (again: it may have been told before)", end.line)
                } else {
                    end.line.clone()
                });
            }
            claimed.extend(desk.untold.remove_entry(&sequence));
        }
        // On a pool it can be a moment behind the result that a call has waited for.
        let of_own = |end: &End| Some(end.handle_id) == own;
        let ahead = own.filter(|_| self.inbox.can_be_behind() && !claimed.values().any(of_own));
        Ok((lines, Told { ends: self.clone(), claimed, ahead }))
    }

    /// Waits until there is something to tell, for `time` at most; false if there is nothing then.
    pub(crate) async fn wait(self: &Arc<Ends>, time: Duration) -> Result<bool, Error> {
        let until = Instant::now() + time;
        loop {
            // Before the look, so that no change is missed.
            let changed = self.changed.notified();
            self.take_up(Filter::results(), ENDS_IN_ANSWER).await?;
            if self.desk().has_something() {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            tokio::select! {
                come = self.inbox.wait(Filter::results(), left) => come?,
                () = changed => {}
            }
        }
    }

    async fn take_up(&self, filter: Filter, max: usize) -> Result<(), Error> {
        let _alone = self.reads.lock().await;
        let entries = self.inbox.read(filter, max).await?;
        let unsaid: Vec<u64> = {
            let mut desk = self.desk();
            for entry in entries {
                let Some(end) = end(&entry) else { continue };
                let ahead = desk.ahead.iter().position(|told| *told == end.handle_id);
                if let Some(ahead) = ahead {
                    desk.ahead.remove(ahead);
                    desk.unsaid.insert(entry.sequence);
                } else if !desk.unsaid.contains(&entry.sequence) {
                    desk.untold.insert(entry.sequence, end);
                }
            }
            desk.unsaid.iter().copied().collect()
        };
        // One by one: each counts.
        for sequence in unsaid {
            self.acknowledge(vec![sequence]).await;
        }
        Ok(())
    }

    /// What can't be said now is said later.
    async fn acknowledge(&self, sequences: Vec<u64>) {
        let said = self.inbox.acknowledge_these(&sequences).await.is_ok_and(|all| all);
        let mut desk = self.desk();
        for sequence in sequences {
            match said {
                true => desk.unsaid.remove(&sequence),
                false => desk.unsaid.insert(sequence),
            };
        }
    }
}

fn end(entry: &Entry) -> Option<End> {
    let record = entry.record()?;
    let line = format!(
        "{} ({}) {}",
        record.handle_id,
        on_one_line(&record.command, COMMAND_BYTES),
        record.how_it_stands()
    );
    Some(End { handle_id: record.handle_id, line, again: entry.redelivered })
}

/// See [`Ends::awaits`].
#[derive(Debug)]
pub(crate) struct Awaits {
    ends: Arc<Ends>,
    handle_id: HandleId,
}
impl Drop for Awaits {
    fn drop(&mut self) {
        let mut desk = self.ends.desk();
        if let Some(count) = desk.awaited.get_mut(&self.handle_id) {
            *count -= 1;
            if *count == 0 {
                desk.awaited.remove(&self.handle_id);
            }
        }
        drop(desk);
        self.ends.changed.notify_waiters();
    }
}

/// See [`Ends::launches`].
pub(crate) struct Launches(Arc<Ends>);
impl Drop for Launches {
    fn drop(&mut self) {
        self.0.desk().launching -= 1;
        self.0.changed.notify_waiters();
    }
}

/// Ends that an answer carries. Dropped, they were not told: the next answer tells them.
#[derive(Debug)]
pub(crate) struct Told {
    ends: Arc<Ends>,
    claimed: BTreeMap<u64, End>,
    /// The answer is about the end of this one, which was not in the inbox yet.
    ahead: Option<HandleId>,
}
impl Told {
    /// Most answers tell of nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.ahead.is_none()
    }
    /// The answer was written whole.
    pub(crate) async fn was_told(mut self) {
        let claimed = std::mem::take(&mut self.claimed);
        if let Some(ahead) = self.ahead.take() {
            let mut desk = self.ends.desk();
            if desk.ahead.len() == AHEAD {
                desk.ahead.pop_front();
            }
            desk.ahead.push_back(ahead);
        }
        if claimed.is_empty() {
            return;
        }
        let sequences: Vec<u64> = claimed.keys().copied().collect();
        {
            let mut desk = self.ends.desk();
            for end in claimed.values() {
                desk.known.remove(&end.handle_id);
            }
        }
        // A graph that has ended tells nothing more.
        self.ends.acknowledge(sequences).await;
    }

    /// A part of the answer was written.
    pub(crate) fn may_have_been_read(mut self) {
        self.claimed.values_mut().for_each(|end| end.again = true);
    }
}
impl Drop for Told {
    fn drop(&mut self) {
        let claimed = std::mem::take(&mut self.claimed);
        if !claimed.is_empty() {
            self.ends.desk().untold.extend(claimed);
            self.ends.changed.notify_waiters();
        }
    }
}

/// The requests of one connection that are not answered yet, and what their answers carry.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    open: HashMap<RequestId, Option<Told>>,
    /// What the newest answers carried: a client that cancels has not looked at an answer that was on its way.
    answered: VecDeque<(RequestId, Crossed)>,
}

/// Ends of an answer that has gone out.
#[derive(Debug)]
struct Crossed {
    ends: Arc<Ends>,
    claimed: BTreeMap<u64, End>,
    ahead: Option<HandleId>,
}

impl Ledger {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn asked(&self, id: RequestId) {
        let mut requests = self.requests();
        requests.answered.retain(|(answered, _)| *answered != id);
        requests.open.insert(id, None);
    }
    /// Its answer is not sent any more, or is thrown away by the client where it crosses the cancel; what it carries comes back.
    pub(crate) fn cancelled(&self, id: &RequestId) {
        let mut requests = self.requests();
        let open = requests.open.remove(id);
        let answered = requests.answered.iter().position(|(answered, _)| answered == id);
        let crossed = answered.and_then(|at| requests.answered.remove(at));
        drop(requests);
        drop(open);
        if let Some((_, Crossed { ends, claimed, ahead })) = crossed {
            ends.desk().ahead.retain(|told| Some(*told) != ahead);
            let again = |(sequence, end): (u64, End)| (sequence, End { again: true, ..end });
            ends.desk().untold.extend(claimed.into_iter().map(again));
            ends.changed.notify_waiters();
        }
    }
    /// The answer to this request carries these. If it was cancelled, they come back.
    pub(crate) fn attach(&self, id: &RequestId, told: Told) {
        if let Some(open) = self.requests().open.get_mut(id) {
            *open = Some(told);
        }
    }
    /// Its answer goes out now.
    pub(crate) fn answered(&self, id: &RequestId) -> Option<Told> {
        let mut requests = self.requests();
        let told = requests.open.remove(id).flatten()?;
        if requests.answered.len() == CROSSED_ANSWERS {
            requests.answered.pop_front();
        }
        let crossed = Crossed { ends: told.ends.clone(), claimed: told.claimed.clone(), ahead: told.ahead };
        requests.answered.push_back((id.clone(), crossed));
        Some(told)
    }
}
