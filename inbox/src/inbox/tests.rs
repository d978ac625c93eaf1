//! The actor in a real system, with an actor that writes down what it hears.

use super::*;
use crate::queues::{
    naive::claim,
    tests::{AT, handle, record},
};
use actix::{Addr, System};
use ostler_context::{Sent, Tracer, in_flight, start};
use ostler_messages::{
    Answer, CallId, Entry, Filter, Record, SessionId, Shared, Stamp, Status, TOOL_RESULT, TimerKind,
    trace::Header,
};
use std::{cell::RefCell, future::poll_fn, mem, rc::Rc, sync::Arc, task::Poll, thread};

#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Arm(Arm),
    Disarm(Disarm),
    Reply(Reply),
    ResultsGone(ResultsGone),
    QueueClosed(QueueClosed),
    QueueEmptied(QueueEmptied),
    LaunchesPaused(LaunchesPaused),
    NoQueue(NoQueue),
    Notify(Notify),
    NotifiedAll(NotifiedAll),
    Discarded(Discarded),
    Append(Append),
    AppendAll(AppendAll),
}
struct Listener(Rc<RefCell<Vec<Heard>>>);
impl Actor for Listener {
    type Context = Context<Listener>;
}
macro_rules! hears {
    ($($message:ident),*) => {$(
        impl Handler<Sent<$message>> for Listener {
            type Result = ();
            fn handle(&mut self, Sent(message): Sent<$message>, _: &mut Context<Listener>) {
                self.0.borrow_mut().push(Heard::$message(message));
            }
        }
    )*};
}
hears!(
    Arm,
    Disarm,
    Reply,
    ResultsGone,
    QueueClosed,
    QueueEmptied,
    LaunchesPaused,
    NoQueue,
    Notify,
    NotifiedAll,
    Discarded,
    Append,
    AppendAll
);

