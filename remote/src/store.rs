//! The buckets of a pool: what the engine keeps, and how it is written so that one of many wins.
//!
//! | bucket `ostler_{pool}_…` | key | value | kept |
//! |---|---|---|---|
//! | `claims` | session, launch | who runs it | until its result is there |
//! | `results` | session, launch | how it ended; read by the session's inbox, a durable consumer | as long as [`Keep`] says |
//! | `workers` | worker | its last heartbeat | a day after the last one |
//! | `sessions` | session | that it has ended; beside it, up to where it was read | as long as results |
//! | `output` (objects) | session, launch, file | the sealed output | as long as results |

use crate::{
    connect::ANSWER_TIME,
    errors::{Error, server},
    names::Pool,
    words::Stored,
};
use async_nats::{
    Client, HeaderMap,
    jetstream::{
        self, Message,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        context::PublishErrorKind,
        kv,
        message::PublishMessage,
        object_store,
        stream::{LastRawMessageErrorKind, PurgeError, PurgeResponse, Republish, Stream},
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, time::Duration};
use tokio::time::timeout;

/// How long results, and the output of ended commands, are kept: a week.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A worker that has not been heard of for so long is not listed any more; its claims were answered long ago.
const KEEP_WORKERS: Duration = Duration::from_secs(24 * 3_600);
/// How many keys one message of a listing's fetch brings at most.
const LIST_BATCH: usize = 256;
/// In errors.
const LIST: &str = "list a bucket";
/// How long a list waits for what was counted and does not come.
const LIST_WAIT: Duration = Duration::from_millis(200);

/// What a bucket is made with, by whoever comes first. A bucket that is there is taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keep {
    /// How long results and output are kept.
    pub time: Duration,
    /// On how many servers of a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Whoever runs the server says that it has `sync_interval: always`, which a client can't see. Only a warning depends on it.
    pub synced: bool,
}
impl Default for Keep {
    fn default() -> Keep {
        Keep { time: KEEP, replicas: 1, synced: false }
    }
}

/// What became of the creation of a key.
#[derive(Debug)]
pub(crate) enum Created {
    /// It is new, at this revision.
    New(u64),
    /// There was one.
    Exists,
    /// Nobody knows, or will know: it may be on its way.
    Unknown(String),
}

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) client: Client,
    js: jetstream::Context,
    pub(crate) pool: Pool,
    pub(crate) claims: kv::Store,
    pub(crate) results: kv::Store,
    pub(crate) workers: kv::Store,
    pub(crate) sessions: kv::Store,
    pub(crate) output: object_store::ObjectStore,
    /// What is acknowledged is on a disk, or on several servers, as far as anybody here knows.
    pub(crate) is_safe: bool,
}

impl Store {
    pub(crate) async fn open(client: Client, pool: Pool, keep: Keep) -> Result<Store, Error> {
        let js = crate::connect::jetstream(&client);
        let bucket = |of: &str, max_age: Duration| kv::Config {
            bucket: pool.bucket(of),
            history: 1,
            max_age,
            num_replicas: keep.replicas,
            ..kv::Config::default()
        };
        let mut of_results = bucket("results", keep.time);
        // Whoever waits for a result by its handle hears that it is there, without a consumer of its own.
        of_results.republish = Some(Republish {
            source: format!("$KV.{}.>", of_results.bucket),
            destination: format!("ostler.{pool}.done.>"),
            headers_only: true,
        });
        let results = kv_bucket(&js, of_results).await?;
        let replicas = results.stream.cached_info().config.num_replicas;
        let output = object_store::Config {
            bucket: pool.bucket("output"),
            max_age: keep.time,
            num_replicas: keep.replicas,
            ..object_store::Config::default()
        };
        let output = match js.get_object_store(&output.bucket).await {
            Ok(there) => there,
            Err(_) => js.create_object_store(output).await.map_err(server("make the bucket of output"))?,
        };
        Ok(Store {
            claims: kv_bucket(&js, bucket("claims", Duration::ZERO)).await?,
            workers: kv_bucket(&js, bucket("workers", KEEP_WORKERS)).await?,
            sessions: kv_bucket(&js, bucket("sessions", keep.time)).await?,
            client,
            js,
            pool,
            results,
            output,
            is_safe: keep.synced || replicas >= 3,
        })
    }

    /// Where it is told that the result of this key is there.
    pub(crate) fn done(&self, key: &str) -> String {
        format!("ostler.{}.done.{key}", self.pool)
    }
}

