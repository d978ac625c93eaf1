//! A drain thread with two floods gives one to a thread that sleeps.
//!
//! * in: what each process has said in a window; processes from other threads
//! * out: a process, whole, to a peer
//! * keeps: a process moves once, and what is asked about it goes after it

use super::{Drain, DrainCommand, FLOOD_BYTES, State, key, of_key};
use crate::linux::mailbox::Outbox;
use ostler_messages::Stream;
use std::os::fd::{AsFd, OwnedFd};

impl State {
    /// Gives a flood to a thread that has nothing to do, if there were two: the other stays.
    pub(super) fn share(&mut self) {
        let flowed = std::mem::take(&mut self.flowed);
        let mut floods =
            flowed.into_iter().filter(|(_, bytes)| *bytes >= FLOOD_BYTES).map(|(n, _)| n).skip(1);
        let may_move = |n: &u64| self.drains.get(n).is_some_and(|drain| !drain.moved && !drain.held);
        let Some(other) = floods.find(may_move) else { return };
        let Some(peer) = self.thread.peers.iter().position(Outbox::is_asleep) else { return };
        let Some(mut drain) = self.drains.remove(&other) else { return };
        let outbox = &self.thread.peers[peer];
        let pipes = || drain.streams.iter().zip(Stream::BOTH);
        let streams_watched = pipes().all(|(source, stream)| {
            source.pipe.as_ref().is_none_or(|pipe| outbox.watch(pipe.as_fd(), key(other, stream)).is_ok())
        });
        let watched = streams_watched && drain.input.as_ref().is_none_or(|input| input.watch(outbox).is_ok());
        // So many descriptors are watched that no more can be (epoll(7)): it stays.
        let unwatch = |from: &dyn Fn(&OwnedFd)| {
            pipes().for_each(|(source, _)| source.pipe.iter().for_each(|pipe| from(pipe)));
            drain.input.iter().for_each(|input| from(&input.pipe));
        };
        if !watched {
            unwatch(&|pipe| outbox.unwatch(pipe));
            self.drains.insert(other, drain);
            return;
        }
        unwatch(&|pipe| self.thread.mailbox.unwatch(pipe));
        self.full.retain(|key| of_key(*key) != other);
        drain.moved = true;
        self.moved.insert(other, peer);
        outbox.send(DrainCommand::TakeOver(drain));
    }

    /// Its pipes are watched here already.
    pub(super) fn take_over(&mut self, drain: Box<Drain>) {
        for (source, stream) in drain.streams.iter().zip(Stream::BOTH) {
            if let Some(pipe) = source.pipe.as_ref().filter(|_| source.flow.is_queued()) {
                self.thread.mailbox.pause(pipe);
                self.full.push_back(key(drain.n, stream));
            }
        }
        self.drains.insert(drain.n, drain);
    }
}
