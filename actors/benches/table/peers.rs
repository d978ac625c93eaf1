//! What one would write by hand, or pick, instead.

use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

/// `posix_spawn` and `waitid`: what the standard library does for a command with nothing special.
pub(crate) fn raw_spawn() {
    let quiet = || Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(quiet().unwrap().success());
}

pub(crate) fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
}

/// Reads, writes two files and digests, in one loop.
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
    let mut child = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (done, over) = mpsc::channel::<()>();
    let progress =
        thread::spawn(move || while over.recv_timeout(std::time::Duration::from_secs(5)).is_ok() {});
    let drain = thread::spawn(move || {
        let mut all = Vec::new();
        out.read_to_end(&mut all).unwrap();
        all
    });
    let errors = thread::spawn(move || {
        let mut all = Vec::new();
        err.read_to_end(&mut all).unwrap();
        all
    });
    let waiter = thread::spawn(move || child.wait().unwrap());
    waiter.join().unwrap();
    let bytes = drain.join().unwrap().len() + errors.join().unwrap().len();
    drop(done);
    progress.join().unwrap();
    bytes
}

/// `tokio::process::Command::output`, which records nothing.
pub(crate) struct Tokio(tokio::runtime::Runtime);
impl Tokio {
    pub(crate) fn new() -> Tokio {
        Tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
    }
    pub(crate) fn burst(&self, count: usize) {
        self.0.block_on(async {
            let tasks: Vec<_> = (0..count)
                .map(|_| tokio::spawn(async { tokio::process::Command::new("true").output().await.unwrap() }))
                .collect();
            for task in tasks {
                assert!(task.await.unwrap().status.success());
            }
        });
    }
}
