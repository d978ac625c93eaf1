//! `ostler init`: what it writes into whose configuration, and what it leaves alone.

use crate::place::{Place, text};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Output},
};

/// With a home of its own.
fn init(place: &Place, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.arg("init").args(args).current_dir(place.0.path()).env_clear();
    command.env("HOME", place.path("home")).env("PATH", "/usr/bin").output().unwrap()
}
fn said(place: &Place, args: &[&str]) -> String {
    let output = init(place, args);
    assert!(output.status.success() && output.stdout.is_empty(), "{args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}
fn refused(place: &Place, args: &[&str]) -> String {
    let output = init(place, args);
    assert_eq!(output.status.code(), Some(125), "{args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}
fn mode(place: &Place, file: &str) -> u32 {
    fs::metadata(place.path(file)).unwrap().permissions().mode() & 0o7777
}
fn write(place: &Place, file: &str, text: &str) {
    let path = place.path(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
fn read(place: &Place, file: &str) -> String {
    fs::read_to_string(place.path(file)).unwrap()
}
/// This binary is not in PATH.
fn own() -> String {
    fs::canonicalize(env!("CARGO_BIN_EXE_ostler")).unwrap().display().to_string()
}

const JSON: [(&str, Option<&str>, &str, &str); 5] = [
    ("claude", Some(".mcp.json"), "home/.claude.json", "mcpServers"),
    ("gemini", Some(".gemini/settings.json"), "home/.gemini/settings.json", "mcpServers"),
    ("cursor", Some(".cursor/mcp.json"), "home/.cursor/mcp.json", "mcpServers"),
    ("vscode", Some(".vscode/mcp.json"), "home/.config/Code/User/mcp.json", "servers"),
    ("claude-desktop", None, "home/.config/Claude/claude_desktop_config.json", "mcpServers"),
];

#[test]
fn each_agent_with_json_gets_its_entry_once() {
    for (agent, of_project, of_home, servers) in JSON {
        let place = Place::new();
        let scopes = [of_project.map(|file| (file, "--project", "ostler".to_owned(), 0o644))];
        for (file, scope, command, mode_of_new) in
            scopes.into_iter().flatten().chain([(of_home, "--global", own(), 0o600)])
        {
            assert!(said(&place, &[agent, scope, "--dry-run"]).contains("would write"), "{agent}");
            assert!(!place.path(file).exists(), "{agent}");
            let wrote = said(&place, &[agent, scope]);
            assert!(wrote.contains("wrote ") && wrote.contains(file), "{wrote}");
            let whole = read(&place, file);
            let json: serde_json::Value = serde_json::from_str(&whole).unwrap();
            let entry = &json[servers]["ostler"];
            assert_eq!((&entry["command"], &entry["args"]), (&command.into(), &serde_json::json!(["mcp"])));
            assert_eq!(entry["type"] == "stdio", agent == "vscode");
            assert_eq!(mode(&place, file), mode_of_new);
            assert!(said(&place, &[agent, scope]).contains("is there already"));
            assert_eq!(read(&place, file), whole);
        }
    }
    assert!(refused(&Place::new(), &["claude-desktop", "--project"]).contains("leave --project out"));
}

#[test]
fn what_else_stands_in_json_stays_as_it_is() {
    let place = Place::new();
    let before = "{\n    // mine\n    \"theme\": \"dark\", \"mcpServers\": {\n        \"other\": {\"url\": \"x\"}, // last\n    },\n    \"z\": 1, \"a\": [1,2]\n}\n";
    let file = "home/.gemini/settings.json";
    write(&place, file, before);
    fs::set_permissions(place.path(file), fs::Permissions::from_mode(0o640)).unwrap();
    said(&place, &["gemini"]);
    let after = read(&place, file);
    assert_eq!(mode(&place, file), 0o640);
    for kept in [
        "    // mine\n    \"theme\": \"dark\"",
        "\"other\": {\"url\": \"x\"}",
        "// last",
        "\"z\": 1, \"a\": [1,2]\n}\n",
    ] {
        assert!(after.contains(kept), "{kept:?} of {after}");
    }
    assert!(after.contains("\"ostler\": {"), "{after}");
    let left: Vec<_> = fs::read_dir(place.path("home/.gemini")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn codex_keeps_its_comments_and_order() {
    let place = Place::new();
    let before =
        "# mine\nmodel = \"o\" # why\n\n[mcp_servers.other]\ncommand = \"x\"\n\n[tui]\ntheme = 'a'\n";
    write(&place, "home/.codex/config.toml", before);
    said(&place, &["codex"]);
    let after = read(&place, "home/.codex/config.toml");
    let entry = format!("\n[mcp_servers.ostler]\ncommand = \"{}\"\nargs = [\"mcp\"]\n", own());
    assert!(after.contains(&entry), "{after}");
    assert_eq!(after.replace(&entry, ""), before);
    assert!(said(&place, &["codex"]).contains("is there already"));
    said(&place, &["codex", "--project"]);
    let new = "[mcp_servers.ostler]\ncommand = \"ostler\"\nargs = [\"mcp\"]\n";
    assert_eq!(read(&place, ".codex/config.toml"), new);
}

#[test]
fn what_cannot_be_parsed_or_differs_is_left_alone() {
    let place = Place::new();
    for (agent, file, broken, differs) in [
        (
            "claude",
            ".mcp.json",
            "{\"mcpServers\": {",
            r#"{"mcpServers": {"ostler": {"command": "ostler", "args": ["mcp", "--session", "s"]}}}"#,
        ),
        ("codex", ".codex/config.toml", "[mcp_servers", "[mcp_servers.ostler]\nurl = \"http://x\"\n"),
    ] {
        write(&place, file, broken);
        let why = refused(&place, &[agent, "--project", "--force"]);
        assert!(why.contains("can't be parsed, so it was left alone") && why.contains("by hand"), "{why}");
        assert_eq!(read(&place, file), broken);
        write(&place, file, differs);
        let why = refused(&place, &[agent, "--project"]);
        assert!(why.contains("--force replaces it"), "{why}");
        assert_eq!(read(&place, file), differs);
        assert!(said(&place, &[agent, "--project", "--force"]).contains("wrote"));
        assert!(said(&place, &[agent, "--project"]).contains("is there already"));
    }
    for whole in ["[]", "{\"mcpServers\": 1}"] {
        write(&place, ".mcp.json", whole);
        assert!(refused(&place, &["claude", "--project"]).contains("is no object"));
        assert_eq!(read(&place, ".mcp.json"), whole);
    }
}

/// As who keeps such files in a repository has them.
#[test]
fn a_link_stays_one() {
    let place = Place::new();
    write(&place, "dotfiles/claude.json", "{}");
    fs::create_dir_all(place.path("home")).unwrap();
    symlink(place.path("dotfiles/claude.json"), place.path("home/.claude.json")).unwrap();
    said(&place, &["claude"]);
    assert!(place.path("home/.claude.json").is_symlink());
    assert!(read(&place, "dotfiles/claude.json").contains("\"ostler\""));
}
