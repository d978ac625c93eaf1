//! The server over streamable HTTP, for clients on the same machine: on loopback, or on a unix socket.
//!
//! * in: requests with the token, from hosts and origins that are this machine
//! * keeps: an end is told when the body of the response that carries it was taken whole by a connection whose other side is there

use crate::{
    connection::Connection,
    ledger::Told,
    place::Session,
    server::{OpenError, Server},
};
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::{
    RoleServer,
    service::RequestContext,
    transport::{
        StreamableHttpServerConfig, StreamableHttpService,
        streamable_http_server::session::never::NeverSessionManager,
    },
};
use socket2::SockRef;
use std::{
    collections::HashMap,
    convert::Infallible,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The header by which a client names its session. Without it a client has the one that all such have.
pub const SESSION_HEADER: &str = "ostler-session";
/// Most sessions of a server at a time: each keeps its commands.
const SESSIONS: usize = 64;
/// Longest name.
const SESSION_NAME_BYTES: usize = 128;
/// Most connections at a time.
const CONNECTIONS: usize = 256;
/// Largest request, as over stdio.
const BODY_BYTES: usize = crate::LINE_MAX_BYTES;
/// Pages of this machine.
const ORIGINS: [&str; 6] = [
    "http://localhost:*",
    "http://127.0.0.1:*",
    "http://[::1]:*",
    "https://localhost:*",
    "https://127.0.0.1:*",
    "https://[::1]:*",
];
/// A client that does not send its headers in this time is none.
const HEADER_TIME: Duration = Duration::from_secs(10);

type ByName = dyn Fn(&str) -> Server + Send + Sync;
type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Service = StreamableHttpService<Connection, NeverSessionManager>;

/// Sessions by name, and the token that opens them.
#[derive(Clone)]
pub struct HttpServer(Arc<Inner>);

struct Inner {
    /// None: nobody is asked for it, in tests.
    token: Option<String>,
    by_name: Box<ByName>,
    sessions: Mutex<HashMap<String, (Server, Service)>>,
    gone: CancellationToken,
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer").finish_non_exhaustive()
    }
}

/// Something that gives connections: a listener on loopback or on a unix socket.
pub trait Listener: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static;
    /// Waits for the next one.
    fn next(&mut self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}
impl Listener for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;
    async fn next(&mut self) -> std::io::Result<Self::Stream> {
        let (stream, _) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
impl Listener for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;
    async fn next(&mut self) -> std::io::Result<Self::Stream> {
        Ok(self.accept().await?.0)
    }
}

