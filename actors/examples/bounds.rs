//! Prints what ostler promises about memory, threads and time, as measured on this machine:
//! `cargo run --release -p ostler --example bounds`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program that measures, and stops when it can't"
)]

use nix::sys::resource::{UsageWho, getrusage};
use ostler::{Command, Config, Containment, Entry, Filter, Ostler, Session};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{
    alloc::System,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LONG: Duration = Duration::from_secs(120);
const ROUNDS: usize = 200;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for tier in [Containment::Cgroup, Containment::Subreaper, Containment::Group] {
        let config = Config::new().artifact_root(dir.path().join("artifacts")).containment([tier]);
        match Ostler::start(config) {
            Ok(ostler) => measure(&ostler, tier),
            Err(error) => println!("{tier}: skipped: {error}"),
        }
    }
}

fn measure(ostler: &Ostler, tier: Containment) {
    println!("── {tier}");
    let session = ostler.open_session().wait().unwrap();
    let small = spawn_ms(&session);
    println!("spawn to result, p50                      {small:8.2} ms");
    let ballast = vec![1_u8; 1 << 30];
    let large = spawn_ms(&session);
    println!("the same with 1 GiB of host memory        {large:8.2} ms ({:.2} times)", large / small);
    drop(std::hint::black_box(ballast));
    costs(&session);
    helpers(&session);
    cancels(&session);
    storm(&session);
    flood(&session);
    session.end().wait().unwrap();
}

fn result(session: &Session) -> Entry {
    session.inbox().receive(Filter::results(), 1, LONG).wait().unwrap().remove(0)
}

fn p50(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn spawn_ms(session: &Session) -> f64 {
    let one = |_| {
        let start = Instant::now();
        session.launch(Command::new("true")).wait().unwrap();
        result(session);
        ms(start)
    };
    p50((0..ROUNDS).map(one).collect())
}

/// What one command costs this process, from launch to the result in the caller's hands.
fn costs(session: &Session) {
    let switches = || getrusage(UsageWho::RUSAGE_SELF).unwrap().voluntary_context_switches();
    let (region, before) = (Region::new(ALLOCATOR), switches());
    spawn_ms(session);
    let (allocations, switched) = (region.change().allocations as f64, (switches() - before) as f64);
    println!("allocations of a `true`                   {:8.0}", allocations / ROUNDS as f64);
    println!("voluntary switches of a `true`            {:8.1}", switched / ROUNDS as f64);
}

/// Private memory of the processes that are ours and no commands: helpers, which are children of a child, the guard.
fn helpers(session: &Session) {
    let handles: Vec<_> =
        (0..10).map(|_| session.launch(Command::new("sleep").arg("1000")).wait().unwrap()).collect();
    let own = |pid: &str| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("ostler-h").then(|| private_kib(pid))
    };
    let children = |pid: &str| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks
            .map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default())
            .collect::<String>()
    };
    let helpers: String = children("self").split_whitespace().map(children).collect();
    let found: Vec<u64> = helpers.split_whitespace().filter_map(own).collect();
    let max = found.iter().max().copied().unwrap_or(0);
    println!("helpers for 10 handles                    {:8} of at most {max} KiB private", found.len());
    for handle in handles {
        handle.cancel().wait().unwrap();
    }
}

fn private_kib(pid: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

fn cancels(session: &Session) {
    let ours = (0..ROUNDS).map(|_| {
        let handle = session.launch(Command::new("sleep").arg("1000")).wait().unwrap();
        let start = Instant::now();
        handle.cancel().wait().unwrap();
        ms(start)
    });
    let ours = p50(ours.collect());
    let raw = (0..ROUNDS).map(|_| {
        let mut child = std::process::Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        ms(start)
    });
    let raw = p50(raw.collect());
    println!("cancel of a command that obeys, p50       {ours:8.2} ms (raw kill and wait: {raw:.2} ms)");
}

/// A tree of 1,000 processes.
fn storm(session: &Session) {
    let script = "i=0; while [ $i -lt 999 ]; do sleep 1000 & i=$((i+1)); done; echo ready; wait";
    let handle = session.launch(Command::new("sh").args(["-c", script])).wait().unwrap();
    handle.read().wait_for(LONG).wait().unwrap();
    let start = Instant::now();
    let cancelled = handle.cancel().wait().unwrap();
    let left = cancelled.record.leftovers.as_ref().map(Vec::len);
    println!("1,000 processes in one tree gone after    {:8.0} ms (leftovers seen: {left:?})", ms(start));
}

fn status_kib(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn flood(session: &Session) {
    let threads = status_kib("Threads:");
    fs::write("/proc/self/clear_refs", "5").ok();
    let idle = status_kib("VmRSS:");
    let flood = Command::new("head").args(["-c", "1G", "/dev/zero"]).progress(Duration::from_millis(50));
    let start = Instant::now();
    session.launch(flood).wait().unwrap();
    let mut ticks = Vec::new();
    let done = loop {
        let entry = session.inbox().receive(Filter::any(), 1, LONG).wait().unwrap().remove(0);
        if entry.is_result() {
            break entry;
        }
        ticks.push(entry.record().unwrap().output_offset >> 20);
    };
    let seconds = start.elapsed().as_secs_f64();
    let peak = status_kib("VmHWM:").saturating_sub(idle);
    let bytes = done.record().unwrap().byte_count;
    println!("1 GiB through one handle                  {:8.2} GB/s", bytes as f64 / seconds / 1e9);
    println!("  resident memory above idle, at its peak {:8.1} MiB", peak as f64 / 1024.0);
    println!(
        "  threads more than before                {:8}",
        status_kib("Threads:").saturating_sub(threads)
    );
    println!("  progress at these MiB: {ticks:?}");
}
