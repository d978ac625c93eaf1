//! From a launch to its process: claim, look, start, answer.

use super::{Inner, Pause, Running, deliver};
use crate::{
    clock,
    core::{Claiming, Next, Outcome, Term},
    errors::{Error, server},
    names::{launch_key, session_token},
    store::{self, Created},
    words::{Claim, End, LAUNCH_LABEL, LaunchAsk, LaunchReply, NotStarted, Stored, cut, digest_of, public},
};
use async_nats::{Message, jetstream::kv};
use bytes::Bytes;
use futures_util::StreamExt;
use ostler::{Handle, LaunchError, LaunchRequest, Session};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;

/// The group of all workers of a pool: one of those that listen gets each launch.
const GROUP: &str = "workers";

/// Listens while there is a free slot and the lease holds; who does not listen is not asked.
pub(super) async fn take(inner: Arc<Inner>) {
    let mut ending = inner.ending.subscribe();
    let mut pause = Pause::new();
    loop {
        tokio::select! {
            taken = listen(&inner) => if taken.is_err() { pause.wait().await } else { pause = Pause::new() },
            () = async { ending.wait_for(|ending| *ending).await.map(drop).unwrap_or_default() } => return,
        }
    }
}

/// Until all slots are taken, or the lease has ended.
async fn listen(inner: &Arc<Inner>) -> Result<(), Error> {
    let Ok(mut slot) = inner.slots.clone().acquire_owned().await else { return Err(Error::Closed) };
    while inner.held().is_none() {
        inner.leased.notified().await;
    }
    let subscribed = inner.store.client.queue_subscribe(inner.options.pool.launches(), GROUP.into()).await;
    let mut launches = subscribed.map_err(server("listen for launches"))?;
    // The server knows of it before anybody is told.
    inner.store.client.flush().await.map_err(server("listen for launches"))?;
    inner.listening.send_replace(true);
    loop {
        let message = tokio::select! {
            message = launches.next() => message,
            () = lapse(inner) => None,
        };
        let Some(message) = message else { break };
        tokio::spawn(launch(inner.clone(), message, slot));
        match inner.slots.clone().try_acquire_owned() {
            Ok(next) => slot = next,
            Err(_) => break,
        }
    }
    inner.listening.send_replace(false);
    // What had come before the server heard of it is for another worker.
    launches.unsubscribe().await.map_err(server("stop listening"))?;
    while let Some(message) = launches.next().await {
        answer(inner, message.reply, &LaunchReply::Busy).await;
    }
    Ok(())
}

/// Until the lease has ended.
async fn lapse(inner: &Inner) {
    loop {
        let left = super::lock(&inner.lease).left_ms(clock::now_ms());
        if left == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(left)).await;
    }
}

async fn launch(inner: Arc<Inner>, message: Message, slot: OwnedSemaphorePermit) {
    let reply = match serde_json::from_slice::<LaunchAsk>(&message.payload) {
        Ok(ask) => attempt(&inner, ask, slot).await,
        Err(error) => {
            LaunchReply::Refused { error: failed(&inner, format!("the request can't be read: {error}")) }
        }
    };
    answer(&inner, message.reply, &reply).await;
}

/// One that nobody waits for is answered by what the store says.
pub(super) async fn answer(inner: &Inner, to: Option<async_nats::Subject>, reply: &impl serde::Serialize) {
    let (Some(to), Ok(reply)) = (to, serde_json::to_vec(reply)) else { return };
    let _ = inner.store.client.publish(to, Bytes::from(reply)).await;
}

async fn attempt(inner: &Arc<Inner>, ask: LaunchAsk, slot: OwnedSemaphorePermit) -> LaunchReply {
    let LaunchAsk { launch, call, mut request } = ask;
    let session = request.session_id.clone();
    let key = launch_key(session.as_str(), &launch);
    if let Err(error) = request.validate() {
        return LaunchReply::Refused { error: NotStarted::Launch(Box::new(error)) };
    }
    if inner.running().contains_key(&key) {
        return LaunchReply::Known;
    }
    let claim = Claim {
        session: session.clone(),
        launch: launch.clone(),
        worker: inner.options.name.clone(),
        mark: inner.mark(),
        call,
        at: clock::stamp(),
        digest: digest_of(&request),
        command: cut(&request.display()),
        labels: request.labels.clone(),
        record: None,
    };
    // To the end of this: what runs by then is known as that.
    let _attempt = inner.attempts(&claim.mark);
    // What is begun in one term is never finished in another, however often it is looked.
    let term = inner.held();
    let (next, revision) = claim_it(inner, &key, &claim, term).await;
    match next {
        Next::Start => {}
        Next::GiveUp => return give_up(inner, key, claim),
        Next::Refuse => return LaunchReply::Busy,
        Next::Claim | Next::Again | Next::Leave => return LaunchReply::Known,
    }
    let opened = deliver::session(inner, &session).await;
    // After the claim, and when the session is open here: whoever ends it sees the claim and is heard, or it is seen here that it has ended. Claims are removed when there is
    // a result: whoever claims after that finds the result.
    let token = session_token(session.as_str());
    let (has_ended, has_result) =
        tokio::join!(is_there(&inner.store.sessions, &token), is_there(&inner.store.results, &key));
    if has_ended || has_result {
        deliver::take_back(inner, &key, revision).await;
        return if has_result { LaunchReply::Known } else { LaunchReply::SessionEnded };
    }
    if inner.held() != term {
        return give_up(inner, key, claim);
    }
    let running = Running {
        claim: claim.clone(),
        term,
        handle: None,
        revoked: false,
        held: false,
        cancelled: false,
        orders: VecDeque::new(),
        progress: Arc::default(),
        slot: Some(slot),
    };
    inner.running().insert(key.clone(), running);
    request.labels.insert(LAUNCH_LABEL.to_owned(), launch.to_string());
    match start(inner, opened, request).await {
        Ok(handle) => {
            started(inner, &key, &handle, term);
            let mut claim = claim;
            let (record, _) = public(handle.record());
            let record = Box::new(record);
            claim.record = Some(record.clone());
            tokio::spawn(note_start(inner.clone(), key, claim));
            LaunchReply::Launched { worker: inner.options.name.clone(), record }
        }
        Err(error) => {
            inner.running().remove(&key);
            if let NotStarted::Launch(_) = &error {
                let refused = Stored {
                    session,
                    launch,
                    worker: inner.options.name.clone(),
                    by_sentinel: false,
                    at: clock::stamp(),
                    digest: claim.digest.clone(),
                    call: claim.call.clone(),
                    end: End::Refused { error: error.clone() },
                    held_ms: None,
                    taken: None,
                    first: None,
                };
                // Until it is known to be stored, who asks by the launch id finds the claim.
                deliver::store(inner, &key, &refused).await;
            }
            // Nothing ran. What only this worker could not do can be asked for again.
            deliver::take_back(inner, &key, revision).await;
            LaunchReply::Refused { error }
        }
    }
}

