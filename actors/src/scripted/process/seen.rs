//! What can be seen of a scripted process while it runs.

use super::{LISTENS_AT, Process};
use crate::backend::KernelEvent;
use ostler_messages::{ListeningPort, Peek, Peeked, SeenProcess};

impl Process {
    pub(in crate::scripted) fn peek(&mut self, peek: &Peek, now_us: u64) {
        let output = self.recorder.peek(peek.inline_bytes);
        let (silence_ms, paused) = (self.silent_us(now_us) / 1_000, self.is_paused());
        self.events.push_back(KernelEvent::new(
            peek.owner,
            Peeked { output, silence_ms, call: peek.call, sealed: false, paused },
        ));
    }

    pub(in crate::scripted) fn seen(&self, now_us: u64) -> SeenProcess {
        SeenProcess {
            n: self.n,
            age_ms: (now_us - self.began_us) / 1_000,
            silence_ms: self.silent_us(now_us) / 1_000,
            paused: self.is_paused(),
        }
    }

    /// On which its leader listens.
    pub(in crate::scripted) fn ports(&self) -> Vec<ListeningPort> {
        let port = |port: &u16| ListeningPort { port: *port, address: LISTENS_AT, pid: Some(self.pid) };
        if self.exit.is_some() { Vec::new() } else { self.ports.iter().map(port).collect() }
    }

    /// Whether it has asked for input, and none has come since.
    pub(in crate::scripted) fn waits_for_input(&self) -> Option<u32> {
        let open = self.exit.is_none() && self.input.as_ref().is_some_and(|input| !input.left);
        (self.waits_for_input && open && !self.stands()).then_some(self.pid)
    }
}
