//! The folder of a journal: whose databases lie in it, who of them lives, which sessions are open where.
//!
//! * in: a name; a host that starts, opens sessions, ends
//! * out: a database of its own; what dead hosts have left
//! * keeps: what a living host has is touched by nobody else; what a dead one has left is in one living database, or still its own

use crate::{
    Durability,
    image::Image,
    store::{self, Host, Loaded, Store, StoreError},
};
use nix::{errno::Errno, libc};
use ostler_messages::SessionId;
use std::{
    collections::BTreeSet,
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    mem,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Longest name of a journal, in bytes: it is a folder's, with room for what lies in it.
pub const NAME_MAX_BYTES: usize = 64;
/// How long a host waits for another one that takes over: that takes less than a second for 10,000 commands.
pub const TAKEOVER_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a lock that somebody has: twice as long each time, up to the longest.
const LOCK_WAIT_FIRST: Duration = Duration::from_millis(1);
const LOCK_WAIT_MAX: Duration = Duration::from_millis(100);
/// How long somebody may look at a lock: it takes microseconds.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Names that one host tries: each is new by the clock, and another one only where the clock was set back.
const NAMES_MAX: u32 = 64;

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// It would be no name of a folder here.
    #[error(
        "journal {name:?}: a name has 1 to {NAME_MAX_BYTES} letters, digits, '.', '_' or '-', and does not begin with '.'"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// Nobody has said where it is to be, and there is no home.
    #[error("journal {name:?}: neither XDG_STATE_HOME nor HOME is set: name a directory for it")]
    NoHome {
        /// Its name.
        name: String,
    },
    /// Others could read or replace what is in it.
    #[error("{}: it must be this user's directory, which nobody else may write to: chmod 700 it, or remove it", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else takes over, and does not come to an end.
    #[error("{}: another host has been taking over for {} s; end it, or try again", path.display(), TAKEOVER_LIMIT.as_secs())]
    Busy {
        /// The lock that it has.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
pub(crate) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FolderError {
    move |source| FolderError::Io { path: path.to_owned(), doing, source }
}

/// Where journals lie if nobody says otherwise: `$XDG_STATE_HOME/ostler/journals`, else `~/.local/state/ostler/journals`. None: there is no
/// home either.
pub fn default_base() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("ostler/journals"))
}

/// The folder of one journal.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// A database that lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The database.
    pub path: PathBuf,
    /// The process that wrote it.
    pub pid: u32,
    /// Whether that lives. In doubt it does.
    pub lives: bool,
}

