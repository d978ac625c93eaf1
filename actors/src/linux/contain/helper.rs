//! The graph's side of its guard and its helpers: a small program that is carried inside this library and run from memory.
//!
//! * in: launches; orders of one byte
//! * out: what the guard and the helpers report, read whole
//! * keeps: a helper serves one command at a time, and the next one when nothing of that is left to do

use crate::linux::{
    contain::helper_protocol as protocol,
    contain::link::{Abilities, Link, Told, link},
    exec::clone::{self, Image, Plan, Scratch},
    exec::slots::above_stdio,
    proc, sys,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::Signal,
    },
    unistd::{ResGid, ResUid, getresgid, getresuid},
};
use ostler_messages::{Exit, Stamp};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::File,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Made by `build.rs`; empty if it could not be.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/helper"));
/// Why it could not be.
const REASON: &str = include_str!(concat!(env!("OUT_DIR"), "/helper-reason.txt"));

/// How long the guard, and the helper of a trial, are waited for: one that is silent for so long was stopped by somebody.
pub(crate) const TRIAL_LIMIT: Duration = Duration::from_secs(10);

/// How long the end of a graph waits for its guard: for longer than that waits for what can't be killed.
const GUARD_LIMIT: Duration = Duration::from_secs(3);

/// What a helper calls itself.
const NAME: &str = "ostler-helper";

/// How long a guard is waited for that does not take up what it is asked: it was stopped by somebody. Others wait meanwhile.
const FORK_LIMIT: Duration = Duration::from_secs(1);

/// Helpers that have nothing to do, and are kept for the next commands: as many as a burst on a few cores has at work. Each takes about
/// 100 KiB.
const IDLE_MAX: usize = 32;
/// How many of those beyond are ended at a time, which is once a second.
const TRIMMED_AT_ONCE: usize = 256;

/// The program as a sealed file in memory.
pub(crate) struct Program(OwnedFd);

impl Program {
    /// Says why not.
    pub(crate) fn load() -> Result<Program, String> {
        if PROGRAM.is_empty() {
            return Err(REASON.to_owned());
        }
        let said = |errno: Errno| format!("the helper can't be put into memory: {errno}");
        // MFD_EXEC (kernel 6.3) says that it is meant to be run; older kernels refuse the flag and need no word.
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let executable = flags | MFdFlags::from_bits_retain(nix::libc::MFD_EXEC);
        let fd = memfd_create(c"ostler-helper", executable)
            .or_else(|_| memfd_create(c"ostler-helper", flags))
            .and_then(above_stdio)
            .map_err(said)?;
        let mut file = File::from(fd);
        file.write_all(PROGRAM).map_err(|error| format!("the helper can't be put into memory: {error}"))?;
        let seals =
            SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(said)?;
        Ok(Program(file.into()))
    }
}

/// Whose process this is. A guard that was made by another user's must not start this one's commands.
#[derive(Clone, Copy, PartialEq, Eq)]
struct User(ResUid, ResGid);
impl User {
    fn now() -> Result<User, Errno> {
        Ok(User(getresuid()?, getresgid()?))
    }
}

/// A graph's guard and helpers. The thread that starts a guard must live as long as the graph, and must not wait for a disk: its end is
/// what the guard takes for the graph's.
pub(crate) struct Helpers {
    program: Program,
    /// Killed and removed at the graph's end.
    cgroup: Option<PathBuf>,
    /// The guard ends the orphans of a helper that was killed.
    ends_orphans: bool,
    guards: Mutex<Guards>,
    /// A new guard.
    changed: Condvar,
    idle: Mutex<Vec<Idle>>,
    /// Helpers at work by number, and which guard has made them.
    at_work: Mutex<BTreeMap<u32, u64>>,
    /// Nobody looks after helpers, because none was at work.
    asleep: AtomicBool,
}

struct Guards {
    /// None: it was ended by somebody.
    current: Option<Guard>,
    /// Those of users that this process was before: their helpers are at work.
    older: Vec<Guard>,
    /// How many there were.
    count: u64,
    user: User,
}

