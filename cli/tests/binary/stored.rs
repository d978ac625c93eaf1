//! What one terminal sees of the commands of another: `ps`, `logs`, `show`, `wait`, `rm`, `gc`.

use crate::place::*;
use nix::sys::signal::{Signal, kill};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
};

/// A second terminal.
fn other(place: &Place, args: &[&str]) -> Output {
    place.ostler(args[0]).args(&args[1..]).output().unwrap()
}
fn said(place: &Place, args: &[&str]) -> String {
    let output = other(place, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}
fn refused(place: &Place, args: &[&str]) -> String {
    let output = other(place, args);
    assert_eq!(output.status.code(), Some(125), "{args:?}: {}", text(&output.stdout));
    text(&output.stderr)
}
fn rows(place: &Place, args: &[&str]) -> Vec<String> {
    said(place, args).lines().skip(1).map(str::to_owned).collect()
}
/// The first column of each.
fn ids(place: &Place, args: &[&str]) -> Vec<String> {
    rows(place, args).iter().map(|row| row.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn a_command_is_listed_followed_and_waited_for_from_another_terminal() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = "echo $$; echo first; read x <go; echo last >&2; exit 7";
    let running = place.start(&["--label", "task=t-1", "--label", "kind=build"], script);

    assert_eq!(rows(&place, &["ps"]).len(), 1);
    assert!(rows(&place, &["ps"])[0].contains("running"), "{:?}", rows(&place, &["ps"]));
    assert_eq!(ids(&place, &["ps", "--label", "task=t-1", "--label", "kind=build"]).len(), 1);
    assert!(ids(&place, &["ps", "--label", "task=t-2"]).is_empty());
    let shown = said(&place, &["show", "latest"]);
    assert!(
        shown.contains("| first")
            && shown.contains("state: running since")
            && shown.contains("output: 2 lines"),
        "{shown}"
    );
    let json: serde_json::Value = serde_json::from_str(&said(&place, &["ps", "--json"])).unwrap();
    assert_eq!((&json["status"], &json["labels"]["task"]), (&"running".into(), &"t-1".into()));

    let mut follow = place.ostler("logs").args(["-f", "latest"]).stdout(Stdio::piped()).spawn().unwrap();
    let wait = place.ostler("wait").arg("latest").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().nth(1).as_deref(), Some("first"));
    // What lives is not removed.
    assert!(refused(&place, &["rm", "latest"]).contains("belongs to a host that lives"));
    place.go("go");
    assert_eq!(lines.collect::<Vec<_>>(), ["last"]);
    assert!(follow.wait().unwrap().success());
    let waited = wait.wait_with_output().unwrap();
    assert_eq!(waited.status.code(), Some(7));
    assert!(text(&waited.stderr).contains("failed, exit 7"), "{}", text(&waited.stderr));
    assert_eq!(running.end().0.code(), Some(7));

    assert!(rows(&place, &["ps"]).is_empty());
    assert!(rows(&place, &["ps", "--all"])[0].contains("exit 7"));
    assert_eq!(said(&place, &["logs", "latest", "--stream", "stderr"]), "last\n");
    assert_eq!(said(&place, &["logs", "latest", "-n", "2"]), "first\nlast\n");
    assert!(said(&place, &["show", "latest"]).contains("failed after"));
}

#[test]
fn an_id_may_be_shortened_while_it_is_unique() {
    let place = Place::new();
    for n in 0..2 {
        assert_eq!(place.code(&["--", "sh", "-c", &format!("echo {n}")]), Some(0));
    }
    let listed = ids(&place, &["ps", "-a"]);
    assert_eq!(said(&place, &["logs", &listed[0]]), "1\n", "the newest first");
    assert_eq!(said(&place, &["logs", &listed[1]]), "0\n");
    assert_eq!(said(&place, &["logs", listed[1].trim_start_matches("hto-")]), "0\n");
    let id = fs::read_dir(place.path("artifacts")).unwrap().flatten();
    let mut names: Vec<String> = id.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("cmd_"));
    names.sort();
    assert_eq!(said(&place, &["logs", &names[0]]), "0\n", "they sort by time");
    assert_eq!(said(&place, &["logs", names[1].rsplit_once("cmd_").unwrap().1]), "1\n");
    // Less than four characters of an id are none.
    for slip in ["", "1", "cmd"] {
        assert!(refused(&place, &["rm", slip]).contains("names no command"), "{slip:?}");
    }
    let ambiguous = refused(&place, &["show", "cmd_1"]);
    assert!(ambiguous.contains("fits 2 commands") && ambiguous.contains(&names[0]), "{ambiguous}");
    assert!(refused(&place, &["wait", "nothing"]).contains(r#""nothing" names no command in"#));
}

#[test]
fn what_a_killed_host_has_left_is_lost_says_what_it_was_and_can_be_removed() {
    let place = Place::new();
    let running = place.start(&["--label", "task=t-9"], "echo $$; echo said; exec sleep 1000");
    // Until it stands there for others.
    let mut follow = place.ostler("logs").args(["-f", "latest"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().nth(1).as_deref(), Some("said"));
    running.signal(Signal::SIGKILL);
    assert_eq!(lines.next(), None, "who follows sees its end");
    assert!(follow.wait().unwrap().success());
    running.dies();
    assert!(rows(&place, &["ps"]).is_empty());
    let row = rows(&place, &["ps", "--all", "--label", "task=t-9"]).remove(0);
    assert!(row.contains("lost") && row.contains("exec sleep 1000"), "{row}");
    let shown = said(&place, &["show", "latest"]);
    assert!(shown.contains("lost") && shown.contains("| said"), "{shown}");
    assert_eq!(other(&place, &["wait", "latest"]).status.code(), Some(125));
    assert!(said(&place, &["rm", "latest"]).starts_with("cmd_"));
    assert!(rows(&place, &["ps", "--all"]).is_empty());
    assert!(refused(&place, &["show", "latest"]).contains("names no command"));
}

/// Another host may have the pid: of a container, or later.
#[test]
fn who_has_the_pid_of_a_dead_host_is_not_taken_for_it() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; exec sleep 1000");
    let id = json(&place)["command_id"].as_str().unwrap().to_owned();
    // As if it had been made by another host with the same pid, which has died.
    let launch = place.path("artifacts").join(&id).join("launch.json");
    let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&launch).unwrap()).unwrap();
    (file["host"]["token"], file["host"]["start_ticks"]) = (7.into(), 7.into());
    fs::write(&launch, file.to_string()).unwrap();
    assert!(rows(&place, &["ps"]).is_empty());
    assert!(rows(&place, &["ps", "-a"])[0].contains("lost"));
    assert_eq!(other(&place, &["wait", "latest"]).status.code(), Some(125));
    kill(running.group, Signal::SIGKILL).unwrap();
    running.end();
}

