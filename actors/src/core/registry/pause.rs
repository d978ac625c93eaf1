//! Trees that are to stand still for a while.
//!
//! * in: calls that pause and resume, what the kernel says of them
//! * out: effects: freeze, thaw, reply
//! * keeps: nothing of its own: the kernel knows who stands still, and answers each call once

use super::{handles::State, results::refuse, *};
use ostler_messages::NotPaused;

impl Registry {
    pub(crate) fn pause(&mut self, call: CallId, handle_id: HandleId) -> Effects {
        let n = handle_id.n;
        self.if_it_lives(call, handle_id, Effect::Freeze { n, call })
    }

    pub(crate) fn resume(&mut self, call: CallId, handle_id: HandleId) -> Effects {
        let n = handle_id.n;
        self.if_it_lives(call, handle_id, Effect::Thaw { n, call })
    }

    fn if_it_lives(&self, call: CallId, handle_id: HandleId, effect: Effect) -> Effects {
        vec![match self.known(handle_id).map(|handle| &handle.state) {
            Err(error) => refuse(call, error),
            Ok(State::Live(_)) => effect,
            Ok(_) => refuse(call, CallError::HandleEnded { handle_id }),
        }]
    }

    /// All of a tree was seen to stand still, or it does not.
    pub(crate) fn froze(&self, n: u64, call: CallId, refused: Option<NotPaused>) -> Effects {
        let handle_id = HandleId { host_pid: self.host_pid, n };
        let failed = |reason: String| CallError::NotPaused { handle_id, reason };
        vec![match refused {
            None => Effect::Reply(call, Ok(Answer::Done)),
            Some(NotPaused::Ended) => refuse(call, CallError::HandleEnded { handle_id }),
            Some(NotPaused::Stopping) => refuse(call, CallError::HandleStopping { handle_id }),
            Some(NotPaused::Resumed) => refuse(call, failed("it was resumed meanwhile".into())),
            Some(NotPaused::Failed(reason)) => refuse(call, failed(reason)),
        }]
    }

    /// It goes on.
    pub(crate) fn thawed(&self, n: u64, call: CallId, ended: bool) -> Effects {
        let handle_id = HandleId { host_pid: self.host_pid, n };
        vec![match ended {
            false => Effect::Reply(call, Ok(Answer::Done)),
            true => refuse(call, CallError::HandleEnded { handle_id }),
        }]
    }
}
