//! The start of a worker: one of its name at a time, and first what an earlier life has left.

use super::{
    Inner, LEASE_MAX, LEASE_MIN, Pause, Worker, WorkerOptions, beat, deliver, launches, sentinel, serve,
};
use crate::{
    connect::{ANSWER_TIME, Connect},
    core::Lease,
    errors::Error,
    names::launch_key,
    store::{self, Store},
    words::{Claim, Heartbeat},
};
use ostler::{Config, Filter, Journal, Ostler, SessionId};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    runtime::Builder,
    sync::{Mutex as AsyncMutex, Notify, Semaphore, watch},
};

/// Its work is messages; the commands are processes of their own.
const THREADS: usize = 2;
/// How many results of an earlier life are looked at, at a time.
const PAGE: usize = 1_000;
/// How often the first heartbeat is tried.
const FIRST_ATTEMPTS: u32 = 4;
/// Live commands of one session, and sessions: the slots are the limit, not these.
const SESSIONS: u64 = 1 << 20;

pub(super) fn start(connect: &Connect, options: WorkerOptions) -> Result<Worker, Error> {
    if !(LEASE_MIN..=LEASE_MAX).contains(&options.lease) {
        let hours = LEASE_MAX.as_secs() / 3_600;
        let why = format!("it must be at least {} s, and at most {hours} h", LEASE_MIN.as_secs());
        return Err(Error::Option { option: "lease", why });
    }
    if options.slots == 0 {
        return Err(Error::Option { option: "slots", why: "with none it runs nothing".into() });
    }
    let (lock, place) = take_lock(&options)?;
    let threads =
        Builder::new_multi_thread().worker_threads(THREADS).thread_name("ostler-worker").enable_all().build();
    let runtime = threads.map_err(|source| Error::Io { path: PathBuf::from("threads"), source })?;
    let (over, on_over) = watch::channel(None);
    let inner = runtime.block_on(prepare(connect, options, (lock, place), over))?;
    Ok(Worker { inner, runtime: Some(runtime), over: on_over })
}

async fn prepare(
    connect: &Connect,
    options: WorkerOptions,
    (lock, place): (File, String),
    over: watch::Sender<Option<String>>,
) -> Result<Arc<Inner>, Error> {
    let (client, trouble) = connect.connect(&format!("ostler worker {}", options.name)).await?;
    let store = Store::open(client, options.pool.clone(), options.keep).await?;
    let revision = replaces(&store, &options, &place).await?;
    let ostler = Ostler::start(config(&options))?;
    let inner = Arc::new(Inner {
        lease: Mutex::new(Lease::new(u64::try_from(options.lease.as_millis()).unwrap_or(u64::MAX))),
        slots: Arc::new(Semaphore::new(options.slots.min(1 << 16) as usize)),
        listening: watch::Sender::new(false),
        store,
        ostler,
        options,
        life: nuid::next().to_string(),
        machine: machine(),
        place,
        leased: Notify::new(),
        running: Mutex::new(HashMap::new()),
        sessions: Mutex::new(HashSet::new()),
        attempts: Mutex::new(HashSet::new()),
        opening: AsyncMutex::new(()),
        recovered: Mutex::new(HashSet::new()),
        ending: watch::channel(false).0,
        over,
        _lock: lock,
    });
    take_over(&inner).await?;
    let ears = serve::listen(&inner).await?;
    tokio::spawn(serve::serve(inner.clone(), ears));
    tokio::spawn(beat::watch(inner.clone()));
    tokio::spawn(sentinel::look(inner.clone()));
    tokio::spawn(serve::follow_ends(inner.clone()));
    tokio::spawn(launches::take(inner.clone()));
    // The first one here, so that a worker that was started is one that is seen.
    let mut revision = revision;
    let (name, mut pause, mut attempts) = (inner.options.name.to_string(), Pause::new(), 0);
    while let Err(error) = beat::once(&inner, &name, &mut revision).await {
        attempts += 1;
        match error {
            Some(machine) => return Err(Error::NameInUse { worker: inner.options.name.clone(), machine }),
            None if attempts == FIRST_ATTEMPTS => {
                let why = trouble.take().unwrap_or_else(|| "it is not stored".to_owned());
                return Err(Error::Server { what: "write the first heartbeat", why });
            }
            None => pause.wait().await,
        }
    }
    if let Some(why) = trouble.take() {
        // What it may not do it would be asked for in vain.
        return Err(Error::Server { what: "start a worker", why });
    }
    tokio::spawn(beat::beat(inner.clone(), revision));
    // A worker that was started is one that takes launches. A server that is away by now holds nothing up: it is asked again and again.
    let mut listens = inner.listening.subscribe();
    let _ = tokio::time::timeout(ANSWER_TIME, listens.wait_for(|listens| *listens)).await;
    Ok(inner)
}

