//! `--no-network`.

use crate::{client::Client, place::Place};
use serde_json::json;
use std::{
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    process::{Command, Stdio},
};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// Whether namespaces can be had here: if not it is refused, and this test says so.
fn can(command: &mut Command) -> bool {
    let tried = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(tried.stderr).unwrap();
    if !tried.status.success() {
        assert!(said.contains("--no-network: ") && tried.status.code() == Some(125), "{said}");
        println!("SKIPPED: no network namespace is to be had here: {said}");
    }
    tried.status.success()
}

/// What a command of this server reaches, of a listener of this test and of itself.
fn looks(mut client: Client) {
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let tried = client.call("run_command", json!({ "argv": ["bash", "-c", line] }));
    assert_ne!(tried.field("exit_code"), 0, "{tried:?}");
    assert!(tried.text().contains("refused"), "{}", tried.text());
    let interfaces =
        client.call("run_command", json!({ "command": "tail -n +3 /proc/net/dev | cut -d: -f1" }));
    assert!(interfaces.text().contains("lo") && !interfaces.text().contains("eth"), "{}", interfaces.text());
    // A server of its own is reached, and seen.
    let serve = "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\n\
                 print(s.getsockname()[1], flush=True)\ns.accept()";
    let handle = client.call("run_command", json!({ "argv": ["python3", "-c", serve], "yield_ms": 0 }));
    if handle.field("exit_code") == 127 {
        println!("SKIPPED: there is no python3 to serve with");
        return;
    }
    let handle = handle.field("handle").clone();
    let port = client.call("wait_command", json!({ "handle": handle, "pattern": "[0-9]+" }));
    let port: u64 = port.field("output").as_str().unwrap().trim().parse().unwrap();
    let waited = client.call("wait_command", json!({ "handle": handle, "port": port }));
    assert_eq!(waited.field("condition")["which"], "port", "{waited:?}");
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let tried = client.call("run_command", json!({ "argv": ["bash", "-c", line] }));
    assert_eq!(tried.field("exit_code"), 0, "{tried:?}");
    assert!(client.close().success());
}

#[test]
fn commands_have_a_network_of_their_own() {
    let place = Place::new();
    let command = || {
        let mut command = place.command();
        command.arg("--no-network");
        command
    };
    if can(&mut command()) {
        looks(Client::begin(&mut command()).old());
    }
}

#[test]
fn a_user_without_rights_has_it_too() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can become somebody else; the test before this one was that");
        return;
    }
    let place = Place::new();
    chown(place.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
    // Where nobody may look into the directory of the build.
    let program = place.path("ostler");
    std::fs::copy(env!("CARGO_BIN_EXE_ostler"), &program).unwrap();
    let command = || {
        let mut command = Command::new(&program);
        command.args(["mcp", "--no-network", "--artifacts"]).arg(place.path("artifacts"));
        command.current_dir(place.path("")).env("HOME", place.path("")).uid(NOBODY).gid(NOBODY);
        command
    };
    if can(&mut command()) {
        let mut client = Client::begin(&mut command()).old();
        let who = client.call("run_command", json!({ "command": "id -u; grep CapEff /proc/self/status" }));
        assert_eq!(who.field("output"), "65534\nCapEff:\t0000000000000000\n");
        looks(client);
    }
}
