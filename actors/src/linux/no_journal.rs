//! In place of `journal`, where the feature `journal` is off: the same, of which nothing can be had.

use crate::{
    backend::{KernelEvent, Recovery, StartError},
    config::Journal,
    linux::janitor::Look,
};
use crossbeam_channel::Sender;
use ostler_artifacts::Root;
use ostler_messages::{Append, ClaimSession, Recovered};
use std::convert::Infallible;

/// There is none.
pub(crate) struct Found(Infallible);

/// # Errors
/// Always: this build has no journal.
pub(crate) fn open(_: &Journal, _: &Root) -> Result<Found, StartError> {
    Err(StartError::NoJournal)
}

impl Found {
    pub(crate) fn recovered(&mut self) -> (Option<Recovered>, Recovery) {
        match self.0 {}
    }
    pub(crate) fn others(&self) -> Look {
        match self.0 {}
    }
    pub(crate) fn last_n(&self) -> u64 {
        match self.0 {}
    }
    pub(crate) fn writer(self, _: Sender<KernelEvent>) -> (Writer, Box<dyn FnOnce() + Send>) {
        match self.0 {}
    }
}

/// There is none.
pub(crate) struct Writer(Infallible);
impl Writer {
    pub(crate) fn append(&self, _: Append) {
        match self.0 {}
    }
    pub(crate) fn claim(&self, _: ClaimSession) {
        match self.0 {}
    }
    pub(crate) fn quit(&self) {
        match self.0 {}
    }
}
