//! Bytes on disk that several commands share.
//!
//! * in: what a command is about to write; commands whose files are gone
//! * out: how much of it may be written
//! * keeps: never more is out than the limit, however many write at once

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Bytes on disk that several commands share. Locked for each write of a command that has one; others know nothing of it.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: u64,
    /// By command, as long as its files are there.
    by_command: BTreeMap<u64, u64>,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(limit: u64) -> Budget {
        Budget { limit, used: Mutex::default() }
    }
    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing can panic while it is locked.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes there may be.
    pub fn limit(&self) -> u64 {
        self.limit
    }
    /// How many there are.
    pub fn used(&self) -> u64 {
        self.lock().total
    }

    /// How many of `count` bytes command `n` may write, each of them into so many files.
    pub(crate) fn take(&self, n: u64, count: u64, files: u64) -> u64 {
        let mut used = self.lock();
        let granted = count.min((self.limit - used.total) / files.max(1));
        used.total += granted * files;
        *used.by_command.entry(n).or_default() += granted * files;
        granted
    }

    /// Command `n` has taken so many bytes in vain.
    pub(crate) fn put_back(&self, n: u64, bytes: u64) {
        let mut used = self.lock();
        let Some(own) = used.by_command.get_mut(&n) else { return };
        let bytes = bytes.min(*own);
        *own -= bytes;
        used.total -= bytes;
    }

    /// The files of this command are gone.
    pub fn give_back(&self, n: u64) {
        let mut used = self.lock();
        let bytes = used.by_command.remove(&n).unwrap_or(0);
        used.total -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_together_is_never_more_than_the_limit() {
        let budget = Budget::new(100_001);
        let takes = |n| (0..100_000).map(|_| budget.take(n, 3, 2)).sum::<u64>();
        let taken: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || takes(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((taken.iter().sum::<u64>(), budget.used()), (50_000, 100_000));
        assert_eq!(budget.take(9, 1, 2), 0, "the last byte can't be in two files");
        for (n, taken) in taken.iter().enumerate() {
            let before = budget.used();
            budget.give_back(n as u64);
            budget.give_back(n as u64);
            assert_eq!(budget.used(), before - 2 * taken);
        }
        assert_eq!(budget.used(), 0);
    }
}
