//! `docs/beyond-one-machine.md`: its settings of a server, as they stand there.

use crate::place::{Place, Running, text};
use nix::sys::signal::Signal;
use std::{fs, path::Path};

/// The settings of the page, but for TLS, which needs certificates.
fn settings(listen: &str, store: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/beyond-one-machine.md");
    let page = fs::read_to_string(page).unwrap();
    let settings = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let changed = |line: &str| match line.split([':', ' ']).next() {
        Some("listen") => format!("listen: {listen:?}\n"),
        Some("jetstream") => format!("jetstream {{ store_dir: {store:?}, sync_interval: always }}\n"),
        Some("tls") => String::new(),
        _ => format!("{line}\n"),
    };
    settings.lines().map(changed).collect()
}

#[test]
fn the_permissions_of_the_page_are_enough_for_each_role() {
    let Some(place) = Place::with(settings) else { return };
    let of_worker = place.url("worker");
    let mut worker = place.worker_of("build", "one", &["--nats", &of_worker, "--lease", "2s"]);
    let host = |subcommand: &str, args: &[&str]| {
        let mut command = place.ostler(&[subcommand, "--nats", &place.url("host"), "--pool", "build"]);
        command.args(args);
        command
    };
    let output = place.ends(&mut host("run", &["--", "sh", "-c", "echo hello; exit 3"]));
    assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(3), "hello\n"), "{output:?}");
    // Its output is longer than what its record shows, and read from the server in the end.
    let output = place.ends(&mut host("run", &["-q", "--session", "s", "--", "seq", "30000"]));
    assert_eq!(text(&output.stdout).lines().count(), 30_000, "{output:?}");
    let output = place.ends(&mut host("logs", &["latest"]));
    assert_eq!(text(&output.stdout).lines().count(), 30_000, "{output:?}");
    let mut runs =
        Running::begin(&mut host("run", &["--session", "s", "--", "sh", "-c", "echo $$; exec sleep 1000"]));
    runs.line();
    let output = place.ends(&mut host("cancel", &["latest"]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(runs.end().0.code(), Some(143));
    let output = place.ends(&mut host("ps", &["--all"]));
    assert_eq!(text(&output.stdout).lines().count(), 7, "{output:?}");
    worker.signal(Signal::SIGTERM);
    assert!(worker.end().0.success());
    let said = place.server_said();
    assert!(!said.contains("Violation"), "{said}");
    // Nobody who is not named comes in, and each is held to its role.
    let output = place.ends(&mut place.ostler(&["ps", "--pool", "build"]));
    assert!(text(&output.stderr).contains("authorization violation"), "{output:?}");
    let as_host = place.url("host");
    let mut as_worker = place.ostler(&["worker", "--pool", "build", "--name", "two", "--nats", &as_host]);
    let output = place.ends(&mut as_worker);
    assert!(text(&output.stderr).contains("Permissions Violation"), "{output:?}");
    assert!(!output.status.success());
    let output = place.ends(&mut host("ps", &[]));
    assert!(!text(&output.stdout).contains("two"), "{output:?}");
}
