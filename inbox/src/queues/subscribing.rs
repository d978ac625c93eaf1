//! Stories of subscribers.

use super::{naive::claim, tests::*, *};
use ostler_messages::{ActorName, SubscriptionId};

fn subscribe(queues: &mut Queues, call: u64, filter: Filter) -> Vec<Effect> {
    let subscription = SubscriptionId(call);
    queues.subscribe(Subscribe { call: CallId(call), session_id: session(), subscription, filter })
}
fn answer(call: u64) -> Effect {
    let answer = Ok(Answer::Subscribed(SubscriptionId(call)));
    Effect::Reply(Reply { call: CallId(call), answer, leased_by: Some(ActorName::Inbox), after: None })
}
fn end(call: u64) -> Effect {
    Effect::NotifiedAll(NotifiedAll { subscription: SubscriptionId(call), after: None })
}
/// Who is told of what.
fn told(effects: &[Effect]) -> Vec<(u64, Vec<u64>)> {
    let notified = effects.iter().filter_map(|effect| match effect {
        Effect::Notify(notify) => Some((notify.subscription.0, sequences(&notify.entries))),
        _ => None,
    });
    notified.collect()
}

#[test]
fn a_subscriber_is_told_first_of_what_is_unread_and_then_of_what_comes() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.progress(running(2), AT);
    queues.push(note(1, "note"), AT);
    queues.drain(drain(2, Filter::results(), None, None));
    let effects = subscribe(&mut queues, 3, Filter::any());
    assert_eq!((&effects[0], told(&effects)), (&answer(3), vec![(3, vec![1, 2, 3])]), "leased ones too");
    assert_eq!(subscribe(&mut queues, 4, Filter::handle(handle(9))), [answer(4)]);

    // Whoever waits takes it; the subscriber has heard of it before.
    queues.drain(drain(5, Filter::any(), None, None));
    queues.drain(drain(6, Filter::any(), None, Some(9)));
    let effects = queues.push(note(7, "note"), AT);
    assert_eq!(told(&effects[1..2]), [(3, vec![4])]);
    assert_eq!(sequences(&entries(&effects)), [4]);
    // What comes back is not new.
    assert_eq!(told(&nack(&mut queues, 6)), []);
    assert_eq!(told(&queues.progress(running(9), AT)), [(3, vec![5]), (4, vec![5])]);
    queues.unsubscribe(&Unsubscribe { session_id: session(), subscription: SubscriptionId(3) });
    assert_eq!(told(&queues.deliver(result(9), &[], AT)), [(4, vec![6])]);
}

#[test]
fn a_subscriber_hears_of_the_end_when_nothing_can_come() {
    let mut queues = open(Limits::default());
    subscribe(&mut queues, 1, Filter::any());
    ack(&mut queues, 1);
    queues.deliver(result(1), &[claim(2), claim(3)], AT);
    assert_eq!(queues.close(&session(), false), [closed(1, true)], "a canceller may give it back");
    nack(&mut queues, 2);
    let effects = nack(&mut queues, 3);
    assert_eq!((told(&effects), effects.last()), (vec![(1, vec![1])], Some(&end(1))));
    // Of an ended session there is what is unread, and the end.
    let effects = subscribe(&mut queues, 4, Filter::any());
    assert_eq!((told(&effects), effects.last()), (vec![(4, vec![1])], Some(&end(4))));
    assert_eq!(all(&mut queues, Filter::any()).len(), 1, "subscribers hold up nothing");
    let nothing = Some(Answer::Subscribed(SubscriptionId(5)));
    let asked = NoQueue { call: CallId(5), session_id: session(), nothing };
    assert_eq!(subscribe(&mut queues, 5, Filter::any()), [Effect::NoQueue(asked)]);
}

#[test]
fn a_subscriber_that_did_not_hear_of_its_subscription_has_none() {
    let mut queues = open(Limits { subscriptions: 1, ..Limits::default() });
    subscribe(&mut queues, 1, Filter::any());
    let limit = CallError::LimitReached { limit: Limit::Subscriptions, max: 1, leased: 0 };
    assert_eq!(error(&subscribe(&mut queues, 2, Filter::any())), &limit);
    assert_eq!(nack(&mut queues, 1), []);
    assert_eq!(subscribe(&mut queues, 3, Filter::any()), [answer(3)]);
}

#[test]
fn progress_that_is_out_of_date_is_no_news() {
    let mut queues = open(Limits::default());
    queues.progress(running(1), AT);
    queues.drain(drain(1, Filter::any(), None, None));
    queues.progress(running(1), AT);
    assert_eq!(told(&subscribe(&mut queues, 2, Filter::any())), [(2, vec![2])]);
}
