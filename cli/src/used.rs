//! What a tree of processes uses: from its cgroup where it has one, else from each of its processes.
//!
//! * in: the leader's process id, and what holds its tree
//! * out: processor time and memory; null where it can't be known
//! * keeps: only what belongs to the tree is counted

use ostler::Containment;
use rustix::param::{clock_ticks_per_second, page_size};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What a tree uses at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Used {
    /// Processor time so far: of the cgroup all of it; else that of the living and of the children that they have waited for.
    pub(crate) cpu_ms: Option<u64>,
    /// Of the cgroup all that is charged to it; else what the living have resident, where shared pages count for each of them.
    pub(crate) memory_bytes: Option<u64>,
    /// The living.
    pub(crate) processes: Option<u64>,
}

/// Of the tree of a leader that lives. When it has ended nobody here knows its tree.
pub(crate) fn used(leader: Option<u32>, containment: Option<Containment>) -> Used {
    let Some(leader) = leader else { return Used::default() };
    if containment == Some(Containment::Cgroup)
        && let Some(dir) = cgroup_of(leader)
    {
        return of_cgroup(&dir);
    }
    let all = all_processes();
    match all.contains_key(&leader) {
        true => summed(&all, &tree(&all, leader)),
        false => Used::default(),
    }
}

/// Its leaf, wherever the second hierarchy is mounted (proc_pid_mountinfo(5), cgroups(7)).
fn cgroup_of(pid: u32) -> Option<PathBuf> {
    let line = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = line.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    // Another one is that of somebody who has moved it.
    path.rsplit('/').nth(1).filter(|graph| graph.starts_with("ostler-"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let below = format!("/{path}");
    let below = if root == "/" { &*below } else { below.strip_prefix(root)? };
    Some(Path::new(point).join(below.trim_start_matches('/')))
}

fn of_cgroup(dir: &Path) -> Used {
    let read = |file: &str| fs::read_to_string(dir.join(file)).ok();
    let procs = read("cgroup.procs");
    let pids: Option<BTreeSet<u32>> =
        procs.map(|procs| procs.lines().filter_map(|line| line.parse().ok()).collect());
    let cpu = read("cpu.stat").and_then(|stat| {
        let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        Some(line.trim().parse::<u64>().ok()? / 1_000)
    });
    // Without the controller it is nobody's account, and the processes are asked.
    let memory = read("memory.current").and_then(|text| text.trim().parse().ok());
    let summed = pids.as_ref().map(|pids| summed(&all_processes(), pids)).unwrap_or_default();
    Used {
        cpu_ms: cpu.or(summed.cpu_ms),
        memory_bytes: memory.or(summed.memory_bytes),
        processes: pids.map(|pids| pids.len() as u64),
    }
}

/// What is known of a process (proc_pid_stat(5)).
struct Process {
    parent: u32,
    session: u32,
    ticks: u64,
    pages: u64,
}

fn all_processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// None: it is dead, or that is no line of the kernel's.
fn process(stat: &str) -> Option<Process> {
    // A name can have parentheses and spaces in it.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |n: usize| fields.get(n)?.trim().parse::<u64>().ok();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Process {
        parent: u32::try_from(number(1)?).ok()?,
        session: u32::try_from(number(3)?).ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        pages: number(21)?,
    })
}

/// The leader, whoever is of its session, and all who descend from them.
fn tree(all: &BTreeMap<u32, Process>, leader: u32) -> BTreeSet<u32> {
    let mut tree: BTreeSet<u32> = all
        .iter()
        .filter(|(pid, process)| **pid == leader || process.session == leader)
        .map(|(pid, _)| *pid)
        .collect();
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, process)| !tree.contains(*pid) && tree.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return tree;
        }
        tree.extend(more);
    }
}

fn summed(all: &BTreeMap<u32, Process>, pids: &BTreeSet<u32>) -> Used {
    let found: Vec<&Process> = pids.iter().filter_map(|pid| all.get(pid)).collect();
    let ticks: u64 = found.iter().map(|process| process.ticks).sum();
    let pages: u64 = found.iter().map(|process| process.pages).sum();
    Used {
        cpu_ms: Some(ticks.saturating_mul(1_000) / clock_ticks_per_second()),
        memory_bytes: Some(pages.saturating_mul(page_size() as u64)),
        processes: Some(found.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_its_session_and_who_descends_from_it() {
        let stat = |state: &str, parent: u32, session: u32| {
            format!(
                "7 (a ) b) {state} {parent} 7 {session} 0 -1 0 0 0 0 0 3 4 1 2 20 0 1 0 99 1000 5 18446744073709551615"
            )
        };
        let all: BTreeMap<u32, Process> =
            [(7, 1, 7), (8, 7, 7), (9, 8, 9), (10, 1, 7), (11, 1, 11), (12, 1, 1)]
                .into_iter()
                .map(|(pid, parent, session)| (pid, process(&stat("S", parent, session)).unwrap()))
                .collect();
        let tree = tree(&all, 7);
        assert_eq!(tree.iter().copied().collect::<Vec<_>>(), [7, 8, 9, 10]);
        let used = summed(&all, &tree);
        assert_eq!(used.cpu_ms, Some(4 * 10 * 1_000 / clock_ticks_per_second()));
        assert_eq!((used.memory_bytes, used.processes), (Some(4 * 5 * page_size() as u64), Some(4)));
        assert!(process(&stat("Z", 1, 7)).is_none() && process("nonsense").is_none());
    }

    #[test]
    fn of_a_leader_that_is_gone_nothing_is_known() {
        assert_eq!(used(None, None), Used::default());
        assert_eq!(used(Some(u32::MAX), Some(Containment::Group)), Used::default());
    }
}
