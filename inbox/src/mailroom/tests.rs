//! Stories of one mailroom.

use super::*;
use crate::needs_text;
use ostler_messages::{CommandId, Entry, Filter, Output, Status};
use serde_json::json;

pub(crate) const AT: Stamp = Stamp(1_000);

pub(crate) fn handle(n: u64) -> HandleId {
    HandleId { host_pid: 31, n }
}
pub(crate) fn session() -> SessionId {
    SessionId::new("s")
}
/// A record with eight bytes of output.
pub(crate) fn record(session_id: &SessionId, n: u64, status: Status) -> Arc<Record> {
    let command_id = CommandId { host_pid: 31, unix_ns: 5, n };
    let mut record = Record { status, ..Record::new(session_id.clone(), command_id, handle(n)) };
    record.set_output(Output {
        stdout: "out\n".into(),
        stderr: "err\n".into(),
        byte_count: 8,
        ..Output::default()
    });
    Arc::new(record)
}
fn result(n: u64) -> Arc<Record> {
    record(&session(), n, Status::Completed)
}
fn running(n: u64) -> Arc<Record> {
    record(&session(), n, Status::Running)
}
fn open(limits: Limits) -> Mailroom {
    let mut mailroom = Mailroom::new(limits);
    mailroom.open(session());
    mailroom
}
fn drain(call: u64, filter: Filter, most: Option<usize>, wait_ms: Option<u64>) -> Drain {
    Drain { call: CallId(call), session_id: session(), filter, most, wait_ms }
}
fn wait(call: u64, filter: Filter, timeout_ms: u64) -> Wait {
    Wait { call: CallId(call), session_id: session(), filter, timeout_ms }
}
fn note(call: u64, kind: &str) -> Push {
    let (session_id, source) = (session(), "me".to_owned());
    Push { call: CallId(call), session_id, kind: kind.into(), source, content: json!({ "n": call }) }
}
/// Everything that fits, at once.
fn all(mailroom: &mut Mailroom, filter: Filter) -> Vec<Entry> {
    entries(&mailroom.drain(drain(99, filter, None, None)))
}
/// The entries of the only drain that is answered.
fn entries(effects: &[Effect]) -> Vec<Entry> {
    let mut found = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(Reply { answer: Ok(Answer::Drained { entries, .. }), .. }) => Some(entries.clone()),
        _ => None,
    });
    let entries = found.next().unwrap();
    assert!(found.next().is_none(), "one drain is answered: {effects:?}");
    entries
}
fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}
fn error(effects: &[Effect]) -> &CallError {
    match effects {
        [Effect::Reply(Reply { answer: Err(Refusal::Call(error)), .. })] => error,
        other => panic!("not one refusal: {other:?}"),
    }
}
fn answered(call: u64, answer: Answer) -> Effect {
    reply(CallId(call), answer)
}
fn armed(call: u64, after_ms: u64) -> Vec<Effect> {
    vec![Effect::Arm { call: CallId(call), after_ms }]
}
fn disarmed(call: u64) -> Effect {
    Effect::Disarm { call: CallId(call) }
}
fn drained(call: u64, entries: Vec<Entry>) -> Effect {
    answered(call, Answer::Drained { session_id: session(), entries })
}
fn crowded(crowded: bool) -> Vec<Effect> {
    vec![Effect::Crowded(Crowded { crowded })]
}
fn put_back(mailroom: &mut Mailroom, entries: Vec<Entry>) -> Vec<Effect> {
    mailroom.put_back(PutBack { session_id: session(), entries })
}

#[test]
fn a_result_comes_out_once_and_in_order_with_its_wire_names() {
    let mut mailroom = open(Limits::default());
    mailroom.deliver(result(1), AT);
    mailroom.push(note(1, "note"), AT);
    mailroom.deliver(result(2), AT);
    let taken = all(&mut mailroom, Filter::any());
    assert_eq!(sequences(&taken), [1, 2, 3]);
    assert_eq!((taken[0].kind.as_str(), taken[0].source.as_str()), ("tool_result", "ostler.exit"));
    assert_eq!((taken[1].kind.as_str(), taken[1].source.as_str()), ("note", "me"));
    assert_eq!(taken[2].record().map(|record| record.handle_id), Some(handle(2)));
    assert_eq!(all(&mut mailroom, Filter::any()), []);
}

