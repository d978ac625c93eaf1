//! The look thread: who of a leader's group and session lives. It asks for each process of the machine, so nobody who waits
//! for something else may wait for it. Trees that no cgroup freezes are brought to a standstill here too.
//!
//! * in: the leader of a process whose tree is to be looked at; a tree that is to stand still, or to go on
//! * out: who was seen, to the signal thread
//! * keeps: one look at a time, in the order in which they were asked for

use crate::linux::{
    contain::members::{Led, of_leader},
    contain::standstill::Standstill,
    mailbox::Outbox,
    watch::signals::SignalCommand,
};
use crossbeam_channel::Receiver;
use std::{io, sync::Arc, time::Instant};

/// What the signal thread asks: at most one look for each process at a time, and one pass.
pub(crate) enum Ask {
    Look {
        n: u64,
        leader: u32,
        /// SIGKILL had been sent to the whole group before: then nobody can have been forked since.
        after_kill: bool,
    },
    /// One pass.
    Stop {
        n: u64,
        since: Instant,
        tree: Arc<Standstill>,
    },
    GoOn {
        n: u64,
        since: Instant,
        tree: Arc<Standstill>,
    },
}

/// The answer to a look.
pub(crate) struct Looked {
    pub(crate) n: u64,
    pub(crate) after_kill: bool,
    /// An error: nobody was able to look.
    pub(crate) led: io::Result<Led>,
}

/// The answer to a pass: how many had to be stopped.
pub(crate) struct Passed {
    pub(crate) n: u64,
    /// Names the pause.
    pub(crate) since: Instant,
    pub(crate) stopped: io::Result<usize>,
}

/// Looks until the signal thread is gone.
pub(crate) fn run(asks: &Receiver<Ask>, signals: &Outbox<SignalCommand>) {
    for ask in asks {
        match ask {
            Ask::Look { n, leader, after_kill } => {
                let looked = Looked { n, after_kill, led: of_leader(leader) };
                signals.send(SignalCommand::Looked(Box::new(looked)));
            }
            Ask::Stop { n, since, tree } => {
                signals.send(SignalCommand::Passed(Passed { n, since, stopped: tree.stop() }));
            }
            Ask::GoOn { n, since, tree } => {
                signals.send(SignalCommand::WentOn { n, since, done: tree.go_on().is_ok() });
            }
        }
    }
}
