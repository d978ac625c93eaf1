//! Low descriptor numbers, through which a child is given its files.
//!
//! A child begins with the host's table of descriptors, and keeps of it only what lies below the highest slot. So a host
//! with thousands of descriptors starts commands as fast as one with ten: nothing is copied, and nothing closed.

use crate::linux::sys::duplicate_from;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::Mode,
    unistd::dup3,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Most files that a child is given, and the one that it executes.
pub(crate) const SLOTS: usize = 5;

/// Most files that a child is given.
pub(crate) const FILES: usize = SLOTS - 1;
/// The child arranges its files below this number, so nothing that it still needs may lie there.
pub(crate) const FIRST_FREE: RawFd = FILES as RawFd;

/// Those of one spawn thread: the lowest numbers that were free when it began.
pub(crate) struct Slots {
    slots: [OwnedFd; SLOTS],
    empty: OwnedFd,
}

impl Slots {
    /// `empty` is what they hold between two children.
    pub(crate) fn new(empty: BorrowedFd<'_>) -> Result<Slots, Errno> {
        let slot = || duplicate_from(FIRST_FREE, empty);
        Ok(Slots { slots: [slot()?, slot()?, slot()?, slot()?, slot()?], empty: slot()? })
    }

    /// Puts a file into a slot.
    pub(crate) fn put(&mut self, slot: usize, file: BorrowedFd<'_>) -> Result<RawFd, Errno> {
        let slot = &mut self.slots[slot.min(SLOTS - 1)];
        dup3(file, slot, OFlag::O_CLOEXEC)?;
        Ok(slot.as_raw_fd())
    }

    /// Lets go of what was put: a pipe ends only when nobody holds its other side.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            // Both descriptors are open, and the number is in use already: nothing is wanting.
            let _ = dup3(self.empty.as_fd(), slot, OFlag::O_CLOEXEC);
        }
    }

    /// The first number above all of them.
    pub(crate) fn above(&self) -> RawFd {
        self.slots.iter().map(|slot| slot.as_raw_fd() + 1).max().unwrap_or(FIRST_FREE)
    }
}

/// A host may run with its standard descriptors closed; then new ones get their numbers, and the child would overwrite
/// them while it arranges its own.
pub(crate) fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() >= FIRST_FREE { Ok(fd) } else { duplicate_from(FIRST_FREE, fd.as_fd()) }
}

/// A host may run with its standard descriptors closed. Then `/dev/null` takes their numbers as long as the graph lives: else a
/// file of ours would get one, and a stray print of the host's would land in it.
pub(crate) fn standard_descriptors() -> Result<Vec<OwnedFd>, Errno> {
    let mut taken = Vec::new();
    loop {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(taken);
        }
        taken.push(null);
    }
}
