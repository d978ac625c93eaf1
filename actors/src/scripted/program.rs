//! What a scripted program does.

use ostler_messages::{LaunchError, Stream, UnixSignal};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a flood writes in each millisecond of virtual time: about what a program writes into a pipe that is read at once. Whole patterns,
/// so a little less.
pub const FLOOD_BYTES_PER_MS: u64 = 1 << 20;

/// How a scripted process takes SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnTerminate {
    /// It dies of it at once.
    #[default]
    Dies,
    /// It goes on.
    Ignores,
    /// It cleans up, says something, and exits.
    Exits {
        /// How long that takes.
        after: Duration,
        /// What it writes to stdout then.
        says: String,
        /// With which code.
        code: i32,
    },
}

/// What a scripted program does about something that comes in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reaction {
    pub(super) says: Vec<u8>,
    pub(super) prompts: bool,
    pub(super) exits: Option<i32>,
}
impl Reaction {
    /// Nothing.
    pub fn none() -> Reaction {
        Reaction::default()
    }
    /// It writes this to stdout.
    pub fn says(text: impl AsRef<[u8]>) -> Reaction {
        Reaction { says: text.as_ref().to_vec(), ..Reaction::default() }
    }
    /// It writes this to stdout, and waits for input again.
    pub fn prompts(text: impl AsRef<[u8]>) -> Reaction {
        Reaction { prompts: true, ..Reaction::says(text) }
    }
    /// Then it exits with a code.
    pub fn exits(mut self, code: i32) -> Reaction {
        self.exits = Some(code);
        self
    }
}

/// What a program does about a line.
#[derive(Clone)]
pub(super) struct LineRule(pub(super) Arc<dyn Fn(&str) -> Reaction + Send + Sync>);
impl std::fmt::Debug for LineRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a function of the line")
    }
}

/// What a program does about a new size of its terminal.
#[derive(Clone)]
pub(super) struct SizeRule(pub(super) Arc<dyn Fn(u16, u16) -> Reaction + Send + Sync>);
impl std::fmt::Debug for SizeRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a function of the size")
    }
}

/// How a program reads its stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Reads {
    #[default]
    AtOnce,
    /// Only what its steps say.
    InSteps,
}

/// One step of a program, at its time after the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Says(Stream, Vec<u8>),
    /// So many bytes of this piece, again and again.
    Floods(Arc<[u8]>, u64),
    Closes(Stream),
    Listens(u16),
    /// Says something and waits for input.
    Prompts(Vec<u8>),
    Reads(u64),
    ClosesStdin,
    Exits(i32),
    DiesOf(String),
}

/// A process that a scripted program starts and that may outlive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    pub(super) name: String,
    pub(super) holds_pipes: bool,
    pub(super) on_terminate: OnTerminate,
    pub(super) ends_us: Option<u64>,
}
impl Descendant {
    /// It lives until it is signalled, and holds no pipe.
    pub fn new(name: impl Into<String>) -> Descendant {
        let on_terminate = OnTerminate::default();
        Descendant { name: name.into(), holds_pipes: false, on_terminate, ends_us: None }
    }
    /// It holds both pipes open as long as it lives.
    pub fn holds_pipes(mut self) -> Descendant {
        self.holds_pipes = true;
        self
    }
    /// How it takes SIGTERM.
    pub fn on_terminate(mut self, reaction: OnTerminate) -> Descendant {
        self.on_terminate = reaction;
        self
    }
    /// It ends by itself so long after its program's start.
    pub fn ends_at(mut self, after: Duration) -> Descendant {
        self.ends_us = Some(micros(after));
        self
    }
}

