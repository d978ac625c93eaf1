//! Lets everything happen to a [`Registry`] that can, in every order, within plans that are small enough to be walked to
//! their ends. A rule that is broken shows the shortest way to it.

#[path = "walk_answers.rs"]
mod answers;
#[path = "walk_model.rs"]
mod model;
#[path = "stories.rs"]
mod stories;

use super::{
    super::explore::{Space, explore},
    Effects, Registry,
};
use crate::config::Limits;
use answers::text_hash;
use model::{Ask, Call, HOST_PID, Model, Queue, SESSIONS, State, Timer, closed, ensure, record, request};
use ostler_messages::{CallId, Cancel, HandleId, LaunchError, SessionId, Status, WaitFor};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone, Copy, Debug)]
enum Step {
    Asks(usize),
    Launched(u64),
    /// Undone, if the session ends; otherwise refused by the kernel.
    LaunchFailed(u64),
    Finished(u64, Status, bool),
    Released(u64),
    /// Its result is read, or discarded.
    Gone(u64),
    /// To whom of those that wait for it.
    Reported(u64),
    /// A wait is answered, or its actor crashes.
    WaitOver(usize),
    WaitCrashes(usize),
    Crashes(u64),
    QueueClosed(usize),
    /// Asked for at the end of a shutdown.
    Discarded,
    TimerFires(usize),
}

/// What may happen in one walk.
struct Plan {
    asks: Vec<Ask>,
    limits: Limits,
    crashes: bool,
    keeps: bool,
    /// Results are read.
    reads: bool,
}

fn limits() -> Limits {
    Limits { handles: 2, session_handles: 2, replay_results: 1, unread_results: 9, ..Limits::default() }
}

impl Space for Plan {
    type State = Model;
    type Step = Step;
    type Key = u64;

    fn key(&self, state: &Model) -> u64 {
        text_hash(state)
    }

    fn steps(&self, state: &Model) -> Vec<Step> {
        let mut steps = Vec::new();
        if state.over {
            return steps;
        }
        for (n, process) in (1..).zip(&state.processes) {
            match process.state {
                State::Launching => steps.extend([Step::Launched(n), Step::LaunchFailed(n)]),
                // The one that takes over kills, and says that it is lost.
                State::Live if process.recovered => steps.push(Step::Finished(n, Status::Lost, false)),
                State::Live => {
                    steps.push(Step::Finished(n, Status::Completed, false));
                    let other = if process.stopped { Status::Killed } else { Status::TimedOut };
                    steps.push(Step::Finished(n, other, false));
                    if self.keeps && !process.stopped {
                        steps.push(Step::Finished(n, Status::Completed, true));
                    }
                }
                State::Kept => steps.push(Step::Released(n)),
                State::Stopped => {}
            }
            if self.reads && process.is_unread() && process.delivered + process.leased > 0 {
                steps.push(Step::Gone(n));
            }
            if self.crashes && process.state != State::Stopped {
                steps.push(Step::Crashes(n));
            }
        }
        steps.extend(state.reporting.iter().map(|call| Step::Reported(*call)));
        steps.extend(state.waits.keys().map(|call| Step::WaitOver(*call)));
        if self.crashes {
            steps.extend(state.waits.keys().map(|call| Step::WaitCrashes(*call)));
        }
        let closing = (0..SESSIONS.len()).filter(|session| state.queues[*session] == Queue::Closing);
        steps.extend(closing.map(Step::QueueClosed));
        steps.extend(state.discarding.then_some(Step::Discarded));
        let timed = (0..self.asks.len()).filter(|call| state.timers[*call] != Timer::No);
        steps.extend(timed.map(Step::TimerFires));
        let open = |call: &usize| match self.asks[*call] {
            _ if state.host_gone || state.calls[*call] != Call::Unasked => false,
            Ask::Nack { of } => state.calls[of] == Call::Waits,
            _ => true,
        };
        steps.extend((0..self.asks.len()).filter(open).map(Step::Asks));
        steps
    }

