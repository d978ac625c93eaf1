//! The graph as a host holds it.

use super::{Call, DumpTrace, Session, control::Listening};
#[cfg(feature = "testing")]
use crate::backend::Pace;
use crate::{
    backend::{
        ContainmentReport, Containments, Facts, FromHost, HostInput, MakeSpans, Outputs, Recovery,
        StartError, StartKernel, Subscribers, Trouble,
    },
    config::Config,
    graph, linux,
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ostler_messages::{
    Answer, CallError, CallId, HostGone, LaunchError, OpenSession, Refusal, Request, SessionId, Shutdown,
    Sleep, Tally, trace::Fault,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};

/// Dropping the last handle to a graph kills everything without grace and waits this long at most: a process that is
/// dead takes milliseconds, and a host that ends has no more time for one that can't be killed.
pub const DROP_LIMIT: Duration = Duration::from_secs(5);

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A launch was refused, or failed; nothing is left of it.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Another call was refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The output could not be read.
    #[error(transparent)]
    Read(#[from] ostler_artifacts::ReadError),
    /// The graph has ended: it was shut down, or one of its threads crashed. Every process of its handles is gone.
    #[error("ostler has ended: it was shut down, or one of its threads crashed; start another one")]
    Closed,
    /// A call was polled again after it had given its answer.
    #[error("the answer of this call was taken before; make a new call")]
    AlreadyTaken,
    /// This process is a forked copy of the one that has the graph: none of its threads is here.
    #[error("this process is a forked copy of the one that has the graph: start another one here")]
    OtherProcess,
}
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Launch(error) => Error::Launch(error),
            Refusal::Call(error) => Error::Call(error),
        }
    }
}

/// What of a graph does not hold at a moment. Everything is none in a healthy one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Why the journal can't be written: what happens does not survive the host. Each open session has an entry of the kind `journal_error`
    /// too. When it can be written again, all that there is is written.
    pub journal_error: Option<String>,
    /// Why the death of the host does not end every process at this moment.
    pub host_death: Option<String>,
    /// Why the flight recorder could not be written down when something went wrong ([`Config::recorder_bytes`]). None again once a later file was written.
    pub recorder_error: Option<String>,
}

/// The shared side of every handle, session and call: the way into the graph.
pub(crate) struct Client {
    pub(crate) requests: Sender<HostInput>,
    /// See [`FromHost::acks`].
    pub(crate) acks: Sender<CallId>,
    pub(crate) next_call: AtomicU64,
    pub(crate) next_reader: AtomicU64,
    pub(crate) next_subscription: AtomicU64,
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) spans: MakeSpans,
    pub(crate) open_calls: Arc<AtomicU64>,
    pub(crate) open_calls_limit: u64,
    /// A trace shows what the host pushes.
    pub(crate) trace_pushed: bool,
    /// The process that has the graph: a forked copy of it has none of its threads.
    host_pid: u32,
    /// Time moves only while the host waits.
    pub(crate) virtual_time: bool,
    #[cfg(feature = "testing")]
    pub(crate) pace: Arc<Pace>,
    outputs: Arc<Outputs>,
    artifact_root: Arc<Path>,
    containment: Containments,
    journal_trouble: Trouble,
    recorder_trouble: Trouble,
    recovery: Recovery,
    /// With a journal the graph can be asked from outside, as long as it is there.
    listening: OnceLock<Listening>,
    graph: Option<JoinHandle<()>>,
    stopped: Receiver<()>,
}

impl Client {
    /// Whether this process is the one that has the graph.
    pub(crate) fn is_here(&self) -> bool {
        self.host_pid == std::process::id()
    }

    /// The host has done something: no time passes before it waits again.
    pub(crate) fn step(&self) {
        #[cfg(feature = "testing")]
        self.pace.step();
    }

