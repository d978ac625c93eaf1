//! What handles cost that do nothing.

use crate::{
    graph::Graph,
    measure::{cpu_us, descriptors, in_turns, p99, raise_descriptors, resident_kib, threads, timed},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::{Command, Filter};
use std::time::Duration;

fn sleep() -> Command {
    Command::new("sleep").arg("100000")
}

pub(crate) fn idle(table: &mut Table, sizes: &Sizes) {
    let room = raise_descriptors(sizes.handles.iter().copied().max().unwrap_or(0));
    // Beside which the others are measured: 100 handles.
    let mut base: Option<(Vec<f64>, Vec<f64>)> = None;
    for count in sizes.handles.iter().map(|count| (*count).min(room)) {
        let graph = Graph::new();
        let before = (resident_kib(), threads(), descriptors());
        let mut left = count;
        while left > 0 {
            let some = left.min(100);
            graph.burst(some, &sleep());
            left -= some;
        }
        let each = |now: f64, before: f64| (now - before) / count as f64;
        let many = count >= 1_000;
        let name = |what: &str| format!("{count} idle handles: {what}");
        let row = table.row(name("memory of each"), "KiB", &[each(resident_kib(), before.0)]);
        if many {
            row.target(Target::Below(8.0));
        }
        table.row(name("threads more"), "", &[threads() - before.1]).target(Target::Below(1.0));
        let row = table.row(name("descriptors of each"), "", &[each(descriptors(), before.2)]);
        // Two pipes, a pidfd, the line to its parent, and what a stop needs: it is in hand before the command runs.
        row.target(Target::Below(5.001));

        let batch = sizes.batch;
        let [launches] = in_turns(
            sizes.rounds,
            [&mut || {
                let mut handles = Vec::new();
                let rate = batch as f64 / timed(|| handles = graph.burst(batch, &sleep())) * 1e3;
                handles.iter().for_each(|handle| drop(handle.cancel().wait().unwrap()));
                rate
            }],
        );
        let [cancels] = in_turns(
            batch * sizes.rounds,
            [&mut || {
                let handle = graph.launch("sleep", &["100000"]);
                timed(|| drop(handle.cancel().wait().unwrap()))
            }],
        );
        table.row(name("a cancel"), "ms", &cancels);
        let cancels = p99(&cancels);
        let row = table.row(name("launch rate on top of them"), "per s", &launches);
        if let Some((base, _)) = &base {
            row.against("with 100", base).target(Target::RatioAtLeast(0.667));
        }
        let row = table.row(name("p99 of a cancel"), "ms", &cancels);
        if let Some((_, base)) = &base {
            row.against("with 100", base).target(Target::RatioBelow(1.5));
        }
        if count == 100 {
            base = Some((launches, cancels));
        }
    }
    sizes.handles.iter().for_each(|count| ticks(table, sizes, (*count).min(room)));
}

/// Each handle tells its progress again and again; nobody reads it.
fn ticks(table: &mut Table, sizes: &Sizes, count: usize) {
    let graph = Graph::new();
    let interval = Duration::from_millis(sizes.tick_ms);
    graph.burst(count, &sleep().progress(interval).progress_max(interval));
    let inbox = graph.session.inbox();
    let so_far = || inbox.push("mark", "bench", 0.into()).wait().unwrap();
    // Everyone has ticked once: from here on it is the same again and again.
    let full = || inbox.pending(Filter::any()).wait().unwrap() == count;
    while !full() {
        std::thread::sleep(interval);
    }
    let (cpu, first) = (cpu_us(), so_far());
    std::thread::sleep(interval * 8);
    let (cpu, ticks) = (cpu_us() - cpu, so_far() - first);
    table.row(
        format!("{count} idle handles: processor time of a tick of progress"),
        "µs",
        &[cpu / ticks as f64],
    );
}
