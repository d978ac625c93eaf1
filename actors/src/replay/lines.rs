//! The recorded lines, an input with all that follows from it at a time, and what they are held against.

use super::{
    Difference, ReplayError, Replayed,
    kernel::{Said, read},
};
use crate::backend::NextN;
use ostler_context::Crashes;
use ostler_messages::trace::{Header, TRACE_LINE_MAX_BYTES, TRACE_VERSIONS};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    io::{BufRead, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A record, as far as a replay looks at it.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(default)]
    at_us: u64,
    #[serde(default)]
    cause: Option<u64>,
    #[serde(borrow)]
    from: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    to: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    message: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}
/// A line that says how many were left out.
#[derive(Deserialize)]
struct LostLine {
    lost: u64,
}
#[derive(Deserialize)]
struct DownFields {
    reason: String,
}

/// A line with its number in the file.
struct Line {
    number: u64,
    text: Vec<u8>,
}

/// Where a trace comes from.
pub(super) type Source = Box<dyn BufRead + Send>;

pub(super) struct Lines {
    path: PathBuf,
    source: Source,
    number: u64,
    /// The file ends in the middle of a line.
    cut: bool,
}
impl Lines {
    pub(super) fn new(path: &Path, source: Source) -> Lines {
        Lines { path: path.to_owned(), source, number: 0, cut: false }
    }

    /// The next whole line, without its end.
    fn next(&mut self) -> Result<Option<Line>, ReplayError> {
        let mut text = Vec::new();
        let read = (&mut self.source).take(TRACE_LINE_MAX_BYTES).read_until(b'\n', &mut text);
        let length = read.map_err(|source| ReplayError::Read { path: self.path.clone(), source })?;
        self.number += 1;
        match text.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(Line { number: self.number, text })),
            Some(_) if length as u64 == TRACE_LINE_MAX_BYTES => {
                Err(ReplayError::Line { line: self.number, why: format!("it has more than {length} bytes") })
            }
            Some(_) => {
                self.cut = true;
                Ok(None)
            }
        }
    }

    pub(super) fn header(&mut self) -> Result<Header, ReplayError> {
        /// Read before the rest: another version may have another form.
        #[derive(Deserialize)]
        struct Version {
            ostler_trace: u32,
        }
        let line = self.next()?.ok_or(ReplayError::NoHeader)?;
        let Ok(Version { ostler_trace: version }) = serde_json::from_slice(&line.text) else {
            return Err(ReplayError::NoHeader);
        };
        if !TRACE_VERSIONS.contains(&version) {
            return Err(ReplayError::Version { version });
        }
        let header: Header = serde_json::from_slice(&line.text)
            .map_err(|error| ReplayError::Line { line: 1, why: error.to_string() })?;
        match header.missing_before {
            0 => Ok(header),
            missing => Err(ReplayError::NoBeginning { missing }),
        }
    }
}

/// What a replay's kernel and its sink share.
pub(super) struct Shared(RefCell<State>, Numbers);

/// Numbers of processes, in the order in which they were given out.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<(VecDeque<u64>, u64)>>);

struct State {
    lines: Lines,
    /// The first line of the next input.
    held: Option<Line>,
    /// The input that runs, and what is to follow from it.
    input: Option<Line>,
    expected: VecDeque<Line>,
    known: BTreeSet<u64>,
    crashes: Crashes,
    /// The header comes first, and was looked at.
    begun: bool,
    identical: u64,
    ended: Option<Result<Difference, ReplayError>>,
}

impl Shared {
    pub(super) fn new(lines: Lines, crashes: Crashes) -> Shared {
        Shared(
            RefCell::new(State {
                lines,
                held: None,
                input: None,
                expected: VecDeque::new(),
                known: BTreeSet::new(),
                crashes,
                begun: false,
                identical: 0,
                ended: None,
            }),
            Numbers::default(),
        )
    }

    /// As they were recorded; one that was not is the next.
    pub(super) fn next_n(&self) -> NextN {
        let numbers = self.1.clone();
        Box::new(move || {
            let mut numbers = numbers.0.lock().unwrap_or_else(PoisonError::into_inner);
            let n = numbers.0.pop_front().unwrap_or(numbers.1 + 1);
            numbers.1 = n;
            n
        })
    }

    /// The next input, if what followed from the last one is all there.
    pub(super) fn next_input(&self) -> Option<(u64, Said)> {
        let mut state = self.0.borrow_mut();
        if state.ended.is_some() {
            return None;
        }
        if let Some(line) = state.expected.pop_front() {
            state.differs(line.number, Some(&line.text), None);
            return None;
        }
        match state.group(&self.1) {
            Ok(next) => next,
            Err(error) => {
                state.ended = Some(Err(error));
                None
            }
        }
    }

