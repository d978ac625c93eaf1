//! Being asked from outside: by other processes of the same user, through a socket beside the artifacts.

use super::{Error, Ostler};
use crate::backend::thread::spawn;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ostler_artifacts::{HostSocket, LaunchFile, OutputFile, Paths, remove_command};
use ostler_messages::{
    Answer, AwaitResult, CONTROL_ASK_MAX_BYTES, CallError, CommandId, ControlAnswer, ControlAsk, Forget,
    GetStatus, HandleId, Labels, List, Record, Shared, Status,
};
use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Most who are answered at a time; beyond it a connection is closed at once.
const ASKING_MAX: usize = 16;
/// How long a reader may wait for something to be there: it asks again, and a place is free for others between.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// How long one look for the end of a command takes that somebody waits for.
const TURN_MS: u64 = 200;
/// What is said when the graph is gone, or its socket is closed.
const ENDING: &str = "its host ends just now, or takes no calls any more";
/// How long each read and write of a line may take.
const LINE_LIMIT: Duration = Duration::from_secs(5);

/// A graph that can be asked from outside as long as this value lives: `ostler cancel` and `ostler rm` do. Only processes of the same user
/// are heard; they can list, read, wait, stop and remove, never start anything or write to it. It is one of the values that keep the graph
/// alive.
#[derive(Debug)]
pub struct Control {
    listening: Listening,
    _graph: Ostler,
}
impl Control {
    /// Where it is asked.
    pub fn path(&self) -> &Path {
        self.listening.socket.path()
    }
}

/// The socket and its thread, as long as this lives.
#[derive(Debug)]
pub(super) struct Listening {
    socket: Arc<HostSocket>,
    thread: Option<JoinHandle<()>>,
    asking: Arc<Asking>,
    /// A forked copy of that process has neither the thread nor a right to the socket.
    pid: u32,
}
impl Drop for Listening {
    /// Takes no more calls. Whoever waits for a command is answered if it has ended, and told that this is over if not. For a peer that does not
    /// read, five seconds at most.
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            std::mem::forget((self.socket.clone(), self.asking.clone()));
            return;
        }
        self.asking.closing.store(true, Ordering::Relaxed);
        self.socket.close();
        self.thread.take().map(JoinHandle::join);
        let asking = self.asking.answered();
        // Whoever answers may have had the graph's last value, and does not wait for himself.
        let own = usize::from(ANSWERS.get());
        // Only a count is kept there.
        drop(self.asking.left.wait_timeout_while(asking, LINE_LIMIT, |count| *count > own));
    }
}
impl Listening {
    /// `graph`: whom it asks, as long as that is there.
    pub(super) fn begin(
        root: &Path,
        graph: impl Fn() -> Option<Ostler> + Send + Sync + 'static,
    ) -> io::Result<Listening> {
        let socket = Arc::new(HostSocket::bind(root, std::process::id())?);
        let (asking, listens) = (Arc::<Asking>::default(), socket.clone());
        let counted = asking.clone();
        let graph: Graph = Arc::new(graph);
        let thread = spawn("ostler-control", move || listen(&graph, &listens, &counted))?;
        Ok(Listening { socket, thread: Some(thread), asking, pid: std::process::id() })
    }
}

thread_local! {
    /// Whether this thread answers somebody.
    static ANSWERS: Cell<bool> = const { Cell::new(false) };
}

