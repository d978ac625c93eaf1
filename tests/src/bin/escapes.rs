//! Ways out of a process group. Everything that it starts ends by itself after a minute, and the makers of processes
//! after 5 seconds, so that a test that fails leaves a machine that works.
//!
//! ```text
//! escapes daemon         forks twice with setsid, clears its environment, closes everything; the leader stays
//! escapes storm [out]    8 forkers, each in a session of its own with `out`; `ready` when all have forked
//! escapes hop [out]      a chain in which each forks the next and exits; the leader stays; `ready` after 20 hops
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
        _ => Err("daemon, storm, hop or group".into()),
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
