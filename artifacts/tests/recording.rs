//! What ends up in the files and in the output, on good days and on bad ones.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{NOTHING_SHA256, command, length, record, scene};
use ostler_artifacts::{
    DigestWorker, Growth, Paths, ReadRequest, Recorder, Root, create, discard, read_now, reload_text,
};
use ostler_messages::{Capture, Record, Stream};
use sha2::{Digest, Sha256};
use std::{fs, os::unix::fs::PermissionsExt, process::Command, sync::Arc};

const ENOSPC: i32 = 28;

#[test]
fn streams_are_kept_apart_and_together_in_order_of_arrival() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"one\n");
    recorder.append(Stream::Stderr, b"two\n");
    recorder.append(Stream::Stdout, b"three");
    let peeked = recorder.peek(u64::MAX);
    let output = recorder.seal(record(&scene.paths));

    assert_eq!(fs::read(scene.paths.combined()).unwrap(), b"one\ntwo\nthree");
    assert_eq!(fs::read(scene.paths.stdout()).unwrap(), b"one\nthree");
    assert_eq!(fs::read(scene.paths.stderr()).unwrap(), b"two\n");
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one\nthree", "two\n"));
    assert_eq!((output.byte_count, output.recorded_bytes, output.line_count), (13, 13, Some(3)));
    let hex: String = Sha256::digest(b"one\ntwo\nthree").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(output.output_sha256, Some(format!("sha256:{hex}")));
    assert_eq!(output.artifact_error, None);
    assert_eq!(peeked.output_sha256, None);
    assert_eq!((peeked.stdout, peeked.line_count), (output.stdout.clone(), Some(3)));

    let on_disk: Record = serde_json::from_slice(&fs::read(scene.paths.result()).unwrap()).unwrap();
    let mut expected = record(&scene.paths);
    expected.set_output(output.clone());
    assert_eq!(on_disk, expected);
    fs::remove_file(scene.paths.result()).unwrap();
    recorder.append(Stream::Stdout, b"late");
    assert_eq!(recorder.seal(record(&scene.paths)), output, "the second seal is the first again");
    assert!(!scene.paths.result().exists() && length(&scene.paths.combined()) == 13);
}

#[test]
fn everything_is_private_to_the_user() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"x");
    recorder.seal(record(&scene.paths));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(scene.root.path()), mode(&scene.paths.dir)), (0o700, 0o700));
    let mut names: Vec<_> =
        fs::read_dir(&scene.paths.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        ["combined.txt", "result.json", "stderr.txt", "stdout.txt"],
        "no temporary file is left"
    );
    for name in names {
        assert_eq!(mode(&scene.paths.dir.join(name)), 0o600);
    }
}

#[test]
fn no_output_has_the_digest_of_nothing() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), Some(0));
    recorder.append(Stream::Stdout, b"");
    let output = recorder.seal(record(&scene.paths));
    assert_eq!(output.output_sha256.as_deref(), Some(NOTHING_SHA256));
    assert_eq!((output.line_count, output.byte_count, output.artifact_error), (Some(0), 0, None));
}

#[test]
fn a_stream_that_is_not_captured_is_recorded_but_not_shown() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default().stderr(false), None);
    recorder.append(Stream::Stdout, b"out\n");
    recorder.append(Stream::Stderr, b"err\n");
    let output = recorder.seal(record(&scene.paths));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", ""));
    assert_eq!((output.line_count, output.stderr_truncated), (Some(2), false));
    assert_eq!(fs::read(scene.paths.stderr()).unwrap(), b"err\n");
}

#[test]
fn the_output_limit_cuts_at_its_byte_and_everything_is_still_counted() {
    for memory in [false, true] {
        let scene = scene();
        let mut recorder = match memory {
            true => scene.in_memory(Some(10)),
            false => scene.recorder(Capture::default(), Some(10)),
        };
        recorder.append(Stream::Stdout, b"123456");
        recorder.append(Stream::Stderr, b"abcd");
        assert_eq!(recorder.peek(0).artifact_error, None, "exactly at the limit nothing is missing");
        recorder.append(Stream::Stderr, b"efgh\n");
        recorder.append(Stream::Stdout, b"7");
        let output = recorder.seal(record(&scene.paths));
        assert_eq!((output.byte_count, output.recorded_bytes, output.line_count), (16, 10, Some(2)));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("1234567", "abcdefgh\n"));
        assert_eq!(output.artifact_error.as_deref(), Some("output limit of 10 bytes reached"));
        let read = |which: &str| {
            let request = ReadRequest::new().of(which.parse().unwrap());
            read_now(&scene.paths, Some(&scene.live), &request).unwrap().content
        };
        assert_eq!(read("combined"), b"123456abcd");
        assert_eq!((read("stdout"), read("stderr")), (b"123456".to_vec(), b"abcd".to_vec()));
    }
}

