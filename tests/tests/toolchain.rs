//! The tools that a directory asks for: a mise and an asdf made of a few lines of shell, and a host's own hook.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is the test's own verdict")]

use ostler::{Command, Record, TOOLCHAIN_LIMIT, Toolchain, Variables};
use ostler_tests::{Bench, Ground, OtherHost, SLACK, alive, fixture, settles, sh};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::mpsc, time::Instant};

/// A project with a directory in it, and programs of its own for `PATH`.
struct Project {
    bench: Bench,
    root: PathBuf,
    bin: PathBuf,
}

impl Project {
    fn new(bench: Bench) -> Project {
        let (root, bin) = (bench.path("project"), bench.path("bin"));
        fs::create_dir_all(root.join("src")).unwrap();
        fs::create_dir(&bin).unwrap();
        Project { bench, root, bin }
    }
    fn program(&self, name: &str, script: &str) {
        let path = self.bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    /// A mise that counts how often it is asked, and says what stands in a file.
    fn mise(&self, answer: &str) {
        let (calls, said) = (self.bench.path("calls"), self.bench.path("said"));
        fs::write(&said, answer).unwrap();
        self.program("mise", &format!("echo \"$PWD $*\" >>{}; cat {}", calls.display(), said.display()));
    }
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.bench.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
    fn asks(&self, file: &str) {
        fs::write(self.root.join(file), "node = \"22\"\n").unwrap();
    }
    /// In `src`, with all tools.
    fn command(&self, script: &str) -> Command {
        let path = format!("{}:/usr/bin:/bin", self.bin.display());
        sh(script).current_dir(self.root.join("src")).toolchain(Toolchain::Auto).env("PATH", path)
    }
    fn run(&self, script: &str) -> Record {
        self.bench.run(self.command(script))
    }
}

fn a_directory_has_its_tools_and_they_are_asked_for_once_until_a_file_changes() {
    let project = Project::new(Bench::new());
    project.mise(r#"{"TOOL": "one", "OWN": "mise", "TERM": "mise", "GONE": null, "PATH": "/nowhere"}"#);
    let say = "echo $TOOL $OWN";
    assert_eq!(project.run(say).stdout, "\n", "nobody asks for tools");
    project.asks("mise.toml");
    let own = |project: &Project| project.bench.run(project.command(say).env("OWN", "mine"));
    assert_eq!((own(&project).stdout.as_str(), own(&project).toolchain_error), ("one mine\n", None));
    let there = project.root.join("src").display().to_string();
    assert_eq!(project.calls(), [format!("{there} env --json")]);

    fs::write(project.bench.path("said"), r#"{"TOOL": "two"}"#).unwrap();
    assert_eq!(own(&project).stdout, "one mine\n", "what mise looks at besides is not known");
    // A file below the first one, then a change of its text that keeps its length.
    project.asks(".tool-versions");
    assert_eq!(own(&project).stdout, "two mine\n");
    fs::write(project.bench.path("said"), r#"{"TOOL": "three"}"#).unwrap();
    fs::write(project.root.join("mise.toml"), "node = \"24\"\n").unwrap();
    assert_eq!(own(&project).stdout, "three mine\n");
    assert_eq!(project.calls().len(), 3);

    // Another environment may mean other tools.
    assert_eq!(project.run(say).stdout, "three\n");
    assert_eq!(project.calls().len(), 4);
    let off = project.command(say).toolchain(Toolchain::Off);
    assert_eq!(project.bench.run(off).stdout, "\n");
}

fn what_cannot_be_asked_refuses_nothing_and_the_record_says_why() {
    let project = Project::new(Bench::new());
    project.asks(".tool-versions");
    let error = |project: &Project| {
        let result = project.run("echo ran");
        assert_eq!(result.stdout, "ran\n");
        result.toolchain_error.unwrap()
    };
    let none = error(&project);
    assert!(none.contains(".tool-versions") && none.contains("neither mise nor asdf"), "{none}");

    for (script, why) in [
        (
            "echo 'mise ERROR not trusted' >&2; echo 'Run mise trust' >&2; exit 1",
            "not trusted; Run mise trust",
        ),
        ("echo '[1]'", "no JSON"),
        ("echo '{\"A=B\": \"1\"}'", "no name of a variable"),
        ("exec /nowhere", "nowhere"),
    ] {
        project.program("mise", script);
        // A failure is remembered for a while, in the same environment.
        let result = project.bench.run(project.command("echo ran").env("ATTEMPT", why));
        assert_eq!(result.stdout, "ran\n");
        let error = result.toolchain_error.clone().unwrap();
        assert!(error.contains(why), "{error}");
        assert!(result.notice().contains("tools: without those of its directory"));
    }
    fs::write(project.bin.join("mise"), "not a program").unwrap();
    let odd = project.bench.run(project.command("echo ran").env("ATTEMPT", "format"));
    assert!(odd.toolchain_error.unwrap().contains("mise env --json"));
}

fn one_that_does_not_answer_is_ended_in_time() {
    let project = Project::new(Bench::new());
    project.asks("mise.toml");
    let pids = project.bench.path("pids");
    project.program("mise", &format!("sleep 1000 & echo $! $$ >>{}; echo '{{'; wait", pids.display()));
    let began = Instant::now();
    let result = project.run("echo ran");
    assert!(began.elapsed() < TOOLCHAIN_LIMIT + SLACK, "{:?}", began.elapsed());
    assert_eq!(result.stdout, "ran\n");
    let error = result.toolchain_error.unwrap();
    assert!(error.contains("no answer within 2.0 s"), "{error}");
    let asked = || -> Vec<u32> {
        let pids = fs::read_to_string(&pids).unwrap();
        pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let living = settles(|| asked().into_iter().filter(|pid| alive(*pid)).collect());
    assert_eq!(living, [0; 0], "who was asked lives on");
    assert_eq!(project.run("echo ran").toolchain_error, Some(error));
    assert_eq!(asked().len(), 2, "it was not asked again at once");
}

fn the_shims_of_asdf_come_first_where_there_is_no_mise() {
    let project = Project::new(Bench::new());
    project.program("asdf", "exit 0");
    let data = project.bench.path("asdf");
    let with = |name: &str| {
        let command = project.command("exit 1").env("ASDF_DATA_DIR", data.clone());
        // The caller's PATH is above the tools': what this shows is the environment of who has none.
        project.bench.run(command.env("NAME", name))
    };
    project.asks(".mise.toml");
    assert!(with("1").toolchain_error.unwrap().contains("there is no mise in PATH"));
    fs::remove_file(project.root.join(".mise.toml")).unwrap();
    project.asks(".tool-versions");
    assert!(with("2").toolchain_error.unwrap().contains("has no shims"));
    fs::create_dir_all(data.join("shims")).unwrap();
    assert_eq!(with("3").toolchain_error, None);
}

fn a_hosts_hook_is_asked_first_and_has_the_same_limits() {
    let (release, hangs) = mpsc::channel::<()>();
    let hangs = std::sync::Mutex::new(hangs);
    let bench = Bench::with(|config| {
        config.config = config.config.clone().toolchain_hook(move |cwd, env| {
            assert!(cwd.is_absolute());
            match env.get(std::ffi::OsStr::new("MODE")).and_then(|mode| mode.to_str()) {
                Some("gives") => {
                    Ok(Some(Variables::from([("TOOL".into(), "hook".into()), ("MODE".into(), "x".into())])))
                }
                Some("refuses") => Err("no such tool".into()),
                Some("panics") => panic!("as it was told to"),
                Some("hangs") => {
                    hangs.lock().unwrap().recv().map(|()| None).map_err(|error| error.to_string())
                }
                _ => Ok(None),
            }
        });
    });
    let project = Project::new(bench);
    project.mise(r#"{"TOOL": "mise"}"#);
    project.asks("mise.toml");
    let with = |mode: &str| {
        let result = project.bench.run(project.command("echo $TOOL $MODE").env("MODE", mode));
        (result.stdout.trim().to_owned(), result.toolchain_error.unwrap_or_default())
    };
    assert_eq!(with("gives"), ("hook gives".into(), String::new()));
    assert_eq!(with("leaves it"), ("mise leaves it".into(), String::new()));
    for (mode, why) in
        [("refuses", "no such tool"), ("panics", "it panicked"), ("hangs", "no answer within 2.0 s")]
    {
        let (stdout, error) = with(mode);
        assert_eq!(stdout, mode);
        assert!(error.contains("hook") && error.contains(why), "{error}");
    }
    drop(release);
}

#[test]
fn where_the_host_is_the_parent_who_was_asked_is_ended_too() {
    let _ground = Ground::take();
    let place = tempfile::tempdir().unwrap();
    let (mise, pids) = (place.path().join("mise"), place.path().join("pids"));
    fs::write(place.path().join("mise.toml"), "").unwrap();
    let path = format!("PATH={}:/usr/bin:/bin", place.path().display());
    let outcome = |script: &str| -> Record {
        fs::write(&mise, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&mise, fs::Permissions::from_mode(0o755)).unwrap();
        let host = OtherHost::new(fixture!("a-host")).refusing("memfd").in_any_tier();
        let directory = place.path().to_str().unwrap();
        let ps = "echo $TOOL; ps -o stat= --ppid $PPID";
        let lines = host.through(&["/usr/bin/env", &path]).run(&["tools", directory, "/bin/sh", "-c", ps]);
        serde_json::from_value(lines[0]["outcome"].clone()).unwrap()
    };
    let result = outcome("echo '{\"TOOL\": \"one\"}'");
    let (tool, children) = result.stdout.split_once('\n').unwrap();
    assert_eq!((tool, result.toolchain_error), ("one", None));
    assert!(!children.contains('Z'), "its zombie is left: {children}");

    let result = outcome(&format!("sleep 1000 & echo $! $$ >>{}; wait", pids.display()));
    assert!(result.toolchain_error.unwrap().contains("no answer"));
    let asked = fs::read_to_string(&pids).unwrap();
    let asked: Vec<u32> = asked.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(asked.len(), 2);
    assert_eq!(settles(|| asked.iter().copied().filter(|pid| alive(*pid)).collect()), [0; 0]);
}

ostler_tests::in_every_tier!(
    a_directory_has_its_tools_and_they_are_asked_for_once_until_a_file_changes,
    what_cannot_be_asked_refuses_nothing_and_the_record_says_why,
    one_that_does_not_answer_is_ended_in_time,
    the_shims_of_asdf_come_first_where_there_is_no_mise,
    a_hosts_hook_is_asked_first_and_has_the_same_limits,
);