#[test]
fn a_host_whose_lock_was_removed_lives_all_the_same() {
    let place = Place::new();
    let running = place.start(&[], "echo $$; exec sleep 1000");
    for entry in fs::read_dir(place.path("artifacts")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    assert!(rows(&place, &["ps"])[0].contains("running"));
    assert!(refused(&place, &["rm", "latest"]).contains("belongs to a host that lives"));
    kill(running.group, Signal::SIGKILL).unwrap();
    running.end();
}

#[test]
fn a_table_has_a_line_for_each_command_whatever_it_is() {
    let place = Place::new();
    place.run(&["--", "sh", "-c", "echo 'one\ntwo'; : '\u{1b}]0;title\u{7}' '\u{202e}'"]);
    let table = said(&place, &["ps", "--all"]);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(!table.contains(['\u{1b}', '\u{7}', '\u{202e}']) && table.contains("one\\ntwo"), "{table}");
    // A result that nobody can read is no command that runs.
    let id = json(&place)["command_id"].as_str().unwrap().to_owned();
    fs::write(place.path("artifacts").join(&id).join("result.json"), "{").unwrap();
    assert!(rows(&place, &["ps"]).is_empty());
    assert!(said(&place, &["show", "latest"]).contains("result.json can't be read"));
    // What is not ours is not removed, nor what stands beside it.
    fs::write(place.path("artifacts").join(&id).join("notes"), "mine").unwrap();
    assert!(refused(&place, &["rm", "latest"]).contains("not empty"));
    assert!(place.path("artifacts").join(&id).join("launch.json").exists());
}

fn json(place: &Place) -> serde_json::Value {
    serde_json::from_str(said(place, &["ps", "--all", "--json"]).lines().next().unwrap()).unwrap()
}

#[test]
fn gc_removes_what_it_says_and_nothing_of_a_living_host() {
    let place = Place::new();
    for n in 0..4 {
        place.run(&["--", "sh", "-c", &format!("echo {n}")]);
    }
    let running = place.start(&[], "echo $$; exec sleep 1000");
    let before = ids(&place, &["ps", "--all"]);
    let would = said(&place, &["gc", "--max-count", "3", "--dry-run"]);
    assert_eq!((would.lines().count(), ids(&place, &["ps", "--all"])), (2, before));
    assert_eq!(said(&place, &["gc", "--max-count", "3"]), would);
    assert_eq!(said(&place, &["gc", "--keep", "0s"]).lines().count(), 2);
    assert_eq!(rows(&place, &["ps", "--all"]).len(), 1, "one lives");
    assert_eq!(said(&place, &["gc", "--max-bytes", "1B"]), "");
    kill(running.group, Signal::SIGTERM).unwrap();
    running.end();
}

#[test]
fn a_command_is_cancelled_from_another_terminal_and_its_own_hears_of_it() {
    let place = Place::new();
    let running = place.start(&[], "trap 'echo bye; exit 3' TERM; echo $$; while :; do sleep 0.05; done");
    let cancelled = other(&place, &["cancel", "latest"]);
    assert!(cancelled.status.success(), "{}", text(&cancelled.stderr));
    assert!(text(&cancelled.stderr).contains("cancelled, exit 3"), "{}", text(&cancelled.stderr));
    let (status, stdout, stderr) = running.end();
    assert_eq!((status.code(), stdout.as_str()), (Some(3), "bye\n"));
    assert!(stderr.contains("cancelled, exit 3"), "{stderr}");
    assert!(refused(&place, &["cancel", "latest"]).contains("it is over: cancelled, exit 3"));

    let stubborn = place.start(&["--grace", "1h"], "trap '' TERM; echo $$; while :; do sleep 0.05; done");
    assert!(other(&place, &["cancel", "--now", "latest"]).status.success());
    assert_eq!(stubborn.end().0.code(), Some(137));
    let left: Vec<_> = fs::read_dir(place.path("artifacts")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".sock")), "{left:?}");
}

