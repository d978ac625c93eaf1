//! What ostler costs, beside what one would write or pick instead: `cargo bench -p ostler --bench table`.
//!
//! Every row is measured in the same run against its peers, in turns, so that a noisy machine does not decide. Medians;
//! the spread is that of the middle half. The table goes to stdout and to `target/bench/table.md`, a plot beside it.
//! The rows `journal` need `--features journal`. Names after `--` choose rows: `cargo bench -p ostler --bench table -- drain cancel`.
//! `OSTLER_BENCH_SMOKE=1` runs everything once in a small size: to see that it runs, not how fast.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program that measures, and stops when it can't"
)]
#![allow(missing_docs, reason = "a program")]

mod clean;
mod drain;
mod graph;
mod idle;
mod inbox;
mod input;
#[cfg(feature = "journal")]
mod journal;
mod measure;
mod peers;
mod plot;
mod sizes;
mod spawn;
mod stop;
mod table;
mod trace;
mod waits;

use table::Table;

type Measure = fn(&mut Table, &sizes::Sizes);

#[cfg(feature = "journal")]
use journal::journal;
#[cfg(not(feature = "journal"))]
fn journal(_: &mut Table, _: &sizes::Sizes) {
    eprintln!("skipped: add --features journal");
}

fn main() {
    let sizes = sizes::Sizes::from_env();
    let mut table = Table::default();
    // The idle handles first: what others have freed would be taken for their memory.
    let rows: [(&str, Measure); 15] = [
        ("idle", idle::idle),
        ("spawn", spawn::spawn),
        ("tiers", spawn::tiers),
        ("trace", trace::trace),
        ("recorder", trace::recorder),
        ("replay", trace::replay),
        ("drain", drain::drain),
        ("cancel", stop::cancel),
        ("session_end", stop::session_end),
        ("shutdown", stop::shutdown),
        ("inbox", inbox::inbox),
        ("journal", journal),
        ("waits", waits::waits),
        ("input", input::input),
        ("clean", clean::clean),
    ];
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, measure) in rows {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            eprintln!("measuring {name}");
            measure(&mut table, &sizes);
        }
    }
    graph::tidy_up();
    let text = table.to_markdown();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("table.md"), &text).unwrap();
    std::fs::write(directory.join("table.svg"), plot::svg(&table)).unwrap();
    println!("\n{text}\nwritten to {}", directory.join("table.md").display());
}
