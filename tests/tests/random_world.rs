//! A random scripted world: programs that do anything a program can, disks that are full or hang, actors that crash at any message,
//! calls that are dropped at any poll, hosts that read late. By chance, but the same for the same seed, to the byte of the trace.
//! In each of thousands of worlds: every handle has exactly one result over answers and inboxes, and everything ends.
//!
//! `OSTLER_TESTS_SEED` chooses the first world, `OSTLER_TESTS_WORLDS` how many; a failure prints the seed of its world.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    Config, Filter, Handle, HandleId, Session, Status, TraceLog, TraceTo, World, testing::start_with_faults,
};
use ostler_tests::{
    Dice, seed_or,
    worlds::{HANDLES, SPAN_MS, command, fault, program, try_out},
};
use std::collections::BTreeMap;

/// Worlds of one run.
const WORLDS: u64 = 2_000;
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
