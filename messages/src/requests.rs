//! host → supervisor, host → inbox: what a host asks for, and what it is answered. Each request has one
//! [`Reply`](crate::Reply).
//!
//! A new request is a row and an [`Answer`] here, a decision in `actors/src/core`, the arm that calls it in its actor, and a
//! method in `actors/src/api`: four files.

use crate::{
    ActorName, CallId, Condition, Entry, Filter, HandleId, LaunchRequest, ListeningPort, Payload, Pushed,
    ReaderId, Sequences, SessionId, Shared, SubscriptionId, Tally, TerminalSize, UnixSignal, Waited,
    table::{messages, requests},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

requests! {
    ($)
    // Handled in `actors/src/graph/supervisor.rs`.
    supervisor {
    /// Opens a session. → [`Answer::Opened`](Answer::Opened)
    OpenSession {
        /// The call of the host.
        call: CallId,
        /// The host's own string; made if absent.
        session_id: Option<SessionId>,
    }
    /// Starts a command. → [`Answer::Launched`](Answer::Launched); with `result_within_ms`
    /// [`Answer::Result`](Answer::Result), or [`Answer::Status`](Answer::Status) when that time is up
    Launch {
        /// The call of the host.
        call: CallId,
        #[serde(serialize_with = "crate::EnvVars::names_only")]
        /// What to run.
        request: Arc<LaunchRequest>,
        /// How long to wait for its result, which is taken then; absent: not at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result_within_ms: Option<u64>,
    }
    /// Waits for a result. → [`Answer::Result`](Answer::Result), or [`Answer::Status`](Answer::Status): when the time is up, and
    /// for who takes nothing
    AwaitResult {
        /// The call of the host.
        call: CallId,
        /// Whose result.
        handle_id: HandleId,
        /// For how long; for as long as it takes if absent.
        wait_ms: Option<u64>,
        /// Take it: it does not come to the inbox then, or leaves it.
        take: bool,
    }
    /// Tells how a handle stands at this moment. → [`Answer::Status`](Answer::Status)
    GetStatus {
        /// The call of the host.
        call: CallId,
        /// Whose.
        handle_id: HandleId,
        /// The session that asks; a handle of another one is refused. Absent: of any.
        session_id: Option<SessionId>,
    }
    /// Stops a command; a second one means now. → [`Answer::Cancelled`](Answer::Cancelled)
    Cancel {
        /// The call of the host.
        call: CallId,
        /// What to stop.
        handle_id: HandleId,
        /// How long to wait for the result; for as long as it takes if absent.
        wait_ms: Option<u64>,
        /// Send the result to the inbox too.
        notify_on_cancel: bool,
        /// It is stopped because the right to run it was taken back: its result says `lease_lost`, and this is never the second one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lease_lost: bool,
    }
    /// Refuses new launches, stops all handles at the same time. → [`Answer::Ended`](Answer::Ended)
    EndSession {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// Its unread entries are not kept.
        discard: bool,
    }
    /// Waits for the first condition that holds. → [`Answer::Waited`](Answer::Waited)
    WaitFor {
        /// The call of the host.
        call: CallId,
        /// Of which command.
        handle_id: HandleId,
        /// In the order of preference. The command's exit ends the wait too.
        conditions: Arc<Vec<Condition>>,
        /// For how long.
        timeout_ms: u64,
    }
    /// Tells on which TCP ports a tree listens. → [`Answer::Ports`](Answer::Ports)
    ListPorts {
        /// The call of the host.
        call: CallId,
        /// Whose.
        handle_id: HandleId,
    }
    /// Lists the handles of a session. → [`Answer::Listed`](Answer::Listed)
    List {
        /// The call of the host.
        call: CallId,
        /// The session; absent: of all.
        session_id: Option<SessionId>,
        /// Also those that have finished, as far as they are kept.
        finished: bool,
        #[serde(default, skip_serializing_if = "crate::Labels::is_empty")]
        /// Only those that have all of these.
        labels: crate::Labels,
    }
    /// Forgets a command that has ended and whose result is read. → [`Answer::Done`](Answer::Done)
    Forget {
        /// The call of the host.
        call: CallId,
        /// Which.
        handle_id: HandleId,
    }
    /// Writes to a command's stdin. → [`Answer::Written`](Answer::Written)
    Write {
        /// The call of the host.
        call: CallId,
        /// Whose stdin.
        handle_id: HandleId,
        /// What.
        bytes: Payload,
        /// The same id again gets the same answer, and writes nothing.
        write_id: Option<String>,
        /// How long to wait until all of it is taken; for as long as it takes if absent.
        wait_ms: Option<u64>,
    }
    /// Ends a command's stdin, behind what is queued. → [`Answer::Done`](Answer::Done)
    CloseStdin {
        /// The call of the host.
        call: CallId,
        /// Whose stdin.
        handle_id: HandleId,
    }
    /// Changes the size of a command's terminal. → [`Answer::Done`](Answer::Done)
    Resize {
        /// The call of the host.
        call: CallId,
        /// Whose terminal.
        handle_id: HandleId,
        /// To what.
        size: TerminalSize,
    }
    /// Sends a signal to the leader's group. → [`Answer::Done`](Answer::Done)
    SendSignal {
        /// The call of the host.
        call: CallId,
        /// To whom.
        handle_id: HandleId,
        /// What.
        signal: UnixSignal,
    }
    /// Stops a tree where it is: it is no end. → [`Answer::Done`](Answer::Done) when all of it was seen to stand still
    Pause {
        /// The call of the host.
        call: CallId,
        /// Whose tree.
        handle_id: HandleId,
    }
    /// Lets it go on. → [`Answer::Done`](Answer::Done)
    Resume {
        /// The call of the host.
        call: CallId,
        /// Whose tree.
        handle_id: HandleId,
    }
    /// Answers after a time by the graph's clock. → [`Answer::Slept`](Answer::Slept)
    Sleep {
        /// The call of the host.
        call: CallId,
        /// For how long.
        sleep_ms: u64,
    }
    /// Ends every session, then the graph. → [`Answer::Stopped`](Answer::Stopped)
    Shutdown {
        /// The call of the host.
        call: CallId,
    }
    /// The last host handle was dropped: everything is killed without grace and the graph ends.
    HostGone {}
    }
    // Handled in `inbox/src/inbox.rs`.
    inbox {
    /// Adds an entry of the host's own. → [`Answer::Pushed`](Answer::Pushed)
    Push {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// The host's own word.
        kind: String,
        /// The host's own word.
        source: String,
        /// Any value.
        content: Pushed,
    }
    /// Takes entries out, in order; the others stay, in order. → [`Answer::Drained`](Answer::Drained)
    Drain {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// Which entries are meant.
        filter: Filter,
        /// How many at most.
        max: Option<usize>,
        /// How long to wait for the first one if there is none; absent: not at all.
        wait_ms: Option<u64>,
    }
    /// Gives entries and leaves them there: the reader holds them until it acknowledges them, is gone, or its time is up.
    /// → [`Answer::Drained`](Answer::Drained)
    Read {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// For whom.
        reader: ReaderId,
        /// Which entries are meant.
        filter: Filter,
        /// How many at most.
        max: Option<usize>,
        /// How long to wait for the first one if there is none; absent: not at all.
        wait_ms: Option<u64>,
        /// After which time without an acknowledgement they come again, from when the reader has them.
        redeliver_ms: u64,
    }
    /// Takes out what was read. → [`Answer::Acknowledged`](Answer::Acknowledged)
    Acknowledge {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// By whom.
        reader: ReaderId,
        /// Which entries.
        sequences: Sequences,
    }
    /// A reader is gone: what it has not acknowledged comes again.
    ReaderGone {
        /// The session.
        session_id: SessionId,
        /// Who.
        reader: ReaderId,
    }
    /// Is told of the entries that are unread, and of each that comes; takes nothing. → [`Answer::Subscribed`](Answer::Subscribed),
    /// then [`Notify`](crate::Notify) as often as something comes, and [`NotifiedAll`](crate::NotifiedAll) at the end
    Subscribe {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// Who.
        subscription: SubscriptionId,
        /// Which entries are meant.
        filter: Filter,
    }
    /// A subscriber is gone.
    Unsubscribe {
        /// The session.
        session_id: SessionId,
        /// Who.
        subscription: SubscriptionId,
    }
    /// Waits until an entry is there; takes nothing. → [`Answer::Counted`](Answer::Counted)
    Wait {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// For which entries.
        filter: Filter,
        /// For how long.
        timeout_ms: u64,
    }
    /// Counts entries. → [`Answer::Pending`](Answer::Pending)
    Pending {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// Which entries are meant.
        filter: Filter,
    }
    }
}

/// What a call brought.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The session is open.
    Opened(SessionId),
    /// The session was open when an earlier life of the host ended, and is open still.
    Recovered(SessionId),
    /// The process has started.
    Launched(Shared),
    /// How the handle stands after a cancel.
    Cancelled {
        /// Whether this call stopped it; false if it had finished before.
        cancelled: bool,
        /// Whether the result is taken with this answer; false: it is in the inbox, or was taken before.
        taken: bool,
        /// Its result, or, if `wait_ms` ran out, how it stands.
        record: Shared,
    },
    /// A result, to who has asked for it by its handle.
    Result {
        /// Whether it is taken with this answer; false if somebody else has it, or may come to have it.
        taken: bool,
        /// The result.
        record: Shared,
    },
    /// How the handle stands; nothing is taken.
    Status(Shared),
    /// What ended a wait.
    Waited(Box<Waited>),
    /// The ports.
    Ports {
        /// In order.
        ports: Vec<ListeningPort>,
        /// Processes that could not be looked at.
        unseen: u64,
    },
    /// The session has ended.
    Ended(Tally),
    /// The handles, in the order of their launches.
    Listed(Vec<Listed>),
    /// What became of a write.
    Written {
        /// So many bytes the command's end of the pipe has taken.
        taken: u64,
        /// So many are queued behind them.
        queued: u64,
        /// So many were dropped, because its stdin was closed or it ended.
        dropped: u64,
    },
    /// What was asked for is done.
    Done,
    /// The time is up.
    Slept,
    /// All sessions have ended.
    Stopped(Tally),
    /// The entry has this sequence number.
    Pushed(u64),
    /// The entries.
    Drained {
        /// The session.
        session_id: SessionId,
        /// The entries, first in first out.
        #[serde(serialize_with = "in_brief")]
        entries: Vec<Entry>,
    },
    /// It is told of entries from now.
    Subscribed(SubscriptionId),
    /// So many entries were acknowledged.
    Acknowledged(u64),
    /// So many entries are there; 0 if the time ran out.
    Counted(usize),
    /// So many entries are there.
    Pending(usize),
}

