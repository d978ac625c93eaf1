//! Between the process that a client has started and the keeper of its session: a socket in the folder of the journal.
//!
//! * in, to the keeper: frames, since the client's bytes and what was written to it share the way
//! * out, from the keeper: bytes for the client, as they are
//! * keeps: the keeper hears what the client's pipe has taken, so an end that is told was told; nothing waits for that word, which may
//!   stand behind bytes that nobody takes yet

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::watch,
};

/// Bytes of one frame, and of what is held between the socket and the server.
pub(super) const FRAME_BYTES: usize = 64 << 10;
/// How long the other one of two that start or end at the same time is waited for: an end takes a grace and a little.
const LOCK_TIME: Duration = Duration::from_secs(30);

/// Longest first line of a keeper: paths of two settings, and numbers.
const GREETING_MAX_BYTES: u64 = 16 << 10;
/// A keeper that lives says its first line at once.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// Bytes of the client.
const DATA: u8 = b'd';
/// How many bytes the client's pipe has taken in all.
const WRITTEN: u8 = b'w';
/// The client says nothing more.
const END: u8 = b'e';

/// Where the keeper of a session listens.
pub(super) struct Place {
    dir: PathBuf,
    name: String,
    settings: Decisive,
}

/// The settings that commands of a session depend on, by their names in `ostler.toml`. It is the first line that a keeper says: whoever connects
/// has to want the same.
pub(super) type Decisive = BTreeMap<&'static str, String>;

/// A name can be long and hold anything; 16 digits don't meet by chance.
pub(super) fn digits_of(name: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// Held by whoever begins or ends a keeper, or connects to one.
pub(super) struct Lock(File);

impl Lock {
    /// For a keeper that is begun: it is held until that has closed it too.
    pub(super) fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

impl Place {
    /// Of this session.
    pub(super) fn of(dir: PathBuf, session: &str, settings: Decisive) -> Place {
        Place { dir, name: format!("keeper-{}", digits_of(session)), settings }
    }

    /// What a keeper says first.
    pub(super) fn greeting(&self) -> Vec<u8> {
        // Text by text.
        let mut line = serde_json::to_vec(&self.settings).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Whether a keeper has the settings that are asked for here; an error names those that it has not.
    fn agrees(&self, said: &[u8], pid: Option<i32>) -> io::Result<()> {
        let pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        let Ok(theirs) = serde_json::from_slice::<BTreeMap<String, String>>(said) else {
            let said = format!(
                "it is of another version of ostler (process {pid}); end it with kill {pid}, which ends its commands too"
            );
            return Err(io::Error::other(said));
        };
        let shown = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
        let names = self.settings.keys().copied().chain(theirs.keys().map(String::as_str));
        let other: BTreeSet<&str> =
            names.filter(|name| self.settings.get(name) != theirs.get(*name)).collect();
        if other.is_empty() {
            return Ok(());
        }
        let other: Vec<String> = other
            .into_iter()
            .map(|name| {
                format!(
                    "{name} is {} there and {} here",
                    shown(theirs.get(name)),
                    shown(self.settings.get(name))
                )
            })
            .collect();
        Err(io::Error::other(format!(
            "it was begun with other settings (process {pid}): {}; ask for the same, name another session, or end it with kill {pid}, which ends its commands too",
            other.join(", ")
        )))
    }

    /// Waits for its turn; makes the folder.
    pub(super) async fn lock(&self) -> io::Result<Lock> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join(format!("{}.lock", self.name));
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        let mut pause = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(std::fs::TryLockError::WouldBlock) if waited < LOCK_TIME => {
                    tokio::time::sleep(pause).await;
                    waited += pause;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let said =
                        format!("another process begins or ends its keeper for {} s", LOCK_TIME.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, said));
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Runs with a path to the socket that is short, whatever the folder's (unix(7) has 108 bytes for it).
    fn at<T>(&self, work: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
        let dir = File::open(&self.dir)?;
        work(PathBuf::from(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), self.name)))
    }

    /// Connects to a keeper; none if there is none. With the lock held.
    pub(super) async fn connect(&self, _: &Lock) -> io::Result<Option<UnixStream>> {
        let stream = match self.at(std::os::unix::net::UnixStream::connect) {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
                _ => return Err(error),
            },
        };
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        // One that was killed takes connections until the last of its threads is gone, and answers none.
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let mut said = Vec::new();
        let read = async {
            // Byte by byte: what follows is the client's.
            while said.last() != Some(&b'\n') && (said.len() as u64) < GREETING_MAX_BYTES {
                said.push(stream.read_u8().await?);
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(GREETING_TIME, read).await {
            Ok(Ok(())) => self.agrees(&said, pid).map(|()| Some(stream)),
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
        }
    }

    /// Listens, in place of a keeper that is gone. With the lock held, by the process that has begun this one.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        self.remove_if(|_| true)?;
        self.at(|path| {
            // Nobody else gets in between: the folder is the user's own, 0700.
            let listener = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            Ok(listener)
        })
    }

    /// Which file it is, so that only that is removed.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        let there = std::fs::symlink_metadata(self.dir.join(&self.name))?;
        Ok((there.dev(), there.ino()))
    }

    /// Removes the socket, if it is still this one. With the lock held.
    pub(super) fn remove(&self, own: (u64, u64)) -> io::Result<()> {
        self.remove_if(|there| there == own)
    }

    fn remove_if(&self, is_it: impl FnOnce((u64, u64)) -> bool) -> io::Result<()> {
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        };
        match self.identity() {
            Ok(there) if is_it(there) => std::fs::remove_file(self.dir.join(&self.name)).or_else(gone),
            Ok(_) => Ok(()),
            Err(error) => gone(error),
        }
    }
}

/// Sends the client's bytes.
pub(super) async fn send_data(to: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(FRAME_BYTES) {
        send(to, DATA, piece).await?;
    }
    Ok(())
}

/// Says how much of the keeper's bytes the client has.
pub(super) async fn send_written(to: &mut OwnedWriteHalf, bytes: u64) -> io::Result<()> {
    send(to, WRITTEN, &bytes.to_le_bytes()).await
}

/// Says that the client has ended its input.
pub(super) async fn send_end(to: &mut OwnedWriteHalf) -> io::Result<()> {
    send(to, END, &[]).await
}

async fn send(to: &mut OwnedWriteHalf, kind: u8, payload: &[u8]) -> io::Result<()> {
    // At most a frame: it fits 32 bits.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    to.write_all(&frame).await
}

/// Takes frames apart, until the other side has gone: its bytes go on to `to`, what the client has to `written`.
pub(super) async fn receive(
    mut from: OwnedReadHalf,
    mut to: WriteHalf<DuplexStream>,
    written: watch::Sender<u64>,
) -> io::Result<()> {
    let mut payload = vec![0; FRAME_BYTES];
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head).await?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(payload) = payload.get_mut(..length) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        };
        from.read_exact(payload).await?;
        match head[0] {
            DATA => to.write_all(payload).await?,
            END => to.shutdown().await?,
            WRITTEN => {
                let bytes = payload.try_into().map(u64::from_le_bytes);
                let bytes =
                    bytes.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a number has 8 bytes"))?;
                // Nobody waits for it any more.
                let _ = written.send(bytes);
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "an unknown frame")),
        }
    }
}
