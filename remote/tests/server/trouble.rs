//! The server goes and comes, workers are full, cut off, and of the same name.

use crate::{LONG, Works, host, options, pool, server::Server, wire::Wire};
use ostler::{Command, Condition, Filter, Status};
use ostler_remote::{Connect, Error, LEASE_MAX, LEASE_MIN, LaunchId, ListRequest, Remote, Worker};
use std::{collections::BTreeSet, time::Duration};

#[test]
fn without_a_worker_a_launch_says_so_and_nothing_runs_later() {
    let Some(server) = Server::start() else { return };
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let launch: LaunchId = "mine".parse().unwrap();
    let request = Command::new("true").into_request(session.id());
    let error =
        session.launch_as(launch.clone(), request.clone(), Duration::from_millis(200)).wait().unwrap_err();
    assert!(matches!(error, Error::NoWorker { .. }) && error.to_string().contains("none listens"), "{error}");
    assert!(matches!(session.handle(&launch).wait(), Err(Error::NotClaimed { .. })));
    let _works = Works::on(&server, "w1");
    let handle = session.launch_as(launch, request, LONG).wait().unwrap();
    assert_eq!(handle.result().wait().unwrap().record.status, Status::Completed);
}

#[test]
fn a_full_worker_takes_the_next_when_one_has_ended() {
    let Some(server) = Server::start() else { return };
    let works = Works::with(&server, "w1", |mut options| {
        options.slots = 2;
        options
    });
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let gate = works.place.path().join("go");
    let waits = || {
        Command::new("sh")
            .args(["-c", "until [ -e go ]; do sleep 0.01; done"])
            .current_dir(works.place.path())
    };
    let running: Vec<_> = (0..2).map(|_| session.launch(waits()).wait().unwrap()).collect();
    let third = session.launch_as(
        "third".parse().unwrap(),
        waits().into_request(session.id()),
        Duration::from_millis(300),
    );
    let error = third.wait().unwrap_err();
    assert!(matches!(error, Error::NoWorker { .. }), "{error}");
    std::fs::write(gate, "").unwrap();
    let third = session.launch(waits()).wait().unwrap();
    for handle in running.iter().chain([&third]) {
        assert_eq!(handle.result().wait().unwrap().record.success, Some(true));
    }
}

#[test]
fn results_survive_a_server_that_is_killed_again_and_again() {
    let Some(mut server) = Server::start() else { return };
    let _works = (Works::on(&server, "w1"), Works::on(&server, "w2"));
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let mut launched = BTreeSet::new();
    let mut got = Vec::new();
    for round in 0..4 {
        for n in 0..10 {
            let command = Command::new("sh").args(["-c", &format!("sleep 0.0{n}; echo {round} {n}")]);
            launched.insert(session.launch(command).wait().unwrap().record().command_id);
        }
        server.is_killed();
        // Commands end while there is none.
        std::thread::sleep(Duration::from_millis(100));
        server.comes_back();
        got.extend(
            session.inbox().receive(Filter::any(), 5, Duration::from_millis(200)).wait().unwrap_or_default(),
        );
    }
    while got.len() < launched.len() {
        let more = session.inbox().receive(Filter::any(), 100, LONG).wait().unwrap();
        assert!(!more.is_empty(), "{} of {}", got.len(), launched.len());
        got.extend(more);
    }
    let ids: BTreeSet<_> = got.iter().map(|entry| entry.record().unwrap().command_id).collect();
    assert_eq!((ids.len(), got.len(), &ids), (launched.len(), launched.len(), &launched), "each once");
    assert!(got.iter().all(|entry| entry.record().unwrap().success == Some(true)));
}

