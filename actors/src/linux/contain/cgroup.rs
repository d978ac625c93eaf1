//! Cgroups (v2) as containers of trees: one leaf for each handle, in one directory for each graph.
//!
//! No controller is needed: `cgroup.kill` (kernel 5.14) ends everything in a leaf at once, whatever it forks meanwhile, and
//! `cgroup.events` tells whether anything lives in it. A process leaves its leaf only if somebody moves it
//! who may write to it and above: root, or the user to whom the host's cgroup was delegated.

use crate::linux::{
    contain::cgroup_mount::place,
    contain::limits::{CPU_SHARE, Controller, MEMORY_LIMIT, NoLimit, PROCESSES_LIMIT, TreeLimits},
    exec::clone::{self, Image, Plan, Scratch},
    exec::slots::above_stdio,
    sys,
};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag, openat},
    sys::{
        signal::{Signal, kill},
        stat::{Mode, fstat, mkdirat},
    },
    unistd::{Pid, UnlinkatFlags, unlinkat},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Beginning of the names of our directories, before the host's pid and the time.
const PREFIX: &str = "ostler-";
/// A directory younger than this may belong to a host that has not locked it yet.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// How long the removal of what a dead host left may take.
const STALE_LIMIT: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(1);
/// How deep cgroups that a command has made are followed: the kernel's own limit is far above what anybody makes.
const DEPTH_MAX: u32 = 32;

/// The directory of one graph. Locked as long as the host lives, so that no other host takes it for abandoned.
pub(crate) struct Cgroups {
    path: PathBuf,
    dir: Arc<OwnedFd>,
    lock: Flock<File>,
    memory: Controller,
    pids: Controller,
    cpu: Controller,
}

impl Cgroups {
    /// Finds the place, makes the directory, and tries everything that will be needed. Says why not.
    pub(crate) fn probe(name: &str, scratch: &mut Scratch) -> Result<Cgroups, String> {
        let base = place()?;
        let path = base.join(format!("{PREFIX}{name}"));
        fs::create_dir(&path).map_err(|error| format!("{} can't be made: {error}", path.display()))?;
        let cgroups = Cgroups::try_out(&path, scratch).inspect_err(|_| drop(fs::remove_dir(&path)))?;
        // Nobody waits for what others have left.
        let _ = crate::backend::thread::spawn("ostler-sweep", move || sweep_stale(&base));
        Ok(cgroups)
    }

