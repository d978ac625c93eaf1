//! Everything that can happen to a few writes, in every order.

use super::*;
use crate::{
    config::Limits,
    core::explore::{Space, explore},
};
use ostler_messages::{CommandId, Record, Stdin};

const HOST_PID: u32 = 7;
const N: u64 = 1;
/// Two of them are too much.
const BIG: u64 = INPUT_MAX_BYTES - 10;

/// What a host asks, each at most once, in any order; its place is its call's number.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Write {
        bytes: u64,
        id: Option<&'static str>,
        wait_ms: Option<u64>,
    },
    Close,
    /// It is gone.
    Drop(usize),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Asks(usize),
    /// Half of the write at the front is taken.
    Half,
    /// All of it.
    Whole,
    /// Nobody reads any more.
    Breaks,
    TimeUp(usize),
    Finished,
    Released,
}

#[derive(Clone, Debug)]
struct Model {
    registry: Registry,
    /// Of each call the answer, if it was asked; a call that is gone gets none.
    asked: Vec<bool>,
    gone: Vec<bool>,
    answers: Vec<Option<Result<Answer, Refusal>>>,
    armed: Vec<bool>,
    /// In the kernel: the call and what is still to be taken.
    queue: VecDeque<(CallId, u64, u64)>,
    closed: bool,
    /// Which writes were fed.
    fed: Vec<u8>,
    over: bool,
    kept: bool,
}

struct Plan(Vec<Ask>);

fn handle_id() -> HandleId {
    HandleId { host_pid: HOST_PID, n: N }
}

fn live() -> Registry {
    let mut registry = Registry::new(Limits::default(), HOST_PID);
    registry.open(CallId(99), Some(SessionId::new("s")));
    let mut request = LaunchRequest::new(SessionId::new("s"), "p");
    request.stdin = Stdin::Open;
    registry.launch(CallId(99), request.into(), None, || N);
    registry.launched(N, record(Status::Running), None);
    registry
}
fn record(status: Status) -> Shared {
    let command_id = CommandId { host_pid: HOST_PID, unix_ns: 0, n: N };
    let mut record = Record::new(SessionId::new("s"), command_id, handle_id());
    record.status = status;
    record.into()
}

impl Plan {
    fn begin(&self) -> Model {
        let count = self.0.len();
        Model {
            registry: live(),
            asked: vec![false; count],
            gone: vec![false; count],
            answers: vec![None; count],
            armed: vec![false; count],
            queue: VecDeque::new(),
            closed: false,
            fed: vec![0; count],
            over: false,
            kept: false,
        }
    }

    fn ask(&self, state: &mut Model, at: usize) -> Effects {
        state.asked[at] = true;
        let call = CallId(at as u64);
        match self.0[at] {
            Ask::Write { bytes, id, wait_ms } => state.registry.write(Write {
                call,
                handle_id: handle_id(),
                bytes: vec![0; bytes as usize].into(),
                write_id: id.map(str::to_owned),
                wait_ms,
            }),
            Ask::Close => state.registry.close_stdin(CloseStdin { call, handle_id: handle_id() }),
            Ask::Drop(of) => {
                state.gone[of] = true;
                state.registry.nack(CallId(of as u64))
            }
        }
    }

    fn happen(&self, state: &mut Model, step: Step) -> Effects {
        let fed = |call, taken, dropped, ended, refused| Fed { n: N, call, taken, dropped, ended, refused };
        match step {
            Step::Asks(at) => self.ask(state, at),
            Step::Half => {
                let Some((call, taken, bytes)) = state.queue.front_mut() else { return Vec::new() };
                *taken += (*bytes - *taken) / 2;
                let fed = fed(*call, *taken, 0, false, false);
                state.registry.fed(&fed)
            }
            Step::Whole => {
                let Some((call, _, bytes)) = state.queue.pop_front() else { return Vec::new() };
                state.registry.fed(&fed(call, bytes, 0, true, false))
            }
            Step::Breaks => {
                state.closed = true;
                let mut effects = Effects::new();
                for (at, (call, taken, bytes)) in std::mem::take(&mut state.queue).into_iter().enumerate() {
                    let refused = at == 0 && taken == 0;
                    effects.extend(state.registry.fed(&fed(call, taken, bytes - taken, true, refused)));
                }
                state.registry.input_ended(N);
                effects
            }
            Step::TimeUp(at) => {
                state.armed[at] = false;
                state.registry.call_timed_out(CallId(at as u64))
            }
            Step::Finished => {
                (state.over, state.kept) = (!state.kept, false);
                state.registry.finished(N, record(Status::Completed), false)
            }
            Step::Released => {
                state.kept = true;
                state.registry.finished(N, record(Status::Completed), true)
            }
        }
    }

