//! For ostler's own tests.

use super::{Ostler, ostler::start_with};
use crate::{backend::StartError, config::Config, scripted::World};
pub use ostler_messages::trace::Fault;

/// A graph in which these deliveries panic, each once.
pub fn start_with_faults(
    config: Config,
    world: Option<&World>,
    faults: Vec<Fault>,
) -> Result<Ostler, StartError> {
    start_with(config, world, faults)
}
