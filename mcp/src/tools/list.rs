//! `list_commands`: what runs, and what has ended.

use super::{Answered, Asked, COMMAND_BYTES};
use crate::{
    answer::Said,
    place::{List, Listed},
};
use ostler::{Status, duration, on_one_line};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

pub(super) const ABOUT: &str = "Lists the commands of this session, those that run first and the newest of those that have ended: handle, state, \
age, silence, labels.";

/// Rows, if nothing else is asked for, and the most that can be.
const ROWS: u64 = 30;
const ROWS_MAX: u64 = 200;
/// Of a command in the structured content.
const ROW_COMMAND_BYTES: usize = 400;
/// Of a value of a label in the text.
const VALUE_BYTES: usize = 40;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// Only those with all of these labels.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Only those that run.
    #[serde(default)]
    running: bool,
    /// How many at most. Default 30, at most 200.
    limit: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Answer {
    /// Those that run first, and of each kind the newest first.
    commands: Vec<Row>,
    /// How many more there are.
    more: u64,
    /// Ends of commands that no answer has told before.
    ended: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The command's name in every other call.
    handle: String,
    /// What runs or ran.
    command: String,
    /// running, completed, killed, timed_out or lost.
    status: String,
    /// Null while it runs.
    success: Option<bool>,
    /// Null while it runs.
    exit_code: Option<i32>,
    /// Since its start, or of one that has ended how long it ran, in milliseconds.
    age_ms: Option<u64>,
    /// Since its last output, in milliseconds, while it runs.
    silence_ms: Option<u64>,
    /// Processes that it has left running.
    kept: u64,
    /// The names and values that it was given.
    labels: BTreeMap<String, String>,
}

pub(super) async fn call(arguments: Arguments, asked: &Asked<'_>) -> Answered {
    let session = asked.session;
    let limit = usize::try_from(arguments.limit.unwrap_or(ROWS).clamp(1, ROWS_MAX)).unwrap_or(usize::MAX);
    let list = match arguments.labels.is_empty() {
        true => session.list(if arguments.running { 0 } else { limit }).await,
        false => session.list_labelled(&arguments.labels, !arguments.running).await,
    };
    let List { mut listed, more: unread } = list.map_err(|error| error.to_string())?;
    let (more, unknown) = match (arguments.running, arguments.labels.is_empty()) {
        // What has ended is no part of a list of what runs.
        (true, _) => (0, 0),
        (false, true) => (unread, 0),
        // Nobody has read their labels.
        (false, false) => (0, unread),
    };
    let runs = |listed: &Listed| listed.handle.record().status == Status::Running;
    if arguments.running {
        // One may have ended meanwhile.
        listed.retain(runs);
    }
    listed.reverse();
    listed.sort_by_key(|listed| !runs(listed));
    let more = listed.len().saturating_sub(limit) as u64 + more;
    let mut output = String::new();
    let mut commands = Vec::new();
    for one in listed.iter().take(limit) {
        output += &line(one);
        commands.push(row(one));
    }
    let text = shown(commands.len() as u64, more, unknown);
    let answer = Answer { commands, more, ended: Vec::new() };
    Ok(Said { output, ..Said::new(text, &answer) })
}

/// `unknown`: of so many nobody has read the labels.
fn shown(shown: u64, more: u64, unknown: u64) -> String {
    let text = match (shown, more) {
        (0, _) => "No command fits; run_command starts one.".to_owned(),
        (shown, 0) => format!("{shown} of {shown} shown."),
        (shown, more) => format!("{shown} of {} shown; \"limit\" shows more.", shown + more),
    };
    match unknown {
        0 => text,
        _ => format!("{text} The labels of {unknown} older ones that have ended were not looked at."),
    }
}

fn row(listed: &Listed) -> Row {
    let record = listed.handle.record();
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Row {
        handle: record.handle_id.to_string(),
        command: on_one_line(&record.command, ROW_COMMAND_BYTES),
        status: record.status.to_string(),
        success: record.success,
        exit_code: record.exit_code,
        age_ms: listed.age.map(ms).or(record.duration_ms),
        silence_ms: listed.silence.map(ms),
        kept: listed.kept,
        labels: record.labels.clone(),
    }
}

fn line(listed: &Listed) -> String {
    let record = listed.handle.record();
    let row = row(listed);
    let time = row.age_ms.map(duration).unwrap_or_default();
    let state = match record.status {
        Status::Running if listed.paused => format!("paused, {time}"),
        Status::Running => {
            format!("running for {time}, silent for {}", row.silence_ms.map(duration).unwrap_or_default())
        }
        _ => format!("{} after {time}", record.ending()),
    };
    let kept = if listed.kept > 0 { format!(", {} left running", listed.kept) } else { String::new() };
    let labels: String = record
        .labels
        .iter()
        .map(|(name, value)| format!(" {name}={}", on_one_line(value, VALUE_BYTES)))
        .collect();
    format!("{} {state}{kept}: {}{labels}\n", row.handle, on_one_line(&record.command, COMMAND_BYTES))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_not_shown_is_counted_and_what_was_not_looked_at_is_said() {
        assert_eq!(shown(3, 0, 0), "3 of 3 shown.");
        assert_eq!(shown(3, 4, 0), "3 of 7 shown; \"limit\" shows more.");
        let unlooked = "The labels of 9 older ones that have ended were not looked at.";
        assert_eq!(shown(3, 0, 9), format!("3 of 3 shown. {unlooked}"));
        assert!(shown(0, 0, 9).starts_with("No command fits;") && shown(0, 0, 9).ends_with(unlooked));
    }
}
