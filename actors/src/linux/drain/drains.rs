//! A drain thread: pipe → files, digest, head and tail. Each process's two streams belong to one thread, which alone
//! knows their common order; no lock is taken while bytes flow.

use crate::backend::{KernelEvent, Outputs, REPORT_BYTES, WINDOW_BYTES};
use crate::linux::{
    clock::{Activity, Clock},
    mailbox::Mailbox,
    sys,
};
use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    unistd::read,
};
use ostler_artifacts::{DigestWorker, Recorder, discard};
use ostler_messages::{
    ActorName, Close, EndOfStream, Event, Flowed, Output, Peek, Peeked, Pull, ReadFailed, Release, Seal,
    Sealed, Stream,
};
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
/// What a pipe holds by default (pipe(7)). One that was found full is made as large as a read: its writer stops less
/// often, and 1 GiB went through in 0.85 of the time.
const PIPE_BYTES: usize = 64 << 10;

/// What the graph, and the spawn thread, ask of this thread.
pub(crate) enum DrainCommand {
    Attach(Box<NewDrain>),
    Pull(Pull),
    Close(Close),
    Peek(Peek),
    Seal(Box<Seal>),
    Release(Release),
    Quit,
}

/// The output side of a process that has just been started.
pub(crate) struct NewDrain {
    pub(crate) n: u64,
    pub(crate) pipes: [OwnedFd; 2],
    /// Whether they are watched already.
    pub(crate) watched: [bool; 2],
    pub(crate) recorder: Recorder,
    pub(crate) activity: Arc<Activity>,
}

pub(crate) struct DrainThread {
    pub(crate) mailbox: Mailbox<DrainCommand>,
    pub(crate) events: Sender<KernelEvent>,
    pub(crate) clock: Clock,
    pub(crate) outputs: Arc<Outputs>,
    /// The name of the thread that digests beside this one, if there shall be one.
    pub(crate) digest: Option<String>,
}

struct Drain {
    recorder: Recorder,
    activity: Arc<Activity>,
    flows: [Flow; 2],
}

struct Flow {
    /// None after its end.
    pipe: Option<OwnedFd>,
    turn: Turn,
    credit: u64,
    unreported: u64,
    enlarged: bool,
    /// The record is complete: what still comes is thrown away.
    closed: bool,
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

    fn record(&mut self, count: usize, stream: Stream, recorder: &mut Recorder) {
        match &mut self.beside {
            Some(beside) => recorder.append_with(stream, &self.bytes, count, beside),
            None => recorder.append(stream, &self.bytes[..count]),
        }
    }
}

/// How a stream comes to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Not before the graph grants more credit.
    Never,
    /// When epoll says that there is something.
    Watched,
    /// It was found full: in turns with others like it. Whoever says little, or ends, comes before these.
    Queued,
}

impl DrainThread {
    pub(crate) fn run(mut self) {
        sys::ask_for_short_turns();
        let mut drains: BTreeMap<u64, Box<Drain>> = BTreeMap::new();
        let mut full: VecDeque<u64> = VecDeque::new();
        let mut buffer = Buffer::new(self.digest.take());
        while self.obey_all(&mut drains, &mut buffer) {
            let until = (!full.is_empty()).then(Instant::now);
            for key in self.mailbox.sleep(until) {
                if !drains.contains_key(&of_key(key).0)
                    && let Some(command) = self.mailbox.expect()
                    && !self.obey(command, &mut drains, &mut buffer)
                {
                    return;
                }
                full.extend(self.flow(&mut drains, key, READ_BYTES, &mut buffer));
                // A command waits for one read, not for one of each stream.
                if !self.obey_all(&mut drains, &mut buffer) {
                    return;
                }
            }
            if let Some(key) = full.pop_front() {
                let max = if full.is_empty() { READ_BYTES } else { SHARED_READ_BYTES };
                full.extend(self.flow(&mut drains, key, max, &mut buffer));
            }
        }
    }

    /// What the graph asks. False if it is to end.
    fn obey_all(&self, drains: &mut BTreeMap<u64, Box<Drain>>, buffer: &mut Buffer) -> bool {
        while let Some(command) = self.mailbox.try_next() {
            if !self.obey(command, drains, buffer) {
                return false;
            }
        }
        true
    }