    /// Tells the graph that something of the host's is gone, which has no answer. In virtual time it returns when the graph has
    /// taken it up, so that a trace is the same on every run; else at once. At most one for each thing that the host was given.
    pub(crate) fn tell(&self, request: impl Into<Request>) {
        if !self.is_here() {
            return;
        }
        self.step();
        let (taken, waits) = match self.virtual_time {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let sent = self.requests.send(HostInput::Gone { request: request.into(), taken });
        if let (Ok(()), Some(waits)) = (sent, waits) {
            // Closed when the graph has taken it up, or has ended.
            let _ = waits.recv();
        }
    }
}
impl Drop for Client {
    fn drop(&mut self) {
        if !self.is_here() {
            // The last end of a queue takes a lock, which a thread that is not here may have held when this copy was made: so
            // none of them is the last.
            std::mem::forget((self.requests.clone(), self.acks.clone(), self.stopped.clone()));
            std::mem::forget(self.listening.take());
            return;
        }
        drop(self.listening.take());
        let _ = self.requests.send(HostInput::HostGone(HostGone {}));
        // Disconnects when the graph's thread ends.
        let timed_out = matches!(
            self.stopped.recv_timeout(DROP_LIMIT),
            Err(crossbeam_channel::RecvTimeoutError::Timeout)
        );
        if let Some(graph) = self.graph.take().filter(|_| !timed_out) {
            let _ = graph.join();
        }
    }
}

/// A running graph. A clone is the same graph; it can be used from any thread, any async runtime, and from within
/// another actix system.
///
/// When the last clone, session, handle and call is dropped, everything is killed without grace, what is unread is gone, and
/// the drop **blocks** for it, for [`DROP_LIMIT`] at most. To end in order, use [`shutdown`](Ostler::shutdown).
///
/// A host that is built with `panic = "abort"` loses the isolation of actors: any panic, of its own or in the graph,
/// ends the whole process, and then the kernel alone ends the commands.
#[derive(Clone)]
pub struct Ostler(Arc<Client>);

impl std::fmt::Debug for Ostler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ostler").field("artifact_root", &self.0.artifact_root).finish_non_exhaustive()
    }
}

impl Ostler {
    /// Starts a graph on threads of its own, on real processes. **It blocks** until the artifact root is open and the
    /// containment is chosen by trying, a few milliseconds. One process of ostler's own, the graph's guard, is a child of this
    /// one: a host that calls `waitpid(-1)` sees its end, and must leave those it did not start alone.
    ///
    /// Commands descend from that guard. So what they inherit beside their environment and directory is as it is now: limits, umask,
    /// priority, root directory, namespaces. A command never has the rights of a user that this process has ceased to be.
    pub fn start(config: Config) -> Result<Ostler, StartError> {
        start_with(config, Vec::new())
    }

    /// Opens a session with an id of its own. If the call is dropped before its answer is taken, nobody knows that id, and
    /// the session is ended.
    pub fn open_session(&self) -> Call<Session> {
        self.open(None)
    }

    /// Opens a session with the host's own id, which was never used before in this graph (as far as ended sessions are
    /// remembered: the newest 65,536). With a [`Journal`](crate::Journal) one that was open when an earlier life of the host ended is
    /// returned as it stands ([`Session::is_recovered`]), one that had ended is opened anew, and its sequence numbers go on. A session whose call is dropped stays: [`session`](Ostler::session) finds it.
    pub fn open_session_as(&self, id: impl Into<SessionId>) -> Call<Session> {
        self.open(Some(id.into()))
    }

    fn open(&self, session_id: Option<SessionId>) -> Call<Session> {
        let ostler = self.clone();
        self.call(
            |call| OpenSession { call, session_id },
            move |answer| match answer {
                Answer::Opened(id) => Some(Session::new(ostler, id)),
                Answer::Recovered(id) => Some(Session::recovered(ostler, id)),
                _ => None,
            },
        )
    }

    /// A session that was opened before, by its id. Whether it is known shows at its first use.
    pub fn session(&self, id: impl Into<SessionId>) -> Session {
        Session::new(self.clone(), id.into())
    }

    /// Ends every session as [`Session::end`] does, then the graph. **What is unread is discarded**, of sessions that had
    /// ended before too; [`Tally::unread`] says how many results that were. Calls that come later fail with
    /// [`Error::Closed`].
    pub fn shutdown(&self) -> Call<Tally> {
        self.call(
            |call| Shutdown { call },
            |answer| match answer {
                Answer::Stopped(tally) => Some(tally),
                _ => None,
            },
        )
    }

    /// Answers after a time by the graph's clock: under a scripted kernel that is virtual time.
    pub fn sleep(&self, time: Duration) -> Call<()> {
        let sleep_ms = super::session::timeout_ms(time);
        self.call(|call| Sleep { call, sleep_ms }, |answer| matches!(answer, Answer::Slept).then_some(()))
    }

