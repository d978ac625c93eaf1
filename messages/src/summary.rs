//! A record in one line, for people and logs.

use crate::{Leftover, Outcome, Record, Status, StopCause};

/// Signals by which the kernel or the C library ends a program that is wrong.
const CRASHES: &[&str] = &["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"];

impl Record {
    /// How it ended, and why, in a few words: `completed, exit 0`; `failed, exit 3`; `crashed, SIGSEGV`; `cancelled, SIGTERM`;
    /// `timed out after 2 s`; `timed out: 30 s without output`; `running`. Of a signal that nobody here has sent: `died of SIGUSR1`.
    pub fn ending(&self) -> String {
        let what = match (self.status, self.stop_cause) {
            (Status::Running, _) => return self.status.to_string(),
            (Status::Completed, _) => return self.own_ending(),
            (Status::TimedOut, cause) => return self.timed_out_by(cause),
            (Status::Killed, Some(StopCause::Cancelled)) => "cancelled",
            (Status::Killed, Some(StopCause::SessionEnded)) => "session ended",
            (Status::Killed, Some(StopCause::OutputLimit)) => "too much output",
            (Status::Killed, Some(StopCause::HostGone)) => "host gone",
            (Status::Killed, Some(StopCause::LeaseLost)) => "lease lost",
            (Status::Killed, _) => "killed",
            (Status::Lost, Some(StopCause::HostGone)) => "lost with its host",
            (Status::Lost, _) => "lost",
        };
        with(what, self.leader_end())
    }

    fn own_ending(&self) -> String {
        match (self.signal.as_deref(), self.exit_code) {
            (Some("SIGKILL"), _) if self.oom_killed == Some(true) => "out of memory, SIGKILL".to_owned(),
            (Some(signal), _) if CRASHES.contains(&signal) => format!("crashed, {signal}"),
            (Some(signal), _) => format!("died of {signal}"),
            (None, Some(0)) => "completed, exit 0".to_owned(),
            (None, _) => with("failed", self.leader_end()),
        }
    }

    fn timed_out_by(&self, cause: Option<StopCause>) -> String {
        match (cause, self.time_limit_ms) {
            (Some(StopCause::Idle), Some(ms)) => format!("timed out: {} without output", limit(ms)),
            (Some(StopCause::Idle), None) => "timed out: no output".to_owned(),
            (_, Some(ms)) => format!("timed out after {}", limit(ms)),
            // A record from before the limit stood in it.
            (_, None) => with("timed out", self.leader_end()),
        }
    }

    /// The leader's end; none where it is not known.
    fn leader_end(&self) -> Option<String> {
        match (&self.signal, self.exit_code) {
            (Some(signal), _) => Some(signal.clone()),
            (None, Some(code)) if code >= 0 => Some(format!("exit {code}")),
            _ => None,
        }
    }