    fn take(&mut self, before: &Model, step: Step) -> Result<Model, String> {
        let mut state = before.clone();
        let effects = self.happen(&mut state, step);
        effects.iter().try_for_each(|effect| state.witness(effect, &self.asks))?;
        if let Step::Asks(call) = step {
            self.answered_rightly(before, call, &effects)?;
        }
        if let Step::Finished(n, status, _) = step {
            // Only what the callers asked: the registry is not asked about itself.
            let waits = |asks: &dyn Fn(Ask) -> bool| {
                (0..self.asks.len()).any(|call| asks(self.asks[call]) && before.calls[call] == Call::Waits)
            };
            let cancelled = waits(&|ask| matches!(ask, Ask::Cancel { n: of, .. } if of == n));
            let awaited = waits(&|ask| matches!(ask, Ask::Await { n: of, take: true, .. } if of == n));
            let leased = (awaited || (status == Status::Killed && cancelled))
                && !before.processes[n as usize - 1].notify;
            ensure!((state.process(n).leased == 1) == leased, "the result went to the wrong one");
        }
        Ok(state)
    }

    fn rests(&self, state: &Model) -> Result<(), String> {
        state.settle(self.limits.replay_results, &self.asks)?;
        let silent = self.steps(state).iter().all(|step| matches!(step, Step::Asks(_)));
        if silent { state.quiet(&self.asks) } else { Ok(()) }
    }

    fn tell(&self, state: &Model, step: Step) -> String {
        let effects = self.happen(&mut state.clone(), step);
        match step {
            Step::Asks(call) => format!("{:?} → {effects:?}", self.asks[call]),
            _ => format!("{step:?} → {effects:?}"),
        }
    }
}

impl Plan {
    fn of(asks: &[Ask]) -> Plan {
        Plan { asks: asks.to_vec(), limits: limits(), crashes: false, keeps: false, reads: true }
    }

    /// Returns how many states there were.
    fn walk(mut self) -> usize {
        let first = self.begin();
        explore(&mut self, &first)
    }

    fn begin(&self) -> Model {
        let mut registry = Registry::new(self.limits.clone(), HOST_PID);
        for id in SESSIONS {
            registry.open(CallId(0), Some(SessionId::new(id)));
        }
        Model {
            registry,
            calls: vec![Call::Unasked; self.asks.len()],
            timers: vec![Timer::No; self.asks.len()],
            processes: Vec::new(),
            queues: [Queue::Open; 2],
            ending: [false; 2],
            paused: false,
            discarding: false,
            host_gone: false,
            over: false,
            finished: Vec::new(),
            reporting: Vec::new(),
            waits: BTreeMap::new(),
        }
    }

    /// The step itself: the model's part of it, then the registry's.
    fn happen(&self, state: &mut Model, step: Step) -> Effects {
        match step {
            Step::Asks(call) => self.ask(state, call),
            Step::Launched(n) => {
                let process = state.process(n);
                (process.state, process.launched) = (State::Live, true);
                let session = process.session;
                state.registry.launched(n, record(n, session, Status::Running), None)
            }
            Step::LaunchFailed(n) => {
                state.process(n).state = State::Stopped;
                let undone = state.process(n).ending;
                state.registry.launch_failed(n, if undone { closed() } else { LaunchError::EmptyProgram })
            }
            Step::Finished(n, status, kept) => {
                let process = state.process(n);
                process.state = if kept { State::Kept } else { State::Stopped };
                (process.result, process.kept) = (Some(status), kept);
                let session = process.session;
                state.registry.finished(n, record(n, session, status), kept)
            }
            Step::Released(n) => {
                let process = state.process(n);
                process.state = State::Stopped;
                let gone = process.gone;
                state.finished.extend(gone.then_some(n));
                state.registry.released(n, None)
            }
            Step::Gone(n) => {
                let process = state.process(n);
                process.gone = true;
                let stopped = process.state == State::Stopped;
                state.finished.extend(stopped.then_some(n));
                state.registry.results_gone(&[HandleId { host_pid: HOST_PID, n }]);
                Effects::new()
            }
            Step::WaitOver(call) => {
                state.calls[call] = Call::Answered;
                state.registry.wait_over(CallId(call as u64))
            }
            Step::WaitCrashes(call) => state.registry.wait_down(CallId(call as u64)),
            Step::Reported(call) => {
                let at = state.reporting.iter().position(|waits| *waits == call).unwrap();
                state.reporting.remove(at);
                let (Ask::Await { n, .. } | Ask::Status(n)) = self.asks[usize::try_from(call).unwrap()]
                else {
                    panic!("call {call} asks for no report")
                };
                let session = state.process(n).session;
                state.registry.reported(CallId(call), record(n, session, Status::Running))
            }
            Step::Crashes(n) => {
                let process = state.process(n);
                if process.state != State::Live || process.recovered {
                    if process.state == State::Live {
                        process.result = Some(Status::Lost);
                    }
                    process.state = State::Stopped;
                    let gone = process.gone;
                    state.finished.extend(gone.then_some(n));
                }
                // What it was asked to tell is lost with it.
                let asks = |call: &u64| self.asks[usize::try_from(*call).unwrap()];
                state.reporting.retain(
                    |call| !matches!(asks(call), Ask::Await { n: of, .. } | Ask::Status(of) if of == n),
                );
                state.registry.down(n)
            }
            Step::QueueClosed(session) => {
                state.queues[session] = Queue::Closed;
                state.registry.queue_closed(SessionId::new(SESSIONS[session]), 0, false, None)
            }
            Step::Discarded => {
                state.discarding = false;
                state.registry.discarded(0)
            }
            Step::TimerFires(call) => {
                state.timers[call] = Timer::No;
                state.registry.call_timed_out(CallId(call as u64))
            }
        }
    }

