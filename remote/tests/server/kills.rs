//! The server is killed again and again, and readers go, while results come: each comes to a reader, and when its minute is up.
//!
//! 10 kills by default; `OSTLER_KILLS=400 cargo test -p ostler-remote --test server kills -- --nocapture` is the large run, and `OSTLER_KILLS_SEED` chooses another course of it.

use crate::{
    Works, host, pool,
    server::{LIMIT, Server},
    wire::Wire,
};
use async_nats::{
    HeaderMap,
    jetstream::{self, context::PublishErrorKind, message::PublishMessage},
};
use ostler::{Command, Filter, REDELIVER_MS};
use ostler_remote::{Connect, Remote};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

const SESSIONS: u64 = 3;
const WRITERS: usize = 4;
/// No more than a reader has in a few rounds.
const AHEAD: usize = 1_500;
/// A server that comes back answers within it.
const ANSWER: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(20);
/// What went to a reader that died comes again after a minute, and there is a second for each session that is asked meanwhile.
const COMES_AGAIN: Duration = Duration::from_millis(REDELIVER_MS + 20_000);

/// How often each result came.
type Received = Mutex<BTreeMap<u64, u64>>;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
fn session_of(n: u64) -> String {
    format!("s{}", n % SESSIONS)
}
fn subject(n: u64) -> String {
    format!("$KV.ostler_tests_results.{}.c{n}", session_of(n))
}

#[test]
fn whatever_becomes_of_the_server_and_of_readers_each_result_comes_to_one() {
    let Some(mut server) = Server::start() else { return };
    let (kills, seed) = (number("OSTLER_KILLS", 10), number("OSTLER_KILLS_SEED", 1));
    let (like, url) = (a_result(&server), server.url());
    let (over, next, received) = (AtomicBool::new(false), AtomicU64::new(0), Received::default());
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| runtime().block_on(write_all(&url, &like, &over, &next, &received)));
        }
        scope.spawn(|| read_all(&url, &over, &received, seed));
        let killed = scope.spawn(|| kill(&mut server, kills, seed)).join();
        // Whatever has come of it, the others end.
        over.store(true, Ordering::Release);
        killed.unwrap();
    });
    let (written, began) = (next.into_inner(), Instant::now());
    let (remote, is_missing) = (host(&server), |n: &u64| !received.lock().unwrap().contains_key(n));
    while (0..written).any(|n| is_missing(&n)) && began.elapsed() < COMES_AGAIN {
        for n in 0..SESSIONS {
            let inbox = remote.session(session_of(n), &pool()).wait().unwrap().inbox();
            let entries = inbox.receive(Filter::results(), 256, Duration::from_secs(1)).wait().unwrap();
            keep(&received, &entries);
        }
    }
    let missing: Vec<u64> = (0..written).filter(is_missing).collect();
    let came: u64 = received.lock().unwrap().values().sum();
    println!(
        "{written} results, {kills} kills, seed {seed}: came again: {}, the last {} s after the last kill",
        came.saturating_sub(written),
        began.elapsed().as_secs()
    );
    if let Some(first) = missing.first() {
        panic!(
            "missing: {missing:?}; of the first the server says: {}",
            runtime().block_on(about(&url, *first))
        );
    }
}

fn kill(server: &mut Server, kills: u64, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(dice.u64(50..600)));
        server.is_killed();
        thread::sleep(Duration::from_millis(dice.u64(..300)));
        server.comes_back();
    }
}

/// As a worker stores it.
fn a_result(server: &Server) -> Value {
    let _works = Works::on(server, "w1");
    let session = host(server).session("like", &pool()).wait().unwrap();
    session.launch(Command::new("true")).wait().unwrap().exited().wait().unwrap();
    let stored = runtime().block_on(async {
        let js = jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let results = js.get_stream("KV_ostler_tests_results").await.unwrap();
        results.get_raw_message(1).await.unwrap().payload
    });
    serde_json::from_slice(&stored).unwrap()
}

