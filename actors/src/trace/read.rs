//! A trace, read line by line.

use ostler_messages::{
    ActorName, Stamp,
    trace::{TRACE_LINE_MAX_BYTES, TRACE_VERSIONS},
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// A trace: where it comes from, and its lines in the order of delivery.
///
/// ```
/// # use ostler::{*, testing::{Program, World}, trace::Trace}; use std::time::Duration;
/// # let world = World::new();
/// # world.program("make", Program::new().exits_at(Duration::from_millis(50), 0));
/// let log = TraceLog::default();
/// let ostler = Ostler::scripted(Config::new().trace(TraceTo::Memory(log.clone())), &world)?;
/// # let session = ostler.open_session().wait()?;
/// let make = session.launch(Command::new("make")).wait()?;
/// # make.result().wait()?;
///
/// let trace = Trace::parse(log.text().as_bytes())?;
/// assert!(trace.of_handle(make.id()).text().contains("process/1 → kernel: Exec make"));
/// std::fs::write("trace.html", trace.html())?;
/// # std::fs::remove_file("trace.html")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trace {
    /// Version of the format, one of [`TRACE_VERSIONS`].
    pub version: u32,
    /// Process id of the host.
    pub host_pid: u32,
    /// Where the artifacts lay.
    pub artifact_root: String,
    /// Wall time at which `at_us` is 0.
    pub started_at: Stamp,
    /// So many messages of before its first are not in it: it is what a flight recorder has kept. Then its first line is a [`Line::Missing`] of as many. 0: it has its
    /// beginning.
    pub missing_before: u64,
    /// Messages, and where some are missing.
    pub lines: Vec<Line>,
    /// Bytes of a half line at the end, which were left out: the host was killed while it wrote. 0: there is none.
    pub cut_bytes: u64,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Line {
    /// A message, at its delivery.
    Message(Message),
    /// So many messages are missing here: the disk, or the memory for it, could not keep up; or, as the first line, a flight recorder has
    /// forgotten them.
    Missing(u64),
}

/// One message, at its delivery. Names are texts: a later graph may have others than this one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Counts from 1, in the order of delivery.
    pub sequence: u64,
    /// Microseconds since the graph's start, monotonic.
    pub at_us: u64,
    /// Sequence of the message whose handling sent this one; none for an input.
    #[serde(default)]
    pub cause: Option<u64>,
    /// Who sent it.
    pub from: String,
    /// Who got it.
    pub to: String,
    /// Its type.
    pub message: String,
    /// Its fields.
    #[serde(default)]
    pub body: Value,
}

impl Message {
    /// Who sent it, and who got it, as far as this version knows such actors.
    pub fn actors(&self) -> [Option<ActorName>; 2] {
        [&self.from, &self.to].map(|name| name.parse().ok())
    }
}

/// A trace that can't be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct TraceError {
    /// Which file, if it was one.
    pub path: Option<PathBuf>,
    /// Which line, from 1; 0: none was read.
    pub line: u64,
    /// What is wrong with it.
    pub fault: TraceFault,
}

/// What is wrong with a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceFault {
    /// It can't be opened or read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// It does not begin as a trace does.
    #[error("this is no trace ({0}); `ostler run --trace FILE` writes one")]
    NoTrace(String),
    /// It is of a version of the format that is not among [`TRACE_VERSIONS`].
    #[error(
        "it is a trace of version {version}, and this program knows {}; read it with the ostler that wrote it, or a newer one",
        known()
    )]
    UnknownVersion {
        /// Its version.
        version: u64,
    },
    /// A line that is no line of a trace, and not the last.
    #[error("it is no line of a trace ({0}); what stands before it can be read if it is cut off there")]
    Malformed(String),
    /// A line that is longer than [`TRACE_LINE_MAX_BYTES`].
    #[error("it is longer than {} MiB, and no line of a trace is", TRACE_LINE_MAX_BYTES >> 20)]
    TooLong,
}

fn known() -> String {
    TRACE_VERSIONS.map(|version| version.to_string()).join(", ")
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        match self.line {
            0 => write!(f, "{}", self.fault),
            line => write!(f, "line {line}: {}", self.fault),
        }
    }
}
impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            TraceFault::Unreadable(source) => Some(source),
            _ => None,
        }
    }
}

