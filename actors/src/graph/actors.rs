//! Who is where: the router looks up here whom an input from outside is for.

use super::{
    drain::DrainActor, journal::JournalActor, kernel::KernelActor, process::ProcessActor,
    progress::ProgressTicker, router::HostActor, supervisor::Supervisor, wait::WaitActor,
};
use actix::Addr;
use ostler_inbox::Inbox;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// The actors of one process.
pub(crate) struct ProcessActors {
    pub(crate) process: Addr<ProcessActor>,
    /// None before the start, and for a process that was taken over after a crash.
    pub(crate) drains: Option<Drains>,
    pub(crate) ticker: Option<Addr<ProgressTicker>>,
}

/// Of stdout and stderr.
pub(crate) type Drains = Rc<[Addr<DrainActor>; 2]>;

/// The actors that live as long as the graph. Shared: a copy of an address costs two allocations.
pub(crate) struct CoreActors {
    pub(crate) host: Addr<HostActor>,
    pub(crate) kernel: Addr<KernelActor>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) inbox: Addr<Inbox>,
    pub(crate) journal: Addr<JournalActor>,
    /// By call. The Supervisor adds and removes them.
    pub(crate) waits: RefCell<BTreeMap<u64, Addr<WaitActor>>>,
}

/// The actors of each process. The Supervisor adds and removes a process; a process adds its drains and ticker.
pub(crate) type ProcessTable = Rc<RefCell<BTreeMap<u64, ProcessActors>>>;
