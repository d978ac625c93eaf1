use crate::story::{LONG, Story, same_every_time};
use futures_lite::future;
use insta::assert_snapshot;
use ostler::{
    BACKLOG_ENTRIES, CallError, Command, Entry, Error, Filter, Limit, Subscribed, Subscription,
    testing::{OnTerminate, Program},
};
use ostler_tests::ms;

fn make() -> Program {
    Program::new().stdout_at(ms(100), "compiling\n").exits_at(ms(1_000), 2)
}
fn numbers(entries: &[Entry]) -> Vec<(u64, bool)> {
    entries.iter().map(|entry| (entry.sequence, entry.redelivered)).collect()
}

#[test]
fn what_is_read_is_gone_when_it_is_acknowledged() {
    let story = || {
        let story = Story::new().program("make", make());
        let handle = story.launch(Command::new("make"));
        let inbox = story.session.inbox();
        let entries = inbox.read_within(Filter::any(), 9, LONG).wait().unwrap();
        assert_eq!(numbers(&entries), [(1, false)]);
        assert!(!handle.result().wait().unwrap().taken, "a reader holds it");
        assert!(story.drain().is_empty());
        assert_eq!(inbox.acknowledge(1).wait(), Ok(1));
        assert_eq!(inbox.acknowledge(1).wait(), Ok(0));
        let never = Err(Error::Call(CallError::NeverRead { sequence: 2 }));
        assert_eq!(inbox.acknowledge_these(&[1, 2]).wait(), never);
        drop(inbox);
        story
    };
    assert_snapshot!(same_every_time("acknowledged", story));
}

#[test]
fn what_is_not_acknowledged_comes_again_in_time_or_when_its_reader_is_gone() {
    let story = || {
        let story = Story::new();
        let host = story.session.inbox();
        host.push("note", "host", 1.into()).wait().unwrap();
        host.push("note", "host", 2.into()).wait().unwrap();
        // The time begins when the reader has them.
        let slow = story.session.inbox().redeliver_after(ms(5_000));
        let begun = slow.read(Filter::any(), 1).begin();
        story.advance_ms(60_000);
        assert_eq!(numbers(&begun.wait().unwrap()), [(1, false)]);
        let other = story.session.inbox();
        assert_eq!(numbers(&other.read(Filter::any(), 9).wait().unwrap()), [(2, false)]);
        story.advance_ms(4_999);
        assert!(host.read(Filter::any(), 9).wait().unwrap().is_empty());
        assert_eq!(numbers(&host.read_within(Filter::any(), 9, LONG).wait().unwrap()), [(1, true)]);
        // A clone is the same reader.
        let clone = other.clone();
        drop(other);
        assert_eq!(host.pending(Filter::any()).wait(), Ok(0));
        drop(clone);
        assert_eq!(numbers(&host.read(Filter::any(), 9).wait().unwrap()), [(2, true)]);
        // Who has had it once may acknowledge it, whoever holds it by now.
        assert_eq!(slow.acknowledge(2).wait(), Ok(0));
        assert_eq!(slow.acknowledge_these(&[1]).wait(), Ok(1));
        assert_eq!(host.acknowledge(2).wait(), Ok(1));
        story
    };
    assert_snapshot!(same_every_time("redelivered", story));
}

#[test]
fn a_read_whose_inbox_is_dropped_before_its_answer_is_read_all_the_same() {
    let story = Story::new();
    let read = story.session.inbox().read(Filter::any(), 1).begin();
    assert!(read.wait().unwrap().is_empty());
    story.session.inbox().push("note", "host", 1.into()).wait().unwrap();
    let read = story.session.inbox().read(Filter::any(), 1).begin();
    assert_eq!(numbers(&read.wait().unwrap()), [(1, false)]);
    // That reader is gone with its call; a call that is dropped has read nothing.
    drop(story.session.inbox().read(Filter::any(), 1).begin());
    assert_eq!(numbers(&story.drain()), [(1, true)]);
    assert_snapshot!(story.told());
}

#[test]
fn an_ended_session_keeps_what_a_reader_holds_until_it_is_acknowledged() {
    let story = Story::new().program("make", make());
    story.launch(Command::new("make"));
    let inbox = story.session.inbox();
    assert_eq!(inbox.read_within(Filter::results(), 1, LONG).wait().unwrap().len(), 1);
    assert_eq!(story.session.end().wait().unwrap().unread, 1, "waits for no reader");
    assert_eq!(inbox.acknowledge(1).wait(), Ok(1));
    assert_eq!(inbox.acknowledge(1).wait(), Ok(0), "and then there is no queue");
    assert_snapshot!(story.told());
}