/// What is read of the first line: in each version.
#[derive(Deserialize)]
struct Head {
    host_pid: u32,
    artifact_root: String,
    started_at: Stamp,
    #[serde(default)]
    missing_before: u64,
}

/// The line of a gap.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    lost: u64,
}

impl Trace {
    /// Reads a file. It may be a trace that is still being written: what is whole of it is read. Memory is some times that of the file.
    ///
    /// # Errors
    /// A file that can't be read, is no trace, or of a version that is not known; each says where, and what to do.
    pub fn read(path: impl AsRef<Path>) -> Result<Trace, TraceError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| TraceError::at(0, TraceFault::Unreadable(source)));
        let trace = file.and_then(|file| Trace::parse(BufReader::new(file)));
        trace.map_err(|error| TraceError { path: Some(path.to_owned()), ..error })
    }

    /// Reads to the end; as [`Trace::read`].
    ///
    /// # Errors
    /// As [`Trace::read`].
    pub fn parse(mut from: impl BufRead) -> Result<Trace, TraceError> {
        let mut bytes = Vec::new();
        let (mut trace, mut line) = (None::<Trace>, 0);
        loop {
            bytes.clear();
            let mut one = from.by_ref().take(TRACE_LINE_MAX_BYTES + 1);
            let read = one.read_until(b'\n', &mut bytes);
            let read = read.map_err(|source| TraceError::at(line, TraceFault::Unreadable(source)))?;
            if read == 0 {
                let empty = || TraceError::at(0, TraceFault::NoTrace("it is empty".to_owned()));
                return trace.ok_or_else(empty);
            }
            line += 1;
            if read as u64 > TRACE_LINE_MAX_BYTES {
                return Err(TraceError::at(line, TraceFault::TooLong));
            }
            let whole = bytes.last() == Some(&b'\n');
            let taken = match &mut trace {
                None => header(&bytes).map(|header| trace = Some(header)),
                Some(trace) => match (parse_line(&bytes), whole) {
                    (Ok(read), _) => {
                        trace.lines.push(read);
                        Ok(())
                    }
                    (Err(_), false) => {
                        trace.cut_bytes = bytes.len() as u64;
                        Ok(())
                    }
                    (Err(fault), true) => Err(fault),
                },
            };
            taken.map_err(|fault| TraceError::at(line, fault))?;
        }
    }

    /// Its messages, in the order of delivery.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.lines.iter().filter_map(|line| match line {
            Line::Message(message) => Some(message),
            Line::Missing(_) => None,
        })
    }

    /// How many messages are missing, as far as it says so; what a kill has cut off is not counted.
    pub fn missing(&self) -> u64 {
        let missing = self.lines.iter().map(|line| match line {
            Line::Message(_) => 0,
            Line::Missing(count) => *count,
        });
        missing.fold(0, u64::saturating_add)
    }
}

impl TraceError {
    fn at(line: u64, fault: TraceFault) -> TraceError {
        TraceError { path: None, line, fault }
    }
}

fn header(bytes: &[u8]) -> Result<Trace, TraceFault> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| TraceFault::NoTrace(words(&error)))?;
    let version = value.get("ostler_trace").and_then(Value::as_u64);
    let version =
        version.ok_or_else(|| TraceFault::NoTrace("its first line has no `ostler_trace`".to_owned()))?;
    let known = TRACE_VERSIONS.into_iter().find(|known| u64::from(*known) == version);
    let known = known.ok_or(TraceFault::UnknownVersion { version })?;
    let head: Head = serde_json::from_value(value).map_err(|error| TraceFault::NoTrace(words(&error)))?;
    Ok(Trace {
        version: known,
        host_pid: head.host_pid,
        artifact_root: head.artifact_root,
        started_at: head.started_at,
        missing_before: head.missing_before,
        lines: if head.missing_before > 0 { vec![Line::Missing(head.missing_before)] } else { Vec::new() },
        cut_bytes: 0,
    })
}

