//! A launch: sent until a worker has it, and never by two.

use super::{Handle, Session};
use crate::{
    connect::ANSWER_TIME,
    errors::Error,
    names::LaunchId,
    store,
    words::{Claim, End, LaunchAsk, LaunchReply, NotStarted, Stored, digest_of},
    worker::Pause,
};
use async_nats::client::{Request, RequestErrorKind};
use bytes::Bytes;
use ostler::{LaunchRequest, Record};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a launch waits for a free slot by default.
pub(super) const LAUNCH_TIME: Duration = Duration::from_secs(10);
/// How long a worker takes at most to start a command, and a little.
const START_TIME: Duration = Duration::from_secs(15);

/// What a message has beside its text.
const HEAD_BYTES: usize = 1 << 10;

/// What is known of a launch.
pub(super) enum Known {
    /// It runs, or is about to.
    Claimed(Box<Claim>),
    /// It has ended.
    Ended(Box<Stored>),
    /// Nobody has it.
    NotClaimed,
}

pub(super) async fn launch(
    session: Session,
    request: LaunchRequest,
    launch: LaunchId,
    within: Duration,
) -> Result<Handle, Error> {
    request.validate()?;
    let (key, digest) = (request.launch_key.clone(), digest_of(&request));
    let call = nuid::next().to_string();
    let ask = serde_json::to_vec(&LaunchAsk { launch: launch.clone(), call: call.clone(), request });
    let ask = Bytes::from(
        ask.map_err(|error| Error::Damaged { what: "the request".into(), why: error.to_string() })?,
    );
    let room = session.store().client.max_payload().saturating_sub(HEAD_BYTES);
    if ask.len() > room {
        let why = format!(
            "it has {} bytes, and a message of this server {room}; hand long input over as a file",
            ask.len()
        );
        return Err(Error::Option { option: "request", why });
    }
    let (until, mut pause, mut unanswered) = (Instant::now().checked_add(within), Pause::new(), false);
    loop {
        let sent = send(&session, ask.clone()).await;
        // Whoever has it may have no room for another one, or be gone.
        let is_known = match &sent {
            Ok(LaunchReply::Known) | Err(Some(_)) => true,
            Ok(LaunchReply::Busy) | Err(None) => {
                matches!(look(&session, &launch).await, Ok(Known::Claimed(_) | Known::Ended(_)))
            }
            _ => false,
        };
        let why = match sent {
            // Its answer was lost, or it was claimed before: the store knows.
            _ if is_known => {
                let found = found(&session, &launch, Instant::now() + START_TIME).await;
                match found {
                    Ok(handle) if !same(&handle, &digest) => {
                        return Err(match key {
                            Some(key) => Error::KeyReused { key },
                            None => Error::LaunchReused { launch },
                        });
                    }
                    Ok(handle) => return Ok(handle.of_call(&call)),
                    Err(Error::NotClaimed { .. }) => {
                        unanswered = true;
                        "no worker has answered".to_owned()
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(LaunchReply::Launched { worker, record }) => {
                return Ok(Handle::new(session, launch, worker, *record, None)
                    .with_call(&call)
                    .of_call(&call));
            }
            Ok(LaunchReply::Refused { error }) => return Err(not_started(error)),
            Ok(LaunchReply::SessionEnded) => {
                return Err(Error::SessionEnded { session: session.id().clone() });
            }
            Ok(LaunchReply::Busy) => "every worker that has answered is busy".to_owned(),
            Err(None) => "none listens".to_owned(),
            // Looked up above.
            Ok(LaunchReply::Known) | Err(Some(_)) => "no worker has answered".to_owned(),
        };
        if until.is_some_and(|until| Instant::now() >= until) {
            if unanswered {
                // One that stands still may find it when it goes on: only under this id it is the same.
                return Err(Error::NotClaimed { launch });
            }
            return Err(Error::NoWorker {
                pool: session.pool().clone(),
                within,
                why: overview(&session, why).await,
            });
        }
        pause.wait().await;
    }
}

fn same(handle: &Handle, digest: &str) -> bool {
    handle.digest().is_empty() || handle.digest() == digest
}

fn not_started(error: NotStarted) -> Error {
    match error {
        NotStarted::Launch(error) => Error::Launch(*error),
        NotStarted::Worker { worker, why } => Error::Worker { worker, why },
    }
}

/// An error: none if nobody listens, else what was lost.
async fn send(session: &Session, ask: Bytes) -> Result<LaunchReply, Option<String>> {
    // A worker that does not answer may stand still, and has claimed nothing then: another one is asked.
    let request = Request::new().payload(ask).timeout(Some(ANSWER_TIME));
    let sent = session.store().client.send_request(session.pool().launches(), request);
    // Without a connection not even the sending comes back.
    let Ok(sent) = timeout(ANSWER_TIME + ANSWER_TIME, sent).await else {
        return Err(Some("it could not be sent".to_owned()));
    };
    match sent {
        Ok(message) => serde_json::from_slice(&message.payload).map_err(|error| Some(error.to_string())),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(None),
        Err(error) => Err(Some(error.to_string())),
    }
}

/// What workers there are, for who got none.
async fn overview(session: &Session, why: String) -> String {
    match super::workers(session.store()).await {
        Ok(workers) if workers.is_empty() => format!("{why}; no worker of it was heard of in the last day"),
        Ok(workers) => {
            let (slots, free) =
                workers.iter().fold((0, 0), |(slots, free), one| (slots + one.slots, free + one.free));
            format!("{why}; {} known, {free} of {slots} slots free", workers.len())
        }
        Err(_) => why,
    }
}

/// Claims first: one that is removed has a result, which is found by what is read after it.
pub(super) async fn look(session: &Session, launch: &LaunchId) -> Result<Known, Error> {
    let key = session.key(launch);
    let claim = store::read::<Claim>(&session.store().claims, &key).await?;
    match claim {
        // Its worker says before long that it runs; or it has a result, and whoever removes its claim is about to.
        Some((claim, _)) if claim.record.is_some() => Ok(Known::Claimed(Box::new(claim))),
        claim => Ok(match (store::read::<Stored>(&session.store().results, &key).await?, claim) {
            (Some((stored, _)), _) => Known::Ended(Box::new(stored)),
            (None, Some((claim, _))) => Known::Claimed(Box::new(claim)),
            (None, None) => Known::NotClaimed,
        }),
    }
}

/// The handle of a launch. One that is claimed is started, or refused, within a few seconds.
pub(super) async fn found(session: &Session, launch: &LaunchId, until: Instant) -> Result<Handle, Error> {
    let mut pause = Pause::new();
    loop {
        match look(session, launch).await {
            Ok(Known::Claimed(claim)) => {
                if let Some(record) = &claim.record {
                    let record: Record = (**record).clone();
                    return Ok(Handle::new(
                        session.clone(),
                        launch.clone(),
                        claim.worker.clone(),
                        record,
                        None,
                    )
                    .with_digest(&claim.digest)
                    .with_call(&claim.call));
                }
                if Instant::now() >= until {
                    // Its worker may be gone: then it is lost before long.
                    let why =
                        format!("worker {} has claimed it, and has not said that it runs", claim.worker);
                    return Err(Error::Unknown { launch: launch.clone(), why });
                }
            }
            Ok(Known::Ended(stored)) => {
                let (digest, call) = (stored.digest.clone(), stored.call.clone());
                return match stored.end.clone() {
                    End::Refused { error } => Err(not_started(error)),
                    End::Result { record, .. } => {
                        let worker = stored.worker.clone();
                        Ok(Handle::new(session.clone(), launch.clone(), worker, *record, Some(*stored))
                            .with_digest(&digest)
                            .with_call(&call))
                    }
                };
            }
            Ok(Known::NotClaimed) => return Err(Error::NotClaimed { launch: launch.clone() }),
            Err(error) if Instant::now() + ANSWER_TIME >= until => {
                return Err(Error::Unknown { launch: launch.clone(), why: error.to_string() });
            }
            Err(_) => {}
        }
        pause.wait().await;
    }
}
