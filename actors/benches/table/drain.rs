//! From pipe to files.

use crate::{
    graph::Graph,
    measure::{in_turns, peak_kib, reset_peak, resident_kib, timed},
    peers::{self, Tokio},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::Command;
use std::{cell::Cell, fs, process::Stdio};

/// The most memory of this process above what it was at the start, in MiB.
struct Peak(Cell<f64>);
impl Peak {
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        reset_peak();
        let before = resident_kib();
        let done = work();
        self.0.set(self.0.get().max((peak_kib() - before) / 1_024.0));
        done
    }
}

pub(crate) fn drain(table: &mut Table, sizes: &Sizes) {
    let (graph, tokio) = (Graph::new(), Tokio::new());
    // The drains' buffers are there from the first flood on.
    graph.floods(8, &Command::new("head").args(["-c", "1M", "/dev/zero"]));
    one_stream(table, sizes, &graph, &tokio);
    two_streams(table, sizes, &graph, &tokio);
    many_streams(table, sizes, &graph, &tokio);
    small_lines(table, sizes, &graph);
}

fn gb_per_s(mib: u64, ms: f64) -> f64 {
    (mib << 20) as f64 / ms / 1e6
}

fn one_stream(table: &mut Table, sizes: &Sizes, graph: &Graph, tokio: &Tokio) {
    let (dir, peak) = (tempfile::tempdir().unwrap(), Peak(Cell::default()));
    let mib = sizes.flood_mib;
    let size = format!("{mib}M");
    let args = ["-c", size.as_str(), "/dev/zero"];
    let command = Command::new("head").args(args);
    let [ours, hand] = in_turns(
        sizes.floods,
        [&mut || gb_per_s(mib, peak.during(|| graph.floods(1, &command))), &mut || {
            let ms = timed(|| peers::hand_written_drain("head", &args, dir.path()));
            // As for ours: making room again is not measured.
            fs::read_dir(dir.path()).unwrap().for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
            gb_per_s(mib, ms)
        }],
    );
    let row = table.row(format!("{mib} MiB on one stream"), "GB/s", &ours);
    row.against("read, write two files, digest", &hand).target(Target::RatioAtLeast(1.2));
    table.row("… peak memory above idle", "MiB", &[peak.0.get()]).target(Target::Below(16.0));

    // Those that keep it all in memory: with less, or the machine's memory would be what is measured.
    let mib = mib / 4;
    let size = format!("{mib}M");
    let args = ["-c", size.as_str(), "/dev/zero"];
    let command = Command::new("head").args(args);
    let [ours, theirs, threads] = in_turns(
        sizes.rounds,
        [
            &mut || gb_per_s(mib, graph.floods(1, &command)),
            &mut || gb_per_s(mib, timed(|| assert!(tokio.burst(1, "head", &args) > 0))),
            &mut || gb_per_s(mib, timed(|| assert!(peers::threads_per_handle("head", &args) > 0))),
        ],
    );
    let name = format!("{mib} MiB on one stream");
    table.row(name.as_str(), "GB/s", &ours).against("tokio output(), in memory", &theirs);
    table.row(name, "GB/s", &ours).against("threads per handle, in memory", &threads);
}

fn two_streams(table: &mut Table, sizes: &Sizes, graph: &Graph, tokio: &Tokio) {
    let (mib, peak) = (sizes.flood_mib / 4, Peak(Cell::default()));
    let script = format!("head -c {mib}M /dev/zero & head -c {mib}M /dev/zero >&2; wait");
    let command = Command::new("sh").args(["-c", script.as_str()]);
    let [ours, theirs] = in_turns(
        sizes.rounds,
        [&mut || gb_per_s(mib * 2, peak.during(|| graph.floods(1, &command))), &mut || {
            gb_per_s(mib * 2, timed(|| assert!(tokio.burst(1, "sh", &["-c", &script]) > 0)))
        }],
    );
    let name = format!("{mib} MiB on each of two streams of one command");
    table.row(name, "GB/s", &ours).against("tokio output(), in memory", &theirs);
    table.row("… peak memory above idle", "MiB", &[peak.0.get()]).target(Target::Below(16.0));
}

fn many_streams(table: &mut Table, sizes: &Sizes, graph: &Graph, tokio: &Tokio) {
    let (mib, peak) = (sizes.flood_mib / 4, Peak(Cell::default()));
    let each = |streams: usize| format!("{}K", (mib << 10) / streams as u64);
    let flood = |streams: usize| Command::new("head").args(["-c", &each(streams), "/dev/zero"]);
    let [few, lots] = sizes.streams;
    let args = each(lots);
    let [less, more, theirs] = in_turns(
        sizes.rounds,
        [
            &mut || gb_per_s(mib, graph.floods(few, &flood(few))),
            &mut || gb_per_s(mib, peak.during(|| graph.floods(lots, &flood(lots)))),
            &mut || {
                gb_per_s(mib, timed(|| assert!(tokio.burst(lots, "head", &["-c", &args, "/dev/zero"]) > 0)))
            },
        ],
    );
    table.row(format!("{mib} MiB over {few} commands, in total"), "GB/s", &less);
    let name = format!("{mib} MiB over {lots} commands, in total");
    let row = table.row(name.as_str(), "GB/s", &more).against("the same over few", &less);
    row.target(Target::RatioAtLeast(0.8));
    table.row(name.as_str(), "GB/s", &more).against("tokio output(), in memory", &theirs);
    table.row("… peak memory above idle", "MiB", &[peak.0.get()]).target(Target::Below(16.0));
}

fn small_lines(table: &mut Table, sizes: &Sizes, graph: &Graph) {
    let (dir, peak) = (tempfile::tempdir().unwrap(), Peak(Cell::default()));
    let script = format!("i=0; while [ $i -lt {} ]; do echo $i; i=$((i+1)); done", sizes.lines);
    let command = Command::new("sh").args(["-c", script.as_str()]);
    let rate = |ms: f64| sizes.lines as f64 / ms * 1e3;
    let [ours, hand, quiet] = in_turns(
        sizes.rounds,
        [
            &mut || rate(peak.during(|| graph.floods(1, &command))),
            &mut || rate(timed(|| peers::hand_written_drain("sh", &["-c", &script], dir.path()))),
            &mut || {
                let mut command = std::process::Command::new("sh");
                command.args(["-c", &script]).stdout(Stdio::null());
                rate(timed(|| assert!(command.status().unwrap().success())))
            },
        ],
    );
    let name = "small lines, a write for each";
    table.row(name, "per s", &ours).against("read, write two files, digest", &hand);
    table.row(name, "per s", &ours).against("the same into /dev/null", &quiet);
    table.row("… peak memory above idle", "MiB", &[peak.0.get()]).target(Target::Below(16.0));
}
