//! Entries as messages to an actor of the host's own, which may live in another actix system.
//!
//! * in: a subscription that wakes us
//! * out: a message for each entry
//! * keeps: a mailbox holds at most [`ON_ITS_WAY`] of them; the rest waits in the subscription, where the same limits hold

use super::{Call, Inbox, Subscription};
use actix::{Message, Recipient};
use ostler_messages::{Filter, Subscribed};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// So many messages of one subscription are in an actor's mailbox at most, as many as a mailbox of actix has room for by default:
/// enough to keep an actor at work, and what waits longer waits where progress is replaced.
pub const ON_ITS_WAY: usize = 16;

impl Inbox {
    /// The same as [`subscribe`](Inbox::subscribe), as messages to an actor, in whatever actix system it lives. The graph waits for
    /// it as little as for any subscriber.
    ///
    /// [`ON_ITS_WAY`] of them are in its mailbox at most, beside what others send and whatever its capacity; when it has dropped one, the next
    /// follows. So an actor that is slow is a subscriber that is behind: it misses the oldest entries beyond 1,024, and is told how
    /// many. In a scripted world it does not hold up time.
    ///
    /// Dropping the [`ActorSubscription`] ends it. Until then the actor's address is kept.
    pub fn subscribe_to(&self, filter: Filter, actor: Recipient<Notified>) -> Call<ActorSubscription> {
        self.subscribe_with(filter, true, |subscription| {
            let subscription = Mutex::new(Some(subscription));
            let forward = Arc::new(Forward { actor, subscription, state: Mutex::default() });
            forward.pump();
            Some(ActorSubscription(forward))
        })
    }
}

/// What an actor is told; see [`Inbox::subscribe_to`].
#[derive(Debug)]
pub struct Notified {
    /// An entry, or how many were left out. None, once, when nothing more comes.
    pub item: Option<Subscribed>,
    _slot: Slot,
}
impl Message for Notified {
    type Result = ();
}

/// Entries go to an actor as long as this lives.
#[must_use = "dropping it ends the subscription"]
pub struct ActorSubscription(Arc<Forward>);
impl Drop for ActorSubscription {
    fn drop(&mut self) {
        // Ends here, on the host's thread, and not where somebody else may drop the last share of it.
        let subscription = self.0.subscription().take();
        drop(subscription);
    }
}
impl fmt::Debug for ActorSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorSubscription").finish_non_exhaustive()
    }
}

/// Moves entries from a subscription to an actor, on whichever thread there is something to move: the graph's when an entry comes,
/// the actor's when it has room again. Nothing here blocks.
struct Forward {
    actor: Recipient<Notified>,
    /// None once nobody wants it.
    subscription: Mutex<Option<Subscription>>,
    state: Mutex<State>,
}
#[derive(Debug, Default)]
struct State {
    on_its_way: usize,
    /// Somebody is at it.
    moving: bool,
    /// Meanwhile there was something new.
    again: bool,
    ended: bool,
}

impl Forward {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn subscription(&self) -> MutexGuard<'_, Option<Subscription>> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what can be moved. Whoever comes while somebody is at it leaves it to them: so the order is kept, and a message that is
    /// dropped as it is sent, because the actor is gone, leads no deeper.
    fn pump(self: &Arc<Self>) {
        if self.state().begin() {
            return;
        }
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            while self.state().has_room() {
                let polled = self.subscription().as_mut().map(|subscription| subscription.poll(&mut cx));
                let Some(Poll::Ready(item)) = polled else { break };
                self.state().sends(item.is_none());
                self.actor.do_send(Notified { item, _slot: Slot(self.clone()) });
            }
            if self.state().finish() {
                return;
            }
        }
    }
}
impl State {
    /// True if somebody is at it already.
    fn begin(&mut self) -> bool {
        self.again = self.moving;
        std::mem::replace(&mut self.moving, true)
    }
    fn has_room(&self) -> bool {
        self.on_its_way < ON_ITS_WAY && !self.ended
    }
    fn sends(&mut self, last: bool) {
        self.on_its_way += 1;
        self.ended = last;
    }
    /// True if nothing was new meanwhile.
    fn finish(&mut self) -> bool {
        self.moving = std::mem::take(&mut self.again);
        !self.moving
    }
}
impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.pump();
    }
}

/// A message that is in the mailbox, or being handled.
struct Slot(Arc<Forward>);
impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state().on_its_way -= 1;
        self.0.pump();
    }
}
impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}
