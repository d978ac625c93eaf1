//! In virtual time: waits of a host that are no calls.

use crate::{
    api::Client,
    backend::{HostInput, OutputWatch, Waiting, WorldInput},
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

impl Client {
    /// The host has given up a wait. Returns when the world has taken that up, so that a trace is the same on every run.
    pub(crate) fn leave(&self) {
        self.step();
        let (taken, waits) = oneshot::channel();
        if self.requests.send(HostInput::World(WorldInput::Left { taken })).is_ok() {
            // Closed when it is taken up, or the graph has ended.
            let _ = waits.recv();
        }
    }

    /// Waits until the reader has something to read; how many milliseconds of its time are left.
    pub(crate) fn watched(&self, watch: OutputWatch, waited: oneshot::AsyncReceiver<u64>) -> Watched<'_> {
        self.step();
        // A graph that has ended drops it, which ends the wait.
        let _ = self.requests.send(HostInput::World(WorldInput::Watch(watch)));
        Watched { client: self, waiting: Waiting::new(self.pace.clone()), waited: Some(waited) }
    }
}

/// See [`Client::watched`].
pub(crate) struct Watched<'a> {
    client: &'a Client,
    waiting: Waiting,
    /// None when it is over.
    waited: Option<oneshot::AsyncReceiver<u64>>,
}
impl Future for Watched<'_> {
    type Output = u64;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let this = &mut *self;
        let Some(waited) = &mut this.waited else { return Poll::Ready(0) };
        if let Poll::Ready(left_ms) = Pin::new(waited).poll(cx) {
            this.waited = None;
            this.client.step();
            // Closed when the graph has ended: what there is can be read.
            return Poll::Ready(left_ms.unwrap_or(0));
        }
        if let Some(answers) = this.waiting.idle(cx) {
            let _ = this.client.requests.send(HostInput::World(WorldInput::Idle(answers)));
        }
        Poll::Pending
    }
}
impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.waited.take().is_some() && self.client.is_here() {
            self.client.leave();
        }
    }
}
