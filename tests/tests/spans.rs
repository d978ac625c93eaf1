//! Spans of commands, as a host's exporter has them: the real bridge to OpenTelemetry, with an exporter that keeps them in memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use opentelemetry::{
    Value,
    propagation::TextMapPropagator,
    trace::{Status as Verdict, TracerProvider},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use ostler::{
    Command, Config, Filter, Ostler, Session, Spans, Status, TraceContext,
    testing::{Program, World},
};
use ostler_tests::{LIMIT, ms, sh};
use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

/// One subscriber for the process, as a host has it: the graph's thread finds no other. Each test knows its spans by its session.
fn exporter() -> &'static InMemorySpanExporter {
    static EXPORTER: OnceLock<InMemorySpanExporter> = OnceLock::new();
    EXPORTER.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("host"));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Panics).with(layer))
            .unwrap();
        exporter
    })
}

/// The span that panics once more when it ends, for whoever unwinds then.
static ENDS: AtomicU64 = AtomicU64::new(0);

/// A faulty part of a host's subscriber.
struct Panics;
impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Panics {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        struct Look(bool);
        impl tracing::field::Visit for Look {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 |= format!("{value:?}").contains("makes-it-panic");
            }
        }
        let mut look = Look(false);
        attributes.record(&mut look);
        assert!(!look.0, "the subscriber panics at its first sight");
    }
    fn on_record(
        &self,
        id: &tracing::Id,
        values: &tracing::span::Record<'_>,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        struct Look(bool);
        impl tracing::field::Visit for Look {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 |= format!("{value:?}") == "77";
            }
        }
        let mut look = Look(false);
        values.record(&mut look);
        if look.0 {
            ENDS.store(id.into_u64(), Ordering::Relaxed);
            panic!("the subscriber panics at an exit code");
        }
    }
    fn on_close(&self, id: tracing::Id, _: tracing_subscriber::layer::Context<'_, S>) {
        let again = ENDS.compare_exchange(id.into_u64(), 0, Ordering::Relaxed, Ordering::Relaxed);
        assert!(again.is_err(), "the subscriber panics at the end of a span");
    }
}

/// What a host with an exporter sets.
fn spans() -> Spans {
    Spans::new().context(|span, came| {
        let headers =
            came.map(|came| HashMap::from([("traceparent".to_owned(), came.traceparent().to_owned())]));
        if let Some(headers) = headers {
            span.set_parent(TraceContextPropagator::new().extract(&headers)).unwrap();
        }
        let mut own = HashMap::new();
        TraceContextPropagator::new().inject_context(&span.context(), &mut own);
        TraceContext::new(own.remove("traceparent")?).ok()
    })
}

struct Host {
    ostler: Ostler,
    session: Session,
    _artifacts: tempfile::TempDir,
}
fn host(spans: Spans) -> Host {
    exporter();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let artifacts = tempfile::tempdir().unwrap();
    let config = Config::new().artifact_root(artifacts.path().join("artifacts")).spans(spans);
    let ostler = Ostler::start(config).unwrap();
    let id = format!("spans-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let session = ostler.open_session_as(id.as_str()).wait().unwrap();
    Host { ostler, session, _artifacts: artifacts }
}

fn ended(session: &Session) -> Vec<SpanData> {
    let mine = |span: &SpanData| text(span, "ostler.session_id").as_deref() == Some(session.id().as_str());
    exporter().get_finished_spans().unwrap().into_iter().filter(mine).collect()
}
/// The span of a command that has its result. It ends before the result goes out.
fn of(session: &Session) -> SpanData {
    let mut all = ended(session);
    assert_eq!(all.len(), 1);
    all.remove(0)
}
fn value(span: &SpanData, name: &str) -> Option<Value> {
    span.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.clone())
}
fn text(span: &SpanData, name: &str) -> Option<String> {
    value(span, name).map(|value| value.as_str().into_owned())
}

