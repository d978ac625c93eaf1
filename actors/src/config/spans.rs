//! What the spans of commands say.

use ostler_messages::TraceContext;
use std::{fmt, sync::Arc};

/// See [`Spans::context`].
pub type ContextHook = dyn Fn(&tracing::Span, Option<&TraceContext>) -> Option<TraceContext> + Send + Sync;

/// The spans of commands, which a host's [`tracing`] subscriber sees: one for each handle, from the launch to the result, named `command` with the target
/// `ostler`. Its parent is the span in which the launch is awaited, waited for or begun.
///
/// Its fields have the names of OpenTelemetry's conventions for the caller of a program (<https://opentelemetry.io/docs/specs/semconv/cli/cli-spans/>, in
/// development there): `process.executable.name`, `process.pid`, `process.exit.code`, `error.type`, with `otel.name`, `otel.kind` and `otel.status_code` for
/// `tracing-opentelemetry`; and ostler's own: `ostler.session_id`, `ostler.handle_id`, `ostler.command_id`, `ostler.status`, `ostler.stop_cause`, `ostler.signal`, `ostler.output_bytes`.
/// An event `started` stands at the start, since many backends show a span only at its end. ostler links no exporter: the host brings its own.
///
/// `error.type` is a launch's error by its wire name (`not_found`, ...), `exit` (a code that is not 0), the name of the signal that ended the program, or what
/// stopped it: `cancelled`, `session_ended`, `deadline`, `idle`, `output_limit`, `host_gone`, `crashed`, `lease_lost`. A program whose name is longer than 64 bytes or looks like no file's is `unnamed`. Argv is left out, for it may hold secrets, unless [`arguments`](Spans::arguments) are asked for.
///
/// A span ends with its result, also one that is `lost`; those of commands that a crashed graph takes along say `lost`. Commands that an earlier life of the host started have none. The subscriber is called on
/// the thread that launches and on the graph's: one that blocks holds the graph up. One that panics is not called again for that command.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Spans {
    /// Whether `process.command_args` stands in the span.
    pub arguments: bool,
    /// What each command is told of its place in a trace.
    pub context: Option<Arc<ContextHook>>,
}
impl Spans {
    /// Without arguments, and without a hook.
    pub fn new() -> Spans {
        Spans::default()
    }
    /// The argv too, as one quoted line in `process.command_args`.
    pub fn arguments(mut self, shown: bool) -> Spans {
        self.arguments = shown;
        self
    }
    /// What the command gets as its place in the trace: asked once for each launch, on the launching thread, with its new span and with what the request says
    /// ([`Command::trace_context`](crate::Command::trace_context)). Only the host's exporter knows the ids of a span. The hook may give the span a remote parent, and answers with the
    /// span's own context, which the command then finds in `TRACEPARENT`. `None`: it gets what the request says. Without a hook too.
    ///
    /// `docs/embedding.md` has one for `tracing-opentelemetry`. To hang the span below what the request says, the hook gives it that parent (`set_parent`) before it
    /// asks for its context.
    pub fn context(
        mut self,
        hook: impl Fn(&tracing::Span, Option<&TraceContext>) -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Spans {
        self.context = Some(Arc::new(hook));
        self
    }
}
impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = self.context.as_ref().map(|_| "hook");
        f.debug_struct("Spans").field("arguments", &self.arguments).field("context", &hook).finish()
    }
}
