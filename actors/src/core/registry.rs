//! Who is who: sessions, their handles, and the calls that wait for them, as a pure structure.
//!
//! * in: the host's requests ([`sessions`], [`handles`], [`results`], [`input`]), the calls that wait for their answers and end ([`calls`]),
//!   what processes and the inbox report;
//! * out: [`Effect`]s.
//!
//! What each handle's result comes to is decided here and nowhere else: to those who claim it and wait, or to the inbox;
//! exactly once. Every step costs the handles that it concerns, and not all there ever were.

mod calls;
mod handles;
mod input;
mod past;
mod pause;
mod results;
mod sessions;
mod waits;
#[cfg(test)]
mod walk;

use crate::config::Limits;
use handles::Handle;
use ostler_messages::{
    ActorName, Answer, Append, CallError, CallId, Cause, Claim, ClaimBy, CommandId, Condition, HandleId,
    LaunchError, LaunchRequest, Leftover, Limit, Listed, Outcome, Payload, RecoveredSession, Refusal, Row,
    SESSION_ID_MAX_BYTES, SeenProcess, SessionId, Shared, Status, StopCause, Tally, TerminalSize, UnixSignal,
};
use past::Past;
use sessions::{EndedIds, Session};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use waits::Waits;
pub(crate) use waits::name_of;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Reply(CallId, Result<Answer, Refusal>),
    /// The answer to a call that opened an anonymous session. It is leased: if the caller is gone before it has the
    /// session's name, nobody knows it, and the session is ended.
    /// It waits for what is written, as of a [`Effect::ReplyWritten`].
    ReplyOpened(CallId, SessionId, Option<u64>),
    /// An answer that says something which is to survive the host: it goes out when the append of that number is written.
    ReplyWritten {
        call: CallId,
        answer: Result<Answer, Refusal>,
        after: u64,
    },
    /// Write this.
    Append(Append),
    /// Make a session this host's own, and write that it is open.
    ClaimSession(SessionId),
    /// What was unread in an earlier life of the host.
    RestoreQueues(Vec<RecoveredSession>),
    /// `next`: the number of its first entry, if it is not 1.
    OpenQueue {
        session_id: SessionId,
        next: Option<u64>,
    },
    CloseQueue {
        session_id: SessionId,
        discard: bool,
    },
    /// The inbox refuses it: it knows how many results are unread, and how many of them are leased.
    RefuseLaunch {
        call: CallId,
        session_id: SessionId,
    },
    /// The graph is about to end: the inbox answers with what nobody has taken.
    DiscardAll,
    /// The result, to those who claim it and wait; to the session's queue if there is none.
    Deliver {
        record: Shared,
        to: Vec<Claim>,
    },
    /// The inbox answers: with the entry, or with what is stored.
    TakeResult {
        call: CallId,
        stored: Shared,
    },
    /// A process is to tell how it stands.
    Report {
        n: u64,
        call: CallId,
    },
    /// An actor waits from here on.
    StartWait {
        call: CallId,
        record: Shared,
        ended: bool,
        conditions: Arc<Vec<Condition>>,
        timeout_ms: u64,
    },
    /// The command has ended.
    TellWait {
        call: CallId,
        record: Shared,
    },
    /// The caller is gone.
    StopWait(CallId),
    /// Nothing comes from this wait any more.
    RemoveWait(CallId),
    /// What a crashed wait had followed.
    Unfollow {
        call: CallId,
        n: u64,
    },
    LookForPorts {
        call: CallId,
        n: u64,
    },
    /// The kernel is to tell of these processes how old they are, and how silent.
    Survey {
        call: CallId,
        ns: Vec<u64>,
    },
    Spawn {
        n: u64,
        request: Arc<LaunchRequest>,
        /// That it is asked for is written, by the append of this number.
        append: Option<u64>,
    },
    Stop {
        n: u64,
        cause: Cause,
    },
    /// These bytes go to its stdin.
    Feed {
        n: u64,
        call: CallId,
        bytes: Payload,
    },
    /// Its terminal gets another size.
    SetSize {
        n: u64,
        size: TerminalSize,
    },
    /// Its leader's group gets a signal of the host's.
    Raise {
        n: u64,
        signal: UnixSignal,
    },
    /// Its tree is to stand still.
    Freeze {
        n: u64,
        call: CallId,
    },
    /// It is to go on.
    Thaw {
        n: u64,
        call: CallId,
    },
    /// Its stdin is closed, behind what is queued.
    EndInput {
        n: u64,
    },
    /// Its actor crashed: another one takes over and kills it.
    Recover {
        n: u64,
        request: Arc<LaunchRequest>,
        record: Shared,
    },
    /// Its actor crashed, and nobody takes over: the kernel kills and forgets it; a launch is undone.
    Release {
        n: u64,
        undo: bool,
    },
    /// Nothing comes from this process any more.
    Remove {
        n: u64,
    },
    /// The artifacts of what nobody can ask for any more may be removed.
    Retain {
        up_to: u64,
        but: Vec<u64>,
        /// Commands of earlier lives of the host that stay too.
        past: Vec<CommandId>,
    },
    /// What this session had on disk counts no more.
    ForgetSession(SessionId),
    ArmCall {
        call: CallId,
        after_ms: u64,
    },
    DisarmCall(CallId),
    Stopped,
}
type Effects = Vec<Effect>;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    limits: Limits,
    host_pid: u32,
    sessions: BTreeMap<SessionId, Session>,
    ended: EndedIds,
    /// Sessions that have ended and whose entries are not all taken: their ids are not free, however old.
    unread_sessions: BTreeSet<SessionId>,
    handles: BTreeMap<u64, Handle>,
    /// Handles that have finished and whose results are read, in the order in which both was so.
    finished: VecDeque<u64>,
    /// Calls with a timer: those that wait for a result for a limited time, with its handle, and sleeps.
    timed: BTreeMap<CallId, Option<u64>>,
    /// Launches that wait for their start and calls that wait for a result, with their handle.
    waiting: BTreeMap<CallId, u64>,
    waits: Waits,
    /// Lists that wait for what the kernel sees of live handles.
    listing: BTreeMap<CallId, Vec<Listed>>,
    /// Callers that do not have the name of their anonymous session yet.
    opening: BTreeMap<CallId, SessionId>,
    /// Calls that wait for the end of a session.
    ending: BTreeMap<CallId, SessionId>,
    live: u64,
    /// The highest number that a process was given.
    last_n: u64,
    anonymous: u64,
    /// Of all sessions that have ended.
    tally: Tally,
    shutdown_calls: Vec<CallId>,
    shutting_down: bool,
    host_gone: bool,
    /// What it holds is to survive the host.
    journaled: bool,
    /// Appends so far.
    appends: u64,
    /// The append that the last launch waits for; 0 if there is none.
    asked: u64,
    /// Sessions that are to become this host's own, and who opens them.
    claiming: BTreeMap<SessionId, CallId>,
    /// Of earlier lives of the host.
    past: Past,
}