#[test]
fn a_command_has_one_span_with_the_names_of_a_program_that_is_called() {
    let Host { session, .. } = host(Spans::new());
    let result = session.launch(sh("echo hello; exit 3")).wait().unwrap().result().wait().unwrap().record;
    let span = of(&session);
    assert_eq!((span.name.as_ref(), &span.span_kind), ("sh", &opentelemetry::trace::SpanKind::Client));
    assert_eq!(text(&span, "process.executable.name").as_deref(), Some("sh"));
    assert_eq!(value(&span, "process.pid"), Some(Value::I64(result.pid.unwrap().into())));
    assert_eq!(value(&span, "process.exit.code"), Some(Value::I64(3)));
    assert_eq!(text(&span, "error.type").as_deref(), Some("exit"));
    assert!(matches!(span.status, Verdict::Error { .. }));
    assert_eq!(text(&span, "ostler.handle_id").unwrap(), result.handle_id.to_string());
    assert_eq!(text(&span, "ostler.command_id").unwrap(), result.command_id.to_string());
    assert_eq!(value(&span, "ostler.output_bytes"), Some(Value::I64(6)));
    assert_eq!(text(&span, "ostler.status").as_deref(), Some("completed"));
    assert!(span.events.iter().any(|event| event.name == "started"));
    // Arguments may hold secrets.
    assert!(!format!("{span:?}").contains("hello"));
}

#[test]
fn success_is_no_error_and_arguments_stand_there_when_they_are_asked_for() {
    let Host { session, .. } = host(Spans::new().arguments(true));
    session.launch(sh("true")).wait().unwrap().result().wait().unwrap();
    let span = of(&session);
    assert_eq!(text(&span, "process.command_args").as_deref(), Some("/bin/sh -c true"));
    assert_eq!((&span.status, value(&span, "error.type")), (&Verdict::Unset, None));
}

#[test]
fn every_way_to_end_has_its_word() {
    let word = |command: Command| {
        let Host { session, .. } = host(Spans::new());
        match session.launch(command).wait() {
            Ok(handle) => drop(handle.result().wait().unwrap()),
            Err(error) => drop(error),
        }
        text(&of(&session), "error.type").unwrap()
    };
    assert_eq!(word(Command::new("no-such-program-at-all")), "program_not_found");
    assert_eq!(word(sh("kill -SEGV $$")), "SIGSEGV");
    assert_eq!(word(sh("sleep 30").timeout(ms(20))), "deadline");
    assert_eq!(word(sh("sleep 30").idle_timeout(ms(20))), "idle");
    let Host { session, .. } = host(Spans::new());
    session.launch(sh("sleep 30")).wait().unwrap().cancel().wait().unwrap();
    assert_eq!(text(&of(&session), "error.type").as_deref(), Some("cancelled"));
    let Host { session, .. } = host(Spans::new());
    let _kept = session.launch(sh("sleep 30")).wait().unwrap();
    session.end().wait().unwrap();
    assert_eq!(text(&of(&session), "error.type").as_deref(), Some("session_ended"));
}

#[test]
fn the_command_is_told_its_own_span_and_the_span_hangs_where_the_request_says() {
    let Host { session, .. } = host(spans());
    let came = TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let command = sh("echo $TRACEPARENT:$TRACESTATE").trace_context(came);
    let said = session.launch(command).wait().unwrap().result().wait().unwrap().record.stdout.clone();
    let span = of(&session);
    assert_eq!(
        said.trim(),
        format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01:", span.span_context.span_id())
    );
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
}

#[test]
fn a_span_hangs_below_the_one_in_which_the_launch_is_awaited() {
    let Host { session, .. } = host(spans());
    let turn = tracing::info_span!("turn");
    let handle = turn.in_scope(|| session.launch(sh("echo $TRACEPARENT")).wait().unwrap());
    let own = turn.context();
    let said = handle.result().wait().unwrap().record.stdout.clone();
    let span = of(&session);
    use opentelemetry::trace::TraceContextExt;
    assert_eq!(span.parent_span_id, own.span().span_context().span_id());
    assert!(said.contains(&span.span_context.trace_id().to_string()), "{said}");
}

