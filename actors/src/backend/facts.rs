//! What is known of the world before the first input. The graph makes up none of it.

use super::{Dumps, Outputs};
use ostler_artifacts::RootError;
use ostler_messages::{Containment, HandleId, SessionId, trace::Header};
#[cfg(any(feature = "journal", feature = "testing"))]
use ostler_messages::{Recovered, Status};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Numbers for new processes, unique in the host process.
pub(crate) type NextN = Box<dyn FnMut() -> u64 + Send>;

/// See the [module](self).
pub(crate) struct Facts {
    pub(crate) header: Header,
    pub(crate) artifact_root: Arc<Path>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) containment: Containments,
    pub(crate) next_n: NextN,
    /// What the graph holds is to survive the host.
    pub(crate) journaled: bool,
    pub(crate) journal_trouble: Trouble,
    pub(crate) recovery: Recovery,
    /// In virtual time the host is told one thing after the other.
    #[cfg(feature = "testing")]
    pub(crate) pace: Option<Arc<super::Pace>>,
    /// None where there is no disk: then only the host writes down what the recorder holds.
    pub(crate) dumps: Option<Dumps>,
}

/// What a graph has found in its journal at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Sessions that are open again, under their ids.
    pub sessions: Vec<SessionId>,
    /// Commands that had no result, and have one now: `lost`, since nobody was there at their end.
    pub lost: Vec<HandleId>,
    /// Entries that nobody had acknowledged, those of ended sessions too.
    pub unread: usize,
    /// Databases of the journal that can't be read, and why. They are left where they are.
    pub trouble: Vec<String>,
}
impl Recovery {
    #[cfg(any(feature = "journal", feature = "testing"))]
    pub(crate) fn of(recovered: &Recovered) -> Recovery {
        let open = recovered.sessions.iter().filter(|session| !session.ended);
        let entries = recovered.sessions.iter().flat_map(|session| &session.entries);
        // Those of a life before that one are lost too, but somebody may have seen that.
        let fresh = entries.clone().filter(|unread| !unread.entry.redelivered);
        let lost = fresh.filter_map(|unread| unread.entry.record());
        Recovery {
            sessions: open.map(|session| session.session_id.clone()).collect(),
            lost: lost
                .filter(|record| record.status == Status::Lost)
                .map(|record| record.handle_id)
                .collect(),
            unread: entries.count(),
            trouble: Vec::new(),
        }
    }
}

/// What is wrong at the moment, if something is: set by the graph, for who asks from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);
impl Trouble {
    pub(crate) fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
    pub(crate) fn now(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What holds the trees of a graph's commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainmentReport {
    /// The one that is used; each result names it too.
    pub tier: Containment,
    /// Why the death of the host does not end every process at this moment, if it does not.
    pub host_death: Option<String>,
    /// Why commands are children of the host itself, if they are: then `kill $PPID` in a command hits the host. Else each has a
    /// parent of its own, which is no command and not the host.
    pub host_is_parent: Option<String>,
    /// Stronger ones, and why they are not used.
    pub refused: Vec<Refused>,
}

/// The report of the start, and what has happened since.
#[derive(Clone)]
pub(crate) struct Containments {
    at_start: ContainmentReport,
    trouble: Arc<Mutex<Option<String>>>,
}
impl Containments {
    /// `trouble`: why the death of the host is not covered at the moment, though it was at the start.
    pub(crate) fn new(at_start: ContainmentReport, trouble: Arc<Mutex<Option<String>>>) -> Containments {
        Containments { at_start, trouble }
    }
    pub(crate) fn now(&self) -> ContainmentReport {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = self.at_start.clone();
        report.host_death = report.host_death.or(trouble);
        report
    }
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
    /// The journal can't be used: its name or folder is wrong, or somebody else takes over just now. Nothing in it is lost.
    #[error(transparent)]
    Journal(Box<dyn std::error::Error + Send + Sync>),
    /// This build has none.
    #[error("journal: this build of ostler has none; turn its feature `journal` on")]
    NoJournal,
    /// The kernel has no thread or descriptor for it.
    #[error("start: no {what}: {source}")]
    Resource {
        /// What was missing.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}
