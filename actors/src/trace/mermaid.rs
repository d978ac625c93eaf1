//! A sequence diagram.

use super::{Line, Message, Trace};
use ostler_messages::on_one_line;
use serde_json::Value;
use std::{collections::HashMap, fmt::Write};

/// How many messages of a sequence diagram people can still look at, and programs draw.
pub const MERMAID_MESSAGES: usize = 200;

/// Most bytes of what a message says.
const DETAIL_BYTES: usize = 60;

impl Trace {
    /// A Mermaid sequence diagram of the first `max` messages; a note says how many are left out, and where some are missing. An arrow
    /// that is open is an input of the graph: everything else follows from those before it.
    pub fn mermaid(&self, max: usize) -> String {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let (mut participants, mut arrows) = (String::new(), String::new());
        let (mut shown, mut left_out) = (0_usize, 0_usize);
        let mut notes: Vec<String> = Vec::new();
        for line in &self.lines {
            let message = match line {
                Line::Message(message) => message,
                Line::Missing(count) => {
                    if left_out == 0 {
                        arrows.push_str(&note(&format!("{} here", counted(*count))));
                    }
                    continue;
                }
            };
            if shown == max {
                left_out += 1;
                continue;
            }
            shown += 1;
            let [from, to] = [&*message.from, &*message.to].map(|name| {
                let next = places.len();
                let place = *places.entry(name).or_insert(next);
                if place == next {
                    // Writing into a String does not fail.
                    let _ = writeln!(participants, "    participant a{place} as {}", text(name));
                }
                place
            });
            let arrow = if message.cause.is_some() { "->>" } else { "-)" };
            let _ = writeln!(arrows, "    a{from}{arrow}a{to}: {}", text(&label(message)));
        }
        if left_out > 0 {
            notes.push(format!("{left_out} more messages are left out, of {}", shown + left_out));
        }
        if self.missing() > 0 && left_out > 0 {
            notes.push(format!("{} in all", counted(self.missing())));
        }
        if self.cut_bytes > 0 {
            notes.push("the trace is cut off here".to_owned());
        }
        if participants.is_empty() {
            participants.push_str("    participant a0 as nobody\n");
        }
        let notes: String = notes.iter().map(|words| note(words)).collect();
        format!("sequenceDiagram\n{participants}{arrows}{notes}")
    }
}

fn counted(count: u64) -> String {
    match count {
        1 => "1 message is missing".to_owned(),
        count => format!("{count} messages are missing"),
    }
}

fn note(words: &str) -> String {
    format!("    Note over a0: {}\n", text(words))
}

/// Its name, and what tells it from others of its kind.
fn label(message: &Message) -> String {
    const TELLING: [&str; 11] = [
        "call",
        "request",
        "handle_id",
        "stream",
        "signal",
        "to",
        "kind",
        "cause",
        "status",
        "exit_code",
        "error",
    ];
    let known = TELLING.iter().filter_map(|key| match message.body.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(inner) => Some(inner.get("program")?.as_str()?.to_owned()),
        _ => None,
    });
    let known = known.collect::<Vec<_>>().join(", ");
    format!("{} {}", message.message, on_one_line(&known, DETAIL_BYTES)).trim_end().to_owned()
}

/// Nothing that Mermaid, or a page that shows it, takes for its own: what is no plain character is written as its number.
fn text(text: &str) -> String {
    let mut escaped = String::new();
    for c in on_one_line(text, super::LABEL_BYTES).chars() {
        match c {
            c if c.is_alphanumeric() || " _-./,()$+".contains(c) => escaped.push(c),
            c => drop(write!(escaped, "#{};", u32::from(c))),
        }
    }
    // A line that consists of this word ends a block.
    if escaped.trim().eq_ignore_ascii_case("end") { format!("({escaped})") } else { escaped }
}