#[test]
fn a_limit_inside_a_slice_records_its_first_part() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), Some(3));
    recorder.append(Stream::Stderr, b"123456");
    assert_eq!(recorder.seal(record(&scene.paths)).recorded_bytes, 3);
    assert_eq!(fs::read(scene.paths.stderr()).unwrap(), b"123");
}

#[test]
fn a_removed_directory_costs_the_files_and_nothing_else() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"before\n");
    fs::remove_dir_all(&scene.paths.dir).unwrap();
    recorder.append(Stream::Stdout, b"after\n");
    let output = recorder.seal(record(&scene.paths));
    assert_eq!((output.byte_count, output.recorded_bytes, output.line_count), (13, 0, Some(2)));
    assert_eq!(output.stdout, "before\nafter\n");
    assert_eq!(output.artifact_error.as_deref(), Some("the artifact directory was removed"));
    assert!(!scene.paths.dir.exists());
}

#[test]
fn a_directory_removed_before_the_first_byte_is_told_too() {
    let silent = scene();
    let mut recorder = silent.recorder(Capture::default(), None);
    fs::remove_dir_all(&silent.paths.dir).unwrap();
    let output = recorder.seal(record(&silent.paths));
    assert_eq!(output.artifact_error.as_deref(), Some("the artifact directory was removed"));

    let talking = scene();
    let mut recorder = talking.recorder(Capture::default(), None);
    fs::remove_dir_all(&talking.paths.dir).unwrap();
    recorder.append(Stream::Stdout, b"x");
    let told =
        "opening combined.txt: No such file or directory (os error 2); the artifact directory was removed";
    assert_eq!(recorder.seal(record(&talking.paths)).artifact_error.as_deref(), Some(told));
}

#[test]
fn a_removed_file_is_told_and_the_result_still_written() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"x");
    fs::remove_file(scene.paths.combined()).unwrap();
    let output = recorder.seal(record(&scene.paths));
    assert_eq!(output.artifact_error.as_deref(), Some("combined.txt was removed"));
    assert_eq!(output.recorded_bytes, 0);
    let on_disk: Record = serde_json::from_slice(&fs::read(scene.paths.result()).unwrap()).unwrap();
    assert_eq!(on_disk.artifact_error, output.artifact_error);
}

#[test]
fn a_file_that_was_replaced_by_another_of_its_name_was_removed() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"x");
    fs::remove_file(scene.paths.combined()).unwrap();
    fs::write(scene.paths.combined(), "y").unwrap();
    let output = recorder.seal(record(&scene.paths));
    assert_eq!(output.artifact_error.as_deref(), Some("combined.txt was removed"));
}

#[test]
fn a_result_is_written_over_the_half_one_that_somebody_left() {
    let scene = scene();
    let half = scene.paths.dir.join(".result.json.tmp");
    fs::write(&half, "{").unwrap();
    let output = scene.recorder(Capture::default(), None).seal(record(&scene.paths));
    assert_eq!(output.artifact_error, None);
    assert!(scene.paths.result().exists() && !half.exists());
}

