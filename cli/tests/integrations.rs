//! What the plugin folder says is true of this binary: its JSON, its tools, its command lines.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's own verdict")]

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("integrations")
}
fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}
fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
fn texts() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    files(&folder(), &mut all);
    all.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    all.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Every word is an option or a subcommand that the command line knows: with `--help` nothing is done.
fn accepts(line: &str) {
    let mut words = shlex::split(line).unwrap();
    assert_eq!(words.remove(0), "ostler", "{line}");
    // Help comes before what follows it is looked at, so it stands last.
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.truncate(end);
    words.push("--help".to_owned());
    let output = Command::new(env!("CARGO_BIN_EXE_ostler")).args(&words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_json_file_parses_and_each_command_in_them_is_accepted() {
    let mut all = Vec::new();
    files(&folder(), &mut all);
    let jsons: Vec<_> = all.iter().filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    assert_eq!(jsons.len(), 5, "{jsons:?}");
    for path in jsons {
        let json = json(path);
        for server in json["mcpServers"].as_object().into_iter().flat_map(|servers| servers.values()) {
            let args: Vec<&str> =
                server["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
            accepts(&format!("{} {}", server["command"].as_str().unwrap(), args.join(" ")));
        }
        if let Some(version) = json.get("version") {
            assert_eq!(version, env!("CARGO_PKG_VERSION"), "{}", path.display());
        }
    }
    let monitors = json(&folder().join("ostler/monitors/monitors.json"));
    for monitor in monitors.as_array().unwrap() {
        accepts(monitor["command"].as_str().unwrap().strip_prefix("exec ").unwrap());
    }
    let marketplace = json(&folder().join(".claude-plugin/marketplace.json"));
    assert!(folder().join(marketplace["plugins"][0]["source"].as_str().unwrap()).is_dir());
}

#[test]
fn each_tool_and_argument_that_the_texts_name_is_one() {
    let tools = ostler_mcp::descriptions();
    let mut known = BTreeSet::new();
    let mut names = BTreeSet::new();
    for tool in tools.as_array().unwrap() {
        names.insert(tool["name"].as_str().unwrap().to_owned());
        known.extend(tool["inputSchema"]["properties"].as_object().unwrap().keys().cloned());
    }
    let skill = fs::read_to_string(folder().join("ostler/skills/long-running-commands/SKILL.md")).unwrap();
    assert!(names.iter().all(|name| skill.contains(&format!("`{name}`"))), "{names:?}");
    for (path, text) in texts() {
        for word in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let word = word.split(':').next().unwrap();
            let is_name = word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let is_one = names.contains(word) || known.contains(word);
            assert!(
                !is_name || is_one,
                "{}: {word} is neither a tool nor an argument of one",
                path.display()
            );
        }
    }
    // Those without an underscore, of the table.
    for argument in [
        "command", "argv", "port", "pattern", "handle", "offset", "tail", "find", "input", "text", "keys",
        "terminal",
    ] {
        assert!(known.contains(argument) && skill.contains(&format!("`{argument}")), "{argument}");
    }
}

#[test]
fn each_command_line_of_the_texts_is_accepted() {
    let mut count = 0;
    for (_, text) in texts() {
        let lines = text.lines().filter(|line| line.starts_with("ostler "));
        let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        for line in lines.chain(quoted.filter(|word| word.starts_with("ostler ") && !word.contains("AGENT")))
        {
            accepts(line);
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
}