/// What a scripted program does. Times count from its start. Without an exit it runs until it is stopped.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub(super) steps: Vec<(u64, Step)>,
    pub(super) on_terminate: OnTerminate,
    pub(super) reads: Reads,
    pub(super) on_line: Option<LineRule>,
    pub(super) on_stdin_end: Option<Reaction>,
    pub(super) on_signal: BTreeMap<UnixSignal, Reaction>,
    pub(super) on_resize: Option<SizeRule>,
    pub(super) descendants: Vec<Descendant>,
    pub(super) fails: Option<LaunchError>,
    pub(super) starts_us: Option<u64>,
    pub(super) never_starts: bool,
    pub(super) unkillable: bool,
    pub(super) exit_seen_late_us: u64,
    pub(super) disk_full_at: Option<u64>,
    pub(super) disk_hangs: bool,
    pub(super) disk_takes_us: u64,
}
impl Program {
    /// It starts at once, says nothing, and runs until it is stopped.
    pub fn new() -> Program {
        Program::default()
    }
    fn step(mut self, after: Duration, act: Step) -> Program {
        self.steps.push((micros(after), act));
        self
    }
    /// Writes to stdout.
    pub fn stdout_at(self, after: Duration, text: impl AsRef<[u8]>) -> Program {
        self.step(after, Step::Says(Stream::Stdout, text.as_ref().to_vec()))
    }
    /// Writes to stderr.
    pub fn stderr_at(self, after: Duration, text: impl AsRef<[u8]>) -> Program {
        self.step(after, Step::Says(Stream::Stderr, text.as_ref().to_vec()))
    }
    /// Writes so many bytes to stdout, a pattern again and again: [`FLOOD_BYTES_PER_MS`] in each millisecond until that is done, so 10 GiB
    /// take 10.24 s of virtual time. None of it is held in memory more than once, but each byte is read, counted and digested as ever,
    /// and that is work: about a second for each GiB. An empty pattern says nothing.
    pub fn floods_at(self, after: Duration, bytes: u64, pattern: impl AsRef<[u8]>) -> Program {
        let pattern = pattern.as_ref();
        let times = FLOOD_BYTES_PER_MS as usize / pattern.len().max(1);
        let piece = pattern.repeat(times.max(1));
        self.step(after, Step::Floods(piece.into(), bytes))
    }
    /// Closes a stream and runs on.
    pub fn closes_at(self, after: Duration, stream: Stream) -> Program {
        self.step(after, Step::Closes(stream))
    }
    /// Listens on a TCP port of 127.0.0.1, until it ends.
    pub fn listens_at(self, after: Duration, port: u16) -> Program {
        self.step(after, Step::Listens(port))
    }
    /// Exits with a code.
    pub fn exits_at(self, after: Duration, code: i32) -> Program {
        self.step(after, Step::Exits(code))
    }
    /// Dies of a signal, by its name (`SIGSEGV`), that nobody of ours sent.
    pub fn dies_at(self, after: Duration, signal: impl Into<String>) -> Program {
        self.step(after, Step::DiesOf(signal.into()))
    }
    /// Writes to stdout, and waits for input from then until some comes.
    pub fn prompts_at(self, after: Duration, text: impl AsRef<[u8]>) -> Program {
        self.step(after, Step::Prompts(text.as_ref().to_vec()))
    }
    /// What it does about each line that it reads from stdin, given without its end. A last line without an end counts when stdin
    /// ends. Without a rule it reads and says nothing.
    pub fn on_line(mut self, rule: impl Fn(&str) -> Reaction + Send + Sync + 'static) -> Program {
        self.on_line = Some(LineRule(Arc::new(rule)));
        self
    }
    /// What it does when its stdin is at its end. Without this it runs on.
    pub fn on_stdin_end(mut self, reaction: Reaction) -> Program {
        self.on_stdin_end = Some(reaction);
        self
    }
    /// What its leader does when the host sends it this signal. Without this it dies of it.
    pub fn on_signal(mut self, signal: UnixSignal, reaction: Reaction) -> Program {
        self.on_signal.insert(signal, reaction);
        self
    }
    /// What it does when its terminal has another size, given as rows and columns. Without this nothing.
    pub fn on_resize(mut self, rule: impl Fn(u16, u16) -> Reaction + Send + Sync + 'static) -> Program {
        self.on_resize = Some(SizeRule(Arc::new(rule)));
        self
    }
    /// It never reads its stdin: 64 KiB go into the pipe, and the rest is queued.
    pub fn never_reads(mut self) -> Program {
        self.reads = Reads::InSteps;
        self
    }
    /// It reads so many bytes of its stdin, not before this time; beside other such steps it reads nothing.
    pub fn reads_at(self, after: Duration, bytes: u64) -> Program {
        self.never_reads().step(after, Step::Reads(bytes))
    }
    /// Closes its stdin and runs on.
    pub fn closes_stdin_at(self, after: Duration) -> Program {
        self.step(after, Step::ClosesStdin)
    }
    /// How its leader takes SIGTERM, or what its launch has in its place.
    pub fn on_terminate(mut self, reaction: OnTerminate) -> Program {
        self.on_terminate = reaction;
        self
    }
    /// Starts another process at its own start.
    pub fn descendant(mut self, descendant: Descendant) -> Program {
        self.descendants.push(descendant);
        self
    }
    /// It can't be started.
    pub fn fails(mut self, error: LaunchError) -> Program {
        self.fails = Some(error);
        self
    }
    /// Its start takes so long.
    pub fn starts_after(mut self, after: Duration) -> Program {
        self.starts_us = Some(micros(after));
        self
    }
    /// Its exec never returns.
    pub fn never_starts(mut self) -> Program {
        self.never_starts = true;
        self
    }
    /// SIGKILL does not end it, as when it hangs in a device.
    pub fn unkillable(mut self) -> Program {
        self.unkillable = true;
        self
    }
    /// Its exit is noticed so long after it happened.
    pub fn exit_seen_late(mut self, after: Duration) -> Program {
        self.exit_seen_late_us = micros(after);
        self
    }
    /// The disk is full after so many bytes of its output.
    pub fn disk_full_at(mut self, bytes: u64) -> Program {
        self.disk_full_at = Some(bytes);
        self
    }
    /// The disk takes so long to complete its files; beyond [`Times::seal_timeout`](crate::Times) nobody waits for it.
    pub fn disk_takes(mut self, time: Duration) -> Program {
        self.disk_takes_us = micros(time);
        self
    }
    /// The disk does not come back when its files are to be completed.
    pub fn disk_hangs(mut self) -> Program {
        self.disk_hangs = true;
        self
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
