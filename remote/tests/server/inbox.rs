//! Inboxes: durable, in order, redelivered, and safe to drop.

use crate::{LONG, Works, host, pool, server::Server};
use ostler::{Command, Filter};
use ostler_remote::WorkerOptions;
use std::{collections::BTreeSet, time::Duration};

#[test]
fn what_was_not_acknowledged_comes_again_to_another_host() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let one = host(&server).session("s", &pool()).wait().unwrap();
    let handles: Vec<_> =
        (0..3).map(|n| one.launch(Command::new("echo").arg(n.to_string())).wait().unwrap()).collect();
    for handle in &handles {
        handle.exited().wait().unwrap();
    }
    let inbox = one.inbox();
    let mut read = Vec::new();
    while read.len() < 3 {
        read.extend(inbox.read_within(Filter::results(), 10, LONG).wait().unwrap());
    }
    assert_eq!(inbox.acknowledge_these(&[read[1].sequence]).wait().unwrap(), 1);
    assert!(inbox.read(Filter::any(), 10).wait().unwrap().is_empty(), "they are read");
    drop((inbox, one, handles));
    let two = host(&server).session("s", &pool()).wait().unwrap();
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(two.inbox().receive(Filter::any(), 10, LONG).wait().unwrap());
    }
    let numbers =
        |entries: &[ostler::Entry]| entries.iter().map(|entry| entry.sequence).collect::<BTreeSet<_>>();
    assert_eq!(numbers(&again), numbers(&[read[0].clone(), read[2].clone()]));
    assert!(again.iter().all(|entry| entry.redelivered));
    assert!(two.inbox().drain().wait().unwrap().is_empty());
}

/// How many consumers the inboxes of all sessions have.
fn consumers(server: &Server) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let js = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let results = js.get_stream("KV_ostler_tests_results").await.unwrap();
        results.cached_info().state.consumer_count
    })
}

#[test]
fn of_a_session_that_has_ended_and_is_read_no_consumer_is_left_and_nothing_comes_again() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    for n in 0..3 {
        session.launch(Command::new("echo").arg(n.to_string())).wait().unwrap().exited().wait().unwrap();
    }
    let inbox = session.inbox();
    let mut read = Vec::new();
    while read.len() < 3 {
        read.extend(inbox.read_within(Filter::results(), 10, LONG).wait().unwrap());
    }
    assert_eq!(inbox.acknowledge(read[1].sequence).wait().unwrap(), 2);
    session.end().wait().unwrap();
    assert_eq!(consumers(&server), 1, "one is not acknowledged");
    assert_eq!(inbox.acknowledge(read[2].sequence).wait().unwrap(), 1);
    session.end().wait().unwrap();
    assert_eq!(consumers(&server), 0);
    let again = host(&server).session("s", &pool()).wait().unwrap();
    assert!(again.inbox().drain().wait().unwrap().is_empty());
    drop(again);
    // Another reader first: this one knows itself what it has acknowledged.
    let again = host(&server).session("s", &pool()).wait().unwrap();
    assert!(again.inbox().drain().wait().unwrap().is_empty());
    assert!(inbox.drain().wait().unwrap().is_empty());
}

#[test]
fn what_the_end_of_a_session_stops_comes_once_and_what_was_taken_is_no_reason_to_keep_a_consumer() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    assert!(session.inbox().drain().wait().unwrap().is_empty());
    let taken = session.launch(Command::new("true")).wait().unwrap();
    assert!(taken.result().wait().unwrap().taken);
    let stopped = session.launch(Command::new("sleep").arg("1000")).wait().unwrap();
    session.end().wait().unwrap();
    // Its result came with the end.
    assert_eq!(consumers(&server), 1);
    let read = session.inbox().receive(Filter::any(), 10, LONG).wait().unwrap();
    assert_eq!(read[0].record().unwrap().command_id, stopped.record().command_id);
    session.end().wait().unwrap();
    assert_eq!(consumers(&server), 0);
    for _ in 0..2 {
        let again = host(&server).session("s", &pool()).wait().unwrap();
        assert!(again.inbox().drain().wait().unwrap().is_empty());
    }
}

#[test]
fn of_a_session_that_is_discarded_nothing_is_left_to_be_read() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let inbox = session.inbox();
    session.launch(Command::new("true")).wait().unwrap().exited().wait().unwrap();
    assert_eq!(inbox.read_within(Filter::any(), 10, LONG).wait().unwrap().len(), 1);
    let runs = session.launch(Command::new("sleep").arg("1000")).wait().unwrap();
    session.end_and_discard().wait().unwrap();
    assert_eq!(consumers(&server), 0);
    let again = host(&server).session("s", &pool()).wait().unwrap();
    assert!(again.inbox().drain().wait().unwrap().is_empty());
    assert_eq!(runs.exited().wait().unwrap().stop_cause, Some(ostler::StopCause::SessionEnded));
    // One that nobody has read at all.
    let session = host(&server).session("t", &pool()).wait().unwrap();
    session.launch(Command::new("true")).wait().unwrap().exited().wait().unwrap();
    session.end_and_discard().wait().unwrap();
    assert!(session.inbox().drain().wait().unwrap().is_empty());
}

