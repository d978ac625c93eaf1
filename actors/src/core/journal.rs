//! Whether what is to survive the host is written, and who waits for it: pure.
//!
//! * in: appends and claims of sessions; what the writer says; that its time is up
//! * out: appends to the writer; answers that may go out; that it can't be written
//! * keeps: nobody waits for a disk for longer than [`LIMIT_MS`]; what a journal that failed has missed it is told in one piece

use ostler_messages::{ActorName, Append, Mark, Row, SessionId};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

/// After how long nobody waits any more for a write, at the latest: a disk that answers takes milliseconds, one with a failing sector some
/// seconds.
pub(crate) const LIMIT_MS: u64 = 5_000;
/// What waited at a look and waits still at the next one is given up: so nobody waits for longer than two of them.
pub(crate) const LOOK_MS: u64 = LIMIT_MS / 2;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Write this.
    Append(Append),
    /// Make a session the host's own.
    Claim(SessionId),
    /// A session is the host's own, or another one's.
    Claimed { session_id: SessionId, held_by: Option<u32>, next: Option<u64> },
    /// Answers that wait for these may go out.
    Clear(Vec<Mark>),
    /// Look again after [`LOOK_MS`].
    Arm,
    /// It can't be written.
    Trouble(String),
    /// All that there is is written again.
    Works,
    /// All who append are to say all that there is.
    WriteAgain,
}
type Effects = Vec<Effect>;

#[derive(Clone, Debug, PartialEq)]
enum State {
    Up,
    /// Nothing is written. `silent`: the writer has not come back from its disk.
    Down {
        silent: bool,
    },
    /// It can be written again; what there is comes from these two, and what they append meanwhile goes behind it.
    Beginning {
        all: BTreeMap<ActorName, Vec<Row>>,
        behind: Vec<Append>,
    },
}

/// Those who append what they hold.
const WRITERS: usize = 2;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    state: State,
    /// How far each has come, and how far of that is written.
    sent: BTreeMap<ActorName, u64>,
    written: BTreeMap<ActorName, u64>,
    claims: BTreeSet<SessionId>,
    /// How often it began anew.
    begun: u64,
    /// A timer runs.
    armed: bool,
    /// What waited at the last look.
    due: (BTreeMap<ActorName, u64>, BTreeSet<SessionId>),
    /// The host was told that it can't be written, and not that it can.
    told: bool,
}

impl Journal {
    pub(crate) fn new() -> Journal {
        Journal {
            state: State::Up,
            sent: BTreeMap::new(),
            written: BTreeMap::new(),
            claims: BTreeSet::new(),
            begun: 0,
            armed: false,
            due: Default::default(),
            told: false,
        }
    }

    pub(crate) fn append(&mut self, append: Append) -> Effects {
        let mark = (append.n > 0).then_some(Mark { by: append.by, n: append.n });
        self.sent.extend(mark.map(|mark| (mark.by, mark.n)));
        match &mut self.state {
            State::Up => {
                let mut effects = vec![Effect::Append(append)];
                self.arm(&mut effects);
                effects
            }
            State::Beginning { behind, .. } => {
                behind.push(append);
                Effects::new()
            }
            State::Down { .. } => self.clear(),
        }
    }

    pub(crate) fn claim(&mut self, session_id: SessionId) -> Effects {
        if self.state == (State::Down { silent: true }) {
            return vec![Effect::Claimed { session_id, held_by: None, next: None }];
        }
        self.claims.insert(session_id.clone());
        let mut effects = vec![Effect::Claim(session_id)];
        self.arm(&mut effects);
        effects
    }

    pub(crate) fn claimed(
        &mut self,
        session_id: SessionId,
        held_by: Option<u32>,
        next: Option<u64>,
    ) -> Effects {
        // One that was not waited for any longer is open already.
        let mut effects = match self.claims.remove(&session_id) {
            true => vec![Effect::Claimed { session_id, held_by, next }],
            false => Effects::new(),
        };
        if self.state == (State::Down { silent: true }) {
            effects.extend(self.back());
        }
        effects
    }

    /// The writer has come so far.
    pub(crate) fn recorded(&mut self, marks: Vec<Mark>) -> Effects {
        match self.state {
            // It has come back from its disk, but has not been told everything.
            State::Down { .. } => self.back(),
            _ => {
                for mark in &marks {
                    let written = self.written.entry(mark.by).or_default();
                    *written = mark.n.max(*written);
                }
                let whole = marks.iter().any(|mark| (mark.by, mark.n) == (ActorName::Journal, self.begun));
                let mut effects = vec![Effect::Clear(marks)];
                if whole && mem::take(&mut self.told) {
                    effects.push(Effect::Works);
                }
                effects
            }
        }
    }

