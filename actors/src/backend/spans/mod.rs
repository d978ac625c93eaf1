//! A span for each handle, as a host's subscriber sees it.
//!
//! * in: a launch, on the host's thread; what becomes of it, on the graph's
//! * out: spans of the crate `tracing`
//! * keeps: nothing of it enters a message; without the feature `tracing` nothing of it is there

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod on;

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Asked, MakeSpans, Spans};
#[cfg(feature = "tracing")]
pub(crate) use on::{Asked, MakeSpans, Spans};