async fn kv_bucket(js: &jetstream::Context, config: kv::Config) -> Result<kv::Store, Error> {
    // Both can be done by several at a time: what is there already with the same settings is no error to the server.
    match js.get_key_value(&config.bucket).await {
        Ok(there) => Ok(there),
        Err(_) => js.create_key_value(config).await.map_err(server("make a bucket")),
    }
}

/// Writes a value where nothing is. Only one of all that try has [`Created::New`], ever; until the key is removed.
pub(crate) async fn create(bucket: &kv::Store, key: &str, value: &impl Serialize) -> Created {
    replace(bucket, key, value, 0).await
}

/// Writes a value in the place of that of this revision.
pub(crate) async fn replace(bucket: &kv::Store, key: &str, value: &impl Serialize, revision: u64) -> Created {
    let value = match serde_json::to_vec(value) {
        Ok(value) => Bytes::from(value),
        Err(error) => return Created::Unknown(error.to_string()),
    };
    // Without a connection not even the sending comes back.
    match timeout(ANSWER_TIME, bucket.update(key, value, revision)).await {
        Ok(Ok(revision)) => Created::New(revision),
        Ok(Err(error)) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Created::Exists,
        Ok(Err(error)) => Created::Unknown(error.to_string()),
        Err(_) => Created::Unknown("no answer".into()),
    }
}

impl Store {
    /// Writes a result in the place of that of this revision; 0: where nothing is. With headers, which a list of [keys] has.
    pub(crate) async fn replace_result(&self, key: &str, result: &Stored, revision: u64) -> Created {
        let value = match serde_json::to_vec(result) {
            Ok(value) => Bytes::from(value),
            Err(error) => return Created::Unknown(error.to_string()),
        };
        let message = PublishMessage::build().headers(result.headers());
        let message = message.payload(value).expected_last_subject_sequence(revision);
        let subject = format!("{}{key}", self.results.prefix);
        let sent = async { self.js.send_publish(subject, message).await?.await };
        match timeout(ANSWER_TIME, sent).await {
            Ok(Ok(stored)) => Created::New(stored.sequence),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Created::Exists,
            Ok(Err(error)) => Created::Unknown(error.to_string()),
            Err(_) => Created::Unknown("no answer".into()),
        }
    }
}

/// Writes a value, whatever is there. What is not known to be written may be, or may come to be.
pub(crate) async fn put(bucket: &kv::Store, key: &str, value: &impl Serialize) -> bool {
    let Ok(value) = serde_json::to_vec(value) else { return false };
    matches!(timeout(ANSWER_TIME, bucket.put(key, Bytes::from(value))).await, Ok(Ok(_)))
}

/// The value of a key and its revision, as the server that leads has it: at least as new as what was written before this was asked.
pub(crate) async fn read<T: DeserializeOwned>(
    bucket: &kv::Store,
    key: &str,
) -> Result<Option<(T, u64)>, Error> {
    let subject = format!("{}{key}", bucket.prefix);
    let read = timeout(ANSWER_TIME, bucket.stream.get_last_raw_message_by_subject(&subject)).await;
    match read.map_err(|_| unheard("read a key"))? {
        Ok(message) if message.headers.get("KV-Operation").is_some() => Ok(None),
        Ok(message) => Ok(Some((decode(&subject, &message.payload)?, message.sequence))),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(server("read a key")(error)),
    }
}

/// A mark takes the place of the value, if there is one: it is as old as the rest of the bucket when it goes.
///
/// A [removal](remove) from a bucket whose messages are acknowledged would put others off: it empties the queue of what the engine is about to deliver again, to readers of
/// all keys (`consumer.purge` of nats-server 2.15), and what was in it waits for another minute. One removal after the other, beside a server that was killed again and
/// again, left results waiting for five minutes; with marks in their place none waited longer than its minute.
pub(crate) async fn withdraw(bucket: &kv::Store, key: &str) {
    if let Ok(Some(_)) = read::<serde::de::IgnoredAny>(bucket, key).await {
        // If it is not written, readers find the result beside the value.
        let _ = timeout(ANSWER_TIME, bucket.delete(key)).await;
    }
}

/// Nothing is left of the key.
pub(crate) async fn remove(bucket: &kv::Store, key: &str) -> Result<(), Error> {
    removed(bucket.stream.purge().filter(format!("{}{key}", bucket.prefix))).await
}

/// Nothing is left of the key as it was at this revision, or before. What was written later stays: a removal can land long after it was sent, and more than once.
pub(crate) async fn remove_up_to(bucket: &kv::Store, key: &str, revision: u64) -> Result<(), Error> {
    let purge = bucket.stream.purge().filter(format!("{}{key}", bucket.prefix));
    // That bound itself stays.
    removed(purge.sequence(revision.saturating_add(1))).await
}

