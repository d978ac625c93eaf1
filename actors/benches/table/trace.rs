//! What recording costs, and how fast what was recorded runs again.

use crate::{
    graph::Graph,
    measure::{cpu_us, in_turns, timed},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::{Command, RECORDER_BYTES, TraceLog, TraceTo};
use std::cell::RefCell;

/// Messages of one command, at least.
const RECORDS_EACH: usize = 25;
/// A difference of a few hundredths is only seen in many turns.
const TURNS: usize = 10;

fn nothing() -> Command {
    Command::new("true")
}

/// A graph that records, beside the same that does not, and the same again: what that differs is noise. In wall time and in time of all cores.
fn beside(table: &mut Table, what: &str, most: f64, turns: usize, graphs: [Graph; 3]) {
    let cpu = [const { RefCell::new(Vec::new()) }; 3];
    let one = |which: usize| {
        let before = cpu_us();
        let took = graphs[which].one(&nothing());
        cpu[which].borrow_mut().push(cpu_us() - before);
        took
    };
    let [on, off, again] = in_turns(turns, [&mut || one(0), &mut || one(1), &mut || one(2)]);
    table
        .row(format!("spawn to result, {what}"), "ms", &on)
        .against("without", &off)
        .target(Target::RatioBelow(most));
    table.row("… without, again", "ms", &again).against("without", &off);
    let [on, off, again] = cpu.map(RefCell::into_inner);
    table
        .row(format!("… {what}, user and system time"), "µs", &on)
        .against("without", &off)
        .target(Target::RatioBelow(most));
    table.row("… without, again", "µs", &again).against("without", &off);
}

fn without() -> Graph {
    Graph::with(|config| config.recorder_bytes = 0).unwrap()
}

pub(crate) fn trace(table: &mut Table, sizes: &Sizes) {
    let dir = tempfile::tempdir().unwrap();
    let file = TraceTo::File(dir.path().join("trace.jsonl"));
    for (what, trace) in
        [("trace into a file", file), ("trace into memory", TraceTo::Memory(TraceLog::default()))]
    {
        let on = Graph::with(|config| (config.trace, config.recorder_bytes) = (trace, 0));
        beside(table, what, 1.1, sizes.spawns * TURNS, [on.unwrap(), without(), without()]);
    }
}

pub(crate) fn recorder(table: &mut Table, sizes: &Sizes) {
    let on = Graph::with(|config| config.recorder_bytes = RECORDER_BYTES).unwrap();
    let graphs = [on, without(), without()];
    // Full, as that of a host that has run for a while; and the others have run as long.
    for graph in &graphs {
        for _ in 0..sizes.recorded / RECORDS_EACH / 100 {
            graph.burst(20, &nothing());
            graph.results(20);
        }
    }
    beside(table, "the flight recorder", 1.02, sizes.spawns * TURNS, graphs);
}

pub(crate) fn replay(table: &mut Table, sizes: &Sizes) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace.jsonl");
    let graph = Graph::with(|config| config.trace = TraceTo::File(file.clone())).unwrap();
    for _ in 0..=sizes.recorded / RECORDS_EACH / 10 {
        graph.burst(10, &nothing());
        graph.results(10);
    }
    drop(graph);
    let mut rates = Vec::new();
    for _ in 0..sizes.rounds {
        let mut records = 0;
        let ms = timed(|| {
            let replayed = ostler::trace::replay(&file).unwrap();
            replayed.assert_identical();
            records = replayed.records;
        });
        rates.push(records as f64 / ms * 1e3);
    }
    table.row("replay", "per s", &rates).target(Target::AtLeast(100_000.0));
}
