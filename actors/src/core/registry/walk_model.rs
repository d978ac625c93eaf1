//! What stands around a [`Registry`]: callers, processes, the inbox's queues, timers. It keeps its own account of who is
//! owed what, and holds every effect against it.

use super::super::{Effect, Registry};
use ostler_messages::{
    Answer, CallId, Cause, Claim, ClaimBy, CommandId, HandleId, LaunchError, LaunchRequest, Record, Refusal,
    SessionId, Shared, Status, Text,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const HOST_PID: u32 = 7;
pub(super) const SESSIONS: [&str; 2] = ["a", "b"];

macro_rules! ensure {
    ($holds:expr, $($rule:tt)*) => {
        if !$holds {
            return Err(format!($($rule)*));
        }
    };
}
pub(super) use ensure;

/// What a host can ask; each request of a plan at most once, in any order. Its place is its call's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Launch { session: usize, key: Option<&'static str> },
    Cancel { n: u64, wait_ms: Option<u64>, notify: bool, lease_lost: bool },
    Await { n: u64, wait_ms: Option<u64>, take: bool },
    Status(u64),
    Wait(u64),
    End(usize),
    Sleep,
    Shutdown,
    Nack { of: usize },
    HostGone,
    Paused(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Unasked,
    Waits,
    Answered,
    /// Nobody waits for it any more.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Open,
    Closing,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Launching,
    Live,
    Kept,
    /// Stopped; with a result, if it was ever launched.
    Stopped,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) session: usize,
    pub(super) key: Option<&'static str>,
    pub(super) state: State,
    pub(super) stopped: bool,
    pub(super) ending: bool,
    pub(super) recovered: bool,
    pub(super) launched: bool,
    /// Somebody asked for its result in the inbox too, while it ran.
    pub(super) notify: bool,
    pub(super) result: Option<Status>,
    pub(super) delivered: u8,
    pub(super) leased: u8,
    /// Its result is read, or discarded.
    pub(super) gone: bool,
    /// Its leftovers were kept.
    pub(super) kept: bool,
    removed: bool,
}
impl Process {
    /// Its result is out, and can still be read.
    pub(super) fn is_unread(&self) -> bool {
        self.result.is_some() && !self.gone
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    No,
    Armed,
    /// Disarmed when it may have fired already.
    Late,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) registry: Registry,
    pub(super) calls: Vec<Call>,
    pub(super) timers: Vec<Timer>,
    pub(super) processes: Vec<Process>,
    pub(super) queues: [Queue; 2],
    pub(super) ending: [bool; 2],
    /// Launches of session 0.
    pub(super) paused: bool,
    /// The inbox is asked to let go of everything.
    pub(super) discarding: bool,
    pub(super) host_gone: bool,
    pub(super) over: bool,
    /// Those that have ended and whose results are gone, in that order.
    pub(super) finished: Vec<u64>,
    /// Calls for which a process is to tell how it stands.
    pub(super) reporting: Vec<u64>,
    /// Waits that are open: their call, and whether they have heard of their command's end.
    pub(super) waits: BTreeMap<usize, bool>,
}

impl Model {
    pub(super) fn process(&mut self, n: u64) -> &mut Process {
        let at = usize::try_from(n).unwrap() - 1;
        &mut self.processes[at]
    }

    pub(super) fn live(&self, of: impl Fn(&Process) -> bool) -> u64 {
        self.processes.iter().filter(|p| p.state != State::Stopped && of(p)).count() as u64
    }

    /// The handle of this key, if it runs or its record is still kept.
    pub(super) fn twin(&self, session: usize, key: &str, kept: u64) -> Option<(u64, &Process)> {
        let stored = self.finished.iter().rev().take(usize::try_from(kept).unwrap());
        let stored: Vec<u64> = stored.copied().collect();
        let known = |n: u64, p: &Process| p.state != State::Stopped || p.is_unread() || stored.contains(&n);
        let mut processes = (1..).zip(&self.processes);
        processes.find(|(n, p)| p.session == session && p.key == Some(key) && known(*n, p))
    }

    fn answered(&mut self, call: CallId) -> Result<(), String> {
        let stands = &mut self.calls[usize::try_from(call.0).unwrap()];
        ensure!(*stands != Call::Answered, "call {} is answered twice", call.0);
        ensure!(*stands != Call::Unasked, "call {} was never asked", call.0);
        if *stands == Call::Waits {
            *stands = Call::Answered;
        }
        Ok(())
    }

