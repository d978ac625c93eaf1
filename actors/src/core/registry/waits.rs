//! Waits for conditions: which are open, and on which handle.
//!
//! * in: calls that wait, ends of commands, ends of waits
//! * out: effects: start one, tell it of the end, stop it
//! * keeps: each open wait hears of its command's end once, and is forgotten with its answer

use super::{handles::State, results::refuse, *};
use ostler_messages::{CONDITIONS_MAX, Condition, ListeningPort, WaitFor};

/// The open waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    handle_of: BTreeMap<CallId, u64>,
    of_handle: BTreeSet<(u64, CallId)>,
}
impl Waits {
    fn insert(&mut self, call: CallId, n: u64) {
        self.handle_of.insert(call, n);
        self.of_handle.insert((n, call));
    }
    /// Whether it was there.
    pub(super) fn remove(&mut self, call: CallId) -> bool {
        let n = self.handle_of.remove(&call);
        n.is_some_and(|n| self.of_handle.remove(&(n, call)))
    }
    fn on(&self, n: u64) -> impl Iterator<Item = CallId> {
        self.of_handle.range((n, CallId(0))..=(n, CallId(u64::MAX))).map(|(_, call)| *call)
    }
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.handle_of.len()
    }
}

impl Registry {
    pub(crate) fn wait_for(&mut self, asked: WaitFor) -> Effects {
        let WaitFor { call, handle_id, conditions, timeout_ms } = asked;
        let (count, limit) = (conditions.len(), CONDITIONS_MAX);
        if count > limit {
            return vec![refuse(call, CallError::TooManyConditions { count, limit })];
        }
        let (record, ended) = match self.known(handle_id).map(|handle| &handle.state) {
            Err(error) => return vec![refuse(call, error)],
            Ok(State::Live(record)) => (record.clone(), false),
            Ok(State::Kept(record) | State::Finished(record)) => (record.clone(), true),
            Ok(State::Launching { .. }) => return Vec::new(),
        };
        self.waits.insert(call, handle_id.n);
        vec![Effect::StartWait { call, record, ended, conditions, timeout_ms }]
    }

    /// Every wait on a command that has ended hears of it.
    pub(super) fn tell_waits(&self, record: &Shared) -> impl Iterator<Item = Effect> {
        let waits = self.waits.on(record.handle_id.n);
        waits.map(|call| Effect::TellWait { call, record: record.clone() })
    }

    /// It is answered.
    pub(crate) fn wait_over(&mut self, call: CallId) -> Effects {
        self.waits.remove(call);
        vec![Effect::RemoveWait(call)]
    }

    /// Its actor crashed.
    pub(crate) fn wait_down(&mut self, call: CallId) -> Effects {
        let Some(n) = self.waits.handle_of.get(&call).copied() else { return Vec::new() };
        self.waits.remove(call);
        vec![Effect::RemoveWait(call), Effect::Unfollow { call, n }, refuse(call, CallError::Crashed)]
    }

    pub(crate) fn list_ports(&self, call: CallId, handle_id: HandleId) -> Effects {
        match self.known(handle_id).map(|handle| &handle.state) {
            Err(error) => vec![refuse(call, error)],
            Ok(State::Live(_) | State::Kept(_)) => vec![Effect::LookForPorts { call, n: handle_id.n }],
            Ok(_) => vec![refuse(call, CallError::HandleEnded { handle_id })],
        }
    }

    pub(crate) fn ports_seen(
        &self,
        call: CallId,
        ports: Result<Vec<ListeningPort>, String>,
        unseen: u64,
    ) -> Effects {
        vec![match ports {
            Ok(ports) => Effect::Reply(call, Ok(Answer::Ports { ports, unseen })),
            Err(reason) => refuse(call, CallError::CannotLook { what: "port".into(), reason }),
        }]
    }
}

/// What a [`Condition`] is called in an error.
pub(crate) fn name_of(condition: &Condition) -> &'static str {
    match condition {
        Condition::Exit => "exit",
        Condition::Output { .. } => "output",
        Condition::Silence { .. } => "silence",
        Condition::Port { .. } => "port",
        Condition::Input => "input",
        _ => "condition",
    }
}
