//! A random run on real processes: hundreds of handles that end in the same moments as cancels, deadlines, idle times, the ends of
//! their sessions and of the host's use of the graph. Each result comes exactly once, over answers and inboxes, and nobody of
//! any tree lives on: this process is the reaper of every orphan, and looks for each that has the run's mark.
//!
//! `OSTLER_TESTS_SEED` chooses another run; it is printed with a failure.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{Command, Containment, Filter, Handle, HandleId, LeftoversPolicy, Session, Status};
use ostler_tests::{Bench, Dice, fixture, has_tier, in_every_tier, marked, ms, seed_or};
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

const HANDLES: u64 = 300;
const SESSIONS: u64 = 4;
/// Everything happens within about so many milliseconds of each handle's launch.
const SPAN_MS: u64 = 60;

/// `kinds`: how many of them, the last of which escapes its session.
fn command(dice: &mut Dice, mark: &str, kinds: u64) -> Command {
    let seconds = |dice: &mut Dice| format!("0.0{:02}", dice.below(SPAN_MS));
    let own = seconds(dice);
    let marked = |script: String| Command::new("/bin/sh").args(["-c", script.as_str(), mark]);
    let command = match dice.below(kinds) {
        0 => marked(format!("sleep {own}; exit 3")),
        // A child that outlives its leader, and holds its pipes.
        1 => marked(format!("sh -c 'sleep 1000; :' {mark} & sleep {own}")),
        3 => marked(format!("trap '' TERM; sleep {own}; sleep {own}")),
        4 => marked(format!("trap 'echo cleaned; exit 7' TERM; sleep {own} & wait; echo ended")),
        5 => Command::new(fixture!("flood")).arg((64 << 10).to_string()),
        2 => marked("kill -9 $$".to_owned()),
        _ => marked(format!("setsid sh -c 'sleep 1000; :' {mark} >/dev/null 2>&1 & sleep {own}")),
    };
    let command =
        command.grace(dice.ms(SPAN_MS)).drain_grace(dice.ms(SPAN_MS)).leftovers_grace(dice.ms(SPAN_MS));
    let limit = dice.ms(SPAN_MS) + ms(1);
    match dice.below(6) {
        0 => command.timeout(limit),
        1 => command.idle_timeout(limit),
        2 => command.leftovers(LeftoversPolicy::Keep),
        _ => command,
    }
}

#[derive(Default)]
struct Seen {
    launched: BTreeMap<HandleId, Status>,
    /// How often each result came: as the answer to its only cancel, and from an inbox.
    answered: BTreeMap<HandleId, u64>,
    read: BTreeMap<HandleId, u64>,
}

fn read(session: &Session, seen: &Mutex<Seen>, wait: Duration) -> usize {
    let entries = session.inbox().receive(Filter::results(), 16, wait).wait().unwrap();
    for entry in &entries {
        let record = entry.record().unwrap();
        assert_ne!(record.status, Status::Running);
        let mut seen = seen.lock().unwrap();
        *seen.read.entry(record.handle_id).or_default() += 1;
        seen.launched.insert(record.handle_id, record.status);
    }
    entries.len()
}

fn each_result_comes_once_and_nobody_survives_whatever_ends_when() {
    let mut bench = Bench::new();
    bench.has_escapees();
    let mark = bench.path("mark").to_str().unwrap().to_owned();
    let (seed, seen) = (seed_or(0x5EED), Mutex::new(Seen::default()));
    // In the tier `group` nothing is promised about what escapes. (Which tier it is only this thread knows.)
    let kinds = if has_tier(Containment::Group) { 6 } else { 7 };
    std::thread::scope(|scope| {
        for thread in 0..SESSIONS {
            let session = bench.ostler().open_session().wait().unwrap();
            let (bench, seen, mark) = (&bench, &seen, &mark);
            scope.spawn(move || {
                let mut dice = Dice::new(seed + thread * 7_919 + 1);
                let mut handles: Vec<Handle> = Vec::new();
                for _ in 0..HANDLES / SESSIONS {
                    let handle = session.launch(command(&mut dice, mark, kinds)).wait().unwrap();
                    seen.lock().unwrap().launched.insert(handle.id(), Status::Running);
                    handles.push(handle);
                    if dice.below(3) == 0 {
                        bench.ostler().sleep(ms(dice.below(SPAN_MS / 4))).wait().unwrap();
                    }
                    if dice.below(3) == 0 {
                        let at = dice.below(handles.len() as u64) as usize;
                        let handle = handles.swap_remove(at);
                        let answer = match handle.cancel().wait() {
                            Ok(answer) => answer,
                            // Its record is not kept any more.
                            Err(ostler::Error::Call(_)) => continue,
                            Err(error) => panic!("{error}"),
                        };
                        if answer.taken {
                            let mut seen = seen.lock().unwrap();
                            *seen.answered.entry(handle.id()).or_default() += 1;
                            seen.launched.insert(handle.id(), answer.record.status);
                        }
                    }
                    if dice.below(4) == 0 {
                        read(&session, seen, Duration::ZERO);
                    }
                }
                // With whatever is running still.
                let tally = session.end().wait().unwrap();
                assert_eq!(tally.survivors, 0, "{tally:?}");
                while read(&session, seen, Duration::ZERO) > 0 {}
            });
        }
    });
    let Seen { launched, answered, read } = seen.into_inner().unwrap();
    assert_eq!(launched.len() as u64, HANDLES);
    for (id, status) in launched {
        let (answers, reads) = (answered.get(&id).copied(), read.get(&id).copied());
        let times = answers.unwrap_or(0) + reads.unwrap_or(0);
        assert_eq!(times, 1, "seed {seed}: {id} ({status:?}): {answers:?} answers, {reads:?} entries");
    }
    assert_eq!(marked(&mark), [0; 0], "seed {seed}");
}

in_every_tier!(each_result_comes_once_and_nobody_survives_whatever_ends_when);
