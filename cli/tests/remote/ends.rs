//! Signals: to whoever waits for a command, and to whoever runs it.

use crate::place::{Place, lives, until};
use nix::sys::signal::Signal;

#[test]
fn ctrl_c_ends_the_command_and_its_session_and_a_second_one_kills() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let (mut run, pid) =
        place.start(&[], "trap 'echo bye; exit' TERM; echo $$; while :; do sleep 0.01; done");
    run.signal(Signal::SIGINT);
    let (status, rest, said) = run.end();
    assert_eq!((status.code(), &*rest), (Some(130), "bye\n"), "{said}");
    assert!(said.contains("stopping: SIGTERM now, SIGKILL in 2.0 s; Ctrl-C again kills at once"), "{said}");
    assert!(said.contains("ostler: cancelled, "), "{said}");
    assert!(!lives(&pid) && !said.contains("has not ended everywhere"), "{said}");
    // Its session is over, and takes nothing more.
    let ps = place.ps();
    let session = ps.iter().find_map(|line| line["session_id"].as_str()).unwrap();
    let output = place.run(&["--session", session, "--", "true"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("it has ended"), "{output:?}");
    let args = ["--grace", "1000s"];
    let (mut run, pid) = place.start(&args, "trap '' TERM; echo $$; while :; do sleep 0.01; done");
    run.signal(Signal::SIGTERM);
    run.says("another signal kills at once");
    assert!(lives(&pid));
    run.signal(Signal::SIGTERM);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(!lives(&pid));
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let ostler = env!("CARGO_BIN_EXE_ostler");
    let mut shell = place.program("bash");
    let script = format!("{ostler} run --pool p -- yes 2>&- | head -1; echo ${{PIPESTATUS[0]}}");
    let output = place.ends(shell.args(["-c", &script]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n141\n", "{output:?}");
}

#[test]
fn a_worker_that_is_told_to_end_stops_what_runs_and_its_result_arrives() {
    let Some(place) = Place::new() else { return };
    let mut worker = place.worker("a", &[]);
    let (mut run, pid) = place.start(&[], "echo $$; exec sleep 1000");
    worker.signal(Signal::SIGTERM);
    worker.says("SIGTERM: takes nothing more, stops 1 command");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(!lives(&pid), "{said}");
    let (status, _, said) = worker.end();
    assert!(status.success() && said.ends_with("ostler: ended in order\n"), "{said}");
    let ps = place.ps();
    assert_eq!(ps.len(), 1, "it is off the list: {ps:?}");
    assert_eq!(ps[0]["record"]["status"], "killed");
}

#[test]
fn a_second_signal_ends_a_worker_at_once_and_its_next_life_has_the_result() {
    let Some(place) = Place::new() else { return };
    let mut worker = place.worker("a", &[]);
    let script = "trap '' TERM; echo $$; while :; do sleep 0.01; done";
    let (mut run, pid) = place.start(&["--grace", "1000s"], script);
    worker.signal(Signal::SIGTERM);
    worker.says("another signal kills at once");
    worker.signal(Signal::SIGTERM);
    let (status, _, said) = worker.end();
    assert_eq!(status.code(), Some(143), "{said}");
    until("what it ran is gone", || !lives(&pid));
    let _next = place.worker("a", &[]);
    let (status, _, said) = run.end();
    assert!(status.code().is_some_and(|code| code != 0), "{said}");
    let ended: Vec<_> = place.ps().into_iter().filter(|line| line["state"] == "ended").collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
}

#[test]
fn a_name_is_one_workers() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &[]);
    let mut second = place.ostler(&["worker", "--pool", "p", "--name", "a", "--state"]);
    let output = place.ends(second.arg(place.path("a")));
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another one of this name runs"), "{output:?}");
}

#[test]
fn a_worker_that_is_killed_is_answered_for_and_holds_up_nobody() {
    let Some(place) = Place::new() else { return };
    let worker = place.worker("a", &["--lease", "2s"]);
    let (mut run, pid) = place.start(&[], "echo $$; exec sleep 1000");
    let _other = place.worker("b", &["--lease", "2s"]);
    worker.signal(Signal::SIGKILL);
    until("what it ran is gone", || !lives(&pid));
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(125), "{said}");
    assert!(said.contains("ostler: lost with its host"), "{said}");
    // Its heartbeat is on the list for a day.
    let output = place.run(&["--", "echo", "after"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(place.ps().iter().any(|line| line["worker"] == "a" && line["state"] == "silent"));
}
