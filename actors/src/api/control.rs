//! Being asked from outside: by other processes of the same user, through a socket beside the artifacts.

use super::Ostler;
use crate::backend::thread::spawn;
use ostler_artifacts::HostSocket;
use ostler_messages::{CONTROL_ASK_MAX_BYTES, ControlAnswer, ControlAsk};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Most who are answered at a time; beyond it a connection is closed at once.
const ASKING_MAX: usize = 16;
/// How long a line may take on its way.
const LINE_LIMIT: Duration = Duration::from_secs(5);

/// A graph that can be asked from outside as long as this value lives: `ostler cancel` does. Only processes of the same user are heard, and
/// they can stop what runs, never start anything or write to it. It is one of the values that keep the graph alive.
#[derive(Debug)]
pub struct Control {
    socket: Arc<HostSocket>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Where it is asked.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }
}
impl Drop for Control {
    /// Takes no more calls. What is being answered is answered.
    fn drop(&mut self) {
        self.socket.close();
        self.thread.take().map(JoinHandle::join);
    }
}

impl Ostler {
    /// Lets other processes of this user ask, from now until the value is dropped.
    ///
    /// # Errors
    /// What the kernel said: the artifact root can't be written to, or there is no descriptor or thread.
    pub fn control(&self) -> io::Result<Control> {
        let socket = Arc::new(HostSocket::bind(self.artifact_root(), std::process::id())?);
        let (ostler, listens) = (self.clone(), socket.clone());
        let thread = spawn("ostler-control", move || listen(&ostler, &listens))?;
        Ok(Control { socket, thread: Some(thread) })
    }
}

fn listen(ostler: &Ostler, socket: &HostSocket) {
    let asking = Arc::new(AtomicUsize::new(0));
    while let Some(stream) = socket.next() {
        if asking.load(Ordering::Relaxed) >= ASKING_MAX {
            continue;
        }
        asking.fetch_add(1, Ordering::Relaxed);
        let (ostler, done) = (ostler.clone(), Asking(asking.clone()));
        // Without a thread the connection is closed.
        let _ = spawn("ostler-answer", move || {
            let _done = done;
            // Whoever asks sees a closed connection.
            let _ = answer(&ostler, &stream);
        });
    }
}

struct Asking(Arc<AtomicUsize>);
impl Drop for Asking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(ostler: &Ostler, stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LINE_LIMIT))?;
    stream.set_write_timeout(Some(LINE_LIMIT))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(CONTROL_ASK_MAX_BYTES)).read_until(b'\n', &mut line)?;
    let answer = match serde_json::from_slice(&line) {
        Ok(ask) => act(ostler, &ask),
        Err(error) => ControlAnswer::Refused { why: format!("it is not understood: {error}") },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let mut to = stream;
    to.write_all(&line)
}

fn act(ostler: &Ostler, ask: &ControlAsk) -> ControlAnswer {
    match ask {
        ControlAsk::Cancel { handle_id, now } => {
            // The second one means now.
            let first = now.then(|| ostler.cancel(*handle_id, None, true).begin());
            let cancelled = ostler.cancel(*handle_id, None, true).wait();
            drop(first);
            match cancelled {
                Ok(cancelled) => ControlAnswer::Cancelled {
                    cancelled: cancelled.cancelled,
                    record: Box::new((*cancelled.record).clone()),
                },
                Err(error) => ControlAnswer::Refused { why: error.to_string() },
            }
        }
        _ => ControlAnswer::Refused { why: "this host is older, and does not know how".to_owned() },
    }
}
