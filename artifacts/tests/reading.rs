//! Reading by offset while the command runs, and after.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{Scene, command, record, scene};
use ostler_artifacts::{
    Growth, Lines, OutputFile, Paths, READ_MAX_BYTES, ReadError, ReadRequest, Recorder, Root, View, create,
    next_byte, read_blocking, read_now,
};
use ostler_messages::{Capture, CommandId, Stream};
use std::{
    fs,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Far longer than any step here takes: reaching it is a failure, not a way to go on.
const LONG_MS: u64 = 60_000;

fn at(offset: u64, length: u64) -> ReadRequest {
    ReadRequest::new().offset(offset).length(length)
}

fn follow(scene_paths: &Paths, live: &Growth, which: OutputFile, length: u64) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let request = ReadRequest::new().of(which).offset(all.len() as u64).length(length).wait_ms(LONG_MS);
        let page = read_blocking(scene_paths, Some(live), &request).unwrap();
        assert_eq!((page.offset, page.bytes_read), (all.len() as u64, page.content.len() as u64));
        assert_eq!(page.next_offset, page.offset + page.bytes_read);
        all.extend_from_slice(&page.content);
        if page.eof {
            return all;
        }
        assert!(page.bytes_read > 0, "a wait ended without a byte and without the end");
    }
}

fn followed_to_the_end(new: fn(&common::Scene) -> Recorder) {
    let scene = scene();
    let mut recorder = new(&scene);
    let readers = [OutputFile::Combined, OutputFile::Stdout, OutputFile::Stderr].map(|which| {
        let (paths, live) = (scene.paths.clone(), scene.live.clone());
        thread::spawn(move || follow(&paths, &live, which, 1_000))
    });
    let mut expected: [Vec<u8>; 3] = Default::default();
    for n in 0..2_000_usize {
        let (stream, line) = (Stream::BOTH[n % 3 % 2], format!("{n} {}\n", "x".repeat(n % 400)));
        recorder.append(stream, line.as_bytes());
        expected[0].extend_from_slice(line.as_bytes());
        expected[OutputFile::from(stream) as usize].extend_from_slice(line.as_bytes());
        if n % 100 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    recorder.seal(record(&scene.paths));
    assert_eq!(readers.map(|reader| reader.join().unwrap()), expected);
}

#[test]
fn a_reader_that_waits_sees_every_byte() {
    followed_to_the_end(|scene| scene.recorder(Capture::default(), None));
}

#[test]
fn a_reader_of_a_scripted_command_sees_every_byte() {
    followed_to_the_end(|scene| scene.in_memory(None));
}

#[test]
fn pages_say_where_they_are_and_when_it_is_over() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"0123456789");
    let read = |request| read_now(&scene.paths, Some(&scene.live), &request).unwrap();
    let page = read(at(4, 3));
    assert_eq!(page.path, scene.paths.combined());
    assert_eq!((page.offset, page.bytes_read, page.next_offset, page.total_bytes), (4, 3, 7, 10));
    assert_eq!((page.eof, page.content.as_slice()), (false, &b"456"[..]));
    assert!(!read(at(4, 100)).eof, "at the end of the file, but more may come");
    recorder.seal(record(&scene.paths));
    assert!(!read(at(4, 3)).eof);
    assert!(read(at(4, 100)).eof);
    let beyond = read(at(11, u64::MAX));
    assert_eq!((beyond.bytes_read, beyond.next_offset, beyond.eof), (0, 11, true));
    assert_eq!(read(at(u64::MAX, u64::MAX)).next_offset, u64::MAX);
    assert!(!read(at(0, 0)).eof);
}

#[test]
fn a_page_is_at_most_a_mebibyte_and_joined_they_are_the_file() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let chunk: Vec<u8> = (0..100_003_u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..25 {
        recorder.append(Stream::Stderr, &chunk);
    }
    recorder.seal(record(&scene.paths));
    assert_eq!(read_now(&scene.paths, None, &at(0, u64::MAX)).unwrap().bytes_read, READ_MAX_BYTES);
    let file = fs::read(scene.paths.combined()).unwrap();
    assert_eq!(follow(&scene.paths, &scene.live, OutputFile::Combined, u64::MAX), file);
    assert_eq!(follow(&scene.paths, &scene.live, OutputFile::Stderr, 333_333), file);
}

#[test]
fn a_wait_that_nothing_ends_takes_its_time_and_gives_an_empty_page() {
    let scene = scene();
    let request = ReadRequest::new().wait_ms(20);
    let started = Instant::now();
    let page = read_blocking(&scene.paths, Some(&scene.live), &request).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(20));
    assert_eq!((page.bytes_read, page.eof), (0, false));
}

#[test]
fn a_recorder_that_is_dropped_unsealed_lets_its_readers_go() {
    let scene = scene();
    let recorder = scene.recorder(Capture::default(), None);
    let (paths, live) = (scene.paths.clone(), scene.live.clone());
    let reader = thread::spawn(move || follow(&paths, &live, OutputFile::Combined, 10));
    drop(recorder);
    assert_eq!(reader.join().unwrap(), b"");
}