#[test]
fn what_is_asked_while_the_server_is_away_is_answered_when_it_is_back() {
    let Some(mut server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let waits = Command::new("sh").args(["-c", "until [ -e go ]; do sleep 0.01; done"]);
    let runs = session.launch(waits.clone().current_dir(works.place.path())).wait().unwrap();
    let ends = session.launch(waits.current_dir(works.place.path())).wait().unwrap();
    server.is_killed();
    std::thread::scope(|scope| {
        let status = scope.spawn(|| runs.status().wait());
        let paused = scope.spawn(|| runs.pause().wait());
        let read = scope.spawn(|| runs.read().wait());
        let exited = scope.spawn(|| ends.exited_within(LONG).wait());
        // Longer than one request is waited for, and a look after it.
        std::thread::sleep(Duration::from_millis(5_500));
        std::fs::write(works.place.path().join("go"), "").unwrap();
        server.comes_back();
        assert_eq!(exited.join().unwrap().unwrap().status, Status::Completed);
        // It runs, or has ended by now; on a busy machine its worker may be back too late for those who have waited already. It is not the server that fails.
        let status = status.join().unwrap().map(drop);
        for asked in [status, paused.join().unwrap(), read.join().unwrap().map(drop)] {
            let fits = matches!(asked, Ok(()) | Err(Error::HandleEnded { .. } | Error::WorkerSilent { .. }));
            assert!(fits, "{asked:?}");
        }
    });
    runs.cancel_now().wait().unwrap();
}

#[test]
fn a_wait_with_a_time_waits_out_a_server_and_one_without_is_told_that_it_never_answers() {
    let Some(mut server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let waits = Command::new("sh").args(["-c", "until [ -e go ]; do sleep 0.01; done"]);
    let handle = session.launch(waits.current_dir(works.place.path())).wait().unwrap();
    server.is_killed();
    std::thread::scope(|scope| {
        let within = scope.spawn(|| handle.result_within(LONG).wait());
        let never = handle.exited().wait().unwrap_err();
        assert!(matches!(never, Error::Server { .. }), "{never:?}");
        std::fs::write(works.place.path().join("go"), "").unwrap();
        server.comes_back();
        let ended = within.join().unwrap().unwrap().unwrap();
        assert!(ended.taken && ended.record.status == Status::Completed, "{ended:?}");
    });
}

#[test]
fn of_all_that_launch_one_id_at_once_one_has_launched_it() {
    let Some(server) = Server::start() else { return };
    let _works = (Works::on(&server, "w1"), Works::on(&server, "w2"));
    let sessions: Vec<_> = (0..6).map(|_| host(&server).session("s", &pool()).wait().unwrap()).collect();
    for round in 0..20 {
        let launch: LaunchId = format!("round-{round}").parse().unwrap();
        let handles: Vec<_> = std::thread::scope(|scope| {
            let launches: Vec<_> = sessions
                .iter()
                .map(|session| {
                    // Some are still there when the last one looks, and some are not.
                    let request =
                        Command::new("sleep").arg(format!("0.{:02}", round)).into_request(session.id());
                    let call = session.launch_as(launch.clone(), request, LONG);
                    scope.spawn(|| call.wait().unwrap())
                })
                .collect();
            launches.into_iter().map(|launch| launch.join().unwrap()).collect()
        });
        let new = handles.iter().filter(|handle| handle.is_new()).count();
        assert_eq!(new, 1, "of round {round}");
        let ids: BTreeSet<_> = handles.iter().map(|handle| handle.record().command_id).collect();
        assert_eq!(ids.len(), 1);
    }
}

#[test]
fn who_has_launched_it_knows_it_though_the_answer_was_lost() {
    let Some(server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let wire = Wire::to(&server.url());
    let remote = Remote::connect(&Connect::to(wire.url())).unwrap();
    let session = remote.session("s", &pool()).wait().unwrap();
    let script = "echo x >> ran; exec sleep 1000";
    let request =
        || Command::new("sh").args(["-c", script]).current_dir(works.place.path()).into_request(session.id());
    let handle = std::thread::scope(|scope| {
        wire.is_cut_back();
        let launched = scope.spawn(|| session.launch_as("l".parse().unwrap(), request(), LONG).wait());
        // Longer than one request is waited for.
        std::thread::sleep(Duration::from_secs(6));
        wire.mends();
        launched.join().unwrap().unwrap()
    });
    assert!(handle.is_new());
    let other = host(&server).session("s", &pool()).wait().unwrap();
    let again = other.launch_as("l".parse().unwrap(), request(), LONG).wait().unwrap();
    assert!(!again.is_new());
    assert_eq!(again.record().command_id, handle.record().command_id);
    handle.cancel_now().wait().unwrap();
    assert_eq!(std::fs::read_to_string(works.place.path().join("ran")).unwrap(), "x\n");
}

#[test]
fn a_name_is_one_worker() {
    let Some(server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    // The same machine and the same state: refused by a lock.
    let error = Worker::start(&Connect::to(server.url()), options("w1", &works.place)).unwrap_err();
    assert!(matches!(error, Error::NameInUse { .. }), "{error:?}");
}

#[test]
fn who_has_lost_its_name_says_nothing_of_what_runs_under_it() {
    let Some(server) = Server::start() else { return };
    let short = |mut options: ostler_remote::WorkerOptions| {
        options.lease = Duration::from_secs(2);
        options
    };
    let wire = Wire::to(&server.url());
    let mut before = Works::at(&wire.url(), "w1", short);
    wire.cut();
    // Another one under its name, which waits until that one's lease is over. It is slow to judge others.
    let now = Works::on(&server, "w1");
    let host = host(&server);
    let session = host.session("s", &pool()).wait().unwrap();
    let waits = Command::new("sh").args(["-c", "until [ -e go ]; do sleep 0.01; done"]);
    let request = waits.current_dir(now.place.path()).into_request(session.id());
    // To the server, the one that is cut off is there too: it may be asked first, some times.
    let handle = session.launch_as("mine".parse().unwrap(), request, LONG).wait().unwrap();
    wire.mends();
    // It stays there, whatever it has heard: a host in whose process it lives may not have asked it yet.
    let lost = before.worker.as_mut().unwrap().wait(std::future::pending()).unwrap_err();
    assert!(lost.to_string().contains("another one of this name"), "{lost}");
    // When it has answered for another one it has looked at everything that was claimed before.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let js = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let claims = js.get_key_value("ostler_tests_claims").await.unwrap();
        let claim =
            r#"{"session":"t","launch":"gone","worker":"w0","mark":"m","at":"2026-01-01T00:00:00Z","digest":"","command":"true"}"#;
        claims.create("t.gone", claim.into()).await.unwrap();
    });
    let gone = host.session("t", &pool()).wait().unwrap().inbox();
    let entries = gone.receive(Filter::results(), 1, LONG).wait().unwrap();
    assert_eq!(entries[0].record().unwrap().status, Status::Lost);
    std::fs::write(now.place.path().join("go"), "").unwrap();
    assert_eq!(handle.result().wait().unwrap().record.status, Status::Completed);
}

#[test]
fn a_lease_is_neither_shorter_than_a_pause_nor_longer_than_what_tells_of_it_is_kept() {
    let place = tempfile::tempdir().unwrap();
    for lease in [LEASE_MIN - Duration::from_millis(1), LEASE_MAX + Duration::from_millis(1)] {
        let mut options = options("w1", &place);
        options.lease = lease;
        let error = Worker::start(&Connect::to("nats://127.0.0.1:1"), options).unwrap_err();
        assert!(matches!(error, Error::Option { option: "lease", .. }), "{error:?}");
    }
}

#[test]
fn nobody_waits_for_a_server_that_is_not_there() {
    let error = Remote::connect(&Connect::to("nats://127.0.0.1:1")).unwrap_err();
    assert!(error.to_string().starts_with("nats://127.0.0.1:1: can't connect: "), "{error}");
    assert!(
        Remote::connect(&Connect::to("nats://me:secret@[")).unwrap_err().to_string().find("secret").is_none()
    );
}

#[test]
fn what_nobody_of_ours_has_written_holds_up_nobody() {
    let Some(server) = Server::start() else { return };
    let works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        let js = async_nats::jetstream::new(client.clone());
        for bucket in ["claims", "results", "workers", "sessions"] {
            let bucket = js.get_key_value(format!("ostler_tests_{bucket}")).await.unwrap();
            for key in ["s.x", "s.x.progress", "garbage"] {
                bucket.put(key, "{no json".into()).await.unwrap();
            }
        }
        let asks = [
            "",
            "{",
            "null",
            r#"{"launch":"*","request":{"session_id":"s","program":"true"}}"#,
            r#"{"launch":"a.b","request":{"session_id":"s","program":"true"}}"#,
            r#"{"end_session":{"session":7}}"#,
            r#"{"read":{"command_id":"../x","request":{}}}"#,
        ];
        // More of them than it has slots.
        for subject in ["ostler.tests.launch", "ostler.tests.all", "ostler.tests.worker.w1"] {
            for ask in asks.iter().cycle().take(40) {
                client.publish(subject, ask.to_string().into()).await.unwrap();
            }
        }
        client.flush().await.unwrap();
    });
    let handle = session.launch(Command::new("true")).wait().unwrap();
    assert_eq!(handle.exited().wait().unwrap().success, Some(true));
    // What is there already under its name is somebody's: it does not run.
    let taken = Command::new("true").into_request(session.id());
    assert!(session.launch_as("x".parse().unwrap(), taken, Duration::from_millis(100)).wait().is_err());
    assert_eq!(session.inbox().receive(Filter::results(), 10, LONG).wait().unwrap().len(), 1);
    assert_eq!(session.list(ListRequest::new()).wait().unwrap().launches.len(), 1);
    assert!(session.end().wait().unwrap().unreached.is_empty());
    drop(works);
    // And a next life starts beside it.
    let again = Works::on(&server, "w2");
    drop(again);
}