/// Who is being answered.
#[derive(Debug, Default)]
struct Asking {
    count: Mutex<usize>,
    left: Condvar,
    /// Whoever waits for an end that has not come is told so.
    closing: AtomicBool,
}
impl Asking {
    fn answered(&self) -> MutexGuard<'_, usize> {
        // A count is whole, whoever has panicked.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them.
struct One(Arc<Asking>);
impl One {
    /// None: there are too many.
    fn new(asking: &Arc<Asking>) -> Option<One> {
        let mut count = asking.answered();
        (*count < ASKING_MAX).then(|| {
            *count += 1;
            One(asking.clone())
        })
    }
}
impl Drop for One {
    fn drop(&mut self) {
        *self.0.answered() -= 1;
        self.0.left.notify_all();
    }
}

impl Ostler {
    /// Lets other processes of this user ask, from now until the value is dropped.
    ///
    /// # Errors
    /// What the kernel said: the artifact root can't be written to, or there is no descriptor or thread.
    pub fn control(&self) -> io::Result<Control> {
        Ok(Control { listening: self.listen()?, _graph: self.clone() })
    }
    /// As long as the graph is there.
    pub(super) fn listen(&self) -> io::Result<Listening> {
        Listening::begin(self.artifact_root(), self.while_there())
    }
}

/// The graph, as long as it is there. Whoever is answered has it only for moments: its last value is the host's.
type Graph = Arc<dyn Fn() -> Option<Ostler> + Send + Sync>;

fn listen(graph: &Graph, socket: &HostSocket, asking: &Arc<Asking>) {
    while let Some(stream) = socket.next() {
        let Some(one) = One::new(asking) else {
            let _ = tell(&stream, &refused("too many ask at once; ask again"));
            continue;
        };
        let graph = graph.clone();
        // Without a thread the connection is closed.
        let _ = spawn("ostler-answer", move || {
            ANSWERS.set(true);
            // Whoever asks sees a closed connection.
            let _ = answer(&graph, &one, &stream);
            // Whoever waits for the last one finds nothing of it left.
            drop((stream, graph));
            drop(one);
        });
    }
}

fn refused(why: impl Into<String>) -> ControlAnswer {
    ControlAnswer::Refused { why: why.into() }
}

fn tell(mut stream: &UnixStream, answer: &ControlAnswer) -> io::Result<()> {
    stream.set_write_timeout(Some(LINE_LIMIT))?;
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn answer(graph: &Graph, one: &One, stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LINE_LIMIT))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(CONTROL_ASK_MAX_BYTES)).read_until(b'\n', &mut line)?;
    let ask = match serde_json::from_slice(&line) {
        Ok(ask) => ask,
        Err(error) => return tell(stream, &refused(format!("it is not understood: {error}"))),
    };
    let Some(ostler) = graph() else { return tell(stream, &refused(ENDING)) };
    let answer = match ask {
        ControlAsk::Cancel { command_id, now } => {
            tell(stream, &ControlAnswer::Heard)?;
            let stopped = cancel(&ostler, command_id, now);
            drop(ostler);
            stopped.and_then(|(handle_id, cancelled)| {
                let record = end_of(graph, one, handle_id, stream)?;
                Ok(ControlAnswer::Cancelled { cancelled, record })
            })
        }
        ControlAsk::Wait { command_id } => {
            tell(stream, &ControlAnswer::Heard)?;
            let known = known(&ostler, command_id);
            drop(ostler);
            let ended = known.and_then(|handle_id| end_of(graph, one, handle_id, stream));
            ended.map(|record| ControlAnswer::Ended { record })
        }
        ControlAsk::List { labels } => list(&ostler, labels),
        ControlAsk::Read { command_id, stream: which, offset, wait_ms } => {
            let time = Duration::from_millis(wait_ms).min(READ_LIMIT);
            read(&ostler, command_id, which, (offset, time))
        }
        ControlAsk::Remove { command_id } => remove(&ostler, command_id),
        _ => Err("this host is older, and does not know how".to_owned()),
    };
    tell(stream, &answer.unwrap_or_else(refused))
}

fn said(error: Error) -> String {
    match error {
        Error::Call(CallError::HandleUnknown { .. }) => "it is being started, or another host's".to_owned(),
        other => other.to_string(),
    }
}
fn status(answer: Answer) -> Option<Shared> {
    match answer {
        Answer::Status(record) | Answer::Result { record, .. } => Some(record),
        _ => None,
    }
}
fn brief(record: &Record) -> Record {
    let mut record = record.clone();
    (record.stdout, record.stderr) = (String::new(), String::new());
    record
}

