//! The actor: hands each message to the [`Queues`] and does what it says.
//!
//! * in: deliveries of the supervisor and the tickers; requests, acks and nacks of the host; the ends of its readers; timers
//! * out: replies, timers, and what the supervisor must know of queues
//! * keeps: it decides nothing: each message is one call of the queues

use crate::{Effect, Limits, Queues};
use actix::{Actor, Handler, Recipient};
use ostler_context::{Context, Sent};
use ostler_messages::{
    Ack, Acknowledge, ActorName, Append, AppendAll, Arm, CloseQueue, Deliver, Disarm, DiscardAll, Discarded,
    Drain, JournalTrouble, LaunchesPaused, Nack, NoQueue, NotifiedAll, Notify, OpenQueue, Pending, Progress,
    Push, QueueClosed, QueueEmptied, Read, ReaderGone, RefuseLaunch, Reply, RestoreQueues, ResultsGone,
    Subscribe, TakeResult, TimerFired, Unsubscribe, Wait, WriteAgain,
};

#[cfg(test)]
mod tests;

/// Whom the inbox speaks to.
pub struct Links {
    /// Sets timers: of calls that wait, of what is read and not acknowledged.
    pub kernel_arm: Recipient<Sent<Arm>>,
    /// Drops them.
    pub kernel_disarm: Recipient<Sent<Disarm>>,
    /// Takes the answers.
    pub host: Recipient<Sent<Reply>>,
    /// Takes what subscribers are told.
    pub notify: Recipient<Sent<Notify>>,
    /// Takes that nothing more comes for a subscriber.
    pub notified_all: Recipient<Sent<NotifiedAll>>,
    /// The supervisor, when results are read or discarded.
    pub results_gone: Recipient<Sent<ResultsGone>>,
    /// The supervisor, at a session's end.
    pub queue_closed: Recipient<Sent<QueueClosed>>,
    /// The supervisor, when the entries of a closed queue are gone.
    pub queue_emptied: Recipient<Sent<QueueEmptied>>,
    /// The supervisor, when too many results of a session are unread, and when no longer.
    pub launches_paused: Recipient<Sent<LaunchesPaused>>,
    /// The supervisor, which knows why a session has no queue.
    pub no_queue: Recipient<Sent<NoQueue>>,
    /// The supervisor, at the graph's end.
    pub discarded: Recipient<Sent<Discarded>>,
    /// The journal, for what is to survive the host.
    pub append: Recipient<Sent<Append>>,
    /// The same, when it begins anew.
    pub append_all: Recipient<Sent<AppendAll>>,
}

/// Owner of the deliveries. Its timers belong to [`ActorName::Inbox`] and are of the kinds
/// [`TimerKind::Call`](ostler_messages::TimerKind::Call) and [`TimerKind::Redeliver`](ostler_messages::TimerKind::Redeliver).
///
/// Every call is answered exactly once, with one `Reply`, or one `NoQueue`; every `CloseQueue` with one `QueueClosed`.
pub struct Inbox {
    queues: Queues,
    links: Links,
}
impl Inbox {
    /// An inbox without any queue.
    /// `journaled`: what it holds is to survive the host.
    pub fn new(links: Links, limits: Limits, journaled: bool) -> Inbox {
        let queues = Queues::new(limits);
        Inbox { queues: if journaled { queues.journaled() } else { queues }, links }
    }