async fn removed(purge: impl IntoFuture<Output = Result<PurgeResponse, PurgeError>>) -> Result<(), Error> {
    let removed = timeout(ANSWER_TIME, purge.into_future()).await;
    removed.map_err(|_| unheard("remove a key"))?.map(drop).map_err(server("remove a key"))
}

/// Every value whose key fits (`*` one part, `>` the rest), with its revision, in no order: each as of a moment after this was asked.
/// What can't be read is not ours, or of another version: it holds up nobody.
pub(crate) async fn list<T: DeserializeOwned>(
    bucket: &kv::Store,
    keys: &str,
) -> Result<Vec<(T, u64)>, Error> {
    let listing = Listing::begin(bucket, keys, false).await?;
    let read =
        |message: &Message, revision| Some((decode(&message.subject, &message.payload).ok()?, revision));
    listing.read(read).await
}
/// The same without the values: each key, its headers and its revision.
pub(crate) async fn keys(bucket: &kv::Store, keys: &str) -> Result<Vec<(String, HeaderMap, u64)>, Error> {
    let listing = Listing::begin(bucket, keys, true).await?;
    let read = |message: &Message, revision| {
        let key = message.subject.strip_prefix(&bucket.prefix)?.to_owned();
        Some((key, message.headers.clone().unwrap_or_default(), revision))
    };
    listing.read(read).await
}
/// How many there are, those included that only a mark is left of.
pub(crate) async fn count(bucket: &kv::Store, keys: &str) -> Result<u64, Error> {
    Ok(Listing::begin(bucket, keys, true).await?.left)
}

/// The newest message of each key, as the engine counted them when this was made.
struct Listing {
    consumer: PullConsumer,
    stream: Stream,
    left: u64,
}
impl Listing {
    async fn begin(bucket: &kv::Store, keys: &str, headers_only: bool) -> Result<Listing, Error> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            filter_subject: format!("{}{keys}", bucket.prefix),
            headers_only,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: ANSWER_TIME,
            ..pull::Config::default()
        };
        let stream = bucket.stream.clone();
        let made = timeout(ANSWER_TIME, stream.create_consumer(config)).await.map_err(|_| unheard(LIST))?;
        let consumer: PullConsumer = made.map_err(server(LIST))?;
        let left = consumer.cached_info().num_pending;
        Ok(Listing { consumer, stream, left })
    }

    /// What is made of each that is no mark, and its revision. One that is written meanwhile can come twice: the newer counts.
    async fn read<T>(mut self, make: impl Fn(&Message, u64) -> Option<T>) -> Result<Vec<T>, Error> {
        let (mut found, mut some) = (HashMap::new(), true);
        while self.left > 0 {
            // What was counted can be gone by now: then nothing comes, and that is waited for once, and not for long.
            let fetch = self.consumer.fetch().max_messages(LIST_BATCH);
            let fetch = if some { fetch } else { fetch.expires(LIST_WAIT) };
            let batch = timeout(ANSWER_TIME, fetch.messages()).await.map_err(|_| unheard(LIST))?;
            let mut batch = batch.map_err(server(LIST))?;
            let waited = !some;
            some = false;
            while let Some(message) = timeout(ANSWER_TIME, batch.next()).await.map_err(|_| unheard(LIST))? {
                let message = message.map_err(server(LIST))?;
                let info = message.info().map_err(server(LIST))?;
                (self.left, some) = (info.pending, true);
                let is_mark =
                    message.headers.as_ref().is_some_and(|headers| headers.get("KV-Operation").is_some());
                let made = if is_mark { None } else { make(&message, info.stream_sequence) };
                // They come in the order in which they were written.
                found.insert(message.subject.to_string(), made);
                if self.left == 0 {
                    break;
                }
            }
            if !some && waited {
                break;
            }
        }
        Ok(found.into_values().flatten().collect())
    }
}
impl Drop for Listing {
    fn drop(&mut self) {
        // It goes by itself, too; but the server counts consumers. Without a runtime the connection is gone.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (name, stream) = (self.consumer.cached_info().name.clone(), self.stream.clone());
        runtime.spawn(async move { timeout(ANSWER_TIME, stream.delete_consumer(&name)).await.map(drop) });
    }
}

pub(crate) fn unheard(what: &'static str) -> Error {
    Error::Server { what, why: "no answer".into() }
}

pub(crate) fn decode<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Damaged { what: place.to_owned(), why: error.to_string() })
}