    /// A line of the replay.
    pub(super) fn came(&self, text: &[u8]) {
        let mut state = self.0.borrow_mut();
        if text.is_empty() || state.ended.is_some() {
            return;
        }
        if !state.begun {
            state.begun = true;
            return;
        }
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        match state.expected.pop_front() {
            Some(line) if line.text == text => state.identical += 1,
            Some(line) => state.differs(line.number, Some(&line.text), Some(text)),
            // The writer was killed before it had written what followed.
            None if state.is_last() => state.lines.cut = true,
            None => {
                let line = state.held.as_ref().map_or(state.lines.number, |line| line.number);
                state.differs(line, None, Some(text));
            }
        }
    }

    pub(super) fn outcome(&self) -> Result<Replayed, ReplayError> {
        let mut state = self.0.borrow_mut();
        let left = state.expected.pop_front();
        if let (Some(line), None) = (left, &state.ended) {
            state.differs(line.number, Some(&line.text), None);
        } else if let (Some(line), None) = (state.held.take(), &state.ended) {
            // The graph has ended, and the recorded one had not.
            state.differs(line.number, Some(&line.text), None);
        }
        let ended = state.ended.take();
        let (records, cut) = (state.identical, state.lines.cut);
        let so_far = |difference| Replayed { records, difference, cut };
        match ended {
            None => Ok(so_far(None)),
            Some(Ok(difference)) => Ok(so_far(Some(difference))),
            Some(Err(ReplayError::Lost { line, lost, .. })) => {
                Err(ReplayError::Lost { line, lost, before: Box::new(so_far(None)) })
            }
            Some(Err(error)) => Err(error),
        }
    }
}

impl State {
    fn is_last(&mut self) -> bool {
        self.held.is_none()
    }

    fn differs(&mut self, line: u64, recorded: Option<&[u8]>, replayed: Option<&[u8]>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let input = self.input.as_ref().map(|input| (input.number, text(&input.text)));
        self.ended =
            Some(Ok(Difference { line, recorded: recorded.map(text), replayed: replayed.map(text), input }));
    }

    /// Reads an input and what follows from it. None: there is none.
    fn group(&mut self, numbers: &Numbers) -> Result<Option<(u64, Said)>, ReplayError> {
        let Some(line) = self.held.take().map_or_else(|| self.lines.next(), |line| Ok(Some(line)))? else {
            return Ok(None);
        };
        let said = {
            let record = record(&line)?;
            if record.cause.is_some() {
                // Of an input, everything that follows was read with it.
                self.differs(line.number, Some(&line.text), None);
                return Ok(None);
            }
            let (from, to, message) = (&*record.from, &*record.to, &*record.message);
            let said = read(from, to, message, record.body.get()).ok_or_else(|| ReplayError::Unknown {
                line: line.number,
                from: from.to_owned(),
                to: to.to_owned(),
                message: message.to_owned(),
            })?;
            (record.at_us, said.map_err(|why| ReplayError::Line { line: line.number, why })?)
        };
        let copy = Line { number: line.number, text: line.text.clone() };
        self.expected.push_back(copy);
        self.input = Some(line);
        while let Some(next) = self.lines.next()? {
            if !self.follows(&next, numbers)? {
                self.held = Some(next);
                break;
            }
            self.expected.push_back(next);
        }
        Ok(Some(said))
    }

    /// Whether it follows from the input that was read last; then what a replay has to know of it is noted.
    fn follows(&mut self, line: &Line, numbers: &Numbers) -> Result<bool, ReplayError> {
        let record = record(line)?;
        let Some(cause) = record.cause else { return Ok(false) };
        if record.message == "Down" {
            let DownFields { reason } = serde_json::from_str(record.body.get())
                .map_err(|error| ReplayError::Line { line: line.number, why: error.to_string() })?;
            self.crashes.add(cause, reason);
        }
        // A process begins with what it sends the kernel.
        let n = record.from.strip_prefix("process/").filter(|_| record.message == "Exec");
        if let Some(n) = n.and_then(|n| n.parse().ok()).filter(|n| self.known.insert(*n)) {
            numbers.0.lock().unwrap_or_else(PoisonError::into_inner).0.push_back(n);
        }
        Ok(true)
    }
}

fn record(line: &Line) -> Result<Record<'_>, ReplayError> {
    serde_json::from_slice(&line.text).map_err(|error| match serde_json::from_slice(&line.text) {
        Ok(LostLine { lost }) => {
            let before = Box::new(Replayed { records: 0, difference: None, cut: false });
            ReplayError::Lost { line: line.number, lost, before }
        }
        Err(_) => ReplayError::Line { line: line.number, why: error.to_string() },
    })
}
