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
//! * Two workers. A claim has one owner, and only that one and the sentinels over it say anything of it; two sentinels over one worker say
//!   the same, and do it at any time already if it is one. Where each watches the other, and both want the launch, the two can be swapped:
//!   states that differ only by that are one.
//! * Two attempts of one worker at one launch at a time: a third is to each of them what the second is.
//! * Of the answers to one attempt's claim, the newest is on its way, of any age. An attempt that has heard one hears no other: that is
//!   checked where it hears it. Its creation may land once more after that, where launches come twice over.
//! * Of each worker, one removal of a claim that it takes back is on its way: an older one finds nothing of what it was sent for.
//! * One heartbeat of which the worker will hear, and any number of which it won't. Answers that overtake each other are a test of the
//!   lease itself.
//! * Time goes in ticks, of which a lease has two and the margin one. A watched clock loses at most one in three ticks of its observer's,
//!   and gains any number.
//! * The walks differ in what takes time: all of it at once would be too many states to visit. What takes none in one walk is slow in
//!   another. Those with two sentinels are visited with one thing that is slow at a time, by hand (`OSTLER_WALKS=large`).
//!
//! What is taken from elsewhere: nothing runs on when its worker is killed (tiers), a read finds what was written before it began (the
//! engine; see [`Broken::StaleReads`]), and no two processes live under one worker id at the same place (the lock of its journal). Of another
//! place, the one that is silenced holds no lease when the next one begins, and answers for nothing without it: a test with a server has that.
//!
//! Left out: the end of a session, what of a result is taken or told by its handle, progress, and output. No promise here depends on them.

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
    DoesNotLookForAResult,
    /// The claim goes when `lost` is sent, and not when it is stored.
    RemovesBeforeTheResult,
    /// A claim that is taken back is removed, whosever it is when that comes to be.
    RemovesWhateverIsThere,
    /// It says `lost` without having made sure that the claim is still the one that it saw.
    SaysLostOfWhatItListed,
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
    /// Claims are removed when there is a result, and launches may come after that.
    claims_go: bool,
    /// What is claimed may not start on this worker, and may be asked for again.
    fails: bool,
    /// The creation of a claim may land once more than it is answered.
    twice: bool,
    broken: Option<Broken>,
    /// From which states the end is reached: without worker 0, without worker 1, with both.
    known_to_end: RefCell<[HashSet<Key>; 3]>,
}

impl Plan {
    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
    /// Nothing sets the two workers apart: what can happen to one can happen to the other.
    fn is_symmetric(&self) -> bool {
        let alike = |of: [bool; 2]| of[0] == of[1];
        self.claims[0] == self.claims[1]
            && [self.watched, self.crashes, self.late_beats].into_iter().all(alike)
    }
    /// What tells two states apart whose rest is this one, and where it is noted that they come to their end.
    fn end_key(&self, state: &State, rest: Rest) -> (usize, Key) {
        match rest {
            Rest::All => (2, state.key(self)),
            Rest::Without(w) => (if self.is_symmetric() { 0 } else { w }, state.key_from(w, self)),
        }
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
        claims_go: false,
        fails: false,
        twice: false,
        broken: None,
        known_to_end: Default::default(),
    }
}
/// Both take it, and each watches the other.
fn both() -> Plan {
    Plan { watched: [true; 2], claims: [[true; 2]; 2], ..watched() }
}
fn calm() -> Plan {
    Plan { crashes: [false; 2], ..watched() }
}
/// Two want a launch, and what one of them has claimed may not start there.
fn taken_back() -> Plan {
    Plan { claims: [[true; 2]; 2], fails: true, crashes: [false; 2], ..watched() }
}
fn drifting() -> Plan {
    Plan { attempts: 2, drifts: true, ..watched() }
}

// Each walk has exactly so many states: another number means that it goes other ways than before, and somebody has to say why.

#[test]
fn a_sentinel_speaks_for_the_dead_however_slow_everything_is() {
    let slow = Plan { slow_reads: true, slow_lists: false, late_beats: [true, false], ..watched() };
    assert_eq!(Plan { crashes: [true, false], drifts: true, ..slow }.walk(), 74_139);
}

#[test]
fn a_sentinel_that_dies_and_launches_that_come_twice_change_nothing() {
    assert_eq!(drifting().walk(), 31_665);
}

#[test]
fn one_of_two_workers_wins_a_launch() {
    let race = Plan { claims: [[true; 2]; 2], watched: [false; 2], attempts: 2, ..watched() };
    assert_eq!(race.walk(), 30_831);
}

#[test]
fn who_speaks_for_another_may_have_wanted_the_launch_too() {
    assert_eq!(Plan { claims: [[true; 2]; 2], ..watched() }.walk(), 62_292);
}

/// A launch that could not be started on the one may be claimed by the other, whatever is still on its way.
#[test]
fn what_is_taken_back_can_be_claimed_again() {
    assert_eq!(Plan { twice: true, slow_lists: false, ..taken_back() }.walk(), 91_164);
}

