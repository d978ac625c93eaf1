//! What may happen: to the store, to workers, to their sentinels, and to what is on its way.

use super::{
    Broken, Plan,
    world::{By, LEASE, Life, Read, Round, State},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Time goes on by one tick: for worker 0, for worker 1.
    Tick([bool; 2]),
    Crash(usize),
    Restart(usize),
    /// A heartbeat that was sent so many ticks ago is stored.
    BeatLands {
        w: usize,
        age: u64,
    },
    BeatHeard(usize),
    /// A heartbeat is stored, also one of before a crash, and nobody will hear of it.
    BeatUnheard(usize),
    /// A launch reaches a worker: the first, a duplicate, a late one, or one that the host sends again.
    Deliver {
        w: usize,
        l: usize,
    },
    /// The creation of a claim reaches the store.
    ClaimLands {
        w: usize,
        l: usize,
        n: usize,
    },
    ClaimHeard {
        w: usize,
        l: usize,
        n: usize,
    },
    ClaimTimesOut {
        w: usize,
        l: usize,
        n: usize,
    },
    OrphanLands {
        w: usize,
        l: usize,
    },
    /// The worker asks whether what it has claimed has a result.
    LooksForAResult {
        w: usize,
        l: usize,
    },
    Start {
        w: usize,
        l: usize,
    },
    /// It can't be started here. Another worker may be asked for it.
    FailsToStart {
        w: usize,
        l: usize,
    },
    /// The removal of a claim that is taken back reaches the store.
    RemovalLands {
        w: usize,
        l: usize,
    },
    /// Of what has a result the claim is removed, by any who knows of the result.
    ClaimGoes(usize),
    /// It ends by itself.
    End {
        w: usize,
        l: usize,
    },
    /// The worker notices that a term is over.
    Sweep(usize),
    /// The result that is in a worker's journal reaches the store.
    ResultLands {
        w: usize,
        l: usize,
    },
    LostLands {
        l: usize,
        by: By,
    },
    ListOwn(usize),
    CompareOwn(usize),
    ReadBegins(usize),
    /// The store looks it up.
    ReadFinds(usize),
    ReadHeard(usize),
    /// The sentinel lists the other's claims without a result.
    List(usize),
}

impl Plan {
    /// What may happen.
    pub(super) fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = vec![Step::Tick([true, true])];
        steps.extend(
            self.drifts
                .then_some([Step::Tick([true, false]), Step::Tick([false, true])])
                .into_iter()
                .flatten(),
        );
        for w in 0..2 {
            self.steps_of(state, w, &mut steps);
        }
        for l in 0..self.launches {
            let is_claimed = state.claims[l].is_some();
            for w in 0..2 {
                steps.extend((state.orphans[l][w] && !is_claimed).then_some(Step::OrphanLands { w, l }));
                let lands = state.removals[l][w].is_some_and(|removal| state.removes(l, removal, self));
                steps.extend(lands.then_some(Step::RemovalLands { w, l }));
            }
            let has_result = state.results[l].is_some()
                || (self.is(Broken::RemovesBeforeTheResult) && state.lost[l].contains(&true));
            let goes = self.claims_go && is_claimed && has_result;
            steps.extend(goes.then_some(Step::ClaimGoes(l)));
            steps.extend(
                By::ALL
                    .into_iter()
                    .filter(|by| state.lost[l][by.index()])
                    .map(|by| Step::LostLands { l, by }),
            );
        }
        steps
    }

    fn steps_of(&self, state: &State, w: usize, steps: &mut Vec<Step>) {
        let worker = &state.workers[w];
        // Only who is watched is read.
        if self.watched[w] {
            steps.push(Step::BeatUnheard(w));
        }
        for l in 0..self.launches {
            let cell = &worker.cells[l];
            if matches!(cell.life, Life::Ended(_))
                && (state.results[l].is_none() || self.is(Broken::LostIsPut))
            {
                steps.push(Step::ResultLands { w, l });
            }
        }
        if !worker.up {
            return steps.push(Step::Restart(w));
        }
        if self.crashes[w] {
            steps.push(Step::Crash(w));
        }
        if worker.cells.iter().any(|cell| matches!(cell.life, Life::Running { .. })) {
            steps.push(Step::Sweep(w));
        }
        if self.claims[w] != [false; 2] {
            let ages = if self.late_beats[w] { 0..=LEASE } else { 0..=0 };
            steps.extend(ages.map(|age| Step::BeatLands { w, age }));
            steps.extend(worker.beat.map(|_| Step::BeatHeard(w)));
        }
        for l in 0..self.launches {
            let cell = &worker.cells[l];
            let free = cell.attempts.iter().take(self.attempts).any(Option::is_none);
            if self.claims[w][l] && free && (self.claims_go || state.results[l].is_none()) {
                steps.push(Step::Deliver { w, l });
            }
            for (n, attempt) in cell.attempts.iter().enumerate() {
                let Some(attempt) = attempt else { continue };
                steps.extend([Step::ClaimLands { w, l, n }, Step::ClaimTimesOut { w, l, n }]);
                steps.extend(attempt.answer.map(|_| Step::ClaimHeard { w, l, n }));
            }
            match cell.life {
                Life::Claimed(..) => steps.push(Step::LooksForAResult { w, l }),
                Life::Starting(..) => {
                    steps.push(Step::Start { w, l });
                    steps.extend(self.fails.then_some(Step::FailsToStart { w, l }));
                }
                Life::Running { .. } => steps.push(Step::End { w, l }),
                Life::None | Life::Started | Life::Ended(_) => {}
            }
        }
        let own =
            |l: usize| state.results[l].is_none() && state.claims[l].is_some_and(|claim| claim.worker == w);
        if (0..2).any(|l| state.counts(l, worker.own[l], self)) {
            steps.push(Step::CompareOwn(w));
        } else if (0..self.launches).any(own) && !self.is(Broken::ListsItsOwnOnlyAtStart) {
            steps.push(Step::ListOwn(w));
        }
        if self.watched[1 - w] {
            let watcher = &worker.watcher;
            let lists_next = match watcher.round {
                Round::Overdue => !self.is(Broken::ListsAfterTheSecondRead),
                Round::Confirmed => true,
                Round::Idle | Round::Listed(_) => false,
            };
            steps.push(match watcher.read {
                None if lists_next => Step::List(w),
                None => Step::ReadBegins(w),
                Some(Read { found: None, .. }) => Step::ReadFinds(w),
                Some(_) => Step::ReadHeard(w),
            });
        }
    }
}
