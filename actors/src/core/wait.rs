//! One wait as a pure function of what is seen: which condition answers it, and when.
//!
//! * in: [`Event`]s: what the kernel sees, the command's end, the caller's time
//! * out: [`Effect`]s; the last one is the answer
//! * keeps: one answer; of several conditions that hold at the beginning the first in the list; no exit before everything recorded was
//!   searched
//!
//! | seen | while not all was looked at once | afterwards |
//! |---|---|---|
//! | a condition holds | remembered; answered when all before it in the list were looked at | answered |
//! | it can't hold any more | as if it was looked at | answered, if nothing that was asked for can still hold |
//! | the command has ended | remembered | answered with a match that was found, or with the exit once no search is left |
//! | the time is up | one more moment for what was not looked at yet | answered |

use ostler_messages::{Condition, Met, RecordingStopped, WaitEnd};

/// What is seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The condition holds.
    Met { index: usize, by: Met },
    /// It was looked at, and does not hold yet.
    Open { index: usize, unseen: u64 },
    /// Its search has come to the end of what there is or will be.
    Never { index: usize, stopped: Option<RecordingStopped> },
    /// The command has ended.
    Ended,
    /// The caller's time is up.
    TimeUp,
    /// The time for the first looks is up too.
    LastLookUp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Time for the first looks.
    ArmLastLook,
    /// The answer. Nothing comes after it.
    Answer { end: WaitEnd, unseen: u64, stopped: Option<RecordingStopped> },
}

/// How a condition stands.
#[derive(Clone, Debug, PartialEq)]
enum ConditionState {
    /// Nobody has looked yet.
    No,
    Open,
    Met(Met),
    Never,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wait {
    looks: Vec<ConditionState>,
    /// Which of them are searches of the output: they go on after the command's end.
    searches: Vec<bool>,
    /// Which were asked for beside searches: the wait goes on for them when the recording has stopped.
    others: bool,
    unseen: Vec<u64>,
    stopped: Option<RecordingStopped>,
    ended: bool,
    time_up: bool,
    answered: bool,
}

impl Wait {
    pub(crate) fn new(conditions: &[Condition]) -> Wait {
        let is_search = |condition: &Condition| matches!(condition, Condition::Output { .. });
        // Of the exit somebody else tells.
        let first = |condition: &Condition| match condition {
            Condition::Exit => ConditionState::Open,
            _ => ConditionState::No,
        };
        Wait {
            looks: conditions.iter().map(first).collect(),
            searches: conditions.iter().map(is_search).collect(),
            others: conditions.is_empty() || conditions.iter().any(|condition| !is_search(condition)),
            unseen: vec![0; conditions.len()],
            stopped: None,
            ended: false,
            time_up: false,
            answered: false,
        }
    }

    /// Whether the kernel has to search or look for anything.
    pub(crate) fn needs_kernel(&self) -> bool {
        self.looks.contains(&ConditionState::No)
    }

    pub(crate) fn step(&mut self, event: Event) -> Option<Effect> {
        if self.answered {
            return None;
        }
        match event {
            // Of a command that has ended nobody is left who could listen or wait: it was somebody else.
            Event::Met { index, .. }
                if self.ended && !self.searches.get(index).is_some_and(|search| *search) => {}
            Event::Met { index, by } => self.set(index, ConditionState::Met(by)),
            Event::Open { index, unseen } => {
                if let Some(count) = self.unseen.get_mut(index) {
                    *count = unseen;
                }
                if self.looks.get(index) == Some(&ConditionState::No) {
                    self.set(index, ConditionState::Open);
                }
            }
            Event::Never { index, stopped } => {
                self.set(index, ConditionState::Never);
                self.stopped = self.stopped.take().or(stopped);
            }
            Event::Ended => self.ended = true,
            Event::TimeUp if self.looks_are_missing() && !self.time_up => {
                self.time_up = true;
                return Some(Effect::ArmLastLook);
            }
            Event::TimeUp => self.time_up = true,
            Event::LastLookUp => return self.time_up.then(|| self.answer(WaitEnd::TimedOut)),
        }
        self.judge()
    }

    /// A condition that was met stays met.
    fn set(&mut self, index: usize, look: ConditionState) {
        if let Some(place) = self.looks.get_mut(index)
            && !matches!(place, ConditionState::Met(_))
        {
            *place = look;
        }
    }

