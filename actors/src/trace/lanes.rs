//! Which message belongs to which command, and which phases its messages tell of.

use super::{LABEL_BYTES, Line, Message, Trace};
use ostler_messages::{ActorName, HandleId, on_one_line};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A command, or what is about none or several.
pub(super) struct Lane {
    /// The command's number; none: sessions, calls, the inbox.
    pub(super) n: Option<u64>,
    /// Its handle id.
    pub(super) name: String,
    /// What was run.
    pub(super) command: String,
    pub(super) phases: Vec<Phase>,
}

/// Part of a life: from one message to another, or to the end of the trace.
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// Index of the message that began it.
    pub(super) from: usize,
    pub(super) to: Option<usize>,
}

/// What the forms draw.
pub(super) struct Lanes {
    /// The first is that of no command.
    pub(super) lanes: Vec<Lane>,
    /// Of each message.
    pub(super) lane_of: Vec<usize>,
    /// Index of the cause of each message, if it is in the trace, and before it.
    pub(super) cause_of: Vec<Option<usize>>,
}

impl Trace {
    /// What is about one command: its actors' messages, those that name it, and all that these follow from. Gaps are kept. A handle that is
    /// not in the trace gives one without messages.
    pub fn of_handle(&self, handle: HandleId) -> Trace {
        let id = handle.to_string();
        let about = |message: &Message| {
            let own = handle.host_pid == self.host_pid && number(message) == Some(handle.n);
            own || handles(&message.body).contains(&*id)
        };
        let causes: HashMap<u64, Option<u64>> =
            self.messages().map(|message| (message.sequence, message.cause)).collect();
        let mut kept = BTreeSet::new();
        for message in self.messages().filter(|message| about(message)) {
            let mut next = Some(message.sequence);
            while let Some(sequence) = next.filter(|sequence| kept.insert(*sequence)) {
                next = causes.get(&sequence).copied().flatten();
            }
        }
        let keep = |line: &&Line| match line {
            Line::Message(message) => kept.contains(&message.sequence),
            Line::Missing(_) => true,
        };
        Trace { lines: self.lines.iter().filter(keep).cloned().collect(), ..self.clone_empty() }
    }

    /// The handles of the commands in it, in the order of their numbers.
    pub fn handles(&self) -> Vec<HandleId> {
        let numbers: BTreeSet<u64> = self.messages().filter_map(number).collect();
        numbers.into_iter().map(|n| HandleId { host_pid: self.host_pid, n }).collect()
    }

    fn clone_empty(&self) -> Trace {
        Trace { lines: Vec::new(), artifact_root: self.artifact_root.clone(), ..*self }
    }
}

/// The number of the command whose actor sends it, gets it, or is spoken of.
fn number(message: &Message) -> Option<u64> {
    let own = message.actors().into_iter().flatten().find_map(|name| match name {
        ActorName::Process(n) | ActorName::Drain(n, _) | ActorName::Ticker(n) => Some(n),
        _ => None,
    });
    // What is appended to a journal is numbered too.
    let spoken_of = || message.body.get("n").filter(|_| message.body.get("by").is_none())?.as_u64();
    own.or_else(spoken_of)
}

/// Every handle that a message names.
fn handles(body: &Value) -> BTreeSet<&str> {
    fn look<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| match value {
                Value::String(id) if key == "handle_id" => drop(into.insert(id)),
                value => look(value, into),
            }),
            Value::Array(items) => items.iter().for_each(|item| look(item, into)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    look(body, &mut found);
    found
}

impl Lanes {
    pub(super) fn of(messages: &[&Message], host_pid: u32) -> Lanes {
        let mut lanes = vec![Lane {
            n: None,
            name: "sessions".to_owned(),
            command: "what is about no command, or several".to_owned(),
            phases: Vec::new(),
        }];
        let mut places: BTreeMap<u64, usize> =
            messages.iter().filter_map(|message| number(message)).map(|n| (n, 0)).collect();
        for (n, place) in &mut places {
            *place = lanes.len();
            let name = HandleId { host_pid, n: *n }.to_string();
            lanes.push(Lane { n: Some(*n), name, command: String::new(), phases: Vec::new() });
        }
        let mut lane_of = Vec::with_capacity(messages.len());
        let mut at = HashMap::with_capacity(messages.len());
        let mut cause_of = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let named = || match handles(&message.body)
                .into_iter()
                .map(str::parse::<HandleId>)
                .collect::<Vec<_>>()[..]
            {
                [Ok(only)] if only.host_pid == host_pid => Some(only.n),
                _ => None,
            };
            let place = number(message).or_else(named).and_then(|n| places.get(&n).copied()).unwrap_or(0);
            if place > 0 {
                lanes[place].follow(index, message);
            }
            lane_of.push(place);
            cause_of.push(message.cause.and_then(|cause| at.get(&cause).copied()));
            at.entry(message.sequence).or_insert(index);
        }
        Lanes { lanes, lane_of, cause_of }
    }

    /// The effects of each message.
    pub(super) fn effects(&self) -> Vec<Vec<usize>> {
        let mut effects = vec![Vec::new(); self.cause_of.len()];
        for (index, cause) in self.cause_of.iter().enumerate() {
            if let Some(cause) = cause {
                effects[*cause].push(index);
            }
        }
        effects
    }
}

impl Lane {
    /// The phases of `actors/src/core/lifecycle/table.md`, as the messages between a process and others tell them.
    fn follow(&mut self, index: usize, message: &Message) {
        let [from, to] = message.actors();
        let process = self.n.map(ActorName::Process);
        let (sends, gets) = (from == process, to == process);
        let body = |key: &str| message.body.get(key);
        let now = self.phases.last().filter(|phase| phase.to.is_none()).map(|phase| phase.name);
        let lives = matches!(now, Some("starting" | "running" | "paused" | "terminating" | "killing"));
        let next = match &*message.message {
            "Exec" if sends => {
                if let Some(text) = body("request").and_then(Value::as_str) {
                    self.command = on_one_line(text, LABEL_BYTES);
                }
                "starting"
            }
            "Started" if gets => "running",
            "Signal" if sends && lives => match body("signal").and_then(Value::as_str) {
                Some("kill") => "killing",
                _ => "terminating",
            },
            "Froze" if now == Some("running") && body("refused").is_none_or(Value::is_null) => "paused",
            "Thawed" if now == Some("paused") => "running",
            "Exited" if gets && lives => "draining",
            "Sweep" if sends => "sweeping",
            "Seal" if sends => "sealing",
            "Finished" if sends && body("kept").and_then(Value::as_bool) == Some(true) => "kept",
            "Finished" | "Released" | "LaunchFailed" if sends => return self.end(index),
            _ => return,
        };
        if now != Some(next) {
            self.end(index);
            self.phases.push(Phase { name: next, from: index, to: None });
        }
    }

    fn end(&mut self, index: usize) {
        if let Some(phase) = self.phases.last_mut().filter(|phase| phase.to.is_none()) {
            phase.to = Some(index);
        }
    }
}
