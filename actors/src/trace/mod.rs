//! Traces, read back for people: as text, as a diagram, as a timeline, as a page.
//!
//! * in: a file that [`TraceTo::File`](crate::TraceTo) has written, or the text of a [`TraceLog`](crate::TraceLog), of this program or
//!   an older one, whole or cut by a kill; any bytes at all
//! * keeps: what is in it is somebody else's (arguments, output, names), so each form escapes all of it
//!
//! Nothing of the graph is known here but the vocabulary: what a later graph says is shown, not refused.

mod explain;
mod lanes;
mod mermaid;
mod page;
mod perfetto;
mod read;

pub use crate::replay::{Difference, ReplayError, Replayed, replay, replay_text};
pub use mermaid::MERMAID_MESSAGES;
pub use ostler_messages::trace::{TRACE_LINE_MAX_BYTES, TRACE_VERSIONS};
pub use read::{Line, Message, Trace, TraceError, TraceFault};

/// Most bytes of somebody else's text in a label.
const LABEL_BYTES: usize = 120;

/// Of a trace that stands in a test.
#[cfg(test)]
fn told(lines: &[&str]) -> Trace {
    let header =
        r#"{"ostler_trace":2,"host_pid":1,"artifact_root":"/a","started_at":"2026-01-01T00:00:00.000Z"}"#;
    let text: String = [header].iter().chain(lines).flat_map(|line| [line, "\n"]).collect();
    match Trace::parse(text.as_bytes()) {
        Ok(trace) => trace,
        Err(error) => panic!("{error}"),
    }
}
