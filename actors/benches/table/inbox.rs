//! The inbox alone.

use crate::{
    graph::{Graph, LONG},
    measure::timed,
    sizes::Sizes,
    table::Table,
};
use ostler::Filter;

pub(crate) fn inbox(table: &mut Table, sizes: &Sizes) {
    let graph = Graph::with(|config| config.limits.pushed_entries = u64::MAX).unwrap();
    let (inbox, count) = (graph.session.inbox(), sizes.entries);
    let push = |n: usize| assert!(inbox.push("note", "bench", n.into()).wait().is_ok());
    let rounds: Vec<(f64, f64)> = (0..sizes.rounds)
        .map(|_| {
            let pushed = timed(|| (0..count).for_each(push));
            let drained = timed(|| {
                assert_eq!(inbox.receive(Filter::any(), usize::MAX, LONG).wait().unwrap().len(), count);
            });
            (pushed * 1e3 / count as f64, drained * 1e3 / count as f64)
        })
        .collect();
    let (pushed, drained): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    table.row("inbox: a push, and its answer", "µs", &pushed);
    table.row("inbox: an entry drained", "µs", &drained);
}
