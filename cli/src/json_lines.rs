//! `ostler run --events`: what happens, as JSON Lines on stdout. docs/events.md has the format.
//!
//! * in: the start, progress, pieces of output, the result
//! * out: a line for each, whole, in the order in which they came
//! * keeps: one line of each kind waits at most: whoever brings output waits until it is written, and progress that finds the last one
//!   unwritten is dropped. Whoever must go on for signals waits for nothing

use crate::{
    events::{Event, spawn},
    exit::{self, Failure},
    pass::{Passing, duplicate, write_all},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ostler::{OutputFile, Record};
use serde_json::{Value, json};
use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
};

/// The lines on their way to stdout.
#[derive(Clone)]
pub(crate) struct JsonLines {
    to: Sender<Line>,
    progress_waits: Arc<AtomicBool>,
}

struct Line {
    json: Value,
    then: Then,
}

/// Who hears of what became of a line.
enum Then {
    /// Whoever waits for it.
    Tell(Sender<io::Result<()>>),
    /// The loop, if it failed, and if it was the last.
    Loop { last: bool },
    /// The same of progress, and the next one may come.
    Progress,
}

impl JsonLines {
    /// Starts the thread that writes.
    pub(crate) fn begin(passing: &Arc<Passing>, events: &Sender<Event>) -> Result<JsonLines, Failure> {
        let stdout = duplicate(io::stdout().as_fd())?;
        let (to, lines) = channel::<Line>();
        let progress_waits = Arc::new(AtomicBool::new(false));
        let (waits, passing, events) = (progress_waits.clone(), passing.clone(), events.clone());
        spawn("events", move || {
            for Line { json, then } in lines {
                let written = write_all(&stdout, format!("{json}\n").as_bytes(), &passing.taken);
                let _ = match then {
                    // Whoever has ended needs no answer.
                    Then::Tell(to) => to.send(written).map_err(drop),
                    Then::Loop { last } => match written {
                        Ok(()) if !last => Ok(()),
                        written => events.send(Event::Told(written)).map_err(drop),
                    },
                    Then::Progress => {
                        waits.store(false, Ordering::Relaxed);
                        written.or_else(|error| events.send(Event::Told(Err(error))).map_err(drop))
                    }
                };
            }
        })?;
        Ok(JsonLines { to, progress_waits })
    }

    pub(crate) fn started(&self, record: &Record) {
        self.send(json!({ "event": "started", "record": record }), Then::Loop { last: false });
    }

    pub(crate) fn progress(&self, record: &Record) {
        if !self.progress_waits.swap(true, Ordering::Relaxed) {
            self.send(json!({ "event": "progress", "record": record }), Then::Progress);
        }
    }

    /// The last line. [`Event::Told`] follows.
    pub(crate) fn result(&self, record: &Record) {
        self.send(json!({ "event": "result", "record": record }), Then::Loop { last: true });
    }

    /// A piece of one stream; returns when it is written.
    pub(crate) fn output(&self, which: OutputFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut json = json!({
            "event": "output", "stream": which.to_string(), "offset": offset, "bytes": bytes.len(),
        });
        match std::str::from_utf8(bytes) {
            Ok(text) => json["text"] = text.into(),
            Err(_) => json["base64"] = STANDARD.encode(bytes).into(),
        }
        let (tell, told) = channel();
        self.send(json, Then::Tell(tell));
        told.recv().unwrap_or(Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// The thread lives as long as anybody who sends.
    fn send(&self, json: Value, then: Then) {
        let _ = self.to.send(Line { json, then });
    }
}

/// The last line of a run without a result.
pub(crate) fn error(failure: &Failure) -> Value {
    event_of(exit::json(failure))
}

/// The same of a wrong command line.
pub(crate) fn usage(error: &clap::Error) -> Value {
    event_of(exit::usage(error))
}

fn event_of(mut json: Value) -> Value {
    json["event"] = "error".into();
    json
}
