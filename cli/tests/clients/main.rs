//! `ostler mcp`, driven by clients of other makers. They are fetched by `.ci/clients`, into `target/clients` or `$OSTLER_CLIENTS`; one that is not
//! there is skipped out loud, unless `$OSTLER_CLIENTS_REQUIRE` names it.
//!
//! The checks stand in the scripts beside this file: one list of them for each language, and a file for each client.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod agents;
mod browser;
mod own;
mod place;

use crate::place::Place;
use serde_json::Value;

/// The official client in Python, a script for each of its two lines.
fn python(version: &str, mode: &str) {
    let Some(place) = Place::of(&format!("python-{version}")) else { return };
    let scripts = place.scripts("python");
    let mut command = place.command(place.client("bin/python"));
    command.arg(scripts.join(format!("client_{version}.py"))).arg(mode);
    // Nothing is written beside the scripts, and what the library thinks of itself is not ours.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "error::RuntimeWarning");
    place.run(command).all_was_checked(mode);
}

/// The official clients in TypeScript.
fn typescript(script: &str, mode: &str) {
    let Some(place) = Place::of("node") else { return };
    // A module finds its packages beside itself.
    let scripts = place.scripts("node");
    std::os::unix::fs::symlink(place.client("node_modules"), scripts.join("node_modules")).unwrap();
    let mut command = place.command(place.node());
    command.arg(scripts.join(script)).arg(mode);
    place.run(command).all_was_checked(mode);
}

#[test]
fn python_2_with_a_handshake() {
    python("2", "legacy");
}

#[test]
fn python_2_without_a_handshake_and_with_tasks() {
    python("2", "auto");
}

#[test]
fn python_1() {
    python("1", "legacy");
}

#[test]
fn typescript_2_with_a_handshake() {
    typescript("client.mjs", "legacy");
}

#[test]
fn typescript_2_without_a_handshake_and_with_tasks() {
    typescript("client.mjs", "auto");
}

#[test]
fn typescript_1() {
    typescript("sdk.mjs", "legacy");
}

#[test]
fn the_inspector_finds_no_fault_in_the_schemas_and_calls_a_tool() {
    let Some(place) = Place::of("node") else { return };
    let inspect = |args: &[&str]| {
        let mut command = place.command(place.node());
        command.arg(place.client("node_modules/.bin/mcp-inspector")).arg("--cli");
        command.args(["--format", "json"]).args(args).arg("--").args(place.server());
        let ended = place.run(command);
        assert!(ended.success, "{ended:?}");
        // What it thinks of the schemas stands there.
        assert_eq!(ended.stderr, "");
        serde_json::from_str::<Value>(&ended.stdout).unwrap()["result"].take()
    };
    let listed = inspect(&["--method", "tools/list", "--strict"]);
    assert_eq!(listed["tools"].as_array().unwrap().len(), 6, "{listed}");
    let called = inspect(&[
        "--method",
        "tools/call",
        "--tool-name",
        "run_command",
        "--tool-arg",
        "command=echo seen; exit 3",
    ]);
    assert_eq!(called["structuredContent"]["output"], "seen\n", "{called}");
    assert_eq!(called["structuredContent"]["exit_code"], 3, "{called}");
}
