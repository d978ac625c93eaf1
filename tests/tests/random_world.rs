//! A random scripted world: programs that do anything a program can, disks that are full or hang, actors that crash at any message,
//! calls that are dropped at any poll, hosts that read late. By chance, but the same for the same seed, to the byte of the trace.
//! In each of thousands of worlds: every handle has exactly one result over answers and inboxes, and everything ends.
//!
//! `OSTLER_TESTS_SEED` chooses the first world, `OSTLER_TESTS_WORLDS` how many; a failure prints the seed of its world.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    ActorName, Command, Config, Descendant, Error, Filter, Handle, HandleId, LeftoversPolicy, OnTerminate,
    Program, Session, Status, Stream, TraceLog, TraceTo, World,
    testing::{Fault, start_with_faults},
};
use ostler_tests::{Dice, ms, seed_or};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

/// Worlds of one run.
const WORLDS: u64 = 2_000;
/// Handles of one world, at most.
const HANDLES: u64 = 12;
/// Everything in it happens at times below this.
const SPAN_MS: u64 = 3_000;
/// Messages at which an actor of its kind may crash.
const PROCESS_MESSAGES: [&str; 9] =
    ["Exec", "Started", "Stop", "Drained", "TimerFired", "Exited", "TreeAlive", "TreeEmpty", "Sealed"];

fn reaction(dice: &mut Dice) -> OnTerminate {
    match dice.below(3) {
        0 => OnTerminate::Dies,
        1 => OnTerminate::Ignores,
        _ => OnTerminate::Exits { after: dice.ms(SPAN_MS), says: "bye\n".into(), code: 4 },
    }
}

fn program(dice: &mut Dice) -> Program {
    let mut program = Program::new().on_terminate(reaction(dice));
    for _ in 0..dice.below(4) {
        let text = "x".repeat(dice.below(200) as usize);
        program = match dice.below(3) {
            0 => program.stderr_at(dice.ms(SPAN_MS), text),
            1 => program.closes_at(dice.ms(SPAN_MS), dice.one_of(&Stream::BOTH)),
            _ => program.stdout_at(dice.ms(SPAN_MS), text),
        };
    }
    program = match dice.below(4) {
        0 => program.dies_at(dice.ms(SPAN_MS), "SIGSEGV"),
        1 => program,
        _ => program.exits_at(dice.ms(SPAN_MS), dice.below(3) as i32),
    };
    for _ in 0..dice.below(3) {
        let mut descendant = Descendant::new("child").on_terminate(reaction(dice));
        if dice.one_in(2) {
            descendant = descendant.holds_pipes();
        }
        if dice.one_in(2) {
            descendant = descendant.ends_at(dice.ms(SPAN_MS * 2));
        }
        program = program.descendant(descendant);
    }
    match dice.below(12) {
        0 => program.never_starts(),
        1 => program.starts_after(dice.ms(SPAN_MS)),
        2 => program.unkillable(),
        3 => program.exit_seen_late(dice.ms(SPAN_MS)),
        4 => program.disk_full_at(dice.below(100)),
        5 => program.disk_hangs(),
        6 => program.fails(ostler::LaunchError::TextBusy { path: "busy".into() }),
        _ => program,
    }
}

fn command(dice: &mut Dice, name: u64) -> Command {
    let mut command = Command::new(name.to_string()).grace(dice.ms(SPAN_MS)).drain_grace(dice.ms(300));
    command = command.leftovers_grace(dice.ms(500));
    if dice.one_in(3) {
        command = command.timeout(dice.ms(SPAN_MS) + ms(1));
    }
    if dice.one_in(3) {
        command = command.idle_timeout(dice.ms(SPAN_MS) + ms(1));
    }
    if dice.one_in(3) {
        command = command.progress(dice.ms(300) + ms(10));
    }
    if dice.one_in(4) {
        command = command.leftovers(LeftoversPolicy::Keep);
    }
    if dice.one_in(6) {
        command = command.output_limit(dice.below(100));
    }
    command
}

fn fault(dice: &mut Dice, first_n: u64) -> Fault {
    let n = first_n + dice.below(HANDLES);
    let (actor, message) = match dice.below(4) {
        0 => (ActorName::Drain(n, dice.one_of(&Stream::BOTH)), dice.one_of(&["EndOfStream", "CloseStream"])),
        1 => (ActorName::Ticker(n), "TimerFired"),
        _ => (ActorName::Process(n), dice.one_of(&PROCESS_MESSAGES)),
    };
    Fault { actor, message: message.to_owned() }
}

