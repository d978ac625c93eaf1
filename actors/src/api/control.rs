//! Being asked from outside: by other processes of the same user, through a socket beside the artifacts.

use super::{Error, Ostler};
use crate::backend::thread::spawn;
use ostler_artifacts::HostSocket;
use ostler_messages::{
    Answer, AwaitResult, CONTROL_ASK_MAX_BYTES, CallError, CommandId, ControlAnswer, ControlAsk, GetStatus,
    HandleId,
};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// Most who are answered at a time; beyond it a connection is closed at once.
const ASKING_MAX: usize = 16;
/// How long each read and write of a line may take.
const LINE_LIMIT: Duration = Duration::from_secs(5);

/// A graph that can be asked from outside as long as this value lives: `ostler cancel` does. Only processes of the same user are heard, and
/// they can stop what runs, never start anything or write to it. It is one of the values that keep the graph alive.
#[derive(Debug)]
pub struct Control {
    socket: Arc<HostSocket>,
    thread: Option<JoinHandle<()>>,
    asking: Arc<Asking>,
}

impl Control {
    /// Where it is asked.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }
}
impl Drop for Control {
    /// Takes no more calls. What is being answered is answered, as far as its command has ended; nobody is waited for for more than five seconds.
    fn drop(&mut self) {
        self.socket.close();
        self.thread.take().map(JoinHandle::join);
        let asking = self.asking.answered();
        // Only a count is kept there.
        drop(self.asking.left.wait_timeout_while(asking, LINE_LIMIT, |count| *count > 0));
    }
}

/// Who is being answered.
#[derive(Debug, Default)]
struct Asking {
    count: Mutex<usize>,
    left: Condvar,
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
        let socket = Arc::new(HostSocket::bind(self.artifact_root(), std::process::id())?);
        let (asking, ostler, listens) = (Arc::<Asking>::default(), self.clone(), socket.clone());
        let counted = asking.clone();
        let thread = spawn("ostler-control", move || listen(&ostler, &listens, &counted))?;
        Ok(Control { socket, thread: Some(thread), asking })
    }
}

fn listen(ostler: &Ostler, socket: &HostSocket, asking: &Arc<Asking>) {
    while let Some(stream) = socket.next() {
        let Some(one) = One::new(asking) else {
            let _ = tell(&stream, &refused("too many ask at once; ask again"));
            continue;
        };
        let ostler = ostler.clone();
        // Without a thread the connection is closed.
        let _ = spawn("ostler-answer", move || {
            let _one = one;
            // Whoever asks sees a closed connection.
            let _ = answer(&ostler, &stream);
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

fn answer(ostler: &Ostler, stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LINE_LIMIT))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(CONTROL_ASK_MAX_BYTES)).read_until(b'\n', &mut line)?;
    match serde_json::from_slice(&line) {
        Ok(ControlAsk::Cancel { command_id, now }) => {
            tell(stream, &ControlAnswer::Heard)?;
            tell(stream, &cancel(ostler, command_id, now).unwrap_or_else(refused))
        }
        Ok(_) => tell(stream, &refused("this host is older, and does not know how")),
        Err(error) => tell(stream, &refused(format!("it is not understood: {error}"))),
    }
}

/// Takes nothing: the result goes to whoever of the host waits for it, or to the inbox.
fn cancel(ostler: &Ostler, command_id: CommandId, now: bool) -> Result<ControlAnswer, String> {
    let handle_id = HandleId { host_pid: command_id.host_pid, n: command_id.n };
    let said = |error: Error| match error {
        Error::Call(CallError::HandleUnknown { .. }) => "it is being started, or another host's".to_owned(),
        other => other.to_string(),
    };
    let status = |answer| match answer {
        Answer::Status(record) | Answer::Result { record, .. } => Some(record.0),
        _ => None,
    };
    let known =
        ostler.call(|call| GetStatus { call, handle_id, session_id: None }, status).wait().map_err(said)?;
    if known.command_id != command_id {
        return Err("it is another host's".to_owned());
    }
    let ended =
        ostler.call(|call| AwaitResult { call, handle_id, wait_ms: None, take: false }, status).begin();
    // The second one means now.
    let mut cancelled = false;
    for _ in 0..=u32::from(now) {
        cancelled |= ostler.cancel(handle_id, Some(Duration::ZERO), false).wait().map_err(said)?.cancelled;
    }
    let mut record = (*ended.wait().map_err(said)?).clone();
    (record.stdout, record.stderr) = (String::new(), String::new());
    Ok(ControlAnswer::Cancelled { cancelled, record: Box::new(record) })
}
