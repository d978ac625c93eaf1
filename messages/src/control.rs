//! What another process of the same user can ask a host, a line of JSON each way. Never a launch, and no input.

use crate::{HandleId, Record};
use serde::{Deserialize, Serialize};

/// Longest line that is asked: far more than any of these needs.
pub const CONTROL_ASK_MAX_BYTES: u64 = 64 << 10;
/// Longest line that is answered: a record with two texts of the largest size, escaped.
pub const CONTROL_ANSWER_MAX_BYTES: u64 = 256 << 20;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ControlAsk {
    /// Stops a command as the host itself would; its host has the result too. → [`ControlAnswer::Cancelled`]
    Cancel {
        /// What to stop.
        handle_id: HandleId,
        /// Without its grace.
        #[serde(default)]
        now: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlAnswer {
    /// It has ended.
    Cancelled {
        /// Whether this stopped it; false if it had ended before.
        cancelled: bool,
        /// Its result.
        record: Box<Record>,
    },
    /// It can't be done.
    Refused {
        /// Why, in words.
        why: String,
    },
}
