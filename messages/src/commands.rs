//! process, drain, ticker, supervisor, inbox → kernel: what the graph asks of the world. Handled in
//! `actors/src/graph/kernel.rs`, which hands them to a kernel: `actors/src/linux` or `actors/src/scripted`.

use crate::{
    ActorName, Asked, CallId, CommandId, Condition, Payload, Row, SessionId, Shared, Stream, TerminalSize,
    UnixSignal, table::table,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a timer is for; with its owner it names the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// A launch that neither starts nor fails.
    StartTimeout,
    /// `timeout_ms`.
    Deadline,
    /// `idle_timeout_ms`; the kernel starts it again while bytes flow.
    Idle,
    /// Between terminate and kill.
    Grace,
    /// For pipes that stay open after the leader's exit.
    DrainGrace,
    /// Between terminate and kill of leftovers.
    LeftoversGrace,
    /// Between kill and giving up; the kernel answers with `Survived`.
    Unkillable,
    /// For a disk that does not come back; the kernel answers with `Unsealed`.
    SealTimeout,
    /// To the next progress entry.
    Progress,
    /// A call's own `wait_ms`.
    Call(CallId),
    /// For a wait: this process has said nothing for so long. The kernel starts it again while bytes flow.
    Silence(u64),
    /// For a wait whose time is up before everything could be looked at.
    LastLook,
    /// `redeliver_ms` of what was read with this call.
    Redeliver(CallId),
    /// For a journal that does not come back from its disk.
    JournalLimit,
}

/// SIGTERM or SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopSignal {
    /// SIGTERM, or what its launch has in its place, then SIGCONT so that a stopped process can act on it.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What to do about the processes that a sweep finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepFor {
    /// Only wait for their end: they have had their signal.
    Watch,
    /// Terminate them, then wait.
    Terminate,
    /// Kill them, then wait.
    Kill,
    /// Leave them alone.
    Keep,
}

