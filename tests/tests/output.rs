//! Faults of output: too much, too odd, too fast, nowhere to put it, nobody who reads it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler::{
    Command, Error, Filter, Handle, LaunchError, Limit, OutputFile, OutputPolicy, Page, Record, Status,
    StopCause, Stream,
};
use ostler_tests::{
    Bench, Ground, LIMIT, OtherHost, SLACK, SMALL_DISK_BYTES, fixture, rss_bytes, rss_peak_bytes,
    rss_peak_reset, sh,
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;

/// The digest, by a program that is not ours.
fn sha256(path: &Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    format!("sha256:{}", String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap())
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Every byte that was read is in the files.
fn is_whole(result: &Record) {
    assert_eq!(result.artifact_error, None);
    assert_eq!((result.recorded_bytes, result.output_offset), (result.byte_count, result.byte_count));
    assert_eq!(length(&result.output_path), result.byte_count);
    assert_eq!(length(&result.stdout_path) + length(&result.stderr_path), result.byte_count);
    assert_eq!(result.output_sha256.as_deref(), Some(sha256(&result.output_path).as_str()));
}

/// All of a file, page by page.
fn pages(handle: &Handle, which: OutputFile, length: u64) -> Vec<u8> {
    let (mut all, mut offset) = (Vec::new(), 0);
    loop {
        let page = handle.read().stream(which).offset(offset).length(length).wait_for(LIMIT).wait().unwrap();
        let Page { content, bytes_read, next_offset, eof, .. } = page;
        assert_eq!((bytes_read, next_offset), (content.len() as u64, offset + content.len() as u64));
        assert!(eof || bytes_read > 0, "an empty page before the end, at {offset}");
        all.extend(content);
        offset = next_offset;
        if eof {
            return all;
        }
    }
}

/// Bytes that each drain thread of this process has read (proc_pid_io(5)). None if this kernel doesn't count them.
fn read_by_drain_threads() -> Option<Vec<u64>> {
    let mut counts = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("ostler-drain")) {
            let io = fs::read_to_string(task.join("io")).ok()?;
            counts.push(io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().unwrap());
        }
    }
    Some(counts)
}

#[test]
fn f85_two_floods_of_one_drain_thread_are_shared_with_one_that_has_nothing_to_do() {
    const BYTES: u64 = 256 * MIB;
    let cores = std::thread::available_parallelism().unwrap().get();
    let bench = Bench::new();
    if cores < 2 || read_by_drain_threads().is_none() {
        eprintln!("SKIPPED: there is one core only, or the kernel does not count what a thread reads");
        return;
    }
    let gates = ["one", "two"].map(|name| bench.fifo(name));
    let floods = gates.each_ref().map(|gate| {
        let script = format!("read x <{}; exec {} {BYTES}", gate.display(), fixture!("flood"));
        let flood = bench.launch(sh(&script));
        // Numbers go round the threads: the next flood falls on the same.
        (1..cores).for_each(|_| drop(bench.run(Command::new("/bin/true"))));
        flood
    });
    gates.iter().for_each(|gate| fs::write(gate, "\n").unwrap());
    for flood in floods {
        let result = bench.result(&flood);
        assert_eq!(result.byte_count, BYTES);
        is_whole(&result);
    }
    let counts = read_by_drain_threads().unwrap();
    let busy = counts.iter().filter(|count| **count >= BYTES / 4).count();
    assert_eq!(busy, 2, "{counts:?}");
}

#[test]
fn f31_a_long_output_without_a_newline_is_exact_and_costs_no_memory() {
    // 1024 takes a few times as long and proves the same.
    let mib: u64 = std::env::var("OSTLER_TESTS_FLOOD_MIB").map_or(256, |mib| mib.parse().unwrap());
    let bench = Bench::new();
    bench.run(Command::new("/bin/true"));
    let before = rss_bytes();
    rss_peak_reset();
    let handle = bench.launch(Command::new(fixture!("flood")).arg((mib * MIB).to_string()));
    // Without optimization the digest does not reach 10 MiB a second, and on a busy machine it gets half of that.
    bench.session().inbox().wait(Filter::results(), LIMIT * 10).wait().unwrap();
    let result = bench.result(&handle);
    let grown = rss_peak_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "{} KiB more at its peak", grown / 1_024);
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
    assert_eq!((result.byte_count, result.line_count), (mib * MIB, Some(1)));
    assert!(result.stdout_truncated && !result.stderr_truncated);
    is_whole(&result);
    // The other side's count, by the same program into a file.
    let told = bench.path("told");
    let status = std::process::Command::new(fixture!("flood"))
        .arg((mib * MIB).to_string())
        .stdout(fs::File::create(&told).unwrap())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(result.output_sha256, Some(sha256(&told)));
}

