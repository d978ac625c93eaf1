//! A drain thread: pipe → files, digest, head and tail. Each process's two streams belong to one thread, which alone
//! knows their common order; no lock is taken while bytes flow. What is written to the process goes the other way here.
//!
//! * in: processes that were just started, what the graph asks about them, and epoll
//! * out: the end of each stream, and answers to the graph
//! * keeps: a process that says much moves once to a thread that sleeps, so that no core idles while another has two floods;
//!   what the graph asks about it goes after it

mod following;
mod input;
mod owed;
mod sharing;

use super::{
    flow::{Flow, Got},
    input_pipe::InputPipe,
};
use crate::backend::{KernelEvent, Outputs};
use crate::linux::{
    clock::{Activity, Clock},
    mailbox::{Mailbox, Outbox},
    sys,
};
use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    unistd::read,
};
use ostler_artifacts::{DigestWorker, Growth, Recorder, discard};
use ostler_messages::{
    ActorName, Close, EndInput, Event, Fed, Feed, InputEnded, Leftover, Outcome, Output, OutputLimitReached,
    Release, Seal, Sealed, SetSize, Stream,
};
use owed::{keep_owed, take_owed};
use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

/// Most bytes taken from a pipe at once: all that it holds once it was found full, so that one read empties it.
const READ_BYTES: usize = 256 << 10;
/// The same while other streams of the thread flow at full speed too: a stream that ends, and a command of the graph's,
/// wait for one read. 64 streams at once lost nothing by it, and a cancel beside them took 0.6 ms instead of 15.
const SHARED_READ_BYTES: usize = 64 << 10;
/// A process that says so much within [`WINDOW_US`] is a flood: 10 MiB a second, a tenth of what a thread can take.
const FLOOD_BYTES: u64 = 1 << 20;
/// How often a thread looks whether it has two floods, in microseconds: time enough for one that was moved to be seen at work.
const WINDOW_US: u64 = 100_000;

/// What the graph, the spawn threads and the other drain threads ask of this thread.
pub(crate) enum DrainCommand {
    Attach(Box<NewDrain>),
    /// From a thread that has two floods.
    TakeOver(Box<Drain>),
    Close(Close),
    Feed(Feed),
    EndInput(EndInput),
    SetSize(SetSize),
    /// There is room for its output again.
    GoOn(u64),
    Seal(Box<Seal>),
    Release(Release),
    Quit,
}
impl DrainCommand {
    /// The process that it is about, if that is here or somewhere else already.
    fn about(&self) -> Option<u64> {
        match self {
            DrainCommand::Attach(_) | DrainCommand::TakeOver(_) | DrainCommand::Quit => None,
            DrainCommand::Close(close) => Some(close.n),
            DrainCommand::GoOn(n) => Some(*n),
            DrainCommand::Feed(feed) => Some(feed.n),
            DrainCommand::EndInput(end) => Some(end.n),
            DrainCommand::SetSize(set) => Some(set.n),
            DrainCommand::Seal(seal) => Some(seal.n),
            DrainCommand::Release(release) => Some(release.n),
        }
    }
}

/// The output side of a process that has just been started. Its pipes are watched already.
pub(crate) struct NewDrain {
    pub(crate) n: u64,
    pub(crate) pipes: [Arc<OwnedFd>; 2],
    /// The first of them is a terminal.
    pub(crate) terminal: bool,
    /// Our end of its stdin, if that can be written to.
    pub(crate) input: Option<InputPipe>,
    pub(crate) recorder: Recorder,
    pub(crate) activity: Arc<Activity>,
    /// Its output, if a follower is waited for.
    pub(crate) follow: Option<Arc<Growth>>,
    /// Leftovers are to be kept, and what they say is recorded for itself.
    pub(crate) keeps: bool,
    /// It is to be stopped at its output limit.
    pub(crate) stops_at_limit: bool,
}

pub(crate) struct DrainThread {
    pub(crate) mailbox: Mailbox<DrainCommand>,
    pub(crate) events: Sender<KernelEvent>,
    pub(crate) clock: Clock,
    pub(crate) outputs: Arc<Outputs>,
    /// The others of its kind.
    pub(crate) peers: Vec<Outbox<DrainCommand>>,
    /// The name of the thread that digests beside this one, if there shall be one.
    pub(crate) digest: Option<String>,
}

pub(crate) struct Drain {
    n: u64,
    recorder: Recorder,
    activity: Arc<Activity>,
    follow: Option<Arc<Growth>>,
    /// Its follower is too far behind: nothing is read.
    held: bool,
    streams: [Source; 2],
    keeps: bool,
    stops_at_limit: bool,
    /// Held until its release: the kernel hangs up a terminal of which nobody holds our end. None without one.
    terminal: Option<Arc<OwnedFd>>,
    /// None without one, or after its end.
    input: Option<InputPipe>,
    /// It came from another thread: it stays, so that whatever is asked about it finds it.
    moved: bool,
}

struct Source {
    /// None after its end. Nobody else holds it for longer than a question.
    pipe: Option<Arc<OwnedFd>>,
    flow: Flow,
}

