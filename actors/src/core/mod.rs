//! What is decided, as pure functions: no clock, no pid, no actor. Each is walked through all that can happen to it.

pub(crate) mod lifecycle;
pub(crate) mod registry;
