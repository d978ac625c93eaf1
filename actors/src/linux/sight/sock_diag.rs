//! The TCP sockets that listen in this network namespace, all in one dump: by netlink's `sock_diag`
//! (sock_diag(7)), which goes through the listening ones only, whatever number of connections there is; else by
//! `/proc/net/tcp`.
//!
//! * in: nothing; one dump serves any number of trees
//! * out: for each socket its address, port and inode, and from kernel 5.9 on the cgroup that its maker was in
//! * keeps: nothing. A socket of another network namespace, one that a tool has unshared, is not in it

use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
};

/// Most listening sockets of the whole machine: far beyond any real one, and some 12 MiB here.
const LISTENERS_MAX: usize = 262_144;
/// Longest line of `/proc/net/tcp6`, which has about 170 bytes.
const LINE_MAX: u64 = 1_024;
/// The most that the kernel puts into one part of a dump (`netlink_recvmsg` in net/netlink/af_netlink.c).
const PART_BYTES: usize = 32 * 1_024;

/// linux/tcp_states.h
const TCP_LISTEN: u32 = 10;
/// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/inet_diag.h, kernel 5.9. It comes unasked.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// Sizes of `struct nlmsghdr`, `inet_diag_req_v2` and `inet_diag_msg`.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const ANSWER: usize = 72;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// What a link in `/proc/pid/fd` says: `socket:[inode]`.
    pub(crate) inode: u64,
    /// The number of the cgroup (v2) that its maker was in at that moment; None: the kernel does not tell.
    pub(crate) cgroup: Option<u64>,
}

/// Why nobody knows who listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoListeners {
    #[error("more than {LISTENERS_MAX} sockets listen on this machine: end some of those processes")]
    TooMany,
    #[error(
        "listening sockets can't be seen: sock_diag: {}; /proc/net/tcp: {proc}. \
         Allow the host netlink sockets, or mount /proc",
        netlink.desc()
    )]
    Refused { netlink: Errno, proc: io::Error },
}

/// One dump of all that listens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) all: Vec<Listener>,
}

impl Listeners {
    /// Asks the kernel. Never waits for anybody. A socket that begins to listen meanwhile may be missing.
    pub(crate) fn read() -> Result<Listeners, NoListeners> {
        let all = match by_netlink() {
            Ok(all) => all,
            Err(netlink) => by_proc().map_err(|proc| NoListeners::Refused { netlink, proc })?,
        };
        if all.len() > LISTENERS_MAX { Err(NoListeners::TooMany) } else { Ok(Listeners { all }) }
    }
}

/// The error is that of the first step that failed: without CONFIG_INET_DIAG, or in a sandbox, there is no such
/// socket or no such question.
fn by_netlink() -> Result<Vec<Listener>, Errno> {
    let kind = SockProtocol::NetlinkSockDiag;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, kind)?;
    let mut all = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        dump(&socket, family as u8, &mut all)?;
    }
    Ok(all)
}

fn dump(socket: &OwnedFd, family: u8, all: &mut Vec<Listener>) -> Result<(), Errno> {
    let mut request = Vec::with_capacity(HEADER + REQUEST);
    request.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    // Which answers are ours: the family, so that those of the dump before are none. The kernel fills in the sender.
    request.extend(u32::from(family).to_ne_bytes());
    request.extend([0; 4]);
    request.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    request.resize(HEADER + REQUEST, 0);
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut part = vec![0; PART_BYTES];
    loop {
        // The kernel makes the first part while we send, each other one while we receive: so there is nothing to
        // wait for.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let length = recv(socket.as_raw_fd(), &mut part, flags)?;
        let messages = part.get(..length).ok_or(Errno::EMSGSIZE)?;
        if is_last(messages, u32::from(family), all)? || all.len() > LISTENERS_MAX {
            return Ok(());
        }
    }
}

