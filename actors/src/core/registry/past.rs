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
use ostler_messages::{RecoveredCommand, Stdin, TextOnDisk};
use serde_json::Value;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Commands that can be asked for. All have ended.
    pub(super) handles: BTreeMap<HandleId, Handle>,
    /// What was asked for them, in brief.
    requests: BTreeMap<HandleId, Arc<str>>,
    /// By session and launch key.
    keys: BTreeMap<(SessionId, String), HandleId>,
    /// Those whose results are read, in the order of that.
    finished: VecDeque<HandleId>,
    /// Sessions that are open since then, and that nobody has opened by their ids yet.
    pub(super) open: BTreeSet<SessionId>,
    /// Sessions that had ended with something that is unread still.
    pub(super) unread: usize,
    /// Sessions that had ended, with the number of their next entry: they may be opened anew.
    pub(super) ended: BTreeMap<SessionId, u64>,
}

/// What a request does not say when it has none of it.
const MAY_BE_ABSENT: [&str; 3] = ["labels", "launch_key", "trace_context"];

/// A request that was written by an older or a newer ostler, as this one would have it: `form` is how this one writes requests. What it does not
/// know is left out, and what was not there yet has its default.
fn request_as_now(text: &str, form: &Value) -> Option<LaunchRequest> {
    let Value::Object(mut fields) = serde_json::from_str(text).ok()? else { return None };
    fields.retain(|name, _| form.get(name).is_some() || MAY_BE_ABSENT.contains(&name.as_str()));
    serde_json::from_value(Value::Object(fields)).ok()
}
/// What a request asks for. From where in a trace it is asked is no part of that.
fn asked(mut request: LaunchRequest) -> Option<Value> {
    request.trace_context = None;
    request.in_brief().ok()
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
        let now = asked(request.clone());
        let then = self.requests.get(handle_id).zip(now.as_ref());
        if then.and_then(|(text, form)| asked(request_as_now(text, form)?)) != now {
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
            let request = self.requests.get(handle_id).cloned().unwrap_or_else(|| "null".into());
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
        last_n: u64,
    ) -> Effects {
        let mut effects = Effects::new();
        self.last_n = self.last_n.max(last_n);
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
                self.past.unread += 1;
                queues.push(session);
            }
        }
        // In the order of their names: when they had ended nobody knows any more.
        let beyond = self.past.ended.len().saturating_sub(ENDED_IDS);
        let beyond = self.past.ended.keys().filter(|id| !self.unread_sessions.contains(*id)).take(beyond);
        let beyond: Vec<SessionId> = beyond.cloned().collect();
        self.past.ended.retain(|id, _| beyond.binary_search(id).is_err());
        self.forget_sessions(beyond, &mut effects);
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
        let mut request = serde_json::from_str::<LaunchRequest>(&brief).unwrap_or_else(|_| {
            let now = LaunchRequest::new(session_id.clone(), "?");
            let read = now.in_brief().ok().and_then(|form| request_as_now(&brief, &form));
            read.unwrap_or(now)
        });
        if let Stdin::Bytes(_) = request.stdin {
            // Of which only the size is known.
            request.stdin = Stdin::Null;
        }
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
            start_ticks: None,
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
            let Some(oldest) = self.past.finished.front().copied() else { break };
            self.forget_past(oldest, effects);
        }
    }
    pub(super) fn forget_past(&mut self, handle_id: HandleId, effects: &mut Effects) {
        self.past.finished.retain(|other| *other != handle_id);
        self.past.requests.remove(&handle_id);
        let Some(handle) = self.past.handles.remove(&handle_id) else { return };
        if let Some(key) = &handle.request.launch_key {
            self.past.keys.remove(&(handle.session_id.clone(), key.clone()));
        }
        let command_ids = handle.command_id.into_iter().collect();
        self.append(|| Row::Forgotten { command_ids }, effects);
    }

    /// All that there is, for a journal that begins anew.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![Row::Numbers { last_n: self.last_n, anonymous: self.anonymous }];
        let open = |id: &SessionId| Row::SessionOpened { session_id: id.clone(), anonymous: None };
        let ended = |id: &SessionId| Row::SessionEnded { session_id: id.clone() };
        rows.extend(self.sessions.keys().map(open));
        rows.extend(self.ended.named.keys().chain(&self.unread_sessions).map(ended));
        rows.extend(self.past.ended.keys().map(ended));
        let counted = |(id, next): (&SessionId, &u64)| Row::Counted { session_id: id.clone(), next: *next };
        rows.extend(self.ended.named.iter().chain(&self.past.ended).map(counted));
        rows.extend(self.past.commands().map(Row::Kept));
        for handle in self.handles.values() {
            let Some(command_id) = handle.command_id else { continue };
            rows.push(Row::Asked { command_id, request: handle.request.clone() });
            match &handle.state {
                State::Launching { .. } => {}
                State::Live(record) => {
                    let (record, start_ticks) = (record.clone(), handle.start_ticks);
                    rows.push(Row::Started { record, start_ticks });
                }
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
