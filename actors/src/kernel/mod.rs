//! The door to the world: the operating system's, or a scripted one with virtual time.
//!
//! The graph gives [`Command`]s to a [`Backend`] and takes what happens from [`Inputs`]. Nothing of the graph's
//! decisions depends on which of the two it is.

pub(crate) mod linux;
mod outputs;
pub(crate) mod scripted;

use crate::{graph::News, host::Intake};
use crossbeam_channel::{Receiver, TryRecvError, select_biased};
pub(crate) use linux::handles_by_descriptors;
use ostler_messages::{Arm, CallId, Close, Disarm, Exec, Peek, Pull, Release, Seal, Signal, Sweep};
pub(crate) use outputs::Outputs;
pub use scripted::{Descendant, OnTerminate, Program, World};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// Everything that the graph can ask of the world.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Exec(Exec),
    Signal(Signal),
    Sweep(Sweep),
    Seal(Seal),
    Release(Release),
    Arm(Arm),
    Disarm(Disarm),
    Pull(Pull),
    Close(Close),
    Peek(Peek),
}

/// What enters the graph.
pub(crate) enum Input {
    News(News),
    Host(Intake),
}

/// A world before the graph's thread has it.
pub(crate) enum Kernel {
    Linux(linux::Port, Receiver<News>, linux::Clock),
    Scripted(World, Arc<Outputs>),
}
impl Kernel {
    /// On the graph's thread: one half takes commands, the other gives inputs.
    pub(crate) fn split(self, requests: Receiver<Intake>) -> (Backend, Inputs) {
        match self {
            Kernel::Linux(port, news, clock) => {
                let port = Rc::new(RefCell::new(port));
                (Backend::Linux(port.clone()), Inputs::Linux { news, requests, clock, port })
            }
            Kernel::Scripted(world, outputs) => {
                let play = scripted::Play::new(world, outputs);
                (Backend::Scripted(play.clone()), Inputs::Scripted(play, requests))
            }
        }
    }
}

/// Takes commands. Never blocks.
pub(crate) enum Backend {
    Linux(Rc<RefCell<linux::Port>>),
    Scripted(scripted::Play),
}
impl Backend {
    pub(crate) fn perform(&mut self, command: Command) {
        match self {
            Backend::Linux(port) => port.borrow_mut().perform(command),
            Backend::Scripted(play) => play.perform(command),
        }
    }
}

/// Gives inputs, news of the kernel before requests of the host: what a process did is settled before more is asked.
pub(crate) enum Inputs {
    Linux {
        news: Receiver<News>,
        requests: Receiver<Intake>,
        clock: linux::Clock,
        port: Rc<RefCell<linux::Port>>,
    },
    Scripted(scripted::Play, Receiver<Intake>),
}
impl Inputs {
    /// An input that is there already.
    pub(crate) fn ready(&mut self) -> Option<Input> {
        match self {
            Inputs::Linux { news, requests, .. } => match news.try_recv() {
                Ok(news) => Some(Input::News(news)),
                Err(TryRecvError::Empty) => requests.try_recv().ok().map(Input::Host),
                // `next` ends the graph.
                Err(TryRecvError::Disconnected) => None,
            },
            Inputs::Scripted(play, requests) => play.ready(requests),
        }
    }

    /// The next input, however long it takes; none if there will never be one.
    pub(crate) fn next(&mut self) -> Option<Input> {
        match self {
            Inputs::Linux { news, requests, .. } => select_biased! {
                recv(news) -> news => news.ok().map(Input::News),
                recv(requests) -> request => request.ok().map(Input::Host),
            },
            Inputs::Scripted(play, requests) => play.next(requests),
        }
    }

    /// Microseconds since the graph's start, monotonic or virtual.
    pub(crate) fn now_us(&self) -> u64 {
        match self {
            Inputs::Linux { clock, .. } => clock.now_us(),
            Inputs::Scripted(play, _) => play.now_us(),
        }
    }

    /// The host does nothing until this call is answered: virtual time may move.
    pub(crate) fn blocked(&mut self, call: CallId) {
        if let Inputs::Scripted(play, _) = self {
            play.blocked(call);
        }
    }

    /// The graph is quiet. `open` tells whether a call still waits for its answer.
    pub(crate) fn settled(&mut self, open: impl Fn(CallId) -> bool) {
        if let Inputs::Scripted(play, _) = self {
            play.settled(open);
        }
    }

    /// The graph is over: kills and reaps what is left, and ends the kernel's threads.
    pub(crate) fn close(self) {
        if let Inputs::Linux { news, port, .. } = self {
            // A thread that waits for room in the queue must see that nobody takes news any more.
            drop(news);
            port.borrow_mut().close();
        }
    }
}
