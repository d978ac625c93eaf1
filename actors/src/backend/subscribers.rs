//! What subscribers were told, on its way from the graph to the host's threads.
//!
//! * in: entries and the end of a subscription, from the graph
//! * out: the same to whoever looks, and a wake-up for whoever waits
//! * keeps: the graph never waits for a subscriber; what is behind is bounded

use ostler_inbox::Backlog;
use ostler_messages::{Entry, Subscribed, SubscriptionId};
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The subscribers of a graph. A host's thread adds one before it asks the graph, and removes it when it is gone.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<BTreeMap<SubscriptionId, Arc<Subscriber>>>);
impl Subscribers {
    fn known(&self) -> MutexGuard<'_, BTreeMap<SubscriptionId, Arc<Subscriber>>> {
        // Every change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// `at_once`: in virtual time it is told in nobody's turn.
    pub(crate) fn add(&self, id: SubscriptionId, at_once: bool) -> Arc<Subscriber> {
        let _ = at_once;
        let subscriber = Arc::new(Subscriber {
            state: Mutex::default(),
            #[cfg(feature = "testing")]
            at_once,
        });
        self.known().insert(id, subscriber.clone());
        subscriber
    }
    #[cfg(feature = "testing")]
    pub(crate) fn is_told_at_once(&self, id: SubscriptionId) -> bool {
        self.known().get(&id).is_none_or(|subscriber| subscriber.at_once)
    }
    pub(crate) fn remove(&self, id: SubscriptionId) {
        self.known().remove(&id);
    }
    pub(crate) fn notify(&self, id: SubscriptionId, entries: Vec<Entry>) {
        let subscriber = self.known().get(&id).cloned();
        if let Some(subscriber) = subscriber {
            subscriber.change(|state| entries.into_iter().for_each(|entry| state.backlog.push(entry)));
        }
    }
    /// Nothing more comes.
    pub(crate) fn end(&self, id: SubscriptionId) {
        let subscriber = self.known().get(&id).cloned();
        if let Some(subscriber) = subscriber {
            subscriber.change(|state| state.ended = true);
        }
    }
}

/// The graph's side of it: when its thread ends, in whatever way, so does every subscription.
pub(crate) struct EndOfSubscriptions(pub(crate) Arc<Subscribers>);
impl Drop for EndOfSubscriptions {
    fn drop(&mut self) {
        let all: Vec<_> = self.0.known().values().cloned().collect();
        all.iter().for_each(|subscriber| subscriber.change(|state| state.ended = true));
    }
}

/// Of one subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    state: Mutex<State>,
    #[cfg(feature = "testing")]
    at_once: bool,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    ended: bool,
    /// Of who waits for the next entry.
    waker: Option<Waker>,
    /// In a scripted world: the host does nothing before there is one.
    waits: bool,
}
impl State {
    #[cfg(feature = "testing")]
    fn has_news(&self) -> bool {
        self.ended || !self.backlog.is_empty()
    }
}

impl Subscriber {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    #[cfg(feature = "testing")]
    pub(crate) fn is_told_at_once(&self) -> bool {
        self.at_once
    }
    fn change(&self, work: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state();
            work(&mut state);
            state.waits = false;
            mem::take(&mut state.waker)
        };
        // It may run what the host has written, so not with the lock.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What is next; none at the end.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Subscribed>> {
        let mut state = self.state();
        if let Some(next) = state.backlog.take_next() {
            return Poll::Ready(Some(next));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(cx.waker().clone());
        // Not with the lock, either.
        drop(state);
        drop(before);
        Poll::Pending
    }
    /// In a scripted world: whether the host has only now begun to wait.
    #[cfg(feature = "testing")]
    pub(crate) fn begins_to_wait(&self) -> bool {
        let mut state = self.state();
        let begins = !state.waits && !state.has_news();
        state.waits |= begins;
        begins
    }
    /// Nobody waits any more.
    pub(crate) fn stops_waiting(&self) {
        let waker = {
            let mut state = self.state();
            state.waits = false;
            state.waker.take()
        };
        drop(waker);
    }
    #[cfg(feature = "testing")]
    pub(crate) fn waits(&self) -> bool {
        self.state().waits
    }
    /// Whether the graph has said that nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }
}
