//! What stands in a session's inbox.

use crate::{HandleId, Record, SessionId, Stamp};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

/// Kind of a result.
pub const TOOL_RESULT: &str = "tool_result";
/// Kind of a progress entry.
pub const TOOL_PROGRESS: &str = "tool_progress";
/// Source of a result.
pub const SOURCE_EXIT: &str = "ostler.exit";
/// Kind of an entry that says that the journal can't be written.
pub const JOURNAL_ERROR: &str = "journal_error";
/// Source of such an entry.
pub const SOURCE_JOURNAL: &str = "ostler.journal";
/// Source of a progress entry.
pub const SOURCE_PROGRESS: &str = "ostler.progress";

/// After so many milliseconds, a minute, what was read and not acknowledged comes again, unless its reader asks for another
/// time: whoever works longer on a batch of entries reads smaller ones.
pub const REDELIVER_MS: u64 = 60_000;

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A result or progress.
    Record(Arc<Record>),
    /// The host's own.
    Other(Arc<serde_json::Value>),
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Grows by one with each entry of the session.
    pub sequence: u64,
    /// The session.
    pub session_id: SessionId,
    /// `tool_result`, `tool_progress`, or the host's own word.
    pub kind: Cow<'static, str>,
    /// The record, or the host's own.
    pub content: Content,
    /// `ostler.exit`, `ostler.progress`, or the host's own word.
    pub source: Cow<'static, str>,
    /// When it was put in.
    pub at: Stamp,
    /// Whether a reader could have seen it before: it was read, and not acknowledged in time.
    #[serde(default)]
    pub redelivered: bool,
}
impl Entry {
    /// A new one, that nobody can have seen before.
    pub fn new(
        sequence: u64,
        session_id: SessionId,
        (kind, source): (Cow<'static, str>, Cow<'static, str>),
        content: Content,
        at: Stamp,
    ) -> Entry {
        Entry { sequence, session_id, kind, content, source, at, redelivered: false }
    }
    /// The record of a result or progress entry.
    pub fn record(&self) -> Option<&Record> {
        match &self.content {
            Content::Record(record) => Some(record),
            Content::Other(_) => None,
        }
    }
    /// Whether it is a result.
    pub fn is_result(&self) -> bool {
        self.kind == TOOL_RESULT
    }
    /// Whether it is ostler's word about itself, and no result: it is not kept for a next life of the host, and has no limit of its own, since
    /// there is one at most.
    pub fn is_journal_error(&self) -> bool {
        self.kind == JOURNAL_ERROR
    }
    /// Whether it is a progress entry.
    pub fn is_progress(&self) -> bool {
        self.kind == TOOL_PROGRESS
    }
}

/// What a subscriber is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscribed {
    /// An entry. It stands in the inbox too, as long as nobody takes it.
    Entry(Entry),
    /// It was too far behind: so many entries, older than what comes next, are left out.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// Entries by their numbers, for an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequences {
    /// All up to this one that the reader was given and still holds.
    UpTo(u64),
    /// These, whoever has read them.
    These(BTreeSet<u64>),
}

/// Which entries are meant: those that fit all that is set. The default is every entry.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Filter {
    /// Only this kind.
    #[serde(default)]
    pub kind: Option<String>,
    /// Only about this handle.
    #[serde(default)]
    pub handle_id: Option<HandleId>,
}
impl Filter {
    /// Every entry.
    pub fn any() -> Filter {
        Filter::default()
    }
    /// Only this kind.
    pub fn kind(kind: impl Into<String>) -> Filter {
        Filter { kind: Some(kind.into()), handle_id: None }
    }
    /// Only results.
    pub fn results() -> Filter {
        Filter::kind(TOOL_RESULT)
    }
    /// Only about this handle.
    pub fn handle(handle_id: HandleId) -> Filter {
        Filter { kind: None, handle_id: Some(handle_id) }
    }
    /// And only about this handle.
    pub fn and_handle(mut self, handle_id: HandleId) -> Filter {
        self.handle_id = Some(handle_id);
        self
    }
    /// Whether it is meant.
    pub fn fits(&self, entry: &Entry) -> bool {
        self.kind.as_ref().is_none_or(|kind| entry.kind == *kind)
            && self.handle_id.is_none_or(|id| entry.record().is_some_and(|record| record.handle_id == id))
    }
}
