//! Single questions to a database, of whoever does not want all of it.
//!
//! * in: the path of a database, of a host that lives or is gone
//! * out: the highest numbers, where a session goes on, which commands there are
//! * keeps: nothing is changed

use super::{StoreError, check, open, unsigned};
use ostler_messages::{CommandId, SessionId};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// What others have to know of a database without reading all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The highest that was given to a command, and to an anonymous session.
    pub(crate) last_n: u64,
    pub(crate) anonymous: u64,
    /// Databases whose rows are in it.
    pub(crate) taken_over: Vec<String>,
}
/// Of a host that lives, or is gone.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn numbers(path: &Path) -> Result<Numbers, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&connection, path)?;
    let read = || -> rusqlite::Result<Numbers> {
        let (last_n, anonymous) = connection.query_row("SELECT last_n, anonymous FROM host", [], |row| {
            Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
        })?;
        let last_n = last_n.max(highest(&connection)?);
        let mut files = connection.prepare("SELECT file FROM taken_over")?;
        let taken_over = files.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(Numbers { last_n, anonymous, taken_over })
    };
    read().map_err(StoreError::sqlite(path, "reading it"))
}

/// The highest number of a command that is there. Those that are not any more have left theirs in `host`.
pub(super) fn highest(connection: &Connection) -> rusqlite::Result<u64> {
    // Not that of the newest: a clock that is set back makes an older one of it.
    let mut ids = connection.prepare_cached("SELECT command_id FROM commands")?;
    let mut rows = ids.query([])?;
    let mut highest = 0;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_str()?.parse::<CommandId>();
        highest = id.map_or(highest, |id| highest.max(id.n));
    }
    Ok(highest)
}

/// The number of a session's next entry, if a database knows the session.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn next_of(path: &Path, session_id: &SessionId) -> Result<Option<u64>, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&connection, path)?;
    // Of what is unread the number says where it goes on; else the session does.
    let query = "SELECT max(next) FROM (SELECT next FROM sessions WHERE session_id = ?1
        UNION ALL SELECT max(sequence) + 1 FROM entries WHERE session_id = ?1)";
    let found = connection.query_row(query, [session_id.as_str()], |row| row.get::<_, Option<i64>>(0));
    Ok(found.map_err(StoreError::sqlite(path, "reading it"))?.map(unsigned))
}

/// The commands of which a database knows.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn command_ids(path: &Path) -> Result<Vec<CommandId>, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&connection, path)?;
    let read = || -> rusqlite::Result<Vec<CommandId>> {
        let mut ids = connection.prepare("SELECT command_id FROM commands")?;
        let ids = ids.query_map([], |row| row.get::<_, String>(0))?;
        ids.map(|id| Ok(id?.parse().ok())).filter_map(Result::transpose).collect()
    };
    read().map_err(StoreError::sqlite(path, "reading it"))
}
