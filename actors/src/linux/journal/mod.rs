//! The journal of a host with real processes: what it finds at its start, and the thread that writes it.
//!
//! * in: a name; appends and claims of the graph
//! * out: what earlier lives of the host have left; `Recorded`, `SessionClaimed`, `JournalFailed`, `JournalBack`
//! * keeps: the graph never waits for the disk; what a life has left is in one database at each moment

mod leftovers;
mod recovery;
mod writer;

use crate::{
    backend::{KernelEvent, Recovery, StartError},
    config::Journal,
    linux::janitor::Look,
};
use crossbeam_channel::{Sender, unbounded};
use ostler_artifacts::Root;
use ostler_journal::Durability;
use ostler_messages::{Append, ClaimSession, Recovered};
use recovery::Opened;
use std::{collections::BTreeSet, sync::Arc};
use writer::{WriterCommand, WriterThread};

/// A journal that is open, before anything is written.
pub(crate) struct Found {
    opened: Opened,
    durability: Durability,
}

/// Opens it, and takes over what dead hosts have left. Blocks: 10,000 commands take less than a second.
///
/// # Errors
/// What stood in the way. Nothing is lost then.
pub(crate) fn open(journal: &Journal, root: &Root) -> Result<Found, StartError> {
    let opened = recovery::open(journal, root, std::process::id());
    let opened = opened.map_err(|error| StartError::Journal(Box::new(error)))?;
    Ok(Found { opened, durability: journal.durability })
}

impl Found {
    /// What earlier lives of the host have left; none: there was none.
    pub(crate) fn recovered(&mut self) -> (Option<Recovered>, Recovery) {
        (self.opened.recovered.take(), std::mem::take(&mut self.opened.recovery))
    }
    /// Which commands other databases of the name know, as that is when it is asked.
    pub(crate) fn others(&self) -> Look {
        let folder = self.opened.folder.clone();
        let own_pid = std::process::id();
        Arc::new(move || {
            // All of this process: a database of its own may have been made anew meanwhile.
            let others = folder.of_others(own_pid).ok()?;
            Some(Arc::new(move |command_id| others.has(command_id)))
        })
    }
    /// The highest number of a command in any database of the name.
    pub(crate) fn last_n(&self) -> u64 {
        self.opened.last_n
    }
    /// What writes it, and the body of its thread.
    pub(crate) fn writer(self, events: Sender<KernelEvent>) -> (Writer, Box<dyn FnOnce() + Send>) {
        let (writer, commands) = unbounded();
        let Found { opened: Opened { folder, own, claims, host, open, .. }, durability } = self;
        let artifact_root = host.artifact_root.clone();
        let by_group = BTreeSet::new();
        let thread = WriterThread {
            commands,
            events,
            folder,
            claims,
            host,
            durability,
            artifact_root,
            open,
            by_group,
        };
        (Writer(writer), Box::new(move || thread.run(own)))
    }
}

/// The way to the thread. What is on its way is bounded by the graph, which sends nothing more once the thread is late
/// (`actors/src/core/journal.rs`).
pub(crate) struct Writer(Sender<WriterCommand>);
impl Writer {
    // The end of the thread is reported, as of each.
    pub(crate) fn append(&self, append: Append) {
        let _ = self.0.send(WriterCommand::Append(append));
    }
    pub(crate) fn claim(&self, claim: ClaimSession) {
        let _ = self.0.send(WriterCommand::Claim(claim));
    }
    /// What is on its way is written first.
    pub(crate) fn quit(&self) {
        let _ = self.0.send(WriterCommand::Quit);
    }
}
