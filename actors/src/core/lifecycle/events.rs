//! The words of a life: its phases, what can happen to it, and what it wants done.

use ostler_messages::{Cause, StopSignal, Stream, SweepFor, TimerKind};

/// Where in its life a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// The kernel was asked to run it.
    Starting,
    /// The leader runs.
    Running,
    /// The tree has been told to end.
    Terminating,
    /// The tree has been killed.
    Killing,
    /// The leader is dead, a pipe is still open.
    Draining,
    /// Looking for the rest of the tree, waiting for its end.
    Sweeping,
    /// The files are being completed.
    Sealing,
    /// The result is out; leftovers live on until the session ends.
    Kept,
    /// Stopped. Every late event is a legal no-op.
    Done,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Event {
    Started,
    StartFailed,
    Stop(Cause),
    /// The leader is dead: whether a signal of ours had gone out before, and whether nobody of its tree lives.
    Exited {
        signalled: bool,
        tree_empty: bool,
    },
    /// Nothing more of the stream is recorded.
    Closed(Stream),
    /// The actor that steered the stream crashed.
    DrainDown(Stream),
    TimerFired(TimerKind),
    TreeAlive,
    TreeEmpty,
    Sealed,
}

/// What is to be done about it, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Effect {
    Exec,
    Arm(TimerKind),
    Disarm(TimerKind),
    Signal(StopSignal),
    /// Through the stream's own actor.
    CloseStream(Stream),
    /// Past the stream's actor, which is gone.
    CloseOrphan(Stream),
    Sweep(SweepFor),
    Seal,
    ReplyLaunched,
    ReplyFailed(Failure),
    Finish {
        kept: bool,
    },
    Release {
        undo: bool,
    },
    ReplyReleased,
}

/// Why there is no handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Failure {
    /// The kernel said so.
    Refused,
    TimedOut,
    /// The session ended during the launch.
    Undone,
}

/// What a command asked for, as far as its life depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Plan {
    pub(crate) deadline: bool,
    pub(crate) idle: bool,
    pub(crate) keep: bool,
}
