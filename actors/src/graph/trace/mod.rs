//! What becomes of a trace: a sink that never holds up the graph, and a form for people.

mod narrate;
pub(crate) mod recorder;
mod ring;
pub(crate) mod sink;

pub use narrate::narrate;
