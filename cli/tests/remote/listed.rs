//! `ostler ps`, `logs` and `cancel` over a pool, from a second terminal.

use crate::place::{Place, Running, lives, text, until};
use serde_json::Value;

fn launch(place: &Place, state: &str) -> Option<Value> {
    place.ps().into_iter().find(|line| line["state"] == state && line["launch"].is_string())
}

#[test]
fn what_runs_is_listed_followed_and_cancelled_from_elsewhere() {
    let Some(place) = Place::new() else { return };
    let _worker = place.worker("a", &["--slots", "3", "--label", "gpu=no"]);
    place.fifo("go");
    let cwd = place.path("").display().to_string();
    let (mut run, pid) = place.start(
        &["--session", "s", "--label", "k=v", "--cwd", &cwd],
        "echo $$; echo err >&2; read x < go; echo more; exec sleep 1000",
    );
    until("the claim has its record", || launch(&place, "running").is_some());
    let listed = launch(&place, "running").unwrap();
    let id = listed["launch"].as_str().unwrap().to_owned();
    assert_eq!((&listed["session_id"], &listed["worker"]), (&"s".into(), &"a".into()), "{listed}");
    let output = place.ends(&mut place.ostler(&["ps", "--pool", "p", "--label", "k=v"]));
    let table = text(&output.stdout);
    let of = |beginning: &str| table.lines().find(|line| line.starts_with(beginning)).unwrap().to_owned();
    assert!(
        of("WORKER").ends_with("LABELS") && of("a ").contains("/3 ") && of("a ").ends_with("gpu=no"),
        "{table}"
    );
    assert!(of(&id).contains(" s ") && of(&id).contains("running") && of(&id).contains("sh -c"), "{table}");
    let output = place.ends(&mut place.ostler(&["ps", "--pool", "p", "--label", "k=other"]));
    assert!(!text(&output.stdout).contains(&id), "{output:?}");
    // Without --follow: what there is.
    let logs = |args: &[&str]| place.ends(place.ostler(&["logs", "--pool", "p"]).args(args));
    assert_eq!(text(&logs(&["--stream", "stdout", &id]).stdout), format!("{pid}\n"));
    assert_eq!(text(&logs(&["--stream", "stderr", "--session", "s", &id[..id.len() - 1]]).stdout), "err\n");
    assert_eq!(logs(&["--session", "other", &id]).status.code(), Some(125));
    let mut follows =
        Running::begin(&mut place.ostler(&["logs", "--pool", "p", "-f", "--stream", "stdout", "latest"]));
    assert_eq!(follows.line(), pid);
    place.go("go");
    assert_eq!((follows.line(), run.line()), ("more".to_owned(), "more".to_owned()));
    let output = place.ends(&mut place.ostler(&["cancel", "--pool", "p", &id]));
    assert!(output.status.success() && text(&output.stderr).starts_with("ostler: cancelled"), "{output:?}");
    // Whoever waits for it has its result all the same.
    let (status, rest, said) = run.end();
    assert!(said.contains("ostler: cancelled") && rest.is_empty(), "{said}");
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(follows.end().0.success());
    assert!(!lives(&pid));
    assert_eq!(launch(&place, "ended").unwrap()["record"]["stop_cause"], "cancelled");
    let output = place.ends(&mut place.ostler(&["cancel", "--pool", "p", &id]));
    assert!(text(&output.stderr).contains("it is over: cancelled"), "{output:?}");
    let output = place.ends(&mut place.ostler(&["ps", "--pool", "p"]));
    assert_eq!(text(&output.stderr), "ostler: nothing runs; --all shows what has ended\n");
    assert!(!text(&output.stdout).contains(&id), "{output:?}");
    // From the server, by now.
    assert_eq!(text(&logs(&["--stream", "stdout", &id]).stdout), format!("{pid}\nmore\n"));
}

#[test]
fn two_workers_share_the_launches_and_none_takes_more_than_its_slots() {
    let Some(place) = Place::new() else { return };
    let _workers = [place.worker("a", &["--slots", "1"]), place.worker("b", &["--slots", "2"])];
    let cwd = place.path("").display().to_string();
    let mut runs = ["one", "two", "three"].map(|fifo| {
        place.fifo(fifo);
        place.start(&["--cwd", &cwd], &format!("echo $$; read x < {fifo}")).0
    });
    // It finds no slot, until one is free.
    let mut waits = Running::begin(place.ostler(&["run", "--pool", "p", "--"]).args(["echo", "late"]));
    let of = |worker: &str| {
        place.ps().iter().filter(|line| line["launch"].is_string() && line["worker"] == worker).count()
    };
    assert_eq!((of("a"), of("b")), (1, 2));
    place.go("one");
    assert_eq!(waits.line(), "late");
    assert!(waits.end().0.success());
    ["two", "three"].iter().for_each(|fifo| place.go(fifo));
    runs.iter_mut().for_each(|run| assert!(run.end().0.success()));
}