impl Folder {
    /// Makes it if need be, 0700, its parents too.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(base: &Path, name: &str) -> Result<Folder, FolderError> {
        let folder = Folder::named(base, name)?;
        let path = &folder.path;
        DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(io_error(path, "making it"))?;
        let about = fs::symlink_metadata(path).map_err(io_error(path, "looking at it"))?;
        let own =
            about.is_dir() && about.uid() == nix::unistd::geteuid().as_raw() && about.mode() & 0o022 == 0;
        if own { Ok(folder) } else { Err(FolderError::NotPrivate { path: path.clone() }) }
    }

    /// The same without a look at the disk.
    ///
    /// # Errors
    /// [`FolderError::Name`].
    pub fn named(base: &Path, name: &str) -> Result<Folder, FolderError> {
        let may_be = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let right = !name.starts_with('.') && (1..=NAME_MAX_BYTES).contains(&name.len());
        match right && name.chars().all(may_be) {
            true => Ok(Folder { path: base.join(name) }),
            false => Err(FolderError::Name { name: name.to_owned() }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The databases in it, of hosts that live and that are gone, the oldest first. One that is not there has none.
    ///
    /// # Errors
    /// What reading it said.
    pub fn members(&self) -> Result<Vec<Member>, FolderError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io_error(&self.path, "reading it"))?,
        };
        let mut members = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_error(&self.path, "reading it"))?;
            let Some((pid, began)) = entry.file_name().to_str().and_then(of_host) else { continue };
            let path = entry.path();
            let lives = match try_lock(&lock_of(&path), Kind::Shared) {
                Lock::Held => true,
                // A cleaner may have removed the lock of a host that lives. Another one that has got the number delays a takeover, no more.
                Lock::Absent => runs(pid),
                Lock::Free(_) => false,
            };
            members.push((began, Member { path, pid, lives }));
        }
        members.sort_by_key(|(began, _)| *began);
        Ok(members.into_iter().map(|(_, member)| member).collect())
    }

    /// Takes over what dead hosts have left: nobody else does until the value is dropped.
    ///
    /// # Errors
    /// [`FolderError`]; nothing has changed then. A database that can't be read is left where it is, and is no error.
    pub fn take_over(&self) -> Result<TakeOver, FolderError> {
        let lock = self.path.join("takeover.lock");
        let held = wait_for(&lock)?;
        let members = self.members()?;
        let mut take_over = TakeOver {
            folder: self.clone(),
            left: Vec::new(),
            twice: Vec::new(),
            names: BTreeSet::new(),
            trouble: Vec::new(),
            last_n: 0,
            anonymous: 0,
            _lock: held,
        };
        // Whoever was killed between its own first commit and the removal of what it had taken over has both; and that may be half gone.
        for member in &members {
            match store::numbers(&member.path) {
                Ok(numbers) => {
                    // Also those of living ones are not to come again.
                    take_over.last_n = numbers.last_n.max(take_over.last_n);
                    take_over.anonymous = numbers.anonymous.max(take_over.anonymous);
                    take_over.names.extend(numbers.taken_over);
                }
                Err(error) if member.lives => take_over.trouble.push(error.to_string()),
                // Told below, if it is not one of those.
                Err(_) => {}
            }
        }
        for member in members.into_iter().filter(|member| !member.lives) {
            let Some(lock) = lock_dead(&lock_of(&member.path)) else {
                take_over.trouble.push(format!("{}: its lock can't be had", member.path.display()));
                continue;
            };
            if take_over.names.contains(&file_name(&member.path)) {
                take_over.twice.push((member.path, lock));
                continue;
            }
            match store::load(&member.path) {
                Ok(loaded) => take_over.left.push(Left { path: member.path, loaded, _lock: lock }),
                Err(error) => take_over.trouble.push(error.to_string()),
            }
        }
        Ok(take_over)
    }

    /// The process that has this session open, if that can be told.
    pub fn holder_of(&self, session_id: &SessionId) -> Option<u32> {
        let living = self.members().ok()?.into_iter().filter(|member| member.lives);
        living
            .filter(|member| store::has_open(&member.path, session_id).unwrap_or(false))
            .map(|member| member.pid)
            .next()
    }
}

/// What a dead host has left.
#[derive(Debug)]
struct Left {
    path: PathBuf,
    loaded: Loaded,
    _lock: File,
}

/// What dead hosts have left, in the hands of one that starts.
#[derive(Debug)]
pub struct TakeOver {
    folder: Folder,
    left: Vec<Left>,
    /// These are in others already; and the names of all of which that is said.
    twice: Vec<(PathBuf, File)>,
    names: BTreeSet<String>,
    /// Databases that could not be read, and why.
    trouble: Vec<String>,
    last_n: u64,
    anonymous: u64,
    _lock: File,
}

impl TakeOver {
    /// Of each of them, who it was and what it had written; once.
    pub fn take(&mut self) -> Vec<(Host, Image)> {
        let image = |left: &mut Left| (left.loaded.host.clone(), mem::take(&mut left.loaded.image));
        self.left.iter_mut().map(image).collect()
    }
    /// Databases that could not be read, and why. They stay.
    pub fn trouble(&self) -> &[String] {
        &self.trouble
    }
    /// An image in which nothing is yet, with numbers that go on above those of living hosts.
    pub fn beginning(&self) -> Image {
        Image { last_n: self.last_n, anonymous: self.anonymous, ..Image::default() }
    }

    /// Puts what has become of all of it into a database of this host's own, and then removes theirs. Killed at whatever moment, all of it is in
    /// one database at least, and comes from one.
    ///
    /// # Errors
    /// [`FolderError`]; what was there is there still.
    pub fn into_own(self, host: &Host, durability: Durability, image: &Image) -> Result<Own, FolderError> {
        let left = self.left.iter().map(|left| &left.path);
        let all: Vec<&PathBuf> = left.chain(self.twice.iter().map(|(path, _)| path)).collect();
        // What is there still under a name that was taken over before counts no more after this one either.
        let before = self.names.iter().filter(|name| self.folder.path.join(name).exists()).cloned();
        let files: BTreeSet<String> = all.iter().map(|path| file_name(path)).chain(before).collect();
        let files: Vec<String> = files.into_iter().collect();
        let own = self.folder.own(host, durability, (image, &files))?;
        for path in all {
            store::remove(path);
            let _ = fs::remove_file(lock_of(path));
        }
        Ok(own)
    }
}

