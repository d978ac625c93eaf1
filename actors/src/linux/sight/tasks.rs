//! What a task waits for: the system call that it sleeps in, and the descriptors which that call is about.
//!
//! * in: a process and one of its tasks
//! * out: descriptors that it wants to read from, or that it does not wait for any
//! * keeps: what can't be understood is an error, never "does not wait"

use nix::{
    errno::Errno,
    libc,
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};
use std::{
    ffi::c_long,
    fs::File,
    io::{self, IoSliceMut, Read},
};

/// Most descriptors in one poll or select that are gone through: a program with more waits by epoll, and not for a
/// person.
const POLLED_MAX: usize = 4_096;
/// Longest line of `/proc/pid/syscall`: nine numbers of at most 18 characters.
const LINE_MAX: usize = 256;
/// `struct pollfd`: an int and two shorts.
const POLLFD: usize = 8;

/// A system call that a task sleeps in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    number: c_long,
    arguments: [u64; 6],
    stack: u64,
}

/// The call that a task sleeps in. None: it runs, or sleeps elsewhere. It takes the right to trace the process
/// (`PTRACE_MODE_ATTACH`, ptrace(2)), and a kernel with `/proc/pid/syscall`.
pub(super) fn call(pid: u32, task: u32) -> io::Result<Option<Call>> {
    let mut file = File::open(format!("/proc/{pid}/task/{task}/syscall"))?;
    let mut line = [0; LINE_MAX];
    let count = file.read(&mut line)?;
    let line = line.get(..count).unwrap_or_default();
    parse(line).ok_or_else(|| io::Error::other("/proc/pid/syscall is not understood"))
}

/// `running`, or `-1 stack program`, or `number six-arguments stack program` (proc_pid_syscall(5)).
fn parse(line: &[u8]) -> Option<Option<Call>> {
    let line = str::from_utf8(line).ok()?.trim_end();
    let mut fields = line.split(' ');
    let number = fields.next()?;
    if number == "running" || number == "-1" {
        return Some(None);
    }
    let mut hexadecimal = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = hexadecimal()?;
    }
    Some(Some(Call { number: number.parse().ok()?, arguments, stack: hexadecimal()? }))
}

impl Call {
    /// The descriptors that it waits to read from, or an epoll that they are in. An error: that can't be told.
    pub(super) fn wanted(&self, pid: u32) -> io::Result<Vec<u32>> {
        // Only the stack of a program of 32 bits lies there, and its calls have numbers of their own.
        if cfg!(target_pointer_width = "64") && self.stack <= u64::from(u32::MAX) {
            return Err(io::Error::other("it is a program of 32 bits"));
        }
        let [first, second, ..] = self.arguments;
        // The kernel takes a descriptor's lower 32 bits too.
        let fd = |argument: u64| argument as u32;
        #[cfg(target_arch = "x86_64")]
        match self.number {
            libc::SYS_poll => return polled(pid, first, second),
            libc::SYS_select => return selected(pid, second, first),
            libc::SYS_epoll_wait => return Ok(vec![fd(first)]),
            _ => {}
        }
        match self.number {
            // Those with a position, as pread, and those of sockets are refused for a pipe and for a terminal.
            libc::SYS_read | libc::SYS_readv | libc::SYS_preadv2 | libc::SYS_splice | libc::SYS_tee => {
                Ok(vec![fd(first)])
            }
            libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => Ok(vec![fd(first)]),
            libc::SYS_sendfile => Ok(vec![fd(second)]),
            libc::SYS_ppoll => polled(pid, first, second),
            libc::SYS_pselect6 => selected(pid, second, first),
            libc::SYS_restart_syscall => Err(io::Error::other(
                "its call was interrupted, and the kernel does not say which one it was",
            )),
            _ => Ok(Vec::new()),
        }
    }
}

/// poll(2): an array of `count`.
fn polled(pid: u32, array: u64, count: u64) -> io::Result<Vec<u32>> {
    let readable = libc::POLLIN | libc::POLLRDNORM;
    // An unsigned int.
    let count = count as u32 as usize;
    if count > POLLED_MAX {
        return Err(io::Error::other(format!("it waits for more than {POLLED_MAX} descriptors")));
    }
    let bytes = read(pid, array, count * POLLFD)?;
    let (entries, _) = bytes.as_chunks::<POLLFD>();
    let wanted = entries.iter().filter_map(|[a, b, c, d, e, f, ..]| {
        let fd = i32::from_ne_bytes([*a, *b, *c, *d]);
        // A negative one is to be ignored.
        let fd = u32::try_from(fd).ok()?;
        (i16::from_ne_bytes([*e, *f]) & readable != 0).then_some(fd)
    });
    Ok(wanted.collect())
}

