//! A queue into a kernel thread that sleeps in epoll.
//!
//! Unbounded in type, bounded by protocol: the graph has only so many commands outstanding for each live handle (asserted
//! by the lifecycle's walk), and the number of live handles is limited. A bounded queue could block the graph's thread,
//! and two bounded queues in a ring can deadlock.
//!
//! Waking a thread costs more than most of what it is asked for. So what is not urgent is *deferred*: it is taken up, in its
//! place in the queue, when the thread wakes for something else.

use crate::linux::sys;
use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        eventfd::{EfdFlags, EventFd},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Events taken from epoll at once: enough to spread the cost of the call, few enough to look at the queue often.
const EVENTS: usize = 64;
/// Most deferred messages: taking them up delays what is urgent by about 100 µs.
const DEFERRED_MAX: usize = 64;
/// The eventfd's own key; those of processes and streams are above it.
const WAKE: u64 = 0;
/// The deadline's.
const DEADLINE: u64 = u64::MAX;

struct Waker {
    event: EventFd,
    asleep: AtomicBool,
    epoll: Epoll,
}
impl Waker {
    fn watch(&self, fd: BorrowedFd<'_>, key: u64) -> Result<(), Errno> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key))
    }
    fn unwatch(&self, fd: impl AsFd) {
        // Not watched any more is what was wanted.
        let _ = self.epoll.delete(fd);
    }
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // The counter can't overflow: it is written once for each sleep.
            let _ = self.event.write(1);
        }
    }
}

fn for_room(room: bool) -> EpollFlags {
    if room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() }
}

/// The sending end.
pub(crate) struct Outbox<T> {
    queue: Sender<T>,
    waker: Arc<Waker>,
}
impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Outbox<T> {
        Outbox { queue: self.queue.clone(), waker: self.waker.clone() }
    }
}
impl<T> Outbox<T> {
    /// Never blocks. A thread that is gone hears nothing; its end was reported to the graph.
    pub(crate) fn send(&self, message: T) {
        if self.queue.send(message).is_ok() {
            self.waker.wake();
        }
    }

    /// For when the thread wakes anyway, or much is deferred.
    pub(crate) fn defer(&self, message: T) {
        if self.queue.send(message).is_ok() && self.queue.len() >= DEFERRED_MAX {
            self.waker.wake();
        }
    }

    /// Whether the thread has nothing to do at this moment.
    pub(crate) fn is_asleep(&self) -> bool {
        self.waker.asleep.load(Ordering::SeqCst)
    }

    /// Watches a descriptor for the thread, for reading. The key comes out of its sleep; it must not be 0.
    pub(crate) fn watch(&self, fd: BorrowedFd<'_>, key: u64) -> Result<(), Errno> {
        self.waker.watch(fd, key)
    }
    pub(crate) fn unwatch(&self, fd: impl AsFd) {
        self.waker.unwatch(fd);
    }
    /// The same for an end that is written to: when it has room, or only when nobody reads it any more.
    pub(crate) fn watch_for_room(&self, fd: BorrowedFd<'_>, key: u64, room: bool) -> Result<(), Errno> {
        self.waker.epoll.add(fd, EpollEvent::new(for_room(room), key))
    }
    /// The same, but the key comes once.
    pub(crate) fn watch_once(&self, fd: BorrowedFd<'_>, key: u64) -> Result<(), Errno> {
        self.waker.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, key))
    }
}

/// Wakes a thread at a time, for what is deferred. Setting it costs a system call only if it would be too late.
pub(crate) struct Deadline(Arc<DeadlineTimer>);

struct DeadlineTimer {
    timer: TimerFd,
    begin: Instant,
    /// When it wakes the thread, in nanoseconds since `begin`; 0 if it is not set. The thread sets it back when it wakes,
    /// before it looks into its queue: so whoever finds a time here, even one that is past, is not too late with what he
    /// has deferred.
    wakes_at: AtomicU64,
}

