//! What a worker does at each step, and what comes of it.

use super::{
    Broken, Plan,
    steps::Step,
    store::{ensure_stopped, send_lost},
    world::{Attempt, By, Claim, Kind, LEASE, Life, MARK_OF_THE_DEAD, Read, Removal, State, Watcher},
};
use crate::core::{Claiming, Lease, Next, Outcome, Term};

macro_rules! ensure {
    ($holds:expr, $($promise:tt)*) => {
        if !$holds {
            return Err(format!($($promise)*));
        }
    };
}

impl Plan {
    pub(super) fn renew(&self, lease: &mut Lease, sent: u64, now: u64) {
        match self.broken {
            Some(Broken::RenewedFromTheAnswer) => lease.renewed(now, now),
            // As if the answer had come before the lease ended.
            Some(Broken::NoNewTerm) => lease.renewed(sent, 0),
            _ => lease.renewed(sent, now),
        }
    }

    /// What comes of a step, or the promise that it breaks.
    pub(super) fn take(&self, before: &State, step: Step) -> Result<State, String> {
        let mut state = before.clone();
        match step {
            Step::Tick(by) => {
                if state.tick(by, self).is_none() {
                    return Ok(before.clone());
                }
            }
            Step::Crash(w) => self.crash(&mut state, w),
            Step::Restart(w) => self.restart(&mut state, w),
            Step::BeatLands { w, age } => {
                state.revisions[w] += 1;
                state.workers[w].beat = Some(state.workers[w].clock - age);
                if !self.late_beats[w] {
                    self.beat_heard(&mut state, w);
                }
            }
            Step::BeatUnheard(w) => state.revisions[w] += 1,
            Step::ClaimLands { w, l, n } => self.claim_lands(&mut state, w, l, n),
            Step::OrphanLands { w, l } => {
                state.claims[l] = Some(Claim { worker: w, mark: MARK_OF_THE_DEAD, touched: false });
                state.orphans[l][w] = false;
            }
            Step::RemovalLands { l, .. } | Step::ClaimGoes(l) => state.claims[l] = None,
            Step::LooksForAResult { w, l } => self.looks_for_a_result(&mut state, w, l)?,
            Step::Start { w, l } => self.start(&mut state, w, l)?,
            Step::FailsToStart { w, l } => {
                if let Life::Starting(_, mark) = state.workers[w].cells[l].life {
                    take_back(&mut state, w, l, mark);
                }
            }
            Step::ResultLands { w, l } => {
                if let Life::Ended(kind) = state.workers[w].cells[l].life {
                    self.create(&mut state, l, By::Worker(w), kind);
                }
            }
            Step::LostLands { l, by } => self.lost_lands(&mut state, l, by)?,
            Step::ReadFinds(w) => self.read_finds(&mut state, w),
            Step::BeatHeard(w) => {
                self.beat_heard(&mut state, w);
                ensure_stopped(&state, w)?;
            }
            Step::Sweep(w)
            | Step::Deliver { w, .. }
            | Step::ClaimHeard { w, .. }
            | Step::ClaimTimesOut { w, .. }
            | Step::End { w, .. }
            | Step::ListOwn(w)
            | Step::CompareOwn(w)
            | Step::ReadBegins(w)
            | Step::ReadHeard(w)
            | Step::List(w) => {
                // Whatever a worker does, it looks at its lease first.
                self.sweep(&mut state, w);
                self.act(&mut state, w, step)?;
                ensure_stopped(&state, w)?;
            }
        }
        for l in 0..2 {
            ensure!(
                before.results[l].is_none() || before.results[l] == state.results[l],
                "promise 1: a result has changed"
            );
        }
        Ok(state)
    }

