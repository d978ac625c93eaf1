//! What there is: the store, two workers, what is on its way, and what tells two states apart.

use super::{Broken, Key, Plan};
use crate::core::{Claiming, Lease, Outcome, Sentinel, Term};

/// In ticks. The lease is longer than one tick, so that there is a time inside it; the margin is what one clock may lose.
pub(super) const LEASE: u64 = 2;
pub(super) const MARGIN: u64 = 1;
/// In so many ticks of its observer's clock a worker's clock loses at most the margin.
const WINDOW: u64 = LEASE + MARGIN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) worker: usize,
    pub(super) mark: u32,
    /// Written again by one who is about to say `lost`: it has another revision by that, and is not taken back any more.
    pub(super) touched: bool,
}

/// No attempt in anybody's memory has it.
pub(super) const MARK_OF_THE_DEAD: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Worker(usize),
    Sentinel(usize),
}

impl By {
    pub(super) const ALL: [By; 4] = [By::Worker(0), By::Worker(1), By::Sentinel(0), By::Sentinel(1)];
    pub(super) fn index(self) -> usize {
        match self {
            By::Worker(w) => w,
            By::Sentinel(w) => 2 + w,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Real,
    Lost,
    LeaseLost,
}

/// A worker's try to claim a launch. Its creation of the key is sent until an answer is heard, so that it may land at any time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) claiming: Claiming,
    pub(super) mark: u32,
    /// The newest answer that is on its way. Older ones may be taken for lost.
    pub(super) answer: Option<Outcome>,
    /// It has created the claim. Nobody but promise 3 asks for it.
    pub(super) won: bool,
}

/// What a worker has of a launch, in memory and, from its start on, in its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    None,
    /// It is claimed; now it is asked whether it has a result, since the claim of one that has is gone. Not in the journal.
    Claimed(Term, u32),
    /// It is decided that it starts, and not done yet. Not in the journal.
    Starting(Term, u32),
    /// It runs. `unseen`: its worker will never stop it for its lease; only where that rule is broken.
    Running {
        term: Term,
        unseen: bool,
    },
    /// The journal says so, and the worker is down.
    Started,
    /// In the journal. It is sent until it is answered, so that it may land at any time.
    Ended(Kind),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) attempts: [Option<Attempt>; 2],
    pub(super) life: Life,
}

/// Where a sentinel is in its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Idle,
    /// The other worker is overdue.
    Overdue,
    /// These are its claims.
    Listed([Option<Claim>; 2]),
    /// Only where the rule is broken: its heartbeat was read again before its claims were listed.
    Confirmed,
}

/// A read of the other's heartbeat that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) begun: u64,
    pub(super) found: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub(super) sentinel: Sentinel<usize>,
    pub(super) round: Round,
    pub(super) read: Option<Read>,
    /// The revision that it knows. For the key, and for an engine that answers with what is old.
    pub(super) knows: u64,
}

impl Watcher {
    pub(super) fn new(plan: &Plan) -> Watcher {
        let margin = if plan.is(Broken::NoMargin) { 0 } else { MARGIN };
        let sentinel = Sentinel::new(LEASE, margin);
        Watcher { sentinel, round: Round::Idle, read: None, knows: 0 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) up: bool,
    pub(super) clock: u64,
    pub(super) lease: Lease,
    /// When the heartbeat was sent whose answer is on its way.
    pub(super) beat: Option<u64>,
    pub(super) cells: [Cell; 2],
    /// What it has listed of claims of its own id.
    pub(super) own: [Option<Claim>; 2],
    pub(super) watcher: Watcher,
}

/// A claim is being taken back, since what it claims is not run: its removal is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) mark: u32,
    /// Its sender lives, sends it until it is answered, and answers for the claim.
    pub(super) known: bool,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) claims: [Option<Claim>; 2],
    pub(super) results: [Option<(By, Kind)>; 2],
    /// By launch and worker: a claim that was sent before a crash, or more often than it was answered, and may land.
    pub(super) orphans: [[bool; 2]; 2],
    /// By launch and worker. Of an older one there is nothing left to remove.
    pub(super) removals: [[Option<Removal>; 2]; 2],
    /// By launch and writer: `lost`, on its way.
    pub(super) lost: [[bool; 4]; 2],
    pub(super) revisions: [u64; 2],
    pub(super) workers: [Worker; 2],
    pub(super) starts: [u8; 2],
    /// For how many ticks of its observer its clock may not lose another one.
    pub(super) lost_ticks: [u64; 2],
    pub(super) marks: u32,
}

