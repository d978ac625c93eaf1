//! One stream as its thread sees it: what a read brought goes in, what is to be done comes out.
//!
//! * in: [`Got`], what a read gave; `close`, when the record ends
//! * out: [`Todo`]
//! * keeps: its end is reported once; nothing is recorded after it; a stream is either watched or waits for its turn
//!
//! No descriptor and no clock, so that it is tested without a process.

use ostler_messages::{EndOfStream, Event, ReadFailed};

/// What a pipe holds by default (pipe(7)). One that was found full is made as large as a read: its writer stops less
/// often, and 1 GiB went through in 0.85 of the time.
const PIPE_BYTES: usize = 64 << 10;

/// How a stream comes to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// When epoll says that there is something.
    Watched,
    /// It was found full: in turns with others like it. Whoever says little, or ends, comes before these.
    Queued,
    /// Its pipe is gone.
    Ended,
}

#[derive(Debug)]
pub(super) struct Flow {
    turn: Turn,
    bytes: u64,
    enlarged: bool,
    /// The record is complete: what still comes is thrown away.
    closed: bool,
}

/// What one read gave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Got {
    /// So many bytes, where there was room for so many.
    Bytes { count: usize, room: usize },
    /// Nothing for now.
    Nothing,
    /// Every writer has closed the pipe.
    End,
    /// The kernel refuses it.
    Failed(i32),
}

/// What is to be done after a read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Todo {
    /// The bytes belong to the record.
    pub(super) record: bool,
    /// Make the pipe larger.
    pub(super) enlarge: bool,
    /// Watch it from here on, or no longer.
    pub(super) watch: Option<bool>,
    /// Read it again in its turn.
    pub(super) again: bool,
    /// Close the pipe.
    pub(super) end: bool,
    pub(super) report: Option<Event>,
}

impl Flow {
    /// Of a pipe that is watched.
    pub(super) fn new() -> Flow {
        Flow { turn: Turn::Watched, bytes: 0, enlarged: false, closed: false }
    }

    #[cfg(test)]
    fn is_watched(&self) -> bool {
        self.turn == Turn::Watched
    }
    pub(super) fn is_queued(&self) -> bool {
        self.turn == Turn::Queued
    }
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn got(&mut self, got: Got) -> Todo {
        let mut todo = Todo::default();
        let before = self.turn;
        match got {
            Got::Bytes { count, room } => {
                todo.record = !self.closed;
                if todo.record {
                    self.bytes += count as u64;
                    todo.enlarge = count >= PIPE_BYTES && !std::mem::replace(&mut self.enlarged, true);
                }
                todo.again = count == room;
                self.turn = if todo.again { Turn::Queued } else { Turn::Watched };
            }
            Got::Nothing => self.turn = Turn::Watched,
            Got::End | Got::Failed(_) => {
                self.turn = Turn::Ended;
                todo.end = true;
                todo.report = match got {
                    Got::Failed(errno) => self.complete(|_| ReadFailed { errno }),
                    _ => self.complete(|bytes| EndOfStream { bytes }),
                };
            }
        }
        todo.watch = match (before, self.turn) {
            (Turn::Watched, Turn::Queued | Turn::Ended) => Some(false),
            (Turn::Queued, Turn::Watched) => Some(true),
            _ => None,
        };
        todo
    }

    /// The record ends here, with so many bytes that the pipe still held. Always reported: whoever asks has heard of no end.
    pub(super) fn close(&mut self, owed: u64) -> EndOfStream {
        self.closed = true;
        self.bytes += owed;
        EndOfStream { bytes: self.bytes }
    }

    fn complete<E: Into<Event>>(&mut self, event: impl FnOnce(u64) -> E) -> Option<Event> {
        (!std::mem::replace(&mut self.closed, true)).then(|| event(self.bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 256 << 10;

    fn bytes(count: usize) -> Got {
        Got::Bytes { count, room: ROOM }
    }
    fn end_of(bytes: u64) -> Option<Event> {
        Some(EndOfStream { bytes }.into())
    }

    #[test]
    fn a_little_is_recorded_and_nothing_else_changes() {
        let mut flow = Flow::new();
        assert_eq!(flow.got(bytes(5)), Todo { record: true, ..Todo::default() });
        assert_eq!(flow.got(Got::Nothing), Todo::default());
        let end = Todo { watch: Some(false), end: true, report: end_of(5), ..Todo::default() };
        assert_eq!(flow.got(Got::End), end);
    }

    #[test]
    fn a_full_pipe_waits_for_its_turn_and_is_enlarged_once() {
        let mut flow = Flow::new();
        let first = Todo { record: true, enlarge: true, watch: Some(false), again: true, ..Todo::default() };
        assert_eq!(flow.got(bytes(ROOM)), first);
        assert!(flow.is_queued());
        assert_eq!(flow.got(bytes(ROOM)), Todo { record: true, again: true, ..Todo::default() });
        assert_eq!(flow.got(bytes(PIPE_BYTES)), Todo { record: true, watch: Some(true), ..Todo::default() });
        assert!(flow.is_watched());
        assert!(!Flow::new().got(bytes(PIPE_BYTES - 1)).enlarge);
    }

    #[test]
    fn what_comes_after_the_close_is_thrown_away_and_the_end_is_told_once() {
        let mut flow = Flow::new();
        flow.got(bytes(7));
        assert_eq!(flow.close(3), EndOfStream { bytes: 10 });
        assert_eq!(flow.got(bytes(ROOM)), Todo { watch: Some(false), again: true, ..Todo::default() });
        assert_eq!(flow.got(Got::Failed(5)), Todo { end: true, ..Todo::default() });
        // An actor that took over does not know what the other had heard.
        assert_eq!(flow.close(0), EndOfStream { bytes: 10 });
    }

    #[test]
    fn what_cannot_be_read_ends_with_what_the_kernel_said() {
        let mut flow = Flow::new();
        let report = Some(ReadFailed { errno: 5 }.into());
        assert_eq!(
            flow.got(Got::Failed(5)),
            Todo { watch: Some(false), end: true, report, ..Todo::default() }
        );
        assert!(!flow.is_watched() && !flow.is_queued());
    }

    /// Whatever the reads give, in whatever order: the rules of the header.
    #[test]
    fn the_rules_hold_after_any_reads() {
        let gots = [bytes(1), bytes(ROOM), Got::Nothing, Got::End, Got::Failed(5)];
        for path in 0..5_usize.pow(5) {
            for close_at in 0..6 {
                let (mut flow, mut watched, mut ends, mut recorded) = (Flow::new(), true, 0, 0);
                for step in 0..5 {
                    if step == close_at {
                        assert_eq!(flow.close(0).bytes, recorded);
                        ends += 1;
                    }
                    let got = gots[path / 5_usize.pow(step) % 5];
                    let todo = flow.got(got);
                    assert!(!(todo.record && ends > 0), "recorded after its end");
                    if let (true, Got::Bytes { count, .. }) = (todo.record, got) {
                        recorded += count as u64;
                    }
                    watched = todo.watch.unwrap_or(watched);
                    assert_eq!(watched, flow.is_watched());
                    assert_eq!(todo.again, flow.is_queued());
                    ends += usize::from(todo.report.is_some());
                    assert!(ends <= 1, "reported twice");
                    if todo.end {
                        assert!(flow.is_closed() && !watched && !todo.again);
                        break;
                    }
                }
            }
        }
    }
}
