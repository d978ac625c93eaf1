//! Rules of a [`Roster`](super::Roster) that need no walk.

use super::{
    super::{ENDED_IDS, Effect, Roster},
    limits,
    model::{HOST_PID, closed, record, request},
};
use crate::config::Limits;
use ostler_messages::{
    Answer, CallError, CallId, HandleId, LaunchError, Limit, Refusal, SESSION_ID_MAX_BYTES, SessionId, Status,
};

const CALL: CallId = CallId(1);

fn roster() -> Roster {
    Roster::new(limits(), HOST_PID, true)
}

fn open(roster: &mut Roster, id: &str) -> Result<Answer, Refusal> {
    let asked = (!id.is_empty()).then(|| SessionId::new(id));
    match roster.open(CALL, asked).pop() {
        Some(Effect::Reply(CALL, answer)) => answer,
        Some(Effect::ReplyOpened(CALL, id)) => Ok(Answer::Opened(id)),
        other => panic!("opened: {other:?}"),
    }
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
    let mut roster = roster();
    assert_eq!(id(open(&mut roster, "a")), "a");
    let reused = CallError::SessionReused { session_id: "a".into() };
    assert_eq!(refusal(open(&mut roster, "a")), reused);
    roster.end(CALL, &SessionId::new("a"), false);
    roster.queue_closed(SessionId::new("a"), 0, false);
    assert_eq!(refusal(open(&mut roster, "a")), reused);
}

#[test]
fn anonymous_sessions_never_share_an_id_even_if_the_host_took_the_next_one() {
    let mut roster = roster();
    assert_eq!(id(open(&mut roster, "")), "session-7-1");
    assert_eq!(id(open(&mut roster, "session-7-2")), "session-7-2");
    assert_eq!(id(open(&mut roster, "")), "session-7-3");
}

#[test]
fn a_session_id_has_a_length() {
    let mut roster = roster();
    let longest = "x".repeat(SESSION_ID_MAX_BYTES);
    assert_eq!(id(open(&mut roster, &longest)), longest);
    let bytes = SESSION_ID_MAX_BYTES + 1;
    let error = CallError::SessionIdLength { bytes, limit: SESSION_ID_MAX_BYTES };
    assert_eq!(refusal(open(&mut roster, &"x".repeat(bytes))), error);
    let empty = roster.open(CALL, Some(SessionId::new("")));
    let error = CallError::SessionIdLength { bytes: 0, limit: SESSION_ID_MAX_BYTES };
    assert_eq!(empty, [Effect::Reply(CALL, Err(Refusal::Call(error)))]);
}

#[test]
fn a_session_counts_until_it_has_ended_and_is_read() {
    let mut roster = Roster::new(Limits { sessions: 1, ..limits() }, HOST_PID, true);
    let full = CallError::LimitReached { limit: Limit::Sessions, most: 1, leased: 0 };
    open(&mut roster, "a").unwrap();
    assert_eq!(refusal(open(&mut roster, "b")), full);
    roster.end(CALL, &SessionId::new("a"), false);
    roster.queue_closed(SessionId::new("a"), 3, true);
    assert_eq!(refusal(open(&mut roster, "b")), full, "its results are unread");
    roster.queue_emptied();
    open(&mut roster, "b").unwrap();
}

#[test]
fn a_graph_can_open_one_session_after_another_for_ever() {
    let mut roster = Roster::new(Limits { sessions: 2, ..limits() }, HOST_PID, true);
    let memory = |roster: &Roster| (roster.sessions.len(), roster.ended.named.len());
    for n in 1..=ENDED_IDS + 10 {
        for asked in [Some(SessionId::new(format!("named-{n}"))), None] {
            let opened = roster.open(CALL, asked);
            let Some(Effect::OpenQueue(id)) = opened.first().cloned() else { panic!("{opened:?}") };
            roster.ack(CALL);
            assert_eq!(roster.end(CALL, &id, false).len(), 1);
            roster.queue_closed(id.clone(), 0, false);
            let nothing = roster.no_queue(CALL, &id, Some(Answer::Pending(0)));
            assert_eq!(nothing, [Effect::Reply(CALL, Ok(Answer::Pending(0)))], "{id} has ended");
        }
    }
    assert_eq!(memory(&roster), (0, ENDED_IDS));
    let forgotten = roster.no_queue(CALL, &SessionId::new("named-1"), Some(Answer::Pending(0)));
    let unknown = CallError::SessionUnknown { session_id: "named-1".into() };
    assert_eq!(forgotten, [Effect::Reply(CALL, Err(unknown.into()))], "the oldest are forgotten");
    let never = SessionId::new("session-7-999999");
    assert!(matches!(&roster.no_queue(CALL, &never, None)[..], [Effect::Reply(_, Err(_))]));
    assert!(matches!(refusal(open(&mut roster, "session-7-1")), CallError::SessionReused { .. }));
}

#[test]
fn paused_launches_are_those_of_one_session() {
    let mut roster = roster();
    open(&mut roster, "a").unwrap();
    open(&mut roster, "b").unwrap();
    roster.launches_paused(&SessionId::new("a"), true);
    let refuse = Effect::RefuseLaunch { call: CALL, session_id: SessionId::new("a") };
    assert_eq!(roster.launch(CALL, request(0, None), || panic!("a number is taken")), [refuse]);
    assert!(matches!(&roster.launch(CALL, request(1, None), || 1)[..], [Effect::Spawn { n: 1, .. }]));
}

