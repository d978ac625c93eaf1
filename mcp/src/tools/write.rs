//! `write_stdin`: text and keys for a command, and what it says to them.

use super::{Answered, Asked};
use crate::{
    answer::{self, Said, Waited},
    keys,
    options::YIELD_MAX_MS,
    place::Handle,
    shown,
};
use ostler::{CallError, Condition, ReadRequest, Record, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) const ABOUT: &str = "Writes to the standard input or terminal of a command that was run with interactive or terminal: `text`, then \
`keys`, then the end of input if `eof`. Text is sent as it is: end a line with \\n, or with the key enter in a terminal. Answers with what the \
command has written since, once it is silent for a moment, at the latest after yield_ms.";

/// How long it waits for what the command says to it.
const YIELD_MS: u64 = 2_000;
/// An answer that goes on is given time until it pauses for so long.
const PAUSE_MS: u64 = 150;
/// What one terminal line can take at once is for the kernel to say; a command that reads takes it in this time.
const WRITE_TIME: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The command.
    handle: String,
    /// Text to write.
    #[serde(default)]
    text: String,
    /// Keys to press after it: enter, tab, escape, up, down, left, right, home, end, page-up, page-down, backspace, delete, space, f1 to f12, ctrl-a to ctrl-z.
    #[serde(default)]
    keys: Vec<String>,
    /// Then end its input.
    #[serde(default)]
    eof: bool,
    /// New size of its terminal.
    rows: Option<u16>,
    /// New size of its terminal.
    columns: Option<u16>,
    /// Answer after so many milliseconds at the latest. Default 2000.
    yield_ms: Option<u64>,
}

pub(super) async fn call(arguments: Arguments, asked: &Asked<'_>) -> Answered {
    let handle = asked.handle(&arguments.handle).await?;
    let awaits = asked.ends.awaits(handle.id());
    let mut bytes = arguments.text.into_bytes();
    for key in &arguments.keys {
        let known = keys::bytes(key).ok_or_else(|| {
            format!("keys: there is no key {key:?}; there are enter, tab, escape, up, down, left, right, home, end, page-up, page-down, backspace, delete, space, f1 to f12, and ctrl-a to ctrl-z")
        })?;
        bytes.extend(known);
    }
    let resized = match (arguments.rows, arguments.columns) {
        (None, None) => false,
        (Some(rows), Some(columns)) => {
            handle.resize(rows, columns).await.map_err(|error| error.to_string())?;
            true
        }
        _ => return Err("rows and columns: a size has both".to_owned()),
    };
    if bytes.is_empty() && !arguments.eof && !resized {
        return Err("text: there is nothing to write; give text, keys or eof".to_owned());
    }
    let from = handle.record().output_offset;
    let mut first = None;
    if !bytes.is_empty() {
        let all = bytes.len();
        let written = handle
            .write_within(bytes, WRITE_TIME)
            .await
            .map_err(|error| format!("{error}{}", to_do(&handle)))?;
        if written.queued > 0 {
            first = Some(format!(
                "input: it has taken {} of {all} bytes; the rest follows as it reads",
                written.taken
            ));
        } else if written.dropped > 0 {
            first = Some(format!("input: it has taken {} of {all} bytes and reads no more", written.taken));
        }
    }
    if arguments.eof {
        end_input(&handle).await?;
    }
    let time = Duration::from_millis(arguments.yield_ms.unwrap_or(YIELD_MS).min(YIELD_MAX_MS));
    let record = answered(&handle, from, time, asked).await?;
    let shown = shown::output(&handle, &record, from, shown::SHOWN_MAX_BYTES).await;
    Ok(Said { awaits: Some(awaits), ..answer::of_command(&record, shown, first, Waited::default()) })
}

fn to_do(handle: &Handle) -> &'static str {
    match handle.record().status {
        Status::Running => {
            "; only a command that was run with interactive or terminal takes input: run it again with that"
        }
        _ => "; read_command_output shows what it has written",
    }
}

/// A pipe is closed; to a terminal Ctrl-D says it.
async fn end_input(handle: &Handle) -> Result<(), String> {
    match handle.close_stdin().await {
        Err(error) if matches!(error.call(), Some(CallError::StdinIsTerminal { .. })) => {
            handle.write_within(vec![4], WRITE_TIME).await.map(drop).map_err(|error| error.to_string())
        }
        other => other.map_err(|error| error.to_string()),
    }
}

/// Waits for something new, and then for a pause.
async fn answered(
    handle: &Handle,
    from: u64,
    time: Duration,
    asked: &Asked<'_>,
) -> Result<Arc<Record>, String> {
    let until = Instant::now() + time;
    // It comes, or the command ends, or the time is up: either way the record says what there is.
    let wait_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let new = ReadRequest::new().offset(from).length(1).wait_ms(wait_ms);
    tokio::select! {
        _ = handle.read(new) => {}
        () = asked.request.ct.cancelled() => {}
        () = asked.gone.cancelled() => {}
    }
    let left = until.saturating_duration_since(Instant::now());
    let pause = vec![Condition::silence_ms(PAUSE_MS)];
    let waited = asked.wait(handle, handle.wait_for(pause, left)).await;
    match waited.map_err(|error| error.to_string())? {
        Some(waited) => Ok(waited.record),
        None => handle.status().await.map_err(|error| error.to_string()),
    }
}
