//! From launch to result.

use crate::{
    graph::Graph,
    measure::{in_turns, p99, timed},
    peers::{self, Tokio},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::{Command, Containment};

fn nothing() -> Command {
    Command::new("true")
}

pub(crate) fn spawn(table: &mut Table, sizes: &Sizes) {
    let (graph, tokio, count) = (Graph::new(), Tokio::new(), sizes.spawns);
    let [ours, raw, theirs, wrapped, threads] = in_turns(
        count,
        [
            &mut || graph.one(&nothing()),
            &mut || timed(peers::raw_spawn),
            &mut || timed(|| assert_eq!(tokio.burst(1, "true", &[]), 0)),
            &mut || timed(peers::wrapped_spawn),
            &mut || timed(|| assert_eq!(peers::threads_per_handle("true", &[]), 0)),
        ],
    );
    let all = [
        ("posix_spawn and waitid", &raw),
        ("tokio output()", &theirs),
        ("process-wrap", &wrapped),
        ("threads per handle", &threads),
    ];
    for (peer, values) in all {
        table.row("spawn to result, one at a time", "ms", &ours).against(peer, values);
    }
    for (peer, values) in all {
        table.row("… p99", "ms", &p99(&ours)).against(peer, &p99(values));
    }
    let rate = |ms: f64| count as f64 / ms * 1e3;
    let [ours, theirs, threads] = in_turns(
        sizes.rounds * 2,
        [
            &mut || {
                rate(timed(|| {
                    graph.burst(count, &nothing());
                    graph.results(count);
                }))
            },
            &mut || rate(timed(|| assert_eq!(tokio.burst(count, "true", &[]), 0))),
            &mut || rate(timed(|| peers::threads_in_burst(count))),
        ],
    );
    let name = format!("spawn to result, {count} at once");
    table
        .row(name.as_str(), "per s", &ours)
        .against("tokio output()", &theirs)
        .target(Target::RatioAtLeast(0.75));
    table.row(name, "per s", &ours).against("threads per handle", &threads);
}

pub(crate) fn tiers(table: &mut Table, sizes: &Sizes) {
    for tier in [Containment::Cgroup, Containment::Subreaper, Containment::Group] {
        let Some(graph) = Graph::in_tier(tier) else { continue };
        let [ours, raw] =
            in_turns(sizes.spawns, [&mut || graph.one(&nothing()), &mut || timed(peers::raw_spawn)]);
        let name = format!("spawn to result, tier {tier}");
        table.row(name, "ms", &ours).against("posix_spawn and waitid", &raw);
        let [ours, raw] = in_turns(
            sizes.cancels,
            [
                &mut || {
                    let handle = graph.launch("sleep", &["1000"]);
                    timed(|| drop(handle.cancel().wait().unwrap()))
                },
                &mut || {
                    let mut child = peers::sleeper();
                    timed(|| peers::kill_and_wait(&mut child))
                },
            ],
        );
        table.row(format!("cancel, tier {tier}"), "ms", &ours).against("raw kill and wait", &raw);
    }
}
