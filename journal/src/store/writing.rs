//! Rows on their way into the tables.
//!
//! * in: rows, or all of an image
//! * out: statements of one transaction
//! * keeps: what the [`Image`] says that a row does

use super::{asking::highest, number};
use crate::image::{Command, Image, Kept, brief, without_text};
use ostler_messages::{CommandId, Content, Entry, Record, Row, SessionId, Stamp};
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};
use std::sync::Arc;

/// A transaction that writes.
pub(super) struct Writing<'a>(pub(super) &'a Transaction<'a>);
impl Writing<'_> {
    fn prepared(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.0.prepare_cached(sql)
    }

    pub(super) fn row(&self, row: &Row) -> rusqlite::Result<()> {
        match row {
            Row::Reset => self.reset(),
            Row::Numbers { last_n, anonymous } => self.numbers(*last_n, *anonymous),
            Row::SessionOpened { session_id, anonymous } => {
                let sql = "INSERT INTO sessions VALUES (?, 0, 1) ON CONFLICT DO UPDATE SET ended = 0";
                self.prepared(sql)?.execute([session_id.as_str()])?;
                anonymous.map_or(Ok(()), |n| self.numbers(0, n))
            }
            Row::SessionEnded { session_id } => {
                let sql = "INSERT INTO sessions VALUES (?, 1, 1) ON CONFLICT DO UPDATE SET ended = 1";
                self.prepared(sql)?.execute([session_id.as_str()]).map(drop)
            }
            Row::SessionsForgotten { session_ids } => {
                let mut sessions = self.prepared("DELETE FROM sessions WHERE session_id = ?")?;
                let mut entries = self.prepared("DELETE FROM entries WHERE session_id = ?")?;
                session_ids.iter().try_for_each(|session_id| {
                    sessions.execute([session_id.as_str()])?;
                    entries.execute([session_id.as_str()]).map(drop)
                })
            }
            Row::Counted { session_id, next } => self.counted(session_id, *next),
            Row::Asked { command_id, request } => {
                let brief = brief(request);
                let (id, session_id) = (command_id.to_string(), request.session_id.as_str());
                let sql = "INSERT OR IGNORE INTO commands VALUES (?, ?, ?)";
                self.prepared(sql)?.execute(params![id, session_id, brief]).map(drop)
            }
            Row::Started { record, start_ticks } => {
                // Only of one that is there.
                let sql = "INSERT OR REPLACE INTO started SELECT command_id, ?2, ?3 FROM commands
                    WHERE command_id = ?1";
                let (id, ticks) = (record.command_id.to_string(), start_ticks.map(number));
                self.prepared(sql)?.execute(params![id, json(&record.0), ticks]).map(drop)
            }
            Row::Undone { command_id } => self.forgotten(*command_id),
            Row::Owed { record } | Row::Amended { record } => self.has_result(&record.0),
            Row::Taken { command_id } => self.taken(&command_id.to_string()),
            Row::Delivered(entry) => self.delivered(entry),
            Row::Acknowledged { session_id, sequences } => {
                let sql = "DELETE FROM entries WHERE session_id = ? AND sequence = ? RETURNING command_id";
                let mut delete = self.prepared(sql)?;
                let mut last = None;
                for sequence in sequences {
                    let gone = delete
                        .query_row(params![session_id.as_str(), number(*sequence)], |row| {
                            row.get::<_, Option<String>>(0)
                        })
                        .optional()?;
                    if let Some(command_id) = gone {
                        last = last.max(Some(*sequence));
                        command_id.map_or(Ok(()), |command_id| self.taken(&command_id))?;
                    }
                }
                last.map_or(Ok(()), |last| self.counted(session_id, last + 1))
            }
            Row::Kept(kept) => {
                self.numbers(kept.record.command_id.n, 0)?;
                let mut command = Command::of(kept.record.session_id.clone(), kept.request.clone());
                command.result = Some(kept.record.clone());
                (command.text_on_disk, command.taken) = (kept.text_on_disk, !kept.unread);
                self.command(kept.record.command_id, &command)
            }
            Row::Forgotten { command_ids } => {
                command_ids.iter().try_for_each(|command_id| self.forgotten(*command_id))
            }
        }
    }

    pub(super) fn alive(&self, ticks: u64) -> rusqlite::Result<()> {
        self.prepared("UPDATE host SET alive_ticks = ?")?.execute([number(ticks)]).map(drop)
    }
    fn reset(&self) -> rusqlite::Result<()> {
        self.numbers(highest(self.0)?, 0)?;
        self.0.execute_batch(
            "DELETE FROM sessions; DELETE FROM entries;
            DELETE FROM commands; DELETE FROM started; DELETE FROM results; DELETE FROM taken;",
        )
    }
    fn numbers(&self, last_n: u64, anonymous: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE host SET last_n = max(last_n, ?), anonymous = max(anonymous, ?)";
        self.prepared(sql)?.execute([number(last_n), number(anonymous)]).map(drop)
    }
    fn counted(&self, session_id: &SessionId, next: u64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO sessions VALUES (?, 0, ?)
            ON CONFLICT DO UPDATE SET next = max(next, excluded.next)";
        self.prepared(sql)?.execute(params![session_id.as_str(), number(next)]).map(drop)
    }
    fn taken(&self, command_id: &str) -> rusqlite::Result<()> {
        // Only of one that is there.
        let sql = "INSERT OR IGNORE INTO taken SELECT command_id FROM commands WHERE command_id = ?";
        self.prepared(sql)?.execute([command_id]).map(drop)
    }

    fn forgotten(&self, command_id: CommandId) -> rusqlite::Result<()> {
        let id = command_id.to_string();
        // Its number does not come again, and is not in its row any more.
        if self.prepared("DELETE FROM commands WHERE command_id = ?")?.execute([&id])? > 0 {
            self.numbers(command_id.n, 0)?;
        }
        self.forget_parts(&id)
    }
    /// What other tables have of it.
    fn forget_parts(&self, command_id: &str) -> rusqlite::Result<()> {
        self.prepared("DELETE FROM started WHERE command_id = ?")?.execute([command_id])?;
        self.prepared("DELETE FROM results WHERE command_id = ?")?.execute([command_id])?;
        self.prepared("DELETE FROM taken WHERE command_id = ?")?.execute([command_id]).map(drop)
    }
    fn has_result(&self, record: &Arc<Record>) -> rusqlite::Result<()> {
        let (id, session_id) = (record.command_id.to_string(), record.session_id.as_str());
        // One whose asking was not written, since the journal could not be.
        let sql = "INSERT OR IGNORE INTO commands VALUES (?, ?, 'null')";
        self.prepared(sql)?.execute(params![id, session_id])?;
        self.result(&id, &without_text(record), record.text_on_disk.0)
    }
    fn result(&self, command_id: &str, record: &Record, text_on_disk: bool) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO results VALUES (?, ?, ?)";
        self.prepared(sql)?.execute(params![command_id, json(record), text_on_disk]).map(drop)
    }
    fn delivered(&self, entry: &Entry) -> rusqlite::Result<()> {
        let (command_id, content) = match &entry.content {
            Content::Record(record) => {
                self.has_result(record)?;
                (Some(record.command_id.to_string()), None)
            }
            Content::Other(value) => (None, Some(value.to_string())),
        };
        // That the session's numbers go on behind it is written when it goes.
        let about = (&*entry.kind, &*entry.source, entry.at);
        self.entry(&entry.session_id, entry.sequence, about, command_id, content)
    }
    fn entry(
        &self,
        session_id: &SessionId,
        sequence: u64,
        (kind, source, at): (&str, &str, Stamp),
        command_id: Option<String>,
        content: Option<String>,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)";
        let key = (session_id.as_str(), number(sequence));
        let values = params![key.0, key.1, kind, source, number(at.0), command_id, content];
        self.prepared(sql)?.execute(values).map(drop)
    }
    fn command(&self, command_id: CommandId, command: &Command) -> rusqlite::Result<()> {
        let id = command_id.to_string();
        let sql = "INSERT OR REPLACE INTO commands VALUES (?, ?, ?)";
        let values = params![id, command.session_id.as_str(), &*command.request];
        self.prepared(sql)?.execute(values)?;
        self.forget_parts(&id)?;
        if let Some(started) = &command.started {
            let sql = "INSERT INTO started VALUES (?, ?, ?)";
            self.prepared(sql)?.execute(params![id, json(started), command.start_ticks.map(number)])?;
        }
        if let Some(result) = &command.result {
            self.result(&id, result, command.text_on_disk)?;
        }
        if command.taken { self.taken(&id) } else { Ok(()) }
    }

    /// All of an image, into empty tables.
    pub(super) fn image(&self, image: &Image) -> rusqlite::Result<()> {
        for (session_id, session) in &image.sessions {
            let values = params![session_id.as_str(), session.ended, number(session.next)];
            self.prepared("INSERT INTO sessions VALUES (?, ?, ?)")?.execute(values)?;
        }
        for (command_id, command) in &image.commands {
            self.command(*command_id, command)?;
        }
        for (session_id, entries) in &image.entries {
            for (sequence, unread) in entries {
                let (command_id, content) = match &unread.content {
                    Kept::Result(command_id) => (Some(command_id.to_string()), None),
                    Kept::Other(value) => (None, Some(value.to_string())),
                };
                let about = (&*unread.kind, &*unread.source, unread.at);
                self.entry(session_id, *sequence, about, command_id, content)?;
            }
        }
        Ok(())
    }
}

fn json(record: &Record) -> String {
    // Paths are the only part that JSON could refuse, and they are escaped.
    serde_json::to_string(record).unwrap_or_default()
}
