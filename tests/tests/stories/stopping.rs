use crate::story::{LONG, Story, same_every_time};
use insta::assert_snapshot;
use ostler::{
    Command, LeftoversPolicy, Outcome, Status, StopCause,
    testing::{Descendant, OnTerminate, Program},
};
use ostler_tests::ms;

fn cleans_up(after_ms: u64) -> OnTerminate {
    OnTerminate::Exits { after: ms(after_ms), says: "cleaned up\n".into(), code: 7 }
}

#[test]
fn a_cancelled_command_cleans_up_in_its_grace() {
    let story = || {
        let story = Story::new().program("server", Program::new().on_terminate(cleans_up(300)));
        let handle = story.launch(Command::new("server"));
        story.advance_ms(1_000);
        let cancelled = handle.cancel().wait().unwrap();
        assert!(cancelled.cancelled);
        assert_eq!(cancelled.record.status, Status::Killed);
        assert_eq!(cancelled.record.stop_cause, Some(StopCause::Cancelled));
        assert_eq!(cancelled.record.success, Some(false));
        assert_eq!((cancelled.record.exit_code, cancelled.record.stdout.as_str()), (Some(7), "cleaned up\n"));
        // The canceller has it: it is not in the inbox.
        assert!(story.drain().is_empty());
        story
    };
    assert_snapshot!(same_every_time("cancel", story));
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_at_the_end_of_its_grace() {
    let story = Story::new().program("stubborn", Program::new().on_terminate(OnTerminate::Ignores));
    let handle = story.launch(Command::new("stubborn"));
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!((record.signal.as_deref(), record.duration_ms), (Some("SIGKILL"), Some(2_000)));
    assert_snapshot!(story.told());
}

#[test]
fn a_descendant_has_the_whole_grace_although_the_leader_obeys_at_once() {
    let child = Descendant::new("database").on_terminate(cleans_up(1_000)).holds_pipes();
    let story = Story::new().program("app", Program::new().descendant(child));
    let handle = story.launch(Command::new("app"));
    let record = handle.cancel().wait().unwrap().record;
    let leftovers = record.leftovers.clone().unwrap();
    assert_eq!((leftovers.len(), leftovers[0].outcome), (1, Outcome::Terminated));
    assert_snapshot!(story.told());
}

#[test]
fn a_second_cancel_means_now_and_both_get_the_result() {
    let story = Story::new().program("stubborn", Program::new().on_terminate(OnTerminate::Ignores));
    let handle = story.launch(Command::new("stubborn"));
    let first = handle.cancel().begin();
    story.advance_ms(500);
    let second = handle.cancel().wait().unwrap();
    let first = first.wait().unwrap();
    assert_eq!(first, second);
    assert_eq!((second.cancelled, second.record.duration_ms), (true, Some(500)));
    assert!(story.drain().is_empty());
    assert_snapshot!(story.told());
}

#[test]
fn a_canceller_that_does_not_wait_finds_the_result_in_the_inbox() {
    let story = Story::new().program("job", Program::new().on_terminate(cleans_up(300)));
    let handle = story.launch(Command::new("job"));
    let known = handle.cancel_within(ms(100)).wait().unwrap();
    assert_eq!(known.record.status, Status::Running);
    assert_eq!((known.record.success, known.record.stop_cause), (None, None));
    assert_eq!(story.result().status, Status::Killed);
    assert_snapshot!(story.told());
}

#[test]
fn a_canceller_that_is_gone_loses_nothing() {
    let story = Story::new().program("job", Program::new().on_terminate(cleans_up(300)));
    let handle = story.launch(Command::new("job"));
    drop(handle.cancel().begin());
    assert_eq!(story.result().status, Status::Killed);
    assert_snapshot!(story.told());
}

#[test]
fn a_cancel_after_the_end_gets_the_stored_result_and_sends_no_signal() {
    let story = Story::new().program("job", Program::new().exits_at(ms(10), 0));
    let handle = story.launch(Command::new("job"));
    let result = story.result();
    let cancelled = handle.cancel().wait().unwrap();
    assert!(!cancelled.cancelled);
    assert_eq!(*cancelled.record, result);
    assert_snapshot!(story.told());
}

#[test]
fn a_cancel_that_loses_the_race_reports_completed() {
    let story = Story::new().program("job", Program::new().exits_at(ms(100), 0).exit_seen_late(ms(50)));
    let handle = story.launch(Command::new("job"));
    story.advance_ms(120);
    let cancelled = handle.cancel().wait().unwrap();
    assert!(!cancelled.cancelled);
    assert_eq!((cancelled.record.status, cancelled.record.duration_ms), (Status::Completed, Some(100)));
    assert_eq!((cancelled.record.success, cancelled.record.stop_cause), (Some(true), None));
    // It ended by itself, so its result is in the inbox too.
    assert_eq!(story.drain().len(), 1);
    assert_snapshot!(story.told());
}

#[test]
fn a_deadline_terminates_and_the_result_says_timed_out() {
    let story = Story::new().program("job", Program::new());
    story.launch(Command::new("job").timeout(ms(500)));
    let result = story.result();
    assert_eq!((result.status, result.timed_out, result.duration_ms), (Status::TimedOut, true, Some(500)));
    assert_eq!(result.stop_cause, Some(StopCause::Deadline));
    assert_snapshot!(story.told());
}

#[test]
fn an_idle_time_counts_from_the_last_byte_of_either_stream() {
    let program = Program::new().stdout_at(ms(400), "a\n").stderr_at(ms(800), "b\n");
    let story = Story::new().program("job", program);
    story.launch(Command::new("job").idle_timeout(ms(500)));
    let result = story.result();
    assert_eq!((result.status, result.duration_ms), (Status::TimedOut, Some(1_300)));
    assert_eq!(result.stop_cause, Some(StopCause::Idle));
    assert_snapshot!(story.told());
}

#[test]
fn a_session_ends_all_its_handles_in_one_grace() {
    let story = Story::new()
        .program("obeys", Program::new())
        .program("cleans", Program::new().on_terminate(cleans_up(700)))
        .program("stubborn", Program::new().on_terminate(OnTerminate::Ignores));
    for name in ["obeys", "cleans", "stubborn"] {
        story.launch(Command::new(name));
    }
    let tally = story.session.end().wait().unwrap();
    assert_eq!((tally.killed, tally.unread), (3, 3));
    assert_snapshot!(story.told());
    let entries = story.drain();
    let causes: Vec<_> = entries.iter().map(|entry| entry.record().unwrap().stop_cause).collect();
    assert_eq!(causes, [Some(StopCause::SessionEnded); 3]);
}

#[test]
fn a_session_end_joins_a_grace_that_is_already_running() {
    let story = Story::new().program("stubborn", Program::new().on_terminate(OnTerminate::Ignores));
    let handle = story.launch(Command::new("stubborn"));
    let cancel = handle.cancel().begin();
    story.advance_ms(1_500);
    story.session.end().wait().unwrap();
    let record = cancel.wait().unwrap().record;
    // The first cause wins.
    assert_eq!((record.duration_ms, record.stop_cause), (Some(2_000), Some(StopCause::Cancelled)));
    assert_snapshot!(story.told());
}

#[test]
fn a_lost_lease_ends_what_runs_and_what_was_kept() {
    let story = || {
        let daemon = Descendant::new("daemon").on_terminate(OnTerminate::Ignores);
        let story = Story::new()
            .program("server", Program::new().on_terminate(cleans_up(300)))
            .program("start-daemon", Program::new().descendant(daemon).exits_at(ms(100), 0));
        let server = story.launch(Command::new("server"));
        let daemon = story.launch(Command::new("start-daemon").leftovers(LeftoversPolicy::Keep));
        assert_eq!(story.result().leftovers.unwrap()[0].outcome, Outcome::Kept);
        // Not even who asks for the result by its handle takes it.
        let result = server.result().begin();
        let kept = daemon.revoke().begin();
        let revoked = server.revoke().wait().unwrap();
        assert_eq!((revoked.cancelled, revoked.taken, result.wait().unwrap().taken), (true, false, false));
        assert_eq!(
            (revoked.record.status, revoked.record.stop_cause),
            (Status::Killed, Some(StopCause::LeaseLost))
        );
        assert_eq!((revoked.record.exit_code, revoked.record.stdout.as_str()), (Some(7), "cleaned up\n"));
        assert_eq!(story.result(), *revoked.record);
        // Its result was out: only what became of the leftovers is added.
        let kept = kept.wait().unwrap();
        assert_eq!((kept.cancelled, kept.record.stop_cause), (true, None));
        assert_eq!(kept.record.leftovers.as_ref().unwrap()[0].outcome, Outcome::Killed);
        assert!(story.drain().is_empty());
        story
    };
    assert_snapshot!(same_every_time("revoke", story));
}

#[test]
fn a_lost_lease_joins_a_grace_and_a_cancel_after_it_means_now() {
    let story = Story::new().program("stubborn", Program::new().on_terminate(OnTerminate::Ignores));
    let handle = story.launch(Command::new("stubborn"));
    let revoked = handle.revoke().begin();
    story.advance_ms(500);
    drop(handle.revoke().begin());
    story.advance_ms(500);
    let cancelled = handle.cancel().wait().unwrap();
    assert_eq!(cancelled, revoked.wait().unwrap());
    let record = &cancelled.record;
    assert_eq!((record.duration_ms, record.stop_cause), (Some(1_000), Some(StopCause::LeaseLost)));
    // After another cause it is no second cancel either.
    let handle = story.launch(Command::new("stubborn"));
    let cancelled = handle.cancel().begin();
    story.advance_ms(500);
    let record = handle.revoke().wait().unwrap().record;
    assert_eq!((record.duration_ms, record.stop_cause), (Some(2_000), Some(StopCause::Cancelled)));
    assert_eq!((cancelled.wait().unwrap().taken, story.drain().len()), (false, 2));
    assert_snapshot!(story.told());
}

#[test]
fn leftovers_are_terminated_and_then_killed() {
    let program = Program::new()
        .descendant(Descendant::new("obeys"))
        .descendant(Descendant::new("stubborn").on_terminate(OnTerminate::Ignores))
        .exits_at(ms(100), 0);
    let story = Story::new().program("job", program);
    story.launch(Command::new("job"));
    let outcomes: Vec<_> = story.result().leftovers.unwrap().iter().map(|left| left.outcome).collect();
    assert_eq!(outcomes, [Outcome::Terminated, Outcome::Killed]);
    assert_snapshot!(story.told());
}

#[test]
fn leftovers_that_are_kept_live_until_the_session_ends() {
    let program = Program::new().descendant(Descendant::new("daemon").holds_pipes()).exits_at(ms(100), 0);
    let story = Story::new().program("start-daemon", program);
    story.launch(Command::new("start-daemon").leftovers(LeftoversPolicy::Keep));
    let result = story.result();
    assert_eq!(result.leftovers.unwrap()[0].outcome, Outcome::Kept);
    let tally = story.session.end().wait().unwrap();
    assert_eq!((tally.completed, tally.survivors), (1, 0));
    assert_snapshot!(story.told());
}

#[test]
fn a_pipe_that_is_held_after_the_exit_delays_the_result_by_the_drain_grace() {
    let child = Descendant::new("sleep").holds_pipes();
    let story = Story::new()
        .program("sh", Program::new().stdout_at(ms(5), "hi\n").descendant(child).exits_at(ms(10), 0));
    story.launch(Command::new("sh"));
    let result = story.result();
    assert_eq!(
        (result.status, result.stdout.as_str(), result.duration_ms),
        (Status::Completed, "hi\n", Some(10))
    );
    assert_snapshot!(story.told());
}

#[test]
fn a_process_that_cannot_be_killed_is_reported_in_time() {
    let story = Story::new().program("hung", Program::new().unkillable()).program("fine", Program::new());
    let handle = story.launch(Command::new("hung"));
    let fine = story.launch(Command::new("fine"));
    let stuck = handle.cancel().begin();
    // Everything else goes on.
    assert_eq!(fine.cancel().wait().unwrap().record.duration_ms, Some(0));
    let record = stuck.wait().unwrap().record;
    assert_eq!(record.status, Status::Killed);
    assert_eq!(record.leftovers.as_ref().unwrap()[0].outcome, Outcome::Survived);
    assert_snapshot!(story.told());
}

#[test]
fn a_shutdown_ends_every_session() {
    let story = Story::new().program("job", Program::new());
    story.launch(Command::new("job"));
    let other = story.ostler.open_session().wait().unwrap();
    other.launch(Command::new("job")).wait().unwrap();
    assert_eq!(story.ostler.shutdown().wait().unwrap().killed, 2);
    assert_eq!(story.ostler.shutdown().wait().unwrap_err(), ostler::Error::Closed);
    assert!(other.inbox().wait(ostler::Filter::any(), LONG).wait().is_err());
    assert_snapshot!(story.told());
}
