use crate::story::{Story, same_every_time};
use insta::assert_snapshot;
use ostler::{CallError, Command, Error, LaunchError, Stage as At, Status, testing::Program};
use ostler_tests::ms;
use std::time::Duration;

#[test]
fn launch_to_result() {
    let story = || {
        let story =
            Story::new().program("make", Program::new().stdout_at(ms(40), "done\n").exits_at(ms(50), 0));
        story.launch(Command::new("make").arg("all"));
        let result = story.result();
        assert_eq!(
            (result.status, result.exit_code, result.stdout.as_str()),
            (Status::Completed, Some(0), "done\n")
        );
        story
    };
    assert_snapshot!(same_every_time("launch_to_result", story));
}

#[test]
fn a_program_that_does_not_exist_leaves_no_handle() {
    let story = Story::new();
    let error = story.session.launch(Command::new("nope")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::ProgramNotFound { program: "nope".into() }));
    assert!(story.session.list().wait().unwrap().is_empty());
    assert_snapshot!(story.told());
}

#[test]
fn a_start_that_fails_says_at_which_stage() {
    let denied = LaunchError::PermissionDenied { stage: At::Exec, path: "tool".into(), errno: 13 };
    let story = Story::new().program("tool", Program::new().fails(denied.clone()));
    assert_eq!(story.session.launch(Command::new("tool")).wait().unwrap_err(), Error::Launch(denied));
    assert_snapshot!(story.told());
}

#[test]
fn a_request_that_no_kernel_could_run_does_not_reach_the_graph() {
    let story = Story::new();
    let before = story.trace();
    let error = story.session.launch(Command::new("sh").env("A=B", "x")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::EnvName { name: "A=B".into() }));
    assert_eq!(story.trace(), before);
}

#[test]
fn a_start_that_hangs_is_given_up_and_undone() {
    let story = Story::new().program("from-nfs", Program::new().never_starts());
    let error = story.session.launch(Command::new("from-nfs")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::StartTimedOut { limit_ms: 10_000 }));
    assert_snapshot!(story.told());
}

#[test]
fn a_session_that_ends_during_a_launch_leaves_nothing_of_it() {
    let story = Story::new().program("slow", Program::new().starts_after(ms(300)));
    let launch = story.session.launch(Command::new("slow")).begin();
    story.advance_ms(100);
    let end = story.session.end().begin();
    let error = launch.wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::SessionClosed { session_id: "s".into() }));
    let tally = end.wait().unwrap();
    assert_eq!((tally.undone, tally.completed, tally.killed), (1, 0, 0));
    assert_snapshot!(story.told());
}

#[test]
fn the_same_launch_key_twice_is_one_process() {
    let story = Story::new().program("build", Program::new().starts_after(ms(20)).exits_at(ms(500), 0));
    let build = || Command::new("build").launch_key("build");
    let first = story.session.launch(build()).begin();
    let second = story.session.launch(build()).wait().unwrap();
    let third = story.launch(build());
    assert_eq!((first.wait().unwrap().id(), third.id()), (second.id(), second.id()));
    story.result();
    // It has ended, and is still known: the key gives the same handle, and nothing is started.
    let again = story.launch(build());
    assert_eq!((again.id(), again.record().exit_code), (second.id(), Some(0)));
    let other = story.session.launch(build().args(["--all"])).wait().unwrap_err();
    assert!(other.to_string().contains("belongs to another request"), "{other}");
    assert_snapshot!(story.told());
}

#[test]
fn a_limit_that_is_reached_is_named() {
    let story = Story::with(|config| config.limits.session_handles = 1).program("sleep", Program::new());
    story.launch(Command::new("sleep"));
    let error = story.session.launch(Command::new("sleep")).wait().unwrap_err();
    assert_eq!(
        error.to_string(),
        "limit reached: live handles of one session (at most 1; there are 1; the oldest: hto-1-1)"
    );
    assert_snapshot!(story.told());
}

#[test]
fn an_ended_session_is_closed_for_good() {
    let story = Story::new().program("true", Program::new().exits_at(ms(0), 0));
    story.session.end().wait().unwrap();
    let closed = Error::Launch(LaunchError::SessionClosed { session_id: "s".into() });
    assert_eq!(story.session.launch(Command::new("true")).wait().unwrap_err(), closed);
    let reused = Error::Call(CallError::SessionReused { session_id: "s".into() });
    assert_eq!(story.ostler.open_session_as(story.session.id().clone()).wait().unwrap_err(), reused);
    assert_snapshot!(story.told());
}

#[test]
fn time_stands_still_while_nobody_waits() {
    let story = Story::new().program("job", Program::new().exits_at(ms(1_000), 0));
    story.launch(Command::new("job"));
    assert!(story.drain().is_empty());
    story.world.advance(Duration::from_millis(999));
    assert!(story.drain().is_empty());
    story.world.advance(Duration::from_millis(1));
    assert_eq!(story.drain().len(), 1);
}

#[test]
fn labels_stand_in_the_record_and_choose_in_a_list() {
    let story = Story::new().program("job", Program::new());
    let one = story.launch(Command::new("job").label("task", "t-1").label("kind", "build"));
    story.launch(Command::new("job").label("task", "t-2"));
    let listed = story.session.list_labelled([("task", "t-1"), ("kind", "build")]).wait().unwrap();
    assert_eq!(listed.iter().map(|listed| listed.handle.id()).collect::<Vec<_>>(), [one.id()]);
    assert_eq!(listed[0].handle.record().labels["kind"], "build");
    assert!(story.session.list_labelled([("task", "t-1"), ("kind", "test")]).wait().unwrap().is_empty());
    let refused = |name: &str, value: &str| {
        story.session.launch(Command::new("job").label(name, value)).wait().unwrap_err().to_string()
    };
    assert_eq!(refused("", "x"), r#"label "": its name is empty"#);
    assert_eq!(refused("a=b", "x"), r#"label "a=b": its name can't hold '='"#);
    assert_eq!(refused("a", "x\u{1b}"), r#"label "a": it can't hold characters that are not seen"#);
    assert!(refused(&"n".repeat(65), "x").contains("at most 64 bytes"));
    assert!(refused("a", &"v".repeat(257)).contains("at most 256 bytes"));
    let many = (0..17).fold(Command::new("job"), |command, n| command.label(format!("l{n}"), ""));
    let many = story.session.launch(many).wait().unwrap_err().to_string();
    assert_eq!(many, "labels: 17 is over the limit of 16");
}
