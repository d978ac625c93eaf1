//! The durable consumer of a session: made when it is first read, and gone when the session is over and read.

use super::{ACK_PENDING, ACK_WAIT, Inbox, POLL, Reader};
use crate::{
    errors::{Error, server},
    names::{read_key, session_token},
    store::{self, unheard},
};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use ostler::REDELIVER_MS;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A consumer that is made anew when everything was read goes so soon again.
const LINGER: Duration = Duration::from_millis(REDELIVER_MS);
/// How often it is looked whether all is acknowledged, and between two looks: the engine hears of the last ones a moment later.
const LOOKS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(50);
/// In errors.
const OPEN: &str = "open the inbox";

impl Inbox {
    /// Its session has ended on every worker, and nothing more comes. If everything that was in it is acknowledged, or is for nobody, a number says so from now on, in place
    /// of a consumer, of which a server has room for so many. Otherwise, or if that can't be asked or written now, the consumer is as it was.
    pub(in crate::host) async fn let_go(&self, discard: bool) {
        let reader = &self.0.0;
        let (token, results) = (session_token(reader.session.as_str()), &reader.store.results);
        if discard {
            // Also where nobody has read: whoever reads later begins behind this.
            if let Ok(Ok(info)) = timeout(POLL, results.stream.get_info()).await {
                self.is_read(info.state.last_sequence).await;
            }
            return;
        }
        for look in 0..LOOKS {
            if look > 0 {
                sleep(BETWEEN).await;
            }
            let asked = timeout(POLL, results.stream.get_consumer::<pull::Config>(&token)).await;
            let Ok(Ok(there)) = asked else { return };
            let info = there.cached_info();
            match (info.num_pending, info.num_ack_pending) {
                (0, 0) => return self.is_read(info.delivered.stream_sequence).await,
                // What says nothing any more is acknowledged by whoever reads it.
                (1.., _) if reader.fetch(Duration::ZERO).await.is_err() => return,
                _ => {}
            }
        }
    }

    /// Nobody needs what stands in it up to this number.
    async fn is_read(&self, up_to: u64) {
        let reader = &self.0.0;
        let (token, results) = (session_token(reader.session.as_str()), &reader.store.results);
        let mut own = reader.consumer.lock().await;
        // First: whoever finds no consumer finds the number.
        if store::put(&reader.store.sessions, &read_key(&token), &up_to).await {
            let _ = timeout(POLL, results.stream.delete_consumer(&token)).await;
            *own = None;
        }
    }
}

impl Reader {
    pub(super) async fn consumer(&self) -> Result<PullConsumer, Error> {
        let mut consumer = self.consumer.lock().await;
        if let Some(there) = &*consumer {
            return Ok(there.clone());
        }
        Ok(consumer.insert(self.open().await?).clone())
    }
    async fn open(&self) -> Result<PullConsumer, Error> {
        let token = session_token(self.session.as_str());
        let results = &self.store.results;
        let there = timeout(POLL, results.stream.get_consumer(&token)).await;
        if let Ok(Ok(there)) = there {
            return Ok(there);
        }
        // Only now: a consumer that is deleted meanwhile was there, and has left this.
        let read = match store::read::<u64>(&self.store.sessions, &read_key(&token)).await {
            Ok(read) => read.map(|(read, _)| read),
            Err(Error::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let max_age = results.stream.cached_info().config.max_age;
        let from = |read: u64| DeliverPolicy::ByStartSequence { start_sequence: read.saturating_add(1) };
        let mut config = pull::Config {
            durable_name: Some(token.clone()),
            filter_subject: format!("{}{token}.>", results.prefix),
            deliver_policy: read.map_or(DeliverPolicy::All, from),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING,
            // Nobody has read it for as long as there is something to be read.
            inactive_threshold: match read {
                Some(_) => LINGER,
                None => max_age,
            },
            ..pull::Config::default()
        };
        let create = |config| timeout(POLL, results.stream.create_consumer(config));
        let made = create(config.clone()).await.map_err(|_| unheard(OPEN))?.map_err(server(OPEN))?;
        if config.inactive_threshold == max_age || made.cached_info().num_pending == 0 {
            return Ok(made);
        }
        // Something has come since: what is read of it is not to come again once this one has gone.
        config.inactive_threshold = max_age;
        create(config).await.map_err(|_| unheard(OPEN))?.map_err(server(OPEN))
    }
}
