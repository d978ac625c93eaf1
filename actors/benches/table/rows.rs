//! The rows of the table.

use crate::{
    graph::{Graph, LONG},
    peers::{self, Tokio},
    sizes::Sizes,
    table::{Spread, Table},
};
use ostler::{Command, Containment, Filter, TraceLog, TraceTo};
use std::{fs, time::Instant};

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    ms(start)
}

/// In turns.
fn versus(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> (Vec<f64>, Vec<f64>) {
    (0..rounds).map(|_| (ours(), theirs())).unzip()
}

fn status_kib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors() -> f64 {
    fs::read_dir("/proc/self/fd").unwrap().count() as f64
}

pub(crate) fn spawn(table: &mut Table, sizes: &Sizes) {
    let (graph, tokio, count) = (Graph::new(), Tokio::new(), sizes.spawns);
    let one = || {
        timed(|| {
            graph.launch("true", &[]);
            graph.result();
        })
    };
    let (ours, raw) = versus(count, one, || timed(peers::raw_spawn));
    table.add("spawn to result, one at a time", "ms", &ours, Some(("posix_spawn and waitid", &raw)));
    let p99 = |values: &[f64]| vec![Spread::percentile(values, 99)];
    table.add("… p99", "ms", &p99(&ours), Some(("posix_spawn and waitid", &p99(&raw))));
    let (ours, theirs) = versus(count, one, || timed(|| tokio.burst(1)));
    table.add("spawn to result, one at a time", "ms", &ours, Some(("tokio output()", &theirs)));
    let rate = |ms: f64| count as f64 / ms * 1e3;
    let burst = || {
        rate(timed(|| {
            let calls: Vec<_> =
                (0..count).map(|_| graph.session.launch(Command::new("true")).begin()).collect();
            calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
            graph.results(count);
        }))
    };
    let (ours, theirs) = versus(sizes.rounds, burst, || rate(timed(|| tokio.burst(count))));
    table.add("spawn to result, in bursts", "per s", &ours, Some(("tokio output()", &theirs)));
    let threads = |_| timed(|| assert_eq!(peers::threads_per_handle("true", &[]), 0));
    let theirs: Vec<f64> = (0..count).map(threads).map(|ms| 1e3 / ms).collect();
    let (ours, _) = versus(sizes.rounds, burst, || 0.0);
    table.add(
        "spawn to result, in bursts",
        "per s",
        &ours,
        Some(("threads per handle, one at a time", &theirs)),
    );
}

pub(crate) fn drain(table: &mut Table, sizes: &Sizes) {
    let (graph, dir) = (Graph::new(), tempfile::tempdir().unwrap());
    let rate = |mib: u64, ms: f64| (mib << 20) as f64 / ms / 1e6;
    let size = format!("{}M", sizes.flood_mib);
    let args = ["-c", size.as_str(), "/dev/zero"];
    let ours = || {
        rate(
            sizes.flood_mib,
            timed(|| {
                graph.launch("head", &args);
                graph.result();
            }),
        )
    };
    let theirs = || rate(sizes.flood_mib, timed(|| peers::hand_written_drain("head", &args, dir.path())));
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let idle = status_kib("VmRSS:");
    let (ours, hand) = versus(sizes.rounds, ours, theirs);
    let peak = (status_kib("VmHWM:") - idle) / 1_024.0;
    table.add("drain of one stream", "GB/s", &ours, Some(("read, write two files, digest", &hand)));
    table.add("… peak memory above idle", "MiB", &[peak], None);
    let memory = |_| rate(sizes.flood_mib, timed(|| assert!(peers::threads_per_handle("head", &args) > 0)));
    let theirs: Vec<f64> = (0..sizes.rounds.min(2)).map(memory).collect();
    table.add("drain of one stream", "GB/s", &ours, Some(("threads per handle, all in memory", &theirs)));

    let both = format!("head -c {size} /dev/zero & head -c {size} /dev/zero >&2; wait");
    let ours: Vec<f64> = (0..sizes.rounds)
        .map(|_| {
            rate(
                sizes.flood_mib * 2,
                timed(|| {
                    graph.launch("sh", &["-c", &both]);
                    graph.result();
                }),
            )
        })
        .collect();
    table.add("drain of two streams of one command", "GB/s", &ours, None);

    let many = |streams: usize| {
        let each = format!("{}K", (sizes.flood_mib << 10) / streams as u64);
        rate(
            sizes.flood_mib,
            timed(|| {
                for _ in 0..streams {
                    graph.launch("head", &["-c", &each, "/dev/zero"]);
                }
                graph.results(streams);
            }),
        )
    };
    let [few, lots] = sizes.streams;
    let (more, less) = versus(sizes.rounds, || many(lots), || many(few));
    table.add(
        format!("drain of {lots} streams, in total"),
        "GB/s",
        &more,
        Some(("the same over few streams", &less)),
    );

    let lines = (sizes.flood_mib << 20) / 2_000;
    let script = format!("i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i+1)); done");
    let ours: Vec<f64> = (0..sizes.rounds)
        .map(|_| {
            let ms = timed(|| {
                graph.launch("sh", &["-c", &script]);
                graph.result();
            });
            lines as f64 / ms * 1e3
        })
        .collect();
    let quiet = || {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).stdout(std::process::Stdio::null()).status().unwrap();
    };
    let theirs: Vec<f64> = (0..sizes.rounds).map(|_| lines as f64 / timed(quiet) * 1e3).collect();
    table.add("small lines, a write for each", "per s", &ours, Some(("the same into /dev/null", &theirs)));
}

