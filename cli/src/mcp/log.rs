//! Where a server says what it does: stderr for what is wrong, and for all of it the file of `--log`.
//!
//! * keeps: no value of a variable and no byte of stdin is written: only the events of ostler's own crates, which say none. A disk that is slow or
//!   full holds up nothing: what does not fit is left out

use nix::fcntl::OFlag;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    filter::Targets,
    fmt::{self, format::FmtSpan},
    layer::SubscriberExt,
};

/// A log that has become this long is moved to `FILE.1`, and what stood there goes: a server that runs for months fills no disk.
const LOG_MAX_BYTES: u64 = 16 << 20;
/// Lines that wait for the disk, of some 200 bytes each; beyond it lines are left out.
const WAITING_LINES: usize = 10_000;

/// While it is there, what is said is written. Its drop waits for what is on its way, for a second at most.
pub(super) struct Log(#[allow(dead_code, reason = "its drop is its use")] Option<WorkerGuard>);

/// Of these crates alone: those below may show what they are given.
fn ours(level: Level) -> Targets {
    Targets::new().with_target("ostler", level).with_target("ostler_mcp", level)
}

/// # Errors
/// The file can't be opened, or is the one that the protocol is written to.
pub(super) fn begin(path: Option<&Path>) -> io::Result<Log> {
    let warnings = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false).without_time();
    let registry = tracing_subscriber::registry()
        .with(tracing_subscriber::Layer::with_filter(warnings, ours(Level::WARN)));
    let Some(path) = path else {
        set(registry);
        return Ok(Log(None));
    };
    let file = LogFile::open(path)?;
    if file.is_stdout() {
        return Err(io::Error::other("stdout is the client's; name another file"));
    }
    let (file, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("ostler-log")
        .finish(file);
    let all =
        fmt::layer().with_writer(file).with_ansi(false).with_target(false).with_span_events(FmtSpan::CLOSE);
    set(registry.with(tracing_subscriber::Layer::with_filter(all, ours(Level::INFO))));
    // Several servers may write to one file.
    tracing::info!(target: "ostler", pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "server started");
    Ok(Log(Some(guard)))
}

fn set(subscriber: impl tracing::Subscriber + Send + Sync) {
    // A program sets it once.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// A file that other processes may append to as well, each line in one write, and that any of them may move away.
struct LogFile {
    path: PathBuf,
    file: File,
}
impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        // A pipe that nobody reads would be waited for.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)?;
        Ok(LogFile { path: path.to_owned(), file })
    }
    fn is_stdout(&self) -> bool {
        let own = self.file.metadata().map(|own| (own.dev(), own.ino()));
        let stdout =
            io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| File::from(stdout).metadata());
        own.ok() == stdout.map(|stdout| (stdout.dev(), stdout.ino())).ok()
    }
    /// Not a link, which is somebody's, nor a device or a pipe.
    fn may_be_moved(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| there.is_file())
    }
    /// Looks whether it is the file of that name still, and short enough.
    fn look(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let is_it = |there: &fs::Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
        match fs::metadata(&self.path) {
            Ok(there) if is_it(&there) && (own.len() < LOG_MAX_BYTES || !self.may_be_moved()) => {
                return Ok(());
            }
            Ok(there) if is_it(&there) => {
                let mut moved = self.path.clone().into_os_string();
                moved.push(".1");
                fs::rename(&self.path, moved)?;
            }
            _ => {}
        }
        *self = LogFile::open(&self.path)?;
        Ok(())
    }
}
impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // What can't be moved grows on.
        let _ = self.look();
        self.file.write(line)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_moved_once_and_one_that_was_moved_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut one, mut two) = (LogFile::open(&path).unwrap(), LogFile::open(&path).unwrap());
        one.file.set_len(LOG_MAX_BYTES).unwrap();
        one.write_all(b"one\n").unwrap();
        two.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(fs::metadata(dir.path().join("log.1")).unwrap().len(), LOG_MAX_BYTES);
        fs::remove_file(&path).unwrap();
        two.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // A link is somebody's, and stays.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut linked = LogFile::open(&link).unwrap();
        linked.file.set_len(LOG_MAX_BYTES).unwrap();
        linked.write_all(b"four\n").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // A pipe that nobody reads is refused at once.
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            LogFile::open(&pipe).map(drop).unwrap_err().raw_os_error(),
            Some(nix::errno::Errno::ENXIO as i32)
        );
    }
}
