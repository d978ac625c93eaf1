//! What holds a tree together and ends it: a cgroup, a helper, or the leader's group.

pub(crate) mod cgroup;
mod cgroup_mount;
pub(crate) mod group;
pub(crate) mod helper;
// The helper uses more of it than the graph.
#[path = "helper/protocol.rs"]
#[allow(dead_code)]
pub(crate) mod helper_protocol;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod members;
pub(crate) mod standstill;
pub(crate) mod tier;
pub(crate) mod tree;
pub(crate) mod view;
