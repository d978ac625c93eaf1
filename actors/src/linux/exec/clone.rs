//! Making a process: `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`, and `CLONE_INTO_CGROUP` where there is one.
//!
//! `fork` copies the page tables of the host, which takes 100 ms for each GiB it holds; with `CLONE_VM` the child borrows
//! its memory instead, so the time does not grow with the host. `CLONE_VFORK` holds the calling thread until the child has
//! left that memory, by exec or by exit. The child says how far it came, so a failure has a stage and an errno.
//!
//! A process is born in its cgroup rather than moved there: moving takes a lock over all of the system's forks, which
//! costs 7 ms unless somebody else has just taken it.
//!
//! The child shares the table of descriptors too (`CLONE_FILES`), until it takes a table of its own that holds only the
//! low numbers, where its files are ([`Slots`]). Where a filter allows neither `close_range` nor `unshare`, the child is
//! given a copy of the whole table from the start. (Kernels 5.9 to 6.10 without the fix of CVE-2024-45025 may give a command
//! of a host with full blocks of 64 descriptors a higher number than the lowest free one.)
//!
//! Between clone and exec the child shares every byte with the host: it only makes system calls on what was prepared.
#![allow(unsafe_code)]

use crate::linux::{
    exec::clone3::clone_into,
    exec::slots::{FILES, Slots},
    proc, sys,
};
use nix::{errno::Errno, libc};
use ostler_messages::Stage;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
};

/// The child's own stack. It calls a handful of wrappers of system calls, each with a frame below 1 KiB.
const STACK_BYTES: usize = 64 << 10;
/// What lies below it and can't be touched: the largest page that a Linux has (arm64, ppc64).
const GUARD_BYTES: usize = 64 << 10;
/// What is mapped.
const MAPPED_BYTES: usize = GUARD_BYTES + STACK_BYTES;
/// Highest signal number on Linux.
const SIGNALS: c_int = 64;
/// `CLOSE_RANGE_UNSHARE` (linux/close_range.h, kernel 5.9).
const UNSHARE: libc::c_uint = 1 << 1;
/// `CLOSE_RANGE_CLOEXEC` (linux/close_range.h, kernel 5.11).
const CLOSE_ON_EXEC: libc::c_uint = 1 << 2;
/// A child borrows the host's memory, its parent waits until it gives it back, and gets a pidfd.
const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

/// What is executed.
#[derive(Clone, Copy)]
pub(crate) enum Image<'a> {
    /// A file, relative to the working directory.
    Path(&'a CStr),
    /// An open one.
    Open(BorrowedFd<'a>),
    /// Nothing: the child exits with 0. For asking whether it could be made.
    None,
}

/// Everything the child needs, made before it exists.
pub(crate) struct Plan<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) argv: &'a [CString],
    pub(crate) env: &'a [&'a CStr],
    pub(crate) cwd: Option<&'a CStr>,
    /// stdin, stdout, stderr, and what a helper needs beside them.
    pub(crate) files: &'a [BorrowedFd<'a>],
    /// The first of them is to be its controlling terminal.
    pub(crate) terminal: bool,
    /// The directory of its cgroup.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// It is killed when the thread that makes it ends, and so when the host dies.
    pub(crate) dies_with_host: bool,
}

/// A process that has reached its program.
pub(crate) struct Spawned {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// Where it failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) stage: Stage,
    pub(crate) errno: Errno,
    /// It was killed by this signal before it could say anything.
    pub(crate) killed_by: Option<c_int>,
}

/// What the child says. Atomics, because two processes write to the same memory.
struct Report {
    stage: AtomicU32,
    errno: AtomicI32,
}

const STAGES: [Stage; 5] = [Stage::Session, Stage::DeathSignal, Stage::Stdio, Stage::Cwd, Stage::Exec];

struct Child {
    path: *const c_char,
    image: RawFd,
    argv: *const *const c_char,
    env: *const *const c_char,
    cwd: *const c_char,
    files: [RawFd; FILES],
    count: usize,
    terminal: bool,
    /// What lies here and above is not the child's.
    above: RawFd,
    shares_files: bool,
    dies_with_host: bool,
    /// What a command's oom_score_adj is to be; null: as it is.
    oom_score: *const c_char,
    oom_score_bytes: usize,
    host_pid: libc::pid_t,
    report: *const Report,
}

/// What a spawn thread needs for a clone; one at a time, so one for the thread's life.
pub(crate) struct Scratch {
    stack: Stack,
    slots: Slots,
    /// A child can take a table of descriptors of its own out of the host's.
    shares_files: bool,
    /// What a command's oom_score_adj is to be.
    oom_score: Option<CString>,
}
impl Scratch {
    pub(crate) fn new(null: &File) -> Result<Scratch, Errno> {
        let (stack, slots) = (Stack::new()?, Slots::new(null.as_fd())?);
        Ok(Scratch { stack, slots, shares_files: true, oom_score: proc::oom_score_of_command() })
    }
}

