//! A timeline: events as Chrome traces have them, which ui.perfetto.dev opens.

use super::{Message, Trace, lanes::Lanes};
use serde_json::{Value, json};

/// Between two messages on the timeline at least: it has no order of its own, and in it nothing that lasts no time can have arrows.
const STEP_NS: u64 = 10;
/// How long a message lasts there.
const MESSAGE_NS: u64 = 5;
/// All tracks are of one process.
const PROCESS: u64 = 1;

impl Trace {
    /// Chrome trace events in JSON: a track for each command, with slices for the phases of its life and, in them, its messages, each as long as
    /// nothing (5 ns), with an arrow from each to what followed from it. Messages of one microsecond are 10 ns apart, in their order.
    pub fn perfetto(&self) -> String {
        let messages: Vec<&Message> = self.messages().collect();
        let lanes = Lanes::of(&messages, self.host_pid);
        let times = times(&messages);
        let end = times.last().map_or(0, |last| last.saturating_add(STEP_NS));
        let mut events = vec![json!({
            "ph": "M", "name": "process_name", "pid": PROCESS,
            "args": { "name": format!("ostler, host {}", self.host_pid) },
        })];
        for (at, lane) in lanes.lanes.iter().enumerate() {
            let name = format!("{} {}", lane.name, lane.command);
            events.push(json!({ "ph": "M", "name": "thread_name", "pid": PROCESS, "tid": at + 1, "args": { "name": name.trim_end() } }));
            events.push(json!({ "ph": "M", "name": "thread_sort_index", "pid": PROCESS, "tid": at + 1, "args": { "sort_index": at } }));
        }
        // Before the messages: of what begins at the same time the first is the outer one.
        for (at, lane) in lanes.lanes.iter().enumerate() {
            for phase in &lane.phases {
                let (from, to) = (times[phase.from], phase.to.map_or(end, |to| times[to]));
                events.push(slice("phase", phase.name, at, from, to.saturating_sub(from), json!({})));
            }
        }
        let effects = lanes.effects();
        for (index, message) in messages.iter().enumerate() {
            let (lane, time) = (lanes.lane_of[index], times[index]);
            let args = json!({
                "sequence": message.sequence, "cause": message.cause,
                "from": message.from, "to": message.to, "fields": message.body,
            });
            events.push(slice("message", &message.message, lane, time, MESSAGE_NS, args));
            let arrow = |ph: &str, to: usize| json!({ "ph": ph, "cat": "cause", "name": "cause", "id": to, "pid": PROCESS, "tid": lane + 1, "ts": us(time), "bp": "e" });
            if lanes.cause_of[index].is_some() {
                events.push(arrow("f", index));
            }
            events.extend(effects[index].iter().map(|to| arrow("s", *to)));
        }
        let about = json!({
            "started_at": self.started_at, "artifact_root": self.artifact_root,
            "missing_messages": self.missing(), "cut_bytes": self.cut_bytes,
        });
        // An event on each line, for whoever looks into it.
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        format!(
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":[\n{}\n]}}\n",
            lines.join(",\n")
        )
    }
}

fn slice(category: &str, name: &str, lane: usize, from: u64, ns: u64, args: Value) -> Value {
    json!({ "ph": "X", "cat": category, "name": name, "pid": PROCESS, "tid": lane + 1, "ts": us(from), "dur": us(ns), "args": args })
}

/// In nanoseconds: none at or before the one before it, whatever a trace says.
fn times(messages: &[&Message]) -> Vec<u64> {
    let mut next = 0_u64;
    let own = messages.iter().map(|message| {
        let time = message.at_us.saturating_mul(1_000).max(next);
        next = time.saturating_add(STEP_NS);
        time
    });
    own.collect()
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use crate::trace::told;
    use serde_json::Value;

    #[test]
    fn messages_of_one_moment_keep_their_order() {
        let line = r#"{"sequence":1,"at_us":7,"from":"host","to":"inbox","message":"M","body":{}}"#;
        let json: Value = serde_json::from_str(&told(&[line; 3]).perfetto()).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let times: Vec<f64> = events
            .iter()
            .filter(|event| event["name"] == "M")
            .map(|event| event["ts"].as_f64().unwrap())
            .collect();
        assert_eq!(times, [7.0, 7.01, 7.02]);
    }

    #[test]
    fn times_that_no_clock_has_panic_nowhere() {
        let line = format!(
            r#"{{"sequence":1,"at_us":{},"from":"process/1","to":"kernel","message":"Exec","body":{{}}}}"#,
            u64::MAX
        );
        told(&[&line, &line]).perfetto();
    }
}