struct Bench {
    inbox: Addr<Inbox>,
    heard: Rc<RefCell<Vec<Heard>>>,
    tracer: Tracer,
}
impl Bench {
    fn new(limits: Limits) -> Bench {
        let header = Header::new(31, String::new(), AT);
        let tracer = Tracer::new(&header, None);
        let heard = Rc::default();
        let listener = start(Listener(Rc::clone(&heard)), ActorName::Host, &tracer, None);
        let links = Links {
            kernel_arm: listener.clone().recipient(),
            kernel_disarm: listener.clone().recipient(),
            host: listener.clone().recipient(),
            results_gone: listener.clone().recipient(),
            queue_closed: listener.clone().recipient(),
            queue_emptied: listener.clone().recipient(),
            launches_paused: listener.clone().recipient(),
            no_queue: listener.clone().recipient(),
            notify: listener.clone().recipient(),
            notified_all: listener.clone().recipient(),
            discarded: listener.clone().recipient(),
            append: listener.clone().recipient(),
            append_all: listener.recipient(),
        };
        let inbox = start(Inbox::new(links, limits, false), ActorName::Inbox, &tracer, None);
        Bench { inbox, heard, tracer }
    }
    /// What was said, once all is quiet.
    async fn heard(&self) -> Vec<Heard> {
        while in_flight() > 0 {
            let mut yielded = false;
            poll_fn(|cx| {
                if mem::replace(&mut yielded, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
        assert!(!self.tracer.failed());
        self.heard.take()
    }
}
/// The graph has a thread of its own, and so has the test's.
fn on_a_system(limits: Limits, story: impl AsyncFnOnce(Bench) + Send + 'static) {
    thread::spawn(move || System::new().block_on(async { story(Bench::new(limits)).await })).join().unwrap();
}

fn session_id() -> SessionId {
    SessionId::new("s")
}
fn result(n: u64) -> Shared {
    Shared(shared(n, Status::Completed))
}
fn shared(n: u64, status: Status) -> Arc<Record> {
    record(&session_id(), n, status)
}
fn reply(call: u64, answer: Answer) -> Heard {
    Heard::Reply(Reply { call: CallId(call), answer: Ok(answer), leased_by: None, after: None })
}
fn armed(call: u64, after_ms: u64) -> Heard {
    Heard::Arm(Arm { owner: ActorName::Inbox, kind: TimerKind::Call(CallId(call)), after_ms })
}
fn disarmed(call: u64) -> Heard {
    Heard::Disarm(Disarm { owner: ActorName::Inbox, kind: TimerKind::Call(CallId(call)) })
}
fn drain(call: u64, wait_ms: Option<u64>) -> Drain {
    Drain { call: CallId(call), session_id: session_id(), filter: Filter::any(), max: None, wait_ms }
}
fn wait(call: u64) -> Wait {
    Wait { call: CallId(call), session_id: session_id(), filter: Filter::results(), timeout_ms: 70 }
}
fn drained(heard: &Heard) -> Vec<Entry> {
    match heard {
        Heard::Reply(Reply { answer: Ok(Answer::Drained { entries, .. }), .. }) => entries.clone(),
        other => panic!("not entries: {other:?}"),
    }
}

#[test]
fn a_waiter_is_served_and_its_timer_dropped() {
    on_a_system(Limits::default(), async |bench| {
        bench.inbox.do_send(Sent(OpenQueue { session_id: session_id(), next: None }));
        bench.inbox.do_send(Sent(wait(1)));
        bench.inbox.do_send(Sent(drain(2, Some(50))));
        assert_eq!(bench.heard().await, [armed(1, 70), armed(2, 50)]);

        bench.tracer.set_now_us(7_000);
        bench.inbox.do_send(Sent(Deliver { record: result(1), to_calls: Vec::new() }));
        let heard = bench.heard().await;
        assert_eq!(heard[..3], [disarmed(1), reply(1, Answer::Counted(1)), disarmed(2)]);
        let entries = drained(&heard[3]);
        assert_eq!((entries[0].kind.as_ref(), entries[0].at), (TOOL_RESULT, Stamp(AT.0 + 7)));

        bench.inbox.do_send(Sent(TimerFired { kind: TimerKind::Call(CallId(2)) }));
        bench.inbox.do_send(Sent(TimerFired { kind: TimerKind::Grace }));
        assert_eq!(bench.heard().await, [], "timers that fire late");

        bench.inbox.do_send(Sent(Nack { call: CallId(2) }));
        bench.inbox.do_send(Sent(drain(3, None)));
        assert_eq!(drained(&bench.heard().await[0]), entries);
        bench.inbox.do_send(Sent(Ack { call: CallId(3) }));
        bench.inbox.do_send(Sent(drain(4, None)));
        let heard = bench.heard().await;
        assert_eq!(heard[0], Heard::ResultsGone(ResultsGone { handle_ids: vec![handle(1)] }));
        assert_eq!(drained(&heard[1]), []);
    });
}

#[test]
fn a_timer_that_fires_answers_with_nothing() {
    on_a_system(Limits::default(), async |bench| {
        bench.inbox.do_send(Sent(OpenQueue { session_id: session_id(), next: None }));
        bench.inbox.do_send(Sent(wait(1)));
        bench.inbox.do_send(Sent(Progress { record: Shared(shared(1, Status::Running)) }));
        bench.inbox.do_send(Sent(TimerFired { kind: TimerKind::Call(CallId(1)) }));
        assert_eq!(bench.heard().await, [armed(1, 70), reply(1, Answer::Counted(0))]);
    });
}

#[test]
fn a_session_ends_with_its_unread_results_and_one_whose_canceller_is_gone_still_arrives() {
    let limits = Limits { unread_results: 2, ..Limits::default() };
    on_a_system(limits, async |bench| {
        let (kind, source) = ("note".to_owned(), "me".to_owned());
        let pending = |call| Pending { call: CallId(call), session_id: session_id(), filter: Filter::any() };
        bench.inbox.do_send(Sent(OpenQueue { session_id: session_id(), next: None }));
        bench.inbox.do_send(Sent(Push {
            call: CallId(1),
            session_id: session_id(),
            kind,
            source,
            content: 1.into(),
        }));
        bench.inbox.do_send(Sent(Deliver { record: result(1), to_calls: Vec::new() }));
        bench.inbox.do_send(Sent(Progress { record: Shared(shared(2, Status::Running)) }));
        bench.inbox.do_send(Sent(pending(2)));
        bench.inbox.do_send(Sent(Deliver { record: result(2), to_calls: vec![claim(8)] }));
        bench.inbox.do_send(Sent(pending(3)));
        let counts =
            [reply(1, Answer::Pushed(1)), reply(2, Answer::Pending(3)), reply(3, Answer::Pending(2))];
        let mut heard = bench.heard().await;
        let cancelled = Answer::Cancelled { cancelled: false, taken: true, record: result(2) };
        let leased =
            Reply { call: CallId(8), answer: Ok(cancelled), leased_by: Some(ActorName::Inbox), after: None };
        assert_eq!(heard.remove(2), Heard::Reply(leased));
        assert_eq!(
            heard.remove(2),
            Heard::LaunchesPaused(LaunchesPaused { session_id: session_id(), paused: true })
        );
        assert_eq!(heard, counts);

        bench.inbox.do_send(Sent(CloseQueue { session_id: session_id(), discard: false }));
        bench.inbox.do_send(Sent(Nack { call: CallId(8) }));
        bench.inbox.do_send(Sent(drain(4, Some(50))));
        let heard = bench.heard().await;
        assert_eq!(
            heard[0],
            Heard::QueueClosed(QueueClosed { session_id: session_id(), unread: 2, kept: true, next: None })
        );
        assert_eq!(drained(&heard[1]).len(), 3);
        bench.inbox.do_send(Sent(Ack { call: CallId(4) }));
        bench.inbox.do_send(Sent(DiscardAll {}));
        let emptied = Heard::QueueEmptied(QueueEmptied { session_id: session_id() });
        let gone = Heard::ResultsGone(ResultsGone { handle_ids: [1, 2].map(handle).into() });
        assert_eq!(bench.heard().await, [gone, emptied, Heard::Discarded(Discarded { unread: 0 })]);
    });
}
