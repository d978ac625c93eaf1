//! Where the clients are, and one that runs.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A client takes a tenth of it, a type checker that reads three frameworks for the first time a fifth; then it is killed.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// A client that is there, and files of one test.
pub(crate) struct Place {
    client: PathBuf,
    dir: TempDir,
}

/// A client that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn clients() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/clients");
    env::var_os("OSTLER_CLIENTS").map_or(beside, PathBuf::from)
}

impl Place {
    /// None: it is not there, and need not be.
    pub(crate) fn of(client: &str) -> Option<Place> {
        let path = clients().join(client);
        if !path.join("made-from").exists() {
            let required = env::var("OSTLER_CLIENTS_REQUIRE").unwrap_or_default();
            let why = format!("there is no {}; .ci/clients fetches it", path.display());
            assert!(!required.split(',').any(|name| name == client), "{client} is required: {why}");
            eprintln!("SKIPPED {client}: {why}");
            return None;
        }
        Some(Place { client: path, dir: tempfile::tempdir().unwrap() })
    }

    /// A file of the client.
    pub(crate) fn client(&self, name: &str) -> PathBuf {
        self.client.join(name)
    }

    /// A Node that is new enough for all of them.
    pub(crate) fn node(&self) -> PathBuf {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        self.client(&format!("../node/node_modules/node-linux-{machine}/bin/node"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of the scripts.
    pub(crate) fn scripts(&self, of: &str) -> PathBuf {
        let to = self.path("scripts");
        fs::create_dir(&to).unwrap();
        for script in
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(of)).unwrap()
        {
            let script = script.unwrap();
            if script.file_type().unwrap().is_file() {
                fs::copy(script.path(), to.join(script.file_name())).unwrap();
            }
        }
        to
    }

    /// The server, as a client is to start it.
    pub(crate) fn server(&self) -> Vec<OsString> {
        let artifacts = self.path("artifacts").into_os_string();
        vec![env!("CARGO_BIN_EXE_ostler").into(), "mcp".into(), "--artifacts".into(), artifacts]
    }

    /// With nothing of whoever runs the test: no home, no settings.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("XDG_STATE_HOME", self.path("state"));
        command.env("OSTLER", env!("CARGO_BIN_EXE_ostler")).env("PLACE", self.dir.path());
        command.current_dir(self.dir.path());
        command
    }

    /// Until it ends, or its time is up.
    pub(crate) fn run(&self, mut command: Command) -> Ended {
        // To files: what it has started may hold a pipe for longer than it lives.
        let (out, err) = (self.path("stdout"), self.path("stderr"));
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > until {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            thread::sleep(Duration::from_millis(10));
        };
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let ended = Ended {
            success: status.is_some_and(|status| status.success()),
            stdout: read(out),
            stderr: read(err),
        };
        assert!(status.is_some(), "not done within {LIMIT:?}: {ended:?}");
        ended
    }
}

impl Ended {
    /// Of a script: it came to its end, and neither client nor server had anything to complain of.
    pub(crate) fn all_was_checked(&self, mode: &str) {
        let last = self.stdout.lines().last().unwrap_or_default();
        assert!(
            self.success && last == format!("{mode} all"),
            "it has checked:\n{}it says:\n{}",
            self.stdout,
            self.stderr
        );
        assert_eq!(self.stderr, "");
    }
}