/// A host's own database, and its lock.
#[derive(Debug)]
pub struct Own {
    /// What it writes.
    pub store: Store,
    lock: File,
    lock_path: PathBuf,
}
impl Own {
    /// Ends it in order. What is unread stays for the next host of the name.
    ///
    /// # Errors
    /// What SQLite said; the database is whole all the same.
    pub fn close(self) -> Result<(), StoreError> {
        let closed = self.store.close();
        // Said aloud: a process that was forked and not yet exec'd shares the lock.
        let _ = self.lock.unlock();
        closed
    }
    /// Removes it, in favour of another one.
    pub fn remove(self) {
        let path = self.store.path().to_owned();
        drop(self.store);
        store::remove(&path);
        let _ = fs::remove_file(&self.lock_path);
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// A database of this host's own, with what was taken over in it.
    ///
    /// # Errors
    /// [`FolderError`]; nothing is left of it then.
    pub fn own(
        &self,
        host: &Host,
        durability: Durability,
        content: (&Image, &[String]),
    ) -> Result<Own, FolderError> {
        for _ in 0..NAMES_MAX {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let path = self.path.join(format!("host-{}-{now}.db", host.pid));
            let lock_path = lock_of(&path);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
            // The lock first: a database without a holder is a dead host's.
            let lock = match options.open(&lock_path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(io_error(&lock_path, "making it"))?,
            };
            let made = lock.try_lock().map_err(|error| io_error(&lock_path, "locking it")(error.into()));
            let made = made.and_then(|()| Ok(Store::create(&path, host, durability, content)?));
            return match made {
                Ok(store) => Ok(Own { store, lock, lock_path }),
                Err(error) => {
                    let _ = fs::remove_file(&lock_path);
                    Err(error)
                }
            };
        }
        let error = io::Error::other(format!("{NAMES_MAX} names are taken: is the clock right?"));
        Err(io_error(&self.path, "making a database")(error))
    }
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
fn lock_of(database: &Path) -> PathBuf {
    database.with_extension("lock")
}
/// The pid in a database's name and when it was made, if it is one in exactly our form.
fn of_host(name: &str) -> Option<(u32, u128)> {
    let (pid, began) = name.strip_prefix("host-")?.strip_suffix(".db")?.split_once('-')?;
    let (pid, began) = (pid.parse::<u32>().ok()?, began.parse::<u128>().ok()?);
    (format!("host-{pid}-{began}.db") == name).then_some((pid, began))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Exclusive,
}
/// How a host's lock stands.
enum Lock {
    /// By a host that lives; or that can't be told.
    Held,
    Absent,
    /// By nobody but us.
    Free(File),
}
/// Looks whether somebody has it. Who wants it for itself makes one that is gone again.
fn try_lock(path: &Path, kind: Kind) -> Lock {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.create(kind == Kind::Exclusive).open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Lock::Absent,
        Err(_) => return Lock::Held,
    };
    let locked = match kind {
        Kind::Shared => file.try_lock_shared(),
        Kind::Exclusive => file.try_lock(),
    };
    if locked.is_ok() { Lock::Free(file) } else { Lock::Held }
}

/// The lock of a host that is dead. Who only looks has it for a moment, and is waited for.
fn lock_dead(path: &Path) -> Option<File> {
    let (until, mut wait) = (Instant::now() + LOOK_LIMIT, LOCK_WAIT_FIRST);
    loop {
        match try_lock(path, Kind::Exclusive) {
            Lock::Free(lock) => return Some(lock),
            Lock::Held if Instant::now() < until => thread::sleep(wait),
            _ => return None,
        }
        wait = (wait * 2).min(LOCK_WAIT_MAX);
    }
}

fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).map(nix::unistd::Pid::from_raw);
    pid.is_some_and(|pid| nix::sys::signal::kill(pid, None) != Err(Errno::ESRCH))
}

fn wait_for(path: &Path) -> Result<File, FolderError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path).map_err(io_error(path, "opening it"))?;
    let (until, mut wait) = (Instant::now() + TAKEOVER_LIMIT, LOCK_WAIT_FIRST);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(io_error(path, "locking it")(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(FolderError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(wait),
        }
        wait = (wait * 2).min(LOCK_WAIT_MAX);
    }
}
