//! The helper: a small program that is carried inside the library and run from memory.
//!
//! `run`: the real parent of one command's leader, and a subreaper (prctl(2)): every orphan of the tree becomes its child,
//! also one that called setsid, forked twice, or cleared its environment. It holds the leader's zombie, signals, reaps, and
//! tells. When it has no child left, the tree is empty: that is a proof. If the host dies, it kills the tree and exits.
//!
//! `guard`: one for a graph whose commands are in cgroups. If the host dies, it kills the host's cgroup and removes it.
//!
//! It has one thread and no crate but the standard library, so that it starts in a fraction of a millisecond.
#![allow(unsafe_code)]

#[allow(dead_code)]
mod protocol;
mod sys;
#[path = "../../proc.rs"]
#[allow(dead_code)]
mod tree;

use protocol::{
    CONTROL_FD, EMPTY, EXITED, FAILED, GUARD, KILL, RUN, Report, STAGE_CWD, STAGE_DEATH_SIGNAL, STAGE_EXEC,
    STAGE_FORK, STAGE_HELPER, STAGE_SESSION, STARTED, SWEEP, TERMINATE,
};
use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::{ffi::OsStringExt, fs::FileExt},
    path::Path,
    process::exit,
    thread::sleep,
    time::Duration,
};
use sys::{Death, Failed, Fd, SIGCONT, SIGKILL, SIGTERM};

/// Between two rounds of killing: a process that got SIGKILL has forked for the last time within that.
const ROUND_MS: i32 = 2;
/// How long a guard waits for a cgroup that it has killed; the next host removes what is left.
const EMPTY_ROUNDS: u32 = 1_000;
/// How deep cgroups that a command has made are followed.
const DEPTH_MAX: u32 = 32;
const ENOENT: i32 = 2;

fn main() {
    let args: Vec<CString> =
        std::env::args_os().filter_map(|arg| CString::new(arg.into_vec()).ok()).collect();
    let text = |n: usize| args.get(n).and_then(|arg| arg.to_str().ok()).unwrap_or_default();
    sys::block_signals();
    let Some(host) = text(2).parse().ok().and_then(sys::watch_parent) else { exit(1) };
    match text(1) {
        RUN if args.len() > 5 => run(&args, &host),
        GUARD => guard(Path::new(text(3)), &host),
        _ => exit(1),
    }
}

/// `run HOST_PID CWD PATH ARGV…`; the environment is the command's.
fn run(args: &[CString], host: &Fd) {
    sys::set_name(c"ostler-helper");
    let control = Fd::known(CONTROL_FD);
    let refuse = |Failed { stage, errno, killed_by }| -> ! {
        control.send(&[FAILED, stage, errno.into(), killed_by.into(), 0, 0, 0, 0]);
        exit(1)
    };
    // Numbers of another namespace would be strangers'.
    if tree::trusted().is_err() {
        refuse(Failed { stage: STAGE_HELPER, errno: ENOENT, killed_by: 0 });
    }
    let (Ok(()), Some(signals)) = (sys::become_subreaper(), sys::child_signals()) else {
        refuse(Failed { stage: STAGE_HELPER, errno: sys::errno(), killed_by: 0 });
    };
    let leader = match sys::start(&args[3], &args[4], &args[5..]) {
        Ok(leader) => leader,
        Err(failed) => refuse(failed),
    };
    // The pipes are the tree's: their end must not wait for the helper.
    sys::close_stdio();
    control.send(&[STARTED, leader.into(), 0, 0, 0, 0, 0, 0]);
    let mut tree = Tree {
        leader,
        signalled: false,
        exited: false,
        reaped: false,
        killing: false,
        sweeping: false,
        dead: false,
    };
    loop {
        if let Some(report) = tree.look() {
            control.send(&report);
        }
        if tree.killing {
            tree.kill();
        }
        if tree.is_empty() {
            control.send(&[EMPTY, 0, 0, 0, 0, 0, 0, 0]);
            exit(0);
        }
        let [command, host_died, _] = sys::wait_for([&control, host, &signals], tree.patience_ms());
        signals.discard();
        if host_died {
            tree.abandon();
        } else if command {
            match control.receive() {
                Some(TERMINATE) => tree.terminate(),
                Some(KILL) => tree.begin_to_kill(),
                Some(SWEEP) => tree.sweeping = true,
                Some(_) => {}
                // The graph has let go.
                None => tree.abandon(),
            }
        }
    }
}

struct Tree {
    leader: i32,
    signalled: bool,
    exited: bool,
    reaped: bool,
    killing: bool,
    sweeping: bool,
    /// The last round of killing has found nobody who lives.
    dead: bool,
}

