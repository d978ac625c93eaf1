//! Stories of readers that acknowledge.

use super::{
    naive::{claim, gone},
    tests::*,
    *,
};
use ostler_messages::{Entry, ReaderId, Sequences, TOOL_PROGRESS};

/// The reader has what it asked for.
fn read(queues: &mut Queues, call: u64, reader: u64, max: usize) -> Vec<Entry> {
    let given = entries(&queues.read(asked(call, reader, max, None)));
    let armed = Effect::Arm { timer: TimerKind::Redeliver(CallId(call)), after_ms: 60_000 };
    assert_eq!(ack(queues, call), if given.is_empty() { vec![] } else { vec![armed] });
    given
}
fn asked(call: u64, reader: u64, max: usize, wait_ms: Option<u64>) -> Read {
    let (call, session_id, reader) = (CallId(call), session(), ReaderId(reader));
    Read { call, session_id, reader, filter: Filter::any(), max: Some(max), wait_ms, redeliver_ms: 60_000 }
}
fn acknowledge(queues: &mut Queues, reader: u64, sequences: Sequences) -> Vec<Effect> {
    let (call, session_id, reader) = (CallId(90), session(), ReaderId(reader));
    queues.acknowledge(Acknowledge { call, session_id, reader, sequences })
}
fn these(sequences: &[u64]) -> Sequences {
    Sequences::These(sequences.iter().copied().collect())
}
fn acknowledged(count: u64) -> Effect {
    answered(90, Answer::Acknowledged(count))
}
fn no_timer(call: u64) -> Effect {
    Effect::Disarm { timer: TimerKind::Redeliver(CallId(call)) }
}
fn time_up(queues: &mut Queues, call: u64) -> Vec<Effect> {
    queues.time_up(TimerKind::Redeliver(CallId(call)))
}
fn goes(queues: &mut Queues, reader: u64) -> Vec<Effect> {
    queues.reader_gone(&ReaderGone { session_id: session(), reader: ReaderId(reader) })
}
fn with_results(ns: std::ops::RangeInclusive<u64>) -> Queues {
    let mut queues = open(Limits::default());
    for n in ns {
        queues.deliver(result(n), &[], AT);
    }
    queues
}

#[test]
fn what_is_read_stays_until_it_is_acknowledged_and_nobody_else_sees_it() {
    let mut queues = with_results(1..=3);
    assert_eq!(sequences(&read(&mut queues, 1, 7, 2)), [1, 2]);
    assert_eq!(sequences(&read(&mut queues, 2, 8, 9)), [3]);
    assert_eq!(all(&mut queues, Filter::any()), []);
    let pending = Pending { call: CallId(5), session_id: session(), filter: Filter::any() };
    assert_eq!(queues.pending(&pending), [answered(5, Answer::Pending(0))]);
    assert_eq!(unread(&queues), 3);
    let copy = answered(6, Answer::Result { taken: false, record: result(1).into() });
    assert_eq!(queues.take_result(CallId(6), result(1).into()), [copy]);

    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(1)), [gone(&[1]), acknowledged(1)]);
    let rest = [no_timer(1), gone(&[2]), acknowledged(1)];
    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(3)), rest, "the third is another reader's");
    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(3)), [acknowledged(0)]);
    assert_eq!(unread(&queues), 1);
}

#[test]
fn what_is_not_acknowledged_in_time_comes_again_at_its_old_number() {
    let mut queues = with_results(1..=2);
    let first = read(&mut queues, 1, 7, 1);
    assert!(!first[0].redelivered);
    queues.drain(drain(2, Filter::handle(handle(1)), None, Some(9)));
    let effects = time_up(&mut queues, 1);
    assert_eq!(effects[0], disarmed(2), "whoever waits gets it");
    let again = &entries(&effects)[0];
    assert_eq!((again.sequence, again.redelivered), (1, true));
    nack(&mut queues, 2);
    let both = all(&mut queues, Filter::any());
    assert_eq!(both.iter().map(|entry| entry.redelivered).collect::<Vec<_>>(), [true, false]);
    assert_eq!(time_up(&mut queues, 1), [], "a timer fires once");
}

#[test]
fn a_read_that_its_caller_did_not_get_was_never_seen() {
    let mut queues = with_results(1..=1);
    queues.read(asked(1, 7, 1, None));
    assert_eq!(nack(&mut queues, 1), []);
    assert!(!read(&mut queues, 2, 7, 1)[0].redelivered);
    assert_eq!(goes(&mut queues, 7), [no_timer(2)]);
    assert!(read(&mut queues, 3, 8, 1)[0].redelivered);
    assert_eq!(goes(&mut queues, 7), [], "it holds nothing");
}

#[test]
fn a_reader_waits_as_others_do() {
    let mut queues = open(Limits::default());
    let armed = Effect::Arm { timer: TimerKind::Call(CallId(1)), after_ms: 50 };
    assert_eq!(queues.read(asked(1, 7, 1, Some(50))), [armed]);
    let effects = queues.deliver(result(1), &[], AT);
    assert_eq!((sequences(&entries(&effects)), &effects[0]), (vec![1], &disarmed(1)));
    ack(&mut queues, 1);
    assert_eq!(acknowledge(&mut queues, 7, these(&[1])), [no_timer(1), gone(&[1]), acknowledged(1)]);
}

