//! A helper: the parent of one command's leader, and when that has ended, of another one's.
//!
//! * in: a launch, and then what the graph wants of its tree
//! * out: what became of it
//! * keeps: the leader's number is its own until the graph has heard of its death; without the graph nothing of it lives on
//!
//! As a subreaper (prctl(2)) it answers for the whole tree: every orphan of it becomes its child, also one that called setsid, forked
//! twice, or cleared its environment. When it has no child left, the tree is empty: that is a proof.

use crate::{
    guard::Cgroup,
    leader::{self, Failed, Leader, Start},
    protocol::{
        EMPTY, EXITED, FAILED, FILES_MAX, HOLD, IN_CGROUP, KILL, LAUNCH, Launch, OPEN_CWD, RAISE, READY,
        Report, STAGE_HELPER, STARTED, STOP_SIGNAL_SHIFT, SUBREAPER, SWEEP, TERMINAL, TERMINATE, TEXT_BYTES,
    },
    sys::{self, ABANDON, Death, Fd, NEVER, SIGCONT, SIGKILL, Settings},
    tree,
};
use std::{
    ffi::{CStr, c_char},
    process::exit,
    ptr,
    time::{Duration, Instant},
};

/// Between two rounds of killing: a process that got SIGKILL has forked for the last time within that.
const ROUND_MS: i32 = 2;
/// So many rounds follow each other at that pace; then the pause doubles up to [`ROUND_MAX_MS`].
const ROUNDS_AT_ONCE: u32 = 64;
const ROUND_MAX_MS: i32 = 500;
/// How long a tree that nobody asks for any more is killed again and again. Who lives then can't be killed.
const ABANDONED_LIMIT: Duration = Duration::from_secs(60);
/// What is kept for the texts of the next launch.
const TEXT_KEPT_BYTES: usize = 16 << 10;

const EINVAL: i32 = 22;

/// What a helper has of its guard.
pub(crate) struct Inherited<'a> {
    pub(crate) guard: i32,
    pub(crate) signals: &'a Fd,
    /// A pidfd of the host; never ready where there are none.
    pub(crate) host: &'a Fd,
    pub(crate) cgroup: Option<&'a Cgroup<'a>>,
}

/// Serves one command after the other, until the graph lets go of it.
pub(crate) fn run(link: Fd, from_guard: &Inherited<'_>) -> ! {
    sys::set_name(c"ostler-helper");
    let settings = sys::settings();
    // A fork is no subreaper, whatever its parent is (prctl(2)).
    let message = vec![0; size_of::<Launch>() + TEXT_BYTES];
    link.send(&[READY, sys::own_pid().into(), 0, 0, 0, 0, 0, 0, 0, 0, 0], None);
    let mut helper = Helper { link, from_guard, settings, subreaper: false, message, texts: Vec::new() };
    loop {
        let (launch, files) = helper.next_launch();
        helper.serve(launch, files);
        // What its command has changed in its parent is not for the next one.
        if sys::settings() != helper.settings {
            exit(0);
        }
    }
}

struct Helper<'a> {
    link: Fd,
    from_guard: &'a Inherited<'a>,
    settings: Settings,
    subreaper: bool,
    /// Room for one message of a launch; what is never written to is not there in memory.
    message: Vec<u8>,
    /// The texts of the launch.
    texts: Vec<u8>,
}

type Files = [Option<Fd>; FILES_MAX];

