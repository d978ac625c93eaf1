//! Where recording stops while the command goes on, what is missing then, and what kept leftovers say after the end.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{Scene, length, record, scene};
use ostler_artifacts::{
    Gap, Growth, OutputFile, Page, Paths, ReadError, ReadRequest, Recorder, RetentionLimits, Stopped, View,
    Wanted, discard, next_byte, read_blocking, read_now, retain,
};
use ostler_messages::{Capture, Stream};
use std::{
    fs,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

const LONG_MS: u64 = 60_000;
const ENOSPC: i32 = 28;

fn read(paths: &Paths, live: Option<&Growth>, which: OutputFile, offset: u64) -> Page {
    read_now(paths, live, &ReadRequest::new().of(which).offset(offset)).unwrap()
}
fn stopped(offset: u64, why: &str) -> Option<Stopped> {
    Some(Stopped { offset, why: why.into() })
}

/// Both kinds of recorder, with an output limit.
fn both(limit: Option<u64>, then: impl Fn(&Scene, Recorder)) {
    let on_disk = scene();
    let recorder = on_disk.recorder(Capture::default(), limit);
    then(&on_disk, recorder);
    let played = scene();
    let recorder = played.in_memory(limit);
    then(&played, recorder);
}

#[test]
fn the_first_byte_beyond_the_limit_stops_the_recording_and_not_the_command() {
    both(Some(10), |scene, mut recorder| {
        let live = &scene.live;
        recorder.append(Stream::Stdout, b"01234");
        recorder.append(Stream::Stderr, b"56789");
        assert_eq!((live.stopped(), live.missed()), (None, 0), "every byte is there");
        recorder.append(Stream::Stdout, b"");
        assert_eq!(live.stopped(), None);
        recorder.append(Stream::Stdout, b"abc");
        let why = "output limit of 10 bytes reached";
        assert_eq!((live.stopped(), live.missed()), (stopped(10, why), 3));
        assert_eq!(live.stopped_of(OutputFile::Stdout), stopped(5, why));
        assert_eq!(live.stopped_of(OutputFile::Stderr), stopped(5, why), "the limit is that of all");
        recorder.append(Stream::Stderr, b"de");
        assert_eq!((live.stopped(), live.missed()), (stopped(10, why), 5), "said once, counted on");
        assert_eq!((live.missed_of(OutputFile::Stdout), live.missed_of(OutputFile::Stderr)), (3, 2));
        assert!(!live.ended() && live.ended_of(OutputFile::Combined));
        // The end of what there is, at once.
        let request = ReadRequest::new().offset(10).wait_ms(LONG_MS);
        let page = read_blocking(&scene.paths, Some(live), &request).unwrap();
        assert_eq!((page.bytes_read, page.eof, gap(&page)), (0, true, Some((10, 5))));
        assert_eq!(gap(&read(&scene.paths, Some(live), OutputFile::Stdout, 0)), Some((5, 3)));
        recorder.seal(record(&scene.paths));
        assert_eq!(gap(&read(&scene.paths, Some(live), OutputFile::Combined, 3)), Some((10, 5)));
        let short = read_now(&scene.paths, Some(live), &ReadRequest::new().length(4)).unwrap();
        assert_eq!((short.eof, short.gap), (false, None), "only at the end");
    });
}

fn gap(page: &Page) -> Option<(u64, u64)> {
    page.gap.map(|Gap { offset, bytes, .. }| (offset, bytes))
}

#[test]
fn a_gap_is_known_from_the_record_when_nobody_else_knows_it() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), Some(4));
    recorder.append(Stream::Stdout, b"abc\ndefg");
    recorder.append(Stream::Stderr, b"h");
    recorder.seal(record(&scene.paths));
    let gap_of = |which| gap(&read(&scene.paths, None, which, 0));
    assert_eq!(gap_of(OutputFile::Combined), Some((4, 5)));
    assert_eq!(gap_of(OutputFile::Stdout), Some((4, 5)), "of both, it is not known whose");
    assert_eq!(gap_of(OutputFile::Kept), None);
    let page = read(&scene.paths, None, OutputFile::Combined, 0);
    let json = serde_json::to_value(&page).unwrap();
    assert_eq!(json["gap"], serde_json::json!({ "offset": 4, "bytes": 5 }));
    let complete = common::scene();
    let mut recorder = complete.recorder(Capture::default(), Some(4));
    recorder.append(Stream::Stdout, b"abcd");
    recorder.seal(record(&complete.paths));
    assert_eq!(read(&complete.paths, None, OutputFile::Combined, 0).gap, None);
}

