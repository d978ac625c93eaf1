//! What is to survive the host, a row for each thing, and what a new life of it is told.

use crate::{
    ActorName, CommandId, Content, Entry, LaunchRequest, Pushed, Record, Recovered, SessionId, Shared,
    pushed::WITHHELD,
};
use serde::{Deserialize, Serialize, ser::SerializeStruct};
use std::{fmt, sync::Arc};

/// How far an actor's appends have come: those that it has sent are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Who has sent them.
    pub by: ActorName,
    /// The number of the last one.
    pub n: u64,
}

/// One thing that is to survive the host. What they come to together, `journal/src/image.rs` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// All that was written before means nothing any more: what follows is what there is.
    Reset,
    /// The highest numbers that were given out, which are not given out again.
    Numbers {
        /// To a command.
        last_n: u64,
        /// To an anonymous session.
        anonymous: u64,
    },
    /// A session is open.
    SessionOpened {
        /// Which.
        session_id: SessionId,
        /// Its number, if ostler has made its id.
        anonymous: Option<u64>,
    },
    /// It has ended. What is unread stays.
    SessionEnded {
        /// Which.
        session_id: SessionId,
    },
    /// Nobody can ask for these any more.
    SessionsForgotten {
        /// Which.
        session_ids: Vec<SessionId>,
    },
    /// The session's next entry has at least this number: progress is not written, but its number may have been seen.
    Counted {
        /// The session.
        session_id: SessionId,
        /// The number.
        next: u64,
    },
    /// A command is about to be started.
    Asked {
        /// Names its artifacts.
        command_id: CommandId,
        /// What was asked. Of its environment only the names are written, of its stdin the size.
        request: Arc<LaunchRequest>,
    },
    /// It runs.
    Started {
        /// The handle response.
        record: Shared,
        /// When its leader was started, in clock ticks after the boot (proc_pid_stat(5), field 22); none if that is not known.
        start_ticks: Option<u64>,
    },
    /// It did not start, and nothing is left of it.
    Undone {
        /// Names its artifacts.
        command_id: CommandId,
    },
    /// Its result, on its way to those who have asked for it by its handle.
    Owed {
        /// The result.
        record: Shared,
    },
    /// One of those has it.
    Taken {
        /// Whose result.
        command_id: CommandId,
    },
    /// An entry stands in its session's inbox.
    Delivered(Entry),
    /// Entries are gone from it: they were taken, acknowledged or discarded.
    Acknowledged {
        /// The session.
        session_id: SessionId,
        /// Their numbers.
        sequences: Vec<u64>,
    },
    /// A command of an earlier life of the host, with its result.
    Kept(RecoveredCommand),
    /// What became of the kept leftovers of a command whose result is written.
    Amended {
        /// The result, with that.
        record: Shared,
    },
    /// Nobody can ask for these any more.
    Forgotten {
        /// They name the artifacts.
        command_ids: Vec<CommandId>,
    },
}
impl fmt::Display for Row {
    /// As a trace has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Row::Reset => f.write_str("reset"),
            Row::Numbers { last_n, anonymous } => write!(f, "numbers {last_n} {anonymous}"),
            Row::SessionOpened { session_id, .. } => write!(f, "session_opened {session_id}"),
            Row::SessionEnded { session_id } => write!(f, "session_ended {session_id}"),
            Row::SessionsForgotten { session_ids } => {
                f.write_str("sessions_forgotten")?;
                session_ids.iter().try_for_each(|session_id| write!(f, " {session_id}"))
            }
            Row::Counted { session_id, next } => write!(f, "counted {session_id} {next}"),
            Row::Asked { command_id, .. } => write!(f, "asked {command_id}"),
            Row::Started { record, .. } => write!(f, "started {}", record.handle_id),
            Row::Undone { command_id } => write!(f, "undone {command_id}"),
            Row::Owed { record } => write!(f, "owed {}", record.handle_id),
            Row::Taken { command_id } => write!(f, "taken {command_id}"),
            Row::Delivered(entry) => write!(f, "delivered {} {}", entry.session_id, entry.sequence),
            Row::Acknowledged { session_id, sequences } => {
                write!(f, "acknowledged {session_id}")?;
                sequences.iter().try_for_each(|sequence| write!(f, " {sequence}"))
            }
            Row::Kept(command) => write!(f, "kept {}", command.record.handle_id),
            Row::Amended { record } => write!(f, "amended {}", record.handle_id),
            Row::Forgotten { command_ids } => {
                f.write_str("forgotten")?;
                command_ids.iter().try_for_each(|command_id| write!(f, " {command_id}"))
            }
        }
    }
}
impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// An entry that nobody had acknowledged when its host died.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RecoveredEntry {
    /// The entry; the text of a result is left out where it is on the disk.
    pub entry: Entry,
    /// That is so.
    #[serde(default)]
    pub text_on_disk: bool,
    /// A trace has only the size of what the host itself had pushed.
    #[serde(skip)]
    pub withheld: bool,
}
impl Serialize for RecoveredEntry {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let in_brief = match &self.entry.content {
            Content::Other(value) if self.withheld => {
                let size = serde_json::json!({ WITHHELD: Pushed::new((**value).clone()).bytes() });
                Some(Entry { content: Content::Other(Arc::new(size)), ..self.entry.clone() })
            }
            _ => None,
        };
        let mut fields = to.serialize_struct("RecoveredEntry", 2)?;
        fields.serialize_field("entry", in_brief.as_ref().unwrap_or(&self.entry))?;
        if self.text_on_disk {
            fields.serialize_field("text_on_disk", &true)?;
        }
        fields.end()
    }
}
/// A session of an earlier life of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveredSession {
    /// Its id.
    pub session_id: SessionId,
    /// It had ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// The number of its next entry.
    pub next: u64,
    /// What is unread, in order.
    pub entries: Vec<RecoveredEntry>,
}
impl Recovered {
    /// A trace has only the sizes of what the host itself had pushed.
    pub fn withhold_pushed(&mut self) {
        let entries = self.sessions.iter_mut().flat_map(|session| &mut session.entries);
        entries.for_each(|entry| entry.withheld = true);
    }
}
/// A command of an earlier life of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveredCommand {
    /// How it ended.
    pub record: Arc<Record>,
    /// Its texts are left out, and on the disk.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text_on_disk: bool,
    /// What was asked, in brief, as JSON: it is read only when it is asked for again.
    pub request: Arc<str>,
    /// Its result stands in its session's inbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}
