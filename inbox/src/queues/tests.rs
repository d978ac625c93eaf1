//! Stories of the queues of one session and a few.

use super::{
    naive::{claim, gone},
    *,
};
use ostler_messages::{ActorName, CommandId, Entry, HandleId, Output, Refusal, Status};
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
    let mut record = Record::new(session_id.clone(), command_id, handle(n)).with_status(status);
    record.set_output(Output {
        stdout: "out\n".into(),
        stderr: "err\n".into(),
        byte_count: 8,
        text_on_disk: ostler_messages::TextOnDisk(true),
        ..Output::default()
    });
    Arc::new(record)
}
pub(super) fn result(n: u64) -> Arc<Record> {
    record(&session(), n, Status::Completed)
}
pub(super) fn running(n: u64) -> Arc<Record> {
    record(&session(), n, Status::Running)
}
pub(super) fn open(limits: Limits) -> Queues {
    let mut queues = Queues::new(limits);
    queues.open(session(), None);
    queues
}
pub(super) fn drain(call: u64, filter: Filter, max: Option<usize>, wait_ms: Option<u64>) -> Drain {
    Drain { call: CallId(call), session_id: session(), filter, max, wait_ms }
}
fn wait(call: u64, filter: Filter, timeout_ms: u64) -> Wait {
    Wait { call: CallId(call), session_id: session(), filter, timeout_ms }
}
pub(super) fn note(call: u64, kind: &str) -> Push {
    let (session_id, source) = (session(), "me".to_owned());
    Push { call: CallId(call), session_id, kind: kind.into(), source, content: json!({ "n": call }).into() }
}
/// Everything that fits, at once, and the reader has it.
pub(super) fn all(queues: &mut Queues, filter: Filter) -> Vec<Entry> {
    let taken = entries(&queues.drain(drain(99, filter, None, None)));
    ack(queues, 99);
    taken
}
/// The entries of the only drain that is answered.
pub(super) fn entries(effects: &[Effect]) -> Vec<Entry> {
    let mut found = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(Reply { answer: Ok(Answer::Drained { entries, .. }), .. }) => Some(entries.clone()),
        _ => None,
    });
    let entries = found.next().unwrap();
    assert!(found.next().is_none(), "one drain is answered: {effects:?}");
    entries
}
pub(super) fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}
pub(super) fn error(effects: &[Effect]) -> &CallError {
    match effects {
        [Effect::Reply(Reply { answer: Err(Refusal::Call(error)), .. })] => error,
        other => panic!("not one refusal: {other:?}"),
    }
}
pub(super) fn answered(call: u64, answer: Answer) -> Effect {
    reply(CallId(call), answer)
}
fn armed(call: u64, after_ms: u64) -> Vec<Effect> {
    vec![Effect::Arm { timer: TimerKind::Call(CallId(call)), after_ms }]
}
pub(super) fn disarmed(call: u64) -> Effect {
    Effect::Disarm { timer: TimerKind::Call(CallId(call)) }
}
fn drained(call: u64, entries: Vec<Entry>) -> Effect {
    answered(call, Answer::Drained { session_id: session(), entries })
}
pub(super) fn paused(paused: bool) -> Vec<Effect> {
    vec![Effect::Paused(LaunchesPaused { session_id: session(), paused })]
}
pub(super) fn closed(unread: u64, kept: bool) -> Effect {
    Effect::Closed(QueueClosed { session_id: session(), unread, kept, next: None })
}
pub(super) fn emptied() -> Vec<Effect> {
    vec![Effect::Emptied(QueueEmptied { session_id: session() })]
}
/// Free and leased results.
pub(super) fn unread(queues: &Queues) -> usize {
    queues.queues.values().map(Queue::results).sum()
}
pub(super) fn lent(call: u64, entries: Vec<Entry>) -> Effect {
    let answer = Ok(Answer::Drained { session_id: session(), entries });
    Effect::Reply(Reply { call: CallId(call), answer, leased_by: Some(ActorName::Inbox), after: None })
}
pub(super) fn nack(queues: &mut Queues, call: u64) -> Vec<Effect> {
    queues.nack(CallId(call), AT)
}
pub(super) fn ack(queues: &mut Queues, call: u64) -> Vec<Effect> {
    queues.ack(CallId(call))
}