/// Takes up one part of a dump; says whether it was the last one.
fn is_last(mut messages: &[u8], sequence: u32, all: &mut Vec<Listener>) -> Result<bool, Errno> {
    while !messages.is_empty() {
        let length = u32_at(messages, 0).ok_or(Errno::EBADMSG)? as usize;
        let kind = u16_at(messages, 4).ok_or(Errno::EBADMSG)?;
        let body = messages.get(HEADER..length).ok_or(Errno::EBADMSG)?;
        let is_ours = u32_at(messages, 8) == Some(sequence);
        match i32::from(kind) {
            _ if !is_ours => {}
            libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                // A negative errno, or 0.
                let error = u32_at(body, 0).map_or(0, u32::cast_signed);
                return if error == 0 { Ok(true) } else { Err(Errno::from_raw(error.saturating_neg())) };
            }
            _ if kind == SOCK_DIAG_BY_FAMILY => all.push(parse(body).ok_or(Errno::EBADMSG)?),
            _ => {}
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct inet_diag_msg` and its attributes.
fn parse(body: &[u8]) -> Option<Listener> {
    let (fixed, mut attributes) = body.split_at_checked(ANSWER)?;
    let port = u16::from_be_bytes(fixed.get(4..6)?.try_into().ok()?);
    let address = match i32::from(fixed[0]) {
        libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(fixed.get(8..12)?).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(fixed.get(8..24)?).ok()?),
    };
    let inode = u64::from(u32_at(fixed, 68)?);
    let mut cgroup = None;
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let value = attributes.get(4..usize::from(length))?;
        if kind == INET_DIAG_CGROUP_ID {
            cgroup = Some(u64::from_ne_bytes(value.try_into().ok()?));
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Listener { address, port, inode, cgroup })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// By text, which costs more for each listener and names no cgroup.
fn by_proc() -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    read_table(File::open("/proc/net/tcp")?, &mut all)?;
    match File::open("/proc/net/tcp6") {
        Ok(table) => read_table(table, &mut all)?,
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(all)
}

/// The listening ones come first (the kernel's proc_net_tcp.rst), so the connections are never read.
fn read_table(table: impl io::Read, all: &mut Vec<Listener>) -> io::Result<()> {
    let mut table = BufReader::new(table);
    let mut line = String::new();
    let mut is_title = true;
    while all.len() <= LISTENERS_MAX {
        line.clear();
        if io::Read::take(&mut table, LINE_MAX).read_line(&mut line)? == 0 {
            return Ok(());
        }
        if !std::mem::take(&mut is_title) {
            let listens =
                parse_line(&line).ok_or_else(|| io::Error::other("a line of it is not understood"))?;
            let Some(listener) = listens else { return Ok(()) };
            all.push(listener);
        }
    }
    Ok(())
}

/// `sl: local:port remote:port state queues timer retransmits uid timeout inode …`; Some(None): it does not listen.
fn parse_line(line: &str) -> Option<Option<Listener>> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if u32::from_str_radix(fields.nth(1)?, 16).ok()? != TCP_LISTEN {
        return Some(None);
    }
    let inode = fields.nth(5)?.parse().ok()?;
    // Words of 32 bits, each as this machine's processor reads it.
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        _ => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
    };
    Some(Some(Listener { address, port: u16::from_str_radix(port, 16).ok()?, inode, cgroup: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::{SocketAddr, TcpListener, TcpStream},
        os::fd::AsFd,
    };

    fn inode(socket: impl AsFd) -> u64 {
        nix::sys::stat::fstat(socket).unwrap().st_ino
    }
    fn of(all: &[Listener], socket: &TcpListener) -> Vec<(SocketAddr, Option<u64>)> {
        let ours = all.iter().filter(|listener| listener.inode == inode(socket));
        ours.map(|listener| (SocketAddr::from((listener.address, listener.port)), listener.cgroup)).collect()
    }

    #[test]
    fn both_ways_see_the_same_listeners_and_no_connection() {
        let addresses = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"];
        let sockets = addresses.map(|address| TcpListener::bind(address).unwrap());
        let client = TcpStream::connect(sockets[0].local_addr().unwrap()).unwrap();
        let (server, _) = sockets[0].accept().unwrap();
        let (netlink, proc) = (by_netlink().unwrap(), by_proc().unwrap());
        for socket in &sockets {
            let address = socket.local_addr().unwrap();
            assert!(matches!(of(&netlink, socket)[..], [(seen, Some(_))] if seen == address), "{address}");
            assert_eq!(of(&proc, socket), [(address, None)]);
        }
        for all in [netlink, proc] {
            let connected = [inode(&client), inode(&server)];
            assert!(!all.iter().any(|listener| connected.contains(&listener.inode)));
        }
        let closed = inode(&sockets[0]);
        drop(sockets);
        assert!(!Listeners::read().unwrap().all.iter().any(|listener| listener.inode == closed));
    }

    #[test]
    fn a_dump_of_many_parts_is_whole() {
        let sockets: Vec<TcpListener> = (0..300).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        for all in [by_netlink().unwrap(), by_proc().unwrap()] {
            assert!(sockets.iter().all(|socket| of(&all, socket).len() == 1));
        }
    }

    #[test]
    fn an_error_of_the_kernel_ends_a_dump() {
        let message = |kind: i32, error: i32| {
            let mut bytes = 20_u32.to_ne_bytes().to_vec();
            bytes.extend((kind as u16).to_ne_bytes());
            bytes.extend([0; 2]);
            bytes.extend(7_u32.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(error.to_ne_bytes());
            bytes
        };
        let read = |bytes: &[u8], sequence| is_last(bytes, sequence, &mut Vec::new());
        assert_eq!(read(&message(libc::NLMSG_ERROR, -libc::ENOENT), 7), Err(Errno::ENOENT));
        assert_eq!(read(&message(libc::NLMSG_DONE, 0), 7), Ok(true));
        assert_eq!(read(&message(libc::NLMSG_DONE, 0), 8), Ok(false), "that of another question");
        assert_eq!(read(&message(libc::NLMSG_DONE, 0)[..18], 7), Err(Errno::EBADMSG));
        assert_eq!(read(&[0; 16], 7), Err(Errno::EBADMSG), "it would never end");
    }

    #[test]
    fn a_table_is_read_up_to_its_first_connection() {
        let text = "  sl  local_address rem_address   st …\n   \
             0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n   \
             1: 0100007F:1F91 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100\n   \
             2: nonsense\n";
        let mut all = Vec::new();
        read_table(text.as_bytes(), &mut all).unwrap();
        let address = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        assert_eq!(all, [Listener { address, port: 8_080, inode: 77, cgroup: None }]);
        assert!(read_table("title\n 0: nonsense\n".as_bytes(), &mut all).is_err());
    }
}
