//! What ostler promises, looked for in what has happened in a world.

use super::World;
use crate::config::TraceTo;
use ostler_messages::{ActorName, trace::Delivery};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Something in a world that ostler promises not to happen. [`World::story`] has what led to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenPromise {
    /// A handle has two results, or none though the graph was shut down.
    #[error("life {life}: {handle_id} has {results} results")]
    Results {
        /// Of the host, from 1.
        life: usize,
        /// Which handle.
        handle_id: String,
        /// How many.
        results: usize,
    },
    /// An entry about the progress of a command was given out after its result.
    #[error("life {life}: call #{call} was given progress of {handle_id} after its result")]
    LateProgress {
        /// Of the host, from 1.
        life: usize,
        /// Which handle.
        handle_id: String,
        /// To which call.
        call: u64,
    },
    /// A result was taken by two reads.
    #[error("life {life}: the result of {handle_id} was taken by the calls #{first} and #{second}")]
    TakenTwice {
        /// Of the host, from 1.
        life: usize,
        /// Which handle.
        handle_id: String,
        /// By which call.
        first: u64,
        /// By which call again.
        second: u64,
    },
    /// A call of the host has no answer, though nothing happens any more that could bring one.
    #[error("life {life}: call #{call} ({request}) waits, and nothing happens any more")]
    WaitsForEver {
        /// Of the host, from 1.
        life: usize,
        /// Which call.
        call: u64,
        /// What it asks.
        request: String,
    },
    /// A record does not count the bytes that its command has written.
    #[error("life {life}: {handle_id} has written {written} bytes, and its record says {recorded}")]
    Bytes {
        /// Of the host, from 1.
        life: usize,
        /// Which handle.
        handle_id: String,
        /// That came out of its pipes.
        written: u64,
        /// In its record.
        recorded: u64,
    },
    /// There was no room for the whole trace: what is missing can't be looked at.
    #[error("life {life}: its trace is not whole, so nothing can be said of it; check earlier, or run less")]
    TraceCut {
        /// Of the host, from 1.
        life: usize,
    },
}

impl World {
    /// Lets the world come to rest, and looks whether ostler has kept what it promises in all that has happened: one result for each handle, in each
    /// life of its host; no progress after it; no result read twice by [`drain`](crate::Inbox::drain) or [`receive`](crate::Inbox::receive); an answer
    /// to every call that could have one; records that count every byte. A host's own mistakes show as well: a call that somebody still holds and that nothing
    /// will answer is a [`WaitsForEver`](BrokenPromise::WaitsForEver).
    ///
    /// A world that does not come to rest (see [`run_until_quiet`](World::run_until_quiet)) is looked at as it is then. A life whose trace
    /// goes to a file is not looked at.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn check(&self) -> Result<(), BrokenPromise> {
        let quiet = self.run_until_quiet().is_ok();
        self.advance(Duration::ZERO);
        let traces = self.traces();
        let lives = traces.len();
        for (life, to) in (1..).zip(traces) {
            let TraceTo::Memory(log) = to else { continue };
            check_life(life, &log.text(), quiet && life == lives)?;
        }
        Ok(())
    }
}

/// `quiet`: nothing happens any more in it.
fn check_life(life: usize, trace: &str, quiet: bool) -> Result<(), BrokenPromise> {
    let mut seen = Seen { life, ..Seen::default() };
    for line in trace.lines() {
        match serde_json::from_str::<Delivery>(line) {
            Ok(delivery) => seen.look(&delivery)?,
            Err(_) if line.starts_with("{\"lost\"") => return Err(BrokenPromise::TraceCut { life }),
            // The header.
            Err(_) => {}
        }
    }
    seen.finish(quiet)
}

/// What was seen of one life.
#[derive(Default)]
struct Seen {
    life: usize,
    launched: BTreeSet<String>,
    results: BTreeMap<String, usize>,
    /// Bytes of the streams of each process, and how many have ended.
    written: BTreeMap<u64, (u64, u64)>,
    /// Calls without an answer, by what they ask.
    open: BTreeMap<u64, String>,
    /// Results in answers to reads that take, until these are acknowledged.
    answered: BTreeMap<u64, Vec<String>>,
    /// Reads that take.
    takes: BTreeSet<u64>,
    taken: BTreeMap<String, u64>,
    shut_down: bool,
}

