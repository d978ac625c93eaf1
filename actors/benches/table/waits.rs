//! What waiting costs, and how soon it is answered.

use crate::{
    graph::{Graph, LONG},
    measure::{cpu_us, in_turns, timed},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::{Command, Condition, Containment, Handle, WaitEnd};
use std::{
    io::Write,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn waits(table: &mut Table, sizes: &Sizes) {
    waiters(table, sizes);
    port_waiters(table, sizes);
    ports_of_a_large_tree(table, sizes);
    long_log(table, sizes);
    match_latency(table, sizes);
}

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// A thousand waits while nothing happens.
fn waiters(table: &mut Table, sizes: &Sizes) {
    let graph = Graph::new();
    let handle = graph.launch("sleep", &["1000"]);
    let conditions = [Condition::text("never"), Condition::Exit, Condition::silence_ms(1_000_000)];
    let waits: Vec<_> =
        (0..sizes.batch * 10).map(|_| handle.wait_for(conditions.clone(), LONG).begin()).collect();
    // All of them have looked once when one that came after them has.
    handle.wait_for([Condition::text("never")], Duration::ZERO).wait().unwrap();
    let seconds = if sizes.rounds > 1 { 10 } else { 1 };
    let before = cpu_us();
    std::thread::sleep(seconds * SECOND);
    let ms = (cpu_us() - before) / 1e3;
    table
        .row(format!("{} waiters for {seconds} s, processor time", waits.len()), "ms", &[ms])
        .target(Target::Below(50.0));
    drop(waits);
    handle.cancel().wait().unwrap();
}

fn port_waiters(table: &mut Table, sizes: &Sizes) {
    let Some(graph) = Graph::in_tier(Containment::Cgroup) else { return };
    let handles: Vec<Handle> = (0..sizes.batch).map(|_| graph.launch("sleep", &["1000"])).collect();
    let waits: Vec<_> =
        handles.iter().map(|handle| handle.wait_for([Condition::port(1)], LONG).begin()).collect();
    std::thread::sleep(SECOND);
    let before = cpu_us();
    std::thread::sleep(3 * SECOND);
    let percent = (cpu_us() - before) / 3e4;
    let what = format!("{} trees with a port waiter, tier cgroup, of a core", waits.len());
    table.row(what, "%", &[percent]).target(Target::Below(2.0));
    drop(waits);
    handles.iter().for_each(|handle| drop(handle.cancel().wait()));
}

fn ports_of_a_large_tree(table: &mut Table, sizes: &Sizes) {
    let Some(graph) = Graph::in_tier(Containment::Cgroup) else { return };
    let count = sizes.batch * 10;
    let script = format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); sleep 1000 & done; echo all; wait");
    let handle = graph.session.launch(sh(&script)).wait().unwrap();
    handle.wait_for([Condition::text("all")], LONG).wait().unwrap();
    let ms: Vec<f64> = (0..20).map(|_| timed(|| drop(handle.ports().wait().unwrap()))).collect();
    table.row(format!("ports of a tree of {count}, tier cgroup"), "ms", &ms).target(Target::Below(1.0));
    handle.cancel().wait().unwrap();
}

/// A line is looked for in a log while it comes, beside the same log without anybody who looks.
fn long_log(table: &mut Table, sizes: &Sizes) {
    let (graph, mib) = (Graph::new(), sizes.flood_mib / 4);
    let mut log = tempfile::NamedTempFile::new().unwrap();
    let line = b"2026-11-28T12:00:00.000Z INFO request handled path=/api/v1/items status=200 took=12ms\n";
    let block: Vec<u8> = line.iter().copied().cycle().take(line.len() * 12_000).collect();
    for _ in 0..(mib << 20) / block.len() as u64 {
        log.write_all(&block).unwrap();
    }
    let path = log.path().to_str().unwrap().to_owned();
    let run = |waits: bool| {
        timed(|| {
            let handle = graph.launch("cat", &[&path]);
            let ready = Condition::regex(r"ready in \d+ ?ms");
            let wait = waits.then(|| handle.wait_for([ready], LONG).begin());
            handle.result().wait().unwrap();
            wait.into_iter().for_each(|wait| assert_eq!(wait.wait().unwrap().end, WaitEnd::Exit));
        })
    };
    let [with, without] = in_turns(sizes.floods, [&mut || run(true), &mut || run(false)]);
    let row = table.row(format!("a pattern wait over {mib} MiB of log"), "ms", &with);
    row.against("the drain alone", &without).target(Target::RatioBelow(1.3));
}

fn match_latency(table: &mut Table, sizes: &Sizes) {
    let graph = Graph::new();
    let handle = graph.session.launch(sh("exec cat").stdin_open()).wait().unwrap();
    let measure = |first: usize| -> Vec<f64> {
        (first..first + sizes.cancels)
            .map(|n| {
                let text = format!("line {n}.");
                let wait = handle.wait_for([Condition::text(&text)], LONG).begin();
                let began = Instant::now();
                // Through the command and back: what is measured is more than the match.
                handle.write(format!("{text}\n")).begin().wait().unwrap();
                assert_eq!(wait.wait().unwrap().condition(), Some(0));
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect()
    };
    table.row("a line written to cat, and found", "ms", &measure(0)).target(Target::Below(5.0));
    let floods: Vec<Handle> = (0..8).map(|_| graph.launch("yes", &[])).collect();
    table.row("… beside 8 floods", "ms", &measure(100_000)).target(Target::Below(20.0));
    floods.iter().chain([&handle]).for_each(|handle| drop(handle.cancel().wait()));
}
