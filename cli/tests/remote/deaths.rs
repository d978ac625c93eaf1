//! What happens when each part dies: the table of `docs/beyond-one-machine.md`, row by row.

use crate::{
    place::LIMIT,
    pool::{Pool, marked},
};
use ostler::{Command, Filter, Record, Status, StopCause};
use ostler_remote::{Error, Handle, ListRequest, Session};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The shortest that a worker takes, so that what waits for its end does not take long.
pub(crate) const LEASE: &[&str] = &["--lease", "2s"];

/// A command that says that it runs, and then runs until `go` is there.
pub(crate) fn runs(pool: &Pool, go: &str) -> Command {
    let script = format!("echo begun; until [ -e {go} ]; do sleep 0.01; done; echo ended");
    Command::new("sh").args(["-c", &script]).current_dir(pool.place())
}
pub(crate) fn launch(session: &Session, command: Command) -> Handle {
    let handle = session.launch(command).wait().unwrap();
    let begun = handle.wait_for([ostler::Condition::text("begun")], LIMIT).wait().unwrap();
    assert!(matches!(begun.end, ostler::WaitEnd::Met { .. }), "{begun:?}");
    handle
}
/// The results of a session, as they come, until there are so many; then nothing more comes.
pub(crate) fn results(session: &Session, count: usize) -> Vec<Arc<Record>> {
    let mut results = Vec::new();
    while results.len() < count {
        let entries = session.inbox().receive(Filter::results(), count, LIMIT).wait().unwrap();
        assert!(!entries.is_empty(), "{} of {count}", results.len());
        results.extend(entries.iter().map(|entry| Arc::new(entry.record().unwrap().clone())));
    }
    assert!(session.inbox().drain().wait().unwrap().is_empty());
    results
}

#[test]
fn a_worker_that_is_killed_and_comes_back_answers_for_what_it_ran() {
    let Some(pool) = Pool::new() else { return };
    let mut worker = pool.worker("w1", LEASE);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "never"));
    worker.is_killed();
    pool.is_left_alone("w1", Duration::from_secs(1));
    let _again = pool.worker("w1", LEASE);
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!((result.status, result.stop_cause), (Status::Lost, Some(StopCause::HostGone)));
    assert_eq!(result.stdout, "begun\n", "it is the journal's: with what it had said");
    assert_eq!(*handle.exited().wait().unwrap(), **result);
}

#[test]
fn a_result_that_could_not_be_stored_is_in_the_journal_whoever_dies_meanwhile() {
    let Some(mut pool) = Pool::new() else { return };
    // Its lease is not what ends here.
    let mut worker = pool.worker("w1", &["--lease", "60s"]);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "go"));
    pool.server.is_killed();
    pool.touch("go");
    pool.has_ended(&handle);
    worker.is_killed();
    pool.server.comes_back();
    let _again = pool.worker("w1", LEASE);
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!((result.status, result.success), (Status::Completed, Some(true)));
    assert_eq!(result.stdout, "begun\nended\n");
    assert_eq!(handle.read().wait().unwrap().text(), "begun\nended\n");
}

#[test]
fn of_a_worker_that_is_gone_for_good_another_one_says_lost_and_no_sooner_than_its_lease() {
    let Some(pool) = Pool::new() else { return };
    // Longer than that of the one who judges it.
    let mut gone = pool.worker("w1", &["--lease", "3s"]);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "never"));
    let _other = pool.worker("w2", LEASE);
    let died = Instant::now();
    gone.is_killed();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert!(died.elapsed() >= Duration::from_secs(3), "{:?}", died.elapsed());
    assert_eq!((result.status, result.stop_cause), (Status::Lost, Some(StopCause::HostGone)));
    // It comes back, finds that it is answered for, and says nothing.
    let _again = pool.worker("w1", LEASE);
    let other = session.launch(Command::new("true")).wait().unwrap();
    assert_eq!(other.exited().wait().unwrap().success, Some(true));
    assert_eq!(results(&session, 1).len(), 1, "of the other one");
    assert_eq!(handle.exited().wait().unwrap().status, Status::Lost);
}