impl Seen {
    fn look(&mut self, delivery: &Delivery) -> Result<(), BrokenPromise> {
        let Delivery { from, to, message, body, .. } = delivery;
        let call = body.get("call").and_then(Value::as_u64);
        match (message.as_str(), call) {
            ("Ack", Some(call)) => self.acknowledged(call)?,
            ("Nack", Some(call)) => {
                self.open.remove(&call);
                self.answered.remove(&call);
            }
            ("Reply", Some(call)) if *to == ActorName::Host => self.replied(call, body)?,
            (request, Some(call)) if *from == ActorName::Host => {
                self.open.insert(call, request.to_owned());
                if request == "Drain" {
                    self.takes.insert(call);
                }
                self.shut_down |= request == "Shutdown";
            }
            ("Launched", _) if *to == ActorName::Supervisor => self.launched.extend(handle_of(body)),
            ("Deliver", _) => *self.results.entry(handle_of(body).unwrap_or_default()).or_default() += 1,
            ("EndOfStream", _) => {
                if let ActorName::Drain(n, _) = to {
                    let (bytes, ends) = self.written.entry(*n).or_default();
                    *bytes += body.get("bytes").and_then(Value::as_u64).unwrap_or(0);
                    *ends += 1;
                }
            }
            ("Finished", _) => self.finished(body)?,
            _ => {}
        }
        Ok(())
    }

    fn finished(&self, body: &Value) -> Result<(), BrokenPromise> {
        let n = body.get("n").and_then(Value::as_u64);
        let both = n.and_then(|n| self.written.get(&n)).filter(|(_, ends)| *ends == 2);
        let recorded = body.get("record").and_then(|record| record.get("byte_count")).and_then(Value::as_u64);
        // A stream that was given up, or whose actor has crashed, has no sum.
        match (both, recorded) {
            (Some((written, _)), Some(recorded)) if *written != recorded => {
                let handle_id = handle_of(body).unwrap_or_default();
                Err(BrokenPromise::Bytes { life: self.life, handle_id, written: *written, recorded })
            }
            _ => Ok(()),
        }
    }

