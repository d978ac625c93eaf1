//! The tables on their way to an image.
//!
//! * in: one moment of a database
//! * out: what stands in it
//! * keeps: what can't be understood is an error that says where it stands

use super::{Host, Loaded, StoreError, unsigned};
use crate::image::{Command, Image, Kept, Session, Unread};
use ostler_messages::{CommandId, Record, SessionId, Stamp};
use rusqlite::Transaction;
use serde::de::DeserializeOwned;
use std::{io, path::Path, sync::Arc};

/// All that is known of each command.
const COMMANDS: &str = "
SELECT commands.*, started.record AS started, start_ticks, results.record AS result, text_on_disk,
  commands.command_id IN taken AS taken
FROM commands LEFT JOIN started USING (command_id) LEFT JOIN results USING (command_id)";

/// A transaction that reads.
pub(super) struct Reading<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) path: &'a Path,
}
impl Reading<'_> {
    pub(super) fn all(&self) -> Result<Loaded, StoreError> {
        let mut image = Image::default();
        let host = self.one("SELECT * FROM host", |row| {
            use std::os::unix::ffi::OsStringExt;
            let root: Vec<u8> = row.get("artifact_root")?;
            image.last_n = unsigned(row.get("last_n")?);
            image.anonymous = unsigned(row.get("anonymous")?);
            Ok(Host {
                pid: row.get("pid")?,
                boot_id: row.get("boot_id")?,
                start_ticks: unsigned(row.get("start_ticks")?),
                pid_namespace: unsigned(row.get("pid_namespace")?),
                artifact_root: std::ffi::OsString::from_vec(root).into(),
                root_lock: row.get("root_lock")?,
                root_token: unsigned(row.get("root_token")?),
                alive_ticks: unsigned(row.get("alive_ticks")?),
            })
        })?;
        self.each("sessions", "SELECT * FROM sessions", |row| {
            let session = Session { ended: row.get("ended")?, next: unsigned(row.get("next")?) };
            image.sessions.insert(SessionId::from(row.get::<_, String>("session_id")?), session);
            Ok(())
        })?;
        self.each("commands", COMMANDS, |row| {
            let mut command = Command::of(
                SessionId::from(row.get::<_, String>("session_id")?),
                row.get::<_, Arc<str>>("request")?,
            );
            command.result = maybe(row, "result")?;
            command.text_on_disk = row.get::<_, Option<bool>>("text_on_disk")?.unwrap_or(false);
            if command.result.is_none() {
                command.started = maybe(row, "started")?;
                command.start_ticks = row.get::<_, Option<i64>>("start_ticks")?.map(unsigned);
            }
            command.taken = row.get("taken")?;
            let command_id = command_id(row)?;
            image.last_n = image.last_n.max(command_id.n);
            image.commands.insert(command_id, command);
            Ok(())
        })?;
        self.each("entries", "SELECT * FROM entries", |row| {
            let content = match row.get::<_, Option<String>>("command_id")? {
                Some(_) => Kept::Result(command_id(row)?),
                None => Kept::Other(Arc::new(parsed(row, "content")?)),
            };
            let (kind, source): (String, String) = (row.get("kind")?, row.get("source")?);
            let at = Stamp(unsigned(row.get("at")?));
            let unread = Unread { kind: kind.into(), source: source.into(), at, content };
            let session_id = SessionId::from(row.get::<_, String>("session_id")?);
            let sequence = unsigned(row.get("sequence")?);
            let new = Session { next: 1, ended: false };
            let session = image.sessions.entry(session_id.clone()).or_insert(new);
            session.next = session.next.max(sequence + 1);
            image.entries.entry(session_id).or_default().insert(sequence, unread);
            Ok(())
        })?;
        let mut taken_over = Vec::new();
        self.each("taken_over", "SELECT file FROM taken_over", |row| {
            taken_over.push(row.get(0)?);
            Ok(())
        })?;
        Ok(Loaded { host, image, taken_over })
    }

    fn one<T>(
        &self,
        sql: &str,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.transaction.query_row(sql, [], read).map_err(|error| self.damaged("host", &error))
    }
    fn each(
        &self,
        what: &'static str,
        sql: &str,
        mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let mut read_all = || {
            let mut statement = self.transaction.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                read(row)?;
            }
            Ok(())
        };
        read_all().map_err(|error| self.damaged(what, &error))
    }
    fn damaged(&self, what: &'static str, error: &rusqlite::Error) -> StoreError {
        StoreError::Damaged { path: self.path.to_owned(), what, said: error.to_string() }
    }
}

fn command_id(row: &rusqlite::Row<'_>) -> rusqlite::Result<CommandId> {
    row.get::<_, String>("command_id")?.parse().map_err(|error| refused("command_id", error))
}
fn parsed<T: DeserializeOwned>(row: &rusqlite::Row<'_>, column: &'static str) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| refused(column, error))
}
fn maybe(row: &rusqlite::Row<'_>, column: &'static str) -> rusqlite::Result<Option<Arc<Record>>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}
fn refused(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    let what = io::Error::other(format!("{column}: {error}"));
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(what))
}