#[test]
fn a_connection_that_fails_can_be_tried_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert!(Remote::connect(&Connect::to("nats://127.0.0.1:1")).is_err());
    });
}

/// As when an answer is lost, and the question is asked again.
#[test]
fn an_order_that_is_sent_twice_is_carried_out_once_and_answered_alike() {
    let Some(server) = Server::start() else { return };
    let _works = Works::on(&server, "w1");
    let session = host(&server).session("s", &pool()).wait().unwrap();
    let script = "trap 'echo heard' USR1; echo ready; while :; do sleep 0.01; done";
    let handle = session.launch(Command::new("sh").args(["-c", script])).wait().unwrap();
    handle.wait_for([Condition::text("ready")], LONG).wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let twice = |id: &str, order: serde_json::Value| {
        let key = format!("s.{}", handle.id());
        let ask = serde_json::json!({ "obey": { "key": key, "id": id, "order": order } }).to_string();
        runtime.block_on(async {
            let client = async_nats::connect(server.url()).await.unwrap();
            let mut answers = Vec::new();
            for _ in 0..2 {
                let message = client.request("ostler.tests.worker.w1", ask.clone().into()).await.unwrap();
                answers.push(serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap());
            }
            let [first, second] = &answers[..] else { panic!() };
            assert_eq!(first, second);
            first.clone()
        })
    };
    let refused = twice("1", serde_json::json!({ "resize": { "rows": 9, "columns": 9 } }));
    let error = &refused["refused"]["error"];
    assert_eq!(
        (&error["error"], &error["handle_id"]),
        (&"no_terminal".into(), &handle.id().as_str().into()),
        "{refused}"
    );
    assert_eq!(twice("2", serde_json::json!({ "signal": { "signal": "SIGUSR1" } })), "done");
    assert_eq!(twice("3", serde_json::json!({ "signal": { "signal": "SIGUSR1" } })), "done");
    // Two of four were heard, and a third is not on its way.
    handle.wait_for([Condition::regex("heard")], LONG).wait().unwrap();
    let ended = handle.cancel().wait().unwrap();
    assert!(ended.record.stdout.matches("heard").count() <= 2, "{:?}", ended.record.stdout);
}
