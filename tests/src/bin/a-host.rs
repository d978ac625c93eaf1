//! A host in a process of its own, for what a test can't do to its own process. It prints one line of JSON for each
//! thing that it did.
//!
//! ```text
//! a-host ROOT run TIMEOUT_MS PROGRAM ARGS…       one command with a grace of 0.2 s; its result
//! a-host ROOT idles IDLE_MS PROGRAM ARGS…        one command with an idle time; says when it runs; its result
//! a-host ROOT in DIRECTORY PROGRAM ARGS…         one command there; the result or the error, and who lives
//! a-host ROOT tools DIRECTORY PROGRAM ARGS…      the same with the tools that the directory asks for
//! a-host ROOT nowhere PROGRAM ARGS…              one command in a directory that was removed: the result or the error
//! a-host ROOT reaps-everything PROGRAM ARGS…     20 times, while another thread of the host waits for any child
//! a-host ROOT few-descriptors PROGRAM ARGS…      with 0 to 12 free descriptors: the result or the error, and who lives
//! a-host ROOT few-processes PROGRAM ARGS…        with room for 0 to 3 processes: the same
//! a-host ROOT no-watches PROGRAM ARGS…           when no more descriptor can be watched: the same
//! a-host ROOT holds LINES PROGRAM ARGS…          one command; when it has written so many lines, says who is who, and
//!                                                does nothing more; at `abort` on its standard input it aborts
//! a-host ROOT launches PROGRAM ARGS…             one command after the other, until it is killed
//! a-host ROOT waits-for-signals PROGRAM ARGS…    its own SIGTERM, 50 times, while commands run; their results
//! a-host ROOT forks                              what a forked copy of it is told
//! a-host ROOT stdio PROGRAM ARGS…                one command; what the host's own 0 and 2 are; its result
//! a-host ROOT pauses FREE…                       a tree of 50 processes, stopped and continued with so many free descriptors
//! a-host ROOT tells                              what holds trees here, and what was refused
//! ```
//!
//! What the kernel shall refuse it: `A_HOST_REFUSES`, words of [`refuse`].

#![allow(unsafe_code, reason = "a descriptor by its number")]

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::set_child_subreaper,
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigSet, Signal, kill},
        wait::wait,
    },
    unistd::Pid,
};
use ostler::{Command, Config, Ostler, Record, Session, Toolchain};
use ostler_tests::hosts::{Done, result, writes};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::json;
use std::{os::fd::BorrowedFd, path::PathBuf, time::Duration};

