//! Who is told of entries without taking any.
//!
//! * in: subscribers, and entries that are new
//! * out: `Notify` for each subscriber that an entry fits
//! * keeps: a subscriber is told of each entry once, by their numbers, and of the end

use super::{Queue, leased, refuse};
use crate::Effect;
use ostler_messages::{
    Answer, CallError, CallId, Entry, Filter, Limit, NotifiedAll, Notify, Subscribe, SubscriptionId,
};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Subscriber {
    id: SubscriptionId,
    /// Which has made it: it does not outlive a `Nack`.
    call: CallId,
    filter: Filter,
}

impl Queue {
    /// Tells a subscriber of all that is unread, free or leased, and from now on of all that comes. Its answer is leased: the
    /// subscription ends with a `Nack`.
    pub(crate) fn subscribe(&mut self, subscribe: Subscribe, max: usize, effects: &mut Vec<Effect>) {
        let Subscribe { call, subscription, filter, .. } = subscribe;
        if self.subscribers.len() >= max {
            let error = CallError::LimitReached { limit: Limit::Subscriptions, max: max as u64, leased: 0 };
            return effects.push(refuse(call, error));
        }
        let there = self.free.values().chain(self.leases.entries()).filter(|entry| filter.fits(entry));
        let there = there.filter(|entry| !entry.is_progress() || self.is_newest_progress(entry));
        let mut entries: Vec<Entry> = there.cloned().collect();
        entries.sort_by_key(|entry| entry.sequence);
        effects.push(leased(call, Answer::Subscribed(subscription)));
        if !entries.is_empty() {
            effects.push(Effect::Notify(Notify { subscription, entries, after: None }));
        }
        self.subscribers.push(Subscriber { id: subscription, call, filter });
    }
    pub(crate) fn unsubscribe(&mut self, id: SubscriptionId) {
        self.subscribers.retain(|subscriber| subscriber.id != id);
    }
    pub(super) fn unsubscribe_call(&mut self, call: CallId) {
        self.subscribers.retain(|subscriber| subscriber.call != call);
    }

    /// Of a new entry.
    pub(super) fn notify(&self, sequence: u64, effects: &mut Vec<Effect>) {
        let Some(entry) = self.free.get(&sequence) else { return };
        let meant = self.subscribers.iter().filter(|subscriber| subscriber.filter.fits(entry));
        effects.extend(meant.map(|subscriber| {
            Effect::Notify(Notify { subscription: subscriber.id, entries: vec![entry.clone()], after: None })
        }));
    }
    /// In an ended session nothing new comes, once no canceller can give a result back that never was an entry.
    pub(crate) fn end_subscriptions(&mut self, effects: &mut Vec<Effect>) {
        if self.closed && self.leases.shared() == 0 {
            let ended = self.subscribers.drain(..);
            effects.extend(ended.map(|Subscriber { id: subscription, .. }| {
                Effect::NotifiedAll(NotifiedAll { subscription, after: None })
            }));
        }
    }

    #[cfg(test)]
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscribers.len()
    }
}
