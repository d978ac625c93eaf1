//! A network namespace of its own for a worker, with one link to this one, which can go down.

use nix::sched::{CloneFlags, setns};
use std::{
    env,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{self, Command},
    sync::Mutex,
    thread,
    time::Duration,
};

/// Two addresses for each link, of the network that is for measurements (RFC 2544), so of nobody else.
const NETWORK: u32 = 0xc612_0000;
const LINKS: u32 = 1 << 15;
/// Links of one process, which no other one has.
const OF_A_PROCESS: u32 = 8;
/// How long a server on the other side has to say that it is there.
const TIME: Duration = Duration::from_secs(1);

/// It is gone with this value, also when its test fails.
pub(crate) struct Net {
    name: String,
    here: Ipv4Addr,
}

impl Net {
    /// None: it can't be had, and need not be.
    pub(crate) fn new() -> Option<Net> {
        // One is made at a time: the first one of a machine makes the place of all.
        static MADE: Mutex<u32> = Mutex::new(0);
        let mut made = MADE.lock().unwrap();
        let n = *made;
        *made += 1;
        assert!(n < OF_A_PROCESS);
        let link = process::id().wrapping_mul(OF_A_PROCESS).wrapping_add(n) % LINKS;
        let here = Ipv4Addr::from(NETWORK + link * 4 + 1);
        let net = Net { name: format!("o{}n{n}", process::id()), here };
        if let Err(why) = net.is_made() {
            let required = env::var("OSTLER_CLIENTS_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == "netns"), "netns is required: {why}");
            eprintln!("SKIPPED: there is no network namespace for a worker: {why}");
            return None;
        }
        Some(net)
    }
    fn is_made(&self) -> Result<(), String> {
        let (name, near, far) = (&*self.name, self.near(), self.far());
        let there = Ipv4Addr::from(u32::from(self.here) + 1);
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name])?;
        ip(&["address", "add", &format!("{}/30", self.here), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", name, "address", "add", &format!("{there}/30"), "dev", &far])?;
        ip(&["-n", name, "link", "set", &far, "up"])
    }
    // A name has 15 characters at most, a process id 7.
    fn near(&self) -> String {
        format!("{}h", self.name)
    }
    fn far(&self) -> String {
        format!("{}w", self.name)
    }

    /// The address of this side, where a server can listen.
    pub(crate) fn host(&self) -> String {
        self.here.to_string()
    }
    /// Nothing goes through any more, and nobody is told.
    pub(crate) fn cut(&self) {
        self.link("down");
    }
    pub(crate) fn mends(&self) {
        self.link("up");
    }
    fn link(&self, state: &str) {
        ip(&["-n", &self.name, "link", "set", &self.far(), state]).unwrap();
    }
    /// Does it on a thread that is in there, as is what it starts.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let there = File::open(format!("/var/run/netns/{}", self.name)).unwrap();
            setns(there, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join()).unwrap()
    }
    /// Whether a server is reached from in there.
    pub(crate) fn reaches(&self, url: &str) -> bool {
        let address: SocketAddr = url.strip_prefix("nats://").unwrap().parse().unwrap();
        self.inside(|| TcpStream::connect_timeout(&address, TIME).is_ok())
    }
}
impl Drop for Net {
    fn drop(&mut self) {
        // The link first: the namespace stays as long as a process is in it. What was not made can't be removed.
        let _ = ip(&["link", "delete", &self.near()]);
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let what = format!("ip {}", args.join(" "));
    let output = Command::new("ip").args(args).output().map_err(|error| format!("{what}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{what}: {}", said.trim()))
}