fn config(options: &WorkerOptions) -> Config {
    let mut config = options.config.clone();
    let mut journal = Journal::named(format!("w.{}.{}", options.pool, options.name));
    if let Some(state) = &options.state {
        journal = journal.below(state);
    }
    let slots = u64::from(options.slots);
    let limits = &mut config.limits;
    limits.sessions = SESSIONS;
    (limits.session_handles, limits.handles) = (limits.session_handles.max(slots), limits.handles.max(slots));
    config.journal(journal)
}

/// The kernel lets go of it when the process is gone: so whoever holds it is the only one who writes under this name from this place, which has a name of its own in
/// the file.
fn take_lock(options: &WorkerOptions) -> Result<(File, String), Error> {
    let base = options.state.clone().or_else(ostler::journal::default_base);
    let base =
        base.ok_or(Error::Option { option: "state", why: "set it, or HOME: the journal lies there".into() })?;
    let path = base.join(format!("w.{}.{}.lock", options.pool, options.name));
    let failed = |source| Error::Io { path: path.clone(), source };
    fs::create_dir_all(&base).map_err(failed)?;
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::NameInUse { worker: options.name.clone(), machine: "this machine".into() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let mut place = String::new();
    file.read_to_string(&mut place).map_err(failed)?;
    if place.is_empty() {
        place = nuid::next().to_string();
        file.write_all(place.as_bytes()).map_err(failed)?;
    }
    Ok((file, place))
}

/// The revision of the heartbeat that is replaced. One of another place must have been silent for a lease and its margin.
async fn replaces(store: &Store, options: &WorkerOptions, place: &str) -> Result<u64, Error> {
    let name = options.name.to_string();
    let Some((before, revision)) = store::read::<Heartbeat>(&store.workers, &name).await? else {
        return Ok(0);
    };
    if before.place == place {
        return Ok(revision);
    }
    let silent = before.lease_ms.saturating_add(sentinel::margin_ms(before.lease_ms));
    tokio::time::sleep(Duration::from_millis(silent)).await;
    match store::read::<Heartbeat>(&store.workers, &name).await? {
        Some((_, now)) if now == revision => Ok(revision),
        None => Ok(0),
        Some((other, _)) => Err(Error::NameInUse { worker: options.name.clone(), machine: other.machine }),
    }
}

/// What the last life has left: what the journal knows of is delivered. For what it had claimed and the journal does not know of, [`sentinel`] answers.
async fn take_over(inner: &Arc<Inner>) -> Result<(), Error> {
    let claims = store::list::<Claim>(&inner.store.claims, ">").await?;
    let own = claims.into_iter().map(|(claim, _)| claim).filter(|claim| claim.worker == inner.options.name);
    let open: BTreeSet<SessionId> = inner.ostler.recovered().sessions.iter().cloned().collect();
    // One that had ended is not open, and its results may stand there all the same.
    let sessions: BTreeSet<SessionId> = open.iter().cloned().chain(own.map(|claim| claim.session)).collect();
    for session in &sessions {
        if open.contains(session) {
            inner.ostler.open_session_as(session.clone()).await?;
        }
        let unread = unread(inner, session).await;
        let has_some = !unread.is_empty();
        super::lock(&inner.recovered).extend(unread);
        // One that this graph has never heard of is opened by its next launch.
        if open.contains(session) || has_some {
            deliver::deliver_all(inner, session);
        }
    }
    Ok(())
}

/// The launches whose results stand in the journal. A session that is not known has none.
async fn unread(inner: &Inner, session: &SessionId) -> HashSet<String> {
    // What it has read comes again when it is dropped.
    let inbox = inner.ostler.session(session.clone()).inbox();
    let mut found = HashSet::new();
    while let Ok(entries) = inbox.read(Filter::results(), PAGE).await {
        if entries.is_empty() {
            break;
        }
        let launches = entries.iter().filter_map(|entry| deliver::launch_of(entry.record()?));
        found.extend(launches.map(|launch| launch_key(session.as_str(), &launch)));
    }
    found
}

/// Its name (uname(2)).
fn machine() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// Of the whole machine (proc_meminfo(5)); 0 where that is not told.
pub(super) fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1_024)
}
