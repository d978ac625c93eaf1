//! What is asked of the worker that has a command.

use super::{Handle, handle::WORKER_TIME};
use crate::{
    connect::ANSWER_TIME,
    errors::Error,
    words::{WorkerAsk, WorkerReply},
    worker::Pause,
};
use async_nats::client::Request;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a worker that does not answer is asked again: it may be about to come back.
pub(super) const WORKER_PATIENCE: Duration = Duration::from_secs(10);

impl Handle {
    /// Asks its worker, again and again if it does not answer; none: it has ended.
    pub(super) async fn ask_until_ended(&self, ask: &WorkerAsk) -> Result<Option<WorkerReply>, Error> {
        self.ask_for(ask, WORKER_TIME).await
    }
    /// The same for what takes so long.
    pub(super) async fn ask_for(
        &self,
        ask: &WorkerAsk,
        time: Duration,
    ) -> Result<Option<WorkerReply>, Error> {
        // Whatever it is asked, there is time to ask it again.
        let within = WORKER_PATIENCE + time.saturating_sub(WORKER_TIME);
        let (until, mut pause) = (Instant::now() + within, Pause::new());
        loop {
            let why = match self.ask_once(ask, time).await {
                Ok(asked) => return Ok(asked),
                // Its result is on its way; or its worker is about to say `lost`.
                Err(None) => Error::WorkerSilent { worker: self.worker().clone(), within },
                // The server is away: it may be about to come back.
                Err(Some(error @ Error::Server { .. })) => error,
                Err(Some(error)) => return Err(error),
            };
            if Instant::now() >= until {
                return Err(why);
            }
            pause.wait().await;
        }
    }

    /// One request, and a look at the same time: neither waits for the other, beside a server that is busy with its disk. None: it has ended; an error of none: its worker
    /// has not answered, or does not have it.
    async fn ask_once(&self, ask: &WorkerAsk, time: Duration) -> Result<Option<WorkerReply>, Option<Error>> {
        let asked = self.ask(ask, time);
        tokio::pin!(asked);
        let message = tokio::select! {
            biased;
            ended = self.ended() => match ended {
                Ok(Some(_)) => return Ok(None),
                // What was asked is on its way: its answer counts.
                Ok(None) | Err(_) => asked.await,
            },
            message = &mut asked => message,
        };
        if let Ok(message) = message {
            let reply = serde_json::from_slice::<WorkerReply>(&message.payload).map_err(|error| {
                Error::Damaged { what: format!("the answer of {}", self.worker()), why: error.to_string() }
            })?;
            if !matches!(reply, WorkerReply::NotHere) {
                return Ok(Some(reply));
            }
        }
        // Ended while it was asked.
        if self.ended().await?.is_some() { Ok(None) } else { Err(None) }
    }
    /// One request; an error: no answer.
    pub(super) async fn ask(&self, ask: &WorkerAsk, time: Duration) -> Result<async_nats::Message, ()> {
        let payload = serde_json::to_vec(ask).map(Bytes::from).map_err(drop)?;
        let request = Request::new().payload(payload).timeout(Some(time));
        let asked = self.store().client.send_request(self.store().pool.worker(self.worker()), request);
        // Without a connection not even the sending comes back.
        timeout(time + ANSWER_TIME, asked).await.map_err(drop)?.map_err(drop)
    }

    /// An answer to something else, or that it can't be done.
    pub(super) fn unexpected(&self, reply: WorkerReply) -> Error {
        let why = match reply {
            WorkerReply::Refused { error } => return Error::Call(error),
            WorkerReply::Failed { why } => why,
            _ => "it has answered something else".to_owned(),
        };
        Error::Worker { worker: self.worker().clone(), why }
    }
}
