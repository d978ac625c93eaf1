//! A thread that digests what another one writes.

use sha2::{Digest, Sha256};
use std::{
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
};

/// Up to it, waking another thread is not worth it: the digest takes about 0.6 µs for each KiB. Streams that share their
/// thread are read in pieces of this size: then every core is busy, and a digest beside would only be waited for.
pub(crate) const WORTH_BYTES: usize = 64 << 10;

/// A digest takes about as long as the two writes that go with it, so a recorder that is given one of these is up to
/// half as slow again without. It belongs to one recording thread, which never waits for it to *begin*: what was not taken
/// up by the time the bytes are written, because every core is busy, is done by the recording thread itself.
#[derive(Debug)]
pub struct DigestWorker {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Slot {
    work: Mutex<Work>,
    offered: Condvar,
    finished: Condvar,
}

#[derive(Debug)]
enum Work {
    None,
    Offered(Job),
    Taken,
    Finished(Sha256),
    Quit,
}

#[derive(Debug)]
struct Job {
    digest: Sha256,
    bytes: Arc<Vec<u8>>,
    count: usize,
}
impl Job {
    /// The bytes are free again afterwards.
    fn run(mut self) -> Sha256 {
        self.digest.update(&self.bytes[..self.count]);
        self.digest
    }
}

impl Slot {
    fn work(&self) -> MutexGuard<'_, Work> {
        // Nothing can panic while it is held: it is only ever replaced.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn wait<'a>(&self, on: &Condvar, work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        on.wait(work).unwrap_or_else(PoisonError::into_inner)
    }
}

impl DigestWorker {
    /// Starts the thread, under this name.
    pub fn new(name: String) -> io::Result<DigestWorker> {
        let slot = Arc::new(Slot {
            work: Mutex::new(Work::None),
            offered: Condvar::new(),
            finished: Condvar::new(),
        });
        let shared = slot.clone();
        let thread = Builder::new().name(name).spawn(move || serve(&shared))?;
        Ok(DigestWorker { slot, thread: Some(thread) })
    }

    /// Digests the first `count` bytes while `meanwhile` runs. Afterwards nobody else has the bytes.
    pub(crate) fn digest(
        &mut self,
        digest: Sha256,
        bytes: &Arc<Vec<u8>>,
        count: usize,
        meanwhile: impl FnOnce(),
    ) -> Sha256 {
        *self.slot.work() = Work::Offered(Job { digest, bytes: bytes.clone(), count });
        self.slot.offered.notify_one();
        meanwhile();
        let mut work = self.slot.work();
        loop {
            match mem::replace(&mut *work, Work::None) {
                Work::Finished(digest) => return digest,
                Work::Offered(job) => {
                    drop(work);
                    return job.run();
                }
                // It is at it, and nothing in a digest can fail.
                taken => {
                    *work = taken;
                    work = self.slot.wait(&self.slot.finished, work);
                }
            }
        }
    }
}

impl Drop for DigestWorker {
    fn drop(&mut self) {
        *self.slot.work() = Work::Quit;
        self.slot.offered.notify_one();
        // It has nothing else to do, so it is there at once.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(slot: &Slot) {
    let mut work = slot.work();
    loop {
        match mem::replace(&mut *work, Work::Taken) {
            Work::Offered(job) => {
                drop(work);
                let digest = job.run();
                work = slot.work();
                // Unless its owner has gone meanwhile, which wants nothing more.
                if matches!(*work, Work::Taken) {
                    *work = Work::Finished(digest);
                    slot.finished.notify_one();
                    work = slot.wait(&slot.offered, work);
                }
            }
            Work::Quit => return,
            nothing => {
                *work = nothing;
                work = slot.wait(&slot.offered, work);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_panics_meanwhile_is_rid_of_it_all_the_same() {
        let bytes = Arc::new(vec![0; 8 << 20]);
        for n in 0..50 {
            let mut worker = DigestWorker::new("digest".into()).unwrap();
            let crash = std::panic::AssertUnwindSafe(|| {
                worker.digest(Sha256::new(), &bytes, bytes.len(), || {
                    // Before it is taken up, and while it is digested.
                    (0..n).for_each(|_| std::thread::yield_now());
                    std::panic::resume_unwind(Box::new("a fault"));
                });
            });
            assert!(std::panic::catch_unwind(crash).is_err());
            drop(worker);
        }
    }

    #[test]
    fn the_digest_is_the_same_with_a_worker_as_without() {
        let mut worker = DigestWorker::new("digest".into()).unwrap();
        let mut bytes = Arc::new(vec![0; 2 * WORTH_BYTES]);
        let (mut digest, mut tree_empty) = (Sha256::new(), Sha256::new());
        for n in 0..500_usize {
            let count = 2 * WORTH_BYTES - n;
            Arc::get_mut(&mut bytes).unwrap().fill(n as u8);
            tree_empty.update(&bytes[..count]);
            // At times it is not taken up before it is wanted back, at times it is finished long before.
            digest = worker.digest(digest, &bytes, count, || {
                if n % 3 == 0 {
                    std::hint::black_box(Sha256::digest(vec![1; n * 100]));
                }
            });
        }
        assert_eq!(digest.finalize(), tree_empty.finalize());
    }
}
