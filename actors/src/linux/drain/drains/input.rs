//! What is written to the processes of a drain thread.
//!
//! * in: writes, the closing of stdin, and epoll
//! * out: how far each write has come
//! * keeps: a write waits for nothing but room in its own pipe

use super::{super::input_pipe::Fill, *};
use nix::unistd::write;

impl State {
    /// There is room, or nobody reads it any more.
    pub(super) fn input_ready(&mut self, n: u64) {
        let input = self.drains.get_mut(&n).and_then(|drain| drain.input.as_mut());
        if let Some(input) = input.filter(|input| sys::is_unread(input.pipe.as_fd())) {
            input.close();
        }
        self.fill(n);
    }

    pub(super) fn feed(&mut self, Feed { n, call, bytes }: Feed) {
        let Some(input) = self.drains.get_mut(&n).and_then(|drain| drain.input.as_mut()) else {
            let dropped = bytes.size();
            return self.tell(Fed { n, call, taken: 0, dropped, ended: true, refused: true });
        };
        input.push(call, bytes);
        // Else it has to wait for others.
        if !input.waits_for_room {
            self.fill(n);
        }
    }

    pub(super) fn end_input(&mut self, end: &EndInput) {
        let Some(input) = self.drains.get_mut(&end.n).and_then(|drain| drain.input.as_mut()) else { return };
        input.close();
        if end.now {
            let events = &self.thread.events;
            input.drop_queued(&mut |fed| {
                let _ = events.send(KernelEvent::new(ActorName::Supervisor, fed));
            });
        }
        self.fill(end.n);
    }

    pub(super) fn set_size(&mut self, SetSize { n, size }: &SetSize) {
        self.thread.outputs.set_terminal(*n, *size);
        if let Some(terminal) = self.drains.get(n).and_then(|drain| drain.terminal.as_ref()) {
            // Refused for what is no terminal only.
            let _ = sys::set_terminal_size(terminal.as_fd(), size.rows, size.columns);
        }
    }

    /// Writes what its stdin has room for.
    pub(super) fn fill(&mut self, n: u64) {
        let State { thread, drains, .. } = self;
        let Some(drain) = drains.get_mut(&n) else { return };
        let Some(input) = &mut drain.input else { return };
        let mut tell = |fed: Fed| {
            let _ = thread.events.send(KernelEvent::new(ActorName::Supervisor, fed));
        };
        // Signals are blocked in this thread: where nobody reads, SIGPIPE waits for ever, and EPIPE says it.
        let filled = input.fill(|pipe, bytes| write(pipe, bytes), &mut tell);
        let waits = filled == Fill::Full;
        if filled == Fill::Ended {
            thread.mailbox.unwatch(&input.pipe);
            drain.input = None;
            return self.tell(InputEnded { n });
        }
        if waits != std::mem::replace(&mut input.waits_for_room, waits) {
            thread.mailbox.wake_for_room(&input.pipe, input_key(n), waits);
        }
    }

    fn tell(&self, body: impl Into<Event>) {
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Supervisor, body));
    }
}
