//! What the processes of a tree do, seen from the kernel and not from their output: which TCP ports they listen
//! on, and whether one of them waits for input. There is no event for either without privileges, so somebody asks
//! again and again.
//!
//! * in: the pids of a tree, or the number of its cgroup
//! * out: what was seen, and how many processes could not be looked at: never are those taken for ones that do not
//! * keeps: nothing of the machine; for a tree in no cgroup, which listeners were found where

pub(crate) mod input;
pub(crate) mod ports;
pub(crate) mod sock_diag;
mod tasks;

#[cfg(test)]
mod tests {
    use crate::linux::{proc, sys};
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        process::{self, Command, Stdio},
        thread,
        time::{Duration, Instant},
    };

    /// How long anything may take that has to come.
    const LIMIT: Duration = Duration::from_secs(60);

    /// A process that ends with the test.
    pub(super) struct Child(pub(super) process::Child);
    impl Child {
        pub(super) fn start(program: &str, arguments: &[&str], stdin: impl Into<Stdio>) -> Child {
            let mut command = Command::new(program);
            command.args(arguments).stdin(stdin).stdout(Stdio::null());
            Child(command.spawn().unwrap())
        }
        pub(super) fn pid(&self) -> u32 {
            self.0.id()
        }
        pub(super) fn end(&mut self) {
            let _ = self.0.kill();
            self.0.wait().unwrap();
        }
        /// A process that only root may look at, since nobody may read its program; it has run that when this
        /// returns.
        pub(super) fn start_hidden(stdin: impl Into<Stdio>) -> Child {
            let directory = tempfile::tempdir().unwrap();
            let program = directory.path().join("hidden");
            fs::copy("/bin/sleep", &program).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o111)).unwrap();
            Child::start(program.to_str().unwrap(), &["1000"], stdin)
        }
    }
    impl Drop for Child {
        fn drop(&mut self) {
            self.end();
        }
    }

    /// Looks until it is so.
    pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_so() {
            assert!(Instant::now() < limit, "{what}");
            thread::yield_now();
        }
    }

    pub(super) fn until_stat(pid: u32, is_so: impl Fn(&proc::Stat) -> bool) {
        until("the process gets there", || proc::look(pid).unwrap().stat().is_some_and(&is_so));
    }

    /// Runs this as somebody who is not root.
    pub(super) fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        let as_nobody = || {
            sys::become_nobody_in_this_thread();
            run()
        };
        thread::scope(|scope| scope.spawn(as_nobody).join().unwrap())
    }
}
