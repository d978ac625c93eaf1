//! Messages as lines of JSON, in and out, as the stdio transport of the protocol has them.
//!
//! * in: bytes of the client, hostile ones too
//! * out: lines, each written whole, in the order in which they were handed over
//! * keeps: a line that is no message is answered, and costs nothing else; one that is too long is never held

use crate::ledger::{Ledger, Told};
use rmcp::{
    RoleServer,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, GetMeta,
        ProtocolVersion, RequestId, ServerJsonRpcMessage,
    },
    transport::Transport,
};
use std::{
    borrow::Cow,
    collections::HashSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Longest line that is taken: what a command can be given (1 MiB of input, arguments as far as the kernel has room) fits many times.
pub const LINE_MAX_BYTES: usize = 16 << 20;
/// Lines on their way out. Beyond it whoever has an answer waits for the client to read.
const OUT_LINES: usize = 64;
/// Requests that have no answer yet, and bytes of answers that wait to be written. Beyond either nothing more is read from the client, cancels
/// included: one that does not read its answers gets no more of them.
pub(crate) const UNANSWERED: usize = 2_048;
const UNWRITTEN_BYTES: usize = 64 << 20;

/// What the client has asked for and does not have.
#[derive(Default)]
struct Owed {
    requests: Mutex<HashSet<RequestId>>,
    bytes: AtomicUsize,
    less: Notify,
}

impl Owed {
    fn requests(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn is_too_much(&self) -> bool {
        self.requests().len() > UNANSWERED || self.bytes.load(Ordering::Relaxed) > UNWRITTEN_BYTES
    }
    fn asked(&self, id: RequestId) {
        self.requests().insert(id);
    }
    /// It has its answer, or has none.
    fn done(&self, id: &RequestId) {
        self.requests().remove(id);
        self.less.notify_waiters();
    }
    fn writes(self: &Arc<Owed>, id: Option<RequestId>, bytes: usize) -> Writes {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Writes { owed: self.clone(), id, bytes }
    }
}

/// A line that waits to be written, until it is dropped.
struct Writes {
    owed: Arc<Owed>,
    id: Option<RequestId>,
    bytes: usize,
}
impl Drop for Writes {
    fn drop(&mut self) {
        self.owed.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        match &self.id {
            Some(id) => self.owed.done(id),
            None => self.owed.less.notify_waiters(),
        }
    }
}

/// How many of the bytes that were written the client has, where that is not the same.
pub(crate) type Confirmed = watch::Receiver<u64>;

struct Out {
    line: Vec<u8>,
    told: Option<Told>,
    written: Option<oneshot::Sender<io::Result<()>>>,
}

/// The transport.
pub(crate) struct Lines<R> {
    read: BufReader<R>,
    line: Vec<u8>,
    /// The rest of a line that is too long.
    skipping: bool,
    /// The last bytes had no newline, and nothing follows.
    ended: bool,
    /// What is to be said of a line that was no message.
    reply: Option<Vec<u8>>,
    /// A request that opens the conversation has come: only then the SDK takes notifications without giving up.
    opened: bool,
    /// Requests that the SDK works on. Of two with one id it would answer one, and what that tells would be the other's.
    working: HashSet<RequestId>,
    out: mpsc::Sender<Out>,
    owed: Arc<Owed>,
    ledger: Arc<Ledger>,
    gone: CancellationToken,
}

enum Taken {
    Line,
    TooLong,
    End,
}

impl<R: AsyncRead + Send + Unpin> Lines<R> {
    /// `gone` is cancelled when the client is, and ends the conversation when somebody else cancels it. The task writes, and ends when
    /// everything is written and it is known what the client has of it.
    pub(crate) fn new<W: AsyncWrite + Send + Unpin + 'static>(
        read: R,
        write: W,
        confirmed: Option<Confirmed>,
        ledger: Arc<Ledger>,
        gone: CancellationToken,
    ) -> (Lines<R>, JoinHandle<()>) {
        let (out, lines) = mpsc::channel(OUT_LINES);
        let writes = tokio::spawn(write_lines(write, confirmed, lines, gone.clone()));
        let read = BufReader::with_capacity(64 << 10, read);
        let lines = Lines {
            read,
            line: Vec::new(),
            skipping: false,
            ended: false,
            reply: None,
            opened: false,
            working: HashSet::new(),
            out,
            owed: Arc::default(),
            ledger,
            gone,
        };
        (lines, writes)
    }

    /// Puts the next line into `self.line`. Dropped at any await, nothing is lost: what was taken stays there.
    async fn next_line(&mut self) -> Taken {
        loop {
            let Ok(bytes) = self.read.fill_buf().await else { return Taken::End };
            if bytes.is_empty() {
                // Without a newline at its end it is a message all the same.
                let last = !self.ended && !self.line.is_empty() && !self.skipping;
                self.ended = true;
                return if last { Taken::Line } else { Taken::End };
            }
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let take = newline.map_or(bytes.len(), |at| at + 1);
            let fits = !self.skipping && self.line.len() + take <= LINE_MAX_BYTES;
            if fits {
                self.line.extend_from_slice(&bytes[..take]);
            } else {
                self.line = Vec::new();
            }
            self.skipping = !fits;
            self.read.consume(take);
            if newline.is_some() {
                let whole = !std::mem::take(&mut self.skipping);
                return if whole { Taken::Line } else { Taken::TooLong };
            }
        }
    }

    /// A message, or what is to be answered in its place; none for what needs no answer.
    fn understand(&mut self) -> Option<Result<ClientJsonRpcMessage, (ErrorData, Option<RequestId>)>> {
        let line = self.line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        let error = match serde_json::from_slice::<ClientJsonRpcMessage>(line) {
            Ok(message) => return self.admit(message),
            Err(error) => error,
        };
        let value: serde_json::Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(error) => {
                let said = format!("this line is not JSON: {error}; send one message on each line");
                return Some(Err((ErrorData::parse_error(said, None), None)));
            }
        };
        let id: Option<RequestId> = value.get("id").and_then(|id| serde_json::from_value(id.clone()).ok());
        let is_notification = value.get("method").is_some() && id.is_none() && value.get("id").is_none();
        if is_notification {
            // Nobody waits for an answer to it.
            return None;
        }
        if value.is_object() && value["jsonrpc"] != "2.0" {
            let said = "not a message of JSON-RPC 2.0: it says so by \"jsonrpc\": \"2.0\"";
            return Some(Err((ErrorData::invalid_request(said, None), id)));
        }
        if let (Some(id), Some(method)) = (&id, value.get("method").and_then(|method| method.as_str())) {
            let said = format!("{method}: its params are missing, or have another form than the protocol's");
            return Some(Err((ErrorData::invalid_params(said, None), Some(id.clone()))));
        }
        let said = match value.is_array() {
            true => {
                "batches are not part of this protocol: send each message on a line of its own".to_owned()
            }
            false => format!("not a message of JSON-RPC 2.0: {error}"),
        };
        Some(Err((ErrorData::invalid_request(said, None), id)))
    }

    fn admit(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> Option<Result<ClientJsonRpcMessage, (ErrorData, Option<RequestId>)>> {
        match &message {
            ClientJsonRpcMessage::Request(request) => {
                if !self.working.insert(request.id.clone()) {
                    let said =
                        format!("id {}: a request with it has no answer yet; give each its own", request.id);
                    return Some(Err((ErrorData::invalid_request(said, None), Some(request.id.clone()))));
                }
                self.opened |= opens(&request.request);
                self.owed.asked(request.id.clone());
                if matches!(request.request, ClientRequest::CallToolRequest(_)) {
                    self.ledger.asked(request.id.clone());
                }
            }
            ClientJsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.ledger.cancelled(id);
                    self.owed.done(id);
                    self.working.remove(id);
                }
                return self.opened.then_some(Ok(message));
            }
            _ => return self.opened.then_some(Ok(message)),
        }
        Some(Ok(message))
    }
}

