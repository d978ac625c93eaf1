//! Whether a process of a tree waits for input: that it sleeps in a call which ends when something can be read
//! from the command's stdin or terminal. What it has written, a prompt, plays no role.
//!
//! * in: the pids of a tree, and what its input is
//! * out: the first process that waits for it; and how many could not be looked at, with the first reason
//! * keeps: nothing
//!
//! Looking takes the right to trace a process (`PTRACE_MODE_ATTACH`, ptrace(2)): its user must be ours, it must
//! not have hidden itself (`PR_SET_DUMPABLE`; a program that its user may not read, or that has changed its user,
//! is hidden too), and yama must allow it. In yama's mode 1 (Debian, Ubuntu) a host may look at its descendants;
//! in mode 2 (`kernel.yama.ptrace_scope`) only with CAP_SYS_PTRACE; in mode 3 nobody may. Nobody sees what a
//! process waits for by io_uring: it counts as not waiting.

use crate::linux::{
    proc,
    sight::tasks::{Call, call},
};
use nix::{
    errno::Errno,
    libc,
    sys::stat::{SFlag, fstat, major, minor, stat},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::{fd::AsFd, unix::ffi::OsStrExt},
};

/// Most tasks of one look, each costs some ten microseconds; those of processes that come after them are not
/// looked at.
const TASKS_MAX: usize = 65_536;
/// Most bytes of what an epoll tells of itself: some 10,000 descriptors.
const EPOLL_BYTES_MAX: u64 = 1_024 * 1_024;
/// How deep an epoll may be in another one (`EP_MAX_NESTS` in fs/eventpoll.c).
const EPOLL_DEPTH_MAX: u32 = 4;
/// Major number of Unix98 pseudo-terminals, `/dev/pts/N` (the kernel's devices.txt).
const PTS_MAJOR: u64 = 136;

