//! What one would write by hand, or pick, instead.

use process_wrap::std::{CommandWrap, ProcessGroup};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// `posix_spawn` and `waitid`: what the standard library does for a command with nothing special.
pub(crate) fn raw_spawn() {
    let status = Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
}

/// The crate process-wrap: a group of its own, and waiting for all of it.
pub(crate) fn wrapped_spawn() {
    let mut command = CommandWrap::with_new("true", |command| {
        command.stdin(Stdio::null()).stdout(Stdio::null());
    });
    let mut child = command.wrap(ProcessGroup::leader()).spawn().unwrap();
    assert!(child.wait().unwrap().success());
}

pub(crate) fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
}

/// What it takes to end and reap one, raw.
pub(crate) fn kill_and_wait(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The same with the crate process-wrap.
pub(crate) fn wrapped_sleeper() -> Box<dyn process_wrap::std::ChildWrapper> {
    let mut command = CommandWrap::with_new("sleep", |command| {
        command.arg("1000").stdin(Stdio::null());
    });
    command.wrap(ProcessGroup::leader()).spawn().unwrap()
}

/// Reads, writes two files and digests, in one loop. The files are there already, and empty.
pub(crate) fn hand_written_drain(program: &str, args: &[&str], dir: &Path) {
    let mut child = Command::new(program).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut files = [File::create(dir.join("one")).unwrap(), File::create(dir.join("two")).unwrap()];
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match pipe.read(&mut buffer).unwrap() {
            0 => break,
            count => {
                files.iter_mut().for_each(|file| file.write_all(&buffer[..count]).unwrap());
                digest.update(&buffer[..count]);
            }
        }
    }
    std::hint::black_box(digest.finalize());
    child.wait().unwrap();
}

/// What many tools do today: for each command a waiter, two drains and a progress thread, with all output in memory.
pub(crate) fn threads_per_handle(program: &str, args: &[&str]) -> usize {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (done, over) = mpsc::channel::<()>();
    let progress = thread::spawn(move || while over.recv_timeout(Duration::from_secs(5)).is_ok() {});
    let drains = [read_all(out), read_all(err)];
    let waiter = thread::spawn(move || child.wait().unwrap());
    assert!(waiter.join().unwrap().success());
    let bytes = drains.into_iter().map(|drain| drain.join().unwrap()).sum();
    drop(done);
    progress.join().unwrap();
    bytes
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).unwrap();
        all.len()
    })
}

/// So many of them at once.
pub(crate) fn threads_in_burst(count: usize) {
    let hosts: Vec<_> = (0..count).map(|_| thread::spawn(|| threads_per_handle("true", &[]))).collect();
    hosts.into_iter().for_each(|host| assert_eq!(host.join().unwrap(), 0));
}

/// `tokio::process::Command::output`, which records nothing.
pub(crate) struct Tokio(tokio::runtime::Runtime);
impl Tokio {
    pub(crate) fn new() -> Tokio {
        Tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
    }
    pub(crate) fn burst(&self, count: usize, program: &'static str, args: &[&str]) -> usize {
        self.0.block_on(async {
            let tasks: Vec<_> = (0..count)
                .map(|_| {
                    let mut command = tokio::process::Command::new(program);
                    command.args(args).stdin(Stdio::null());
                    tokio::spawn(async move { command.output().await.unwrap() })
                })
                .collect();
            let mut bytes = 0;
            for task in tasks {
                let output = task.await.unwrap();
                assert!(output.status.success());
                bytes += output.stdout.len() + output.stderr.len();
            }
            bytes
        })
    }
}
