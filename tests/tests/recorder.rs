//! The flight recorder: what is in memory of a trace, and the files that it is written to when something goes wrong.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{
    ActorName, Command, Config, DumpError, Filter, Handle, Incident, Journal, Ostler, RECORDER_BYTES, Record,
    Status, TraceDump, TraceLog, TraceTo,
    testing::{Fault, Program, World},
    trace::{ReplayError, Trace, replay, replay_text},
};
use ostler_tests::{Bench, Ground, LIMIT, SMALL_DISK_BYTES, Settings, in_every_tier, ms, next_n, sh};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
};

/// Small enough that a few commands are more than it holds.
const SMALL_BYTES: usize = 16 << 10;

/// What the host hears of its recorder.
fn hears(settings: &mut Settings) -> Receiver<TraceDump> {
    let (told, heard) = channel();
    on(settings);
    settings.config = settings.config.clone().on_trace_dump(move |dump| drop(told.send(dump.clone())));
    heard
}
fn on(settings: &mut Settings) {
    settings.config.recorder_bytes = RECORDER_BYTES;
}
/// Runs a command that kills its parent once it has started, and gives its result.
fn lose(bench: &Bench, script: &str, change: impl FnOnce(Command) -> Command) -> (Handle, Record) {
    let handle = bench.launch(change(sh(format!("read x; {script}kill -9 $PPID; sleep 1000")).stdin_open()));
    handle.write("\n").wait().unwrap();
    let result = bench.result(&handle);
    assert_eq!(result.status, Status::Lost);
    (handle, result)
}
fn dumps(root: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("trace_")).collect()
}
fn dumped(ostler: &Ostler, path: &Path) -> String {
    ostler.dump_trace(path).wait().unwrap();
    fs::read_to_string(path).unwrap()
}

in_every_tier!(
    an_actor_that_crashes_leaves_what_led_to_it_and_the_lost_result_follows,
    a_command_that_loses_its_parent_leaves_what_led_to_it
);

fn an_actor_that_crashes_leaves_what_led_to_it_and_the_lost_result_follows() {
    let (mut n, mut heard) = (0, None);
    let bench = Bench::with(|settings| {
        n = next_n();
        settings.faults = vec![Fault { actor: ActorName::Process(n), message: "Stop".into() }];
        heard = Some(hears(settings));
    });
    let (heard, root) = (heard.unwrap(), bench.ostler().artifact_root().to_owned());
    let handle = bench.launch(sh("sleep 1000"));
    assert_eq!(handle.cancel().wait().unwrap().record.status, Status::Lost);
    let first = heard.recv_timeout(LIMIT).unwrap();
    assert_eq!(first.incident, Incident::Crashed(ActorName::Process(n)));
    let path = first.path.unwrap();
    assert_eq!(
        (path.parent().unwrap(), fs::metadata(&path).unwrap().permissions().mode() & 0o777),
        (&*root, 0o600)
    );
    let host = std::process::id().to_string();
    assert!(path.file_stem().unwrap().to_str().unwrap().ends_with(&format!("_{host}")), "{path:?}");
    let told = Trace::read(&path).unwrap().explain(Some(handle.id()));
    assert!(told.contains("has crashed"), "{told}");
    // It came too soon after the first, and is written at the end of the graph at the latest.
    bench.ostler().shutdown().wait().unwrap();
    let second = heard.try_recv().unwrap();
    assert_eq!(second.incident, Incident::Lost(handle.id()));
    let told = Trace::read(second.path.unwrap()).unwrap().explain(Some(handle.id()));
    assert!(told.contains("Why \"lost"), "{told}");
    assert_eq!(dumps(&root).len(), 2);
}

fn a_command_that_loses_its_parent_leaves_what_led_to_it() {
    let mut heard = None;
    let bench = Bench::with(|settings| heard = Some(hears(settings)));
    assert_eq!(bench.run(sh("echo fine")).stdout, "fine\n");
    let (handle, _) = lose(&bench, "", |command| command);
    let dump = heard.unwrap().recv_timeout(LIMIT).unwrap();
    assert_eq!((dump.incident.clone(), &dump.error), (Incident::Lost(handle.id()), &None));
    assert!(dump.to_string().contains("is lost; what led to it: ostler explain /"), "{dump}");
    let trace = Trace::read(dump.path.unwrap()).unwrap();
    assert!(trace.explain(Some(handle.id())).contains("Why \"lost"));
    assert_eq!(bench.ostler().health().recorder_error, None);
    assert_eq!(dumps(bench.ostler().artifact_root()).len(), 1);
}