#[test]
fn a_result_comes_out_once_and_in_order_with_its_wire_names() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.push(note(1, "note"), AT);
    queues.deliver(result(2), &[], AT);
    let taken = all(&mut queues, Filter::any());
    assert_eq!(sequences(&taken), [1, 2, 3]);
    assert_eq!((taken[0].kind.as_ref(), taken[0].source.as_ref()), ("tool_result", "ostler.exit"));
    assert_eq!((taken[1].kind.as_ref(), taken[1].source.as_ref()), ("note", "me"));
    assert_eq!(taken[2].record().map(|record| record.handle_id), Some(handle(2)));
    assert_eq!(all(&mut queues, Filter::any()), []);
}

#[test]
fn a_filtered_drain_leaves_the_others_in_order() {
    let mut queues = open(Limits::default());
    for n in 1..=3 {
        queues.push(note(n, "note"), AT);
        queues.deliver(result(n), &[], AT);
    }
    assert_eq!(sequences(&entries(&queues.drain(drain(9, Filter::results(), Some(2), None)))), [2, 4]);
    assert_eq!(sequences(&all(&mut queues, Filter::handle(handle(3)))), [6]);
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [1, 3, 5]);
}

#[test]
fn newer_progress_replaces_unread_progress_at_the_tail_and_the_result_removes_it() {
    let mut queues = open(Limits::default());
    queues.progress(running(1), AT);
    queues.push(note(1, "note"), AT);
    queues.progress(running(1), AT);
    let pending = Pending { call: CallId(5), session_id: session(), filter: Filter::any() };
    assert_eq!(queues.pending(&pending), [answered(5, Answer::Pending(2))]);
    queues.progress(running(2), AT);
    queues.deliver(result(1), &[], AT);
    queues.deliver(result(2), &[claim(6)], AT);
    let taken = all(&mut queues, Filter::any());
    assert_eq!(sequences(&taken), [2, 5]);
    assert!(taken[1].is_result());
}

#[test]
fn a_drain_that_finds_nothing_waits_for_the_first_entry_that_fits() {
    let mut queues = open(Limits::default());
    assert_eq!(queues.drain(drain(1, Filter::results(), None, Some(50))), armed(1, 50));
    assert_eq!(queues.push(note(2, "note"), AT), [answered(2, Answer::Pushed(1))]);
    let effects = queues.deliver(result(1), &[], AT);
    assert_eq!(sequences(&entries(&effects)), [2]);
    assert_eq!(effects[0], disarmed(1));
    assert_eq!(queues.time_up(TimerKind::Call(CallId(1))), [], "a timer that fires late does nothing");
    assert_eq!(queues.deliver(result(2), &[], AT), [], "and the call is served only once");
}

#[test]
fn a_wait_without_time_is_answered_at_once_and_one_whose_time_runs_out_with_nothing() {
    let mut queues = open(Limits::default());
    assert_eq!(queues.wait(wait(1, Filter::any(), 0)), [answered(1, Answer::Counted(0))]);
    assert_eq!(queues.drain(drain(2, Filter::any(), None, Some(0))), [drained(2, vec![])]);
    assert_eq!(queues.drain(drain(3, Filter::any(), Some(0), Some(9))), [drained(3, vec![])]);
    assert_eq!(queues.wait(wait(4, Filter::any(), 9)), armed(4, 9));
    assert_eq!(queues.drain(drain(5, Filter::any(), None, Some(9))), armed(5, 9));
    assert_eq!(queues.time_up(TimerKind::Call(CallId(4))), [answered(4, Answer::Counted(0))]);
    assert_eq!(queues.time_up(TimerKind::Call(CallId(5))), [drained(5, vec![])]);
    assert_eq!(queues.time_up(TimerKind::Call(CallId(5))), []);
}

#[test]
fn those_who_wait_are_told_before_the_first_drain_in_line_takes_the_entry() {
    let mut queues = open(Limits::default());
    queues.drain(drain(1, Filter::kind("other"), None, Some(9)));
    queues.drain(drain(2, Filter::any(), None, Some(9)));
    queues.drain(drain(3, Filter::any(), None, Some(9)));
    queues.wait(wait(4, Filter::any(), 9));
    queues.wait(wait(5, Filter::results(), 9));
    let effects = queues.deliver(result(1), &[], AT);
    let entry = entries(&effects);
    let told = |call| [disarmed(call), answered(call, Answer::Counted(1))];
    let mut expected: Vec<Effect> = [told(4), told(5)].concat();
    expected.extend([disarmed(2), lent(2, entry)]);
    assert_eq!(effects, expected);
    assert_eq!(sequences(&entries(&queues.deliver(result(2), &[], AT))), [2], "now for the third");
}

