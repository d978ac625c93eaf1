//! What `/proc` says about processes. Shared by the graph and by the helper, which is a program of its own: so nothing but
//! the standard library is used here.
//!
//! * in: a number
//! * out: absent, dead, alive, or alive and hidden; or that nobody was able to look
//! * keeps: "could not be read" is never "is not there"

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs,
    io::{self, ErrorKind},
};

/// Most processes that are followed in one look; whoever acts on the answer looks again.
const MOST: usize = 65_536;

/// Whether `/proc` shows the processes that we mean: that it is there, that it is of our own PID namespace (else numbers mean
/// others: pid_namespaces(7)), and that it hides nobody (`hidepid`, proc(5)). Says why not; then it is as good as absent.
pub(crate) fn trusted() -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("/proc does not show this process: {error}"))?;
    // One number for each namespace from that of the mount down to ours.
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers: Vec<&str> = numbers.unwrap_or_default().split_ascii_whitespace().collect();
    if numbers != [std::process::id().to_string()] {
        return Err("/proc is that of another PID namespace".to_owned());
    }
    // Somebody else's, unless we are root, whom nothing is hidden from.
    match fs::read("/proc/1/stat") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("/proc hides processes: {error}")),
    }
}

/// A descendant and the parent it was found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Descendant {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
}

/// All descendants, zombies included, parents before their children. One that forks while this looks may hide its child
/// from this look.
pub(crate) fn descendants(root: u32) -> Vec<Descendant> {
    let mut found = Vec::new();
    // Whoever acts on what was found looks again.
    let _ = read_descendants(root, &mut found);
    found
}

/// The same, apart from not being able to look.
pub(crate) fn read_descendants(root: u32, found: &mut Vec<Descendant>) -> io::Result<()> {
    let mut seen = BTreeSet::from([root]);
    let mut next = 0;
    let mut parent = root;
    loop {
        for pid in children(parent)? {
            if seen.insert(pid) && found.len() < MOST {
                found.push(Descendant { pid, parent });
            }
        }
        let Some(descendant) = found.get(next) else { return Ok(()) };
        parent = descendant.pid;
        next += 1;
    }
}

/// The children of all threads of a process (`/proc/pid/task/tid/children`, CONFIG_PROC_CHILDREN). One that is gone has none.
pub(crate) fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    let Some(tasks) = unless_gone(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(children) };
    for task in tasks {
        let Some(task) = unless_gone(task)? else { continue };
        // A thread may end while the others are listed.
        let Some(text) = unless_gone(fs::read_to_string(task.path().join("children")))? else { continue };
        children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// How much readier a command is to be ended for want of memory than its host, of 1,000 (proc_pid_oom_score_adj(5)): a host that
/// holds a fifth of the machine's memory is still not ended before a small command.
const OOM_ABOVE_HOST: i32 = 200;
const OOM_MAX: i32 = 1_000;

/// The `oom_score_adj` of commands that this process starts. None: its own can't be read.
pub(crate) fn oom_score_of_command() -> Option<CString> {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    CString::new((own + OOM_ABOVE_HOST).min(OOM_MAX).to_string()).ok()
}

/// What `/proc/pid/stat` says (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Of the main thread.
    zombie: bool,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// Its controlling terminal, as the kernel writes a device's number here; 0: none.
    pub(crate) terminal: u32,
    threads: u32,
    /// Until something comes, and a signal wakes it too.
    pub(crate) waits: bool,
    /// For the kernel alone: no signal but SIGKILL wakes it.
    waits_for_kernel: bool,
    /// By a signal or a debugger.
    pub(crate) stopped: bool,
    /// As it is, but for bytes that are no UTF-8.
    pub(crate) name: String,
}

/// What a look at a process gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nobody has the number.
    Absent,
    /// A zombie, and no thread of it is left.
    Dead(Stat),
    Alive(Stat),
    /// It is there, and could not be read.
    Hidden,
}
impl Seen {
    pub(crate) fn stat(&self) -> Option<&Stat> {
        match self {
            Seen::Dead(stat) | Seen::Alive(stat) => Some(stat),
            Seen::Absent | Seen::Hidden => None,
        }
    }
    pub(crate) fn lives(&self) -> bool {
        matches!(self, Seen::Alive(_) | Seen::Hidden)
    }
}

/// An error means that nobody was able to look: for want of memory or descriptors.
pub(crate) fn look(pid: u32) -> io::Result<Seen> {
    let bytes = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(bytes) => bytes,
        Err(error) if wants(&error) => return Err(error),
        Err(error) if gone(&error) => return Ok(Seen::Absent),
        Err(_) => return Ok(Seen::Hidden),
    };
    let Some(stat) = parse(&bytes) else { return Ok(Seen::Hidden) };
    // The main thread may end before the others.
    let alive = !stat.zombie || (stat.threads > 1 && a_thread_lives(pid)?);
    Ok(if alive { Seen::Alive(stat) } else { Seen::Dead(stat) })
}