    fn ask(&self, state: &mut Model, call: usize) -> Effects {
        let id = CallId(call as u64);
        let session = |at: usize| SessionId::new(SESSIONS[at]);
        state.calls[call] = Call::Waits;
        match self.asks[call] {
            Ask::Launch { session, key } => {
                let next_n = state.processes.len() as u64 + 1;
                state.registry.launch(id, request(session, key), None, || next_n)
            }
            Ask::Cancel { n, wait_ms, notify, lease_lost } => {
                let asked = usize::try_from(n - 1).ok().and_then(|at| state.processes.get_mut(at));
                if let Some(process) = asked.filter(|process| process.state == State::Live) {
                    process.notify |= notify;
                }
                state.registry.cancel(Cancel {
                    call: id,
                    handle_id: HandleId { host_pid: HOST_PID, n },
                    wait_ms,
                    notify_on_cancel: notify,
                    lease_lost,
                })
            }
            Ask::Await { n, wait_ms, take } => {
                state.registry.await_result(id, HandleId { host_pid: HOST_PID, n }, wait_ms, take)
            }
            Ask::Wait(n) => state.registry.wait_for(WaitFor {
                call: id,
                handle_id: HandleId { host_pid: HOST_PID, n },
                conditions: Arc::default(),
                timeout_ms: 9,
            }),
            Ask::Status(n) => state.registry.status(id, HandleId { host_pid: HOST_PID, n }, None),
            Ask::End(at) => {
                state.ending[at] = true;
                state.registry.end(id, &session(at), false)
            }
            Ask::Sleep => state.registry.sleep(id, 1),
            Ask::Shutdown => {
                state.ending = [true; 2];
                state.registry.shutdown(id)
            }
            Ask::Nack { of } => {
                state.calls[call] = Call::Gone;
                state.calls[of] = Call::Gone;
                state.registry.nack(CallId(of as u64))
            }
            // Callers hold the graph as well: the host is gone when the last of them has hung up.
            Ask::HostGone => {
                state.calls[call] = Call::Gone;
                let waits: Vec<_> =
                    (0..self.asks.len()).filter(|of| state.calls[*of] == Call::Waits).collect();
                let mut effects = Effects::new();
                for of in waits {
                    state.calls[of] = Call::Gone;
                    effects.extend(state.registry.nack(CallId(of as u64)));
                }
                state.host_gone = true;
                effects.extend(state.registry.host_gone());
                effects
            }
            Ask::Paused(paused) => {
                state.calls[call] = Call::Gone;
                state.paused = paused;
                state.registry.launches_paused(&session(0), paused);
                Effects::new()
            }
        }
    }
}

const LAUNCH: Ask = Ask::Launch { session: 0, key: None };
const LAUNCH_KEYED: Ask = Ask::Launch { session: 0, key: Some("key") };
const LAUNCH_ELSEWHERE: Ask = Ask::Launch { session: 1, key: Some("key") };
fn cancel(n: u64, wait_ms: Option<u64>, notify: bool) -> Ask {
    Ask::Cancel { n, wait_ms, notify, lease_lost: false }
}
fn revoke(n: u64) -> Ask {
    Ask::Cancel { n, wait_ms: None, notify: true, lease_lost: true }
}

