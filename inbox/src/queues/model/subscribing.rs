//! Subscribers, who take nothing.

use super::*;
use ostler_messages::SubscriptionId;

impl Run {
    pub(super) fn step_of_a_subscriber(&mut self, s: u64) {
        let (at, n, call) = (s as usize, self.calls, CallId(self.calls));
        let mine: Vec<u64> = self.lists[at].subscribers.iter().map(|subscriber| subscriber.0).collect();
        match (self.dice.below(3), self.dice.pick(&mine)) {
            (0, Some(id)) => {
                self.lists[at].subscribers.retain(|subscriber| subscriber.0 != id);
                self.queues
                    .unsubscribe(&Unsubscribe { session_id: name(s), subscription: SubscriptionId(id) });
            }
            (1, _) => {
                let filter = self.filter(at);
                let subscribe = Subscribe {
                    call,
                    session_id: name(s),
                    subscription: SubscriptionId(n),
                    filter: filter.clone(),
                };
                let effects = self.queues.subscribe(subscribe);
                let told = match self.lists[at].subscribe(n, filter, LIMITS.subscriptions) {
                    true => Out::Subscribed,
                    false => Out::Refused,
                };
                self.check(s, effects, vec![(n, told)]);
                // Its call is dropped before it has its answer, or has it.
                let effects = match self.dice.below(3) {
                    0 => {
                        self.lists[at].subscribers.retain(|subscriber| subscriber.0 != n);
                        self.queues.nack(call, AT)
                    }
                    _ => self.queues.ack(call),
                };
                self.check(s, effects, Vec::new());
            }
            _ => {}
        }
    }
    /// Each is told of every entry that fits, once, in order, when it comes.
    pub(super) fn check_notified(&mut self, s: u64, effects: &[Effect]) {
        let (mut notified, mut ended) = (BTreeMap::<u64, Vec<u64>>::new(), BTreeSet::new());
        for effect in effects {
            match effect {
                Effect::Notify(notify) => {
                    let told = notified.entry(notify.subscription.0).or_default();
                    told.extend(notify.entries.iter().map(|entry| entry.sequence));
                }
                Effect::NotifiedAll(all) => {
                    assert!(ended.insert(all.subscription.0));
                }
                _ => {}
            }
        }
        let list = &mut self.lists[s as usize];
        assert_eq!(ended, list.end_subscriptions());
        assert_eq!(notified, std::mem::take(&mut list.notified));
    }
}