#[test]
fn a_file_cut_by_others_does_not_make_a_reader_spin() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"0123456789");
    fs::File::options().write(true).open(scene.paths.combined()).unwrap().set_len(2).unwrap();
    let read = |offset| read_now(&scene.paths, Some(&scene.live), &at(offset, 10));
    assert_eq!(read(0).unwrap().content, b"01");
    assert_eq!(read(2), Err(ReadError::CutShort { path: scene.paths.combined() }));
}

#[test]
fn without_a_recorder_the_end_of_the_file_is_the_end_unless_another_host_writes_it() {
    let scene = scene();
    fs::write(scene.paths.combined(), "abc").unwrap();
    let eof = |paths: &Paths| read_now(paths, None, &at(0, 10)).unwrap().eof;
    assert!(eof(&scene.paths), "ours, and forgotten");

    let other_pid = std::process::id() + 1;
    let paths = Paths::of(scene.root.path(), CommandId { host_pid: other_pid, ..command(1) });
    create(&paths).unwrap();
    assert!(eof(&paths), "its host is dead");
    let other = Root::open(Some(scene.root.path().to_owned()), other_pid).unwrap();
    assert!(!eof(&paths), "its host lives");
    fs::write(paths.result(), "{}").unwrap();
    assert!(eof(&paths), "its host lives and has sealed it");
    fs::remove_file(paths.result()).unwrap();
    drop(other);
    assert!(eof(&paths));
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_an_error_and_holds_up_nobody() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"abc");
    fs::remove_file(scene.paths.combined()).unwrap();
    nix::unistd::mkfifo(&scene.paths.combined(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let read = read_now(&scene.paths, Some(&scene.live), &at(0, 10));
    assert!(matches!(read, Err(ReadError::Io { .. })), "{read:?}");
}

/// The end has to be looked at before the length: a length that was looked at first may be that of a moment before the last
/// bytes, and the page would be the last one without them.
#[test]
fn a_last_page_has_the_last_bytes() {
    let scene = scene();
    for _ in 0..2_000 {
        let live = Arc::new(Growth::new());
        let mut recorder = Recorder::in_memory(Capture::default(), None, live.clone());
        let writer = std::thread::spawn(move || {
            recorder.append(Stream::Stdout, b"abc");
            drop(recorder);
        });
        let last = loop {
            let page = read_now(&scene.paths, Some(&live), &at(0, 10)).unwrap();
            if page.eof {
                break page;
            }
        };
        assert_eq!(last.content, b"abc");
        writer.join().unwrap();
    }
}

#[test]
fn errors_say_which_file() {
    let Scene { paths, live, .. } = &scene();
    fs::remove_file(paths.combined()).unwrap();
    let read = || read_now(paths, Some(live), &at(0, 1));
    assert_eq!(read(), Err(ReadError::NotFound { path: paths.combined() }));
    std::os::unix::fs::symlink(paths.stdout(), paths.combined()).unwrap();
    const ELOOP: i32 = 40;
    let refused = ReadError::Io { path: paths.combined(), errno: ELOOP };
    assert!(refused.to_string().contains("combined.txt: Too many levels of symbolic links"));
    assert_eq!(read(), Err(refused));
}

#[test]
fn requests_and_pages_have_their_wire_form() {
    let request: ReadRequest = serde_json::from_str(r#"{"stream":"stderr","wait_ms":5}"#).unwrap();
    let expected = ReadRequest::new().of(OutputFile::Stderr).wait_ms(5);
    assert_eq!((request, request.length), (expected, READ_MAX_BYTES));
    for which in OutputFile::ALL {
        assert_eq!(which.to_string().parse(), Ok(which));
        assert_eq!(serde_json::to_value(which).unwrap(), which.to_string());
    }
    let request = ReadRequest::new().view(View::Clean).lines(Lines::Last { count: 3 });
    let json = r#"{"view":"clean","lines":{"last":{"count":3}}}"#;
    assert_eq!(serde_json::from_str::<ReadRequest>(json).unwrap(), request);
    assert_eq!(
        serde_json::from_value::<ReadRequest>(serde_json::to_value(request).unwrap()).unwrap(),
        request
    );
    let json = r#"{"stream":"kept","lines":{"from":{"line":1,"count":2}}}"#;
    let request = ReadRequest::new().of(OutputFile::Kept).lines(Lines::From { line: 1, count: 2 });
    assert_eq!(serde_json::from_str::<ReadRequest>(json).unwrap(), request);
    for wrong in
        [r#"{"view":"Clean"}"#, r#"{"lines":{"last":{"count":1,"line":1}}}"#, r#"{"lines":{"last":{}}}"#]
    {
        assert!(serde_json::from_str::<ReadRequest>(wrong).is_err(), "{wrong}");
    }
    assert!("Stdout".parse::<OutputFile>().is_err());
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    recorder.append(Stream::Stdout, b"-a\xff-");
    let mut page = read_now(&scene.paths, Some(&scene.live), &at(1, 2)).unwrap();
    page.path = "/r/combined.txt".into();
    assert_eq!(
        serde_json::to_string(&page).unwrap(),
        "{\"path\":\"/r/combined.txt\",\"offset\":1,\"bytes_read\":2,\"next_offset\":3,\"total_bytes\":4,\
         \"eof\":false,\"first_line\":null,\"gap\":null,\"content\":\"a\u{fffd}\"}"
    );
}

struct Unpark(Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future + Send>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_millis(LONG_MS)),
        }
    }
}

