//! A trace in words: what was read, told as the graph's own traces are.

use crate::{
    graph::trace::narrate,
    trace::{Line, Trace},
};
use ostler_messages::on_one_line;
use serde_json::json;
use std::fmt::Write;

impl Trace {
    /// As [`narrate`] tells it, with a first line that says whose it is, and a line wherever something is missing. What a terminal would not show
    /// as it stands is escaped.
    pub fn text(&self) -> String {
        let mut lines = String::new();
        for line in &self.lines {
            // What is no line of JSON is shown as it stands. Writing into a String does not fail.
            let _ = match line {
                Line::Message(message)
                    if message.actors().iter().all(Option::is_some) && plain(&message.message) =>
                {
                    let mut json = json!({
                        "sequence": message.sequence, "at_us": message.at_us, "from": message.from, "to": message.to,
                        "message": message.message, "body": message.body,
                    });
                    if let Some(cause) = message.cause {
                        json["cause"] = cause.into();
                    }
                    writeln!(lines, "{json}")
                }
                Line::Message(message) => {
                    let (from, to) = (&message.from, &message.to);
                    let said = format!("                {from} → {to}: {} {}", message.message, message.body);
                    writeln!(lines, "{}", on_one_line(&said, usize::MAX))
                }
                Line::Missing(1) => writeln!(lines, "          … 1 message is missing here"),
                Line::Missing(count) => writeln!(lines, "          … {count} messages are missing here"),
            };
        }
        if self.cut_bytes > 0 {
            let _ = writeln!(lines, "          … the trace is cut off here, in the middle of a line");
        }
        let root = &self.artifact_root;
        let about =
            format!("Messages of host {}, from {}, artifacts in {root}", self.host_pid, self.started_at);
        let told = narrate(&lines);
        let shown =
            [&*about].into_iter().chain(told.lines()).map(|line| on_one_line(line, usize::MAX) + "\n");
        shown.collect()
    }
}

/// Nothing in it begins another line, or is not seen.
fn plain(name: &str) -> bool {
    on_one_line(name, usize::MAX) == name
}