table! {
    (Serialize)
    /// Everything that the graph can ask of a kernel.
    KernelCommand
    /// Make the artifact directory, start the process. → [`Started`](crate::Started) or [`StartFailed`](crate::StartFailed)
    Exec {
        /// The number of the process.
        n: u64,
        /// Names the artifact directory.
        command_id: CommandId,
        /// What to run.
        request: Asked,
    }
    /// Close the files, digest, and write the result beside them. → [`Sealed`](crate::Sealed)
    Seal {
        /// The number of the process.
        n: u64,
        /// The result but for its output.
        record: Shared,
        /// The launch is undone: remove the directory instead.
        discard: bool,
    }
    /// Signal the whole tree, unless the leader is found dead before the first signal: then only → [`Exited`](crate::Exited).
    Signal {
        /// The number of the process.
        n: u64,
        /// The signal.
        signal: StopSignal,
    }
    /// After the leader's exit: look what is left of the tree. → [`TreeAlive`](crate::TreeAlive) at once if something is, and
    /// [`TreeEmpty`](crate::TreeEmpty) when nothing is.
    Sweep {
        /// The number of the process.
        n: u64,
        /// What to do with what is found.
        to: SweepFor,
    }
    /// Nothing more of this process is needed: kill what may be left, forget it.
    Release {
        /// The number of the process.
        n: u64,
        /// It may not have started yet: undo the launch when it does, and remove its directory.
        undo: bool,
    }
    /// Set a timer. → [`TimerFired`](crate::TimerFired) to its owner
    Arm {
        /// The actor that it belongs to.
        owner: ActorName,
        /// What it is for.
        kind: TimerKind,
        /// From now.
        after_ms: u64,
    }
    /// Drop a timer. It may have fired already: then the event is late and means nothing.
    Disarm {
        /// The actor that it belongs to.
        owner: ActorName,
        /// What it is for.
        kind: TimerKind,
    }
    /// Read what the pipe holds now, then record no more; go on reading, so that nobody's pipe breaks.
    /// → [`EndOfStream`](crate::EndOfStream)
    Close {
        /// The number of the process.
        n: u64,
        /// The stream.
        stream: Stream,
    }
    /// Tell how the output stands. → [`Peeked`](crate::Peeked)
    Peek {
        /// The number of the process.
        n: u64,
        /// Limit of the text for each stream.
        inline_bytes: u64,
        /// For which call of the host; none: for its own sake.
        call: Option<CallId>,
        /// Who is told.
        owner: ActorName,
    }
    /// Look for what a wait is for, until it is found or [`Unfollow`] comes. → for each condition [`ConditionMet`](crate::ConditionMet),
    /// [`ConditionOpen`](crate::ConditionOpen) or [`ConditionNever`](crate::ConditionNever)
    Follow {
        /// The call of the host.
        call: CallId,
        /// The number of the process.
        n: u64,
        /// Names the files.
        command_id: CommandId,
        /// All of the wait; those for exit and silence are not the kernel's.
        conditions: Arc<Vec<Condition>>,
        /// How long the command has been silent: what stands in the files has come before.
        silence_ms: u64,
    }
    /// The wait is over.
    Unfollow {
        /// The call of the host.
        call: CallId,
        /// The number of the process.
        n: u64,
    }
    /// Tell on which TCP ports a tree listens. → [`PortsSeen`](crate::PortsSeen)
    LookForPorts {
        /// For which call of the host.
        call: CallId,
        /// The number of the process.
        n: u64,
    }
    /// Write these bytes to its stdin, behind what is queued. → [`Fed`](crate::Fed) when the pipe is full, and at the end
    Feed {
        /// The number of the process.
        n: u64,
        /// The call that has brought them.
        call: CallId,
        /// What.
        bytes: Payload,
    }
    /// Close its stdin. → [`InputEnded`](crate::InputEnded)
    EndInput {
        /// The number of the process.
        n: u64,
        /// Drop what is queued; else it is taken first.
        now: bool,
    }
    /// Change the size of its terminal.
    SetSize {
        /// The number of the process.
        n: u64,
        /// To what.
        size: TerminalSize,
    }
    /// Signal the leader's group, as the host wants it: it is no stop.
    Raise {
        /// The number of the process.
        n: u64,
        /// What.
        signal: UnixSignal,
    }
    /// Stop its tree where it is, and its deadline, idle time and silence with it, until [`Thaw`], its stop or its end.
    /// → [`Froze`](crate::Froze) when all of it was seen to stand still
    Freeze {
        /// The number of the process.
        n: u64,
        /// For which call of the host.
        call: CallId,
    }
    /// Let it go on. → [`Thawed`](crate::Thawed)
    Thaw {
        /// The number of the process.
        n: u64,
        /// For which call of the host.
        call: CallId,
    }
    /// Remove the artifacts of this graph's commands up to a number, but for some, as far as they are beyond the limits of retention; and those
    /// of hosts that are gone.
    Retain {
        /// The highest number.
        up_to: u64,
        /// Those that somebody can still ask for.
        but: Vec<u64>,
        /// Those of earlier lives of the host that somebody can still ask for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        past: Vec<CommandId>,
    }
    /// A session has ended: what it had on disk counts no more.
    ForgetSession {
        /// Which.
        session_id: SessionId,
    }
    /// Write these rows, behind those before them. → [`Recorded`](crate::Recorded), or [`JournalFailed`](crate::JournalFailed)
    Append {
        /// Whose they are.
        by: ActorName,
        /// The number of this append; none if nobody waits for it.
        n: u64,
        /// What is to survive the host.
        rows: Vec<Row>,
    }
    /// Make a session this host's own among all that use the journal, and write that it is open.
    /// → [`SessionClaimed`](crate::SessionClaimed)
    ClaimSession {
        /// Which.
        session_id: SessionId,
    }
    /// Tell how old processes are, and how silent. → [`Surveyed`](crate::Surveyed)
    Survey {
        /// For which call of the host.
        call: CallId,
        /// The numbers of the processes.
        ns: Vec<u64>,
    }
}
