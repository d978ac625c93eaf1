//! System calls that no wrapper offers. The only unsafe code besides `clone.rs` and `clone3.rs`, and the helper's own.
#![allow(unsafe_code)]

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        epoll::{Epoll, EpollEvent, EpollTimeout},
        signal::Signal,
        time::TimeSpec,
    },
    time::{ClockId, clock_gettime},
};
use std::{
    ffi::{CString, c_int},
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Duration,
};

/// `PIDFD_SIGNAL_PROCESS_GROUP` (linux/pidfd.h, kernel 6.9): the group that the pidfd's process leads or led.
const TO_GROUP: libc::c_uint = 1 << 2;

/// Signals the process group whose leader the pidfd stands for. It works after the leader was reaped, gives ESRCH when
/// the group is empty, and can't reach a group that got the same number later. None: only ask whether one is there.
/// EINVAL before kernel 6.9.
pub(crate) fn signal_group(leader: BorrowedFd<'_>, signal: Option<Signal>) -> Result<(), Errno> {
    let number = signal.map_or(0, |signal| signal as c_int);
    // SAFETY: takes two integers, a null pointer (meaning "as kill(2) would fill it in") and flags; touches no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            leader.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            TO_GROUP,
        )
    };
    Errno::result(result).map(drop)
}

/// Signals one process.
pub(crate) fn signal_process(process: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    // SAFETY: as above.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal as c_int,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Whether a process still has its number: it lives, or nobody has taken its zombie away.
pub(crate) fn is_held(process: BorrowedFd<'_>) -> bool {
    // SAFETY: as above; 0 is no signal, and only asks.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            0 as c_int,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    !matches!(Errno::result(result), Err(Errno::ESRCH))
}

/// How a child ended.
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) usage: libc::rusage,
}
pub(crate) enum Code {
    Exited(c_int),
    Signalled(c_int),
}

/// Whether the child behind a pidfd is dead, and how it ended; `reap` also takes its zombie away. None while it lives.
/// ECHILD if someone else has reaped it.
pub(crate) fn wait(child: BorrowedFd<'_>, reap: bool) -> Result<Option<Status>, Errno> {
    let flags = libc::WEXITED | libc::WNOHANG | if reap { 0 } else { libc::WNOWAIT };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to memory of the right type that outlives the call. The raw call is used because the
    // C library's waitid has no rusage.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            child.as_raw_fd(),
            info.as_mut_ptr(),
            flags,
            usage.as_mut_ptr(),
        )
    };
    Errno::result(result)?;
    // SAFETY: zeroed memory is a valid value of both plain C structs, and the kernel has at most filled them in.
    let (info, usage) = unsafe { (info.assume_init(), usage.assume_init()) };
    // SAFETY: waitid fills in the members that belong to SIGCHLD; zero bytes are valid for them too.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let code = match info.si_code {
        libc::CLD_EXITED => Code::Exited(status),
        _ => Code::Signalled(status),
    };
    Ok(Some(Status { code, usage }))
}

/// How many bytes a pipe holds now.
pub(crate) fn readable_bytes(pipe: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD writes one int to the given address.
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    Errno::result(result).map(|_| usize::try_from(bytes).unwrap_or(0))
}

/// Gives a terminal its size, by either of its ends; whoever has it in the foreground gets SIGWINCH.
pub(crate) fn set_terminal_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize from the given address.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop)
}

