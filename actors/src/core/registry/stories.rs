//! Rules of a [`Registry`](super::Registry) that need no walk.

use super::{
    super::{Effect, Registry, sessions::ENDED_IDS},
    limits,
    model::{HOST_PID, closed, record, request},
};
use crate::config::Limits;
use ostler_messages::{
    Answer, CallError, CallId, Cancel, HandleId, LaunchError, Leftover, Limit, Outcome, Refusal,
    SESSION_ID_MAX_BYTES, SeenProcess, SessionId, Status, StopCause, TextOnDisk,
};

const CALL: CallId = CallId(1);

fn registry() -> Registry {
    Registry::new(limits(), HOST_PID)
}

fn open(registry: &mut Registry, id: &str) -> Result<Answer, Refusal> {
    let asked = (!id.is_empty()).then(|| SessionId::new(id));
    match registry.open(CALL, asked).pop() {
        Some(Effect::Reply(CALL, answer)) => answer,
        Some(Effect::ReplyOpened(CALL, id, None)) => Ok(Answer::Opened(id)),
        other => panic!("opened: {other:?}"),
    }
}

fn cancel(handle_id: HandleId) -> Cancel {
    Cancel { call: CALL, handle_id, wait_ms: None, notify_on_cancel: false, lease_lost: false }
}

fn close(id: &str, discard: bool) -> Effect {
    Effect::CloseQueue { session_id: SessionId::new(id), discard }
}

fn id(opened: Result<Answer, Refusal>) -> String {
    match opened {
        Ok(Answer::Opened(id)) => id.to_string(),
        other => panic!("not opened: {other:?}"),
    }
}

fn refusal(opened: Result<Answer, Refusal>) -> CallError {
    match opened {
        Err(Refusal::Call(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_session_id_is_never_used_twice_not_even_after_its_end() {
    let mut registry = registry();
    assert_eq!(id(open(&mut registry, "a")), "a");
    let reused = CallError::SessionReused { session_id: "a".into() };
    assert_eq!(refusal(open(&mut registry, "a")), reused);
    registry.end(CALL, &SessionId::new("a"), false);
    registry.queue_closed(SessionId::new("a"), 0, false, None);
    assert_eq!(refusal(open(&mut registry, "a")), reused);
}

#[test]
fn anonymous_sessions_never_share_an_id_even_if_the_host_took_the_next_one() {
    let mut registry = registry();
    assert_eq!(id(open(&mut registry, "")), "session-7-1");
    assert_eq!(id(open(&mut registry, "session-7-2")), "session-7-2");
    assert_eq!(id(open(&mut registry, "")), "session-7-3");
}

#[test]
fn a_session_id_has_a_length() {
    let mut registry = registry();
    let longest = "x".repeat(SESSION_ID_MAX_BYTES);
    assert_eq!(id(open(&mut registry, &longest)), longest);
    let bytes = SESSION_ID_MAX_BYTES + 1;
    let error = CallError::SessionIdLength { bytes, limit: SESSION_ID_MAX_BYTES };
    assert_eq!(refusal(open(&mut registry, &"x".repeat(bytes))), error);
    let empty = registry.open(CALL, Some(SessionId::new("")));
    let error = CallError::SessionIdLength { bytes: 0, limit: SESSION_ID_MAX_BYTES };
    assert_eq!(empty, [Effect::Reply(CALL, Err(Refusal::Call(error)))]);
}

#[test]
fn a_session_counts_until_it_has_ended_and_is_read() {
    let mut registry = Registry::new(Limits { sessions: 1, ..limits() }, HOST_PID);
    let full = CallError::LimitReached { limit: Limit::Sessions, max: 1, leased: 0 };
    open(&mut registry, "a").unwrap();
    assert_eq!(refusal(open(&mut registry, "b")), full);
    registry.end(CALL, &SessionId::new("a"), false);
    registry.queue_closed(SessionId::new("a"), 3, true, None);
    assert_eq!(refusal(open(&mut registry, "b")), full, "its results are unread");
    registry.queue_emptied(&SessionId::new("a"));
    open(&mut registry, "b").unwrap();
}

#[test]
fn a_graph_can_open_one_session_after_another_for_ever() {
    let mut registry = Registry::new(Limits { sessions: 2, ..limits() }, HOST_PID);
    let memory = |registry: &Registry| (registry.sessions.len(), registry.ended.named.len());
    for n in 1..=ENDED_IDS + 10 {
        for asked in [Some(SessionId::new(format!("named-{n}"))), None] {
            let opened = registry.open(CALL, asked);
            let Some(Effect::OpenQueue { session_id: id, next: None }) = opened.first().cloned() else {
                panic!("{opened:?}")
            };
            registry.ack(CALL);
            assert_eq!(registry.end(CALL, &id, false).len(), 1);
            registry.queue_closed(id.clone(), 0, false, None);
            let nothing = registry.no_queue(CALL, &id, Some(Answer::Pending(0)));
            assert_eq!(nothing, [Effect::Reply(CALL, Ok(Answer::Pending(0)))], "{id} has ended");
        }
    }
    assert_eq!(memory(&registry), (0, ENDED_IDS));
    let forgotten = registry.no_queue(CALL, &SessionId::new("named-1"), Some(Answer::Pending(0)));
    let unknown = CallError::SessionUnknown { session_id: "named-1".into() };
    assert_eq!(forgotten, [Effect::Reply(CALL, Err(unknown.into()))], "the oldest are forgotten");
    let never = SessionId::new("session-7-999999");
    assert!(matches!(&registry.no_queue(CALL, &never, None)[..], [Effect::Reply(_, Err(_))]));
    assert!(matches!(refusal(open(&mut registry, "session-7-1")), CallError::SessionReused { .. }));
}

#[test]
fn paused_launches_are_those_of_one_session() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    open(&mut registry, "b").unwrap();
    registry.launches_paused(&SessionId::new("a"), true);
    let refuse = Effect::RefuseLaunch { call: CALL, session_id: SessionId::new("a") };
    assert_eq!(registry.launch(CALL, request(0, None), None, || panic!("a number is taken")), [refuse]);
    assert!(matches!(&registry.launch(CALL, request(1, None), None, || 1)[..], [Effect::Spawn { n: 1, .. }]));
}

#[test]
fn nothing_is_opened_while_the_graph_shuts_down() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.shutdown(CALL);
    assert_eq!(refusal(open(&mut registry, "b")), CallError::SessionClosed { session_id: "b".into() });
}

#[test]
fn a_launch_that_the_end_of_its_session_undid_answers_session_closed_and_is_tallied() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CallId(2), request(0, None), None, || 1);
    registry.end(CallId(3), &SessionId::new("a"), false);
    let effects = registry.launch_failed(1, closed());
    assert_eq!(effects[0], Effect::Reply(CallId(2), Err(Refusal::Launch(closed()))));
    assert_eq!(effects[1..], [Effect::Remove { n: 1 }, close("a", false)]);
    let [Effect::Reply(CallId(3), Ok(Answer::Ended(tally)))] =
        &registry.queue_closed(SessionId::new("a"), 2, true, None)[..]
    else {
        panic!("not ended")
    };
    assert_eq!((tally.undone, tally.unread, tally.killed), (1, 2, 0));
}

