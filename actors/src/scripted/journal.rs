//! What a scripted host has on its disk, and what survives its crash: its journal, results, and output.
//!
//! * in: rows, results that are sealed, output; that the host crashes
//! * out: what a new life of it goes on with
//! * keeps: what was not written when the host crashed is not there

use super::player::ROOT;
use crate::backend::{lost, request_of};
use ostler_artifacts::{Growth, Paths};
use ostler_journal::{Command, Image};
use ostler_messages::{CommandId, Output, Record, Recovered, Row, Stamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// See the [module](self).
#[derive(Clone, Default)]
pub(super) struct Disk {
    journals: BTreeMap<String, Image>,
    /// `result.json` of each command that has one.
    results: BTreeMap<CommandId, Arc<Record>>,
    /// What commands have said until the crash.
    said: BTreeMap<CommandId, Output>,
    pub(super) growths: BTreeMap<CommandId, Arc<Growth>>,
    /// Why the journal can't be written.
    pub(super) fault: Option<String>,
    /// How long each write takes.
    pub(super) write_us: u64,
    /// How long the lives of the host before this one were.
    pub(super) elapsed_us: u64,
}

impl Disk {
    pub(super) fn write(&mut self, journal: &str, rows: &[Row]) {
        let image = self.journals.entry(journal.to_owned()).or_default();
        rows.iter().for_each(|row| image.apply(row));
    }
    pub(super) fn seal(&mut self, record: Record) {
        self.results.insert(record.command_id, Arc::new(record));
    }
    pub(super) fn crash(&mut self, said: impl Iterator<Item = (CommandId, Output)>, now_us: u64) {
        self.said.extend(said);
        self.elapsed_us += now_us;
    }

    /// What a new life of the host finds. None: there was none before.
    pub(super) fn recover(&mut self, journal: &str, now: Stamp) -> Option<Recovered> {
        let mut image = self.journals.remove(journal)?;
        let unfinished: Vec<CommandId> = image.unfinished().map(|(command_id, _)| command_id).collect();
        let mut fresh = BTreeSet::new();
        for command_id in unfinished {
            let result = self.results.get(&command_id).cloned();
            // Whoever had a result on the disk may have been told of it.
            let lost = || Some(Arc::new(self.lost(command_id, image.commands.get(&command_id)?)));
            fresh.extend(result.is_none().then_some(command_id));
            if let Some(result) = result.or_else(lost) {
                image.finish(&result, now);
            }
        }
        image.deliver_owed(now);
        let sessions = image.recovered_sessions(&|command_id| fresh.contains(&command_id));
        let recovered = Recovered {
            sessions,
            commands: image.recovered_commands(),
            anonymous: image.anonymous,
            last_n: image.last_n,
        };
        self.journals.insert(journal.to_owned(), image);
        Some(recovered)
    }
    /// The highest number that a command had.
    pub(super) fn last_n(&self, journal: &str) -> u64 {
        self.journals.get(journal).map_or(0, |image| image.last_n)
    }

    fn lost(&self, command_id: CommandId, command: &Command) -> Record {
        let paths = Paths::of(Path::new(ROOT), command_id);
        let output = self.said.get(&command_id).cloned().unwrap_or_default();
        // Its host's death has ended all of its tree.
        lost((command_id, command), &request_of(command), &paths, output, |_| Some(Vec::new()))
    }
}
