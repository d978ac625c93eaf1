//! What messages say, in words.

use crate::trace::{LABEL_BYTES, Message};
use ostler_messages::{HandleId, duration, on_one_line};
use serde_json::Value;

/// The commands that a message between others is about.
pub(super) fn named(message: &Message) -> Vec<HandleId> {
    let id = |value: Option<&Value>| value.and_then(Value::as_str)?.parse().ok();
    let of_record = |body: &Value| id(body.pointer("/record/handle_id"));
    let all = |name: &str| message.body.get(name).and_then(Value::as_array).into_iter().flatten();
    match &*message.message {
        "Deliver" => of_record(&message.body).into_iter().collect(),
        "ResultsGone" => all("handle_ids").filter_map(|value| id(Some(value))).collect(),
        "Recovered" => all("commands").filter_map(of_record).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What a launch asked for, beside its command.
pub(super) fn asked(launch: &Message) -> String {
    let request = launch.body.get("request").unwrap_or(&Value::Null);
    let mut parts = Vec::new();
    if let Some(session) = request.get("session_id").and_then(Value::as_str) {
        parts.push(format!("in session {}", on_one_line(session, LABEL_BYTES)));
    }
    for (field, name) in [("timeout_ms", "time limit"), ("idle_timeout_ms", "silence at most")] {
        if let Some(ms) = request.get(field).and_then(Value::as_u64) {
            parts.push(format!("{name} {}", duration(ms)));
        }
    }
    for (field, name) in [("cwd", "directory"), ("launch_key", "launch key")] {
        if let Some(text) = request.get(field).and_then(Value::as_str) {
            parts.push(format!("{name} {}", on_one_line(text, LABEL_BYTES)));
        }
    }
    parts.join(", ")
}

/// How a leader has ended.
pub(super) fn exit_in_words(exited: &Value) -> String {
    let exit = exited.get("exit").unwrap_or(&Value::Null);
    let oom = exit.get("oom_killed").and_then(Value::as_bool) == Some(true);
    match (exit.get("signal").and_then(Value::as_str), exit.get("exit_code").and_then(Value::as_i64)) {
        (Some(signal), _) if oom => format!("it died of {signal}: the kernel had no memory left for it"),
        (Some(signal), _) => format!("it died of {signal}"),
        (None, Some(code)) if code >= 0 => format!("it ended with exit code {code}"),
        _ => "it has ended; how is not known".to_owned(),
    }
}

/// `: pid 7 (sleep, terminated)`, of what a message or a record says.
pub(super) fn left_over(body: &Value) -> String {
    let left = body.get("leftovers").and_then(Value::as_array).into_iter().flatten();
    let one = |left: &Value| {
        let word = |name: &str| left.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let pid = left.get("pid").and_then(Value::as_u64).unwrap_or_default();
        format!("pid {pid} ({}, {})", on_one_line(&word("name"), LABEL_BYTES), word("outcome"))
    };
    let all: Vec<String> = left.map(one).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) }
}

/// A record's status and end, in a few words.
pub(super) fn ending(record: &Value) -> String {
    let word = |name: &str| record.get(name).and_then(Value::as_str);
    let status = word("status").unwrap_or("unknown").replace('_', " ");
    match (word("signal"), record.get("exit_code").and_then(Value::as_i64)) {
        (Some(signal), _) => format!("{status}, {signal}"),
        (None, Some(code)) if code >= 0 => format!("{status}, exit {code}"),
        _ => status,
    }
}

/// A launch error, as its type says it.
pub(super) fn error_in_words(error: &Value) -> String {
    match serde_json::from_value::<ostler_messages::LaunchError>(error.clone()) {
        Ok(error) => error.to_string(),
        Err(_) => error.to_string(),
    }
}

/// What of an input tells it from others of its name.
pub(super) fn detail(input: &Message) -> String {
    let word = |name: &str| input.body.get(name).and_then(Value::as_str);
    match word("kind").or(word("handle_id")).or(word("session_id")) {
        Some(word) => format!(" {}", on_one_line(word, LABEL_BYTES)),
        None => String::new(),
    }
}
