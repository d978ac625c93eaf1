//! Random lives of a scripted host: it crashes at any moment, its journal is late, fails and works again, and it goes on with the same
//! journal. In each of thousands of worlds, over all of its lives: every handle that it knew has a result, which comes again only after a
//! crash and says so; what it has acknowledged never comes again; a number is never given twice; a launch key finds its command.
//!
//! `OSTLER_TESTS_SEED` chooses the first world, `OSTLER_TESTS_WORLDS` how many; a failure prints the seed of its world.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    Call, Cancelled, Config, Entry, Error, Filter, HandleId, Inbox, Journal, LaunchError, Ostler, Session,
    Status, TraceLog, TraceTo,
    testing::{
        SPAN_MS, World, random_command as command, random_fault as fault, random_program as program,
        start_with_faults,
    },
};
use ostler_tests::{
    Dice, ms, seed_or,
    worlds::{HANDLES, try_out},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const WORLDS: u64 = 300;
const STEPS: u64 = HANDLES * 4;
const SESSIONS: [&str; 2] = ["a", "b"];

/// What the host knows over all of its lives.
#[derive(Default)]
struct Memory {
    /// Handles that it was given, with the life in which.
    launched: BTreeMap<HandleId, u64>,
    /// In which life each result came, the first and the last time.
    results: BTreeMap<HandleId, (u64, u64)>,
    /// What stood under a number: session, number.
    numbers: BTreeMap<(String, u64), (String, Option<HandleId>)>,
    /// Numbers that it has acknowledged, and heard that this is so.
    acknowledged: BTreeSet<(String, u64)>,
    keys: BTreeMap<(String, String), HandleId>,
    notes: BTreeMap<(String, u64), u64>,
}

struct Life {
    number: u64,
    ostler: Ostler,
    sessions: Vec<Session>,
    readers: Vec<Inbox>,
    /// Calls that nobody waits for yet: what is leased to them is theirs until the crash.
    open: Vec<Call<Cancelled>>,
    log: TraceLog,
}

impl Life {
    fn begin(dice: &mut Dice, world: &World, number: u64) -> Life {
        let log = TraceLog::default();
        let config = Config::new().trace(TraceTo::Memory(log.clone())).journal(Journal::named("agent"));
        let faults = (0..dice.below(2)).map(|_| fault(dice, 1)).collect();
        let ostler = start_with_faults(config, Some(world), faults).unwrap();
        let sessions: Vec<Session> =
            SESSIONS.iter().map(|id| ostler.open_session_as(*id).wait().unwrap()).collect();
        for session in &sessions {
            assert_eq!(session.is_recovered(), number > 1, "{}", session.id());
        }
        let readers = sessions.iter().map(Session::inbox).collect();
        Life { number, ostler, sessions, readers, open: Vec::new(), log }
    }
}

impl Memory {
    fn entry(&mut self, life: u64, entry: &Entry) {
        let key = (entry.session_id.to_string(), entry.sequence);
        let handle_id = entry.record().map(|record| record.handle_id);
        let what = (entry.kind.to_string(), handle_id);
        let before = self.numbers.insert(key.clone(), what.clone());
        assert!(before.is_none_or(|before| before == what), "{key:?} is given twice: {what:?}");
        assert!(!self.acknowledged.contains(&key), "{key:?} was acknowledged");
        if entry.is_result() {
            self.result(life, handle_id.unwrap(), entry.redelivered);
        }
    }
    fn result(&mut self, life: u64, handle_id: HandleId, redelivered: bool) {
        let (first, last) = *self.results.entry(handle_id).or_insert((life, 0));
        assert_ne!(last, life, "{handle_id} has a second result in one life");
        assert!(first == life || redelivered, "{handle_id} comes again and does not say so");
        self.results.insert(handle_id, (first, life));
    }
}

/// All that becomes of one host.
fn live(seed: u64) {
    let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let world = World::new();
    for name in 0..4 {
        world.program(name.to_string(), program(&mut dice));
    }
    if dice.one_in(2) {
        world.journal_takes(dice.one_of(&[ms(1), ms(40), ms(900)]));
    }
    let mut memory = Memory::default();
    let lives = 1 + dice.below(4);
    let mut last = None;
    for number in 1..=lives {
        let mut life = Life::begin(&mut dice, &world, number);
        for _ in 0..dice.below(STEPS) {
            step(&mut dice, &world, &mut life, &mut memory);
        }
        if number == lives {
            last = Some(life);
            break;
        }
        // What happens while it can't be written does not survive; so it crashes when it can.
        world.journal_works();
        world.journal_takes(dice.one_of(&[Duration::ZERO, ms(3), ms(700)]));
        for _ in 0..200 {
            if life.ostler.health().journal_error.is_none() {
                break;
            }
            world.advance(ms(500));
        }
        let health = life.ostler.health().journal_error;
        assert_eq!(health, None, "seed {seed}: it can be written for 100 s\n{}", life.log.text());
        world.crash();
        assert_eq!(life.ostler.sleep(ms(1)).wait(), Err(Error::Closed));
    }
    let Life { number, ostler, sessions, readers, open, log } = last.unwrap();
    drop((readers, open));
    for session in &sessions {
        session.end().wait().unwrap();
        for entry in session.inbox().drain().wait().unwrap() {
            memory.entry(number, &entry);
        }
    }
    ostler.shutdown().wait().unwrap();
    drop((ostler, sessions));
    // The last life alone, without what the ones before have left on a disk.
    let replayed = ostler::trace::replay_text(&log.text()).unwrap();
    assert!(replayed.is_identical(), "seed {seed}: {replayed}");
    for (handle_id, begun) in &memory.launched {
        let came = memory.results.contains_key(handle_id);
        assert!(
            came,
            "seed {seed}: no result of {handle_id}, launched in life {begun} of {lives}\n{}",
            log.text()
        );
    }
}

fn step(dice: &mut Dice, world: &World, life: &mut Life, memory: &mut Memory) {
    let at = dice.below(2) as usize;
    let (session, reader, id) = (&life.sessions[at], &life.readers[at], SESSIONS[at].to_owned());
    match dice.below(12) {
        0..3 => {
            let name = dice.below(4);
            let mut command = command(dice, name);
            let key = dice.one_in(3).then(|| format!("key {name}"));
            if let Some(key) = &key {
                command = ostler::Command::new(name.to_string()).launch_key(key);
            }
            match session.launch(command).wait() {
                Ok(handle) => {
                    memory.launched.insert(handle.id(), life.number);
                    if let Some(key) = key {
                        let known = memory.keys.insert((id, key), handle.id());
                        assert!(known.is_none_or(|known| known == handle.id()), "a key names two commands");
                    }
                }
                Err(Error::Launch(LaunchError::LaunchKeyReused { .. })) => panic!("it is the same request"),
                Err(_) => {}
            }
        }
        3 | 4 => {
            let Some(handle_id) = pick(dice, &memory.launched) else { return };
            let Ok(handle) = session.handle(handle_id).wait() else { return };
            if dice.one_in(4) {
                life.open.push(handle.cancel().begin());
                return;
            }
            let call = if dice.one_in(2) { handle.cancel() } else { handle.cancel_within(dice.ms(SPAN_MS)) };
            if let Some(Ok(answer)) = try_out(dice, 2, call)
                && answer.taken
                && answer.record.status != Status::Running
            {
                memory.result(life.number, handle_id, false);
            }
        }
        5 => {
            let Some(handle_id) = pick(dice, &memory.launched) else { return };
            let Ok(handle) = session.handle(handle_id).wait() else { return };
            // What was kept of its first result is not given as a second one.
            let call = handle.result_within(dice.ms(SPAN_MS));
            if let Some(Ok(ended)) = try_out(dice, 2, call)
                && ended.is_some_and(|ended| ended.taken)
            {
                let again = memory.results.get(&handle_id).is_some_and(|(first, _)| *first < life.number);
                memory.result(life.number, handle_id, again);
            }
        }
        6 => {
            let inbox = session.inbox();
            let call = match dice.one_in(2) {
                true => inbox.drain(),
                false => inbox.receive(Filter::any(), 3, dice.ms(SPAN_MS / 4)),
            };
            for entry in try_out(dice, 2, call).into_iter().flatten().flatten() {
                memory.entry(life.number, &entry);
            }
        }
        7 => {
            // Each entry is acknowledged, so that none is counted again when its reader's time is up.
            for entry in reader.read(Filter::any(), 3).wait().unwrap() {
                memory.entry(life.number, &entry);
                reader.acknowledge_these(&[entry.sequence]).wait().unwrap();
                memory.acknowledged.insert((id.clone(), entry.sequence));
            }
        }
        8 => {
            let n = dice.below(1_000);
            if let Some(Ok(sequence)) = try_out(dice, 2, session.inbox().push("note", "host", n.into())) {
                memory.notes.insert((id, sequence), n);
            }
        }
        9 if dice.one_in(4) => world.journal_fails("the disk is full"),
        9 => world.journal_works(),
        10 if dice.one_in(6) => world.journal_takes(dice.one_of(&[ms(0), ms(20), ms(6_000), ms(30_000)])),
        _ => world.advance(dice.ms(SPAN_MS / 2)),
    }
}

fn pick(dice: &mut Dice, of: &BTreeMap<HandleId, u64>) -> Option<HandleId> {
    let at = dice.below(of.len().max(1) as u64) as usize;
    of.keys().nth(at).copied()
}

#[test]
fn over_all_lives_of_a_host_no_result_is_lost_and_none_comes_again_unsaid() {
    let worlds = std::env::var("OSTLER_TESTS_WORLDS").map_or(WORLDS, |worlds| worlds.parse().unwrap());
    let first = seed_or(1);
    for seed in first..first + worlds {
        live(seed);
    }
}
