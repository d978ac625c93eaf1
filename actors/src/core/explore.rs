//! Visits every state that a pure machine can reach, breadth first.
//!
//! * in: a [`Space`]: what may happen in a state, what comes of it, and the rules
//! * out: how many states there are
//! * keeps: a rule that is broken is shown with the shortest way to it, as a trace

use std::{
    collections::HashSet,
    fmt::Write as _,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// A machine and the world around it.
pub(super) trait Space {
    type State: Clone;
    type Step: Copy;
    /// What tells two states apart.
    type Key: Eq + Hash;

    fn key(&self, state: &Self::State) -> Self::Key;
    /// What may happen.
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;
    /// What comes of it, or the rule that it breaks.
    fn take(&mut self, state: &Self::State, step: Self::Step) -> Result<Self::State, String>;
    /// Holds a state against the rules, between two steps.
    fn rests(&self, state: &Self::State) -> Result<(), String>;
    /// A line of a trace.
    fn tell(&self, state: &Self::State, step: Self::Step) -> String;
}

/// Returns how many states there are. Panics with a trace if a rule is broken.
pub(super) fn explore<S: Space>(space: &mut S, first: &S::State) -> usize {
    let mut seen: HashSet<S::Key, BuildHasherDefault<Quick>> = HashSet::default();
    // From which state, and by which step. States are numbered in the order of their discovery.
    let mut came: Vec<Option<(usize, S::Step)>> = vec![None];
    seen.insert(space.key(first));
    assert_eq!(space.rests(first), Ok(()), "at the beginning");
    let mut edge = vec![(0, first.clone())];
    while !edge.is_empty() {
        let mut next_edge = Vec::new();
        for (number, state) in edge {
            for step in space.steps(&state) {
                let broken = |space: &mut S, rule: &str| -> ! {
                    panic!("{rule}\n{}", trace(space, first, &came, number, step))
                };
                let next = match space.take(&state, step) {
                    Ok(next) => next,
                    Err(rule) => broken(space, &rule),
                };
                if seen.insert(space.key(&next)) {
                    if let Err(rule) = space.rests(&next) {
                        broken(space, &rule);
                    }
                    next_edge.push((came.len(), next));
                    came.push(Some((number, step)));
                }
            }
        }
        edge = next_edge;
    }
    seen.len()
}

/// How it came to the step that broke a rule.
fn trace<S: Space>(
    space: &mut S,
    first: &S::State,
    came: &[Option<(usize, S::Step)>],
    mut number: usize,
    last: S::Step,
) -> String {
    let mut steps = vec![last];
    while let Some((from, step)) = came[number] {
        steps.push(step);
        number = from;
    }
    let (mut lines, mut state) = (String::new(), first.clone());
    for step in steps.into_iter().rev() {
        let _ = writeln!(lines, "  {}", space.tell(&state, step));
        state = space.take(&state, step).unwrap_or(state);
    }
    lines
}

/// Nobody attacks these tables, and the usual hash takes half of a walk's time.
#[derive(Default)]
struct Quick(u64);
impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n.cast_unsigned() as u64);
    }
}

/// A counter that must not reach three.
struct Counter;
impl Space for Counter {
    type State = u8;
    type Step = u8;
    type Key = u8;
    fn key(&self, state: &u8) -> u8 {
        *state
    }
    fn steps(&self, state: &u8) -> Vec<u8> {
        vec![1, 4 - state]
    }
    fn take(&mut self, state: &u8, step: u8) -> Result<u8, String> {
        Ok((state + step) % 4)
    }
    fn rests(&self, state: &u8) -> Result<(), String> {
        if *state == 3 { Err("three".to_owned()) } else { Ok(()) }
    }
    fn tell(&self, state: &u8, step: u8) -> String {
        format!("{state} + {step}")
    }
}

#[test]
#[should_panic(expected = "three\n  0 + 1\n  1 + 1\n  2 + 1\n")]
fn a_broken_rule_is_shown_with_the_shortest_way_to_it() {
    explore(&mut Counter, &0);
}