/// So many of them.
fn seen(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let seen = subscription.iter().take(count).map(|item| match item {
        Subscribed::Entry(entry) => format!("{} {}", entry.sequence, entry.kind),
        Subscribed::Lagged { missed } => format!("{missed} missed"),
    });
    seen.collect()
}

#[test]
fn a_subscriber_sees_what_is_there_and_what_comes_and_takes_nothing() {
    let story = || {
        let story = Story::new().program("make", make());
        let inbox = story.session.inbox();
        inbox.push("note", "host", 1.into()).wait().unwrap();
        let mut all = inbox.subscribe(Filter::any()).wait().unwrap();
        let mut results = inbox.subscribe(Filter::results()).wait().unwrap();
        story.launch(Command::new("make").progress(ms(300)));
        // Virtual time moves while it waits.
        assert_eq!(seen(&mut all, 2), ["1 note", "2 tool_progress"]);
        assert_eq!(seen(&mut results, 1), ["4 tool_result"]);
        // Progress that was not looked at went with the result.
        assert_eq!(seen(&mut all, 1), ["4 tool_result"]);
        assert_eq!(numbers(&story.drain()), [(1, false), (4, false)]);
        drop(results);
        story.session.end().wait().unwrap();
        assert_eq!(seen(&mut all, 9), [""; 0]);
        story
    };
    assert_snapshot!(same_every_time("subscribed", story));
}

#[test]
fn a_subscriber_that_is_too_far_behind_is_told_how_much_it_has_missed_and_goes_on() {
    let story = Story::with(|settings| settings.limits.subscriptions = 1);
    let inbox = story.session.inbox();
    let mut behind = inbox.subscribe(Filter::kind("note")).wait().unwrap();
    let refused = inbox.subscribe(Filter::any()).wait().map(drop).unwrap_err();
    assert_eq!(refused, CallError::LimitReached { limit: Limit::Subscriptions, max: 1, leased: 0 }.into());
    for n in 1..=BACKLOG_ENTRIES as u64 + 2 {
        inbox.push("note", "host", n.into()).wait().unwrap();
        inbox.drain().wait().unwrap();
    }
    assert_eq!(seen(&mut behind, 2), ["2 missed", "3 note"]);
    inbox.push("note", "host", 0.into()).wait().unwrap();
    let rest = seen(&mut behind, BACKLOG_ENTRIES);
    assert_eq!(rest.last().unwrap(), "1027 note");
    drop(behind);
    drop(inbox.subscribe(Filter::any()).wait().unwrap());
}

#[test]
fn a_subscription_to_an_ended_session_ends() {
    let trap = OnTerminate::Exits { after: ms(5), says: "bye".into(), code: 0 };
    let story = Story::new().program("server", Program::new().on_terminate(trap));
    let handle = story.launch(Command::new("server"));
    let inbox = story.session.inbox();
    let mut before = inbox.subscribe(Filter::any()).wait().unwrap();
    // What a canceller has is no entry; what it gives back is one.
    let cancel = handle.cancel().begin();
    story.advance_ms(100);
    story.session.end().wait().unwrap();
    drop(cancel);
    assert_eq!(seen(&mut before, 9), ["1 tool_result"]);
    let mut after = inbox.subscribe(Filter::any()).wait().unwrap();
    assert_eq!(seen(&mut after, 9), ["1 tool_result"]);
    assert_eq!(story.drain().len(), 1);
    let mut at_last = inbox.subscribe(Filter::any()).wait().unwrap();
    assert_eq!(seen(&mut at_last, 9), [""; 0]);
    let never = story.ostler.session("never").inbox().subscribe(Filter::any()).wait();
    assert!(matches!(never, Err(Error::Call(CallError::SessionUnknown { .. }))));
    assert_snapshot!(story.told());
}

#[test]
fn a_look_that_is_dropped_loses_no_entry_and_time_stands_still_again() {
    let story = Story::new().program("server", Program::new());
    story.launch(Command::new("server").progress(ms(300)));
    let mut subscription = story.session.inbox().subscribe(Filter::kind("note")).wait().unwrap();
    assert_eq!(future::block_on(future::poll_once(subscription.next())), None);
    let age = || story.session.list().wait().unwrap()[0].age;
    let first = age();
    // Time that moves does so whenever the graph has nothing else to do.
    assert!((0..1_000).all(|_| age() == first));
    story.session.inbox().push("note", "host", 1.into()).wait().unwrap();
    assert_eq!(seen(&mut subscription, 1).len(), 1);
    // The graph's end is its end.
    story.ostler.shutdown().wait().unwrap();
    assert_eq!(seen(&mut subscription, 9), [""; 0]);
}
