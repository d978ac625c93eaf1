//! The journal of a scripted host, and its death.
//!
//! * in: appends, claims; faults that a test wants
//! * out: `Recorded`, `SessionClaimed`, `JournalFailed`, `JournalBack`, in virtual time
//! * keeps: rows are on the disk when their time has come, in their order

use super::{Event, Player};
use crate::backend::KernelEvent;
use ostler_messages::{
    ActorName, Append, ClaimSession, CommandId, JournalBack, JournalFailed, Mark, Recorded, Row, Seal,
    SessionClaimed, SessionId,
};
use std::collections::BTreeMap;

/// How often a journal that can't be written is tried again.
const PROBE_US: u64 = 1_000_000;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Journaling {
    name: Option<String>,
    /// It has failed, and what comes is dropped until all that there is comes in one piece.
    failed: bool,
    /// When the last one that is on its way is written: none overtakes another.
    last_us: u64,
    /// Of processes that live.
    commands: BTreeMap<u64, CommandId>,
}
impl Journaling {
    pub(super) fn new(name: Option<String>) -> Journaling {
        Journaling { name, ..Journaling::default() }
    }
    pub(super) fn is_on(&self) -> bool {
        self.name.is_some()
    }
}

impl Player {
    pub(super) fn append(&mut self, append: Append) {
        for row in &append.rows {
            if let Row::Started { record, .. } = row {
                self.journaling.commands.insert(record.handle_id.n, record.command_id);
            }
        }
        let at_us = self.written_at_us();
        self.plan(at_us, Event::Written(append));
    }

    pub(super) fn claim_session(&mut self, ClaimSession { session_id }: ClaimSession) {
        let at_us = self.written_at_us();
        self.plan(at_us, Event::Claimed(session_id));
    }
    fn written_at_us(&mut self) -> u64 {
        let at_us = self.now_us.saturating_add(self.world.disk(|disk| disk.write_us));
        self.journaling.last_us = at_us.max(self.journaling.last_us);
        self.journaling.last_us
    }
    pub(super) fn claimed(&mut self, session_id: SessionId) {
        let row = Row::SessionOpened { session_id: session_id.clone(), anonymous: None };
        // One that can't be written now comes with all that there is.
        self.written(&Append { by: ActorName::Journal, n: 0, rows: vec![row] });
        let claimed = SessionClaimed { session_id, held_by: None, next: None };
        self.events.push_back(KernelEvent::new(ActorName::Journal, claimed));
    }

    /// Their time has come.
    pub(super) fn written(&mut self, append: &Append) {
        let Some(name) = self.journaling.name.clone() else { return };
        let is_whole = matches!(append.rows.first(), Some(Row::Reset));
        if let Some(error) = self.world.disk(|disk| disk.fault.clone()) {
            // Again, if it has failed since it was said to be back.
            if !std::mem::replace(&mut self.journaling.failed, true) || is_whole {
                self.events.push_back(KernelEvent::new(ActorName::Journal, JournalFailed { error }));
                self.plan(self.now_us + PROBE_US, Event::Probe);
            }
            return;
        }
        // What was on its way when it failed is in what comes in one piece.
        if self.journaling.failed && !is_whole {
            return;
        }
        self.journaling.failed = false;
        self.world.disk(|disk| disk.write(&name, &append.rows));
        if append.n > 0 {
            let marks = vec![Mark { by: append.by, n: append.n }];
            self.events.push_back(KernelEvent::new(ActorName::Journal, Recorded { marks }));
        }
    }

    pub(super) fn probe(&mut self) {
        if !self.journaling.failed {
            return;
        }
        match self.world.disk(|disk| disk.fault.is_some()) {
            true => drop(self.plan(self.now_us + PROBE_US, Event::Probe)),
            false => self.events.push_back(KernelEvent::new(ActorName::Journal, JournalBack {})),
        }
    }

    pub(super) fn seal(&mut self, seal: &Seal) {
        let mut sealed = None;
        self.with(seal.n, |process, _| sealed = process.seal(seal));
        if let Some(output) = sealed.filter(|_| self.journaling.is_on()) {
            let mut record = (*seal.record).clone();
            record.set_output(output);
            self.world.disk(|disk| disk.seal(record));
        }
    }

    /// The host dies: nothing more of it happens.
    pub(super) fn crash(&mut self) {
        self.crashed = true;
        let processes = &self.processes;
        let said = self
            .journaling
            .commands
            .iter()
            .filter_map(|(n, command_id)| Some((*command_id, processes.get(n)?.output())));
        let said: Vec<_> = said.collect();
        self.world.disk(|disk| disk.crash(said.into_iter(), self.now_us));
        self.processes.clear();
    }
}