/// What a thread does. None: it is gone.
pub(crate) fn look_at_task(pid: u32, task: u32) -> io::Result<Option<Stat>> {
    let bytes = unless_gone(fs::read(format!("/proc/{pid}/task/{task}/stat")))?;
    Ok(bytes.and_then(|bytes| parse(&bytes)))
}

/// Whether it does nothing more before it is continued: it is stopped; or it waits in the kernel and SIGSTOP waits for it, as for the
/// parent of a vfork(2) whose child is stopped. What the main thread says holds for all, unless that has ended.
pub(crate) fn stands_still(pid: u32, stat: &Stat) -> io::Result<bool> {
    if !stat.zombie {
        return Ok(stat.stopped || (stat.waits_for_kernel && has_pending(pid, SIGSTOP)?));
    }
    let Some(tasks) = unless_gone(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(true) };
    for task in tasks {
        let Some(task) = unless_gone(task)? else { continue };
        let Some(bytes) = unless_gone(fs::read(task.path().join("stat")))? else { continue };
        if parse(&bytes).is_none_or(|stat| !stat.zombie && !stat.stopped) {
            return Ok(false);
        }
    }
    Ok(true)
}

const SIGSTOP: u32 = 19;

/// Whether a signal waits for a process (proc_pid_status(5), `ShdPnd`), or for its main thread.
fn has_pending(pid: u32, signal: u32) -> io::Result<bool> {
    let status = unless_gone(fs::read_to_string(format!("/proc/{pid}/status")))?.unwrap_or_default();
    let masks =
        status.lines().filter_map(|line| line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:")));
    let mut masks = masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(masks.any(|mask| mask & (1 << (signal - 1)) != 0))
}

fn a_thread_lives(pid: u32) -> io::Result<bool> {
    let Some(tasks) = unless_gone(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(false) };
    for task in tasks {
        let Some(task) = unless_gone(task)? else { continue };
        let Some(bytes) = unless_gone(fs::read(task.path().join("stat")))? else { continue };
        if parse(&bytes).is_none_or(|stat| !stat.zombie) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if gone(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// ENOENT, or ESRCH from a file that was open already.
fn gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// ENOMEM, ENFILE, EMFILE.
fn wants(error: &io::Error) -> bool {
    const WANT: [i32; 3] = [12, 23, 24];
    error.raw_os_error().is_some_and(|errno| WANT.contains(&errno))
}

/// `pid (comm) state ppid pgrp session … num_threads …`; the name may hold spaces, parentheses and any bytes.
fn parse(stat: &[u8]) -> Option<Stat> {
    let start = stat.iter().position(|byte| *byte == b'(')?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = String::from_utf8_lossy(stat.get(start + 1..end)?).into_owned();
    let mut fields = str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let (zombie, stopped) = (matches!(state, "Z" | "X" | "x"), matches!(state, "T" | "t"));
    let (waits, waits_for_kernel) = (state == "S", state == "D");
    let mut number = || fields.next()?.parse::<u32>().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    // The kernel prints 32 bits with a sign.
    let terminal = fields.next()?.parse::<i32>().ok()?.cast_unsigned();
    // The 20th field; this far is the seventh.
    let threads = fields.nth(12).and_then(|field| field.parse().ok()).unwrap_or(1);
    Some(Stat { zombie, parent, group, session, terminal, threads, waits, waits_for_kernel, stopped, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "0 -1 4194304 1 0 0 0 2 3 0 0 20 0 5 0 99";

    #[test]
    fn no_name_hides_a_process() {
        let line = format!("42 (a) b) S 1 7 8 {REST}");
        let stat = parse(line.as_bytes()).unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.group, stat.session), ("a) b", 1, 7, 8));
        assert_eq!((stat.zombie, stat.threads), (false, 5));
        assert!(parse(format!("42 (x) Z 1 7 7 {REST}").as_bytes()).unwrap().zombie);
        let odd = [b"42 (\xff\xfe) S 1 7 7 ".as_slice(), REST.as_bytes()].concat();
        assert_eq!(parse(&odd).unwrap().name, "\u{fffd}\u{fffd}");
        assert!(parse(b"42 (x").is_none());
    }

    #[test]
    fn a_child_is_found_under_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let me = std::process::id();
        assert!(descendants(me).contains(&Descendant { pid: child.id(), parent: me }));
        assert!(look(child.id()).unwrap().lives());
        child.kill().unwrap();
        while look(child.id()).unwrap().lives() {}
        assert!(matches!(look(child.id()), Ok(Seen::Dead(_))), "nobody has taken it away");
        child.wait().unwrap();
        assert_eq!(look(child.id()).unwrap(), Seen::Absent);
        assert!(!descendants(me).iter().any(|descendant| descendant.pid == child.id()));
    }

    #[test]
    fn this_machine_shows_its_processes() {
        assert_eq!(trusted(), Ok(()));
    }
}
