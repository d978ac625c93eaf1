//! Entries as they come, for whoever looks on and takes nothing.
//!
//! * in: what the graph tells a subscriber
//! * out: a stream, and a blocking iterator
//! * keeps: an entry that was fetched and not returned stays for the next look

use super::{Call, Inbox, Ostler, call::fill};
use crate::backend::Subscriber;
#[cfg(feature = "testing")]
use crate::backend::{HostInput, Waiting, WorldInput};
use blocking::Task;
use futures_core::Stream;
use futures_lite::future;
use ostler_messages::{
    Answer, Content, Entry, Filter, SessionId, Subscribe, Subscribed, SubscriptionId, Unsubscribe,
};
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

impl Inbox {
    /// Tells of the entries that fit: first of those that are unread, free or held by a reader, then of each that comes, once. It
    /// removes nothing, marks nothing as read, and holds up nobody. A result that goes to whoever cancelled its command, or asked for it
    /// by its handle, is no entry.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("make", Program::new().exits_at(Duration::from_secs(9), 2));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let mut subscription = session.inbox().subscribe(Filter::any()).wait()?;
    /// session.launch(Command::new("make")).wait()?;
    ///
    /// // In async code: `while let Some(item) = subscription.next().await`, or as a `Stream`.
    /// for item in &mut subscription {
    ///     match item {
    ///         Subscribed::Entry(entry) if entry.is_result() => break,
    ///         Subscribed::Entry(_) => {}
    ///         Subscribed::Lagged { missed } => println!("{missed} entries were left out"),
    ///     }
    /// }
    /// assert_eq!(session.inbox().drain().wait()?.len(), 1, "it took nothing");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Safe to drop: then there is no subscription.
    ///
    /// # Errors
    /// `LimitReached` when the session has [`Limits::subscriptions`](crate::Limits::subscriptions) already; `SessionUnknown`.
    pub fn subscribe(&self, filter: Filter) -> Call<Subscription> {
        self.subscribe_with(filter, false, Some)
    }

    /// `at_once`: in a scripted world it does not hold up time, and is told what comes in nobody's turn.
    pub(super) fn subscribe_with<T>(
        &self,
        filter: Filter,
        at_once: bool,
        make: impl FnOnce(Subscription) -> Option<T> + Send + 'static,
    ) -> Call<T> {
        let (ostler, session_id) = (self.ostler().clone(), self.session_id());
        let client = ostler.client();
        let id = SubscriptionId(client.next_subscription.fetch_add(1, Ordering::Relaxed) + 1);
        let subscriber = client.subscribers.add(id, at_once);
        let seat = Seat { id, subscriber, ostler, session_id: session_id.clone() };
        self.ostler().call(
            |call| Subscribe { call, session_id, subscription: id, filter },
            move |answer| match answer {
                Answer::Subscribed(_) => make(Subscription::new(seat)),
                _ => None,
            },
        )
    }
}

/// A place among the subscribers, from before the request until nobody looks any more.
struct Seat {
    id: SubscriptionId,
    subscriber: Arc<Subscriber>,
    ostler: Ostler,
    session_id: SessionId,
}
impl Seat {
    /// A forked copy of the process has nobody who tells it anything, and locks that nobody may ever open.
    fn is_here(&self) -> bool {
        self.ostler.client().is_here()
    }
}
impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_here() {
            self.ostler.client().subscribers.remove(self.id);
        }
    }
}

/// The entries of an inbox as they come; see [`Inbox::subscribe`]. It is a `Stream`, `for item in &mut subscription` blocks the thread
/// for each, and [`next`](Subscription::next) waits for one.
///
/// At most 1,024 entries wait to be looked at, [`BACKLOG_ENTRIES`](crate::BACKLOG_ENTRIES); whoever is further behind is given
/// [`Subscribed::Lagged`] with the number of those that were left out, the oldest ones, and goes on. Of each handle at most one progress
/// entry waits, the newest, and none when the result does. So a subscriber that never looks costs bounded memory, and nobody
/// else anything.
///
/// It ends when the session has ended and everything was given, or when the graph ends. Dropping it ends it too.
///
/// In a scripted [`World`](crate#testing-a-host) time moves while a thread waits for the next entry. A `Stream` that was polled and is not
/// waited for any more lets time run on until its next entry: there, `next` is exact, since it is told when it is dropped.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    seat: Seat,
    /// An entry whose text was left out is completed from disk.
    reloading: Option<Task<Entry>>,
    /// In a scripted world: none if it does not hold up time.
    #[cfg(feature = "testing")]
    waiting: Option<Waiting>,
}

