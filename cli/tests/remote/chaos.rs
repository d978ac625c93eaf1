//! Everything dies at random, again and again, and is counted: each launch that was claimed has one result, none was started twice, nothing lives on.
//!
//! 120 launches by default; `OSTLER_CHAOS=10000 cargo test -p ostler-cli --features nats --test remote chaos -- --nocapture` is the large run, and
//! `OSTLER_CHAOS_SEED` chooses another course of it.

use crate::{
    place::{LIMIT, Running},
    pool::{Pool, marked},
    wire::Wire,
};
use ostler::{Command, Entry, Filter, Status};
use ostler_remote::{Connect, Error, LaunchId, ListRequest, Remote};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const WORKERS: usize = 4;
/// How many launch at a time: in the large run as many as there are slots.
const HOSTS: u64 = 6;
const HOSTS_OF_MANY: u64 = 32;
const SESSIONS: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// What is known of all launches at the end.
#[derive(Default)]
struct Count {
    refused: AtomicU64,
    killed_workers: AtomicU64,
    killed_servers: AtomicU64,
    killed_hosts: AtomicU64,
    cuts: AtomicU64,
    slowest_end_ms: AtomicU64,
}

struct Worker {
    name: String,
    wire: Wire,
    process: Option<Running>,
}
impl Worker {
    fn starts(&mut self, pool: &Pool) {
        self.process = Some(pool.worker_at(&self.wire.url(), &self.name, &["--lease", "3s", "--slots", "8"]));
    }
}

#[test]
fn whoever_dies_each_launch_has_one_result_and_was_started_once() {
    let Some(pool) = Pool::new() else { return };
    let (launches, seed) = (number("OSTLER_CHAOS", 120), number("OSTLER_CHAOS_SEED", 1));
    fs::create_dir(pool.place().join("ran")).unwrap();
    let mut workers: Vec<Worker> =
        (0..WORKERS).map(|n| Worker { name: format!("w{n}"), wire: pool.wire(), process: None }).collect();
    workers.iter_mut().for_each(|worker| worker.starts(&pool));
    let (count, next, over) = (Count::default(), AtomicU64::new(0), AtomicBool::new(false));
    let received = Mutex::new(BTreeMap::<String, Vec<Entry>>::new());
    let began = Instant::now();
    let pool = Mutex::new(pool);
    thread::scope(|scope| {
        let hosts: Vec<_> = (0..if launches < 1_000 { HOSTS } else { HOSTS_OF_MANY })
            .map(|host| {
                let (pool, count, next) = (&pool, &count, &next);
                scope.spawn(move || launch_all(pool, count, next, launches, host))
            })
            .collect();
        let reader = scope.spawn(|| read_all(&pool, &over, &received, seed));
        let chaos = scope.spawn(|| trouble(&pool, &mut workers, &count, &over, seed));
        let launched: Vec<_> = hosts.into_iter().map(|host| host.join()).collect();
        // Whatever has come of it, the others end.
        over.store(true, Ordering::Release);
        launched.into_iter().for_each(|launched| launched.unwrap());
        chaos.join().unwrap();
        reader.join().unwrap();
    });
    let pool = pool.into_inner().unwrap();
    let remote = pool.host();
    // Everybody is back, and what is open is answered for.
    pool.until("every claim has its result", || {
        let listed = remote.list(&pool.name(), ListRequest::new()).wait().unwrap().launches;
        listed.iter().all(|one| matches!(one.state, ostler_remote::ListedState::Ended(_)))
    });
    pool.until("no claim is left", || remote.claims(&pool.name()).wait().unwrap() == 0);
    let mut received = received.into_inner().unwrap();
    // What was on its way to a reader that died comes again after a minute.
    let until = Instant::now() + LIMIT * 2;
    let ended = remote.list(&pool.name(), ListRequest::new()).wait().unwrap().launches.len();
    while received.len() < ended && Instant::now() < until {
        for n in 0..SESSIONS {
            let session = remote.session(format!("s{n}"), &pool.name()).wait().unwrap();
            let entries =
                session.inbox().receive(Filter::results(), 256, Duration::from_secs(1)).wait().unwrap();
            keep(&mut received, entries);
        }
    }
    let mut of: BTreeMap<Status, u64> = BTreeMap::new();
    let (mut unclaimed, mut again, mut unmarked) = (0, 0, 0);
    for n in 0..launches {
        let ran =
            fs::read_to_string(pool.place().join(format!("ran/{n}"))).unwrap_or_default().lines().count();
        assert!(ran <= 1, "launch {n} was started {ran} times");
        let session = remote.session(session_of(n), &pool.name()).wait().unwrap();
        let handle = match session.handle(&id(n)).wait() {
            Ok(handle) => handle,
            Err(Error::NotClaimed { .. }) => {
                assert_eq!(ran, 0, "launch {n} ran, and nobody has claimed it");
                unclaimed += 1;
                continue;
            }
            Err(error) => panic!("launch {n}: {error}"),
        };
        let record = handle.exited().wait().unwrap();
        if record.status == Status::Completed {
            assert_eq!((ran, record.stdout.as_str()), (1, format!("{n}\n").as_str()), "launch {n}");
        }
        *of.entry(record.status).or_default() += 1;
        let entries = received.remove(&format!("{n}")).unwrap_or_default();
        assert!(
            !entries.is_empty(),
            "the result of launch {n} came to no reader: {}\n{}",
            record.summary(),
            about_inbox(&pool, n)
        );
        for entry in &entries {
            assert_eq!(entry.record(), Some(&*record), "launch {n}: one result, and always the same");
        }
        // A reader that died may have had it, which the server says; one that was killed meanwhile may have forgotten that.
        let marked = entries.iter().skip(1).filter(|entry| entry.redelivered).count();
        again += entries.len() - 1;
        unmarked += entries.len() - 1 - marked;
    }
    assert!(
        unmarked == 0 || count.killed_servers.load(Ordering::Relaxed) > 0,
        "{unmarked} came again unmarked"
    );
    assert!(received.is_empty(), "results of nothing: {:?}", received.keys());
    let of_workers: Vec<String> = workers.iter().map(|worker| worker.name.clone()).collect();
    drop(workers);
    for name in &of_workers {
        pool.is_left_alone(name, Duration::from_secs(5));
    }
    println!(
        "{launches} launches in {} s, seed {seed}: {of:?}, {unclaimed} never claimed, {} refused at first; killed: {} workers, {} servers, {} hosts; {} cuts; \
         came again: {again}, {unmarked} of them unmarked; slowest end of a killed worker's commands: {} ms",
        began.elapsed().as_secs(),
        count.refused.load(Ordering::Relaxed),
        count.killed_workers.load(Ordering::Relaxed),
        count.killed_servers.load(Ordering::Relaxed),
        count.killed_hosts.load(Ordering::Relaxed),
        count.cuts.load(Ordering::Relaxed),
        count.slowest_end_ms.load(Ordering::Relaxed),
    );
}

