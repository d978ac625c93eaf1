//! The inbox of a session, as a host holds it: who takes entries, and who reads and acknowledges them.
//!
//! * in: the host's calls
//! * out: requests to the inbox of the graph
//! * keeps: a reader that is gone says so, once, after the ends of its calls

use super::{Call, Ostler, session::timeout_ms};
use ostler_messages::{
    Acknowledge, Answer, Drain, Entry, Filter, Pending, Push, Pushed, REDELIVER_MS, Read, ReaderGone,
    ReaderId, Sequences, SessionId, Wait,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The inbox of one session. Entries stand in it, first in first out, until somebody takes them: at once
/// ([`drain`](Inbox::drain), [`receive`](Inbox::receive)), or by [`read`](Inbox::read)ing and [acknowledging](Inbox::acknowledge) them.
///
/// A value and its clones are one reader. When the last of them is dropped, what it has read and not acknowledged comes again. In a
/// scripted [`World`](crate#testing-a-host) that drop returns when the graph has taken it up.
#[derive(Clone, Debug)]
pub struct Inbox {
    reader: Arc<Reader>,
    redeliver_ms: u64,
}

/// Shared by the clones of an [`Inbox`] and the calls that read for it, so that it ends after them.
#[derive(Debug)]
pub(crate) struct Reader {
    ostler: Ostler,
    session_id: SessionId,
    id: ReaderId,
    /// It was given something. One that was not holds nothing, and nobody needs to hear of its end.
    holds: AtomicBool,
}
impl Drop for Reader {
    fn drop(&mut self) {
        if *self.holds.get_mut() {
            let (session_id, reader) = (self.session_id.clone(), self.id);
            self.ostler.client().tell(ReaderGone { session_id, reader });
        }
    }
}

impl Inbox {
    pub(crate) fn new(ostler: Ostler, session_id: SessionId) -> Inbox {
        let id = ReaderId(ostler.client().next_reader.fetch_add(1, Ordering::Relaxed) + 1);
        let reader = Reader { ostler, session_id, id, holds: AtomicBool::new(false) };
        Inbox { reader: Arc::new(reader), redeliver_ms: REDELIVER_MS }
    }
    pub(super) fn ostler(&self) -> &Ostler {
        &self.reader.ostler
    }
    pub(super) fn session_id(&self) -> SessionId {
        self.reader.session_id.clone()
    }
    /// Takes all entries. Safe to drop at any moment: entries that did not reach the caller stay where they were.
    pub fn drain(&self) -> Call<Vec<Entry>> {
        self.take(Filter::any(), None, None)
    }
    /// Takes those that fit; the others stay, in order. Safe to drop, as [`drain`](Inbox::drain).
    pub fn drain_where(&self, filter: Filter) -> Call<Vec<Entry>> {
        self.take(filter, None, None)
    }
    /// Takes up to `max` entries that fit, and waits for the first one up to `timeout`. An empty answer means that the
    /// time is up, or the session has ended and nothing more will come. Safe to drop in a `select!` or by a timeout: it takes
    /// nothing then, also if an entry was on its way.
    pub fn receive(&self, filter: Filter, max: usize, timeout: Duration) -> Call<Vec<Entry>> {
        self.take(filter, Some(max), Some(timeout))
    }
    fn take(&self, filter: Filter, max: Option<usize>, timeout: Option<Duration>) -> Call<Vec<Entry>> {
        let (session_id, wait_ms) = (self.session_id(), timeout.map(timeout_ms));
        self.ostler().call(
            |call| Drain { call, session_id, filter, max, wait_ms },
            |answer| match answer {
                Answer::Drained { entries, .. } => Some(entries),
                _ => None,
            },
        )
    }
    /// Gives up to `max` entries that fit, and leaves them there until they are [acknowledged](Inbox::acknowledge). Until then
    /// nobody else gets them: not by `read`, [`drain`](Inbox::drain) or [`receive`](Inbox::receive), nor by
    /// [`Handle::result`](crate::Handle::result), which gets a copy; [`wait`](Inbox::wait) and [`pending`](Inbox::pending) do not count them.
    ///
    /// What is not acknowledged within a minute ([`redeliver_after`](Inbox::redeliver_after) sets another time), or before the last
    /// clone of this `Inbox` is dropped, comes again, to whoever reads next: at its old number, with
    /// [`redelivered`](Entry::redelivered). **So keep the value that reads until the work is done**; `session.inbox()` is another
    /// reader each time. Progress does not come again if there is newer progress of its handle, or its result.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let ostler = Ostler::scripted(Config::default(), &World::new())?;
    /// # let session = ostler.open_session().wait()?;
    /// # session.inbox().push("note", "host", "build it".into()).wait()?;
    /// let inbox = session.inbox();
    /// for entry in inbox.read(Filter::any(), 16).wait()? {
    ///     // Whatever happens in here, a panic or a task that is cancelled: the entry comes again.
    ///     println!("{}: {}", entry.sequence, entry.kind);
    ///     inbox.acknowledge(entry.sequence).wait()?;
    /// }
    /// assert!(inbox.drain().wait()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Safe to drop at any moment: entries that did not reach the caller were never read.
    pub fn read(&self, filter: Filter, max: usize) -> Call<Vec<Entry>> {
        self.read_as_reader(filter, max, None)
    }
    /// The same, and waits for the first entry up to `timeout`, as [`receive`](Inbox::receive) does.
    pub fn read_within(&self, filter: Filter, max: usize, timeout: Duration) -> Call<Vec<Entry>> {
        self.read_as_reader(filter, max, Some(timeout_ms(timeout)))
    }
    fn read_as_reader(&self, filter: Filter, max: usize, wait_ms: Option<u64>) -> Call<Vec<Entry>> {
        let (session_id, redeliver_ms) = (self.session_id(), self.redeliver_ms);
        let (id, reader) = (self.reader.id, self.reader.clone());
        let call = self.ostler().call(
            |call| Read { call, session_id, reader: id, filter, max: Some(max), wait_ms, redeliver_ms },
            move |answer| match answer {
                Answer::Drained { entries, .. } => {
                    reader.holds.fetch_or(!entries.is_empty(), Ordering::Relaxed);
                    Some(entries)
                }
                _ => None,
            },
        );
        call.of_reader(self.reader.clone())
    }
    /// The same reader, whose next reads come again after another time. It counts from when the entries have reached the caller;
    /// [`REDELIVER_MS`] by default.
    #[must_use = "the value that is returned has the new time"]
    pub fn redeliver_after(mut self, time: Duration) -> Inbox {
        self.redeliver_ms = timeout_ms(time);
        self
    }
    /// Takes out what this reader was given and still holds, up to this sequence number; answers how many entries that were. Dropped
    /// after it was begun or polled, they are taken out all the same.
    ///
    /// # Errors
    /// [`NeverRead`](crate::CallError::NeverRead): no entry of the session has this number yet. Then nothing is taken out.
    pub fn acknowledge(&self, up_to: u64) -> Call<u64> {
        self.acknowledge_all(Sequences::UpTo(up_to))
    }
    /// Takes out the entries of these numbers, whoever has read them and holds them or held them; answers how many there still
    /// were. So what another reader has done, or an earlier life of this host, can be acknowledged too.
    ///
    /// # Errors
    /// [`NeverRead`](crate::CallError::NeverRead): nobody can have read one of them. Then nothing is taken out.
    pub fn acknowledge_these(&self, sequences: &[u64]) -> Call<u64> {
        self.acknowledge_all(Sequences::These(sequences.iter().copied().collect()))
    }
    fn acknowledge_all(&self, sequences: Sequences) -> Call<u64> {
        let (session_id, reader) = (self.session_id(), self.reader.id);
        self.ostler().call(
            |call| Acknowledge { call, session_id, reader, sequences },
            |answer| match answer {
                Answer::Acknowledged(count) => Some(count),
                _ => None,
            },
        )
    }
    /// Waits until an entry fits, and tells how many do; 0 when the time is up. Takes nothing. Safe to
    /// drop.
    pub fn wait(&self, filter: Filter, timeout: Duration) -> Call<usize> {
        let (session_id, timeout_ms) = (self.session_id(), timeout_ms(timeout));
        self.ostler().call(
            |call| Wait { call, session_id, filter, timeout_ms },
            |answer| match answer {
                Answer::Counted(count) => Some(count),
                _ => None,
            },
        )
    }
    /// How many entries fit. Safe to drop.
    pub fn pending(&self, filter: Filter) -> Call<usize> {
        let session_id = self.session_id();
        self.ostler().call(
            |call| Pending { call, session_id, filter },
            |answer| match answer {
                Answer::Pending(count) => Some(count),
                _ => None,
            },
        )
    }
    /// Adds an entry of the host's own; answers its sequence number. Kind and source may not be ostler's own. With a
    /// [`Journal`](crate::Journal) it is stored as it is, and survives the host. Dropped after it was
    /// begun or polled, the entry is added all the same.
    pub fn push(
        &self,
        kind: impl Into<String>,
        source: impl Into<String>,
        content: serde_json::Value,
    ) -> Call<u64> {
        let (session_id, kind, source) = (self.session_id(), kind.into(), source.into());
        let content = match self.ostler().client().trace_pushed {
            true => Pushed::new(content),
            false => Pushed::new(content).withheld(),
        };
        self.ostler().call(
            |call| Push { call, session_id, kind, source, content },
            |answer| match answer {
                Answer::Pushed(sequence) => Some(sequence),
                _ => None,
            },
        )
    }
}
