//! A request as a trace has it: of its environment only the names, of its input only the size.
//!
//! * in: a request
//! * out: its fields in the order of their names, as every trace has had them; no copy is made on the way
//! * keeps: each field of a request stands here (a test compares)

use super::{
    Capture, EnvMode, FollowLimit, Labels, LaunchRequest, LeftoversPolicy, OutputPolicy, Preset, Toolchain,
};
use crate::{SessionId, Stdin, TerminalSize, Text, TraceContext, UnixSignal, View};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// See the [module](self).
#[derive(Serialize)]
pub(crate) struct Brief<'a> {
    args: &'a [Text],
    capture: CaptureInBrief,
    cpu_share: Option<u64>,
    #[serde(serialize_with = "path")]
    cwd: &'a Option<PathBuf>,
    drain_grace_ms: u64,
    #[serde(serialize_with = "names")]
    env: &'a LaunchRequest,
    env_mode: EnvMode,
    env_remove: &'a [Text],
    follow: Option<FollowLimit>,
    grace_ms: u64,
    idle_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a Labels>,
    launch_key: Option<&'a str>,
    leftovers: LeftoversPolicy,
    leftovers_grace_ms: u64,
    memory_limit_bytes: Option<u64>,
    output_limit_bytes: Option<u64>,
    output_policy: OutputPolicy,
    preset: Option<Preset>,
    processes_limit: Option<u64>,
    program: &'a Text,
    progress_interval_ms: Option<u64>,
    progress_max_inline_bytes: u64,
    progress_max_interval_ms: u64,
    session_id: &'a SessionId,
    #[serde(serialize_with = "size")]
    stdin: &'a Stdin,
    stop_signal: Option<UnixSignal>,
    terminal: Option<TerminalInBrief>,
    timeout_ms: Option<u64>,
    toolchain: Toolchain,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_context: Option<&'a TraceContext>,
}

#[derive(Serialize)]
struct CaptureInBrief {
    max_inline_bytes: u64,
    merge_stderr: bool,
    stderr: bool,
    stdout: bool,
    view: View,
}
#[derive(Serialize)]
struct TerminalInBrief {
    columns: u16,
    rows: u16,
}

fn path<S: Serializer>(path: &&Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    crate::record::escaped::maybe(path, to)
}
fn names<S: Serializer>(request: &&LaunchRequest, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(request.env.0.keys())
}
fn size<S: Serializer>(stdin: &&Stdin, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Size {
        Null,
        Bytes(usize),
        Open,
    }
    let size = match stdin {
        Stdin::Null => Size::Null,
        Stdin::Bytes(bytes) => Size::Bytes(bytes.as_bytes().len()),
        Stdin::Open => Size::Open,
    };
    size.serialize(to)
}

impl<'a> Brief<'a> {
    pub(crate) fn of(request: &'a LaunchRequest) -> Brief<'a> {
        // Every field by its name: a new one does not compile before it stands here.
        let LaunchRequest {
            session_id,
            program,
            args,
            cwd,
            env: _,
            env_mode,
            env_remove,
            preset,
            toolchain,
            stdin,
            terminal,
            stop_signal,
            timeout_ms,
            idle_timeout_ms,
            grace_ms,
            drain_grace_ms,
            leftovers,
            leftovers_grace_ms,
            progress_interval_ms,
            progress_max_interval_ms,
            progress_max_inline_bytes,
            capture,
            output_limit_bytes,
            output_policy,
            follow,
            memory_limit_bytes,
            processes_limit,
            cpu_share,
            labels,
            launch_key,
            trace_context,
        } = request;
        let Capture { stdout, stderr, merge_stderr, max_inline_bytes, view } = *capture;
        Brief {
            args,
            capture: CaptureInBrief { max_inline_bytes, merge_stderr, stderr, stdout, view },
            cpu_share: *cpu_share,
            cwd,
            drain_grace_ms: *drain_grace_ms,
            env: request,
            env_mode: *env_mode,
            env_remove,
            follow: *follow,
            grace_ms: *grace_ms,
            idle_timeout_ms: *idle_timeout_ms,
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            launch_key: launch_key.as_deref(),
            leftovers: *leftovers,
            leftovers_grace_ms: *leftovers_grace_ms,
            memory_limit_bytes: *memory_limit_bytes,
            output_limit_bytes: *output_limit_bytes,
            output_policy: *output_policy,
            preset: *preset,
            processes_limit: *processes_limit,
            program,
            progress_interval_ms: *progress_interval_ms,
            progress_max_inline_bytes: *progress_max_inline_bytes,
            progress_max_interval_ms: *progress_max_interval_ms,
            session_id,
            stdin,
            stop_signal: *stop_signal,
            terminal: terminal.map(|TerminalSize { rows, columns }| TerminalInBrief { columns, rows }),
            timeout_ms: *timeout_ms,
            toolchain: *toolchain,
            trace_context: trace_context.as_ref(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// By way of a value, whose fields are in the order of their names.
    fn by_value(request: &LaunchRequest) -> String {
        let mut value = serde_json::to_value(request).unwrap();
        value["env"] = request.env.0.keys().map(|name| Value::from(name.to_string())).collect();
        if let Stdin::Bytes(bytes) = &request.stdin {
            value["stdin"] = json!({ "bytes": bytes.as_bytes().len() });
        }
        value.to_string()
    }

    #[test]
    fn each_field_stands_in_its_place_and_no_value_of_a_variable_does() {
        let mut request = LaunchRequest::new(SessionId::new("s"), "make");
        assert_eq!(serde_json::to_string(&Brief::of(&request)).unwrap(), by_value(&request));
        request.args = vec!["-j\"2".into(), Text::from_bytes(vec![0xff])];
        request.cwd = Some("/work".into());
        request.env.0.insert("TOKEN".into(), "needle".into());
        request.env_remove = vec!["PAGER".into()];
        (request.preset, request.stop_signal) = (Some(Preset::Agent), Some(UnixSignal::SigInt));
        request.stdin = Stdin::Bytes("needle".into());
        request.terminal = Some(TerminalSize { rows: 24, columns: 80 });
        request.labels.insert("why".into(), "test".into());
        request.follow = Some(FollowLimit { max_ahead: 7 });
        request.launch_key = Some("key".into());
        let place = TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        request.trace_context = Some(place.with_tracestate("a=b"));
        let text = serde_json::to_string(&Brief::of(&request)).unwrap();
        assert_eq!(text, by_value(&request));
        assert!(!text.contains("needle"), "{text}");
        request.stdin = Stdin::Open;
        assert_eq!(serde_json::to_string(&Brief::of(&request)).unwrap(), by_value(&request));
    }
}