#[test]
fn a_filtered_drain_leaves_the_others_in_order() {
    let mut mailroom = open(Limits::default());
    for n in 1..=3 {
        mailroom.push(note(n, "note"), AT);
        mailroom.deliver(result(n), AT);
    }
    assert_eq!(sequences(&entries(&mailroom.drain(drain(9, Filter::results(), Some(2), None)))), [2, 4]);
    assert_eq!(sequences(&all(&mut mailroom, Filter::handle(handle(3)))), [6]);
    assert_eq!(sequences(&all(&mut mailroom, Filter::any())), [1, 3, 5]);
}

#[test]
fn newer_progress_replaces_unread_progress_at_the_tail_and_the_result_removes_it() {
    let mut mailroom = open(Limits::default());
    mailroom.progress(running(1), AT);
    mailroom.push(note(1, "note"), AT);
    mailroom.progress(running(1), AT);
    let pending = Pending { call: CallId(5), session_id: session(), filter: Filter::any() };
    assert_eq!(mailroom.pending(&pending), [answered(5, Answer::Pending(2))]);
    mailroom.progress(running(2), AT);
    mailroom.deliver(result(1), AT);
    mailroom.settle(&session(), handle(2));
    let taken = all(&mut mailroom, Filter::any());
    assert_eq!(sequences(&taken), [2, 5]);
    assert!(taken[1].is_result());
}

#[test]
fn a_drain_that_finds_nothing_waits_for_the_first_entry_that_fits() {
    let mut mailroom = open(Limits::default());
    assert_eq!(mailroom.drain(drain(1, Filter::results(), None, Some(50))), armed(1, 50));
    assert_eq!(mailroom.push(note(2, "note"), AT), [answered(2, Answer::Pushed(1))]);
    let effects = mailroom.deliver(result(1), AT);
    assert_eq!(sequences(&entries(&effects)), [2]);
    assert_eq!(effects[0], disarmed(1));
    assert_eq!(mailroom.expire(CallId(1)), [], "a timer that fires late does nothing");
    assert_eq!(mailroom.deliver(result(2), AT), [], "and the call is served only once");
}

#[test]
fn a_wait_without_time_is_answered_at_once_and_one_whose_time_runs_out_with_nothing() {
    let mut mailroom = open(Limits::default());
    assert_eq!(mailroom.wait(wait(1, Filter::any(), 0)), [answered(1, Answer::Waited(0))]);
    assert_eq!(mailroom.drain(drain(2, Filter::any(), None, Some(0))), [drained(2, vec![])]);
    assert_eq!(mailroom.drain(drain(3, Filter::any(), Some(0), Some(9))), [drained(3, vec![])]);
    assert_eq!(mailroom.wait(wait(4, Filter::any(), 9)), armed(4, 9));
    assert_eq!(mailroom.drain(drain(5, Filter::any(), None, Some(9))), armed(5, 9));
    assert_eq!(mailroom.expire(CallId(4)), [answered(4, Answer::Waited(0))]);
    assert_eq!(mailroom.expire(CallId(5)), [drained(5, vec![])]);
    assert_eq!(mailroom.expire(CallId(5)), []);
}

#[test]
fn those_who_wait_are_told_before_the_first_drain_in_line_takes_the_entry() {
    let mut mailroom = open(Limits::default());
    mailroom.drain(drain(1, Filter::kind("other"), None, Some(9)));
    mailroom.drain(drain(2, Filter::any(), None, Some(9)));
    mailroom.drain(drain(3, Filter::any(), None, Some(9)));
    mailroom.wait(wait(4, Filter::any(), 9));
    mailroom.wait(wait(5, Filter::results(), 9));
    let effects = mailroom.deliver(result(1), AT);
    let entry = entries(&effects);
    let told = |call| [disarmed(call), answered(call, Answer::Waited(1))];
    let mut expected: Vec<Effect> = [told(4), told(5)].concat();
    expected.extend([disarmed(2), drained(2, entry)]);
    assert_eq!(effects, expected);
    assert_eq!(sequences(&entries(&mailroom.deliver(result(2), AT))), [2], "now for the third");
}

