//! A queue into a kernel thread that sleeps in epoll.
//!
//! Unbounded in type, bounded by protocol: the graph has only so many commands outstanding for each live handle (asserted
//! by the lifecycle's walk), and the number of live handles is limited. A bounded queue could block the graph's thread,
//! and two bounded queues in a ring can deadlock.

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Events taken from epoll at once: enough to spread the cost of the call, few enough to look at the queue often.
const EVENTS: usize = 64;
/// The eventfd's own key; everything else is above it.
const WAKE: u64 = 0;

struct Waker {
    event: EventFd,
    asleep: AtomicBool,
}

/// The sending end.
pub(super) struct Outbox<T> {
    queue: Sender<T>,
    waker: Arc<Waker>,
}
impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Outbox<T> {
        Outbox { queue: self.queue.clone(), waker: self.waker.clone() }
    }
}
impl<T> Outbox<T> {
    /// Never blocks. A thread that is gone hears nothing, and its end is told to the graph as news.
    pub(super) fn send(&self, message: T) {
        if self.queue.send(message).is_ok() && self.waker.asleep.swap(false, Ordering::SeqCst) {
            // The counter can't overflow: it is written once for each sleep.
            let _ = self.waker.event.write(1);
        }
    }
}

/// The thread's end: its queue and its epoll.
pub(super) struct Mailbox<T> {
    queue: Receiver<T>,
    waker: Arc<Waker>,
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

pub(super) fn mailbox<T>() -> io::Result<(Outbox<T>, Mailbox<T>)> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&event, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
    let (sender, queue) = unbounded();
    let waker = Arc::new(Waker { event, asleep: AtomicBool::new(false) });
    let events = vec![EpollEvent::empty(); EVENTS];
    Ok((Outbox { queue: sender, waker: waker.clone() }, Mailbox { queue, waker, epoll, events }))
}

impl<T> Mailbox<T> {
    /// Watches a descriptor for reading; `key` must not be 0.
    pub(super) fn watch(&self, fd: BorrowedFd<'_>, key: u64) -> Result<(), Errno> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key))
    }

    pub(super) fn unwatch(&self, fd: impl AsFd) {
        // Not watched any more is what was wanted.
        let _ = self.epoll.delete(fd);
    }

    pub(super) fn try_next(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }

    /// Sleeps until a descriptor is ready, a message comes, or the time is there; gives the keys that are ready.
    pub(super) fn sleep(&mut self, until: Option<Instant>) -> Vec<u64> {
        self.waker.asleep.store(true, Ordering::SeqCst);
        let timeout = match until {
            _ if !self.queue.is_empty() => EpollTimeout::ZERO,
            None => EpollTimeout::NONE,
            Some(until) => timeout(until.saturating_duration_since(Instant::now())),
        };
        let count = self.epoll.wait(&mut self.events, timeout).unwrap_or(0);
        self.waker.asleep.store(false, Ordering::SeqCst);
        let keys = self.events[..count].iter().map(EpollEvent::data);
        keys.filter(|key| {
            if *key == WAKE {
                let _ = self.waker.event.read();
            }
            *key != WAKE
        })
        .collect()
    }
}

/// Rounded up, so that a thread does not wake just before its time and spin.
fn timeout(wait: Duration) -> EpollTimeout {
    let ms = wait.as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(i32::try_from(ms).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::MAX)
}
