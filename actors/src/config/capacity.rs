//! What this machine has room for.

use nix::sys::resource::{Resource, getrlimit};

/// Threads that start commands: two for each core, up to so many. A clone holds its thread until exec, which is work for
/// another core; on two cores, two went 1.2 times as fast as one, four 1.05 times as fast as two. Beyond a few, they would
/// only wait for locks in the kernel.
const SPAWN_THREADS_MAX: usize = 8;
/// Descriptors for the host itself, and a dozen of the graph's.
const RESERVED_DESCRIPTORS: u64 = 64;
/// Descriptors of one thread: its slots, or its epoll, its alarm and what wakes it.
const DESCRIPTORS_PER_THREAD: u64 = 6;
/// Descriptors of one handle: pidfd, three pipes, three files, two of its helper or its cgroup, and two for a moment at its start.
const DESCRIPTORS_PER_HANDLE: u64 = 11;
/// Handles, however many descriptors there are: the kernel has 32,768 pids by default, and each handle takes a few KiB.
const HANDLES_MAX: u64 = 8_192;

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn spawn_thread_count(cores: usize) -> usize {
    (2 * cores).min(SPAWN_THREADS_MAX)
}

/// Live handles that the descriptor limit has room for.
pub(crate) fn handles_by_descriptors() -> u64 {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1_024, 1_024));
    let cores = cores();
    let threads = (cores + spawn_thread_count(cores) + 2) as u64;
    let reserved = RESERVED_DESCRIPTORS + threads * DESCRIPTORS_PER_THREAD;
    (soft.saturating_sub(reserved) / DESCRIPTORS_PER_HANDLE).clamp(1, HANDLES_MAX)
}