    fn act(&self, state: &mut State, w: usize, step: Step) -> Result<(), String> {
        match step {
            Step::Deliver { l, .. } => self.deliver(state, w, l),
            Step::ClaimHeard { l, n, .. } => {
                let answer =
                    state.workers[w].cells[l].attempts[n].as_mut().and_then(|attempt| attempt.answer.take());
                answer.map_or(Ok(()), |answer| self.heard(state, w, l, n, answer))
            }
            Step::ClaimTimesOut { l, n, .. } => self.heard(state, w, l, n, Outcome::Unknown),
            Step::End { l, .. } => {
                let life = &mut state.workers[w].cells[l].life;
                if matches!(life, Life::Running { .. }) {
                    *life = Life::Ended(Kind::Real);
                }
                Ok(())
            }
            Step::ListOwn(_) => {
                state.workers[w].own = [0, 1]
                    .map(|l| state.claims[l].filter(|claim| state.results[l].is_none() && claim.worker == w));
                if !self.slow_lists {
                    self.compare_own(state, w);
                }
                Ok(())
            }
            Step::CompareOwn(_) => {
                self.compare_own(state, w);
                Ok(())
            }
            Step::ReadBegins(_) => {
                let begun = state.workers[w].clock;
                state.workers[w].watcher.read = Some(Read { begun, found: None });
                if !self.slow_reads {
                    self.read_finds(state, w);
                    self.read_heard(state, w);
                }
                Ok(())
            }
            Step::ReadHeard(_) => {
                self.read_heard(state, w);
                Ok(())
            }
            Step::List(_) => {
                self.list(state, w);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Everything in memory is gone, and with it all that runs. What was on its way may still land.
    fn crash(&self, state: &mut State, w: usize) {
        let worker = &mut state.workers[w];
        (worker.up, worker.beat, worker.own) = (false, None, [None; 2]);
        worker.lease = Lease::new(LEASE);
        worker.watcher = Watcher::new(self);
        for (l, cell) in worker.cells.iter_mut().enumerate() {
            let sent = std::mem::take(&mut cell.attempts).iter().any(Option::is_some);
            state.orphans[l][w] |= sent;
            if let Some(removal) = &mut state.removals[l][w] {
                removal.known = false;
            }
            cell.life = match cell.life {
                Life::Claimed(..) | Life::Starting(..) => Life::None,
                Life::Running { .. } => Life::Started,
                life => life,
            };
        }
    }

    /// What its journal says was started and has not ended is lost. It needs to ask the store nothing before its first heartbeat: a claim
    /// of before is told from one of this life by its mark, whenever it is listed. And to list once would not do, since a claim that was
    /// sent before the crash may land after any list.
    fn restart(&self, state: &mut State, w: usize) {
        state.workers[w].up = true;
        for l in 0..2 {
            let cell = &mut state.workers[w].cells[l];
            if cell.life == Life::Started && !self.is(Broken::ForgetsWhatItStarted) {
                cell.life = Life::Ended(Kind::Lost);
            }
            if self.is(Broken::ListsItsOwnOnlyAtStart) && state.is_unknown(w, l, self) {
                send_lost(state, l, By::Worker(w));
            }
        }
    }

    /// What it knows is asked after the list: it knew of each claim of this life before the claim was made. Without a lease its name may be another one's.
    fn compare_own(&self, state: &mut State, w: usize) {
        let listed = std::mem::take(&mut state.workers[w].own);
        if state.held(w).is_none() {
            return;
        }
        for (l, listed) in listed.into_iter().enumerate() {
            if state.is_unknown(w, l, self) {
                self.touch_and_send_lost(state, l, listed, By::Worker(w));
            }
        }
    }

    fn beat_heard(&self, state: &mut State, w: usize) {
        let worker = &mut state.workers[w];
        if let Some(sent) = worker.beat.take() {
            self.renew(&mut worker.lease, sent, worker.clock);
        }
        // Nobody may have noticed the end of the old term before the new one begins: so it looks after it, too.
        self.sweep(state, w);
    }

    /// Stops what was begun in a term that is over.
    fn sweep(&self, state: &mut State, w: usize) {
        let held = state.held(w);
        for cell in &mut state.workers[w].cells {
            let Life::Running { term, unseen } = cell.life else { continue };
            let is_over =
                if self.is(Broken::StopsOnlyWithoutALease) { held.is_none() } else { held != Some(term) };
            if is_over && !unseen {
                cell.life = Life::Ended(Kind::LeaseLost);
            }
        }
    }

    fn deliver(&self, state: &mut State, w: usize, l: usize) -> Result<(), String> {
        let held = state.held(w);
        let (claiming, next) = Claiming::Asked.begin(true, held);
        if next == Next::Refuse {
            return Ok(());
        }
        ensure!(next == Next::Claim, "a worker that is asked says {next:?}");
        state.marks += 1;
        let mark = state.marks;
        if let Some(term) = held.filter(|_| self.is(Broken::StartsWithoutAClaim)) {
            return claimed(state, w, l, term, Attempt { claiming, mark, answer: None, won: false });
        }
        if let Some(free) = state.workers[w].cells[l].attempts.iter_mut().find(|attempt| attempt.is_none()) {
            *free = Some(Attempt { claiming, mark, answer: None, won: false });
        }
        Ok(())
    }

    fn claim_lands(&self, state: &mut State, w: usize, l: usize, n: usize) {
        let there = state.claims[l];
        let Some(attempt) = &mut state.workers[w].cells[l].attempts[n] else { return };
        attempt.answer = Some(match there {
            None => Outcome::Created,
            Some(claim)
                if claim.worker == w
                    && (claim.mark == attempt.mark || self.is(Broken::MarksTheWorkerOnly)) =>
            {
                Outcome::Own
            }
            Some(_) => Outcome::Foreign,
        });
        if there.is_none() {
            attempt.won = true;
            state.claims[l] = Some(Claim { worker: w, mark: attempt.mark, touched: false });
        }
    }

    fn heard(&self, state: &mut State, w: usize, l: usize, n: usize, outcome: Outcome) -> Result<(), String> {
        let held = state.held(w);
        let Some(attempt) = state.workers[w].cells[l].attempts[n] else { return Ok(()) };
        let Claiming::Sent(of_attempt) = attempt.claiming else { return Ok(()) };
        let (claiming, next) = match self.broken {
            Some(Broken::StartsWhatIsForeign) if outcome == Outcome::Foreign => {
                attempt.claiming.heard(Outcome::Own, held)
            }
            Some(Broken::StartsInANewTerm) => attempt.claiming.heard(outcome, held.and(Some(of_attempt))),
            Some(Broken::StartsWithoutALook) => attempt.claiming.heard(outcome, Some(of_attempt)),
            Some(Broken::RefusesTheUnknown) if outcome == Outcome::Unknown => {
                (Claiming::Decided, Next::Refuse)
            }
            _ => attempt.claiming.heard(outcome, held),
        };
        if next == Next::Again {
            ensure!(claiming == attempt.claiming, "it asks again, and forgets its term");
            return Ok(());
        }
        for late in [Outcome::Created, Outcome::Own, Outcome::Foreign, Outcome::Unknown] {
            ensure!(
                claiming.heard(late, held) == (claiming, Next::Leave),
                "{late:?} comes late and does something"
            );
        }
        if !self.is(Broken::HearsTwice) {
            state.workers[w].cells[l].attempts[n] = None;
        }
        // It was sent until it was answered, maybe once more than it has landed.
        state.orphans[l][w] |= self.twice;
        match next {
            Next::Start => claimed(state, w, l, of_attempt, attempt),
            Next::GiveUp => {
                send_lost(state, l, By::Worker(w));
                Ok(())
            }
            Next::Leave => Ok(()),
            Next::Refuse => Err("promise 8: it was refused, and may come to be claimed".to_owned()),
            Next::Claim | Next::Again => Err(format!("an answer leads to {next:?}")),
        }
    }

    /// After the claim: claims are removed when there is a result, so whoever claims after that finds it.
    fn looks_for_a_result(&self, state: &mut State, w: usize, l: usize) -> Result<(), String> {
        let held = state.held(w);
        let Life::Claimed(term, mark) = state.workers[w].cells[l].life else { return Ok(()) };
        let looks = !matches!(self.broken, Some(Broken::DoesNotLookForAResult | Broken::StartsWithoutALook));
        if state.results[l].is_some() && looks {
            take_back(state, w, l, mark);
            return Ok(());
        }
        let term = match (self.broken, held) {
            (Some(Broken::StartsInANewTerm), Some(held)) => held,
            (Some(Broken::StartsWithoutALook), _) => term,
            (_, Some(held)) if held == term => term,
            _ => {
                state.workers[w].cells[l].life = Life::None;
                send_lost(state, l, By::Worker(w));
                return Ok(());
            }
        };
        ensure!(state.results[l].is_none(), "promise 4: it starts what has a result");
        state.workers[w].cells[l].life = Life::Starting(term, mark);
        Ok(())
    }

    /// The lease may have ended since it was decided: whoever starts can't know. The worker looks when it is done.
    fn start(&self, state: &mut State, w: usize, l: usize) -> Result<(), String> {
        let held = state.held(w);
        let Life::Starting(term, _) = state.workers[w].cells[l].life else { return Ok(()) };
        ensure!(state.starts[l] == 0, "promise 2: it is started a second time");
        state.starts[l] += 1;
        let unseen = self.is(Broken::DoesNotLookAfterTheStart) && held != Some(term);
        state.workers[w].cells[l].life = Life::Running { term, unseen };
        Ok(())
    }
}

fn claimed(state: &mut State, w: usize, l: usize, term: Term, attempt: Attempt) -> Result<(), String> {
    ensure!(attempt.won, "promise 3: it starts what this attempt has not claimed");
    state.workers[w].cells[l].life = Life::Claimed(term, attempt.mark);
    Ok(())
}

/// Nothing runs, and who has asked may ask another worker.
fn take_back(state: &mut State, w: usize, l: usize, mark: u32) {
    state.workers[w].cells[l].life = Life::None;
    state.removals[l][w] = Some(Removal { mark, known: true });
}