/// The same open file under a number not below `least`, closed on exec.
pub(crate) fn duplicate_from(least: RawFd, fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor and touches no memory.
    let new = Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// A pidfd. Of whom, is for the caller to make sure: something must hold the number, or be asked again afterwards.
pub(crate) fn open_process(pid: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two integers, touches no memory.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us; a descriptor fits into an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// Whether nobody reads from the other end of a pipe any more.
pub(crate) fn is_unread(pipe: BorrowedFd<'_>) -> bool {
    let mut ends = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut ends, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Until the process is dead, its zombie stays; false: not in time. For one that was killed, or is about to exit: a dead process is
/// seen in microseconds, one in the hands of a broken device never.
pub(crate) fn wait_for_death(process: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(process, PollFlags::POLLIN)], limit).is_ok_and(|count| count > 0)
}

/// Whether the process behind a pidfd is dead. Not known, where pidfds can't be waited for: then no.
pub(crate) fn is_dead(process: BorrowedFd<'_>) -> bool {
    wait_for_death(process, Duration::ZERO)
}

/// A descriptor that the kernel has just made for us, and that nobody else knows: one that came with a message.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has made it; each is passed here once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Whether a file has an extended attribute that says yes (xattr(7)).
pub(crate) fn has_attribute(path: &Path, name: &str) -> bool {
    let (Ok(path), Ok(name)) = (CString::new(path.as_os_str().as_bytes()), CString::new(name)) else {
        return false;
    };
    let mut value = [0_u8; 2];
    // SAFETY: both strings end with NUL; at most two bytes are written into an array of two.
    let count =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    count == 1 && value[0] == b'1'
}

/// The clock that no one sets, the same in every process (CLOCK_MONOTONIC).
pub(crate) fn monotonic() -> Duration {
    // Refused only for a clock that there is not.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// `struct sched_attr` in its first version (sched_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for short turns of the processor: the calling thread then runs soon after it is woken, also beside others that
/// never sleep, and gets no more time in all. Kernel 6.12 and later; before, this changes nothing.
pub(crate) fn ask_for_short_turns() {
    /// The shortest that the kernel grants (sched(7)); what our threads do at a time takes less.
    const TURN_NS: u64 = 100_000;
    let size = size_of::<SchedAttr>() as u32;
    let mut attr = SchedAttr { size, ..SchedAttr::default() };
    // SAFETY: 0 is the calling thread; the kernel fills in at most `size` bytes of a struct that is as large.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    // Whoever has given the host another policy has a reason.
    if read != 0 || attr.policy != libc::SCHED_OTHER.cast_unsigned() {
        return;
    }
    attr.runtime = TURN_NS;
    // SAFETY: the kernel reads as many bytes as the struct says that it has. Being refused is fine.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

/// Waits for events, for ever without a limit; says how many came. To the microsecond (`epoll_pwait2`, kernel 5.11), or
/// rounded up to milliseconds, so that nobody wakes just before the time and spins.
pub(crate) fn wait_for_events(epoll: &Epoll, events: &mut [EpollEvent], limit: Option<Duration>) -> usize {
    let Some(limit) = limit else { return epoll.wait(events, EpollTimeout::NONE).unwrap_or(0) };
    if limit.is_zero() {
        return epoll.wait(events, EpollTimeout::ZERO).unwrap_or(0);
    }
    let time = TimeSpec::from_duration(limit);
    // SAFETY: `EpollEvent` is transparent over the kernel's struct, of which at most `events.len()` are written; the time
    // is only read; there is no signal mask.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.0.as_raw_fd(),
            events.as_mut_ptr(),
            events.len(),
            time.as_ref() as *const libc::timespec,
            std::ptr::null::<libc::sigset_t>(),
            0,
        )
    };
    match Errno::result(count) {
        Ok(count) => usize::try_from(count).unwrap_or(0),
        Err(Errno::EINTR) => 0,
        Err(_) => {
            let ms = limit.as_nanos().div_ceil(1_000_000);
            let ms = EpollTimeout::try_from(i32::try_from(ms).unwrap_or(i32::MAX));
            epoll.wait(events, ms.unwrap_or(EpollTimeout::MAX)).unwrap_or(0)
        }
    }
}

/// Takes its rights from the calling thread, if it is root's; the other threads keep theirs.
#[cfg(test)]
pub(crate) fn become_nobody_in_this_thread() {
    const NOBODY: libc::uid_t = 65_534;
    if nix::unistd::geteuid().is_root() {
        // SAFETY: takes three integers. The raw call is used because the C library's is for all threads.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(result, 0, "{}", Errno::last());
    }
}