impl HttpServer {
    /// Whoever sends `Authorization: Bearer {token}` is served. `open` gives the session of a name, an empty one for clients that name none, at
    /// its first call of a tool.
    pub fn new<S: Into<Session> + 'static>(
        token: String,
        options: crate::Options,
        open: impl Fn(&str) -> Result<S, OpenError> + Clone + Send + Sync + 'static,
    ) -> HttpServer {
        HttpServer::with_token(Some(token), options, open)
    }

    pub(crate) fn with_token<S: Into<Session> + 'static>(
        token: Option<String>,
        options: crate::Options,
        open: impl Fn(&str) -> Result<S, OpenError> + Clone + Send + Sync + 'static,
    ) -> HttpServer {
        let by_name = move |name: &str| {
            let (open, name) = (open.clone(), name.to_owned());
            Server::new(options.clone(), move || open(&name))
        };
        let (sessions, gone) = Default::default();
        HttpServer(Arc::new(Inner { token, by_name: Box::new(by_name), sessions, gone }))
    }

    /// Serves until `stop`; then every session and its trees are ended.
    pub async fn serve<L: Listener>(&self, mut listener: L, stop: impl Future<Output = ()> + Send) {
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(stop);
        // Of errors in a row (no descriptors are left) each is waited out longer.
        let mut pause = Duration::from_millis(1);
        loop {
            let next = async {
                // It is never closed.
                let place = places.clone().acquire_owned().await;
                (place, listener.next().await)
            };
            tokio::select! {
                (place, stream) = next => match stream {
                    Ok(stream) => {
                        pause = Duration::from_millis(1);
                        let server = self.clone();
                        connections.spawn(async move {
                            server.connection(stream).await;
                            drop(place);
                        });
                    }
                    Err(_) => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(1));
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut stop => break,
            }
        }
        self.0.gone.cancel();
        connections.shutdown().await;
        let sessions: Vec<Server> = {
            let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.drain().map(|(_, (server, _))| server).collect()
        };
        for server in sessions {
            server.end().await;
        }
    }

    async fn connection(&self, stream: impl AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static) {
        // No descriptor is left: then it is not served.
        let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
        let socket = Arc::new(socket);
        let answer = hyper::service::service_fn(|request| async {
            Ok::<_, Infallible>(self.answer(request, socket.clone()).await)
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
        // A client that breaks off is no error of ours.
        let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(&self, mut request: Request<Incoming>, socket: Arc<OwnedFd>) -> Answer {
        if !self.may(request.headers()) {
            let said = "send the token of this server: Authorization: Bearer …; it stands in the file that the server has named";
            return refused(StatusCode::UNAUTHORIZED, said);
        }
        let name = request.headers().get(SESSION_HEADER).map_or(Ok(""), |name| name.to_str());
        let Ok(name) = name.map(str::to_owned) else {
            return refused(StatusCode::BAD_REQUEST, "ostler-session: write plain letters");
        };
        let service = match self.service(&name) {
            Ok(service) => service,
            Err(said) => return refused(StatusCode::BAD_REQUEST, said),
        };
        let carries = Carries::default();
        request.extensions_mut().insert(carries.clone());
        let response = service.handle(request).await;
        response.map(|body| Carrying { body, carries: Some(carries), socket }.boxed_unsync())
    }

    fn may(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0.token else { return true };
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        // Who sends none has not sent an empty one.
        let Some(given) = given.and_then(|value| value.strip_prefix(b"Bearer ")) else { return false };
        // As long for a wrong one as for the right one; lengths are no secret.
        bool::from(given.ct_eq(token.as_bytes()))
    }

    fn service(&self, name: &str) -> Result<Service, &'static str> {
        if name.len() > SESSION_NAME_BYTES {
            return Err("ostler-session: the name is too long; it can have 128 bytes");
        }
        let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, service)) = sessions.get(name) {
            return Ok(service.clone());
        }
        if sessions.len() >= SESSIONS {
            // Names that nobody has called a tool by hold nothing.
            sessions.retain(|_, (server, _)| server.session().is_some());
        }
        if sessions.len() >= SESSIONS {
            return Err("ostler-session: there are 64 sessions already; use one of them");
        }
        let server = (self.0.by_name)(name);
        let mut config = StreamableHttpServerConfig::default().with_legacy_session_mode(false);
        // Pages of this machine, with any port, and of no other: a name that leads here is not enough. All of them need the token.
        config = config
            .with_allowed_origins(ORIGINS)
            .enforce_origin_validation()
            .with_max_request_body_bytes(BODY_BYTES);
        config = config.with_cancellation_token(self.0.gone.clone());
        let (of_connection, gone) = (server.clone(), self.0.gone.clone());
        let connection = move || Ok(Connection::new(of_connection.clone(), gone.clone()));
        let service = StreamableHttpService::new(connection, Arc::default(), config);
        sessions.insert(name.to_owned(), (server, service.clone()));
        Ok(service)
    }
}

fn refused(status: StatusCode, said: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(said.as_bytes())).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// What the response to a request carries. It travels with the request to its handler.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carries(Arc<Mutex<Option<Told>>>);

impl Carries {
    /// Of this request; none if it did not come over HTTP.
    pub(crate) fn of(request: &RequestContext<RoleServer>) -> Option<&Carries> {
        request.extensions.get::<Parts>()?.extensions.get::<Carries>()
    }
    pub(crate) fn put(&self, told: Told) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
    fn take(&self) -> Option<Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body that tells when it was taken to its end. Dropped before, what it carries was not told.
struct Carrying<B> {
    body: B,
    carries: Option<Carries>,
    socket: Arc<OwnedFd>,
}

/// Whether the other side says nothing more, or is gone: what is written to it then may be read by nobody.
fn is_closed(socket: &OwnedFd) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(socket).peek(&mut byte) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

impl<B: Body + Unpin> Body for Carrying<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None) = frame
            && let Some(told) = self.carries.take().and_then(|carries| carries.take())
        {
            // A connection takes an answer for who has gone as well.
            if is_closed(&self.socket) {
                told.may_have_been_read();
            } else {
                tokio::spawn(told.was_told());
            }
        }
        frame
    }

    // `is_end_stream` stays false: the end is to be polled, since it is what tells.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Carrying<B> {
    fn drop(&mut self) {
        if let Some(told) = self.carries.take().and_then(|carries| carries.take()) {
            told.may_have_been_read();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_token_is_none_that_a_request_without_one_has() {
        let server =
            HttpServer::new::<Session>(String::new(), crate::Options::new(), |_| Err("no session".into()));
        assert!(!server.may(&HeaderMap::new()));
    }
}
