//! Limits of a whole tree, and the controllers of cgroups (v2) that they need.
//!
//! * in: a launch that has such a limit; the first one makes the controller ready: whoever asks for none changes nothing of its machine
//! * out: a limited leaf, or why there is none; whom the kernel has ended for want of memory
//! * keeps: nothing is limited by less than was asked for: what can't be had is refused by name

use crate::linux::contain::cgroup::{Leaf, read_at, write_at};
use nix::errno::Errno;
use std::{fs, io, os::fd::AsFd, path::Path, sync::OnceLock};

/// What a whole tree may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeLimits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) processes: Option<u64>,
    pub(crate) cpu_share: Option<u64>,
}
impl TreeLimits {
    /// The name of one that is set.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let memory = self.memory_bytes.map(|_| MEMORY_LIMIT);
        memory
            .or_else(|| self.processes.map(|_| PROCESSES_LIMIT))
            .or_else(|| self.cpu_share.map(|_| CPU_SHARE))
    }
}

/// The fields of a launch.
pub(super) const MEMORY_LIMIT: &str = "memory_limit_bytes";
pub(super) const PROCESSES_LIMIT: &str = "processes_limit";
pub(super) const CPU_SHARE: &str = "cpu_share";

/// A limit that can't be kept: its field, and why.
pub(crate) struct NoLimit(pub(crate) &'static str, pub(crate) String);

impl Leaf {
    /// Sets limits for everybody in it. Before anybody is born into it.
    pub(crate) fn limit(&self, limits: TreeLimits) -> Result<(), NoLimit> {
        let write = |file: &str, value: u64| {
            self.open().and_then(|dir| write_at(dir.as_fd(), file, value.to_string().as_bytes()))
        };
        let failed = |field, file| move |errno| NoLimit(field, format!("{file} can't be written: {errno}"));
        if let Some(bytes) = limits.memory_bytes {
            write("memory.max", bytes).map_err(failed(MEMORY_LIMIT, "memory.max"))?;
            match write("memory.swap.max", 0) {
                // A kernel without swap has no such file.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed(MEMORY_LIMIT, "memory.swap.max")(errno)),
            }
        }
        let pids = limits.processes.map_or(Ok(()), |processes| write("pids.max", processes));
        pids.map_err(failed(PROCESSES_LIMIT, "pids.max"))?;
        let share = limits.cpu_share.map_or(Ok(()), |share| write("cpu.weight", share));
        share.map_err(failed(CPU_SHARE, "cpu.weight"))
    }

    /// Whether the kernel has ended somebody in it for want of memory. None: it does not count that there.
    pub(crate) fn oom_killed(&self) -> Option<bool> {
        if !self.counts_memory || self.is_removed {
            return None;
        }
        let events = self.open().and_then(|dir| read_at(dir.as_fd(), "memory.events")).ok()?;
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        Some(count.trim() != "0")
    }
}

/// A controller, and whether it can be had.
pub(crate) struct Controller {
    name: &'static str,
    tried: OnceLock<Result<(), String>>,
}

impl Controller {
    pub(crate) fn new(name: &'static str) -> Controller {
        Controller { name, tried: OnceLock::new() }
    }

    /// Whether leaves of the graph's directory have it already.
    pub(crate) fn is_enabled(&self) -> bool {
        self.tried.get().is_some_and(Result::is_ok)
    }

    /// Gives it to the leaves of the graph's directory. Says why not.
    pub(crate) fn enable(&self, graph: &Path) -> Result<(), String> {
        self.tried.get_or_init(|| self.try_to_enable(graph)).clone()
    }

    fn try_to_enable(&self, graph: &Path) -> Result<(), String> {
        let name = self.name;
        let base = graph.parent().unwrap_or(graph);
        let at = base.display();
        if !lists(base, "cgroup.controllers", name).map_err(|error| format!("{at} can't be read: {error}"))? {
            return Err(format!("the controller {name} is not delegated to the cgroup {at}"));
        }
        for dir in [base, graph] {
            let dir_at = dir.display();
            let is_on = lists(dir, "cgroup.subtree_control", name).unwrap_or(false);
            if is_on {
                continue;
            }
            fs::write(dir.join("cgroup.subtree_control"), format!("+{name}")).map_err(|error| {
                let hint = match error.kind() {
                    // "No internal processes" (cgroups(7)).
                    io::ErrorKind::ResourceBusy => {
                        "; it has processes itself: start the host in a cgroup of its own below the delegated one \
                         (systemd: Delegate=yes and DelegateSubgroup=)"
                    }
                    _ => "",
                };
                format!("the controller {name} can't be given to what is below {dir_at}: {error}{hint}")
            })?;
        }
        Ok(())
    }
}

fn lists(dir: &Path, file: &str, name: &str) -> io::Result<bool> {
    Ok(fs::read_to_string(dir.join(file))?.split_ascii_whitespace().any(|listed| listed == name))
}
