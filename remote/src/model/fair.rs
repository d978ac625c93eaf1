//! What comes of a state if everything on its way arrives, time goes on, and nobody dies any more.

use super::{
    Broken, Plan,
    steps::Step,
    world::{By, LEASE, Life, MARGIN, Round, State},
};

/// From any state the end is nearer than so many steps.
const STEPS: usize = 120;

/// Who is there for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Both workers; who is down comes back.
    All,
    /// Not this one, for good: now at last the other's sentinel has to speak for it.
    Without(usize),
}

impl Plan {
    /// Promises 6 and 7. Since each step of it is a step of the walk, and a walk has finitely many states, an end that can be reached from
    /// every state is reached in every run that is fair.
    pub(super) fn comes_to_an_end(&self, state: &State, rest: Rest) -> Result<(), String> {
        let mut state = state.clone();
        let (mut steps, mut keys) = (Vec::new(), Vec::new());
        loop {
            let (of, key) = self.end_key(&state, rest);
            if self.known_to_end.borrow()[of].contains(&key) {
                break;
            }
            let Some(step) = self.fair_step(&state, rest) else {
                self.is_the_end(&state, rest)
                    .map_err(|broken| format!("{broken}, with {rest:?}, after {steps:?}"))?;
                break;
            };
            if steps.len() == STEPS {
                return Err(format!("promise 6: with {rest:?} there is no end after {steps:?}"));
            }
            keys.push((of, key));
            steps.push(step);
            state = self.take(&state, step)?;
        }
        let mut known = self.known_to_end.borrow_mut();
        for (of, key) in keys {
            known[of].insert(key);
        }
        Ok(())
    }

    fn is_the_end(&self, state: &State, rest: Rest) -> Result<(), String> {
        for l in 0..self.launches {
            let claimed = state.claims[l].is_some();
            if state.results[l].is_none() && (claimed || self.taker(rest, l).is_some()) {
                return Err(format!("promise 6: launch {l} has no result"));
            }
        }
        let runs = |life: Life| matches!(life, Life::Claimed(..) | Life::Starting(..) | Life::Running { .. });
        if state.workers.iter().any(|worker| worker.cells.iter().any(|cell| runs(cell.life))) {
            return Err("promise 7: something runs".to_owned());
        }
        Ok(())
    }

    /// Who is sent what nobody has claimed.
    fn taker(&self, rest: Rest, l: usize) -> Option<usize> {
        (0..2).find(|w| self.claims[*w][l] && rest != Rest::Without(*w))
    }

    fn fair_step(&self, state: &State, rest: Rest) -> Option<Step> {
        for (w, worker) in state.workers.iter().enumerate() {
            match (rest == Rest::Without(w), worker.up) {
                (true, true) => return Some(Step::Crash(w)),
                (false, false) => return Some(Step::Restart(w)),
                _ => {}
            }
        }
        for l in 0..self.launches {
            if let Some(step) = self.arrives(state, l) {
                return Some(step);
            }
        }
        for w in (0..2).filter(|w| state.workers[*w].up) {
            if (0..2).any(|l| state.counts(l, state.workers[w].own[l], self)) {
                return Some(Step::CompareOwn(w));
            }
        }
        for l in (0..self.launches).filter(|l| state.results[*l].is_none()) {
            let Some(claim) = state.claims[l] else {
                let Some(w) = self.taker(rest, l) else { continue };
                return Some(self.sends_again(state, w, l));
            };
            let w = claim.worker;
            if rest == Rest::Without(w) {
                return Some(self.sentinel_goes_on(state, 1 - w));
            }
            if !self.is(Broken::ListsItsOwnOnlyAtStart) && state.is_unknown(w, l, self) {
                return Some(if state.held(w).is_some() {
                    Step::ListOwn(w)
                } else {
                    self.gets_a_lease(state, w)
                });
            }
        }
        None
    }

    /// What is on its way, and commands, come to their ends.
    fn arrives(&self, state: &State, l: usize) -> Option<Step> {
        for (w, worker) in state.workers.iter().enumerate() {
            let cell = &worker.cells[l];
            match cell.life {
                Life::Claimed(..) => return Some(Step::LooksForAResult { w, l }),
                Life::Starting(..) => return Some(Step::Start { w, l }),
                Life::Running { .. } => return Some(Step::End { w, l }),
                Life::Ended(_) | Life::None | Life::Started => {}
            }
            for (n, attempt) in cell.attempts.iter().enumerate() {
                match attempt.map(|attempt| attempt.answer) {
                    None => {}
                    Some(None) => return Some(Step::ClaimLands { w, l, n }),
                    Some(Some(_)) => return Some(Step::ClaimHeard { w, l, n }),
                }
            }
            if matches!(cell.life, Life::Ended(_)) && state.results[l].is_none() {
                return Some(Step::ResultLands { w, l });
            }
            // One of before a crash may never land, and so may one that was sent once too often.
            if state.removals[l][w].is_some_and(|removal| removal.known && state.removes(l, removal, self)) {
                return Some(Step::RemovalLands { w, l });
            }
        }
        By::ALL.into_iter().find(|by| state.lost[l][by.index()]).map(|by| Step::LostLands { l, by })
    }

    fn sends_again(&self, state: &State, w: usize, l: usize) -> Step {
        if state.held(w).is_some() { Step::Deliver { w, l } } else { self.gets_a_lease(state, w) }
    }

    fn gets_a_lease(&self, state: &State, w: usize) -> Step {
        if state.workers[w].beat.is_some() { Step::BeatHeard(w) } else { Step::BeatLands { w, age: 0 } }
    }

    fn sentinel_goes_on(&self, state: &State, w: usize) -> Step {
        let (worker, other) = (&state.workers[w], 1 - w);
        let watcher = &worker.watcher;
        match (watcher.read, watcher.round) {
            (Some(read), _) if read.found.is_none() => Step::ReadFinds(w),
            (Some(_), _) => Step::ReadHeard(w),
            (None, Round::Overdue) if !self.is(Broken::ListsAfterTheSecondRead) => Step::List(w),
            (None, Round::Confirmed) => Step::List(w),
            (None, Round::Overdue | Round::Listed(_)) => Step::ReadBegins(w),
            (None, Round::Idle) => {
                let is_gone = watcher.sentinel.is_gone(&other, watcher.knows, worker.clock);
                let waits = watcher.knows == state.revisions[other] && !is_gone;
                if waits { Step::Tick([true, true]) } else { Step::ReadBegins(w) }
            }
        }
    }
}

/// The longest wait of a sentinel is far below the bound.
const _: () = assert!((LEASE + MARGIN) as usize * 10 < STEPS);