#[test]
fn what_has_a_result_has_no_claim_and_is_not_started_again() {
    assert_eq!(Plan { claims_go: true, fails: true, twice: true, ..watched() }.walk(), 9_386);
}

#[test]
fn each_of_two_workers_speaks_for_the_other() {
    assert_eq!(Plan { slow_lists: false, ..both() }.walk(), 125_457);
}

/// One fault more for each walk, as far as memory goes: some GB. By hand, in a release build: see CONTRIBUTING.md.
#[test]
fn each_of_two_workers_speaks_for_the_other_whatever_is_slow() {
    if !large() {
        return;
    }
    let fast = || Plan { slow_lists: false, ..both() };
    let walks = [
        ("lists", 215_988, both()),
        ("clocks", 1_206_333, Plan { drifts: true, ..fast() }),
        ("reads", 1_574_718, Plan { slow_reads: true, ..fast() }),
        ("heartbeats", 1_565_631, Plan { late_beats: [true; 2], ..fast() }),
        ("launches that come twice", 900_572, Plan { attempts: 2, ..fast() }),
        ("launches that do not start", 355_049, Plan { fails: true, twice: true, ..fast() }),
        ("claims that go", 2_935_398, Plan { claims_go: true, ..fast() }),
    ];
    let walked = walks.map(|(what, states, plan)| (what, states, plan.walk()));
    let other: Vec<_> = walked.iter().filter(|(_, states, walked)| walked != states).collect();
    assert!(other.is_empty(), "{other:?}");
}

/// Whether somebody has asked for the walks that take minutes.
fn large() -> bool {
    std::env::var_os("OSTLER_WALKS").is_some_and(|walks| walks == "large")
}

#[test]
fn two_launches_of_one_worker_are_answered_one_by_one() {
    let two = Plan { launches: 2, slow_lists: false, crashes: [true, false], ..watched() };
    assert_eq!(two.walk(), 92_552);
}

#[test]
fn two_launches_go_to_two_workers() {
    let to_both = Plan { claims: [[true; 2], [false, true]], watched: [false; 2], ..watched() };
    assert_eq!(Plan { launches: 2, slow_lists: false, crashes: [true, false], ..to_both }.walk(), 215_852);
}

/// Two states that are taken for one lead to the same: else the walks would leave out what they don't tell apart.
#[test]
fn what_is_told_apart_is_all_that_matters() {
    let removed = || Plan { fails: true, twice: true, ..calm() };
    assert_eq!(same_leads_to_the_same(&Plan { slow_reads: true, ..calm() }), 9_434);
    assert_eq!(
        same_leads_to_the_same(&Plan { crashes: [true, false], slow_reads: true, ..removed() }),
        16_183
    );
    assert_eq!(same_leads_to_the_same(&Plan { claims_go: true, ..removed() }), 7_599);
    // Two workers that can be swapped.
    assert_eq!(
        same_leads_to_the_same(&Plan { claims: [[true; 2]; 2], watched: [false; 2], ..calm() }),
        3_130
    );
    if large() {
        let both = Plan { crashes: [false; 2], slow_lists: false, ..both() };
        assert_eq!(same_leads_to_the_same(&both), 106_731);
    }
}
fn same_leads_to_the_same(plan: &Plan) -> usize {
    let next = |state: &State| -> BTreeSet<Key> {
        let after = plan.steps(state).into_iter().map(|step| plan.take(state, step).unwrap().key(plan));
        // What changes nothing can be left out.
        after.filter(|key| *key != state.key(plan)).collect()
    };
    let first = State::new(plan);
    let mut leads = HashMap::from([(first.key(plan), next(&first))]);
    let mut edge = vec![first];
    while let Some(state) = edge.pop() {
        for step in plan.steps(&state) {
            let state = plan.take(&state, step).unwrap();
            let comes = next(&state);
            match leads.entry(state.key(plan)) {
                Entry::Occupied(known) => assert_eq!(known.get(), &comes, "{state:#?}"),
                Entry::Vacant(new) => {
                    new.insert(comes);
                    edge.push(state);
                }
            }
        }
    }
    leads.len()
}

/// The rule that is broken, as far as possible in the walk that is smallest, and which promise it breaks.
#[test]
fn each_rule_is_needed() {
    let slow_reads = || Plan { slow_reads: true, ..calm() };
    let late_beats = || Plan { late_beats: [true, false], ..calm() };
    let found: [(Broken, Plan, u8); 24] = [
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
        (Broken::DoesNotLookForAResult, Plan { claims_go: true, ..drifting() }, 4),
        (Broken::RemovesBeforeTheResult, Plan { claims_go: true, ..calm() }, 4),
        (Broken::RemovesWhateverIsThere, taken_back(), 2),
        (Broken::SaysLostOfWhatItListed, taken_back(), 4),
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
