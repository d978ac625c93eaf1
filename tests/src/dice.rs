//! Chance that can be had again.

use std::time::Duration;

/// Marsaglia's xorshift64.
pub struct Dice(u64);
impl Dice {
    /// The same seed gives the same throws. Not 0.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.max(1))
    }
    /// A number below this one.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
    /// Once in so many times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
    /// So many milliseconds at most.
    pub fn ms(&mut self, max: u64) -> Duration {
        Duration::from_millis(self.below(max))
    }
}

/// `OSTLER_TESTS_SEED`, to see a failure again; else this one.
pub fn seed_or(otherwise: u64) -> u64 {
    std::env::var("OSTLER_TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(otherwise)
}