    fn perform(&self, effects: Vec<Effect>) {
        let owner = ActorName::Inbox;
        for effect in effects {
            match effect {
                Effect::Reply(reply) => self.links.host.do_send(Sent(reply)),
                Effect::Arm { timer: kind, after_ms } => {
                    self.links.kernel_arm.do_send(Sent(Arm { owner, kind, after_ms }));
                }
                Effect::Disarm { timer: kind } => {
                    self.links.kernel_disarm.do_send(Sent(Disarm { owner, kind }));
                }
                Effect::Append(append) => self.links.append.do_send(Sent(append)),
                Effect::Closed(closed) => self.links.queue_closed.do_send(Sent(closed)),
                Effect::Emptied(emptied) => self.links.queue_emptied.do_send(Sent(emptied)),
                Effect::Gone(gone) => self.links.results_gone.do_send(Sent(gone)),
                Effect::Paused(paused) => self.links.launches_paused.do_send(Sent(paused)),
                Effect::Notify(notify) => self.links.notify.do_send(Sent(notify)),
                Effect::NotifiedAll(all) => self.links.notified_all.do_send(Sent(all)),
                Effect::NoQueue(no_queue) => self.links.no_queue.do_send(Sent(no_queue)),
            }
        }
    }
}
impl Actor for Inbox {
    type Context = Context<Inbox>;
}

/// Each message is one operation of the [`Queues`]; entries are stamped with the time of the input being handled.
macro_rules! handle {
    ($message:ty, |$queues:ident, $it:ident, $at:ident| $effects:expr) => {
        impl Handler<Sent<$message>> for Inbox {
            type Result = ();
            fn handle(&mut self, Sent($it): Sent<$message>, ctx: &mut Context<Inbox>) {
                let ($queues, $at) = (&mut self.queues, ctx.stamp());
                let effects = $effects;
                self.perform(effects);
            }
        }
    };
}
handle!(OpenQueue, |queues, open, _at| queues.open(open.session_id, open.next));
handle!(RestoreQueues, |queues, restore, _at| queues.restore(restore.sessions));
handle!(JournalTrouble, |queues, trouble, at| queues.journal_trouble(&trouble.error, at));
handle!(CloseQueue, |queues, close, _at| queues.close(&close.session_id, close.discard));
handle!(RefuseLaunch, |queues, refused, _at| queues.refuse_launch(&refused));
handle!(Deliver, |queues, deliver, at| queues.deliver(deliver.record.0, &deliver.to_calls, at));
handle!(TakeResult, |queues, take, _at| queues.take_result(take.call, take.stored));
handle!(Progress, |queues, progress, at| queues.progress(progress.record.0, at));
handle!(Push, |queues, push, at| queues.push(push, at));
handle!(Drain, |queues, drain, _at| queues.drain(drain));
handle!(Read, |queues, read, _at| queues.read(read));
handle!(Acknowledge, |queues, acknowledge, _at| queues.acknowledge(acknowledge));
handle!(ReaderGone, |queues, gone, _at| queues.reader_gone(&gone));
handle!(Subscribe, |queues, subscribe, _at| queues.subscribe(subscribe));
handle!(Wait, |queues, wait, _at| queues.wait(wait));
handle!(Pending, |queues, pending, _at| queues.pending(&pending));
handle!(Ack, |queues, ack, _at| queues.ack(ack.call));
handle!(Nack, |queues, nack, at| queues.nack(nack.call, at));
handle!(TimerFired, |queues, fired, _at| queues.time_up(fired.kind));

impl Handler<Sent<Unsubscribe>> for Inbox {
    type Result = ();
    fn handle(&mut self, Sent(gone): Sent<Unsubscribe>, _: &mut Context<Inbox>) {
        self.queues.unsubscribe(&gone);
    }
}
impl Handler<Sent<WriteAgain>> for Inbox {
    type Result = ();
    fn handle(&mut self, _: Sent<WriteAgain>, _: &mut Context<Inbox>) {
        let all = AppendAll { by: ActorName::Inbox, rows: self.queues.rows() };
        self.links.append_all.do_send(Sent(all));
    }
}
impl Handler<Sent<DiscardAll>> for Inbox {
    type Result = ();
    fn handle(&mut self, _: Sent<DiscardAll>, _: &mut Context<Inbox>) {
        let unread = self.queues.discard_all();
        self.links.discarded.do_send(Sent(Discarded { unread }));
    }
}
