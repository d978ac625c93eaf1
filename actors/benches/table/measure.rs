//! Clocks, counters and turns.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use std::{fs, time::Instant};

/// Milliseconds.
pub(crate) fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// Everyone once in each round, so that a noisy machine disturbs all of them; every other round backwards, so that nobody
/// always finds the memory that the same other has left. The first round does not count.
pub(crate) fn in_turns<const N: usize>(rounds: usize, all: [&mut dyn FnMut() -> f64; N]) -> [Vec<f64>; N] {
    let mut values = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for n in 0..N {
            let n = if round % 2 == 0 { n } else { N - 1 - n };
            let value = all[n]();
            if round > 0 {
                values[n].push(value);
            }
        }
    }
    values
}

/// The best of the worst hundredth.
pub(crate) fn p99(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    vec![values[(values.len() - 1) * 99 / 100]]
}

fn status_kib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
pub(crate) fn resident_kib() -> f64 {
    status_kib("VmRSS:")
}
pub(crate) fn threads() -> f64 {
    status_kib("Threads:")
}
pub(crate) fn descriptors() -> f64 {
    fs::read_dir("/proc/self/fd").unwrap().count() as f64
}
/// Begins a new peak.
pub(crate) fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}
pub(crate) fn peak_kib() -> f64 {
    status_kib("VmHWM:")
}
/// What this process has taken, in microseconds of all cores.
pub(crate) fn cpu_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64)
        .sum()
}

/// Makes room for this many handles, and says for how many there is. ostler never raises the limit of its host; this host does it
/// for itself.
pub(crate) fn raise_descriptors(handles: usize) -> usize {
    const EACH: u64 = 5;
    const REST: u64 = 1_000;
    let want = handles as u64 * EACH + REST;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < want {
        // Beyond the hard limit only with privileges.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, want, hard.max(want))
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    handles.min((soft.saturating_sub(REST) / EACH).max(1) as usize)
}
