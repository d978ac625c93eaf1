//! Walks through every order in which a host, two workers, their sentinels and the store can act, die and lose each other.
//!
//! What is decided is decided by the functions of [`crate::core`]; here stands only what calls them, as `remote` does with a real engine.
//!
//! * in: nothing
//! * out: how many states there are, of which each number is asserted
//! * keeps, in every state:
//!   1. a launch has at most one result, and it never changes;
//!   2. no launch is started twice, by whomever;
//!   3. nothing is started that this very attempt has not claimed;
//!   4. whoever says `lost` says it of a launch that no worker runs, or may still start, in a term that it holds; and what has a result is
//!      not started;
//!   5. what runs beyond its term by the worker's clock is stopped before the worker does anything else;
//!   6. from every state: each launch that is claimed comes to a result, and one that is not can be sent again under its id and then does;
//!      whether a worker that was lost comes back or not;
//!   7. then nothing runs;
//!   8. what was refused is not claimed, and never comes to be.
//!
//! Without bounds, since states tell only what can still matter (ages and not times, whose a mark is and not which): time, crashes,
//! restarts, heartbeats, rounds of sentinels, deliveries, sendings again, and how late anything lands. A write is sent until it is answered,
//! so there is no state in which it is lost for good, and none is needed: a write that never lands is one that has not landed yet.
//!
//! With bounds, and why they are enough:
//! * Two launches. They share nothing but their workers' leases and the rounds of sentinels, which no launch changes; each promise is of one
//!   launch. So what can happen to one of many is what can happen to one alone, which the finer walks have; those with two show that a list
//!   of two is no more than two lists of one.
//! * Two workers, of which one is watched. A claim has one owner, and only the sentinel over that one says anything of it; names can be
//!   swapped.
//! * Two attempts of one worker at one launch at a time: a third is to each of them what the second is.
//! * Of the answers to one attempt's claim, the newest is on its way, of any age. An attempt that has heard one hears no other: that is
//!   checked where it hears it.
//! * One heartbeat of which the worker will hear, and any number of which it won't. Answers that overtake each other are a test of the
//!   lease itself.
//! * Time goes in ticks, of which a lease has two and the margin one. A watched clock loses at most one in three ticks of its observer's,
//!   and gains any number.
//! * The walks differ in what takes time: all of it at once would be too many states to visit. What takes none in one walk is slow in
//!   another.
//!
//! What is taken from elsewhere: nothing runs on when its worker is killed (tiers), a read finds what was written before it began (the
//! engine; see [`Broken::StaleReads`]), and no two processes live under one worker id at the same time (the lock of its journal).

#[path = "../../actors/src/core/explore.rs"]
mod explore;
mod fair;
mod protocol;
mod steps;
mod store;
mod world;

use explore::{Space, explore};
use fair::Rest;
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
};
use steps::Step;
use world::State;

/// Rules that are broken on purpose, most in what is here, some around an answer of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    StartsWithoutAClaim,
    StartsWhatIsForeign,
    /// Any term that is held will do.
    StartsInANewTerm,
    /// The lease is asked before the claim, and not after.
    StartsWithoutALook,
    /// It does not remember that it has heard an answer.
    HearsTwice,
    /// A mark is the same for all attempts of a worker.
    MarksTheWorkerOnly,
    RefusesTheUnknown,
    RenewedFromTheAnswer,
    NoNewTerm,
    DoesNotLookAfterTheStart,
    /// When a new term has begun, what is of the old one goes on.
    StopsOnlyWithoutALease,
    NoMargin,
    ListsAfterTheSecondRead,
    DoesNotReadAgain,
    SeenSinceTheBeginning,
    /// The engine's fault: a replica answers that is behind.
    StaleReads,
    LostIsPut,
    ListsItsOwnOnlyAtStart,
    /// A claim of its own that is not in its journal is taken for one of before, also if it is just being made.
    AsksOnlyItsJournal,
    ForgetsWhatItStarted,
}

type Key = (u64, u64, u64);

/// What may happen in one walk.
struct Plan {
    launches: usize,
    /// Attempts of one worker at one launch at a time.
    attempts: usize,
    /// By worker and launch: who is sent what. Those hold a lease.
    claims: [[bool; 2]; 2],
    /// Whom the other's sentinel watches.
    watched: [bool; 2],
    crashes: [bool; 2],
    /// Heartbeats take their time.
    late_beats: [bool; 2],
    /// A sentinel's reads take their time.
    slow_reads: bool,
    /// Between a worker's list of its own claims and what it does about it, there is time.
    slow_lists: bool,
    /// Clocks go at different speeds.
    drifts: bool,
    broken: Option<Broken>,
    /// From which states the end is reached: without worker 0, without worker 1, with both.
    known_to_end: [RefCell<HashSet<Key>>; 3],
}

impl Plan {
    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
    fn known(&self, rest: Rest) -> &RefCell<HashSet<Key>> {
        match rest {
            Rest::All => &self.known_to_end[2],
            Rest::Without(w) => &self.known_to_end[w],
        }
    }
    fn is_known_to_end(&self, rest: Rest, key: Key) -> bool {
        self.known(rest).borrow().contains(&key)
    }
    fn walk(mut self) -> usize {
        let first = State::new(&self);
        explore(&mut self, &first)
    }
}

impl Space for Plan {
    type State = State;
    type Step = Step;
    type Key = Key;

