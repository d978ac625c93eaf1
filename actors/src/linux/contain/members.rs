//! Living processes: of a group, or of a list.

use crate::linux::proc;
use std::{fs, io};

/// Most processes that are named in a result: a fork bomb must not fill the memory.
pub(crate) const NAMED: usize = 1_024;

/// A alive process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// Those of a list that are no zombies. An error means that nobody was able to look: an answer would be a false claim.
pub(crate) fn alive(pids: impl IntoIterator<Item = u32>) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for pid in pids {
        if let Some(stat) = proc::read_stat(pid)?.filter(|stat| !stat.zombie) {
            members.push(Member { pid, name: stat.name });
        }
    }
    Ok(members)
}

/// The processes of a group that are no zombies. A process that is forked while this looks may be missed; whoever acts on
/// the answer looks again. An error means that nobody was able to look.
pub(crate) fn of_group(group: u32) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut mounted = false;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        mounted = true;
        // One that is gone since it was listed has no stat.
        if let Some(stat) = proc::read_stat(pid)?.filter(|stat| !stat.zombie && stat.group == group) {
            members.push(Member { pid, name: stat.name });
        }
    }
    // The directory is there without the file system too.
    if mounted { Ok(members) } else { Err(io::ErrorKind::NotFound.into()) }
}
