//! How long a worker may run what it has claimed.

/// Names one unbroken time in which a worker held its lease. What was begun in one is never finished in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term(u32);

/// A worker's right to run commands, by its own clock. Each heartbeat that the engine has stored gives it anew, from the moment at which the
/// heartbeat was *sent*: whoever finds a heartbeat unchanged for as long knows that the right has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lease {
    length_ms: u64,
    ends_ms: Option<u64>,
    term: Term,
}

impl Lease {
    /// Nothing is held before the first heartbeat.
    pub(crate) fn new(length_ms: u64) -> Lease {
        Lease { length_ms, ends_ms: None, term: Term(0) }
    }
    /// A heartbeat that was sent at one time is stored, which is known at the other. Answers may overtake each other: the newest heartbeat counts. If
    /// the lease had ended meanwhile a new term begins, and what ran in the one before has to be stopped, whether or not anybody has noticed.
    pub(crate) fn renewed(&mut self, sent_ms: u64, now_ms: u64) {
        if self.ends_ms.is_some_and(|ends| now_ms >= ends) {
            self.term.0 += 1;
        }
        self.ends_ms = self.ends_ms.max(Some(sent_ms.saturating_add(self.length_ms)));
    }
    /// The term in which commands may be claimed, started, and go on; none: nothing may.
    pub(crate) fn held(&self, now_ms: u64) -> Option<Term> {
        self.ends_ms.is_some_and(|ends| now_ms < ends).then_some(self.term)
    }
    /// What is left of it.
    pub(crate) fn left_ms(&self, now_ms: u64) -> u64 {
        self.ends_ms.map_or(0, |ends| ends.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_when_its_heartbeat_was_sent() {
        let mut lease = Lease::new(10);
        assert_eq!(lease.held(0), None);
        lease.renewed(0, 9);
        assert_eq!((lease.held(9), lease.held(10)), (Some(Term(0)), None));
        assert_eq!((lease.left_ms(9), lease.left_ms(11)), (1, 0));
    }

    #[test]
    fn of_answers_that_overtake_each_other_the_newest_heartbeat_counts() {
        let mut lease = Lease::new(10);
        lease.renewed(5, 6);
        lease.renewed(2, 7);
        assert_eq!((lease.held(14), lease.held(15)), (Some(Term(0)), None));
    }

    #[test]
    fn after_a_gap_a_new_term_begins_whether_or_not_anybody_has_noticed() {
        let mut lease = Lease::new(10);
        lease.renewed(0, 0);
        // It was sent in time, and heard too late: in between nothing was held.
        lease.renewed(9, 10);
        assert_eq!(lease.held(10), Some(Term(1)));
    }
}