    /// After the command's end only searches are still looked for.
    fn is_missing(&self, index: usize) -> bool {
        self.looks[index] == ConditionState::No && (!self.ended || self.searches[index])
    }
    fn looks_are_missing(&self) -> bool {
        (0..self.looks.len()).any(|index| self.is_missing(index))
    }

    fn judge(&mut self) -> Option<Effect> {
        let met = self.looks.iter().position(|look| matches!(look, ConditionState::Met(_)));
        if let Some(index) = met {
            // Who stands before it in the list may hold too.
            let waits = (0..index).any(|before| self.is_missing(before));
            let ConditionState::Met(by) = &self.looks[index] else { return None };
            let end = WaitEnd::Met { index, by: by.clone() };
            return (!waits).then(|| self.answer(end));
        }
        let mut searches = (0..self.looks.len()).filter(|index| self.searches[*index]);
        let searched = searches.all(|index| self.looks[index] == ConditionState::Never);
        if self.ended && searched {
            return Some(self.answer(WaitEnd::Exit));
        }
        if self.stopped.is_some() && searched && !self.others {
            return Some(self.answer(WaitEnd::RecordingStopped));
        }
        (self.time_up && !self.looks_are_missing()).then(|| self.answer(WaitEnd::TimedOut))
    }

    fn answer(&mut self, end: WaitEnd) -> Effect {
        self.answered = true;
        let unseen = self.unseen.iter().copied().max().unwrap_or(0);
        Effect::Answer { end, unseen, stopped: self.stopped.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::explore::{Space, explore};
    use std::{
        collections::hash_map::DefaultHasher,
        hash::{Hash as _, Hasher as _},
    };

    const STOPPED: &str = "the disk is full";

    fn stopped() -> Option<RecordingStopped> {
        Some(RecordingStopped { offset: 7, why: STOPPED.into() })
    }

    /// What a kernel, a command and a clock can do, each once, in every order that they keep to.
    #[derive(Clone, Debug)]
    struct Around {
        wait: Wait,
        /// Of each condition: looked at, met, never.
        told: Vec<[bool; 3]>,
        ended: bool,
        time_up: bool,
        last_look: Option<bool>,
        answer: Option<WaitEnd>,
    }
    struct Plan(Vec<Condition>);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Met(usize),
        Open(usize),
        Never(usize),
        Stopped(usize),
        Ended,
        TimeUp,
        LastLookUp,
    }
    fn event(step: Step) -> Event {
        match step {
            Step::Met(index) => Event::Met { index, by: Met::Silence { ms: index as u64 } },
            Step::Open(index) => Event::Open { index, unseen: 2 },
            Step::Never(index) => Event::Never { index, stopped: None },
            Step::Stopped(index) => Event::Never { index, stopped: stopped() },
            Step::Ended => Event::Ended,
            Step::TimeUp => Event::TimeUp,
            Step::LastLookUp => Event::LastLookUp,
        }
    }

    impl Space for Plan {
        type State = Around;
        type Step = Step;
        type Key = u64;
        fn key(&self, state: &Around) -> u64 {
            let mut hasher = DefaultHasher::new();
            format!("{state:?}").hash(&mut hasher);
            hasher.finish()
        }
        fn steps(&self, state: &Around) -> Vec<Step> {
            let mut steps = Vec::new();
            if state.answer.is_some() {
                return steps;
            }
            for (index, condition) in self.0.iter().enumerate() {
                let [open, met, never] = state.told[index];
                let search = matches!(condition, Condition::Output { .. });
                if *condition == Condition::Exit || met || never || (state.ended && !search) {
                    continue;
                }
                steps.push(Step::Met(index));
                // Once everything was recorded, a search is over with its first look.
                steps.extend((!open && !state.ended).then_some(Step::Open(index)));
                steps.extend((search && state.ended).then_some(Step::Never(index)));
                steps.extend(search.then_some(Step::Stopped(index)));
            }
            steps.extend((!state.ended).then_some(Step::Ended));
            steps.extend((!state.time_up).then_some(Step::TimeUp));
            steps.extend((state.last_look == Some(true)).then_some(Step::LastLookUp));
            steps
        }
        fn take(&mut self, before: &Around, step: Step) -> Result<Around, String> {
            let mut state = before.clone();
            match step {
                Step::Met(index) => state.told[index][1] = true,
                Step::Open(index) => state.told[index][0] = true,
                Step::Never(index) | Step::Stopped(index) => state.told[index][2] = true,
                Step::Ended => state.ended = true,
                Step::TimeUp => state.time_up = true,
                Step::LastLookUp => state.last_look = Some(false),
            }
            match state.wait.step(event(step)) {
                None => {}
                Some(Effect::ArmLastLook) => state.last_look = Some(true),
                Some(Effect::Answer { end, .. }) => {
                    self.rightly(&state, &end)?;
                    if state.wait.step(Event::Ended).is_some() {
                        return Err("answered twice".into());
                    }
                    state.answer = Some(end);
                }
            }
            Ok(state)
        }
        fn rests(&self, state: &Around) -> Result<(), String> {
            // Everything that could come has come.
            let silent = self.steps(state).is_empty();
            if silent && state.answer.is_none() { Err("never answered".into()) } else { Ok(()) }
        }
        fn tell(&self, state: &Around, step: Step) -> String {
            format!("{step:?} → {:?}", state.wait.clone().step(event(step)))
        }
    }
    impl Plan {
        /// Seen from what was told alone.
        fn rightly(&self, state: &Around, end: &WaitEnd) -> Result<(), String> {
            let is_search = |index: &usize| matches!(self.0[*index], Condition::Output { .. });
            let looked = |index: &usize| {
                state.told[*index] != [false; 3]
                    || self.0[*index] == Condition::Exit
                    || (state.ended && !is_search(index))
            };
            let searched = (0..self.0.len()).filter(is_search).all(|index| state.told[index][2]);
            let nothing_met = state.told.iter().all(|told| !told[1]);
            let right = match end {
                WaitEnd::Met { index, .. } => {
                    let first = state.told.iter().position(|told| told[1]) == Some(*index);
                    first && (0..*index).all(|before| looked(&before))
                }
                WaitEnd::Exit => state.ended && searched && nothing_met,
                WaitEnd::RecordingStopped => {
                    (0..self.0.len()).all(|index| state.told[index][2]) && !state.ended
                }
                WaitEnd::TimedOut => {
                    let all_looked = (0..self.0.len()).all(|index| looked(&index));
                    state.time_up && (all_looked || state.last_look == Some(false))
                }
                _ => false,
            };
            if right { Ok(()) } else { Err(format!("answered by {end:?}")) }
        }
        fn walk(mut self) -> usize {
            let wait = Wait::new(&self.0);
            let told = vec![[false; 3]; self.0.len()];
            let first = Around { wait, told, ended: false, time_up: false, last_look: None, answer: None };
            explore(&mut self, &first)
        }
    }

    #[test]
    fn every_order_has_one_answer_and_the_right_one() {
        let silence = Condition::silence_ms(9);
        let text = || Condition::text("ready");
        let plans = [
            vec![],
            vec![text()],
            vec![silence.clone(), text()],
            vec![text(), Condition::Exit, silence.clone()],
            vec![text(), Condition::any_port(), text()],
        ];
        // Another number of states means that it goes other ways than before, and somebody has to say why.
        assert_eq!(plans.map(|plan| Plan(plan).walk()), [3, 26, 82, 100, 668]);
    }

    #[test]
    fn what_could_not_be_looked_at_is_told_with_the_answer() {
        let mut wait = Wait::new(&[Condition::Input]);
        assert_eq!(wait.step(Event::Open { index: 0, unseen: 3 }), None);
        assert_eq!(wait.step(Event::Open { index: 0, unseen: 2 }), None);
        let answer = Effect::Answer { end: WaitEnd::TimedOut, unseen: 2, stopped: None };
        assert_eq!(wait.step(Event::TimeUp), Some(answer));
    }

    #[test]
    fn when_the_recording_stops_the_other_conditions_go_on() {
        let mut wait = Wait::new(&[Condition::text("ready"), Condition::Exit]);
        assert_eq!(wait.step(Event::Never { index: 0, stopped: stopped() }), None);
        let answer = Effect::Answer { end: WaitEnd::Exit, unseen: 0, stopped: stopped() };
        assert_eq!(wait.step(Event::Ended), Some(answer));
        let mut wait = Wait::new(&[Condition::text("ready")]);
        let answer = Effect::Answer { end: WaitEnd::RecordingStopped, unseen: 0, stopped: stopped() };
        assert_eq!(wait.step(Event::Never { index: 0, stopped: stopped() }), Some(answer));
    }
}