/// A helper that has nothing to do.
pub(crate) struct Idle {
    pub(crate) link: Link,
    /// None: it has not said yet that it is there.
    pub(crate) pid: Option<u32>,
    /// Which guard was asked for it, by their count.
    pub(crate) guard: u64,
}

/// Why there is no helper.
pub(crate) enum NoHelper {
    /// There is no guard that could make one: it was ended by somebody, or this process is another user's since. How many guards
    /// there were.
    NoGuard(u64),
    Errno(Errno),
}

impl Helpers {
    /// Starts the first guard.
    pub(crate) fn start(
        program: Program,
        cgroup: Option<PathBuf>,
        ends_orphans: bool,
        null: &File,
        scratch: &mut Scratch,
    ) -> Result<(Helpers, Abilities), String> {
        let user = User::now().map_err(|errno| errno.to_string())?;
        let guards = Guards { current: None, older: Vec::new(), count: 0, user };
        let (guards, idle) = (Mutex::new(guards), Mutex::new(Vec::new()));
        let changed = Condvar::new();
        let (at_work, asleep) = (Mutex::default(), AtomicBool::new(true));
        let helpers = Helpers { program, cgroup, ends_orphans, guards, changed, idle, at_work, asleep };
        let abilities = helpers.renew(null, scratch)?;
        Ok((helpers, abilities))
    }

    fn guards(&self) -> MutexGuard<'_, Guards> {
        // Nothing can panic while it is held.
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a guard in the place of one that was ended, or that is another user's.
    pub(crate) fn renew(&self, null: &File, scratch: &mut Scratch) -> Result<Abilities, String> {
        let user = User::now().map_err(|errno| errno.to_string())?;
        // What another user has made is that one's guard's to end, which is still there.
        let is_first_user = |guards: MutexGuard<'_, Guards>| user == guards.user && guards.older.is_empty();
        let cgroup = self.cgroup.as_ref().filter(|_| is_first_user(self.guards()));
        let (guard, abilities) = self.guard(cgroup, null, scratch)?;
        let mut guards = self.guards();
        // One that lives is the parent of helpers at work.
        let before = guards.current.replace(guard);
        guards.older.extend(before);
        if user != guards.user {
            self.idle().clear();
        }
        guards.user = user;
        guards.count += 1;
        drop(guards);
        self.changed.notify_all();
        Ok(abilities)
    }

    fn guard(
        &self,
        cgroup: Option<&PathBuf>,
        null: &File,
        scratch: &mut Scratch,
    ) -> Result<(Guard, Abilities), String> {
        let arg = |bytes: &[u8]| CString::new(bytes).map_err(|error| error.to_string());
        let pid = std::process::id().to_string();
        let orphans = if self.ends_orphans { protocol::END_ORPHANS } else { protocol::LEAVE_ORPHANS };
        let mut argv = vec![arg(b"ostler-guard")?, arg(pid.as_bytes())?, arg(orphans.as_bytes())?];
        if let Some(cgroup) = cgroup {
            argv.push(arg(cgroup.as_os_str().as_bytes())?);
        }
        let null = null.as_fd();
        let (control, theirs) = link().map_err(|errno| format!("the guard can't be reached: {errno}"))?;
        let plan = Plan {
            image: Image::Open(self.program.0.as_fd()),
            argv: &argv,
            env: &[],
            cwd: None,
            files: &[null, null, null, theirs.as_fd()],
            terminal: false,
            cgroup: None,
            dies_with_host: false,
        };
        let spawned = clone::spawn(&plan, scratch)
            .map_err(|failed| format!("the guard can't be started: {} ({})", failed.stage, failed.errno))?;
        drop(theirs);
        let guard = Guard { control: Some(Arc::new(control)), pidfd: spawned.pidfd };
        let why = match guard.first() {
            Ok(Some(Told::Watches(abilities))) => return Ok((guard, abilities)),
            Ok(_) => "the guard can't watch this process".to_owned(),
            Err(errno) => format!("the guard does not answer: {errno}"),
        };
        // The end of its line would mean to it that the graph has ended, and it would end the commands that run.
        let _ = sys::signal_process(guard.pidfd.as_fd(), Signal::SIGKILL);
        Err(why)
    }