    fn try_out(path: &Path, scratch: &mut Scratch) -> Result<Cgroups, String> {
        let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let file = File::open(path).map_err(|error| said("its directory can't be opened", &error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| said("its directory can't be locked", &errno))?;
        let dir = lock.try_clone().map_err(|error| said("its directory can't be opened", &error))?;
        let dir = above_stdio(dir.into()).map_err(|errno| said("its directory can't be opened", &errno))?;
        let [memory, pids, cpu] = ["memory", "pids", "cpu"].map(Controller::new);
        let cgroups = Cgroups { path: path.to_owned(), dir: Arc::new(dir), lock, memory, pids, cpu };
        let leaf = cgroups.leaf(0).map_err(|errno| said("a leaf can't be made", &errno))?;
        leaf.try_out(scratch).map(|()| cgroups)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the controllers ready that these limits need.
    pub(crate) fn prepare(&self, limits: TreeLimits) -> Result<(), NoLimit> {
        let needed = [
            (limits.memory_bytes, &self.memory, MEMORY_LIMIT),
            (limits.processes, &self.pids, PROCESSES_LIMIT),
            (limits.cpu_share, &self.cpu, CPU_SHARE),
        ];
        for (_, controller, field) in needed.into_iter().filter(|(limit, ..)| limit.is_some()) {
            controller.enable(&self.path).map_err(|why| NoLimit(field, why))?;
        }
        Ok(())
    }

    /// Makes the leaf of a handle, with all that its end needs; 0 is for trying out.
    pub(crate) fn leaf(&self, n: u64) -> Result<Leaf, Errno> {
        let name = format!("h{n}");
        mkdirat(&*self.dir, name.as_str(), Mode::from_bits_truncate(0o755))?;
        let opened = open_dir(self.dir.as_fd(), &name).and_then(|dir| {
            let kill = openat(&dir, "cgroup.kill", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            Ok((above_stdio(dir)?, above_stdio(kill)?))
        });
        match opened {
            Ok((dir, kill)) => {
                let (parent, dir) = (self.dir.clone(), Some(dir));
                let counts_memory = self.memory.is_enabled();
                Ok(Leaf { parent, name, dir, kill: kill.into(), counts_memory, is_removed: false })
            }
            Err(errno) => {
                let _ = unlinkat(&*self.dir, name.as_str(), UnlinkatFlags::RemoveDir);
                Err(errno)
            }
        }
    }
}
impl Drop for Cgroups {
    fn drop(&mut self) {
        empty_and_remove(self.lock.as_fd());
        let _ = fs::remove_dir(&self.path);
    }
}

/// The cgroup of one handle. What its end needs is open from its start, `cgroup.kill`: there may be no descriptor left by then. The
/// rest is found through the open directory of the graph: a path may be covered.
pub(crate) struct Leaf {
    parent: Arc<OwnedFd>,
    name: String,
    /// Until somebody is born into it.
    dir: Option<OwnedFd>,
    kill: File,
    /// The kernel counts there whom it ends for want of memory.
    pub(super) counts_memory: bool,
    pub(super) is_removed: bool,
}
/// Who is in a cgroup and in those below it.
pub(super) fn pids_below(dir: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut pids = Vec::new();
    match collect(dir, &mut pids, DEPTH_MAX) {
        // Removed, and so empty.
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(pids),
        Err(errno) => Err(errno),
    }
}

impl Leaf {
    /// For being born into it.
    pub(crate) fn dir(&self) -> Option<BorrowedFd<'_>> {
        self.dir.as_ref().map(AsFd::as_fd)
    }
    /// Somebody was.
    pub(crate) fn close_dir(&mut self) {
        self.dir = None;
    }
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        open_dir(self.parent.as_fd(), &self.name)
    }

    fn try_out(mut self, scratch: &mut Scratch) -> Result<(), String> {
        let plan = Plan {
            image: Image::None,
            argv: &[],
            env: &[],
            cwd: None,
            files: &[],
            terminal: false,
            cgroup: self.dir(),
            dies_with_host: true,
        };
        let child = clone::spawn(&plan, scratch).map_err(|failed| {
            format!("no process can be made in a leaf: {} ({})", failed.stage, failed.errno)
        })?;
        self.kill().map_err(|error| format!("cgroup.kill can't be written: {error}"))?;
        let limit = Instant::now() + STALE_LIMIT;
        while matches!(sys::wait(child.pidfd.as_fd(), true), Ok(None)) && Instant::now() < limit {
            std::thread::sleep(STEP);
        }
        match self.is_empty() {
            Ok(true) => Ok(()),
            Ok(false) => Err("a leaf does not become empty".into()),
            Err(error) => Err(format!("cgroup.events can't be read: {error}")),
        }
    }

    /// Whether nothing lives in it or below it, zombies not counted; from then on it is gone. The kernel removes no cgroup
    /// in which something lives, so that removing it is the proof.
    pub(crate) fn is_empty(&mut self) -> Result<bool, Errno> {
        if self.is_removed {
            return Ok(true);
        }
        match self.unlink() {
            // Somebody else has removed it.
            Ok(()) | Err(Errno::ENOENT) => {}
            // It may also have cgroups in it, which the command has made; or we may not remove it any more.
            Err(_) => match self.open().and_then(|dir| Ok((populated(dir.as_fd())?, dir))) {
                Ok((true, _)) => return Ok(false),
                Ok((false, dir)) => {
                    remove_below(dir.as_fd(), DEPTH_MAX);
                    let _ = self.unlink();
                }
                Err(Errno::ENODEV | Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            },
        }
        self.is_removed = true;
        Ok(true)
    }

    fn unlink(&self) -> Result<(), Errno> {
        unlinkat(&*self.parent, self.name.as_str(), UnlinkatFlags::RemoveDir)
    }

    /// SIGKILL to everything in it and below it, and to what is forked meanwhile. Not to a process whose main thread has ended
    /// before its others (seen on kernel 6.18): whoever is still listed afterwards needs one of its own.
    pub(crate) fn kill(&self) -> io::Result<()> {
        (&self.kill).write_all(b"1")
    }

    /// Everyone in it and below it.
    pub(crate) fn members(&self) -> Result<Vec<u32>, Errno> {
        let mut pids = Vec::new();
        match self.open().and_then(|dir| collect(dir.as_fd(), &mut pids, DEPTH_MAX)) {
            // Removed, and so empty.
            Ok(()) | Err(Errno::ENODEV | Errno::ENOENT) => Ok(pids),
            Err(errno) => Err(errno),
        }
    }

    /// Stops everything in it and below it where it is, and what is forked meanwhile (cgroups(7), `cgroup.freeze`). Writing 0 to the
    /// file lets it go on.
    pub(crate) fn freeze(&self) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(above_stdio(openat(self.open()?, "cgroup.freeze", flags, Mode::empty())?)?);
        file.write_all(b"1")?;
        Ok(file)
    }

    /// Whether that is so.
    pub(crate) fn is_frozen(&self) -> Result<bool, Errno> {
        is_frozen(self.open()?.as_fd())
    }

    /// Signals each of these who is still a member.
    pub(crate) fn signal_each(&self, pids: impl IntoIterator<Item = u32>, signals: &[Signal]) {
        let (mut held, mut by_number) = (Vec::new(), Vec::new());
        for pid in pids {
            match sys::open_process(pid) {
                Ok(process) => held.push((pid, process)),
                Err(Errno::ESRCH) => {}
                // No pidfds here (an old container filter), or no descriptor left.
                Err(_) => by_number.push(pid),
            }
        }
        // Opened first, asked afterwards: whoever is still a member is the one that was meant.
        let members: BTreeSet<u32> = self.members().unwrap_or_default().into_iter().collect();
        for (_, process) in held.iter().filter(|(pid, _)| members.contains(pid)) {
            for signal in signals {
                // One that is gone needs no signal; whoever may not be signalled shows at the next look.
                let _ = sys::signal_process(process.as_fd(), *signal);
            }
        }
        if !by_number.is_empty() {
            self.signal_frozen(&by_number, signals);
        }
    }

    /// By number: whoever is frozen does not end meanwhile, so that its number stays its own.
    fn signal_frozen(&self, pids: &[u32], signals: &[Signal]) {
        let Ok(dir) = self.open() else { return };
        let freeze = |value: &[u8]| write_at(dir.as_fd(), "cgroup.freeze", value);
        let limit = Instant::now() + FREEZE_LIMIT;
        if freeze(b"1").is_ok() {
            let all_frozen = || is_frozen(dir.as_fd()).unwrap_or(false);
            while !all_frozen() && Instant::now() < limit {
                std::thread::sleep(STEP);
            }
            if all_frozen() {
                let members = self.members().unwrap_or_default();
                for pid in pids.iter().filter(|pid| members.contains(pid)) {
                    for signal in signals {
                        let _ = kill(Pid::from_raw(pid.cast_signed()), *signal);
                    }
                }
            }
        }
        let _ = freeze(b"0");
    }
}
impl Drop for Leaf {
    /// Removes it, if it is empty.
    fn drop(&mut self) {
        let _ = self.is_empty();
    }
}

/// How long a cgroup is waited for to be frozen: a process in the hands of a device can't be.
const FREEZE_LIMIT: Duration = Duration::from_millis(20);

fn open_dir(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY | OFlag::O_NOFOLLOW;
    openat(parent, name, flags, Mode::empty())
}

pub(super) fn read_at(dir: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let file = openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    let read = File::from(file).read_to_string(&mut text);
    read.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    Ok(text)
}

pub(super) fn write_at(dir: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<(), Errno> {
    let file = openat(dir, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let written = File::from(file).write_all(value);
    written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

fn populated(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(read_at(dir, "cgroup.events")?.lines().any(|line| line == "populated 1"))
}

fn is_frozen(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(read_at(dir, "cgroup.events")?.lines().any(|line| line == "frozen 1"))
}

fn collect(dir: BorrowedFd<'_>, pids: &mut Vec<u32>, depth: u32) -> Result<(), Errno> {
    pids.extend(read_at(dir, "cgroup.procs")?.lines().filter_map(|line| line.parse::<u32>().ok()));
    each_below(dir, depth, |below| {
        // One that is removed meanwhile had nobody in it.
        let _ = collect(below, pids, depth - 1);
    })
}

/// Each cgroup in a cgroup.
fn each_below(dir: BorrowedFd<'_>, depth: u32, mut visit: impl FnMut(BorrowedFd<'_>)) -> Result<(), Errno> {
    // A directory's links are its name, itself, and one for each directory in it.
    if depth == 0 || fstat(dir)?.st_nlink == 2 {
        return Ok(());
    }
    let mut listing =
        Dir::openat(dir, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty())?;
    for entry in listing.iter().flatten() {
        let is_dir = entry.file_type() == Some(nix::dir::Type::Directory);
        let Ok(name) = entry.file_name().to_str() else { continue };
        if is_dir
            && !matches!(name, "." | "..")
            && let Ok(below) = open_dir(dir, name)
        {
            visit(below.as_fd());
        }
    }
    Ok(())
}

/// Everything below a cgroup, from the inside out. One goes only when it is empty, so this can't hurt anyone.
fn remove_below(dir: BorrowedFd<'_>, depth: u32) {
    let Ok(mut listing) =
        Dir::openat(dir, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty())
    else {
        return;
    };
    for entry in listing.iter().flatten() {
        let Ok(name) = entry.file_name().to_str() else { continue };
        if entry.file_type() == Some(nix::dir::Type::Directory) && !matches!(name, "." | "..") {
            if depth > 0
                && let Ok(below) = open_dir(dir, name)
            {
                remove_below(below.as_fd(), depth - 1);
            }
            let _ = unlinkat(dir, name, UnlinkatFlags::RemoveDir);
        }
    }
}

/// Kills what is in it, waits for its end, and removes what is below it.
fn empty_and_remove(dir: BorrowedFd<'_>) {
    let limit = Instant::now() + STALE_LIMIT;
    let _ = write_at(dir, "cgroup.kill", b"1");
    while populated(dir).unwrap_or(false) && Instant::now() < limit {
        std::thread::sleep(STEP);
        kill_each(dir);
    }
    remove_below(dir, DEPTH_MAX);
}

/// For those that `cgroup.kill` does not end.
fn kill_each(dir: BorrowedFd<'_>) {
    let members = || {
        let mut pids = Vec::new();
        collect(dir, &mut pids, DEPTH_MAX).map(|()| pids).unwrap_or_default()
    };
    let held: Vec<_> =
        members().into_iter().filter_map(|pid| Some((pid, sys::open_process(pid).ok()?))).collect();
    let still: BTreeSet<u32> = members().into_iter().collect();
    for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
        let _ = sys::signal_process(process.as_fd(), Signal::SIGKILL);
    }
}

/// Whether a directory is one that a graph made: by its whole name, and by what is in it.
fn is_ours(name: &str, dir: BorrowedFd<'_>) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |name: &str| {
        let rest = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        rest.is_some_and(|(pid, time)| number(pid) && number(time))
    };
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    is_name(name)
        && read_at(dir, "cgroup.procs").is_ok_and(|procs| procs.is_empty())
        && Dir::openat(dir, ".", flags, Mode::empty()).is_ok_and(|mut listing| {
            listing.iter().flatten().filter(|entry| entry.file_type() == Some(nix::dir::Type::Directory)).all(
                |entry| {
                    let name = entry.file_name().to_str().unwrap_or_default();
                    matches!(name, "." | "..") || name.strip_prefix('h').is_some_and(number)
                },
            )
        })
}

/// Ends what hosts that died without a guard have left. Their locks went with them.
fn sweep_stale(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > STALE_AFTER));
        let name = entry.file_name().to_string_lossy().into_owned();
        if !old || !name.starts_with(PREFIX) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            && is_ours(&name, lock.as_fd())
        {
            empty_and_remove(lock.as_fd());
            let _ = fs::remove_dir(entry.path());
        }
    }
}