#[test]
fn an_acknowledgement_names_only_what_somebody_has_read() {
    let mut queues = with_results(1..=4);
    read(&mut queues, 1, 7, 2);
    queues.drain(drain(2, Filter::handle(handle(3)), None, None));
    // None of this session, one on its way, one that nobody has asked for.
    for (named, never) in [(&[1, 99][..], 99), (&[0, 1], 0), (&[1, 3], 3), (&[4], 4)] {
        let refused = acknowledge(&mut queues, 7, these(named));
        assert_eq!(error(&refused), &CallError::NeverRead { sequence: never });
    }
    assert_eq!(
        error(&acknowledge(&mut queues, 7, Sequences::UpTo(5))),
        &CallError::NeverRead { sequence: 5 }
    );
    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(0)), [acknowledged(0)]);
    assert_eq!(unread(&queues), 4, "a refused one takes nothing out");

    // By another reader; after it has come back; while it is on its way to somebody else.
    assert_eq!(acknowledge(&mut queues, 8, these(&[1])), [gone(&[1]), acknowledged(1)]);
    time_up(&mut queues, 1);
    queues.drain(drain(3, Filter::handle(handle(2)), None, None));
    assert_eq!(acknowledge(&mut queues, 7, these(&[1, 2])), [gone(&[2]), acknowledged(1)]);
    assert_eq!((nack(&mut queues, 3), unread(&queues)), (vec![], 2));
    assert_eq!(acknowledge(&mut queues, 7, these(&[1, 2])), [acknowledged(0)], "twice is once");
}

#[test]
fn progress_that_is_out_of_date_does_not_come_back_from_its_reader() {
    let mut queues = open(Limits::default());
    queues.progress(running(1), AT);
    read(&mut queues, 1, 7, 1);
    goes(&mut queues, 7);
    assert!(read(&mut queues, 2, 7, 1)[0].redelivered, "nothing happened since");
    queues.progress(running(1), AT);
    assert_eq!(time_up(&mut queues, 2), []);
    assert_eq!(sequences(&read(&mut queues, 3, 7, 9)), [2], "the older one is dropped");
    queues.progress(running(1), AT);
    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(2)), [no_timer(3), acknowledged(1)]);
    let newest = entries(&queues.drain(drain(4, Filter::kind(TOOL_PROGRESS), None, None)));
    assert_eq!(sequences(&newest), [3], "its end means nothing to the newer one");
    nack(&mut queues, 4);
    read(&mut queues, 5, 7, 1);
    queues.deliver(result(1), &[], AT);
    assert_eq!(goes(&mut queues, 7), [no_timer(5)]);
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [4]);
}

#[test]
fn a_session_that_ends_waits_for_no_reader_and_keeps_what_it_holds() {
    let mut queues = with_results(1..=2);
    queues.progress(running(3), AT);
    read(&mut queues, 1, 7, 1);
    read(&mut queues, 2, 8, 9);
    assert_eq!(queues.close(&session(), false), [closed(2, true)]);
    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(9)).len(), 1, "refused");
    assert_eq!(time_up(&mut queues, 1), []);
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [1]);
    let last = [&[no_timer(2), gone(&[2]), acknowledged(2)][..], &emptied()].concat();
    assert_eq!(acknowledge(&mut queues, 8, Sequences::UpTo(3)), last);
    let nothing = Some(Answer::Acknowledged(0));
    let asked = NoQueue { call: CallId(90), session_id: session(), nothing };
    assert_eq!(acknowledge(&mut queues, 8, Sequences::UpTo(3)), [Effect::NoQueue(asked)]);
    assert_eq!((goes(&mut queues, 8), time_up(&mut queues, 2)), (vec![], vec![]));
}

#[test]
fn what_a_reader_holds_at_the_end_of_a_session_that_discards_may_be_acknowledged_and_does_not_come_again() {
    let mut queues = with_results(1..=3);
    read(&mut queues, 1, 7, 2);
    assert_eq!(queues.close(&session(), true), [closed(3, true), gone(&[3])]);
    assert_eq!(acknowledge(&mut queues, 7, Sequences::UpTo(1)), [gone(&[1]), acknowledged(1)]);
    assert_eq!(time_up(&mut queues, 1), [&[gone(&[2])][..], &emptied()].concat());
}

#[test]
fn what_readers_hold_counts_towards_the_limits() {
    let mut queues =
        open(Limits { unread_results: 2, results_with_text: 1, pushed_entries: 1, ..Limits::default() });
    queues.deliver(result(1), &[], AT);
    queues.push(note(1, "note"), AT);
    read(&mut queues, 2, 7, 9);
    let limit = CallError::LimitReached { limit: Limit::PushedEntries, max: 1, leased: 1 };
    assert_eq!(error(&queues.push(note(3, "note"), AT)), &limit);
    assert_eq!(queues.deliver(result(2), &[], AT), paused(true));
    assert!(all(&mut queues, Filter::any())[0].record().unwrap().text_omitted);
    let effects = acknowledge(&mut queues, 7, Sequences::UpTo(2));
    assert_eq!(effects, [no_timer(2), gone(&[1]), acknowledged(2)]);
    queues.deliver(result(3), &[claim(9)], AT);
    assert_eq!(queues.discard_all(), 1);
}