    /// Takes one effect into account.
    pub(super) fn witness(&mut self, effect: &Effect, asks: &[Ask]) -> Result<(), String> {
        ensure!(!self.over, "something is done after the end: {effect:?}");
        match effect {
            Effect::Reply(call, answer) => {
                self.answered(*call)?;
                self.fits(&asks[usize::try_from(call.0).unwrap()], answer)?;
            }
            Effect::RefuseLaunch { call, session_id } => {
                ensure!(self.paused && at(session_id) == 0, "refused though launches go on");
                self.answered(*call)?;
            }
            Effect::DiscardAll => {
                ensure!(!self.discarding, "asked twice");
                ensure!(self.queues.iter().all(|queue| *queue == Queue::Closed), "a queue is open");
                self.discarding = true;
            }
            Effect::ReplyWritten { .. }
            | Effect::Append(_)
            | Effect::ClaimSession(_)
            | Effect::RestoreQueues(_) => return Err("there is no journal here".into()),
            Effect::ReplyOpened(..) => return Err("no anonymous session is opened here".into()),
            Effect::Deliver { record, to } if to.is_empty() => {
                self.process(record.handle_id.n).delivered += 1;
            }
            Effect::Deliver { record, to } => {
                let waits = |claim: &Claim| self.calls[usize::try_from(claim.call.0).unwrap()] == Call::Waits;
                ensure!(to.iter().all(waits), "a result is leased to a call that is not open");
                let asked = to.iter().any(|claim| claim.by == ClaimBy::Result);
                let ours = asked || record.status == Status::Killed;
                ensure!(ours, "only a killed one is leased to its cancellers alone");
                to.iter().try_for_each(|claim| self.answered(claim.call))?;
                self.process(record.handle_id.n).leased += 1;
            }
            Effect::TakeResult { call, stored } => {
                let process = self.process(stored.handle_id.n);
                ensure!(process.result == Some(stored.status), "another result than before");
                self.answered(*call)?;
            }
            Effect::Report { n, call } => {
                let at = usize::try_from(call.0).unwrap();
                ensure!(self.process(*n).state == State::Live, "process {n} is asked after its end");
                ensure!(self.calls[at] == Call::Waits, "asked for a call that is not open");
                self.reporting.push(call.0);
            }
            Effect::StartWait { call, ended, record, .. } => {
                let known = self.process(record.handle_id.n).result.is_some();
                ensure!(known == *ended, "a wait begins with a wrong end");
                let fresh = self.waits.insert(usize::try_from(call.0).unwrap(), *ended).is_none();
                ensure!(fresh, "a wait begins twice");
            }
            Effect::TellWait { call, record } => {
                let told = self.waits.insert(usize::try_from(call.0).unwrap(), true);
                ensure!(told == Some(false), "a wait hears of the end twice, or after its own");
                ensure!(self.process(record.handle_id.n).result == Some(record.status), "of another end");
            }
            Effect::StopWait(call) => {
                let call = usize::try_from(call.0).unwrap();
                ensure!(self.calls[call] == Call::Gone, "a wait is stopped whose caller is there");
            }
            Effect::RemoveWait(call) => {
                ensure!(self.waits.remove(&usize::try_from(call.0).unwrap()).is_some(), "a wait ends twice");
            }
            Effect::Unfollow { .. } => {}
            Effect::LookForPorts { .. } => return Err("nobody asks for ports here".into()),
            Effect::Feed { .. } | Effect::EndInput { .. } | Effect::SetSize { .. } | Effect::Raise { .. } => {
                return Err("nobody writes here".into());
            }
            Effect::Retain { .. } | Effect::ForgetSession(_) => return Err("nothing is limited here".into()),
            Effect::Freeze { .. } | Effect::Thaw { .. } => return Err("nobody pauses here".into()),
            Effect::Survey { .. } => return Err("nobody asks for a list here".into()),
            Effect::Spawn { n, request, .. } => self.spawned(*n, request)?,
            Effect::Stop { n, cause } => {
                let process = self.process(*n);
                ensure!(process.state != State::Stopped, "process {n} is stopped after its end");
                process.stopped = true;
                process.ending |= matches!(cause, Cause::SessionEnded | Cause::HostGone);
            }
            Effect::Recover { n, .. } => {
                let process = self.process(*n);
                ensure!(!process.recovered, "process {n} is taken over twice");
                process.recovered = true;
            }
            Effect::Remove { n } => {
                let process = self.process(*n);
                ensure!(!process.removed, "process {n} is removed twice");
                process.removed = true;
            }
            Effect::CloseQueue { session_id: id, .. } => {
                let session = at(id);
                ensure!(
                    self.ending[session] && self.queues[session] == Queue::Open,
                    "{id} is closed untimely"
                );
                let over = self.processes.iter().all(|p| p.session != session || p.removed);
                ensure!(over, "{id} is closed while a handle lives");
                self.queues[session] = Queue::Closing;
            }
            Effect::ArmCall { call, .. } => self.timers[usize::try_from(call.0).unwrap()] = Timer::Armed,
            Effect::DisarmCall(call) => {
                let timer = &mut self.timers[usize::try_from(call.0).unwrap()];
                ensure!(*timer == Timer::Armed, "no timer for call {}", call.0);
                *timer = Timer::Late;
            }
            Effect::Stopped => {
                let queues = self.queues.iter().all(|room| *room == Queue::Closed);
                ensure!(self.processes.iter().all(|p| p.removed), "over while a process lives");
                ensure!(self.host_gone || queues, "over while a queue is open");
                self.over = true;
            }
            Effect::Release { .. } | Effect::OpenQueue { .. } => {}
        }
        Ok(())
    }