#[test]
fn the_crash_of_a_core_actor_ends_the_graph_and_leaves_what_led_to_it() {
    let mut heard = None;
    let bench = Bench::with(|settings| {
        settings.faults = vec![Fault { actor: ActorName::Supervisor, message: "List".into() }];
        heard = Some(hears(settings));
    });
    assert_eq!(bench.session().list().wait().unwrap_err(), ostler::Error::Closed);
    let dump = heard.unwrap().recv_timeout(LIMIT).unwrap();
    assert_eq!(dump.incident, Incident::Crashed(ActorName::Supervisor));
    let text = fs::read_to_string(dump.path.unwrap()).unwrap();
    assert!(text.lines().last().unwrap().contains("\"message\":\"List\""), "{text}");
    assert!(matches!(bench.ostler().dump_trace(bench.path("late")).wait(), Err(DumpError::Closed)));
}

#[test]
fn a_hundred_lost_commands_are_one_story() {
    let mut heard = None;
    let bench = Bench::with(|settings| heard = Some(hears(settings)));
    let handles: Vec<_> =
        (0..20).map(|_| bench.launch(sh("read x; kill -9 $PPID; sleep 1000").stdin_open())).collect();
    for handle in &handles {
        handle.write("\n").wait().unwrap();
    }
    handles.iter().for_each(|handle| assert_eq!(bench.result(handle).status, Status::Lost));
    bench.ostler().shutdown().wait().unwrap();
    let heard: Vec<TraceDump> = heard.unwrap().try_iter().collect();
    let last = Trace::read(heard.last().unwrap().path.as_ref().unwrap()).unwrap();
    assert!(handles.iter().all(|handle| last.explain(Some(handle.id())).contains("Why \"lost")));
    // One each second, and one at the end.
    assert!(heard.len() < handles.len(), "{heard:?}");
}

#[test]
fn a_full_disk_and_a_root_that_is_none_are_told_and_lose_nothing_else() {
    let mut heard = None;
    let Some(bench) = Bench::on_a_small_disk_with(|settings| heard = Some(hears(settings))) else { return };
    let root = bench.ostler().artifact_root().to_owned();
    let mut file = fs::File::create(root.with_file_name("full")).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    assert!(file.metadata().unwrap().len() <= SMALL_DISK_BYTES);
    let (_, result) = lose(&bench, "echo said; ", |command| command);
    assert_eq!(result.stdout, "said\n");
    // Whatever fits: a file that is not whole is removed.
    let dump = heard.unwrap().recv_timeout(LIMIT).unwrap();
    let error = bench.ostler().health().recorder_error.unwrap();
    assert_eq!((dump.error.as_ref(), dump.path), (Some(&error), None));
    assert!(error.contains("is lost") && error.contains("No space left on device"), "{error}");
    assert_eq!(dumps(&root), Vec::<PathBuf>::new());
    assert_eq!(bench.run(sh("echo next")).stdout, "next\n");
    // There is room again.
    drop(file);
    fs::remove_file(root.with_file_name("full")).unwrap();
    lose(&bench, "", |command| command);
    bench.ostler().shutdown().wait().unwrap();
    assert_eq!((bench.ostler().health().recorder_error, dumps(&root).len()), (None, 1));
}

#[test]
fn a_host_that_asks_gets_it_or_an_error_by_name() {
    let bench = Bench::with(on);
    bench.run(sh("echo said"));
    let (one, two) = (bench.path("one"), bench.path("two"));
    fs::write(&two, "x".repeat(1 << 20)).unwrap();
    // Two at once.
    let both = std::thread::scope(|scope| {
        [&one, &two]
            .map(|path| scope.spawn(|| dumped(bench.ostler(), path)))
            .map(|thread| thread.join().unwrap())
    });
    assert_eq!(both[0], both[1]);
    assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
    // It has its beginning still, so it runs again.
    replay(&one).unwrap().assert_identical();
    let refused = bench.ostler().dump_trace("/no/such/directory/t").wait().unwrap_err().to_string();
    assert_eq!(refused, "/no/such/directory/t: No such file or directory (os error 2): give another file");
    let full = bench.ostler().dump_trace("/dev/full").wait().unwrap_err();
    assert!(matches!(&full, DumpError::Write { source, .. } if source.raw_os_error() == Some(28)), "{full}");
    let fifo = bench.fifo("nobody-reads");
    assert!(matches!(bench.ostler().dump_trace(fifo).wait(), Err(DumpError::Write { .. })));
    let awaited = bench.path("awaited");
    futures_lite::future::block_on(async { bench.ostler().dump_trace(&awaited).await }).unwrap();
    assert_eq!(fs::read_to_string(awaited).unwrap(), both[0]);
    assert_eq!(bench.run(sh("echo next")).stdout, "next\n");
    bench.ostler().shutdown().wait().unwrap();
    let late = bench.ostler().dump_trace(&one).wait().unwrap_err();
    assert!(matches!(late, DumpError::Closed), "{late}");

    drop(bench);
    let off = Bench::new();
    let refused = off.ostler().dump_trace(off.path("off")).wait().unwrap_err();
    assert!(matches!(refused, DumpError::Off) && !off.path("off").exists(), "{refused}");
}

