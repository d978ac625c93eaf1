//! System calls of the guard and the helpers, by hand: they are compiled alone, without crates. Their unsafe code is here, in `line.rs`
//! and `leader.rs`, and in `clone3.rs`, which they share with the graph.

use super::tree;
use std::{
    ffi::{CStr, c_int, c_long, c_short, c_ulong, c_void},
    io, ptr,
};

unsafe extern "C" {
    pub(crate) fn prctl(option: c_int, ...) -> c_int;
    #[link_name = "fork"]
    fn c_fork() -> c_int;
    pub(crate) fn getppid() -> c_int;
    fn getpid() -> c_int;
    fn close(fd: c_int) -> c_int;
    fn read(fd: c_int, to: *mut c_void, bytes: usize) -> isize;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
    #[link_name = "kill"]
    fn c_kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn sigfillset(set: *mut SigSet) -> c_int;
    pub(crate) fn sigemptyset(set: *mut SigSet) -> c_int;
    fn sigaddset(set: *mut SigSet, signal: c_int) -> c_int;
    pub(crate) fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    fn prlimit64(pid: c_int, which: c_int, new: *const u64, old: *mut u64) -> c_int;
    fn getpriority(which: c_int, who: c_int) -> c_int;
    fn sched_getscheduler(pid: c_int) -> c_int;
    fn sched_getaffinity(pid: c_int, bytes: usize, to: *mut c_void) -> c_int;
    fn signalfd(fd: c_int, set: *const SigSet, flags: c_int) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut [c_long; 2]) -> c_int;
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
pub(crate) struct SigSet(pub(crate) [u8; 128]);

/// From the kernel, when the thread of the graph that has made the guard has ended. A real-time signal: of others a second one is
/// dropped while somebody else's waits (signal(7)).
pub(crate) const GRAPH_ENDED: c_int = 40;
/// From the guard to a helper.
pub(crate) const ABANDON: c_int = 41;
pub(crate) const SIGKILL: c_int = 9;
pub(crate) const SIGTERM: c_int = 15;
pub(crate) const SIGCONT: c_int = 18;
const SIGPIPE: c_int = 13;
pub(crate) const SIGCHLD: c_int = 17;
const SIG_DFL: usize = 0;
pub(crate) const SIG_SETMASK: c_int = 2;
pub(crate) const PR_SET_PDEATHSIG: c_int = 1;
const PR_SET_NAME: c_int = 15;
const PR_SET_CHILD_SUBREAPER: c_int = 36;
pub(crate) const O_CLOEXEC: c_int = 0o2_000_000;
const O_NONBLOCK: c_int = 0o4_000;
const POLLIN: c_short = 1;
const POLLHUP: c_short = 16;
/// RLIM_NLIMITS.
const LIMITS: usize = 16;
const P_ALL: c_int = 0;
const P_PID: c_int = 1;
const WNOHANG: c_int = 1;
const WSTOPPED: c_int = 2;
const WEXITED: c_int = 4;
const WNOWAIT: c_int = 0x0100_0000;
const CLD_EXITED: c_int = 1;
const CLD_TRAPPED: c_int = 4;
const CLD_STOPPED: c_int = 5;
const ECHILD: i32 = 10;
const CLOCK_REALTIME: c_int = 0;
const CLOCK_MONOTONIC: c_int = 1;
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

/// No signal interrupts this process and those that it forks; no disposition is left that exec would pass on.
pub(crate) fn begin() {
    let mut all = SigSet([0; 128]);
    // SAFETY: the calls only read and write the set, which is as large as they expect. SIGPIPE alone is not at its default:
    // the standard library ignores it.
    unsafe {
        sigfillset(&raw mut all);
        sigprocmask(SIG_SETMASK, &raw const all, ptr::null_mut());
        signal(SIGPIPE, SIG_DFL);
    }
}

pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a string that ends before.
    unsafe { prctl(PR_SET_NAME, name.as_ptr()) };
}

