//! What rows come to together, and what a new life of the host makes of it. Pure: whoever stores rows can be held against it.
//!
//! * in: rows, in their order; other images; results that were found
//! * out: sessions, commands and entries as they stand, and as a new life of the host is told of them
//! * keeps: a result is owed, stands in an inbox or is taken; sequence numbers only grow

use ostler_messages::{
    CommandId, Content, Entry, LaunchRequest, Record, RecoveredCommand, RecoveredEntry, RecoveredSession,
    Row, SOURCE_EXIT, SessionId, Stamp, TOOL_RESULT, TextOnDisk,
};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// It has ended.
    pub ended: bool,
    /// The number of its next entry.
    pub next: u64,
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The session that owns it.
    pub session_id: SessionId,
    /// What was asked, in brief, as JSON.
    pub request: Arc<str>,
    /// The handle response, if it is known to have started.
    pub started: Option<Arc<Record>>,
    /// When its leader was started, in clock ticks after the boot.
    pub start_ticks: Option<u64>,
    /// How it ended; the texts are left out where they are on the disk.
    pub result: Option<Arc<Record>>,
    /// They are.
    pub text_on_disk: bool,
    /// Somebody has the result for good.
    pub taken: bool,
}

/// An entry that nobody has acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// Its kind.
    pub kind: Cow<'static, str>,
    /// Its source.
    pub source: Cow<'static, str>,
    /// When it was put in.
    pub at: Stamp,
    /// What it holds.
    pub content: Kept,
}
/// What an entry holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// The result of a command.
    Result(CommandId),
    /// The host's own.
    Other(Arc<Value>),
}

/// What rows come to: sessions, commands and unread entries as they stand, and as a new life of the host is told of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// By their ids.
    pub sessions: BTreeMap<SessionId, Session>,
    /// In the order in which they were asked for.
    pub commands: BTreeMap<CommandId, Command>,
    /// By session, in order.
    pub entries: BTreeMap<SessionId, BTreeMap<u64, Unread>>,
    /// The highest number of a command.
    pub last_n: u64,
    /// The highest number of an anonymous session.
    pub anonymous: u64,
}

impl Image {
    /// One row more.
    pub fn apply(&mut self, row: &Row) {
        match row {
            // Numbers do not come again.
            Row::Reset => {
                let (last_n, anonymous) = (self.last_n, self.anonymous);
                *self = Image { last_n, anonymous, ..Image::default() };
            }
            Row::Numbers { last_n, anonymous } => {
                self.last_n = self.last_n.max(*last_n);
                self.anonymous = self.anonymous.max(*anonymous);
            }
            Row::SessionOpened { session_id, anonymous } => {
                self.session(session_id).ended = false;
                self.anonymous = self.anonymous.max(anonymous.unwrap_or(0));
            }
            Row::SessionEnded { session_id } => self.session(session_id).ended = true,
            Row::SessionsForgotten { session_ids } => {
                for session_id in session_ids {
                    self.sessions.remove(session_id);
                    self.entries.remove(session_id);
                }
            }
            Row::Counted { session_id, next } => self.counted(session_id, *next),
            Row::Asked { command_id, request } => {
                self.last_n = self.last_n.max(command_id.n);
                let asked = Command::of(request.session_id.clone(), brief(request).into());
                self.commands.entry(*command_id).or_insert(asked);
            }
            Row::Started { record, start_ticks } => {
                let command = self.commands.get_mut(&record.command_id);
                // A result has all that it said.
                if let Some(command) = command.filter(|command| command.result.is_none()) {
                    (command.started, command.start_ticks) = (Some(record.0.clone()), *start_ticks);
                }
            }
            Row::Undone { command_id } => drop(self.commands.remove(command_id)),
            Row::Owed { record } | Row::Amended { record } => self.has_result(&record.0),
            Row::Taken { command_id } => self.taken(*command_id),
            Row::Delivered(entry) => self.delivered(entry),
            Row::Acknowledged { session_id, sequences } => {
                let entries = self.entries.entry(session_id.clone()).or_default();
                let gone: Vec<Unread> = sequences.iter().filter_map(|n| entries.remove(n)).collect();
                if entries.is_empty() {
                    self.entries.remove(session_id);
                }
                for unread in gone {
                    if let Kept::Result(command_id) = unread.content {
                        self.taken(command_id);
                    }
                }
            }
            Row::Kept(kept) => self.kept(kept),
            Row::Forgotten { command_ids } => {
                command_ids.iter().for_each(|command_id| drop(self.commands.remove(command_id)));
            }
        }
    }

