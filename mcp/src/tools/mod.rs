//! The tools: what a model can ask for. One file for each; its arguments stand at the top of it, with the words that a model reads.

mod cancel;
mod list;
mod read;
mod run;
mod wait;
mod write;

use crate::{
    answer::{self, CommandAnswer, Said},
    ledger::Ends,
    options::Options,
    place::{Error, Handle, Session},
    schema,
};
use ostler::{CallError, HandleId, duration, on_one_line};
use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, Tool as Description, ToolAnnotations},
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often a call that waits says so, to a client that gave it a token: some drop a call that is silent for long.
const PROGRESS_INTERVAL: Duration = match cfg!(feature = "testing") {
    false => Duration::from_secs(5),
    true => Duration::from_millis(100),
};
/// How long the command is asked for that: between two of them are ten seconds at most.
const STATUS_TIME: Duration = Duration::from_secs(4);
/// Handles that the answer to a wrong one names.
const NAMED_HANDLES: usize = 8;
/// Of a command's line, where several are named.
const COMMAND_BYTES: usize = 60;

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Run,
    Wait,
    Read,
    Write,
    Cancel,
    List,
}

impl Tool {
    const ALL: [Tool; 6] = [Tool::Run, Tool::Wait, Tool::Read, Tool::Write, Tool::Cancel, Tool::List];

    pub(crate) fn named(name: &str) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tool::Run => "run_command",
            Tool::Wait => "wait_command",
            Tool::Read => "read_command_output",
            Tool::Write => "write_stdin",
            Tool::Cancel => "cancel_command",
            Tool::List => "list_commands",
        }
    }

    fn description(self) -> Description {
        let (text, input, output) = match self {
            Tool::Run => {
                (run::ABOUT, schema::of_input::<run::Arguments>(), schema::of_output::<CommandAnswer>())
            }
            Tool::Wait => (
                wait::ABOUT,
                schema::of_input::<wait::Arguments>(),
                schema::of_output_with::<CommandAnswer>(&wait::ALWAYS),
            ),
            Tool::Read => {
                (read::ABOUT, schema::of_input::<read::Arguments>(), schema::of_output::<read::Answer>())
            }
            Tool::Write => {
                (write::ABOUT, schema::of_input::<write::Arguments>(), schema::of_output::<CommandAnswer>())
            }
            Tool::Cancel => {
                (cancel::ABOUT, schema::of_input::<cancel::Arguments>(), schema::of_output::<CommandAnswer>())
            }
            Tool::List => {
                (list::ABOUT, schema::of_input::<list::Arguments>(), schema::of_output::<list::Answer>())
            }
        };
        let reads = matches!(self, Tool::Wait | Tool::Read | Tool::List);
        let hints = ToolAnnotations::with_title(match self {
            Tool::Run => "Run a command",
            Tool::Wait => "Wait for a command",
            Tool::Read => "Read a command's output",
            Tool::Write => "Type into a command",
            Tool::Cancel => "Stop a command",
            Tool::List => "List commands",
        });
        let hints = hints
            .read_only(reads)
            .destructive(!reads)
            .idempotent(reads || self == Tool::Cancel)
            .open_world(matches!(self, Tool::Run | Tool::Write));
        Description::new(self.name(), text, input).with_raw_output_schema(output).with_annotations(hints)
    }
}

/// All of them, as a client is told. Made once.
pub(crate) fn all() -> &'static [Description] {
    static ALL_TOOLS: OnceLock<Vec<Description>> = OnceLock::new();
    ALL_TOOLS.get_or_init(|| Tool::ALL.into_iter().map(Tool::description).collect())
}

/// What a client is told of the tools: the JSON of `tools/list`.
pub fn descriptions() -> serde_json::Value {
    // Text, numbers and maps with text keys.
    serde_json::to_value(all()).unwrap_or_default()
}

pub(crate) fn names() -> String {
    Tool::ALL.map(Tool::name).join(", ")
}

/// What a call has to work with.
pub(crate) struct Asked<'a> {
    pub(crate) options: &'a Options,
    pub(crate) session: &'a Session,
    pub(crate) ends: &'a Arc<Ends>,
    pub(crate) request: &'a RequestContext<RoleServer>,
    pub(crate) gone: &'a CancellationToken,
}

/// What became of a call; the error is a text for the model.
pub(crate) type Answered = Result<Said, String>;

