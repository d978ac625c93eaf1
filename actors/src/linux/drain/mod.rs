//! The drain threads: from pipes to files, digest and text.

pub(crate) mod drains;
mod flow;
pub(crate) mod input_pipe;