#[test]
fn nothing_is_opened_while_the_graph_shuts_down() {
    let mut roster = roster();
    open(&mut roster, "a").unwrap();
    roster.shutdown(CALL);
    assert_eq!(refusal(open(&mut roster, "b")), CallError::SessionClosed { session_id: "b".into() });
}

#[test]
fn a_launch_that_the_end_of_its_session_undid_answers_session_closed_and_is_tallied() {
    let mut roster = roster();
    open(&mut roster, "a").unwrap();
    roster.launch(CallId(2), request(0, None), || 1);
    roster.end(CallId(3), &SessionId::new("a"), false);
    let effects = roster.launch_failed(1, closed());
    assert_eq!(effects[0], Effect::Reply(CallId(2), Err(Refusal::Launch(closed()))));
    assert_eq!(effects[1..], [Effect::Retire { n: 1 }, close("a", false)]);
    let [Effect::Reply(CallId(3), Ok(Answer::Ended(tally)))] =
        &roster.queue_closed(SessionId::new("a"), 2, true)[..]
    else {
        panic!("not ended")
    };
    assert_eq!((tally.undone, tally.unread, tally.killed), (1, 2, 0));
}

#[test]
fn a_session_that_was_never_opened_is_unknown_to_every_call() {
    let mut roster = roster();
    let unknown = LaunchError::SessionUnknown { session_id: "a".into() };
    let launched = roster.launch(CALL, request(0, None), || panic!("a number is taken"));
    assert_eq!(launched, [Effect::Reply(CALL, Err(Refusal::Launch(unknown)))]);
    let unknown = || {
        let error = CallError::SessionUnknown { session_id: "a".into() };
        [Effect::Reply(CALL, Err(Refusal::Call(error)))]
    };
    assert_eq!(roster.list(CALL, &SessionId::new("a")), unknown());
    assert_eq!(roster.end(CALL, &SessionId::new("a"), false), unknown());
}

#[test]
fn a_handle_of_another_host_is_unknown() {
    let mut roster = roster();
    open(&mut roster, "a").unwrap();
    roster.launch(CALL, request(0, None), || 1);
    roster.launched(1, record(1, 0, Status::Running));
    let handle_id = HandleId { host_pid: HOST_PID + 1, n: 1 };
    let unknown = Err(Refusal::Call(CallError::HandleUnknown { handle_id }));
    assert_eq!(roster.cancel(CALL, handle_id, None, false), [Effect::Reply(CALL, unknown)]);
}

#[test]
fn a_long_text_is_not_kept_for_replay_unless_nothing_else_has_it() {
    for (artifact_error, kept) in [(None, 0), (Some("disk full".to_owned()), 5_000)] {
        let mut roster = roster();
        open(&mut roster, "a").unwrap();
        roster.launch(CALL, request(0, None), || 1);
        roster.launched(1, record(1, 0, Status::Running));
        let mut result = (*record(1, 0, Status::Completed)).clone();
        (result.stdout, result.artifact_error) = ("x".repeat(5_000), artifact_error);
        let effects = roster.finished(1, result.clone().into(), false);
        assert_eq!(effects[0], Effect::Deliver { record: result.into(), to: Vec::new() });
        let again = roster.cancel(CALL, HandleId { host_pid: HOST_PID, n: 1 }, None, false);
        let [Effect::Reply(_, Ok(Answer::Cancelled { cancelled: false, record }))] = &again[..] else {
            panic!("{again:?}")
        };
        assert_eq!(record.stdout.len(), kept);
    }
}

#[test]
fn news_that_come_after_the_end_of_a_handle_mean_nothing() {
    let mut roster = roster();
    open(&mut roster, "a").unwrap();
    roster.launch(CALL, request(0, None), || 1);
    roster.launched(1, record(1, 0, Status::Running));
    roster.finished(1, record(1, 0, Status::Completed), false);
    assert_eq!(roster.launched(1, record(1, 0, Status::Running)), []);
    assert_eq!(roster.launch_failed(1, closed()), []);
    assert_eq!(roster.finished(1, record(1, 0, Status::Killed), false), []);
    assert_eq!(roster.released(1), []);
    assert_eq!(roster.down(1), []);
}

#[test]
fn an_anonymous_session_whose_caller_never_had_its_name_is_ended() {
    let mut roster = roster();
    let opened = roster.open(CALL, None);
    assert!(matches!(&opened[1], Effect::ReplyOpened(CALL, id) if id.as_str() == "session-7-1"));
    assert_eq!(roster.nack(CALL), [close("session-7-1", true)]);
    assert_eq!(roster.nack(CALL), [], "once");

    roster.open(CallId(2), None);
    roster.ack(CallId(2));
    assert_eq!(roster.nack(CallId(2)), [], "it has its name");
    roster.open(CallId(3), Some(SessionId::new("named")));
    assert_eq!(roster.nack(CallId(3)), [], "the host can find it again");
}

#[test]
fn a_launch_whose_caller_is_gone_stands_and_answers_nobody() {
    let mut roster = roster();
    open(&mut roster, "a").unwrap();
    roster.launch(CALL, request(0, None), || 1);
    assert_eq!(roster.nack(CALL), []);
    assert_eq!(roster.launched(1, record(1, 0, Status::Running)), []);
    let listed = roster.list(CallId(2), &SessionId::new("a"));
    assert!(matches!(&listed[..], [Effect::Reply(_, Ok(Answer::Listed(handles)))] if handles.len() == 1));
}