    fn obey(
        &self,
        command: DrainCommand,
        drains: &mut BTreeMap<u64, Box<Drain>>,
        buffer: &mut Buffer,
    ) -> bool {
        match command {
            DrainCommand::Attach(new) => self.attach(drains, *new),
            DrainCommand::Pull(pull) => self.pull(drains, &pull),
            DrainCommand::Close(close) => self.close(drains, &close, buffer),
            DrainCommand::Peek(peek) => self.peek(drains, &peek),
            DrainCommand::Seal(seal) => self.seal(drains, *seal, buffer),
            DrainCommand::Release(release) => self.release(drains, &release),
            DrainCommand::Quit => return false,
        }
        true
    }

    fn report(&self, n: u64, stream: Stream, body: impl Into<Event>) {
        let _ = self.events.send(KernelEvent::new(ActorName::Drain(n, stream), body));
    }

    fn attach(&self, drains: &mut BTreeMap<u64, Box<Drain>>, new: NewDrain) {
        let flows = new.pipes.map(|pipe| Flow {
            pipe: Some(pipe),
            turn: Turn::Never,
            credit: WINDOW_BYTES,
            unreported: 0,
            enlarged: false,
            closed: false,
        });
        let mut drain = Drain { recorder: new.recorder, activity: new.activity, flows };
        for stream in Stream::BOTH {
            let flow = &mut drain.flows[stream.index()];
            match new.watched[stream.index()] {
                true => flow.turn = Turn::Watched,
                false => self.watch(new.n, stream, flow),
            }
        }
        drains.insert(new.n, Box::new(drain));
    }

    fn watch(&self, n: u64, stream: Stream, flow: &mut Flow) {
        if flow.turn != Turn::Never {
            return;
        }
        let Some(pipe) = &flow.pipe else { return };
        match self.mailbox.watch(pipe.as_fd(), key(n, stream)) {
            Ok(()) => flow.turn = Turn::Watched,
            Err(errno) => self.fail(n, stream, flow, errno),
        }
    }

    fn unwatch(&self, flow: &mut Flow) {
        if let Some(pipe) = flow.pipe.as_ref().filter(|_| flow.turn == Turn::Watched) {
            self.mailbox.unwatch(pipe);
        }
        flow.turn = Turn::Never;
    }

