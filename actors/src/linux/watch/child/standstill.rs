//! How a tree is brought to a standstill, and what of it goes on.

use super::Child;
use crate::linux::contain::{standstill::Standstill, tree::Tree};
use std::fs::File;

impl Child {
    /// Freezes it, and gives the file by which it can be let go on. None: no cgroup does that for it.
    pub(crate) fn freeze(&self) -> Option<File> {
        match &self.tree {
            Tree::Cgroup(leaf) => leaf.freeze().ok(),
            Tree::Group | Tree::Subreaper => None,
        }
    }

    /// Whether all of it is frozen.
    ///
    /// # Errors
    /// That can't be told, and why.
    pub(crate) fn is_frozen(&self) -> Result<bool, String> {
        let Tree::Cgroup(leaf) = &self.tree else { return Err("it has no cgroup".into()) };
        let unreadable = |errno| format!("its cgroup can't be looked at: {errno}");
        if !leaf.is_frozen().map_err(unreadable)? {
            return Ok(false);
        }
        // A cgroup without anybody is frozen too.
        match leaf.members().map_err(unreadable)?.contains(&self.group.pid) {
            true => Ok(true),
            false => Err("somebody has moved it into another cgroup".into()),
        }
    }

    /// It is about to end, or has ended: its output waits for no follower any more.
    pub(crate) fn lift(&mut self) {
        self.follow.take().into_iter().for_each(|growth| growth.lift());
    }

    /// For the look thread. None: nobody of it is left, or no descriptor is.
    pub(crate) fn standstill(&self) -> Option<Standstill> {
        let leader = self.group.pidfd.try_clone().ok()?;
        Some(Standstill::new(self.view()?, leader))
    }
}
