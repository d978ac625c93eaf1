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
use nix::sys::signal::Signal;
use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, OwnedFd},
};

/// A process that somebody has stopped is continued once more, at most so often: one that stops itself at once (a background process
/// that reads from its terminal) must not hold the thread.
const PASSES_MAX: u32 = 3;

/// See the [module](self).
pub(crate) struct Standstill {
    pub(crate) view: TreeView,
    /// The leader, whose number names the tree as long as it is not reaped.
    pub(crate) leader: OwnedFd,
}

impl Standstill {
    /// One pass: stops everybody who does not stand still yet, and says how many those were.
    ///
    /// # Errors
    /// Nobody was able to look.
    pub(crate) fn stop(&self) -> io::Result<usize> {
        self.pass(Signal::SIGSTOP, false)
    }

    /// Continues everybody who stands still.
    pub(crate) fn go_on(&self) {
        // A list that is read while somebody ends may lack somebody else: so it takes a pass that finds nobody.
        for _ in 0..PASSES_MAX {
            // Whoever can't be looked at now can't be helped.
            if self.pass(Signal::SIGCONT, true).is_ok_and(|count| count == 0) {
                return;
            }
        }
    }

    fn pass(&self, signal: Signal, whom: bool) -> io::Result<usize> {
        let (mut held, mut count) = (Vec::new(), 0);
        for pid in self.view.pids()? {
            if stands_still(pid)? == Some(whom) {
                count += 1;
                // One that has ended needs no signal; with no descriptor left the next pass goes on.
                held.extend(sys::open_process(pid).ok().map(|process| (pid, process)));
            }
        }
        if held.is_empty() {
            return Ok(count);
        }
        // Opened first, asked afterwards, and the number that names the tree was ours all the time: whoever is still a member is the one
        // that was meant.
        let members: BTreeSet<u32> = self.view.pids()?.into_iter().collect();
        if self.view.is_held_by(self.leader.as_fd()) {
            for (_, process) in held.iter().filter(|(pid, _)| members.contains(pid)) {
                // Whoever may not be signalled shows at the next pass.
                let _ = sys::signal_process(process.as_fd(), signal);
            }
        }
        Ok(count)
    }
}

/// None: it has ended, or hides itself.
fn stands_still(pid: u32) -> io::Result<Option<bool>> {
    Ok(match proc::look(pid)? {
        Seen::Alive(stat) => Some(proc::stands_still(pid, &stat)?),
        Seen::Hidden => Some(false),
        Seen::Absent | Seen::Dead(_) => None,
    })
}
