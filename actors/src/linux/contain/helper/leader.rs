//! How a leader is made: a child that borrows the helper's memory until it runs its program, as one of the graph's own does
//! (`exec/clone.rs`).

use super::{
    clone3::{Run, clone_into},
    protocol::{STAGE_CWD, STAGE_DEATH_SIGNAL, STAGE_EXEC, STAGE_FORK, STAGE_SESSION, STAGE_STDIO},
    sys::{
        Fd, O_CLOEXEC, PR_SET_PDEATHSIG, SIG_SETMASK, SIGCHLD, SIGKILL, SigSet, close_known, end_of, errno,
        getppid, own_pid, prctl, sigemptyset, sigprocmask,
    },
    tree,
};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void},
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI32, AtomicI64, Ordering},
    },
};

unsafe extern "C" {
    fn clone(run: Run, stack: *mut c_void, flags: c_int, argument: *mut c_void, ...) -> c_int;
    fn execve(path: *const c_char, argv: *const *const c_char, env: *const *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
    fn setsid() -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn fchdir(fd: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn write(fd: c_int, from: *const c_void, bytes: usize) -> isize;
    fn mmap(
        at: *mut c_void,
        bytes: usize,
        access: c_int,
        flags: c_int,
        fd: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn mprotect(at: *mut c_void, bytes: usize, access: c_int) -> c_int;
}

const PROT_NONE: c_int = 0;
const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;
const O_WRONLY: c_int = 1;
/// ioctl_tty(2).
const TIOCSCTTY: c_ulong =
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 0x5480 } else { 0x540e };
const CLONE_VM: c_int = 0x100;
const CLONE_PIDFD: c_int = 0x1000;
const CLONE_VFORK: c_int = 0x4000;

/// The stack of a leader until it runs its program: a handful of wrappers of system calls, each with a frame below 1 KiB.
const STACK_BYTES: usize = 64 << 10;
/// What lies below it and can't be touched: the largest page that a Linux has (arm64, ppc64).
const STACK_GUARD_BYTES: usize = 64 << 10;

static OOM_SCORE: OnceLock<CString> = OnceLock::new();

/// What a command's is to be.
pub(crate) fn remember_oom_score() {
    if let Some(score) = tree::oom_score_of_command() {
        let _ = OOM_SCORE.set(score);
    }
}

/// What a leader is made of.
pub(crate) struct Start<'a> {
    pub(crate) path: &'a CStr,
    /// Empty: the open one; without that too, the helper's own.
    pub(crate) cwd: &'a CStr,
    pub(crate) open_cwd: Option<&'a Fd>,
    /// Both end with null.
    pub(crate) argv: Vec<*const c_char>,
    pub(crate) env: Vec<*const c_char>,
    pub(crate) stdio: [&'a Fd; 3],
    /// The first of them is to be its controlling terminal.
    pub(crate) terminal: bool,
    pub(crate) cgroup: Option<&'a Fd>,
}

/// A leader that has reached its program.
pub(crate) struct Leader {
    pub(crate) pid: c_int,
    pub(crate) pidfd: Option<Fd>,
}

/// Why it did not reach it.
pub(crate) struct Failed {
    pub(crate) stage: i64,
    pub(crate) errno: i32,
    /// The signal that killed it before it could say anything.
    pub(crate) killed_by: c_int,
}

/// What the child is given, and how far it came: it shares this process's memory.
struct Child<'a> {
    start: &'a Start<'a>,
    parent: c_int,
    oom_score: Option<&'a CStr>,
    stage: AtomicI64,
    errno: AtomicI32,
}

/// The memory of a leader until it runs its program, made once.
fn stack() -> Result<*mut c_void, i32> {
    static STACK: OnceLock<usize> = OnceLock::new();
    if let Some(address) = STACK.get() {
        return Ok(ptr::with_exposed_provenance_mut(*address));
    }
    let bytes = STACK_GUARD_BYTES + STACK_BYTES;
    // SAFETY: asks for new memory at an address of the kernel's choice, and makes its lower part unusable: a stack grows down.
    unsafe {
        let base = mmap(ptr::null_mut(), bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
        if base.addr() == usize::MAX || mprotect(base, STACK_GUARD_BYTES, PROT_NONE) != 0 {
            return Err(errno());
        }
        let _ = STACK.set(base.expose_provenance());
        Ok(base)
    }
}

/// Starts the leader: a session of its own, dead when this helper is.
pub(crate) fn start(start: &Start<'_>) -> Result<Leader, Failed> {
    let fork_failed = |errno| Failed { stage: STAGE_FORK, errno, killed_by: 0 };
    let stack = stack().map_err(fork_failed)?;
    let stack_bytes = STACK_GUARD_BYTES + STACK_BYTES;
    let child = Child {
        start,
        parent: own_pid(),
        oom_score: OOM_SCORE.get().map(CString::as_c_str),
        stage: AtomicI64::new(STAGE_SESSION),
        errno: AtomicI32::new(0),
    };
    let argument: *mut c_void = (&raw const child).cast_mut().cast();
    let mut pidfd: c_int = -1;
    let flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
    // SAFETY: the stack is ours and large enough. `become_leader` only makes system calls on memory that `child` points to, all of
    // which lives until the call returns; CLONE_VFORK delays that until the child has left this memory. This process has one
    // thread, so nobody else uses what is shared; all signals are blocked.
    let pid = unsafe {
        match start.cgroup {
            Some(cgroup) => clone_into(
                cgroup.number(),
                flags,
                (stack, stack_bytes),
                become_leader,
                argument,
                &raw mut pidfd,
            ),
            None => {
                let top = stack.byte_add(stack_bytes);
                match clone(become_leader, top, flags | SIGCHLD, argument, &raw mut pidfd) {
                    -1 => Err(errno()),
                    pid => Ok(pid),
                }
            }
        }
    };
    let pid = pid.map_err(fork_failed)?;
    let pidfd = (pidfd >= 0).then_some(Fd::own(pidfd));
    let (stage, errno) = (child.stage.load(Ordering::Acquire), child.errno.load(Ordering::Acquire));
    if stage == STAGE_EXEC && errno == 0 {
        return Ok(Leader { pid, pidfd });
    }
    let killed_by = end_of(pid).filter(|death| death.signal).map_or(0, |death| death.status);
    Err(Failed { stage, errno, killed_by })
}

/// In the child.
extern "C" fn become_leader(child: *mut c_void) -> c_int {
    // SAFETY: `start` passed a pointer to its `Child`, which lives until this process has left its memory. Everything called is a
    // wrapper of a system call that takes integers, or strings that end with NUL and arrays that end with null.
    unsafe {
        let child = &*child.cast::<Child>().cast_const();
        try_to_become_leader(child);
        child.errno.store(errno(), Ordering::Release);
        _exit(127)
    }
}

/// Returns only if it fails.
///
/// # Safety
/// Only in the child of [`start`].
unsafe fn try_to_become_leader(child: &Child<'_>) {
    let stage = |stage: i64| child.stage.store(stage, Ordering::Release);
    let start = child.start;
    // SAFETY: the caller's promise.
    unsafe {
        if setsid() == -1 {
            return;
        }
        stage(STAGE_DEATH_SIGNAL);
        if prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong) == -1 {
            return;
        }
        if getppid() != child.parent {
            _exit(127);
        }
        stage(STAGE_STDIO);
        for (file, target) in start.stdio.iter().zip(0..) {
            if dup2(file.number(), target) == -1 {
                return;
            }
        }
        if start.terminal && ioctl(0, TIOCSCTTY, 0) == -1 {
            return;
        }
        stage(STAGE_CWD);
        let entered = match start.open_cwd {
            Some(cwd) => fchdir(cwd.number()),
            None if start.cwd.is_empty() => 0,
            None => chdir(start.cwd.as_ptr()),
        };
        if entered == -1 {
            return;
        }
        if let Some(score) = child.oom_score {
            // To be ended before others needs no permission; where it can't be written, nothing is lost.
            let file = open(c"/proc/self/oom_score_adj".as_ptr(), O_WRONLY | O_CLOEXEC);
            if file >= 0 {
                write(file, score.as_ptr().cast(), score.count_bytes());
                close_known(file);
            }
        }
        stage(STAGE_EXEC);
        let mut none = SigSet([0; 128]);
        sigemptyset(&raw mut none);
        sigprocmask(SIG_SETMASK, &raw const none, ptr::null_mut());
        execve(start.path.as_ptr(), start.argv.as_ptr(), start.env.as_ptr());
    }
}