/// What the engine says of the reader of a launch's session, and where the result stands: for whoever has to find out why it did not come.
fn about_inbox(pool: &Pool, n: u64) -> String {
    let address = pool.server.url();
    let mut server = TcpStream::connect(address.strip_prefix("nats://").unwrap()).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (stream, session) = (format!("KV_ostler_{}_results", pool.name()), session_of(n));
    let result = format!("{{\"last_by_subj\":\"$KV.ostler_{}_results.{session}.{}\"}}", pool.name(), id(n));
    let asked = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB about 1\r\nPUB $JS.API.CONSUMER.INFO.{stream}.{session} about 0\r\n\r\n\
         PUB $JS.API.STREAM.MSG.GET.{stream} about {}\r\n{result}\r\n",
        result.len()
    );
    server.write_all(asked.as_bytes()).unwrap();
    let mut said = Vec::new();
    // Up to the time: it does not end by itself.
    let _ = server.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

fn id(n: u64) -> LaunchId {
    format!("c{n}").parse().unwrap()
}
fn session_of(n: u64) -> String {
    format!("s{}", n % SESSIONS as u64)
}
fn command(n: u64) -> Command {
    // It says that it was started, in a file that outlives everybody.
    let ms = n * 37 % 400;
    let script = format!("echo x >> ran/{n}; echo {n}; sleep 0.{ms:03}");
    Command::new("sh").args(["-c", &script]).label("n", n.to_string())
}

