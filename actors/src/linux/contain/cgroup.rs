//! Cgroups (v2) as containers of trees: one leaf for each handle, in one directory for each graph.
//!
//! No controller is needed: `cgroup.kill` (kernel 5.14) ends everything in a leaf at once, whatever it forks meanwhile, and
//! `cgroup.events` tells whether anything lives in it. A process leaves its leaf only if somebody moves it
//! who may write to it and above: root, or the user to whom the host's cgroup was delegated.

use crate::linux::{
    exec::clone::{self, Image, Plan, Scratch},
    proc, sys,
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag, open},
    sys::{signal::Signal, stat::Mode},
};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Beginning of the names of our directories.
const PREFIX: &str = "ostler-";
/// A directory younger than this may belong to a host that has not locked it yet.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// How long the removal of what a dead host left may take.
const STALE_LIMIT: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(1);

/// The directory of one graph. Locked as long as the host lives, so that no other host takes it for abandoned.
pub(crate) struct Cgroups {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Cgroups {
    /// Finds the place, makes the directory, and tries everything that will be needed. Says why not.
    pub(crate) fn probe(name: &str, scratch: &mut Scratch) -> Result<Cgroups, String> {
        let base = own_cgroup()?;
        sweep_stale(&base);
        let dir = base.join(format!("{PREFIX}{name}"));
        fs::create_dir(&dir).map_err(|error| format!("{} can't be made: {error}", dir.display()))?;
        Cgroups::try_out(&dir, scratch).inspect_err(|_| remove(&dir))
    }

    fn try_out(dir: &Path, scratch: &mut Scratch) -> Result<Cgroups, String> {
        let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let file = File::open(dir).map_err(|error| said("its directory can't be opened", &error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| said("its directory can't be locked", &errno))?;
        let cgroups = Cgroups { dir: dir.to_owned(), _lock: lock };
        let leaf = cgroups.leaf(0).map_err(|error| said("a leaf can't be made", &error))?;
        let tried = leaf.try_out(scratch);
        leaf.remove();
        tried.map(|()| cgroups)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the leaf of a handle; 0 is for trying out.
    pub(crate) fn leaf(&self, n: u64) -> io::Result<Leaf> {
        let dir = self.dir.join(format!("h{n}"));
        fs::create_dir(&dir)?;
        Ok(Leaf { dir, removed: false })
    }
}
impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
        wait_until_empty(&self.dir);
        remove(&self.dir);
    }
}

/// The cgroup of one handle.
pub(crate) struct Leaf {
    dir: PathBuf,
    removed: bool,
}
impl Leaf {
    /// For being born into it.
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        open(&self.dir, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty())
            .and_then(crate::linux::exec::slots::above_stdio)
    }

    fn try_out(&self, scratch: &mut Scratch) -> Result<(), String> {
        let file = self.open().map_err(|errno| format!("a leaf can't be opened: {errno}"))?;
        let plan = Plan {
            image: Image::None,
            argv: &[],
            env: &[],
            cwd: None,
            files: &[],
            cgroup: Some(file.as_fd()),
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
        match populated(&self.dir) {
            Ok(false) => Ok(()),
            Ok(true) => Err("a leaf does not become empty".into()),
            Err(error) => Err(format!("cgroup.events can't be read: {error}")),
        }
    }

    /// Whether nothing lives in it or below it, zombies not counted; from then on it is gone. The kernel removes no cgroup
    /// in which something lives, so that removing it is the proof.
    pub(crate) fn is_empty(&mut self) -> io::Result<bool> {
        if !self.removed && fs::remove_dir(&self.dir).is_err() {
            match populated(&self.dir) {
                Ok(true) => return Ok(false),
                // Somebody else has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(false) => {}
            }
            // There are cgroups in it that the command has made.
            remove(&self.dir);
        }
        self.removed = true;
        Ok(true)
    }

    /// SIGKILL to everything in it and below it, and to what is forked meanwhile.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.kill"), "1")
    }

    /// Everyone in it and below it.
    pub(crate) fn members(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        collect(&self.dir, &mut pids)?;
        Ok(pids)
    }

