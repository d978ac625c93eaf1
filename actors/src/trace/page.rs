//! One page with everything in it.

use super::{Line, Message, Trace, lanes::Lanes};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Markers of the page, which itself knows nothing of a trace.
const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
/// What the page may run and look like, and nothing else: a test holds them against the two files.
const STYLE_HASH: &str = include_str!("page/page.css.sha256");
const SCRIPT_HASH: &str = include_str!("page/page.js.sha256");

impl Trace {
    /// A page of HTML that needs nothing else: it has a lane for each command, and asks nobody for anything, also from a file. What is in the trace
    /// stands in it as data, and is shown as text only; its policy (CSP) lets nothing run but its own script.
    pub fn html(&self) -> String {
        let mut page = String::new();
        let mut rest = PAGE;
        while let Some((before, marked)) = rest.split_once("{{") {
            page.push_str(before);
            let (marker, after) = marked.split_once("}}").unwrap_or((marked, ""));
            match marker {
                "style" => page.push_str(STYLE),
                "script" => page.push_str(SCRIPT),
                "style-hash" => page.push_str(STYLE_HASH.trim_end()),
                "script-hash" => page.push_str(SCRIPT_HASH.trim_end()),
                _ => page.push_str(&self.data()),
            }
            rest = after;
        }
        page.push_str(rest);
        page
    }

    /// JSON in which nothing ends a script or begins a comment.
    fn data(&self) -> String {
        let messages: Vec<&Message> = self.messages().collect();
        let lanes = Lanes::of(&messages, self.host_pid);
        let mut names = Names::default();
        let rows: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                let [from, to, name] =
                    [&message.from, &message.to, &message.message].map(|name| names.place(name));
                let cause = lanes.cause_of[index];
                json!([
                    message.sequence,
                    message.at_us,
                    message.cause,
                    cause,
                    from,
                    to,
                    name,
                    lanes.lane_of[index],
                    message.body
                ])
            })
            .collect();
        let lanes: Vec<Value> = lanes
            .lanes
            .iter()
            .map(|lane| {
                let phases: Vec<Value> =
                    lane.phases.iter().map(|phase| json!([phase.name, phase.from, phase.to])).collect();
                json!({ "name": lane.name, "command": lane.command, "phases": phases })
            })
            .collect();
        let data = json!({
            "host": self.host_pid, "started": self.started_at, "root": self.artifact_root,
            "missing": self.missing(), "cut": self.cut_bytes, "gaps": self.gaps(),
            "lanes": lanes, "names": names.all, "messages": rows,
        });
        let mut safe = String::new();
        for c in data.to_string().chars() {
            match c {
                '<' => safe.push_str("\\u003c"),
                '>' => safe.push_str("\\u003e"),
                '&' => safe.push_str("\\u0026"),
                c => safe.push(c),
            }
        }
        safe
    }

    /// Before which message how many are missing.
    fn gaps(&self) -> Vec<(usize, u64)> {
        let mut index = 0;
        let mut gaps = Vec::new();
        for line in &self.lines {
            match line {
                Line::Message(_) => index += 1,
                Line::Missing(count) => gaps.push((index, *count)),
            }
        }
        gaps
    }
}

/// Each text once.
#[derive(Default)]
struct Names<'a> {
    all: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
}
impl<'a> Names<'a> {
    fn place(&mut self, name: &'a str) -> usize {
        *self.places.entry(name).or_insert_with(|| {
            self.all.push(name);
            self.all.len() - 1
        })
    }
}
