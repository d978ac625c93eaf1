//! The clean view of what real tools write, beside a parser that does nothing about it.

use crate::{
    measure::{in_turns, timed},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler_artifacts::clean_text;
use std::hint::black_box;

/// 250 MB a second.
const MS_PER_MIB: f64 = 1_048.576 / 250.0;

struct Nothing;
impl vte::Perform for Nothing {}

pub(crate) fn clean(table: &mut Table, sizes: &Sizes) {
    let recorded = |name: &str| {
        let path = format!("{}/../artifacts/tests/recorded/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let log =
        b"2026-11-28T12:00:00.000Z INFO request handled path=/api/v1/items status=200 took=12ms\n".to_vec();
    let outputs = [
        ("a log", log),
        ("cargo", recorded("cargo")),
        ("npm", recorded("npm")),
        ("pip", recorded("pip")),
        ("apt", recorded("apt")),
        ("git", recorded("git")),
    ];
    let mib = sizes.flood_mib / 64;
    for (name, output) in outputs {
        let bytes: Vec<u8> = output.iter().copied().cycle().take((mib << 20) as usize).collect();
        let mut ours = || timed(|| drop(black_box(clean_text(&bytes))));
        let mut bare = || timed(|| vte::Parser::new().advance(&mut Nothing, &bytes));
        let [ours, bare] = in_turns(sizes.rounds, [&mut ours, &mut bare]);
        let row = table.row(format!("the clean view of {mib} MiB of {name}"), "ms", &ours);
        row.against("vte, and nothing done", &bare).target(Target::Below(MS_PER_MIB * mib as f64));
    }
}
