//! What a tool answers: text for the model, the same as structured content, and the ends that were not told yet.

use crate::{
    ledger::{Awaits, Told},
    place::Handle,
    shown::Shown,
};
use ostler::{Found, HandleId, Leftover, Met, Outcome, Record, WaitEnd, counted, duration, on_one_line};
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Of a command, a line of output and a process's name in structured content: enough to know them, and no more.
const COMMAND_BYTES: usize = 2_000;
const LINE_BYTES: usize = 4_096;
const NAME_BYTES: usize = 64;

/// Where the metadata of an error has the ends that it tells: it has no structured content.
const ENDED: &str = "ostler/ended";

/// What one tool has to say, before the ends of other commands are added.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Output of a command, apart from what ostler says.
    pub(crate) output: String,
    /// What ostler says.
    pub(crate) text: String,
    /// As the tool's output schema has it, but for `ended`.
    pub(crate) structured: Map<String, Value>,
    /// The end that this answer is about.
    pub(crate) tells_of: Option<HandleId>,
    /// Until it is said, no other answer tells of the end of this command.
    pub(crate) awaits: Option<Awaits>,
    /// What it tells, if that is known already.
    pub(crate) told: Option<(Vec<String>, Told)>,
    /// The command that goes on, if a task may be made of it.
    pub(crate) goes_on: Option<Handle>,
    /// The call did not work.
    pub(crate) is_error: bool,
}

impl Said {
    /// An error, for the model: what is wrong, and what to do.
    pub(crate) fn error(text: impl Into<String>) -> Said {
        Said { text: text.into(), is_error: true, ..Said::default() }
    }

    pub(crate) fn new(text: String, structured: &impl Serialize) -> Said {
        Said { text, structured: as_map(structured), ..Said::default() }
    }

    /// With the ends that nobody was told of.
    pub(crate) fn into_result(self, ended: Vec<String>) -> CallToolResult {
        let mut text = self.text;
        if !ended.is_empty() {
            text += "\n\nMeanwhile, not told before (read_command_output shows their output):";
            for line in &ended {
                text += "\n* ";
                text += line;
            }
        }
        let mut content = Vec::with_capacity(2);
        if !self.output.is_empty() {
            content.push(ContentBlock::text(self.output));
        }
        content.push(ContentBlock::text(text));
        if self.is_error {
            let mut result = CallToolResult::error(content);
            // Not as structured content: some clients hold that of an error, too, against the schema of an answer.
            if !ended.is_empty() {
                result.meta = Some(MetaObject(Map::from_iter([(ENDED.to_owned(), Value::from(ended))])));
            }
            return result;
        }
        let mut structured = self.structured;
        structured.insert("ended".to_owned(), Value::from(ended));
        let mut result = CallToolResult::success(content);
        result.structured_content = Some(Value::Object(structured));
        result
    }
}

pub(crate) fn as_map(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        // Structs of text and numbers alone come here.
        _ => Map::new(),
    }
}

/// How a command stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommandAnswer {
    /// The command's name in every other call.
    handle: String,
    /// What runs, quoted for a shell.
    command: String,
    /// running, completed (it ended by itself), killed, timed_out or lost.
    status: String,
    /// Whether it ended by itself with exit code 0. Null while it runs.
    success: Option<bool>,
    /// Its exit code; -1 if it died of a signal or it is not known. Null while it runs.
    exit_code: Option<i32>,
    /// The signal of which it died.
    signal: Option<String>,
    /// Who or what stopped it: cancelled, session_ended, deadline, idle, output_limit, host_gone, crashed or lease_lost.
    stop_cause: Option<String>,
    /// From its start to its end, in milliseconds. Null while it runs.
    duration_ms: Option<u64>,
    /// Time since its last output, in milliseconds. Null when it has ended.
    silence_ms: Option<u64>,
    /// Its output, both streams in order of arrival, as a terminal would show it.
    output: String,
    /// Raw bytes of output that are left out in the middle of `output`.
    omitted_bytes: u64,
    /// Where to read on, in raw bytes of output.
    next_offset: u64,
    /// Raw bytes that it has written.
    total_bytes: u64,
    /// The file that holds all of it. Empty if it is on another machine.
    output_path: String,
    /// Processes of it that outlived it, and what became of them. Null if that is not known, or while it runs.
    leftovers: Option<Vec<String>>,
    /// Variables that look like credentials, which it was not given.
    env_withheld: Vec<String>,
    /// What is missing of its record, and why.
    artifact_error: Option<String>,
    /// The condition that ended a wait; null if it was no wait, its time was up, or the command ended first.
    condition: Option<ConditionMet>,
    /// Of a wait: its time was up before anything of what was waited for.
    wait_timed_out: bool,
    /// Ends of other commands that no answer has told before.
    ended: Vec<String>,
}

