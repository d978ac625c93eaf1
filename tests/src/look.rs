//! What `/proc` says about processes and about this one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long [`settles`] looks: far longer than the kernel needs to take a dead thread off its lists.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// A line of `/proc/pid/stat` (proc_pid_stat(5)), as far as it is needed.
struct Stat {
    state: char,
    group: u32,
    session: u32,
    threads: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name may hold spaces, parentheses and any bytes.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let mut number = fields.skip(1).map(|field| field.parse::<i64>().ok().map(|n| n as u32));
    let (group, session) = (number.next()??, number.next()??);
    Some(Stat { state, group, session, threads: number.nth(13)?? })
}

/// A process whose main thread has ended lives as long as another one does.
fn lives(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x') || stat.threads > 1
}

/// Whether a process lives. A zombie is dead.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| lives(&stat))
}

/// Whether a process is the leader of its own session, alive or dead: so is every leader that ostler starts.
pub(crate) fn leads(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.session == pid)
}

fn everybody() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The living that have this as one of their arguments, but for helpers, which have them all.
pub fn marked(mark: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let own = line.starts_with(b"ostler-")
            || [b"/a-host".as_slice(), b"/changes"]
                .iter()
                .any(|own| line.windows(own.len()).any(|word| word == *own));
        !own && line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    };
    everybody().filter(|pid| has(pid) && alive(*pid)).collect()
}

/// The living members of a process group.
pub fn group(group: u32) -> Vec<u32> {
    everybody().filter(|pid| stat(*pid).is_some_and(|stat| lives(&stat) && stat.group == group)).collect()
}

/// Whether a process has ceased to run until it is continued.
pub fn stopped(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state == 'T')
}

/// The children of this process, zombies included, but for ostler's own: a graph's guard, and helpers.
pub fn children() -> Vec<u32> {
    let mut pids = all_children();
    pids.retain(|pid| {
        // The arguments are there from the first moment, the name is until the last.
        ["cmdline", "comm"].iter().all(|file| {
            let name = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            !name.starts_with(b"ostler-guard") && !name.starts_with(b"ostler-helper")
        })
    });
    pids
}

/// The children of this process, zombies included, whichever of its threads made or adopted them.
pub(crate) fn all_children() -> Vec<u32> {
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

/// The guards of a host's graphs, the newest last.
pub fn guards_of(host: u32) -> Vec<u32> {
    let is_guard = |pid: &u32| {
        // A helper is a fork of it, with another name.
        let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let parent = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent =
            parent.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        name == b"ostler-guard\n" && parent == Some(host)
    };
    let mut guards: Vec<u32> = everybody().filter(is_guard).collect();
    guards.sort_unstable();
    guards
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

/// The cgroups that the graphs of a process have made and not removed.
pub fn cgroups_of(host: u32) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| Path::new(point).join(own))
    });
    let entries = points.filter_map(|point| fs::read_dir(point).ok()).flatten().flatten();
    let name = format!("ostler-{host}-");
    entries.filter(|dir| dir.file_name().to_string_lossy().starts_with(&name)).map(|dir| dir.path()).collect()
}

/// Looks until nothing is left of what `look` lists, or the limit has ended; gives what is left then.
///
/// Only for what the kernel tells nobody: it is no way to wait for a process.
pub fn settles<T>(look: impl FnMut() -> Vec<T>) -> Vec<T> {
    settles_within(SETTLE_LIMIT, look)
}

/// The same with a limit of its own.
pub fn settles_within<T>(limit: Duration, mut look: impl FnMut() -> Vec<T>) -> Vec<T> {
    let until = Instant::now() + limit;
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
