//! Writing down what the flight recorder holds.

use super::Ostler;
use crate::{
    backend::{Dump, HostInput},
    graph::trace::sink::create,
};
use futures_lite::future;
use std::{
    future::IntoFuture,
    io,
    path::{Path, PathBuf},
    pin::Pin,
};

/// Why what the flight recorder holds was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// [`Config::recorder_bytes`](crate::Config::recorder_bytes) is 0.
    #[error("the flight recorder is off: set recorder_bytes in the Config of the graph")]
    Off,
    /// The graph has ended, and its recorder with it.
    #[error("ostler has ended, and its flight recorder with it: dump the trace before it is shut down")]
    Closed,
    /// This process is a forked copy of the one that has the graph.
    #[error("this process is a forked copy of the one that has the graph, and its recorder")]
    OtherProcess,
    /// The file can't be made, or not be written to its end. What is in it is not whole.
    #[error("{}: {source}: give another file", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The last part of the trace on its way into a file: [`Ostler::dump_trace`].
///
/// [`wait`](DumpTrace::wait) writes on the calling thread; `.await` leaves the runtime's thread free. Dropped before its end, it may leave a part of
/// the file. The graph goes on meanwhile.
#[must_use = "nothing is written before it is waited for or awaited"]
#[derive(Debug)]
pub struct DumpTrace {
    ostler: Ostler,
    path: PathBuf,
}

impl DumpTrace {
    pub(super) fn new(ostler: Ostler, path: PathBuf) -> DumpTrace {
        DumpTrace { ostler, path }
    }

    /// Writes on this thread.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub fn wait(self) -> Result<(), DumpError> {
        let dump = future::block_on(self.held())?;
        write(&dump, &self.path)
    }

    async fn write(self) -> Result<(), DumpError> {
        let dump = self.held().await?;
        blocking::unblock(move || write(&dump, &self.path)).await
    }

    /// What the recorder holds when the graph has taken up all that the host has asked before.
    async fn held(&self) -> Result<Dump, DumpError> {
        let client = self.ostler.client();
        if !client.is_here() {
            return Err(DumpError::OtherProcess);
        }
        let (reply_to, held) = oneshot::async_channel();
        client.step();
        client.requests.send(HostInput::Dump(reply_to)).map_err(|_| DumpError::Closed)?;
        held.await.map_err(|_| DumpError::Closed)?.ok_or(DumpError::Off)
    }
}

impl IntoFuture for DumpTrace {
    type Output = Result<(), DumpError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<(), DumpError>> + Send>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.write())
    }
}

fn write(dump: &Dump, path: &Path) -> Result<(), DumpError> {
    let written = create(path).and_then(|mut file| dump.write_to(&mut file));
    written.map_err(|source| DumpError::Write { path: path.to_owned(), source })
}

#[cfg(all(test, feature = "testing"))]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod tests {
    use crate::{
        Command, Config, Incident, RECORDER_BYTES, TraceDump,
        api::start_on,
        backend::{Dumps, HostInput, Input, Kernel, KernelEvent, Pace, Trouble},
        scripted::{self, Program, World},
        trace::Trace,
    };
    use ostler_artifacts::Root;
    use ostler_messages::{ActorName, CallId, KernelCommand, KernelFailed};
    use std::sync::{Arc, mpsc::channel};

    /// A kernel of which a thread fails when somebody ends a session.
    struct Failing(Box<dyn Kernel>);
    impl Kernel for Failing {
        fn perform(&mut self, command: KernelCommand) {
            self.0.perform(command);
        }
        fn ready(&mut self) -> Option<Input> {
            self.0.ready().map(fails)
        }
        fn next(&mut self) -> Option<Input> {
            self.0.next().map(fails)
        }
        fn now_us(&self) -> u64 {
            self.0.now_us()
        }
        fn after_input(&mut self, waits: &dyn Fn(CallId) -> bool) {
            self.0.after_input(waits);
        }
        fn close(&mut self) {
            self.0.close();
        }
    }
    fn fails(input: Input) -> Input {
        let is_end = matches!(&input, Input::Host(HostInput::Call { request, .. }) if format!("{request:?}").starts_with("EndSession"));
        match is_end {
            true => {
                let failed = KernelFailed { thread: "ostler-drain-0".into() };
                Input::Kernel(KernelEvent::new(ActorName::Supervisor, failed))
            }
            false => input,
        }
    }

    /// What can't be had of real processes: survivors, and a thread that fails. With a disk for the files of incidents.
    #[test]
    fn survivors_and_a_failed_thread_leave_what_led_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let (told, heard) = channel::<TraceDump>();
        let config = Config::new().recorder_bytes(RECORDER_BYTES);
        let config = config.on_trace_dump(move |dump| told.send(dump.clone()).unwrap());
        let world = World::new();
        world.program("stubborn", Program::new().unkillable());
        let pace = Arc::<Pace>::default();
        let (mut facts, start) = scripted::start(&world, &config, pace.clone());
        let root = Arc::new(Root::open(Some(dir.path().join("artifacts")), std::process::id()).unwrap());
        facts.dumps = Some(Dumps { root, trouble: Trouble::default() });
        let failing = Box::new(move |requests| -> Box<dyn Kernel> { Box::new(Failing(start(requests))) });
        let ostler = start_on((facts, failing), config, Vec::new(), true, pace).unwrap();
        world.connect(ostler.client().requests.clone());
        let session = ostler.open_session().wait().unwrap();
        let handle = session.launch(Command::new("stubborn")).wait().unwrap();
        handle.cancel().wait().unwrap();
        let survived = heard.recv().unwrap();
        assert_eq!((survived.incident, &survived.error), (Incident::Survived(handle.id()), &None));
        let told = Trace::read(survived.path.unwrap()).unwrap().explain(Some(handle.id()));
        assert!(told.contains("some of its tree live on"), "{told}");
        assert_eq!(session.end().wait().unwrap_err(), crate::Error::Closed);
        let failed = heard.recv().unwrap();
        assert_eq!(failed.incident, Incident::ThreadFailed("ostler-drain-0".into()));
        let text = std::fs::read_to_string(failed.path.unwrap()).unwrap();
        assert!(text.contains("\"KernelFailed\""), "{text}");
    }
}
