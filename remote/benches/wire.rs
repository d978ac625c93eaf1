//! What another machine costs, beside the same on this one and in the same run: `cargo bench -p ostler-remote`. The server is on this machine too, with
//! `sync_interval: always`: a network adds its own time to each of the answers that a row waits for.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on has nothing to say")]

#[allow(dead_code, reason = "here it does not die")]
#[path = "../tests/server/server.rs"]
mod server;

use ostler::{Command, Config, Journal, Ostler};
use ostler_remote::{Connect, Pool, Remote, Worker, WorkerOptions};
use server::Server;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn worker(server: &Server, name: &str, slots: u32) -> (Worker, TempDir) {
    let place = tempfile::tempdir().unwrap();
    let mut options = WorkerOptions::new("bench".parse().unwrap(), name.parse().unwrap());
    options.slots = slots;
    options.state = Some(place.path().join("state"));
    options.config = options.config.artifact_root(place.path().join("artifacts"));
    (Worker::start(&Connect::to(server.url()), options).unwrap(), place)
}

fn median(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    (at(50), at(95))
}

fn main() {
    let smoke = std::env::var_os("OSTLER_BENCH_SMOKE").is_some();
    let rounds = if smoke { 5 } else { 400 };
    let Some(server) = Server::start() else { return };
    let pool: Pool = "bench".parse().unwrap();
    let remote = Remote::connect(&Connect::to(server.url())).unwrap();

    let place = tempfile::tempdir().unwrap();
    let config = Config::new().artifact_root(place.path().join("artifacts"));
    let local = Ostler::start(config.journal(Journal::named("bench").below(place.path()))).unwrap();
    let here = local.open_session().wait().unwrap();
    let one = worker(&server, "w0", 8);
    let there = remote.session("latency", &pool).wait().unwrap();
    let (mut near, mut far, mut started) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        // In turns, so that both see the same machine.
        let began = Instant::now();
        here.launch(Command::new("true")).wait().unwrap().result().wait().unwrap();
        near.push(began.elapsed());
        let began = Instant::now();
        let handle = there.launch(Command::new("true")).wait().unwrap();
        started.push(began.elapsed());
        handle.result().wait().unwrap();
        far.push(began.elapsed());
    }
    let (near, far, started) = (median(near), median(far), median(started));
    println!("launch to result, `true`, {rounds} rounds    median      p95");
    println!("  on this machine, with a journal       {:>7.2} ms {:>7.2} ms", near.0, near.1);
    println!("  over the wire, to the handle          {:>7.2} ms {:>7.2} ms", started.0, started.1);
    println!(
        "  over the wire, to the result          {:>7.2} ms {:>7.2} ms   +{:.2} ms",
        far.0,
        far.1,
        far.0 - near.0
    );

    println!("cancel beside four floods                 median      p95");
    let flood = || Command::new("yes");
    let sleeper = || Command::new("sleep").arg("1000");
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..rounds / 40 + 1 {
        // In turns; each beside floods of its own graph, whose threads it shares with them.
        let floods: Vec<_> = (0..4).map(|_| here.launch(flood()).wait().unwrap()).collect();
        for _ in 0..10 {
            let handle = here.launch(sleeper()).wait().unwrap();
            let began = Instant::now();
            assert!(handle.cancel().wait().unwrap().cancelled);
            near.push(began.elapsed());
        }
        floods.iter().for_each(|flood| drop(flood.cancel().wait().unwrap()));
        let floods: Vec<_> = (0..4).map(|_| there.launch(flood()).wait().unwrap()).collect();
        for _ in 0..10 {
            let handle = there.launch(sleeper()).wait().unwrap();
            let began = Instant::now();
            assert!(handle.cancel().wait().unwrap().cancelled);
            far.push(began.elapsed());
        }
        floods.iter().for_each(|flood| drop(flood.cancel_now().wait().unwrap()));
    }
    let (near, far) = (median(near), median(far));
    println!("  on this machine, with a journal       {:>7.2} ms {:>7.2} ms", near.0, near.1);
    println!("  over the wire, to the result          {:>7.2} ms {:>7.2} ms", far.0, far.1);
    drop(one);

    println!("results of `true` a second, 32 at a time");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for count in [1, 2, 4] {
        let workers: Vec<_> = (0..count).map(|n| worker(&server, &format!("t{count}{n}"), 16)).collect();
        let session = remote.session(format!("throughput{count}"), &pool).wait().unwrap();
        let launches = if smoke { 8 } else { 1_000 };
        let began = Instant::now();
        runtime.block_on(async {
            let mut all = tokio::task::JoinSet::new();
            let room = std::sync::Arc::new(tokio::sync::Semaphore::new(32));
            for _ in 0..launches {
                let permit = room.clone().acquire_owned().await.unwrap();
                let session = session.clone();
                all.spawn(async move {
                    session.launch(Command::new("true")).await.unwrap().exited().await.unwrap();
                    drop(permit);
                });
            }
            while all.join_next().await.is_some() {}
        });
        println!(
            "  {count} worker{}  {:>8.0}",
            if count == 1 { " " } else { "s" },
            launches as f64 / began.elapsed().as_secs_f64()
        );
        drop(workers);
    }
}