fn main() -> Done<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("ROOT MODE …");
    let (root, mode) = (PathBuf::from(next()?), next()?);
    let refuses = std::env::var("A_HOST_REFUSES").unwrap_or_default();
    refuses.split_terminator(' ').try_for_each(refuse)?;
    let tier = std::env::var(ostler_tests::TIER_VARIABLE).unwrap_or_default();
    let containment = ostler_tests::tier_of(&tier);
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    if mode == "waits-for-signals" {
        term.thread_block()?;
    }
    // What a graph starts is where its host was at the graph's start.
    let room = if mode == "few-processes" { Space::new()? } else { None };
    let ostler = Ostler::start(Config::new().artifact_root(root).containment(containment))?;
    let session = ostler.open_session().wait()?;
    match mode.as_str() {
        "run" => {
            let timeout = Duration::from_millis(next()?.parse()?);
            let grace = Duration::from_millis(200);
            let command = Command::new(next()?).args(args).timeout(timeout).grace(grace);
            println!("{}", json!(run(&session, command)?));
        }
        "idles" => {
            let idle = Duration::from_millis(next()?.parse()?);
            let command = Command::new(next()?).args(args).idle_timeout(idle);
            let handle = session.launch(command).wait()?;
            println!("{}", json!({ "host": std::process::id() }));
            println!("{}", json!(result(&session, &handle)?));
        }
        "in" | "tools" => {
            let cwd = next()?;
            let toolchain = if mode == "tools" { Toolchain::Auto } else { Toolchain::Off };
            let command = Command::new(next()?).args(args).current_dir(cwd).toolchain(toolchain);
            print(0, &outcome(&session, &command)?)?;
        }
        "nowhere" => {
            let command = Command::new(next()?).args(args);
            let gone = std::env::current_dir()?.join("gone");
            std::fs::create_dir(&gone)?;
            std::env::set_current_dir(&gone)?;
            std::fs::remove_dir(&gone)?;
            print(0, &outcome(&session, &command)?)?;
        }
        "reaps-everything" => {
            let command = Command::new(next()?).args(args);
            reaps_everything(&session, &command)?;
        }
        "few-descriptors" => {
            let command = Command::new(next()?).args(args);
            few_descriptors(&session, &command)?;
        }
        "few-processes" => {
            let command = Command::new(next()?).args(args);
            few_processes(&session, &command, room.as_ref())?;
        }
        "no-watches" => {
            let command = Command::new(next()?).args(args);
            set_child_subreaper(true)?;
            refuse("watches")?;
            print(0, &outcome(&session, &command)?)?;
        }
        "holds" => {
            let lines = next()?.parse()?;
            let handle = session.launch(Command::new(next()?).args(args)).wait()?;
            writes(&handle, lines)?;
            let leader = handle.record().pid;
            println!("{}", json!({ "host": std::process::id(), "stranger": stranger()?, "leader": leader }));
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            if line.trim() == "abort" {
                std::process::abort();
            }
            std::thread::park();
        }
        "launches" => {
            let command = Command::new(next()?).args(args);
            println!("{}", json!({ "host": std::process::id() }));
            let mut handles = std::collections::VecDeque::new();
            loop {
                handles.push_back(session.launch(command.clone()).wait()?);
                // Below every limit, so that it goes on until it is killed.
                if handles.len() > 8 {
                    handles
                        .pop_front()
                        .map(|handle| handle.cancel_within(Duration::ZERO).wait())
                        .transpose()?;
                    session.inbox().drain().wait()?;
                }
            }
        }
        "waits-for-signals" => {
            let command = Command::new(next()?).args(args);
            for _ in 0..50 {
                let handle = session.launch(command.clone()).wait()?;
                // To the whole process: whichever thread does not block it dies of it, and the process with it.
                kill(Pid::this(), Signal::SIGTERM)?;
                if term.wait()? != Signal::SIGTERM {
                    return Err("another signal".into());
                }
                println!("{}", json!(result(&session, &handle)?));
            }
        }
        "forks" => {
            // SAFETY: what the copy does is what is tested; it only calls this library, and exits.
            match unsafe { nix::unistd::fork() }? {
                nix::unistd::ForkResult::Child => {
                    let refused = session.list().wait().map(drop) == Err(ostler::Error::OtherProcess);
                    let begun = std::time::Instant::now();
                    drop((session, ostler));
                    let at_once = begun.elapsed() < Duration::from_secs(1);
                    // SAFETY: ends this copy without running anything of it: the standard library's own end takes locks.
                    unsafe { nix::libc::_exit(if refused && at_once { 7 } else { 1 }) };
                }
                nix::unistd::ForkResult::Parent { child } => {
                    let status = nix::sys::wait::waitpid(child, None)?;
                    let code = matches!(status, nix::sys::wait::WaitStatus::Exited(_, 7));
                    println!("{}", json!({ "told": code, "lives": session.list().wait().is_ok() }));
                }
            }
            return Ok(());
        }
        "terminal" => {
            let handle = session.launch(Command::new(next()?).args(args).terminal(30, 100)).wait()?;
            let paused = match handle.pause().wait() {
                Ok(()) => json!(null),
                Err(error) => json!(error.to_string()),
            };
            handle.resume().wait()?;
            handle.write("word\n").wait()?;
            println!("{}", json!({ "not_paused": paused, "result": result(&session, &handle)? }));
        }
        "pauses" => pauses(&session, args)?,
        "stdio" => {
            let command = Command::new(next()?).args(args);
            let result = run(&session, command)?;
            let fds = [0, 2].map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default());
            println!("{}", json!({ "fds": fds, "result": result }));
        }
        "tells" => {
            let report = ostler.containment();
            let refused: Vec<_> =
                report.refused.iter().map(|refused| json!([refused.tier, refused.reason])).collect();
            println!(
                "{}",
                json!({
                    "tier": report.tier,
                    "host_death": report.host_death,
                    "host_is_parent": report.host_is_parent,
                    "refused": refused,
                })
            );
        }
        _ => return Err("unknown mode".into()),
    }
    ostler.shutdown().wait()?;
    Ok(())
}