    /// Where the artifacts lie: a directory for each command, named by its command id.
    pub fn artifact_root(&self) -> &Path {
        &self.0.artifact_root
    }

    /// What holds the trees of this graph's commands, as it is now, and why nothing stronger does.
    pub fn containment(&self) -> ContainmentReport {
        self.0.containment.now()
    }

    /// What this graph has found in its [`Journal`](crate::Journal) at its start; without one, nothing.
    pub fn recovered(&self) -> &Recovery {
        &self.0.recovery
    }

    /// What is wrong at the moment.
    pub fn health(&self) -> Health {
        Health {
            journal_error: self.0.journal_trouble.now(),
            host_death: self.0.containment.now().host_death,
            recorder_error: self.0.recorder_trouble.now(),
        }
    }

    /// Writes the last part of the trace, which is always in memory ([`Config::recorder_bytes`]), into a file: it is made or emptied, mode
    /// 0600. Everything that happened before this call is in it. See [`DumpTrace`].
    pub fn dump_trace(&self, path: impl Into<PathBuf>) -> DumpTrace {
        DumpTrace::new(self.clone(), path.into())
    }

    /// The graph, as long as somebody else has it.
    pub(super) fn while_there(&self) -> impl Fn() -> Option<Ostler> + Send + Sync + 'static {
        let client = Arc::downgrade(&self.0);
        move || client.upgrade().map(Ostler)
    }
    pub(crate) fn client(&self) -> &Client {
        &self.0
    }

    pub(crate) fn outputs(&self) -> &Outputs {
        &self.0.outputs
    }

    pub(crate) fn is_scripted(&self) -> bool {
        self.0.virtual_time
    }

    pub(crate) fn refused<T>(&self, error: Error) -> Call<T> {
        Call::refused(&self.0, error)
    }

    pub(crate) fn call<T, R: Into<Request>>(
        &self,
        request: impl FnOnce(CallId) -> R,
        convert: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Call<T> {
        Call::new(&self.0, |call| request(call).into(), convert)
    }
}

/// On real processes; these deliveries panic, each once.
pub(crate) fn start_with(config: Config, faults: Vec<Fault>) -> Result<Ostler, StartError> {
    let listens = config.journal.as_ref().is_some_and(|journal| journal.listens);
    let kernel = linux::start(&config)?;
    let ostler = start_on(
        kernel,
        config,
        faults,
        false,
        #[cfg(feature = "testing")]
        Arc::default(),
    )?;
    if listens {
        // Without it everything works but for those who ask from outside; they are told that it takes no calls.
        let _ = ostler.listen().map(|listening| ostler.0.listening.set(listening));
    }
    Ok(ostler)
}

/// On this kernel. `virtual_time`: its time moves only while the host waits.
pub(crate) fn start_on(
    (facts, start_kernel): (Facts, StartKernel),
    config: Config,
    faults: Vec<Fault>,
    virtual_time: bool,
    #[cfg(feature = "testing")] pace: Arc<Pace>,
) -> Result<Ostler, StartError> {
    let (requests, taken) = unbounded();
    let (acks, acked) = unbounded();
    let (alive, stopped) = bounded(0);
    let (open_calls_limit, trace_pushed) = (config.limits.open_calls, config.trace_pushed);
    let subscribers = Arc::new(Subscribers::default());
    let from_host = FromHost { requests: taken, acks: acked, subscribers: subscribers.clone() };
    let (journal_trouble, recovery) = (facts.journal_trouble.clone(), facts.recovery.clone());
    let recorder_trouble = facts.dumps.as_ref().map(|dumps| dumps.trouble.clone()).unwrap_or_default();
    let spans = MakeSpans::new(&config);
    let started = graph::start(config, facts, start_kernel, from_host, alive, faults)?;
    Ok(Ostler(Arc::new(Client {
        requests,
        acks,
        next_call: AtomicU64::new(0),
        next_reader: AtomicU64::new(0),
        next_subscription: AtomicU64::new(0),
        subscribers,
        spans,
        open_calls: Arc::default(),
        open_calls_limit,
        trace_pushed,
        host_pid: std::process::id(),
        virtual_time,
        #[cfg(feature = "testing")]
        pace,
        outputs: started.outputs,
        artifact_root: started.artifact_root,
        containment: started.containment,
        journal_trouble,
        recorder_trouble,
        recovery,
        listening: OnceLock::new(),
        graph: Some(started.thread),
        stopped,
    })))
}
