//! # From tokio::process
//!
//! What each method of `tokio::process` (and `std::process`) is here. The differences that matter: a command is not killed when its
//! handle is dropped, its output never fills the host's memory or stops the command, and its result comes to an inbox whoever waits.
//!
//! | `tokio::process` | here |
//! |---|---|
//! | `Command::new`, `arg`, `args`, `current_dir` | the same on [`Command`](crate::Command) |
//! | `env`, `envs`, `env_remove`, `env_clear` | the same; credentials of the host are withheld unless [`env_mode`](crate::Command::env_mode) says otherwise |
//! | `stdin(Stdio::null())` | the default |
//! | `stdin(Stdio::piped())`, `ChildStdin::write_all` | [`stdin_open`](crate::Command::stdin_open), [`Handle::write`](crate::Handle::write) |
//! | dropping `ChildStdin` | [`Handle::close_stdin`](crate::Handle::close_stdin) |
//! | all of stdin at once | [`stdin_bytes`](crate::Command::stdin_bytes) |
//! | `stdout(Stdio::piped())`, `ChildStdout` | always: to files; [`Handle::read`](crate::Handle::read) while it runs and after |
//! | `stdout(Stdio::null())` | [`Capture::stdout(false)`](crate::Capture::stdout) leaves it out of the record; it is on disk all the same |
//! | `BufReader::lines` | [`read().from_line(…)`](crate::ReadOutput::from_line), [`Handle::find`](crate::Handle::find), [`Handle::wait_for`](crate::Handle::wait_for) |
//! | `stdin(Stdio::inherit())` and the like | none: a command never shares the host's descriptors |
//! | `process_group(0)` | always, in a session of its own |
//! | `kill_on_drop(true)` | [`Session::end`](crate::Session::end), or dropping the last [`Ostler`](crate::Ostler); a handle is only a name |
//! | `uid`, `gid`, `pre_exec` | none: run `setpriv`, `sudo -u`, `nice`, `bwrap` as the program |
//! | `spawn()` | [`Session::launch`](crate::Session::launch) |
//! | `status()` | [`Session::run_for`](crate::Session::run_for) or [`Handle::result`](crate::Handle::result); [`Record::success`](crate::Record::success) |
//! | `output()` | the same: the record has both texts, head and tail where they are long |
//! | `Child::id` | [`Record::pid`](crate::Record::pid) |
//! | `Child::wait` | [`Handle::result`](crate::Handle::result) takes the result, [`Handle::exited`](crate::Handle::exited) only waits |
//! | `Child::try_wait` | [`Handle::status`](crate::Handle::status) |
//! | `Child::wait_with_output` | [`Handle::result`](crate::Handle::result) |
//! | `Child::start_kill`, `kill` | [`Handle::cancel`](crate::Handle::cancel), twice for "now": the whole tree |
//! | `libc::kill(pid, SIGINT)` | [`Handle::signal`](crate::Handle::signal) |
//! | `timeout(limit, child.wait())` | [`Command::timeout`](crate::Command::timeout): it stops the command; [`Handle::result_within`](crate::Handle::result_within) does not |
//! | a PTY crate | [`Command::terminal`](crate::Command::terminal), [`Handle::resize`](crate::Handle::resize), [`Handle::screen`](crate::Handle::screen) |
//!
//! ```
//! use ostler::{Command, Config, Ostler, testing::{Program, World}};
//! use std::time::Duration;
//!
//! # let world = World::new();
//! # world.program("ls", Program::new().stdout_at(Duration::ZERO, "Cargo.toml\n").exits_at(Duration::ZERO, 0));
//! # let ostler = Ostler::scripted(Config::new(), &world)?;
//! let session = ostler.open_session().wait()?;
//! // tokio: Command::new("ls").output().await?
//! let record = session.launch(Command::new("ls")).wait()?.result().wait()?.record;
//! assert_eq!((record.success, record.stdout.as_str()), (Some(true), "Cargo.toml\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
