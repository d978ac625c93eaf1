//! The same calls as on one machine, and the same answers.

use crate::{
    LONG, Works, host, pool,
    server::{Server, waits},
};
use ostler::{Command, Condition, Filter, LaunchError, OutputFile, Status, StopCause, WaitEnd};
use ostler_remote::{Error, List, ListRequest, ListedState};
use std::time::Duration;

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

#[test]
fn a_result_comes_to_the_inbox_once_and_says_what_it_says_on_one_machine() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("chat.17", &pool()).wait().unwrap();
    let handle = session.launch(sh("echo out; echo err >&2; exit 3").label("for", "test")).wait().unwrap();
    assert_eq!(handle.record().status, Status::Running);
    let inbox = session.inbox();
    let entries = inbox.receive(Filter::any(), 10, LONG).wait().unwrap();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let record = entry.record().unwrap();
    assert!(entry.is_result() && !entry.redelivered);
    assert_eq!(
        (record.status, record.exit_code, record.session_id.as_str()),
        (Status::Completed, Some(3), "chat.17")
    );
    assert_eq!((record.stdout.as_str(), record.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(record.labels.len(), 1, "what is ours is not shown: {:?}", record.labels);
    assert!(inbox.drain().wait().unwrap().is_empty());
    assert_eq!(*handle.exited().wait().unwrap(), *record);
}

#[test]
fn a_result_that_was_asked_for_by_its_handle_is_in_no_inbox() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let handle = session.launch(sh("exit 0")).wait().unwrap();
    let ended = handle.result().wait().unwrap();
    assert!(ended.taken && ended.record.success == Some(true));
    assert!(!handle.result().wait().unwrap().taken, "only once");
    let other = session.launch(sh("sleep 1000")).wait().unwrap();
    assert_eq!(other.result_within(Duration::from_millis(50)).wait().unwrap(), None);
    let cancelled = other.cancel().wait().unwrap();
    assert!(cancelled.cancelled && cancelled.taken, "{cancelled:?}");
    assert_eq!(cancelled.record.stop_cause, Some(StopCause::Cancelled));
    assert!(!other.cancel().wait().unwrap().cancelled, "it had ended");
    assert!(session.inbox().drain().wait().unwrap().is_empty());
}

#[test]
fn what_does_not_start_leaves_nothing_and_says_why() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let error = session.launch(Command::new("no-such-program")).wait().unwrap_err();
    assert!(matches!(error, Error::Launch(LaunchError::ProgramNotFound { .. })), "{error:?}");
    let error = session.launch(Command::new("")).wait().unwrap_err();
    assert!(matches!(error, Error::Launch(LaunchError::EmptyProgram)), "{error:?}");
    assert!(session.inbox().drain().wait().unwrap().is_empty());
    assert!(session.list(ListRequest::new()).wait().unwrap().launches.is_empty());
}

#[test]
fn a_launch_key_is_one_launch_for_all_hosts() {
    let Some(server) = Server::start() else { return };
    let _works = (Works::on(&server, "w1"), Works::on(&server, "w2"));
    let (one, two) = (host(&server), host(&server));
    let [one, two] = [one, two].map(|remote| remote.session("s", &pool()).wait().unwrap());
    let build = || sh("echo built").launch_key("build");
    let first = one.launch(build()).wait().unwrap();
    let second = two.launch(build()).wait().unwrap();
    assert_eq!((first.id(), first.record().command_id), (second.id(), second.record().command_id));
    first.exited().wait().unwrap();
    assert_eq!(two.launch(build()).wait().unwrap().id(), first.id(), "also when it has ended");
    let error = two.launch(sh("echo other").launch_key("build")).wait().unwrap_err();
    assert!(matches!(error, Error::KeyReused { .. }), "{error:?}");
    // So with an id of the host's own.
    let of = |command: Command| {
        one.launch_as("mine".parse().unwrap(), command.into_request(one.id()), LONG).wait()
    };
    let mine = of(build().launch_key("mine")).unwrap();
    assert_eq!(of(build().launch_key("mine")).unwrap().record().command_id, mine.record().command_id);
    mine.result().wait().unwrap();
    assert!(matches!(of(sh("echo other")).unwrap_err(), Error::LaunchReused { .. }));
    assert_eq!(one.inbox().receive(Filter::any(), 10, LONG).wait().unwrap().len(), 1);
}

