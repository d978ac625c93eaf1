//! A real server for one test, on a port and a directory of its own, that can be killed and comes back on both.

use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What is waited for is there within a second, and on a busy machine within a minute.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A port that is free now may be taken a moment later: then another one.
const PORTS: u32 = 5;

pub(crate) struct Server {
    program: PathBuf,
    place: TempDir,
    address: String,
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
        Server::start_at("127.0.0.1")
    }

    /// At an address of this machine.
    pub(crate) fn start_at(host: &str) -> Option<Server> {
        Server::with(host, |listen, store| {
            format!(
                "listen: {listen:?}\njetstream {{ store_dir: {store:?}, sync_interval: always, max_file: 4GB }}\n"
            )
        })
    }

    /// With these settings, by where it listens and keeps its store.
    pub(crate) fn with(host: &str, settings: impl Fn(&str, &str) -> String) -> Option<Server> {
        let Some(program) = program() else {
            let required = env::var("OSTLER_CLIENTS_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == "nats"), "nats is required, and is not there");
            eprintln!("SKIPPED: there is no nats-server");
            return None;
        };
        let place = tempfile::tempdir().unwrap();
        let mut server = Server { program, place, address: String::new(), child: None };
        for _ in 0..PORTS {
            server.address = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().to_string();
            let store = server.place.path().join("store").display().to_string();
            fs::write(server.place.path().join("config"), settings(&server.address, &store)).unwrap();
            if server.begins() {
                return Some(server);
            }
        }
        panic!("{}", server.said())
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// What it has said since it was started last.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap()
    }

    pub(crate) fn is_killed(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn comes_back(&mut self) {
        assert!(self.begins(), "{}", self.said());
    }

    /// Up to where it listens; false: it does not.
    fn begins(&mut self) -> bool {
        let log = File::create(self.place.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.place.path().join("config"));
        // Named in the settings of `docs/beyond-one-machine.md`.
        command.env("WORKER_PASSWORD", "of-worker").env("HOST_PASSWORD", "of-host");
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        waits(|| {
            let gone = self.child.as_mut().unwrap().try_wait().unwrap();
            if self.said().contains("Server is ready") {
                return Some(true);
            }
            gone.map(|_| false)
        })
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