/// Memory for the stacks of children.
struct Stack(*mut c_void);
// SAFETY: the mapping belongs to the process, not to the thread that made it, and only the owner of a `Stack` uses it.
unsafe impl Send for Stack {}
impl Stack {
    fn new() -> Result<Stack, Errno> {
        // SAFETY: asks for new memory at an address of the kernel's choice; nothing existing is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                MAPPED_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let stack = Stack(base);
        // A stack grows down: whoever outgrows it meets this page, and not somebody else's memory.
        // SAFETY: the first page of a mapping that is ours alone and larger.
        Errno::result(unsafe { libc::mprotect(base, GUARD_BYTES, libc::PROT_NONE) })?;
        Ok(stack)
    }
}
impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `new` mapped; no child uses it, since a clone returns only after the child left it.
        unsafe { libc::munmap(self.0, MAPPED_BYTES) };
    }
}

/// Starts the program. All signals of the calling thread must be blocked, and it must outlive the process: its death
/// signal is bound to the thread.
pub(crate) fn spawn(plan: &Plan<'_>, scratch: &mut Scratch) -> Result<Spawned, Failed> {
    let mut spawned = start(plan, scratch);
    if scratch.shares_files && matches!(spawned, Err(Failed { stage: Stage::Stdio, killed_by: None, .. })) {
        // Found out at the first child: it could not take a table of its own. From now on it gets a copy.
        scratch.shares_files = false;
        spawned = start(plan, scratch);
    }
    scratch.slots.clear();
    spawned
}

fn start(plan: &Plan<'_>, scratch: &mut Scratch) -> Result<Spawned, Failed> {
    let Scratch { stack, slots, shares_files, oom_score } = scratch;
    let oom_score = oom_score.as_ref().filter(|_| plan.dies_with_host);
    let argv: Vec<_> = plan.argv.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
    let env: Vec<_> = plan.env.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
    let report = Report { stage: AtomicU32::new(0), errno: AtomicI32::new(0) };
    let mut files = [-1; FILES];
    let count = plan.files.len().min(FILES);
    let no_slot = |errno| Failed { stage: Stage::Stdio, errno, killed_by: None };
    for (slot, (file, given)) in files.iter_mut().zip(plan.files).enumerate() {
        *file = slots.put(slot, *given).map_err(no_slot)?;
    }
    let (path, image) = match plan.image {
        Image::Path(path) => (path.as_ptr(), -1),
        Image::Open(file) => (c"".as_ptr(), slots.put(FILES, file).map_err(no_slot)?),
        Image::None => (ptr::null(), -1),
    };
    let child = Child {
        path,
        image,
        argv: argv.as_ptr(),
        env: env.as_ptr(),
        cwd: plan.cwd.map_or(ptr::null(), CStr::as_ptr),
        files,
        count,
        terminal: plan.terminal,
        above: slots.above(),
        shares_files: *shares_files,
        dies_with_host: plan.dies_with_host,
        oom_score: oom_score.map_or(ptr::null(), |score| score.as_ptr()),
        oom_score_bytes: oom_score.map_or(0, |score| score.count_bytes()),
        // SAFETY: getpid has no preconditions.
        host_pid: unsafe { libc::getpid() },
        report: &raw const report,
    };
    let mut pidfd: RawFd = -1;
    let argument: *mut c_void = (&raw const child).cast_mut().cast();
    let flags = if *shares_files { FLAGS | libc::CLONE_FILES } else { FLAGS };
    // SAFETY: the stack is ours and 64 KiB. `run` only makes system calls on memory that `child` points to, and all of
    // that lives until the call returns, which CLONE_VFORK delays until the child has execed or exited. The thread-local
    // storage that the child shares is that of this thread, which is suspended; at most its errno is overwritten, and that
    // is read through the return value only. Signals are blocked, so no handler of the host can run in the child.
    let pid = unsafe {
        match plan.cgroup {
            None => Errno::result(libc::clone(
                run,
                // Its end is aligned (mmap gives whole pages); a stack grows down from there.
                stack.0.byte_add(MAPPED_BYTES),
                flags | libc::SIGCHLD,
                argument,
                &raw mut pidfd,
            )),
            Some(cgroup) => {
                let stack = (stack.0, MAPPED_BYTES);
                clone_into(cgroup.as_raw_fd(), flags, stack, run, argument, &raw mut pidfd)
                    .map_err(Errno::from_raw)
            }
        }
    };
    let pid = pid.map_err(|errno| Failed { stage: Stage::Fork, errno, killed_by: None })?;
    let pidfd = if pidfd < 0 {
        // A kernel that does not fill it in (before 5.2). The child is not reaped, so its number is its own.
        match sys::open_process(pid.unsigned_abs()) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                // SAFETY: takes two integers; the number is our child's, which nobody has reaped.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                reap(pid);
                return Err(Failed { stage: Stage::Fork, errno, killed_by: None });
            }
        }
    } else {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        unsafe { OwnedFd::from_raw_fd(pidfd) }
    };
    let stage = STAGES[(report.stage.load(Ordering::Acquire) as usize).min(STAGES.len() - 1)];
    let errno = report.errno.load(Ordering::Acquire);
    if errno != 0 || stage != Stage::Exec {
        return Err(Failed { stage, errno: Errno::from_raw(errno), killed_by: reap(pid) });
    }
    // A pid that the kernel gave out is positive.
    Ok(Spawned { pid: pid.unsigned_abs(), pidfd })
}