    /// Becomes readable when the guard is gone.
    pub(crate) fn watch_guard(&self, watch: impl FnOnce(BorrowedFd<'_>)) {
        if let Some(control) = self.guards().current.as_ref().and_then(|guard| guard.control.as_ref()) {
            watch(control.as_fd());
        }
    }

    /// Whether there is no guard that could make helpers for this user; one that somebody has ended is taken away.
    pub(crate) fn needs_guard(&self) -> bool {
        let mut guards = self.guards();
        let control = guards.current.as_ref().and_then(|guard| guard.control.as_ref());
        let is_lost = control.is_none_or(|control| !matches!(control.next(), Err(Errno::EAGAIN)));
        let lost = if is_lost { guards.current.take() } else { None };
        let needed = guards.current.is_none() || User::now().is_ok_and(|user| user != guards.user);
        drop(guards);
        // Nobody waits for its end with the lock.
        drop(lost);
        needed
    }

    /// Until there is another guard than the one that was the last of `count`. False: not in time.
    pub(crate) fn wait_for_guard(&self, count: u64, limit: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.guards(), limit, |guards| guards.count == count);
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    }

    /// Whoever has been stopped by somebody goes on: the guard, which sees to its own helpers, and those of a guard that is gone.
    pub(crate) fn remind(&self) {
        let guards = self.guards();
        if let Some(guard) = &guards.current {
            guard.remind();
        }
        let count = guards.count;
        drop(guards);
        let orphans: Vec<u32> =
            self.at_work().iter().filter(|(_, guard)| **guard != count).map(|(pid, _)| *pid).collect();
        for pid in orphans {
            // Opened first, asked afterwards.
            if let Ok(process) = sys::open_process(pid)
                && proc::look(pid).is_ok_and(|seen| seen.stat().is_some_and(|stat| stat.name == NAME))
            {
                let _ = sys::signal_process(process.as_fd(), Signal::SIGCONT);
            }
        }
    }

    fn at_work(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether helpers are at work, or too many are not. If not, whoever looks after them is told when there is one again
    /// ([`Helpers::wakes`]).
    pub(crate) fn need_care(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let are = !self.at_work().is_empty() || self.idle().len() > IDLE_MAX;
        if are {
            self.asleep.store(false, Ordering::SeqCst);
        }
        are
    }

    /// Whether somebody has to be told that a helper is at work.
    pub(crate) fn wakes(&self) -> bool {
        self.asleep.swap(false, Ordering::SeqCst)
    }

    /// A helper that has nothing to do.
    pub(crate) fn take(&self) -> Result<Idle, NoHelper> {
        let guards = self.guards();
        let no_guard = NoHelper::NoGuard(guards.count);
        // Before an idle one is taken: it has the rights of the user who made it.
        if User::now().map_err(NoHelper::Errno)? != guards.user {
            return Err(no_guard);
        }
        if let Some(idle) = self.idle().pop() {
            return Ok(idle);
        }
        let control = guards.current.as_ref().and_then(|guard| guard.control.clone()).ok_or(no_guard)?;
        let count = guards.count;
        // Others need not wait for a guard that does not answer.
        drop(guards);
        let (ours, theirs) = link().map_err(NoHelper::Errno)?;
        match control.hand_over(theirs.as_fd(), FORK_LIMIT) {
            Ok(()) => Ok(Idle { link: ours, pid: None, guard: count }),
            Err(Errno::EPIPE) => Err(NoHelper::NoGuard(count)),
            Err(errno) => Err(NoHelper::Errno(errno)),
        }
    }

    /// It has nothing to do any more.
    pub(crate) fn give_back(&self, link: Link, (pid, guard): (u32, u64)) {
        self.idle().push(Idle { link, pid: Some(pid), guard });
    }

    /// Ends some of those that are too many: the oldest. Not at once, since the end of a process takes time for which others wait:
    /// hundreds of commands may have ended together.
    pub(crate) fn trim(&self) {
        let mut idle = self.idle();
        let surplus = idle.len().saturating_sub(IDLE_MAX).min(TRIMMED_AT_ONCE);
        drop(idle.drain(..surplus));
    }
}
impl Drop for Helpers {
    /// Ends the idle ones. A guard waits for its own; those of a guard that was ended have nobody else.
    fn drop(&mut self) {
        let idle: Vec<Idle> = self.idle().drain(..).collect();
        // As long as its line is held, a helper that is there is the one with this number.
        let living = idle.iter().filter(|idle| matches!(idle.link.next(), Err(Errno::EAGAIN)));
        let processes: Vec<OwnedFd> = living.filter_map(|idle| sys::open_process(idle.pid?).ok()).collect();
        drop(idle);
        let limit = Instant::now() + GUARD_LIMIT;
        for process in processes {
            sys::wait_for_death(process.as_fd(), limit.saturating_duration_since(Instant::now()));
        }
    }
}

/// The graph's guard. When it is dropped, it kills what is left of the graph, and exits.
struct Guard {
    control: Option<Arc<Link>>,
    pidfd: OwnedFd,
}
impl Guard {
    fn first(&self) -> Result<Option<Told>, Errno> {
        match &self.control {
            Some(control) => control.first(TRIAL_LIMIT, || self.remind(), &mut None),
            None => Ok(None),
        }
    }

