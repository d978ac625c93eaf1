//! How far a command's files have grown, seen from other threads.
//!
//! * in: the writer's progress, where it stops, its end
//! * out: readers that wait for any of them, woken
//! * keeps: a reader that came before the end is woken by it

use crate::ahead::Ahead;
use crate::{OutputFile, lines::Marks, remembered::Remembered, said::Said};
use event_listener::Event;
use ostler_messages::{Output, Stream};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    time::Instant,
};

/// The four "files" of a command that is only played, in the order of [`OutputFile`].
pub(crate) type Memory = [Remembered; 4];

/// Where and why the recording stopped while the command went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Bytes of the file that were recorded; what comes behind them is nowhere.
    pub offset: u64,
    /// What stopped it, in the words of [`Output::artifact_error`].
    pub why: String,
}

/// Shared between the one thread that records a command and any number of readers.
///
/// A length is published only after its bytes are in the file, so what is counted here can be read.
#[derive(Debug, Default)]
pub struct Growth {
    files: [File; 4],
    ended: AtomicBool,
    keeps: AtomicBool,
    kept_ended: AtomicBool,
    /// Readers that wait or are about to. Notifying takes a lock, so the writer asks here first.
    waiters: AtomicUsize,
    grown: Event,
    memory: OnceLock<Mutex<Memory>>,
    /// Locked for each read of the recording thread: nobody else but a peek ever waits for it.
    said: Mutex<Option<Said>>,
    /// In the order of [`OutputFile`]; locked by the recording thread once in each MiB.
    marks: Mutex<[Marks; 4]>,
    /// None: nobody is followed, and the recording waits for nobody.
    pub(crate) ahead: OnceLock<Ahead>,
}

/// One of the files, as far as others may know it.
#[derive(Debug, Default)]
struct File {
    length: AtomicU64,
    missed: AtomicU64,
    stopped: OnceLock<Stopped>,
}

impl Growth {
    /// Nothing recorded yet, not ended.
    pub fn new() -> Growth {
        Growth::default()
    }

    fn file(&self, which: OutputFile) -> &File {
        &self.files[which as usize]
    }

    /// Bytes of one file that can be read.
    pub fn length(&self, which: OutputFile) -> u64 {
        self.file(which).length.load(Ordering::Acquire)
    }

    /// Whether nothing will be added any more to what the command says. Ask before [`Growth::length`]: the length is
    /// final only if it was asked for after the end was seen.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether nothing will be added to this file: its recording has ended, or has stopped. Ask before
    /// [`Growth::length`]. What kept leftovers say ends after the command, with [`Growth::end_kept`]; of a command that
    /// keeps none, with it.
    pub fn ended_of(&self, which: OutputFile) -> bool {
        let ended = match which {
            OutputFile::Kept => {
                let ended = self.ended() && !self.keeps.load(Ordering::Acquire);
                ended || self.kept_ended.load(Ordering::Acquire)
            }
            OutputFile::Combined | OutputFile::Stdout | OutputFile::Stderr => self.ended(),
        };
        ended || self.file(which).stopped.get().is_some()
    }

    /// Whether there is a byte at `offset`, or nothing will come any more.
    pub fn ready(&self, which: OutputFile, offset: u64) -> bool {
        self.ended_of(which) || self.length(which) > offset
    }