#[test]
fn what_another_thread_digests_is_recorded_alike() {
    let sizes = [1, 64 << 10, (64 << 10) + 1, 200_000];
    let bytes = Arc::new((0..200_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    let recorded = |with: Option<&mut DigestWorker>| {
        let scene = scene();
        let mut recorder = scene.recorder(Capture::default(), None);
        let mut with = with;
        for size in sizes {
            match &mut with {
                Some(worker) => recorder.append_with(Stream::Stdout, &bytes, size, worker),
                None => recorder.append(Stream::Stdout, &bytes[..size]),
            }
        }
        let output = recorder.seal(record(&scene.paths));
        let after = recorder.seal(record(&scene.paths));
        assert_eq!(output, after);
        (output, fs::read(scene.paths.combined()).unwrap())
    };
    let mut worker = DigestWorker::new("digests".into()).unwrap();
    assert_eq!(recorded(Some(&mut worker)), recorded(None));
}

#[test]
fn an_output_limit_that_is_just_reached_is_no_error() {
    for (bytes, error) in [(5, None), (6, Some("output limit of 5 bytes reached".to_owned()))] {
        let scene = scene();
        let mut recorder = scene.recorder(Capture::default(), Some(5));
        recorder.append(Stream::Stdout, &b"123456"[..bytes]);
        let output = recorder.seal(record(&scene.paths));
        assert_eq!((output.recorded_bytes, output.artifact_error), (5, error));
    }
}

#[test]
fn a_result_that_cannot_be_written_is_told_and_leaves_no_part() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    // A directory with something in it is what a rename cannot replace.
    fs::create_dir_all(scene.paths.result().join("x")).unwrap();
    let output = recorder.seal(record(&scene.paths));
    assert!(output.artifact_error.unwrap().starts_with("writing result.json: "));
    assert_eq!(fs::read_dir(&scene.paths.dir).unwrap().count(), 4);
}

#[test]
fn f72_without_files_everything_is_counted_digested_and_shown() {
    let live = Arc::new(Growth::new());
    let mut recorder = Recorder::without_files("there is no room".into(), Capture::default(), live.clone());
    recorder.append(Stream::Stdout, b"out\n");
    recorder.append(Stream::Stderr, b"err\n");
    let scene = scene();
    let output = recorder.seal(record(&scene.paths));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!((output.byte_count, output.recorded_bytes, output.line_count), (8, 0, Some(2)));
    assert_eq!(output.artifact_error.as_deref(), Some("there is no room"));
    assert!(!output.text_on_disk.0 && output.output_sha256.is_some() && live.ended());
}

#[test]
fn f74_what_was_read_is_there_while_the_disk_does_not_answer() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, "first é".as_bytes());
    let peeked = scene.live.peek(u64::MAX).unwrap();
    assert_eq!((peeked.stdout.as_str(), peeked.byte_count, peeked.recorded_bytes), ("first é", 8, 8));
    assert!(recorder.seal(record(&scene.paths)).text_on_disk.0);
    assert_eq!(scene.live.peek(u64::MAX), None, "from here on the result has it");
}

#[test]
fn f95_a_directory_that_is_replaced_by_a_link_is_not_followed() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"before\n");
    let (away, elsewhere) = (scene.dir.path().join("away"), scene.dir.path().join("elsewhere"));
    fs::rename(&scene.paths.dir, &away).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    for name in ["combined.txt", "stderr.txt"] {
        fs::write(elsewhere.join(name), "").unwrap();
    }
    std::os::unix::fs::symlink(&elsewhere, &scene.paths.dir).unwrap();
    recorder.append(Stream::Stderr, b"after\n");
    let output = recorder.seal(record(&scene.paths));
    assert_eq!(output.artifact_error.as_deref(), Some("the artifact directory was moved away"));
    assert!(!output.text_on_disk.0, "where it is looked for, it is not");
    assert_eq!(fs::read(away.join("combined.txt")).unwrap(), b"before\nafter\n");
    assert_eq!(length(&elsewhere.join("combined.txt")) + length(&elsewhere.join("stderr.txt")), 0);
    assert!(!elsewhere.join("result.json").exists());
}

#[test]
fn a_scripted_full_disk_takes_what_fits() {
    let scene = scene();
    let live = Arc::new(Growth::new());
    let mut recorder = Recorder::in_memory(Capture::default(), None, live.clone());
    recorder.fail_at(5, ENOSPC);
    recorder.append(Stream::Stdout, b"123");
    recorder.append(Stream::Stderr, b"4567");
    recorder.append(Stream::Stdout, b"8");
    let output = recorder.seal(record(&scene.paths));
    assert_eq!((output.byte_count, output.recorded_bytes), (8, 5));
    assert_eq!(
        output.artifact_error.as_deref(),
        Some("writing combined.txt: No space left on device (os error 28)")
    );
    let page = read_now(&scene.paths, Some(&live), &ReadRequest::default()).unwrap();
    assert_eq!((page.content.as_slice(), page.eof), (b"12345".as_slice(), true));
    assert_eq!(length(&scene.paths.combined()), 0, "nothing of it went to the disk");
}

