//! The flight recorder of a graph: the last part of its trace, and the files that it is written to when something goes wrong.
//!
//! * in: each line of the trace; the incidents of the actors; a host that asks
//! * out: a file for an incident, written by a thread of its own; what is held, for the host's own thread
//! * keeps: the graph waits for no disk; one file is written at a time, so many in a life, and none sooner than some time after another

use super::ring::Ring;
use crate::{
    backend::{Dump, Dumps, thread::spawn},
    config::{DumpHook, TraceDump},
};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use ostler_messages::trace::{Header, Incident};
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

/// Files of one life of a graph: what goes wrong more often than that goes wrong in the same way.
const DUMPS_MAX: u32 = 16;
/// From one file to the next: a hundred commands that are lost together are one story, which the second file tells to its end.
const APART: Duration = Duration::from_secs(1);
/// How long the end of a graph waits for a file that is being written.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(crate) struct Recorder {
    ring: Rc<RefCell<Ring>>,
    header: Header,
    dumps: Option<(Dumps, Option<DumpHook>)>,
    /// An incident that came too soon after another.
    owed: Option<Incident>,
    last: Option<Instant>,
    count: u32,
    writing: Option<Receiver<()>>,
}

impl Recorder {
    /// None: it is off. Without `dumps` an incident writes nothing.
    pub(crate) fn new(
        max_bytes: usize,
        header: Header,
        dumps: Option<(Dumps, Option<DumpHook>)>,
    ) -> Option<Recorder> {
        let ring = Rc::new(RefCell::new(Ring::new(max_bytes)));
        let (owed, last, count, writing) = (None, None, 0, None);
        (max_bytes > 0).then_some(Recorder { ring, header, dumps, owed, last, count, writing })
    }

    /// Where lines go.
    pub(crate) fn ring(&self) -> Rc<RefCell<Ring>> {
        self.ring.clone()
    }

    pub(crate) fn dump(&self) -> Dump {
        let ring = self.ring.borrow();
        let header = self.header.clone().missing_before(ring.missing());
        Dump { header, pieces: ring.held() }
    }

    /// The graph is idle after an input.
    pub(crate) fn after_input(&mut self, incident: Option<Incident>) {
        if incident.is_none() && self.owed.is_none() {
            return;
        }
        if self.dumps.is_none() || self.count >= DUMPS_MAX {
            self.owed = None;
            return;
        }
        let owed = self.owed.take().or(incident);
        let soon = self.last.is_some_and(|last| last.elapsed() < APART);
        match owed {
            Some(incident) if soon || self.is_writing() => self.owed = Some(incident),
            Some(incident) => self.begin(incident),
            None => {}
        }
    }

    /// The graph has ended: what was too soon is written now. Waits for a limited time.
    pub(crate) fn finish(mut self) {
        let wait = |writing: &mut Option<Receiver<()>>| {
            writing.take().is_none_or(|ended| {
                !matches!(ended.recv_timeout(WRITE_LIMIT), Err(crossbeam_channel::RecvTimeoutError::Timeout))
            })
        };
        if !wait(&mut self.writing) {
            return;
        }
        if let Some(incident) = self.owed.take() {
            self.begin(incident);
            wait(&mut self.writing);
        }
    }

    fn is_writing(&mut self) -> bool {
        let is_writing =
            self.writing.as_ref().is_some_and(|ended| ended.try_recv() == Err(TryRecvError::Empty));
        if !is_writing {
            self.writing = None;
        }
        is_writing
    }

    fn begin(&mut self, incident: Incident) {
        let Some((Dumps { root, trouble }, hook)) = self.dumps.clone() else { return };
        let (dump, host_pid) = (self.dump(), self.header.host_pid);
        let (alive, ended) = bounded::<()>(0);
        self.count += 1;
        self.last = Some(Instant::now());
        let failed = trouble.clone();
        let thread = spawn("ostler-recorder", move || {
            let _alive = alive;
            let unix_ns =
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            let written = root.write_dump(host_pid, unix_ns, |file| dump.write_to(file));
            drop(dump);
            let error =
                written.as_ref().err().map(|error| format!("trace of what went wrong ({incident}): {error}"));
            trouble.set(error.clone());
            if let Some(DumpHook(hook)) = hook {
                hook(&TraceDump { incident, path: written.ok(), error });
            }
        });
        match thread {
            Ok(_) => self.writing = Some(ended),
            Err(error) => failed.set(Some(format!("trace of what went wrong: no thread: {error}"))),
        }
    }
}