#[test]
fn a_session_that_was_never_opened_is_unknown_to_every_call() {
    let mut registry = registry();
    let unknown = LaunchError::SessionUnknown { session_id: "a".into() };
    let launched = registry.launch(CALL, request(0, None), None, || panic!("a number is taken"));
    assert_eq!(launched, [Effect::Reply(CALL, Err(Refusal::Launch(unknown)))]);
    let unknown = || {
        let error = CallError::SessionUnknown { session_id: "a".into() };
        [Effect::Reply(CALL, Err(Refusal::Call(error)))]
    };
    assert_eq!(
        registry.list(ostler_messages::List {
            call: CALL,
            session_id: Some(SessionId::new("a")),
            finished: false,
            labels: Default::default()
        }),
        unknown()
    );
    assert_eq!(registry.end(CALL, &SessionId::new("a"), false), unknown());
}

#[test]
fn a_handle_that_is_not_there_is_refused_by_why() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CALL, request(0, None), None, || 1);
    registry.launched(1, record(1, 0, Status::Running), None);
    registry.launch(CALL, request(0, None), None, || 2);
    let asked = |registry: &mut Registry, host_pid, n, error: fn(HandleId) -> CallError| {
        let handle_id = HandleId { host_pid, n };
        let refused = [Effect::Reply(CALL, Err(Refusal::Call(error(handle_id))))];
        assert_eq!(registry.cancel(cancel(handle_id)), refused);
        assert_eq!(registry.await_result(CALL, handle_id, None, true), refused);
        assert_eq!(registry.status(CALL, handle_id, None), refused);
    };
    asked(&mut registry, HOST_PID + 1, 1, |handle_id| CallError::HandleOfOtherHost { handle_id });
    // It is on its way, and nobody has its name.
    asked(&mut registry, HOST_PID, 2, |handle_id| CallError::HandleUnknown { handle_id });
    asked(&mut registry, HOST_PID, 3, |handle_id| CallError::HandleUnknown { handle_id });
    registry.launch_failed(2, closed());
    asked(&mut registry, HOST_PID, 2, |handle_id| CallError::HandleForgotten { handle_id });
    let (handle_id, other) = (HandleId { host_pid: HOST_PID, n: 1 }, SessionId::new("b"));
    let refused = Err(Refusal::Call(CallError::HandleOfOtherSession { handle_id }));
    assert_eq!(registry.status(CALL, handle_id, Some(&other)), [Effect::Reply(CALL, refused)]);
    assert_eq!(
        registry.status(CALL, handle_id, Some(&SessionId::new("a"))),
        [Effect::Report { n: 1, call: CALL }]
    );
}

