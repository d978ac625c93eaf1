//! The signal thread: exits, signals, reaping, timers.

pub(crate) mod child;
pub(crate) mod looks;
pub(crate) mod signals;
pub(crate) mod timers;