/// What a command reads its input from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputTarget {
    /// The inode of a pipe, the same at both of its ends.
    Pipe { inode: u64 },
    /// The device of `/dev/pts/N`, and that of the file system which it is in: a container's has numbers of its own.
    Terminal { device: u64, filesystem: u64 },
}
impl InputTarget {
    /// Of either end of a pipe, or of the command's end of a pseudo-terminal. EINVAL for anything else.
    pub(crate) fn of(input: impl AsFd) -> Result<InputTarget, Errno> {
        let stat = fstat(input)?;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFIFO => Ok(InputTarget::Pipe { inode: stat.st_ino }),
            SFlag::S_IFCHR if major(stat.st_rdev) == PTS_MAJOR => {
                Ok(InputTarget::Terminal { device: stat.st_rdev, filesystem: stat.st_dev })
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What a look gave.
#[derive(Debug, Default)]
pub(crate) struct InputLook {
    /// The first process that waits; whoever comes after it was not looked at.
    pub(crate) waits: Option<u32>,
    /// Processes of which it is known that they do not wait. A zombie may be among them.
    pub(crate) seen: u64,
    /// Processes that could not be looked at. Whoever is gone is in neither number.
    pub(crate) unseen: u64,
    /// Why not, of the first of them.
    pub(crate) refusal: Option<io::Error>,
}

/// Looks at each task of these processes, until one waits for the input.
pub(crate) fn looks_for_input(pids: &[u32], target: &InputTarget) -> InputLook {
    let mut look = InputLook::default();
    let mut budget = TASKS_MAX;
    for &pid in pids {
        let mut process = Process { pid, target, known: BTreeMap::new() };
        match process.waits(&mut budget) {
            Ok(true) => {
                look.waits = Some(pid);
                return look;
            }
            Ok(false) => look.seen += 1,
            // Nobody may look at a dead process either.
            Err(_) if proc::look(pid).is_ok_and(|seen| !seen.lives()) => {}
            Err(error) => {
                look.unseen += 1;
                look.refusal.get_or_insert(error);
            }
        }
    }
    look
}

struct Process<'a> {
    pid: u32,
    target: &'a InputTarget,
    /// Whether a descriptor leads to the target: tasks share descriptors, and often wait for the same ones.
    known: BTreeMap<u32, bool>,
}
impl Process<'_> {
    /// An error: no task of it waits as far as is known, and of one it is not known.
    fn waits(&mut self, budget: &mut usize) -> io::Result<bool> {
        let mut refused = None;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let name = task?.file_name();
            let Some(task) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            *budget = budget.checked_sub(1).ok_or_else(|| io::Error::other("too many tasks"))?;
            match self.task_waits(task) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // It has ended.
                Err(_) if matches!(proc::look_at_task(self.pid, task), Ok(None)) => {}
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        refused.map_or(Ok(false), Err)
    }

    fn task_waits(&mut self, task: u32) -> io::Result<bool> {
        let Some(call) = call(self.pid, task)? else { return Ok(false) };
        for fd in call.wanted(self.pid)? {
            if self.leads(fd, EPOLL_DEPTH_MAX)? {
                return self.still_waits(task, &call);
            }
        }
        Ok(false)
    }

    /// What was read one after the other belongs together only if the call is still the same. One that is stopped
    /// does not wait.
    fn still_waits(&self, task: u32, before: &Call) -> io::Result<bool> {
        let waits = proc::look_at_task(self.pid, task)?.is_some_and(|stat| stat.waits);
        Ok(waits && call(self.pid, task)?.as_ref() == Some(before))
    }

    /// Whether a descriptor is the target, or an epoll that the target is in.
    fn leads(&mut self, fd: u32, depth: u32) -> io::Result<bool> {
        if let Some(known) = self.known.get(&fd) {
            return Ok(*known);
        }
        let link = match fs::read_link(format!("/proc/{}/fd/{fd}", self.pid)) {
            Ok(link) => link,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let leads = match link.as_os_str().as_bytes() {
            b"anon_inode:[eventpoll]" => return self.leads_through(fd, depth),
            link => self.is_target(fd, link)?,
        };
        self.known.insert(fd, leads);
        Ok(leads)
    }

    fn is_target(&self, fd: u32, link: &[u8]) -> io::Result<bool> {
        match *self.target {
            InputTarget::Pipe { inode } => Ok(link == format!("pipe:[{inode}]").as_bytes()),
            InputTarget::Terminal { device, .. } if link == b"/dev/tty" => {
                let terminal = proc::look(self.pid)?.stat().map_or(0, |stat| stat.terminal);
                // `new_encode_dev` in linux/kdev_t.h.
                let number = (
                    u64::from(terminal >> 8 & 0xfff),
                    u64::from(terminal & 0xff | terminal >> 12 & 0xf_ff00),
                );
                Ok(number == (major(device), minor(device)))
            }
            InputTarget::Terminal { device, filesystem } => {
                // Only a file that may be it is asked: the answer of some file systems comes from afar, or never.
                let name = format!("/{}", minor(device));
                let may_be = link
                    .strip_suffix(name.as_bytes())
                    .is_some_and(|before| before.is_empty() || before.ends_with(b"/pts"));
                if !may_be {
                    return Ok(false);
                }
                match stat(format!("/proc/{}/fd/{fd}", self.pid).as_str()) {
                    Ok(stat) => Ok((stat.st_rdev, stat.st_dev) == (device, filesystem)),
                    Err(Errno::ENOENT) => Ok(false),
                    Err(errno) => Err(errno.into()),
                }
            }
        }
    }

    /// Whether the target is in an epoll, or in one that is in it.
    fn leads_through(&mut self, epoll: u32, depth: u32) -> io::Result<bool> {
        // What leads round in a circle leads nowhere.
        self.known.insert(epoll, false);
        let leads = self.contains(epoll, depth);
        match leads {
            Ok(leads) => self.known.insert(epoll, leads),
            Err(_) => self.known.remove(&epoll),
        };
        leads
    }

    fn contains(&mut self, epoll: u32, depth: u32) -> io::Result<bool> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(false) };
        let mut text = String::new();
        match File::open(format!("/proc/{}/fdinfo/{epoll}", self.pid)) {
            Ok(file) => file.take(EPOLL_BYTES_MAX + 1).read_to_string(&mut text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if text.len() as u64 > EPOLL_BYTES_MAX {
            return Err(io::Error::other("an epoll of it has too many descriptors"));
        }
        let own = text.lines().find_map(|line| line.strip_prefix("ino:")?.trim().parse::<u64>().ok());
        for (fd, inode) in text.lines().filter_map(entry) {
            let may_be = match (self.target, inode) {
                // All epolls have the same inode.
                (InputTarget::Pipe { inode }, Some(other)) => {
                    other == *inode || own.is_none_or(|own| own == other)
                }
                _ => true,
            };
            if may_be && self.leads(fd, depth)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `tfd: number events: bits data: bits pos:number ino:bits sdev:bits` (proc_pid_fdinfo(5)): the descriptor and
/// its inode, if it is watched for reading. The number is the one that the descriptor had when it was added.
fn entry(line: &str) -> Option<(u32, Option<u64>)> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let fd = words.next()?.parse().ok()?;
    let events = u32::from_str_radix(words.nth(1)?, 16).ok()?;
    let readable = (libc::EPOLLIN | libc::EPOLLRDNORM).cast_unsigned();
    let inode = words.find_map(|word| u64::from_str_radix(word.strip_prefix("ino:")?, 16).ok());
    (events & readable != 0).then_some((fd, inode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::sight::tests::{Child, as_nobody, until, until_stat};
    use nix::{
        poll::{PollFd, PollFlags, PollTimeout, poll, ppoll},
        pty::openpty,
        sys::{
            epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
            select::{FdSet, pselect, select},
            signal::{Signal, kill},
        },
        unistd::{Pid, gettid, ttyname},
    };
    use std::{
        io::{PipeReader, Write, pipe},
        process::Stdio,
        sync::mpsc,
        thread,
    };

    fn waits(pids: &[u32], target: &InputTarget) -> Option<u32> {
        looks_for_input(pids, target).waits
    }
    fn until_waits(child: &Child, target: &InputTarget) {
        until("it waits for input", || waits(&[child.pid()], target) == Some(child.pid()));
    }
    /// A thread of ours sleeps in some call until its input has something, or another pipe.
    fn while_sleeping(sleep: fn(&PipeReader, &PipeReader), expected: bool) {
        let ((reader, mut writer), (other, mut other_writer)) = (pipe().unwrap(), pipe().unwrap());
        let target = InputTarget::of(&reader).unwrap();
        let me = std::process::id();
        let (tell, told) = mpsc::channel();
        // It has the writers, so that a test that fails ends the thread.
        thread::scope(move |scope| {
            let sleeping = scope.spawn(move || {
                tell.send(gettid()).unwrap();
                sleep(&reader, &other);
            });
            let task = told.recv().unwrap().as_raw().cast_unsigned();
            let sleeps = || proc::look_at_task(me, task).unwrap().is_some_and(|stat| stat.waits);
            until("the thread sleeps", || sleeps() && call(me, task).unwrap().is_some());
            if expected {
                until("the thread waits for input", || waits(&[me], &target) == Some(me));
            } else {
                assert_eq!(waits(&[me], &target), None);
            }
            writer.write_all(b"x").unwrap();
            // The thread may be gone by then.
            let _ = other_writer.write_all(b"x");
            sleeping.join().unwrap();
            assert_eq!(waits(&[me], &target), None);
        });
    }
    fn poll_for(entries: &[(&PipeReader, PollFlags)]) {
        let mut entries: Vec<_> =
            entries.iter().map(|(pipe, flags)| PollFd::new(pipe.as_fd(), *flags)).collect();
        poll(&mut entries, PollTimeout::NONE).unwrap();
    }
    fn epoll(of: impl AsFd, flags: EpollFlags) -> Epoll {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        epoll.add(of, EpollEvent::new(flags, 1)).unwrap();
        epoll
    }
    fn wait_for(epoll: &Epoll) {
        epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE).unwrap();
    }

    #[test]
    fn each_call_that_waits_to_read_is_known() {
        let ways: [fn(&PipeReader, &PipeReader); 8] = [
            |mut input, _| input.read_exact(&mut [0]).unwrap(),
            |input, other| poll_for(&[(other, PollFlags::POLLIN), (input, PollFlags::POLLIN)]),
            |input, _| {
                ppoll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], None, None).unwrap();
            },
            |input, other| {
                let mut set = FdSet::new();
                set.insert(input.as_fd());
                set.insert(other.as_fd());
                select(None, &mut set, None, None, None).unwrap();
            },
            |input, _| {
                let mut set = FdSet::new();
                set.insert(input.as_fd());
                pselect(None, &mut set, None, None, None, None).unwrap();
            },
            |input, _| wait_for(&epoll(input, EpollFlags::EPOLLIN)),
            |input, _| wait_for(&epoll(&epoll(input, EpollFlags::EPOLLIN).0, EpollFlags::EPOLLIN)),
            |input, _| {
                let epoll = epoll(input, EpollFlags::EPOLLIN);
                poll(&mut [PollFd::new(epoll.0.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            },
        ];
        for way in ways {
            while_sleeping(way, true);
        }
    }

    #[test]
    fn a_call_that_waits_for_something_else_is_none() {
        let ways: [fn(&PipeReader, &PipeReader); 4] = [
            |_, mut other| other.read_exact(&mut [0]).unwrap(),
            |input, other| poll_for(&[(input, PollFlags::POLLPRI), (other, PollFlags::POLLIN)]),
            |_, other| wait_for(&epoll(other, EpollFlags::EPOLLIN)),
            |input, other| {
                let epoll = epoll(other, EpollFlags::EPOLLIN);
                epoll.add(input, EpollEvent::new(EpollFlags::EPOLLPRI, 2)).unwrap();
                wait_for(&epoll);
            },
        ];
        for way in ways {
            while_sleeping(way, false);
        }
    }

    #[test]
    fn a_program_waits_until_it_has_its_line() {
        for (program, arguments) in [("cat", [].as_slice()), ("sh", &["-c", "read line"]), ("head", &["-c1"])]
        {
            let (reader, mut writer) = pipe().unwrap();
            let target = InputTarget::of(&writer).unwrap();
            let mut child = Child::start(program, arguments, reader);
            until_waits(&child, &target);
            // The whole tree, among those that wait for something else.
            let strange = Child::start("sleep", &["1000"], Stdio::null());
            assert_eq!(waits(&[strange.pid(), child.pid()], &target), Some(child.pid()));
            assert_eq!(waits(&[strange.pid()], &target), None);
            writer.write_all(b"a line\n").unwrap();
            drop(writer);
            assert!(child.0.wait().unwrap().success());
            let look = looks_for_input(&[child.pid()], &target);
            assert_eq!((look.waits, look.seen, look.unseen), (None, 0, 0), "it is gone");
        }
    }

    #[test]
    fn whoever_has_the_input_and_sleeps_or_is_stopped_does_not_wait() {
        let (reader, writer) = pipe().unwrap();
        let target = InputTarget::of(&writer).unwrap();
        let sleeps = Child::start("sleep", &["1000"], reader.try_clone().unwrap());
        until_stat(sleeps.pid(), |stat| stat.name == "sleep" && stat.waits);
        let reads = Child::start("cat", &[], reader);
        until_waits(&reads, &target);
        let pid = Pid::from_raw(reads.pid().cast_signed());
        kill(pid, Signal::SIGSTOP).unwrap();
        until_stat(reads.pid(), |stat| stat.stopped);
        let look = looks_for_input(&[sleeps.pid(), reads.pid()], &target);
        assert_eq!((look.waits, look.seen, look.unseen), (None, 2, 0));
        kill(pid, Signal::SIGCONT).unwrap();
        until_waits(&reads, &target);
    }

    #[test]
    fn a_terminal_is_waited_for_by_its_own_name_and_as_dev_tty() {
        let (pty, other) = (openpty(None, None).unwrap(), openpty(None, None).unwrap());
        let (target, another) =
            (InputTarget::of(&pty.slave).unwrap(), InputTarget::of(&other.slave).unwrap());
        let name = ttyname(&pty.slave).unwrap();
        let mut master = fs::File::from(pty.master);
        // The first terminal that the leader of a session opens becomes its own.
        let script = format!(": < {}; read line < /dev/tty", name.display());
        let by_stdin = ["sh", "-c", "read line"];
        let by_name = ["sh", "-c", script.as_str()];
        for (arguments, stdin) in [(by_stdin, Stdio::from(pty.slave)), (by_name, Stdio::null())] {
            let mut child = Child::start("setsid", &arguments, stdin);
            until_waits(&child, &target);
            assert_eq!(waits(&[child.pid()], &another), None);
            master.write_all(b"a line\n").unwrap();
            assert!(child.0.wait().unwrap().success());
        }
    }

    #[test]
    fn whoever_can_not_be_looked_at_is_counted() {
        let (reader, writer) = pipe().unwrap();
        let target = InputTarget::of(&writer).unwrap();
        let hidden = Child::start_hidden(reader);
        let mut dead = Child::start("sleep", &["1000"], Stdio::null());
        dead.0.kill().unwrap();
        until_stat(dead.pid(), |_| !proc::look(dead.pid()).unwrap().lives());
        let look = as_nobody(|| looks_for_input(&[dead.pid(), hidden.pid()], &target));
        assert_eq!((look.waits, look.seen, look.unseen), (None, 0, 1));
        let kind = look.refusal.unwrap().kind();
        assert_eq!(kind, ErrorKind::PermissionDenied);
    }

    #[test]
    fn only_a_pipe_or_a_terminal_is_waited_for() {
        let null = fs::File::open("/dev/null").unwrap();
        assert_eq!(InputTarget::of(&null), Err(Errno::EINVAL));
        let entry = |line| super::entry(line);
        let line = "tfd:        5 events: 80000019 data:                5  pos:0 ino:1a2b sdev:d";
        assert_eq!(entry(line), Some((5, Some(0x1a2b))));
        assert_eq!(entry("tfd:        5 events:        4 data:        5"), None);
        assert_eq!(entry("tfd:        5 events:        1 data:        5"), Some((5, None)));
        assert_eq!(entry("ino:\t77"), None);
    }
}