#[test]
fn f32_odd_bytes_are_recorded_exactly_and_lossy_only_in_the_text() {
    let bench = Bench::new();
    let go = bench.fifo("go");
    // A character in two halves, a NUL, a byte that is never UTF-8, a half character at the end.
    let script = r"printf 'a\000b \303'; read x <go; printf '\244 \377 \342\202'";
    let handle = bench.launch(sh(script).current_dir(bench.path("")));
    bench.hears(&handle, "b ", 1);
    fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!(fs::read(&result.output_path).unwrap(), b"a\0b \xc3\xa4 \xff \xe2\x82");
    assert_eq!(result.stdout, "a\0b \u{e4} \u{fffd} \u{fffd}");
    assert!(!result.stdout_truncated);
    assert_eq!(pages(&handle, OutputFile::Combined, 1), b"a\0b \xc3\xa4 \xff \xe2\x82");
    is_whole(&result);
    let json = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), result);
}

#[test]
fn f33_both_streams_at_full_speed_are_both_complete() {
    let bench = Bench::new();
    let bytes = 16 * MIB;
    let began = Instant::now();
    let result = bench.run(Command::new(fixture!("flood")).args([bytes.to_string().as_str(), "both"]));
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert_eq!((result.status, result.byte_count), (Status::Completed, 2 * bytes));
    is_whole(&result);
    assert_eq!(length(&result.stdout_path), bytes);
    assert_eq!(sha256(&result.stdout_path), sha256(&result.stderr_path));
}

#[test]
fn f34_the_end_of_both_streams_is_not_the_end_of_the_program() {
    let bench = Bench::new();
    let go = bench.fifo("go");
    let handle =
        bench.launch(sh("echo last words; exec >&- 2>&-; read x <go; exit 7").current_dir(bench.path("")));
    // Opened when the script opens it, which it does after it closed its streams.
    let writer = fs::File::options().write(true).open(go).unwrap();
    // Longer than the drain grace: what took the end of the streams for the end would have told by then.
    let wait = Duration::from_millis(500);
    assert_eq!(bench.session().inbox().wait(Filter::results(), wait).wait().unwrap(), 0);
    assert_eq!(bench.session().list().wait().unwrap().len(), 1);
    drop(writer);
    let result = bench.result(&handle);
    assert_eq!(
        (result.status, result.exit_code, result.stdout.as_str()),
        (Status::Completed, Some(7), "last words\n")
    );
    assert!(result.duration_ms.unwrap() >= 500, "{:?}", result.duration_ms);
}

#[test]
fn f35_what_a_program_wrote_before_a_quick_exit_is_there() {
    let bench = Bench::new();
    // As much as a pipe holds, so that the writer can be gone before the first read.
    let launches: Vec<Handle> =
        (0..50).map(|_| bench.launch(Command::new(fixture!("flood")).arg("65536"))).collect();
    for handle in &launches {
        let result = bench.result(handle);
        assert_eq!((result.exit_code, result.byte_count), (Some(0), 65_536));
        is_whole(&result);
    }
}

#[test]
fn f36_a_full_disk_costs_neither_the_result_nor_the_program_its_time() {
    let Some(bench) = Bench::on_a_small_disk() else { return };
    let began = Instant::now();
    let result = bench.run(Command::new(fixture!("flood")).args([MIB.to_string().as_str(), "both"]));
    assert!(began.elapsed() < LIMIT, "it was blocked: {:?}", began.elapsed());
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(0)));
    assert_eq!(result.byte_count, 2 * MIB, "every byte is read and counted");
    assert!(
        result.artifact_error.as_deref().unwrap().contains("No space left"),
        "{:?}",
        result.artifact_error
    );
    assert!(result.recorded_bytes <= SMALL_DISK_BYTES, "{}", result.recorded_bytes);
    assert_eq!(result.recorded_bytes, length(&result.output_path));
    assert_eq!(result.stdout.len(), result.stderr.len(), "the text comes from memory");
    // The disk is still full, and yet everything goes on.
    let next = bench.run(sh("echo next"));
    assert_eq!((next.exit_code, next.stdout.as_str()), (Some(0), "next\n"));
}