    /// One that somebody has stopped goes on.
    fn remind(&self) {
        let _ = sys::signal_process(self.pidfd.as_fd(), Signal::SIGCONT);
    }
}
impl Drop for Guard {
    fn drop(&mut self) {
        self.control = None;
        // One that was stopped does not see that.
        self.remind();
        if !sys::wait_for_death(self.pidfd.as_fd(), GUARD_LIMIT) {
            let _ = sys::signal_process(self.pidfd.as_fd(), Signal::SIGKILL);
            sys::wait_for_death(self.pidfd.as_fd(), GUARD_LIMIT);
        }
        let _ = sys::wait(self.pidfd.as_fd(), true);
    }
}

/// One command's parent.
pub(crate) struct Helper {
    /// Until it is given back.
    link: Option<Link>,
    guard: u64,
    helpers: Arc<Helpers>,
    pub(crate) pid: u32,
    /// Nothing is left for it to do, and the leader was reaped.
    pub(crate) finished: bool,
    /// Nothing more will come from it.
    pub(crate) gone: bool,
}
impl Helper {
    pub(crate) fn new(link: Link, helpers: Arc<Helpers>, (pid, guard): (u32, u64)) -> Helper {
        helpers.at_work().insert(pid, guard);
        Helper { link: Some(link), guard, helpers, pid, finished: false, gone: false }
    }
    /// The line to it.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }
    /// A helper that is gone shows at the next reading.
    pub(crate) fn say(&self, command: u8) {
        if let Some(link) = &self.link {
            link.say(command);
        }
    }
    /// What it reports next. `Ok(None)`: it is gone. EAGAIN: it has nothing to say.
    pub(crate) fn next(&self) -> Result<Option<Told>, Errno> {
        self.link.as_ref().map_or(Ok(None), Link::next)
    }
}
impl Drop for Helper {
    fn drop(&mut self) {
        self.helpers.at_work().remove(&self.pid);
        if let Some(link) = self.link.take()
            && self.finished
            && !self.gone
        {
            self.helpers.give_back(link, (self.pid, self.guard));
        }
    }
}

/// Nobody can say any more how the leader ended.
pub(crate) fn unknown_exit(ended_at: Stamp, duration_ms: u64) -> Exit {
    Exit { exit_code: -1, signal: None, usage: None, ended_at, duration_ms, oom_killed: None }
}
