//! A worker's way from a launch to its process: it claims first, and never runs what it could not claim.

use super::Term;

/// What the engine said to the creation of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    /// It is this worker's, and new.
    Created,
    /// There is one, with this worker's mark of this very attempt: an answer before was lost.
    Own,
    /// There is one of somebody else, or of an attempt before this one.
    Foreign,
    /// Nothing was heard: it may be there or not, or come to be there.
    Unknown,
}

/// What a worker does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Next {
    /// Claim: create the key.
    Claim,
    /// Run it.
    Start,
    /// Create the result `lost`: it is claimed, and is not run.
    GiveUp,
    /// Nothing: it is somebody else's.
    Leave,
    /// Refuse it, so that the host asks another worker: nothing is claimed.
    Refuse,
    /// Create the key again, under the same mark, after a pause: only so it becomes known whose it is.
    Again,
}

/// One attempt of a worker to take one launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Claiming {
    /// It was asked for.
    Asked,
    /// The creation of the key is on its way, in this term of the lease.
    Sent(Term),
    /// It is decided. Whatever comes later changes nothing.
    Decided,
}

impl Claiming {
    /// It was asked, and has or has not a slot, in a term of the lease or in none.
    pub(crate) fn begin(self, has_slot: bool, held: Option<Term>) -> (Claiming, Next) {
        match (self, held) {
            (Claiming::Asked, Some(term)) if has_slot => (Claiming::Sent(term), Next::Claim),
            (Claiming::Asked, _) => (Claiming::Decided, Next::Refuse),
            (Claiming::Sent(_) | Claiming::Decided, _) => (self, Next::Leave),
        }
    }
    /// The engine has answered, or not. Which term it is, is asked *after* the answer: a claim that took longer than the lease may have been seen, and
    /// answered with `lost`, by a sentinel; also if there is a new term by now.
    pub(crate) fn heard(self, outcome: Outcome, held: Option<Term>) -> (Claiming, Next) {
        match (self, outcome) {
            (Claiming::Sent(term), Outcome::Created | Outcome::Own) if held == Some(term) => {
                (Claiming::Decided, Next::Start)
            }
            (Claiming::Sent(_), Outcome::Created | Outcome::Own) => (Claiming::Decided, Next::GiveUp),
            (Claiming::Sent(_), Outcome::Foreign) => (Claiming::Decided, Next::Leave),
            (Claiming::Sent(_), Outcome::Unknown) => (self, Next::Again),
            (Claiming::Asked | Claiming::Decided, _) => (self, Next::Leave),
        }
    }
}