    /// The writer has given up, until it says that it is back.
    pub(crate) fn failed(&mut self, error: String) -> Effects {
        self.state = State::Down { silent: false };
        let mut effects = self.clear();
        self.tell(error, &mut effects);
        effects
    }
    /// Once, until all that there is is written again.
    fn tell(&mut self, error: String, effects: &mut Effects) {
        if !mem::replace(&mut self.told, true) {
            effects.push(Effect::Trouble(error));
        }
    }

    /// It can be written again.
    pub(crate) fn back(&mut self) -> Effects {
        self.state = State::Beginning { all: BTreeMap::new(), behind: Vec::new() };
        vec![Effect::WriteAgain]
    }

    /// All that one of those who append has to say.
    pub(crate) fn all(&mut self, by: ActorName, rows: Vec<Row>) -> Effects {
        let State::Beginning { all, .. } = &mut self.state else { return Effects::new() };
        all.insert(by, rows);
        if all.len() < WRITERS {
            return Effects::new();
        }
        let State::Beginning { all, behind } = mem::replace(&mut self.state, State::Up) else {
            return Effects::new();
        };
        // In one append, so that it is there whole or not at all. Sessions and commands come before what stands in their inboxes.
        let of = |writer: ActorName| all.get(&writer).cloned().unwrap_or_default();
        let rows = [vec![Row::Reset], of(ActorName::Supervisor), of(ActorName::Inbox)].concat();
        self.begun += 1;
        self.sent.insert(ActorName::Journal, self.begun);
        let whole = Append { by: ActorName::Journal, n: self.begun, rows };
        let mut effects = vec![Effect::Append(whole)];
        effects.extend(behind.into_iter().map(Effect::Append));
        self.arm(&mut effects);
        effects
    }

    /// It is time to look who waits.
    pub(crate) fn time_up(&mut self) -> Effects {
        self.armed = false;
        let mut effects = Effects::new();
        let (sent, claims) = mem::take(&mut self.due);
        let written = |by: &ActorName| self.written.get(by).copied().unwrap_or(0);
        let late =
            sent.iter().any(|(by, n)| written(by) < *n) || claims.iter().any(|id| self.claims.contains(id));
        if !late {
            if self.sent != self.written || !self.claims.is_empty() {
                self.arm(&mut effects);
            }
            return effects;
        }
        self.state = State::Down { silent: true };
        effects.extend(self.clear());
        let claimed = |session_id| Effect::Claimed { session_id, held_by: None, next: None };
        effects.extend(mem::take(&mut self.claims).into_iter().map(claimed));
        let error = format!(
            "the disk has not answered for up to {LIMIT_MS} ms; what happens now does not survive the host"
        );
        self.tell(error, &mut effects);
        effects
    }

