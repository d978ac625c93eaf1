//! An [`Image`] in SQLite, in WAL mode: a row of it is a row here.
//!
//! * in: rows, many in one transaction
//! * out: the image, to whoever opens the file
//! * keeps: a transaction is there whole or not at all, whatever becomes of the process; with [`Durability::PowerLoss`], of the machine

use crate::{Durability, Image};
pub(crate) use asking::{command_ids, next_of, numbers};
use nix::sys::statfs::{NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, statfs};
use ostler_messages::{Row, SessionId};
use reading::Reading;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use writing::Writing;

mod asking;
mod reading;
mod writing;

/// Says in the file's head that it is ours ("ostl").
const APPLICATION_ID: i32 = 0x6f73_746c;
/// The form of the tables. A database of a higher one is left alone.
pub const SCHEMA_VERSION: i32 = 1;
/// To this length the log of the database is cut when it is written back: one that a long reader has let grow does not stay.
const LOG_LIMIT_BYTES: i64 = 4 << 20;
/// How long a reader waits for a lock of the database: writers hold it for some microseconds, and at most while they write back.
const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// Statements that are kept prepared: all of them.
const STATEMENTS: usize = 32;

const SCHEMA: &str = "
CREATE TABLE host (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  pid INTEGER NOT NULL, boot_id TEXT NOT NULL, start_ticks INTEGER NOT NULL,
  pid_namespace INTEGER NOT NULL, artifact_root BLOB NOT NULL, root_lock TEXT, root_token INTEGER NOT NULL,
  last_n INTEGER NOT NULL, anonymous INTEGER NOT NULL, alive_ticks INTEGER NOT NULL
);
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, ended INTEGER NOT NULL, next INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE commands (
  command_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, request TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE started (command_id TEXT PRIMARY KEY, record TEXT NOT NULL, start_ticks INTEGER) WITHOUT ROWID;
CREATE TABLE results (command_id TEXT PRIMARY KEY, record TEXT NOT NULL, text_on_disk INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE taken (command_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE entries (
  session_id TEXT NOT NULL, sequence INTEGER NOT NULL,
  kind TEXT NOT NULL, source TEXT NOT NULL, at INTEGER NOT NULL, command_id TEXT, content TEXT,
  PRIMARY KEY (session_id, sequence)
) WITHOUT ROWID;
CREATE TABLE taken_over (file TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A newer ostler has made it.
    #[error("{}: its form is {found}, this ostler knows {SCHEMA_VERSION}: use the newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        found: i32,
    },
    /// It is no journal.
    #[error("{}: it is not a journal of ostler's: move it away", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// It was removed, or replaced, while it was open.
    #[error("{}: it was removed", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// What stands in it can't be read.
    #[error("{}: {what} can't be read: {said}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The table.
        what: &'static str,
        /// What was wrong.
        said: String,
    },
    /// SQLite refused.
    #[error("{}: {doing}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}
impl StoreError {
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { path: path.to_owned(), doing, source }
    }
    fn sqlite(path: &Path, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        move |source| StoreError::Sqlite { path: path.to_owned(), doing, source }
    }
}

/// Who writes a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its process.
    pub pid: u32,
    /// Of the kernel that it runs on.
    pub boot_id: String,
    /// When its process was started, in clock ticks after the boot.
    pub start_ticks: u64,
    /// In which namespace its numbers of processes mean something (pid_namespaces(7)): the inode of `/proc/self/ns/pid`; 0 if that can't
    /// be told.
    pub pid_namespace: u64,
    /// Where its artifacts lie.
    pub artifact_root: PathBuf,
    /// The name of its lock there.
    pub root_lock: Option<String>,
    /// What stands in that.
    pub root_token: u64,
    /// When it has said last that it lives, in clock ticks after the boot: what it followed had not ended then.
    pub alive_ticks: u64,
}

/// A database that is being written.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Device and inode: whether it is still what the path names.
    file: (u64, u64),
    /// Each transaction says that the host lives.
    says_alive: bool,
}