#[test]
fn an_async_reader_wakes_at_the_next_byte_and_at_the_end() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let (paths, live) = (scene.paths.clone(), scene.live.clone());
    let reader = thread::spawn(move || {
        block_on(async {
            let mut all = Vec::new();
            loop {
                next_byte(&live, OutputFile::Stdout, all.len() as u64).await;
                let request = at(all.len() as u64, 7).of(OutputFile::Stdout);
                let page = read_now(&paths, Some(&live), &request).unwrap();
                all.extend_from_slice(&page.content);
                if page.eof {
                    return all;
                }
            }
        })
    });
    let started = Instant::now();
    for n in 0..500 {
        recorder.append(Stream::BOTH[n % 2], format!("{n}\n").as_bytes());
        thread::yield_now();
    }
    recorder.seal(record(&scene.paths));
    assert_eq!(reader.join().unwrap(), fs::read(scene.paths.stdout()).unwrap());
    assert!(started.elapsed() < Duration::from_millis(LONG_MS), "woken, not timed out");
}

#[test]
fn the_next_byte_is_waited_for_until_it_is_there() {
    use std::{future::Future, pin::pin, task::Poll};
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut poll = |future: std::pin::Pin<&mut dyn Future<Output = ()>>| future.poll(&mut context);
    let mut second = pin!(next_byte(&scene.live, OutputFile::Combined, 1));
    assert_eq!(poll(second.as_mut()), Poll::Pending);
    recorder.append(Stream::Stdout, b"x");
    assert_eq!(poll(pin!(next_byte(&scene.live, OutputFile::Combined, 0))), Poll::Ready(()));
    assert_eq!(poll(second.as_mut()), Poll::Pending, "there is no second byte");
    recorder.append(Stream::Stdout, b"y");
    assert_eq!(poll(second.as_mut()), Poll::Ready(()));
    let mut third = pin!(next_byte(&scene.live, OutputFile::Combined, 2));
    assert_eq!(poll(third.as_mut()), Poll::Pending);
    recorder.seal(record(&scene.paths));
    assert_eq!(poll(third.as_mut()), Poll::Ready(()), "the end");
}

#[test]
fn f78_a_page_begins_and_ends_on_a_character_and_pages_join_to_the_file() {
    let scene = scene();
    let mut recorder = scene.recorder(Capture::default(), None);
    let text = "aé€🦀b".repeat(40);
    let bytes = text.as_bytes();
    let read =
        |offset: u64, length: u64| read_now(&scene.paths, Some(&scene.live), &at(offset, length)).unwrap();
    // Byte by byte: what is there of a character is never half of it.
    let (mut joined, mut offset) = (Vec::new(), 0);
    for byte in bytes {
        recorder.append(Stream::Stdout, &[*byte]);
        let page = read(offset, 100);
        assert!(std::str::from_utf8(&page.content).is_ok(), "{:x?}", page.content);
        assert_eq!(page.offset, offset);
        joined.extend(page.content);
        offset = page.next_offset;
    }
    assert_eq!(joined, bytes);
    for length in 1..12 {
        let (mut joined, mut offset) = (Vec::new(), 0);
        while offset < bytes.len() as u64 {
            let page = read(offset, length);
            assert!(page.bytes_read > 0 && std::str::from_utf8(&page.content).is_ok());
            joined.extend(page.content);
            offset = page.next_offset;
        }
        assert_eq!(joined, bytes, "in pages of {length}");
    }
    // From anywhere: it begins where the character does.
    for offset in 0..bytes.len() as u64 {
        let page = read(offset, 5);
        assert!(
            std::str::from_utf8(&page.content).is_ok() && page.offset <= offset && offset < page.offset + 4
        );
    }
    // What is no text is read as it is, and so is half a character that is the last.
    recorder.append(Stream::Stdout, b"\xff\xfe\x80\xe2\x82");
    let page = read(bytes.len() as u64, 100);
    assert_eq!(page.content, b"\xff\xfe\x80");
    assert_eq!(recorder.peek(u64::MAX).stdout, format!("{text}\u{fffd}\u{fffd}\u{fffd}"));
    assert_eq!((read(page.next_offset, 100).bytes_read, read(page.next_offset, 100).eof), (0, false));
    recorder.seal(record(&scene.paths));
    let page = read(page.next_offset, 100);
    assert_eq!((page.content.as_slice(), page.eof), (&b"\xe2\x82"[..], true));
}
