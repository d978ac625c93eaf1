//! The guard: one for each graph. It outlives the graph by a moment, and nobody else outlives it.
//!
//! * in: the graph's line, whose end is the graph's; the death signal that is bound to a thread of the graph
//! * out: helpers
//! * keeps: whatever ends the graph, also an execve(2) of its host, or the death of a host of which a thread hangs in a disk, ends
//!   its commands; no orphan of theirs stays a zombie

use crate::{
    helper,
    helper::Inherited,
    leader,
    protocol::{CONTROL_FD, FAILED, FORK, STAGE_FORK, WATCHES},
    sys::{self, ABANDON, Change, Fd, GRAPH_ENDED, NEVER, SIGCONT, SIGKILL},
    tree,
};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    process::exit,
    time::{Duration, Instant},
};

/// How long the guard waits at the end for its cgroup and its helpers; what can't be killed is left, and the next host removes
/// a cgroup.
const END_LIMIT: Duration = Duration::from_secs(2);
/// How long helpers are waited for, which end their trees.
const HELPERS_LIMIT: Duration = Duration::from_secs(1);
/// How long it waits for orphans that are nobody's to kill: they would come to the host as zombies.
const ORPHANS_LIMIT: Duration = Duration::from_millis(100);
/// The first pause between two looks at them; it doubles up to [`PAUSE_MAX_MS`].
const PAUSE_MS: i32 = 1;
const PAUSE_MAX_MS: i32 = 64;
/// How deep cgroups that a command has made are followed.
const DEPTH_MAX: u32 = 32;

pub(crate) fn run(host: i32, ends_orphans: bool, cgroup: Option<&Path>) -> ! {
    sys::set_name(c"ostler-guard");
    // The thread that has made this process lives as long as the graph, and never waits for a disk.
    let (Some(signals), Ok(())) = (sys::signals(), sys::die_with_parent(host)) else { exit(1) };
    // Orphans come here, and not to a host that is the first process, or a subreaper itself.
    if sys::set_subreaper(true).is_err() {
        exit(1);
    }
    let control = Fd::known(CONTROL_FD);
    let Ok(cgroup) = cgroup.map(Cgroup::open).transpose() else { exit(1) };
    leader::remember_oom_score();
    // Ours as long as it is our parent: asked afterwards.
    let host_process = sys::open_process(host).unwrap_or(NEVER);
    if !sys::is_child_of(host) {
        exit(1);
    }
    let (trusted, pidfds) = (tree::trusted().is_ok(), host_process.number() >= 0);
    // Else helpers are no subreapers, and an orphan may belong to a command that has not ended.
    let ends_orphans = ends_orphans && trusted && pidfds;
    control.send(&[WATCHES, trusted.into(), pidfds.into(), 0, 0, 0, 0, 0, 0, 0, 0], None);
    let mut guard = Guard {
        host_process,
        cgroup,
        host,
        control,
        signals,
        helpers: BTreeSet::new(),
        ends_orphans,
        pause_ms: -1,
    };
    while guard.goes_on() {}
    guard.end()
}

struct Guard<'a> {
    host: i32,
    host_process: Fd,
    cgroup: Option<Cgroup<'a>>,
    control: Fd,
    signals: Fd,
    helpers: BTreeSet<i32>,
    /// See [`crate::protocol::END_ORPHANS`].
    ends_orphans: bool,
    /// Until orphans are looked for again; -1: there are none.
    pause_ms: i32,
}