impl Store {
    /// Makes one, mode 0600, in which nothing is but what was taken over. Nothing is left after an error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create(
        path: &Path,
        host: &Host,
        durability: Durability,
        (image, taken_over): (&Image, &[String]),
    ) -> Result<Store, StoreError> {
        // SQLite makes its other files with the mode of this one.
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        // Closed before SQLite opens it: the end of any descriptor of a file takes all locks of the process on it away (fcntl_locking(2)),
        // and without its lock on it SQLite's next reader takes the file for one that nobody has, and removes its log.
        drop(options.open(path).map_err(StoreError::io(path, "making it"))?);
        let made = fs::symlink_metadata(path).map_err(StoreError::io(path, "looking at it"));
        let made = made.and_then(|about| {
            let file = (about.dev(), about.ino());
            let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            let mut store = Store { connection, path: path.to_owned(), file, says_alive: false };
            store
                .set_up(host, durability, image, taken_over)
                .map_err(StoreError::sqlite(path, "making it"))?;
            Ok(store)
        });
        if made.is_err() {
            // What can't be removed now is no journal yet, and is removed by the next takeover.
            remove(path);
        }
        made
    }

    fn set_up(
        &mut self,
        host: &Host,
        durability: Durability,
        image: &Image,
        taken_over: &[String],
    ) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // WAL needs memory that all who use the file share, which no network file system has.
        let mode = if is_remote(&self.path) { "DELETE" } else { "WAL" };
        connection.pragma_update(None, "journal_mode", mode)?;
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
        connection.pragma_update(
            None,
            "synchronous",
            match durability {
                // What is written is whole after a power cut, but its end may lack.
                Durability::HostDeath => "NORMAL",
                Durability::PowerLoss => "FULL",
            },
        )?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.execute(
            "INSERT INTO host VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                host.pid,
                host.boot_id,
                number(host.start_ticks),
                number(host.pid_namespace),
                path_bytes(&host.artifact_root),
                host.root_lock,
                number(host.root_token),
                number(image.last_n),
                number(image.anonymous),
                number(host.alive_ticks)
            ],
        )?;
        let writing = Writing(&transaction);
        writing.image(image)?;
        for file in taken_over {
            transaction.execute("INSERT INTO taken_over VALUES (?)", [file])?;
        }
        transaction.commit()
    }

    /// Writes these rows in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]: none of them is written.
    pub fn write<'a>(&mut self, rows: impl IntoIterator<Item = &'a Row>) -> Result<(), StoreError> {
        self.write_instead_of(rows, None)
    }

    /// The same, with all that stands in another database of this host, which counts no more from then on.
    ///
    /// # Errors
    /// [`StoreError`]: none of them is written, and the other one counts.
    pub fn write_instead_of<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a Row>,
        other: Option<&str>,
    ) -> Result<(), StoreError> {
        if !self.is_there() {
            return Err(StoreError::Gone { path: self.path.clone() });
        }
        let transaction = self.connection.transaction();
        let written = transaction.and_then(|transaction| {
            let writing = Writing(&transaction);
            rows.into_iter().try_for_each(|row| writing.row(row))?;
            if self.says_alive {
                writing.alive(now_ticks())?;
            }
            if let Some(other) = other {
                transaction.execute("INSERT OR IGNORE INTO taken_over VALUES (?)", [other])?;
            }
            transaction.commit()
        });
        written.map_err(StoreError::sqlite(&self.path, "writing"))
    }

    /// Whether each transaction says from now on that the host lives ([`Host::alive_ticks`]). It costs each of them a page.
    pub fn says_alive(&mut self, says: bool) {
        self.says_alive = says;
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still names what is open.
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|about| (about.dev(), about.ino()) == self.file)
    }

    /// Ends it in order: it is one file then, which can be read also by who may not write to its folder.
    ///
    /// # Errors
    /// What SQLite said; the database is whole all the same.
    pub fn close(self) -> Result<(), StoreError> {
        let in_one = self.connection.pragma_update(None, "journal_mode", "DELETE");
        in_one.map_err(StoreError::sqlite(&self.path, "closing it"))
    }
}

/// Reads what stands in a database, of a host that lives or is gone.
///
/// # Errors
/// [`StoreError`].
pub fn load(path: &Path) -> Result<Loaded, StoreError> {
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let said = StoreError::sqlite(path, "reading it");
    // One moment for all tables.
    let transaction = connection.transaction().map_err(said)?;
    check(&transaction, path)?;
    Reading { transaction, path }.all()
}

/// What stands in a database.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Who wrote it.
    pub host: Host,
    /// What was written.
    pub image: Image,
    /// Databases whose rows are in it.
    pub taken_over: Vec<String>,
}

/// Whether this session is open in a database.
///
/// # Errors
/// [`StoreError`].
pub fn has_open(path: &Path, session_id: &SessionId) -> Result<bool, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let query = "SELECT 1 FROM sessions WHERE session_id = ? AND ended = 0";
    let found = connection.query_row(query, [session_id.as_str()], |_| Ok(())).optional();
    Ok(found.map_err(StoreError::sqlite(path, "reading it"))?.is_some())
}

/// Removes a database with all that SQLite has beside it. What can't be removed is left.
pub(crate) fn remove(path: &Path) {
    // The file itself last: without it the others mean nothing.
    for ending in ["-wal", "-shm", "-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let _ = fs::remove_file(name);
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // SQLite refuses a link anywhere in a path, and a home often lies behind one. The file itself may be none.
    let real = in_real_folder(path).map_err(StoreError::io(path, "opening it"))?;
    let connection = Connection::open_with_flags(real, flags);
    let connection = connection.map_err(StoreError::sqlite(path, "opening it"))?;
    connection.busy_timeout(BUSY_LIMIT).map_err(StoreError::sqlite(path, "opening it"))?;
    Ok(connection)
}

/// The same file, by a path without a link above it.
fn in_real_folder(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(folder.canonicalize()?.join(name))
}

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name| -> Result<i32, StoreError> {
        let value = connection.pragma_query_value(None, name, |row| row.get(0));
        value.map_err(StoreError::sqlite(path, "opening it"))
    };
    if pragma("application_id")? != APPLICATION_ID {
        return Err(StoreError::NotOurs { path: path.to_owned() });
    }
    match pragma("user_version")? {
        SCHEMA_VERSION => Ok(()),
        found => Err(StoreError::Newer { path: path.to_owned(), found }),
    }
}

/// The namespace in which this process has its number (pid_namespaces(7)); 0 if that can't be told.
pub fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |about| about.ino())
}

/// Clock ticks after the boot, as the kernel counts them for the start of a process (proc_pid_stat(5)).
pub fn now_ticks() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from);
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let ticks = now.unwrap_or_default().as_secs_f64() * per_second as f64;
    // Of a machine that runs for less than a million years.
    ticks as u64
}

fn is_remote(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    statfs(dir).is_ok_and(|about| [NFS_SUPER_MAGIC, SMB_SUPER_MAGIC].contains(&about.filesystem_type()))
}

fn path_bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

/// Numbers of ours are counts, times and ticks: none comes near the half of what 64 bits hold.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
