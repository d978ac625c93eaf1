//! A recorded trace, run again: its inputs go into a graph of today, on a kernel that only listens, and every line that comes out is held against the
//! recorded one.
//!
//! * in: a trace, line by line
//! * out: how many records came out again, byte for byte; or the first that did not
//! * keeps: memory of one input and what follows from it, whatever the length of the trace

mod kernel;
mod lines;

use crate::{
    backend::{ContainmentReport, Containments, Facts, Outputs, Recovery, Trouble},
    config::{Config, Decisive},
    graph,
};
use kernel::Recorded;
use lines::{Lines, Shared, Source};
use ostler_context::Crashes;
use ostler_messages::{
    Containment,
    trace::{Header, TRACE_VERSIONS},
};
use std::{
    fmt,
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread,
};

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Records that came out again as they were recorded.
    pub records: u64,
    /// The first that did not.
    pub difference: Option<Difference>,
    /// The file ends in the middle of a line, or of what follows from an input: its writer was killed. It was replayed to there.
    pub cut: bool,
}

impl Replayed {
    /// Whether everything came out as it was recorded.
    pub fn is_identical(&self) -> bool {
        self.difference.is_none()
    }
    /// For a test: panics with the difference, if there is one.
    ///
    /// # Panics
    /// The replay differs.
    pub fn assert_identical(&self) {
        assert!(self.is_identical(), "{self}");
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = if self.cut { ", cut at its end" } else { "" };
        match &self.difference {
            None => write!(f, "{} records, identical{cut}", self.records),
            Some(difference) => write!(f, "{} records, then a difference{cut}\n{difference}", self.records),
        }
    }
}

/// Where a replay left what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The line of the file, from 1.
    pub line: u64,
    /// What was recorded; none: nothing more follows from the input.
    pub recorded: Option<String>,
    /// What came out; none: nothing more.
    pub replayed: Option<String>,
    /// The input from which it follows, and its line.
    pub input: Option<(u64, String)>,
}
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "(nothing more)".to_owned());
        writeln!(f, "line {}", self.line)?;
        writeln!(f, "  recorded: {}", or_none(&self.recorded))?;
        write!(f, "  replayed: {}", or_none(&self.replayed))?;
        match &self.input {
            Some((line, input)) => write!(f, "\n  follows from line {line}: {input}"),
            None => Ok(()),
        }
    }
}

/// Why a trace can't be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is none of a trace.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It is of a version that this ostler does not know.
    #[error(
        "trace version {version}: this ostler replays {TRACE_VERSIONS:?}; use the one that has recorded it, or a newer one"
    )]
    Version {
        /// Its version.
        version: u32,
    },
    /// It has no first line with the facts.
    #[error("line 1 is no header: a trace without its beginning can be explained, and not replayed")]
    NoHeader,
    /// It is the last part of a trace, which a flight recorder has kept: what its first messages follow from is not known.
    #[error(
        "it is a flight recorder's: {missing} messages of before its first are not in it, so it can be explained and not replayed; what is recorded with --trace, or Config::trace, has its beginning"
    )]
    NoBeginning {
        /// How many are missing before the first.
        missing: u64,
    },
    /// Lines are missing, because the disk was too slow: what they said is not known.
    #[error(
        "line {line}: {lost} lines were left out here, so what comes after them can't be replayed; what comes before is {before}"
    )]
    Lost {
        /// The line that says so.
        line: u64,
        /// How many.
        lost: u64,
        /// What became of those before.
        before: Box<Replayed>,
    },
    /// A message that this ostler does not know.
    #[error(
        "line {line}: {from} → {to}: {message} is no message that this ostler knows as an input; a newer one has recorded it"
    )]
    Unknown {
        /// From 1.
        line: u64,
        /// Who sent it.
        from: String,
        /// Who got it.
        to: String,
        /// Its name.
        message: String,
    },
    /// There is no thread to run it on.
    #[error("replay: {0}")]
    Resource(String),
}

/// Replays a trace file. It starts no process, opens no other file, and takes as long as the computing does.
///
/// A trace that somebody has sent becomes a test by one line:
///
/// ```no_run
/// ostler::trace::replay("tests/traces/lost_result.jsonl").unwrap().assert_identical();
/// ```
///
/// What a trace does not have is taken as nothing: values of variables are empty, and input is zeros. Two launches with one `launch_key`, or two writes with one
/// `write_id`, that differ in those only look the same.
///
/// # Errors
/// It can't be read, or not be replayed: see [`ReplayError`].
pub fn replay(path: impl AsRef<Path>) -> Result<Replayed, ReplayError> {
    let path = path.as_ref();
    let read = |source| ReplayError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    replay_lines(path, Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// The same of a trace in memory.
///
/// # Errors
/// It can't be replayed: see [`ReplayError`].
pub fn replay_text(trace: &str) -> Result<Replayed, ReplayError> {
    replay_lines(Path::new("trace"), Box::new(io::Cursor::new(trace.to_owned())))
}

fn replay_lines(path: &Path, source: Source) -> Result<Replayed, ReplayError> {
    let path = path.to_owned();
    // A graph needs a thread without another runtime.
    let run = thread::Builder::new().name("ostler-replay".into()).spawn(move || on_thread(&path, source));
    let run = run.map_err(|error| ReplayError::Resource(error.to_string()))?;
    run.join().unwrap_or_else(|_| Err(ReplayError::Resource("its thread has panicked".into())))
}

fn on_thread(path: &Path, source: Source) -> Result<Replayed, ReplayError> {
    let mut lines = Lines::new(path, source);
    let header = lines.header()?;
    let settings = match header.ostler_trace {
        2 => Decisive::default(),
        _ => serde_json::from_value(header.settings.clone())
            .map_err(|error| ReplayError::Line { line: 1, why: format!("settings: {error}") })?,
    };
    let config = Config::new().limits(settings.limits).times(settings.times);
    let crashes = Crashes::default();
    let shared = Rc::new(Shared::new(lines, crashes.clone()));
    let facts = facts(&header, shared.next_n());
    let kernel = Box::new(Recorded::new(shared.clone()));
    let sink = {
        let shared = shared.clone();
        Box::new(move |line: &[u8]| shared.came(line))
    };
    graph::rerun(config, facts, sink, kernel, crashes)
        .map_err(|error| ReplayError::Resource(error.to_string()))?;
    shared.outcome()
}

fn facts(header: &Header, next_n: crate::backend::NextN) -> Facts {
    let nothing = ContainmentReport {
        tier: Containment::Group,
        host_death: None,
        host_is_parent: None,
        refused: Vec::new(),
    };
    Facts {
        header: header.clone(),
        artifact_root: Path::new(&header.artifact_root).into(),
        outputs: Arc::new(Outputs::new(header.host_pid, None)),
        containment: Containments::new(nothing, Arc::default()),
        next_n,
        journaled: header.journaled,
        journal_trouble: Trouble::default(),
        recovery: Recovery::default(),
        #[cfg(feature = "testing")]
        pace: None,
        dumps: None,
    }
}