/// Whether the SDK takes this as the begin of a conversation.
fn opens(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_) => false,
        other => {
            let meta = other.get_meta();
            let known = |version| ProtocolVersion::KNOWN_VERSIONS.contains(&version);
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && meta.protocol_version().is_some_and(known)
        }
    }
}

impl<R: AsyncRead + Send + Unpin> Transport<RoleServer> for Lines<R> {
    type Error = io::Error;

    fn name() -> Cow<'static, str> {
        "lines".into()
    }

    fn send(
        &mut self,
        mut item: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        if let ServerJsonRpcMessage::Error(error) = &mut item {
            in_words(&mut error.error);
        }
        let id = match &item {
            ServerJsonRpcMessage::Response(response) => Some(&response.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let told = id.and_then(|id| self.ledger.answered(id));
        if let Some(id) = id {
            self.working.remove(id);
        }
        let (line, out) = (as_line(&item), self.out.clone());
        let writes = self.owed.writes(id.cloned(), line.as_ref().map_or(0, Vec::len));
        async move {
            let _writes = writes;
            let (written, result) = oneshot::channel();
            let out_line = Out { line: line?, told, written: Some(written) };
            let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
            out.send(out_line).await.map_err(|_| closed())?;
            result.await.unwrap_or_else(|_| Err(closed()))
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let gone = self.gone.clone();
        loop {
            while self.owed.is_too_much() {
                let owed = self.owed.clone();
                let less = owed.less.notified();
                tokio::pin!(less);
                // Before the look, so that none is missed.
                less.as_mut().enable();
                if owed.is_too_much() {
                    tokio::select! {
                        () = less => {}
                        () = gone.cancelled() => return None,
                    }
                }
            }
            if self.reply.is_some() {
                let permit = tokio::select! {
                    permit = self.out.reserve() => permit.ok()?,
                    () = gone.cancelled() => return None,
                };
                if let Some(line) = self.reply.take() {
                    permit.send(Out { line, told: None, written: None });
                }
            }
            let taken = tokio::select! {
                taken = self.next_line() => taken,
                () = gone.cancelled() => Taken::End,
            };
            let understood = match taken {
                Taken::Line => self.understand(),
                Taken::TooLong => {
                    let said = format!("a line has more than {LINE_MAX_BYTES} bytes: send less at once");
                    Some(Err((ErrorData::invalid_request(said, None), None)))
                }
                Taken::End => {
                    gone.cancel();
                    return None;
                }
            };
            // A large line was an exception: its buffer goes.
            self.line.clear();
            self.line.shrink_to(64 << 10);
            match understood {
                None => {}
                Some(Ok(message)) => return Some(message),
                Some(Err((error, id))) => {
                    self.reply = as_line(&ServerJsonRpcMessage::error(error, id)).ok();
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.gone.cancel();
        Ok(())
    }
}

/// Of a method that the client's version of the protocol has no more, the SDK says only the name.
fn in_words(error: &mut ErrorData) {
    if error.code == ErrorCode::METHOD_NOT_FOUND && !error.message.contains(' ') {
        error.message =
            format!("there is no method {:?} here, in this version of the protocol", error.message).into();
    }
}

fn as_line(message: &ServerJsonRpcMessage) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Ends when every sender is gone, or nothing can be written any more.
async fn write_lines<W: AsyncWrite + Send + Unpin>(
    mut write: W,
    confirmed: Option<Confirmed>,
    mut lines: mpsc::Receiver<Out>,
    gone: CancellationToken,
) {
    let mut total = 0;
    let confirms = confirmed.map(|confirmed| {
        // Few: each holds an end at least.
        let (wait, told) = mpsc::unbounded_channel();
        (wait, tokio::spawn(confirm(told, confirmed)))
    });
    while let Some(Out { line, told, written }) = lines.recv().await {
        let result = match write.write_all(&line).await {
            Ok(()) => write.flush().await,
            Err(error) => Err(error),
        };
        total += line.len() as u64;
        let failed = result.is_err();
        match (told, &confirms) {
            (Some(told), _) if failed => told.may_have_been_read(),
            (Some(told), None) => told.was_told().await,
            (Some(told), Some((wait, _))) => {
                // Nobody waits when the client is gone: then it comes back.
                let _ = wait.send((total, told));
            }
            (None, _) => {}
        }
        if let Some(written) = written {
            // Whoever handed it over may be gone.
            let _ = written.send(result);
        }
        if failed {
            gone.cancel();
            break;
        }
    }
    // The other side hears that nothing more comes.
    drop(write);
    if let Some((wait, confirming)) = confirms {
        drop(wait);
        let _ = confirming.await;
    }
}

/// An end was told when the client has the last byte of the answer that carried it.
async fn confirm(mut told: mpsc::UnboundedReceiver<(u64, Told)>, mut confirmed: Confirmed) {
    while let Some((upto, told)) = told.recv().await {
        // When nobody says more, the last word counts.
        let has = confirmed.wait_for(|bytes| *bytes >= upto).await.is_ok() || *confirmed.borrow() >= upto;
        match has {
            true => told.was_told().await,
            false => told.may_have_been_read(),
        }
    }
}
