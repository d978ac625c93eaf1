//! A trace, read back in each form for people.

use crate::{place_in, says_why};
use ostler::trace::{MERMAID_MESSAGES, Trace};
use std::sync::LazyLock;

/// Handles that are explained one by one: each takes as long as the whole.
const HANDLES: usize = 3;

/// A trace in which nothing has happened.
const EMPTY: &str = "{\"ostler_trace\":3,\"host_pid\":1,\"artifact_root\":\"/a\",\"started_at\":\"2026-01-01T00:00:00.000Z\"}\n";

/// What begins something in a page.
const MARKS: [&str; 4] = ["<script", "</script", "<style", "<img"];

/// How often the page has them if the trace says nothing.
static OWN: LazyLock<[usize; MARKS.len()]> =
    LazyLock::new(|| Trace::parse(EMPTY.as_bytes()).map_or([0; MARKS.len()], |trace| marks(&trace.html())));

fn marks(page: &str) -> [usize; MARKS.len()] {
    MARKS.map(|mark| page.matches(mark).count())
}

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let trace = match Trace::parse(bytes) {
        Ok(trace) => trace,
        Err(error) => return says_why(&error),
    };
    is_read_wherever_it_is_cut(bytes, &trace);
    is_escaped(&trace);
    for handle in trace.handles().into_iter().take(HANDLES) {
        let part = trace.of_handle(handle);
        assert!(part.lines.len() <= trace.lines.len(), "more about {handle} than there is");
        is_plain(&part.text());
        is_plain(&trace.explain(Some(handle)));
    }
}

fn is_read_wherever_it_is_cut(bytes: &[u8], whole: &Trace) {
    // The first line has to be there.
    let Some(header) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let cut = place_in(bytes).max(header + 1);
    let part = match Trace::parse(&bytes[..cut]) {
        Ok(part) => part,
        Err(error) => panic!("cut after {cut} bytes: {error}"),
    };
    let count = part.lines.len();
    // What is left of the last line can be a line, and another one.
    let same = count.saturating_sub(1);
    assert!(count <= whole.lines.len(), "cut after {cut} bytes there are more lines");
    assert!(part.lines[..same] == whole.lines[..same], "cut after {cut} bytes it says something else");
}

fn is_escaped(trace: &Trace) {
    is_plain(&trace.text());
    is_plain(&trace.explain(None));
    is_plain(&trace.mermaid(MERMAID_MESSAGES));
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&trace.perfetto()) {
        panic!("the timeline is no JSON: {error}");
    }
    let page = trace.html();
    assert_eq!(marks(&page), *OWN, "the page has elements that are not its own");
}

/// A terminal shows it and does nothing else.
fn is_plain(text: &str) {
    let control = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert!(control.is_none(), "a control character comes through: {control:?}");
}
