//! A trace in words, for a person.

use ostler_messages::{LaunchRequest, SessionId, trace::Delivery};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt::Write};

/// Longest text shown of one value, in characters.
const VALUE_MAX_CHARS: usize = 120;

/// Tells a trace (JSON Lines): each input of the graph on a line of its own with its time, and under it, indented, the
/// messages that followed from it. Fields that say nothing (null, 0, "", false, defaults) are left out; lines that can't
/// be read are shown as they are.
///
/// ```text
///     0 ms  host → supervisor: Launch #2, make, session s
///             process/1 → kernel: Exec make, cmd_1_1767225600000000000_1
///             process/1 → kernel: Arm start_timeout after 10000 ms
///     0 ms  kernel → process/1: Started pid 1000, containment group
/// ```
pub fn narrate(trace: &str) -> String {
    let mut depths: BTreeMap<u64, usize> = BTreeMap::new();
    let mut narrated = String::new();
    for line in trace.lines() {
        let Ok(delivery) = serde_json::from_str::<Delivery>(line) else {
            if !line.contains("\"ostler_trace\"") {
                let _ = writeln!(narrated, "{line}");
            }
            continue;
        };
        let depth = delivery.cause.map_or(0, |cause| depths.get(&cause).map_or(1, |depth| depth + 1));
        depths.insert(delivery.sequence, depth);
        let time = match depth {
            0 => format!("{:>9} ms  ", millis(delivery.at_us)),
            _ => " ".repeat(14 + 2 * depth),
        };
        let body = body(&delivery);
        let gap = if body.is_empty() { "" } else { " " };
        // Writing into a String does not fail.
        let _ =
            writeln!(narrated, "{time}{} → {}: {}{gap}{body}", delivery.from, delivery.to, delivery.message);
    }
    narrated
}

/// Whole milliseconds without a fraction, as a scripted kernel has them.
fn millis(us: u64) -> String {
    match us % 1_000 {
        0 => (us / 1_000).to_string(),
        rest => format!("{}.{}", us / 1_000, rest / 100),
    }
}

fn body(delivery: &Delivery) -> String {
    match &delivery.body {
        Value::Object(fields) => {
            let own = |key: &str, value: &Value| {
                // A process speaks of itself, and its timers are its own.
                key == "n" || (key == "owner" && *value == delivery.from.to_string())
            };
            let parts = in_order(fields).into_iter().filter(|(key, value)| !own(key, value));
            parts.filter_map(|(key, value)| field(key, value)).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// What a message is about comes before its details.
fn in_order(fields: &Map<String, Value>) -> Vec<(&str, &Value)> {
    const FIRST: [&str; 13] = [
        "call",
        "request",
        "handle_id",
        "actor",
        "kind",
        "stream",
        "status",
        "exit",
        "exit_code",
        "signal",
        "pid",
        "name",
        "content",
    ];
    let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
    fields.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    fields
}

/// None if it says nothing.
fn field(key: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Bool(false) if key == "paused" => return Some("they go on".into()),
        Value::Null | Value::Bool(false) => return None,
        Value::Bool(true) => return Some(key.replace('_', " ")),
        Value::Number(number) if number.as_u64() == Some(0) && key != "exit_code" => return None,
        Value::String(text) if text.is_empty() => return None,
        Value::Array(items) if items.is_empty() && key == "leftovers" => {
            return Some("nothing left over".into());
        }
        Value::Array(items) if items.is_empty() => return Some(format!("no {key}")),
        Value::Object(fields) if fields.values().all(|value| value.as_u64() == Some(0)) => return None,
        Value::Number(number) => number.to_string(),
        Value::String(text) => one_line(text),
        Value::Array(items) => items.iter().map(item).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => return object(key, fields),
    };
    Some(match key {
        "call" => format!("#{text}"),
        "after_ms" => format!("after {text} ms"),
        "kind" | "to" | "signal" | "request" | "command_id" | "handle_id" | "opened" | "status"
        | "reason" | "error" | "cause" | "stream" | "name" | "outcome" | "actor" => text,
        "session_id" => format!("session {text}"),
        "exit_code" => format!("exit {text}"),
        // Enough to tell two apart.
        "output_sha256" => text.chars().take(19).chain(['…']).collect(),
        "byte_count" | "bytes" => format!("{text} bytes"),
        key => match key.strip_suffix("_ms") {
            Some(what) => format!("{} {text} ms", what.replace('_', " ")),
            None => format!("{} {text}", key.replace('_', " ")),
        },
    })
}

fn object(key: &str, fields: &Map<String, Value>) -> Option<String> {
    if key == "request" {
        return Some(request(fields));
    }
    let inner: Vec<String> =
        in_order(fields).into_iter().filter_map(|(key, value)| field(key, value)).collect();
    let inner = inner.join(", ");
    match key {
        // Who looks for it sees it without the wrapping.
        "Ok" | "answer" | "record" | "exit" | "output" => Some(inner).filter(|inner| !inner.is_empty()),
        "Err" => Some(format!("refused: {inner}")),
        "filter" if inner.is_empty() => None,
        "kind" => Some(inner),
        key => Some(format!("{} ({inner})", key.replace('_', " "))),
    }
}

fn item(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let parts = in_order(fields).into_iter().filter_map(|(key, value)| field(key, value));
            parts.collect::<Vec<_>>().join(", ")
        }
        Value::String(text) => one_line(text),
        other => other.to_string(),
    }
}

/// The command, its session, and every field that is not at its default.
fn request(fields: &Map<String, Value>) -> String {
    let Ok(request) = serde_json::from_value::<LaunchRequest>(Value::Object(fields.clone())) else {
        return Value::Object(fields.clone()).to_string();
    };
    let default = LaunchRequest::new(SessionId::new(""), "");
    let mut default = serde_json::to_value(default).unwrap_or_default();
    // A trace has a list of names in place of the variables.
    default["env"] = Value::Array(Vec::new());
    let shown = |key: &str| matches!(key, "program" | "args" | "session_id");
    let changed =
        fields.iter().filter(|(key, value)| !shown(key) && default.get(key.as_str()) != Some(*value));
    let mut text = format!("{}, session {}", request.display(), request.session_id);
    for part in changed.filter_map(|(key, value)| match key.as_str() {
        "leftovers" => Some("leftovers are kept".to_owned()),
        _ => field(key, value),
    }) {
        text.push_str(", ");
        text.push_str(&part);
    }
    text
}

fn one_line(text: &str) -> String {
    let plain = !text.contains(['\n', '\r', '\t', '\u{1b}']);
    let text = if plain { text.to_owned() } else { format!("{text:?}") };
    match text.char_indices().nth(VALUE_MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
