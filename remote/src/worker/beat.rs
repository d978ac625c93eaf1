//! Heartbeats, the lease that they give, and what happens when it ends.

use super::{Inner, Pause, sentinel};
use crate::{
    clock,
    errors::Error,
    store::{self, Created},
    words::Heartbeat,
};
use ostler::Handle;
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// So many heartbeats in a lease: several may be lost.
const PER_LEASE: u32 = 6;
/// Longest pause between two: who lists the workers wants to see how they are.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether something runs that may not, when nothing else says so.
const LOOK: Duration = Duration::from_millis(500);

/// One heartbeat after the other, from this revision of the last one, as long as the worker lives.
pub(super) async fn beat(inner: Arc<Inner>, mut revision: u64) {
    let interval = (inner.options.lease / PER_LEASE).min(INTERVAL_MAX);
    let name = inner.options.name.to_string();
    loop {
        match once(&inner, &name, &mut revision).await {
            Ok(()) => sleep(interval).await,
            Err(Some(machine)) => {
                inner.over.send_replace(Some(machine));
                return;
            }
            Err(None) => sleep(interval / 4).await,
        }
    }
}

/// An error: this name is that of a worker on this machine now. None: it is to be tried again.
pub(super) async fn once(inner: &Inner, name: &str, revision: &mut u64) -> Result<(), Option<String>> {
    let sent = clock::now_ms();
    match store::replace(&inner.store.workers, name, &inner.heartbeat(), *revision).await {
        Created::New(now) => {
            *revision = now;
            super::lock(&inner.lease).renewed(sent, clock::now_ms());
            inner.leased.notify_waiters();
            Ok(())
        }
        Created::Exists | Created::Unknown(_) => {
            match store::read::<Heartbeat>(&inner.store.workers, name).await {
                Ok(Some((there, now))) if there.life == inner.life => {
                    // An earlier one, whose answer was lost. It does not count: when it was sent is not known any more.
                    *revision = now;
                    Err(None)
                }
                Ok(Some((there, _))) => Err(Some(there.machine)),
                Ok(None) => {
                    *revision = 0;
                    Err(None)
                }
                Err(_) => Err(None),
            }
        }
    }
}

/// Stops what runs in a term that is over, as soon as it is.
pub(super) async fn watch(inner: Arc<Inner>) {
    loop {
        stop_lapsed(&inner);
        let left = Duration::from_millis(super::lock(&inner.lease).left_ms(clock::now_ms()).max(1));
        // A change of term is seen at once, also one that nobody has told.
        let _ = timeout(left.min(LOOK), inner.leased.notified()).await;
    }
}

fn stop_lapsed(inner: &Inner) {
    let held = inner.held();
    let mut running = inner.running();
    for running in running.values_mut().filter(|running| !running.revoked && running.term != held) {
        // One that is on its way to its start is stopped there.
        if let Some(handle) = &running.handle {
            running.revoked = true;
            revoke(inner, handle.clone());
        }
    }
}

/// Stops a command because the lease has ended: in its own way at first, and whatever its grace, within half the margin that a sentinel waits. Its result comes as every
/// result.
pub(super) fn revoke(inner: &Inner, handle: Handle) {
    let time = Duration::from_millis(sentinel::margin_ms(inner.lease_ms()) / 2);
    tokio::spawn(async move {
        let revoked = handle.revoke().begin();
        sleep(time).await;
        // One that has ended hears of nothing.
        let _ = handle.cancel_and_notify().await;
        revoked.await.map(drop)
    });
}

/// The orderly end: see [`Worker::end`](super::Worker::end).
pub(super) async fn end(inner: &Arc<Inner>, time: Duration) -> Result<(), Error> {
    inner.ending.send_replace(true);
    let everything = async {
        let mut pause = Pause::new();
        loop {
            let handles: Vec<Handle> = inner
                .running()
                .values_mut()
                .filter(|running| !running.revoked)
                .filter_map(|running| {
                    running.revoked = running.handle.is_some();
                    running.handle.clone()
                })
                .collect();
            handles.into_iter().for_each(|handle| revoke(inner, handle));
            // What is being claimed ends too, and has its answer first.
            if inner.running().is_empty() && super::lock(&inner.attempts).is_empty() {
                return;
            }
            pause.wait().await;
        }
    };
    let stored = timeout(time, everything).await.is_ok();
    let _ = inner.ostler.shutdown().await;
    if !stored {
        let why =
            "not everything could be stored in time; it is in the journal, for the next start of this worker"
                .into();
        return Err(Error::Worker { worker: inner.options.name.clone(), why });
    }
    let name = inner.options.name.to_string();
    match store::read::<Heartbeat>(&inner.store.workers, &name).await? {
        Some((there, revision)) if there.life == inner.life => {
            store::remove_up_to(&inner.store.workers, &name, revision).await
        }
        // It is another worker's by now.
        _ => Ok(()),
    }
}
