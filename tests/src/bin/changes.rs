//! A host that changes under its commands. It starts one whose tree has three members, two of them in sessions of their own (their
//! argument is MARK), says who is who when all of them run, and waits for a line on its standard input. Then:
//!
//! ```text
//! changes ROOT exec MARK         it replaces itself by another program
//! changes ROOT hang MARK FILE    a thread of it writes to FILE, and it says so before
//! changes ROOT covered MARK      another file system is mounted over that of the cgroups; it cancels, and says the result
//! changes ROOT user MARK         it becomes another user; it cancels, says the result, launches `id -u`, and says what came of it
//! changes ROOT descriptors MARK  it uses up its descriptors; it cancels, gives them back, and says the result
//! ```

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use ostler::{Command, Config, Ostler};
use ostler_tests::hosts::{Done, result, writes};
use serde_json::json;
use std::{
    io::{BufRead, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    time::Duration,
};

/// Nobody, on any Linux.
const NOBODY: u32 = 65_534;

fn main() -> Done<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("ROOT MODE MARK …");
    let (root, mode, mark) = (PathBuf::from(next()?), next()?, next()?);
    if mode == "covered" {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    }
    let tier = std::env::var(ostler_tests::TIER_VARIABLE).unwrap_or_default();
    let containment = ostler_tests::tier_of(&tier);
    let ostler = Ostler::start(Config::new().artifact_root(root).containment(containment))?;
    let session = ostler.open_session().wait()?;
    let stubborn = std::env::current_exe()?.with_file_name("ignores-term");
    let script = r#""$1" "$0" & setsid "$1" "$0" & setsid setsid "$1" "$0" & wait"#;
    let command = Command::new("/bin/sh").args(["-c", script, &mark]).arg(stubborn);
    let handle = session.launch(command.grace(Duration::from_millis(100))).wait()?;
    writes(&handle, 3)?;
    println!("{}", json!({ "host": std::process::id(), "leader": handle.record().pid }));
    std::io::stdin().lock().read_line(&mut String::new())?;
    match mode.as_str() {
        "exec" => return Err(std::process::Command::new("/bin/sleep").arg("1000").exec().into()),
        "hang" => {
            let file = next()?;
            std::thread::spawn(move || std::fs::File::create(file)?.write_all(b"hangs"));
            println!("{}", json!({ "hangs": true }));
            std::thread::park();
        }
        "covered" => {
            for line in std::fs::read_to_string("/proc/self/mounts")?.lines() {
                let mut fields = line.split(' ').skip(1);
                if let (Some(point), Some("cgroup2")) = (fields.next(), fields.next()) {
                    mount(Some("none"), point, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
                }
            }
            println!("{}", json!(handle.cancel().wait()?.record));
        }
        "user" => {
            setgroups(&[])?;
            let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            setresgid(group, group, group)?;
            setresuid(user, user, user)?;
            println!("{}", json!(handle.cancel().wait()?.record));
            match session.launch(Command::new("/usr/bin/id").arg("-u")).wait() {
                Ok(handle) => println!("{}", json!({ "result": result(&session, &handle)? })),
                Err(error) => println!("{}", json!({ "refused": error.to_string() })),
            }
        }
        "descriptors" => {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            // Those that are open stay so, and there is no new one.
            setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
            let cancelled = handle.cancel().wait();
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
            println!("{}", json!(cancelled?.record));
        }
        _ => return Err("unknown mode".into()),
    }
    ostler.shutdown().wait()?;
    Ok(())
}
