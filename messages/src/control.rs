//! What another process of the same user can ask a host, a line of JSON each way. Never a launch, and no input.

use crate::{CommandId, Labels, OutputFile, Record};
use serde::{Deserialize, Serialize};

/// Longest line that is asked: far more than any of these needs.
pub const CONTROL_ASK_MAX_BYTES: u64 = 64 << 10;
/// Longest line that is answered: a record without its texts, whose command line is as long as the kernel lets it.
pub const CONTROL_ANSWER_MAX_BYTES: u64 = 64 << 20;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ControlAsk {
    /// Stops a command as the host itself would. Its result goes where it goes without this. → [`ControlAnswer::Cancelled`]
    Cancel {
        /// What to stop: the whole id, since another host may have the pid.
        command_id: CommandId,
        /// Without its grace.
        #[serde(default)]
        now: bool,
    },
    /// The host's commands: those that live, and those that have ended and can still be asked for. → [`ControlAnswer::Listed`]
    List {
        /// Only those that have all of these labels.
        #[serde(default)]
        labels: Labels,
    },
    /// A page of its output, at most a mebibyte. → [`ControlAnswer::Page`]
    Read {
        /// Of which command.
        command_id: CommandId,
        /// Which file; both streams in the order of arrival by default.
        #[serde(default)]
        stream: OutputFile,
        /// Where to begin, in bytes.
        #[serde(default)]
        offset: u64,
        /// How long to wait for something to be there.
        #[serde(default)]
        wait_ms: u64,
    },
    /// Waits for its end. Its result goes where it goes without this. → [`ControlAnswer::Ended`]
    Wait {
        /// For what.
        command_id: CommandId,
    },
    /// Removes what is kept of a command that has ended and whose result is read, its output too. → [`ControlAnswer::Removed`]
    Remove {
        /// Which.
        command_id: CommandId,
    },
}

/// What is answered: first, at once, that it was heard; then the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlAnswer {
    /// It is being done.
    Heard,
    /// It has ended.
    Cancelled {
        /// Whether this stopped it; false if it had ended before.
        cancelled: bool,
        /// Its result, without texts.
        record: Box<Record>,
    },
    /// Its commands, without texts, in the order of their launches.
    Listed {
        /// Their records.
        records: Vec<Record>,
    },
    /// What was read.
    Page {
        /// Where it begins: as was asked, or where the character begins.
        offset: u64,
        /// Where to go on.
        next_offset: u64,
        /// Bytes in the file when it was looked at.
        total_bytes: u64,
        /// Nothing follows, now or later.
        eof: bool,
        /// The text; what is no UTF-8 is U+FFFD.
        text: String,
    },
    /// It has ended.
    Ended {
        /// Its result, without texts.
        record: Box<Record>,
    },
    /// Nothing is kept of it.
    Removed,
    /// It can't be done.
    Refused {
        /// Why, in words.
        why: String,
    },
}
