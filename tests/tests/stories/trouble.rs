use crate::story::Story;
use insta::assert_snapshot;
use ostler::testing::Fault;
use ostler::{
    ActorName, CallError, Command, Condition, Error, LaunchError, Status, StopCause, Stream, testing::Program,
};
use ostler_tests::ms;
use std::time::Duration;

fn crash(actor: ActorName, message: &str) -> Story {
    let fault = Fault { actor, message: message.into() };
    Story::with(|config| config.faults.push(fault))
}

#[test]
fn a_process_actor_that_panics_ends_as_lost_with_its_tree_killed() {
    let story = crash(ActorName::Process(1), "Stop").program("job", Program::new());
    let other = story.launch(Command::new("job"));
    let handle = story.launch(Command::new("job"));
    let lost = other.cancel().wait().unwrap();
    assert_eq!((lost.cancelled, lost.record.status), (false, Status::Lost));
    assert_eq!((lost.record.success, lost.record.stop_cause), (Some(false), Some(StopCause::Crashed)));
    assert_eq!(story.drain().len(), 1, "a lost result always goes to the inbox");
    // All others go on.
    assert_eq!(handle.cancel().wait().unwrap().record.status, Status::Killed);
    assert_snapshot!(story.told());
}

#[test]
fn a_panic_during_the_launch_leaves_no_process_and_no_handle() {
    let story = crash(ActorName::Process(1), "Started").program("job", Program::new());
    let error = story.session.launch(Command::new("job")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::Crashed));
    assert_snapshot!(story.told());
}

#[test]
fn a_drain_that_panics_ends_its_stream_and_nothing_else() {
    let story = crash(ActorName::Drain(1, Stream::Stdout), "EndOfStream");
    let story = story.program("job", Program::new().stdout_at(ms(1), "said\n").exits_at(ms(9), 0));
    story.launch(Command::new("job"));
    let result = story.result();
    assert_eq!(
        (result.status, result.exit_code, result.stdout.as_str()),
        (Status::Completed, Some(0), "said\n")
    );
    assert!(result.artifact_error.unwrap().contains("stdout crashed"));
    assert_snapshot!(story.told());
}

#[test]
fn a_ticker_that_panics_is_not_missed() {
    let story = crash(ActorName::Ticker(1), "Peeked").program("job", Program::new().exits_at(ms(900), 0));
    story.launch(Command::new("job").progress(Duration::from_millis(100)));
    assert_eq!(story.result().status, Status::Completed);
    assert_snapshot!(story.told());
}

#[test]
fn a_supervisor_that_panics_ends_the_graph_and_nobody_hangs() {
    let story = crash(ActorName::Supervisor, "Cancel").program("job", Program::new());
    let handle = story.launch(Command::new("job"));
    assert_eq!(handle.cancel().wait().unwrap_err(), Error::Closed);
    assert_eq!(story.session.list().wait().unwrap_err(), Error::Closed);
}

#[test]
fn an_inbox_that_panics_ends_the_graph_and_nobody_hangs() {
    let story = crash(ActorName::Inbox, "Drain");
    assert_eq!(story.session.inbox().drain().wait().unwrap_err(), Error::Closed);
    assert_eq!(story.ostler.shutdown().wait().unwrap_err(), Error::Closed);
}

#[test]
fn a_wait_that_panics_is_refused_and_nothing_of_it_stays() {
    let says = Program::new().stdout_at(ms(100), "ready\n");
    let story = crash(ActorName::Wait(3), "ConditionOpen").program("job", says);
    let handle = story.launch(Command::new("job"));
    let wait =
        || handle.wait_for([Condition::text("ready"), Condition::silence_ms(50)], Duration::from_secs(9));
    assert_eq!(wait().wait().unwrap_err(), Error::Call(CallError::Crashed));
    // The command and other waits go on.
    assert_eq!(wait().wait().unwrap().condition(), Some(1));
    assert_snapshot!(story.told());
}
