//! Waits: the thread that follows what they wait for. Nothing of it is on the path of the bytes, and a wait costs no thread.

pub(crate) mod thread;
mod trees;
