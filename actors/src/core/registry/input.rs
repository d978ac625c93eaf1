//! What is written to commands: which write is let in, and what each is answered.
//!
//! * in: writes, the closing of stdin, how far the kernel has come with each
//! * out: effects: feed, end, reply
//! * keeps: a limit on what is queued for a command; a `write_id` writes once

use super::{
    handles::{Handle, State},
    results::refuse,
    *,
};
use ostler_messages::{
    CloseStdin, Fed, INPUT_MAX_BYTES, INPUT_MAX_WRITES, Payload, Resize, SendSignal, WRITE_ID_MAX_BYTES,
    WRITE_IDS, Write,
};

/// The input of one handle.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Input {
    stdin: Pipe,
    /// Those of which something more may become, by the call that has brought them.
    writes: BTreeMap<CallId, Queued>,
    /// Oldest first.
    remembered: VecDeque<Remembered>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pipe {
    #[default]
    None,
    Open,
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
struct Queued {
    bytes: u64,
    taken: u64,
    /// Who waits for its end: who has brought it, and who has come with its id.
    waiting: Vec<CallId>,
}

#[derive(Clone, Debug, PartialEq)]
struct Remembered {
    write_id: String,
    /// Size and fingerprint: what tells another write.
    content: (u64, u64),
    write: CallId,
    /// Once it has ended.
    answer: Option<Result<Answer, Refusal>>,
}

impl Input {
    /// Of a launch.
    pub(super) fn of(request: &LaunchRequest) -> Input {
        let stdin = if request.takes_input() { Pipe::Open } else { Pipe::None };
        Input { stdin, ..Input::default() }
    }

    fn queued(&self) -> u64 {
        self.writes.values().map(|write| write.bytes - write.taken).sum()
    }

    /// Whether so many bytes can be let in.
    fn has_room(&self, bytes: u64) -> Result<(), CallError> {
        let (queued, writes) = (self.queued(), self.writes.len() as u64);
        let (limit, writes_limit) = (INPUT_MAX_BYTES, INPUT_MAX_WRITES);
        match queued + bytes > limit || writes >= writes_limit {
            true => Err(CallError::InputFull { queued, writes, limit, writes_limit }),
            false => Ok(()),
        }
    }

    fn remember(&mut self, write_id: String, content: (u64, u64), write: CallId) {
        self.remembered.push_back(Remembered { write_id, content, write, answer: None });
        // One that is still queued is not forgotten: it would be written twice.
        if self.remembered.len() > WRITE_IDS
            && let Some(oldest) = self.remembered.iter().position(|remembered| remembered.answer.is_some())
        {
            self.remembered.remove(oldest);
        }
    }

    /// How far the write has come for which this call waits.
    pub(super) fn so_far(&self, call: CallId) -> Option<Answer> {
        let write = self.writes.values().find(|write| write.waiting.contains(&call))?;
        Some(Answer::Written { taken: write.taken, queued: write.bytes - write.taken, dropped: 0 })
    }

    /// This call waits no more. What it has brought stays queued.
    pub(super) fn waits_no_more(&mut self, call: CallId) {
        self.writes.values_mut().for_each(|write| write.waiting.retain(|waiting| *waiting != call));
    }

    /// Gives those who waited for it.
    fn end(&mut self, write: CallId, answer: &Result<Answer, Refusal>) -> Vec<CallId> {
        if let Some(remembered) = self.remembered.iter_mut().find(|remembered| remembered.write == write) {
            remembered.answer = Some(answer.clone());
        }
        self.writes.remove(&write).map(|write| write.waiting).unwrap_or_default()
    }
}

impl Registry {
    pub(crate) fn write(&mut self, write: Write) -> Effects {
        let call = write.call;
        self.try_write(write).unwrap_or_else(|error| vec![refuse(call, error)])
    }

    fn try_write(&mut self, write: Write) -> Result<Effects, CallError> {
        let Write { call, handle_id, bytes, write_id, wait_ms } = write;
        let (n, size) = (handle_id.n, bytes.size());
        let id_bytes = write_id.as_ref().map_or(0, String::len);
        if id_bytes > WRITE_ID_MAX_BYTES {
            return Err(CallError::WriteIdLength { bytes: id_bytes, limit: WRITE_ID_MAX_BYTES });
        }
        if size > INPUT_MAX_BYTES {
            return Err(CallError::InputTooLarge { bytes: size, limit: INPUT_MAX_BYTES });
        }
        self.known(handle_id)?;
        if self.past.handles.contains_key(&handle_id) {
            return Err(CallError::HandleEnded { handle_id });
        }
        let Some(handle) = self.handles.get_mut(&n) else { return Ok(Vec::new()) };
        let content = |bytes: &Payload| (size, bytes.fingerprint());
        let twin = write_id.as_ref().and_then(|id| {
            handle.input.remembered.iter().find(|remembered| remembered.write_id == *id).cloned()
        });
        if let Some(Remembered { write_id, content: known, write, answer }) = twin {
            if known != content(&bytes) {
                return Err(CallError::WriteIdReused { write_id });
            }
            return Ok(match answer {
                Some(answer) => vec![Effect::Reply(call, answer)],
                None => self.wait_for_write(call, n, write, wait_ms),
            });
        }
        handle.takes_input(handle_id)?;
        handle.input.has_room(size)?;
        if size == 0 {
            let answer = Answer::Written { taken: 0, queued: 0, dropped: 0 };
            return Ok(vec![Effect::Reply(call, Ok(answer))]);
        }
        if let Some(write_id) = write_id {
            handle.input.remember(write_id, content(&bytes), call);
        }
        handle.input.writes.insert(call, Queued { bytes: size, taken: 0, waiting: Vec::new() });
        let mut effects = vec![Effect::Feed { n, call, bytes }];
        effects.extend(self.wait_for_write(call, n, call, wait_ms));
        Ok(effects)
    }

    fn wait_for_write(&mut self, call: CallId, n: u64, write: CallId, wait_ms: Option<u64>) -> Effects {
        let queued = self.handles.get_mut(&n).and_then(|handle| handle.input.writes.get_mut(&write));
        queued.into_iter().for_each(|queued| queued.waiting.push(call));
        self.waiting.insert(call, n);
        let Some(after_ms) = wait_ms else { return Vec::new() };
        self.timed.insert(call, Some(n));
        vec![Effect::ArmCall { call, after_ms }]
    }

    /// The end of file comes behind what is queued.
    pub(crate) fn close_stdin(&mut self, CloseStdin { call, handle_id }: CloseStdin) -> Effects {
        let n = handle_id.n;
        let handle = self.known(handle_id).and_then(|handle| match handle.takes_input(handle_id) {
            Ok(()) if handle.request.terminal.is_some() => Err(CallError::StdinIsTerminal { handle_id }),
            // That is what was asked for.
            Err(CallError::StdinClosed { .. }) => Ok(true),
            other => other.map(|()| false),
        });
        let done = Effect::Reply(call, Ok(Answer::Done));
        match handle {
            Err(error) => vec![refuse(call, error)],
            Ok(true) => vec![done],
            Ok(false) => {
                self.input_ended(n);
                vec![Effect::EndInput { n }, done]
            }
        }
    }

    pub(crate) fn resize(&mut self, Resize { call, handle_id, size }: Resize) -> Effects {
        let TerminalSize { rows, columns } = size;
        let refused = match self.known(handle_id) {
            Err(error) => Some(error),
            Ok(_) if !size.is_valid() => Some(CallError::TerminalSize { rows, columns }),
            Ok(Handle { state: State::Finished(_), .. }) => Some(CallError::HandleEnded { handle_id }),
            Ok(handle) => handle.request.terminal.is_none().then_some(CallError::NoTerminal { handle_id }),
        };
        match refused {
            Some(error) => vec![refuse(call, error)],
            None => vec![Effect::SetSize { n: handle_id.n, size }, Effect::Reply(call, Ok(Answer::Done))],
        }
    }

    /// The handle's state stays as it is: what the signal does to the command shows as if it had come from elsewhere.
    pub(crate) fn send_signal(&mut self, SendSignal { call, handle_id, signal }: SendSignal) -> Effects {
        match self.known(handle_id).map(|handle| &handle.state) {
            Err(error) => vec![refuse(call, error)],
            Ok(State::Live(_)) => {
                vec![Effect::Raise { n: handle_id.n, signal }, Effect::Reply(call, Ok(Answer::Done))]
            }
            Ok(_) => vec![refuse(call, CallError::HandleEnded { handle_id })],
        }
    }

    /// The kernel has come so far with a write.
    pub(crate) fn fed(&mut self, fed: &Fed) -> Effects {
        let handle_id = HandleId { host_pid: self.host_pid, n: fed.n };
        let Some(handle) = self.handles.get_mut(&fed.n) else { return Vec::new() };
        let Some(write) = handle.input.writes.get_mut(&fed.call) else { return Vec::new() };
        write.taken = fed.taken.min(write.bytes);
        let answer = match fed {
            Fed { ended: false, .. } => return Vec::new(),
            Fed { refused: true, .. } => Err(CallError::StdinClosed { handle_id }.into()),
            Fed { taken, dropped, .. } => Ok(Answer::Written { taken: *taken, queued: 0, dropped: *dropped }),
        };
        let waiting = handle.input.end(fed.call, &answer);
        self.reply_to_all(waiting, &answer)
    }

    /// Nothing can be written to it any more.
    pub(crate) fn input_ended(&mut self, n: u64) {
        if let Some(handle) = self.handles.get_mut(&n)
            && handle.input.stdin == Pipe::Open
        {
            handle.input.stdin = Pipe::Closed;
        }
    }

    /// The command has ended, and what was kept of it: whoever still waits hears what is known.
    pub(super) fn input_is_over(&mut self, n: u64) -> Effects {
        let mut effects = Effects::new();
        self.input_ended(n);
        while let Some(handle) = self.handles.get_mut(&n)
            && let Some((write, Queued { bytes, taken, .. })) = handle.input.writes.first_key_value()
        {
            let answer = Ok(Answer::Written { taken: *taken, queued: 0, dropped: bytes - taken });
            let write = *write;
            let waiting = handle.input.end(write, &answer);
            effects.extend(self.reply_to_all(waiting, &answer));
        }
        effects
    }

    fn reply_to_all(&mut self, calls: Vec<CallId>, answer: &Result<Answer, Refusal>) -> Effects {
        let mut effects = Effects::new();
        for call in calls {
            self.waiting.remove(&call);
            effects.extend(self.timed.remove(&call).map(|_| Effect::DisarmCall(call)));
            effects.push(Effect::Reply(call, answer.clone()));
        }
        effects
    }
}

impl Handle {
    fn takes_input(&self, handle_id: HandleId) -> Result<(), CallError> {
        match (&self.state, self.input.stdin) {
            (State::Finished(_), _) => Err(CallError::HandleEnded { handle_id }),
            (_, Pipe::None) => Err(CallError::NoStdin { handle_id }),
            (_, Pipe::Closed) => Err(CallError::StdinClosed { handle_id }),
            (_, Pipe::Open) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
