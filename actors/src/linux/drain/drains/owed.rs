//! What a pipe still holds when its record ends.

use super::{Buffer, Drain, READ_BYTES, Source, sys};
use ostler_messages::Stream;
use std::os::fd::AsFd;

/// Most that is read of a terminal at the end of its record: far more than the kernel holds of one (n_tty has 4 KiB, what is on its way
/// 64 KiB), and less than others who go on writing could keep a thread with.
const TERMINAL_OWED_BYTES: usize = 1 << 20;

/// What the leader wrote before its exit is in the pipe now, if it was not read before: a pipe is first in, first
/// out. So reading as much as it holds now is enough, however fast others go on writing.
pub(super) fn take_owed(buffer: &mut Buffer, drain: &mut Drain, stream: Stream) -> u64 {
    let Source { pipe, flow } = &drain.streams[stream.index()];
    let Some(pipe) = pipe.as_ref().filter(|_| !flow.is_closed()) else { return 0 };
    // What a terminal holds is not all of it: the rest is on its way inside the kernel, and comes with a read.
    let owed = match &drain.terminal {
        Some(_) => TERMINAL_OWED_BYTES,
        None => sys::readable_bytes(pipe.as_fd()).unwrap_or(0),
    };
    let mut taken = 0;
    while taken < owed {
        match buffer.read(pipe, (owed - taken).min(READ_BYTES)) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                buffer.record(count, stream, &mut drain.recorder);
                taken += count;
            }
        }
    }
    taken as u64
}

/// The last words of leftovers that were kept.
pub(super) fn keep_owed(buffer: &mut Buffer, drain: &mut Drain) {
    for Source { pipe, .. } in &drain.streams {
        let Some(pipe) = pipe else { continue };
        let mut owed = sys::readable_bytes(pipe.as_fd()).unwrap_or(0);
        while owed > 0 {
            let Ok(count @ 1..) = buffer.read(pipe, owed.min(READ_BYTES)) else { break };
            buffer.keep(count, &mut drain.recorder);
            owed -= count.min(owed);
        }
    }
}