#[test]
fn output_is_the_same_while_it_runs_and_when_it_is_sealed() {
    let Some(server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    // Both streams, more than a page, bytes that are no text.
    let script = r"printf 'a\377b\n'; i=0; while [ $i -lt 40 ]; do head -c 20000 /dev/zero | tr '\0' x; echo; i=$((i+1)); done; echo warned >&2; until [ -e go ]; do sleep 0.01; done; echo last";
    let handle = session.launch(sh(script).current_dir(works.place.path())).wait().unwrap();
    let all = |which, from: u64| {
        let (mut offset, mut bytes) = (from, Vec::new());
        loop {
            let page = handle.read().stream(which).offset(offset).wait_for(LONG).wait().unwrap();
            assert_eq!(page.offset, offset);
            bytes.extend_from_slice(&page.content);
            offset = page.next_offset;
            if page.eof || bytes.len() > 800_000 && !works.place.path().join("go").exists() {
                return (bytes, page);
            }
        }
    };
    let (running, page) = all(OutputFile::Stdout, 0);
    assert!(running.starts_with(b"a\xffb\n") && !page.eof);
    std::fs::write(works.place.path().join("go"), "").unwrap();
    handle.exited().wait().unwrap();
    let (sealed, page) = all(OutputFile::Stdout, 0);
    assert!(page.eof && sealed.starts_with(&running) && sealed.ends_with(b"last\n"));
    let (stderr, _) = all(OutputFile::Stderr, 0);
    assert_eq!(stderr, b"warned\n");
    let files = |name: &str| std::fs::read(handle.record().output_path.with_file_name(name)).unwrap();
    assert_eq!(sealed, files("stdout.txt"));
    assert_eq!(all(OutputFile::Combined, 0).0, files("combined.txt"));
    let lines = handle.read().stream(OutputFile::Stdout).last_lines(1).wait().unwrap();
    assert_eq!((lines.text().as_str(), lines.first_line), ("last\n", Some(42)));
}

#[test]
fn sealed_output_outlives_its_worker() {
    let Some(server) = Server::start() else { return };
    let mut works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let large = session.launch(sh("seq 200000; echo warned >&2")).wait().unwrap();
    let small = session.launch(sh("echo small")).wait().unwrap();
    let silent = session.launch(sh("true")).wait().unwrap();
    for handle in [&large, &small, &silent] {
        handle.exited().wait().unwrap();
    }
    works.worker.take().unwrap().end().unwrap();
    drop(works);
    let mut lines = 0;
    let mut offset = 0;
    loop {
        let page = large.read().offset(offset).wait().unwrap();
        lines += page.content.iter().filter(|byte| **byte == b'\n').count();
        offset = page.next_offset;
        if page.eof {
            break;
        }
    }
    assert_eq!(lines, 200_001);
    assert_eq!(small.read().wait().unwrap().text(), "small\n");
    assert_eq!(small.read().stream(OutputFile::Stderr).wait().unwrap().text(), "");
    let nothing = silent.read().wait_for(LONG).wait().unwrap();
    assert!(nothing.eof && nothing.content.is_empty());
}

#[test]
fn a_session_that_has_ended_takes_nothing_on_any_worker() {
    let Some(server) = Server::start() else { return };
    let _works = (Works::on(&server, "w1"), Works::on(&server, "w2"));
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let handles: Vec<_> = (0..6).map(|_| session.launch(sh("sleep 1000")).wait().unwrap()).collect();
    assert_eq!(session.list(ListRequest::new()).wait().unwrap().launches.len(), 6);
    let ended = session.end().wait().unwrap();
    assert_eq!((ended.tally.killed, &ended.unreached[..]), (6, &[][..]));
    for handle in &handles {
        assert_eq!(handle.exited().wait().unwrap().stop_cause, Some(StopCause::SessionEnded));
    }
    let error = session.launch(sh("true")).wait().unwrap_err();
    assert!(matches!(error, Error::SessionEnded { .. }), "{error:?}");
    let mut results = 0;
    while results < 6 {
        results += session.inbox().receive(Filter::any(), 10, LONG).wait().unwrap().len();
    }
    let listed = session.list(ListRequest::new()).wait().unwrap().launches;
    assert!(listed.iter().all(|one| matches!(one.state, ListedState::Ended(_))) && listed.len() == 6);
}

#[test]
fn a_text_too_long_for_a_message_comes_whole() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let long = sh("head -c 1500000 /dev/zero | tr '\\0' y").inline_bytes(2 << 20);
    let handle = session.launch(long).wait().unwrap();
    let entries = session.inbox().receive(Filter::any(), 1, LONG).wait().unwrap();
    let record = entries[0].record().unwrap();
    assert_eq!((record.stdout.len(), record.text_omitted), (1_500_000, false));
    assert_eq!(handle.exited().wait().unwrap().stdout, record.stdout);
}