/// A condition that holds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConditionMet {
    /// pattern, port, silence or input.
    which: String,
    /// Of a pattern: the line that matches.
    line: Option<String>,
    /// Of a pattern: what its groups matched, the whole match first.
    groups: Vec<Option<String>>,
    /// Of a pattern: where the match begins, in raw bytes of output.
    offset: Option<u64>,
    /// Of a port: the port on which it listens.
    port: Option<u16>,
}

/// What came of a wait; nothing, if it was none.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    pub(crate) met: Option<ConditionMet>,
    pub(crate) timed_out: bool,
}

impl ConditionMet {
    pub(crate) fn of(end: &WaitEnd) -> Option<ConditionMet> {
        let WaitEnd::Met { by, .. } = end else { return None };
        let mut met =
            ConditionMet { which: String::new(), line: None, groups: Vec::new(), offset: None, port: None };
        match by {
            Met::Output(Found { line, groups, offset, .. }) => {
                met.which = "pattern".to_owned();
                met.line = Some(on_one_line(line, LINE_BYTES));
                met.groups = groups
                    .iter()
                    .map(|group| group.text.as_ref().map(|text| on_one_line(text, LINE_BYTES)))
                    .collect();
                met.offset = Some(*offset);
            }
            Met::Port(port) => {
                met.which = "port".to_owned();
                met.port = Some(port.port);
            }
            Met::Silence { .. } => met.which = "silence".to_owned(),
            Met::Input { .. } => met.which = "input".to_owned(),
        }
        Some(met)
    }

    /// `a line matches: …`, in words.
    pub(crate) fn in_words(&self) -> String {
        match (&*self.which, &self.line, self.port) {
            ("pattern", Some(line), _) => format!("a line matches: {line}"),
            ("port", _, Some(port)) => format!("it listens on port {port}"),
            ("input", ..) => "it waits for input: write_stdin answers it".to_owned(),
            _ => "it is silent".to_owned(),
        }
    }
}

/// How a command stands, with its output.
pub(crate) fn of_command(record: &Record, shown: Shown, first: Option<String>, waited: Waited) -> Said {
    let running = record.status == ostler::Status::Running;
    let handle = record.handle_id.to_string();
    let mut text = first.map(|line| line + "\n").unwrap_or_default();
    text += &record.notice_below_output(shown.bytes);
    let withheld = record.env_withheld.clone().unwrap_or_default();
    if record.success == Some(false) && !withheld.is_empty() {
        text += &format!(
            "\nenvironment: without {}, which may be credentials; give it what it needs with env",
            withheld.join(", ")
        );
    }
    if running {
        text += &format!(
            "\ncall: wait_command {{\"handle\":\"{handle}\",\"offset\":{}}} waits for its end; cancel_command stops it",
            record.output_offset
        );
    } else if shown.omitted > 0 {
        text += &format!(
            "\ncall: read_command_output {{\"handle\":\"{handle}\",\"offset\":…}} shows what was left out; \"find\" searches all of it"
        );
    }
    let answer = CommandAnswer {
        command: on_one_line(&record.command, COMMAND_BYTES),
        status: record.status.to_string(),
        success: record.success,
        exit_code: record.exit_code,
        signal: record.signal.clone(),
        stop_cause: record.stop_cause.map(|cause| cause.to_string()),
        duration_ms: record.duration_ms,
        silence_ms: record.silence_ms,
        output: shown.text.clone(),
        omitted_bytes: shown.omitted,
        next_offset: record.output_offset,
        total_bytes: record.byte_count,
        output_path: record.output_path.to_string_lossy().into_owned(),
        leftovers: (!running).then(|| leftovers(record)).flatten(),
        env_withheld: withheld,
        artifact_error: record.artifact_error.clone(),
        condition: waited.met,
        wait_timed_out: waited.timed_out,
        ended: Vec::new(),
        handle,
    };
    let tells_of = (!running).then_some(record.handle_id);
    Said { output: shown.text, tells_of, ..Said::new(text, &answer) }
}

fn leftovers(record: &Record) -> Option<Vec<String>> {
    let left = record.leftovers.as_ref()?;
    Some(left.iter().map(leftover).collect())
}

fn leftover(left: &Leftover) -> String {
    let outcome = match left.outcome {
        Outcome::Terminated => "terminated",
        Outcome::Killed => "killed",
        Outcome::Kept => "kept running",
        Outcome::Survived => "survived SIGKILL",
        _ => "not known",
    };
    format!("{} (pid {}): {outcome}", on_one_line(&left.name, NAME_BYTES), left.pid)
}

/// `12.3 s, silent for 3.0 s, 1,204 bytes of output`: a command that runs, for a progress notification and a task.
pub(crate) fn progress(record: &Record, elapsed_ms: u64) -> String {
    let silence = record.silence_ms.map(|ms| format!(", silent for {}", duration(ms))).unwrap_or_default();
    format!(
        "{} runs for {}{silence}, {} of output",
        record.handle_id,
        duration(elapsed_ms),
        counted(record.byte_count, "byte")
    )
}