/// What a thread reads into, and who digests it.
struct Buffer {
    bytes: Arc<Vec<u8>>,
    beside: Option<DigestWorker>,
}
impl Buffer {
    /// `digest`: the name of a thread for the digest, where there is a core for it.
    fn new(digest: Option<String>) -> Buffer {
        // Without it the digest is taken here.
        let beside = digest.and_then(|name| DigestWorker::new(name).ok());
        Buffer { bytes: Arc::new(vec![0; READ_BYTES]), beside }
    }

    fn read(&mut self, pipe: &OwnedFd, room: usize) -> Result<usize, Errno> {
        // Nobody else has them between two records, so nothing is copied.
        read(pipe, &mut Arc::make_mut(&mut self.bytes)[..room])
    }

    fn keep(&self, count: usize, recorder: &mut Recorder) {
        recorder.append_kept(&self.bytes[..count]);
    }

    fn record(&mut self, count: usize, stream: Stream, recorder: &mut Recorder) {
        match &mut self.beside {
            Some(beside) => recorder.append_with(stream, &self.bytes, count, beside),
            None => recorder.append(stream, &self.bytes[..count]),
        }
    }
}

impl DrainThread {
    pub(crate) fn run(mut self) {
        sys::ask_for_short_turns();
        let buffer = Buffer::new(self.digest.take());
        let mut state = State {
            thread: self,
            drains: BTreeMap::new(),
            moved: BTreeMap::new(),
            full: VecDeque::new(),
            flowed: BTreeMap::new(),
            window_began_us: 0,
            buffer,
        };
        let mut ready = Vec::new();
        while state.obey_all() {
            let until = (!state.full.is_empty()).then(Instant::now);
            state.thread.mailbox.sleep(until, &mut ready);
            for key in ready.iter().copied() {
                let n = of_key(key);
                if !state.drains.contains_key(&n)
                    && !state.moved.contains_key(&n)
                    && let Some(command) = state.thread.mailbox.expect()
                    && !state.obey(command)
                {
                    return;
                }
                state.wake(key);
                // A command waits for one read, not for one of each stream.
                if !state.obey_all() {
                    return;
                }
            }
            if let Some(key) = state.full.pop_front() {
                let max = if state.full.is_empty() { READ_BYTES } else { SHARED_READ_BYTES };
                state.flow(key, max);
            }
        }
    }
}

struct State {
    thread: DrainThread,
    drains: BTreeMap<u64, Box<Drain>>,
    /// Which peer has those that were here; until they are released.
    moved: BTreeMap<u64, usize>,
    /// Streams that were found full, in turn.
    full: VecDeque<u64>,
    /// What each process has said since the window began, and when that was.
    flowed: BTreeMap<u64, u64>,
    window_began_us: u64,
    buffer: Buffer,
}

impl State {
    /// What the graph asks. False if it is to end.
    fn obey_all(&mut self) -> bool {
        while let Some(command) = self.thread.mailbox.try_next() {
            if !self.obey(command) {
                return false;
            }
        }
        true
    }

    fn obey(&mut self, command: DrainCommand) -> bool {
        if let Some(peer) = command.about().and_then(|n| self.moved.get(&n)) {
            let peer = &self.thread.peers[*peer];
            if let DrainCommand::Release(release) = &command {
                self.moved.remove(&release.n);
            }
            peer.send(command);
            return true;
        }
        match command {
            DrainCommand::Attach(new) => self.attach(*new),
            DrainCommand::TakeOver(drain) => self.take_over(drain),
            DrainCommand::Close(close) => self.close(&close),
            DrainCommand::Feed(feed) => self.feed(feed),
            DrainCommand::EndInput(end) => self.end_input(&end),
            DrainCommand::SetSize(set) => self.set_size(&set),
            DrainCommand::GoOn(n) => self.go_on(n),
            DrainCommand::Seal(seal) => self.seal(*seal),
            DrainCommand::Release(release) => self.release(&release),
            DrainCommand::Quit => return false,
        }
        true
    }