#[test]
fn a_host_cannot_pass_for_ostler_nor_flood_the_room() {
    let mut mailroom = open(Limits { pushed_entries: 2, ..Limits::default() });
    for kind in ["tool_result", "tool_progress"] {
        assert!(matches!(error(&mailroom.push(note(1, kind), AT)), CallError::ReservedKind { .. }));
    }
    let forged = Push { source: "ostler.exit".into(), ..note(1, "note") };
    assert!(matches!(error(&mailroom.push(forged, AT)), CallError::ReservedKind { .. }));

    let quotes_and_names = 2 + "noteme".len();
    let fits = json!("x".repeat(PUSH_MAX_BYTES - quotes_and_names));
    let too_large = json!("x".repeat(PUSH_MAX_BYTES - quotes_and_names + 1));
    let refused = mailroom.push(Push { content: too_large, ..note(1, "note") }, AT);
    let (bytes, limit) = (PUSH_MAX_BYTES + 1, PUSH_MAX_BYTES);
    assert_eq!(error(&refused), &CallError::ContentTooLarge { bytes, limit });
    assert_eq!(
        mailroom.push(Push { content: fits, ..note(1, "note") }, AT),
        [answered(1, Answer::Pushed(1))]
    );

    mailroom.push(note(2, "note"), AT);
    let limit = CallError::LimitReached { limit: Limit::PushedEntries, most: 2 };
    assert_eq!(error(&mailroom.push(note(3, "note"), AT)), &limit);
    mailroom.deliver(result(1), AT);
    assert_eq!(all(&mut mailroom, Filter::any()).len(), 3, "results have no such limit");
    assert_eq!(
        mailroom.push(note(4, "note"), AT),
        [answered(4, Answer::Pushed(4))],
        "what is read counts no longer"
    );
}

#[test]
fn results_beyond_the_limit_keep_their_record_and_say_that_they_need_their_text() {
    let mut mailroom = open(Limits { results_with_text: 2, ..Limits::default() });
    let shared = result(3);
    mailroom.deliver(result(1), AT);
    mailroom.deliver(result(2), AT);
    mailroom.deliver(shared.clone(), AT);
    let first = entries(&mailroom.drain(drain(1, Filter::any(), Some(1), None)));
    mailroom.deliver(result(4), AT);
    put_back(&mut mailroom, first);
    let taken = all(&mut mailroom, Filter::any());
    let texts: Vec<bool> = taken.iter().filter_map(Entry::record).map(needs_text).collect();
    assert_eq!(
        texts,
        [true, false, true, false],
        "the one that was put back found its place with text taken"
    );
    assert_eq!(taken[2].record().map(|record| record.byte_count), Some(8));
    assert_eq!(shared.stdout, "out\n", "others that hold the record keep its text");
}

#[test]
fn entries_that_are_put_back_stand_where_they_stood() {
    let mut mailroom = open(Limits::default());
    for n in 1..=4 {
        mailroom.deliver(result(n), AT);
    }
    let taken = entries(&mailroom.drain(drain(1, Filter::any(), Some(3), None)));
    mailroom.deliver(result(5), AT);
    assert_eq!(put_back(&mut mailroom, taken.clone()), []);
    assert_eq!(put_back(&mut mailroom, taken), [], "twice is once");
    assert_eq!(mailroom.unread(), 5);
    assert_eq!(sequences(&all(&mut mailroom, Filter::any())), [1, 2, 3, 4, 5]);
}

#[test]
fn entries_that_are_put_back_are_given_to_those_who_wait_by_now() {
    let mut mailroom = open(Limits::default());
    mailroom.deliver(result(1), AT);
    mailroom.deliver(result(2), AT);
    let mut taken = all(&mut mailroom, Filter::any());
    taken.reverse();
    mailroom.wait(wait(1, Filter::any(), 9));
    mailroom.drain(drain(2, Filter::any(), Some(1), Some(9)));
    let effects = put_back(&mut mailroom, taken);
    assert!(effects.contains(&answered(1, Answer::Waited(2))));
    assert_eq!(sequences(&entries(&effects)), [1]);
    assert_eq!(sequences(&all(&mut mailroom, Filter::any())), [2]);
}