#[test]
fn a_host_cannot_pass_for_ostler_nor_flood_the_room() {
    let mut queues = open(Limits { pushed_entries: 2, ..Limits::default() });
    for kind in ["tool_result", "tool_progress"] {
        assert!(matches!(error(&queues.push(note(1, kind), AT)), CallError::ReservedKind { .. }));
    }
    let forged = Push { source: "ostler.exit".into(), ..note(1, "note") };
    assert!(matches!(error(&queues.push(forged, AT)), CallError::ReservedKind { .. }));

    let quotes_and_names = 2 + "noteme".len();
    let fits = json!("x".repeat(PUSH_MAX_BYTES - quotes_and_names));
    let too_large = json!("x".repeat(PUSH_MAX_BYTES - quotes_and_names + 1));
    let refused = queues.push(Push { content: too_large.into(), ..note(1, "note") }, AT);
    let (bytes, limit) = (PUSH_MAX_BYTES + 1, PUSH_MAX_BYTES);
    assert_eq!(error(&refused), &CallError::ContentTooLarge { bytes, limit });
    assert_eq!(
        queues.push(Push { content: fits.into(), ..note(1, "note") }, AT),
        [answered(1, Answer::Pushed(1))]
    );

    queues.push(note(2, "note"), AT);
    let limit = CallError::LimitReached { limit: Limit::PushedEntries, max: 2, leased: 0 };
    assert_eq!(error(&queues.push(note(3, "note"), AT)), &limit);
    queues.deliver(result(1), &[], AT);
    assert_eq!(all(&mut queues, Filter::any()).len(), 3, "results have no such limit");
    assert_eq!(
        queues.push(note(4, "note"), AT),
        [answered(4, Answer::Pushed(4))],
        "what is read counts no longer"
    );
}

#[test]
fn results_beyond_the_limit_keep_their_record_and_say_that_their_text_is_left_out() {
    let mut queues = open(Limits { results_with_text: 2, ..Limits::default() });
    let shared = result(3);
    queues.deliver(result(1), &[], AT);
    queues.deliver(result(2), &[], AT);
    queues.deliver(shared.clone(), &[], AT);
    queues.drain(drain(1, Filter::any(), Some(1), None));
    queues.deliver(result(4), &[], AT);
    nack(&mut queues, 1);
    let taken = all(&mut queues, Filter::any());
    let omitted: Vec<bool> =
        taken.iter().filter_map(Entry::record).map(|record| record.text_omitted).collect();
    assert_eq!(omitted, [false, false, true, true], "a leased text is in memory too");
    assert_eq!(taken[2].record().map(|record| (record.byte_count, record.text_bytes())), Some((8, 0)));
    assert_eq!(shared.stdout, "out\n", "others that hold the record keep its text");

    queues.deliver(result(5), &[], AT);
    queues.deliver(result(6), &[], AT);
    let mut alone = (*result(7)).clone();
    alone.text_on_disk = ostler_messages::TextOnDisk(false);
    queues.deliver(alone.into(), &[], AT);
    let taken = all(&mut queues, Filter::any());
    assert_eq!(taken[2].record().map(|record| record.text_bytes()), Some(8), "nothing else has it");
}

#[test]
fn entries_whose_reader_is_gone_stand_where_they_stood() {
    let mut queues = open(Limits::default());
    for n in 1..=4 {
        queues.deliver(result(n), &[], AT);
    }
    queues.drain(drain(1, Filter::any(), Some(3), None));
    queues.deliver(result(5), &[], AT);
    let pending = Pending { call: CallId(5), session_id: session(), filter: Filter::any() };
    assert_eq!(
        queues.pending(&pending),
        [answered(5, Answer::Pending(2))],
        "leased entries are nobody else's"
    );
    assert_eq!(unread(&queues), 5, "but they count");
    assert_eq!(nack(&mut queues, 1), []);
    assert_eq!((nack(&mut queues, 1), ack(&mut queues, 1)), (vec![], vec![]), "a lease ends once");
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [1, 2, 3, 4, 5]);
    assert_eq!(unread(&queues), 0);
}