#[test]
fn a_prompt_is_waited_for_and_answered() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let asks = sh("printf 'name? '; read name; echo hello $name; cat").stdin_open();
    let handle = session.launch(asks).wait().unwrap();
    let waited = handle.wait_for([Condition::text("name? ")], LONG).wait().unwrap();
    assert!(matches!(waited.end, WaitEnd::Met { index: 0, .. }), "{waited:?}");
    let written = handle.write("you\n").wait().unwrap();
    assert_eq!((written.taken, written.queued, written.dropped), (4, 0, 0));
    let waited = handle.wait_for([Condition::text("hello you")], LONG).wait().unwrap();
    assert!(matches!(waited.end, WaitEnd::Met { .. }));
    // More than one piece, and bytes that are no text.
    let long = vec![0xff; 300_000];
    let written = handle.write(long.clone()).wait().unwrap();
    assert_eq!(written.taken + written.queued, 300_000);
    handle.pause().wait().unwrap();
    assert!(handle.status().wait().unwrap().paused);
    handle.resume().wait().unwrap();
    handle.close_stdin().wait().unwrap();
    let record = handle.exited().wait().unwrap();
    assert_eq!((record.success, record.byte_count), (Some(true), 300_000 + 16));
    assert!(matches!(handle.write("x").wait(), Err(Error::HandleEnded { .. })));
    let after = handle.wait_for([Condition::text("never")], LONG).wait().unwrap();
    assert_eq!(after.end, WaitEnd::Exit);
    let refused = session.launch(sh("sleep 1000")).wait().unwrap();
    let error = refused.wait_for([Condition::regex("(")], LONG).wait().unwrap_err();
    assert!(error.to_string().contains("conditions[0]"), "{error}");
}

#[test]
fn of_progress_the_newest_is_there_and_the_result_withdraws_it() {
    let Some(server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let talks = sh("i=0; until [ -e go ]; do echo $i; i=$((i+1)); sleep 0.1; done")
        .progress(Duration::from_millis(250));
    let handle = session.launch(talks.current_dir(works.place.path())).wait().unwrap();
    let entries = session.inbox().receive(Filter::any(), 10, LONG).wait().unwrap();
    assert!(entries[0].is_progress() && entries[0].record().unwrap().status == Status::Running);
    assert_eq!(
        session.list(ListRequest::new()).wait().unwrap().launches.len(),
        1,
        "it is no launch of its own"
    );
    // Somebody else reads none of it, and sees one at most.
    let other = host(&server).session("s", &pool()).wait().unwrap();
    std::fs::write(works.place.path().join("go"), "").unwrap();
    handle.exited().wait().unwrap();
    let mut left = Vec::new();
    while !left.iter().any(|entry: &ostler::Entry| entry.is_result()) {
        left.extend(other.inbox().receive(Filter::any(), 10, LONG).wait().unwrap());
    }
    assert!(left.len() <= 2, "{left:?}");
    assert!(session.inbox().drain().wait().unwrap().is_empty());
    // By a mark: the removal of a message puts off what is about to come again to readers of others.
    let subject = format!("$KV.ostler_tests_results.s.{}.progress", handle.id());
    let mark = async {
        let js = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let results = js.get_stream("KV_ostler_tests_results").await.unwrap();
        let last = results.get_last_raw_message_by_subject(&subject).await.unwrap();
        last.headers.get("KV-Operation").map(ToString::to_string)
    };
    waits(|| (host(&server).claims(&pool()).wait().unwrap() == 0).then_some(()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(mark).as_deref(), Some("DEL"));
}

#[test]
fn the_same_launch_key_in_two_sessions_is_two_commands() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let remote = host(&server);
    let [one, two] = ["one", "two"].map(|id| remote.session(id, &pool()).wait().unwrap());
    let waits = || sh("echo begun; read line; echo $line").stdin_open().launch_key("install");
    let [first, second] = [&one, &two].map(|session| session.launch(waits()).wait().unwrap());
    assert_eq!(first.id(), second.id());
    second.write("two\n").wait().unwrap();
    assert_eq!(second.result().wait().unwrap().record.stdout, "begun\ntwo\n");
    assert!(first.cancel().wait().unwrap().cancelled);
    // Where it belongs in a trace makes it no other request.
    let trace = ostler::TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(one.launch(waits().trace_context(trace.unwrap())).wait().unwrap().id(), first.id());
}

#[test]
fn a_command_line_longer_than_a_message_has_a_result_too() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let long = |bytes: usize| (0..bytes / 1_000).map(|_| "'".repeat(1_000)).collect::<Vec<_>>();
    let handle = session.launch(Command::new("true").args(long(300_000))).wait().unwrap();
    let record = handle.result().wait().unwrap().record;
    // A record has it twice, so it is an object, and whole.
    assert!(record.success == Some(true) && record.command.len() > 300_000, "{}", record.command.len());
    assert!(session.list(ListRequest::new()).wait().unwrap().launches[0].command.len() < 5_000);
    let error = session.launch(Command::new("true").args(long(1_200_000))).wait().unwrap_err();
    assert!(matches!(error, Error::Option { option: "request", .. }), "{error:?}");
}