/// select(2): bits below `count`, in words. Libraries have sets of 1,024, and some programs give the most
/// descriptors that they may have as `count`, a million; the kernel then takes as many as there are. So what lies
/// far beyond is no descriptor.
fn selected(pid: u32, set: u64, count: u64) -> io::Result<Vec<u32>> {
    // An int; a null pointer is an empty set.
    let count = usize::try_from(count as i32).unwrap_or(0).min(POLLED_MAX);
    if set == 0 {
        return Ok(Vec::new());
    }
    let bytes = read(pid, set, count.div_ceil(64) * 8)?;
    let (words, _) = bytes.as_chunks::<8>();
    let is_in =
        |fd: &usize| words.get(fd / 64).is_some_and(|word| u64::from_ne_bytes(*word) >> (fd % 64) & 1 == 1);
    Ok((0..count).filter(is_in).map(|fd| fd as u32).collect())
}

/// Memory of another process. Empty: it has moved on, and what it waited for is no longer there.
fn read(pid: u32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let Ok(base) = usize::try_from(address) else { return Ok(Vec::new()) };
    if length == 0 {
        return Ok(bytes);
    }
    let process = Pid::from_raw(pid.cast_signed());
    match process_vm_readv(process, &mut [IoSliceMut::new(&mut bytes)], &[RemoteIoVec { base, len: length }])
    {
        Ok(count) => bytes.truncate(count),
        Err(Errno::EFAULT) => bytes.clear(),
        Err(errno) => return Err(errno.into()),
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood_or_an_error() {
        let line = b"0 0x3 0x7f936cb3b000 0x20000 0x1 0xffffffff 0x0 0x7fff05cac038 0x7f936ccb72ad\n";
        let call = parse(line).unwrap().unwrap();
        assert_eq!((call.number, call.arguments[0], call.stack), (0, 3, 0x7fff_05ca_c038));
        assert_eq!(parse(b"running\n"), Some(None));
        assert_eq!(parse(b"-1 0x7fff05cac038 0x7f936ccb72ad\n"), Some(None));
        for odd in [b"".as_slice(), b"0\n", b"0 0x3 0x4\n", b"0 3 4 5 6 7 8 9 10\n", b"\xff"] {
            assert_eq!(parse(odd), None);
        }
    }

    #[test]
    fn sets_are_read_from_memory() {
        let me = std::process::id();
        let entries =
            [(0, libc::POLLIN), (-1, libc::POLLIN), (7, libc::POLLOUT), (9, libc::POLLIN | libc::POLLOUT)];
        let array = entries.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
        let polled = |count| polled(me, array.as_ptr() as u64, count);
        assert_eq!(polled(4).unwrap(), [0, 9]);
        assert_eq!(polled(1).unwrap(), [0]);
        assert!(polled(POLLED_MAX as u64 + 1).is_err());
        let set = [1_u64 | 1 << 63, 1 << 2 | 1 << 5];
        let selected = |count| selected(me, set.as_ptr() as u64, count).unwrap();
        assert_eq!(selected(68), [0, 63, 66]);
        assert!(selected(0).is_empty());
        assert!(super::selected(me, 0, 68).unwrap().is_empty());
        assert!(super::polled(me, 8, 4).unwrap().is_empty(), "nothing is there");
    }

    #[test]
    fn what_can_not_be_told_is_an_error() {
        let call = |number, stack| Call { number, arguments: [0; 6], stack };
        let stack = 0x7fff_05ca_c038;
        assert!(call(libc::SYS_restart_syscall, stack).wanted(1).is_err());
        assert!(call(libc::SYS_read, 0xffff_d000).wanted(1).is_err());
        assert_eq!(call(libc::SYS_read, stack).wanted(1).unwrap(), [0]);
        assert!(call(libc::SYS_wait4, stack).wanted(1).unwrap().is_empty());
    }
}
