//! What is asked of the worker that has a command.

use super::{Handle, handle::WORKER_TIME};
use crate::{
    errors::Error,
    words::{WorkerAsk, WorkerReply},
    worker::Pause,
};
use async_nats::client::Request;
use bytes::Bytes;
use std::time::{Duration, Instant};

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
            let worker = self.worker().clone();
            let Some(asked) = self.ask_or_ended(ask, time).await? else { return Ok(None) };
            if let Ok(message) = asked {
                let reply = serde_json::from_slice::<WorkerReply>(&message.payload).map_err(|error| {
                    Error::Damaged { what: format!("the answer of {worker}"), why: error.to_string() }
                })?;
                if !matches!(reply, WorkerReply::NotHere) {
                    return Ok(Some(reply));
                }
            }
            // Ended while it was asked.
            if self.ended().await?.is_some() {
                return Ok(None);
            }
            // Its result is on its way; or its worker is about to say `lost`.
            if Instant::now() >= until {
                return Err(Error::WorkerSilent { worker, within });
            }
            pause.wait().await;
        }
    }

    /// One request, and a look at the same time: neither waits for the other, beside a server that is busy with its disk. None: it has ended.
    async fn ask_or_ended(
        &self,
        ask: &WorkerAsk,
        time: Duration,
    ) -> Result<Option<Result<async_nats::Message, ()>>, Error> {
        let asked = self.ask(ask, time);
        tokio::pin!(asked);
        tokio::select! {
            biased;
            ended = self.ended() => match ended {
                Ok(Some(_)) => Ok(None),
                Ok(None) => Ok(Some(asked.await)),
                // What was asked is on its way: its answer counts.
                Err(error) => asked.await.map(|message| Some(Ok(message))).map_err(|()| error),
            },
            message = &mut asked => Ok(Some(message)),
        }
    }
    /// One request; an error: no answer.
    pub(super) async fn ask(&self, ask: &WorkerAsk, time: Duration) -> Result<async_nats::Message, ()> {
        let payload = serde_json::to_vec(ask).map(Bytes::from).map_err(drop)?;
        let request = Request::new().payload(payload).timeout(Some(time));
        let asked = self.store().client.send_request(self.store().pool.worker(self.worker()), request).await;
        asked.map_err(drop)
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