    /// Everything that a person wants to know at the end, in one line: the line that `ostler run` prints. It begins with
    /// [`ending`](Record::ending), and what is wrong comes before what is only counted, so that its end can be cut.
    ///
    /// ```text
    /// failed, exit 3, left over: sleep (4711, terminated), 1.2 s, 36 lines, 1,204 bytes
    /// ```
    pub fn summary(&self) -> String {
        let mut parts = vec![self.ending()];
        let limit_is_told = self.status == Status::TimedOut && self.time_limit_ms.is_some();
        parts.extend(self.leader_end().filter(|_| limit_is_told));
        if self.oom_killed == Some(true) && !parts[0].starts_with("out of memory") {
            parts.push("out of memory".to_owned());
        }
        if let Some(leftovers) = self.leftovers.as_ref().filter(|leftovers| !leftovers.is_empty()) {
            let names: Vec<String> = leftovers.iter().map(leftover).collect();
            parts.push(format!("left over: {}", names.join(", ")));
        }
        parts.extend(self.artifact_error.as_ref().map(|error| format!("record incomplete: {error}")));
        // After a deadline it is what the ending has said.
        let time_is_told = limit_is_told && self.stop_cause == Some(StopCause::Deadline);
        parts.extend(self.duration_ms.filter(|_| !time_is_told).map(duration));
        parts.extend(self.counts());
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

fn with(what: &str, how: Option<String>) -> String {
    how.map_or_else(|| what.to_owned(), |how| format!("{what}, {how}"))
}

/// A time that somebody has chosen: `30 s`, `1.5 s`, `2 min`.
fn limit(ms: u64) -> String {
    match ms {
        ..60_000 if ms >= 1_000 && ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        ..3_600_000 if ms >= 60_000 && ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ if ms > 0 && ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ => duration(ms),
    }
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
        assert_eq!(record.summary(), "running, 0 lines, 0 bytes");
        record.end(Status::TimedOut, Some(StopCause::Idle));
        (record.exit_code, record.signal, record.duration_ms) =
            (Some(-1), Some("SIGKILL".into()), Some(1_500));
        record.time_limit_ms = Some(1_000);
        record.leftovers = Some(vec![Leftover::new(7, "sleep", Outcome::Survived)]);
        record.artifact_error = Some("disk full".into());
        assert_eq!(
            record.summary(),
            "timed out: 1 s without output, SIGKILL, left over: sleep (7, survived SIGKILL), \
             record incomplete: disk full, 1.5 s, 0 lines, 0 bytes"
        );
        record.stop_cause = Some(StopCause::Deadline);
        record.artifact_error = None;
        record.leftovers = Some(Vec::new());
        assert_eq!(record.summary(), "timed out after 1 s, SIGKILL, 0 lines, 0 bytes");
    }

    #[test]
    fn each_way_to_end_has_its_own_words() {
        use StopCause::*;
        let (command_id, handle_id) =
            (CommandId { host_pid: 1, unix_ns: 2, n: 3 }, HandleId { host_pid: 1, n: 3 });
        let record = Record::new(SessionId::new("s"), command_id, handle_id);
        let ending = |status, cause, exit_code, signal: Option<&str>, time_limit_ms| {
            let mut record = record.clone();
            (record.exit_code, record.signal) = (Some(exit_code), signal.map(str::to_owned));
            record.end(status, cause);
            record.time_limit_ms = time_limit_ms;
            record.ending()
        };
        let own = |exit_code, signal| ending(Status::Completed, None, exit_code, signal, None);
        assert_eq!(own(0, None), "completed, exit 0");
        assert_eq!(own(3, None), "failed, exit 3");
        assert_eq!(own(-1, None), "failed");
        assert_eq!(own(-1, Some("SIGSEGV")), "crashed, SIGSEGV");
        assert_eq!(own(-1, Some("SIGTERM")), "died of SIGTERM");
        let killed = |cause| ending(Status::Killed, cause, 7, None, None);
        assert_eq!(killed(Some(Cancelled)), "cancelled, exit 7");
        assert_eq!(killed(Some(SessionEnded)), "session ended, exit 7");
        assert_eq!(killed(Some(OutputLimit)), "too much output, exit 7");
        assert_eq!(killed(Some(HostGone)), "host gone, exit 7");
        assert_eq!(killed(Some(LeaseLost)), "lease lost, exit 7");
        assert_eq!(killed(None), "killed, exit 7");
        let late = |cause, ms| ending(Status::TimedOut, Some(cause), -1, Some("SIGTERM"), ms);
        assert_eq!(late(Idle, Some(30_000)), "timed out: 30 s without output");
        assert_eq!(late(Idle, None), "timed out: no output");
        assert_eq!(late(Deadline, Some(120_000)), "timed out after 2 min");
        assert_eq!(late(Deadline, Some(1_500)), "timed out after 1.5 s");
        assert_eq!(late(Deadline, None), "timed out, SIGTERM");
        let lost = |cause| ending(Status::Lost, Some(cause), -1, None, None);
        assert_eq!((lost(HostGone), lost(Crashed)), ("lost with its host".into(), "lost".into()));
        let mut hungry = record.clone();
        (hungry.exit_code, hungry.signal, hungry.oom_killed) = (Some(-1), Some("SIGKILL".into()), Some(true));
        hungry.end(Status::Completed, None);
        assert_eq!(hungry.ending(), "out of memory, SIGKILL");
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
