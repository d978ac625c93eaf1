//! What the client of a named session has started: it answers what needs no session, and at the first call of a tool it becomes a pipe to
//! the session's keeper, where there is one or is to be one. Else it has the session itself.

use super::{
    keeper::READY,
    link::{self, FRAME_BYTES, Place},
};
use ostler_mcp::{LINE_MAX_BYTES, Server};
use serde::Deserialize;
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    sync::Notify,
};

/// What a line must say for the front to know where it belongs.
#[derive(Deserialize)]
struct Method<'a> {
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    /// A notification has none.
    #[serde(default)]
    id: Option<serde::de::IgnoredAny>,
}

/// Whether it can be answered without the session.
fn is_for_anybody(line: &[u8]) -> bool {
    let Ok(Method { method, .. }) = serde_json::from_slice(line) else { return true };
    let needs = ["tools/call", "resources/read", "resources/subscribe", "subscriptions/listen"];
    !needs.contains(&&*method) && !method.starts_with("tasks/")
}

/// Serves the client on these streams until it is gone.
pub(super) async fn serve<R, W>(
    server: &Server,
    place: &Place,
    keeper: Option<Command>,
    (mut read, mut write): (R, W),
    stop: &Notify,
) -> io::Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (own, theirs) = tokio::io::duplex(FRAME_BYTES);
    let (server_read, server_write) = tokio::io::split(theirs);
    let (mut answers, mut lines) = tokio::io::split(own);
    // What an answer tells counts as told when the client's pipe has it, and not already on the way there.
    let (written, known) = tokio::sync::watch::channel(0);
    let serving = server.serve_confirmed(server_read, server_write, known, std::future::pending());
    let mut input = Input::default();
    let talk = async {
        let begun = async {
            let needs_session = input.pass_on(&mut read, &mut lines).await?;
            if !needs_session {
                return Ok(None);
            }
            let socket = to_keeper(place, keeper).await?;
            if socket.is_none() {
                lines.write_all(&input.held).await?;
                tokio::io::copy(&mut read, &mut lines).await?;
            }
            Ok(socket)
        }
        .await;
        // Whatever came of it: the server answers what it was asked, and ends. Without the keeper that should be there nothing more can be
        // served; stderr says why.
        let ended = lines.shutdown().await;
        begun.and_then(|socket| ended.map(|()| socket))
    };
    // It has the word of what is written: when it has ended, the server hears that nothing more is.
    let answer = async {
        let written = written;
        let (mut bytes, mut total) = (vec![0; FRAME_BYTES], 0);
        loop {
            let count = answers.read(&mut bytes).await?;
            if count == 0 {
                return io::Result::Ok(());
            }
            write.write_all(&bytes[..count]).await?;
            write.flush().await?;
            total += count as u64;
            written.send_replace(total);
        }
    };
    let both = async {
        // The server ends when its lines do, and with it its answers.
        let (_, socket, answered) = tokio::join!(serving, talk, answer);
        answered.and(socket)
    };
    let socket = tokio::select! {
        socket = both => match socket {
            // A client that went without reading its answers is no fault.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            socket => socket?,
        },
        () = stop.notified() => None,
    };
    match socket {
        Some(socket) => {
            tokio::select! {
                piped = pipe(socket, input, read, write) => piped,
                () = stop.notified() => Ok(()),
            }
        }
        None => Ok(()),
    }
}

/// What the client has said so far that the keeper must know.
#[derive(Default)]
struct Input {
    /// How it has introduced itself, line by line.
    hello: Vec<u8>,
    /// Whether that has an answer, which it had before.
    answered: bool,
    /// Whether it has said that it is done with that.
    introduced: bool,
    /// The first line that needs the session, and what was read behind it.
    held: Vec<u8>,
}

