//! What is written to a command: a queue, and the end of a pipe that takes from it.
//!
//! * in: writes; that the pipe has room, or that nobody reads it; that it is to be closed
//! * out: how far each write has come
//! * keeps: the order of the writes; the end of each is told once; a command that never reads holds nobody up

use super::drains::input_key;
use crate::linux::mailbox::Outbox;
use nix::errno::Errno;
use ostler_messages::{CallId, Fed, Payload};
use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
};

/// Most bytes that are written at a time: whoever else belongs to the thread waits no longer than for a read.
const WRITE_BYTES: usize = 256 << 10;

/// Our end of a command's stdin. It doesn't block, and is watched already: its end shows even while nothing is queued.
pub(crate) struct InputPipe {
    pub(super) pipe: OwnedFd,
    n: u64,
    queue: VecDeque<Entry>,
    /// Closed once nothing is queued.
    closing: bool,
    /// The thread is woken when there is room.
    pub(super) waits_for_room: bool,
}

struct Entry {
    /// None: it came with the launch, and nobody waits for it.
    call: Option<CallId>,
    bytes: Payload,
    taken: usize,
    /// So many were told of.
    told: usize,
}

/// What has come of an attempt to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Nothing is queued.
    Idle,
    /// It is to be tried again when there is room.
    Full,
    /// It is to be closed.
    Ended,
}

impl InputPipe {
    pub(crate) fn new(n: u64, pipe: OwnedFd) -> InputPipe {
        InputPipe { pipe, n, queue: VecDeque::new(), closing: false, waits_for_room: false }
    }

    /// With bytes of the launch, of which so many are taken already, and the end behind them.
    pub(crate) fn of_launch(n: u64, pipe: OwnedFd, bytes: Payload, taken: usize) -> InputPipe {
        let mut input = InputPipe::new(n, pipe);
        input.queue.push_back(Entry { call: None, bytes, taken, told: taken });
        (input.closing, input.waits_for_room) = (true, true);
        input
    }

    /// By the thread that it will belong to.
    pub(crate) fn watch<T>(&self, outbox: &Outbox<T>) -> Result<(), Errno> {
        outbox.watch_for_room(self.pipe.as_fd(), input_key(self.n), self.waits_for_room)
    }

    pub(super) fn push(&mut self, call: CallId, bytes: Payload) {
        self.queue.push_back(Entry { call: Some(call), bytes, taken: 0, told: 0 });
    }
    /// Behind what is queued.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Writes what there is room for.
    pub(super) fn fill(
        &mut self,
        mut write: impl FnMut(&OwnedFd, &[u8]) -> Result<usize, Errno>,
        tell: &mut impl FnMut(Fed),
    ) -> Fill {
        let mut room = WRITE_BYTES;
        while let Some(entry) = self.queue.front_mut() {
            let rest = &entry.bytes.as_bytes()[entry.taken..];
            if !rest.is_empty() && room == 0 {
                break;
            }
            match write(&self.pipe, &rest[..rest.len().min(room)]) {
                Ok(count) => {
                    entry.taken += count;
                    room -= count.min(room);
                    if entry.is_taken() {
                        entry.tell(self.n, tell, true, false);
                        self.queue.pop_front();
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // EPIPE: nobody reads it any more. Of another error nothing better is known.
                Err(_) => {
                    entry.tell(self.n, tell, true, entry.taken == 0);
                    self.queue.pop_front();
                    self.drop_queued(tell);
                    return Fill::Ended;
                }
            }
        }
        match self.queue.front_mut() {
            Some(entry) => {
                if entry.taken > entry.told {
                    entry.tell(self.n, tell, false, false);
                }
                Fill::Full
            }
            None if self.closing => Fill::Ended,
            None => Fill::Idle,
        }
    }

    /// It is closed before they are taken.
    pub(super) fn drop_queued(&mut self, tell: &mut impl FnMut(Fed)) {
        self.queue.drain(..).for_each(|mut entry| entry.tell(self.n, tell, true, false));
    }
}

impl Entry {
    fn is_taken(&self) -> bool {
        self.taken >= self.bytes.as_bytes().len()
    }
    fn tell(&mut self, n: u64, tell: &mut impl FnMut(Fed), ended: bool, refused: bool) {
        self.told = self.taken;
        let Some(call) = self.call else { return };
        let taken = self.taken as u64;
        let dropped = if ended { self.bytes.size() - taken } else { 0 };
        tell(Fed { n, call, taken, dropped, ended, refused });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> InputPipe {
        InputPipe::new(1, std::fs::File::open("/dev/null").unwrap().into())
    }
    fn fed(call: u64, taken: u64, dropped: u64, ended: bool) -> Fed {
        Fed { n: 1, call: CallId(call), taken, dropped, ended, refused: false }
    }
    /// A pipe with so much room, or nobody who reads it.
    fn fill(input: &mut InputPipe, mut room: usize, then: Errno) -> (Fill, Vec<Fed>) {
        let mut told = Vec::new();
        let write = |_: &OwnedFd, bytes: &[u8]| match bytes.len().min(room) {
            0 => Err(then),
            count => {
                room -= count;
                Ok(count)
            }
        };
        let fill = input.fill(write, &mut |fed| told.push(fed));
        (fill, told)
    }

    #[test]
    fn writes_are_taken_in_order_as_there_is_room() {
        let mut input = pipe();
        input.push(CallId(1), Payload::from([0; 10]));
        input.push(CallId(2), Payload::from([0; 10]));
        assert_eq!(fill(&mut input, 4, Errno::EAGAIN), (Fill::Full, vec![fed(1, 4, 0, false)]));
        assert_eq!(fill(&mut input, 0, Errno::EAGAIN), (Fill::Full, vec![]), "nothing is new");
        let told = vec![fed(1, 10, 0, true), fed(2, 5, 0, false)];
        assert_eq!(fill(&mut input, 11, Errno::EAGAIN), (Fill::Full, told));
        input.close();
        assert_eq!(fill(&mut input, 9, Errno::EAGAIN), (Fill::Ended, vec![fed(2, 10, 0, true)]));
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted_and_what_met_a_closed_end_is_refused() {
        let mut input = pipe();
        input.push(CallId(1), Payload::from([0; 10]));
        input.push(CallId(2), Payload::from([0; 10]));
        let told = vec![fed(1, 4, 6, true), fed(2, 0, 10, true)];
        assert_eq!(fill(&mut input, 4, Errno::EPIPE), (Fill::Ended, told));
        input.push(CallId(3), Payload::from([0; 10]));
        let refused = Fed { refused: true, ..fed(3, 0, 10, true) };
        assert_eq!(fill(&mut input, 0, Errno::EPIPE), (Fill::Ended, vec![refused]));
    }

    #[test]
    fn a_lot_is_written_in_turns() {
        let mut input = pipe();
        input.push(CallId(1), Payload::from(vec![0; WRITE_BYTES + 1]));
        let told = vec![fed(1, WRITE_BYTES as u64, 0, false)];
        assert_eq!(fill(&mut input, usize::MAX, Errno::EAGAIN), (Fill::Full, told));
        let told = vec![fed(1, WRITE_BYTES as u64 + 1, 0, true)];
        assert_eq!(fill(&mut input, usize::MAX, Errno::EAGAIN), (Fill::Idle, told));
    }
}
