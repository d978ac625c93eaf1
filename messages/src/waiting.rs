//! What a host can wait for, and what a wait answers. The messages of a wait stand in `supervision.rs`, `commands.rs` and
//! `events.rs`.

use crate::{OutputFile, Shared};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most conditions of one wait: a host that waits for more than so many things at once starts more waits.
pub const CONDITIONS_MAX: usize = 16;

/// A pattern as a caller writes it: `{"literal": "text"}` or `{"regex": "text"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PatternSource {
    /// This text, letter for letter.
    Literal(String),
    /// A regular expression within a line.
    Regex(String),
}

/// What a host waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Condition {
    /// The result is there.
    Exit,
    /// A line matches.
    #[non_exhaustive]
    Output {
        /// What is looked for, within a line.
        pattern: PatternSource,
        /// In which file.
        #[serde(default)]
        stream: OutputFile,
        /// From which offset on, in bytes. 0: what was written before counts.
        #[serde(default)]
        from: u64,
    },
    /// No byte on either stream for so long.
    Silence {
        /// For how long, from the last byte (or the start) on.
        ms: u64,
    },
    /// A process of the tree listens on a TCP port.
    Port {
        /// Which; none: any.
        #[serde(default)]
        port: Option<u16>,
    },
    /// A process of the tree waits for input on the command's stdin or terminal.
    Input,
}
impl Condition {
    /// A line of the combined output holds this text.
    pub fn text(text: impl Into<String>) -> Condition {
        Condition::pattern(PatternSource::Literal(text.into()))
    }
    /// A line of the combined output matches this regular expression.
    pub fn regex(regex: impl Into<String>) -> Condition {
        Condition::pattern(PatternSource::Regex(regex.into()))
    }
    fn pattern(pattern: PatternSource) -> Condition {
        Condition::Output { pattern, stream: OutputFile::Combined, from: 0 }
    }
    /// Of an output condition: in which file.
    pub fn in_stream(mut self, which: OutputFile) -> Condition {
        if let Condition::Output { stream, .. } = &mut self {
            *stream = which;
        }
        self
    }
    /// Of an output condition: from which offset on.
    pub fn from_offset(mut self, offset: u64) -> Condition {
        if let Condition::Output { from, .. } = &mut self {
            *from = offset;
        }
        self
    }
    /// No byte on either stream for so many milliseconds.
    pub fn silence_ms(ms: u64) -> Condition {
        Condition::Silence { ms }
    }
    /// A process of the tree listens on this TCP port.
    pub fn port(port: u16) -> Condition {
        Condition::Port { port: Some(port) }
    }
    /// A process of the tree listens on some TCP port.
    pub fn any_port() -> Condition {
        Condition::Port { port: None }
    }
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Span {
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// A match, and its line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Found {
    /// Where the match begins in the file.
    pub offset: u64,
    /// Its length in bytes, never 0.
    pub length: u64,
    /// The line without its end, invalid bytes as U+FFFD. Of a line of more than 4 KiB what is around the match, cut on
    /// characters. Of one that has no end yet, what was there.
    pub line: String,
    /// Where the line begins in the file.
    pub line_offset: u64,
    /// `line` is a part of it.
    pub line_truncated: bool,
    /// The whole match and the pattern's groups, in the order of their numbers.
    pub groups: Vec<Group>,
}

/// What a group of a regular expression matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Group {
    /// 0 is the whole match; the others count by their opening brackets.
    pub number: usize,
    /// Its name, if it was given one: `(?<name>…)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it matched, invalid bytes as U+FFFD, of more than 4 KiB the beginning. None: it took no part in the match.
    pub text: Option<String>,
    /// Where that is.
    #[serde(flatten)]
    pub span: Option<Span>,
}

/// A TCP port on which a process of a tree listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct ListeningPort {
    /// The port.
    pub port: u16,
    /// On which address.
    pub address: IpAddr,
    /// Who listens, where that is known.
    pub pid: Option<u32>,
}

/// How a condition was seen to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// The match.
    Output(Found),
    /// The port.
    Port(ListeningPort),
    /// The process that waits for input.
    Input {
        /// Its process id.
        pid: u32,
    },
    /// For how long.
    Silence {
        /// Since the last byte, in milliseconds.
        ms: u64,
    },
}

/// Where the recording of the output stopped, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct RecordingStopped {
    /// Bytes of the file that were recorded.
    pub offset: u64,
    /// The limit or the error, in words.
    pub why: String,
}

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitEnd {
    /// The command has ended; everything recorded was searched before.
    Exit,
    /// A condition holds.
    Met {
        /// Its place in the caller's list, from 0.
        index: usize,
        /// How it was seen.
        by: Met,
    },
    /// Nothing that could still hold is left: the recording has stopped.
    RecordingStopped,
    /// None held in time.
    TimedOut,
}

/// The answer to a wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waited {
    /// What ended it.
    pub end: WaitEnd,
    /// The record as of that moment; the result, if the command has ended.
    pub record: Shared,
    /// Processes that could not be looked at for `input`, or `port`, the last time: where there are some, that the condition did not hold is
    /// not known.
    pub unseen: u64,
    /// What is beyond can't be searched.
    pub recording_stopped: Option<RecordingStopped>,
}
