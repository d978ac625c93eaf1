//! What a journal adds, beside the same without one; and how long a host takes that starts again.

use crate::{
    graph::Graph,
    measure::{in_turns, timed},
    sizes::Sizes,
    table::{Table, Target},
};
use ostler::{
    Command, CommandId, Config, Durability, Journal, LaunchRequest, Ostler, Record, Status, Store, TraceLog,
    TraceTo,
};
use ostler_journal::{Image, folder::Folder, store::Host};
use ostler_messages::{
    Content, Entry, HandleId, Row, SOURCE_EXIT, SessionId, Stamp, TOOL_RESULT, TextOnDisk,
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};
use tempfile::TempDir;

/// A process id that nobody has: beyond the kernel's highest (proc_sys_kernel(5)).
const DEAD_PID: u32 = 5_000_001;
const GIB: u64 = 1 << 30;
/// So many are more than a result has of one end of the output.
const LINES: usize = 4_000;

fn nothing() -> Command {
    Command::new("true")
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}
/// What ours has more than theirs in the middle.
fn added(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    let theirs = median(theirs);
    ours.iter().map(|ours| ours - theirs).collect()
}

fn journaled(dir: &Path, durability: Durability) -> impl FnOnce(&mut Config) {
    let journal = Journal::named("bench").below(dir.join("journals")).durability(durability);
    move |config| config.journal = Some(journal)
}

pub(crate) fn journal(table: &mut Table, sizes: &Sizes) {
    let dir = tempfile::tempdir().unwrap();
    let with = Graph::with(journaled(dir.path(), Durability::HostDeath)).unwrap();
    let (without, count) = (Graph::new(), sizes.spawns);
    let launch = |graph: &Graph| {
        let took = timed(|| drop(graph.session.launch(nothing()).wait().unwrap()));
        graph.results(1);
        took
    };
    let [ours, theirs] = in_turns(count * 2, [&mut || launch(&with), &mut || launch(&without)]);
    table.row("a launch, with a journal", "ms", &ours).against("without", &theirs);
    table.row("… what that adds", "ms", &added(&ours, &theirs)).target(Target::Below(0.1));
    let [ours, theirs] = in_turns(count * 2, [&mut || with.one(&nothing()), &mut || without.one(&nothing())]);
    table.row("spawn to result, with a journal", "ms", &ours).against("without", &theirs);
    table.row("… what that adds", "ms", &added(&ours, &theirs)).target(Target::Below(0.3));
    let push = |graph: &Graph| {
        let inbox = graph.session.inbox();
        let took = timed(|| assert!(inbox.push("note", "bench", 1.into()).wait().is_ok()));
        inbox.drain().wait().unwrap();
        took
    };
    let [ours, theirs] = in_turns(count * 2, [&mut || push(&with), &mut || push(&without)]);
    table.row("a push, and its answer, with a journal", "ms", &ours).against("without", &theirs);
    // From exit to inbox: a fifo says when it exits, and both wait for nothing else.
    let end = |graph: &Graph| {
        let handle = graph.session.launch(Command::new("cat").stdin_open()).wait().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        timed(|| {
            handle.close_stdin().wait().unwrap();
            graph.results(1);
        })
    };
    let [ours, theirs] = in_turns(count, [&mut || end(&with), &mut || end(&without)]);
    table.row("exit to inbox, with a journal", "ms", &ours).against("without", &theirs);
    table.row("… what that adds", "ms", &added(&ours, &theirs)).target(Target::Below(0.3));
    let burst = |graph: &Graph| {
        count as f64
            / 1e-3
            / timed(|| {
                graph.burst(count, &nothing());
                graph.results(count);
            })
    };
    let [ours, theirs] = in_turns(sizes.rounds * 4, [&mut || burst(&with), &mut || burst(&without)]);
    table
        .row(format!("spawn to result, {count} at once, with a journal"), "per s", &ours)
        .against("without", &theirs)
        .target(Target::RatioAtLeast(0.95));
    drop((with, without));
    synced(table, count);
    recovery(table, sizes);
}