/// Launches the next one, until there are none. What is not known is asked for, and what nobody has claimed is sent again under its id. At times a host dies while it
/// launches: its connection is gone, and another host, which knows the id, goes on.
fn launch_all(pool: &Mutex<Pool>, count: &Count, next: &AtomicU64, launches: u64, host: u64) {
    let (url, name, place) = {
        let pool = pool.lock().unwrap();
        (pool.server.url(), pool.name(), pool.place().to_owned())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut dice = fastrand::Rng::with_seed(host);
    let mut remote = None;
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= launches {
            return;
        }
        let until = Instant::now() + LIMIT;
        // For whoever has to find out why nobody took it.
        let mut said = BTreeMap::<String, u32>::new();
        let mut note = |error: String| *said.entry(error).or_default() += 1;
        loop {
            if Instant::now() >= until {
                println!("launch {n} of host {host} is given up: {said:?}");
                break;
            }
            let connected = remote.take().map_or_else(|| Remote::connect(&Connect::to(url.clone())), Ok);
            let Ok(connected) = connected.map_err(|error| note(error.to_string())) else { continue };
            let session = connected.session(session_of(n), &name).wait();
            let Ok(session) = session.map_err(|error| note(error.to_string())) else { continue };
            let request = command(n).current_dir(&place).into_request(session.id());
            let launch = session.launch_as(id(n), request, Duration::from_secs(5));
            let dies = dice.u8(..8) == 0;
            let lives = if dies { Duration::from_micros(dice.u64(..20_000)) } else { LIMIT };
            match runtime.block_on(async { tokio::time::timeout(lives, launch).await }) {
                Err(_) => {
                    // It may be launched or not: the next round finds out.
                    count.killed_hosts.fetch_add(1, Ordering::Relaxed);
                    note("it died".to_owned());
                    drop((session, connected));
                    continue;
                }
                Ok(Ok(_)) => {
                    remote = Some(connected);
                    break;
                }
                Ok(Err(Error::Launch(error))) => panic!("launch {n} of host {host}: {error}"),
                Ok(Err(error)) => {
                    count.refused.fetch_add(1, Ordering::Relaxed);
                    note(error.to_string());
                }
            }
            remote = Some(connected);
        }
    }
}

/// Reads what comes, and dies at times before it has said that it has it.
fn read_all(
    pool: &Mutex<Pool>,
    over: &AtomicBool,
    received: &Mutex<BTreeMap<String, Vec<Entry>>>,
    seed: u64,
) {
    let mut dice = fastrand::Rng::with_seed(seed ^ 0x5eed);
    while !over.load(Ordering::Acquire) {
        let (remote, name) = {
            let pool = pool.lock().unwrap();
            let Ok(remote) = Remote::connect(&Connect::to(pool.server.url())) else { continue };
            (remote, pool.name())
        };
        let session = format!("s{}", dice.usize(..SESSIONS));
        let Ok(session) = remote.session(session, &name).wait() else { continue };
        for _ in 0..dice.usize(1..8) {
            let inbox = session.inbox();
            let Ok(entries) =
                inbox.read_within(Filter::results(), dice.usize(1..32), Duration::from_millis(200)).wait()
            else {
                continue;
            };
            let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
            keep(&mut received.lock().unwrap(), entries);
            if dice.u8(..) < 32 {
                break;
            }
            let _ = inbox.acknowledge_these(&sequences).wait();
        }
    }
}

fn keep(received: &mut BTreeMap<String, Vec<Entry>>, entries: Vec<Entry>) {
    for entry in entries {
        let n = entry.record().unwrap().labels["n"].clone();
        received.entry(n).or_default().push(entry);
    }
}

/// One thing after the other, until all is launched; then everybody comes back.
fn trouble(pool: &Mutex<Pool>, workers: &mut [Worker], count: &Count, over: &AtomicBool, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut cut: BTreeSet<usize> = BTreeSet::new();
    while !over.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(dice.u64(50..600)));
        let at = dice.usize(..WORKERS);
        match dice.u8(..10) {
            0..=3 => {
                let Some(mut process) = workers[at].process.take() else { continue };
                process.is_killed();
                count.killed_workers.fetch_add(1, Ordering::Relaxed);
                let died = Instant::now();
                let pool = pool.lock().unwrap();
                while !marked(&pool, &workers[at].name).is_empty() {
                    assert!(died.elapsed() < LIMIT, "{:?}", marked(&pool, &workers[at].name));
                    thread::sleep(Duration::from_millis(5));
                }
                let ms = u64::try_from(died.elapsed().as_millis()).unwrap();
                count.slowest_end_ms.fetch_max(ms, Ordering::Relaxed);
            }
            4..=6 => {
                if workers[at].process.is_none() && !cut.contains(&at) {
                    workers[at].starts(&pool.lock().unwrap());
                }
            }
            7 => {
                let mut pool = pool.lock().unwrap();
                pool.server.is_killed();
                count.killed_servers.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(dice.u64(..500)));
                pool.server.comes_back();
            }
            8 => {
                if cut.insert(at) {
                    workers[at].wire.cut();
                    count.cuts.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {
                let any = cut.iter().nth(dice.usize(..cut.len().max(1))).copied();
                if let Some(at) = any.filter(|at| cut.remove(at)) {
                    workers[at].wire.mends();
                }
            }
        }
    }
    cut.into_iter().for_each(|at| workers[at].wire.mends());
    for worker in workers.iter_mut().filter(|worker| worker.process.is_none()) {
        worker.starts(&pool.lock().unwrap());
    }
}