#[test]
fn entries_that_come_back_are_given_to_those_who_wait_by_now() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.deliver(result(2), &[], AT);
    queues.drain(drain(9, Filter::any(), None, None));
    queues.wait(wait(1, Filter::any(), 9));
    queues.drain(drain(2, Filter::any(), Some(1), Some(9)));
    let effects = nack(&mut queues, 9);
    assert!(effects.contains(&answered(1, Answer::Counted(2))));
    assert_eq!(sequences(&entries(&effects)), [1]);
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [2]);
}

#[test]
fn a_reader_that_is_gone_while_it_waits_is_given_nothing() {
    let mut queues = open(Limits::default());
    queues.drain(drain(1, Filter::any(), None, Some(9)));
    queues.wait(wait(2, Filter::any(), 9));
    assert_eq!(nack(&mut queues, 1), [disarmed(1)]);
    assert_eq!(nack(&mut queues, 2), [disarmed(2)]);
    assert_eq!(queues.deliver(result(1), &[], AT), []);
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [1]);
}

#[test]
fn progress_comes_back_only_while_it_is_the_newest_of_its_handle() {
    let mut queues = open(Limits::default());
    let take = |queues: &mut Queues, call| {
        sequences(&entries(&queues.drain(drain(call, Filter::kind(TOOL_PROGRESS), None, None))))
    };
    queues.progress(running(1), AT);
    assert_eq!(take(&mut queues, 1), [1]);
    nack(&mut queues, 1);
    assert_eq!(take(&mut queues, 2), [1], "nothing happened since");

    queues.progress(running(1), AT);
    nack(&mut queues, 2);
    assert_eq!(take(&mut queues, 3), [2], "the older one is dropped");
    nack(&mut queues, 3);
    assert_eq!(take(&mut queues, 4), [2]);
    queues.deliver(result(1), &[], AT);
    nack(&mut queues, 4);
    assert!(take(&mut queues, 5).is_empty(), "the result has come meanwhile");
    assert_eq!(all(&mut queues, Filter::results()).len(), 1);
}

#[test]
fn a_cancelled_result_is_gone_when_one_canceller_has_it() {
    let mut queues = open(Limits::default());
    let effects = queues.deliver(result(1), &[claim(1), claim(2), claim(3)], AT);
    assert_eq!(effects.len(), 3, "each is answered: {effects:?}");
    assert_eq!((unread(&queues), all(&mut queues, Filter::any()).len()), (1, 0));
    assert_eq!(nack(&mut queues, 1), []);
    ack(&mut queues, 2);
    assert_eq!(unread(&queues), 0);
    nack(&mut queues, 3);
    assert_eq!(all(&mut queues, Filter::any()), []);
}

#[test]
fn a_cancelled_result_that_no_canceller_has_takes_its_place_at_the_tail() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[claim(1), claim(2)], AT);
    queues.push(note(3, "note"), AT);
    queues.drain(drain(4, Filter::results(), None, Some(9)));
    assert_eq!(nack(&mut queues, 1), []);
    let effects = nack(&mut queues, 2);
    assert_eq!((sequences(&entries(&effects)), &effects[0]), (vec![2], &disarmed(4)));
}

#[test]
fn an_ended_session_is_read_to_its_end_and_then_empty_for_good() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.progress(running(2), AT);
    queues.wait(wait(1, Filter::kind("note"), 9));
    queues.drain(drain(2, Filter::kind("note"), None, Some(9)));
    let now_closed = closed(1, true);
    let nothing = [disarmed(1), answered(1, Answer::Counted(0)), disarmed(2), drained(2, vec![])];
    assert_eq!(queues.close(&session(), false), [vec![now_closed], nothing.to_vec()].concat());
    assert!(matches!(error(&queues.push(note(3, "note"), AT)), CallError::SessionClosed { .. }));
    assert_eq!(queues.progress(running(3), AT), []);
    assert_eq!(
        queues.wait(wait(4, Filter::kind("note"), 9)),
        [answered(4, Answer::Counted(0))],
        "nothing more comes"
    );
    assert_eq!(queues.drain(drain(5, Filter::kind("note"), None, Some(9))), [drained(5, vec![])]);
    assert!(queues.has_queue(&session()));
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [1], "the progress is withdrawn");
    assert!(!queues.has_queue(&session()));
    let nothing = Some(Answer::Drained { session_id: session(), entries: vec![] });
    let asked = NoQueue { call: CallId(6), session_id: session(), nothing };
    assert_eq!(queues.drain(drain(6, Filter::any(), None, Some(9))), [Effect::NoQueue(asked)]);
    let asked = NoQueue { call: CallId(7), session_id: session(), nothing: None };
    assert_eq!(queues.push(note(7, "note"), AT), [Effect::NoQueue(asked)]);
    assert_eq!(queues.close(&session(), false), [closed(0, false)]);
}

