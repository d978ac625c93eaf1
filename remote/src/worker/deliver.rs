//! From the inbox of a session, where the journal keeps it, to the store: the result, its output, and then that it is done.

use super::{Inner, Pause};
use crate::{
    clock,
    errors::Error,
    names::{LaunchId, launch_key},
    store::{self, Created},
    words::{
        Claim, End, Files, LAUNCH_LABEL, Progress, Stored, object, progress_key, public, renamed, text_object,
    },
};
use ostler::{Filter, OutputFile, Record, Session, SessionId, TOOL_PROGRESS};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How many results of a session are on their way to the store at a time: what one takes is a few answers of the server.
const AT_ONCE: usize = 32;
/// Longest wait for the next result, before it is asked for again.
const WAIT: Duration = Duration::from_secs(3_600);
/// How long somebody who asked by the handle has for taking the result, before it comes to whoever reads the inbox.
const HELD: Duration = Duration::from_secs(5);
/// How often an output that can't be stored is tried. After that it is on the worker only.
const OUTPUT_ATTEMPTS: u32 = 8;

/// The session of this id, whose results are delivered from now on.
pub(super) async fn session(inner: &Arc<Inner>, id: &SessionId) -> Result<Session, ostler::Error> {
    let is_open = || super::lock(&inner.sessions).contains(id);
    if !is_open() {
        let _one = inner.opening.lock().await;
        if !is_open() {
            inner.ostler.open_session_as(id.clone()).await?;
            deliver_all(inner, id);
        }
    }
    Ok(inner.ostler.session(id.clone()))
}

/// Delivers what stands in the inbox of a session that is open, or has ended with something in it, and what comes, until it has ended and everything is delivered.
pub(super) fn deliver_all(inner: &Arc<Inner>, id: &SessionId) {
    if !super::lock(&inner.sessions).insert(id.clone()) {
        return;
    }
    let (inner, id) = (inner.clone(), id.clone());
    tokio::spawn(async move {
        tokio::spawn(progress(inner.clone(), id.clone()));
        // What is being delivered is not to come again meanwhile; if this worker dies it does.
        let inbox = inner.ostler.session(id.clone()).inbox().redeliver_after(Duration::MAX);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let began = Instant::now();
            let Ok(entries) = inbox.read_within(Filter::results(), AT_ONCE, WAIT).await else { break };
            // Before its time: the session has ended, and nothing more comes. What is on its way is acknowledged all the same.
            if entries.is_empty() && began.elapsed() < WAIT {
                break;
            }
            for entry in entries {
                let Ok(permit) = room.clone().acquire_owned().await else { return };
                let (inner, inbox) = (inner.clone(), inbox.clone());
                tokio::spawn(async move {
                    if let Some(record) = entry.record() {
                        deliver(&inner, record).await;
                    }
                    // A graph that has ended keeps it for its next life.
                    let _ = inbox.acknowledge_these(&[entry.sequence]).await;
                    drop(permit);
                });
            }
        }
        super::lock(&inner.sessions).remove(&id);
    });
}

/// The newest progress of each command of a session, as it comes, until the session has ended.
async fn progress(inner: Arc<Inner>, id: SessionId) {
    let inbox = inner.ostler.session(id).inbox();
    loop {
        let began = Instant::now();
        let Ok(entries) = inbox.receive(Filter::kind(TOOL_PROGRESS), AT_ONCE, WAIT).await else { return };
        if entries.is_empty() && began.elapsed() < WAIT {
            return;
        }
        for record in entries.iter().filter_map(|entry| entry.record()) {
            note_progress(&inner, record).await;
        }
    }
}

/// One that is not stored is followed by another, or by the result.
async fn note_progress(inner: &Inner, record: &Record) {
    let Some(launch) = launch_of(record) else { return };
    let key = launch_key(record.session_id.as_str(), &launch);
    let of_it = inner.running().get(&key).map(|running| running.progress.clone());
    let Some(of_it) = of_it else { return };
    let mut told = of_it.lock().await;
    if told.ended {
        return;
    }
    told.some = true;
    let (record, _) = public(record);
    let progress = Progress { launch, at: clock::stamp(), record: Box::new(record) };
    store::put(&inner.store.results, &progress_key(&key), &progress).await;
}

/// The launch of a command.
pub(super) fn launch_of(record: &Record) -> Option<LaunchId> {
    record.labels.get(LAUNCH_LABEL)?.parse().ok()
}

