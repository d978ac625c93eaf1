//! What hosts ask of a worker about what it runs: output, status, cancel, the end of a session.

use super::{Inner, launches::answer};
use crate::{
    errors::{Error, server},
    store,
    words::{AllAsk, AllReply, Order, PAGE_HEAD, PageHead, WorkerAsk, WorkerReply, public},
};
use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use ostler::{CallError, CommandId, Handle, ReadRequest, Screen, SessionId, Tally};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How many asks are worked on at a time. Each holds little; a read that waits holds no thread.
const AT_ONCE: usize = 1_024;
/// Longest page that travels in one message, which may have 1 MiB with what names it.
pub(crate) const PAGE_MAX_BYTES: u64 = 512 << 10;
/// Longest wait of one read; a host that waits longer asks again.
pub(crate) const READ_WAIT: Duration = Duration::from_secs(20);

/// Listens where this worker alone is asked, and where all are. They are told before the first heartbeat says that it is here.
pub(super) async fn listen(inner: &Inner) -> Result<(Subscriber, Subscriber), Error> {
    let pool = &inner.options.pool;
    let (client, what) = (&inner.store.client, "listen");
    let own = client.subscribe(pool.worker(&inner.options.name)).await.map_err(server(what))?;
    let all = client.subscribe(pool.everybody()).await.map_err(server(what))?;
    client.flush().await.map_err(server(what))?;
    Ok((own, all))
}

pub(super) async fn serve(inner: Arc<Inner>, (mut own, mut all): (Subscriber, Subscriber)) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        tokio::select! {
            Some(message) = own.next() => {
                let inner = inner.clone();
                tokio::spawn(async move { asked(&inner, message).await; drop(permit) });
            }
            Some(message) = all.next() => {
                let inner = inner.clone();
                tokio::spawn(async move { all_asked(&inner, message).await; drop(permit) });
            }
            else => return,
        }
    }
}

async fn asked(inner: &Arc<Inner>, message: Message) {
    let reply = match serde_json::from_slice::<WorkerAsk>(&message.payload) {
        Ok(WorkerAsk::Read { command_id, request }) => {
            return read(inner, message, command_id, request).await;
        }
        Ok(WorkerAsk::Cancel { key, hold, now }) => {
            with(inner, &key, async |handle| {
                // A second one means now only if it says so: one whose answer was lost is sent again.
                if inner.is_cancelled(&key, hold) || now {
                    tokio::spawn(cancel(handle, now));
                }
                Ok(WorkerReply::Stopping)
            })
            .await
        }
        Ok(WorkerAsk::Status { key }) => {
            with(inner, &key, async |handle| {
                let (record, _) = public(&*handle.status().await?);
                Ok(WorkerReply::Status { record: Box::new(record) })
            })
            .await
        }
        Ok(WorkerAsk::WaitFor { key, conditions, timeout_ms }) => {
            with(inner, &key, async |handle| {
                let waited =
                    handle.wait_for(conditions, Duration::from_millis(timeout_ms).min(READ_WAIT)).await?;
                let record = Box::new(public(&waited.record).0);
                let (end, unseen, recording_stopped) = (waited.end, waited.unseen, waited.recording_stopped);
                Ok(WorkerReply::Waited { end, record, unseen, recording_stopped })
            })
            .await
        }
        Ok(WorkerAsk::Write { key, id, bytes, wait_ms }) => {
            with(inner, &key, async |handle| {
                // What is not taken in time stays queued, and its id is known.
                let time = Duration::from_millis(wait_ms).min(READ_WAIT);
                let written = handle.write_once_within(id, bytes.as_bytes(), time).await?;
                let (taken, queued, dropped) = (written.taken, written.queued, written.dropped);
                Ok(WorkerReply::Written { taken, queued, dropped })
            })
            .await
        }
        Ok(WorkerAsk::Screen { key }) => {
            with(inner, &key, async |handle| {
                // It is made from megabytes.
                match tokio::task::spawn_blocking(move || handle.screen()).await {
                    Ok(screen) => screen.map(screen_reply),
                    Err(_) => Ok(WorkerReply::Failed { why: "the screen could not be made".to_owned() }),
                }
            })
            .await
        }
        Ok(WorkerAsk::Obey { key, id, order }) => match inner.order(&key, id) {
            Some(answer) => {
                let mut answer = answer.lock().await;
                match &*answer {
                    Some(before) => before.clone(),
                    None => answer.insert(obey(inner, &key, order).await).clone(),
                }
            }
            None => WorkerReply::NotHere,
        },
        Err(error) => WorkerReply::Failed { why: format!("it can't be read: {error}") },
    };
    answer(inner, message.reply, &reply).await;
}