#[test]
fn a_session_that_is_ended_with_its_unread_discarded_keeps_nothing() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.deliver(result(2), &[], AT);
    queues.push(note(9, "note"), AT);
    queues.drain(drain(1, Filter::any(), Some(1), None));
    queues.deliver(result(3), &[claim(2)], AT);
    let closes = [closed(3, true), gone(&[2])];
    assert_eq!(queues.close(&session(), true), closes, "what is leased may still be read");
    assert_eq!(nack(&mut queues, 1), [gone(&[1])], "and if it is not, it is dropped");
    assert_eq!(nack(&mut queues, 2), [&[gone(&[3])][..], &emptied()[..]].concat());
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    assert_eq!(queues.close(&session(), true), [closed(1, false), gone(&[1])], "nothing is left");
}

#[test]
fn a_launch_beyond_the_limit_is_told_what_is_leased() {
    let mut queues = open(Limits { unread_results: 2, ..Limits::default() });
    queues.deliver(result(1), &[], AT);
    queues.deliver(result(2), &[], AT);
    queues.drain(drain(1, Filter::any(), Some(1), None));
    let refused = queues.refuse_launch(&RefuseLaunch { call: CallId(2), session_id: session() });
    let [Effect::Reply(Reply { answer: Err(error), .. })] = &refused[..] else { panic!("{refused:?}") };
    let text = "limit reached: unread results (drain the inbox) (at most 2; there are 2, 1 of them leased to readers; the oldest: hto-1f-2)";
    assert_eq!(error.to_string(), text);
    assert_eq!(queues.discard_all(), 2);
}

#[test]
fn what_is_leased_at_the_end_comes_back_after_it() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.push(note(1, "note"), AT);
    queues.progress(running(3), AT);
    queues.drain(drain(2, Filter::any(), None, None));
    queues.deliver(result(2), &[claim(3)], AT);
    assert_eq!(queues.close(&session(), false), [closed(2, true)]);
    nack(&mut queues, 2);
    nack(&mut queues, 3);
    assert_eq!(sequences(&all(&mut queues, Filter::any())), [1, 2, 4], "and the progress is dropped");
    assert!(!queues.has_queue(&session()));
}

#[test]
fn the_queue_of_an_ended_session_stays_while_a_call_holds_an_entry() {
    let mut queues = open(Limits::default());
    queues.deliver(result(1), &[], AT);
    queues.deliver(result(2), &[claim(2)], AT);
    queues.drain(drain(1, Filter::any(), None, None));
    queues.close(&session(), false);
    assert_eq!(ack(&mut queues, 1), [gone(&[1])]);
    assert_eq!(ack(&mut queues, 2), [&[gone(&[2])][..], &emptied()[..]].concat());
    assert!(!queues.has_queue(&session()));
}

#[test]
fn the_supervisor_hears_once_that_launches_are_paused_and_at_half_that_they_go_on() {
    let mut queues = open(Limits { unread_results: 4, ..Limits::default() });
    for n in 1..=3 {
        assert_eq!(queues.deliver(result(n), &[], AT), []);
    }
    let other = SessionId::new("other");
    queues.open(other.clone(), None);
    assert_eq!(queues.deliver(record(&other, 4, Status::Killed), &[], AT), [], "none starves another");
    assert_eq!(queues.deliver(result(5), &[], AT), paused(true));
    assert_eq!(queues.deliver(result(6), &[], AT), []);
    assert_eq!(queues.drain(drain(1, Filter::any(), Some(3), None)).len(), 1, "leased ones count");
    assert_eq!(ack(&mut queues, 1), [&[gone(&[1, 2, 3])][..], &paused(false)[..]].concat());
    queues.drain(drain(2, Filter::any(), Some(1), None));
    assert_eq!(nack(&mut queues, 2), []);
    assert_eq!(unread(&queues), 3);
}