/// How many groups, of a syncfs and a commit each, so many results take that come together.
fn synced(table: &mut Table, count: usize) {
    let (dir, log) = (tempfile::tempdir().unwrap(), TraceLog::default());
    let change = journaled(dir.path(), Durability::PowerLoss);
    let graph = Graph::with(|config| {
        change(config);
        config.trace = TraceTo::Memory(log.clone());
    });
    let graph = graph.unwrap();
    let sleep = Command::new("sleep").arg("0.5");
    graph.burst(count, &sleep);
    let before = log.text().len();
    graph.results(count);
    drop(graph);
    // What the supervisor has appended meanwhile tells of no artifact.
    let text = log.text();
    let groups = text[before..].lines().filter(|line| {
        line.contains("\"Recorded\"")
            && line.contains("\"by\":\"inbox\"")
            && line.contains("\"from\":\"kernel\"")
    });
    table
        .row(
            format!("groups that are synced for {count} results, and for what is read of them"),
            "",
            &[groups.count() as f64],
        )
        .target(Target::Below(10.0));
}

fn recovery(table: &mut Table, sizes: &Sizes) {
    let (commands, lost) = sizes.recovered;
    let (mut starts, mut looks) = (Vec::new(), Vec::new());
    for _ in 0..sizes.rounds.min(3) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("artifacts");
        leave(&dir, commands, lost);
        let mut config = Config::new().artifact_root(&root);
        journaled(dir.path(), Durability::HostDeath)(&mut config);
        config.retention.commands = usize::MAX;
        let mut ostler = None;
        starts.push(timed(|| {
            let started = Ostler::start(config).unwrap();
            // The graph has it all.
            started.session("session").inbox().pending(ostler::Filter::any()).wait().unwrap();
            ostler = Some(started);
        }));
        let ostler = ostler.unwrap();
        assert_eq!(ostler.recovered().lost.len() as u64, lost);
        ostler.shutdown().wait().unwrap();
        looks.push(timed(|| {
            assert_eq!(Store::look(&root).unwrap().summaries().len() as u64, commands);
        }));
    }
    let name = format!("a start after {commands} commands, {lost} of them lost with 1 GiB each");
    table.row(name, "ms", &starts).target(Target::Below(1_000.0));
    let name = format!("a look at {commands} commands from elsewhere, as of `ostler ps --all`");
    table.row(name, "ms", &looks).target(Target::Below(100.0));
}

/// What a dead host has left.
fn leave(dir: &TempDir, commands: u64, lost: u64) {
    let (root, folder) =
        (dir.path().join("artifacts"), Folder::open(&dir.path().join("journals"), "bench").unwrap());
    fs::create_dir(&root).unwrap();
    let host = Host {
        pid: DEAD_PID,
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned(),
        start_ticks: 1,
        pid_namespace: ostler_journal::store::pid_namespace(),
        artifact_root: root.clone(),
        root_lock: None,
        root_token: 1,
        alive_ticks: 1,
    };
    let session_id = SessionId::new("session");
    let mut own = folder.own(&host, Durability::HostDeath, (&Image::default(), &[])).unwrap();
    let mut rows = vec![Row::SessionOpened { session_id: session_id.clone(), anonymous: None }];
    let lines = b"a line of what it has said\n".repeat(LINES);
    for n in 1..=commands {
        let command_id = CommandId { unix_ns: 1_795_000_000_000_000_000 + n, host_pid: DEAD_PID, n };
        let request = LaunchRequest::new(session_id.clone(), "make");
        let paths = root.join(command_id.to_string());
        fs::create_dir(&paths).unwrap();
        rows.push(Row::Asked { command_id, request: Arc::new(request) });
        let handle_id = HandleId { host_pid: DEAD_PID, n };
        let mut record = Record::new(session_id.clone(), command_id, handle_id);
        record.pid = Some(DEAD_PID);
        record.output_path = paths.join("combined.txt");
        rows.push(Row::Started { record: record.clone().into(), start_ticks: Some(1) });
        let name = if n <= lost { ["combined.txt", "stdout.txt"].as_slice() } else { &["combined.txt"] };
        for name in name {
            let file = File::create(paths.join(name)).unwrap();
            // Lines where a result looks, and a hole between them.
            let bytes = if n <= lost { GIB } else { 100 };
            file.set_len(bytes).unwrap();
            if n <= lost {
                file.write_all_at(&lines, 0).unwrap();
                file.write_all_at(&lines, bytes - lines.len() as u64).unwrap();
            }
        }
        if n > lost {
            record.exit_code = Some(0);
            record.end(Status::Completed, None);
            record.text_on_disk = TextOnDisk(true);
            fs::write(paths.join("result.json"), serde_json::to_vec(&record).unwrap()).unwrap();
            let content = Content::Record(Arc::new(record));
            let about = (TOOL_RESULT.into(), SOURCE_EXIT.into());
            rows.push(Row::Delivered(Entry::new(n, session_id.clone(), about, content, Stamp(n))));
        }
    }
    own.store.write(&rows).unwrap();
    own.close().unwrap();
}