async fn obey(inner: &Inner, key: &str, order: Order) -> WorkerReply {
    with(inner, key, async |handle| {
        match order {
            Order::CloseStdin => handle.close_stdin().await?,
            Order::Resize { rows, columns } => handle.resize(rows, columns).await?,
            Order::Signal { signal } => handle.signal(signal).await?,
            Order::Pause => handle.pause().await?,
            Order::Resume => handle.resume().await?,
        }
        Ok(WorkerReply::Done)
    })
    .await
}

/// Does it with the handle of a launch that runs here.
async fn with(
    inner: &Inner,
    key: &str,
    ask: impl AsyncFnOnce(Handle) -> Result<WorkerReply, ostler::Error>,
) -> WorkerReply {
    let Some(handle) = inner.handle_of(key) else { return WorkerReply::NotHere };
    match ask(handle).await {
        Ok(reply) => reply,
        Err(ostler::Error::Call(CallError::HandleEnded { .. } | CallError::HandleForgotten { .. })) => {
            WorkerReply::NotHere
        }
        Err(ostler::Error::Call(error)) => {
            let launch = inner.running().get(key).map(|running| running.claim.launch.handle_id());
            WorkerReply::Refused {
                error: match launch {
                    Some(launch) => error.about(launch),
                    None => error,
                },
            }
        }
        Err(error) => WorkerReply::Failed { why: error.to_string() },
    }
}

/// One of a thousand rows and columns can be too long for a message.
fn screen_reply(screen: Screen) -> WorkerReply {
    let length: usize = screen.rows.iter().map(String::len).sum();
    match length as u64 > PAGE_MAX_BYTES {
        true => WorkerReply::Failed {
            why: format!("its screen of {length} bytes is too long for a message; read its output"),
        },
        false => WorkerReply::Screen { screen },
    }
}

/// A second one means now.
async fn cancel(handle: Handle, now: bool) {
    let first = handle.cancel_and_notify().begin();
    if now {
        let _ = handle.cancel_and_notify().await;
    }
    let _ = first.await;
}

async fn read(inner: &Inner, message: Message, command_id: CommandId, mut request: ReadRequest) {
    let Some(to) = message.reply else { return };
    request.length = request.length.min(PAGE_MAX_BYTES);
    let longest = u64::try_from(READ_WAIT.as_millis()).unwrap_or(u64::MAX);
    request.wait_ms = request.wait_ms.map(|ms| ms.min(longest));
    let failed = |why: String| WorkerReply::Failed { why };
    let page = match inner.ostler.read_command(command_id).request(request).await {
        Ok(page) => page,
        Err(error) => return answer(inner, Some(to), &failed(error.to_string())).await,
    };
    if page.content.len() as u64 > PAGE_MAX_BYTES + PAGE_MAX_BYTES / 2 {
        let why = format!(
            "a line of {} bytes is too long for a message; read it in the raw view",
            page.content.len()
        );
        return answer(inner, Some(to), &failed(why)).await;
    }
    let Ok(head) = serde_json::to_string(&PageHead::of(&page)) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(PAGE_HEAD, head.as_str());
    let _ = inner.store.client.publish_with_headers(to, headers, Bytes::from(page.content)).await;
}

async fn all_asked(inner: &Arc<Inner>, message: Message) {
    let worker = inner.options.name.clone();
    let reply = match serde_json::from_slice::<AllAsk>(&message.payload) {
        Ok(AllAsk::EndSession { session }) => match end_session(inner, &session).await {
            Ok(tally) => AllReply::Ended { worker, tally },
            Err(error) => AllReply::Failed { worker, why: error.to_string() },
        },
        Err(error) => AllReply::Failed { worker, why: format!("it can't be read: {error}") },
    };
    answer(inner, message.reply, &reply).await;
}

async fn end_session(inner: &Inner, session: &SessionId) -> Result<Tally, ostler::Error> {
    if !super::lock(&inner.sessions).contains(session) {
        return Ok(Tally::default());
    }
    match inner.ostler.session(session.clone()).end().await {
        Err(ostler::Error::Call(CallError::SessionClosed { .. } | CallError::SessionUnknown { .. })) => {
            Ok(Tally::default())
        }
        ended => ended,
    }
}

/// Ends the sessions of which the store says that they have ended: those whose end this worker has not heard of, because it was cut off or had not
/// begun.
pub(super) async fn follow_ends(inner: Arc<Inner>) {
    let interval = (inner.options.lease / 4).max(Duration::from_millis(250));
    loop {
        tokio::time::sleep(interval).await;
        let open: Vec<SessionId> = super::lock(&inner.sessions).iter().cloned().collect();
        if open.is_empty() {
            continue;
        }
        let Ok(ended) = store::list::<SessionId>(&inner.store.sessions, ">").await else { continue };
        for (session, _) in ended.into_iter().filter(|(session, _)| open.contains(session)) {
            let inner = inner.clone();
            tokio::spawn(async move { end_session(&inner, &session).await.map(drop) });
        }
    }
}
