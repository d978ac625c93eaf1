//! Faults of limits on disk: what is removed too early, or never, and what goes on being written.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler::{Command, Config, Error, Filter, Handle, LaunchError, Limit, OutputPolicy, Status, StopCause};
use ostler_tests::{Bench, Settings, ms, settles, sh};
use std::{path::PathBuf, time::Duration};

const KIB: u64 = 1 << 10;
const SOON: Duration = Duration::from_millis(20);

fn dir(handle: &Handle) -> PathBuf {
    handle.record().output_path.parent().unwrap().to_owned()
}
/// A graph that removes early and often.
fn tidy(settings: &mut Settings) {
    let config = &mut settings.config;
    (config.retention.age, config.retention.interval) = (Duration::ZERO, SOON);
    config.limits.replay_results = 1;
}
fn leaves(dirs: &[PathBuf]) -> Vec<&PathBuf> {
    settles(|| dirs.iter().filter(|dir| dir.exists()).collect())
}
/// So long that it was time for a removal, and that is over.
fn rounds(bench: &Bench) {
    bench.ostler().sleep(ms(200)).wait().unwrap();
}

#[test]
fn what_is_finished_and_read_goes_while_the_host_runs_and_nothing_else() {
    let bench = Bench::with(tidy);
    let live = bench.launch(sh("echo here; sleep 1000"));
    bench.hears(&live, "here", 1);
    let unread = bench.launch(sh("echo unread"));
    unread.exited().wait().unwrap();
    let read: Vec<Handle> = (0..5).map(|_| bench.launch(sh("echo read"))).collect();
    for handle in &read {
        bench.result(handle);
    }
    let dirs: Vec<PathBuf> = read.iter().map(dir).collect();
    // The last one may still be asked for by a late cancel.
    let gone = &dirs[..4];
    assert_eq!(leaves(gone), Vec::<&PathBuf>::new());
    rounds(&bench);
    for (kept, text) in [(&live, "here\n"), (&unread, "unread\n"), (&read[4], "read\n")] {
        assert_eq!(kept.read().wait().unwrap().text(), text);
    }
    assert!(read[0].read().wait().is_err(), "its files are gone");
    assert_eq!(bench.session().inbox().pending(Filter::results()).wait().unwrap(), 1);
}

#[test]
fn the_graphs_of_one_process_leave_each_other_alone() {
    let bench = Bench::with(tidy);
    let other = Config::new().artifact_root(bench.ostler().artifact_root());
    let other = ostler::Ostler::start(other).unwrap();
    let session = other.open_session().wait().unwrap();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let handle = session.launch(Command::new("true")).wait().unwrap();
        handle.result().wait().unwrap();
        theirs.push(dir(&handle));
        let handle = bench.launch(Command::new("true"));
        bench.result(&handle);
        ours.push(dir(&handle));
    }
    assert_eq!(leaves(&ours[..3]), Vec::<&PathBuf>::new());
    rounds(&bench);
    assert!(theirs.iter().all(|dir| dir.exists()));
    other.shutdown().wait().unwrap();
}

#[test]
fn the_oldest_beyond_the_bytes_go_first() {
    let bench = Bench::with(|settings| {
        tidy(settings);
        let retention = &mut settings.config.retention;
        // Two of them, each of which is there twice, with their records.
        (retention.age, retention.bytes) = (Duration::from_secs(1_000), 4 * 100 * KIB + 60 * KIB);
        settings.config.limits.replay_results = 0;
    });
    let mut dirs = Vec::new();
    for _ in 0..5 {
        let handle = bench.launch(sh("head -c 102400 /dev/zero").inline_bytes(10));
        bench.result(&handle);
        dirs.push(dir(&handle));
    }
    assert_eq!(leaves(&dirs[..3]), Vec::<&PathBuf>::new());
    rounds(&bench);
    assert!(dirs[3..].iter().all(|dir| dir.exists()));
}

fn limited(bytes: u64) -> impl FnOnce(&mut Settings) {
    move |settings| settings.config.limits.session_output_bytes = Some(bytes)
}

#[test]
fn what_a_session_has_on_disk_is_never_more_than_its_limit() {
    let limit = 300 * KIB;
    let bench = Bench::with(limited(limit));
    let script = "cat; head -c 500000 /dev/zero; echo over >&2; exit 3";
    let flood = || bench.launch(sh(script).inline_bytes(10).stdin_open());
    let handles = [flood(), flood(), flood(), flood()];
    // None is refused because another one was faster.
    handles.iter().for_each(|handle| handle.close_stdin().wait().unwrap());
    let mut total = 0;
    for handle in &handles {
        let record = bench.result(handle);
        // It goes on, and is counted.
        assert_eq!((record.exit_code, record.byte_count), (Some(3), 500_005));
        let why = record.artifact_error.unwrap();
        assert!(why.contains("the session's limit of 307200 bytes on disk"), "{why}");
        let page = handle.read().offset(record.recorded_bytes).wait().unwrap();
        assert_eq!(page.gap.unwrap().bytes, 500_005 - record.recorded_bytes);
        let files = ["combined.txt", "stdout.txt", "stderr.txt"];
        let lengths = files.map(|file| dir(handle).join(file).metadata().unwrap().len());
        assert_eq!(lengths[0], lengths[1] + lengths[2]);
        total += lengths.iter().sum::<u64>();
    }
    assert!((limit - 1..=limit).contains(&total), "{total}");
    let refused = bench.refused(Command::new("true"));
    let oldest = handles[..3].iter().map(Handle::id).collect();
    let (limit_of, leased) = (Limit::SessionOutputBytes, 0);
    assert_eq!(
        refused,
        LaunchError::LimitReached { limit: limit_of, max: limit, count: total, leased, oldest }
    );
    // Another session has its own.
    let other = bench.ostler().open_session().wait().unwrap();
    let handle = other.launch(sh("echo other")).wait().unwrap();
    assert_eq!(handle.result().wait().unwrap().record.artifact_error, None);
}

#[test]
fn a_command_that_is_to_stop_at_a_limit_stops_at_its_sessions() {
    let bench = Bench::with(limited(100 * KIB));
    let record = bench.run(Command::new("yes").output_policy(OutputPolicy::StopCommand));
    assert_eq!((record.status, record.stop_cause), (Status::Killed, Some(StopCause::OutputLimit)));
    assert_eq!(record.recorded_bytes, 50 * KIB);
}

#[test]
fn what_is_removed_makes_room_for_more() {
    let bench = Bench::with(|settings| {
        tidy(settings);
        settings.config.limits.session_output_bytes = Some(100 * KIB);
        settings.config.limits.replay_results = 0;
    });
    let full = bench.launch(sh("head -c 100000 /dev/zero").inline_bytes(10));
    bench.result(&full);
    assert_eq!(leaves(&[dir(&full)]), Vec::<&PathBuf>::new());
    // The removal is told a moment after it.
    let launch = || match bench.session().launch(sh("echo again")).wait() {
        Ok(handle) => Some(handle),
        Err(Error::Launch(LaunchError::LimitReached { limit: Limit::SessionOutputBytes, .. })) => None,
        other => panic!("{other:?}"),
    };
    let mut again = None;
    let waits = settles(|| {
        again = again.take().or_else(&launch);
        if again.is_some() { Vec::new() } else { vec!["no room"] }
    });
    assert_eq!(waits, Vec::<&str>::new());
    let record = bench.result(&again.unwrap());
    assert_eq!((record.stdout.as_str(), record.artifact_error), ("again\n", None));
}