impl State {
    pub(super) fn new(plan: &Plan) -> State {
        let cell = Cell { attempts: [None; 2], life: Life::None };
        let worker = Worker {
            up: true,
            // Any, from which heartbeats of before can be told.
            clock: 10,
            lease: Lease::new(LEASE),
            beat: None,
            cells: [cell; 2],
            own: [None; 2],
            watcher: Watcher::new(plan),
        };
        State {
            claims: [None; 2],
            results: [None; 2],
            orphans: [[false; 2]; 2],
            removals: [[None; 2]; 2],
            lost: [[false; 4]; 2],
            // A heartbeat of a life before.
            revisions: [1; 2],
            workers: [worker.clone(), worker],
            starts: [0; 2],
            lost_ticks: [0; 2],
            marks: MARK_OF_THE_DEAD,
        }
    }

    pub(super) fn held(&self, w: usize) -> Option<Term> {
        self.workers[w].lease.held(self.workers[w].clock)
    }

    /// The launch's claim is of this worker, and nothing in its memory or its journal has that claim's mark.
    pub(super) fn is_unknown(&self, w: usize, l: usize, plan: &Plan) -> bool {
        let cell = &self.workers[w].cells[l];
        let Some(claim) = self.claims[l].filter(|claim| claim.worker == w) else { return false };
        let in_memory = cell.attempts.iter().flatten().any(|attempt| attempt.mark == claim.mark)
            || matches!(cell.life, Life::Claimed(_, mark) | Life::Starting(_, mark) if mark == claim.mark)
            // One that removes nothing any more has been answered.
            || self.removals[l][w]
                .is_some_and(|removal| removal.known && removal.mark == claim.mark && !claim.touched);
        let journal_only = plan.is(Broken::AsksOnlyItsJournal);
        matches!(cell.life, Life::None | Life::Claimed(..) | Life::Starting(..))
            && (journal_only || !in_memory)
    }

    /// Whether anything comes of what was listed: only if it is still as it was seen.
    pub(super) fn counts(&self, l: usize, listed: Option<Claim>, plan: &Plan) -> bool {
        let is_open = self.results[l].is_none() || plan.is(Broken::LostIsPut);
        is_open && listed.is_some() && (plan.is(Broken::SaysLostOfWhatItListed) || listed == self.claims[l])
    }

    /// Whether it would remove what is there: only what it was sent for, as it was then.
    pub(super) fn removes(&self, l: usize, removal: Removal, plan: &Plan) -> bool {
        let whatever = plan.is(Broken::RemovesWhateverIsThere);
        // After the result any may remove it.
        self.results[l].is_none()
            && self.claims[l].is_some_and(|claim| whatever || (claim.mark == removal.mark && !claim.touched))
    }

    /// Time goes on, for one worker or for both. None: that one's clock would lose more than the margin.
    pub(super) fn tick(&mut self, by: [bool; 2], plan: &Plan) -> Option<()> {
        for w in 0..2 {
            let observer = 1 - w;
            if by[observer] && plan.watched[w] {
                self.lost_ticks[w] = match (by[w], self.lost_ticks[w]) {
                    (true, ticks) => ticks.saturating_sub(1),
                    (false, 0) => WINDOW - 1,
                    (false, _) => return None,
                };
            }
            self.workers[w].clock += u64::from(by[w]);
        }
        Some(())
    }

    /// What tells two states apart, as far as anything can come of it: ages and not times, whose mark it is and not the mark. What is
    /// equal in it behaves equally, also where a rule is broken: nothing in it relies on the rules. The two launches are alike if both may go
    /// to the same workers, and the two workers if nothing sets them apart.
    pub(super) fn key(&self, plan: &Plan) -> Key {
        let key = self.key_from(0, plan);
        if plan.is_symmetric() { key.min(self.key_from(1, plan)) } else { key }
    }

    /// With the workers in their order from this one on.
    pub(super) fn key_from(&self, first: usize, plan: &Plan) -> Key {
        let order = [first, 1 - first];
        let mut launches = [0, 1].map(|l| self.launch_key(l, order, plan));
        if plan.claims.iter().all(|of| of[0] == of[1]) {
            launches.sort_unstable();
        }
        let mut key = Digits(0);
        order.iter().for_each(|w| self.worker_key(*w, plan, &mut key));
        (launches[0], launches[1], key.0)
    }