/// Takes the zombie of a child that never reached its program; gives the signal that killed it.
fn reap(pid: libc::pid_t) -> Option<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: writes one int; the pid is a child of ours that is dead or about to be, and not reaped yet.
        match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Err(Errno::EINTR) => {}
            Ok(_) if libc::WIFSIGNALED(status) => return Some(libc::WTERMSIG(status)),
            _ => return None,
        }
    }
}

/// In the child.
extern "C" fn run(child: *mut c_void) -> c_int {
    // SAFETY: `spawn` passed a pointer to its `Child`, which lives until this process has execed or exited; so does the
    // report it points to. Everything called is a bare system call or a wrapper that only fills in its arguments.
    unsafe {
        let child = &*child.cast::<Child>().cast_const();
        let report = &*child.report;
        let errno = prepare_and_exec(child, report);
        report.errno.store(errno as c_int, Ordering::Release);
        libc::_exit(127)
    }
}

/// Returns only if it fails.
///
/// # Safety
/// Only in the child, with the pointers of `Child` valid.
unsafe fn prepare_and_exec(child: &Child, report: &Report) -> Errno {
    macro_rules! check {
        ($call:expr) => {
            if $call == -1 {
                return Errno::last();
            }
        };
    }
    let stage = |n: u32| report.stage.store(n, Ordering::Release);
    // SAFETY: as above; all pointers are valid or null where null is allowed.
    unsafe {
        // A disposition that the host has ignored, or handles, is not the program's business. KILL, STOP and the two
        // signals that the C library keeps for itself refuse; that is fine.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=SIGNALS {
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }
        // A session of its own: its group can be signalled, and a tool that opens /dev/tty gets an error instead of
        // being stopped for good.
        check!(libc::setsid());

        stage(1);
        if child.dies_with_host {
            check!(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL));
            // The host may have died before that; then nobody would ever send the signal.
            if libc::getppid() != child.host_pid {
                libc::_exit(127);
            }
        }

        stage(2);
        // Before anything is done to a descriptor: until then the table is the host's.
        let last = libc::c_uint::MAX;
        let mut highest = HIGHEST;
        if child.shares_files {
            if libc::syscall(libc::SYS_close_range, child.above, last, UNSHARE) == 0 {
                highest = child.above;
            } else {
                check!(libc::unshare(libc::CLONE_FILES));
            }
        }
        for target in 0..child.count {
            check!(libc::dup2(child.files[target], target as c_int));
        }
        if child.terminal {
            check!(libc::ioctl(0, libc::TIOCSCTTY, 0));
        }
        let first = child.count as c_int;
        if libc::syscall(libc::SYS_close_range, first, last, CLOSE_ON_EXEC) == -1 {
            close_on_exec_by_hand(first, highest);
        }

        stage(3);
        if !child.cwd.is_null() {
            check!(libc::chdir(child.cwd));
        }

        if !child.oom_score.is_null() {
            // To be ended before others needs no permission; where it can't be written, nothing is lost.
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file >= 0 {
                libc::write(file, child.oom_score.cast(), child.oom_score_bytes);
                libc::close(file);
            }
        }

        stage(4);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        if child.path.is_null() {
            libc::_exit(0);
        }
        if child.image < 0 {
            libc::execve(child.path, child.argv, child.env);
        } else {
            libc::syscall(
                libc::SYS_execveat,
                child.image,
                child.path,
                child.argv,
                child.env,
                libc::AT_EMPTY_PATH,
            );
        }
        Errno::last()
    }
}

/// A host with more open descriptors than this on a kernel before 5.9, or behind a filter, may leak the rest.
const HIGHEST: RawFd = 65_536;

/// Before kernel 5.11, or where a filter refuses `close_range`.
///
/// # Safety
/// Only in the child: it marks every descriptor of the process.
unsafe fn close_on_exec_by_hand(first: RawFd, highest: RawFd) {
    for fd in first..highest {
        // SAFETY: on a number that is not open, fcntl only says so.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