pub(crate) async fn call(tool: Tool, arguments: serde_json::Value, asked: &Asked<'_>) -> Answered {
    match tool {
        Tool::Run => run::call(read_arguments(tool, arguments)?, asked).await,
        Tool::Wait => wait::call(read_arguments(tool, arguments)?, asked).await,
        Tool::Read => read::call(read_arguments(tool, arguments)?, asked).await,
        Tool::Write => write::call(read_arguments(tool, arguments)?, asked).await,
        Tool::Cancel => cancel::call(read_arguments(tool, arguments)?, asked).await,
        Tool::List => list::call(read_arguments(tool, arguments)?, asked).await,
    }
}

fn read_arguments<T: DeserializeOwned>(tool: Tool, arguments: serde_json::Value) -> Result<T, String> {
    serde_path_to_error::deserialize(arguments).map_err(|error| {
        let (path, why) = (error.path().to_string(), in_words(&error.inner().to_string()));
        let field = if path == "." { String::new() } else { format!("{path}: ") };
        format!("{}: {field}{}; call it again with that put right", tool.name(), on_one_line(&why, 600))
    })
}

/// Names of types are those of this language, and not of JSON.
fn in_words(error: &str) -> String {
    let numbers = ["u64", "u16", "u8"];
    let error = numbers.iter().fold(error.to_owned(), |error, name| {
        error.replace(&format!("expected {name}"), "expected a whole number")
    });
    error.replace("expected a sequence", "expected a list").replace("expected a map", "expected an object")
}

impl Asked<'_> {
    /// A handle of this session, as it stands now.
    pub(crate) async fn handle(&self, name: &str) -> Result<Handle, String> {
        let Ok(id) = name.trim().parse::<HandleId>() else { return Err(self.unknown(name).await) };
        match self.session.handle(id).await {
            Ok(handle) => Ok(handle),
            Err(error) if error.is_unknown() => Err(self.unknown(name).await),
            Err(error) if matches!(error.call(), Some(CallError::HandleForgotten { .. })) => Err(format!(
                "{name} has ended, its end was told, and so many have ended since that nothing is kept of it but its files; list_commands shows those that are kept"
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn unknown(&self, name: &str) -> String {
        let name = on_one_line(name, 80);
        // A graph that has ended has none.
        let list = self.session.list(NAMED_HANDLES).await;
        let (listed, more) = list.map(|list| (list.listed, list.more)).unwrap_or_default();
        if listed.is_empty() {
            return format!(
                "unknown handle {name}: this session has none; run_command starts a command and gives its handle"
            );
        }
        let named: Vec<String> = listed
            .iter()
            .rev()
            .take(NAMED_HANDLES)
            .map(|listed| {
                let record = listed.handle.record();
                format!(
                    "{} ({}, {})",
                    record.handle_id,
                    on_one_line(&record.command, COMMAND_BYTES),
                    record.status
                )
            })
            .collect();
        let more = (listed.len() - named.len()) as u64 + more;
        let more = if more > 0 { format!(" and {more} older ones") } else { String::new() };
        format!(
            "unknown handle {name}: the session has {}{more}; use one of these, or run_command",
            named.join(", ")
        )
    }

    /// Waits for what is asked of a command, and tells the client from time to time. None: nobody waits for the answer any more.
    pub(crate) async fn wait<T>(
        &self,
        handle: &Handle,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let tell = async {
            let Some(token) = self.request.meta.get_progress_token() else {
                return std::future::pending().await;
            };
            let begun = Instant::now();
            loop {
                tokio::time::sleep(PROGRESS_INTERVAL).await;
                let status = tokio::time::timeout(STATUS_TIME, handle.status()).await;
                let elapsed = begun.elapsed();
                let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                let message = match status {
                    Ok(Ok(record)) => answer::progress(&record, ms),
                    // The call goes on: it says what becomes of it.
                    _ => format!(
                        "{} was asked for {} ago, and does not say now how it stands",
                        handle.id(),
                        duration(ms)
                    ),
                };
                let progress = ProgressNotificationParam::new(token.clone(), elapsed.as_secs_f64())
                    .with_message(message);
                // The client is gone, which another arm sees.
                let _ = self.request.peer.notify_progress(progress).await;
            }
        };
        tokio::select! {
            biased;
            answer = call => answer.map(Some),
            () = self.request.ct.cancelled() => Ok(None),
            () = self.gone.cancelled() => Ok(None),
            () = tell => Ok(None),
        }
    }
}
