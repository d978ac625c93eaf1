//! What is known of the world before the first input. The graph makes up none of it.

use super::Outputs;
use ostler_artifacts::RootError;
use ostler_messages::{Containment, trace::Header};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Numbers for new processes, unique in the host process.
pub(crate) type NextN = Box<dyn FnMut() -> u64 + Send>;

/// See the [module](self).
pub(crate) struct Facts {
    pub(crate) header: Header,
    pub(crate) artifact_root: Arc<Path>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) containment: ContainmentReport,
    pub(crate) next_n: NextN,
}

/// What holds the trees of a graph's commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainmentReport {
    /// The one that is used; each result names it too.
    pub tier: Containment,
    /// Why the death of the host does not end every process, if it does not.
    pub host_death: Option<String>,
    /// Stronger ones, and why they are not used.
    pub refused: Vec<Refused>,
}

/// A containment that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The containment.
    pub tier: Containment,
    /// Why not.
    pub reason: String,
}

/// Why a graph could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The artifact root can't be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The trace file can't be made.
    #[error("trace: {path} can't be written: {source}")]
    Trace {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// None of the allowed containments can be had here.
    #[error("containment: {} is not to be had: {}", .0.tier, .0.reason)]
    Containment(Refused),
    /// The kernel has no thread or descriptor for it.
    #[error("start: no {what}: {source}")]
    Resource {
        /// What was missing.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}
