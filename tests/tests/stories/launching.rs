use crate::stage::{Stage, same_every_time};
use insta::assert_snapshot;
use ostler::{CallError, Command, Error, LaunchError, Program, Stage as At, Status};
use std::time::Duration;

#[test]
fn launch_to_result() {
    let story = || {
        let stage = Stage::new().program("make", Program::new().stdout_at(40, "done\n").exits_at(50, 0));
        stage.launch(Command::new("make").arg("all"));
        let result = stage.result();
        assert_eq!(
            (result.status, result.exit_code, result.stdout.as_str()),
            (Status::Completed, Some(0), "done\n")
        );
        stage
    };
    assert_snapshot!(same_every_time("launch_to_result", story));
}

#[test]
fn a_program_that_does_not_exist_leaves_no_handle() {
    let stage = Stage::new();
    let error = stage.session.launch(Command::new("nope")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::ProgramNotFound { program: "nope".into() }));
    assert!(stage.session.list().wait().unwrap().is_empty());
    assert_snapshot!(stage.told());
}

#[test]
fn a_start_that_fails_says_at_which_stage() {
    let denied = LaunchError::PermissionDenied { stage: At::Exec, path: "tool".into(), errno: 13 };
    let stage = Stage::new().program("tool", Program::new().fails(denied.clone()));
    assert_eq!(stage.session.launch(Command::new("tool")).wait().unwrap_err(), Error::Launch(denied));
    assert_snapshot!(stage.told());
}

#[test]
fn a_request_that_no_kernel_could_run_does_not_reach_the_graph() {
    let stage = Stage::new();
    let before = stage.trace();
    let error = stage.session.launch(Command::new("sh").env("A=B", "x")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::EnvName { name: "A=B".into() }));
    assert_eq!(stage.trace(), before);
}

#[test]
fn a_start_that_hangs_is_given_up_and_undone() {
    let stage = Stage::new().program("from-nfs", Program::new().never_starts());
    let error = stage.session.launch(Command::new("from-nfs")).wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::StartTimedOut { limit_ms: 10_000 }));
    assert_snapshot!(stage.told());
}

#[test]
fn a_session_that_ends_during_a_launch_leaves_nothing_of_it() {
    let stage = Stage::new().program("slow", Program::new().starts_after(300));
    let launch = stage.session.launch(Command::new("slow")).begin();
    stage.advance_ms(100);
    let end = stage.session.end().begin();
    let error = launch.wait().unwrap_err();
    assert_eq!(error, Error::Launch(LaunchError::SessionClosed { session_id: "s".into() }));
    let tally = end.wait().unwrap();
    assert_eq!((tally.undone, tally.completed, tally.killed), (1, 0, 0));
    assert_snapshot!(stage.told());
}

#[test]
fn the_same_launch_key_twice_is_one_process() {
    let stage = Stage::new().program("build", Program::new().starts_after(20).exits_at(500, 0));
    let build = || Command::new("build").launch_key("build");
    let first = stage.session.launch(build()).begin();
    let second = stage.session.launch(build()).wait().unwrap();
    let third = stage.launch(build());
    assert_eq!((first.wait().unwrap().id(), third.id()), (second.id(), second.id()));
    stage.result();
    // It has ended, and is still known: the key gives the same handle, and nothing is started.
    let again = stage.launch(build());
    assert_eq!((again.id(), again.record().exit_code), (second.id(), Some(0)));
    let other = stage.session.launch(build().args(["--all"])).wait().unwrap_err();
    assert!(other.to_string().contains("belongs to another request"), "{other}");
    assert_snapshot!(stage.told());
}

#[test]
fn a_limit_that_is_reached_is_named() {
    let stage = Stage::with(|config| config.limits.session_handles = 1).program("sleep", Program::new());
    stage.launch(Command::new("sleep"));
    let error = stage.session.launch(Command::new("sleep")).wait().unwrap_err();
    assert_eq!(error.to_string(), "limit reached: live handles of one session (at most 1)");
    assert_snapshot!(stage.told());
}

#[test]
fn an_ended_session_is_closed_for_good() {
    let stage = Stage::new().program("true", Program::new().exits_at(0, 0));
    stage.session.end().wait().unwrap();
    let closed = Error::Launch(LaunchError::SessionClosed { session_id: "s".into() });
    assert_eq!(stage.session.launch(Command::new("true")).wait().unwrap_err(), closed);
    let reused = Error::Call(CallError::SessionReused { session_id: "s".into() });
    assert_eq!(stage.ostler.open_session(stage.session.id().clone()).wait().unwrap_err(), reused);
    assert_snapshot!(stage.told());
}

#[test]
fn time_stands_still_while_nobody_waits() {
    let stage = Stage::new().program("job", Program::new().exits_at(1_000, 0));
    stage.launch(Command::new("job"));
    assert!(stage.drain().is_empty());
    stage.world.advance(Duration::from_millis(999));
    assert!(stage.drain().is_empty());
    stage.world.advance(Duration::from_millis(1));
    assert_eq!(stage.drain().len(), 1);
}
