//! Ends.

use crate::{
    graph::Graph,
    measure::{in_turns, p99, timed},
    peers,
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::Command;

pub(crate) fn cancel(table: &mut Table, sizes: &Sizes) {
    let graph = Graph::new();
    let ours = || {
        let handle = graph.launch("sleep", &["1000"]);
        timed(|| drop(handle.cancel().wait().unwrap()))
    };
    let raw = || {
        let mut child = peers::sleeper();
        timed(|| peers::kill_and_wait(&mut child))
    };
    let wrapped = || {
        let mut child = peers::wrapped_sleeper();
        timed(|| {
            child.start_kill().unwrap();
            child.wait().unwrap();
        })
    };
    let [mine, theirs, group] = in_turns(sizes.cancels, [&mut { ours }, &mut { raw }, &mut { wrapped }]);
    table.row("cancel", "ms", &mine).against("raw kill and wait", &theirs);
    table.row("cancel", "ms", &mine).against("process-wrap", &group);
    table.row("… p99", "ms", &p99(&mine)).against("raw kill and wait", &p99(&theirs));

    let floods = sizes.streams[1];
    graph.burst(floods, &Command::new("cat").arg("/dev/zero").output_limit(1 << 20));
    let [mine, theirs] = in_turns(sizes.cancels, [&mut { ours }, &mut { raw }]);
    let peer = "raw kill and wait under the same flood";
    let row = table.row(format!("cancel while {floods} commands flood"), "ms", &mine);
    row.against(peer, &theirs).target(Target::RatioBelow(8.0));
    table.row("… p99", "ms", &p99(&mine)).against(peer, &p99(&theirs)).target(Target::Below(20.0));
}

pub(crate) fn session_end(table: &mut Table, sizes: &Sizes) {
    for &count in &sizes.ended {
        let graph = Graph::new();
        let [mine, theirs] = in_turns(
            sizes.rounds,
            [
                &mut || {
                    let session = graph.ostler.open_session().wait().unwrap();
                    let calls: Vec<_> = (0..count)
                        .map(|_| session.launch(Command::new("sleep").arg("1000")).begin())
                        .collect();
                    calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
                    timed(|| assert_eq!(session.end().wait().unwrap().killed, count as u64))
                },
                &mut || {
                    let mut children: Vec<_> = (0..count).map(|_| peers::sleeper()).collect();
                    timed(|| {
                        children.iter_mut().for_each(|child| child.kill().unwrap());
                        assert!(children.iter_mut().all(|child| child.wait().is_ok()));
                    })
                },
            ],
        );
        let row = table.row(format!("session end with {count} commands that obey"), "ms", &mine);
        row.against("raw kill of all, wait for all", &theirs);
        if count >= 1_000 {
            row.target(Target::RatioBelow(2.0));
        }
    }
}

/// What a graph's end costs is what lives, not what there ever was.
pub(crate) fn shutdown(table: &mut Table, sizes: &Sizes) {
    let count = sizes.sessions;
    let ends: Vec<f64> = (0..sizes.rounds)
        .map(|_| {
            let graph = Graph::new();
            (0..count).for_each(|_| drop(graph.ostler.open_session().wait().unwrap()));
            timed(|| assert_eq!(graph.ostler.shutdown().wait().unwrap().unread, 0))
        })
        .collect();
    table.row(format!("shutdown of {count} idle sessions"), "ms", &ends).target(Target::Below(200.0));
}