    fn report(&self, n: u64, stream: Stream, body: impl Into<Event>) {
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Drain(n, stream), body));
    }

    fn attach(&mut self, new: NewDrain) {
        let NewDrain { n, pipes, terminal, input, recorder, activity, follow, keeps, stops_at_limit } = new;
        let terminal = terminal.then(|| pipes[0].clone());
        let streams = pipes.map(|pipe| Source { pipe: Some(pipe), flow: Flow::new() });
        self.drains.insert(
            n,
            Box::new(Drain {
                n,
                recorder,
                activity,
                follow,
                held: false,
                streams,
                terminal,
                input,
                keeps,
                stops_at_limit,
                moved: false,
            }),
        );
        self.fill(n);
    }

    /// One read of one stream. One that is to be read again is queued.
    fn flow(&mut self, key: u64, max: usize) {
        let (n, Some(stream)) = (of_key(key), stream_of_key(key)) else { return };
        let Some(drain) = self.drains.get_mut(&n) else { return };
        let room = drain.room(stream);
        if room == Some(0) {
            return self.hold(n);
        }
        let max = room.map_or(max, |room| max.min(usize::try_from(room).unwrap_or(max)));
        let Source { pipe, flow } = &mut drain.streams[stream.index()];
        let Some(open) = pipe else { return };
        let got = match self.buffer.read(open, max) {
            Ok(0) => Got::End,
            Ok(count) => Got::Bytes { count, room: max },
            Err(Errno::EAGAIN | Errno::EINTR) => Got::Nothing,
            // Nobody holds the other end of the terminal.
            Err(Errno::EIO) if drain.terminal.is_some() => Got::End,
            Err(errno) => Got::Failed(errno as i32),
        };
        let todo = flow.got(got);
        let mut now_us = 0;
        if let (true, Got::Bytes { count, .. }) = (todo.record, got) {
            now_us = self.thread.clock.now_us();
            drain.activity.touch(now_us);
            self.buffer.record(count, stream, &mut drain.recorder);
            *self.flowed.entry(n).or_default() += count as u64;
            if drain.stops_at_limit && drain.recorder.is_over_limit() {
                drain.stops_at_limit = false;
                let reached = KernelEvent::new(ActorName::Process(n), OutputLimitReached {});
                let _ = self.thread.events.send(reached);
            }
        } else if let (true, Got::Bytes { count, .. }) = (drain.keeps, got) {
            self.buffer.keep(count, &mut drain.recorder);
        }
        if todo.enlarge && drain.terminal.is_none() {
            // Refused when this user has too many large pipes (pipe-user-pages-soft): then it stays as it is.
            let _ = fcntl(&*open, FcntlArg::F_SETPIPE_SZ(READ_BYTES as i32));
        }
        match todo.watch {
            Some(true) => self.thread.mailbox.resume(&*open, key),
            Some(false) if !todo.end => self.thread.mailbox.pause(&*open),
            _ => {}
        }
        if todo.again {
            self.full.push_back(key);
        }
        if let Some(ended) = pipe.take_if(|_| todo.end) {
            // A copy of the host that was forked meanwhile would keep it in epoll for ever.
            self.thread.mailbox.unwatch(&*ended);
        }
        if let Some(event) = todo.report {
            self.report(n, stream, event);
        }
        if now_us >= self.window_began_us + WINDOW_US {
            self.window_began_us = now_us;
            self.share();
        }
    }

    /// A descriptor is ready.
    fn wake(&mut self, key: u64) {
        match stream_of_key(key) {
            Some(_) => self.flow(key, READ_BYTES),
            None => self.input_ready(of_key(key)),
        }
    }

    fn close(&mut self, close: &Close) {
        let Some(drain) = self.drains.get_mut(&close.n) else { return };
        let owed = take_owed(&mut self.buffer, drain, close.stream);
        // From here on whatever comes is thrown away.
        let end = drain.streams[close.stream.index()].flow.close(owed);
        self.report(close.n, close.stream, end);
        self.go_on(close.n);
    }

    fn seal(&mut self, seal: Seal) {
        let n = seal.n;
        let Some(drain) = self.drains.get_mut(&n) else { return };
        for stream in Stream::BOTH {
            let owed = take_owed(&mut self.buffer, drain, stream);
            // Whoever asks for the seal waits for no stream.
            let _ = drain.streams[stream.index()].flow.close(owed);
        }
        let output = if seal.discard {
            let _ = drain.recorder.paths().map(discard);
            self.thread.outputs.remove(n);
            Output::default()
        } else {
            let kept = |leftover: &Leftover| leftover.outcome == Outcome::Kept;
            if seal.record.leftovers.iter().flatten().any(kept) {
                drain.recorder.keep();
            }
            drain.recorder.seal(Arc::unwrap_or_clone(seal.record.0))
        };
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Process(n), Sealed { output }));
    }

    fn release(&mut self, release: &Release) {
        let Some(mut drain) = self.drains.remove(&release.n) else { return };
        if drain.keeps && !release.undo {
            keep_owed(&mut self.buffer, &mut drain);
        }
        drain
            .streams
            .iter()
            .flat_map(|source| &source.pipe)
            .for_each(|pipe| self.thread.mailbox.unwatch(&**pipe));
        drain.input.iter().for_each(|input| self.thread.mailbox.unwatch(&input.pipe));
        if release.undo {
            let _ = drain.recorder.paths().map(discard);
            self.thread.outputs.remove(release.n);
        } else {
            self.thread.outputs.finish(release.n);
        }
    }
}

/// Above the mailbox's own key, which is 0: n counts from 1.
pub(crate) fn key(n: u64, stream: Stream) -> u64 {
    n << 2 | stream.index() as u64
}
/// Of our end of its stdin.
pub(super) fn input_key(n: u64) -> u64 {
    n << 2 | INPUT
}
const INPUT: u64 = 2;
fn of_key(key: u64) -> u64 {
    key >> 2
}
/// None: it is that of an input.
fn stream_of_key(key: u64) -> Option<Stream> {
    Stream::BOTH.get((key & 3) as usize).copied()
}
