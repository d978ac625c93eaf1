//! Ways out of a process group. Everything that it starts ends by itself after a minute, and the makers of processes
//! after 5 seconds, so that a test that fails leaves a machine that works.
//!
//! ```text
//! escapes daemon         forks twice with setsid, clears its environment, closes everything; the leader stays
//! escapes storm [out]    8 forkers, each in a session of its own with `out`; `ready` when all have forked
//! escapes hop [out]      a chain in which each forks the next and exits; the leader stays; `ready` after 20 hops
//! escapes chain MARK [out] the leader forks and exits, its child forks and exits, and so on; SIGTERM is ignored
//! escapes odd-name       a child whose name is no text; the leader ends
//! escapes headless       a child whose main thread has ended, and which ignores SIGTERM; the leader ends
//! escapes moves FILE     the leader moves to another cgroup, by its `cgroup.procs`, and leaves a child in its own group
//! escapes group          puts a child into a group of the child's own, joins that one itself; `ready`
//! ```
#![allow(unsafe_code, reason = "fork; nothing here has a second thread")]

use nix::{
    sys::signal::{SigHandler, Signal, signal},
    unistd::{ForkResult, Pid, close, fork, getpid, pause, setpgid, setsid},
};
use std::{
    error::Error,
    time::{Duration, Instant},
};

type Done = Result<(), Box<dyn Error>>;

const STORM: Duration = Duration::from_secs(5);
const FORKERS: usize = 8;
/// Alive at once below one forker at most.
const STEP: Duration = Duration::from_millis(2);

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let _ = nix::unistd::alarm::set(60);
    match words.as_slice() {
        ["daemon", ..] => daemon(),
        ["storm", out @ ..] => storm(out.contains(&"out")),
        ["hop", out @ ..] => hop(out.contains(&"out")),
        ["group", ..] => other_group(),
        ["chain", _, out @ ..] => chain(out.contains(&"out")),
        ["odd-name"] => odd_name(),
        ["headless"] => headless(),
        ["moves", file] => moves(file),
        _ => Err("which way out?".into()),
    }
}

/// Forks; true in the child.
fn is_child() -> nix::Result<bool> {
    // SAFETY: this program has one thread, so its child may do anything.
    Ok(matches!(unsafe { fork() }?, ForkResult::Child))
}

fn stay() -> ! {
    loop {
        pause();
    }
}

/// Alarms are not inherited by a fork.
fn mortal() {
    let _ = nix::unistd::alarm::set(60);
}

fn daemon() -> Done {
    if !is_child()? {
        stay();
    }
    setsid()?;
    if is_child()? {
        mortal();
        // SAFETY: one thread.
        unsafe { nix::env::clearenv()? };
        println!("daemon {}", getpid());
        for fd in 0..3 {
            close(fd)?;
        }
        stay();
    }
    Ok(())
}

fn storm(out: bool) -> Done {
    // SAFETY: ignoring a signal runs no code. The dead are not waited for.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn)? };
    let until = Instant::now() + STORM;
    for _ in 0..FORKERS {
        if is_child()? {
            if out {
                setsid()?;
            }
            println!("ready");
            while Instant::now() < until {
                // Each child lives until the storm has ended or for some steps, whichever comes first.
                if is_child()? {
                    if out {
                        setsid()?;
                    }
                    std::thread::sleep(STEP * 20);
                    return Ok(());
                }
                std::thread::sleep(STEP);
            }
            return Ok(());
        }
    }
    stay()
}

fn hop(out: bool) -> Done {
    // SAFETY: as above.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn)? };
    let until = Instant::now() + STORM;
    if !is_child()? {
        stay();
    }
    let mut hops = 0;
    while Instant::now() < until {
        if !is_child()? {
            return Ok(());
        }
        if out {
            setsid()?;
        }
        hops += 1;
        if hops == 20 {
            println!("ready");
        }
    }
    Ok(())
}

fn chain(out: bool) -> Done {
    // SAFETY: as above. Nobody waits for the dead.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn)? };
    // SAFETY: as above.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn)? };
    let until = Instant::now() + STORM;
    // The pipes are not held: a result must not wait for them.
    for fd in 0..3 {
        close(fd)?;
    }
    while Instant::now() < until {
        if !is_child()? {
            return Ok(());
        }
        if out {
            setsid()?;
        }
    }
    Ok(())
}

/// Forks, and waits in the parent until the child has written a byte; true in the child.
fn is_child_that_says(says: impl FnOnce() -> Done) -> Result<bool, Box<dyn Error>> {
    let (read, write) = nix::unistd::pipe()?;
    if is_child()? {
        mortal();
        says()?;
        nix::unistd::write(&write, b"x")?;
        return Ok(true);
    }
    drop(write);
    nix::unistd::read(&read, &mut [0])?;
    Ok(false)
}

fn odd_name() -> Done {
    let name = || Ok(nix::sys::prctl::set_name(c"\xff\xfe odd")?);
    if is_child_that_says(name)? { stay() } else { Ok(()) }
}

fn headless() -> Done {
    let begin = || {
        // SAFETY: ignoring a signal runs no code.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn)? };
        std::thread::spawn(|| stay());
        Ok(())
    };
    if is_child_that_says(begin)? {
        // SAFETY: ends this thread alone, and nothing that it owns is used by the other.
        unsafe { nix::libc::syscall(nix::libc::SYS_exit, 0) };
    }
    Ok(())
}

fn moves(file: &str) -> Done {
    std::fs::write(file, "0")?;
    if is_child_that_says(|| Ok(()))? { stay() } else { Ok(()) }
}

fn other_group() -> Done {
    // SAFETY: one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            mortal();
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            stay();
        }
        ForkResult::Parent { child } => {
            // Whichever of the two is first.
            let _ = setpgid(child, child);
            // The leader of a session stays in its group; so its second child goes in its place.
            if is_child()? {
                mortal();
                setpgid(Pid::from_raw(0), child)?;
                println!("ready");
                stay();
            }
            stay()
        }
    }
}
