//! The signal thread: exits, signals, reaping, timers.

pub(crate) mod child;
mod found;
pub(crate) mod guards;
mod idle;
pub(crate) mod looks;
mod pauses;
pub(crate) mod signals;
pub(crate) mod started;
pub(crate) mod timers;
