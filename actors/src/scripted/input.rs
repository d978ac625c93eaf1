//! The stdin of a scripted program: a pipe as large as a real one, and how the program reads from it.
//!
//! * in: writes, the end of stdin, when the program reads
//! * out: how far each write has come; the lines that the program has read
//! * keeps: the same answers as a real pipe gives

use super::program::{Reaction, Reads};
use ostler_messages::{CallId, Fed, Payload};
use std::collections::VecDeque;

/// What a pipe holds (pipe(7)).
const PIPE_BYTES: usize = 64 << 10;

/// See the [module](self).
pub(super) struct Input {
    n: u64,
    /// What stands before the pipe.
    queue: VecDeque<Entry>,
    pipe: VecDeque<u8>,
    /// What has been read of a line that has not ended.
    line: Vec<u8>,
    /// So many bytes the program is going to read.
    room: u64,
    /// The program stands still, and reads nothing.
    pub(super) stands: bool,
    /// The host has closed it: its end comes behind what is queued.
    closing: bool,
    /// Our end is closed, or nobody reads it any more.
    pub(super) ended: bool,
    /// The program has closed it.
    pub(super) left: bool,
    told_end: bool,
}

struct Entry {
    call: Option<CallId>,
    bytes: Payload,
    taken: usize,
    told: usize,
}

/// What the program has read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Line(Vec<u8>),
    End,
}

impl Input {
    pub(super) fn new(n: u64, reads: Reads, given: Option<Payload>) -> Input {
        let room = if reads == Reads::AtOnce { u64::MAX } else { 0 };
        let mut input = Input {
            n,
            queue: VecDeque::new(),
            pipe: VecDeque::new(),
            line: Vec::new(),
            room,
            stands: false,
            closing: false,
            ended: false,
            left: false,
            told_end: false,
        };
        if let Some(bytes) = given {
            input.queue.push_back(Entry { call: None, bytes, taken: 0, told: 0 });
            input.closing = true;
            // What fits into the pipe is in it before the program starts.
            input.fill(&mut Vec::new());
            input.ended = input.queue.is_empty();
        }
        input
    }

    pub(super) fn push(&mut self, call: CallId, bytes: Payload) {
        self.queue.push_back(Entry { call: Some(call), bytes, taken: 0, told: 0 });
    }
    /// Behind what is queued.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }
    /// The program reads so many bytes more.
    pub(super) fn read_more(&mut self, bytes: u64) {
        self.room = self.room.saturating_add(bytes);
    }
    /// Nobody reads it any more.
    pub(super) fn leave(&mut self) {
        self.left = true;
        self.pipe.clear();
    }

    /// Everything that can move moves; says what the program has read, in order.
    pub(super) fn flow(&mut self, told: &mut Vec<Fed>) -> Vec<Read> {
        let mut read = Vec::new();
        loop {
            let room = if self.stands { 0 } else { self.room };
            let taken = self.pipe.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            if self.room != u64::MAX {
                self.room -= taken as u64;
            }
            for byte in self.pipe.drain(..taken) {
                match byte {
                    b'\n' => read.push(Read::Line(std::mem::take(&mut self.line))),
                    byte => self.line.push(byte),
                }
            }
            if self.fill(told) == 0 && taken == 0 {
                break;
            }
        }
        if let Some(entry) = self.queue.front_mut().filter(|entry| entry.taken > entry.told) {
            entry.tell(self.n, told, false, false);
        }
        self.ended |= self.queue.is_empty() && self.closing;
        let is_read = self.pipe.is_empty() && !self.left && !self.stands;
        if self.ended && is_read && !std::mem::replace(&mut self.told_end, true) {
            if !self.line.is_empty() {
                read.push(Read::Line(std::mem::take(&mut self.line)));
            }
            read.push(Read::End);
        }
        read
    }

    /// From the queue into the pipe; how many bytes.
    fn fill(&mut self, told: &mut Vec<Fed>) -> usize {
        if self.left {
            self.drop_queued(told);
            self.ended = true;
        }
        let mut moved = 0;
        while let Some(entry) = self.queue.front_mut() {
            let rest = &entry.bytes.as_bytes()[entry.taken..];
            let count = rest.len().min(PIPE_BYTES - self.pipe.len());
            self.pipe.extend(&rest[..count]);
            entry.taken += count;
            moved += count;
            if entry.taken < entry.bytes.as_bytes().len() {
                break;
            }
            entry.tell(self.n, told, true, false);
            self.queue.pop_front();
        }
        moved
    }

    /// It is closed before they are taken.
    pub(super) fn drop_queued(&mut self, told: &mut Vec<Fed>) {
        for mut entry in self.queue.drain(..) {
            entry.tell(self.n, told, true, false);
        }
    }
}

impl Entry {
    fn tell(&mut self, n: u64, told: &mut Vec<Fed>, ended: bool, refused: bool) {
        self.told = self.taken;
        let Some(call) = self.call else { return };
        let taken = self.taken as u64;
        let dropped = if ended { self.bytes.size() - taken } else { 0 };
        told.push(Fed { n, call, taken, dropped, ended, refused });
    }
}

/// What the program does about what it has read.
pub(super) fn reaction(rule: Option<&super::program::LineRule>, line: &[u8]) -> Option<Reaction> {
    rule.map(|rule| rule.0(&String::from_utf8_lossy(line)))
}