#[test]
fn f36_a_disk_that_refuses_to_write_costs_neither_the_result_nor_the_program_its_time() {
    let _ground = Ground::take();
    // A kernel that gives EIO for every write of exactly so many bytes, which this program does by writev.
    let host = OtherHost::new(fixture!("a-host")).refusing("write-12345").in_any_tier();
    let lines = host.run(&["run", "60000", fixture!("flood"), "12345", "whole"]);
    let result: Record = serde_json::from_value(lines[0].clone()).unwrap();
    assert_eq!((result.status, result.exit_code, result.byte_count), (Status::Completed, Some(0), 12_345));
    let told = result.artifact_error.as_deref().unwrap();
    assert!(told.contains("Input/output error"), "{told}");
    assert_eq!((result.recorded_bytes, length(&result.output_path)), (0, 0));
    assert_eq!(result.stdout.chars().count(), 12_345, "the text comes from memory");
}

#[test]
fn f36_an_artifact_directory_that_is_removed_while_the_program_runs_is_reported() {
    let mut bench = Bench::new();
    bench.spoils_artifacts();
    let go = bench.fifo("go");
    let handle = bench.launch(sh("echo before; read x <go; echo after; exit 2").current_dir(bench.path("")));
    bench.hears(&handle, "before", 1);
    fs::remove_dir_all(handle.record().output_path.parent().unwrap()).unwrap();
    fs::write(go, "\n").unwrap();
    let result = bench.result(&handle);
    assert_eq!((result.status, result.exit_code), (Status::Completed, Some(2)));
    assert_eq!((result.stdout.as_str(), result.byte_count), ("before\nafter\n", 13));
    assert!(result.artifact_error.as_deref().unwrap().contains("removed"), "{:?}", result.artifact_error);
    assert_eq!(result.recorded_bytes, 0, "there is no file any more");
    assert_eq!(bench.run(sh("echo next")).stdout, "next\n");
}

#[test]
fn output_is_read_by_line_and_clean() {
    let bench = Bench::new();
    let handle = bench.launch(sh(r"printf '\033[1mone\033[0m\n10%%\r20%%\rdone\nthree\n'; printf four >&2"));
    bench.result(&handle);
    let page = handle.read().clean().wait().unwrap();
    assert_eq!((page.text().as_str(), page.next_offset, page.eof), ("one\ndone\nthree\nfour", 35, true));
    let page = handle.read().last_lines(2).wait().unwrap();
    assert_eq!((page.text().as_str(), page.first_line), ("three\nfour", Some(3)));
    let page = futures_lite::future::block_on(handle.read().from_line(2, 1).clean().into_future()).unwrap();
    assert_eq!((page.text().as_str(), page.first_line, page.eof), ("done\n", Some(2), false));
    let kept = handle.read().kept().wait().unwrap();
    assert_eq!((kept.bytes_read, kept.eof), (0, true));
    let handle = bench.launch(sh("echo 12345678").output_limit(4));
    bench.result(&handle);
    let page = handle.read().wait().unwrap();
    assert_eq!((page.text().as_str(), page.gap.map(|gap| (gap.offset, gap.bytes))), ("1234", Some((4, 5))));
}

#[test]
fn f37_pages_that_are_read_while_the_output_grows_join_to_the_file() {
    let bench = Bench::new();
    let bytes = 8 * MIB;
    let handle = bench.launch(Command::new(fixture!("flood")).args([bytes.to_string().as_str(), "both"]));
    // Readers of different steps, at the same time as the writer, and one that comes late.
    let read = |which, length| pages(&handle, which, length);
    let (combined, stdout, stderr) = std::thread::scope(|scope| {
        let combined = scope.spawn(|| read(OutputFile::Combined, 65_537));
        let stdout = scope.spawn(|| read(OutputFile::Stdout, 1_000_003));
        let stderr = read(OutputFile::Stderr, u64::MAX);
        (combined.join().unwrap(), stdout.join().unwrap(), stderr)
    });
    let result = bench.result(&handle);
    assert_eq!(combined.len() as u64, 2 * bytes);
    assert!(combined == fs::read(&result.output_path).unwrap());
    assert!(stdout == fs::read(&result.stdout_path).unwrap() && stderr == stdout);
    assert!(combined == pages(&handle, OutputFile::Combined, MIB), "the same after the end");
    let beyond = handle.read().offset(u64::MAX).wait().unwrap();
    assert!(beyond.eof && beyond.content.is_empty());
    assert_eq!(OutputFile::from(Stream::Stdout), OutputFile::Stdout);
}

