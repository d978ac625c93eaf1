//! Output does not grow a trace: only what happens does.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    Command, Config, Filter, Ostler, TraceLog, TraceTo,
    testing::{FLOOD_BYTES_PER_MS, Program, World},
};
use ostler_tests::{Bench, Ground, ms, sh};
use std::{fs, path::PathBuf, time::Duration};

const MIB: u64 = 1 << 20;
/// Numbers have more digits, and that is all.
const DIGITS_BYTES: usize = 256;
/// Both floods have ended by then.
const LASTS: Duration = Duration::from_millis(4_096 * MIB / FLOOD_BYTES_PER_MS + 1_000);

/// The trace of a command that says so much, and ends at the same time whatever that is.
fn scripted(bytes: u64) -> String {
    let (world, log) = (World::new(), TraceLog::default());
    let flood = Program::new().floods_at(ms(1), bytes, "sixteen bytes..\n").exits_at(LASTS, 0);
    world.program("flood", flood);
    let ostler = Ostler::scripted(Config::new().trace(TraceTo::Memory(log.clone())), &world).unwrap();
    let session = ostler.open_session_as("s").wait().unwrap();
    session.launch(Command::new("flood").progress(ms(500))).wait().unwrap();
    let entries = session.inbox().receive(Filter::results(), 1, LASTS * 2).wait().unwrap();
    assert_eq!(entries[0].record().unwrap().byte_count, bytes);
    ostler.shutdown().wait().unwrap();
    log.text()
}

#[test]
fn four_gib_make_no_longer_a_trace_than_64_mib() {
    // The other test looks at all threads of this process.
    let _turn = Ground::take();
    let (small, large) = (scripted(64 * MIB), scripted(4_096 * MIB));
    assert_eq!(small.lines().count(), large.lines().count());
    assert!(large.len().abs_diff(small.len()) < DIGITS_BYTES, "{} and {} bytes", small.len(), large.len());
}

#[test]
fn a_real_flood_makes_no_longer_a_trace_than_a_line() {
    let sizes = [1, 256 * MIB].map(|bytes| {
        let mut file = PathBuf::new();
        let bench = Bench::with(|config| {
            file = config.artifact_root.as_ref().unwrap().with_file_name("trace.jsonl");
            config.trace = TraceTo::File(file.clone());
        });
        let result = bench.run(sh(format!("yes | head -c {bytes}")).output_limit(MIB).inline_bytes(1_000));
        assert_eq!(result.byte_count, bytes);
        bench.ostler().shutdown().wait().unwrap();
        fs::metadata(&file).unwrap().len()
    });
    // Its text, once, and that the limit was reached.
    assert!(sizes[1] - sizes[0] < 4_000, "{sizes:?}");
}
