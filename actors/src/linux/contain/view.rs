//! A tree as another thread than the signal thread can look at it.
//!
//! * in: what holds the tree
//! * out: the processes that are in it now
//! * keeps: an error means that nobody was able to look

use crate::linux::{
    contain::{cgroup, helper::Helper, members, tree::Tree},
    proc,
    sight::input::InputTarget,
    sys,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// What holds it.
enum Held {
    /// The directory of its cgroup.
    Cgroup(OwnedFd),
    /// Everybody descends from this helper, which is none of them.
    Helper { pid: u32, leader: u32 },
    /// The leader's group and session.
    Leader(u32),
}

/// See the [module](self).
pub(crate) struct TreeView {
    held: Held,
    /// Where the command reads its input from, if somebody can write to it.
    pub(crate) input: Option<InputTarget>,
}

impl TreeView {
    pub(crate) fn of(
        tree: &Tree,
        helper: Option<&Helper>,
        leader: u32,
        input: Option<InputTarget>,
    ) -> TreeView {
        let held = match (tree, helper) {
            (Tree::Cgroup(leaf), _) => leaf.open().map_or(Held::Leader(leader), Held::Cgroup),
            (Tree::Subreaper, Some(helper)) if !helper.gone => Held::Helper { pid: helper.pid, leader },
            (Tree::Subreaper | Tree::Group, _) => Held::Leader(leader),
        };
        TreeView { held, input }
    }

    /// Who is in it.
    ///
    /// # Errors
    /// Nobody was able to look.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        match &self.held {
            Held::Cgroup(dir) => Ok(cgroup::pids_below(dir.as_fd())?),
            Held::Helper { pid, .. } => {
                members::readable()?;
                let mut found = Vec::new();
                proc::read_descendants(*pid, &mut found)?;
                Ok(found.into_iter().map(|descendant| descendant.pid).collect())
            }
            Held::Leader(pid) => {
                Ok(members::of_leader(*pid)?.alive.into_iter().map(|member| member.pid).collect())
            }
        }
    }

    /// Whether the number by which it is found is its own still: its leader's, as long as that is not reaped, or that of the helper whose
    /// child the leader is. A cgroup has no number.
    pub(crate) fn is_held_by(&self, leader: BorrowedFd<'_>) -> bool {
        match &self.held {
            Held::Cgroup(_) => true,
            Held::Leader(_) => sys::is_held(leader),
            // Read before the leader was seen to be held: it was its own.
            Held::Helper { pid, leader: number } => {
                let parent = proc::look(*number).ok().and_then(|seen| Some(seen.stat()?.parent));
                parent == Some(*pid) && sys::is_held(leader)
            }
        }
    }

    /// The number by which the kernel names the cgroup, if it has one of its own.
    pub(crate) fn cgroup_id(&self) -> Option<u64> {
        match &self.held {
            Held::Cgroup(dir) => nix::sys::stat::fstat(dir).ok().map(|stat| stat.st_ino),
            Held::Helper { .. } | Held::Leader(_) => None,
        }
    }
}