#[test]
fn f38_a_flood_moves_no_deadline_and_delays_no_other_cancel() {
    let bench = Bench::new();
    let limit = Duration::from_millis(1_500);
    // More floods than there are threads that drain.
    let command = sh("yes & yes >&2").timeout(limit);
    let began = Instant::now();
    let floods: Vec<Handle> = (0..4).map(|_| bench.launch(command.clone())).collect();
    floods.iter().for_each(|flood| bench.hears(flood, "y\n", 1_000));
    let quiet = bench.launch(Command::new("/bin/sleep").arg("1000"));
    let asked = Instant::now();
    let cancelled = quiet.cancel().wait().unwrap().record;
    assert!(asked.elapsed() < SLACK, "a cancel took {:?}", asked.elapsed());
    assert_eq!(cancelled.signal.as_deref(), Some("SIGTERM"));
    for flood in &floods {
        let result = bench.result(flood);
        assert_eq!(result.status, Status::TimedOut);
        let took = Duration::from_millis(result.duration_ms.unwrap());
        assert!(took >= limit && took < limit + SLACK, "{took:?}");
        // Taking the digest of a gigabyte to compare it would be another test.
        assert_eq!((length(&result.output_path), result.artifact_error), (result.byte_count, None));
    }
    assert!(began.elapsed() < limit + SLACK * 3, "{:?}", began.elapsed());
}

#[test]
fn f39_a_host_that_never_reads_its_inbox_costs_bounded_memory() {
    let (max, place) = (500, tempfile::tempdir().unwrap());
    let bench = Bench::with(|config| {
        // In memory it would count here.
        config.trace = ostler::TraceTo::File(place.path().join("trace"));
        config.limits.unread_results = max;
        config.limits.results_with_text = 8;
    });
    let text = bench.path("text");
    fs::write(&text, "x".repeat(49_999)).unwrap();
    let ticking = bench.launch(
        Command::new("/bin/sleep")
            .arg("1000")
            .progress(Duration::from_millis(10))
            .progress_max(Duration::from_millis(10)),
    );
    let before = rss_bytes();
    rss_peak_reset();
    let mut finished = 0;
    let refusal = loop {
        match bench.session().launch(Command::new("/bin/cat").arg(&text)).wait() {
            Ok(_) => finished += 1,
            Err(error) => break error,
        }
        assert!(finished < 2 * max, "nothing was ever refused");
    };
    let Error::Launch(LaunchError::LimitReached { limit, max: most, count, leased, oldest }) = &refusal
    else {
        panic!("{refusal:?}")
    };
    assert_eq!((limit, *most, *leased, oldest.len()), (&Limit::UnreadResults, max, 0, 3));
    assert!(
        *count >= max && refusal.to_string().contains(&format!("the oldest: {}", oldest[0])),
        "{refusal}"
    );
    assert!(finished >= max, "{finished}");
    let grown = rss_peak_bytes().saturating_sub(before);
    // All texts together would be 25 MB.
    assert!(grown < 12 * MIB, "{} KiB more at its peak", grown / 1_024);
    let progress = Filter::kind("tool_progress");
    assert!(bench.session().inbox().wait(progress.clone(), LIMIT).wait().unwrap() > 0);
    assert_eq!(
        bench.session().inbox().pending(progress).wait().unwrap(),
        1,
        "the newest replaces the one before"
    );
    // Nothing was lost: each comes with its text when it is taken at last, and then there is room again.
    ticking.cancel().wait().unwrap();
    for _ in 0..finished {
        let entries = bench.session().inbox().receive(Filter::results(), 1, LIMIT).wait().unwrap();
        assert_eq!(entries[0].record().unwrap().stdout.len(), 49_999);
    }
    assert_eq!(bench.unread(), 0);
    assert_eq!(bench.run(sh("echo again")).stdout, "again\n");
}

#[test]
fn a_flood_that_is_to_stop_at_its_output_limit_is_stopped_with_its_tree() {
    let bench = Bench::new();
    let floods = sh("yes & exec yes").output_limit(MIB).output_policy(OutputPolicy::StopCommand);
    let record = bench.launch(floods).result().wait().unwrap().record;
    assert_eq!((record.status, record.stop_cause), (Status::Killed, Some(StopCause::OutputLimit)));
    assert_eq!((record.recorded_bytes, record.signal.as_deref()), (MIB, Some("SIGTERM")));
    assert!(record.byte_count > MIB && record.artifact_error.as_ref().unwrap().contains("limit"));
    // Within the limit nothing is stopped.
    let little = sh("echo little").output_limit(MIB).output_policy(OutputPolicy::StopCommand);
    assert_eq!(bench.launch(little).result().wait().unwrap().record.success, Some(true));
}
