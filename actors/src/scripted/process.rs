//! One scripted process with its descendants and its output.

mod seen;
mod standing;
mod talk;

use super::{
    input::Input,
    program::{OnTerminate, Program, Step, micros},
};
use crate::backend::KernelEvent;
use ostler_artifacts::{Growth, Recorder};
use ostler_messages::{
    ActorName, EndOfStream, Event, Exit, Exited, LaunchRequest, Leftover, Outcome, Output,
    OutputLimitReached, OutputPolicy, Payload, Seal, Sealed, Stamp, Stdin, StopSignal, Stream, SweepFor,
    TreeAlive, TreeEmpty, UnixSignal, Usage,
};
use standing::Standing;
use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// The address of every server in a scripted world.
const LISTENS_AT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Something that a process planned.
pub(super) enum Planned {
    Step(Step),
    /// The kernel notices the exit.
    ExitSeen,
    /// The leader has cleaned up after SIGTERM.
    CleanedUp {
        says: String,
        code: i32,
    },
    /// A descendant has done so, or ends by itself.
    DescendantEnds(usize),
}

struct Member {
    pid: u32,
    name: String,
    holds_pipes: bool,
    on_terminate: OnTerminate,
    alive: bool,
    /// Set when it is found alive after the leader's exit.
    outcome: Option<Outcome>,
}

pub(super) struct Process {
    n: u64,
    pid: u32,
    program: Program,
    recorder: Recorder,
    growth: Arc<Growth>,
    standing: Standing,
    paused_at_us: Option<u64>,
    /// Both streams have one pipe.
    merges: bool,
    /// It is to be stopped at its output limit.
    stops_at_limit: bool,
    /// Wall time at which its world's time is 0.
    began: Stamp,
    began_us: u64,
    pub(super) last_byte_us: u64,
    members: Vec<Member>,
    ports: BTreeSet<u16>,
    exit: Option<Exit>,
    exit_reported: bool,
    signalled: bool,
    sweep: Option<SweepFor>,
    /// The leader has closed it.
    left: [bool; 2],
    /// Its record is complete.
    closed: [bool; 2],
    read: [u64; 2],
    /// None: `/dev/null`.
    input: Option<Input>,
    /// It has asked for input, and none has come since.
    waits_for_input: bool,
    stop_signal: UnixSignal,
    pub(super) events: VecDeque<KernelEvent>,
    pub(super) plans: Vec<(u64, Planned)>,
}

impl Process {
    pub(super) fn new(
        n: u64,
        pid: u32,
        program: Program,
        (recorder, growth): (Recorder, Arc<Growth>),
        request: &LaunchRequest,
        (began, now_us): (Stamp, u64),
    ) -> Process {
        let merges = request.capture.merge_stderr || request.terminal.is_some();
        let input = match &request.stdin {
            _ if request.takes_input() => Some(Input::new(n, program.reads, None)),
            Stdin::Bytes(bytes) => Some(Input::new(n, program.reads, Some(Payload::from(bytes.as_bytes())))),
            _ => None,
        };
        let members = (1..)
            .zip(&program.descendants)
            .map(|(offset, descendant)| Member {
                pid: pid + offset,
                name: descendant.name.clone(),
                holds_pipes: descendant.holds_pipes,
                on_terminate: descendant.on_terminate.clone(),
                alive: true,
                outcome: None,
            })
            .collect();
        Process {
            n,
            pid,
            program,
            recorder,
            growth,
            standing: Standing::default(),
            paused_at_us: None,
            merges,
            stops_at_limit: request.output_policy == OutputPolicy::StopCommand,
            began,
            began_us: now_us,
            last_byte_us: now_us,
            members,
            ports: BTreeSet::new(),
            exit: None,
            exit_reported: false,
            signalled: false,
            sweep: None,
            left: [false; 2],
            closed: [false; 2],
            read: [0; 2],
            input,
            waits_for_input: false,
            stop_signal: request.stop_signal.unwrap_or(UnixSignal::SigTerm),
            events: VecDeque::new(),
            plans: Vec::new(),
        }
    }

    /// Plans everything that the program does by itself.
    pub(super) fn begin(&mut self, now_us: u64) {
        for (us, act) in std::mem::take(&mut self.program.steps) {
            self.plans.push((now_us + us, Planned::Step(act)));
        }
        for (index, descendant) in self.program.descendants.iter().enumerate() {
            if let Some(us) = descendant.ends_us {
                self.plans.push((now_us + us, Planned::DescendantEnds(index)));
            }
        }
        self.flow(now_us);
    }

