//! A process that has just been started, on its way from its spawn thread to the signal thread.

use crate::linux::{
    clock::Activity,
    contain::{helper::Helper, tree::Tree},
    sight::input::InputTarget,
};
use nix::sys::signal::Signal;
use ostler_artifacts::Growth;
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

/// A process that has just been started.
pub(crate) struct Watch {
    pub(crate) n: u64,
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    /// What is sent first to stop it.
    pub(crate) stop: Signal,
    pub(crate) began: Instant,
    pub(crate) activity: Arc<Activity>,
    /// Its output, if a follower is waited for.
    pub(crate) follow: Option<Arc<Growth>>,
    pub(crate) tree: Tree,
    /// Its parent. None: the host itself.
    pub(crate) helper: Option<Helper>,
    /// Where it reads its input from, if somebody can write to it.
    pub(crate) input: Option<InputTarget>,
    /// Whether its descriptor is watched already.
    pub(crate) watched: bool,
}
impl Watch {
    /// What becomes readable when something has happened.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        told_by(self.helper.as_ref(), self.pidfd.as_fd())
    }
}

/// Its parent tells how it ended; the host as its parent asks by the pidfd.
pub(crate) fn told_by<'a>(helper: Option<&'a Helper>, pidfd: BorrowedFd<'a>) -> BorrowedFd<'a> {
    helper.and_then(Helper::link).map_or(pidfd, |link| link.as_fd())
}