    fn session(&mut self, session_id: &SessionId) -> &mut Session {
        self.sessions.entry(session_id.clone()).or_insert(Session { next: 1, ended: false })
    }
    fn counted(&mut self, session_id: &SessionId, next: u64) {
        let session = self.session(session_id);
        session.next = session.next.max(next);
    }
    fn taken(&mut self, command_id: CommandId) {
        if let Some(command) = self.commands.get_mut(&command_id) {
            command.taken = true;
        }
    }
    fn has_result(&mut self, record: &Arc<Record>) {
        // One whose asking was not written, since the journal could not be.
        self.last_n = self.last_n.max(record.command_id.n);
        let unknown = || Command::of(record.session_id.clone(), "null".into());
        let command = self.commands.entry(record.command_id).or_insert_with(unknown);
        command.text_on_disk = record.text_on_disk.0;
        (command.started, command.start_ticks) = (None, None);
        command.result = Some(without_text(record));
    }
    fn delivered(&mut self, entry: &Entry) {
        let content = match &entry.content {
            Content::Record(record) => {
                self.has_result(record);
                Kept::Result(record.command_id)
            }
            Content::Other(value) => Kept::Other(value.clone()),
        };
        let (kind, source, at) = (entry.kind.clone(), entry.source.clone(), entry.at);
        self.counted(&entry.session_id, entry.sequence + 1);
        let entries = self.entries.entry(entry.session_id.clone()).or_default();
        entries.insert(entry.sequence, Unread { kind, source, at, content });
    }
    fn kept(&mut self, kept: &RecoveredCommand) {
        let RecoveredCommand { record, text_on_disk, request, unread } = kept;
        let mut command = Command::of(record.session_id.clone(), request.clone());
        command.result = Some(record.clone());
        (command.text_on_disk, command.taken) = (*text_on_disk, !unread);
        self.commands.insert(record.command_id, command);
        self.last_n = self.last_n.max(record.command_id.n);
    }

    /// What another host has left. Two that had the same session open, one after the other without knowing of it, may have
    /// given a number twice: then the later entry gets a new one.
    pub fn merge(&mut self, other: Image) {
        for (session_id, session) in &other.sessions {
            let own = self.sessions.entry(session_id.clone()).or_insert_with(|| session.clone());
            own.ended &= session.ended;
            own.next = own.next.max(session.next);
        }
        for (session_id, entries) in other.entries {
            for (sequence, unread) in entries {
                let own = self.entries.entry(session_id.clone()).or_default();
                match own.get(&sequence) {
                    None => drop(own.insert(sequence, unread)),
                    Some(_) => self.put_in(&session_id, unread),
                }
            }
        }
        self.commands.extend(other.commands);
        self.last_n = self.last_n.max(other.last_n);
        self.anonymous = self.anonymous.max(other.anonymous);
    }
    fn put_in(&mut self, session_id: &SessionId, unread: Unread) {
        let session = self.session(session_id);
        let sequence = session.next;
        session.next += 1;
        self.entries.entry(session_id.clone()).or_default().insert(sequence, unread);
    }

    /// The commands without a result: their host has died before they ended, or before that was written.
    pub fn unfinished(&self) -> impl Iterator<Item = (CommandId, &Command)> {
        self.commands
            .iter()
            .filter(|(_, command)| command.result.is_none())
            .map(|(id, command)| (*id, command))
    }

    /// A command whose asking was not written.
    pub fn adopt(&mut self, command_id: CommandId, session_id: SessionId, request: Arc<str>) {
        self.session(&session_id);
        self.last_n = self.last_n.max(command_id.n);
        self.commands.entry(command_id).or_insert_with(|| Command::of(session_id, request));
    }