impl Guard<'_> {
    /// False at the end of the graph.
    fn goes_on(&mut self) -> bool {
        let fds = [&self.control, &self.signals, &self.host_process];
        let [control, signals, host] = sys::wait_for(fds, self.pause_ms);
        if host {
            return false;
        }
        if signals || self.pause_ms > 0 {
            let ended =
                self.signals.arrived().filter(|arrived| *arrived == (GRAPH_ENDED, self.host)).count() > 0;
            let lost = self.look_after_children();
            if ended {
                return false;
            }
            if self.ends_orphans && (lost || self.pause_ms > 0) {
                self.end_orphans();
            }
        }
        if control {
            let mut word = [0; 1];
            let Some(received) = self.control.receive(&mut word) else { return false };
            if let (FORK, Some(link)) = (word[0], received.files.into_iter().flatten().next()) {
                self.fork(link);
            }
        }
        true
    }

    fn fork(&mut self, link: Fd) {
        let me = sys::own_pid();
        match sys::fork() {
            Some(0) => {
                // The graph sees the end of its guard by this one.
                sys::close_known(CONTROL_FD);
                let (signals, host, cgroup) = (&self.signals, &self.host_process, self.cgroup.as_ref());
                helper::run(link, &Inherited { guard: me, signals, host, cgroup })
            }
            Some(pid) => drop(self.helpers.insert(pid)),
            None => {
                let errno = sys::errno().into();
                link.send(&[FAILED, STAGE_FORK, errno, 0, 0, 0, 0, 0, 0, 0, 0], None);
            }
        }
    }

    /// Takes zombies away. A helper that somebody has stopped goes on: its command waits for it. Whether a helper has ended.
    fn look_after_children(&mut self) -> bool {
        let mut lost = false;
        while let Some((pid, change)) = sys::any_child() {
            match change {
                Change::Ended => lost |= self.helpers.remove(&pid),
                Change::Stopped if self.helpers.contains(&pid) => sys::kill(pid, SIGCONT),
                Change::Stopped => {}
            }
        }
        lost
    }

    /// Whoever is a child and no helper. Their children come here when they are dead, and are seen the next time.
    fn end_orphans(&mut self) {
        // Whoever is in the cgroup is of a command that may not have ended.
        let held = |child: i32| self.cgroup.as_ref().is_some_and(|cgroup| cgroup.holds(child));
        let orphans: Vec<i32> = sys::children()
            .into_iter()
            .filter(|child| !self.helpers.contains(child) && !held(*child))
            .collect();
        for orphan in &orphans {
            // Only this process takes it away, so the number is its own.
            sys::kill(*orphan, SIGKILL);
        }
        self.pause_ms = match (orphans.is_empty(), self.pause_ms) {
            (true, _) => -1,
            (false, pause) => (pause.max(PAUSE_MS) * 2).min(PAUSE_MAX_MS),
        };
    }

    /// Ends what is left of the graph, and this process.
    fn end(mut self) -> ! {
        let (begun, mut pause) = (Instant::now(), PAUSE_MS);
        let mut round = 0;
        loop {
            self.look_after_children();
            // Not taken away, so that each number is its own. One that does not end its tree in time ends with it.
            let late = begun.elapsed() > HELPERS_LIMIT;
            for helper in &self.helpers {
                sys::kill(*helper, if late { SIGKILL } else { ABANDON });
            }
            if self.ends_orphans {
                self.end_orphans();
            }
            let cgroup_empty = self.cgroup.as_ref().is_none_or(|cgroup| cgroup.kill(round));
            let empty = cgroup_empty && self.pause_ms < 0;
            let patience = if empty && self.helpers.is_empty() { ORPHANS_LIMIT } else { END_LIMIT };
            if (empty && sys::has_no_child()) || begun.elapsed() >= patience {
                break;
            }
            // Ends with the next child too.
            sys::wait_for([&self.signals], pause);
            self.signals.arrived().for_each(drop);
            pause = (pause * 2).min(PAUSE_MAX_MS);
            round += 1;
        }
        if let Some(cgroup) = &self.cgroup {
            remove(cgroup.path);
        }
        exit(0)
    }
}

/// The cgroup of a graph, with all that its end needs: a path may be covered by then.
pub(crate) struct Cgroup<'a> {
    path: &'a Path,
    kill: File,
    events: File,
}
impl<'a> Cgroup<'a> {
    fn open(path: &'a Path) -> std::io::Result<Cgroup<'a>> {
        let kill = OpenOptions::new().write(true).open(path.join("cgroup.kill"))?;
        Ok(Cgroup { path, kill, events: File::open(path.join("cgroup.events"))? })
    }

    pub(crate) fn kill_all(&self) {
        let _ = (&self.kill).write_all(b"1");
    }

    /// Whether somebody is in it or below.
    fn holds(&self, pid: i32) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroups| cgroups.contains(name))
    }

    /// Whether nobody is in it.
    fn kill(&self, round: u32) -> bool {
        self.kill_all();
        let mut text = [0; 256];
        let count = self.events.read_at(&mut text, 0).unwrap_or(0);
        let populated = text[..count].windows(11).any(|words| words == b"populated 1");
        // Not ended by that is a process whose main thread has ended before its others.
        if populated && round > 0 {
            kill_each(self.path, DEPTH_MAX);
        }
        !populated
    }
}

fn kill_each(cgroup: &Path, depth: u32) {
    let members = || fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in members().lines().filter_map(|line| line.parse::<i32>().ok()) {
        // Opened first, asked afterwards: if it is a member still, it is the one that was listed.
        if let Some(process) = sys::open_process(pid)
            && members().lines().any(|line| line == pid.to_string())
        {
            process.signal(SIGKILL);
        }
    }
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_each(&entry.path(), depth - 1);
        }
    }
}

/// A cgroup goes only when it is empty, so this can't hurt anyone.
fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
