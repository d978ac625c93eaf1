//! ostler's own clients, in Python and TypeScript: what they promise, the examples, their types, and the adapters with the frameworks that they are for.

use crate::place::Place;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// Examples that need no account.
const RUN: [&str; 4] = ["first", "background", "prompt", "server"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of the examples, with their texts.
fn examples(language: &str, ending: &str) -> Vec<(String, String)> {
    let dir = root().join("clients").join(language).join("examples");
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| {
            (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_page_shows_the_examples_as_they_are() {
    let page = fs::read_to_string(root().join("docs/python-typescript.md")).unwrap();
    for (language, ending) in [("python", "py"), ("typescript", "ts")] {
        let fence = format!("```{language}\n");
        let blocks: BTreeSet<&str> =
            page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let examples = examples(language, ending);
        let texts: BTreeSet<&str> = examples.iter().map(|(_, text)| &**text).collect();
        assert_eq!(
            blocks, texts,
            "the blocks of docs/python-typescript.md are not the files of the examples"
        );
        assert!(RUN.iter().all(|name| examples.iter().any(|(found, _)| found == name)));
    }
}

#[test]
fn the_clients_have_the_version_of_the_program() {
    let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
    for (file, count) in [
        ("clients/python/pyproject.toml", 1),
        ("clients/python/src/ostler_client/client.py", 1),
        ("clients/typescript/package.json", 2),
        ("clients/typescript/src/index.ts", 1),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert_eq!(text.matches(&version).count(), count, "{file}: {version}");
    }
    let program = format!("\"ostler=={}\"", env!("CARGO_PKG_VERSION"));
    assert!(fs::read_to_string(root().join("clients/python/pyproject.toml")).unwrap().contains(&program));
}

fn python(place: &Place) -> Command {
    let mut command = place.command(place.client("bin/python"));
    command.env("PYTHONPATH", root().join("clients/python/src")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[test]
fn the_client_in_python_keeps_its_promises() {
    let Some(place) = Place::of("python-2") else { return };
    let mut command = python(&place);
    command.arg(place.scripts("python").join("own.py")).arg("own");
    place.run(command).all_was_checked("own");
}

#[test]
fn the_examples_in_python_run() {
    let Some(place) = Place::of("python-2") else { return };
    for name in RUN {
        let mut command = python(&place);
        command.arg(root().join(format!("clients/python/examples/{name}.py")));
        says_what_it_should(name, &place.run(command));
    }
}

fn says_what_it_should(name: &str, ended: &crate::place::Ended) {
    assert!(ended.success && ended.stderr.is_empty(), "{name}: {ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
    let last: &[&str] = match name {
        "first" => &["3 no such test"],
        "background" => &["completed compiling 3", "quick"],
        "prompt" => &["Delete it?", "you said no", "completed 7"],
        _ => &["killed cancelled"],
    };
    assert!(lines.ends_with(last), "{name}: {ended:?}");
    let told = lines.iter().filter(|line| line.starts_with("meanwhile: ")).count();
    assert_eq!(told, usize::from(name == "background"), "{name}: {ended:?}");
}

#[test]
fn the_types_in_python_hold_and_frameworks_take_the_adapters() {
    let Some(place) = Place::of("python-frameworks") else { return };
    let scripts = place.scripts("python");
    let mut check = python(&place);
    check.args(["-m", "mypy", "--strict", "--python-version", "3.11", "--scripts-are-modules"]);
    check
        .arg("--cache-dir")
        .arg(place.client("mypy-cache"))
        .env("MYPYPATH", root().join("clients/python/src"));
    check.arg(root().join("clients/python/src/ostler_client")).arg(scripts.join("adapters.py"));
    for (name, _) in examples("python", "py") {
        check.arg(root().join(format!("clients/python/examples/{name}.py")));
    }
    let checked = place.run(check);
    assert!(checked.success, "{}{}", checked.stdout, checked.stderr);

    let mut command = python(&place);
    command.arg(scripts.join("adapters.py")).arg("own");
    let ended = place.run(command);
    // A framework warns of what it is made to do.
    let last = ended.stdout.lines().last();
    assert!(ended.success && last == Some("own all"), "{ended:?}");
}

/// The client as npm would have it, with scripts beside it that are compiled too; None where there is no compiler or no Node.
fn typescript() -> Option<Place> {
    let (place, _node) = (Place::of("typescript")?, Place::of("node")?);
    let scripts = place.scripts("typescript");
    let client = place.path("client");
    fs::create_dir_all(client.join("src")).unwrap();
    let from = root().join("clients/typescript");
    for file in ["package.json", "tsconfig.json", "src/index.ts", "src/types.ts", "src/adapters.ts"] {
        fs::copy(from.join(file), client.join(file)).unwrap();
    }
    symlink(place.client("node_modules"), client.join("node_modules")).unwrap();
    fs::copy(root().join("cli/tests/clients/node/checks.mjs"), scripts.join("checks.mjs")).unwrap();
    for (name, text) in examples("typescript", "ts") {
        fs::write(scripts.join(format!("{name}.ts")), text).unwrap();
    }
    fs::create_dir(scripts.join("node_modules")).unwrap();
    symlink(&client, scripts.join("node_modules/ostler-client")).unwrap();
    for package in fs::read_dir(place.client("node_modules")).unwrap() {
        let package = package.unwrap();
        symlink(package.path(), scripts.join("node_modules").join(package.file_name())).unwrap();
    }
    for project in [&client, &scripts] {
        let mut compile = place.command(place.node());
        compile.arg(place.client("node_modules/typescript/bin/tsc")).arg("-p").arg(project);
        let compiled = place.run(compile);
        assert!(compiled.success, "{}{}", compiled.stdout, compiled.stderr);
    }
    Some(place)
}

#[test]
fn the_client_in_typescript_keeps_its_promises() {
    let Some(place) = typescript() else { return };
    let mut command = place.command(place.node());
    command.arg(place.path("scripts/own.mjs")).arg("own");
    place.run(command).all_was_checked("own");
}

#[test]
fn the_examples_in_typescript_run_and_frameworks_take_the_adapters() {
    let Some(place) = typescript() else { return };
    for name in RUN {
        let mut command = place.command(place.node());
        command.arg(place.path(&format!("scripts/built/{name}.js")));
        says_what_it_should(name, &place.run(command));
    }
    let mut command = place.command(place.node());
    command.arg(place.path("scripts/built/adapters.js")).arg("own");
    place.run(command).all_was_checked("own");
}