pub(crate) fn idle(table: &mut Table, sizes: &Sizes) {
    for &count in &sizes.handles {
        let graph = Graph::new();
        let before = (status_kib("VmRSS:"), status_kib("Threads:"), descriptors());
        let took = timed(|| (0..count).for_each(|_| drop(graph.launch("sleep", &["1000"]))));
        let each = |now: f64, before: f64| (now - before) / count as f64;
        let name = format!("idle handles, {count}");
        table.add(format!("{name}: memory of each"), "KiB", &[each(status_kib("VmRSS:"), before.0)], None);
        table.add(format!("{name}: threads"), "more", &[status_kib("Threads:") - before.1], None);
        table.add(format!("{name}: descriptors of each"), "", &[each(descriptors(), before.2)], None);
        table.add(format!("{name}: launch rate"), "per s", &[count as f64 / took * 1e3], None);
    }
}

pub(crate) fn cancel(table: &mut Table, sizes: &Sizes) {
    let graph = Graph::new();
    let ours = || {
        let handle = graph.launch("sleep", &["1000"]);
        timed(|| drop(handle.cancel().wait().unwrap()))
    };
    let raw = || {
        let mut child = peers::sleeper();
        timed(|| {
            child.kill().unwrap();
            child.wait().unwrap();
        })
    };
    let (mine, theirs) = versus(sizes.cancels, ours, raw);
    table.add("cancel", "ms", &mine, Some(("raw kill and wait", &theirs)));
    let floods: Vec<_> = (0..sizes.streams[1])
        .map(|_| {
            graph.session.launch(Command::new("cat").arg("/dev/zero").output_limit(1 << 20)).wait().unwrap()
        })
        .collect();
    let (mine, theirs) = versus(sizes.cancels, ours, raw);
    let name = format!("cancel while {} handles flood", floods.len());
    table.add(name.as_str(), "ms", &mine, Some(("raw kill and wait under the same flood", &theirs)));
    let p99 = |values: &[f64]| vec![Spread::percentile(values, 99)];
    table.add("… p99", "ms", &p99(&mine), Some(("raw kill and wait under the same flood", &p99(&theirs))));
}

pub(crate) fn session_end(table: &mut Table, sizes: &Sizes) {
    for &count in &sizes.handles {
        let graph = Graph::new();
        (0..count).for_each(|_| drop(graph.launch("sleep", &["1000"])));
        let mine = timed(|| assert_eq!(graph.session.end().wait().unwrap().killed, count as u64));
        let mut children: Vec<_> = (0..count).map(|_| peers::sleeper()).collect();
        let theirs = timed(|| {
            children.iter_mut().for_each(|child| child.kill().unwrap());
            assert!(children.iter_mut().all(|child| child.wait().is_ok()));
        });
        let peer = Some(("raw kill all, wait for all", &[theirs][..]));
        table.add(format!("session end with {count} handles"), "ms", &[mine], peer);
    }
}

pub(crate) fn inbox(table: &mut Table, sizes: &Sizes) {
    let graph = Graph::with(|config| config.limits.pushed_entries = u64::MAX).unwrap();
    let inbox = graph.session.inbox();
    let rounds: Vec<(f64, f64)> = (0..sizes.rounds)
        .map(|_| {
            let push =
                timed(|| (0..sizes.entries).for_each(|n| drop(inbox.push("note", "bench", n.into()).wait())));
            let drain = timed(|| {
                assert_eq!(
                    inbox.receive(Filter::any(), usize::MAX, LONG).wait().unwrap().len(),
                    sizes.entries
                );
            });
            (push * 1e3 / sizes.entries as f64, drain * 1e3 / sizes.entries as f64)
        })
        .collect();
    let (push, drain): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    table.add("inbox: push, and its answer", "µs", &push, None);
    table.add("inbox: an entry drained", "µs", &drain, None);
}

pub(crate) fn trace(table: &mut Table, sizes: &Sizes) {
    let dir = tempfile::tempdir().unwrap();
    let file = TraceTo::File(dir.path().join("trace.jsonl"));
    let graphs = [TraceTo::Off, file, TraceTo::Memory(TraceLog::default())]
        .map(|trace| Graph::with(|config| config.trace = trace).unwrap());
    let one = |graph: &Graph| {
        timed(|| {
            graph.launch("true", &[]);
            graph.result();
        })
    };
    let (on, off) = versus(sizes.spawns, || one(&graphs[1]), || one(&graphs[0]));
    table.add("spawn to result, trace into a file", "ms", &on, Some(("trace off", &off)));
    let (on, off) = versus(sizes.spawns, || one(&graphs[2]), || one(&graphs[0]));
    table.add("spawn to result, trace into memory", "ms", &on, Some(("trace off", &off)));
}

pub(crate) fn tiers(table: &mut Table, sizes: &Sizes) {
    for tier in [Containment::Cgroup, Containment::Subreaper, Containment::Group] {
        let Some(graph) = Graph::in_tier(tier) else { continue };
        let one = || {
            timed(|| {
                graph.launch("true", &[]);
                graph.result();
            })
        };
        let (ours, raw) = versus(sizes.spawns, one, || timed(peers::raw_spawn));
        table.add(
            format!("spawn to result in tier {tier}"),
            "ms",
            &ours,
            Some(("posix_spawn and waitid", &raw)),
        );
    }
}
