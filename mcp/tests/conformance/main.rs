//! The protocol's own suite of tests against this server, over HTTP. `.ci/clients` fetches it, and a Node that is new enough, into `target/clients`
//! or `$OSTLER_CLIENTS`; without either this test is skipped out loud, unless `$OSTLER_CLIENTS_REQUIRE` names what is missing.
//!
//! The suite calls tools and reads addresses of its own. They stand for real commands (`ostler_mcp::testing`), and everything below is the server's:
//! tasks, results, progress, resources, HTTP. What is expected of each scenario stands in `expected.rs`, and why.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's own verdict")]

mod expected;

use expected::{FAIL, OWN, PASS, RUNS};
use ostler::{Command as OstlerCommand, Config, Ostler};
use ostler_mcp::{
    OpenError, Options,
    testing::{self, Fixture},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, runtime, sync::Notify};

/// It takes 32 s, nearly all of them waits of the suite's.
const LIMIT: Duration = Duration::from_secs(240);
/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(20);
/// What a run's result directory has behind its scenario's name: a time.
const STAMP_BYTES: usize = "-2026-01-01T00-00-00-000Z".len();

const FIXTURES: &[Fixture] = &[
    Fixture::of("greet", &["name"], "printf 'Hello, %s!' \"$ARG_NAME\""),
    Fixture::of("slow_compute", &["seconds", "label"], "sleep \"$ARG_SECONDS\"; echo \"$ARG_LABEL\"").task(),
    Fixture::of("failing_job", &[], "sleep 1; exit 1").task(),
    Fixture::of("protocol_error_job", &[], "kill -9 $$").task(),
    Fixture::of("confirm_delete", &["filename"], "sleep 2").task(),
    Fixture::of("test_simple_text", &[], "printf 'This is a simple text response for testing.'"),
    // It can't be started.
    Fixture::of("test_error_handling", &[], "\0"),
    Fixture::of("test_tool_with_progress", &[], "sleep 1"),
    Fixture::of("test_logging_tool", &[], "echo logged"),
    Fixture::of("test_streaming_elicitation", &[], "echo nothing is asked"),
];

/// A client that is there; none: it need not be.
fn client(name: &str, file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/clients");
    let dir = env::var_os("OSTLER_CLIENTS").map_or(beside, PathBuf::from).join(name);
    if dir.join("made-from").exists() {
        return Some(dir.join(file));
    }
    let required = env::var("OSTLER_CLIENTS_REQUIRE").unwrap_or_default();
    let why = format!("there is no {}; .ci/clients fetches it", dir.display());
    assert!(!required.split(',').any(|required| required == name), "{name} is required: {why}");
    eprintln!("SKIPPED the suite of the protocol: {why}");
    None
}

/// Of a scenario, the checks that fail or warn, and how many were skipped.
fn outcome(checks: &Path) -> Vec<String> {
    let checks: Vec<Value> = serde_json::from_slice(&fs::read(checks).unwrap()).unwrap();
    let of = |statuses: &[&str]| {
        let those = checks.iter().filter(|check| statuses.contains(&check["status"].as_str().unwrap()));
        those.map(|check| check["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&["SUCCESS", "INFO", "FAILURE", "WARNING", "SKIPPED"]).len(), checks.len());
    let mut found = of(&["FAILURE", "WARNING"]);
    found.sort();
    found.dedup();
    let skipped = of(&["SKIPPED"]).len();
    found.extend((skipped > 0).then(|| format!("{skipped} skipped")));
    found
}

/// What came of each scenario.
fn outcomes(results: &Path) -> BTreeMap<String, Vec<String>> {
    // A run that has come to nothing has made none.
    let dirs = fs::read_dir(results).into_iter().flatten().map(|dir| dir.unwrap().path());
    let of = |dir: PathBuf| {
        let name = dir.file_name().unwrap().to_str().unwrap().strip_prefix("server-").unwrap().to_owned();
        (name[..name.len() - STAMP_BYTES].to_owned(), outcome(&dir.join("checks.json")))
    };
    dirs.map(of).collect()
}

fn expected(run: &str) -> BTreeMap<String, Vec<String>> {
    let pass = PASS.iter().filter(|(runs, _)| runs.contains(&run)).flat_map(|(_, scenarios)| *scenarios);
    let pass = pass.map(|scenario| ((*scenario).to_owned(), Vec::new()));
    let fail = FAIL.iter().filter(|row| row.runs.contains(&run));
    let fail = fail.map(|row| {
        let checks = row.checks.iter().map(|check| (*check).to_owned()).collect();
        (row.scenario.to_owned(), checks)
    });
    pass.chain(fail).collect()
}

/// Serves until `stop`; where.
fn serve(dir: &Path, stop: Arc<Notify>) -> (String, thread::JoinHandle<()>) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let mut options = Options::new();
    options.fixtures = FIXTURES;
    let ostler = Ostler::start(Config::new().artifact_root(dir)).unwrap();
    let server = testing::without_token(options, move |_| {
        let session = ostler.open_session().wait()?;
        // What the suite reads as a resource. It looks for this number.
        session.launch(OstlerCommand::new("echo").args(["123"])).wait()?;
        Ok::<_, OpenError>(session)
    });
    let served = thread::spawn(move || runtime.block_on(server.serve(listener, stop.notified())));
    (url, served)
}

#[test]
fn the_suite_of_the_protocol_finds_what_is_expected_and_nothing_else() {
    let suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let Some(suite) = client("conformance", suite) else { return };
    let Some(node) = client("node", &format!("node_modules/node-linux-{machine}/bin/node")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let stop = Arc::new(Notify::new());
    let (url, served) = serve(&dir.path().join("artifacts"), stop.clone());

    let begin = |run: &str| {
        let mut command = Command::new(&node);
        command.arg(&suite).args(["server", "--suite", "all", "--url", &url, "-o"]).arg(dir.path().join(run));
        if run != OWN {
            command.args(["--spec-version", run]);
        }
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", dir.path());
        let log = fs::File::create(dir.path().join(format!("{run}.log"))).unwrap();
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    };
    // All at the same time: they mostly wait.
    let mut children = RUNS.map(begin);
    let until = Instant::now() + LIMIT;
    for child in &mut children {
        while child.try_wait().unwrap().is_none() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        // One that has ended is not hit.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stop.notify_one();
    served.join().unwrap();

    for run in RUNS {
        let (found, expected) = (outcomes(&dir.path().join(run)), expected(run));
        let differ: Vec<_> = found
            .keys()
            .chain(expected.keys())
            .filter(|scenario| found.get(*scenario) != expected.get(*scenario))
            .map(|scenario| (scenario, found.get(scenario), expected.get(scenario)))
            .collect();
        let log = fs::read_to_string(dir.path().join(format!("{run}.log"))).unwrap();
        assert!(differ.is_empty(), "{run}: (scenario, found, expected): {differ:#?}\n{log}");
    }
}

#[test]
fn each_row_says_why() {
    for row in FAIL {
        assert!(row.why.split_whitespace().count() > 3, "{}: {:?}", row.scenario, row.why);
    }
}

#[test]
fn no_scenario_is_expected_twice() {
    for run in RUNS {
        let pass = PASS.iter().filter(|(runs, _)| runs.contains(&run)).map(|(_, scenarios)| scenarios.len());
        let fail = FAIL.iter().filter(|row| row.runs.contains(&run)).count();
        assert_eq!(pass.sum::<usize>() + fail, expected(run).len(), "{run}");
    }
}
