//! What must hold of the source itself: layers, the length of files, messages with a handler, paths that exist.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longest source file, in lines: longer ones are more than one thing.
const FILE_MAX_LINES: usize = 450;

/// From the ground up: a room uses only rooms above it in this list. `crate:` is a package of the workspace.
const CRATES: [(&str, &[&str]); 11] = [
    ("messages", &[]),
    ("context", &["ostler_messages"]),
    ("artifacts", &["ostler_messages"]),
    ("journal", &["ostler_messages"]),
    ("inbox", &["ostler_messages", "ostler_context"]),
    ("actors", &["ostler_messages", "ostler_context", "ostler_artifacts", "ostler_journal", "ostler_inbox"]),
    ("remote", &["ostler", "ostler_artifacts"]),
    ("mcp", &["ostler", "ostler_remote"]),
    ("cli", &["ostler", "ostler_mcp", "ostler_remote"]),
    ("tests", &["ostler", "ostler_messages"]),
    ("fuzz", &["ostler", "ostler_messages", "ostler_artifacts", "ostler_journal", "ostler_mcp"]),
];

/// The rooms of `actors/src`, and which of the others each may use.
const ROOMS: [(&str, &[&str]); 10] = [
    ("config", &[]),
    ("core", &["config"]),
    ("backend", &["config"]),
    ("linux", &["config", "backend"]),
    ("scripted", &["config", "backend"]),
    ("graph", &["config", "core", "backend"]),
    ("replay", &["config", "backend", "graph"]),
    ("trace", &["replay"]),
    ("api", &["config", "trace", "backend", "linux", "scripted", "graph"]),
    ("testing", &["config", "backend", "linux", "scripted", "graph", "api"]),
];

/// The rooms of `actors/src/linux`.
const LINUX: [(&str, &[&str]); 16] = [
    ("sys", &[]),
    ("clock", &["sys"]),
    ("names", &[]),
    ("proc", &[]),
    ("mailbox", &["sys"]),
    ("sight", &["sys", "proc"]),
    ("exec", &["sys", "proc"]),
    ("contain", &["sys", "proc", "exec", "sight"]),
    ("follow", &["sys", "clock", "contain", "sight"]),
    ("watch", &["sys", "clock", "names", "proc", "mailbox", "contain", "sight", "follow"]),
    ("drain", &["sys", "clock", "mailbox"]),
    ("spawn", &["sys", "clock", "names", "mailbox", "exec", "contain", "sight", "watch", "drain"]),
    ("janitor", &[]),
    ("no_journal", &["janitor"]),
    ("journal", &["sys", "clock", "contain", "janitor"]),
    (
        "kernel",
        &[
            "sys", "clock", "mailbox", "exec", "contain", "follow", "watch", "drain", "spawn", "janitor",
            "journal",
        ],
    ),
];

/// Names that went, each for a word of the field. Identifiers only: prose is not searched.
const GONE: [&str; 31] = [
    "Roster",
    "Mailroom",
    "Room",
    "PutBack",
    "Unclaimed",
    "Hangup",
    "Settle",
    "Settled",
    "Crowded",
    "Intake",
    "OpenRoom",
    "CloseRoom",
    "RoomClosed",
    "Begin",
    "News",
    "NewsBody",
    "Stand",
    "Pillars",
    "Families",
    "Family",
    "Door",
    "Retire",
    "Abandon",
    "Alarm",
    "Clapper",
    "Beside",
    "Which",
    "Act",
    "Happening",
    "Play",
    "Over",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file of the project with this ending, without what is built.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                walk(&path, ending, into);
            } else if name.ends_with(ending) {
                into.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), ending, &mut found);
    assert!(!found.is_empty());
    found.sort();
    found
}
fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The code of a file: without comments, and without what is compiled for tests only.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    let comment = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(comment).map(|line| format!("{line}\n")).collect()
}

