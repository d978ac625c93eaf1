//! Which of the listening sockets are those of a tree.
//!
//! * in: a dump of what listens, and the number of the tree's cgroup, or the pids of the tree, read after the dump
//! * out: the tree's ports; and of how many processes nobody could say whether they hold one
//! * keeps: for a tree in no cgroup, which sockets its processes hold and who was asked, so that descriptors are
//!   read again only for a socket or a process that is new
//!
//! The two ways differ in whom they mean. A cgroup names the maker of a socket: a listener that the tree was given
//! counts for the giver, and one that the tree has made and given away counts for the tree. Descriptors name
//! whoever holds it.

use crate::linux::{
    proc,
    sight::sock_diag::{Listener, Listeners},
};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, readlinkat},
    sys::stat::Mode,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    os::{fd::AsFd, unix::ffi::OsStrExt},
};

/// Most descriptors that one look reads: each costs a microsecond or so. Whoever comes after them is looked at the
/// next time.
const DESCRIPTORS_MAX: usize = 262_144;

/// A TCP port on which a tree listens. `0.0.0.0` and `::` are all addresses; `::` may mean those of IPv4 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListeningPort {
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
    /// Who holds it: the first such process of those that were given. None: not looked for.
    pub(crate) pid: Option<u32>,
}

impl Listeners {
    /// The ports of the sockets that were made in this cgroup, and not in one below it; by port. `id` is the inode
    /// of its directory. None: the kernel (before 5.9, or without sock_diag) does not say who made a socket, so
    /// ask by pids.
    ///
    /// Before kernel 5.15 a machine that uses the old net_cls or net_prio controllers gives the root cgroup for all.
    pub(crate) fn of_cgroup(&self, id: u64) -> Option<Vec<ListeningPort>> {
        if self.all.iter().any(|listener| listener.cgroup.is_none()) {
            return None;
        }
        let ours = self.all.iter().filter(|listener| listener.cgroup == Some(id));
        Some(by_port(ours.map(|listener| (listener, None))))
    }
}

/// Each port and address once, though several sockets may share them (SO_REUSEPORT).
fn by_port<'a>(found: impl Iterator<Item = (&'a Listener, Option<u32>)>) -> Vec<ListeningPort> {
    let mut ports = BTreeMap::new();
    for (listener, pid) in found {
        ports.entry((listener.port, listener.address)).or_insert(pid);
    }
    ports.into_iter().map(|((port, address), pid)| ListeningPort { port, address, pid }).collect()
}

/// What a look at the processes of a tree gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreePortsSeen {
    /// By port.
    pub(crate) ports: Vec<ListeningPort>,
    /// How many processes may hold another listener, and could not be asked: that of another user, one that has
    /// hidden itself (`PR_SET_DUMPABLE`), or too many descriptors. 0 if all that listens on this machine is known
    /// to be held by this tree.
    pub(crate) unseen: u64,
}

/// A descriptor that is a listener.
#[derive(Clone, Copy)]
struct Holder {
    pid: u32,
    fd: u32,
}
impl Holder {
    fn holds(self, inode: u64) -> bool {
        let link = fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.fd));
        link.is_ok_and(|link| socket_inode(link.as_os_str().as_bytes()) == Some(inode))
    }
}

/// What is remembered of one tree from look to look: no more than the last dump and the last pids.
#[derive(Default)]
pub(crate) struct TreePorts {
    ours: BTreeMap<u64, Holder>,
    /// Listeners that nobody of `asked` held, in one look only: it may have been on its way from one number or
    /// process to another.
    once: BTreeSet<u64>,
    /// The same in two looks.
    others: BTreeSet<u64>,
    /// Who was asked about all of these.
    asked: BTreeSet<u32>,
}

