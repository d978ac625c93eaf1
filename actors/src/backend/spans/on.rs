//! The spans of commands. What they say: [`Spans`](crate::Spans).

use crate::config::{Config, Spans as Settings};
use ostler_messages::{CallId, LaunchError, LaunchRequest, Record, Request, Text};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsStr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    rc::Rc,
    sync::Arc,
};
use tracing::{Span, field::Empty};

/// The names of the fields, in one place: they may change where they are in development.
mod names {
    pub(super) const NAME: &str = "otel.name";
    pub(super) const KIND: &str = "otel.kind";
    pub(super) const EXECUTABLE: &str = "process.executable.name";
    pub(super) const SESSION: &str = "ostler.session_id";
    pub(super) const PID: &str = "process.pid";
    pub(super) const EXIT_CODE: &str = "process.exit.code";
    pub(super) const ARGUMENTS: &str = "process.command_args";
    pub(super) const ERROR: &str = "error.type";
    pub(super) const OUTCOME: &str = "otel.status_code";
    pub(super) const HANDLE: &str = "ostler.handle_id";
    pub(super) const COMMAND: &str = "ostler.command_id";
    pub(super) const STATUS: &str = "ostler.status";
    pub(super) const STOP_CAUSE: &str = "ostler.stop_cause";
    pub(super) const SIGNAL: &str = "ostler.signal";
    pub(super) const BYTES: &str = "ostler.output_bytes";
    pub(super) const REPEATED: &str = "ostler.repeated";
}

/// Longest name of a program that is shown: files of `/usr/bin` have fewer than 40.
const NAME_MAX_BYTES: usize = 64;

/// A subscriber is the host's code: a panic in it is no reason for the graph to end. None if it has panicked.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// How spans are made.
pub(crate) struct MakeSpans(Settings);
impl MakeSpans {
    pub(crate) fn new(config: &Config) -> MakeSpans {
        MakeSpans(config.spans.clone())
    }

    /// The span of a launch, on the thread that asks for it. What its command is told of it is put into the request.
    pub(crate) fn asked(&self, request: &mut Request) -> Asked {
        let Request::Launch(launch) = request else { return Asked(None) };
        let span = guarded(|| self.span(&launch.request)).filter(|span| !span.is_disabled());
        let Some(span) = span else { return Asked(None) };
        if let Some(hook) = &self.0.context {
            let came = launch.request.trace_context.as_ref();
            if let Some(context) = guarded(|| hook(&span, came)).flatten() {
                // Nobody else has it yet, so nothing is copied.
                Arc::make_mut(&mut launch.request).trace_context = Some(context);
            }
        }
        Asked(Some(span))
    }

    fn span(&self, request: &LaunchRequest) -> Span {
        let name = executable(&request.program);
        let span = tracing::info_span!(
            target: "ostler",
            "command",
            { names::NAME } = name,
            { names::KIND } = "client",
            { names::EXECUTABLE } = name,
            { names::SESSION } = request.session_id.as_str(),
            { names::ARGUMENTS } = Empty,
            { names::PID } = Empty,
            { names::EXIT_CODE } = Empty,
            { names::ERROR } = Empty,
            { names::OUTCOME } = Empty,
            { names::HANDLE } = Empty,
            { names::COMMAND } = Empty,
            { names::STATUS } = Empty,
            { names::STOP_CAUSE } = Empty,
            { names::SIGNAL } = Empty,
            { names::BYTES } = Empty,
            { names::REPEATED } = Empty,
        );
        if self.0.arguments {
            span.record(names::ARGUMENTS, request.display());
        }
        span
    }
}