#[test]
fn a_root_with_a_path_too_long_for_a_socket_has_one_all_the_same() {
    let place = Place::new();
    let deep = place.path(&format!("{}/{}", "a".repeat(100), "b".repeat(100)));
    let root = deep.to_str().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.args(["run", "--artifacts", root, "--", "sh", "-c", "echo $$; exec sleep 1000"]);
    let running = Running::begin(command);
    let cancel = std::process::Command::new(env!("CARGO_BIN_EXE_ostler"))
        .args(["cancel", "--artifacts", root, "latest"])
        .output()
        .unwrap();
    assert!(cancel.status.success(), "{}", text(&cancel.stderr));
    running.end();
}

/// What a killed host leaves is no socket for ever, and what is said to a living one is understood or refused.
#[test]
fn sockets_of_killed_hosts_go_and_nonsense_is_refused() {
    use std::{io::Write, os::unix::net::UnixStream};
    let place = Place::new();
    let socket = || {
        let entries = fs::read_dir(place.path("artifacts")).unwrap().flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "sock"));
        found
    };
    let killed = place.start(&[], "echo $$; exec sleep 1000");
    killed.dies();
    assert_eq!(socket().len(), 1);
    // One that is just being made is left alone.
    let (now, before) = (nix::sys::time::TimeVal::new(0, 0), nix::sys::time::TimeVal::new(1_000_000_000, 0));
    nix::sys::stat::utimes(&socket()[0], &now, &before).unwrap();
    assert!(refused(&place, &["cancel", "latest"]).contains("it is over: lost"));
    said(&place, &["gc"]);
    assert!(socket().is_empty(), "{:?}", socket());

    let running = place.start(&[], "echo $$; exec sleep 1000");
    let ask = |line: &[u8]| -> String {
        let mut stream = UnixStream::connect(&socket()[0]).unwrap();
        stream.write_all(line).unwrap();
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        lines.last().unwrap()
    };
    assert!(ask(b"nonsense\n").contains("is not understood"));
    let of_nobody = "{\"cancel\":{\"command_id\":\"cmd_1_1_1\"}}\n";
    assert!(ask(of_nobody.as_bytes()).contains("another host"), "{}", ask(of_nobody.as_bytes()));
    assert!(ask(b"{\"launch\":{\"program\":\"true\"}}\n").contains("is not understood"));
    // Without an end of the line it is a question too long, and no memory.
    let flood = vec![b'x'; 1 << 20];
    let mut stream = UnixStream::connect(&socket()[0]).unwrap();
    let _ = stream.write_all(&flood);
    drop(stream);
    // Whoever says nothing holds up nobody.
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket()[0]).unwrap()).collect();
    drop(silent);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket()[0]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    kill(running.group, Signal::SIGKILL).unwrap();
    running.end();
}

/// Hosts that live for a moment do not each look through all that is kept.
#[test]
fn one_of_many_runs_looks_for_what_may_go() {
    let place = Place::new();
    let artifacts = place.path("artifacts");
    // Of a process that there can't be: beyond the highest pid.
    let leave = |from: u32, count: u32| {
        for n in from..from + count {
            fs::create_dir(artifacts.join(format!("cmd_{n}_4194305_1"))).unwrap();
        }
    };
    let left = || fs::read_dir(&artifacts).unwrap().count();
    let run = || assert!(place.run(&["--", "true"]).status.success());
    run();
    // Its own directory, and when it has looked.
    assert_eq!(left(), 2);
    leave(1, 600);
    run();
    assert_eq!(left(), 603, "the next one did not look");
    for _ in 0..20 {
        // A removal that takes long ends with its host, and the next one goes on.
        fs::remove_file(artifacts.join(".looked")).unwrap();
        run();
        if left() < 520 {
            return;
        }
    }
    panic!("{} are left", left());
}