fn parse_line(bytes: &[u8]) -> Result<Line, TraceFault> {
    let error = match serde_json::from_slice(bytes) {
        Ok(message) => return Ok(Line::Message(message)),
        Err(error) => error,
    };
    let gap = serde_json::from_slice::<Gap>(bytes).map(|gap| Line::Missing(gap.lost));
    gap.map_err(|_| TraceFault::Malformed(words(&error)))
}

/// Without the line, which is always the first of what was parsed.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match error.column() {
        0 => text.to_owned(),
        column => format!("{text}, column {column}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::told;
    use ostler_messages::trace::TRACE_VERSION;

    const HEADER: &str =
        r#"{"ostler_trace":2,"host_pid":1,"artifact_root":"/a","started_at":"2026-01-01T00:00:00.000Z"}"#;
    const FIRST: &str = r#"{"sequence":1,"at_us":0,"from":"host","to":"supervisor","message":"OpenSession","body":{"call":1}}"#;

    fn says(bytes: &[u8]) -> String {
        Trace::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_today_is_read() {
        assert!(TRACE_VERSIONS.contains(&TRACE_VERSION));
    }

    #[test]
    fn gaps_are_counted_where_they_are_and_at_the_end() {
        let trace = told(&[FIRST, r#"{"lost":3}"#, FIRST, r#"{"lost":18446744073709551615}"#]);
        assert_eq!(trace.messages().count(), 2);
        assert!(matches!(trace.lines[1], Line::Missing(3)));
        assert_eq!(trace.missing(), u64::MAX);
    }

    #[test]
    fn a_file_that_a_kill_has_cut_is_read_to_its_last_whole_line() {
        let whole = format!("{HEADER}\n{FIRST}\n{FIRST}");
        // At each byte of the last line.
        let last = HEADER.len() + 1 + FIRST.len() + 1;
        for cut in last..whole.len() {
            let trace = Trace::parse(&whole.as_bytes()[..cut]).unwrap();
            assert_eq!((trace.messages().count(), trace.cut_bytes), (1, (cut - last) as u64));
        }
        // The line is whole, but for its end.
        let trace = Trace::parse(whole.as_bytes()).unwrap();
        assert_eq!((trace.messages().count(), trace.cut_bytes), (2, 0));
    }

    #[test]
    fn messages_and_actors_of_a_later_graph_are_read() {
        let trace = told(&[
            r#"{"sequence":1,"at_us":5,"from":"oracle/7","to":"host","message":"Foretold","body":[1],"more":{}}"#,
        ]);
        let message = trace.messages().next().unwrap();
        assert_eq!((&*message.from, &*message.message), ("oracle/7", "Foretold"));
        assert_eq!(message.actors(), [None, Some(ActorName::Host)]);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line_and_what_to_do() {
        assert_eq!(says(b""), "this is no trace (it is empty); `ostler run --trace FILE` writes one");
        assert!(says(b"{}\n").starts_with("line 1: this is no trace (its first line has no `ostler_trace`)"));
        assert!(says(b"\0\xff\n").starts_with("line 1: this is no trace (expected value, column 1)"));
        let version = HEADER.replace(":2,", ":77,");
        let error = says(version.as_bytes());
        assert!(
            error.starts_with("line 1: it is a trace of version 77, and this program knows 2, 3; "),
            "{error}"
        );
        let error = says(format!("{HEADER}\n{FIRST}\n{{\"sequence\":1}}\n{FIRST}\n").as_bytes());
        assert!(error.starts_with("line 3: it is no line of a trace (missing field `at_us`, "), "{error}");
        let nested = format!("{HEADER}\n{}\n", "[".repeat(100_000));
        assert!(says(nested.as_bytes()).starts_with("line 2: "));
        let error = Trace::read("/nowhere/trace.jsonl").unwrap_err();
        assert_eq!(error.to_string(), "/nowhere/trace.jsonl: No such file or directory (os error 2)");
    }

    #[test]
    fn a_line_that_has_no_end_is_refused_before_it_fills_the_memory() {
        let header = format!("{HEADER}\n");
        let endless = header.as_bytes().chain(BufReader::new(io::repeat(b' ')));
        let error = Trace::parse(endless).unwrap_err();
        assert!(matches!((error.line, error.fault), (2, TraceFault::TooLong)));
    }
}
