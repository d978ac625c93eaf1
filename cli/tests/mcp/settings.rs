//! `ostler.toml`, as a server and `ostler config` read it.

use crate::{client::Client, place::Place};
use serde_json::{Value, json};
use std::{fs, process::Command};

fn config(place: &Place, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.arg("config").args(args).env("XDG_CONFIG_HOME", place.path("config")).current_dir(place.path(""));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn write(place: &Place, path: &str, text: &str) {
    let path = place.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_server_obeys_the_file_and_flags_win() {
    let place = Place::new();
    write(
        &place,
        "config/ostler/ostler.toml",
        "[mcp]\ntimeout = \"150ms\"\noutput_limit = 1000\nroot = \"/tmp\"\n",
    );
    // A repository sets nothing.
    write(&place, "ostler.toml", "[mcp]\nenv_mode = \"patch\"\nroot = \"/nowhere\"\n");
    let mut started = place.command();
    started.env("XDG_CONFIG_HOME", place.path("config")).args(["--root", "/"]);
    let mut client = Client::begin(&mut started).old();
    let late = client.call("run_command", json!({ "command": "sleep 1000" }));
    assert_eq!(late.field("stop_cause"), "deadline");
    let loud = client.call("run_command", json!({ "command": "yes", "timeout_ms": 60000 }));
    assert_eq!(loud.field("stop_cause"), "output_limit");
    let cwd = client.call("run_command", json!({ "argv": ["pwd"], "cwd": "/usr" }));
    assert_eq!(cwd.field("output"), "/usr\n");

    let (code, said, _) = config(&place, &["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let settings = said["settings"].as_array().unwrap();
    let of = |name: &str| settings.iter().find(|setting| setting["name"] == name).unwrap();
    assert_eq!((code, &of("mcp.timeout")["value"]), (Some(0), &json!("150ms")));
    assert!(of("mcp.root")["from"].as_str().unwrap().ends_with("config/ostler/ostler.toml"));
    assert_eq!(
        (&of("mcp.env_mode")["value"], &of("mcp.env_mode")["from"]),
        (&json!("inherit_clean"), &Value::Null)
    );
}

#[test]
fn a_file_that_is_wrong_is_named_with_the_setting() {
    let place = Place::new();
    for (text, says) in
        [("[mcp]\ntimeout = \"soon\"\n", "mcp.timeout: "), ("[mcp]\nlimit = 1\n", "mcp.limit is no setting")]
    {
        write(&place, "other.toml", text);
        let path = place.path("other.toml");
        let (code, _, error) = config(&place, &["--config", path.to_str().unwrap()]);
        assert_eq!(code, Some(125));
        assert!(error.contains("other.toml") && error.contains(says), "{error}");
        let output = place.command().arg("--config").arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{output:?}");
    }
    let (code, _, error) = config(&place, &["--config", "/no/such.toml"]);
    assert_eq!(code, Some(125));
    assert!(error.contains("/no/such.toml"), "{error}");
}
