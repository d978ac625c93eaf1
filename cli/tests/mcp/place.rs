//! A server and its client, for one test.

use crate::client::Client;
use std::{fs::File, io::Write, path::PathBuf, process::Command};
use tempfile::TempDir;

/// Files of one test.
pub(crate) struct Place(TempDir);
impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.arg("mcp").arg("--artifacts").arg(self.path("artifacts")).current_dir(self.0.path());
        command.env("XDG_STATE_HOME", self.path("state")).env_remove("TRACEPARENT").env_remove("TRACESTATE");
        command
    }
    pub(crate) fn fifo(&self, name: &str) {
        nix::unistd::mkfifo(&self.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    /// Lets a command go on that reads from a fifo; waits until it does.
    pub(crate) fn go(&self, name: &str) {
        File::options().write(true).open(self.path(name)).unwrap().write_all(b"\n").unwrap();
    }
    pub(crate) fn start(&self, args: &[&str]) -> Client {
        Client::begin(self.command().args(args))
    }
}