    pub(super) fn happen(&mut self, planned: Planned, now_us: u64) {
        match planned {
            Planned::ExitSeen => self.report_exit(),
            Planned::DescendantEnds(index) => self.descendant_ends(index),
            Planned::CleanedUp { says, code } if self.exit.is_none() => {
                self.say(Stream::Stdout, says.as_bytes(), now_us);
                self.exit(code, None, now_us);
            }
            Planned::Step(act) if self.exit.is_none() => match act {
                Step::Says(stream, bytes) => self.say(stream, &bytes, now_us),
                Step::Floods(piece, left) => self.flood(piece, left, now_us),
                Step::Closes(stream) => {
                    self.left[stream.index()] = true;
                    self.end_streams();
                }
                Step::Listens(port) => drop(self.ports.insert(port)),
                Step::Prompts(text) => {
                    self.waits_for_input = true;
                    self.say(Stream::Stdout, &text, now_us);
                }
                Step::Reads(bytes) => {
                    self.input.iter_mut().for_each(|input| input.read_more(bytes));
                    self.flow(now_us);
                }
                Step::ClosesStdin => {
                    self.input.iter_mut().for_each(Input::leave);
                    self.flow(now_us);
                }
                Step::Exits(code) => self.exit(code, None, now_us),
                Step::DiesOf(signal) => self.exit(-1, Some(signal), now_us),
            },
            // The leader is dead: what it had planned does not happen.
            Planned::CleanedUp { .. } | Planned::Step(_) => {}
        }
    }

    pub(super) fn signal(&mut self, signal: StopSignal, now_us: u64) {
        if self.exit.is_some() {
            // It ended by itself; or the graph asks again because the actor that heard of it first is gone.
            self.exit_reported = false;
            return self.report_exit();
        }
        self.signalled = true;
        self.lift(now_us);
        self.receive(signal, now_us);
    }

    pub(super) fn sweep(&mut self, to: SweepFor, now_us: u64) {
        self.sweep = Some(to);
        let kept = to == SweepFor::Keep;
        let mut seen = 0;
        for member in self.members.iter_mut().filter(|member| member.alive) {
            seen += 1;
            let outcome = match to {
                SweepFor::Kill => Outcome::Killed,
                SweepFor::Keep => Outcome::Kept,
                SweepFor::Watch | SweepFor::Terminate => Outcome::Terminated,
            };
            if matches!(member.outcome, None | Some(Outcome::Kept)) || to == SweepFor::Kill {
                member.outcome = Some(outcome);
            }
        }
        if seen > 0 {
            let kept = kept.then(|| self.leftovers());
            self.report(TreeAlive { seen, kept });
        }
        match to {
            SweepFor::Terminate => self.receive(StopSignal::Terminate, now_us),
            SweepFor::Kill => self.receive(StopSignal::Kill, now_us),
            SweepFor::Watch | SweepFor::Keep => {}
        }
        self.report_if_empty();
    }

    fn receive(&mut self, signal: StopSignal, now_us: u64) {
        let name = match signal {
            StopSignal::Terminate => self.stop_signal.name(),
            StopSignal::Kill => "SIGKILL",
        };
        if self.program.unkillable {
            return;
        }
        for index in 0..self.members.len() {
            match self.members[index].on_terminate.clone() {
                OnTerminate::Ignores if signal == StopSignal::Terminate => {}
                OnTerminate::Exits { after, .. } if signal == StopSignal::Terminate => {
                    self.plans.push((now_us + micros(after), Planned::DescendantEnds(index)));
                }
                _ => self.descendant_ends(index),
            }
        }
        if self.exit.is_some() {
            return;
        }
        match self.program.on_terminate.clone() {
            OnTerminate::Ignores if signal == StopSignal::Terminate => {}
            OnTerminate::Exits { after, says, code } if signal == StopSignal::Terminate => {
                self.plans.push((now_us + micros(after), Planned::CleanedUp { says, code }));
            }
            _ => self.exit(-1, Some(name.to_owned()), now_us),
        }
    }

    fn descendant_ends(&mut self, index: usize) {
        if std::mem::take(&mut self.members[index].alive) {
            self.end_streams();
            self.report_if_empty();
        }
    }

    fn report_if_empty(&mut self) {
        if self.sweep.is_some() && self.members.iter().all(|member| !member.alive) {
            self.sweep = None;
            let leftovers = Some(self.leftovers());
            self.report(TreeEmpty { leftovers });
        }
    }

