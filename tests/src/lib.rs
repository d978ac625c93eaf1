//! What the tests of ostler share: the harness for real processes, and the programs they run.
//!
//! [`Bench`] is a graph with one session on a ground of its own. When it is dropped it ends the graph and looks whether
//! anything was left: a child, an orphan, a thread, a descriptor, a directory. Such a look means the whole process, so
//! the tests of one binary take turns: a `Bench` holds the turn as long as it lives.
//!
//! Nothing here sleeps to let something happen. A test waits for a marker in the output, for a result, for the other
//! end of a FIFO. Where the system offers no event at all (a thread that was joined but is still listed in `/proc`),
//! [`settles`] looks again until a limit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap in the harness is a failed test"
)]

/// Its blocks are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
mod embedding {}

/// The same.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing-a-host.md")]
mod testing_a_host {}

mod bench;
mod disk;
mod ground;
pub mod hosts;
pub mod lives;
mod look;
mod other_host;
mod tier;
pub mod worlds;

pub use bench::{Bench, LIMIT, SLACK, SMALL_DISK_BYTES, next_n, sh};
pub use disk::SmallDisk;
pub use ground::Ground;
pub use look::{
    alive, cgroups_of, children, group, guards_of, marked, pipes, rss_bytes, rss_peak_bytes, rss_peak_reset,
    settles, settles_within, stopped,
};
pub use ostler::{Containment, testing::Dice};
pub use other_host::{OtherHost, RunningHost, begun};
pub(crate) use tier::tier_name;
pub use tier::{Settings, TIER_VARIABLE, config, has_tier, tier, tier_of, within};

/// Path of a fixture program of this package, for its integration tests.
#[macro_export]
macro_rules! fixture {
    ($name:literal) => {
        env!(concat!("CARGO_BIN_EXE_", $name))
    };
}

/// Makes a test of each of these functions in each tier of containment: modules `cgroup`, `subreaper` and `group`. A
/// tier that this machine has not is said on stderr.
#[macro_export]
macro_rules! in_every_tier {
    ($($test:ident),* $(,)?) => {
        mod cgroup { $crate::in_tier!(Cgroup: $($test),*); }
        mod subreaper { $crate::in_tier!(Subreaper: $($test),*); }
        mod group { $crate::in_tier!(Group: $($test),*); }
    };
}

/// The tests of one tier.
#[macro_export]
macro_rules! in_tier {
    ($tier:ident: $($test:ident),*) => { $(
        #[test]
        fn $test() {
            $crate::within($crate::Containment::$tier, stringify!($test), super::$test);
        }
    )* };
}

/// So many milliseconds.
pub fn ms(ms: u64) -> std::time::Duration {
    std::time::Duration::from_millis(ms)
}

/// `OSTLER_TESTS_SEED`, to see a failure again; else this one.
pub fn seed_or(otherwise: u64) -> u64 {
    std::env::var("OSTLER_TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(otherwise)
}