fn run(session: &Session, command: Command) -> Done<Record> {
    let handle = session.launch(command).wait()?;
    result(session, &handle)
}

fn reaps_everything(session: &Session, command: &Command) -> Done<()> {
    std::thread::spawn(|| {
        loop {
            // A host that does this steals the status of every child, of whichever library.
            if wait() == Err(Errno::ECHILD) {
                std::thread::yield_now();
            }
        }
    });
    for _ in 0..20 {
        println!("{}", json!(run(session, command.clone())?));
    }
    Ok(())
}

fn few_descriptors(session: &Session, command: &Command) -> Done<()> {
    set_child_subreaper(true)?;
    // Once without want: what is opened at the first use is open from here on.
    run(session, Command::new("/bin/true"))?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    for free in 0..=12 {
        let limit = limit_with(free)?;
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard)?;
        let outcome = outcome(session, command);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        print(free, &outcome?)?;
    }
    Ok(())
}

fn few_processes(session: &Session, command: &Command, room: Option<&Space>) -> Done<()> {
    set_child_subreaper(true)?;
    run(session, Command::new("/bin/true"))?;
    let Some(room) = room else {
        println!("{}", json!({ "skipped": "no cgroup with a limit of processes can be made" }));
        return Ok(());
    };
    for free in 0..=3 {
        room.limit(free)?;
        let outcome = outcome(session, command);
        room.no_limit()?;
        print(free, &outcome?)?;
    }
    Ok(())
}

fn outcome(session: &Session, command: &Command) -> Done<serde_json::Value> {
    match session.launch(command.clone()).wait() {
        Ok(handle) => result(session, &handle).map(|record| json!(record)),
        Err(ostler::Error::Launch(error)) => Ok(json!(error)),
        Err(other) => Err(other.to_string().into()),
    }
}

fn print(free: u64, outcome: &serde_json::Value) -> Done<()> {
    let living: Vec<u32> =
        ostler_tests::children().into_iter().filter(|pid| ostler_tests::alive(*pid)).collect();
    println!("{}", json!({ "free": free, "outcome": outcome, "living": living }));
    for pid in living {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
    }
    Ok(())
}

fn pauses(session: &Session, free: impl Iterator<Item = String>) -> Done<()> {
    let many = "i=0; while [ $i -lt 49 ]; do i=$((i+1)); sleep 1000 & done; echo ready; wait";
    let handle = session.launch(Command::new("/bin/sh").args(["-c", many])).wait()?;
    writes(&handle, 1)?;
    let leader = handle.record().pid.ok_or("no leader")?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let still = || ostler_tests::group(leader).into_iter().filter(|pid| ostler_tests::stopped(*pid)).count();
    let said = |outcome: Result<(), ostler::Error>| outcome.err().map(|error| error.to_string());
    for free in free {
        let free = free.parse()?;
        setrlimit(Resource::RLIMIT_NOFILE, limit_with(free)?, hard)?;
        let paused = said(handle.pause().wait());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        let stopped = still();
        setrlimit(Resource::RLIMIT_NOFILE, limit_with(free)?, hard)?;
        let resumed = said(handle.resume().wait());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        let left = still();
        println!("{}", json!({ "free": free, "refused": [paused, resumed], "still": stopped, "left": left }));
    }
    handle.cancel().wait()?;
    Ok(())
}

/// A cgroup of this process with a limit of processes: of version 1 or 2, whichever has the controller.
struct Space {
    outside: PathBuf,
    dir: PathBuf,
}
impl Space {
    fn new() -> Done<Option<Space>> {
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let v1 = own.lines().find_map(|line| line.split_once(":pids:/")).map(|(_, path)| path);
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let outside = v1.map(|path| PathBuf::from("/sys/fs/cgroup/pids").join(path));
        let outside = outside.or_else(|| v2.map(|path| PathBuf::from("/sys/fs/cgroup").join(path)));
        let Some(outside) = outside else { return Ok(None) };
        let dir = outside.join(format!("a-host-{}", std::process::id()));
        if std::fs::create_dir(&dir).is_err() {
            return Ok(None);
        }
        let room = Space { outside, dir };
        let entered = room.dir.join("pids.max").exists() && move_to(&room.dir);
        Ok(entered.then_some(room))
    }