impl Input {
    /// Hands lines on until one needs the session; false if the input has ended before.
    async fn pass_on(
        &mut self,
        read: &mut (impl AsyncRead + Unpin),
        lines: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<bool> {
        let mut bytes = vec![0; FRAME_BYTES];
        let mut too_long = false;
        // So much of what is held has no newline.
        let mut seen = 0;
        loop {
            let count = read.read(&mut bytes).await?;
            if count == 0 {
                // Without a newline at its end it is a line all the same.
                if !too_long && !is_for_anybody(&self.held) {
                    return Ok(true);
                }
                lines.write_all(&self.held).await?;
                return Ok(false);
            }
            self.held.extend_from_slice(&bytes[..count]);
            while let Some(end) = self.held[seen..].iter().position(|byte| *byte == b'\n') {
                let end = std::mem::take(&mut seen) + end;
                let line = &self.held[..=end];
                if !std::mem::take(&mut too_long) {
                    if !is_for_anybody(line) {
                        return Ok(true);
                    }
                    self.remember(end + 1);
                }
                lines.write_all(&self.held[..=end]).await?;
                self.held.drain(..=end);
            }
            if self.held.len() > LINE_MAX_BYTES || too_long {
                // The server says so; here it is not held.
                too_long = true;
                lines.write_all(&self.held).await?;
                self.held.clear();
            }
            seen = self.held.len();
        }
    }

    fn remember(&mut self, length: usize) {
        let line = &self.held[..length];
        let Ok(Method { method, id }) = serde_json::from_slice(line) else { return };
        match &*method {
            "initialize" if id.is_some() && !self.answered => {
                self.hello = line.to_vec();
                (self.answered, self.introduced) = (true, false);
            }
            "notifications/initialized" if self.answered && !self.introduced => {
                self.hello.extend_from_slice(line);
                self.introduced = true;
            }
            _ => {}
        }
    }
}

/// A connection to the session's keeper, which is begun if there is to be one; none if this process has the session.
async fn to_keeper(place: &Place, keeper: Option<Command>) -> io::Result<Option<UnixStream>> {
    let lock = place.lock().await?;
    if let Some(socket) = place.connect(&lock).await? {
        return Ok(Some(socket));
    }
    let Some(keeper) = keeper else { return Ok(None) };
    let held = lock.share()?;
    tokio::task::spawn_blocking(move || begin(keeper, held)).await.map_err(io::Error::other)??;
    match place.connect(&lock).await? {
        Some(socket) => Ok(Some(socket)),
        None => Err(io::Error::other("the keeper of the session ended at once")),
    }
}

/// Starts it, and waits until it listens: it says so, or it ends.
fn begin(mut keeper: Command, lock: File) -> io::Result<()> {
    keeper.stdin(Stdio::from(lock)).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child: Child = keeper.spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said != READY {
        child.wait()?;
        return Err(io::Error::other(format!("the keeper of the session did not begin: {}", said.trim())));
    }
    Ok(())
}

/// Bytes in both directions, until either side has ended.
async fn pipe<R, W>(socket: UnixStream, input: Input, mut read: R, mut write: W) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut from, mut to) = socket.into_split();
    let (written, mut news) = tokio::sync::watch::channel(0_u64);
    let ended = AtomicBool::new(false);
    let up = async {
        link::send_data(&mut to, &input.hello).await?;
        link::send_data(&mut to, &input.held).await?;
        let mut bytes = vec![0; FRAME_BYTES];
        let mut open = true;
        loop {
            tokio::select! {
                count = read.read(&mut bytes), if open => match count? {
                    0 => {
                        // What was asked is answered before it ends.
                        open = false;
                        ended.store(true, Ordering::Relaxed);
                        link::send_end(&mut to).await?;
                    }
                    count => link::send_data(&mut to, &bytes[..count]).await?,
                },
                changed = news.changed() => {
                    if changed.is_err() {
                        return io::Result::Ok(());
                    }
                    let bytes = *news.borrow_and_update();
                    link::send_written(&mut to, bytes).await?;
                }
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; FRAME_BYTES];
        let (mut skips, mut total) = (input.answered, 0);
        loop {
            let count = match from.read(&mut bytes).await {
                // It has gone without hearing our last word, which resets the connection behind its own.
                Ok(0) | Err(_) if ended.load(Ordering::Relaxed) => return Ok(()),
                count => count?,
            };
            if count == 0 {
                return io::Result::Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the keeper of the session has ended",
                ));
            }
            total += count as u64;
            let mut fresh = &bytes[..count];
            if skips {
                // The answer to the introduction, which the client has had.
                let end = fresh.iter().position(|byte| *byte == b'\n');
                fresh = end.map_or(&[], |end| &fresh[end + 1..]);
                skips = end.is_none();
            }
            write.write_all(fresh).await?;
            write.flush().await?;
            written.send_replace(total);
        }
    };
    tokio::pin!(down);
    tokio::select! {
        // When the client has ended its input, the keeper may be gone before its last word is; what it has said is still passed on.
        up = up => match up {
            Err(_) if ended.load(Ordering::Relaxed) => down.await,
            up => up,
        },
        passed = &mut down => passed,
    }
}
