//! `wait_command`: waits for a command's end or for what comes before it, or for the next end of any.

use super::{Answered, Asked};
use crate::{
    answer::{self, ConditionMet, Said, Waited},
    options::YIELD_MAX_MS,
    shown,
};
use ostler::{Condition, Status, WaitEnd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

pub(super) const ABOUT: &str = "Waits until a command ends, or until the first of these holds: a line of its output matches `pattern`, it \
listens on `port`, it is silent for `silence_ms`, it waits for `input`. Answers at the latest after timeout_ms; the command goes on in \
any case. Without a handle it waits until any command of the session ends.";

/// How long it waits if nothing else is asked for: less than what clients allow a call.
const TIMEOUT_MS: u64 = 30_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The command. Default: whichever ends first.
    handle: Option<String>,
    /// A regular expression, looked for in each line of its output, what was written before included.
    pattern: Option<String>,
    /// Look for the pattern from this offset on. Default 0.
    pattern_from: Option<u64>,
    /// A TCP port on which it is to listen.
    port: Option<u16>,
    /// Until it has written nothing for so many milliseconds.
    silence_ms: Option<u64>,
    /// Until it waits for input.
    #[serde(default)]
    input: bool,
    /// Wait at most so many milliseconds. Default 30000, at most 3600000.
    timeout_ms: Option<u64>,
    /// Show its output from here on: next_offset of an earlier answer. Default: all of it, the middle left out beyond 30000 bytes.
    offset: Option<u64>,
}

/// Of a wait without a handle: what the answer has of [`CommandAnswer`](crate::answer::CommandAnswer).
#[derive(Debug, Serialize)]
struct AnyEnded {
    wait_timed_out: bool,
}
/// So only these are always there.
pub(super) const ALWAYS: [&str; 2] = ["wait_timed_out", "ended"];

pub(super) async fn call(arguments: Arguments, asked: &Asked<'_>) -> Answered {
    let time = Duration::from_millis(arguments.timeout_ms.unwrap_or(TIMEOUT_MS).min(YIELD_MAX_MS));
    let Some(name) = &arguments.handle else { return any(&arguments, time, asked).await };
    let handle = asked.handle(name).await?;
    let awaits = asked.ends.awaits(handle.id());
    let waited = asked.wait(&handle, handle.wait_for(conditions(&arguments), time)).await;
    // The pattern is the first condition, and the only one that can be wrong.
    let waited =
        waited.map_err(|error| error.to_string().replace("conditions[0]: pattern.regex", "pattern"))?;
    let (record, met, first) = match waited {
        Some(waited) => {
            let met = ConditionMet::of(&waited.end);
            let first = match (&met, &waited.end) {
                (Some(met), _) => Some(format!("condition: {}", met.in_words())),
                (None, WaitEnd::TimedOut) => Some(format!(
                    "condition: not yet, after {} ms{}",
                    time.as_millis(),
                    unseen(waited.unseen)
                )),
                (None, WaitEnd::RecordingStopped) => Some(
                    "condition: it can't be seen any more, since its output is not recorded any more"
                        .to_owned(),
                ),
                _ => None,
            };
            (waited.record, met, first)
        }
        None => (handle.status().await.map_err(|error| error.to_string())?, None, None),
    };
    let from = arguments.offset.unwrap_or(0);
    let shown = shown::output(&handle, &record, from, shown::SHOWN_MAX_BYTES).await;
    let running = record.status == Status::Running;
    let waited = Waited { timed_out: running && met.is_none(), met };
    Ok(Said { awaits: Some(awaits), ..answer::of_command(&record, shown, first, waited) })
}

fn unseen(processes: u64) -> String {
    match processes {
        0 => String::new(),
        n => format!("; {n} of its processes can't be looked at, so it may hold all the same"),
    }
}

fn conditions(arguments: &Arguments) -> Vec<Condition> {
    let pattern = arguments
        .pattern
        .clone()
        .map(|pattern| Condition::regex(pattern).from_offset(arguments.pattern_from.unwrap_or(0)));
    let mut conditions: Vec<Condition> = pattern.into_iter().collect();
    conditions.extend(arguments.port.map(Condition::port));
    conditions.extend(arguments.silence_ms.map(Condition::silence_ms));
    conditions.extend(arguments.input.then_some(Condition::Input));
    conditions
}

async fn any(arguments: &Arguments, time: Duration, asked: &Asked<'_>) -> Answered {
    let conditions = conditions(arguments);
    if !conditions.is_empty() || arguments.offset.is_some() {
        return Err(
            "handle: it is missing; only the end of any command can be waited for without one".to_owned()
        );
    }
    let begun = Instant::now();
    let told = loop {
        let left = time.saturating_sub(begun.elapsed());
        let something = tokio::select! {
            something = asked.ends.wait(left) => something.map_err(|error| error.to_string())?,
            () = asked.request.ct.cancelled() => false,
            () = asked.gone.cancelled() => false,
        };
        // Another answer may have taken it.
        let told = asked.ends.claim(None).await.map_err(|error| error.to_string())?;
        if !something || !told.0.is_empty() {
            break told;
        }
    };
    let something = !told.0.is_empty();
    let text = match something {
        true => "Waited for any command to end.".to_owned(),
        // A call that was cancelled has waited for less.
        false => format!("No command has ended within {} ms.", begun.elapsed().min(time).as_millis()),
    };
    Ok(Said { told: Some(told), ..Said::new(text, &AnyEnded { wait_timed_out: !something }) })
}