fn failed(inner: &Inner, why: String) -> NotStarted {
    NotStarted::Worker { worker: inner.options.name.clone(), why }
}

/// Claims it, however often that has to be asked: who has claimed and does not know it must find out. With the revision of the claim, if it is ours.
async fn claim_it(inner: &Inner, key: &str, claim: &Claim, term: Option<Term>) -> (Next, u64) {
    let (mut claiming, mut next) = Claiming::Asked.begin(!inner.is_ending(), term);
    let (mut pause, mut revision) = (Pause::new(), 0);
    while matches!(next, Next::Claim | Next::Again) {
        if next == Next::Again {
            pause.wait().await;
        }
        let outcome;
        (outcome, revision) = create(inner, key, claim).await;
        (claiming, next) = claiming.heard(outcome, inner.held());
    }
    (next, revision)
}

async fn create(inner: &Inner, key: &str, claim: &Claim) -> (Outcome, u64) {
    match store::create(&inner.store.claims, key, claim).await {
        Created::New(revision) => (Outcome::Created, revision),
        Created::Exists => match store::read::<Claim>(&inner.store.claims, key).await {
            Ok(Some((there, revision))) if there.mark == claim.mark => (Outcome::Own, revision),
            // Somebody else's; or it was there, and is removed: it has ended.
            Ok(_) | Err(Error::Damaged { .. }) => (Outcome::Foreign, 0),
            Err(_) => (Outcome::Unknown, 0),
        },
        Created::Unknown(_) => (Outcome::Unknown, 0),
    }
}

/// Whether there is something under this key, as often as that has to be asked: a launch whose session may have ended is not started for want of an answer.
async fn is_there(bucket: &kv::Store, key: &str) -> bool {
    let mut pause = Pause::new();
    loop {
        match store::read::<serde::de::IgnoredAny>(bucket, key).await {
            Ok(found) => return found.is_some(),
            Err(Error::Damaged { .. }) => return true,
            Err(_) => pause.wait().await,
        }
    }
}

async fn start(
    inner: &Arc<Inner>,
    session: Result<Session, ostler::Error>,
    request: LaunchRequest,
) -> Result<Handle, NotStarted> {
    let refused = |error: ostler::Error| match error {
        ostler::Error::Launch(
            error @ (LaunchError::LimitReached { .. } | LaunchError::SessionUnknown { .. }),
        ) => failed(inner, error.to_string()),
        ostler::Error::Launch(error) => NotStarted::Launch(Box::new(error)),
        other => failed(inner, other.to_string()),
    };
    session.map_err(refused)?.launch_request(request).await.map_err(refused)
}

/// It is claimed, and may not be started.
fn give_up(inner: &Arc<Inner>, key: String, claim: Claim) -> LaunchReply {
    tokio::spawn(deliver::give_up(inner.clone(), key, claim));
    LaunchReply::Known
}

/// It runs. If its term is over by now, it may not.
fn started(inner: &Inner, key: &str, handle: &Handle, term: Option<Term>) {
    let late = inner.held() != term || term.is_none();
    let mut running = inner.running();
    // It is not there any more if it has ended, and its result is stored.
    if let Some(running) = running.get_mut(key) {
        running.handle = Some(handle.clone());
        running.revoked = late;
    }
    drop(running);
    if late {
        super::beat::revoke(inner, handle.clone());
    }
}

/// Who asks by the launch id, and who lists, finds the record.
async fn note_start(inner: Arc<Inner>, key: String, claim: Claim) {
    let mut pause = Pause::new();
    // One that ends at once needs no note.
    pause.wait().await;
    // Until it is noted, or has ended.
    while inner.running().get(&key).is_some_and(|running| running.slot.is_some()) {
        match store::read::<Claim>(&inner.store.claims, &key).await {
            Ok(Some((there, revision))) if there.mark == claim.mark && there.record.is_none() => {
                // The one who removes it may have been first: then this is refused.
                store::replace(&inner.store.claims, &key, &claim, revision).await;
            }
            Ok(_) => return,
            Err(_) => {}
        }
        pause.wait().await;
    }
}