/// Sends a call, polls it so many times at most and then drops it; or waits for it. A host that has polled a call lets virtual time move
/// until it does something else, and how far that gets is not the same every time.
fn try_out<T>(dice: &mut Dice, polls: u64, call: ostler::Call<T>) -> Option<Result<T, Error>> {
    if !dice.one_in(4) {
        return Some(call.wait());
    }
    let mut call = pin!(call.begin().into_future());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..dice.below(3).min(polls) {
        if let std::task::Poll::Ready(answer) = call.as_mut().poll(&mut context) {
            return Some(answer);
        }
    }
    None
}

#[derive(Default)]
struct Counted {
    launched: BTreeMap<HandleId, Option<Status>>,
    results: BTreeMap<HandleId, u64>,
}
impl Counted {
    fn count(&mut self, record: &ostler::Record) {
        *self.results.entry(record.handle_id).or_default() += 1;
        self.launched.insert(record.handle_id, Some(record.status));
    }
    fn read(&mut self, dice: &mut Dice, polls: u64, session: &Session) {
        let inbox = session.inbox();
        let filter = if dice.one_in(2) { Filter::results() } else { Filter::any() };
        let max = 1 + dice.below(4) as usize;
        let call =
            if dice.one_in(3) { inbox.drain() } else { inbox.receive(filter, max, dice.ms(SPAN_MS / 4)) };
        for entry in try_out(dice, polls, call).into_iter().flatten().flatten() {
            if let Some(record) = entry.record().filter(|_| entry.is_result()) {
                self.count(record);
            }
        }
    }
}

/// One world, from its seed; its trace. Calls that are dropped were polled so often at most.
fn live(seed: u64, polls: u64) -> String {
    let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let world = World::new();
    for name in 0..4 {
        world.program(name.to_string(), program(&mut dice));
    }
    let log = TraceLog::default();
    let mut config = Config::new();
    config.trace = TraceTo::Memory(log.clone());
    if dice.one_in(2) {
        config.limits.results_with_text = dice.below(2);
    }
    let faults = (0..dice.below(4)).map(|_| fault(&mut dice, 1)).collect();
    let ostler = start_with_faults(config, Some(&world), faults).unwrap();
    let sessions: Vec<Session> = (0..2).map(|_| ostler.open_session().wait().unwrap()).collect();
    let (mut handles, mut counted): (Vec<Handle>, _) = (Vec::new(), Counted::default());
    for _ in 0..HANDLES * 3 {
        let session = &sessions[dice.below(2) as usize];
        match dice.below(6) {
            0 | 1 if (handles.len() as u64) < HANDLES => {
                let name = dice.below(4);
                let command = command(&mut dice, name);
                if let Ok(handle) = session.launch(command).wait() {
                    counted.launched.insert(handle.id(), None);
                    handles.push(handle);
                }
            }
            2 | 3 if !handles.is_empty() => {
                let handle = &handles[dice.below(handles.len() as u64) as usize];
                let call =
                    if dice.one_in(2) { handle.cancel() } else { handle.cancel_within(dice.ms(SPAN_MS)) };
                if let Some(Ok(answer)) = try_out(&mut dice, polls, call)
                    && answer.taken
                    && answer.record.status != Status::Running
                {
                    counted.count(&answer.record);
                }
            }
            4 => counted.read(&mut dice, polls, session),
            _ => world.advance(dice.ms(SPAN_MS / 2)),
        }
    }
    for session in &sessions {
        session.end().wait().unwrap();
        for entry in session.inbox().drain().wait().unwrap() {
            if let Some(record) = entry.record().filter(|_| entry.is_result()) {
                counted.count(record);
            }
        }
    }
    ostler.shutdown().wait().unwrap();
    for (id, status) in &counted.launched {
        let times = counted.results.get(id).copied().unwrap_or(0);
        assert_eq!(times, 1, "seed {seed}: results of {id} ({status:?})\n{}", log.text());
    }
    log.text()
}

#[test]
fn in_any_world_each_result_comes_once_and_everything_ends() {
    let worlds = std::env::var("OSTLER_TESTS_WORLDS").map_or(WORLDS, |worlds| worlds.parse().unwrap());
    let first = seed_or(1);
    for seed in first..first + worlds {
        live(seed, 2);
    }
}

#[test]
fn a_world_is_the_same_for_the_same_seed() {
    let first = seed_or(1);
    for seed in first..first + 100 {
        let (one, two) = (live(seed, 0), live(seed, 0));
        assert!(one == two, "seed {seed}: {:?}", one.lines().zip(two.lines()).find(|(one, two)| one != two));
    }
}