impl Registry {
    pub(crate) fn new(limits: Limits, host_pid: u32) -> Registry {
        Registry {
            limits,
            host_pid,
            sessions: BTreeMap::new(),
            ended: EndedIds::default(),
            unread_sessions: BTreeSet::new(),
            handles: BTreeMap::new(),
            finished: VecDeque::new(),
            timed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waits: Waits::default(),
            listing: BTreeMap::new(),
            opening: BTreeMap::new(),
            ending: BTreeMap::new(),
            live: 0,
            last_n: 0,
            anonymous: 0,
            tally: Tally::default(),
            shutdown_calls: Vec::new(),
            shutting_down: false,
            host_gone: false,
            journaled: false,
            appends: 0,
            asked: 0,
            claiming: BTreeMap::new(),
            past: Past::default(),
        }
    }
    /// The same, of which everything that is to survive the host is appended to a journal.
    pub(crate) fn journaled(mut self) -> Registry {
        self.journaled = true;
        self
    }

    /// The number of the append; none without a journal.
    fn append(&mut self, row: impl FnOnce() -> Row, effects: &mut Effects) -> Option<u64> {
        if !self.journaled {
            return None;
        }
        self.appends += 1;
        let n = self.appends;
        effects.push(Effect::Append(Append { by: ActorName::Supervisor, n, rows: vec![row()] }));
        Some(n)
    }
}

/// An answer that waits for the append of this number, if there is one.
fn reply_after(after: Option<u64>, call: CallId, answer: Result<Answer, Refusal>) -> Effect {
    match after.filter(|n| *n > 0) {
        Some(after) => Effect::ReplyWritten { call, answer, after },
        None => Effect::Reply(call, answer),
    }
}
