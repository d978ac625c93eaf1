//! The end of a story: why its result says what it says.

use super::{
    State, Story,
    words::{capital, detail, ending, exit_in_words, left_over},
};
use crate::trace::{LABEL_BYTES, Message};
use ostler_messages::on_one_line;
use serde_json::Value;
use std::fmt::Write;

/// Inputs that are named at the end: what decided a result is rarely more.
const DECIDERS: usize = 3;

impl<'a> Story<'a> {
    /// The first cause wins.
    pub(super) fn ends_by(&mut self, message: &'a Message, what: String) {
        if self.cause.is_none() && self.exit.is_none_or(|exit| exit.sequence == message.sequence) {
            self.cause = Some((message, what));
        }
    }

    pub(super) fn input_of(&self, message: &'a Message) -> Option<&'a Message> {
        let mut at = message;
        while let Some(cause) = at.cause.and_then(|cause| self.by.get(&cause).copied()) {
            // A cause is always before.
            if cause.sequence >= at.sequence {
                return None;
            }
            at = cause;
        }
        at.cause.is_none().then_some(at)
    }

    pub(super) fn decided_by(&mut self, message: &'a Message) {
        let input = self.input_of(message).unwrap_or(message);
        if !self.deciders.iter().any(|known| known.sequence == input.sequence) {
            self.deciders.push(input);
        }
    }

    pub(super) fn conclude(mut self) -> Story<'a> {
        self.say_why();
        self.deciders.sort_by_key(|decider| decider.sequence);
        self
    }

    fn say_why(&mut self) {
        let Some(record) = self.result else { return };
        let status = record.get("status").and_then(Value::as_str).unwrap_or_default();
        let cause = self.cause.take();
        let exit = self.exit;
        let by_itself =
            exit.is_some_and(|exit| exit.body.get("signalled").and_then(Value::as_bool) != Some(true));
        match (status, &cause) {
            ("completed", Some((message, what))) => {
                self.why.push(format!(
                    "{} at {}, but the program was dead before a signal reached it: so it counts as ended by itself.",
                    capital(what),
                    self.time(message)
                ));
                let message = *message;
                self.decided_by(message);
            }
            ("completed", None) => self
                .why
                .push("The program ended by itself: ostler sent it no signal before its end.".to_owned()),
            (_, Some((message, what))) => {
                self.why.push(format!(
                    "{} at {}: that came first, and the first cause is the result's.",
                    capital(what),
                    self.time(message)
                ));
                let message = *message;
                self.decided_by(message);
            }
            _ => {}
        }
        if let Some((at, _)) = self.sent.first() {
            let at = at.saturating_sub(self.begun_us) / 1_000;
            let names: Vec<&str> = self.sent.iter().map(|(_, name)| *name).collect();
            self.why.push(format!("It was sent: {}, the first of them at +{at} ms.", names.join(", then ")));
        }
        match exit {
            Some(exit) => {
                let whose = if by_itself { "" } else { " after that" };
                self.why.push(format!("Seen{whose}: {} at {}.", exit_in_words(&exit.body), self.time(exit)));
                self.decided_by(exit);
            }
            None if self.state == Some(State::Ended) && status != "completed" => {
                self.why.push("Its end was not seen.".to_owned());
            }
            None => {}
        }
        match record.get("leftovers") {
            Some(Value::Array(left)) if !left.is_empty() => {
                self.why.push(format!(
                    "Of its tree there were left{}.",
                    left_over(record).trim_start_matches(':')
                ));
            }
            Some(Value::Null) => {
                self.why.push("Who of its tree was left is not known: nobody was able to look.".to_owned())
            }
            _ => {}
        }
        if let Some(error) = record.get("artifact_error").and_then(Value::as_str) {
            self.why.push(format!("Its files are not whole: {}", on_one_line(error, LABEL_BYTES * 2)));
        }
    }

    pub(super) fn tell(self, text: &mut String) {
        // Writing into a String does not fail.
        let _ = match (&*self.command, self.lines.is_empty() && self.why.is_empty()) {
            (_, true) => writeln!(text, "{}: nothing in this trace is about it.", self.handle),
            ("", _) if self.begun_us > 0 => writeln!(
                text,
                "{}  (its launch is not in this trace: times count from the first that is known)",
                self.handle
            ),
            ("", _) => writeln!(text, "{}  (its launch is not in this trace)", self.handle),
            (command, _) => writeln!(text, "{}  {command}", self.handle),
        };
        if !self.asked.is_empty() {
            let _ = writeln!(text, "{}", self.asked);
        }
        if !self.lines.is_empty() {
            text.push('\n');
        }
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        if self.state.is_some_and(|state| state != State::Ended) {
            let _ = writeln!(text, "\nThe trace ends while it is {}.", self.state.map_or("", State::name));
        }
        if let Some(record) = self.result {
            let _ = writeln!(text, "\nWhy \"{}\"", ending(record));
        } else if !self.why.is_empty() {
            text.push_str("\nWhy\n");
        }
        for why in &self.why {
            let _ = writeln!(text, "  {why}");
        }
        if let Some(went) = &self.went {
            let _ = writeln!(text, "  The result went {went}.");
        }
        if !self.deciders.is_empty() {
            text.push_str("Decided by\n");
        }
        for decider in self.deciders.iter().take(DECIDERS) {
            let (from, to, message) = (&decider.from, &decider.to, &decider.message);
            let said = format!("{from} → {to}: {message}{}", detail(decider));
            // Names are what the file says, too.
            let said = on_one_line(&said, usize::MAX);
            let _ = writeln!(text, "  #{} {}  {said}", decider.sequence, self.time(decider));
        }
    }
}