#[test]
fn a_part_without_its_beginning_is_explained_and_not_replayed() {
    let mut file = PathBuf::new();
    let bench = Bench::with(|settings| {
        file = settings.config.artifact_root.as_ref().unwrap().with_file_name("trace.jsonl");
        (settings.config.recorder_bytes, settings.config.trace) = (SMALL_BYTES, TraceTo::File(file.clone()));
    });
    let early = bench.launch(sh("read x; exit 3").stdin_open());
    for _ in 0..8 {
        bench.run(sh("echo said"));
    }
    early.write("\n").wait().unwrap();
    assert_eq!(bench.result(&early).exit_code, Some(3));
    let text = dumped(bench.ostler(), &bench.path("dump"));
    assert!(text.len() <= SMALL_BYTES + 2_000, "{}", text.len());
    let trace = Trace::parse(text.as_bytes()).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    assert!(
        trace.missing_before > 0 && header.contains(&format!("\"missing_before\":{}", trace.missing_before))
    );
    // The early one, as far as it is known.
    let told = trace.explain(None);
    assert!(told.contains("of before its first are not in it"), "{told}");
    let told = trace.explain(Some(early.id()));
    assert!(
        told.contains("(its launch is not in this trace") && told.contains("it ended with exit code 3"),
        "{told}"
    );
    for form in [trace.text(), trace.html(), trace.mermaid(10), trace.perfetto()] {
        assert!(form.contains(&trace.missing_before.to_string()), "{form}");
    }
    match replay(bench.path("dump")) {
        Err(error @ ReplayError::NoBeginning { .. }) => {
            assert!(error.to_string().contains("--trace"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // A suffix of the whole, but for what came after.
    bench.ostler().shutdown().wait().unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let at = whole.find(lines).unwrap();
    assert_eq!(whole[..at].lines().count() as u64 - 1, trace.missing_before);
}

#[test]
fn a_flood_holds_up_no_dump_and_no_dump_a_flood() {
    let bench = Bench::with(on);
    let flood = bench.launch(Command::new("yes").progress(ms(10)));
    for round in 0..20 {
        let path = bench.path(format!("dump-{round}"));
        Trace::parse(dumped(bench.ostler(), &path).as_bytes()).unwrap();
        assert_eq!(bench.run(sh("echo fine")).stdout, "fine\n");
    }
    assert_eq!(flood.cancel().wait().unwrap().record.status, Status::Killed);
}

/// Neither what a variable holds, nor what is typed, nor what the host pushes stands in a trace or in what is left of it.
#[test]
fn secrets_are_in_no_trace_and_in_no_dump() {
    const NEEDLE: &str = "n33dle-8f2c";
    let (mut file, mut heard) = (PathBuf::new(), None);
    let bench = Bench::with(|settings| {
        file = settings.config.artifact_root.as_ref().unwrap().with_file_name("trace.jsonl");
        settings.config.trace = TraceTo::File(file.clone());
        heard = Some(hears(settings));
    });
    let inbox = bench.session().inbox();
    let cat = bench.launch(sh("cat >/dev/null; test -n \"$TOKEN\"").env("TOKEN", NEEDLE).stdin_open());
    cat.write(format!("{NEEDLE}\n")).wait().unwrap();
    cat.close_stdin().wait().unwrap();
    assert_eq!(bench.result(&cat).exit_code, Some(0));
    bench.run(sh("cat >/dev/null").stdin_bytes(NEEDLE));
    bench.refused(Command::new("no-such-program").env("TOKEN", NEEDLE).stdin_bytes(NEEDLE));
    let subscription = inbox.subscribe(Filter::any()).wait().unwrap();
    for content in [serde_json::json!(NEEDLE), serde_json::json!({ NEEDLE: [NEEDLE, 1] })] {
        inbox.push("note", "host", content).wait().unwrap();
    }
    assert!(inbox.push("tool_result", "host", NEEDLE.into()).wait().is_err());
    assert!(inbox.push("note", "host", NEEDLE.repeat(100_000).into()).wait().is_err());
    let read = inbox.redeliver_after(ms(20)).read(Filter::any(), 9).wait().unwrap();
    assert!(serde_json::to_string(&read).unwrap().contains(NEEDLE), "the reader has it");
    drop(subscription);
    lose(&bench, "", |command| command.env("TOKEN", NEEDLE));
    let dumped = dumped(bench.ostler(), &bench.path("dump"));
    bench.ostler().shutdown().wait().unwrap();
    let incident = heard.unwrap().recv_timeout(LIMIT).unwrap();
    let left = fs::read_to_string(incident.path.unwrap()).unwrap();
    for text in [&dumped, &left, &fs::read_to_string(&file).unwrap()] {
        assert!(text.contains("TOKEN") && text.contains("\"Push\"") && text.contains("\"Feed\""));
        assert!(!text.contains(NEEDLE), "{text}");
    }
    replay(&file).unwrap().assert_identical();
}

#[test]
fn what_is_pushed_is_shown_where_the_host_wants_it() {
    for shown in [true, false] {
        let bench = Bench::with(|settings| {
            on(settings);
            settings.config.trace_pushed = shown;
        });
        bench.session().inbox().push("note", "host", "v1sible".into()).wait().unwrap();
        let path = bench.path("dump");
        assert_eq!(dumped(bench.ostler(), &path).contains("v1sible"), shown);
        replay(&path).unwrap().assert_identical();
    }
}

#[test]
fn a_scripted_world_is_written_down_only_by_its_host() {
    // Others look at all threads of this process.
    let _turn = Ground::take();
    let world = World::new();
    world.program("stubborn", Program::new().unkillable());
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new().recorder_bytes(RECORDER_BYTES).on_trace_dump(|dump| panic!("{dump}"));
    let ostler = Ostler::scripted(config, &world).unwrap();
    let session = ostler.open_session().wait().unwrap();
    let handle = session.launch(Command::new("stubborn")).wait().unwrap();
    let ended = handle.cancel().wait().unwrap().record;
    assert!(format!("{:?}", ended.leftovers).contains("Survived"), "{ended:?}");
    let path = dir.path().join("dump");
    ostler.dump_trace(&path).wait().unwrap();
    let told = Trace::read(&path).unwrap().explain(Some(handle.id()));
    assert!(told.contains("some of its tree live on"), "{told}");
    replay(&path).unwrap().assert_identical();
    ostler.shutdown().wait().unwrap();
    assert_eq!((dumps(dir.path()).len(), Path::new("/ostler").exists()), (0, false));
}

#[test]
fn what_an_earlier_life_has_pushed_is_withheld_too() {
    // Others look at all threads of this process.
    let _turn = Ground::take();
    let world = World::new();
    let life = |shown: bool| {
        let log = TraceLog::default();
        let config = Config::new().journal(Journal::named("j")).trace(TraceTo::Memory(log.clone()));
        (Ostler::scripted(config.trace_pushed(shown), &world).unwrap(), log)
    };
    let (ostler, _) = life(false);
    let session = ostler.open_session_as("s").wait().unwrap();
    session.inbox().push("note", "host", serde_json::json!({ "key": "n33dle" })).wait().unwrap();
    world.crash();
    drop((session, ostler));
    for shown in [false, true] {
        let (ostler, log) = life(shown);
        let inbox = ostler.open_session_as("s").wait().unwrap().inbox();
        let read = inbox.read(Filter::any(), 9).wait().unwrap();
        assert!(format!("{read:?}").contains("n33dle"));
        let text = log.text();
        assert!(text.contains("\"Recovered\"") && text.contains("RestoreQueues"), "{text}");
        assert_eq!(
            (text.contains("n33dle"), text.contains("{\"withheld_bytes\":16}")),
            (shown, !shown),
            "{text}"
        );
        replay_text(&text).unwrap().assert_identical();
        world.crash();
        drop((inbox, ostler));
    }
}