/// Its handle in this host.
fn known(ostler: &Ostler, command_id: CommandId) -> Result<HandleId, String> {
    let handle_id = HandleId { host_pid: command_id.host_pid, n: command_id.n };
    let known = ostler.call(|call| GetStatus { call, handle_id, session_id: None }, status);
    match known.wait().map_err(said)?.command_id == command_id {
        true => Ok(handle_id),
        false => Err("it is another host's".to_owned()),
    }
}
/// Waits for its end, and takes nothing: the result goes to whoever of the host waits for it, or to the inbox. In turns, between which the graph
/// may go, the socket be closed, and whoever asks be gone.
fn end_of(
    graph: &Graph,
    One(asking): &One,
    handle_id: HandleId,
    stream: &UnixStream,
) -> Result<Box<Record>, String> {
    loop {
        // Looked at first: what has ended by then is answered.
        let closing = asking.closing.load(Ordering::Relaxed);
        let ostler = graph().ok_or(ENDING)?;
        let wait_ms = Some(if closing { 0 } else { TURN_MS });
        let ended = ostler.call(|call| AwaitResult { call, handle_id, wait_ms, take: false }, status);
        let record = ended.wait().map_err(said)?;
        if record.status != Status::Running {
            return Ok(Box::new(brief(&record)));
        }
        drop(ostler);
        if closing {
            return Err(ENDING.to_owned());
        }
        if has_hung_up(stream) {
            return Err("nobody waits for it any more".to_owned());
        }
    }
}
fn has_hung_up(stream: &UnixStream) -> bool {
    // Told without being asked for (poll(2)). Who has only nothing more to say still listens.
    let mut peer = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut peer, PollTimeout::ZERO).is_ok()
        && peer[0].revents().is_some_and(|events| events.intersects(hung_up))
}

/// Whether this has stopped it.
fn cancel(ostler: &Ostler, command_id: CommandId, now: bool) -> Result<(HandleId, bool), String> {
    let handle_id = known(ostler, command_id)?;
    // The second one means now.
    let mut cancelled = false;
    for _ in 0..=u32::from(now) {
        cancelled |= ostler.cancel(handle_id, Some(Duration::ZERO), false).wait().map_err(said)?.cancelled;
    }
    Ok((handle_id, cancelled))
}

fn list(ostler: &Ostler, labels: Labels) -> Result<ControlAnswer, String> {
    let listed = |answer| match answer {
        Answer::Listed(listed) => Some(listed),
        _ => None,
    };
    let list = ostler.call(|call| List { call, session_id: None, finished: true, labels }, listed);
    let records = list.wait().map_err(said)?;
    let brief = |listed: &ostler_messages::Listed| {
        let mut record = brief(&listed.record);
        record.paused = listed.paused;
        record
    };
    Ok(ControlAnswer::Listed { records: records.iter().map(brief).collect() })
}

fn read(
    ostler: &Ostler,
    command_id: CommandId,
    which: OutputFile,
    (offset, time): (u64, Duration),
) -> Result<ControlAnswer, String> {
    let page =
        ostler.read_command(command_id).stream(which).offset(offset).wait_for(time).wait().map_err(said)?;
    let (next_offset, total_bytes, eof) = (page.next_offset, page.total_bytes, page.eof);
    Ok(ControlAnswer::Page { offset: page.offset, next_offset, total_bytes, eof, text: page.text() })
}

/// The graph forgets it first: whoever asks for it then is told so, and finds no half of it.
fn remove(ostler: &Ostler, command_id: CommandId) -> Result<ControlAnswer, String> {
    let handle_id = HandleId { host_pid: command_id.host_pid, n: command_id.n };
    let paths = Paths::find(ostler.artifact_root(), command_id);
    let status = ostler.call(|call| GetStatus { call, handle_id, session_id: None }, status).wait();
    match status {
        Ok(record) if record.command_id == command_id => {
            let done = |answer| matches!(answer, Answer::Done).then_some(());
            ostler.call(|call| Forget { call, handle_id }, done).wait().map_err(said)?;
        }
        // Another host has had this pid; or it is forgotten here, and its files say whose they are.
        Err(Error::Call(CallError::HandleForgotten { .. }))
            if LaunchFile::read(&paths.dir).is_some_and(|launch| launch.is_own()) => {}
        Err(Error::Call(CallError::HandleForgotten { .. })) | Ok(_) => {
            return Err("it is another host's".to_owned());
        }
        Err(error) => return Err(said(error)),
    }
    match remove_command(&paths) {
        Ok(true) => Ok(ControlAnswer::Removed),
        Ok(false) => Err("there is something in its directory that ostler did not make".to_owned()),
        Err(error) => Err(format!("{}: {error}", paths.dir.display())),
    }
}