    fn arm(&mut self, effects: &mut Effects) {
        if !self.armed {
            self.armed = true;
            // All that is on its way by now.
            self.due = (self.sent.clone(), self.claims.clone());
            effects.push(Effect::Arm);
        }
    }
    /// Nobody is to wait for what does not come.
    fn clear(&mut self) -> Effects {
        self.written.clone_from(&self.sent);
        let marks: Vec<Mark> = self.sent.iter().map(|(by, n)| Mark { by: *by, n: *n }).collect();
        if marks.is_empty() { Effects::new() } else { vec![Effect::Clear(marks)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ActorName = ActorName::Supervisor;
    const B: ActorName = ActorName::Inbox;

    fn append(by: ActorName, n: u64) -> Append {
        Append { by, n, rows: vec![Row::SessionEnded { session_id: "s".into() }] }
    }
    fn clear(marks: &[(ActorName, u64)]) -> Effect {
        Effect::Clear(marks.iter().map(|(by, n)| Mark { by: *by, n: *n }).collect())
    }
    fn marks(marks: &[(ActorName, u64)]) -> Vec<Mark> {
        marks.iter().map(|(by, n)| Mark { by: *by, n: *n }).collect()
    }

    fn claimed(session_id: &str) -> Effect {
        Effect::Claimed { session_id: session_id.into(), held_by: None, next: None }
    }

    #[test]
    fn what_is_written_lets_answers_go_and_the_timer_runs_once() {
        let mut journal = Journal::new();
        assert_eq!(journal.append(append(A, 1)), [Effect::Append(append(A, 1)), Effect::Arm]);
        assert_eq!(journal.append(append(B, 1)), [Effect::Append(append(B, 1))]);
        assert_eq!(journal.append(append(ActorName::Process(1), 0)).len(), 1, "nobody waits for it");
        assert_eq!(journal.recorded(marks(&[(A, 1)])), [clear(&[(A, 1)])]);
        assert_eq!(journal.time_up(), [Effect::Arm], "the second has waited for less than a look");
        assert_eq!(journal.recorded(marks(&[(B, 1)])), [clear(&[(B, 1)])]);
        assert_eq!(journal.time_up(), [], "nobody waits");
        assert_eq!(journal.append(append(A, 2))[1], Effect::Arm);
    }

    #[test]
    fn when_it_fails_nobody_waits_and_the_host_is_told_once() {
        let mut journal = Journal::new();
        journal.append(append(A, 1));
        let told = Effect::Trouble("full".into());
        assert_eq!(journal.failed("full".into()), [clear(&[(A, 1)]), told]);
        assert_eq!(journal.append(append(A, 2)), [clear(&[(A, 2)])]);
        assert_eq!(journal.failed("still full".into()), [clear(&[(A, 2)])]);
        assert_eq!(journal.time_up(), []);
        // Not again, if a new one can be made and not be filled.
        journal.back();
        journal.all(A, vec![]);
        journal.all(B, vec![]);
        let cleared = clear(&[(A, 2), (ActorName::Journal, 1)]);
        assert_eq!(journal.failed("still full".into()), [cleared]);
        // A claim can be had without it.
        assert_eq!(journal.claim("s".into())[0], Effect::Claim("s".into()));
        assert_eq!(journal.claimed("s".into(), None, None), [claimed("s")]);
    }

    #[test]
    fn when_it_is_back_it_is_told_everything_in_one_piece_and_then_what_came_meanwhile() {
        let mut journal = Journal::new();
        journal.failed("full".into());
        assert_eq!(journal.back(), [Effect::WriteAgain]);
        let row = |id: &str| Row::SessionEnded { session_id: id.into() };
        assert_eq!(journal.all(B, vec![row("b")]), []);
        assert_eq!(journal.append(append(B, 1)), []);
        let rows = vec![Row::Reset, row("a"), row("b")];
        let whole = Append { by: ActorName::Journal, n: 1, rows };
        let effects = journal.all(A, vec![row("a")]);
        assert_eq!(effects[..2], [Effect::Append(whole), Effect::Append(append(B, 1))]);
        let written = [(ActorName::Journal, 1), (B, 1)];
        assert_eq!(journal.recorded(marks(&written)), [clear(&written), Effect::Works]);
        let told = journal.failed("full again".into());
        assert_eq!(told.last(), Some(&Effect::Trouble("full again".into())), "another outage is told of");
    }

    #[test]
    fn a_disk_that_does_not_answer_holds_up_nobody_for_longer_than_its_limit() {
        let mut journal = Journal::new();
        journal.append(append(A, 1));
        journal.recorded(marks(&[(A, 1)]));
        // Right after the timer was set.
        journal.append(append(A, 2));
        journal.claim("s".into());
        assert_eq!(journal.time_up(), [Effect::Arm], "half of it");
        let effects = journal.time_up();
        assert_eq!(effects[..2], [clear(&[(A, 2)]), claimed("s")]);
        assert!(matches!(&effects[2..], [Effect::Trouble(error)] if error.contains("5000 ms")));
        assert_eq!(journal.claim("t".into()), [claimed("t")], "nobody is asked who does not answer");
        // It comes back, too late for that one: what it has written is not all.
        assert_eq!(journal.claimed("s".into(), Some(7), None), [Effect::WriteAgain]);
    }

    #[test]
    fn a_journal_that_has_failed_and_hangs_then_keeps_no_session_closed() {
        let mut journal = Journal::new();
        journal.failed("input/output error".into());
        assert_eq!(journal.claim("s".into()), [Effect::Claim("s".into()), Effect::Arm]);
        assert_eq!(journal.time_up(), [claimed("s")], "the host was told already");
        assert_eq!(journal.recorded(vec![]), [Effect::WriteAgain]);
    }
}