    fn witness(&self, state: &mut Model, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Feed { call, bytes, .. } => {
                let at = call.0 as usize;
                state.fed[at] += 1;
                if state.closed || state.over {
                    state.queue.clear();
                    return Err("fed after its end".into());
                }
                state.queue.push_back((*call, 0, bytes.size()));
                let queued: u64 = state.queue.iter().map(|(_, taken, bytes)| bytes - taken).sum();
                if queued > INPUT_MAX_BYTES {
                    return Err(format!("{queued} bytes are queued"));
                }
            }
            Effect::EndInput { .. } => state.closed = true,
            Effect::ArmCall { call, .. } => state.armed[call.0 as usize] = true,
            Effect::DisarmCall(call) => state.armed[call.0 as usize] = false,
            Effect::Reply(call, answer) if call.0 < 99 => {
                let at = call.0 as usize;
                if state.gone[at] || state.answers[at].is_some() {
                    return Err(format!("{call:?} was answered twice, or after it was gone"));
                }
                if let (Ok(Answer::Written { taken, queued, dropped }), Ask::Write { bytes, .. }) =
                    (answer, self.0[at])
                    && taken + queued + dropped != bytes
                {
                    return Err(format!("{answer:?} does not add up to {bytes}"));
                }
                state.answers[at] = Some(answer.clone());
            }
            _ => {}
        }
        Ok(())
    }
}

impl Space for Plan {
    type State = Model;
    type Step = Step;
    type Key = String;

    fn key(&self, state: &Model) -> String {
        format!("{state:?}")
    }

    fn steps(&self, state: &Model) -> Vec<Step> {
        let mut steps = Vec::new();
        let may = |at: &usize| match self.0[*at] {
            Ask::Drop(of) => state.asked[of] && state.answers[of].is_none(),
            _ => true,
        };
        steps.extend((0..self.0.len()).filter(|at| !state.asked[*at]).filter(may).map(Step::Asks));
        steps.extend((0..self.0.len()).filter(|at| state.armed[*at]).map(Step::TimeUp));
        if !state.queue.is_empty() {
            steps.push(Step::Whole);
            if state.queue.front().is_some_and(|(_, taken, _)| *taken == 0) {
                steps.push(Step::Half);
            }
        }
        if !state.over {
            steps.push(Step::Finished);
            if !state.kept {
                steps.push(Step::Released);
            }
            if !state.closed || !state.queue.is_empty() {
                steps.push(Step::Breaks);
            }
        }
        steps
    }

    fn take(&mut self, before: &Model, step: Step) -> Result<Model, String> {
        let mut state = before.clone();
        let was_kept = state.kept;
        let mut effects = self.happen(&mut state, step);
        if let (Step::Finished, true) = (step, was_kept) {
            state.over = true;
            effects = state.registry.released(N, None);
        }
        effects.iter().try_for_each(|effect| self.witness(&mut state, effect))?;
        if state.over {
            state.queue.clear();
        }
        Ok(state)
    }