impl Tree {
    /// Takes zombies away; reports when the leader has exited.
    fn look(&mut self) -> Option<Report> {
        if self.exited {
            self.reap_others();
            if self.sweeping && !self.reaped {
                sys::reap(self.leader);
                self.reaped = true;
            }
            return None;
        }
        let death = sys::death_of(self.leader);
        self.reap_others();
        let Death { signal, status, user_ms, system_ms, max_rss_bytes } = death?;
        self.exited = true;
        // Only this process takes children off that list, and whoever lives descends from one that is on it.
        let tree_empty = i64::from(sys::children() == [self.leader]);
        let signalled = i64::from(self.signalled);
        Some([EXITED, signalled, signal.into(), status.into(), user_ms, system_ms, max_rss_bytes, tree_empty])
    }

    /// Takes away every zombie but the leader's.
    fn reap_others(&self) {
        sys::children().into_iter().filter(|child| *child != self.leader).for_each(sys::reap);
    }

    fn is_empty(&self) -> bool {
        self.reaped && sys::has_no_child()
    }

    /// The first signal is only sent if the leader lives: else it ended by itself, and the graph hears that.
    fn may_signal(&mut self) -> bool {
        if !self.signalled && !self.exited && sys::death_of(self.leader).is_some() {
            return false;
        }
        self.signalled = true;
        true
    }

    fn terminate(&mut self) {
        if self.may_signal() {
            let _ = self.signal_all(&[SIGTERM, SIGCONT]);
        }
    }

    fn begin_to_kill(&mut self) {
        if self.may_signal() {
            self.killing = true;
        }
    }

    /// Nobody asks any more: the tree goes, and then this helper.
    fn abandon(&mut self) {
        (self.signalled, self.killing, self.sweeping) = (true, true, true);
    }

    fn kill(&mut self) {
        self.dead = !self.signal_all(&[SIGKILL]);
    }

    /// Says whether anybody was seen who lives. Those outside the leader's group first: when their parents are dead they
    /// hang elsewhere in the tree.
    fn signal_all(&self, signals: &[i32]) -> bool {
        let me = std::process::id();
        let mut living = false;
        for descendant in tree::descendants(me) {
            let pid = descendant.pid.cast_signed();
            let look = tree::look(descendant.pid);
            // Whoever can't be looked at may live.
            living |= look.as_ref().map_or(true, tree::Seen::lives);
            let stat = look.as_ref().ok().and_then(tree::Seen::stat);
            if !self.reaped && stat.is_some_and(|stat| stat.group == self.leader.cast_unsigned()) {
                continue;
            }
            let parent = |pid| tree::look(pid).ok().and_then(|look| look.stat().map(|stat| stat.parent));
            if stat.map_or(descendant.parent, |stat| stat.parent) == me {
                // Only this process can reap it, so the number is held.
                signals.iter().for_each(|signal| sys::kill(pid, *signal));
            } else if let Some(process) = sys::open_process(pid)
                // Opened first, asked afterwards: if it has its parent still, or is an orphan of this tree by now, it is
                // the one that was found.
                && parent(descendant.pid).is_some_and(|parent| parent == descendant.parent || parent == me)
            {
                signals.iter().for_each(|signal| process.signal(*signal));
            }
        }
        // The group's number is the leader's, which is held as long as the leader is not reaped.
        if !self.reaped {
            signals.iter().for_each(|signal| sys::kill(-self.leader, *signal));
        }
        living
    }

    fn patience_ms(&self) -> i32 {
        // With only the leader's zombie left, the next to act is the graph, which needs the processor for that: hundreds
        // of helpers may be here at once. Whoever was missed is found when it asks for the sweep.
        let waits_for_sweep = self.exited && !self.sweeping && self.dead;
        if self.killing && !waits_for_sweep { ROUND_MS } else { -1 }
    }
}

/// `guard HOST_PID CGROUP`
fn guard(cgroup: &Path, host: &Fd) {
    sys::set_name(c"ostler-guard");
    // Open from the start: a path may be covered by then.
    let kill = OpenOptions::new().write(true).open(cgroup.join("cgroup.kill"));
    let events = File::open(cgroup.join("cgroup.events"));
    let (Ok(mut kill), Ok(events)) = (kill, events) else { exit(1) };
    // Only one that watches is a guard.
    Fd::known(CONTROL_FD).send(&[STARTED, 0, 0, 0, 0, 0, 0, 0]);
    sys::wait_for([host, host, host], -1);
    let is_populated = || {
        let mut text = [0; 256];
        let count = events.read_at(&mut text, 0).unwrap_or(0);
        text[..count].windows(11).any(|words| words == b"populated 1")
    };
    for round in 0..EMPTY_ROUNDS {
        let _ = kill.write_all(b"1");
        if !is_populated() {
            break;
        }
        // Not ended by that is a process whose main thread has ended before its others.
        if round > 0 {
            kill_each(cgroup, DEPTH_MAX);
        }
        sleep(Duration::from_millis(1));
    }
    remove(cgroup);
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
