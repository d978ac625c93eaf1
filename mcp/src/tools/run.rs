//! `run_command`: starts a command, and answers with its result or, when the time is up, its handle and the output so far.

use super::{Answered, Asked};
use crate::{
    answer::{self, Waited},
    options::YIELD_MAX_MS,
    shown,
};
use ostler::{Capture, Command, Preset, Status, TraceContext, View};
use rmcp::model::RequestMetaObject;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(super) const ABOUT: &str = "Runs a command and answers with its result, or after yield_ms with a handle and the output so far \
while it goes on in the background. Give `command` (a line for /bin/sh) or `argv`. Its end is told once by a later answer of any tool; \
wait_command waits for it. For servers, watchers and long builds give a short yield_ms, then wait_command for a port or a line. A \
command that fails is not an error of this tool: see success and exit_code.";

/// How long an answer waits for the end if nothing else is asked for: most commands end sooner.
const YIELD_MS: u64 = 10_000;
/// A terminal's size if nothing else is asked for.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// A line that /bin/sh runs. Give this or argv.
    command: Option<String>,
    /// A program and its arguments, which no shell looks at. Give this or command.
    argv: Option<Vec<String>>,
    /// Working directory. Default: the server's.
    cwd: Option<String>,
    /// Variables to set, by name.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Stop it after so many milliseconds. Default: never.
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
    /// Stop it when it has written nothing for so many milliseconds. Default: never.
    #[schemars(range(min = 1))]
    idle_timeout_ms: Option<u64>,
    /// Answer after so many milliseconds at the latest; the command goes on. 0: at once. Default 10000, at most 3600000.
    yield_ms: Option<u64>,
    /// Text for its standard input, which then ends. Default: no input.
    stdin: Option<String>,
    /// Keep its standard input open for write_stdin.
    #[serde(default)]
    interactive: bool,
    /// Run it in a terminal (80x24), for programs that ask for one. Implies interactive.
    #[serde(default)]
    terminal: bool,
    /// Rows of the terminal. Default 24.
    #[schemars(range(min = 1))]
    rows: Option<u16>,
    /// Columns of the terminal. Default 80.
    #[schemars(range(min = 1))]
    columns: Option<u16>,
    /// Record standard error apart, for read_command_output with stream. The order of the two is then that of their arrival. Default: one
    /// stream, in the exact order of its writes.
    #[serde(default)]
    separate_stderr: bool,
    /// Names and values of your own to find it again, at most 16.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// A key of your own: the same key again gives the command that was started with it, and starts nothing.
    launch_key: Option<String>,
}

pub(super) async fn call(arguments: Arguments, asked: &Asked<'_>) -> Answered {
    let chosen = arguments.yield_ms;
    let time = Duration::from_millis(chosen.unwrap_or(YIELD_MS).min(YIELD_MAX_MS));
    #[cfg(feature = "testing")]
    let time = match arguments.labels.contains_key(crate::testing::TASK_AT_ONCE) {
        true => Duration::ZERO,
        false => time,
    };
    let command = command(arguments, asked)?;
    let launches = asked.ends.launches();
    let handle = asked.session.launch(command).await.map_err(|error| error.of_launch())?;
    let awaits = asked.ends.awaits(handle.id());
    drop(launches);
    let stands = match asked.wait(&handle, handle.exited_within(time)).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => handle.status().await,
        Err(error) => Err(error),
    };
    let (record, first) = match stands {
        Ok(record) => (record, None),
        // It was started: whoever does not hear of its handle runs it again.
        Err(error) if error.is_elsewhere() => {
            let first = format!("state: it was started, and how it stands can't be asked now: {error}");
            (Arc::new(handle.record().clone()), Some(first))
        }
        Err(error) => return Err(error.to_string()),
    };
    let shown = shown::output(&handle, &record, 0, shown::SHOWN_MAX_BYTES).await;
    let mut said = answer::of_command(&record, shown, first, Waited::default());
    // Whoever chose a time wants to be back then, and no task.
    said.goes_on = (record.status == Status::Running && chosen.is_none()).then_some(handle);
    said.awaits = Some(awaits);
    Ok(said)
}

fn command(arguments: Arguments, asked: &Asked<'_>) -> Result<Command, String> {
    let command = match (arguments.command, arguments.argv) {
        (Some(line), None) => Command::new("/bin/sh").args(["-c", &line]),
        (None, Some(argv)) => {
            let mut argv = argv.into_iter();
            let program = argv.next().ok_or("argv: it is empty; its first element is the program")?;
            Command::new(program).args(argv)
        }
        (Some(_), Some(_)) => return Err("command and argv: give one of them, not both".to_owned()),
        (None, None) => return Err("command: it is missing; give a line for /bin/sh, or argv".to_owned()),
    };
    if arguments.stdin.is_some() && (arguments.interactive || arguments.terminal) {
        return Err("stdin: it ends after its text, so it can't be interactive or a terminal; use write_stdin for the text".to_owned());
    }
    if !arguments.terminal && (arguments.rows.is_some() || arguments.columns.is_some()) {
        return Err("rows and columns are a terminal's: give terminal too".to_owned());
    }
    let mut command = asked.options.apply(command).envs(arguments.env);
    let capture = Capture::default().view(View::Clean).max_inline_bytes(shown::SHOWN_MAX_BYTES);
    let capture = capture.merge_stderr(!arguments.separate_stderr);
    command = command.capture(capture);
    command = match arguments.terminal {
        true => command
            .preset(Preset::Terminal)
            .terminal(arguments.rows.unwrap_or(ROWS), arguments.columns.unwrap_or(COLUMNS)),
        false => command.preset(Preset::Agent),
    };
    if arguments.interactive && !arguments.terminal {
        command = command.stdin_open();
    }
    if let Some(text) = arguments.stdin {
        command = command.stdin_bytes(text);
    }
    if let Some(cwd) = asked.options.directory(arguments.cwd.as_deref())? {
        command = command.current_dir(cwd);
    }
    let given = arguments.timeout_ms.map(Duration::from_millis);
    if let Some(limit) = given.or(asked.options.timeout) {
        command = command.timeout(limit);
    }
    if let Some(ms) = arguments.idle_timeout_ms {
        command = command.idle_timeout(Duration::from_millis(ms));
    }
    for (name, value) in arguments.labels {
        command = command.label(name, value);
    }
    if let Some(key) = arguments.launch_key {
        command = command.launch_key(key);
    }
    if let Some(context) = trace_context(&asked.request.meta) {
        command = command.trace_context(context);
    }
    Ok(command)
}

/// Where the client says that this call belongs (SEP-414). What is none is left out: it must not fail a call.
fn trace_context(meta: &RequestMetaObject) -> Option<TraceContext> {
    let context = TraceContext::new(meta.get_traceparent()?).ok()?;
    Some(match meta.get_tracestate() {
        Some(state) => context.with_tracestate(state),
        None => context,
    })
}