    fn rests(&self, state: &Model) -> Result<(), String> {
        let twins = |id: &str| {
            let of = |(_, ask): &(usize, &Ask)| matches!(ask, Ask::Write { id: Some(own), .. } if *own == id);
            self.0.iter().enumerate().filter(of).map(|(at, _)| at).collect::<Vec<_>>()
        };
        if twins("a").iter().map(|at| state.fed[*at]).sum::<u8>() > 1 {
            return Err("one id was written twice".into());
        }
        let waits = |at: &usize| state.asked[*at] && !state.gone[*at] && state.answers[*at].is_none();
        let waiting =
            (0..self.0.len()).filter(|at| matches!(self.0[*at], Ask::Write { .. })).filter(waits).count();
        if state.over && waiting > 0 {
            return Err("a call waits for what has ended".into());
        }
        if state.queue.is_empty() && waiting > 0 {
            return Err("a call waits for nothing".into());
        }
        if state.over && !(state.registry.waiting.is_empty() && state.registry.timed.is_empty()) {
            return Err("something is left".into());
        }
        Ok(())
    }

    fn tell(&self, state: &Model, step: Step) -> String {
        format!("{step:?} → {:?}", self.happen(&mut state.clone(), step))
    }
}

#[test]
fn whatever_happens_each_write_is_answered_once_and_adds_up() {
    let write = |bytes, wait_ms| Ask::Write { bytes, id: None, wait_ms };
    let asks = vec![write(BIG, Some(5)), write(20, None), Ask::Close, Ask::Drop(1), write(3, None)];
    let plan = &mut Plan(asks);
    let first = plan.begin();
    assert!(explore(plan, &first) > 500);
}

#[test]
fn one_id_is_written_once_and_all_who_come_with_it_hear_the_same() {
    let once = |wait_ms| Ask::Write { bytes: 20, id: Some("a"), wait_ms };
    let plan = &mut Plan(vec![once(None), once(Some(5)), once(None), Ask::Drop(0), Ask::Close]);
    let first = plan.begin();
    assert!(explore(plan, &first) > 300);
}

fn ask(registry: &mut Registry, call: u64, bytes: Vec<u8>, id: Option<String>) -> Effects {
    let (call, handle_id) = (CallId(call), handle_id());
    registry.write(Write { call, handle_id, bytes: bytes.into(), write_id: id, wait_ms: None })
}
fn refused(effects: Effects) -> CallError {
    match effects.as_slice() {
        [Effect::Reply(_, Err(Refusal::Call(error)))] => error.clone(),
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[test]
fn an_id_is_remembered_until_so_many_others_have_come_and_never_forgotten_while_it_is_queued() {
    let mut registry = live();
    assert_eq!(ask(&mut registry, 0, vec![1], Some("queued".into())).len(), 1);
    for call in 1..=2 * WRITE_IDS as u64 {
        ask(&mut registry, call, vec![1], Some(call.to_string()));
        let (n, call) = (N, CallId(call));
        registry.fed(&Fed { n, call, taken: 1, dropped: 0, ended: true, refused: false });
    }
    assert_eq!(ask(&mut registry, 1_000, vec![1], Some("queued".into())), [], "it waits for the first");
    let last = ask(&mut registry, 1_001, vec![1], Some((2 * WRITE_IDS).to_string()));
    assert!(matches!(last.as_slice(), [Effect::Reply(_, Ok(Answer::Written { taken: 1, .. }))]), "{last:?}");
    assert!(matches!(ask(&mut registry, 1_002, vec![1], Some("1".into()))[0], Effect::Feed { .. }));
    let other = refused(ask(&mut registry, 1_003, vec![2], Some("queued".into())));
    assert_eq!(other, CallError::WriteIdReused { write_id: "queued".into() });
    let long = refused(ask(&mut registry, 1_004, vec![2], Some("x".repeat(257))));
    assert_eq!(long, CallError::WriteIdLength { bytes: 257, limit: 256 });
}

#[test]
fn many_small_writes_are_too_much_as_well() {
    let mut registry = live();
    for call in 0..INPUT_MAX_WRITES {
        assert_eq!(ask(&mut registry, call, vec![1], None).len(), 1);
    }
    let full = refused(ask(&mut registry, 5_000, vec![1], None));
    assert!(matches!(full, CallError::InputFull { queued: 1_024, writes: 1_024, .. }), "{full:?}");
}
