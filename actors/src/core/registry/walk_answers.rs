//! What each request has to bring about at once, and what tells two states apart.

use super::{
    super::{Effect, Effects},
    Plan,
    model::{Ask, Model, Process, SESSIONS, State, ensure, record, request},
};
use ostler_messages::{
    Answer, CallId, Cause, LaunchError, Limit, OLDEST_HANDLES, Refusal, SessionId, Status,
};

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
};

impl Plan {
    /// What each request has to bring about at once, seen from the model alone.
    pub(super) fn answered_rightly(
        &self,
        before: &Model,
        call: usize,
        effects: &Effects,
    ) -> Result<(), String> {
        let id = CallId(call as u64);
        let refused = |error: LaunchError| vec![Effect::Reply(id, Err(Refusal::Launch(error)))];
        let stops = |session: Option<usize>| {
            let alive = before.live(|p| session.is_none_or(|at| p.session == at));
            let again = session.is_some_and(|at| before.ending[at]);
            let stops = effects.iter().filter(|effect| matches!(effect, Effect::Stop { .. })).count();
            stops as u64 == if again { 0 } else { alive }
        };
        match self.asks[call] {
            Ask::Launch { session, key } => {
                let full = |limit, max, of: &dyn Fn(&Process) -> bool| {
                    let live =
                        (1..).zip(&before.processes).filter(|(_, p)| p.state != State::Stopped && of(p));
                    let named = live.take(OLDEST_HANDLES).map(|(n, p)| record(n, p.session, Status::Running));
                    let oldest = named.map(|record| record.handle_id).collect();
                    refused(LaunchError::LimitReached { limit, max, count: max, leased: 0, oldest })
                };
                let twin = key.and_then(|key| before.twin(session, key, self.limits.replay_results));
                let expected = if before.ending[session] {
                    refused(LaunchError::SessionClosed { session_id: SESSIONS[session].into() })
                } else if let Some((n, twin)) = twin {
                    let status = twin.result.unwrap_or(Status::Running);
                    let launched = Ok(Answer::Launched(record(n, session, status)));
                    if twin.launched { vec![Effect::Reply(id, launched)] } else { Vec::new() }
                } else if before.paused && session == 0 {
                    vec![Effect::RefuseLaunch { call: id, session_id: SessionId::new(SESSIONS[session]) }]
                } else if before.live(|p| p.session == session) >= self.limits.session_handles {
                    full(Limit::SessionHandles, self.limits.session_handles, &|p| p.session == session)
                } else if before.live(|_| true) >= self.limits.handles {
                    full(Limit::Handles, self.limits.handles, &|_| true)
                } else {
                    vec![Effect::Spawn {
                        append: None,
                        n: before.processes.len() as u64 + 1,
                        request: request(session, key),
                    }]
                };
                ensure!(*effects == expected, "expected {expected:?}");
            }
            Ask::Cancel { n, wait_ms, lease_lost, .. } => {
                let process = usize::try_from(n - 1).ok().and_then(|at| before.processes.get(at));
                let stored = before.finished.iter().rev().take(self.limits.replay_results as usize);
                let known = stored.into_iter().any(|stored| *stored == n);
                match process.map(|p| p.state) {
                    Some(State::Live | State::Kept) => {
                        let cause = if lease_lost { Cause::LeaseLost } else { Cause::Cancelled };
                        ensure!(effects[0] == Effect::Stop { n, cause }, "not stopped");
                        let waits = !effects.iter().any(|effect| matches!(effect, Effect::Reply(..)));
                        ensure!(waits == (wait_ms != Some(0)), "waited though it should not, or the reverse");
                    }
                    Some(State::Stopped) if known || process.is_some_and(|p| p.is_unread()) => {
                        let process = process.unwrap();
                        let Some(Effect::Reply(
                            _,
                            Ok(Answer::Cancelled { cancelled: false, taken: false, record }),
                        )) = effects.first()
                        else {
                            return Err("the stored result is not given".into());
                        };
                        ensure!(Some(record.status) == process.result, "another result than before");
                    }
                    _ => {
                        let unknown = matches!(effects[..], [Effect::Reply(_, Err(Refusal::Call(_)))]);
                        ensure!(unknown, "not refused though unknown");
                    }
                }
            }
            Ask::End(session) => ensure!(stops(Some(session)), "not all are stopped at the end"),
            Ask::HostGone => ensure!(stops(None), "not all are stopped when the host is gone"),
            Ask::Await { .. } | Ask::Status(_) | Ask::Wait(_) => {}
            Ask::Sleep | Ask::Shutdown | Ask::Nack { .. } | Ask::Paused(_) => {}
        }
        Ok(())
    }
}

/// By its text. Records are known by their status: which one it is follows from that and the handle.
pub(super) fn text_hash(state: &Model) -> u64 {
    let Model {
        registry,
        calls,
        timers,
        processes,
        queues,
        ending,
        paused,
        discarding,
        host_gone,
        over,
        finished,
        reporting,
        waits,
    } = state;
    let handles = registry.handles.iter().map(|(n, handle)| {
        let (state, calls, status) = match &handle.state {
            super::super::handles::State::Launching { calls } => (0, &calls[..], None),
            super::super::handles::State::Live(record) => (1, &[][..], Some(record.status)),
            super::super::handles::State::Kept(record) => (2, &[][..], Some(record.status)),
            super::super::handles::State::Finished(record) => (3, &[][..], Some(record.status)),
        };
        (n, state, calls, status, &handle.waiting, (handle.notify, handle.recovered, handle.unread))
    });
    let handles: Vec<_> = handles.collect();
    let around = (
        calls,
        timers,
        processes,
        queues,
        ending,
        paused,
        discarding,
        host_gone,
        over,
        (finished, reporting, waits),
    );
    let own =
        (&registry.sessions, handles, &registry.finished, &registry.timed, registry.live, &registry.ended);
    let ends = (&registry.shutdown_calls, registry.shutting_down, registry.host_gone);
    let mut hasher = DefaultHasher::new();
    format!("{around:?}{own:?}{ends:?}").hash(&mut hasher);
    hasher.finish()
}