    /// How an unfinished command ended. Nobody has been told of it.
    pub fn finish(&mut self, record: &Arc<Record>, at: Stamp) {
        self.has_result(record);
        self.put_in(&record.session_id, of_result(record.command_id, at));
    }

    /// Results that were on their way to somebody who had asked for them by their handles stand in the inbox now.
    pub fn deliver_owed(&mut self, at: Stamp) {
        let entries = self.entries.values().flat_map(BTreeMap::values);
        let delivered: BTreeSet<CommandId> = entries
            .filter_map(|unread| match unread.content {
                Kept::Result(command_id) => Some(command_id),
                Kept::Other(_) => None,
            })
            .collect();
        let owed = self.commands.iter().filter(|(_, command)| command.result.is_some() && !command.taken);
        let owed: Vec<_> = owed
            .filter(|(command_id, _)| !delivered.contains(command_id))
            .map(|(command_id, command)| (*command_id, command.session_id.clone()))
            .collect();
        for (command_id, session_id) in owed {
            self.put_in(&session_id, of_result(command_id, at));
        }
    }

    /// The entries of a session, as they come again. `fresh`: of these commands nobody has been told.
    fn entries_of(&self, session_id: &SessionId, fresh: &dyn Fn(CommandId) -> bool) -> Vec<RecoveredEntry> {
        let entries = self.entries.get(session_id).into_iter().flatten();
        let again = |(sequence, unread): (&u64, &Unread)| {
            let (content, text_on_disk, redelivered) = match &unread.content {
                Kept::Other(value) => (Content::Other(value.clone()), false, true),
                Kept::Result(command_id) => {
                    let command = self.commands.get(command_id)?;
                    let record = command.result.clone()?;
                    (Content::Record(record), command.text_on_disk, !fresh(*command_id))
                }
            };
            let (kind, source) = (unread.kind.clone(), unread.source.clone());
            let mut entry = Entry::new(*sequence, session_id.clone(), (kind, source), content, unread.at);
            entry.redelivered = redelivered;
            Some(RecoveredEntry { entry, text_on_disk, withheld: false })
        };
        entries.filter_map(again).collect()
    }

    /// Every session, for a new life of the host.
    pub fn recovered_sessions(&self, fresh: &dyn Fn(CommandId) -> bool) -> Vec<RecoveredSession> {
        let recovered = |(session_id, session): (&SessionId, &Session)| RecoveredSession {
            session_id: session_id.clone(),
            ended: session.ended,
            next: session.next,
            entries: self.entries_of(session_id, fresh),
        };
        self.sessions.iter().map(recovered).collect()
    }
    /// Every command that has ended.
    pub fn recovered_commands(&self) -> Vec<RecoveredCommand> {
        let recovered = |command: &Command| {
            Some(RecoveredCommand {
                record: command.result.clone()?,
                text_on_disk: command.text_on_disk,
                request: command.request.clone(),
                unread: !command.taken,
            })
        };
        self.commands.values().filter_map(recovered).collect()
    }
}

impl Command {
    pub(crate) fn of(session_id: SessionId, request: Arc<str>) -> Command {
        let (started, start_ticks, result) = (None, None, None);
        Command { session_id, request, started, start_ticks, result, text_on_disk: false, taken: false }
    }
}

/// A request as it is written.
pub(crate) fn brief(request: &LaunchRequest) -> String {
    // Paths are the only part that JSON could refuse, and they are escaped.
    request.in_brief().unwrap_or_default().to_string()
}

fn of_result(command_id: CommandId, at: Stamp) -> Unread {
    Unread { kind: TOOL_RESULT.into(), source: SOURCE_EXIT.into(), at, content: Kept::Result(command_id) }
}

/// As it is stored: texts that are on the disk are left out.
pub(crate) fn without_text(record: &Arc<Record>) -> Arc<Record> {
    let mut record = record.clone();
    if record.text_on_disk.0 && record.text_bytes() > 0 {
        Arc::make_mut(&mut record).omit_text();
    }
    if record.text_omitted || record.text_on_disk.0 {
        // What only a living graph knows is no part of it.
        let record = Arc::make_mut(&mut record);
        (record.text_omitted, record.text_on_disk) = (false, TextOnDisk(false));
    }
    record
}
