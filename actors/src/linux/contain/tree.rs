//! What holds the processes of one command together.

use crate::linux::contain::{cgroup::Leaf, helper::Link};
use std::os::fd::OwnedFd;

/// What holds the tree together beside the leader's group.
pub(crate) enum Tree {
    Group,
    Cgroup(Leaf),
    Helper(Helper),
}

/// The leader's real parent, which reports its end.
pub(crate) struct Helper {
    pub(crate) link: Link,
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    /// It has reported that nothing is left.
    pub(crate) empty: bool,
    /// Nothing more will come from it.
    pub(crate) gone: bool,
}