impl Helper<'_> {
    /// Whether the graph has ended, as the guard says, or the host.
    fn is_graph_over(&self, signals: bool, host: bool) -> bool {
        let Inherited { guard, signals: fd, cgroup, .. } = *self.from_guard;
        // All of them are read: what comes afterwards wakes this process again.
        let told = signals && fd.arrived().filter(|arrived| *arrived == (ABANDON, guard)).count() > 0;
        // The guard may have been ended, or stopped.
        if told || host {
            if let Some(cgroup) = cgroup {
                cgroup.kill_all();
            }
            if sys::is_child_of(guard) {
                sys::kill(guard, SIGCONT);
            }
        }
        told || host
    }

    fn next_launch(&mut self) -> (Launch, Files) {
        loop {
            let Inherited { signals, host, .. } = *self.from_guard;
            let [link, signals, host] = sys::wait_for([&self.link, signals, host], -1);
            if self.is_graph_over(signals, host) {
                exit(0);
            }
            // A leader can have made children of this process (clone(2), CLONE_PARENT).
            while signals && sys::any_child().is_some() {}
            if !link {
                continue;
            }
            let Some(received) = self.link.receive(&mut self.message) else { exit(0) };
            let message = &self.message[..received.bytes];
            // A shorter one was meant for the command before.
            let Some((head, text)) = message.split_at_checked(size_of::<Launch>()) else { continue };
            let mut launch: Launch = [0; 5];
            for (value, bytes) in launch.iter_mut().zip(head.chunks_exact(8)) {
                *value = i64::from_ne_bytes(bytes.try_into().unwrap_or_default());
            }
            if launch[0] != LAUNCH {
                continue;
            }
            self.texts.clear();
            self.texts.extend_from_slice(text);
            let all = usize::try_from(launch[1]).unwrap_or(0);
            while self.texts.len() < all {
                let Some(more) = self.link.receive(&mut self.message) else { exit(0) };
                self.texts.extend_from_slice(&self.message[..more.bytes]);
            }
            // Whoever has asked for it has given up.
            if sys::is_hung_up(&self.link) {
                exit(0);
            }
            return (launch, received.files);
        }
    }

    fn start(
        &mut self,
        [_, _, arguments, variables, flags]: Launch,
        files: &Files,
    ) -> Result<Leader, Failed> {
        let failed = |errno| Failed { stage: STAGE_HELPER, errno, killed_by: 0 };
        let subreaper = flags & SUBREAPER != 0;
        if subreaper != self.subreaper {
            sys::set_subreaper(subreaper).map_err(failed)?;
            self.subreaper = subreaper;
        }
        let count = |n| usize::try_from(n).unwrap_or(0);
        let mut texts = Texts(&self.texts);
        let wrong = || failed(EINVAL);
        let (cwd, path) = (texts.next().ok_or_else(wrong)?, texts.next().ok_or_else(wrong)?);
        let argv = texts.pointers(count(arguments)).ok_or_else(wrong)?;
        let env = texts.pointers(count(variables)).ok_or_else(wrong)?;
        let [Some(stdin), Some(stdout), Some(stderr), rest @ ..] = files else { return Err(wrong()) };
        let mut rest = rest.iter().flatten();
        let mut named = |flag: i64| (flags & flag != 0).then(|| rest.next()).flatten();
        let open_cwd = named(OPEN_CWD);
        let cgroup = named(IN_CGROUP);
        let leader = leader::start(&Start {
            path,
            cwd,
            open_cwd,
            argv,
            env,
            stdio: [stdin, stdout, stderr],
            terminal: flags & TERMINAL != 0,
            cgroup,
        });
        self.texts.truncate(0);
        self.texts.shrink_to(TEXT_KEPT_BYTES);
        leader
    }

    fn serve(&mut self, launch: Launch, files: Files) {
        let leader = self.start(launch, &files);
        // The pipes are the tree's: their end must not wait for the helper.
        drop(files);
        let leader = match leader {
            Ok(leader) => leader,
            Err(Failed { stage, errno, killed_by }) => {
                let report = [FAILED, stage, errno.into(), killed_by.into(), 0, 0, 0, 0, 0, 0, 0];
                return self.link.send(&report, None);
            }
        };
        let started = [STARTED, leader.pid.into(), 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.link.send(&started, leader.pidfd.as_ref());
        let mut tree = Tree {
            leader: leader.pid,
            stop: i32::try_from(launch[4] >> STOP_SIGNAL_SHIFT).unwrap_or(SIGKILL),
            holds: launch[4] & (HOLD | SUBREAPER) != 0,
            whole: launch[4] & SUBREAPER != 0,
            signalled: false,
            exited: false,
            reaped: false,
            killing: false,
            sweeping: false,
            dead: false,
            rounds: 0,
            abandoned: None,
        };
        drop(leader);
        loop {
            let Inherited { signals, host, .. } = *self.from_guard;
            // What is at its end stays ready.
            let (link, host) = if tree.abandoned.is_some() { (&NEVER, &NEVER) } else { (&self.link, host) };
            let [command, signals, host] = sys::wait_for([link, signals, host], tree.patience_ms());
            // Signals are read before anybody is looked at: who ends afterwards wakes this process again.
            if self.is_graph_over(signals, host) {
                tree.abandon();
            }
            if command && tree.abandoned.is_none() {
                let mut word = [0; 1];
                match self.link.receive(&mut word).map(|_| word[0]) {
                    Some(TERMINATE) => tree.terminate(),
                    Some(KILL) => tree.begin_to_kill(),
                    Some(SWEEP) => tree.sweeping = true,
                    Some(word) if word > RAISE => tree.raise((word - RAISE).into()),
                    Some(_) => {}
                    // The graph has let go.
                    None => tree.abandon(),
                }
            }
            if self.is_over(&mut tree) {
                break;
            }
        }
        if tree.abandoned.is_some() {
            exit(0);
        }
    }

    /// Whether there is nothing to do any more for this command.
    fn is_over(&self, tree: &mut Tree) -> bool {
        let report = tree.look();
        if let Some(report) = &report {
            self.link.send(report, None);
        }
        if tree.killing {
            tree.kill();
        }
        if tree.is_empty() {
            // The report of its exit has said so already.
            if report.is_none() {
                self.link.send(&[EMPTY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None);
            }
            return true;
        }
        tree.abandoned.is_some_and(|since| since.elapsed() > ABANDONED_LIMIT)
    }
}

/// Strings that end with NUL, one after the other.
struct Texts<'a>(&'a [u8]);
impl<'a> Texts<'a> {
    fn next(&mut self) -> Option<&'a CStr> {
        let text = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[text.to_bytes_with_nul().len()..];
        Some(text)
    }
    /// As execve(2) wants them.
    fn pointers(&mut self, count: usize) -> Option<Vec<*const c_char>> {
        let mut pointers = (0..count).map(|_| self.next().map(CStr::as_ptr)).collect::<Option<Vec<_>>>()?;
        pointers.push(ptr::null());
        Some(pointers)
    }
}

