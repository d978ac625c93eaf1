//! What the graph wants to know of running processes.
//!
//! * in: peeks, surveys, waits
//! * out: what was seen; waits to the follow thread, with the means to look at their trees
//! * keeps: nobody who asks waits for a disk

use super::State;
use crate::{
    backend::KernelEvent,
    linux::{clock::millis, contain::view::TreeView, follow::thread::FollowCommand, watch::child::Child},
};
use ostler_messages::{ActorName, Condition, Follow, Peek, Peeked, SeenProcess, Survey, Surveyed};

impl State {
    /// Not by its drain thread, which a disk may hold.
    pub(super) fn peek(&self, peek: &Peek) {
        let output = self.thread.outputs.peek(peek.n, peek.inline_bytes);
        let (sealed, output) = (output.is_none(), output.unwrap_or_default());
        // One that has not come here yet has only just begun.
        let silence_ms = self.children.0.get(&peek.n).map_or(0, |child| self.silence_ms(child));
        let paused = self.pauses.is_paused(peek.n);
        let peeked = Peeked { output, silence_ms, call: peek.call, sealed, paused };
        let _ = self.thread.events.send(KernelEvent::new(peek.owner, peeked));
    }

    pub(super) fn survey(&self, survey: &Survey) {
        let seen = |n: &u64| {
            let child = self.children.0.get(n)?;
            Some(SeenProcess {
                n: *n,
                age_ms: millis(child.began.elapsed()),
                silence_ms: self.silence_ms(child),
                paused: self.pauses.is_paused(*n),
            })
        };
        let surveyed = Surveyed { call: survey.call, seen: survey.ns.iter().filter_map(seen).collect() };
        let _ = self.thread.events.send(KernelEvent::new(ActorName::Supervisor, surveyed));
    }

    /// The follow thread does it; of trees it knows what it is told here.
    pub(super) fn follow(&self, follow: Follow) {
        let looks = |condition: &Condition| matches!(condition, Condition::Port { .. } | Condition::Input);
        let view = follow.conditions.iter().any(looks).then(|| self.view(follow.n)).flatten();
        self.tell_follower(FollowCommand::Follow(follow, view));
    }

    pub(super) fn view(&self, n: u64) -> Option<TreeView> {
        self.children.0.get(&n).and_then(Child::view)
    }

    pub(super) fn tell_follower(&self, command: FollowCommand) {
        // Its end was reported.
        let _ = self.thread.follower.send(command);
    }

    fn silence_ms(&self, child: &Child) -> u64 {
        match child.activity.is_unread() {
            // Its reader is behind.
            true => 0,
            false => child.activity.silent_us(self.thread.clock.now_us()) / 1_000,
        }
    }
}
