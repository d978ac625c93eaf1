//! Living processes: of a list, or of a leader's group and session.
//!
//! * in: numbers
//! * out: who lives, with a name where it can be read
//! * keeps: an error means that nobody was able to look: an answer would be a false claim

use crate::linux::{
    contain::tree::is_led,
    proc::{self, Seen},
};
use std::{collections::BTreeSet, fs, io, sync::OnceLock};

/// Most processes that are named in a result: a fork bomb must not fill the memory.
pub(crate) const NAMED: usize = 1_024;

/// What stands for the name of a process that lives and can't be read.
const HIDDEN: &str = "(hidden)";

/// A living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: u32,
    /// 0: hidden.
    pub(crate) group: u32,
    pub(crate) name: String,
}

fn member(pid: u32) -> io::Result<Option<Member>> {
    Ok(match proc::look(pid)? {
        Seen::Alive(stat) => Some(Member { pid, group: stat.group, name: stat.name }),
        Seen::Hidden => Some(Member { pid, group: 0, name: HIDDEN.to_owned() }),
        Seen::Absent | Seen::Dead(_) => None,
    })
}

/// Whether `/proc` shows the processes that we mean. Looked at once in the life of the host; where it does not, it is as good
/// as absent.
pub(crate) fn readable() -> io::Result<()> {
    static TRUSTED: OnceLock<Result<(), String>> = OnceLock::new();
    TRUSTED.get_or_init(proc::trusted).clone().map_err(io::Error::other)
}

/// Those of a list who live.
pub(crate) fn alive(pids: impl IntoIterator<Item = u32>) -> io::Result<Vec<Member>> {
    readable()?;
    pids.into_iter().filter_map(|pid| member(pid).transpose()).collect()
}

/// Whom a leader leads or led: its group and its session.
pub(crate) struct Led {
    pub(crate) alive: Vec<Member>,
    /// Dead ones whom nobody has taken away: the group's descriptor counts them too.
    pub(crate) zombies: BTreeSet<u32>,
}

/// One that is forked while this looks may be missed; whoever acts on the answer looks again.
///
/// It asks for each process of the machine, so it is for a thread that nobody waits for.
pub(crate) fn of_leader(leader: u32) -> io::Result<Led> {
    readable()?;
    let mut led = Led { alive: Vec::new(), zombies: BTreeSet::new() };
    let mut is_mounted = false;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        is_mounted = true;
        // What the kernel answers without a file.
        if is_led(pid, leader) {
            match member(pid)? {
                Some(member) => led.alive.push(member),
                None => drop(led.zombies.insert(pid)),
            }
        }
    }
    // The directory is there without the file system too.
    if is_mounted { Ok(led) } else { Err(io::ErrorKind::NotFound.into()) }
}
