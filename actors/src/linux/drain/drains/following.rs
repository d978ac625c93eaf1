//! Processes whose output waits for its follower.
//!
//! * in: that there is no room, or room again
//! * out: streams that are not read for a while
//! * keeps: what is not recorded any more is read as ever, so that nobody's pipe stays full

use super::{Drain, State, key, of_key};
use ostler_messages::Stream;

impl Drain {
    /// How much may be read of a stream. None: as much as there is.
    pub(super) fn room(&self, stream: Stream) -> Option<u64> {
        let flow = &self.streams[stream.index()].flow;
        self.follow.as_ref().filter(|_| !flow.is_closed()).and_then(|growth| growth.room())
    }
}

impl State {
    /// This stream has something to say, and there is no room for it: neither is read.
    pub(super) fn hold(&mut self, n: u64) {
        let Some(drain) = self.drains.get_mut(&n) else { return };
        self.full.retain(|key| of_key(*key) != n);
        drain.held = true;
        for source in drain.streams.iter().filter(|source| !source.flow.is_queued()) {
            source.pipe.iter().for_each(|pipe| self.thread.mailbox.pause(pipe));
        }
    }

    /// There is room, or nothing is recorded any more.
    pub(super) fn go_on(&mut self, n: u64) {
        let Some(drain) = self.drains.get_mut(&n).filter(|drain| drain.held) else { return };
        drain.held = false;
        for (source, stream) in drain.streams.iter().zip(Stream::BOTH) {
            let key = key(n, stream);
            match &source.pipe {
                Some(_) if source.flow.is_queued() => self.full.push_back(key),
                Some(pipe) => self.thread.mailbox.resume(pipe, key),
                None => {}
            }
        }
    }
}
