//! The socket by which a host can be asked from outside: beside its lock, `.host-{pid}-{n}.sock`.
//!
//! * in: a root, a host's pid
//! * out: a listener that only this user can reach; connections to the sockets of a host
//! * keeps: a socket lies in a directory that nobody else may write to, and goes with its listener

use nix::{
    libc::O_NOFOLLOW,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    unistd::geteuid,
};
use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            fs::{OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// Most sockets of one pid, each of which a host that was killed may have left until the next retention.
const SOCKETS_PER_PID_MAX: u32 = 4_096;
/// A socket younger than this may be on its way.
const STALE_AFTER: Duration = Duration::from_secs(2);
/// How long connections wait that can't be accepted, for want of descriptors.
const ACCEPT_PAUSE_MS: u16 = 100;
/// Longest path of a socket (unix(7)), with the zero at its end.
const PATH_MAX_BYTES: usize = 108;

/// A listener. Its socket is removed when it is dropped.
#[derive(Debug)]
pub struct HostSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Says that nobody more is to be heard.
    ends: EventFd,
}

impl HostSocket {
    /// Takes the first free number.
    ///
    /// # Errors
    /// What bind(2) said; `InvalidFilename` if the root's path is too long for a socket.
    pub fn bind(root: &Path, host_pid: u32) -> io::Result<HostSocket> {
        let dir = Dir::of(root)?;
        // Before there is a socket that an error would leave behind.
        let ends = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        for n in 1..=SOCKETS_PER_PID_MAX {
            let path = root.join(name(host_pid, n));
            match UnixListener::bind(dir.reach(&path)) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
                Err(error) => return Err(error),
                Ok(listener) => {
                    let socket = HostSocket { listener, path, ends };
                    socket.listener.set_nonblocking(true)?;
                    // Until now the root, which is private, has kept others out.
                    fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
                    return Ok(socket);
                }
            }
        }
        Err(io::Error::other(format!("all {SOCKETS_PER_PID_MAX} sockets of pid {host_pid} are taken")))
    }

    /// The next who connects, if it is a process of this user; others are closed. Blocks. None: it was closed.
    pub fn next(&self) -> Option<UnixStream> {
        loop {
            let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = [watch(self.ends.as_fd()), watch(self.listener.as_fd())];
            // A signal only makes it look earlier.
            let _ = poll(&mut fds, PollTimeout::NONE);
            if fds[0].any().unwrap_or(true) {
                return None;
            }
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                // One that is gone again asks nothing.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                Err(_) => {
                    let _ = poll(&mut [PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)], ACCEPT_PAUSE_MS);
                    continue;
                }
            };
            let is_ours =
                getsockopt(&stream, PeerCredentials).is_ok_and(|peer| peer.uid() == geteuid().as_raw());
            if is_ours && stream.set_nonblocking(false).is_ok() {
                return Some(stream);
            }
        }
    }
    /// Nobody more is heard.
    pub fn close(&self) {
        // The counter can't overflow: it is written once for each call.
        let _ = self.ends.write(1);
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
impl Drop for HostSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Connections to the hosts with this pid that can be asked: more than one where a process has several graphs, or where containers share
/// a root.
///
/// # Errors
/// What opening the root said.
pub fn connect_to_host(root: &Path, host_pid: u32) -> io::Result<Vec<UnixStream>> {
    let dir = Dir::of(root)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(pid_of) == Some(host_pid) {
            // One that nobody listens to any more was left by a host that was killed.
            found.extend(UnixStream::connect(dir.reach(&entry.path())).ok());
        }
    }
    Ok(found)
}

/// Removes sockets that nobody listens to: what hosts that were killed have left.
pub(crate) fn remove_stale(root: &Path) {
    let Ok(dir) = Dir::of(root) else { return };
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_socket = entry.file_name().to_str().and_then(pid_of).is_some();
        // One that is just being made is not listened to either.
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        let refused = || {
            UnixStream::connect(dir.reach(&entry.path()))
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        if is_socket && age().is_some_and(|age| age >= STALE_AFTER) && refused() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn name(host_pid: u32, n: u32) -> String {
    format!(".host-{host_pid}-{n}.sock")
}

/// The pid in a socket's name, if it is one in exactly our form.
fn pid_of(file: &str) -> Option<u32> {
    let (pid, n) = file.strip_prefix(".host-")?.strip_suffix(".sock")?.split_once('-')?;
    let (pid, n) = (pid.parse::<u32>().ok()?, n.parse::<u32>().ok()?);
    (name(pid, n) == file).then_some(pid)
}

/// A root, by a path that is short enough for a socket's.
struct Dir {
    /// Held open where the path of the root is too long: then it is reached through `/proc`.
    short: Option<fs::File>,
}
impl Dir {
    fn of(root: &Path) -> io::Result<Dir> {
        let longest = root.join(name(u32::MAX, SOCKETS_PER_PID_MAX)).as_os_str().len();
        let open = || OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(root);
        let short = if longest < PATH_MAX_BYTES { None } else { Some(open()?) };
        Ok(Dir { short })
    }
    fn reach(&self, path: &Path) -> PathBuf {
        match (&self.short, path.file_name()) {
            (Some(dir), Some(name)) => {
                Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name)
            }
            _ => path.to_owned(),
        }
    }
}
