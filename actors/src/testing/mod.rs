//! For tests of hosts: worlds without a process, a file or a clock (feature `testing`).
//!
//! A [`World`] is a kernel that a test writes itself: [`Program`]s that do what they are told. The graph on top of it is the real one, in
//! virtual time, so a test of an hour takes a moment, and two runs of it are the same to the byte of [`World::story`]. [`random_world`] makes
//! worlds that nobody has thought of, and [`World::check`] looks whether every promise was kept in one.
//!
//! ```toml
//! [dev-dependencies]
//! ostler = { version = "0.2", features = ["testing"] }
//! ```
//!
//! `docs/testing-a-host.md` has a test to paste for each thing that can happen to a command.

mod check;
mod dice;
mod random;
mod story;

pub use crate::scripted::{
    Descendant, FLOOD_BYTES_PER_MS, NotQuiet, OnTerminate, Program, QUIET_EVENTS, Reaction, World,
};
pub use check::BrokenPromise;
pub use dice::Dice;
#[doc(hidden)]
pub use ostler_messages::trace::Fault;
pub use random::{RandomWorld, SPAN_MS, random_program, random_world};
#[doc(hidden)]
pub use random::{random_command, random_fault};

use crate::{
    api::{Ostler, start_on, start_with},
    backend::{Pace, StartError},
    config::{Config, Limits, TraceLog, TraceTo},
    linux, scripted,
};
use std::sync::Arc;

/// Live handles in a world whose host has set no other limit: on real processes the default is what the machine has descriptors for, and a
/// story would not be the same on each.
const HANDLES: u64 = 1_000;

impl Ostler {
    /// Starts a graph on a scripted kernel: no process, no clock, no file. See [`World`]. With the feature `testing`.
    ///
    /// It records what happens, for [`World::story`], into the log of [`Config::trace`] or into one of its own. [`Limits::handles`] is 1,000 unless it
    /// is set to another number than the machine's default.
    ///
    /// # Errors
    /// Only what this process lacks, a thread or the file of a trace, is an error here.
    pub fn scripted(config: Config, world: &World) -> Result<Ostler, StartError> {
        start_with_faults(config, Some(world), Vec::new())
    }
}

/// For ostler's own tests: a graph in which these deliveries panic, each once.
#[doc(hidden)]
pub fn start_with_faults(
    mut config: Config,
    world: Option<&World>,
    faults: Vec<Fault>,
) -> Result<Ostler, StartError> {
    let Some(world) = world else { return start_with(config, faults) };
    if let TraceTo::Off = config.trace {
        config.trace = TraceTo::Memory(TraceLog::default());
    }
    if config.limits.handles == Limits::default().handles {
        config.limits.handles = HANDLES;
    }
    let (pace, trace) = (Arc::<Pace>::default(), config.trace.clone());
    let ostler = start_on(scripted::start(world, &config, pace.clone()), config, faults, true, pace)?;
    world.note_trace(trace);
    world.connect(ostler.client().requests.clone());
    Ok(ostler)
}

/// For ostler's own tests: what a graph understands of these messages of a guard or a helper, until the first that is no report.
///
/// # Errors
/// The system has no socket.
#[doc(hidden)]
pub fn helper_reports(messages: &[&[u8]]) -> std::io::Result<Vec<String>> {
    Ok(linux::helper_reports(messages)?)
}
