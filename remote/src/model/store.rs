//! What sentinels read, and what is written as a result.

use super::{
    Broken, Plan,
    world::{By, Claim, Kind, Life, Round, State},
};
use crate::core::Claiming;

impl Plan {
    pub(super) fn create(&self, state: &mut State, l: usize, by: By, kind: Kind) {
        let put = self.is(Broken::LostIsPut);
        if state.results[l].is_none() || (put && kind == Kind::Lost) {
            state.results[l] = Some((by, kind));
        }
        // Whatever else is on its way finds the key taken.
        if !put {
            state.lost[l] = [false; 4];
        }
    }

    pub(super) fn lost_lands(&self, state: &mut State, l: usize, by: By) -> Result<(), String> {
        state.lost[l][by.index()] = false;
        if state.results[l].is_none() {
            for w in (0..2).filter(|w| state.workers[*w].up) {
                let Some(held) = state.held(w) else { continue };
                let cell = &state.workers[w].cells[l];
                let runs = match cell.life {
                    Life::Claimed(term, _) | Life::Starting(term, _) | Life::Running { term, .. } => {
                        term == held
                    }
                    Life::None | Life::Started | Life::Ended(_) => false,
                };
                let will_run = |mark: u32, claiming: Claiming| {
                    state.claims[l].is_some_and(|claim| claim.mark == mark)
                        && claiming == Claiming::Sent(held)
                };
                let will_run =
                    cell.attempts.iter().flatten().any(|attempt| will_run(attempt.mark, attempt.claiming));
                if runs || will_run {
                    return Err(format!(
                        "promise 4: {by:?} says it is lost, and worker {w} may run it in its term"
                    ));
                }
            }
        }
        self.create(state, l, by, Kind::Lost);
        Ok(())
    }

    pub(super) fn read_finds(&self, state: &mut State, w: usize) {
        let now = state.revisions[1 - w];
        let watcher = &mut state.workers[w].watcher;
        let Some(read) = &mut watcher.read else { return };
        let is_old = self.is(Broken::StaleReads) && watcher.knows > 0;
        read.found = Some(if is_old { watcher.knows } else { now });
    }

    pub(super) fn read_heard(&self, state: &mut State, w: usize) {
        let other = 1 - w;
        let now = state.workers[w].clock;
        let watcher = &mut state.workers[w].watcher;
        let Some(read) = watcher.read.take() else { return };
        let Some(revision) = read.found else { return };
        if watcher.round == Round::Idle {
            let since = if self.is(Broken::SeenSinceTheBeginning) { read.begun } else { now };
            let overdue = watcher.sentinel.read([(other, revision)], read.begun, since);
            watcher.knows = revision;
            if overdue.contains(&other) {
                watcher.round = Round::Overdue;
            }
            return;
        }
        let is_gone = watcher.sentinel.is_gone(&other, revision, read.begun);
        let round = std::mem::replace(&mut watcher.round, Round::Idle);
        match round {
            Round::Listed(list) if is_gone => self.send_listed(state, w, list),
            Round::Overdue if is_gone => state.workers[w].watcher.round = Round::Confirmed,
            _ => {}
        }
    }

    pub(super) fn list(&self, state: &mut State, w: usize) {
        let list = [0, 1]
            .map(|l| state.claims[l].filter(|claim| state.results[l].is_none() && claim.worker == 1 - w));
        let without_a_read =
            self.is(Broken::DoesNotReadAgain) || state.workers[w].watcher.round == Round::Confirmed;
        state.workers[w].watcher.round = if without_a_read { Round::Idle } else { Round::Listed(list) };
        if without_a_read {
            self.send_listed(state, w, list);
        }
    }

    fn send_listed(&self, state: &mut State, w: usize, list: [Option<Claim>; 2]) {
        for (l, listed) in list.into_iter().enumerate() {
            self.touch_and_send_lost(state, l, listed, By::Sentinel(w));
        }
    }

    /// The claim is written again first, if it is still as it was seen: from then on it is not taken back, and nobody claims it before it has a result.
    pub(super) fn touch_and_send_lost(&self, state: &mut State, l: usize, seen: Option<Claim>, by: By) {
        if !state.counts(l, seen, self) {
            return;
        }
        if let Some(there) = state.claims[l].as_mut().filter(|_| !self.is(Broken::SaysLostOfWhatItListed)) {
            there.touched = true;
        }
        send_lost(state, l, by);
    }
}

/// It is sent until it is answered, so that it may land at any time; also when its sender is dead.
pub(super) fn send_lost(state: &mut State, l: usize, by: By) {
    if state.results[l].is_none() {
        state.lost[l][by.index()] = true;
    }
}

pub(super) fn ensure_stopped(state: &State, w: usize) -> Result<(), String> {
    let held = state.held(w);
    let is_over = |life: Life| matches!(life, Life::Running { term, .. } if held != Some(term));
    if state.workers[w].cells.iter().any(|cell| is_over(cell.life)) {
        return Err(format!("promise 5: worker {w} lets run what its clock says is over"));
    }
    Ok(())
}