/// Stores results as a worker does: some have had progress, which is withdrawn.
async fn write_all(url: &str, like: &Value, over: &AtomicBool, next: &AtomicU64, received: &Received) {
    let client = loop {
        match async_nats::connect(url).await {
            Ok(client) => break client,
            Err(_) => sleep(RETRY).await,
        }
    };
    let js = &jetstream::new(client);
    while !over.load(Ordering::Acquire) {
        if next.load(Ordering::Acquire) > (received.lock().unwrap().len() + AHEAD) as u64 {
            sleep(RETRY).await;
            continue;
        }
        let n = next.fetch_add(1, Ordering::AcqRel);
        let mut stored = like.clone();
        stored["session"] = session_of(n).into();
        stored["launch"] = format!("c{n}").into();
        stored["end"]["result"]["record"]["labels"] = json!({ "n": n.to_string() });
        stored["end"]["result"]["record"]["command_id"] = format!("cmd_{n}_1_1").into();
        let (key, record) = (format!("{}.progress", subject(n)), &stored["end"]["result"]["record"]);
        let had_progress = n.is_multiple_of(4);
        if had_progress {
            let progress = json!({ "launch": stored["launch"], "at": stored["at"], "record": record });
            sends(js, &key, PublishMessage::build().payload(progress.to_string().into())).await;
        }
        let result =
            PublishMessage::build().payload(stored.to_string().into()).expected_last_subject_sequence(0);
        let began = Instant::now();
        while !sends(js, &subject(n), result.clone()).await {
            assert!(began.elapsed() < LIMIT, "result {n} can't be stored");
            sleep(RETRY).await;
        }
        if had_progress {
            let mut mark = HeaderMap::new();
            mark.insert("KV-Operation", "DEL");
            sends(js, &key, PublishMessage::build().headers(mark)).await;
        }
    }
}
/// Whether it is there.
async fn sends(js: &jetstream::Context, subject: &str, message: PublishMessage) -> bool {
    let sent = async { js.send_publish(subject.to_owned(), message).await?.await };
    match timeout(ANSWER, sent).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == PublishErrorKind::WrongLastSequence,
        Err(_) => false,
    }
}

/// Reads what comes, and dies at times before it has said that it has it: in order, or so that nothing of it comes through any more.
fn read_all(url: &str, over: &AtomicBool, received: &Received, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut wire = Wire::to(url);
    while !over.load(Ordering::Acquire) {
        let Ok(remote) = Remote::connect(&Connect::to(wire.url())) else { continue };
        let Ok(session) = remote.session(session_of(dice.u64(..)), &pool()).wait() else { continue };
        for _ in 0..dice.usize(1..8) {
            let (inbox, max) = (session.inbox(), dice.usize(1..64));
            let read = inbox.read_within(Filter::results(), max, Duration::from_millis(200)).wait();
            let Ok(entries) = read else { continue };
            keep(received, &entries);
            if dice.u8(..8) == 0 {
                if dice.bool() {
                    // It stays so.
                    wire.cut();
                    drop((inbox, session, remote));
                    wire = Wire::to(url);
                }
                break;
            }
            let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
            let _ = inbox.acknowledge_these(&sequences).wait();
        }
    }
}

fn keep(received: &Received, entries: &[ostler::Entry]) {
    for entry in entries {
        let n = entry.record().unwrap().labels["n"].parse().unwrap();
        *received.lock().unwrap().entry(n).or_default() += 1;
    }
}

/// Where a result stands, and up to where its session is delivered and acknowledged.
async fn about(url: &str, n: u64) -> String {
    let js = jetstream::new(async_nats::connect(url).await.unwrap());
    let results = js.get_stream("KV_ostler_tests_results").await.unwrap();
    let reader = results.consumer_info(&session_of(n)).await.unwrap();
    let stands = results.get_last_raw_message_by_subject(&subject(n)).await.map(|there| there.sequence);
    format!("it stands at {stands:?}; {reader:?}")
}