#[test]
fn a_long_text_is_not_kept_for_replay_unless_nothing_else_has_it() {
    for (text_on_disk, kept) in [(true, 0), (false, 5_000)] {
        let mut registry = registry();
        open(&mut registry, "a").unwrap();
        registry.launch(CALL, request(0, None), None, || 1);
        registry.launched(1, record(1, 0, Status::Running), None);
        let mut result = (*record(1, 0, Status::Completed)).clone();
        (result.stdout, result.text_on_disk) = ("x".repeat(5_000), TextOnDisk(text_on_disk));
        let effects = registry.finished(1, result.clone().into(), false);
        assert_eq!(effects[0], Effect::Deliver { record: result.into(), to: Vec::new() });
        let again = registry.cancel(cancel(HandleId { host_pid: HOST_PID, n: 1 }));
        let [Effect::Reply(_, Ok(Answer::Cancelled { cancelled: false, taken: false, record }))] = &again[..]
        else {
            panic!("{again:?}")
        };
        assert_eq!(record.stdout.len(), kept);
    }
}

#[test]
fn events_that_come_after_the_end_of_a_handle_mean_nothing() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CALL, request(0, None), None, || 1);
    registry.launched(1, record(1, 0, Status::Running), None);
    registry.finished(1, record(1, 0, Status::Completed), false);
    assert_eq!(registry.launched(1, record(1, 0, Status::Running), None), []);
    assert_eq!(registry.launch_failed(1, closed()), []);
    assert_eq!(registry.finished(1, record(1, 0, Status::Killed), false), []);
    assert_eq!(registry.released(1, None), []);
    assert_eq!(registry.down(1), []);
}

#[test]
fn an_anonymous_session_whose_caller_never_had_its_name_is_ended() {
    let mut registry = registry();
    let opened = registry.open(CALL, None);
    assert!(matches!(&opened[1], Effect::ReplyOpened(CALL, id, None) if id.as_str() == "session-7-1"));
    assert_eq!(registry.nack(CALL), [close("session-7-1", true)]);
    assert_eq!(registry.nack(CALL), [], "once");

    registry.open(CallId(2), None);
    registry.ack(CallId(2));
    assert_eq!(registry.nack(CallId(2)), [], "it has its name");
    registry.open(CallId(3), Some(SessionId::new("named")));
    assert_eq!(registry.nack(CallId(3)), [], "the host can find it again");
}

#[test]
fn a_launch_whose_caller_is_gone_stands_and_answers_nobody() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CALL, request(0, None), None, || 1);
    assert_eq!(registry.nack(CALL), []);
    assert_eq!(registry.launched(1, record(1, 0, Status::Running), None), []);
    let listed = registry.list(ostler_messages::List {
        call: CallId(2),
        session_id: Some(SessionId::new("a")),
        finished: false,
        labels: Default::default(),
    });
    assert_eq!(listed, [Effect::Survey { call: CallId(2), ns: vec![1] }]);
    let seen = SeenProcess { n: 1, age_ms: 7, silence_ms: 5, paused: false };
    let listed = registry.surveyed(CallId(2), &[seen]);
    let [Effect::Reply(CallId(2), Ok(Answer::Listed(handles)))] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((handles.len(), handles[0].age_ms, handles[0].silence_ms), (1, Some(7), Some(5)));
    assert_eq!(registry.surveyed(CallId(2), &[seen]), [], "once");
}

#[test]
fn the_same_key_with_another_request_is_an_error() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CALL, request(0, Some("key")), None, || 1);
    registry.launched(1, record(1, 0, Status::Running), None);
    let mut other = (*request(0, Some("key"))).clone();
    other.args.push("more".into());
    let refused = registry.launch(CALL, other.into(), None, || panic!("a number is taken"));
    let reused = LaunchError::LaunchKeyReused { launch_key: "key".into() };
    assert_eq!(refused, [Effect::Reply(CALL, Err(Refusal::Launch(reused)))]);
}