    fn limit(&self, free: u64) -> Done<()> {
        let now: u64 = std::fs::read_to_string(self.dir.join("pids.current"))?.trim().parse()?;
        Ok(std::fs::write(self.dir.join("pids.max"), (now + free).to_string())?)
    }

    fn no_limit(&self) -> Done<()> {
        Ok(std::fs::write(self.dir.join("pids.max"), "max")?)
    }
}
impl Drop for Space {
    fn drop(&mut self) {
        move_to(&self.outside);
        let _ = std::fs::remove_dir(&self.dir);
    }
}

fn move_to(cgroup: &std::path::Path) -> bool {
    std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).is_ok()
}

/// Lets the kernel refuse something to this process, and to all that descend from it.
fn refuse(what: &str) -> Done<()> {
    // Without a rule, every call of it.
    let always = Vec::<SeccompRule>::new;
    let errno = |errno: Errno| SeccompAction::Errno((errno as i32).cast_unsigned());
    let (calls, action) = match what {
        "clone3" => (vec![(libc::SYS_clone3, always())], errno(Errno::ENOSYS)),
        "memfd" => (vec![(libc::SYS_memfd_create, always())], errno(Errno::EPERM)),
        "pidfd" => {
            let calls = [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal];
            (calls.map(|call| (call, always())).to_vec(), errno(Errno::ENOSYS))
        }
        "faccessat2" => (vec![(libc::SYS_faccessat2, always())], errno(Errno::EPERM)),
        // From here on, in each thread: what is watched already stays so.
        "watches" => {
            let add = SeccompCondition::new(
                1,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::Eq,
                u64::from(libc::EPOLL_CTL_ADD.cast_unsigned()),
            )?;
            let rule = SeccompRule::new(vec![add])?;
            (vec![(libc::SYS_epoll_ctl, vec![rule])], errno(Errno::ENOSPC))
        }
        "close_range" => (vec![(libc::SYS_close_range, always())], errno(Errno::ENOSYS)),
        "unshare" => (vec![(libc::SYS_unshare, always())], errno(Errno::EPERM)),
        // Every write of exactly so many bytes.
        "write-12345" => {
            let bytes = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 12_345)?;
            (vec![(libc::SYS_write, vec![SeccompRule::new(vec![bytes])?])], errno(Errno::EIO))
        }
        // Nobody but a child on its way to exec enters a directory here.
        "chdir-kills" => (vec![(libc::SYS_chdir, always())], SeccompAction::KillProcess),
        "proc" => {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            return Ok(umount2("/proc", MntFlags::MNT_DETACH)?);
        }
        _ => return Err("unknown word in A_HOST_REFUSES".into()),
    };
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(calls.into_iter().collect(), SeccompAction::Allow, action, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}

/// A process that is not ostler's, with a copy of every descriptor that this host has.
fn stranger() -> Done<u32> {
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // SAFETY: the number is only looked at; one that is closed by now says so.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // The one that lists them is gone by then.
        let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
    }
    Ok(std::process::Command::new("/bin/sleep").arg("60").stdout(std::process::Stdio::null()).spawn()?.id())
}

/// The limit under which so many more descriptors can be opened: the kernel gives out the lowest free numbers.
fn limit_with(free: u64) -> Done<u64> {
    let numbers = std::fs::read_dir("/proc/self/fd")?.flatten();
    let mut open: Vec<u64> = numbers.filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    // The one that looked is closed by now, and it had the lowest free number or one above it.
    open.retain(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
    open.sort_unstable();
    let mut limit = 0;
    let mut left = free;
    loop {
        if open.binary_search(&limit).is_err() {
            if left == 0 {
                return Ok(limit);
            }
            left -= 1;
        }
        limit += 1;
    }
}