async fn deliver(inner: &Arc<Inner>, record: &Record) {
    let Some(launch) = launch_of(record) else { return };
    let key = launch_key(record.session_id.as_str(), &launch);
    let claim = claim(inner, &key).await;
    let mut files = Files::of(record, inner.options.output_max_bytes);
    let held = inner.running().get(&key).is_some_and(|running| running.held);
    let (public, whole) = public(record);
    if !whole {
        let json = serde_json::to_vec(&renamed(record)).unwrap_or_default();
        put(inner, &text_object(&key), &mut std::io::Cursor::new(json)).await;
        // The text that would have been the output is not in the message.
        files.in_text &= files.combined == 0;
    }
    let (digest, call) = claim.map(|claim| (claim.digest, claim.call)).unwrap_or_default();
    let stored = Stored {
        session: record.session_id.clone(),
        launch,
        worker: inner.options.name.clone(),
        by_sentinel: false,
        at: clock::stamp(),
        digest,
        call,
        end: End::Result { record: Box::new(public), text: !whole, files },
        held_ms: held.then(|| u64::try_from(HELD.as_millis()).unwrap_or(u64::MAX)),
        taken: None,
        first: None,
    };
    let told = inner.running().get(&key).map(|running| running.progress.clone());
    let had_progress = match told {
        Some(told) => {
            let mut told = told.lock().await;
            told.ended = true;
            told.some
        }
        // An earlier life has launched it.
        None => true,
    };
    let ours = store(inner, &key, &stored).await;
    if had_progress {
        store::withdraw(&inner.store.results, &progress_key(&key)).await;
    }
    if let Some(running) = inner.running().get_mut(&key) {
        (running.handle, running.slot) = (None, None);
    }
    if ours {
        let paths = [
            (OutputFile::Combined, &record.output_path),
            (OutputFile::Stdout, &record.stdout_path),
            (OutputFile::Stderr, &record.stderr_path),
        ];
        for (which, path) in paths.into_iter().filter(|(which, _)| files.is_object(*which)) {
            upload(inner, &object(&key, which), path).await;
        }
    }
    // Last: as long as the claim is there, a next life of this worker looks whether something is to be done for it.
    unclaim(inner, &key).await;
    super::lock(&inner.recovered).remove(&key);
    inner.running().remove(&key);
}

/// Removes a claim whose result is there, however often that has to be asked: what is not removed is looked at for ever.
pub(super) async fn unclaim(inner: &Inner, key: &str) {
    let mut pause = Pause::new();
    while store::remove(&inner.store.claims, key).await.is_err() {
        pause.wait().await;
    }
}

/// Removes a claim of what has no result, however often that has to be asked: it is not run, and can be asked for again. What another worker has claimed by the time
/// at which one of these removals lands is not touched, nor what somebody answers for.
pub(super) async fn take_back(inner: &Inner, key: &str, revision: u64) {
    let mut pause = Pause::new();
    while store::remove_up_to(&inner.store.claims, key, revision).await.is_err() {
        pause.wait().await;
    }
}

/// Whether a claim is still as it was read at this revision, and stays until it has a result: it gets another revision, and is not
/// [taken back](take_back) any more. Whoever says `lost` of it asks this first: else it could be taken back and claimed by another worker before that is stored.
pub(super) async fn stays(inner: &Inner, key: &str, claim: &Claim, revision: u64) -> bool {
    matches!(store::replace(&inner.store.claims, key, claim, revision).await, Created::New(_))
}

/// The claim of a launch, as this worker knows it, or as it stands in the store.
async fn claim(inner: &Inner, key: &str) -> Option<Claim> {
    if let Some(running) = inner.running().get(key) {
        return Some(running.claim.clone());
    }
    store::read(&inner.store.claims, key).await.ok().flatten().map(|(claim, _)| claim)
}

/// Stores how a launch ended, however often that has to be asked. False: somebody else was first, and ours is evidence, on this machine only.
pub(super) async fn store(inner: &Inner, key: &str, stored: &Stored) -> bool {
    let mut pause = Pause::new();
    loop {
        match inner.store.replace_result(key, stored, 0).await {
            Created::New(_) => return true,
            Created::Exists => match store::read::<Stored>(&inner.store.results, key).await {
                Ok(Some((there, _))) => return there.worker == stored.worker && !there.by_sentinel,
                // It is as old as results are kept; or nothing that is ours.
                Ok(None) | Err(Error::Damaged { .. }) => return false,
                Err(_) => {}
            },
            Created::Unknown(_) => {}
        }
        pause.wait().await;
    }
}

/// One that is claimed by this worker, and never ran.
pub(super) async fn give_up(inner: Arc<Inner>, key: String, claim: Claim) {
    lost(&inner, &key, &claim, false).await;
}

/// Answers a claim with `lost`.
pub(super) async fn lost(inner: &Inner, key: &str, claim: &Claim, by_sentinel: bool) {
    let record = claim.lost();
    let stored = Stored {
        session: claim.session.clone(),
        launch: claim.launch.clone(),
        worker: claim.worker.clone(),
        by_sentinel,
        at: clock::stamp(),
        digest: claim.digest.clone(),
        call: claim.call.clone(),
        end: End::Result { record: Box::new(record), text: false, files: Files::default() },
        held_ms: None,
        taken: None,
        first: None,
    };
    store(inner, key, &stored).await;
    unclaim(inner, key).await;
}

/// A file of output into the store of objects; one that was removed meanwhile is not there for anybody.
async fn upload(inner: &Inner, name: &str, path: &Path) {
    let path: PathBuf = path.to_owned();
    if let Ok(mut file) = tokio::fs::File::open(path).await {
        put(inner, name, &mut file).await;
    }
}

async fn put(
    inner: &Inner,
    name: &str,
    from: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncSeek + Unpin),
) {
    use tokio::io::AsyncSeekExt;
    let mut pause = Pause::new();
    for _ in 0..OUTPUT_ATTEMPTS {
        if from.rewind().await.is_err() || inner.store.output.put(name, from).await.is_ok() {
            return;
        }
        pause.wait().await;
    }
}
