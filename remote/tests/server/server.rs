//! A real server for one test, on a port and a directory of its own, that can be killed and comes back on both.

use std::{
    env,
    fs::File,
    io::Write,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than any machine takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    program: PathBuf,
    place: TempDir,
    port: u16,
    child: Option<Child>,
}

/// Where `.ci/clients` puts it, or in `PATH`.
fn program() -> Option<PathBuf> {
    let fetched = env::var_os("OSTLER_CLIENTS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/clients"));
    let path = env::var_os("PATH").unwrap_or_default();
    let places = [fetched.join("nats")].into_iter().chain(env::split_paths(&path));
    places.map(|place| place.join("nats-server")).find(|program| program.is_file())
}

impl Server {
    /// None: there is no server program, and need not be.
    pub(crate) fn start() -> Option<Server> {
        let Some(program) = program() else {
            let required = env::var("OSTLER_CLIENTS_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == "nats"), "nats is required, and is not there");
            eprintln!("SKIPPED: there is no nats-server");
            return None;
        };
        let place = tempfile::tempdir().unwrap();
        // Somebody else may get it between here and the start: then the start fails, and the test with it.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut config = File::create(place.path().join("config")).unwrap();
        write!(
            config,
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\", sync_interval: always, max_file: 4GB }}\n",
            place.path().join("store").display()
        )
        .unwrap();
        let mut server = Server { program, place, port, child: None };
        server.comes_back();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn is_killed(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn comes_back(&mut self) {
        let log = File::create(self.place.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.place.path().join("config"));
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        waits(|| {
            let gone = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(gone.is_none(), "{}", std::fs::read_to_string(self.place.path().join("log")).unwrap());
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }
}
impl Drop for Server {
    fn drop(&mut self) {
        self.is_killed();
    }
}

/// Until it is there.
pub(crate) fn waits<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < LIMIT, "waited for {LIMIT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
