//! `cancel_command`: stops a command and all of its processes, or sends it a signal.

use super::{Answered, Asked};
use crate::{
    answer::{self, Said, Waited},
    options::YIELD_MAX_MS,
    shown,
};
use ostler::{Status, UnixSignal};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

pub(super) const ABOUT: &str = "Stops a command with all of its processes and answers with its result: SIGTERM, and SIGKILL after 2 seconds. \
`force` kills at once. With `signal` it only sends that signal, and the command goes on if it likes. One that has ended is no error: its result is \
shown.";

/// How long it waits for the end: far longer than the grace.
const WAIT_MS: u64 = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The command.
    handle: String,
    /// Kill it at once.
    #[serde(default)]
    force: bool,
    /// Only send this signal: SIGINT, SIGHUP, SIGQUIT, SIGUSR1 or SIGUSR2.
    signal: Option<Signal>,
    /// Answer after so many milliseconds at the latest; it is stopped all the same. Default 10000.
    yield_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
enum Signal {
    #[serde(rename = "SIGINT")]
    Int,
    #[serde(rename = "SIGHUP")]
    Hup,
    #[serde(rename = "SIGQUIT")]
    Quit,
    #[serde(rename = "SIGUSR1")]
    Usr1,
    #[serde(rename = "SIGUSR2")]
    Usr2,
}

pub(super) async fn call(arguments: Arguments, asked: &Asked<'_>) -> Answered {
    let handle = asked.handle(&arguments.handle).await?;
    let awaits = asked.ends.awaits(handle.id());
    let time = Duration::from_millis(arguments.yield_ms.unwrap_or(WAIT_MS).min(YIELD_MAX_MS));
    let (record, first) = match arguments.signal {
        Some(signal) => {
            if arguments.force {
                return Err("force and signal: give one of them".to_owned());
            }
            let signal = match signal {
                Signal::Int => UnixSignal::SigInt,
                Signal::Hup => UnixSignal::SigHup,
                Signal::Quit => UnixSignal::SigQuit,
                Signal::Usr1 => UnixSignal::SigUsr1,
                Signal::Usr2 => UnixSignal::SigUsr2,
            };
            let to_do = "read_command_output shows its output";
            handle.signal(signal).await.map_err(|error| format!("{error}; {to_do}"))?;
            let record = handle.status().await.map_err(|error| error.to_string())?;
            (record, Some(format!("signal: {} is sent; wait_command waits for what it does", signal.name())))
        }
        None => {
            let stopping = handle.cancel(arguments.force, time);
            match asked.wait(&handle, stopping).await.map_err(|error| error.to_string())? {
                Some(cancelled) if cancelled.cancelled || cancelled.record.status == Status::Running => {
                    (cancelled.record, None)
                }
                Some(ended) => (ended.record, Some("cancel: it had ended before".to_owned())),
                None => (handle.status().await.map_err(|error| error.to_string())?, None),
            }
        }
    };
    let first = first.filter(|_| !(arguments.force && record.status != Status::Running));
    let shown = shown::output(&handle, &record, 0, shown::SHOWN_MAX_BYTES).await;
    Ok(Said { awaits: Some(awaits), ..answer::of_command(&record, shown, first, Waited::default()) })
}