    fn replied(&mut self, call: u64, body: &Value) -> Result<(), BrokenPromise> {
        self.open.remove(&call);
        let takes = self.takes.remove(&call);
        for entry in entries(body) {
            // As an answer has them: number, kind, handle, and whether it comes again.
            let mut words = entry.split(' ').skip(1);
            let (Some(kind), Some(handle_id)) = (words.next(), words.next()) else { continue };
            let (handle_id, again) = (handle_id.trim_end_matches(','), words.next().is_some());
            if kind == "tool_progress" && self.results.contains_key(handle_id) && !again {
                let handle_id = handle_id.to_owned();
                return Err(BrokenPromise::LateProgress { life: self.life, handle_id, call });
            }
            if kind == "tool_result" && takes {
                self.answered.entry(call).or_default().push(handle_id.to_owned());
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, call: u64) -> Result<(), BrokenPromise> {
        for handle_id in self.answered.remove(&call).unwrap_or_default() {
            if let Some(first) = self.taken.insert(handle_id.clone(), call) {
                let life = self.life;
                return Err(BrokenPromise::TakenTwice { life, handle_id, first, second: call });
            }
        }
        Ok(())
    }

    /// `quiet`: nothing happens any more.
    fn finish(self, quiet: bool) -> Result<(), BrokenPromise> {
        let life = self.life;
        // The end of a graph answers whoever asked for it last.
        let stopped = self.shut_down && !self.open.values().any(|request| request == "Shutdown");
        for handle_id in self.launched {
            let results = self.results.get(&handle_id).copied().unwrap_or(0);
            if results > 1 || (stopped && results == 0) {
                return Err(BrokenPromise::Results { life, handle_id, results });
            }
        }
        match self.open.into_iter().next().filter(|_| quiet && !stopped) {
            Some((call, request)) => Err(BrokenPromise::WaitsForEver { life, call, request }),
            None => Ok(()),
        }
    }
}

fn handle_of(body: &Value) -> Option<String> {
    body.get("record")?.get("handle_id")?.as_str().map(str::to_owned)
}

/// The entries of an answer, in whatever it is wrapped.
fn entries(body: &Value) -> Vec<&str> {
    match body {
        Value::Object(fields) => match fields.get("entries") {
            Some(Value::Array(entries)) => entries.iter().filter_map(Value::as_str).collect(),
            _ => fields.values().flat_map(entries).collect(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod tests {
    use super::*;
    use crate::{Command, Config, Filter, Ostler, TraceLog, testing::Program};

    /// A command that says two bytes, whose result is taken; then the end. A promise is broken by a change of its lines.
    fn day() -> Vec<String> {
        let world = World::new();
        let ends = Duration::from_millis(50);
        world.program("make", Program::new().stdout_at(Duration::ZERO, "hi").exits_at(ends, 0));
        let log = TraceLog::default();
        let ostler = Ostler::scripted(Config::new().trace(TraceTo::Memory(log.clone())), &world).unwrap();
        let session = ostler.open_session().wait().unwrap();
        session.launch(Command::new("make")).wait().unwrap();
        assert_eq!(session.inbox().receive(Filter::results(), 1, ends * 2).wait().unwrap().len(), 1);
        ostler.shutdown().wait().unwrap();
        world.check().unwrap();
        let lines: Vec<String> = log.text().lines().map(str::to_owned).collect();
        assert_eq!(check_life(1, &lines.join("\n"), true), Ok(()));
        lines
    }
    fn at(lines: &[String], parts: &[&str]) -> usize {
        lines.iter().position(|line| parts.iter().all(|part| line.contains(part))).unwrap()
    }
    fn message(name: &str) -> String {
        format!("\"message\":\"{name}\"")
    }
    fn broken(lines: &[String]) -> BrokenPromise {
        check_life(1, &lines.join("\n"), true).unwrap_err()
    }

    #[test]
    fn two_results_and_none_are_found() {
        let whole = day();
        let deliver = at(&whole, &[&message("Deliver")]);
        let mut twice = whole.clone();
        twice.insert(deliver, whole[deliver].clone());
        assert!(matches!(broken(&twice), BrokenPromise::Results { results: 2, .. }));
        let mut none = whole;
        none.remove(deliver);
        assert!(matches!(broken(&none), BrokenPromise::Results { results: 0, .. }));
    }

    #[test]
    fn progress_after_the_result_is_found() {
        let mut lines = day();
        let reply = at(&lines, &[&message("Reply"), "tool_result"]);
        lines[reply] = lines[reply].replace("tool_result", "tool_progress");
        assert!(matches!(broken(&lines), BrokenPromise::LateProgress { life: 1, .. }));
    }

    #[test]
    fn a_result_that_two_reads_take_is_found() {
        let mut lines = day();
        let reply = at(&lines, &[&message("Reply"), "tool_result"]);
        let call: Value = serde_json::from_str(&lines[reply]).unwrap();
        let call = format!("\"call\":{}", call["body"]["call"]);
        let of_call = |name| at(&lines, &[&message(name), &call]);
        // All of it again, by another call.
        let again = [of_call("Drain"), reply, of_call("Ack")];
        let again = again.map(|line| lines[line].replace(&call, "\"call\":999"));
        lines.extend(again);
        assert!(matches!(broken(&lines), BrokenPromise::TakenTwice { second: 999, .. }));
    }

    #[test]
    fn a_wrong_sum_of_bytes_is_found() {
        let mut lines = day();
        let finished = at(&lines, &[&message("Finished")]);
        lines[finished] = lines[finished].replace("\"byte_count\":2", "\"byte_count\":3");
        assert!(matches!(broken(&lines), BrokenPromise::Bytes { written: 2, recorded: 3, .. }));
    }

    #[test]
    fn a_call_without_an_answer_and_a_trace_that_is_cut_are_found() {
        let mut lines = day();
        let opened = at(&lines, &[&message("Reply"), "opened"]);
        let shutdown = at(&lines, &[&message("Shutdown")]);
        let mut waits = lines[..shutdown].to_vec();
        waits.remove(opened);
        assert!(matches!(broken(&waits), BrokenPromise::WaitsForEver { .. }));
        // It can still be answered.
        assert_eq!(check_life(1, &waits.join("\n"), false), Ok(()));
        lines.push("{\"lost\":3}".to_owned());
        assert_eq!(broken(&lines), BrokenPromise::TraceCut { life: 1 });
    }
}