impl TreePorts {
    /// Finds the tree's listeners. `pids` must be read after the dump: then whoever holds a new one is among them,
    /// or is new itself the next time, and whoever is new is asked about all. What somebody who was asked before
    /// gets from a stranger later on, through a Unix socket, is not seen.
    pub(crate) fn look(&mut self, pids: &[u32], listeners: &Listeners) -> TreePortsSeen {
        let listed: BTreeSet<u64> = listeners.all.iter().map(|listener| listener.inode).collect();
        let here: BTreeSet<u32> = pids.iter().copied().collect();
        self.ours.retain(|inode, holder| {
            listed.contains(inode) && here.contains(&holder.pid) && holder.holds(*inode)
        });
        self.others.retain(|inode| listed.contains(inode));
        self.asked.retain(|pid| here.contains(pid));
        let is_known = |inode: &u64| self.ours.contains_key(inode) || self.others.contains(inode);
        let mut new: BTreeSet<u64> = listed.into_iter().filter(|inode| !is_known(inode)).collect();
        let (mut unseen, mut budget) = (0, DESCRIPTORS_MAX);
        for &pid in pids {
            let is_asked = self.asked.contains(&pid);
            if new.is_empty() && (is_asked || self.others.is_empty()) {
                self.asked.insert(pid);
                continue;
            }
            let result = ask(pid, &mut budget, |inode, fd| {
                if new.remove(&inode) || self.others.remove(&inode) {
                    self.ours.insert(inode, Holder { pid, fd });
                }
            });
            if result.is_ok() {
                self.asked.insert(pid);
            } else {
                self.asked.remove(&pid);
                unseen += u64::from(proc::look(pid).map_or(true, |seen| seen.lives()));
            }
        }
        let (again, first) = new.into_iter().partition(|inode| self.once.contains(inode));
        self.once = first;
        self.others.extend::<BTreeSet<u64>>(again);
        if self.once.is_empty() && self.others.is_empty() {
            unseen = 0;
        }
        let holder = |listener: &Listener| self.ours.get(&listener.inode).map(|holder| holder.pid);
        let ours = listeners.all.iter().filter_map(|listener| Some((listener, Some(holder(listener)?))));
        TreePortsSeen { ports: by_port(ours), unseen }
    }
}