    fn launch_key(&self, l: usize, order: [usize; 2], plan: &Plan) -> u64 {
        let mut key = Digits(0);
        key.add(3, self.claims[l].map_or(0, |claim| 1 + u64::from(claim.worker != order[0])));
        key.flag(self.results[l].is_none() && self.claims[l].is_some_and(|claim| claim.touched));
        key.flag(self.starts[l] > 0);
        // Whose it is, and what it says, changes nothing any more. Nor does what was listed or written down of the launch before.
        key.flag(self.results[l].is_some());
        let is_over = self.results[l].is_some() && !plan.is(Broken::LostIsPut);
        for w in order {
            let worker = &self.workers[w];
            [By::Worker(w), By::Sentinel(w)].iter().for_each(|by| key.flag(self.lost[l][by.index()]));
            key.flag(self.orphans[l][w] && (self.claims[l].is_none() || plan.claims_go || plan.fails));
            let removal = self.removals[l][w]
                .filter(|of| plan.is(Broken::RemovesWhateverIsThere) || self.removes(l, *of, plan));
            key.add(3, removal.map_or(0, |removal| 1 + u64::from(removal.known)));
            key.flag(self.counts(l, worker.own[l], plan));
            key.flag(matches!(worker.watcher.round, Round::Listed(list) if self.counts(l, list[l], plan)));
            let cell = &worker.cells[l];
            let (life, term) = match cell.life {
                Life::Started | Life::Ended(_) if is_over => (0, None),
                Life::None => (0, None),
                Life::Starting(term, _) => (1, Some(term)),
                Life::Running { term, unseen } => (2 + u64::from(unseen), Some(term)),
                Life::Started => (4, None),
                Life::Ended(_) => (5, None),
                Life::Claimed(term, _) => (6, Some(term)),
            };
            key.add(7, life);
            let mark = match cell.life {
                Life::Claimed(_, mark) | Life::Starting(_, mark) => Some(mark),
                _ => None,
            };
            // The claim may be another one by now: of an attempt that was sent twice, after its own was removed.
            key.flag(mark.is_some() && self.claims[l].map(|claim| claim.mark) == mark);
            key.add(4, term.map_or(0, |term| self.term_key(w, term, plan)));
            let attempt_key = |attempt: &Attempt| {
                let mut key = Digits(1);
                let Claiming::Sent(term) = attempt.claiming else { return u64::MAX };
                key.add(4, self.term_key(w, term, plan));
                key.flag(self.claims[l].is_some_and(|claim| claim.mark == attempt.mark));
                key.add(5, attempt.answer.map_or(4, |answer| answer as u64));
                key.flag(attempt.won && plan.broken.is_some());
                key.0
            };
            let mut attempts = cell.attempts.map(|attempt| attempt.as_ref().map_or(0, attempt_key));
            attempts.sort_unstable();
            attempts.iter().for_each(|attempt| key.add(256, *attempt));
        }
        key.0
    }

    /// Whether a term is held, and whether it would be after a heartbeat: it is one that was, otherwise, and no other can be told from it.
    fn term_key(&self, w: usize, term: Term, plan: &Plan) -> u64 {
        let worker = &self.workers[w];
        let mut next = worker.lease;
        plan.renew(&mut next, worker.clock, worker.clock);
        u64::from(self.held(w) == Some(term)) * 2 + u64::from(next.held(worker.clock) == Some(term))
    }

    fn worker_key(&self, w: usize, plan: &Plan, key: &mut Digits) {
        let worker = &self.workers[w];
        let age = |at: u64, most: u64| (worker.clock - at).min(most);
        key.flag(worker.up);
        key.add(LEASE + 1, worker.lease.left_ms(worker.clock));
        key.add(LEASE + 2, worker.beat.map_or(LEASE + 1, |sent| age(sent, LEASE)));
        key.add(WINDOW, self.lost_ticks[w]);
        let (other, watcher) = (1 - w, &worker.watcher);
        let round = match watcher.round {
            Round::Idle => 0,
            Round::Overdue => 1,
            Round::Listed(_) => 2,
            Round::Confirmed => 3,
        };
        key.add(4, round);
        // In how many ticks it is overdue, if its heartbeat stays the same.
        let is_gone = |begun: u64| watcher.sentinel.is_gone(&other, watcher.knows, begun);
        let left = (0..=WINDOW).find(|ticks| is_gone(worker.clock + ticks)).unwrap_or(WINDOW + 1);
        let counts = watcher.knows == self.revisions[other] || plan.is(Broken::StaleReads);
        key.add(WINDOW + 2, if counts { left } else { WINDOW + 1 });
        let Some(read) = watcher.read else { return key.add(128, 0) };
        let mut of_read = Digits(1);
        let same = read.found.map_or(counts, |found| found == watcher.knows);
        of_read.flag(same && is_gone(read.begun));
        let found = |other| u64::from(read.found == Some(other));
        of_read.add(5, read.found.map_or(4, |_| 2 * found(watcher.knows) + found(self.revisions[other])));
        // When it was begun matters to nothing else, as long as the rules hold.
        of_read.add(
            WINDOW + 1,
            if plan.is(Broken::SeenSinceTheBeginning) { age(read.begun, WINDOW) } else { 0 },
        );
        key.add(128, of_read.0);
    }
}

/// A number of digits with different bases.
struct Digits(u64);

impl Digits {
    fn add(&mut self, base: u64, digit: u64) {
        assert!(digit < base, "{digit} is no digit in base {base}");
        self.0 = self.0.checked_mul(base).expect("too many digits") + digit;
    }
    fn flag(&mut self, flag: bool) {
        self.add(2, u64::from(flag));
    }
}