#[test]
fn a_read_that_is_dropped_loses_nothing_and_delays_nothing() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let inbox = session.inbox();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let launched: BTreeSet<_> = {
            let mut launched = BTreeSet::new();
            for n in 0..40 {
                launched.insert(
                    session
                        .launch(Command::new("echo").arg(n.to_string()))
                        .await
                        .unwrap()
                        .record()
                        .command_id,
                );
            }
            launched
        };
        let (mut got, mut tries) = (BTreeSet::new(), 0_u64);
        while got.len() < launched.len() {
            tries += 1;
            // Dropped at all sorts of moments.
            let time = Duration::from_micros(tries * 997 % 20_000);
            let received = tokio::time::timeout(time, inbox.receive(Filter::any(), 3, LONG)).await;
            for entry in received.map(Result::unwrap).unwrap_or_default() {
                assert!(!entry.redelivered, "it was never out");
                assert!(got.insert(entry.record().unwrap().command_id), "twice");
            }
        }
        assert_eq!(got, launched);
        assert!(inbox.drain().await.unwrap().is_empty());
    });
}

#[test]
fn sessions_do_not_read_each_others_results() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let remote = host(&server);
    // Whose names could be taken for parts of each other.
    let ids = ["a", "a.b", "a.*", ">", "A"];
    let sessions: Vec<_> = ids.iter().map(|id| remote.session(*id, &pool()).wait().unwrap()).collect();
    for (id, session) in ids.iter().zip(&sessions) {
        session.launch(Command::new("echo").arg(*id)).wait().unwrap().exited().wait().unwrap();
    }
    for (id, session) in ids.iter().zip(&sessions) {
        let entries = session.inbox().receive(Filter::any(), 10, LONG).wait().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].record().unwrap().stdout, format!("{id}\n"));
        assert!(session.inbox().drain().wait().unwrap().is_empty());
    }
}

/// Each worker's graph counts its handles from 1, and here in one process.
#[test]
fn commands_of_two_workers_have_two_handle_ids_and_a_filter_finds_each() {
    let Some(server) = Server::start() else { return };
    let _works = [Works::with(&server, "w1", one_slot), Works::with(&server, "w2", one_slot)];
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let handles = [0, 1].map(|_| session.launch(Command::new("sleep").arg("1000")).wait().unwrap());
    assert_ne!(handles[0].worker(), handles[1].worker());
    let ids = handles.each_ref().map(|handle| handle.record().handle_id);
    assert_eq!(ids, handles.each_ref().map(|handle| handle.id().handle_id()));
    assert_ne!(ids[0], ids[1]);
    for handle in &handles {
        handle.cancel_now_and_notify().wait().unwrap();
        assert_eq!(handle.status().wait().unwrap().handle_id, handle.id().handle_id());
    }
    for id in ids.into_iter().rev() {
        let of_it = session.inbox().receive(Filter::results().and_handle(id), 10, LONG).wait().unwrap();
        assert_eq!(of_it.iter().map(|entry| entry.record().unwrap().handle_id).collect::<Vec<_>>(), [id]);
    }
}
fn one_slot(mut options: WorkerOptions) -> WorkerOptions {
    options.slots = 1;
    options
}

#[test]
fn what_stands_behind_many_that_do_not_fit_is_there_at_once_and_waiting_takes_nothing() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    // More than are asked for at a time.
    let handles: Vec<_> = (0..70).map(|_| session.launch(Command::new("true")).wait().unwrap()).collect();
    handles.iter().for_each(|handle| drop(handle.exited().wait().unwrap()));
    let last = session.launch(Command::new("true")).wait().unwrap();
    last.exited().wait().unwrap();
    let inbox = session.inbox();
    let of_last = Filter::results().and_handle(last.id().handle_id());
    let read = inbox.read(of_last.clone(), 1).wait().unwrap();
    assert_eq!(read.len(), 1);
    inbox.acknowledge_these(&[read[0].sequence]).wait().unwrap();
    assert!(!inbox.wait(of_last, Duration::ZERO).wait().unwrap());
    assert!(inbox.wait(Filter::results(), LONG).wait().unwrap());
    assert_eq!(inbox.drain().wait().unwrap().len(), 70);
}

#[test]
fn what_is_kept_comes_again_when_its_reader_is_gone_and_not_before() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    session.launch(Command::new("true")).wait().unwrap().exited().wait().unwrap();
    let inbox = session.inbox().keep_read();
    assert_eq!(inbox.read_within(Filter::any(), 10, LONG).wait().unwrap().len(), 1);
    // The engine gives it out again after a minute, unless it hears of it.
    let past_the_minute = Duration::from_millis(ostler::REDELIVER_MS + 5_000);
    let come = inbox.receive(Filter::any(), 10, past_the_minute).wait().unwrap();
    assert_eq!(come, []);
    drop((inbox, session));
    let other = host(&server).session("s", &pool()).wait().unwrap();
    let again = other.inbox().receive(Filter::any(), 10, LONG).wait().unwrap();
    assert!(again.len() == 1 && again[0].redelivered, "{again:?}");
}
