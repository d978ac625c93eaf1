//! Into commands, and out of terminals.

use crate::{
    graph::{Graph, LONG},
    measure::{in_turns, peak_kib, reset_peak, resident_kib, timed},
    sizes::Sizes,
    table::{Table, Target},
};
use nix::pty::openpty;
use ostler::{Command, Condition};
use std::{
    io::{Read, Write},
    process::Stdio,
};

pub(crate) fn input(table: &mut Table, sizes: &Sizes) {
    stdin(table, sizes);
    terminal(table, sizes);
}

fn gb_per_s(mib: u64, ms: f64) -> f64 {
    (mib << 20) as f64 / ms / 1e6
}

fn stdin(table: &mut Table, sizes: &Sizes) {
    let (graph, mib) = (Graph::new(), sizes.flood_mib / 4);
    let block = vec![b'x'; 1 << 20];
    let mut grown = 0.0_f64;
    let ours = || {
        let handle =
            graph.session.launch(Command::new("sh").args(["-c", "exec cat >/dev/null"]).stdin_open());
        let handle = handle.wait().unwrap();
        reset_peak();
        let before = resident_kib();
        let ms = timed(|| {
            for _ in 0..mib {
                handle.write(block.clone()).wait().unwrap();
            }
            handle.close_stdin().wait().unwrap();
            handle.result().wait().unwrap();
        });
        grown = grown.max((peak_kib() - before) / 1_024.0);
        gb_per_s(mib, ms)
    };
    let theirs = || {
        let mut cat = std::process::Command::new("sh")
            .args(["-c", "exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let ms = timed(|| {
            let mut stdin = cat.stdin.take().unwrap();
            (0..mib).for_each(|_| stdin.write_all(&block).unwrap());
            drop(stdin);
            cat.wait().unwrap();
        });
        gb_per_s(mib, ms)
    };
    let (mut ours, mut theirs) = (ours, theirs);
    let [ours, theirs] = in_turns(sizes.floods, [&mut ours, &mut theirs]);
    let row = table.row(format!("{mib} MiB into cat >/dev/null"), "GB/s", &ours);
    row.against("write_all into a pipe", &theirs).target(Target::RatioAtLeast(0.7));
    table.row("… peak memory above idle", "MiB", &[grown]).target(Target::Below(16.0));
}

fn terminal(table: &mut Table, sizes: &Sizes) {
    let (graph, mib) = (Graph::new(), sizes.flood_mib / 32);
    let size = format!("{mib}M");
    let says = [
        "-c".to_owned(),
        format!("yes 0123456789012345678901234567890123456789 | head -c {size}; echo end."),
    ];
    let mut ours = || {
        gb_per_s(
            mib,
            timed(|| {
                let handle = graph
                    .session
                    .launch(Command::new("sh").args(says.clone()).terminal(24, 80))
                    .wait()
                    .unwrap();
                handle.wait_for([Condition::text("end.")], LONG).wait().unwrap();
                handle.result().wait().unwrap();
            }),
        )
    };
    let mut theirs = || {
        gb_per_s(
            mib,
            timed(|| {
                let pty = openpty(None, None).unwrap();
                let end = |fd: &std::os::fd::OwnedFd| Stdio::from(fd.try_clone().unwrap());
                let mut child = std::process::Command::new("sh")
                    .args(&says)
                    .stdin(end(&pty.slave))
                    .stdout(end(&pty.slave))
                    .stderr(end(&pty.slave))
                    .spawn()
                    .unwrap();
                drop(pty.slave);
                let (mut master, mut buffer) = (std::fs::File::from(pty.master), vec![0; 64 << 10]);
                // EIO at its end.
                while master.read(&mut buffer).is_ok_and(|count| count > 0) {}
                child.wait().unwrap();
            }),
        )
    };
    let [ours, theirs] = in_turns(sizes.floods, [&mut ours, &mut theirs]);
    let row = table.row(format!("{mib} MiB through a terminal"), "GB/s", &ours);
    row.against("read in a loop", &theirs).target(Target::RatioAtLeast(0.9));
}