pub(crate) fn set_subreaper(is_one: bool) -> Result<(), i32> {
    let none: c_ulong = 0;
    // SAFETY: takes integers only.
    match unsafe { prctl(PR_SET_CHILD_SUBREAPER, c_ulong::from(is_one), none, none, none) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// Lets the kernel say when the thread ends that has made this process ([`GRAPH_ENDED`]). An error: it has ended already.
pub(crate) fn die_with_parent(parent: c_int) -> Result<(), i32> {
    // SAFETY: takes integers only.
    if unsafe { prctl(PR_SET_PDEATHSIG, GRAPH_ENDED as c_ulong) } != 0 {
        return Err(errno());
    }
    if is_child_of(parent) { Ok(()) } else { Err(ECHILD) }
}

pub(crate) fn is_child_of(parent: c_int) -> bool {
    // SAFETY: takes and touches nothing.
    unsafe { getppid() == parent }
}

pub(crate) fn own_pid() -> c_int {
    // SAFETY: takes and touches nothing.
    unsafe { getpid() }
}

/// 0 in the child. None: there is no room for another process.
pub(crate) fn fork() -> Option<c_int> {
    // SAFETY: this process has one thread, so its child may do anything.
    let pid = unsafe { c_fork() };
    (pid >= 0).then_some(pid)
}

pub(crate) fn close_known(fd: c_int) {
    // SAFETY: the caller is a fork that does not use this number.
    unsafe { close(fd) };
}

/// A descriptor that lives as long as the process, or one that is closed when dropped.
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
    /// One that nobody else knows.
    pub(crate) fn own(fd: c_int) -> Fd {
        Fd { fd, own: true }
    }
    pub(crate) fn number(&self) -> c_int {
        self.fd
    }

    /// The signals that have come, by a signalfd, which doesn't block, and who has sent them.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = (c_int, c_int)> {
        let next = || {
            // struct signalfd_siginfo: the signal is its first word, the sender its fourth.
            let mut info = [0_i32; 32];
            // SAFETY: writes at most the array's length into the array.
            let count = unsafe { read(self.fd, info.as_mut_ptr().cast(), size_of_val(&info)) };
            (count > 0).then_some((info[0], info[3]))
        };
        std::iter::from_fn(next)
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

/// What a guard and a helper are told by signals. A fork shares the descriptor, and gets its own.
pub(crate) fn signals() -> Option<Fd> {
    let mut set = SigSet([0; 128]);
    // SAFETY: the calls only read and write the set, which is as large as they expect.
    let fd = unsafe {
        sigemptyset(&raw mut set);
        for number in [SIGCHLD, GRAPH_ENDED, ABANDON] {
            sigaddset(&raw mut set, number);
        }
        signalfd(-1, &raw const set, O_CLOEXEC | O_NONBLOCK)
    };
    (fd >= 0).then_some(Fd { fd, own: true })
}

/// What is never ready.
pub(crate) const NEVER: Fd = Fd { fd: -1, own: false };

/// Which of these descriptors are ready, or at their end.
pub(crate) fn wait_for<const N: usize>(fds: [&Fd; N], timeout_ms: c_int) -> [bool; N] {
    let mut polled = fds.map(|fd| PollFd { fd: fd.fd, events: POLLIN, revents: 0 });
    // SAFETY: the array has N entries and outlives the call; a negative descriptor is passed over.
    unsafe { poll(polled.as_mut_ptr(), N as c_ulong, timeout_ms) };
    polled.map(|fd| fd.revents != 0)
}

/// Whether nobody is at the other end any more, also if words of his are still to be read.
pub(crate) fn is_hung_up(link: &Fd) -> bool {
    let mut polled = PollFd { fd: link.fd, events: 0, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    unsafe { poll(&raw mut polled, 1, 0) };
    polled.revents & POLLHUP != 0
}

/// What a child inherits of this process, and what another process can change in it: limits, priority, processors, scheduling.
#[derive(PartialEq, Eq)]
pub(crate) struct Settings {
    limits: [[u64; 2]; LIMITS],
    nice: c_long,
    scheduling: c_int,
    processors: [u8; 128],
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings { limits: [[0; 2]; LIMITS], nice: 0, scheduling: 0, processors: [0; 128] };
    // SAFETY: each call writes at most what it is given room for: two numbers for a limit, 128 bytes of processors. 0 is this process.
    unsafe {
        for (limit, which) in settings.limits.iter_mut().zip(0..) {
            prlimit64(0, which, ptr::null(), limit.as_mut_ptr());
        }
        settings.nice = c_long::from(getpriority(0, 0));
        settings.scheduling = sched_getscheduler(0);
        sched_getaffinity(0, settings.processors.len(), settings.processors.as_mut_ptr().cast());
    }
    settings
}

/// `[monotonic in ns, wall in ms]`
pub(crate) fn clocks() -> [i64; 2] {
    let read = |clock| {
        let mut time: [c_long; 2] = [0; 2];
        // SAFETY: writes a timespec, which is two longs.
        unsafe { clock_gettime(clock, &raw mut time) };
        time
    };
    let ([seconds, ns], [wall_seconds, wall_ns]) = (read(CLOCK_MONOTONIC), read(CLOCK_REALTIME));
    [seconds * 1_000_000_000 + ns, wall_seconds * 1_000 + wall_ns / 1_000_000]
}

/// How a process ended.
pub(crate) struct Death {
    pub(crate) signal: bool,
    pub(crate) status: c_int,
    pub(crate) user_ms: i64,
    pub(crate) system_ms: i64,
    pub(crate) max_rss_bytes: i64,
}

/// What has become of a child.
pub(crate) enum Change {
    Ended,
    Stopped,
}

fn is_stop(code: c_int) -> bool {
    matches!(code, CLD_STOPPED | CLD_TRAPPED)
}

/// waitid(2) with usage, which only the raw call has: whose, its `si_code`, and how it ended. `Ok(None)`: there is none.
fn waitid(which: c_int, pid: c_int, flags: c_int) -> Result<Option<((c_int, c_int), Death)>, i32> {
    // siginfo_t: si_code at word 2, si_pid at 4, si_status at 6 on every 64-bit Linux. rusage: two times of two longs,
    // then the highest resident memory in KiB.
    let (mut info, mut usage) = ([0_i32; 32], [0_i64; 18]);
    // SAFETY: siginfo_t has 128 bytes, rusage 144: both arrays are that large and outlive the call.
    let result = unsafe { syscall(SYS_WAITID, which, pid, info.as_mut_ptr(), flags, usage.as_mut_ptr()) };
    if result != 0 {
        return Err(errno());
    }
    let ms = |seconds: i64, micros: i64| seconds * 1_000 + micros / 1_000;
    let death = Death {
        signal: info[2] != CLD_EXITED,
        status: info[6],
        user_ms: ms(usage[0], usage[1]),
        system_ms: ms(usage[2], usage[3]),
        max_rss_bytes: usage[4] * 1_024,
    };
    Ok((info[4] != 0).then_some(((info[4], info[2]), death)))
}

/// Waits for the end of a child that was killed, or is about to exit; takes its zombie away.
pub(crate) fn end_of(pid: c_int) -> Option<Death> {
    waitid(P_PID, pid, WEXITED).ok().flatten().map(|(_, death)| death)
}

/// None while it lives. Its zombie stays.
pub(crate) fn death_of(pid: c_int) -> Option<Death> {
    waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT).ok().flatten().map(|(_, death)| death)
}

/// Takes the zombie away, if it is one, and says how it ended.
pub(crate) fn reap(pid: c_int) -> Option<Death> {
    waitid(P_PID, pid, WEXITED | WNOHANG).ok().flatten().map(|(_, death)| death)
}

/// A child that has ended, which is taken away, or was stopped.
pub(crate) fn any_child() -> Option<(c_int, Change)> {
    let ((pid, code), _) = waitid(P_ALL, 0, WEXITED | WSTOPPED | WNOHANG).ok().flatten()?;
    Some((pid, if is_stop(code) { Change::Stopped } else { Change::Ended }))
}

/// No child, not even a zombie: and as every orphan of the tree becomes a child, no descendant.
pub(crate) fn has_no_child() -> bool {
    waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT).is_err_and(|errno| errno == ECHILD)
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
