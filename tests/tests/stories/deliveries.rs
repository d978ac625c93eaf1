use crate::story::{LONG, Story, same_every_time};
use insta::assert_snapshot;
use ostler::{CallError, Command, Entry, Error, Filter, Program};
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