#[test]
fn without_a_hook_a_command_gets_what_the_request_says_and_its_own_variable_comes_first() {
    let Host { session, .. } = host(Spans::new());
    let context = || {
        let context = TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        context.with_tracestate("vendor=1")
    };
    let say = |command: Command| {
        session
            .launch(command.trace_context(context()))
            .wait()
            .unwrap()
            .result()
            .wait()
            .unwrap()
            .record
            .stdout
            .clone()
    };
    let shown = "echo $TRACEPARENT $TRACESTATE";
    assert_eq!(say(sh(shown)), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 vendor=1\n");
    assert_eq!(say(sh(shown).env("TRACEPARENT", "mine")), "mine vendor=1\n");
}

#[test]
fn the_same_key_from_another_place_of_a_trace_is_the_same_command() {
    let Host { session, .. } = host(spans());
    let launch = || session.launch(sh("exec sleep 30").launch_key("build")).wait().unwrap();
    let (one, two) = (launch(), launch());
    assert_eq!(one.id(), two.id());
    let repeated = of(&session);
    assert_eq!(value(&repeated, "ostler.repeated"), Some(Value::Bool(true)));
    one.cancel().wait().unwrap();
    assert_eq!(ended(&session).len(), 2);
}

#[test]
fn calls_that_are_dropped_and_a_graph_that_is_dropped_leave_no_span_open() {
    let Host { ostler, session, _artifacts } = host(spans());
    for n in 0..50_u64 {
        let call = session.launch(sh(format!("exit {}", n % 3))).begin();
        if n % 2 == 0 {
            drop(call);
        } else {
            call.wait().unwrap();
        }
    }
    for _ in 0..50 {
        let got = session.inbox().receive(Filter::results(), 1, LIMIT).wait().unwrap();
        assert_ne!(got[0].record().unwrap().status, Status::Lost);
    }
    assert_eq!(ended(&session).len(), 50);
    for _ in 0..5 {
        session.launch(sh("sleep 30")).wait().unwrap();
    }
    let seen = session.clone();
    let id = seen.id().clone();
    drop((ostler, session, seen));
    let all = exporter().get_finished_spans().unwrap();
    let mine = all.iter().filter(|span| text(span, "ostler.session_id").as_deref() == Some(id.as_str()));
    let gone = mine.filter(|span| text(span, "error.type").as_deref() == Some("host_gone"));
    assert_eq!(gone.count(), 5);
}

#[test]
fn a_subscriber_that_panics_costs_its_span_and_nothing_else() {
    let Host { session, .. } = host(spans());
    let run = |command: Command| session.launch(command).wait().unwrap().result().wait().unwrap().record;
    assert_eq!(run(Command::new("sh").args(["-c", "exit 77"])).exit_code, Some(77));
    assert!(session.launch(Command::new("makes-it-panic")).wait().is_err());
    assert_eq!(run(sh("exit 0")).exit_code, Some(0));
}

#[test]
fn a_scripted_world_has_spans_too() {
    exporter();
    let world = World::new();
    world.program("make", Program::new().exits_at(ms(5_000), 0));
    let ostler = Ostler::scripted(Config::default(), &world).unwrap();
    let session = ostler.open_session_as("spans-scripted").wait().unwrap();
    session.launch(Command::new("/usr/bin/make")).wait().unwrap_err();
    session.launch(Command::new("make")).wait().unwrap().result().wait().unwrap();
    let words: Vec<_> =
        ended(&session).iter().map(|span| (span.name.to_string(), text(span, "error.type"))).collect();
    assert_eq!(words.len(), 2);
    assert_eq!(words[1], ("make".to_owned(), None));
    assert!(Span::current().is_none());
}
