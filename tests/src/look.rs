//! What `/proc` says about processes and about this one.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How long [`settles`] looks: far longer than the kernel needs to take a dead thread off its lists.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// A line of `/proc/pid/stat` (proc_pid_stat(5)), as far as it is needed.
struct Stat {
    state: char,
    group: u32,
    session: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let mut number = fields.skip(1).map(|field| field.parse::<u32>().ok());
    Some(Stat { state, group: number.next()??, session: number.next()?? })
}

fn lives(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x')
}

/// Whether a process lives. A zombie is dead.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| lives(&stat))
}

/// Whether a process is the leader of its own session, alive or dead: so is every leader that ostler starts.
pub(crate) fn leads(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.session == pid)
}

/// The living members of a process group.
pub fn group(group: u32) -> Vec<u32> {
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| stat(*pid).is_some_and(|stat| lives(&stat) && stat.group == group)).collect()
}

/// The children of this process, zombies included, whichever of its threads made or adopted them.
pub fn children() -> Vec<u32> {
    let mut pids = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        // A thread that ended since it was listed has handed its children on.
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        pids.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Names of this process's threads that ostler made.
pub(crate) fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("ostler-")).collect()
}

/// What this process's descriptors stand for, but for the one that looks.
pub(crate) fn descriptors() -> Vec<String> {
    let open =
        fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let mut open: Vec<String> = open.map(|target| target.display().to_string()).collect();
    let own = format!("/proc/{}/fd", std::process::id());
    open.retain(|target| *target != own);
    open.sort_unstable();
    open
}

/// How many pipe ends this process holds.
pub fn pipes() -> usize {
    descriptors().iter().filter(|target| target.starts_with("pipe:")).count()
}

/// Looks until nothing is left of what `look` lists, or the limit is over; gives what is left then.
///
/// Only for what the kernel tells nobody: it is no way to wait for a process.
pub fn settles<T>(mut look: impl FnMut() -> Vec<T>) -> Vec<T> {
    let until = Instant::now() + SETTLE_LIMIT;
    loop {
        let left = look();
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn status_bytes(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// Resident memory of this process now.
pub fn rss_bytes() -> u64 {
    status_bytes("VmRSS")
}

/// The most resident memory since [`rss_peak_reset`].
pub fn rss_peak_bytes() -> u64 {
    status_bytes("VmHWM")
}

/// Begins a new peak (proc_pid_clear_refs(5)).
pub fn rss_peak_reset() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}
