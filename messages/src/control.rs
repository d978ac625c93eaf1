//! What another process of the same user can ask a host, a line of JSON each way. Never a launch, and no input.

use crate::{CommandId, Record};
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
    /// It can't be done.
    Refused {
        /// Why, in words.
        why: String,
    },
}
