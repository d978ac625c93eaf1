//! Chance that can be had again.

use std::time::Duration;

/// Marsaglia's xorshift64: the same seed gives the same throws, in every version of ostler.
#[derive(Clone, Debug)]
pub struct Dice(u64);
impl Dice {
    /// From a seed; 0 is taken for 1.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.max(1))
    }
    /// A number below this one; 0 below 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
    /// Once in so many times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// One of these.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
    /// Less than so many milliseconds.
    pub fn ms(&mut self, max: u64) -> Duration {
        Duration::from_millis(self.below(max))
    }
}