#[test]
fn a_failed_write_stops_the_file_it_failed_in() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    fs::remove_file(scene.paths.stdout()).unwrap();
    nix::unistd::mkfifo(&scene.paths.stdout(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    recorder.append(Stream::Stdout, b"abc");
    let why = scene.live.stopped_of(OutputFile::Stdout).unwrap();
    assert!(why.offset == 0 && why.why.starts_with("opening stdout.txt: "), "{why:?}");
    assert_eq!((scene.live.stopped(), scene.live.missed()), (None, 0), "the combined file goes on");
    assert!(scene.live.ended_of(OutputFile::Stdout) && !scene.live.ended_of(OutputFile::Combined));
    recorder.append(Stream::Stdout, b"de");
    assert_eq!(read(&scene.paths, Some(&scene.live), OutputFile::Combined, 0).content, b"abcde");
    assert_eq!(scene.live.missed_of(OutputFile::Stdout), 5);

    let played = common::scene();
    let mut recorder = played.in_memory(None);
    recorder.fail_at(4, ENOSPC);
    recorder.append(Stream::Stderr, b"abcdef");
    assert_eq!(
        played.live.stopped(),
        stopped(4, "writing combined.txt: No space left on device (os error 28)")
    );
    assert_eq!(played.live.missed(), 2);

    let without = common::scene();
    let mut recorder = Recorder::without_files("no room".into(), Capture::default(), without.live.clone());
    assert_eq!(without.live.stopped(), None);
    recorder.append(Stream::Stdout, b"a");
    assert_eq!((without.live.stopped(), without.live.missed()), (stopped(0, "no room"), 1));
}

#[test]
fn a_stop_wakes_who_waits() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), Some(3));
    recorder.append(Stream::Stdout, b"abc");
    let mut context = Context::from_waker(Waker::noop());
    let mut waits = pin!(next_byte(&scene.live, OutputFile::Stderr, 0));
    assert_eq!(waits.as_mut().poll(&mut context), Poll::Pending);
    let (paths, live) = (scene.paths.clone(), scene.live.clone());
    let clean = ReadRequest::new().view(View::Clean).wait_ms(LONG_MS);
    let reader = thread::spawn(move || read_blocking(&paths, Some(&live), &clean).unwrap());
    thread::yield_now();
    recorder.append(Stream::Stdout, b"d");
    assert_eq!(waits.as_mut().poll(&mut context), Poll::Ready(()), "stderr can't get a byte any more");
    let page = reader.join().unwrap();
    assert_eq!(
        (page.text().as_str(), page.eof, gap(&page)),
        ("abc", true, Some((3, 1))),
        "its last line is whole"
    );
}

#[test]
fn what_kept_leftovers_say_has_a_file_and_an_end_of_its_own() {
    both(None, |scene, mut recorder| {
        let live = &scene.live;
        let kept = |offset| read(&scene.paths, Some(live), OutputFile::Kept, offset);
        recorder.append(Stream::Stdout, b"own\n");
        let page = kept(0);
        assert_eq!((page.path, page.bytes_read, page.eof), (scene.paths.kept(), 0, false), "it may come");
        live.keep();
        recorder.append_kept(b"");
        assert!(!scene.paths.kept().exists(), "not made without a byte");
        recorder.append_kept(b"early ");
        let output = recorder.seal(record(&scene.paths));
        assert_eq!((output.byte_count, output.recorded_bytes, output.artifact_error), (4, 4, None));
        assert_eq!(kept(0).content, b"early ");
        assert!(!kept(0).eof && live.ended() && !live.ended_of(OutputFile::Kept));
        let (paths, clone) = (scene.paths.clone(), live.clone());
        let request = ReadRequest::new().of(OutputFile::Kept).offset(6).wait_ms(LONG_MS);
        let reader = thread::spawn(move || read_blocking(&paths, Some(&clone), &request).unwrap());
        thread::yield_now();
        recorder.append_kept(b"late\n");
        assert_eq!(reader.join().unwrap().content, b"late\n");
        assert_eq!(read(&scene.paths, Some(live), OutputFile::Combined, 0).content, b"own\n", "sealed");
        assert!(!kept(0).eof);
        live.end_kept();
        assert!(kept(0).eof);
        assert_eq!(kept(0).content, b"early late\n");
    });
}

