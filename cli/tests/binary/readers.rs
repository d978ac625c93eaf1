//! Readers that are slow, stand still or go away.

use crate::place::*;
use nix::sys::signal::Signal;
use std::{
    fs::{self, File},
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

/// What a pipe holds, what a command may be ahead, and what is between them: a page on its way.
const AHEAD: u64 = (1 << 20) + (64 << 10) + (256 << 10);
/// Longer than anything here takes on any machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Of the only command of the place.
fn recorded(place: &Place) -> u64 {
    let dirs = fs::read_dir(place.path("artifacts")).into_iter().flatten().flatten();
    let files = dirs.filter_map(|dir| fs::metadata(dir.path().join("combined.txt")).ok());
    files.map(|file| file.len()).sum()
}

/// 8 MiB on each stream.
const FLOOD: &str = "echo $$; i=0; while [ $i -lt 128 ]; do head -c 65536 /dev/zero; head -c 65536 /dev/zero >&2; i=$((i+1)); done";

#[test]
fn a_command_waits_for_a_reader_that_is_more_than_a_mebibyte_behind() {
    let place = Place::new();
    let script = format!("exec 2>&1; {FLOOD}");
    let mut running = place.start(&["--merge-stderr"], &script);
    let mut read = 0;
    for _ in 0..4 {
        let begun = Instant::now();
        while recorded(&place) < read + (512 << 10) {
            assert!(begun.elapsed() < LIMIT, "it is not as far ahead as it may be: {}", recorded(&place));
            std::thread::yield_now();
        }
        // As long as the whole flood takes without a reader.
        let watched = Instant::now();
        while watched.elapsed() < Duration::from_millis(100) {
            assert!(recorded(&place) <= read + AHEAD, "{} bytes recorded, {read} read", recorded(&place));
        }
        let mut piece = vec![0; 1 << 20];
        running.stdout.read_exact(&mut piece).unwrap();
        read += piece.len() as u64;
    }
    let (status, rest, err) = running.end();
    assert_eq!((status.code(), read + rest.len() as u64), (Some(0), 16 << 20), "{err}");
}

#[test]
fn both_streams_count_together_and_nothing_is_lost() {
    let place = Place::new();
    let output = place.run(&["-q", "--", "sh", "-c", FLOOD]);
    assert_eq!(output.stderr.len(), 8 << 20);
    assert!(output.stdout.len() > 8 << 20);
}

#[test]
fn detached_output_waits_for_nobody() {
    let place = Place::new();
    let running =
        place.start(&["--detach-output"], "echo $$; head -c 8388608 /dev/zero; touch over; exec sleep 1000");
    let begun = Instant::now();
    while !place.path("over").exists() {
        assert!(begun.elapsed() < LIMIT, "it waits");
        std::thread::yield_now();
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().0.code(), Some(143));
}

/// A pipe that nobody reads, for stdout and stderr both.
#[test]
fn a_timeout_and_ctrl_c_are_on_time_and_told_whoever_reads() {
    for signal in [None, Some(Signal::SIGINT)] {
        let place = Place::new();
        let told = place.path("told");
        let limit = if signal.is_some() { "1h" } else { "300ms" };
        let mut command = place.ostler("run");
        command.args(["--timeout", limit, "--", "yes"]).stdout(Stdio::piped());
        let mut ostler = command.stderr(File::create(&told).unwrap()).spawn().unwrap();
        let begun = Instant::now();
        while recorded(&place) < 1 << 20 {
            assert!(begun.elapsed() < LIMIT);
            std::thread::yield_now();
        }
        if let Some(signal) = signal {
            kill_ostler(&ostler, signal);
        }
        let code = ostler.wait().unwrap().code();
        let (said, how) = (
            fs::read_to_string(&told).unwrap(),
            if signal.is_some() { "cancelled, SIGTERM" } else { "timed out after 300 ms" },
        );
        assert_eq!(code, Some(if signal.is_some() { 130 } else { 124 }), "{said}");
        assert!(
            said.contains(&format!("ostler: {how}")) && said.contains("ostler: its output is in /"),
            "{said}"
        );
        assert!(begun.elapsed() < LIMIT);
    }
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_no_end_although_it_is_stderr_too() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = place.ostler("run");
    command.args(["--timeout", "300ms", "--", "yes"]).stdout(writer.try_clone().unwrap()).stderr(writer);
    assert_eq!(command.status().unwrap().code(), Some(124));
    drop(reader);
}