    fn exit(&mut self, exit_code: i32, signal: Option<String>, now_us: u64) {
        self.exit = Some(Exit {
            oom_killed: None,
            exit_code,
            signal,
            usage: Some(Usage::new(0, 0, Some(0))),
            ended_at: Stamp(self.began.0 + now_us / 1_000),
            duration_ms: (now_us - self.began_us) / 1_000,
        });
        self.lift(now_us);
        // Descendants don't read.
        self.input.iter_mut().for_each(Input::leave);
        self.flow(now_us);
        self.end_streams();
        match self.program.exit_seen_late_us {
            0 => self.report_exit(),
            us => self.plans.push((now_us + us, Planned::ExitSeen)),
        }
    }

    fn report_exit(&mut self) {
        if !std::mem::replace(&mut self.exit_reported, true)
            && let Some(exit) = self.exit.clone()
        {
            let tree_empty = self.members.iter().all(|member| !member.alive);
            self.report(Exited { exit, signalled: self.signalled, tree_empty, lost: false });
        }
    }

    fn say(&mut self, stream: Stream, bytes: &[u8], now_us: u64) {
        let stream = if self.merges { Stream::Stdout } else { stream };
        let index = stream.index();
        if self.closed[index] || bytes.is_empty() {
            return;
        }
        if self.stands() || self.growth.room().is_some() {
            self.queue(stream, bytes);
            return self.speak(now_us);
        }
        self.record(stream, bytes, now_us);
    }

    fn record(&mut self, stream: Stream, bytes: &[u8], now_us: u64) {
        let index = stream.index();
        if self.closed[index] || bytes.is_empty() {
            return;
        }
        self.last_byte_us = now_us;
        self.recorder.append(stream, bytes);
        self.read[index] += bytes.len() as u64;
        if self.recorder.is_over_limit() && std::mem::take(&mut self.stops_at_limit) {
            self.report(OutputLimitReached {});
        }
    }

    /// A stream ends when nobody holds it any more.
    fn end_streams(&mut self) {
        let held = self.members.iter().any(|member| member.alive && member.holds_pipes);
        for stream in Stream::BOTH {
            let leader_holds = self.exit.is_none() && !self.left[stream.index()];
            if !held && !leader_holds && !self.closed[stream.index()] {
                self.close(stream);
            }
        }
    }

    pub(super) fn close(&mut self, stream: Stream) {
        self.closed[stream.index()] = true;
        let bytes = self.read[stream.index()];
        self.report_to_drain(stream, EndOfStream { bytes });
    }

    /// All that it has said so far.
    pub(super) fn output(&self) -> Output {
        self.recorder.peek(u64::MAX)
    }

    /// How long its disk takes to complete its files.
    pub(super) fn disk_takes_us(&self) -> u64 {
        self.program.disk_takes_us
    }

    /// What is on the disk then.
    pub(super) fn seal(&mut self, seal: &Seal) -> Option<Output> {
        if self.program.disk_hangs {
            return None;
        }
        let output = match seal.discard {
            true => Output::default(),
            false => self.recorder.seal((*seal.record).clone()),
        };
        let sealed = (!seal.discard).then(|| output.clone());
        self.report(Sealed { output });
        sealed
    }

    /// After SIGKILL and the time given to it.
    pub(super) fn survivors(&mut self) -> Option<Vec<Leftover>> {
        for member in self.members.iter_mut().filter(|member| member.alive) {
            member.outcome = Some(Outcome::Survived);
        }
        let mut leftovers = self.leftovers();
        if self.exit.is_none() {
            let leader = Leftover::new(self.pid, "leader", Outcome::Survived);
            leftovers.insert(0, leader);
        }
        Some(leftovers)
    }

    fn leftovers(&self) -> Vec<Leftover> {
        let seen = |member: &Member| {
            let (pid, name) = (member.pid, member.name.clone());
            member.outcome.map(|outcome| Leftover::new(pid, name, outcome))
        };
        self.members.iter().filter_map(seen).collect()
    }

    fn report(&mut self, body: impl Into<Event>) {
        self.events.push_back(KernelEvent::new(ActorName::Process(self.n), body));
    }
    fn report_to_supervisor(&mut self, body: impl Into<Event>) {
        self.events.push_back(KernelEvent::new(ActorName::Supervisor, body));
    }
    fn report_to_drain(&mut self, stream: Stream, body: impl Into<Event>) {
        self.events.push_back(KernelEvent::new(ActorName::Drain(self.n, stream), body));
    }
}
