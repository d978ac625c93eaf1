//! Who descends from a process, from `/proc/pid/task/tid/children` (proc(5), CONFIG_PROC_CHILDREN). Shared by the graph
//! and by the helper, which is a program of its own: so nothing but the standard library is used here.

use std::{collections::BTreeSet, fs, io};

/// Most processes that are followed in one look; whoever acts on the answer looks again.
const MOST: usize = 65_536;

/// A descendant and the parent it was found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Descendant {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
}

/// All descendants, zombies included, parents before their children. One that forks while this looks may hide its child
/// from this look.
pub(crate) fn descendants(root: u32) -> Vec<Descendant> {
    let mut found = Vec::new();
    // Whoever acts on what was found looks again.
    let _ = read_descendants(root, &mut found);
    found
}

/// The same, apart from not being able to look: without a descriptor or memory to read `/proc`.
pub(crate) fn read_descendants(root: u32, found: &mut Vec<Descendant>) -> io::Result<()> {
    let mut seen = BTreeSet::from([root]);
    let mut next = 0;
    let mut parent = root;
    loop {
        let pids = match children(parent) {
            Err(error) if wants(&error) => return Err(error),
            // One that is gone has none.
            pids => pids.unwrap_or_default(),
        };
        for pid in pids {
            if seen.insert(pid) && found.len() < MOST {
                found.push(Descendant { pid, parent });
            }
        }
        let Some(descendant) = found.get(next) else { return Ok(()) };
        parent = descendant.pid;
        next += 1;
    }
}

/// The children of all threads of a process.
pub(crate) fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while the others are listed.
        let text = match fs::read_to_string(task?.path().join("children")) {
            Err(error) if wants(&error) => return Err(error),
            text => text.unwrap_or_default(),
        };
        children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// What `/proc/pid/stat` says: whether it is a zombie, its parent, its group, its name. None if it is gone.
pub(crate) struct Stat {
    pub(crate) zombie: bool,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) name: String,
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    read_stat(pid).ok().flatten()
}

/// Whether it was only for want of memory or descriptors.
fn wants(error: &io::Error) -> bool {
    /// ENOMEM, ENFILE, EMFILE.
    const WANT: [i32; 3] = [12, 23, 24];
    error.raw_os_error().is_some_and(|errno| WANT.contains(&errno))
}

/// The same, apart from not being able to look: without `/proc`, or a descriptor or memory to read it.
pub(crate) fn read_stat(pid: u32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if wants(&error) => Err(error),
        // Gone, or another user's and hidden.
        Err(_) => Ok(None),
    }
}

/// `pid (comm) state ppid pgrp …` (proc_pid_stat(5)); the name may hold spaces and parentheses.
fn parse(stat: &str) -> Option<Stat> {
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let name = stat.get(start + 1..end)?.to_owned();
    let mut fields = stat.get(end + 1..)?.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Stat { zombie, parent, group, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_hide_a_process() {
        let stat = parse("42 (a) b) S 1 7 7 0 -1 4194304 1 0").unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.group, stat.zombie), ("a) b", 1, 7, false));
        assert!(parse("42 (x) Z 1 7 7 0").unwrap().zombie);
        assert!(parse("42 (x").is_none());
    }

    #[test]
    fn a_child_is_found_under_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let me = std::process::id();
        assert!(descendants(me).contains(&Descendant { pid: child.id(), parent: me }));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(me).iter().any(|descendant| descendant.pid == child.id()));
    }
}