    /// Signals those that are not in this process group. Its leader always is.
    pub(crate) fn signal_outside(&self, group: u32, signals: &[Signal]) {
        for pid in self.members().unwrap_or_default() {
            if pid == group || proc::stat(pid).is_none_or(|stat| stat.group == group) {
                continue;
            }
            // Opened first, asked afterwards: if it is still a member, it is the one that was meant.
            let Ok(process) = sys::open_process(pid) else { continue };
            if self.members().is_ok_and(|members| members.contains(&pid)) {
                for signal in signals {
                    // One that is gone needs no signal.
                    let _ = sys::signal_process(process.as_fd(), *signal);
                }
            }
        }
    }

    /// Removes it, if it is empty.
    pub(crate) fn remove(&self) {
        remove(&self.dir);
    }
}

/// This process's own cgroup: the cgroup2 mount from `/proc/self/mountinfo`, the path in it from `/proc/self/cgroup`.
fn own_cgroup() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    locate(&mounts, &cgroups)
}

/// proc_pid_mountinfo(5): `id parent dev root mountpoint options… - type source options`.
fn locate(mounts: &str, cgroups: &str) -> Result<PathBuf, String> {
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or("this process is in no cgroup of version 2")?;
    let mut reason = "no cgroup2 file system is mounted".to_owned();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if right.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let fields: Vec<&str> = left.split(' ').collect();
        let (Some(root), Some(point), Some(options)) = (fields.get(3), fields.get(4), fields.get(5)) else {
            continue;
        };
        if options.split(',').any(|option| option == "ro") {
            reason = format!("cgroup2 at {point} is mounted read-only");
            continue;
        }
        match Path::new(path).strip_prefix(root) {
            Ok(rest) => return Ok(Path::new(&unescape(point)).join(rest)),
            Err(_) => reason = format!("this process's cgroup {path} is not below {root}, which is mounted"),
        }
    }
    Err(reason)
}

/// Blanks in a mount point stand as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn populated(dir: &Path) -> io::Result<bool> {
    Ok(fs::read_to_string(dir.join("cgroup.events"))?.lines().any(|line| line == "populated 1"))
}

fn collect(dir: &Path, pids: &mut Vec<u32>) -> io::Result<()> {
    let procs = fs::read_to_string(dir.join("cgroup.procs"))?;
    pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
    // A directory's links are its name, itself, and one for each directory in it.
    if fs::metadata(dir)?.nlink() == 2 {
        return Ok(());
    }
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // One that is removed meanwhile had nobody in it.
            let _ = collect(&entry.path(), pids);
        }
    }
    Ok(())
}

/// From the inside out. A cgroup goes only when it is empty, so this can't hurt anyone.
fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Ends what hosts that died without a guard have left. Their locks went with them.
fn sweep_stale(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > STALE_AFTER));
        if !ours || !old {
            continue;
        }
        let dir = entry.path();
        let Ok(file) = File::open(&dir) else { continue };
        if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            let _ = fs::write(dir.join("cgroup.kill"), "1");
            wait_until_empty(&dir);
            remove(&dir);
        }
    }
}

fn wait_until_empty(dir: &Path) {
    let limit = Instant::now() + STALE_LIMIT;
    while populated(dir).unwrap_or(false) && Instant::now() < limit {
        std::thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::locate;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_mount_is_found_and_not_assumed() {
        let found = locate(HYBRID, "9:name=systemd:/\n0::/user.slice/a b\n").unwrap();
        assert_eq!(found.to_str(), Some("/sys/fs/cgroup/unified/user.slice/a b"));
        let bound = "41 31 0:38 /docker/x /mnt/c\\040g rw - cgroup2 cgroup2 rw\n";
        assert_eq!(locate(bound, "0::/docker/x/y\n").unwrap().to_str(), Some("/mnt/c g/y"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(locate(HYBRID, "1:cpu:/\n").unwrap_err().contains("no cgroup of version 2"));
        assert!(locate("", "0::/\n").unwrap_err().contains("no cgroup2"));
        assert!(locate(&HYBRID.replace("rw,relatime", "ro"), "0::/\n").unwrap_err().contains("read-only"));
        let elsewhere = "41 31 0:38 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert!(locate(elsewhere, "0::/../other\n").unwrap_err().contains("not below"));
    }
}
