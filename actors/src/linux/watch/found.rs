//! Who of a tree was found alive after its leader's exit.
//!
//! * in: who was seen at each look, and that nobody could look
//! * out: what the result says of them
//! * keeps: "could not look" is never "nobody"

use crate::linux::contain::members::{Member, NAMED};
use ostler_messages::{Leftover, Outcome};
use std::collections::BTreeMap;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Found {
    leftovers: BTreeMap<u32, Leftover>,
    /// Who was alive at the last look.
    seen: Vec<u32>,
    /// Nobody could look for a part of the tree.
    blind: bool,
}

impl Found {
    /// A part of the tree can't be answered for.
    pub(crate) fn lose_sight(&mut self) {
        self.blind = true;
    }
    pub(crate) fn is_blind(&self) -> bool {
        self.blind
    }
    /// Nobody was ever seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.leftovers.is_empty()
    }

    /// Those who are seen now. Whoever is new among them, or was kept until now, will have this outcome.
    pub(crate) fn take(&mut self, seen: &[Member], outcome: Outcome) {
        for Member { pid, name, .. } in seen {
            if let Some(leftover) = self.leftovers.get_mut(pid) {
                if leftover.outcome == Outcome::Kept {
                    leftover.outcome = outcome;
                }
            } else if self.leftovers.len() < NAMED {
                self.leftovers.insert(*pid, Leftover::new(*pid, name.as_str(), outcome));
            }
        }
        self.seen = seen.iter().map(|member| member.pid).collect();
    }

    /// Those who were seen last were sent SIGKILL, or are known to live on.
    pub(crate) fn mark(&mut self, outcome: Outcome) {
        for pid in &self.seen {
            if let Some(leftover) = self.leftovers.get_mut(pid) {
                leftover.outcome = outcome;
            }
        }
    }

    /// The leader itself can't be killed.
    pub(crate) fn add_survivor(&mut self, pid: u32, name: String) {
        self.leftovers.insert(pid, Leftover::new(pid, name, Outcome::Survived));
    }

    /// What the result says.
    pub(crate) fn leftovers(&self) -> Option<Vec<Leftover>> {
        (!self.blind).then(|| self.leftovers.values().cloned().collect())
    }
}