#[test]
fn a_worker_whose_lease_ends_stops_what_it_runs_and_says_so_when_it_can() {
    let Some(mut pool) = Pool::new() else { return };
    let _worker = pool.worker("w1", LEASE);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    launch(&session, runs(&pool, "never"));
    pool.server.is_killed();
    pool.is_left_alone_but("w1", LIMIT);
    pool.server.comes_back();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!(
        (result.status, result.stop_cause),
        (Status::Killed, Some(StopCause::LeaseLost)),
        "{result:?}"
    );
    // And goes on with a new one.
    let next = session.launch(Command::new("true")).wait().unwrap();
    assert_eq!(next.exited().wait().unwrap().success, Some(true));
}

#[test]
fn a_worker_that_stood_still_finds_its_commands_answered_for_and_ends_them() {
    let Some(pool) = Pool::new() else { return };
    let still = pool.worker("w1", LEASE);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "never"));
    let _other = pool.worker("w2", LEASE);
    still.stands_still();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!(result.status, Status::Lost);
    assert!(!marked(&pool, "w1").is_empty(), "the command did not stand still");
    still.goes_on();
    pool.is_left_alone_but("w1", LIMIT);
    assert_eq!(handle.exited().wait().unwrap().status, Status::Lost, "it does not change");
    assert!(session.inbox().drain().wait().unwrap().is_empty());
}

#[test]
fn a_worker_that_is_cut_off_is_answered_for_and_comes_back() {
    let Some(pool) = Pool::new() else { return };
    let wire = pool.wire();
    let _cut = pool.worker_over(&wire, "w1", LEASE);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "never"));
    let _other = pool.worker("w2", LEASE);
    wire.cut();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!(result.status, Status::Lost);
    // Before that, by its own clock.
    pool.is_left_alone_but("w1", Duration::from_secs(2));
    wire.mends();
    pool.is_back("w1", "w2");
    assert_eq!(handle.exited().wait().unwrap().status, Status::Lost);
    assert!(session.inbox().drain().wait().unwrap().is_empty());
}

#[test]
fn a_host_that_is_gone_is_followed_by_another_one_on_the_same_session() {
    let Some(pool) = Pool::new() else { return };
    let _worker = pool.worker("w1", LEASE);
    let mut host = pool.ostler(&[
        "run",
        "--pool",
        "p",
        "--session",
        "chat",
        "--",
        "sh",
        "-c",
        "echo begun; until [ -e go ]; do sleep 0.01; done",
    ]);
    let line = host.line();
    assert_eq!(line.trim_end(), "begun");
    host.is_killed();
    let session = pool.host().session("chat", &pool.name()).wait().unwrap();
    let listed = session.list(ListRequest::new()).wait().unwrap().launches;
    let handle = session.handle(&listed[0].launch).wait().unwrap();
    assert_eq!(handle.status().wait().unwrap().stdout, "begun\n");
    pool.touch("go");
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!(result.success, Some(true));
}

#[test]
fn the_end_of_a_session_reaches_a_worker_that_was_away() {
    let Some(pool) = Pool::new() else { return };
    let away = pool.worker("w1", &["--lease", "40s"]);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let handle = launch(&session, runs(&pool, "never"));
    away.stands_still();
    let ending = thread::spawn({
        let session = session.clone();
        move || session.end().wait()
    });
    // Somebody else can tell: the end is written before anybody is asked.
    let _other = pool.worker("w2", LEASE);
    pool.until("the end is written", || {
        let probe = Command::new("true").into_request(session.id());
        let asked = session.launch_as("probe".parse().unwrap(), probe, Duration::ZERO).wait();
        matches!(asked, Err(Error::SessionEnded { .. }))
    });
    away.goes_on();
    let ended = ending.join().unwrap().unwrap();
    let record = handle.exited().wait().unwrap();
    assert_eq!(record.stop_cause, Some(StopCause::SessionEnded), "{record:?}");
    assert!(ended.unreached.is_empty() && ended.tally.killed == 1, "{ended:?}");
}

#[test]
fn whatever_its_grace_nothing_runs_on_without_a_lease() {
    let Some(mut pool) = Pool::new() else { return };
    let _worker = pool.worker("w1", LEASE);
    let session = pool.host().session("s", &pool.name()).wait().unwrap();
    let deaf = "trap '' TERM; echo begun; while :; do sleep 0.01; done";
    launch(&session, Command::new("sh").args(["-c", deaf]).grace(Duration::from_secs(600)));
    pool.server.is_killed();
    pool.is_left_alone_but("w1", LIMIT);
    pool.server.comes_back();
    let [result] = &results(&session, 1)[..] else { panic!() };
    assert_eq!(result.stop_cause, Some(StopCause::LeaseLost));
}