/// The first names after `prefix` in a file's code: `crate::a::b` and `crate::{a::b, c}` give a, a, c.
fn used(code: &str, prefix: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if c.is_whitespace() => {}
                _ if begins => {
                    found.insert(word(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

/// The sources of one room: `dir/room.rs`, and all below `dir/room/`.
fn sources_of(dir: &str, room: &str) -> Vec<PathBuf> {
    let (file, folder) = (format!("{dir}/{room}.rs"), format!("{dir}/{room}/"));
    let ours = |path: &PathBuf| {
        let name = name(path);
        // The helper is a program of its own.
        (name == file || name.starts_with(&folder)) && !name.contains("/contain/helper/")
    };
    files(".rs").into_iter().filter(ours).collect()
}

fn check_rooms(dir: &str, prefix: &str, rooms: &[(&str, &[&str])]) {
    let known: BTreeMap<&str, &[&str]> = rooms.iter().copied().collect();
    for (room, may) in rooms {
        let sources = sources_of(dir, room);
        assert!(!sources.is_empty(), "there is no room {dir}/{room}");
        for source in sources {
            for used in used(&code(&source), prefix) {
                let allowed =
                    used == *room || may.contains(&used.as_str()) || !known.contains_key(used.as_str());
                assert!(allowed, "{}: {room} must not use {used}", name(&source));
            }
        }
    }
    // The list itself has no arrow that points up.
    for (at, (room, may)) in rooms.iter().enumerate() {
        let below: Vec<&str> = rooms[..at].iter().map(|(room, _)| *room).collect();
        assert!(may.iter().all(|used| below.contains(used)), "{room} stands below what it uses");
    }
    let rooms: BTreeSet<String> = rooms.iter().map(|(room, _)| (*room).to_owned()).collect();
    for entry in fs::read_dir(root().join(dir)).unwrap() {
        let entry = entry.unwrap().path();
        let room = entry.file_stem().unwrap().to_string_lossy().into_owned();
        let known = rooms.contains(&room) || ["lib", "mod"].contains(&room.as_str());
        assert!(known, "{} stands in no list of rooms", name(&entry));
    }
}

#[test]
fn no_arrow_points_up() {
    check_rooms("actors/src", "crate::", &ROOMS);
    check_rooms("actors/src/linux", "crate::linux::", &LINUX);
}

#[test]
fn each_package_knows_only_those_below_it() {
    for (package, may) in CRATES {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for line in dependencies.lines().filter(|line| line.starts_with("ostler")) {
            let used = line.split(['.', ' ', '=']).next().unwrap().replace('-', "_");
            assert!(may.contains(&used.as_str()), "{package} must not depend on {used}");
        }
    }
    let vocabulary = fs::read_to_string(root().join("messages/Cargo.toml")).unwrap();
    assert!(!vocabulary.contains("actix"), "the vocabulary does not know actix");
}

#[test]
fn the_core_is_pure() {
    for source in sources_of("actors/src", "core") {
        let code = code(&source);
        for impure in
            ["actix", "std::time", "std::thread", "std::fs", "std::process", "ostler_context", "Instant"]
        {
            assert!(!code.contains(impure), "{} knows {impure}", name(&source));
        }
    }
}

#[test]
fn no_file_is_longer_than_one_thing() {
    for source in files(".rs") {
        let lines = fs::read_to_string(&source).unwrap().lines().count();
        assert!(lines <= FILE_MAX_LINES, "{} has {lines} lines", name(&source));
    }
}

#[test]
fn names_that_went_do_not_come_back() {
    for source in files(".rs").into_iter().filter(|path| !path.ends_with("tests/tests/tidy.rs")) {
        let code = code(&source);
        let words: BTreeSet<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let back: Vec<_> = GONE.iter().filter(|gone| words.contains(**gone)).collect();
        assert!(back.is_empty(), "{}: {back:?}", name(&source));
    }
}

/// The messages of a table: names at the beginning of a line, followed by their fields.
fn messages(file: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("messages/src").join(file)).unwrap();
    // An answer is no message: it is carried by one.
    let text = text.split("pub enum Answer").next().unwrap();
    let table = text.lines().filter(|line| line.starts_with("    ") && line.contains(" {"));
    let names = table.map(|line| line.trim().split(' ').next().unwrap().to_owned());
    let is_name =
        |name: &String| name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
    names.filter(is_name).collect()
}

#[test]
fn each_message_has_a_handler_where_its_table_says() {
    let handlers = [
        ("requests.rs", ["actors/src/graph/supervisor.rs", "inbox/src/inbox.rs"].as_slice()),
        ("commands.rs", &["actors/src/graph/kernel.rs", "actors/src/graph/journal.rs"]),
        (
            "events.rs",
            &[
                "actors/src/graph/process.rs",
                "actors/src/graph/drain.rs",
                "actors/src/graph/progress.rs",
                "actors/src/graph/wait.rs",
                "actors/src/graph/supervisor.rs",
                "actors/src/graph/journal.rs",
                "inbox/src/inbox.rs",
            ],
        ),
        (
            "journal.rs",
            &[
                "actors/src/graph/router.rs",
                "actors/src/graph/supervisor.rs",
                "actors/src/graph/journal.rs",
                "inbox/src/inbox.rs",
            ],
        ),
        (
            "supervision.rs",
            &[
                "actors/src/graph/process.rs",
                "actors/src/graph/drain.rs",
                "actors/src/graph/progress.rs",
                "actors/src/graph/wait.rs",
                "actors/src/graph/supervisor.rs",
            ],
        ),
        ("deliveries.rs", &["actors/src/graph/supervisor.rs", "inbox/src/inbox.rs"]),
    ];
    for (table, files) in handlers {
        let names = messages(table);
        assert!(!names.is_empty(), "{table} has no messages");
        for message in names.iter().filter(|name| !["Exit", "SeenProcess"].contains(&name.as_str())) {
            let handled = files.iter().any(|file| {
                let code = code(&root().join(file));
                let forms =
                    ["Handler<Sent<NAME>>", "    NAME => ", "handle!(NAME,", "(NAME,", " NAME,", " NAME)"];
                forms.iter().any(|form| code.contains(&form.replace("NAME", message)))
            });
            assert!(handled, "{table}: nobody in {files:?} handles {message}");
        }
    }
}

/// What stands between backticks and looks like a path of the project.
fn paths(text: &str) -> Vec<String> {
    let tops = [
        "actors/",
        "messages/",
        "context/",
        "inbox/",
        "artifacts/",
        "journal/",
        "tests/",
        "cli/",
        "clients/",
        "packages/",
        "remote/",
        "docs/",
        ".ci/",
    ];
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned));
    let is_path = |text: &String| {
        tops.iter().any(|top| text.starts_with(top)) && !text.contains([' ', '*', '<', '{', '…'])
    };
    quoted.filter(is_path).collect()
}

#[test]
fn paths_in_docs_and_comments_exist() {
    for file in [files(".md"), files(".rs")].concat() {
        for path in paths(&fs::read_to_string(&file).unwrap()) {
            assert!(root().join(&path).exists(), "{}: there is no {path}", name(&file));
        }
    }
}

#[test]
fn links_in_docs_lead_somewhere() {
    for file in files(".md") {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(file.parent().unwrap().join(target).exists(), "{}: there is no {target}", name(&file));
        }
    }
}

#[test]
fn each_package_that_is_published_has_its_licences() {
    let crates =
        CRATES.iter().map(|(package, _)| *package).filter(|package| !["tests", "fuzz"].contains(package));
    for package in crates.chain(["clients/python", "clients/typescript"]) {
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(root().join(package).join(licence).exists(), "{package} has no {licence}");
        }
    }
}