// Each walk has exactly so many states: another number means that it goes other ways than before, and somebody has to say why.

#[test]
fn a_result_goes_to_those_who_cancelled_or_to_the_inbox() {
    let cancels = [cancel(1, None, false), cancel(1, Some(9), false), cancel(1, Some(0), false)];
    let asks = [LAUNCH, cancels[0], cancels[1], cancels[2], cancel(1, None, true), Ask::Nack { of: 1 }];
    assert_eq!(Plan { keeps: true, ..Plan::of(&asks) }.walk(), 808);
}

#[test]
fn a_result_of_what_was_revoked_goes_to_the_inbox_whoever_else_waits_for_it() {
    let await_result = Ask::Await { n: 1, wait_ms: Some(9), take: true };
    let asks = [LAUNCH, revoke(1), revoke(1), cancel(1, None, false), await_result, Ask::Nack { of: 1 }];
    assert_eq!(Plan { keeps: true, crashes: true, ..Plan::of(&asks) }.walk(), 2_082);
}

#[test]
fn a_result_is_taken_by_who_asks_for_it_by_its_handle() {
    let await_result = |wait_ms, take| Ask::Await { n: 1, wait_ms, take };
    let asks = [LAUNCH, await_result(None, true), await_result(Some(9), true), await_result(Some(9), false)];
    let others = [cancel(1, None, false), Ask::Status(1), Ask::Nack { of: 1 }];
    let asks = [&asks[..], &others[..]].concat();
    assert_eq!(Plan { keeps: true, crashes: true, ..Plan::of(&asks) }.walk(), 20_438);
}

#[test]
fn every_wait_hears_of_its_commands_end() {
    let asks =
        [LAUNCH, Ask::Wait(1), Ask::Wait(1), Ask::Nack { of: 1 }, cancel(1, Some(9), false), Ask::End(0)];
    assert_eq!(Plan { keeps: true, crashes: true, ..Plan::of(&asks) }.walk(), 2_280);
}

#[test]
fn the_same_key_never_starts_the_work_twice_while_its_record_is_kept() {
    let asks = [LAUNCH_KEYED, LAUNCH_KEYED, LAUNCH_ELSEWHERE, cancel(1, None, false), Ask::End(0)];
    assert_eq!(Plan::of(&asks).walk(), 6_557);
}

#[test]
fn a_session_ends_when_all_its_handles_have() {
    let asks = [LAUNCH, LAUNCH, LAUNCH_ELSEWHERE, Ask::End(0), Ask::End(0), Ask::Shutdown];
    assert_eq!(Plan { keeps: true, reads: false, ..Plan::of(&asks) }.walk(), 96_478);
}

#[test]
fn a_crash_costs_nobody_an_answer() {
    let asks = [LAUNCH, LAUNCH_ELSEWHERE, cancel(1, None, false), cancel(2, Some(9), true), Ask::Shutdown];
    assert_eq!(Plan { crashes: true, keeps: true, ..Plan::of(&asks) }.walk(), 68_150);
}

#[test]
fn a_host_that_is_gone_is_waited_for_by_nobody() {
    let calls = [cancel(1, None, false), Ask::Sleep, Ask::End(1), Ask::Shutdown, Ask::HostGone];
    let asks = [&[LAUNCH, LAUNCH_ELSEWHERE], &calls[..]].concat();
    assert_eq!(Plan { keeps: true, reads: false, ..Plan::of(&asks) }.walk(), 68_216);
}

#[test]
fn a_limit_is_told_by_its_name() {
    let launches = [LAUNCH, LAUNCH, LAUNCH_ELSEWHERE, LAUNCH_ELSEWHERE];
    let asks = [&launches[..], &[Ask::Paused(true), Ask::Paused(false)]].concat();
    let (session_handles, handles) = (limits().session_handles, limits().handles);
    for (limits, states) in [
        (Limits { session_handles: 1, handles, ..limits() }, 12_052),
        (Limits { session_handles, handles: 1, ..limits() }, 7_494),
    ] {
        assert_eq!(Plan { limits, reads: false, ..Plan::of(&asks) }.walk(), states);
    }
}