/// Tells of each socket that a process holds. An error: it was not told of all.
fn ask(pid: u32, budget: &mut usize, mut socket: impl FnMut(u64, u32)) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::open(format!("/proc/{pid}/fd").as_str(), flags, Mode::empty())?;
    // Reading the directory needs it for itself.
    let links = dir.as_fd().try_clone_to_owned()?;
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        // `.` and `..` are none.
        let Some(fd) = name.to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        *budget = budget.checked_sub(1).ok_or_else(|| io::Error::other("too many descriptors"))?;
        match readlinkat(&links, name) {
            Ok(link) => {
                if let Some(inode) = socket_inode(link.as_bytes()) {
                    socket(inode, fd);
                }
            }
            // It was closed meanwhile.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn socket_inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::{
        contain::cgroup::Cgroups,
        exec::clone::Scratch,
        sight::tests::{Child, as_nobody, until, until_stat},
    };
    use std::{
        env,
        net::{SocketAddr, TcpListener},
        os::{fd::OwnedFd, unix::fs::MetadataExt},
        process::{self, Stdio},
        sync::atomic::{AtomicU8, Ordering},
    };

    /// On an address of its own, so that no other test of this process gets the same port when it is closed.
    fn listen() -> (TcpListener, SocketAddr) {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let address = [127, 1, 0, NEXT.fetch_add(1, Ordering::Relaxed)];
        let listener = TcpListener::bind((IpAddr::from(address), 0)).unwrap();
        let port = listener.local_addr().unwrap();
        (listener, port)
    }
    fn sleeper(stdin: impl Into<Stdio>) -> Child {
        let child = Child::start("sleep", &["1000"], stdin);
        // It has what it was given, and nothing else of ours, from then on.
        until_stat(child.pid(), |stat| stat.name == "sleep" && stat.waits);
        child
    }
    fn holder(listener: &TcpListener) -> Child {
        sleeper(OwnedFd::from(listener.try_clone().unwrap()))
    }
    fn is_at(port: SocketAddr) -> impl Fn(IpAddr, u16) -> bool {
        move |address, number| SocketAddr::from((address, number)) == port
    }
    /// The holder of a port, in a dump of this moment.
    fn look(tree: &mut TreePorts, pids: &[u32], port: SocketAddr) -> Option<u32> {
        let seen = tree.look(pids, &Listeners::read().unwrap());
        seen.ports.iter().find(|seen| is_at(port)(seen.address, seen.port)).and_then(|seen| seen.pid)
    }

    #[test]
    fn a_port_is_of_the_tree_that_holds_it() {
        let (listener, port) = listen();
        let (ours, strange) = (holder(&listener), sleeper(Stdio::null()));
        drop(listener);
        let mut trees = [TreePorts::default(), TreePorts::default()];
        for _ in 0..3 {
            assert_eq!(look(&mut trees[0], &[ours.pid()], port), Some(ours.pid()));
            assert_eq!(look(&mut trees[1], &[strange.pid()], port), None);
        }
        drop(ours);
        assert_eq!(look(&mut trees[0], &[], port), None);
        assert!(trees[0].ours.is_empty() && trees[0].asked.is_empty());
    }

    #[test]
    fn a_port_that_goes_from_hand_to_hand_stays_the_trees() {
        let (listener, port) = listen();
        let (mut first, mut tree) = (sleeper(Stdio::null()), TreePorts::default());
        for _ in 0..3 {
            assert_eq!(look(&mut tree, &[first.pid()], port), None, "a stranger's");
        }
        // A new process is asked about those that are known to be strangers'.
        let second = holder(&listener);
        assert_eq!(look(&mut tree, &[first.pid(), second.pid()], port), Some(second.pid()));
        first.end();
        let third = holder(&listener);
        assert_eq!(look(&mut tree, &[second.pid(), third.pid()], port), Some(second.pid()));
        drop(second);
        assert_eq!(look(&mut tree, &[third.pid()], port), Some(third.pid()));
    }

    #[test]
    fn a_socket_that_is_closed_or_moved_to_another_number_is_followed() {
        let (me, mut tree) = (process::id(), TreePorts::default());
        let (listener, port) = listen();
        assert_eq!(look(&mut tree, &[me], port), Some(me));
        let moved = listener.try_clone().unwrap();
        drop(listener);
        assert_eq!(look(&mut tree, &[me], port), Some(me));
        drop(moved);
        assert_eq!(look(&mut tree, &[me], port), None);
    }

    #[test]
    fn a_socket_that_only_a_stranger_has_kept_is_no_longer_the_trees() {
        let (me, mut tree) = (process::id(), TreePorts::default());
        let (listener, port) = listen();
        let _stranger = holder(&listener);
        assert_eq!(look(&mut tree, &[me], port), Some(me));
        drop(listener);
        assert_eq!(look(&mut tree, &[me], port), None);
    }

    #[test]
    fn descriptors_are_read_again_only_for_what_is_new() {
        let listener = Listener { address: IpAddr::from([0; 4]), port: 1, inode: u64::MAX, cgroup: None };
        let (dump, child) = (Listeners { all: vec![listener] }, sleeper(Stdio::null()));
        let (mut tree, pids) = (TreePorts::default(), [child.pid()]);
        for expected in [(1, 0), (0, 1), (0, 1)] {
            assert_eq!(tree.look(&pids, &dump), TreePortsSeen::default());
            assert_eq!((tree.once.len(), tree.others.len()), expected);
        }
        tree.look(&[], &Listeners::default());
        assert!(tree.others.is_empty() && tree.asked.is_empty());
    }

    #[test]
    fn whoever_can_not_be_asked_is_counted() {
        let (listener, port) = listen();
        let hidden = Child::start_hidden(OwnedFd::from(listener));
        let mut dead = sleeper(Stdio::null());
        dead.0.kill().unwrap();
        until("it is dead", || !proc::look(dead.pid()).unwrap().lives());
        let (mut tree, pids) = (TreePorts::default(), [hidden.pid(), dead.pid()]);
        for _ in 0..3 {
            let seen = as_nobody(|| tree.look(&pids, &Listeners::read().unwrap()));
            assert_eq!((seen.ports.as_slice(), seen.unseen), ([].as_slice(), 1));
        }
        assert!(tree.look(&pids, &Listeners::default()) == TreePortsSeen::default(), "nobody listens at all");
        // Where each listener has been found, nobody can hold another one.
        let (own, own_port) = listen();
        let mut dump = Listeners::read().unwrap();
        dump.all.retain(|listener| is_at(own_port)(listener.address, listener.port));
        let seen = as_nobody(|| TreePorts::default().look(&[hidden.pid(), process::id()], &dump));
        assert_eq!((seen.ports.len(), seen.unseen), (1, 0));
        drop(own);
        if nix::unistd::geteuid().is_root() {
            assert_eq!(look(&mut tree, &pids, port), Some(hidden.pid()));
        }
    }

    /// The program of the next test.
    #[test]
    fn listens_where_it_is_told_to() {
        let Ok(cgroup) = env::var("OSTLER_TEST_LISTEN_IN") else { return };
        fs::write(format!("{cgroup}/cgroup.procs"), "0").unwrap();
        let (listener, port) = listen();
        println!("port={};", port.port());
        listener.accept().unwrap();
    }

    #[test]
    fn a_cgroup_has_the_ports_that_were_opened_in_it() {
        let (own, own_port) = listen();
        let dump = Listeners::read().unwrap();
        let cgroup = dump
            .all
            .iter()
            .find(|listener| is_at(own_port)(listener.address, listener.port))
            .unwrap()
            .cgroup
            .unwrap();
        assert!(dump.of_cgroup(cgroup).unwrap().iter().any(|seen| is_at(own_port)(seen.address, seen.port)));
        drop(own);
        let mut textual = dump.clone();
        textual.all[0].cgroup = None;
        assert_eq!(textual.of_cgroup(cgroup), None, "not known");
        // The rest needs a cgroup that we may write to.
        let null = fs::File::open("/dev/null").unwrap();
        let Ok(cgroups) =
            Cgroups::probe(&format!("ports-{}", process::id()), &mut Scratch::new(&null).unwrap())
        else {
            return;
        };
        let leaf = cgroups.leaf(1).unwrap();
        let path = cgroups.path().join("h1");
        let mut command = process::Command::new(env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", "linux::sight::ports::tests::listens_where_it_is_told_to"]);
        command.env("OSTLER_TEST_LISTEN_IN", &path).stdout(Stdio::piped());
        let mut child = Child(command.spawn().unwrap());
        let mut said = String::new();
        let mut output = io::BufReader::new(child.0.stdout.take().unwrap());
        let port: u16 = loop {
            assert_ne!(io::BufRead::read_line(&mut output, &mut said).unwrap(), 0, "{said}");
            if let Some(port) = said.split("port=").nth(1).and_then(|rest| rest.split(';').next()) {
                break port.parse().unwrap();
            }
        };
        let id = fs::metadata(&path).unwrap().ino();
        let ports = |ports: Vec<ListeningPort>| ports.iter().map(|seen| seen.port).collect::<Vec<u16>>();
        // No right is needed.
        let dump = as_nobody(|| Listeners::read().unwrap());
        assert_eq!(ports(dump.of_cgroup(id).unwrap()), [port]);
        child.end();
        assert!(Listeners::read().unwrap().of_cgroup(id).unwrap().is_empty());
        drop(leaf);
    }

    #[test]
    fn several_sockets_of_one_port_are_one() {
        let socket =
            |inode| Listener { address: IpAddr::from([127, 0, 0, 1]), port: 80, inode, cgroup: Some(7) };
        let all = vec![socket(1), Listener { port: 22, ..socket(2) }, socket(3)];
        let ports = Listeners { all }.of_cgroup(7).unwrap();
        assert_eq!(ports.iter().map(|seen| seen.port).collect::<Vec<u16>>(), [22, 80]);
    }
}
