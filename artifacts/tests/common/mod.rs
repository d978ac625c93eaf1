//! A root in a fresh directory, one command in it, and a record for it.
#![allow(dead_code, reason = "not every test file uses all of it")]

use ostler_artifacts::{Directory, Growth, Paths, Recorder, Root, create};
use ostler_messages::{Capture, CommandId, HandleId, Record, SessionId, Status};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

pub(crate) const NOTHING_SHA256: &str =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    pub(crate) root: Root,
    pub(crate) paths: Paths,
    pub(crate) live: Arc<Growth>,
}

pub(crate) fn command(n: u64) -> CommandId {
    CommandId { host_pid: std::process::id(), unix_ns: 1_700_000_000_000_000_000, n }
}

pub(crate) fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Some(dir.path().join("artifacts")), std::process::id()).unwrap();
    let paths = Paths::of(root.path(), command(1));
    create(&paths).unwrap();
    Scene { dir, root, paths, live: Arc::new(Growth::new()) }
}

impl Scene {
    pub(crate) fn in_memory(&self, output_limit: Option<u64>) -> Recorder {
        Recorder::in_memory(Capture::default(), output_limit, self.live.clone())
    }
    pub(crate) fn recorder(&self, capture: Capture, output_limit: Option<u64>) -> Recorder {
        Recorder::new(Directory::open(&self.paths).unwrap(), capture, output_limit, self.live.clone())
    }
}

pub(crate) fn record(paths: &Paths) -> Record {
    let handle_id = HandleId { host_pid: std::process::id(), n: 1 };
    let mut record = Record::new(SessionId::new("s"), command(1), handle_id).with_status(Status::Completed);
    (record.pid, record.process_group_id) = (Some(2), Some(2));
    (record.command, record.command_or_op_descriptor) = ("true".into(), "true".into());
    (record.duration_ms, record.exit_code) = (Some(1), Some(0));
    record.output_path = paths.combined();
    record.stdout_path = paths.stdout();
    record.stderr_path = paths.stderr();
    record
}

pub(crate) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Deterministic stream of numbers (xorshift64).
pub(crate) struct Dice(pub(crate) u64);
impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