impl Deadline {
    /// For that time at the latest. For one thread only.
    pub(crate) fn set(&mut self, at: Instant) {
        let DeadlineTimer { timer, begin, wakes_at } = &*self.0;
        let ns = u64::try_from(at.saturating_duration_since(*begin).as_nanos()).unwrap_or(u64::MAX).max(1);
        let set = wakes_at.load(Ordering::SeqCst);
        if set != 0 && set <= ns {
            return;
        }
        wakes_at.store(ns, Ordering::SeqCst);
        // A time of 0 would mean never.
        let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        // Refused only for a time that is no time.
        let once = Expiration::OneShot(TimeSpec::from_duration(wait));
        let _ = timer.set(once, TimerSetTimeFlags::empty());
    }
}

/// The thread's end: its queue and its epoll.
pub(crate) struct Mailbox<T> {
    queue: Receiver<T>,
    waker: Arc<Waker>,
    deadline: Arc<DeadlineTimer>,
    events: Vec<EpollEvent>,
}

/// Both ends, and the thread's deadline.
pub(crate) fn mailbox<T>() -> io::Result<(Outbox<T>, Deadline, Mailbox<T>)> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let waker = Arc::new(Waker { event, asleep: AtomicBool::new(false), epoll });
    waker.watch(waker.event.as_fd(), WAKE)?;
    waker.watch(timer.as_fd(), DEADLINE)?;
    let deadline = Arc::new(DeadlineTimer { timer, begin: Instant::now(), wakes_at: AtomicU64::new(0) });
    let (sender, queue) = unbounded();
    let events = vec![EpollEvent::empty(); EVENTS];
    let outbox = Outbox { queue: sender, waker: waker.clone() };
    Ok((outbox, Deadline(deadline.clone()), Mailbox { queue, waker, deadline, events }))
}

impl<T> Mailbox<T> {
    /// No longer wakes the thread for a descriptor that is watched. Its place among the watched ones is kept: how many a
    /// user may watch is limited (epoll(7), `max_user_watches`), and who gave it up might not get it again. Once more it
    /// may wake it all the same, if every writer goes.
    pub(crate) fn pause(&self, fd: impl AsFd) {
        self.modify(fd, EpollEvent::new(EpollFlags::EPOLLONESHOT, WAKE));
    }
    /// Wakes the thread for it again.
    pub(crate) fn resume(&self, fd: impl AsFd, key: u64) {
        self.modify(fd, EpollEvent::new(EpollFlags::EPOLLIN, key));
    }
    /// Wakes the thread when an end that is written to has room; or only when nobody reads it any more, which always does.
    pub(crate) fn wake_for_room(&self, fd: impl AsFd, key: u64, room: bool) {
        self.modify(fd, EpollEvent::new(for_room(room), key));
    }
    fn modify(&self, fd: impl AsFd, mut event: EpollEvent) {
        // Refused only for a descriptor that is not watched; nothing is allocated.
        let _ = self.waker.epoll.modify(fd, &mut event);
    }

    pub(crate) fn unwatch(&self, fd: impl AsFd) {
        self.waker.unwatch(fd);
    }

    pub(crate) fn try_next(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }

    /// A descriptor is ready that this thread has not heard of: whoever has it watched is about to defer the message. To
    /// look again at once would only take the processor away from it.
    pub(crate) fn expect(&self) -> Option<T> {
        /// It has nothing to do in between.
        const MOMENT: Duration = Duration::from_millis(1);
        self.queue.recv_timeout(MOMENT).ok()
    }

    /// Sleeps until a descriptor is ready, a message comes, or the time is there; gives the keys that are ready, in the place
    /// of those that were given before.
    pub(crate) fn sleep(&mut self, until: Option<Instant>, ready: &mut Vec<u64>) {
        self.waker.asleep.store(true, Ordering::SeqCst);
        let wait = match until {
            _ if !self.queue.is_empty() => Some(Duration::ZERO),
            until => until.map(|until| until.saturating_duration_since(Instant::now())),
        };
        let count = sys::wait_for_events(&self.waker.epoll, &mut self.events, wait);
        self.waker.asleep.store(false, Ordering::SeqCst);
        let keys = self.events[..count].iter().map(EpollEvent::data);
        ready.clear();
        ready.extend(keys.filter(|key| match *key {
            WAKE => {
                let _ = self.waker.event.read();
                false
            }
            DEADLINE => {
                // It doesn't block: one that was set anew meanwhile has nothing to read, and will ring.
                if self.deadline.timer.wait().is_ok() {
                    self.deadline.wakes_at.store(0, Ordering::SeqCst);
                }
                false
            }
            _ => true,
        }));
    }
}
