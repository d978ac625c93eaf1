//! A record in one line, for people and logs.

use crate::{Leftover, Outcome, Record, Status, Text};

impl Record {
    /// `completed, exit 3`; `killed, SIGTERM`; `running`. Of a signal that nobody here has sent: `died of SIGSEGV`.
    pub fn ending(&self) -> String {
        let status = self.status.to_string().replace('_', " ");
        match (&self.signal, self.exit_code) {
            _ if self.status == Status::Running => status,
            (Some(signal), _) if self.status == Status::Completed => format!("died of {signal}"),
            (Some(signal), _) => format!("{status}, {signal}"),
            (None, Some(code)) => format!("{status}, exit {code}"),
            (None, None) => status,
        }
    }

    /// Everything that a person wants to know at the end, in one line that begins with [`ending`](Record::ending): the line
    /// that `ostler run` prints.
    ///
    /// ```text
    /// completed, exit 0, 1.2 s, 36 lines, 1,204 bytes, artifacts in /root/.local/state/ostler/artifacts/cmd_1_2_3
    /// ```
    pub fn summary(&self) -> String {
        let mut parts = vec![self.ending()];
        parts.extend(self.duration_ms.map(duration));
        parts.extend(self.counts());
        if let Some(leftovers) = self.leftovers.as_ref().filter(|leftovers| !leftovers.is_empty()) {
            let names: Vec<String> = leftovers.iter().map(leftover).collect();
            parts.push(format!("left over: {}", names.join(", ")));
        }
        parts.extend(self.artifact_error.as_ref().map(|error| format!("record incomplete: {error}")));
        let dir = self.output_path.parent().unwrap_or(&self.output_path);
        parts.push(format!("artifacts in {}", Text::from(dir)));
        parts.join(", ")
    }

    /// How much it has written: `36 lines` and `1,204 bytes`; lines only where they were counted.
    pub fn counts(&self) -> Vec<String> {
        let lines = self.line_count.map(|lines| counted(lines, "line"));
        lines.into_iter().chain([counted(self.byte_count, "byte")]).collect()
    }
}

fn leftover(leftover: &Leftover) -> String {
    let outcome = match leftover.outcome {
        Outcome::Terminated => "terminated",
        Outcome::Killed => "killed",
        Outcome::Kept => "kept",
        Outcome::Survived => "survived SIGKILL",
    };
    format!("{} ({}, {outcome})", leftover.name, leftover.pid)
}

/// Milliseconds for people: `1.2 s`, `2 min 5 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A number of things for people: `1 line`, `1,234 lines`.
pub fn counted(number: u64, what: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{text} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandId, HandleId, SessionId, StopCause};

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!(counted(0, "line"), "0 lines");
        assert_eq!(counted(1, "byte"), "1 byte");
        assert_eq!(counted(1_234, "byte"), "1,234 bytes");
        assert_eq!(counted(1_073_741_824, "byte"), "1,073,741,824 bytes");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(1_234), "1.2 s");
        assert_eq!(duration(125_000), "2 min 5 s");
        assert_eq!(duration(7_260_000), "2 h 1 min");
    }

    #[test]
    fn a_summary_says_how_it_ended_and_what_is_wrong() {
        let (command_id, handle_id) =
            (CommandId { host_pid: 1, unix_ns: 2, n: 3 }, HandleId { host_pid: 1, n: 3 });
        let mut record = Record::new(SessionId::new("s"), command_id, handle_id);
        record.output_path = "/a/cmd_1_2_3/combined.txt".into();
        assert_eq!(record.summary(), "running, 0 lines, 0 bytes, artifacts in /a/cmd_1_2_3");
        let mut record = record.with_status(Status::TimedOut);
        (record.exit_code, record.signal, record.duration_ms) =
            (Some(-1), Some("SIGKILL".into()), Some(1_500));
        record.leftovers = Some(vec![Leftover::new(7, "sleep", Outcome::Survived)]);
        record.artifact_error = Some("disk full".into());
        assert_eq!(
            record.summary(),
            "timed out, SIGKILL, 1.5 s, 0 lines, 0 bytes, left over: sleep (7, survived SIGKILL), \
             record incomplete: disk full, artifacts in /a/cmd_1_2_3"
        );
        let mut done = record.with_status(Status::Completed);
        (done.exit_code, done.signal) = (Some(0), None);
        assert_eq!(done.ending(), "completed, exit 0");
    }

    #[test]
    fn an_end_says_what_it_means_and_a_result_of_an_older_version_is_read() {
        let (command_id, handle_id) =
            (CommandId { host_pid: 1, unix_ns: 2, n: 3 }, HandleId { host_pid: 1, n: 3 });
        let running = Record::new(SessionId::new("s"), command_id, handle_id);
        assert_eq!((running.success, running.stop_cause), (None, None));
        let ended = |exit_code, status, stop_cause| {
            let mut record = running.clone();
            record.exit_code = Some(exit_code);
            record.end(status, stop_cause);
            (record.success, record.timed_out, record.stop_cause)
        };
        assert_eq!(ended(0, Status::Completed, None), (Some(true), false, None));
        assert_eq!(ended(2, Status::Completed, None), (Some(false), false, None));
        let deadline = Some(StopCause::Deadline);
        assert_eq!(ended(0, Status::TimedOut, deadline), (Some(false), true, deadline));

        let mut json = serde_json::to_value(&running).unwrap();
        for field in ["success", "stop_cause"] {
            assert!(json.as_object_mut().unwrap().remove(field).is_some());
        }
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), running);
    }
}