    fn key(&self, state: &State) -> Key {
        state.key(self)
    }
    fn steps(&self, state: &State) -> Vec<Step> {
        Plan::steps(self, state)
    }
    fn take(&mut self, state: &State, step: Step) -> Result<State, String> {
        Plan::take(self, state, step)
    }
    fn rests(&self, state: &State) -> Result<(), String> {
        self.comes_to_an_end(state, Rest::All)?;
        (0..2).filter(|w| self.watched[*w]).try_for_each(|w| self.comes_to_an_end(state, Rest::Without(w)))
    }
    fn tell(&self, state: &State, step: Step) -> String {
        let held = [0, 1].map(|w| state.workers[w].lease.left_ms(state.workers[w].clock));
        format!("{step:?} (leases {held:?})")
    }
}

/// One launch, one worker that takes it, another that watches it, and nothing that takes time.
fn watched() -> Plan {
    Plan {
        launches: 1,
        attempts: 1,
        claims: [[true; 2], [false; 2]],
        watched: [true, false],
        crashes: [true; 2],
        late_beats: [false; 2],
        slow_reads: false,
        slow_lists: true,
        drifts: false,
        broken: None,
        known_to_end: Default::default(),
    }
}
fn calm() -> Plan {
    Plan { crashes: [false; 2], ..watched() }
}
fn drifting() -> Plan {
    Plan { attempts: 2, drifts: true, ..watched() }
}

// Each walk has exactly so many states: another number means that it goes other ways than before, and somebody has to say why.

#[test]
fn a_sentinel_speaks_for_the_dead_however_slow_everything_is() {
    let slow = Plan { slow_reads: true, slow_lists: false, late_beats: [true, false], ..watched() };
    assert_eq!(Plan { crashes: [true, false], drifts: true, ..slow }.walk(), 59_106);
}

#[test]
fn a_sentinel_that_dies_and_launches_that_come_twice_change_nothing() {
    assert_eq!(drifting().walk(), 25_170);
}

#[test]
fn one_of_two_workers_wins_a_launch() {
    let race = Plan { claims: [[true; 2]; 2], watched: [false; 2], attempts: 2, ..watched() };
    assert_eq!(race.walk(), 47_348);
}

#[test]
fn who_speaks_for_another_may_have_wanted_the_launch_too() {
    assert_eq!(Plan { claims: [[true; 2]; 2], ..watched() }.walk(), 48_826);
}

#[test]
fn two_launches_of_one_worker_are_answered_one_by_one() {
    let two = Plan { launches: 2, slow_lists: false, crashes: [true, false], ..watched() };
    assert_eq!(two.walk(), 58_889);
}

#[test]
fn two_launches_go_to_two_workers() {
    let to_both = Plan { claims: [[true; 2], [false, true]], watched: [false; 2], ..watched() };
    assert_eq!(Plan { launches: 2, slow_lists: false, crashes: [true, false], ..to_both }.walk(), 134_155);
}

/// Two states that are taken for one lead to the same: else the walks would leave out what they don't tell apart.
#[test]
fn what_is_told_apart_is_all_that_matters() {
    let plan = Plan { slow_reads: true, ..calm() };
    let next = |state: &State| -> BTreeSet<Key> {
        let after = plan.steps(state).into_iter().map(|step| plan.take(state, step).unwrap().key(&plan));
        // What changes nothing can be left out.
        after.filter(|key| *key != state.key(&plan)).collect()
    };
    let first = State::new(&plan);
    let mut leads = HashMap::from([(first.key(&plan), next(&first))]);
    let mut edge = vec![first];
    while let Some(state) = edge.pop() {
        for step in plan.steps(&state) {
            let state = plan.take(&state, step).unwrap();
            let comes = next(&state);
            match leads.entry(state.key(&plan)) {
                Entry::Occupied(known) => assert_eq!(known.get(), &comes, "{state:#?}"),
                Entry::Vacant(new) => {
                    new.insert(comes);
                    edge.push(state);
                }
            }
        }
    }
    assert_eq!(leads.len(), 7_143);
}

/// The rule that is broken, as far as possible in the walk that is smallest, and which promise it breaks.
#[test]
fn each_rule_is_needed() {
    let slow_reads = || Plan { slow_reads: true, ..calm() };
    let late_beats = || Plan { late_beats: [true, false], ..calm() };
    let found: [(Broken, Plan, u8); 20] = [
        (Broken::StartsWithoutAClaim, drifting(), 3),
        (Broken::StartsWhatIsForeign, drifting(), 3),
        (Broken::StartsInANewTerm, drifting(), 4),
        (Broken::StartsWithoutALook, drifting(), 4),
        (Broken::HearsTwice, drifting(), 2),
        (Broken::MarksTheWorkerOnly, drifting(), 3),
        (Broken::RefusesTheUnknown, drifting(), 8),
        (Broken::RenewedFromTheAnswer, late_beats(), 4),
        (Broken::NoNewTerm, drifting(), 4),
        (Broken::DoesNotLookAfterTheStart, drifting(), 5),
        (Broken::StopsOnlyWithoutALease, drifting(), 5),
        (Broken::NoMargin, drifting(), 4),
        (Broken::ListsAfterTheSecondRead, drifting(), 4),
        (Broken::DoesNotReadAgain, drifting(), 4),
        (Broken::SeenSinceTheBeginning, slow_reads(), 4),
        (Broken::StaleReads, drifting(), 4),
        (Broken::LostIsPut, drifting(), 1),
        (Broken::ListsItsOwnOnlyAtStart, drifting(), 6),
        (Broken::AsksOnlyItsJournal, drifting(), 4),
        (Broken::ForgetsWhatItStarted, drifting(), 6),
    ];
    for (broken, plan, promise) in found {
        let walk = catch_unwind(AssertUnwindSafe(|| Plan { broken: Some(broken), ..plan }.walk()));
        let counter_example = match walk {
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
            Ok(states) => panic!("{broken:?} breaks nothing in {states} states"),
        };
        println!("{broken:?}: {counter_example}");
        assert!(counter_example.contains(&format!("promise {promise}:")), "{broken:?}: {counter_example}");
    }
}
