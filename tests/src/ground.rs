//! The ground a test stands on, and what must not be left on it.

use crate::look::{alive, all_children, cgroups_of, descriptors, leads, settles, threads};
use nix::{
    sys::{
        prctl::set_child_subreaper,
        resource::{Resource, getrlimit, setrlimit},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests of one process take turns: what is looked at belongs to all of it.
static TURN: Mutex<()> = Mutex::new(());

/// Descriptors for the test with the most handles, if the system's hard limit has so many. ostler itself never raises
/// the limit of its host; this host does it for itself.
const DESCRIPTORS: u64 = 4_096;

/// What was there before a test.
pub struct Ground {
    /// Orphans that lead sessions of their own may come to this process.
    escapees: bool,
    descriptors: Vec<String>,
    children: Vec<u32>,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    /// Waits for this test's turn and looks around. From here on this process is the reaper of every orphan that its
    /// descendants leave, so an escapee can't hide.
    pub fn take() -> Ground {
        // A test that failed has left the lock poisoned; what it left behind is counted as "before".
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        set_child_subreaper(true).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if soft < DESCRIPTORS {
            setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard).unwrap();
        }
        // A thread that was made a moment ago has not its name yet, and may still open something: until two looks agree.
        let mut before = Vec::new();
        settles(|| {
            let (threads, now) = (threads(), descriptors());
            let is_same = std::mem::replace(&mut before, now.clone()) == now;
            if threads.is_empty() && is_same { Vec::new() } else { vec![threads] }
        });
        Ground { escapees: false, descriptors: before, children: all_children(), _turn: turn }
    }

    /// This test has orphans that look like leaders, because their host is dead: zombies of theirs are no fault.
    pub fn has_escapees(&mut self) {
        self.escapees = true;
    }

    fn new_children(&self) -> Vec<u32> {
        all_children().into_iter().filter(|pid| !self.children.contains(pid)).collect()
    }

    /// Panics if anything is left. `at_once`: whatever lives now is an error; else it may be dying of a SIGKILL.
    pub fn check(&self, at_once: bool) {
        let threads = settles(threads);
        assert!(threads.is_empty(), "threads are left: {threads:?}");
        let living = || self.new_children().into_iter().filter(|pid| alive(*pid)).collect::<Vec<_>>();
        let living = if at_once { living() } else { settles(living) };
        let names = living.iter().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")));
        assert!(living.is_empty(), "processes are left: {living:?} {:?}", names.collect::<Vec<_>>());
        for zombie in self.new_children() {
            // A leader is ostler's to reap. An orphan that this process was given is not.
            assert!(self.escapees || !leads(zombie), "a leader was not reaped: {zombie}");
            waitpid(Pid::from_raw(zombie.cast_signed()), None).unwrap();
        }
        let cgroups = cgroups_of(std::process::id());
        assert!(cgroups.is_empty(), "cgroups are left: {cgroups:?}");
        // Another test of this process may remove its files meanwhile, which opens their directories for a moment.
        let before = &self.descriptors;
        let left = settles(|| beyond(descriptors(), before));
        assert!(left.is_empty(), "descriptors are left: {left:?}, of {:?}, before {before:?}", descriptors());
        let temporary = std::env::temp_dir();
        let is_of_removal = |name: &String| std::path::Path::new(name).starts_with(&temporary);
        let mut lost = beyond(before.clone(), &descriptors());
        lost.retain(|name| !is_of_removal(name));
        assert!(lost.is_empty(), "descriptors of somebody else were closed: {lost:?}, of {before:?}");
    }
}

/// What of `all` is not among `known`, as often as it is not.
fn beyond(mut all: Vec<String>, known: &[String]) -> Vec<String> {
    for name in known {
        if let Some(at) = all.iter().position(|other| other == name) {
            all.remove(at);
        }
    }
    all
}