    /// Where the combined output stopped to be recorded and why: the output limit, a write that failed, no files at
    /// all (offset 0). None as long as every byte is there. It never changes again.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped_of(OutputFile::Combined)
    }
    /// The same of one file: a write may fail in one and go on in the others.
    pub fn stopped_of(&self, which: OutputFile) -> Option<Stopped> {
        self.file(which).stopped.get().cloned()
    }

    /// How many bytes of the combined output are not recorded, so far.
    pub fn missed(&self) -> u64 {
        self.missed_of(OutputFile::Combined)
    }
    /// The same of one file.
    pub fn missed_of(&self, which: OutputFile) -> u64 {
        self.file(which).missed.load(Ordering::Acquire)
    }

    /// Publishes new lengths, in bytes, of the combined file and of one stream's, and wakes every waiting reader.
    /// For the one recording thread; a few nanoseconds when nobody waits.
    pub fn advance(&self, stream: Stream, combined: u64, of_stream: u64) {
        self.set_length(OutputFile::Combined, combined);
        self.set_length(OutputFile::from(stream), of_stream);
        self.wake();
    }
    /// The same of what kept leftovers say.
    pub(crate) fn advance_kept(&self, length: u64) {
        self.set_length(OutputFile::Kept, length);
        self.wake();
    }
    fn set_length(&self, which: OutputFile, length: u64) {
        self.file(which).length.store(length, Ordering::Release);
    }

    /// Says that a file will have nothing more than its length now, of what the command goes on to say. Once.
    pub(crate) fn stop(&self, which: OutputFile, why: impl FnOnce() -> String) {
        let stopped = &self.file(which).stopped;
        if stopped.get().is_none() {
            stopped.get_or_init(|| Stopped { offset: self.length(which), why: why() });
            self.wake();
        }
    }
    pub(crate) fn set_missed(&self, which: OutputFile, bytes: u64) {
        self.file(which).missed.store(bytes, Ordering::Release);
    }

    /// Says that leftovers of the command are kept: what they say comes after its end, and [`Growth::end_kept`] ends
    /// it. To be called before the record is sealed: a reader that has seen the end already does not come back.
    pub fn keep(&self) {
        self.keeps.store(true, Ordering::Release);
    }

    /// Says that nothing will be added, and wakes every waiting reader. More than once is the same as once.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }
    /// The same of what kept leftovers say.
    pub fn end_kept(&self) {
        self.kept_ended.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Either this load sees the waiter, or the waiter's look at the lengths, which comes after its own fence, sees
        // our store: with a full fence between store and load on both sides, both cannot be missed.
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.grown.notify(usize::MAX);
        }
    }

    /// Blocks until there is a byte at `offset`, or the end, or the deadline. False only after the deadline.
    pub(crate) fn wait(&self, which: OutputFile, offset: u64, deadline: Instant) -> bool {
        while !self.ready(which, offset) {
            let _waiting = Waiting::new(self);
            let listener = self.grown.listen();
            if !self.ready(which, offset)
                && event_listener::Listener::wait_deadline(listener, deadline).is_none()
            {
                return self.ready(which, offset);
            }
        }
        true
    }

    /// Resolves when there is a byte at `offset`, or at the end.
    pub(crate) async fn grow(&self, which: OutputFile, offset: u64) {
        while !self.ready(which, offset) {
            let _waiting = Waiting::new(self);
            let listener = self.grown.listen();
            if !self.ready(which, offset) {
                listener.await;
            }
        }
    }

    /// What was said so far, with at most `inline_bytes` raw bytes of each text; no digest. A character whose last bytes have
    /// not come yet is left out. None for a command that is not recorded any more.
    ///
    /// `recorded_bytes` is where reading goes on after these texts: what they hold and is not written yet will stand before it.
    pub fn peek(&self, inline_bytes: u64) -> Option<Output> {
        let output = self.said().as_ref()?.output(inline_bytes, true);
        Some(match self.stopped() {
            None => Output { recorded_bytes: output.byte_count, ..output },
            Some(Stopped { offset, why }) => {
                Output { recorded_bytes: offset, artifact_error: Some(why), ..output }
            }
        })
    }

    pub(crate) fn said(&self) -> MutexGuard<'_, Option<Said>> {
        // Whoever panicked with the lock held has lost at most the count of what it was pushing.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines begin before which offset, here and there in a file.
    pub(crate) fn marks(&self) -> MutexGuard<'_, [Marks; 4]> {
        // A mark is pushed or it is not: whoever panicked has left the others as they were.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the bytes are here instead of on disk.
    pub(crate) fn keep_in_memory(&self) {
        self.memory.get_or_init(Mutex::default);
    }

    /// The bytes, if they are kept here.
    pub(crate) fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        // A reader that panicked cannot have left a vector half changed: only the recorder changes them.
        self.memory.get().map(|memory| memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One reader in [`Growth::waiters`], also when its future is dropped half way.
struct Waiting<'a>(&'a Growth);
impl<'a> Waiting<'a> {
    fn new(live: &'a Growth) -> Waiting<'a> {
        live.waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Waiting(live)
    }
}
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, time::Duration};

    #[test]
    fn a_thread_that_waits_misses_no_growth() {
        let live = Arc::new(Growth::new());
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let live = live.clone();
                std::thread::spawn(move || {
                    let mut seen = 0;
                    let deadline = Instant::now() + Duration::from_secs(60);
                    while !live.ended() {
                        assert!(
                            live.wait(OutputFile::Stdout, seen, deadline),
                            "a growth was missed at {seen}"
                        );
                        seen = live.length(OutputFile::Stdout);
                    }
                    live.length(OutputFile::Stdout)
                })
            })
            .collect();
        for n in 1..=50_000 {
            live.advance(Stream::Stdout, n, n);
            if n % 64 == 0 {
                std::thread::yield_now();
            }
        }
        live.end();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 50_000));
        assert_eq!(live.waiters.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_wait_for_nothing_ends_at_its_deadline() {
        let live = Growth::new();
        assert!(!live.wait(OutputFile::Combined, 0, Instant::now() + Duration::from_millis(5)));
        assert_eq!(live.waiters.load(Ordering::Relaxed), 0);
    }
}