#[test]
fn a_text_longer_than_a_message_is_the_output_all_the_same() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let long = sh("head -c 700000 /dev/zero | tr '\\0' y").inline_bytes(1 << 20);
    let handle = session.launch(long).wait().unwrap();
    handle.exited().wait().unwrap();
    let (mut offset, mut bytes) = (0, 0);
    loop {
        let page = handle.read().offset(offset).wait_for(LONG).wait().unwrap();
        assert!(page.content.iter().all(|byte| *byte == b'y'));
        (offset, bytes) = (page.next_offset, bytes + page.content.len());
        if page.eof {
            break;
        }
    }
    assert_eq!(bytes, 700_000);
}

#[test]
fn times_without_end_and_launches_with_odd_names_are_as_others() {
    let Some(server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    for id in ["progress", "build-progress", "-", "_"] {
        let request = sh("exit 0").into_request(session.id());
        let handle = session.launch_as(id.parse().unwrap(), request, Duration::MAX).wait().unwrap();
        assert!(handle.exited().wait().unwrap().success.unwrap());
        let entries = session.inbox().receive(Filter::any(), 10, Duration::MAX).wait().unwrap();
        assert_eq!(entries.len(), 1, "{id}");
    }
    let handle = session.launch(sh("exit 0")).wait().unwrap();
    assert!(handle.result_within(Duration::MAX).wait().unwrap().is_some());
    let waited = handle.wait_for([Condition::text("x")], Duration::MAX).wait().unwrap();
    assert_eq!(waited.end, WaitEnd::Exit);
    session.end().wait().unwrap();
    crate::server::waits(|| (works.worker.as_ref().unwrap().sessions() == 0).then_some(()));
}

#[test]
fn a_list_has_what_is_asked_for_and_counts_the_rest() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let remote = host(&server);
    let session = remote.session("s", &pool()).wait().unwrap();
    // Of another session, with the same ids.
    let other = remote.session("t", &pool()).wait().unwrap();
    let launch = |session: &ostler_remote::Session, id: &str, program: &str| {
        let request = Command::new(program).arg("1000").into_request(session.id());
        session.launch_as(id.parse().unwrap(), request, LONG).wait().unwrap()
    };
    let ids =
        |list: List| (list.launches.iter().map(|one| one.launch.to_string()).collect::<Vec<_>>(), list.more);
    let list = |request: ListRequest| ids(session.list(request).wait().unwrap());
    for id in ["a1", "a2", "b1", "b2"] {
        launch(&session, id, "echo").exited().wait().unwrap();
    }
    launch(&other, "a3", "echo").exited().wait().unwrap();
    let runs = launch(&session, "a4", "sleep");
    let of = |ids: &[&str], more| (ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), more);
    assert_eq!(list(ListRequest::new()), of(&["a1", "a2", "b1", "b2", "a4"], 0));
    assert_eq!(list(ListRequest::new().running()), of(&["a4"], 4));
    assert_eq!(list(ListRequest::new().newest(2)), of(&["b1", "b2", "a4"], 2));
    let only =
        |beginning: &'static str| ListRequest::new().only(move |id| id.as_str().starts_with(beginning));
    assert_eq!(list(only("a")), of(&["a1", "a2", "a4"], 0));
    assert_eq!(list(only("a").newest(1)), of(&["a2", "a4"], 1));
    assert_eq!(list(only("b").running()), of(&[], 2));
    let all = ids(remote.list(&pool(), only("a")).wait().unwrap());
    assert_eq!(all, of(&["a1", "a2", "a3", "a4"], 0));
    runs.cancel_now_and_notify().wait().unwrap();
    // Its claim may be there still: it has ended all the same.
    assert_eq!(list(ListRequest::new().running()), of(&[], 5));
    assert_eq!(list(ListRequest::new().newest(1)), of(&["a4"], 4));
    // Neither one that is taken late is the newest by that, nor one that did not start.
    assert!(session.handle(&"a1".parse().unwrap()).wait().unwrap().result().wait().unwrap().taken);
    let request = Command::new("no-such-program").into_request(session.id());
    let refused = session.launch_as("a5".parse().unwrap(), request, LONG).wait().unwrap_err();
    assert!(matches!(refused, Error::Launch(_)), "{refused:?}");
    assert_eq!(list(ListRequest::new().newest(2)), of(&["b2", "a4"], 3));
    assert_eq!(list(ListRequest::new()), of(&["a1", "a2", "b1", "b2", "a4"], 0));
}
