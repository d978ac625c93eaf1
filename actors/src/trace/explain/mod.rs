//! Why a result says what it says: the story of each command, in words for somebody who has never seen the code.
//!
//! * in: a trace, whole, cut, or only its last part
//! * out: what was asked, each thing that happened and the state before and after it, and the inputs that decided the result
//! * keeps: it says only what stands in the trace; what it does not know it leaves out

mod why;
mod words;

use super::{LABEL_BYTES, Line, Message, Trace};
use ostler_messages::{HandleId, duration, on_one_line};
use serde_json::Value;
use std::{collections::HashMap, fmt::Write};
use words::{asked, ending, error_in_words, exit_in_words, left_over, named};

/// Where a life is. The names are those of `ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Stopping,
    Killing,
    Draining,
    Sweeping,
    Sealing,
    Ended,
}
impl State {
    fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Killing => "killing",
            State::Draining => "draining",
            State::Sweeping => "looking for leftovers",
            State::Sealing => "completing its files",
            State::Ended => "ended",
        }
    }
}

impl Trace {
    /// The story of each command, or of one, and at its end why its result says what it says: what ended it first, what it was sent, what was seen, and
    /// who has got the result. For a person; lines that begin with `#` name records by their numbers.
    ///
    /// A handle that is not in the trace gives a sentence that says so.
    pub fn explain(&self, handle: Option<HandleId>) -> String {
        let handles = match handle {
            Some(handle) => vec![handle],
            None => self.handles(),
        };
        let mut text = String::new();
        if self.missing() > 0 || self.cut_bytes > 0 {
            let _ = writeln!(text, "{}\n", self.what_is_missing());
        }
        if handles.is_empty() {
            text += "No command stands in this trace.\n";
        }
        let by: HashMap<u64, &Message> = self.messages().map(|message| (message.sequence, message)).collect();
        let mut stories: Vec<Story<'_>> = handles.iter().map(|handle| Story::new(*handle, &by)).collect();
        let places: HashMap<HandleId, usize> =
            handles.iter().enumerate().map(|(place, handle)| (*handle, place)).collect();
        // That its beginning is missing was said.
        for line in self.lines.iter().skip(usize::from(self.missing_before > 0)) {
            match line {
                Line::Missing(count) => stories.iter_mut().for_each(|story| story.misses(*count)),
                Line::Message(message) => {
                    for (handle, hear) in self.concerned(message) {
                        if let Some(place) = places.get(&handle) {
                            hear(&mut stories[*place], message);
                        }
                    }
                }
            }
        }
        for (index, story) in stories.into_iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            story.conclude().tell(&mut text);
        }
        text
    }

    /// Whose story a message belongs to, and as what.
    fn concerned<'a>(&self, message: &'a Message) -> Vec<(HandleId, Hear<'a>)> {
        let own = |name: &str| {
            let n = name.strip_prefix("process/")?.parse().ok()?;
            Some(HandleId { host_pid: self.host_pid, n })
        };
        if let Some(handle) = own(&message.from) {
            return vec![(handle, Story::said)];
        }
        if let Some(handle) = own(&message.to) {
            return vec![(handle, Story::heard)];
        }
        named(message).into_iter().map(|handle| (handle, Story::around as Hear<'a>)).collect()
    }

    fn what_is_missing(&self) -> String {
        let before = match self.missing_before {
            0 => String::new(),
            count => format!(
                "This is the last part of a trace: {count} records of before its first are not in it. "
            ),
        };
        let missing = match self.missing().saturating_sub(self.missing_before) {
            0 => String::new(),
            count => format!("{count} records are missing from this trace; what they said is not known. "),
        };
        let cut =
            if self.cut_bytes > 0 { "It ends in the middle of a record: its writer was killed." } else { "" };
        format!("{before}{missing}{cut}").trim_end().to_owned()
    }
}

/// What a story is made of, as it is read.
struct Story<'a> {
    handle: HandleId,
    begun_us: u64,
    state: Option<State>,
    lines: Vec<String>,
    command: String,
    asked: String,
    /// Why it ended, in words.
    why: Vec<String>,
    /// What decided it.
    deciders: Vec<&'a Message>,
    /// The first of: a stop, a limit, a crash.
    cause: Option<(&'a Message, String)>,
    sent: Vec<(u64, &'static str)>,
    result: Option<&'a Value>,
    exit: Option<&'a Message>,
    went: Option<String>,
    by: &'a HashMap<u64, &'a Message>,
}

/// What a story makes of a message.
type Hear<'a> = fn(&mut Story<'a>, &'a Message);

impl<'a> Story<'a> {
    fn new(handle: HandleId, by: &'a HashMap<u64, &'a Message>) -> Story<'a> {
        Story {
            handle,
            begun_us: 0,
            state: None,
            lines: Vec::new(),
            command: String::new(),
            asked: String::new(),
            why: Vec::new(),
            deciders: Vec::new(),
            cause: None,
            sent: Vec::new(),
            result: None,
            exit: None,
            went: None,
            by,
        }
    }

    fn misses(&mut self, count: u64) {
        self.lines.push(format!("{:>12}  … {count} records are missing here …", ""));
    }

    fn time(&self, message: &Message) -> String {
        let us = message.at_us.saturating_sub(self.begun_us);
        match us {
            0..10_000_000 => format!("+{} ms", us / 1_000),
            _ => format!("+{}", duration(us / 1_000)),
        }
    }

    fn line(&mut self, message: &Message, text: &str, to: Option<State>) {
        let state = match (self.state, to) {
            (Some(from), Some(to)) if from != to => format!("  [{} → {}]", from.name(), to.name()),
            (None, Some(to)) => format!("  [{}]", to.name()),
            _ => String::new(),
        };
        if self.command.is_empty() && self.lines.is_empty() {
            // Its launch is not in the trace: the first that is known is its beginning.
            self.begun_us = message.at_us;
        }
        self.state = to.or(self.state);
        self.lines.push(format!("{:>12}  {text}{state}", self.time(message)));
    }

    /// What its process has sent.
    fn said(&mut self, message: &'a Message) {
        let body = &message.body;
        let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match &*message.message {
            "Exec" => {
                self.begun_us = message.at_us;
                self.command = on_one_line(&word("request"), LABEL_BYTES);
                if let Some(launch) = self.input_of(message) {
                    self.asked = asked(launch);
                }
                self.line(message, "asked for", Some(State::Starting));
            }
            "Signal" => {
                let (what, state) = match &*word("signal") {
                    "kill" => ("kill (SIGKILL) to its whole tree", State::Killing),
                    _ => (
                        "terminate (SIGTERM, or what its launch has in its place) to its whole tree",
                        State::Stopping,
                    ),
                };
                self.sent.push((message.at_us, if state == State::Killing { "kill" } else { "terminate" }));
                self.line(message, &format!("sent: {what}"), Some(state));
            }
            "Sweep" => {
                let what = match &*word("to") {
                    "terminate" => "looks who of its tree is left, and terminates them",
                    "kill" => "kills who of its tree is left",
                    "keep" => "looks who of its tree is left: they are to be kept",
                    _ => "waits for who of its tree is left",
                };
                self.line(message, what, Some(State::Sweeping));
            }
            "Seal" => self.line(message, "its files are completed", Some(State::Sealing)),
            "Arm" => {
                let after = body.get("after_ms").and_then(Value::as_u64).unwrap_or_default();
                let what = match body.get("kind").and_then(Value::as_str) {
                    Some("grace") => "it has this long to clean up before it is killed",
                    Some("drain_grace") => "its pipes are open still: they are waited for this long",
                    Some("leftovers_grace") => "leftovers have this long before they are killed",
                    Some("unkillable") => "what is not dead after this long is reported as survived",
                    _ => return,
                };
                self.line(message, &format!("{what}: {}", duration(after)), None);
            }
            "LaunchFailed" => {
                let error = body.get("error").cloned().unwrap_or_default();
                self.why
                    .push(format!("It never ran: {}", on_one_line(&error_in_words(&error), LABEL_BYTES * 4)));
                self.decided_by(message);
                self.line(message, "could not be started; nothing is left of it", Some(State::Ended));
            }
            "Down" => {
                let reason = on_one_line(&word("reason"), LABEL_BYTES);
                let what = format!("the actor of ostler's that followed it has crashed ({reason})");
                // Whatever was to end it: the result is lost by this.
                self.cause = Some((message, what.clone()));
                self.line(message, &what, None);
            }
            "Finished" => {
                self.result = body.get("record");
                let text = self.result.map(ending).unwrap_or_default();
                self.line(message, &format!("the result: {text}"), Some(State::Ended));
            }
            _ => {}
        }
    }

    /// What its process was told.
    fn heard(&mut self, message: &'a Message) {
        let body = &message.body;
        match &*message.message {
            "Started" => {
                let pid = body.get("pid").and_then(Value::as_u64).unwrap_or_default();
                let tier = body.get("containment").and_then(Value::as_str).unwrap_or("unknown");
                self.line(
                    message,
                    &format!("runs as pid {pid}; its tree is held by: {tier}"),
                    Some(State::Running),
                );
            }
            "Stop" => {
                let cause = body.get("cause").and_then(Value::as_str).unwrap_or_default();
                let who = match cause {
                    "cancelled" => "the host cancelled it",
                    "session_ended" => "its session was ended",
                    "lease_lost" => "the right to run it was taken back",
                    "host_gone" => "the host let go of ostler",
                    _ => "it was to be stopped",
                };
                self.ends_by(message, who.to_owned());
                self.line(message, &format!("to be stopped: {who}"), None);
            }
            "TimerFired" => {
                let what = match body.get("kind").and_then(Value::as_str) {
                    Some("deadline") => "its time limit has passed",
                    Some("idle") => "it has said nothing for as long as it may",
                    Some("start_timeout") => "it has neither started nor failed in time",
                    Some("grace") => "the time to clean up is over",
                    Some("drain_grace") => {
                        "its pipes are still held by somebody: they are waited for no longer"
                    }
                    Some("leftovers_grace") => "the time of the leftovers is over",
                    Some("unkillable") => "SIGKILL has not ended everybody",
                    Some("seal_timeout") => "the disk does not answer: its files are left as they are",
                    _ => return,
                };
                if matches!(
                    body.get("kind").and_then(Value::as_str),
                    Some("deadline" | "idle" | "start_timeout")
                ) {
                    self.ends_by(message, what.to_owned());
                }
                self.line(message, what, None);
            }
            "OutputLimitReached" => {
                let what = "it has said more than it may";
                self.ends_by(message, what.to_owned());
                self.line(message, what, None);
            }
            "Exited" => {
                self.exit = Some(message);
                let how = exit_in_words(body);
                let ours = match body.get("signalled").and_then(Value::as_bool) {
                    Some(true) => ", after a signal of ostler's",
                    _ => "",
                };
                let alone = match body.get("tree_empty").and_then(Value::as_bool) {
                    Some(true) => "; nobody else of its tree lives",
                    _ => "",
                };
                self.line(message, &format!("{how}{ours}{alone}"), Some(State::Draining));
                if body.get("lost").and_then(Value::as_bool) == Some(true) {
                    self.ends_by(message, "somebody has killed its parent, and it with it".to_owned());
                }
            }
            "Drained" => {
                let stream = body.get("stream").and_then(Value::as_str).unwrap_or("a stream");
                self.line(message, &format!("{stream} has ended"), None);
            }
            "TreeAlive" => {
                let seen = body.get("seen").and_then(Value::as_u64).unwrap_or_default();
                let who = if seen == 1 {
                    "1 process of its tree lives".to_owned()
                } else {
                    format!("{seen} processes of its tree live")
                };
                self.line(message, &who, None);
            }
            "TreeEmpty" => {
                self.line(message, &format!("nobody of its tree lives any more{}", left_over(body)), None)
            }
            "Survived" => {
                self.deciders.push(message);
                self.line(message, &format!("some of its tree live on{}", left_over(body)), None);
            }
            "Sealed" => {
                let bytes = body.pointer("/output/byte_count").and_then(Value::as_u64).unwrap_or_default();
                self.line(message, &format!("its files are complete: {bytes} bytes of output"), None);
            }
            "Unsealed" => self.line(message, "its files are not complete: the disk did not answer", None),
            _ => {}
        }
    }

    /// What others have said of it.
    fn around(&mut self, message: &'a Message) {
        let body = &message.body;
        match &*message.message {
            "Deliver" => {
                let calls = body.get("to_calls").and_then(Value::as_array).map_or(0, Vec::len);
                self.went = Some(match calls {
                    0 => "to the inbox of its session".to_owned(),
                    1 => "to the call that waited for it".to_owned(),
                    _ => "to the calls that waited for it: the first that has it takes it".to_owned(),
                });
            }
            "ResultsGone" => {
                let at = self.time(message);
                self.went = self.went.take().map(|went| format!("{went}, and was taken at {at}"));
            }
            "Recovered" => {
                let id = self.handle.to_string();
                let commands = body.get("commands").and_then(Value::as_array).into_iter().flatten();
                let records = commands.filter_map(|command| command.get("record"));
                self.result = records
                    .into_iter()
                    .find(|record| record.get("handle_id").and_then(Value::as_str) == Some(&*id));
                self.deciders.push(message);
                self.why.push(
                    "An earlier life of the host had started it, and left it in its journal.".to_owned(),
                );
                self.state = Some(State::Ended);
            }
            _ => {}
        }
    }
}
