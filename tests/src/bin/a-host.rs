//! A host in a process of its own, for what a test can't do to its own process. It prints one line of JSON for each
//! thing that it did.
//!
//! ```text
//! a-host ROOT run TIMEOUT_MS PROGRAM ARGS…       one command; its result
//! a-host ROOT reaps-everything PROGRAM ARGS…     20 times, while another thread of the host waits for any child
//! a-host ROOT few-descriptors PROGRAM ARGS…      with 0 to 12 free descriptors: the result or the error, and who lives
//! ```

use nix::{
    errno::Errno,
    sys::{
        prctl::set_child_subreaper,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
        wait::wait,
    },
    unistd::Pid,
};
use ostler::{Command, Config, Filter, Ostler, Record, Session};
use serde_json::json;
use std::{error::Error, path::PathBuf, time::Duration};

type Done<T> = Result<T, Box<dyn Error>>;

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> Done<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("ROOT MODE …");
    let (root, mode) = (PathBuf::from(next()?), next()?);
    let tier = std::env::var(ostler_tests::TIER_VARIABLE).unwrap_or_default();
    let containment = ostler_tests::tier_of(&tier);
    let ostler = Ostler::start(Config { artifact_root: Some(root), containment, ..Config::default() })?;
    let session = ostler.open_session(None).wait()?;
    match mode.as_str() {
        "run" => {
            let timeout = Duration::from_millis(next()?.parse()?);
            let command = Command::new(next()?).args(args).timeout(timeout);
            println!("{}", json!(run(&session, command)?));
        }
        "reaps-everything" => {
            let command = Command::new(next()?).args(args);
            reaps_everything(&session, &command)?;
        }
        "few-descriptors" => {
            let command = Command::new(next()?).args(args);
            few_descriptors(&session, &command)?;
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

fn result(session: &Session, handle: &ostler::Handle) -> Done<Record> {
    let filter = Filter::results().and_handle(handle.id());
    let entries = session.inbox().receive(filter, 1, LIMIT).wait()?;
    Ok(entries.first().and_then(|entry| entry.record()).ok_or("no result in time")?.clone())
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
        let handles = session.list().wait()?.len();
        let limit = limit_with(free)?;
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard)?;
        let launched = session.launch(command.clone()).wait();
        let outcome = match &launched {
            Ok(handle) => result(session, handle).map(|record| json!(record)),
            Err(ostler::Error::Launch(error)) => Ok(json!(error)),
            Err(other) => Err(other.to_string().into()),
        };
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        let living: Vec<u32> =
            ostler_tests::children().into_iter().filter(|pid| ostler_tests::alive(*pid)).collect();
        println!("{}", json!({ "free": free, "handles": handles, "outcome": outcome?, "living": living }));
        for pid in living {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
        }
    }
    Ok(())
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