/// The base name of a program. What looks like none, a line for a shell or worse, may hold what a span must not.
fn executable(program: &Text) -> &str {
    let name = Path::new(program.as_os_str()).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-@[]".contains(&byte);
    match (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(plain) {
        true => name,
        false => "unnamed",
    }
}

/// The span of a call that asks for a launch; none for other calls, and where nobody listens.
pub(crate) struct Asked(Option<Span>);

impl Asked {
    /// Of nobody who listens.
    pub(crate) fn nobody() -> Asked {
        Asked(None)
    }
}

/// The spans of live handles, on the graph's thread.
#[derive(Clone, Default)]
pub(crate) struct Spans(Rc<RefCell<Live>>);

#[derive(Default)]
struct Live {
    /// Of the call that is delivered now.
    asked: Option<(CallId, Span)>,
    /// By the handle's number: as many as live handles at most.
    handles: BTreeMap<u64, Span>,
}

impl Spans {
    /// A call is delivered.
    pub(crate) fn ask(&self, call: CallId, Asked(span): Asked) {
        self.0.borrow_mut().asked = span.map(|span| (call, span));
    }
    /// What a launch comes to: a new handle, an error, or a handle that was there.
    pub(crate) fn launch(&self, call: CallId, n: Option<u64>, error: Option<&LaunchError>) {
        let Some((_, span)) = self.0.borrow_mut().asked.take_if(|(asked, _)| *asked == call) else { return };
        match (n, error) {
            (Some(n), _) => drop(self.0.borrow_mut().handles.insert(n, span)),
            (None, Some(error)) => end(span, |span| fail(span, &wire_name(error))),
            (None, None) => end(span, |span| {
                span.record(names::REPEATED, true);
            }),
        }
    }
    /// The program runs.
    pub(crate) fn started(&self, n: u64, record: &Record) {
        let span = self.0.borrow().handles.get(&n).cloned();
        let Some(span) = span else { return };
        let told = guarded(|| {
            span.record(names::HANDLE, record.handle_id.to_string());
            span.record(names::COMMAND, record.command_id.to_string());
            record.pid.map(|pid| span.record(names::PID, i64::from(pid)));
            tracing::info!(target: "ostler", parent: &span, "started");
        });
        if told.is_none() {
            let kept = self.0.borrow_mut().handles.remove(&n);
            // The last of the two ends it, which is the subscriber's code again.
            guarded(|| drop(kept));
            guarded(|| drop(span));
        }
    }
    /// The program could not be run.
    pub(crate) fn refused(&self, n: u64, error: &LaunchError) {
        let span = self.0.borrow_mut().handles.remove(&n);
        if let Some(span) = span {
            end(span, |span| fail(span, &wire_name(error)));
        }
    }
    /// The result is there.
    pub(crate) fn ended(&self, n: u64, record: &Record) {
        let span = self.0.borrow_mut().handles.remove(&n);
        if let Some(span) = span {
            end(span, |span| tell_result(span, record));
        }
    }
}
impl Drop for Live {
    /// The graph ends before these have a result.
    fn drop(&mut self) {
        for span in std::mem::take(&mut self.handles).into_values() {
            end(span, |span| fail(span, "lost"));
        }
    }
}

/// The last that is said of a span. Each is guarded by itself: a panic at the end of a span while another one unwinds would end the host.
fn end(span: Span, last: impl FnOnce(&Span)) {
    guarded(|| last(&span));
    guarded(|| drop(span));
}

fn fail(span: &Span, kind: &str) {
    span.record(names::ERROR, kind);
    span.record(names::OUTCOME, "ERROR");
}

fn tell_result(span: &Span, record: &Record) {
    span.record(names::STATUS, record.status.to_string());
    record.stop_cause.map(|cause| span.record(names::STOP_CAUSE, cause.to_string()));
    record.signal.as_ref().map(|signal| span.record(names::SIGNAL, signal.as_str()));
    record.exit_code.map(|code| span.record(names::EXIT_CODE, i64::from(code)));
    // The bridge to OpenTelemetry makes a text of a number without a sign, which there is none of there.
    span.record(names::BYTES, i64::try_from(record.byte_count).unwrap_or(i64::MAX));
    let stopped = record.stop_cause.map(|cause| cause.to_string());
    if let Some(kind) = stopped.or_else(|| record.signal.clone()) {
        fail(span, &kind);
    } else if record.success != Some(true) {
        fail(span, "exit");
    }
}

/// As it stands in JSON: a word for each kind, without what is special to this one.
fn wire_name(error: &LaunchError) -> String {
    let json = serde_json::to_value(error).unwrap_or_default();
    json["error"].as_str().unwrap_or("launch").to_owned()
}
