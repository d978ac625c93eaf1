//! One graph with one session, and the short ways to use them.

use crate::{
    Ground, Settings,
    disk::{BYTES, SmallDisk},
};
use ostler::{
    Command, Error, Filter, Handle, LaunchError, Ostler, Record, Session, TraceLog, TraceTo,
    testing::World,
    trace::{ReplayError, replay, replay_text},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// How long anything is waited for that has to come: far beyond what a loaded machine needs. A test that gets here has
/// failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// "In time" means the configured time and this.
pub const SLACK: Duration = Duration::from_secs(1);

/// What fits on the disk of [`Bench::on_a_small_disk`].
pub const SMALL_DISK_BYTES: u64 = BYTES;

/// See the [crate's page](crate). Each records a trace, and when it is dropped that is replayed and has to be the same to the byte.
pub struct Bench {
    graph: Option<(Ostler, Session)>,
    trace: TraceTo,
    incomplete: bool,
    // In the order in which they have to go: the disk, where it was mounted, the turn.
    disk: Option<SmallDisk>,
    directory: TempDir,
    ground: Ground,
}

impl Bench {
    /// With the default settings.
    #[allow(clippy::new_without_default, reason = "it starts threads and takes a lock")]
    pub fn new() -> Bench {
        Bench::with(|_| {})
    }

    /// With other settings. The artifact root is set already, and can be set to something else.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Bench {
        Bench::start(change, None)
    }

    /// On a scripted kernel.
    pub fn scripted(world: &World, change: impl FnOnce(&mut Settings)) -> Bench {
        Bench::start(change, Some(world))
    }

    fn start(change: impl FnOnce(&mut Settings), world: Option<&World>) -> Bench {
        let ground = Ground::take();
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings { config: crate::config(directory.path()), faults: Vec::new() };
        change(&mut settings);
        if let TraceTo::Off = settings.config.trace {
            settings.config.trace = TraceTo::Memory(TraceLog::default());
        }
        let trace = settings.config.trace.clone();
        let ostler = settings.start(world).unwrap();
        let session = ostler.open_session().wait().unwrap();
        Bench { graph: Some((ostler, session)), incomplete: false, disk: None, directory, ground, trace }
    }

    /// With its trace in a file on a disk of [`SMALL_DISK_BYTES`]; gives its path. None, and a line on stderr, without the right
    /// to make one.
    pub fn tracing_to_a_small_disk() -> Option<(Bench, PathBuf)> {
        let (mut disk, mut file) = (None, PathBuf::new());
        let mut bench = Bench::with(|config| {
            let place = config.artifact_root.as_ref().unwrap().with_file_name("disk");
            disk = SmallDisk::mount(&place);
            file = place.join("trace");
            config.trace = TraceTo::File(file.clone());
        });
        bench.disk = Some(disk?);
        Some((bench, file))
    }

    /// With its artifacts on a disk of [`SMALL_DISK_BYTES`], where not even a record may fit. None, and a line on
    /// stderr, without the right to make one.
    pub fn on_a_small_disk() -> Option<Bench> {
        Bench::on_a_small_disk_with(|_| {})
    }

    /// The same with other settings.
    pub fn on_a_small_disk_with(change: impl FnOnce(&mut Settings)) -> Option<Bench> {
        let mut disk = None;
        let mut bench = Bench::with(|config| {
            change(config);
            let place = config.artifact_root.as_ref().unwrap().with_file_name("disk");
            disk = SmallDisk::mount(&place);
            config.artifact_root = Some(place.join("artifacts"));
        });
        bench.spoils_artifacts();
        bench.disk = Some(disk?);
        Some(bench)
    }

    /// The graph.
    pub fn ostler(&self) -> &Ostler {
        &self.graph.as_ref().unwrap().0
    }
    /// The session.
    pub fn session(&self) -> &Session {
        &self.graph.as_ref().unwrap().1
    }
    /// A path in a directory of the test's own.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }
    /// A new FIFO there. Opening it waits for who opens the other end, which makes it a handshake.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }
    /// This test spoils artifacts: at the end they are not looked at.
    pub fn spoils_artifacts(&mut self) {
        self.incomplete = true;
    }

    /// This test tells inputs or variables apart by what they hold, and a trace does not have that: it is not replayed.
    pub fn has_secrets(&mut self) {
        self.trace = TraceTo::Off;
    }

    /// This test has orphans that look like leaders: zombies of theirs are no fault.
    pub fn has_escapees(&mut self) {
        self.ground.has_escapees();
    }

    /// Starts a command that has to start. A machine that has no processes left is no broken promise, and is called by its name.
    pub fn launch(&self, command: Command) -> Handle {
        match self.session().launch(command).wait() {
            Ok(handle) => handle,
            Err(Error::Launch(error @ LaunchError::ProcessLimit { .. })) => {
                panic!("machine exhausted: {error}")
            }
            Err(error) => panic!("{error}"),
        }
    }
    /// Starts a command that must not start.
    pub fn refused(&self, command: Command) -> LaunchError {
        match self.session().launch(command).wait() {
            Err(Error::Launch(error)) => error,
            other => panic!("expected a launch error: {other:?}"),
        }
    }
    /// Takes the result of a handle from the inbox.
    pub fn result(&self, handle: &Handle) -> Record {
        let filter = Filter::results().and_handle(handle.id());
        let entries = self.session().inbox().receive(filter, 2, LIMIT).wait().unwrap();
        let [entry] = entries.as_slice() else { panic!("expected one result: {entries:?}") };
        entry.record().unwrap().clone()
    }
    /// From launch to result.
    pub fn run(&self, command: Command) -> Record {
        self.result(&self.launch(command))
    }
    /// Unread results.
    pub fn unread(&self) -> usize {
        self.session().inbox().pending(Filter::results()).wait().unwrap()
    }

    /// Waits until the combined output of a handle holds a text so many times.
    pub fn hears(&self, handle: &Handle, text: &str, times: usize) {
        let (mut heard, mut offset) = (Vec::new(), 0);
        loop {
            let page = handle.read().offset(offset).wait_for(LIMIT).wait().unwrap();
            heard.extend_from_slice(&page.content);
            offset = page.next_offset;
            let so_far = String::from_utf8_lossy(&heard);
            if so_far.matches(text).count() >= times {
                return;
            }
            assert!(page.bytes_read > 0 && !page.eof, "{text:?} did not come, but {so_far:?}");
        }
    }

    /// No directory of a launch that failed, none without its result, no lock. What says when the root was last looked through stays, and a recorder's files
    /// are no command's.
    fn check_artifacts(&self, root: &Path) {
        for entry in std::fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            let is_dump = path.extension().is_some_and(|extension| extension == "jsonl");
            if path.ends_with(".looked") || is_dump {
                continue;
            }
            assert!(path.join("result.json").is_file(), "{} is left", path.display());
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let Some((ostler, session)) = self.graph.take() else { return };
        if std::thread::panicking() {
            // The drop of the graph kills what the test left.
            return;
        }
        let root = ostler.artifact_root().to_owned();
        let in_order = ostler.shutdown().wait().is_ok();
        drop((ostler, session));
        check_trace(&self.trace);
        self.ground.check(in_order);
        if in_order && !self.incomplete && root.exists() {
            self.check_artifacts(&root);
        }
    }
}

/// What happened follows from what came in: a replay of the trace is the same to the byte.
fn check_trace(trace: &TraceTo) {
    let replayed = match trace {
        TraceTo::Memory(log) => replay_text(&log.text()),
        TraceTo::File(path) => replay(path),
        _ => return,
    };
    match replayed {
        Ok(replayed) => assert!(replayed.is_identical(), "{replayed}"),
        // The test was longer than there is room for.
        Err(ReplayError::Lost { before, .. }) => assert!(before.is_identical(), "{before}"),
        Err(error) => panic!("{error}"),
    }
}

/// A script for `/bin/sh`.
pub fn sh(script: impl Into<String>) -> Command {
    Command::new("/bin/sh").args(["-c".to_owned(), script.into()])
}

/// The number that the next handle in this process will have, for faults that are set before it exists. Only while a
/// [`Bench`] or [`Ground`] holds the turn.
pub fn next_n() -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let ostler = Ostler::start(crate::config(directory.path())).unwrap();
    let session = ostler.open_session().wait().unwrap();
    let n = session.launch(Command::new("/bin/true")).wait().unwrap().id().n + 1;
    ostler.shutdown().wait().unwrap();
    n
}
