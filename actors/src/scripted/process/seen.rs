//! What can be seen of a scripted process while it runs.

use super::{LISTENS_AT, Process};
use crate::backend::KernelEvent;
use ostler_messages::{ListeningPort, Peek, Peeked, SeenProcess};

impl Process {
    pub(in crate::scripted) fn peek(&mut self, peek: &Peek, now_us: u64) {
        let output = self.recorder.peek(peek.inline_bytes);
        let silence_ms = (now_us - self.last_byte_us) / 1_000;
        self.events.push_back(KernelEvent::new(
            peek.owner,
            Peeked { output, silence_ms, call: peek.call, sealed: false },
        ));
    }

    pub(in crate::scripted) fn seen(&self, now_us: u64) -> SeenProcess {
        let ms_since = |us: u64| (now_us - us) / 1_000;
        SeenProcess { n: self.n, age_ms: ms_since(self.began_us), silence_ms: ms_since(self.last_byte_us) }
    }

    /// On which its leader listens.
    pub(in crate::scripted) fn ports(&self) -> Vec<ListeningPort> {
        let port = |port: &u16| ListeningPort { port: *port, address: LISTENS_AT, pid: Some(self.pid) };
        if self.exit.is_some() { Vec::new() } else { self.ports.iter().map(port).collect() }
    }

    /// Whether it has asked for input, and none has come since.
    pub(in crate::scripted) fn waits_for_input(&self) -> Option<u32> {
        let open = self.exit.is_none() && self.input.as_ref().is_some_and(|input| !input.left);
        (self.waits_for_input && open).then_some(self.pid)
    }
}
