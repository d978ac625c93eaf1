//! A random scripted world: programs that do anything a program can, disks that are full or hang, actors that crash at any message,
//! calls that are dropped at any poll, hosts that read late. By chance, but the same for the same seed, to the byte of the trace.
//! In each of thousands of worlds: every handle has exactly one result over answers and inboxes, and everything ends.
//!
//! `OSTLER_TESTS_SEED` chooses the first world, `OSTLER_TESTS_WORLDS` how many; a failure prints the seed of its world.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    Config, Filter, Handle, HandleId, Session, Status, TraceLog, TraceTo,
    testing::{Dice, SPAN_MS, World, random_world},
};
use ostler_tests::{
    seed_or,
    worlds::{HANDLES, try_out},
};
use std::{
    collections::BTreeMap,
    panic::{catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

/// Worlds of one run.
const WORLDS: u64 = 10_000;
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

/// One world, from its seed. Calls that are dropped were polled so often at most.
fn live(seed: u64, polls: u64) -> World {
    let mut random = random_world(seed);
    let log = TraceLog::default();
    let mut config = Config::new().trace(TraceTo::Memory(log.clone()));
    if random.dice.one_in(2) {
        config.limits.results_with_text = random.dice.below(2);
    }
    let ostler = random.start(config).unwrap();
    let world = random.world.clone();
    let sessions: Vec<Session> = (0..2).map(|_| ostler.open_session().wait().unwrap()).collect();
    let (mut handles, mut counted): (Vec<Handle>, _) = (Vec::new(), Counted::default());
    for _ in 0..HANDLES * 3 {
        let session = &sessions[random.dice.below(2) as usize];
        match random.dice.below(6) {
            0 | 1 if (handles.len() as u64) < HANDLES => {
                let command = random.command();
                if let Ok(handle) = session.launch(command).wait() {
                    counted.launched.insert(handle.id(), None);
                    handles.push(handle);
                }
            }
            2 | 3 if !handles.is_empty() => {
                let handle = &handles[random.dice.below(handles.len() as u64) as usize];
                let call = if random.dice.one_in(2) {
                    handle.cancel()
                } else {
                    handle.cancel_within(random.dice.ms(SPAN_MS))
                };
                if let Some(Ok(answer)) = try_out(&mut random.dice, polls, call)
                    && answer.taken
                    && answer.record.status != Status::Running
                {
                    counted.count(&answer.record);
                }
            }
            4 => counted.read(&mut random.dice, polls, session),
            _ => world.advance(random.dice.ms(SPAN_MS / 2)),
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
    let kept = world.check();
    assert!(kept.is_ok(), "seed {seed}: {kept:?}\n{}", world.story());
    for (id, status) in &counted.launched {
        let times = counted.results.get(id).copied().unwrap_or(0);
        assert_eq!(times, 1, "seed {seed}: results of {id} ({status:?})\n{}", world.story());
    }
    let replayed = ostler::trace::replay_text(&log.text()).unwrap();
    assert!(replayed.is_identical(), "seed {seed}: {replayed}");
    world
}

#[test]
fn in_any_world_each_result_comes_once_and_everything_ends() {
    let worlds = std::env::var("OSTLER_TESTS_WORLDS").map_or(WORLDS, |worlds| worlds.parse().unwrap());
    let first = seed_or(1);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            // Once one has failed the others end: it has said its seed.
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + worlds {
                        return;
                    }
                    if let Err(failure) = catch_unwind(|| live(seed, 2)) {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        resume_unwind(failure);
                    }
                }
            });
        }
    });
}

#[test]
fn a_world_is_the_same_for_the_same_seed() {
    let first = seed_or(1);
    for seed in first..first + 100 {
        let (one, two) = (live(seed, 1).story(), live(seed, 1).story());
        assert!(one == two, "seed {seed}: {:?}", one.lines().zip(two.lines()).find(|(one, two)| one != two));
    }
}
