//! `ostler mcp` under whatever a client can send: broken lines, wrong types, unknown tools and handles, paths elsewhere, ids that come twice, lines of a
//! gigabyte, written in pieces and all at once. Each round is a server of its own:
//!
//! ```text
//! OSTLER_FUZZ_SECONDS=60 OSTLER_TESTS_SEED=1 cargo test -p ostler-cli --test fuzz -- --nocapture
//! ```
//!
//! After each round the server answers and works; every request has had exactly one answer; every line that it wrote is a message; each end was told
//! once; its memory is bounded; and when its input ends, it ends, and nothing of it lives. A round that fails says by which seed it comes again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod inputs;
mod server;

use fastrand::Rng;
use inputs::Inputs;
use server::{Heard, Server};
use std::{
    env, panic,
    time::{Duration, Instant},
};

/// How long it runs as one test among others.
const SECONDS: u64 = 4;
/// Lines in a round: enough that commands of it meet, few enough to read.
const LINES: usize = 150;
/// One round in so many begins with a line of a gigabyte, which takes seconds.
const GIGABYTE_ROUNDS: u64 = 50;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn round(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let modern = rng.bool();
    let mut server = Server::start(modern, rng.bool());
    let mut inputs = Inputs::new(seed, server.pid());
    if seed % GIGABYTE_ROUNDS == GIGABYTE_ROUNDS - 1 {
        server.gigabyte();
    }
    for _ in 0..LINES {
        let meta = server.meta().filter(|_| inputs.rng.u8(..20) > 0).cloned();
        let (bytes, owed) = inputs.line(meta.as_ref());
        // In pieces: where a write ends says nothing.
        let pieces = if inputs.rng.u8(..3) == 0 { inputs.rng.usize(1..5) } else { 1 };
        server.send(&bytes, pieces, owed);
    }
    let heard = server.settle();
    heard.check();
    server.end();
}

#[test]
fn whatever_a_client_sends_is_answered_once_and_leaves_nothing() {
    let until = Instant::now() + Duration::from_secs(number("OSTLER_FUZZ_SECONDS", SECONDS));
    let first = number("OSTLER_TESTS_SEED", 1);
    let mut seed = first;
    loop {
        let done = panic::catch_unwind(|| round(seed));
        if let Err(failure) = done {
            eprintln!(
                "\nOSTLER_FUZZ_SECONDS=0 OSTLER_TESTS_SEED={seed} cargo test -p ostler-cli --test fuzz runs this round again"
            );
            panic::resume_unwind(failure);
        }
        seed += 1;
        if Instant::now() >= until {
            break;
        }
    }
    eprintln!("{} rounds of {LINES} lines, seeds {first} to {}", seed - first, seed - 1);
}

#[test]
fn the_same_seed_gives_the_same_lines() {
    let all = |seed| {
        let mut inputs = Inputs::new(seed, 7);
        (0..LINES).map(|_| inputs.line(None)).collect::<Vec<_>>()
    };
    assert!(all(3) == all(3) && all(3) != all(4));
}

#[test]
fn an_answer_that_lacks_and_one_that_is_too_much_are_seen() {
    for (answers, right) in [(0, false), (1, true), (2, false)] {
        let heard = Heard::of_one(answers);
        assert_eq!(panic::catch_unwind(|| heard.check()).is_ok(), right, "{answers}");
    }
}
