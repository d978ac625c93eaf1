//! What a journal has kept of earlier lives of the host: commands, all of which have ended, and sessions.
//!
//! * in: what a recovery has found; results of it that are read
//! * out: what is forgotten by it
//! * keeps: a launch key finds its command across lives of the host; what is unread is never forgotten

use super::{
    handles::{Handle, State},
    input::Input,
    sessions::{ENDED_IDS, Session},
    *,
};
use ostler_messages::{RecoveredCommand, TextOnDisk};
use serde_json::Value;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Commands that can be asked for. All have ended.
    pub(super) handles: BTreeMap<HandleId, Handle>,
    /// What was asked for them, in brief.
    requests: BTreeMap<HandleId, Value>,
    /// By session and launch key.
    keys: BTreeMap<(SessionId, String), HandleId>,
    /// Those whose results are read, in the order of that.
    finished: VecDeque<HandleId>,
    /// Sessions that are open since then, and that nobody has opened by their ids yet.
    pub(super) open: BTreeSet<SessionId>,
    /// Sessions that had ended, with the number of their next entry: they may be opened anew.
    pub(super) ended: BTreeMap<SessionId, u64>,
}

impl Past {
    /// The result of the command that was launched under this key in this session.
    ///
    /// # Errors
    /// Another request has had it. Values of the environment are not written, so they are not compared.
    pub(super) fn launched(&self, request: &LaunchRequest) -> Result<Option<Shared>, LaunchError> {
        let Some(launch_key) = &request.launch_key else { return Ok(None) };
        // Most hosts have no past.
        if self.keys.is_empty() {
            return Ok(None);
        }
        let key = (request.session_id.clone(), launch_key.clone());
        let Some(handle_id) = self.keys.get(&key) else { return Ok(None) };
        if self.requests.get(handle_id) != request.in_brief().ok().as_ref() {
            return Err(LaunchError::LaunchKeyReused { launch_key: launch_key.clone() });
        }
        Ok(self.handles.get(handle_id).and_then(|handle| match &handle.state {
            State::Finished(record) => Some(record.clone()),
            _ => None,
        }))
    }

    pub(super) fn command_ids(&self) -> impl Iterator<Item = CommandId> {
        self.handles.values().filter_map(|handle| handle.command_id)
    }
    /// Everything that is kept of them, for a journal that begins anew.
    pub(super) fn commands(&self) -> impl Iterator<Item = RecoveredCommand> {
        self.handles.iter().filter_map(|(handle_id, handle)| {
            let State::Finished(record) = &handle.state else { return None };
            let text_on_disk = record.text_on_disk.0;
            let mut record = record.0.clone();
            let stored = Arc::make_mut(&mut record);
            (stored.text_omitted, stored.text_on_disk) = (false, TextOnDisk(false));
            let request = self.requests.get(handle_id).cloned().unwrap_or_default();
            Some(RecoveredCommand { record, text_on_disk, request, unread: handle.unread })
        })
    }
}

impl Registry {
    /// What earlier lives of the host have left.
    pub(crate) fn restore(
        &mut self,
        sessions: Vec<RecoveredSession>,
        commands: Vec<RecoveredCommand>,
        anonymous: u64,
    ) -> Effects {
        let mut effects = Effects::new();
        self.anonymous = self.anonymous.max(anonymous);
        let mut queues = Vec::new();
        for session in sessions {
            let id = session.session_id.clone();
            if !session.ended {
                self.sessions.insert(id.clone(), Session::default());
                self.past.open.insert(id);
                queues.push(session);
                continue;
            }
            self.past.ended.insert(id.clone(), session.next);
            if !session.entries.is_empty() {
                self.unread_sessions.insert(id);
                queues.push(session);
            }
        }
        while self.past.ended.len() > ENDED_IDS {
            // In the order of their names: when they had ended nobody knows any more.
            let Some((id, _)) = self.past.ended.pop_first() else { break };
            if !self.unread_sessions.contains(&id) {
                self.append(|| Row::SessionForgotten { session_id: id }, &mut effects);
            }
        }
        effects.push(Effect::RestoreQueues(queues));
        for command in commands {
            self.restore_command(command, &mut effects);
        }
        effects
    }

    fn restore_command(&mut self, command: RecoveredCommand, effects: &mut Effects) {
        let RecoveredCommand { mut record, text_on_disk, request: brief, unread } = command;
        let stored = Arc::make_mut(&mut record);
        (stored.text_omitted, stored.text_on_disk) = (text_on_disk, TextOnDisk(text_on_disk));
        let (handle_id, session_id) = (record.handle_id, record.session_id.clone());
        // It is asked only whether it has a terminal and an open stdin, and for its labels.
        let request = serde_json::from_value::<LaunchRequest>(brief.clone());
        let request = request.unwrap_or_else(|_| LaunchRequest::new(session_id.clone(), "?"));
        if let Some(key) = request.launch_key.clone() {
            self.past.keys.insert((session_id.clone(), key), handle_id);
        }
        let handle = Handle {
            session_id,
            command_id: Some(record.command_id),
            state: State::Finished(record.into()),
            waiting: Vec::new(),
            input: Input::of(&request),
            request: Arc::new(request),
            notify: false,
            recovered: false,
            unread,
            asked: 0,
        };
        self.past.requests.insert(handle_id, brief);
        self.past.handles.insert(handle_id, handle);
        if !unread {
            self.past_result_gone(handle_id, effects);
        }
    }

    /// Nobody can come to have its result any more: it is forgotten when enough others have come to that point.
    pub(super) fn past_result_gone(&mut self, handle_id: HandleId, effects: &mut Effects) {
        if let Some(handle) = self.past.handles.get_mut(&handle_id) {
            handle.unread = false;
            self.past.finished.push_back(handle_id);
        }
        while self.past.finished.len() as u64 > self.limits.replay_results {
            let Some(oldest) = self.past.finished.pop_front() else { break };
            self.past.requests.remove(&oldest);
            let Some(handle) = self.past.handles.remove(&oldest) else { continue };
            if let Some(key) = &handle.request.launch_key {
                self.past.keys.remove(&(handle.session_id.clone(), key.clone()));
            }
            let command_ids = handle.command_id.into_iter().collect();
            self.append(|| Row::Forgotten { command_ids }, effects);
        }
    }

    /// All that there is, for a journal that begins anew.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![Row::Numbers { last_n: self.last_n, anonymous: self.anonymous }];
        let open = |id: &SessionId| Row::SessionOpened { session_id: id.clone(), anonymous: None };
        let ended = |id: &SessionId| Row::SessionEnded { session_id: id.clone() };
        rows.extend(self.sessions.keys().map(open));
        rows.extend(self.ended.named.iter().chain(&self.unread_sessions).map(ended));
        rows.extend(self.past.ended.keys().map(ended));
        let counted = |(id, next): (&SessionId, &u64)| Row::Counted { session_id: id.clone(), next: *next };
        rows.extend(self.past.ended.iter().map(counted));
        rows.extend(self.past.commands().map(Row::Kept));
        for handle in self.handles.values() {
            let Some(command_id) = handle.command_id else { continue };
            rows.push(Row::Asked { command_id, request: handle.request.clone() });
            match &handle.state {
                State::Launching { .. } => {}
                State::Live(record) => rows.push(Row::Started { record: record.clone(), start_ticks: None }),
                State::Kept(record) | State::Finished(record) => {
                    rows.push(Row::Owed { record: record.clone() });
                    if !handle.unread {
                        rows.push(Row::Taken { command_id });
                    }
                }
            }
        }
        rows
    }
}
