//! host → supervisor, host → inbox: what a host asks for. Each is answered by one [`Reply`](crate::Reply).
//!
//! A new request is a row here, a decision in `actors/src/core`, the arm that calls it in its actor, and a method in
//! `actors/src/api`.

use crate::{ActorName, CallId, Filter, HandleId, LaunchRequest, SessionId, table::messages};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The table, by who answers: its structs, one enum of all of them, and a macro that sends each to the one who answers.
macro_rules! requests {
    (
        ($d:tt)
        supervisor { $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })* }
        inbox { $($(#[$doc2:meta])* $name2:ident { $($(#[$field_doc2:meta])* $field2:ident : $type2:ty),* $(,)? })* }
    ) => {
        messages! { $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),* })* }
        messages! { $($(#[$doc2])* $name2 { $($(#[$field_doc2])* $field2: $type2),* })* }
        /// Everything that a host can ask.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $(#[doc = concat!("[`", stringify!($name), "`]")] $name($name),)*
            $(#[doc = concat!("[`", stringify!($name2), "`]")] $name2($name2),)*
        }
        $(impl From<$name> for Request {
            fn from(request: $name) -> Request { Request::$name(request) }
        })*
        $(impl From<$name2> for Request {
            fn from(request: $name2) -> Request { Request::$name2(request) }
        })*
        impl Request {
            /// Who answers it.
            pub fn holder(&self) -> ActorName {
                match self {
                    $(Request::$name(_) => ActorName::Supervisor,)*
                    $(Request::$name2(_) => ActorName::Inbox,)*
                }
            }
        }
        /// Matches on a [`Request`], and sends its message to the one who answers.
        #[macro_export]
        macro_rules! route_request {
            ($d request:expr, $d message:ident, supervisor: $d supervisor:expr, inbox: $d inbox:expr) => {
                match $d request {
                    $($crate::Request::$name($d message) => $d supervisor,)*
                    $($crate::Request::$name2($d message) => $d inbox,)*
                }
            };
        }
    };
}

requests! {
    ($)
    // Handled in `actors/src/graph/supervisor.rs`.
    supervisor {
    /// Opens a session. → [`Answer::Opened`](crate::Answer::Opened)
    OpenSession {
        /// The call of the host.
        call: CallId,
        /// The host's own string; made if absent.
        session_id: Option<SessionId>,
    }
    /// Starts a command. → [`Answer::Launched`](crate::Answer::Launched)
    Launch {
        /// The call of the host.
        call: CallId,
        #[serde(serialize_with = "crate::EnvVars::names_only")]
        /// What to run.
        request: Arc<LaunchRequest>,
    }
    /// Stops a command; a second one means now. → [`Answer::Cancelled`](crate::Answer::Cancelled)
    Cancel {
        /// The call of the host.
        call: CallId,
        /// What to stop.
        handle_id: HandleId,
        /// How long to wait for the result; for as long as it takes if absent.
        wait_ms: Option<u64>,
        /// Send the result to the inbox too.
        notify_on_cancel: bool,
    }
    /// Refuses new launches, stops all handles at the same time. → [`Answer::Ended`](crate::Answer::Ended)
    EndSession {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
        /// Its unread entries are not kept.
        discard: bool,
    }
    /// Tells the live handles of a session. → [`Answer::Listed`](crate::Answer::Listed)
    List {
        /// The call of the host.
        call: CallId,
        /// The session.
        session_id: SessionId,
    }
    /// Answers after a time by the graph's clock. → [`Answer::Slept`](crate::Answer::Slept)
    Sleep {
        /// The call of the host.
        call: CallId,
        /// For how long.
        sleep_ms: u64,
    }
    /// Ends every session, then the graph. → [`Answer::Stopped`](crate::Answer::Stopped)
    Shutdown {
        /// The call of the host.
        call: CallId,
    }
    /// The last host handle was dropped: everything is killed without grace and the graph ends.
    HostGone {}
    }
    // Handled in `inbox/src/inbox.rs`.
    inbox {
    /// Adds an entry of the host's own. → [`Answer::Pushed`](crate::Answer::Pushed)
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
        content: serde_json::Value,
    }
    /// Takes entries out, in order; the others stay, in order. → [`Answer::Drained`](crate::Answer::Drained)
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
    /// Waits until an entry is there; takes nothing. → [`Answer::Waited`](crate::Answer::Waited)
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
    /// Counts entries. → [`Answer::Pending`](crate::Answer::Pending)
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

// To whoever holds the call: the supervisor or the inbox.
messages! {
    /// The caller has its answer. What was leased to the call is the caller's and leaves the graph.
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
