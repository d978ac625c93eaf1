//! The look thread: who of a leader's group and session lives. It asks for each process of the machine, so nobody who waits
//! for something else may wait for it.
//!
//! * in: the leader of a process whose tree is to be looked at
//! * out: who was seen, to the signal thread
//! * keeps: one look at a time, in the order in which they were asked for

use crate::linux::{
    contain::members::{Led, of_leader},
    mailbox::Outbox,
    watch::signals::SignalCommand,
};
use crossbeam_channel::Receiver;
use std::io;

/// What the signal thread asks: at most one look for each process at a time.
pub(crate) struct Ask {
    pub(crate) n: u64,
    pub(crate) leader: u32,
    /// SIGKILL had been sent to the whole group before: then nobody can have been forked since.
    pub(crate) after_kill: bool,
}

/// The answer.
pub(crate) struct Looked {
    pub(crate) n: u64,
    pub(crate) after_kill: bool,
    /// An error: nobody was able to look.
    pub(crate) led: io::Result<Led>,
}

/// Looks until the signal thread is gone.
pub(crate) fn run(asks: &Receiver<Ask>, signals: &Outbox<SignalCommand>) {
    for Ask { n, leader, after_kill } in asks {
        signals.send(SignalCommand::Looked(Box::new(Looked { n, after_kill, led: of_leader(leader) })));
    }
}
