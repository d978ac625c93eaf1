//! The actor: hands each message to the [`Mailroom`] and does what it says.

use crate::{Effect, Limits, Mailroom};
use actix::{Actor, Handler, Recipient};
use ostler_messages::{
    ActorName, Arm, CloseRoom, Crowded, Deliver, Disarm, Drain, OpenRoom, Pending, Progress, Push, PutBack,
    Reply, RoomClosed, Settled, TimerFired, TimerKind, Unclaimed, Wait, context::Context,
};

#[cfg(test)]
mod tests;

/// Whom the inbox speaks to.
pub struct Links {
    /// Sets the timers of calls that wait.
    pub kernel_arm: Recipient<Arm>,
    /// Drops them.
    pub kernel_disarm: Recipient<Disarm>,
    /// Takes the answers.
    pub host: Recipient<Reply>,
    /// The supervisor, at a session's end.
    pub room_closed: Recipient<RoomClosed>,
    /// The supervisor, when too many results are unread, and when no longer.
    pub crowded: Recipient<Crowded>,
}

/// Owner of the deliveries. Its timers belong to [`ActorName::Inbox`] and are of the kind [`TimerKind::Call`].
///
/// Every call is answered exactly once, with one `Reply`; every `CloseRoom` with one `RoomClosed`.
pub struct Inbox {
    mailroom: Mailroom,
    links: Links,
}
impl Inbox {
    /// An inbox without any room.
    pub fn new(links: Links, limits: Limits) -> Inbox {
        Inbox { mailroom: Mailroom::new(limits), links }
    }

    fn perform(&self, effects: Vec<Effect>) {
        let owner = ActorName::Inbox;
        for effect in effects {
            match effect {
                Effect::Reply(reply) => self.links.host.do_send(reply),
                Effect::Arm { call, after_ms } => {
                    self.links.kernel_arm.do_send(Arm { owner, kind: TimerKind::Call(call), after_ms });
                }
                Effect::Disarm { call } => {
                    self.links.kernel_disarm.do_send(Disarm { owner, kind: TimerKind::Call(call) });
                }
                Effect::Closed(closed) => self.links.room_closed.do_send(closed),
                Effect::Crowded(crowded) => self.links.crowded.do_send(crowded),
            }
        }
    }
}
impl Actor for Inbox {
    type Context = Context<Inbox>;
}

/// Each message is one operation of the mailroom; entries are stamped with the time of the input being handled.
macro_rules! handle {
    ($message:ty, |$mailroom:ident, $it:ident, $at:ident| $effects:expr) => {
        impl Handler<$message> for Inbox {
            type Result = ();
            fn handle(&mut self, $it: $message, ctx: &mut Context<Inbox>) {
                let ($mailroom, $at) = (&mut self.mailroom, ctx.stamp());
                let effects = $effects;
                self.perform(effects);
            }
        }
    };
}
handle!(CloseRoom, |mailroom, close, _at| mailroom.close(&close.session_id));
handle!(Deliver, |mailroom, deliver, at| mailroom.deliver(deliver.record.0, at));
handle!(Unclaimed, |mailroom, unclaimed, at| mailroom.deliver(unclaimed.record.0, at));
handle!(Settled, |mailroom, settled, _at| mailroom.settle(&settled.session_id, settled.handle_id));
handle!(Progress, |mailroom, progress, at| mailroom.progress(progress.record.0, at));
handle!(Push, |mailroom, push, at| mailroom.push(push, at));
handle!(Drain, |mailroom, drain, _at| mailroom.drain(drain));
handle!(Wait, |mailroom, wait, _at| mailroom.wait(wait));
handle!(Pending, |mailroom, pending, _at| mailroom.pending(&pending));
handle!(PutBack, |mailroom, back, _at| mailroom.put_back(back));

impl Handler<OpenRoom> for Inbox {
    type Result = ();
    fn handle(&mut self, open: OpenRoom, _: &mut Context<Inbox>) {
        self.mailroom.open(open.session_id);
    }
}
impl Handler<TimerFired> for Inbox {
    type Result = ();
    fn handle(&mut self, fired: TimerFired, _: &mut Context<Inbox>) {
        // The inbox arms no other kind.
        let TimerKind::Call(call) = fired.kind else { return };
        let effects = self.mailroom.expire(call);
        self.perform(effects);
    }
}
