//! One suite for every kernel: commands in, events out. It runs on the real one in each tier of containment, and on the
//! scripted one, which is as good as the first only if it answers alike.

mod told;

use crate::{
    backend::{HostInput, Input, Kernel, KernelEvent, WorldInput},
    config::Config,
    linux,
    scripted::{self, Descendant, OnTerminate, Program, Reaction, World},
};
use crossbeam_channel::{Sender, unbounded};
use ostler_messages::{
    ActorName, Arm, Asked, CallId, Close, CommandId, Containment, Disarm, Event, Exec, Exited, Fed, Feed,
    HandleId, KernelCommand, LaunchError, LaunchRequest, Leftover, Outcome, Peek, Record, Release, Seal,
    SessionId, Signal, Status, StopSignal, Stream, Sweep, SweepFor, TimerFired, TimerKind,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use told::*;

/// Far beyond what any of these commands needs.
const PATIENCE_MS: u64 = 60_000;
const N: u64 = 1;

/// What both kinds of kernel can run, by the script of `sh -c`.
const EXITS: &str = "exit 7";
const SLEEPS: &str = "exec sleep 1000";
const SLEEPS_OPEN: &str = "exec sleep 10000";
const IGNORES: &str = "trap '' TERM; echo ready; exec sleep 1000";
const LEAVES_ONE: &str = "sleep 1000 >/dev/null 2>&1 & exit 0";
const READS: &str = "read line; echo got $line; exit 3";
const READS_TERMINAL: &str = "stty -echo; echo ready; read line; echo got $line; exit 3";
const SAYS: &str = "printf one; printf two >&2; exit 0";

fn programs(request: &LaunchRequest) -> Option<Program> {
    let ms = Duration::from_millis;
    let script = request.args.get(1).filter(|_| request.program.to_string() == "sh")?.to_string();
    Some(match script.as_str() {
        EXITS => Program::new().exits_at(ms(1), 7),
        SLEEPS => Program::new(),
        IGNORES => Program::new().stdout_at(ms(1), "ready\n").on_terminate(OnTerminate::Ignores),
        LEAVES_ONE => Program::new().descendant(Descendant::new("sleep")).exits_at(ms(1), 0),
        READS => Program::new().on_line(|line| Reaction::says(format!("got {line}\n")).exits(3)),
        READS_TERMINAL => Program::new()
            .stdout_at(ms(1), "ready\r\n")
            .on_line(|line| Reaction::says(format!("got {line}\r\n")).exits(3)),
        SLEEPS_OPEN => Program::new().never_reads(),
        SAYS => Program::new().stdout_at(ms(1), "one").stderr_at(ms(1), "two").exits_at(ms(2), 0),
        _ => return None,
    })
}

struct Rig {
    kernel: Box<dyn Kernel>,
    requests: Sender<HostInput>,
    root: Arc<std::path::Path>,
    /// Virtual time is to be moved.
    scripted: bool,
    kept: Vec<Event>,
    _dir: TempDir,
}
impl Rig {
    fn scripted() -> Rig {
        let world = World::new();
        world.programs_by(programs);
        world.without_dir("/nowhere");
        let (requests, taken) = unbounded();
        let (facts, start) = scripted::start(&world, &Config::default(), Arc::default());
        let kernel = start(taken);
        Rig {
            kernel,
            requests,
            root: facts.artifact_root,
            scripted: true,
            kept: Vec::new(),
            _dir: tempfile::tempdir().unwrap(),
        }
    }
    /// None, and a word on stderr, where the machine has not this tier.
    fn linux(tier: Containment) -> Option<Rig> {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new().artifact_root(dir.path().join("artifacts")).containment([tier]);
        let (requests, taken) = unbounded();
        match linux::start(&config) {
            Ok((facts, start)) => {
                let kernel = start(taken);
                Some(Rig {
                    kernel,
                    requests,
                    root: facts.artifact_root,
                    scripted: false,
                    kept: Vec::new(),
                    _dir: dir,
                })
            }
            Err(error) => {
                eprintln!("SKIPPED conformance in {tier}: {error}");
                None
            }
        }
    }

    fn perform(&mut self, command: impl Into<KernelCommand>) {
        self.kernel.perform(command.into());
    }
    fn exec(&mut self, change: impl FnOnce(&mut LaunchRequest), script: &str) {
        let mut request = LaunchRequest::new(SessionId::new("s"), "sh");
        request.args = vec!["-c".into(), script.into()];
        change(&mut request);
        let command_id = CommandId { host_pid: std::process::id(), unix_ns: 1, n: N };
        self.perform(Exec { n: N, command_id, request: Asked(Arc::new(request)) });
    }
    /// The next event that is about the command; fails if none comes.
    fn next(&mut self) -> Event {
        let (owner, kind) = (ActorName::Supervisor, TimerKind::StartTimeout);
        self.perform(Arm { owner, kind, after_ms: PATIENCE_MS });
        if self.scripted {
            let (done, _) = oneshot::channel();
            self.requests
                .send(HostInput::World(WorldInput::Advance { by_ms: 2 * PATIENCE_MS, done }))
                .unwrap();
        }
        let Some(Input::Kernel(event)) = self.kernel.next() else { panic!("the kernel has ended") };
        assert_ne!(event, KernelEvent::new(owner, TimerFired { kind }), "nothing happens");
        self.perform(Disarm { owner, kind });
        event.event
    }
    /// Lets a moment of the kernel's own time pass.
    fn pass_time(&mut self) {
        self.perform(Arm { owner: ActorName::Inbox, kind: TimerKind::Progress, after_ms: 5 });
        self.until("TimerFired", |event| matches!(event, Event::TimerFired(_)).then_some(()));
    }
    /// Until both streams have ended and the leader has exited, in whatever order: how many bytes came, and the exit.
    fn runs_to_its_end(&mut self) -> (u64, Exited) {
        let (mut bytes, mut exit) = (0, None);
        for _ in 0..3 {
            match self.next() {
                Event::EndOfStream(end) => bytes += end.bytes,
                Event::Exited(exited) => exit = Some(exited),
                other => panic!("{other:?}"),
            }
        }
        (bytes, exit.expect("no exit"))
    }
    /// The first event that fits. Others are kept: what comes from different threads comes in any order.
    fn until<T>(&mut self, what: &str, fits: impl Fn(Event) -> Option<T>) -> T {
        for at in 0..self.kept.len() {
            if let Some(found) = fits(self.kept[at].clone()) {
                self.kept.remove(at);
                return found;
            }
        }
        for _ in 0..20 {
            let event = self.next();
            if let Some(found) = fits(event.clone()) {
                return found;
            }
            self.kept.push(event);
        }
        panic!("no {what} in {:?}", self.kept)
    }
    fn starts(&mut self, script: &str) -> u32 {
        self.starts_with(|_| (), script)
    }
    fn starts_with(&mut self, change: impl FnOnce(&mut LaunchRequest), script: &str) -> u32 {
        self.exec(change, script);
        self.until("Started", |event| match event {
            Event::Started(started) => Some(started.pid),
            _ => None,
        })
    }
    fn exited(&mut self) -> Exited {
        self.until("Exited", |event| match event {
            Event::Exited(exited) => Some(exited),
            _ => None,
        })
    }
    fn tree_empty(&mut self) -> Option<Vec<Leftover>> {
        self.until("TreeEmpty", |event| match event {
            Event::TreeEmpty(empty) => Some(empty.leftovers),
            _ => None,
        })
    }
    fn ended(&mut self) -> u64 {
        self.until("EndOfStream", |event| match event {
            Event::EndOfStream(end) => Some(end.bytes),
            _ => None,
        })
    }
    /// Until its stdout is this.
    fn hears(&mut self, text: &str) {
        let limit = Instant::now() + Duration::from_millis(PATIENCE_MS);
        loop {
            self.perform(Peek { n: N, inline_bytes: 100, call: None, owner: ActorName::Ticker(N) });
            let peeked = self.until("Peeked", |event| match event {
                Event::Peeked(peeked) => Some(peeked.output.stdout),
                _ => None,
            });
            if peeked == text {
                break;
            }
            assert!(Instant::now() < limit, "it never wrote");
            self.pass_time();
        }
    }
    fn feed(&mut self, call: u64, bytes: Vec<u8>) {
        self.perform(Feed { n: N, call: CallId(call), bytes: bytes.into() });
    }
    /// How a write stands: its call, taken, dropped, whether that is its end, whether it was refused.
    fn fed(&mut self) -> (u64, u64, u64, bool, bool) {
        self.until("Fed", |event| match event {
            Event::Fed(Fed { call, taken, dropped, ended, refused, .. }) => {
                Some((call.0, taken, dropped, ended, refused))
            }
            _ => None,
        })
    }
    fn input_ended(&mut self) {
        self.until("InputEnded", |event| matches!(event, Event::InputEnded(_)).then_some(()));
    }
    fn signal(&mut self, signal: StopSignal) {
        self.perform(Signal { n: N, signal });
    }
    fn sweep(&mut self, to: SweepFor) {
        self.perform(Sweep { n: N, to });
    }
}

fn a_command_starts_ends_its_streams_and_exits(mut rig: Rig) {
    rig.starts(SAYS);
    let (bytes, exit) = rig.runs_to_its_end();
    assert_eq!(
        (bytes, exit.exit.exit_code, exit.exit.signal.as_deref(), exit.signalled),
        (6, 0, None, false)
    );
}

fn a_signal_to_a_dead_leader_repeats_its_exit_as_often_as_it_is_sent(mut rig: Rig) {
    rig.starts(EXITS);
    let first = rig.exited();
    assert_eq!((first.exit.exit_code, first.signalled), (7, false));
    for signal in [StopSignal::Terminate, StopSignal::Kill, StopSignal::Kill] {
        rig.signal(signal);
        let again = rig.exited();
        assert_eq!((again.exit, again.signalled), (first.exit.clone(), false));
    }
}

fn a_leader_that_obeys_was_signalled(mut rig: Rig) {
    rig.starts(SLEEPS);
    rig.signal(StopSignal::Terminate);
    let exited = rig.exited();
    assert_eq!(
        (exited.exit.exit_code, exited.exit.signal.as_deref(), exited.signalled),
        (-1, Some("SIGTERM"), true)
    );
    rig.signal(StopSignal::Kill);
    let again = rig.exited();
    assert_eq!(
        (again.exit, again.signalled),
        (exited.exit, true),
        "what was reported once is reported again"
    );
}

fn a_leader_that_ignores_the_first_signal_dies_of_the_second(mut rig: Rig) {
    rig.starts(IGNORES);
    // Its trap is set when it has written.
    rig.hears("ready\n");
    rig.signal(StopSignal::Terminate);
    rig.signal(StopSignal::Kill);
    let exited = rig.exited();
    assert_eq!((exited.exit.signal.as_deref(), exited.signalled), (Some("SIGKILL"), true));
}

fn the_end_of_a_stream_and_the_facts_of_a_record_are_told_as_often_as_they_are_asked_for(mut rig: Rig) {
    rig.starts(SAYS);
    assert_eq!(rig.runs_to_its_end().0, 6);
    rig.perform(Close { n: N, stream: Stream::Stdout });
    assert_eq!(rig.ended(), 3);
    rig.perform(Close { n: N, stream: Stream::Stdout });
    assert_eq!(rig.ended(), 3);
    let command_id = CommandId { host_pid: std::process::id(), unix_ns: 1, n: N };
    let handle_id = HandleId { host_pid: std::process::id(), n: N };
    let mut record = Record::new(SessionId::new("s"), command_id, handle_id).with_status(Status::Completed);
    record.output_path = rig.root.join(command_id.to_string()).join("combined.txt");
    let mut sealed = || {
        rig.perform(Seal { n: N, record: record.clone().into(), discard: false });
        rig.until("Sealed", |event| match event {
            Event::Sealed(sealed) => Some(sealed.output),
            _ => None,
        })
    };
    let first = sealed();
    assert_eq!((first.byte_count, first.stdout.as_str(), first.stderr.as_str()), (6, "one", "two"));
    assert_eq!(sealed(), first);
}

fn what_is_left_is_seen_ended_and_reported(mut rig: Rig) {
    rig.starts(LEAVES_ONE);
    assert!(!rig.exited().tree_empty);
    rig.sweep(SweepFor::Kill);
    let leftovers = rig.tree_empty().unwrap();
    let [left] = leftovers.as_slice() else { panic!("{leftovers:?}") };
    // Its name is that of the shell until it has run its program.
    assert_eq!(left.outcome, Outcome::Killed);
}

/// Whoever was not seen to be gone is killed, in every tier: the leftover of a command whose actor crashed has nobody else.
fn f81_a_release_kills_what_was_not_seen_to_be_gone(mut rig: Rig) {
    rig.starts(LEAVES_ONE);
    rig.exited();
    rig.sweep(SweepFor::Keep);
    let kept = rig.until("TreeAlive", |event| match event {
        Event::TreeAlive(seen) => seen.kept,
        _ => None,
    });
    rig.perform(Release { n: N, undo: false });
    // Ends the threads, after everything that was asked of them.
    rig.kernel.close();
    if !rig.scripted {
        let pid = kept[0].pid;
        let alive =
            || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        let limit = Instant::now() + Duration::from_secs(10);
        while alive() {
            assert!(Instant::now() < limit, "{pid} lives on");
            std::thread::yield_now();
        }
    }
}

fn what_cannot_be_started_says_why(mut rig: Rig) {
    let error = |rig: &mut Rig| {
        rig.until("StartFailed", |event| match event {
            Event::StartFailed(failed) => Some(failed.error),
            _ => None,
        })
    };
    rig.exec(|request| request.cwd = Some("/nowhere".into()), EXITS);
    assert_eq!(error(&mut rig), LaunchError::CwdMissing { cwd: "/nowhere".into() });
    rig.exec(|request| request.program = "no-such-program".into(), EXITS);
    assert_eq!(error(&mut rig), LaunchError::ProgramNotFound { program: "no-such-program".into() });
}

macro_rules! on_every_kernel {
    ($($case:ident),* $(,)?) => {
        mod scripted_world { $(#[test] fn $case() { super::$case(super::Rig::scripted()); })* }
        on_every_kernel!(@tier cgroup Cgroup: $($case),*);
        on_every_kernel!(@tier subreaper Subreaper: $($case),*);
        on_every_kernel!(@tier group Group: $($case),*);
    };
    (@tier $name:ident $tier:ident: $($case:ident),*) => {
        mod $name {
            $(#[test] fn $case() { super::Rig::linux(super::Containment::$tier).map(super::$case); })*
        }
    };
}
on_every_kernel!(
    a_command_starts_ends_its_streams_and_exits,
    a_signal_to_a_dead_leader_repeats_its_exit_as_often_as_it_is_sent,
    a_leader_that_obeys_was_signalled,
    a_leader_that_ignores_the_first_signal_dies_of_the_second,
    the_end_of_a_stream_and_the_facts_of_a_record_are_told_as_often_as_they_are_asked_for,
    what_is_left_is_seen_ended_and_reported,
    what_is_written_is_taken_in_order_and_read,
    bytes_of_a_launch_are_read_and_then_the_end,
    what_a_command_never_reads_fills_a_pipe_and_is_dropped_at_the_end,
    a_signal_of_the_hosts_is_no_stop,
    a_pause_waits_for_a_standstill_and_a_stop_ends_it,
    a_stop_begins_with_the_signal_that_was_asked_for,
    a_terminal_is_read_and_written,
    f81_a_release_kills_what_was_not_seen_to_be_gone,
    what_cannot_be_started_says_why,
);