    fn spawned(&mut self, n: u64, request: &LaunchRequest) -> Result<(), String> {
        let session = at(&request.session_id);
        let key = request.launch_key.as_deref().map(|_| "key");
        ensure!(!self.ending[session], "a process is made for a session that ends");
        ensure!(n == self.processes.len() as u64 + 1, "a number is used twice");
        // The plans keep one finished record.
        let twin = key.and_then(|key| self.twin(session, key, 1));
        ensure!(twin.is_none(), "the same work is started twice");
        self.processes.push(Process {
            session,
            key,
            state: State::Launching,
            stopped: false,
            ending: false,
            recovered: false,
            launched: false,
            notify: false,
            result: None,
            delivered: 0,
            leased: 0,
            gone: false,
            kept: false,
            removed: false,
        });
        Ok(())
    }

    /// Whether the answer is one that the question can have.
    fn fits(&self, ask: &Ask, answer: &Result<Answer, Refusal>) -> Result<(), String> {
        let fits = match (ask, answer) {
            (Ask::Launch { key, .. }, Ok(Answer::Launched(record))) => {
                record.status == Status::Running || key.is_some()
            }
            (Ask::Launch { .. }, Err(Refusal::Launch(_))) => true,
            (Ask::Cancel { n, .. }, Ok(Answer::Cancelled { cancelled, taken: false, record })) => {
                let kept = self.processes[usize::try_from(*n).unwrap() - 1].kept;
                let stopped = record.status == Status::Killed || record.status == Status::Running;
                record.handle_id.n == *n && (!cancelled || stopped || kept)
            }
            (Ask::Await { n, .. } | Ask::Status(n), Ok(Answer::Status(record))) => record.handle_id.n == *n,
            (Ask::Await { n, take: true, .. }, Ok(Answer::Result { taken: false, record })) => {
                record.handle_id.n == *n && self.processes[usize::try_from(*n).unwrap() - 1].notify
            }
            (Ask::Await { .. } | Ask::Status(_) | Ask::Wait(_), Err(Refusal::Call(_))) => true,
            (Ask::Cancel { .. }, Err(Refusal::Call(_))) => true,
            (Ask::End(session), Ok(Answer::Ended(tally))) => {
                let ours = self.processes.iter().filter(|p| p.session == *session);
                let launched = ours.clone().filter(|p| p.launched).count() as u64;
                ensure!(self.queues[*session] == Queue::Closed, "ended before its queue was closed");
                ensure!(ours.clone().all(|p| p.removed), "ended before its handles");
                tally.completed + tally.killed + tally.timed_out + tally.lost == launched
            }
            (Ask::End(session), Err(Refusal::Call(_))) => self.queues[*session] == Queue::Closed,
            (Ask::Shutdown, Ok(Answer::Stopped(_))) => self.processes.iter().all(|p| p.removed),
            (Ask::Sleep, Ok(Answer::Slept)) => true,
            _ => false,
        };
        ensure!(fits, "{ask:?} is answered by {answer:?}");
        Ok(())
    }