struct Tree {
    leader: i32,
    /// What is sent first to stop it.
    stop: i32,
    /// The leader's zombie stays until it is asked for.
    holds: bool,
    /// Answers for the whole tree, else for the leader.
    whole: bool,
    signalled: bool,
    exited: bool,
    reaped: bool,
    killing: bool,
    sweeping: bool,
    /// The last round of killing has found nobody who lives.
    dead: bool,
    /// Rounds of killing.
    rounds: u32,
    /// Nobody asks any more, since then.
    abandoned: Option<Instant>,
}

impl Tree {
    /// Takes zombies away; reports when the leader has exited.
    fn look(&mut self) -> Option<Report> {
        if self.exited {
            if self.sweeping && !self.reaped {
                sys::reap(self.leader);
                self.reaped = true;
            }
            self.reap_others();
            return None;
        }
        let death = if self.holds { sys::death_of(self.leader) } else { sys::reap(self.leader) };
        self.reap_others();
        let Death { signal, status, user_ms, system_ms, max_rss_bytes } = death?;
        (self.exited, self.reaped) = (true, !self.holds);
        // Only this process takes children off that list, and whoever lives descends from one that is on it.
        let alone = i64::from(self.whole && sys::children() == [self.leader]);
        let (signalled, reaped) = (i64::from(self.signalled), i64::from(self.reaped));
        let [monotonic_ns, wall_ms] = sys::clocks();
        let (signal, status) = (i64::from(signal), i64::from(status));
        Some([
            EXITED,
            signalled,
            signal,
            status,
            user_ms,
            system_ms,
            max_rss_bytes,
            alone,
            reaped,
            monotonic_ns,
            wall_ms,
        ])
    }

    /// Takes away every zombie but the leader's, as long as that is held.
    fn reap_others(&self) {
        if self.reaped {
            // Not by the list of children: the kernel's can leave one out while another goes (proc_pid_children(5)).
            while sys::any_child().is_some() {}
        } else if self.whole {
            for child in sys::children().into_iter().filter(|child| *child != self.leader) {
                sys::reap(child);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.reaped && (!self.whole || sys::has_no_child())
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
            let _ = self.signal_all(&[self.stop, SIGCONT]);
        }
    }

    /// To the leader's group, as the host wants it.
    fn raise(&self, signal: i32) {
        if !self.exited {
            sys::kill(-self.leader, signal);
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
        self.abandoned.get_or_insert_with(Instant::now);
    }

    fn kill(&mut self) {
        self.dead = !self.signal_all(&[SIGKILL]);
        self.rounds += 1;
    }

    /// Says whether anybody was seen who lives. Those outside the leader's group first: when their parents are dead they
    /// hang elsewhere in the tree.
    fn signal_all(&self, signals: &[i32]) -> bool {
        let living = self.whole && self.signal_others(signals);
        // The group's number is the leader's, which is held as long as the leader is not reaped.
        if !self.reaped {
            signals.iter().for_each(|signal| sys::kill(-self.leader, *signal));
        }
        living
    }

    fn signal_others(&self, signals: &[i32]) -> bool {
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
        living
    }

    fn patience_ms(&self) -> i32 {
        // With only the leader's zombie left, the next to act is the graph, which needs the processor for that: hundreds
        // of helpers may be here at once. Whoever was missed is found when it asks for the sweep.
        let waits_for_sweep = self.exited && !self.sweeping && self.dead;
        if !self.killing || waits_for_sweep || !self.whole {
            // A leader that was killed says when it has ended.
            return if self.abandoned.is_some() { ROUND_MAX_MS } else { -1 };
        }
        let doublings = self.rounds.saturating_sub(ROUNDS_AT_ONCE).min(16);
        ROUND_MS.saturating_mul(1 << doublings).min(ROUND_MAX_MS)
    }
}