#[test]
fn a_tally_counts_how_each_ended_and_who_outlived_sigkill() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    let ends = [Status::Killed, Status::Killed, Status::Completed, Status::Completed, Status::TimedOut];
    for (n, status) in (1..).zip(ends) {
        registry.launch(CALL, request(0, None), None, || n);
        registry.launched(n, record(n, 0, Status::Running), None);
        let mut result = (*record(n, 0, status)).clone();
        let left = [Outcome::Terminated, Outcome::Survived, Outcome::Killed];
        let left = (1..).zip(left).map(|(pid, outcome)| Leftover::new(pid, "x", outcome));
        result.leftovers = (n < 3).then(|| left.collect());
        registry.finished(n, result.into(), false);
    }
    registry.end(CALL, &SessionId::new("a"), false);
    let ended = registry.queue_closed(SessionId::new("a"), 1, true, None);
    let [Effect::Reply(_, Ok(Answer::Ended(tally)))] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((tally.killed, tally.completed, tally.timed_out), (2, 2, 1));
    assert_eq!((tally.survivors, tally.unread), (2, 1));
}

#[test]
fn a_launch_key_is_free_again_when_its_record_is_no_longer_kept() {
    let mut registry = Registry::new(Limits { replay_results: 1, ..limits() }, HOST_PID);
    open(&mut registry, "a").unwrap();
    let mut runs = |n: u64, key, reads: bool| {
        let effects = registry.launch(CALL, request(0, key), None, || n);
        let spawned = matches!(effects[..], [Effect::Spawn { .. }]);
        if spawned {
            registry.launched(n, record(n, 0, Status::Running), None);
            registry.finished(n, record(n, 0, Status::Completed), false);
        }
        if reads {
            registry.results_gone(&[HandleId { host_pid: HOST_PID, n }]);
        }
        spawned
    };
    assert!(runs(1, Some("key"), false));
    assert!(!runs(2, Some("key"), true), "its record is kept");
    assert!(runs(3, None, true));
    assert!(!runs(4, Some("key"), true), "one that is unread is not pushed out");
    assert!(!runs(1, Some("key"), true));
    assert!(runs(5, None, true), "and pushes it out");
    assert!(runs(6, Some("key"), true));
    // What pushes out the record of another key leaves this one alone.
    assert!(!runs(7, Some("key"), true));
}

#[test]
fn what_nobody_can_follow_any_more_is_lost_without_a_code() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CALL, request(0, None), None, || 1);
    registry.launched(1, record(1, 0, Status::Running), None);
    assert!(matches!(registry.down(1)[..], [Effect::Recover { .. }]));
    let lost = registry.down(1);
    let record = lost.iter().find_map(|effect| match effect {
        Effect::Deliver { record, .. } => Some(record),
        _ => None,
    });
    let ended = record.map(|record| (record.status, record.exit_code, record.stop_cause, record.success));
    assert_eq!(ended, Some((Status::Lost, Some(-1), Some(StopCause::Crashed), Some(false))));
}

#[test]
fn the_id_of_a_session_that_is_not_read_is_never_free() {
    let mut registry = registry();
    open(&mut registry, "unread").unwrap();
    registry.end(CALL, &SessionId::new("unread"), false);
    registry.queue_closed(SessionId::new("unread"), 1, true, None);
    for n in 0..=ENDED_IDS {
        let id = SessionId::new(format!("named-{n}"));
        registry.open(CALL, Some(id.clone()));
        registry.end(CALL, &id, false);
        registry.queue_closed(id, 0, false, None);
    }
    let reused = CallError::SessionReused { session_id: "unread".into() };
    assert_eq!(refusal(open(&mut registry, "unread")), reused);
    registry.queue_emptied(&SessionId::new("unread"));
    open(&mut registry, "unread").unwrap();
}

#[test]
fn a_caller_of_an_end_that_is_gone_is_not_remembered() {
    let mut registry = registry();
    open(&mut registry, "a").unwrap();
    registry.launch(CALL, request(0, None), None, || 1);
    registry.launched(1, record(1, 0, Status::Running), None);
    for call in (2..100).map(CallId) {
        registry.end(call, &SessionId::new("a"), false);
        registry.nack(call);
    }
    registry.shutdown(CallId(100));
    registry.nack(CallId(100));
    assert_eq!(registry.sessions[&SessionId::new("a")].end_calls, []);
    assert_eq!(registry.shutdown_calls, []);
}