#[test]
fn progress_is_put_back_only_while_it_is_the_newest_word_about_its_handle() {
    let mut mailroom = open(Limits::default());
    let take = |mailroom: &mut Mailroom| all(mailroom, Filter::kind(TOOL_PROGRESS));
    mailroom.progress(running(1), AT);
    let first = take(&mut mailroom);
    put_back(&mut mailroom, first.clone());
    assert_eq!(take(&mut mailroom), first, "nothing happened since");

    mailroom.progress(running(1), AT);
    let second = take(&mut mailroom);
    put_back(&mut mailroom, first);
    assert_eq!(take(&mut mailroom), [], "newer progress was read meanwhile");

    mailroom.deliver(result(1), AT);
    assert_eq!(all(&mut mailroom, Filter::results()).len(), 1);
    put_back(&mut mailroom, second);
    assert_eq!(take(&mut mailroom), [], "the result was read meanwhile");
}

#[test]
fn an_ended_session_is_read_to_its_end_and_then_empty_for_good() {
    let mut mailroom = open(Limits::default());
    mailroom.deliver(result(1), AT);
    mailroom.progress(running(2), AT);
    mailroom.wait(wait(1, Filter::kind("note"), 9));
    mailroom.drain(drain(2, Filter::kind("note"), None, Some(9)));
    let closed = Effect::Closed(RoomClosed { session_id: session(), unread: 1 });
    let nothing = [disarmed(1), answered(1, Answer::Waited(0)), disarmed(2), drained(2, vec![])];
    assert_eq!(mailroom.close(&session()), [vec![closed], nothing.to_vec()].concat());
    assert!(matches!(error(&mailroom.push(note(3, "note"), AT)), CallError::SessionClosed { .. }));
    assert_eq!(mailroom.progress(running(3), AT), []);
    assert_eq!(
        mailroom.wait(wait(4, Filter::kind("note"), 9)),
        [answered(4, Answer::Waited(0))],
        "nothing more comes"
    );
    assert_eq!(mailroom.drain(drain(5, Filter::kind("note"), None, Some(9))), [drained(5, vec![])]);
    assert!(mailroom.has_room(&session()));
    assert_eq!(sequences(&all(&mut mailroom, Filter::any())), [1], "the progress is withdrawn");
    assert!(!mailroom.has_room(&session()));
    assert_eq!(mailroom.drain(drain(6, Filter::any(), None, Some(9))), [drained(6, vec![])]);
    let again = mailroom.push(note(7, "note"), AT);
    assert!(matches!(error(&again), CallError::SessionClosed { .. }));
    assert_eq!(mailroom.close(&session()), [Effect::Closed(RoomClosed { session_id: session(), unread: 0 })]);
}

#[test]
fn results_that_come_back_after_the_end_are_not_lost() {
    let mut mailroom = open(Limits::default());
    mailroom.deliver(result(1), AT);
    mailroom.push(note(1, "note"), AT);
    mailroom.close(&session());
    let taken = all(&mut mailroom, Filter::any());
    mailroom.deliver(result(2), AT);
    put_back(&mut mailroom, taken);
    assert_eq!(mailroom.unread(), 2);
    assert_eq!(sequences(&all(&mut mailroom, Filter::any())), [1, 2, 3], "and no sequence comes twice");
    assert!(!mailroom.has_room(&session()));
}

#[test]
fn the_supervisor_hears_of_a_crowd_once_and_of_its_end_at_half() {
    let mut mailroom = open(Limits { unread_results: 4, ..Limits::default() });
    for n in 1..=3 {
        assert_eq!(mailroom.deliver(result(n), AT), []);
    }
    let other = SessionId::new("other");
    mailroom.open(other.clone());
    assert_eq!(mailroom.deliver(record(&other, 4, Status::Completed), AT), crowded(true));
    assert_eq!(mailroom.deliver(result(5), AT), []);
    let two = mailroom.drain(drain(1, Filter::any(), Some(2), None));
    assert_eq!(two.len(), 1, "three are left");
    let one = mailroom.drain(drain(2, Filter::any(), Some(1), None));
    assert_eq!(one[1..], crowded(false));
    put_back(&mut mailroom, entries(&two));
    assert_eq!(put_back(&mut mailroom, entries(&one)), [], "told at four already");
    assert_eq!(mailroom.unread(), 5);
}

#[test]
fn a_result_that_someone_waits_for_crowds_nobody() {
    let mut mailroom = open(Limits { unread_results: 0, ..Limits::default() });
    mailroom.drain(drain(1, Filter::any(), None, Some(9)));
    let effects = mailroom.deliver(result(1), AT);
    assert_eq!(effects.len(), 2, "disarmed and answered: {effects:?}");
    assert_eq!(mailroom.deliver(result(2), AT), crowded(true));
}
