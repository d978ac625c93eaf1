//! Who of a tree is left, as its result says it.

use super::Child;
use crate::linux::{contain::tree::Probe, proc};
use ostler_messages::{Leftover, Outcome};

impl Child {
    /// Who lives on after SIGKILL and the time for it.
    pub(crate) fn survivors(&mut self) -> Option<Vec<Leftover>> {
        if let Probe::Asks | Probe::Waits = self.look() {
            // Nobody has looked since the kill, as far as this thread knows.
            self.found.lose_sight();
        }
        self.found.mark(Outcome::Survived);
        if self.exit.is_none() && !self.found.is_blind() {
            let pid = self.group.pid;
            let name = proc::look(pid).ok().and_then(|seen| seen.stat().map(|stat| stat.name.clone()));
            self.found.add_survivor(pid, name.unwrap_or_default());
        }
        self.leftovers()
    }

    /// Those who were seen last were sent SIGKILL.
    pub(crate) fn mark_killed(&mut self) {
        self.found.mark(Outcome::Killed);
    }

    /// What the result says.
    pub(crate) fn leftovers(&self) -> Option<Vec<Leftover>> {
        self.found.leftovers()
    }
}