/// A handle in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// What is known of it without asking for its output: of a live one as it was launched, of another its result, both without
    /// texts.
    pub record: Shared,
    /// Of a live one, since its start.
    pub age_ms: Option<u64>,
    /// Of a live one, since its last byte of output.
    pub silence_ms: Option<u64>,
    /// It is paused.
    pub paused: bool,
    /// How many leftovers live on.
    pub kept: u64,
}

/// Entries on their way out, as a trace has them: what they hold stands where it was delivered.
pub(crate) fn in_brief<S: serde::Serializer>(entries: &[Entry], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(entries.iter().map(|entry| {
        let about =
            entry.record().map_or_else(|| entry.source.to_string(), |record| record.handle_id.to_string());
        let again = if entry.redelivered { ", redelivered" } else { "" };
        format!("{} {} {about}{again}", entry.sequence, entry.kind)
    }))
}

// To whoever holds the call: the supervisor or the inbox.
messages! {
    /// The caller has its answer. What was leased to the call is the caller's and leaves the graph; what it has read for a
    /// reader stays there, held by the reader.
    Ack {
        /// The call.
        call: CallId,
    }
    /// The caller is gone: before its answer came, or before it had it. Nobody waits for the call any more, and what was
    /// leased to it is free again.
    Nack {
        /// The call.
        call: CallId,
    }
}