#[test]
fn without_kept_leftovers_their_file_is_empty_and_ends_with_the_command() {
    both(None, |scene, mut recorder| {
        let page = |live| read(&scene.paths, live, OutputFile::Kept, 0);
        assert!(!page(Some(&scene.live)).eof);
        recorder.seal(record(&scene.paths));
        assert_eq!((page(Some(&scene.live)).eof, page(Some(&scene.live)).bytes_read), (true, 0));
        assert_eq!((page(None).eof, page(None).bytes_read), (true, 0), "nor when it is forgotten");
        assert!(!scene.paths.kept().exists());
    });
    // Of a command that is kept, and whose recorder is given up, too.
    both(None, |scene, recorder| {
        scene.live.keep();
        drop(recorder);
        assert!(read(&scene.paths, Some(&scene.live), OutputFile::Kept, 0).eof);
    });
    let gone = scene();
    discard(&gone.paths).unwrap();
    let page = read_now(&gone.paths, None, &ReadRequest::new().of(OutputFile::Kept));
    assert_eq!(page, Err(ReadError::NotFound { path: gone.paths.kept() }), "there is no such command");
}

#[test]
fn kept_leftovers_have_what_is_left_of_the_limit() {
    both(Some(10), |scene, mut recorder| {
        recorder.append(Stream::Stdout, b"0123456");
        scene.live.keep();
        recorder.seal(record(&scene.paths));
        recorder.append_kept(b"ab");
        recorder.append_kept(b"cdef");
        recorder.append_kept(b"g");
        let page = read(&scene.paths, Some(&scene.live), OutputFile::Kept, 0);
        assert_eq!((page.content.as_slice(), gap(&page)), (&b"abc"[..], Some((3, 4))));
        assert_eq!(scene.live.stopped(), None, "the command's own is complete");
        assert_eq!(scene.live.stopped_of(OutputFile::Kept), stopped(3, "output limit of 10 bytes reached"));
    });
}

#[test]
fn a_file_of_others_in_the_place_of_the_kept_one_is_not_written_to() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.seal(record(&scene.paths));
    fs::write(scene.paths.kept(), "others").unwrap();
    recorder.append_kept(b"a");
    recorder.append_kept(b"b");
    assert_eq!(fs::read(scene.paths.kept()).unwrap(), b"others");
    assert_eq!(scene.live.missed_of(OutputFile::Kept), 2);
}

#[test]
fn the_kept_file_goes_with_the_others() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.seal(record(&scene.paths));
    recorder.append_kept(b"after");
    assert_eq!(length(&scene.paths.kept()), 5);
    drop(recorder);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(scene.paths.kept()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    discard(&scene.paths).unwrap();
    assert!(!scene.paths.dir.exists());
    // And with a retention, which removes only what is ours.
    let dead = ostler_messages::CommandId { host_pid: u32::MAX - 1, unix_ns: 1, n: 1 };
    let paths = Paths::of(scene.root.path(), dead);
    ostler_artifacts::create(&paths).unwrap();
    fs::write(paths.kept(), "x").unwrap();
    let limits = RetentionLimits { age: Duration::ZERO, commands: 100, bytes: u64::MAX };
    assert_eq!(retain(scene.root.path(), &limits, &Wanted::default()).removed.len(), 1);
}
