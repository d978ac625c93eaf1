//! What the program costs beside the library: `cargo bench -p ostler-cli --bench mcp`.
//!
//! Peers are measured in the same run, in turns: a launch over stdio beside the same through the Rust API, `ostler run` beside
//! timeout(1). `OSTLER_BENCH_SMOKE=1` runs everything once in a small size: to see that it runs, not how fast.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program that measures, and stops when it can't"
)]
#![allow(missing_docs, reason = "a program")]

#[path = "../tests/mcp/client.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod client;
#[path = "../tests/mcp/place.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod place;

use client::Client;
use ostler::{Command, Config, Ostler, Ran};
use place::Place;
use serde_json::json;
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn row(what: &str, measured: f64, unit: &str, bound: f64) {
    let verdict = if measured <= bound { "met" } else { "MISSED" };
    println!("{what:<58} {measured:>9.2} {unit:<4} bound {bound:>7.2}  {verdict}");
}

fn run_true(client: &mut Client) {
    let said = client.call("run_command", json!({ "argv": ["true"] }));
    assert_eq!(said.field("exit_code"), 0);
}

/// `true` over stdio and through the library.
fn added(rounds: usize) {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let ostler = Ostler::start(Config::new().artifact_root(place.path("library"))).unwrap();
    let session = ostler.open_session().wait().unwrap();
    let (mut served, mut called) = (Vec::new(), Vec::new());
    for round in 0..rounds + 20 {
        let by_server = timed(|| run_true(&mut client));
        let by_library = timed(|| {
            let ran = session.run_for(Command::new("true"), Duration::from_secs(10)).wait().unwrap();
            assert!(matches!(ran, Ran::Ended(_)));
        });
        // The first ones warm up.
        if round >= 20 {
            served.push(by_server);
            called.push(by_library);
        }
    }
    let (served, called) = (median(served), median(called));
    println!("    run_command of true {served:.2} ms, run_for {called:.2} ms");
    row("run_command of true, added to the library's launch", served - called, "ms", 1.0);
    ostler.shutdown().wait().unwrap();
}

/// One cancel beside floods.
fn cancel(rounds: usize, floods: usize) {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    let handles: Vec<String> = (0..floods).map(|_| client.start_command("yes >/dev/stdout")).collect();
    let mut times = Vec::new();
    for _ in 0..rounds {
        let handle = client.start_command("sleep 1000");
        times.push(timed(|| {
            let said = client.call("cancel_command", json!({ "handle": handle }));
            assert_eq!(said.field("status"), "killed");
        }));
    }
    row(&format!("a cancel beside {floods} floods"), median(times), "ms", 20.0);
    for handle in handles {
        client.call("cancel_command", json!({ "handle": handle, "force": true }));
    }
}

fn resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A later call, and the server's memory, after many commands.
fn many(rounds: usize, before: usize, commands: usize) {
    let place = Place::new();
    let mut client = place.start(&[]).old();
    for _ in 0..before {
        run_true(&mut client);
    }
    let first = median((0..rounds).map(|_| timed(|| run_true(&mut client))).collect());
    let mut done = before + rounds;
    let mut begun = None;
    while done < commands {
        if done >= 1_000 && begun.is_none() {
            let later = median((0..rounds).map(|_| timed(|| run_true(&mut client))).collect());
            row("a call after 1,000 commands, of one before", later / first, "", 1.1);
            done += rounds;
            begun = Some(resident_kib(client.pid()));
        }
        run_true(&mut client);
        done += 1;
    }
    if let Some(begun) = begun {
        let grown = (resident_kib(client.pid()) - begun) / 1_024.0;
        row(&format!("memory of the server, from 1,000 to {commands} commands"), grown, "MiB", 10.0);
    }
}

/// `ostler run -- true` beside `timeout 10 true`.
fn run(rounds: usize) {
    let place = Place::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(timed(|| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"));
            command.args(["run", "--artifacts"]).arg(place.path("artifacts")).args(["--", "true"]);
            assert!(command.stderr(Stdio::null()).status().unwrap().success());
        }));
        theirs.push(timed(|| {
            let mut command = std::process::Command::new("timeout");
            assert!(command.args(["10", "true"]).status().unwrap().success());
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("    ostler run {ours:.2} ms, timeout {theirs:.2} ms");
    row("ostler run -- true, of timeout 10 true", ours / theirs, "", 3.0);
}

/// From its start to the answer of a client's first request.
fn start(rounds: usize) {
    let place = Place::new();
    let times = (0..rounds).map(|_| timed(|| drop(place.start(&[]).old()))).collect();
    row("ostler mcp, from its start to its first answer", median(times), "ms", 10.0);
}

fn main() {
    let small = std::env::var_os("OSTLER_BENCH_SMOKE").is_some();
    let (rounds, floods, commands) = if small { (5, 4, 30) } else { (300, 64, 10_000) };
    start(rounds.min(50));
    added(rounds);
    cancel(rounds.min(50), floods);
    many(rounds, 100.min(commands), commands);
    run(rounds);
}