    /// Between two steps.
    pub(super) fn settle(&self, replay_results: u64, asks: &[Ask]) -> Result<(), String> {
        let registry = &self.registry;
        ensure!(registry.live == self.live(|_| true), "the count of live handles is {}", registry.live);
        for (session, id) in SESSIONS.into_iter().enumerate() {
            let live =
                registry.sessions.get(&SessionId::new(id)).map_or(0, |session| session.live.len() as u64);
            ensure!(live == self.live(|p| p.session == session), "session {id} counts {live} live handles");
            let runs = |p: &&Process| p.session == session && p.state == State::Live;
            let runs = self.processes.iter().filter(runs).count();
            let listed = registry.clone().list(ostler_messages::List {
                call: CallId(0),
                session_id: Some(SessionId::new(id)),
                finished: false,
                labels: Default::default(),
            });
            let surveyed = match &listed[..] {
                [Effect::Reply(_, Ok(Answer::Listed(_)))] => 0,
                [Effect::Survey { ns, .. }] => ns.len(),
                _ => return Err(format!("session {id} is listed as {listed:?}")),
            };
            ensure!(surveyed == runs, "session {id} lists {surveyed} of {runs}");
        }
        ensure!(registry.finished.len() as u64 <= replay_results, "more is stored than allowed");
        let unread =
            self.processes.iter().filter(|p| p.state == State::Stopped && p.is_unread()).count() as u64;
        ensure!(
            registry.handles.len() as u64 == registry.live + registry.finished.len() as u64 + unread,
            "a handle is kept for nothing, or forgotten while it is unread"
        );
        ensure!(registry.waits.len() == self.waits.len(), "{} waits are known", registry.waits.len());
        for (call, heard) in &self.waits {
            let (Ask::Wait(n), false) = (asks[*call], *heard) else { continue };
            let ended = self.processes[usize::try_from(n).unwrap() - 1].result.is_some();
            ensure!(!ended, "a wait does not hear of the end");
        }
        for (call, timer) in (0..).zip(&self.timers) {
            let timed = registry.timed.contains_key(&CallId(call));
            ensure!(
                self.over || timed == (*timer == Timer::Armed),
                "call {call}: timer {timer:?}, timed {timed}"
            );
        }
        for (n, process) in (1_u64..).zip(&self.processes) {
            let results = process.delivered + process.leased;
            ensure!(results == u8::from(process.result.is_some()), "process {n} has {results} results");
            ensure!(process.removed == (process.state == State::Stopped), "process {n}: wrongly removed");
            let waits = registry.handles.get(&n).map_or(0, |handle| handle.waiting.len());
            let may_wait = matches!(process.state, State::Live | State::Kept);
            ensure!(waits == 0 || may_wait, "process {n} is over, and calls wait for it");
        }
        Ok(())
    }

    /// When nothing can happen any more but new requests.
    pub(super) fn quiet(&self, asks: &[Ask]) -> Result<(), String> {
        for (call, stands) in self.calls.iter().enumerate() {
            // Whoever sleeps wakes when the graph has ended: its end is the answer.
            let wakes = self.over && asks[call] == Ask::Sleep;
            ensure!(wakes || *stands != Call::Waits, "call {call} is never answered");
        }
        ensure!(self.processes.iter().all(|p| p.launched == p.result.is_some()), "a result is missing");
        ensure!(self.registry.live == 0, "handles are counted that are over");
        ensure!(self.over || self.registry.timed.is_empty(), "calls are timed that nobody waits for");
        ensure!(!self.host_gone || self.over, "the host is gone, and the graph lives on");
        Ok(())
    }
}

pub(super) fn at(id: &SessionId) -> usize {
    SESSIONS.iter().position(|session| *session == id.as_str()).unwrap()
}

pub(super) fn request(session: usize, key: Option<&str>) -> Arc<LaunchRequest> {
    let mut request = LaunchRequest::new(SessionId::new(SESSIONS[session]), Text::from("true"));
    request.launch_key = key.map(str::to_owned);
    Arc::new(request)
}

pub(super) fn closed() -> LaunchError {
    LaunchError::SessionClosed { session_id: String::new() }
}

pub(super) fn record(n: u64, session: usize, status: Status) -> Shared {
    let command_id = CommandId { host_pid: HOST_PID, unix_ns: 0, n };
    let handle_id = HandleId { host_pid: HOST_PID, n };
    Record::new(SessionId::new(SESSIONS[session]), command_id, handle_id).with_status(status).into()
}