impl Subscription {
    fn new(seat: Seat) -> Subscription {
        #[cfg(feature = "testing")]
        let client = seat.ostler.client();
        #[cfg(feature = "testing")]
        let waits = client.virtual_time && !seat.subscriber.is_told_at_once();
        #[cfg(feature = "testing")]
        let waiting = waits.then(|| Waiting::new(client.pace.clone()));
        Subscription {
            #[cfg(feature = "testing")]
            waiting,
            seat,
            reloading: None,
        }
    }
    /// The next one; none when it has ended. Safe to drop: an entry that was not returned is the next one again.
    #[allow(
        clippy::should_implement_trait,
        reason = "the word of every stream; an iterator would block, and `iter` says so"
    )]
    pub fn next(&mut self) -> NextEntry<'_> {
        NextEntry(self)
    }
    /// The same in blocking form: each look waits for the next one. Don't use it on a runtime's thread.
    pub fn iter(&mut self) -> Entries<'_> {
        Entries(self)
    }
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Subscribed>> {
        if !self.seat.is_here() {
            return Poll::Ready(None);
        }
        loop {
            if let Some(reloading) = &mut self.reloading {
                let entry = ready!(Pin::new(reloading).poll(cx));
                self.reloading = None;
                return Poll::Ready(Some(Subscribed::Entry(entry)));
            }
            match self.seat.subscriber.poll_next(cx) {
                Poll::Ready(Some(Subscribed::Entry(entry))) if lacks_text(&entry) => {
                    self.reloading = Some(blocking::unblock(move || with_text(entry)));
                }
                Poll::Pending => {
                    #[cfg(feature = "testing")]
                    self.announce(cx);
                    return Poll::Pending;
                }
                ready => {
                    self.seat.ostler.client().step();
                    return ready;
                }
            }
        }
    }

    /// In virtual time: whether the host does nothing but wait for it.
    #[cfg(feature = "testing")]
    fn announce(&mut self, cx: &Context<'_>) {
        let Seat { subscriber, ostler, .. } = &self.seat;
        let Some(waiting) = &mut self.waiting else { return };
        let requests = &ostler.client().requests;
        // A graph that has ended has ended this, too.
        if subscriber.begins_to_wait() {
            let _ = requests.send(HostInput::World(WorldInput::Listens(subscriber.clone())));
        }
        if let Some(answers) = waiting.idle(cx) {
            let _ = requests.send(HostInput::World(WorldInput::Idle(answers)));
        }
    }

    /// Nobody waits for the next one any more.
    fn leave(&mut self) {
        self.seat.subscriber.stops_waiting();
        #[cfg(feature = "testing")]
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.has_begun()) {
            let client = self.seat.ostler.client();
            *waiting = Waiting::new(client.pace.clone());
            client.leave();
        }
    }
}
impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.seat.is_here() {
            return;
        }
        self.leave();
        let Seat { id, subscriber, ostler, session_id } = &self.seat;
        if !subscriber.has_ended() {
            ostler.client().tell(Unsubscribe { session_id: session_id.clone(), subscription: *id });
        }
    }
}
impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("session_id", &self.seat.session_id).finish_non_exhaustive()
    }
}
impl Stream for Subscription {
    type Item = Subscribed;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Subscribed>> {
        self.get_mut().poll(cx)
    }
}

/// See [`Subscription::iter`].
#[derive(Debug)]
pub struct Entries<'a>(&'a mut Subscription);
impl Iterator for Entries<'_> {
    type Item = Subscribed;
    fn next(&mut self) -> Option<Subscribed> {
        future::block_on(self.0.next())
    }
}
impl<'a> IntoIterator for &'a mut Subscription {
    type Item = Subscribed;
    type IntoIter = Entries<'a>;
    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// See [`Subscription::next`].
#[must_use = "nothing happens before it is awaited"]
#[derive(Debug)]
pub struct NextEntry<'a>(&'a mut Subscription);
impl Future for NextEntry<'_> {
    type Output = Option<Subscribed>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Subscribed>> {
        self.0.poll(cx)
    }
}
impl Drop for NextEntry<'_> {
    fn drop(&mut self) {
        if self.0.seat.is_here() {
            self.0.leave();
        }
    }
}

fn lacks_text(entry: &Entry) -> bool {
    entry.record().is_some_and(|record| record.text_omitted)
}
fn with_text(mut entry: Entry) -> Entry {
    if let Content::Record(record) = &mut entry.content {
        fill(record);
    }
    entry
}
