//! What is decided, as pure functions: no clock, no pid, no actor. Each is walked through all that can happen to it.

#[cfg(test)]
mod explore;
pub(crate) mod journal;
pub(crate) mod lifecycle;
pub(crate) mod registry;
pub(crate) mod wait;
