//! `--no-network`: a network of the server's own, in which only its commands are.
//!
//! * in: a process with one thread: a user namespace can be made by no other (unshare(2))
//! * out: a network namespace with nothing but a loopback that works, which every command inherits (network_namespaces(7))
//! * keeps: it is there or it is refused; nothing runs with the network by mistake

use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
    },
    unistd::{getegid, geteuid},
};
use std::{fs, io, os::fd::AsRawFd};

/// The index of the loopback in a namespace that is new.
const LOOPBACK: i32 = 1;
/// rtnetlink(7), netlink(7).
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: u32 = 32;

/// Takes this process, and whatever it starts, out of the network. Who may not do it in its own right does it in a user namespace, in which
/// it is the same user with the same groups as far as files go, and nobody else is known by number.
///
/// # Errors
/// What failed, in words, with what can be done.
pub(super) fn leave() -> io::Result<()> {
    let namespace = || fs::read_link("/proc/self/ns/net").map_err(|error| told("/proc/self/ns/net", error));
    let before = namespace()?;
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(nix::Error::EPERM) => in_user_namespace()?,
        Err(errno) => return Err(told("no network namespace can be made", errno.into())),
    }
    // A sandbox may answer without doing it.
    if namespace()? == before {
        return Err(io::Error::other("the kernel said that there is a new network, and there is none"));
    }
    loopback_up().map_err(|error| told("the loopback of the new network can't be switched on", error))
}

fn told(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn in_user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let refused = |error: io::Error| {
        told(
            "this user can't make a namespace; the machine's owner can allow it (sysctl user.max_user_namespaces, \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container its seccomp profile)",
            error,
        )
    };
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|errno| refused(errno.into()))?;
    // user_namespaces(7): whoever is not privileged gives up setgroups(2) before the map of groups.
    let write = |file: &str, text: String| fs::write(format!("/proc/self/{file}"), text).map_err(refused);
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{user} {user} 1"))?;
    write("gid_map", format!("{group} {group} 1"))
}

fn loopback_up() -> io::Result<()> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut message = Vec::new();
    message.extend(MESSAGE_BYTES.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend([0; 8]); // its number, and whom it is from
    message.extend([0; 4]); // of any family and type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // only this flag
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 256];
    // The kernel answers before the send returns.
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    match acknowledged(&answer[..length.min(answer.len())]) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        None => Err(io::Error::other("the kernel's answer is none")),
    }
}

/// The number of an answer: 0, or the negative errno.
fn acknowledged(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let number = i32::from_ne_bytes(answer.get(HEADER_BYTES..HEADER_BYTES + 4)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acknowledgement_is_one() {
        let answer = |kind: u16, number: i32| {
            let mut bytes = vec![36, 0, 0, 0];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(number.to_ne_bytes());
            bytes
        };
        assert_eq!(acknowledged(&answer(NLMSG_ERROR, 0)), Some(0));
        assert_eq!(acknowledged(&answer(NLMSG_ERROR, -1)), Some(-1));
        assert_eq!(acknowledged(&answer(RTM_NEWLINK, 0)), None);
        for cut in 0..20 {
            assert_eq!(acknowledged(&answer(NLMSG_ERROR, 0)[..cut]), None, "{cut}");
        }
    }
}
