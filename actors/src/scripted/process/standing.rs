//! A scripted process that stands still: paused, or because its follower does not read.
//!
//! What it had planned is kept by the player, which knows the time.

use super::{Planned, Process};
use crate::scripted::program::Step;
use ostler_messages::{Stream, TerminalSize, UnixSignal};
use std::{collections::VecDeque, sync::Arc};

/// What comes to a process while it stands still.
#[derive(Default)]
pub(super) struct Standing {
    paused: bool,
    /// What it has said, and there was no room for.
    unread: VecDeque<(Stream, Vec<u8>)>,
    raised: Vec<UnixSignal>,
    size: Option<TerminalSize>,
}

impl Process {
    pub(in crate::scripted) fn stands(&self) -> bool {
        self.standing.paused || !self.standing.unread.is_empty()
    }
    pub(in crate::scripted) fn is_paused(&self) -> bool {
        self.standing.paused
    }
    pub(in crate::scripted) fn has_ended(&self) -> bool {
        self.exit.is_some()
    }
    pub(in crate::scripted) fn is_being_stopped(&self) -> bool {
        self.signalled
    }
    /// For how long it has said nothing.
    pub(in crate::scripted) fn silent_us(&self, now_us: u64) -> u64 {
        match self.standing.unread.is_empty() {
            true => self.paused_at_us.unwrap_or(now_us).saturating_sub(self.last_byte_us),
            false => 0,
        }
    }

    pub(in crate::scripted) fn pause(&mut self, now_us: u64) {
        self.standing.paused = true;
        self.paused_at_us = Some(now_us);
        self.input.iter_mut().for_each(|input| input.stands = true);
    }

    pub(in crate::scripted) fn resume(&mut self, now_us: u64) {
        self.standing.paused = false;
        if let Some(since_us) = self.paused_at_us.take() {
            self.last_byte_us = (self.last_byte_us + (now_us - since_us)).min(now_us);
        }
        for signal in std::mem::take(&mut self.standing.raised) {
            self.raise(signal, now_us);
        }
        if let Some(size) = self.standing.size.take() {
            self.set_size(size, now_us);
        }
        self.speak(now_us);
    }

    /// A signal of the host's that has to wait.
    pub(super) fn waits_with(&mut self, signal: UnixSignal) -> bool {
        if self.standing.paused {
            self.standing.raised.push(signal);
        }
        self.standing.paused
    }
    pub(super) fn waits_with_size(&mut self, size: TerminalSize) -> bool {
        if self.standing.paused {
            self.standing.size = Some(size);
        }
        self.standing.paused
    }

    /// It says this as soon as there is room for it.
    pub(super) fn queue(&mut self, stream: Stream, bytes: &[u8]) {
        self.standing.unread.push_back((stream, bytes.to_vec()));
    }

    /// One piece of a flood, and the next one a millisecond later.
    pub(super) fn flood(&mut self, piece: Arc<[u8]>, left: u64, now_us: u64) {
        let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.say(Stream::Stdout, &piece[..count], now_us);
        let left = left - count as u64;
        if left > 0 && count > 0 {
            self.plans.push((now_us + 1_000, Planned::Step(Step::Floods(piece, left))));
        }
    }

    /// As much of what it has to say as there is room for.
    pub(in crate::scripted) fn speak(&mut self, now_us: u64) {
        while let Some((stream, mut bytes)) = self.standing.unread.pop_front() {
            let room = self
                .growth
                .room()
                .map_or(bytes.len(), |room| bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            let rest = bytes.split_off(room);
            self.record(stream, &bytes, now_us);
            if !rest.is_empty() {
                self.standing.unread.push_front((stream, rest));
            }
            // Asked for until there is none: who found none is told when there is some.
            if room == 0 {
                break;
            }
        }
        let stands = self.stands();
        self.input.iter_mut().for_each(|input| input.stands = stands);
        if !stands {
            self.flow(now_us);
        }
    }

    /// It is about to end, or has ended: nobody is waited for any more.
    pub(super) fn lift(&mut self, now_us: u64) {
        self.growth.lift();
        self.speak(now_us);
    }
}
