//! The system calls of the helper, by hand: it is compiled alone, without crates. All of its unsafe code is here.

use super::{STAGE_CWD, STAGE_DEATH_SIGNAL, STAGE_EXEC, STAGE_FORK, STAGE_SESSION, protocol::Report, tree};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_long, c_short, c_ulong, c_void},
    io, ptr,
    sync::atomic::{AtomicI32, AtomicI64, Ordering},
};

unsafe extern "C" {
    static environ: *const *const c_char;
    fn prctl(option: c_int, ...) -> c_int;
    fn fork() -> c_int;
    fn execve(path: *const c_char, argv: *const *const c_char, env: *const *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
    fn setsid() -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn getppid() -> c_int;
    fn getpid() -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn pipe2(ends: *mut c_int, flags: c_int) -> c_int;
    fn mmap(
        at: *mut c_void,
        bytes: usize,
        access: c_int,
        flags: c_int,
        fd: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn read(fd: c_int, to: *mut c_void, bytes: usize) -> isize;
    fn send(fd: c_int, from: *const c_void, bytes: usize, flags: c_int) -> isize;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
    #[link_name = "kill"]
    fn c_kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn sigfillset(set: *mut SigSet) -> c_int;
    fn sigemptyset(set: *mut SigSet) -> c_int;
    fn sigaddset(set: *mut SigSet, signal: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    fn signalfd(fd: c_int, set: *const SigSet, flags: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}
/// As large as the C library's.
#[repr(C, align(8))]
struct SigSet([u8; 128]);

pub(crate) const SIGKILL: c_int = 9;
pub(crate) const SIGTERM: c_int = 15;
pub(crate) const SIGCONT: c_int = 18;
const SIGCHLD: c_int = 17;
const SIGNALS: c_int = 64;
const SIG_SETMASK: c_int = 2;
const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED_ANONYMOUS: c_int = 0x21;
const PR_SET_PDEATHSIG: c_int = 1;
const PR_SET_NAME: c_int = 15;
const PR_SET_CHILD_SUBREAPER: c_int = 36;
const O_RDWR: c_int = 2;
const O_CLOEXEC: c_int = 0o2_000_000;
const O_NONBLOCK: c_int = 0o4_000;
const MSG_NOSIGNAL: c_int = 0x4000;
const POLLIN: c_short = 1;
const P_ALL: c_int = 0;
const P_PID: c_int = 1;
const WNOHANG: c_int = 1;
const WEXITED: c_int = 4;
const WNOWAIT: c_int = 0x0100_0000;
const CLD_EXITED: c_int = 1;
const ECHILD: i32 = 10;
/// The same numbers on every architecture that got them together (kernel 5.1 and later).
const SYS_PIDFD_SEND_SIGNAL: c_long = 424;
const SYS_PIDFD_OPEN: c_long = 434;
#[cfg(target_arch = "x86_64")]
const SYS_WAITID: c_long = 247;
#[cfg(not(target_arch = "x86_64"))]
const SYS_WAITID: c_long = 95;

pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub(crate) fn block_signals() {
    let mut all = SigSet([0; 128]);
    // SAFETY: both calls only read and write the set, which is as large as they expect.
    unsafe {
        sigfillset(&raw mut all);
        sigprocmask(SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a string that ends before.
    unsafe { prctl(PR_SET_NAME, name.as_ptr()) };
}

pub(crate) fn become_subreaper() -> Result<(), i32> {
    // SAFETY: takes integers only.
    match unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// A descriptor that lives as long as the process, or a pidfd that is closed when dropped.
pub(crate) struct Fd {
    fd: c_int,
    own: bool,
}
impl Drop for Fd {
    fn drop(&mut self) {
        if self.own {
            // SAFETY: this value alone knows the descriptor.
            unsafe { close(self.fd) };
        }
    }
}
impl Fd {
    pub(crate) fn known(fd: c_int) -> Fd {
        Fd { fd, own: false }
    }
    pub(crate) fn send(&self, report: &Report) {
        // SAFETY: reads the report's own bytes. A graph that is gone shows at the next wait.
        unsafe { send(self.fd, report.as_ptr().cast(), size_of::<Report>(), MSG_NOSIGNAL) };
    }
    /// None at the end.
    pub(crate) fn receive(&self) -> Option<u8> {
        let mut byte = 0_u8;
        // SAFETY: writes at most one byte into `byte`.
        let count = unsafe { read(self.fd, (&raw mut byte).cast(), 1) };
        (count == 1).then_some(byte)
    }
    /// Empties a signalfd, which doesn't block.
    pub(crate) fn discard(&self) {
        let mut infos = [0_u8; 128 * 16];
        // SAFETY: writes at most the array's length into the array.
        while unsafe { read(self.fd, infos.as_mut_ptr().cast(), infos.len()) } > 0 {}
    }
    pub(crate) fn signal(&self, signal: c_int) {
        // SAFETY: integers and a null pointer; a process that is gone is no error here.
        unsafe { syscall(SYS_PIDFD_SEND_SIGNAL, self.fd, signal, ptr::null::<c_void>(), 0) };
    }
}

pub(crate) fn open_process(pid: c_int) -> Option<Fd> {
    // SAFETY: takes two integers. A descriptor fits into an int.
    let fd = unsafe { syscall(SYS_PIDFD_OPEN, pid, 0) };
    (fd >= 0).then_some(Fd { fd: fd as c_int, own: true })
}

/// A pidfd of the host. None if it is not our parent any more: then it has died already.
pub(crate) fn watch_parent(host: c_int) -> Option<Fd> {
    let fd = open_process(host)?;
    // SAFETY: takes and touches nothing. Asked after opening, so the pidfd is that of our living parent.
    (unsafe { getppid() } == host).then_some(fd)
}

pub(crate) fn child_signals() -> Option<Fd> {
    let mut set = SigSet([0; 128]);
    // SAFETY: the calls only read and write the set, which is as large as they expect.
    let fd = unsafe {
        sigemptyset(&raw mut set);
        sigaddset(&raw mut set, SIGCHLD);
        signalfd(-1, &raw const set, O_CLOEXEC | O_NONBLOCK)
    };
    (fd >= 0).then_some(Fd { fd, own: true })
}

/// Which of three descriptors are ready, or at their end.
pub(crate) fn wait_for(fds: [&Fd; 3], timeout_ms: c_int) -> [bool; 3] {
    let mut polled = fds.map(|fd| PollFd { fd: fd.fd, events: POLLIN, revents: 0 });
    // SAFETY: the array has three entries and outlives the call.
    unsafe { poll(polled.as_mut_ptr(), 3, timeout_ms) };
    polled.map(|fd| fd.revents != 0)
}

pub(crate) fn close_stdio() {
    // SAFETY: replaces the standard descriptors by /dev/null; where there is none, they are closed.
    unsafe {
        let null = open(c"/dev/null".as_ptr(), O_RDWR | O_CLOEXEC);
        for fd in 0..3 {
            if null < 0 {
                close(fd);
            } else {
                dup2(null, fd);
            }
        }
        if null > 2 {
            close(null);
        }
    }
}

/// Why the leader did not reach its program.
pub(crate) struct Failed {
    pub(crate) stage: i64,
    pub(crate) errno: i32,
    /// The signal that killed it before it could say anything.
    pub(crate) killed_by: c_int,
}

/// How far a child came, in memory that it shares with its parent.
struct Progress {
    stage: AtomicI64,
    errno: AtomicI32,
}

/// Starts the leader: a session of its own, dead when this helper is.
pub(crate) fn start(cwd: &CStr, path: &CStr, argv: &[CString]) -> Result<c_int, Failed> {
    let pointers: Vec<*const c_char> = argv.iter().map(|arg| arg.as_ptr()).chain([ptr::null()]).collect();
    let fork_failed = || Failed { stage: STAGE_FORK, errno: errno(), killed_by: 0 };
    // SAFETY: asks for new memory at an address of the kernel's choice. It stays for the helper's life.
    let shared =
        unsafe { mmap(ptr::null_mut(), size_of::<Progress>(), PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, -1, 0) };
    if shared.addr() == usize::MAX {
        return Err(fork_failed());
    }
    // SAFETY: new memory is aligned to a page and zero, which is a valid `Progress`; two processes use it through atomics.
    let progress = unsafe { &*shared.cast::<Progress>() };
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    if unsafe { pipe2(ends.as_mut_ptr(), O_CLOEXEC) } != 0 {
        return Err(fork_failed());
    }
    let [from_child, to_parent] = ends;
    // SAFETY: takes and touches nothing.
    let me = unsafe { getpid() };
    // SAFETY: this process has one thread, so its child may do anything; it only makes system calls and exits.
    let pid = unsafe { fork() };
    if pid == 0 {
        // SAFETY: all pointers are to strings that end with NUL, or arrays that end with null.
        unsafe {
            become_leader(progress, me, cwd, path, &pointers);
            progress.errno.store(errno(), Ordering::Release);
            _exit(127);
        }
    }
    let refused = (pid < 0).then(fork_failed);
    // SAFETY: both ends are ours; reads one byte that never comes: the other end closes at exec or exit.
    unsafe {
        close(to_parent);
        if pid > 0 {
            read(from_child, (&raw mut ends).cast(), 1);
        }
        close(from_child);
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    let (stage, errno) = (progress.stage.load(Ordering::Acquire), progress.errno.load(Ordering::Acquire));
    if stage == STAGE_EXEC && errno == 0 {
        return Ok(pid);
    }
    let death = waitid(P_PID, pid, 0).ok().flatten();
    let killed_by = death.filter(|death| death.signal).map_or(0, |death| death.status);
    Err(Failed { stage, errno, killed_by })
}

/// Returns only if it fails.
///
/// # Safety
/// Only in a child that may be replaced; the pointers as `execve` wants them.
unsafe fn become_leader(progress: &Progress, parent: c_int, cwd: &CStr, path: &CStr, argv: &[*const c_char]) {
    let stage = |stage: i64| progress.stage.store(stage, Ordering::Release);
    // SAFETY: the caller's promise; everything called takes integers or such pointers.
    unsafe {
        stage(STAGE_SESSION);
        for number in 1..=SIGNALS {
            signal(number, 0);
        }
        // The line to the graph is not the command's.
        close(super::CONTROL_FD);
        if setsid() == -1 {
            return;
        }
        stage(STAGE_DEATH_SIGNAL);
        if prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong) == -1 {
            return;
        }
        if getppid() != parent {
            _exit(127);
        }
        stage(STAGE_CWD);
        if !cwd.is_empty() && chdir(cwd.as_ptr()) == -1 {
            return;
        }
        stage(STAGE_EXEC);
        let mut none = SigSet([0; 128]);
        sigemptyset(&raw mut none);
        sigprocmask(SIG_SETMASK, &raw const none, ptr::null_mut());
        execve(path.as_ptr(), argv.as_ptr(), environ);
    }
}

/// How a process ended.
pub(crate) struct Death {
    pub(crate) signal: bool,
    pub(crate) status: c_int,
    pub(crate) user_ms: i64,
    pub(crate) system_ms: i64,
    pub(crate) max_rss_bytes: i64,
}

/// waitid(2) with usage, which only the raw call has. `Ok(None)`: there is none.
fn waitid(which: c_int, pid: c_int, flags: c_int) -> Result<Option<Death>, i32> {
    // siginfo_t: si_code at word 2, si_pid at 4, si_status at 6 on every 64-bit Linux. rusage: two times of two longs,
    // then the highest resident memory in KiB.
    let (mut info, mut usage) = ([0_i32; 32], [0_i64; 18]);
    // SAFETY: siginfo_t has 128 bytes, rusage 144: both arrays are that large and outlive the call.
    let result =
        unsafe { syscall(SYS_WAITID, which, pid, info.as_mut_ptr(), WEXITED | flags, usage.as_mut_ptr()) };
    if result != 0 {
        return Err(errno());
    }
    let ms = |seconds: i64, micros: i64| seconds * 1_000 + micros / 1_000;
    Ok((info[4] != 0).then(|| Death {
        signal: info[2] != CLD_EXITED,
        status: info[6],
        user_ms: ms(usage[0], usage[1]),
        system_ms: ms(usage[2], usage[3]),
        max_rss_bytes: usage[4] * 1_024,
    }))
}

/// None while it lives. Its zombie stays.
pub(crate) fn death_of(pid: c_int) -> Option<Death> {
    waitid(P_PID, pid, WNOHANG | WNOWAIT).ok().flatten()
}

/// Takes the zombie away, if it is one.
pub(crate) fn reap(pid: c_int) {
    let _ = waitid(P_PID, pid, WNOHANG);
}

/// No child, not even a zombie: and as every orphan of the tree becomes a child, no descendant.
pub(crate) fn has_no_child() -> bool {
    waitid(P_ALL, 0, WNOHANG | WNOWAIT).is_err_and(|errno| errno == ECHILD)
}

pub(crate) fn children() -> Vec<c_int> {
    let pids = tree::children(std::process::id()).unwrap_or_default();
    pids.into_iter().map(u32::cast_signed).collect()
}

pub(crate) fn kill(pid: c_int, number: c_int) {
    // 0 and -1 mean everybody; no tree of ours is called that.
    if pid < -1 || pid > 1 {
        // SAFETY: takes two integers.
        unsafe { c_kill(pid, number) };
    }
}
