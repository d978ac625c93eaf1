//! A tree that no cgroup freezes, brought to a standstill one by one (signal(7), SIGSTOP), and let go on again.
//!
//! * in: a tree as another thread sees it
//! * out: how many had to be signalled in one pass
//! * keeps: nobody is signalled who is not of the tree; who forks while this looks is seen by the next pass
//!
//! Each pass looks at each process of the tree, in the tier `group` of the machine: it is for a thread that nobody waits for.

use crate::linux::{
    contain::view::TreeView,
    proc::{self, Seen},
    sys,
};
use nix::{errno::Errno, sys::signal::Signal};
use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, OwnedFd},
};

/// How often a tree is looked at, at most, until nobody stands still any more: a process that stops itself at once (one in the background
/// that reads from its terminal) must not hold the thread.
const PASSES_MAX: u32 = 4;
/// How many processes are held open at a time: the host needs its descriptors for itself.
const HELD_MAX: usize = 64;
/// What a look at the tree opens at a time: a list and a process of it; twice that, since other threads open too.
const LOOK_DESCRIPTORS: usize = 4;

/// Whom a pass signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Everybody,
    /// Who stands still, or moves.
    Still(bool),
}

/// See the [module](self). All that it needs is in hand from the begin.
pub(crate) struct Standstill {
    view: TreeView,
    /// The leader, whose number names the tree as long as it is not reaped.
    leader: OwnedFd,
}

impl Standstill {
    pub(crate) fn new(view: TreeView, leader: OwnedFd) -> Standstill {
        Standstill { view, leader }
    }

    /// One pass: stops everybody who does not stand still yet, and says how many those were.
    ///
    /// # Errors
    /// Nobody was able to look.
    pub(crate) fn stop(&self) -> io::Result<usize> {
        self.pass(Signal::SIGSTOP, Whom::Still(false))
    }

    /// Continues everybody. Whoever has just been sent SIGSTOP need not show it yet, so the first pass asks nobody; and a list that is
    /// read while somebody ends may lack somebody else, so it takes one that finds nobody still.
    ///
    /// # Errors
    /// Nobody was able to look.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        self.pass(Signal::SIGCONT, Whom::Everybody)?;
        for _ in 1..PASSES_MAX {
            if self.pass(Signal::SIGCONT, Whom::Still(true))? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn pass(&self, signal: Signal, whom: Whom) -> io::Result<usize> {
        let mut meant = Vec::new();
        for pid in self.view.pids()? {
            let still = stands_still(pid)?;
            if still.is_some_and(|still| whom == Whom::Everybody || whom == Whom::Still(still)) {
                meant.push(pid);
            }
        }
        if signal == Signal::SIGCONT {
            // Children first: a shell that goes on before its job takes that for stopped.
            meant.reverse();
        }
        let mut left = &meant[..];
        while !left.is_empty() {
            left = &left[self.signal(left, signal)?..];
        }
        Ok(meant.len())
    }

    /// The first of them, as many as can be held open; how many those were, at least one.
    fn signal(&self, pids: &[u32], signal: Signal) -> io::Result<usize> {
        let (mut held, mut done) = (Vec::new(), 0);
        for (at, pid) in pids.iter().enumerate().take(HELD_MAX) {
            match sys::open_process(*pid) {
                Ok(process) => held.push((at, *pid, process)),
                // One that has ended needs no signal.
                Err(Errno::ESRCH) => {}
                Err(Errno::EMFILE | Errno::ENFILE) if held.len() > LOOK_DESCRIPTORS => {
                    // The look that follows needs some: these are for the next time.
                    let first = held.len() - LOOK_DESCRIPTORS;
                    done = held[first].0;
                    held.truncate(first);
                    break;
                }
                // By its number it could be somebody else.
                Err(errno @ (Errno::EMFILE | Errno::ENFILE)) => return Err(errno.into()),
                Err(errno) => return Err(io::Error::other(format!("pidfd_open: {errno}"))),
            }
            done += 1;
        }
        // Opened first, asked afterwards, and the number that names the tree was ours all the time: whoever is still a member is the one
        // that was meant.
        let members: BTreeSet<u32> = self.view.pids()?.into_iter().collect();
        if self.view.is_held_by(self.leader.as_fd()) {
            for (_, _, process) in held.iter().filter(|(_, pid, _)| members.contains(pid)) {
                // Whoever may not be signalled shows at the next pass.
                let _ = sys::signal_process(process.as_fd(), signal);
            }
        }
        Ok(done)
    }
}

/// Whether a look has failed only because too many files are open at this moment.
pub(crate) fn is_want_of_descriptors(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::EMFILE | Errno::ENFILE))
}

/// None: it has ended, or hides itself.
fn stands_still(pid: u32) -> io::Result<Option<bool>> {
    Ok(match proc::look(pid)? {
        Seen::Alive(stat) => Some(proc::stands_still(pid, &stat)?),
        Seen::Hidden => Some(false),
        Seen::Absent | Seen::Dead(_) => None,
    })
}