    /// One read of one stream. Gives its key back if it is to be read again in its turn.
    fn flow(
        &self,
        drains: &mut BTreeMap<u64, Box<Drain>>,
        key: u64,
        max: usize,
        buffer: &mut Buffer,
    ) -> Option<u64> {
        let (n, stream) = of_key(key);
        let drain = drains.get_mut(&n)?;
        let flow = &mut drain.flows[stream.index()];
        let pipe = flow.pipe.as_ref()?;
        let room = if flow.closed {
            max
        } else {
            usize::try_from(flow.credit).map_or(max, |credit| credit.min(max))
        };
        if room == 0 {
            self.unwatch(flow);
            return None;
        }
        match buffer.read(pipe, room) {
            Ok(0) => {
                self.end(n, stream, flow);
                return None;
            }
            Ok(count) => {
                let full = count == room;
                if !flow.closed {
                    self.record(n, drain, stream, count, buffer);
                }
                let flow = &mut drain.flows[stream.index()];
                if full {
                    self.unwatch(flow);
                    flow.turn = Turn::Queued;
                    return Some(key);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => {
                self.fail(n, stream, flow, errno);
                return None;
            }
        }
        let flow = &mut drain.flows[stream.index()];
        if flow.turn == Turn::Queued {
            flow.turn = Turn::Never;
            self.watch(n, stream, flow);
        }
        None
    }

    fn record(&self, n: u64, drain: &mut Drain, stream: Stream, count: usize, buffer: &mut Buffer) {
        drain.activity.touch(self.clock.now_us());
        buffer.record(count, stream, &mut drain.recorder);
        let flow = &mut drain.flows[stream.index()];
        if count >= PIPE_BYTES && !std::mem::replace(&mut flow.enlarged, true) {
            // Refused when this user has too many large pipes (pipe-user-pages-soft): then it stays as it is.
            let _ = flow.pipe.as_ref().map(|pipe| fcntl(pipe, FcntlArg::F_SETPIPE_SZ(READ_BYTES as i32)));
        }
        flow.credit -= count as u64;
        flow.unreported += count as u64;
        if flow.unreported >= REPORT_BYTES {
            let bytes = std::mem::take(&mut flow.unreported);
            self.report(n, stream, Flowed { bytes });
        }
    }

    /// Every writer has closed the pipe.
    fn end(&self, n: u64, stream: Stream, flow: &mut Flow) {
        self.unwatch(flow);
        flow.pipe = None;
        if !std::mem::replace(&mut flow.closed, true) {
            self.report(n, stream, EndOfStream { bytes: std::mem::take(&mut flow.unreported) });
        }
    }

    fn fail(&self, n: u64, stream: Stream, flow: &mut Flow, errno: Errno) {
        flow.pipe = None;
        if !std::mem::replace(&mut flow.closed, true) {
            self.report(n, stream, ReadFailed { errno: errno as i32 });
        }
    }

    fn pull(&self, drains: &mut BTreeMap<u64, Box<Drain>>, pull: &Pull) {
        if let Some(drain) = drains.get_mut(&pull.n) {
            let flow = &mut drain.flows[pull.stream.index()];
            flow.credit = flow.credit.saturating_add(pull.bytes);
            self.watch(pull.n, pull.stream, flow);
        }
    }

    fn close(&self, drains: &mut BTreeMap<u64, Box<Drain>>, close: &Close, buffer: &mut Buffer) {
        let Some(drain) = drains.get_mut(&close.n) else { return };
        self.take_owed(drain, close.stream, buffer);
        let flow = &mut drain.flows[close.stream.index()];
        flow.closed = true;
        self.report(close.n, close.stream, EndOfStream { bytes: std::mem::take(&mut flow.unreported) });
        // From here on whatever comes is thrown away, without credit.
        self.watch(close.n, close.stream, flow);
    }

    /// What the leader wrote before its exit is in the pipe now, if it was not read before: a pipe is first in, first
    /// out. So reading as much as it holds now is enough, however fast others go on writing.
    fn take_owed(&self, drain: &mut Drain, stream: Stream, buffer: &mut Buffer) {
        let flow = &mut drain.flows[stream.index()];
        let Some(pipe) = flow.pipe.as_ref().filter(|_| !flow.closed) else { return };
        let mut owed = sys::readable_bytes(pipe.as_fd()).unwrap_or(0);
        while owed > 0 {
            match buffer.read(pipe, owed.min(READ_BYTES)) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    buffer.record(count, stream, &mut drain.recorder);
                    flow.unreported += count as u64;
                    owed -= count;
                }
            }
        }
    }

    fn peek(&self, drains: &BTreeMap<u64, Box<Drain>>, peek: &Peek) {
        let peeked = match drains.get(&peek.n) {
            Some(drain) => {
                let silence_ms = self.clock.now_us().saturating_sub(drain.activity.last_us()) / 1_000;
                Peeked { output: drain.recorder.peek(peek.inline_bytes), silence_ms }
            }
            // The spawn thread tells the graph of a process first; whoever asks before it gets here hears that nothing came.
            None => Peeked { output: Output::default(), silence_ms: 0 },
        };
        let _ = self.events.send(KernelEvent::new(ActorName::Ticker(peek.n), peeked));
    }

    fn seal(&self, drains: &mut BTreeMap<u64, Box<Drain>>, seal: Seal, buffer: &mut Buffer) {
        let n = seal.n;
        let Some(drain) = drains.get_mut(&n) else { return };
        for stream in Stream::BOTH {
            self.take_owed(drain, stream, buffer);
            drain.flows[stream.index()].closed = true;
        }
        let output = if seal.discard {
            let _ = discard(&drain.recorder.paths());
            self.outputs.remove(n);
            Output::default()
        } else {
            drain.recorder.seal((*seal.record).clone())
        };
        let _ = self.events.send(KernelEvent::new(ActorName::Process(n), Sealed { output }));
    }

    fn release(&self, drains: &mut BTreeMap<u64, Box<Drain>>, release: &Release) {
        let Some(mut drain) = drains.remove(&release.n) else { return };
        drain.flows.iter_mut().for_each(|flow| self.unwatch(flow));
        if release.undo {
            let _ = discard(&drain.recorder.paths());
            self.outputs.remove(release.n);
        } else {
            self.outputs.finish(release.n);
        }
    }
}

/// Above the mailbox's own key, which is 0: n counts from 1.
pub(crate) fn key(n: u64, stream: Stream) -> u64 {
    n << 1 | stream.index() as u64
}
fn of_key(key: u64) -> (u64, Stream) {
    (key >> 1, Stream::BOTH[(key & 1) as usize])
}