#[test]
fn a_real_full_disk_takes_what_fits_and_stays_closed_after() {
    const DISK_BYTES: u64 = 64 << 10;
    let dir = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| Command::new(args[0]).args(&args[1..]).arg(dir.path()).output();
    let size = format!("size={DISK_BYTES}");
    match mount(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs"]) {
        Ok(done) if done.status.success() => {}
        other => return eprintln!("SKIPPED: a small tmpfs cannot be mounted here: {other:?}"),
    }
    let run = std::panic::catch_unwind(|| {
        let root = Root::open(Some(dir.path().join("artifacts")), 1).unwrap();
        let paths = Paths::of(root.path(), command(1));
        let live = Arc::new(Growth::new());
        let directory = create(&paths).unwrap();
        let mut recorder = Recorder::new(directory, Capture::default(), None, live.clone());
        let chunk = [b'x'; 10_000];
        for _ in 0..20 {
            recorder.append(Stream::Stdout, &chunk);
        }
        let recorded = length(&paths.combined());
        assert!(recorded > 0 && recorded < DISK_BYTES);
        assert_eq!(live.length("combined".parse().unwrap()), recorded);
        // Space again: bytes after a gap would lie to whoever reads the file.
        fs::remove_file(paths.stderr()).unwrap();
        fs::File::options().write(true).open(paths.stdout()).unwrap().set_len(0).unwrap();
        recorder.append(Stream::Stdout, &chunk);
        assert_eq!(length(&paths.combined()), recorded);
        let output = recorder.seal(record(&paths));
        assert_eq!((output.byte_count, output.recorded_bytes), (210_000, recorded));
        let told = output.artifact_error.unwrap();
        // Whichever of the two files it was that found no room first.
        let first = told.strip_prefix("writing combined.txt: ").or(told.strip_prefix("writing stdout.txt: "));
        assert!(first.is_some_and(|why| why.starts_with("No space left on device (os error 28)")), "{told}");
    });
    let unmounted = mount(&["umount", "-l"]);
    run.unwrap();
    assert!(unmounted.unwrap().status.success());
}

#[test]
fn sixty_four_mebibytes_arrive_whole() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let expected = |n: u32| (0..64 << 10).map(|at: u32| (at * 31 + n) as u8).collect::<Vec<u8>>();
    for n in 0..1024 {
        recorder.append(Stream::BOTH[n as usize % 2], &expected(n));
    }
    let output = recorder.seal(record(&scene.paths));
    assert_eq!((output.byte_count, output.recorded_bytes), (64 << 20, 64 << 20));
    assert_eq!((length(&scene.paths.stdout()), length(&scene.paths.stderr())), (32 << 20, 32 << 20));
    let all = fs::read(scene.paths.combined()).unwrap();
    let hex: String = Sha256::digest(&all).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(output.output_sha256, Some(format!("sha256:{hex}")));
    assert!(all.chunks(64 << 10).zip(0_u32..).all(|(chunk, n)| chunk[..300] == expected(n)[..300]));
    assert_eq!(output.line_count, Some(all.iter().filter(|byte| **byte == b'\n').count() as u64 + 1));
}

#[test]
fn dropped_texts_come_back_from_the_result() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, "grüß\n\0\u{1b}".as_bytes());
    recorder.append(Stream::Stderr, b"\xff");
    let mut full = record(&scene.paths);
    full.set_output(recorder.seal(full.clone()));
    let mut light = full.clone();
    light.omit_text();
    assert!(reload_text(&mut light));
    assert_eq!(light, full);

    let mut other = light.clone();
    other.command_id = command(2);
    assert!(!reload_text(&mut other), "the result of another command");
    fs::write(scene.paths.result(), "{").unwrap();
    assert!(!reload_text(&mut light), "half a result");
    fs::File::options().write(true).open(scene.paths.result()).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(!reload_text(&mut light), "a result above the bound");
    fs::remove_file(scene.paths.result()).unwrap();
    assert!(!reload_text(&mut light), "no result");
    assert_eq!(light, full, "and the record stays what it was");
}

#[test]
fn what_is_there_already_is_neither_taken_over_nor_removed() {
    let scene = scene();
    fs::write(scene.paths.combined(), "kept").unwrap();
    assert!(create(&scene.paths).is_err());
    assert_eq!(fs::read(scene.paths.combined()).unwrap(), b"kept");
}

#[test]
fn discard_takes_its_own_names_and_nothing_else() {
    let scene = scene();
    discard(&scene.paths).unwrap();
    assert!(!scene.paths.dir.exists());
    discard(&scene.paths).unwrap();

    let victim = scene.dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("combined.txt"), "mine").unwrap();
    std::os::unix::fs::symlink(&victim, &scene.paths.dir).unwrap();
    assert!(discard(&scene.paths).is_err(), "a link in place of the directory");
    assert!(victim.join("combined.txt").exists());

    fs::remove_file(&scene.paths.dir).unwrap();
    create(&scene.paths).unwrap();
    fs::write(scene.paths.dir.join("notes"), "mine").unwrap();
    assert!(discard(&scene.paths).is_err());
    assert!(scene.paths.dir.join("notes").exists());
}
